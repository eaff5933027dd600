//! The command's words before clap reads them.

use std::ffi::OsString;

/// Reads the command line. A `--json` before the subcommand is moved behind it, where each
/// subcommand takes it.
pub fn read() -> Vec<OsString> {
    ordered(std::env::args_os().collect())
}

fn ordered(mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(subcommand) = subcommand(&words) else {
        return words;
    };
    let before = words[..subcommand].iter().position(|word| word == "--json");
    if let Some(json) = before {
        let word = words.remove(json);
        // One place further to the left now.
        words.insert(subcommand, word);
    }
    words
}

/// Returns the index of the subcommand: the first word that is neither an option nor an option's
/// value.
fn subcommand(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = words.get(at)?;
        if word == "--state-dir" {
            at += 2;
        } else if word.as_encoded_bytes().starts_with(b"-") {
            at += 1;
        } else {
            return Some(at);
        }
    }
}

/// Returns whether the answer or error is to be JSON. The words of a program that `run` starts do
/// not count.
pub fn wants_json(words: &[OsString]) -> bool {
    subcommand(words).is_some_and(|at| {
        words[at] != "run"
            && words[at..]
                .iter()
                .take_while(|word| *word != "--")
                .any(|word| word == "--json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn json_may_stand_before_the_subcommand() {
        for (given, read, json) in [
            ("fcsp ps", "fcsp ps", false),
            ("fcsp --json ps -a", "fcsp ps --json -a", true),
            (
                "fcsp --state-dir ps --json gc",
                "fcsp --state-dir ps gc --json",
                true,
            ),
            ("fcsp ps --json", "fcsp ps --json", true),
            ("fcsp run -- app --json", "fcsp run -- app --json", false),
            ("fcsp --json", "fcsp --json", false),
        ] {
            let ordered = ordered(words(given));
            assert_eq!(ordered, words(read), "{given}");
            assert_eq!(wants_json(&ordered), json, "{given}");
        }
    }
}
