//! `cargo xtask check duplication`: code that two backends, or two files of the simulator, share.
//!
//! Two files share a run if more than [`LIMIT`] lines in a row are the same in both. Comments,
//! blank lines and indentation do not count. Identifiers with a vendor's prefix count as the same
//! word: `cuMemFree_v2` and `hipFree` differ in nothing else. The backends are compared with one
//! another, not within a crate. The files of the simulator are compared with one another.
//!
//! [`TABLES`] lists the files that repeat a vendor's headers, with the reason. The baseline counts
//! the shared lines that the tree still has, by pair of files. A count may fall and not rise. A
//! pair that is not listed shares no run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

/// The baseline, relative to the repository's root.
const BASELINE: &str = "xtask/duplication-baseline.txt";
const HEAD: &str = "\
# Lines that two files share in runs of more than 20: file, file, count.
# A count may only fall. A pair that is not here shares no such run.
# `FCSP_UPDATE_BASELINE=1 cargo xtask check duplication` lowers the counts.
";
/// The variable that lets the check lower the baseline. With the value `grow` it may also raise it.
const UPDATE: &str = "FCSP_UPDATE_BASELINE";

/// The longest run that two files may share, in lines.
const LIMIT: usize = 20;

/// Folders whose files repeat a vendor's headers, and the reason why they stay apart.
const TABLES: [(&str, &str); 1] = [(
    "/src/ffi/",
    "layouts and numbers of one vendor's headers; the test `headers` compares each with its own",
)];

/// The backends, by the folders of their crates.
pub const BACKENDS: [&str; 6] = [
    "fcsp-ascend/",
    "fcsp-cuda/",
    "fcsp-empty/",
    "fcsp-gaudi/",
    "fcsp-hip/",
    "fcsp-levelzero/",
];
const SIMULATOR: &str = "fcsp-sim/";

/// The prefixes of vendors' identifiers.
const PREFIXES: [&str; 35] = [
    "ACL",
    "AMDSMI",
    "Acl",
    "AmdSmi",
    "Ascend",
    "CU",
    "CUDA",
    "Cuda",
    "DCMI",
    "Gaudi",
    "HCCL",
    "HIP",
    "HLML",
    "Hip",
    "LevelZero",
    "NVML",
    "Nvml",
    "RSMI",
    "ZE",
    "ZES",
    "ZET",
    "acl",
    "amdsmi",
    "cu",
    "cuda",
    "dcmi",
    "hccl",
    "hip",
    "hlml",
    "nvml",
    "rsmi",
    "rt",
    "syn",
    "ze",
    "zes",
];

/// A group of files that are compared with one another, except with files of their own part.
#[derive(Debug, PartialEq, Eq)]
enum Group<'a> {
    /// A backend; the part is its crate.
    Backend(&'a str),
    /// The simulator; each file is its own part.
    Simulator(&'a str),
}

impl<'a> Group<'a> {
    /// Returns the group of a file; `None` if it is not compared.
    fn of(file: &'a str) -> Option<Self> {
        let is_source = file.ends_with(".rs") && file.contains("/src/");
        let is_table = TABLES.iter().any(|(folder, _)| file.contains(folder));
        if !is_source || is_table {
            return None;
        }
        if file.starts_with(SIMULATOR) {
            return Some(Self::Simulator(file));
        }
        let backend = BACKENDS
            .into_iter()
            .find(|backend| file.starts_with(backend))?;
        Some(Self::Backend(&file[..backend.len()]))
    }

    fn is_compared_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Backend(one), Self::Backend(two)) => one != two,
            (Self::Simulator(one), Self::Simulator(two)) => one != two,
            _ => false,
        }
    }
}

/// One file: its lines of code, each with its number in the file.
struct Source {
    file: String,
    lines: Vec<(usize, String)>,
}

/// A run of lines that two files share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    /// Lines of code in the run.
    length: usize,
    /// The index of its first line of code in the first file.
    first: usize,
    /// The same in the second file.
    second: usize,
}

/// Shared lines by pair of files.
type Counts = BTreeMap<(String, String), usize>;

