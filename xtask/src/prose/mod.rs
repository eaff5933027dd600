//! `cargo xtask lint-prose`: the form of comments and documents.
//!
//! ```text
//! cargo xtask lint-prose [--all] [--json] [--rewrap] [--update-baseline [--allow-growth]] [PATH ...]
//! ```
//! The rules are in [`rules`], the words that are refused in `docs/glossary.md`. Findings that the
//! tree had already are counted in a baseline. The check fails where a count rises, and shows all
//! findings of that file and rule. `--all` shows every finding and fails if there is any. Paths
//! limit the check to files, or to files below folders. `--rewrap` first wraps paragraphs that have
//! lines of more than 100 columns.

mod baseline;
mod comments;
mod glossary;
mod hashes;
mod markup;
mod rewrap;
mod rules;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use baseline::{Counts, Growth};
use comments::{Comment, Owner};
use glossary::Glossary;
use hashes::Language;
use rules::Finding;

/// The schema of the output for machines.
const SCHEMA: &str = "fcsp.prose/1";

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Rust,
    Markdown,
    Hashes(Language),
}

/// The options of the command.
#[derive(Debug, Default)]
struct Options {
    all: bool,
    json: bool,
    rewrap: bool,
    update: bool,
    grow: bool,
    paths: Vec<String>,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--all" => options.all = true,
                "--json" => options.json = true,
                "--rewrap" => options.rewrap = true,
                "--update-baseline" => options.update = true,
                "--allow-growth" => options.grow = true,
                flag if flag.starts_with('-') => {
                    bail!(
                        "'{flag}' is none of --all, --json, --rewrap, --update-baseline and --allow-growth"
                    )
                }
                _ => options.paths.push(
                    arg.trim_start_matches("./")
                        .trim_end_matches('/')
                        .to_owned(),
                ),
            }
        }
        if options.update && !options.paths.is_empty() {
            bail!("--update-baseline counts all files; leave the paths out");
        }
        if options.grow && !options.update {
            bail!("--allow-growth is for --update-baseline");
        }
        Ok(options)
    }

    fn covers(&self, file: &str) -> bool {
        self.paths.is_empty()
            || self.paths.iter().any(|path| {
                let rest = file.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

/// Findings by file, and the comparison of their counts with the baseline.
struct Report {
    found: BTreeMap<String, Vec<Finding>>,
    counts: Counts,
    grown: Vec<Growth>,
}

impl Report {
    /// Selects the findings to show: all, or those whose count has grown.
    fn shown(&self, all: bool) -> Vec<(&String, &Finding)> {
        let is_grown = |file: &str, finding: &Finding| {
            let same = |growth: &Growth| growth.file == file && growth.rule == finding.rule;
            all || self.grown.iter().any(same)
        };
        self.found
            .iter()
            .flat_map(|(file, findings)| findings.iter().map(move |finding| (file, finding)))
            .filter(|(file, finding)| is_grown(file, finding))
            .collect()
    }
}

/// Runs the command in the repository's root. Returns whether nothing is to be mended.
pub fn run(args: impl Iterator<Item = String>) -> Result<bool> {
    let options = Options::parse(args)?;
    let report = lint(Path::new("."), &options)?;
    let shown = report.shown(options.all);
    let is_clean = report.grown.is_empty() && (!options.all || shown.is_empty());
    if options.json {
        let document = document(&shown, &report.grown, &report.counts);
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(is_clean);
    }
    for (file, finding) in &shown {
        let (line, rule) = (finding.line, finding.rule.name());
        println!("{file}:{line}: {rule}: {}", finding.remedy);
    }
    for growth in report.grown.iter().filter(|_| !options.all) {
        let (rule, count, allowed) = (growth.rule.name(), growth.count, growth.allowed);
        eprintln!(
            "{}: {rule}: {count} findings, {allowed} in the baseline",
            growth.file
        );
    }
    let total: usize = report.counts.values().sum();
    eprintln!("{total} findings in {} files", report.found.len());
    Ok(is_clean)
}

/// Checks the files below `root`, and updates the baseline if that is asked for.
fn lint(root: &Path, options: &Options) -> Result<Report> {
    let read = |path: &str| {
        std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
    };
    let glossary = Glossary::parse(&read(glossary::PATH)?)?;
    let path = root.join(baseline::PATH);
    let baseline = match path.exists() {
        true => baseline::parse(&read(baseline::PATH)?)?,
        false => Counts::new(),
    };
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for file in files(root)?.into_iter().filter(|file| options.covers(file)) {
        // A file that git knows may have been removed; one that is not text has no prose.
        let Ok(mut text) = std::fs::read_to_string(root.join(&file)) else {
            continue;
        };
        if let Some(form) = form(&file, &text) {
            if let Some(new) = options
                .rewrap
                .then(|| rewrap::rewrap(form, &text))
                .flatten()
            {
                std::fs::write(root.join(&file), &new)
                    .with_context(|| format!("cannot write {file}"))?;
                text = new;
            }
            found.insert(file, check(form, &text, &glossary));
        }
    }
    let mut counts = Counts::new();
    for (file, findings) in &found {
        for finding in findings {
            *counts.entry((file.clone(), finding.rule)).or_default() += 1;
        }
    }
    let mut grown = baseline::growth(&baseline, &counts);
    if options.update {
        let new = baseline::updated(&baseline, &counts, options.grow);
        std::fs::write(path, baseline::text(&new))
            .with_context(|| format!("cannot write {}", baseline::PATH))?;
        if options.grow {
            grown.clear();
        }
    }
    Ok(Report {
        found,
        counts,
        grown,
    })
}

/// Returns the output for machines.
fn document(shown: &[(&String, &Finding)], grown: &[Growth], counts: &Counts) -> serde_json::Value {
    let mut totals = serde_json::Map::new();
    for rule in rules::Rule::ALL {
        let total: usize = counts
            .iter()
            .filter(|((_, of), _)| *of == rule)
            .map(|(_, count)| count)
            .sum();
        totals.insert(rule.name().to_owned(), total.into());
    }
    let findings = shown.iter().map(|(file, finding)| {
        json!({ "file": file, "line": finding.line, "rule": finding.rule.name(), "remedy": finding.remedy })
    });
    let grown = grown.iter().map(|growth| {
        json!({
            "file": growth.file, "rule": growth.rule.name(), "count": growth.count, "allowed": growth.allowed,
        })
    });
    json!({
        "schema": SCHEMA,
        "findings": findings.collect::<Vec<_>>(),
        "grown": grown.collect::<Vec<_>>(),
        "totals": totals,
    })
}

/// Lists the files that git knows or would add.
pub fn files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git cannot list files here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let mut files: Vec<String> = text
        .split('\0')
        .filter(|file| !file.is_empty())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Returns the form of a file; `None` if it is not checked.
fn form(path: &str, text: &str) -> Option<Form> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((_, "rs")) => Some(Form::Rust),
        Some((_, "md")) => Some(Form::Markdown),
        Some((_, "toml")) => Some(Form::Hashes(Language::Toml)),
        Some((_, "py")) => Some(Form::Hashes(Language::Python)),
        Some((_, "sh")) => Some(Form::Hashes(Language::Shell)),
        None => {
            let first = text.lines().next()?.strip_prefix("#!")?;
            let program = first.rsplit(['/', ' ']).next()?;
            match program {
                "bash" | "sh" => Some(Form::Hashes(Language::Shell)),
                program if program.starts_with("python") => Some(Form::Hashes(Language::Python)),
                _ => None,
            }
        }
        Some(_) => None,
    }
}

/// Tells whether a file is a shell script.
pub fn is_shell(path: &str, text: &str) -> bool {
    form(path, text) == Some(Form::Hashes(Language::Shell))
}

/// Finds the comments of a text; a document is one comment.
fn comments_of(form: Form, text: &str) -> Vec<Comment> {
    match form {
        Form::Rust => comments::rust(text),
        Form::Markdown => vec![Comment {
            owner: Owner::None,
            lines: text
                .lines()
                .zip(1..)
                .map(|(line, number)| markup::Line {
                    number,
                    text: line.to_owned(),
                    columns: line.trim_end().chars().count(),
                })
                .collect(),
        }],
        Form::Hashes(language) => hashes::comments(text, language),
    }
}

/// Checks the text of one file.
fn check(form: Form, text: &str, glossary: &Glossary) -> Vec<Finding> {
    let comments = comments_of(form, text);
    let mut found: Vec<Finding> = comments
        .iter()
        .flat_map(|comment| rules::check(comment, glossary))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options> {
        Options::parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn paths_name_files_and_folders() {
        let some = options(&["--all", "./docs/", "a.rs"]).unwrap();
        assert!(some.all && some.covers("docs/x.md") && some.covers("a.rs"));
        assert!(!some.covers("docs2/x.md") && !some.covers("a.rs.md"));
        assert!(options(&[]).unwrap().covers("anything"));
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for (args, said) in [
            (&["--some"][..], "'--some' is none of"),
            (&["--update-baseline", "a.rs"], "leave the paths out"),
            (&["--allow-growth"], "is for --update-baseline"),
        ] {
            assert!(options(args).unwrap_err().to_string().contains(said));
        }
    }

    #[test]
    fn a_form_goes_by_ending_or_by_the_first_line() {
        for (path, text, expected) in [
            ("a/b.rs", "", Some(Form::Rust)),
            ("README.md", "", Some(Form::Markdown)),
            (
                ".ci/run",
                "#!/usr/bin/env bash\n",
                Some(Form::Hashes(Language::Shell)),
            ),
            (
                "tool",
                "#!/usr/bin/python3\n",
                Some(Form::Hashes(Language::Python)),
            ),
            ("LICENSE", "Apache\n", None),
            ("a.c", "// x\n", None),
        ] {
            assert_eq!(form(path, text), expected, "{path}");
        }
    }

    #[test]
    fn a_count_may_fall_and_not_rise() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let git = Command::new("git")
            .current_dir(root)
            .args(["init", "--quiet"])
            .status();
        assert!(git.unwrap().success());
        let write = |path: &str, text: &str| {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        };
        let grown = |args: &[&str]| -> Vec<(String, usize, usize)> {
            let report = lint(root, &options(args).unwrap()).unwrap();
            report
                .grown
                .into_iter()
                .map(|growth| (growth.file, growth.count, growth.allowed))
                .collect()
        };
        write(
            glossary::PATH,
            "## Words that shall not be used\n\n| words | instead |\n|---|---|\n| `ill` | sick |\n",
        );
        write("a.md", "So ill.\n\nAs ill.\n");
        write("b.c", "// ill\n");
        write("xtask/empty", "");
        // A file that is not listed has no findings.
        assert_eq!(grown(&[]), [("a.md".into(), 2, 0)]);
        assert_eq!(grown(&["--update-baseline"]), [("a.md".into(), 2, 0)]);
        assert_eq!(grown(&["--update-baseline", "--allow-growth"]), []);
        assert_eq!(grown(&[]), []);
        let line = |count: u32| format!("a.md word {count}\n");
        let baseline = || std::fs::read_to_string(root.join(baseline::PATH)).unwrap();
        assert!(baseline().ends_with(&line(2)));
        write("a.md", "So ill.\n");
        assert_eq!(grown(&[]), []);
        assert!(baseline().ends_with(&line(2)), "a check changes nothing");
        assert_eq!(grown(&["--update-baseline"]), []);
        assert!(baseline().ends_with(&line(1)));
        write("a.md", "So ill.\n\nAs ill.\n");
        assert_eq!(grown(&["a.md"]), [("a.md".into(), 2, 1)]);
        assert_eq!(grown(&["docs"]), []);
        let report = lint(root, &options(&[]).unwrap()).unwrap();
        let lines: Vec<u32> = report
            .shown(false)
            .iter()
            .map(|(_, finding)| finding.line)
            .collect();
        assert_eq!(lines, [1, 3], "all findings of the file and rule are shown");
    }

    #[test]
    fn machines_get_a_schema() {
        let finding = Finding {
            line: 3,
            rule: rules::Rule::Word,
            remedy: "say it".into(),
        };
        let file = "a.rs".to_owned();
        let counts = Counts::from([((file.clone(), rules::Rule::Word), 1)]);
        let grown = baseline::growth(&Counts::new(), &counts);
        let document = document(&[(&file, &finding)], &grown, &counts);
        assert_eq!(document["schema"], "fcsp.prose/1");
        assert_eq!(
            document["findings"][0],
            json!({"file": "a.rs", "line": 3, "rule": "word", "remedy": "say it"})
        );
        assert_eq!(document["grown"][0]["allowed"], 0);
        assert_eq!(
            document["totals"],
            json!({"width": 0, "summary": 0, "sentence": 0, "word": 1})
        );
    }
}
