//! The words that the glossary refuses.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

/// The glossary, relative to the repository's root.
pub const PATH: &str = "docs/glossary.md";
/// The heading above the table.
const HEADING: &str = "## Words that shall not be used";

/// A word or phrase that is not used.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its words, in lower case.
    pub words: Vec<String>,
    /// The words to use instead.
    pub instead: String,
}

/// The refused words by their first word.
#[derive(Debug, Default)]
pub struct Glossary(HashMap<String, Vec<Entry>>);

impl Glossary {
    /// Reads the table out of the glossary's text.
    pub fn parse(text: &str) -> Result<Self> {
        let (_, chapter) = text
            .split_once(HEADING)
            .with_context(|| format!("{PATH} has no chapter \"{HEADING}\""))?;
        let rows = chapter
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2);
        let mut glossary = Self::default();
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [words, instead] = cells[..] else {
                bail!("{PATH}: a row of refused words has two cells: {row}");
            };
            for word in words
                .split(',')
                .map(|word| word.trim().trim_matches('`').to_lowercase())
            {
                let words: Vec<String> = word.split_whitespace().map(str::to_owned).collect();
                let first = words
                    .first()
                    .with_context(|| format!("{PATH}: a word is missing: {row}"))?;
                let entries = glossary.0.entry(first.clone()).or_default();
                entries.push(Entry {
                    words,
                    instead: instead.to_owned(),
                });
            }
        }
        if glossary.0.is_empty() {
            bail!("{PATH}: the table of refused words is empty");
        }
        Ok(glossary)
    }

    /// Returns the entries that begin with `word`, which is in lower case.
    pub fn starting_with(&self, word: &str) -> &[Entry] {
        self.0.get(word).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_phrases_are_read() {
        let text = format!(
            "| a | b |\n{HEADING}\n\nText.\n\n| words | instead |\n|---|---|\n| `One`, `two  three` | four |\n\n| `five` | six |\n"
        );
        let glossary = Glossary::parse(&text).unwrap();
        assert_eq!(glossary.starting_with("one")[0].instead, "four");
        assert_eq!(glossary.starting_with("two")[0].words, ["two", "three"]);
        assert!(
            glossary.starting_with("five").is_empty() && glossary.starting_with("a").is_empty()
        );
    }

    #[test]
    fn a_table_that_cannot_be_read_is_an_error() {
        for (rows, said) in [
            ("", "is empty"),
            ("| `a` | b | c |\n", "has two cells"),
            ("| `a`, | b |\n", "a word is missing"),
        ] {
            let text = format!("{HEADING}\n| words | instead |\n|---|---|\n{rows}");
            let error = Glossary::parse(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(
            Glossary::parse("")
                .unwrap_err()
                .to_string()
                .contains("has no chapter")
        );
    }

    #[test]
    fn the_repositorys_table_can_be_read() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(PATH);
        let glossary = Glossary::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(!glossary.starting_with("whoever").is_empty());
    }

    #[test]
    fn the_files_that_the_glossary_names_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = std::fs::read_to_string(root.join(PATH)).unwrap();
        // Paths without a crate are in the core; those said to be the hook's have no crate either.
        let folders = [
            "",
            "fcsp-core/src",
            "fcsp-hook/src",
            "fcsp-hook/src/compute",
        ];
        let named: Vec<&str> = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.ends_with(".rs") && !code.contains('*'))
            .collect();
        assert!(named.len() > 50, "{}", named.len());
        for path in named {
            let exists = folders
                .iter()
                .any(|folder| root.join(folder).join(path).exists());
            assert!(exists, "{PATH} names {path}");
        }
    }
}
