//! The rules: width, summaries, sentences and words.

use super::comments::{Comment, Item, Owner};
use super::glossary::Glossary;
use super::markup::{CODE, Line, Paragraph, prose};

/// The widest line, in columns.
pub const COLUMNS: usize = 100;
/// The longest sentence, in words.
const WORDS: usize = 30;

/// Words that no summary begins with.
const QUESTIONS: &[&str] = &[
    "how", "what", "when", "where", "whether", "which", "who", "whom", "whose", "why",
];

/// Words that end in `s` and are no verbs. Words that may be verbs are not here.
const NOT_VERBS: &[&str] = &[
    "always",
    "as",
    "bytes",
    "devices",
    "kernels",
    "lines",
    "nanoseconds",
    "ns",
    "numbers",
    "slots",
    "tenants",
    "this",
    "units",
    "values",
    "words",
    "yes",
];

/// Verbs and conjunctions that begin sentences. Words that may be nouns are not here.
const NOT_NOUNS: &[&str] = &[
    "as", "at", "because", "but", "by", "can", "finds", "for", "gives", "goes", "has", "holds",
    "if", "is", "it", "keeps", "knows", "lets", "makes", "may", "of", "puts", "says", "since",
    "so", "takes", "tells", "this", "until", "writes",
];

/// Words with a full stop that end no sentence.
const ABBREVIATIONS: &[&str] = &["approx", "cf", "e.g", "fig", "i.e", "incl", "vs"];

/// A rule of the prose check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Lines of prose have at most 100 columns.
    Width,
    /// A summary begins with a verb or a noun.
    Summary,
    /// A sentence has at most 30 words.
    Sentence,
    /// The glossary's words are used.
    Word,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 4] = [Self::Width, Self::Summary, Self::Sentence, Self::Word];

    /// Returns the rule's name in output and in the baseline.
    pub fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::Summary => "summary",
            Self::Sentence => "sentence",
            Self::Word => "word",
        }
    }

    /// Finds the rule of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The line, from 1.
    pub line: u32,
    /// The rule.
    pub rule: Rule,
    /// The remedy, in a sentence without a full stop.
    pub remedy: String,
}

/// Checks one comment or document.
pub fn check(comment: &Comment, glossary: &Glossary) -> Vec<Finding> {
    let prose = prose(&comment.lines);
    let mut found = Vec::new();
    for &index in &prose.lines {
        width(&comment.lines[index], &mut found);
    }
    if let Some(first) = prose.paragraphs.first().filter(|_| prose.begins) {
        summary(first, comment.owner, &mut found);
    }
    for paragraph in &prose.paragraphs {
        sentences(paragraph, &mut found);
        words(paragraph, glossary, &mut found);
    }
    found.sort();
    found
}

fn width(line: &Line, found: &mut Vec<Finding>) {
    if line.columns <= COLUMNS {
        return;
    }
    // An address cannot be broken.
    let last = line.text.split_whitespace().last().unwrap_or_default();
    let is_address = last.contains("://") || last.contains("](");
    if is_address && line.columns - last.chars().count() <= COLUMNS {
        return;
    }
    found.push(Finding {
        line: line.number,
        rule: Rule::Width,
        remedy: format!("wrap at {COLUMNS} columns; this line has {}", line.columns),
    });
}

fn summary(paragraph: &Paragraph, owner: Owner, found: &mut Vec<Finding>) {
    let text = paragraph
        .text
        .trim_start_matches(|c: char| c.is_whitespace() || "([*_".contains(c));
    if text.starts_with(CODE) {
        return;
    }
    let first: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '-')
        .collect();
    let word = first.to_lowercase();
    if word.is_empty() {
        return;
    }
    let asks = QUESTIONS.contains(&word.as_str());
    let wanted = match owner {
        Owner::None => return,
        Owner::Item(Item::Function)
            if !word.ends_with('s') || NOT_VERBS.contains(&word.as_str()) =>
        {
            "begin with a verb in the third person"
        }
        Owner::Item(Item::Thing) if asks || NOT_NOUNS.contains(&word.as_str()) => {
            "begin with a noun phrase"
        }
        Owner::Module | Owner::Item(_) if asks => "begin with a noun or a verb",
        _ => return,
    };
    found.push(Finding {
        line: paragraph.line_at(0),
        rule: Rule::Summary,
        remedy: format!("{wanted}, not with \"{first}\""),
    });
}