/// Runs the check in the repository's root. Returns whether no count is above the baseline.
pub fn run() -> Result<bool> {
    let root = Path::new(".");
    let update = std::env::var(UPDATE).unwrap_or_default();
    let sources = read(root)?;
    let runs = shared(&sources);
    let counts: Counts = runs
        .iter()
        .map(|(&(one, two), runs)| {
            let pair = (sources[one].file.clone(), sources[two].file.clone());
            (pair, runs.iter().map(|run| run.length).sum())
        })
        .collect();
    let path = root.join(BASELINE);
    let mut baseline = match path.exists() {
        true => parse(&std::fs::read_to_string(&path).context("cannot read the baseline")?)?,
        false => Counts::new(),
    };
    if !update.is_empty() {
        baseline = updated(&baseline, &counts, update == "grow");
        std::fs::write(&path, text(&baseline)).context("cannot write the baseline")?;
    }
    let mut passed = true;
    for (&(one, two), runs) in &runs {
        let (one, two) = (&sources[one], &sources[two]);
        let pair = (one.file.clone(), two.file.clone());
        let (count, allowed) = (counts[&pair], baseline.get(&pair).copied().unwrap_or(0));
        if count > allowed {
            passed = false;
            for run in runs {
                let (first, second) = (one.lines[run.first].0, two.lines[run.second].0);
                let (length, one, two) = (run.length, &one.file, &two.file);
                println!("{one}:{first}: {length} lines stand again at {two}:{second}");
            }
            eprintln!(
                "FAILED: duplication: {count} shared lines, {allowed} in the baseline: {} {}",
                one.file, two.file
            );
        }
    }
    let total: usize = counts.values().sum();
    println!(
        "duplication: {total} shared lines in {} pairs of files",
        counts.len()
    );
    Ok(passed)
}

/// Reads all files that are compared.
fn read(root: &Path) -> Result<Vec<Source>> {
    let files = crate::prose::files(root)?;
    let compared = files
        .into_iter()
        .filter(|file| Group::of(file).is_some() && root.join(file).exists());
    compared
        .map(|file| {
            let text = std::fs::read_to_string(root.join(&file))
                .with_context(|| format!("cannot read {file}"))?;
            Ok(Source {
                lines: code(&text),
                file,
            })
        })
        .collect()
}

/// Returns the lines of code of a text, with the numbers that they have in it.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
        .map(|(number, line)| (number, neutral(line)))
        .collect()
}

/// Replaces each identifier that has a vendor's prefix by one word.
fn neutral(line: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut neutral = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        neutral.push_str(if is_vendors(word) { "VENDOR" } else { word });
        rest = after;
    }
    neutral
}

/// Returns true if a word begins with a vendor's prefix. The prefix ends at a change of case, at an
/// underscore or with the word.
fn is_vendors(word: &str) -> bool {
    PREFIXES.iter().any(|prefix| {
        let Some(rest) = word.strip_prefix(prefix) else {
            return false;
        };
        let is_upper = prefix.ends_with(|c: char| c.is_uppercase());
        rest.chars().next().is_none_or(|next| {
            next == '_' || (next.is_alphabetic() && next.is_uppercase() != is_upper)
        })
    })
}

/// Finds the runs that each pair of files shares, the longest first. No line of a pair is in two
/// runs. The key holds the indices of the two files.
fn shared(sources: &[Source]) -> BTreeMap<(usize, usize), Vec<Run>> {
    let window = LIMIT + 1;
    let mut places: HashMap<Vec<&str>, Vec<(usize, usize)>> = HashMap::new();
    for (file, source) in sources.iter().enumerate() {
        for (at, lines) in source.lines.windows(window).enumerate() {
            let key = lines.iter().map(|(_, line)| line.as_str()).collect();
            places.entry(key).or_default().push((file, at));
        }
    }
    let mut starts: BTreeMap<(usize, usize), BTreeSet<(usize, usize)>> = BTreeMap::new();
    for places in places.values() {
        for (index, &(one, first)) in places.iter().enumerate() {
            for &(two, second) in &places[index + 1..] {
                let groups = (Group::of(&sources[one].file), Group::of(&sources[two].file));
                if let (Some(this), Some(other)) = groups
                    && this.is_compared_with(&other)
                {
                    starts
                        .entry((one, two))
                        .or_default()
                        .insert((first, second));
                }
            }
        }
    }
    starts
        .into_iter()
        .map(|(pair, starts)| (pair, longest(&starts)))
        .collect()
}

/// Joins windows that follow one another to runs, and selects the longest that do not overlap.
fn longest(starts: &BTreeSet<(usize, usize)>) -> Vec<Run> {
    let is_first =
        |&&(first, second): &&(usize, usize)| match (first.checked_sub(1), second.checked_sub(1)) {
            (Some(first), Some(second)) => !starts.contains(&(first, second)),
            _ => true,
        };
    let mut runs: Vec<Run> = starts
        .iter()
        .filter(is_first)
        .map(|&(first, second)| {
            let mut windows = 1;
            while starts.contains(&(first + windows, second + windows)) {
                windows += 1;
            }
            Run {
                length: windows + LIMIT,
                first,
                second,
            }
        })
        .collect();
    runs.sort_by(|one, two| two.cmp(one));
    let mut chosen: Vec<Run> = Vec::new();
    for run in runs {
        let meets = |one: usize, its: usize, other: usize, others: usize| {
            one < other + others && other < one + its
        };
        let overlaps = chosen.iter().any(|other| {
            meets(run.first, run.length, other.first, other.length)
                || meets(run.second, run.length, other.second, other.length)
        });
        if !overlaps {
            chosen.push(run);
        }
    }
    chosen
}

