//! The findings that the tree still has, counted by file and rule: a count may fall and not rise.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::rules::Rule;

/// The baseline, relative to the repository's root.
pub const PATH: &str = "xtask/prose-baseline.txt";

const HEAD: &str = "\
# Findings of `cargo xtask lint-prose` that are not mended yet: file, rule, count.
# A count may only fall. A file that is not here has none.
# `cargo xtask lint-prose --update-baseline` lowers the counts.
";

/// The counts of findings by file and rule.
pub type Counts = BTreeMap<(String, Rule), usize>;

/// A count that is above the baseline.
#[derive(Debug, PartialEq, Eq)]
pub struct Growth {
    /// The file.
    pub file: String,
    /// The rule.
    pub rule: Rule,
    /// The count of now.
    pub count: usize,
    /// The count of the baseline.
    pub allowed: usize,
}

/// Reads a baseline.
pub fn parse(text: &str) -> Result<Counts> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let read = || -> Option<((String, Rule), usize)> {
                let (rest, count) = line.rsplit_once(' ')?;
                let (file, rule) = rest.rsplit_once(' ')?;
                Some(((file.to_owned(), Rule::named(rule)?), count.parse().ok()?))
            };
            read().with_context(|| format!("{PATH}:{}: not \"file rule count\": {line}", index + 1))
        })
        .collect()
}

/// Writes a baseline.
pub fn text(counts: &Counts) -> String {
    let mut text = HEAD.to_owned();
    for ((file, rule), count) in counts.iter().filter(|&(_, &count)| count > 0) {
        let _ = writeln!(text, "{file} {} {count}", rule.name());
    }
    text
}

/// Finds the counts that are above the baseline.
pub fn growth(baseline: &Counts, counts: &Counts) -> Vec<Growth> {
    counts
        .iter()
        .filter_map(|(key, &count)| {
            let allowed = baseline.get(key).copied().unwrap_or_default();
            (count > allowed).then(|| Growth {
                file: key.0.clone(),
                rule: key.1,
                count,
                allowed,
            })
        })
        .collect()
}

/// Returns the baseline that follows from `counts`: lower counts, and higher ones only if `grows`.
pub fn updated(baseline: &Counts, counts: &Counts, grows: bool) -> Counts {
    if grows {
        return counts.clone();
    }
    baseline
        .iter()
        .filter_map(|(key, &allowed)| Some((key.clone(), (*counts.get(key)?).min(allowed))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, Rule, usize)]) -> Counts {
        list.iter()
            .map(|&(file, rule, count)| ((file.to_owned(), rule), count))
            .collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let all = counts(&[
            ("a b.rs", Rule::Width, 3),
            ("c.md", Rule::Word, 1),
            ("d.md", Rule::Summary, 0),
        ]);
        let text = text(&all);
        assert!(
            text.ends_with("lowers the counts.\na b.rs width 3\nc.md word 1\n"),
            "{text}"
        );
        assert_eq!(
            parse(&text).unwrap(),
            counts(&[("a b.rs", Rule::Width, 3), ("c.md", Rule::Word, 1)])
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for line in ["a.rs width", "a.rs height 3", "a.rs width many"] {
            let error = parse(&format!("# x\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with("xtask/prose-baseline.txt:2: "), "{error}");
        }
    }

    #[test]
    fn a_count_may_fall_and_not_rise() {
        let baseline = counts(&[("a", Rule::Width, 3), ("b", Rule::Width, 3)]);
        let now = counts(&[
            ("a", Rule::Width, 2),
            ("b", Rule::Width, 4),
            ("b", Rule::Word, 1),
        ]);
        let grown: Vec<_> = growth(&baseline, &now)
            .into_iter()
            .map(|growth| (growth.file, growth.rule, growth.count, growth.allowed))
            .collect();
        assert_eq!(
            grown,
            [
                ("b".into(), Rule::Width, 4, 3),
                ("b".into(), Rule::Word, 1, 0)
            ]
        );
        assert_eq!(growth(&baseline, &counts(&[])), []);
    }

    #[test]
    fn an_update_only_lowers_unless_it_may_raise() {
        let baseline = counts(&[
            ("a", Rule::Width, 3),
            ("b", Rule::Width, 3),
            ("gone", Rule::Word, 9),
        ]);
        let now = counts(&[
            ("a", Rule::Width, 2),
            ("b", Rule::Width, 4),
            ("c", Rule::Word, 1),
        ]);
        assert_eq!(
            updated(&baseline, &now, false),
            counts(&[("a", Rule::Width, 2), ("b", Rule::Width, 3)])
        );
        assert_eq!(updated(&baseline, &now, true), now);
    }
}