fn sentences(paragraph: &Paragraph, found: &mut Vec<Finding>) {
    let text = &paragraph.text;
    let (mut words, mut start) = (0, None);
    let mut tokens = tokens(text).peekable();
    while let Some((at, token)) = tokens.next() {
        if token.contains(|c: char| c.is_alphanumeric() || c == CODE) {
            words += 1;
            start.get_or_insert(at);
        }
        let next = tokens.peek().map(|&(_, next)| next);
        if next.is_none() || ends_sentence(token, next.unwrap_or_default()) {
            if words > WORDS {
                found.push(Finding {
                    line: paragraph.line_at(start.unwrap_or(at)),
                    rule: Rule::Sentence,
                    remedy: format!("split this sentence of {words} words; {WORDS} are the most"),
                });
            }
            (words, start) = (0, None);
        }
    }
}

/// Divides text at white space, with the places of the parts.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let place = |token: &str| token.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace()
        .map(move |token| (place(token), token))
}

fn ends_sentence(token: &str, next: &str) -> bool {
    let bare = token.trim_end_matches(['"', '\'', ')', ']', '*', '_']);
    let Some(before) = bare.strip_suffix(['.', '!', '?']) else {
        return false;
    };
    let word = before.trim_start_matches(['(', '"', '[']).to_lowercase();
    let begins = next
        .trim_start_matches(['"', '\'', '(', '[', '*', '_'])
        .chars()
        .next();
    let is_beginning = begins.is_none_or(|c| !c.is_lowercase());
    is_beginning && !ABBREVIATIONS.contains(&word.as_str())
}

fn words(paragraph: &Paragraph, glossary: &Glossary, found: &mut Vec<Finding>) {
    let text = without_quotes(&paragraph.text).to_lowercase();
    // Lower case may take more bytes than upper case; places would then be wrong by a line at most.
    let words = word_places(&text);
    for (index, &(at, word)) in words.iter().enumerate() {
        for entry in glossary.starting_with(word) {
            let rest = &words[index..];
            let same = entry.words.len() <= rest.len()
                && entry
                    .words
                    .iter()
                    .zip(rest)
                    .all(|(wanted, (_, is))| wanted == is)
                && rest[..entry.words.len()].windows(2).all(|pair| {
                    let between = &text[pair[0].0 + pair[0].1.len()..pair[1].0];
                    between.trim().is_empty()
                });
            if same {
                found.push(Finding {
                    line: paragraph.line_at(at),
                    rule: Rule::Word,
                    remedy: format!(
                        "\"{}\": say instead: {}",
                        entry.words.join(" "),
                        entry.instead
                    ),
                });
                break;
            }
        }
    }
}

/// Blanks what stands in double quotes: a word that is named is not used.
fn without_quotes(text: &str) -> String {
    let mut quoted = false;
    let closes = |at: usize| text[at + 1..].contains('"');
    text.char_indices()
        .map(|(at, c)| match c {
            '"' if quoted || closes(at) => {
                quoted = !quoted;
                ' '
            }
            c if quoted && c.is_ascii() => ' ',
            c => c,
        })
        .collect()
}