/// Reads a baseline.
fn parse(text: &str) -> Result<Counts> {
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let read = || {
                let mut words = line.split(' ').map(str::to_owned);
                let pair = (words.next()?, words.next()?);
                Some((pair, words.next()?.parse().ok()?))
            };
            read().with_context(|| format!("{BASELINE}:{number}: not \"file file count\""))
        })
        .collect()
}

/// Writes a baseline.
fn text(counts: &Counts) -> String {
    let mut text = HEAD.to_owned();
    for ((one, two), count) in counts {
        let _ = writeln!(text, "{one} {two} {count}");
    }
    text
}

/// Returns the baseline that follows from `counts`: lower counts, and higher ones only if `grows`.
fn updated(baseline: &Counts, counts: &Counts, grows: bool) -> Counts {
    if grows {
        return counts.clone();
    }
    let still = |(pair, &allowed): (&(String, String), &usize)| {
        Some((pair.clone(), (*counts.get(pair)?).min(allowed)))
    };
    baseline.iter().filter_map(still).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(file: &str, lines: impl IntoIterator<Item = String>) -> Source {
        let text: Vec<String> = lines.into_iter().collect();
        Source {
            file: file.to_owned(),
            lines: code(&text.join("\n")),
        }
    }

    fn numbered(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{prefix}Call({n});")).collect()
    }

    #[test]
    fn vendors_words_are_the_same_word() {
        let cuda = "let x: CUresult = cuMemFree_v2(CUDA_ERROR, Cuda::new(cuda_x));";
        let hip = "let x: hipError_t = hipFree(hipErrorUnknown, Hip::new(hip_x));";
        assert_eq!(neutral(cuda), neutral(hip));
        for word in [
            "current", "CURRENT", "hips", "zero", "rtx", "synch", "Hipster",
        ] {
            assert_eq!(neutral(word), word);
        }
    }

    #[test]
    fn comments_blank_lines_and_indentation_do_not_count() {
        let text = "// one\n\n    let a = 1;\n/// two\n\tb();\n";
        assert_eq!(
            code(text),
            [(3, "let a = 1;".to_owned()), (5, "b();".to_owned())]
        );
    }

    #[test]
    fn a_run_over_the_limit_is_found_between_backends_alone() {
        let files = |one: &str, two: &str, count: usize| {
            let sources = [
                source(one, numbered("cu", count)),
                source(two, numbered("hip", count)),
            ];
            shared(&sources)
        };
        let (cuda, hip) = ("fcsp-cuda/src/a.rs", "fcsp-hip/src/a.rs");
        assert!(files(cuda, hip, LIMIT).is_empty());
        let found = files(cuda, hip, LIMIT + 5);
        assert_eq!(found[&(0, 1)].len(), 1);
        assert_eq!(found[&(0, 1)][0].length, LIMIT + 5);
        assert!(files(cuda, "fcsp-cuda/src/b.rs", 50).is_empty());
        assert!(files(cuda, "fcsp-sim/src/b.rs", 50).is_empty());
        assert!(files("fcsp-cuda/src/ffi/a.rs", "fcsp-hip/src/ffi/a.rs", 50).is_empty());
        assert_eq!(
            files("fcsp-sim/cuda/src/a.rs", "fcsp-sim/src/b.rs", 50).len(),
            1
        );
    }

    #[test]
    fn runs_of_a_pair_do_not_overlap() {
        let same = || std::iter::repeat_n("same();".to_owned(), 2 * LIMIT);
        let sources = [
            source("fcsp-cuda/src/a.rs", same()),
            source("fcsp-hip/src/a.rs", same()),
        ];
        let lengths: Vec<usize> = shared(&sources)[&(0, 1)]
            .iter()
            .map(|run| run.length)
            .collect();
        assert_eq!(lengths, [2 * LIMIT]);
    }

    #[test]
    fn a_count_may_fall_and_not_rise() {
        let counts = |list: &[(&str, usize)]| -> Counts {
            list.iter()
                .map(|&(file, count)| ((file.to_owned(), "b".to_owned()), count))
                .collect()
        };
        let baseline = counts(&[("a", 30), ("c", 30), ("gone", 25)]);
        assert_eq!(parse(&text(&baseline)).unwrap(), baseline);
        let now = counts(&[("a", 21), ("c", 40), ("new", 22)]);
        assert_eq!(
            updated(&baseline, &now, false),
            counts(&[("a", 21), ("c", 30)])
        );
        assert_eq!(updated(&baseline, &now, true), now);
        let error = parse("a b many\n").unwrap_err().to_string();
        assert!(
            error.starts_with("xtask/duplication-baseline.txt:1: "),
            "{error}"
        );
    }
}