/// Finds the words of a text and their places; an apostrophe is a part of its word.
fn word_places(text: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '-' | '_');
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prose::comments::rust;

    fn found(source: &str) -> Vec<(u32, Rule, String)> {
        let glossary = Glossary::parse(
            "## Words that shall not be used\n\n| words | instead |\n|---|---|\n| `rooms`, `let go of` | modules |\n",
        )
        .unwrap();
        rust(source)
            .iter()
            .flat_map(|comment| check(comment, &glossary))
            .map(|finding| (finding.line, finding.rule, finding.remedy))
            .collect()
    }

    fn rules(source: &str) -> Vec<(u32, Rule)> {
        found(source)
            .into_iter()
            .map(|(line, rule, _)| (line, rule))
            .collect()
    }

    #[test]
    fn lines_have_a_hundred_columns() {
        let line = |columns: usize| format!("// {}", "a ".repeat(columns / 2 - 1).trim_end());
        assert_eq!(line(102).len(), 102);
        assert_eq!(rules(&line(102)).first(), Some(&(1, Rule::Width)));
        assert!(
            !rules(&line(100))
                .iter()
                .any(|&(_, rule)| rule == Rule::Width)
        );
        let address = format!("// See\n// https://a.b/{}", "x".repeat(100));
        assert_eq!(rules(&address), []);
        let code = format!(
            "//! ```\n//! {}\n//! ```\n//! | {} |",
            "a ".repeat(60),
            "b ".repeat(60)
        );
        assert_eq!(rules(&code), []);
    }

    #[test]
    fn a_function_begins_with_a_verb() {
        assert_eq!(rules("/// Returns the sum.\nfn f() {}"), []);
        assert_eq!(rules("/// `f` of the sum.\nfn f() {}"), []);
        for summary in [
            "The sum.",
            "Whether it is.",
            "Bytes of it.",
            "May it go?",
            "Return it.",
        ] {
            let source = format!("/// {summary}\nfn f() {{}}");
            assert_eq!(rules(&source), [(1, Rule::Summary)], "{summary}");
        }
        assert_eq!(
            found("/// The sum.\nfn f() {}")[0].2,
            "begin with a verb in the third person, not with \"The\""
        );
    }

    #[test]
    fn a_type_begins_with_a_noun() {
        for summary in ["A sum.", "Bytes of it.", "One process's access."] {
            assert_eq!(rules(&format!("/// {summary}\nstruct S;")), [], "{summary}");
        }
        for summary in ["What it is.", "Keeps it.", "Of no use."] {
            assert_eq!(
                rules(&format!("/// {summary}\nstruct S;")),
                [(1, Rule::Summary)],
                "{summary}"
            );
        }
    }

    #[test]
    fn no_summary_asks() {
        assert_eq!(rules("//! How it works."), [(1, Rule::Summary)]);
        assert_eq!(
            rules("struct S {\n/// Whether it is.\na: bool }"),
            [(2, Rule::Summary)]
        );
        assert_eq!(rules("// What it is."), []);
        assert_eq!(rules("/// ```\n/// What\n/// ```\n/// How.\nfn f() {}"), []);
    }

    #[test]
    fn a_sentence_has_thirty_words() {
        let long = |count: usize| vec!["word"; count].join(" ");
        assert_eq!(
            rules(&format!("// {}.", long(30)))
                .iter()
                .filter(|r| r.1 == Rule::Sentence)
                .count(),
            0
        );
        let (_, rule, remedy) = found(&format!("// One.\n// A {}.", long(30)))
            .pop()
            .unwrap();
        assert_eq!(
            (rule, remedy.as_str()),
            (
                Rule::Sentence,
                "split this sentence of 31 words; 30 are the most"
            )
        );
        // Code is one word, however long; an abbreviation ends nothing.
        assert_eq!(
            rules(&format!("// {}\n// `{}`.", long(10), long(40)))
                .iter()
                .filter(|r| r.1 == Rule::Sentence)
                .count(),
            0
        );
        let two = format!("// {} e.g. A {}.\n", long(10), long(20));
        assert_eq!(
            rules(&two).iter().filter(|r| r.1 == Rule::Sentence).count(),
            1
        );
        let lists = format!("// - {}\n// - {}", long(20), long(20));
        assert_eq!(
            rules(&lists)
                .iter()
                .filter(|r| r.1 == Rule::Sentence)
                .count(),
            0
        );
    }

    #[test]
    fn the_line_of_a_sentence_is_its_first() {
        let source = format!(
            "// One two. {}\n// {}.",
            "Three",
            ["word"; 40].join("\n// ")
        );
        assert_eq!(rules(&source), [(1, Rule::Sentence)]);
    }

    #[test]
    fn the_glossarys_words_are_refused() {
        assert_eq!(rules("// Rooms are here."), [(1, Rule::Word)]);
        assert_eq!(rules("// It is let\n// go of."), [(1, Rule::Word)]);
        assert_eq!(found("// Rooms.")[0].2, "\"rooms\": say instead: modules");
        for unused in [
            "`rooms`",
            "\"rooms\"",
            "let go, of",
            "mushrooms",
            "sub-rooms",
            "[x](rooms.md)",
        ] {
            assert_eq!(rules(&format!("// It is {unused}.")), [], "{unused}");
        }
    }
}
