//! Prose out of Markdown: paragraphs without code, tables and addresses.

/// One line of a comment or a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u32,
    /// Its text, without the comment's marker.
    pub text: String,
    /// The columns of the whole line in the file.
    pub columns: usize,
}

impl Line {
    /// Makes a line; one space behind the marker is no part of its text.
    pub fn new(number: u32, text: &str, columns: usize) -> Self {
        Self {
            number,
            text: text.strip_prefix(' ').unwrap_or(text).to_owned(),
            columns,
        }
    }
}

/// A character that stands for each byte of code; a run of them is one word.
pub const CODE: char = '\u{1}';

/// A paragraph, a heading or an item of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// Its text on one line: code is [`CODE`], targets of links are blank.
    pub text: String,
    /// The places in `text` where lines begin, with their numbers.
    starts: Vec<(usize, u32)>,
}

impl Paragraph {
    /// Lists the numbers of its lines.
    pub fn line_numbers(&self) -> impl Iterator<Item = u32> {
        self.starts.iter().map(|&(_, number)| number)
    }

    /// Returns the number of the line that holds the byte at `at`.
    pub fn line_at(&self, at: usize) -> u32 {
        let index = self.starts.partition_point(|&(start, _)| start <= at);
        self.starts[index.saturating_sub(1)].1
    }
}

/// The prose of a comment or document.
#[derive(Debug, Default)]
pub struct Prose {
    /// The paragraphs, in order.
    pub paragraphs: Vec<Paragraph>,
    /// The lines that hold prose, by their index.
    pub lines: Vec<usize>,
    /// True if it begins with prose, false if with code, a table or a heading.
    pub begins: bool,
}

/// Divides lines of Markdown into paragraphs.
pub fn prose(lines: &[Line]) -> Prose {
    let mut found = Prose::default();
    let mut open: Vec<(u32, &str)> = Vec::new();
    let mut fence: Option<&str> = None;
    let (mut in_list, mut in_code, mut after_blank) = (false, false, true);
    let mut first = true;
    let mut paragraphs = Vec::new();
    let mut finish = |open: &mut Vec<(u32, &str)>| {
        if !open.is_empty() {
            paragraphs.push(paragraph(open));
            open.clear();
        }
    };
    for (index, line) in lines.iter().enumerate() {
        let text = line.text.as_str();
        let trimmed = text.trim_start();
        let is_fence = ["```", "~~~"]
            .into_iter()
            .find(|mark| trimmed.starts_with(mark));
        if let Some(mark) = fence {
            if is_fence == Some(mark) {
                fence = None;
            }
            continue;
        }
        let mut other = is_fence.is_some();
        if other {
            fence = is_fence;
        } else if trimmed.is_empty() {
            finish(&mut open);
            after_blank = true;
            continue;
        } else {
            let indented = text.starts_with("    ") || text.starts_with('\t');
            in_code = indented && !in_list && (after_blank || in_code);
            // Tables, and definitions of links.
            let definition = trimmed.starts_with('[') && trimmed.contains("]: ");
            other = in_code || trimmed.starts_with('|') || definition;
            if !indented && after_blank {
                in_list = false;
            }
        }
        after_blank = false;
        if other {
            finish(&mut open);
            first = false;
            continue;
        }
        let body = trimmed.trim_start_matches("> ");
        found.begins |= first && !body.starts_with('#');
        first = false;
        found.lines.push(index);
        if let Some(item) = list_item(body) {
            finish(&mut open);
            in_list = true;
            open.push((line.number, item));
        } else if body.starts_with('#') {
            finish(&mut open);
            open.push((line.number, body.trim_start_matches('#')));
            finish(&mut open);
        } else {
            open.push((line.number, body));
        }
    }
    finish(&mut open);
    found.paragraphs = paragraphs;
    found
}

/// Returns the text of an item of a list.
fn list_item(text: &str) -> Option<&str> {
    for mark in ["- ", "* ", "+ "] {
        if let Some(item) = text.strip_prefix(mark) {
            return Some(item);
        }
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match digits {
        0 => None,
        _ => text[digits..]
            .strip_prefix(". ")
            .or_else(|| text[digits..].strip_prefix(") ")),
    }
}

fn paragraph(lines: &[(u32, &str)]) -> Paragraph {
    let mut text = String::new();
    let mut starts = Vec::new();
    for &(number, line) in lines {
        if !text.is_empty() {
            text.push(' ');
        }
        starts.push((text.len(), number));
        text.push_str(line.trim());
    }
    Paragraph {
        text: mask(&text),
        starts,
    }
}

/// Puts [`CODE`] in place of code and addresses, and blanks in place of the targets of links.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let put = |masked: &mut String, character: char, bytes: usize| {
        masked.extend(std::iter::repeat_n(character, bytes));
    };
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first == '`' {
            code_length(rest)
        } else if rest.starts_with("http://") || rest.starts_with("https://") {
            rest.find(|c: char| c.is_whitespace() || c == ')' || c == '>')
                .unwrap_or(rest.len())
        } else {
            0
        };
        if length > 0 {
            put(&mut masked, CODE, length);
            at += length;
        } else if let Some(target) = rest.strip_prefix("](").and_then(|target| target.find(')')) {
            put(&mut masked, ' ', target + 3);
            at += target + 3;
        } else {
            masked.push(first);
            at += first.len_utf8();
        }
    }
    masked
}

/// Returns the length of a span of code from its backticks; 0 if it is not closed.
fn code_length(rest: &str) -> usize {
    let ticks = rest.bytes().take_while(|&byte| byte == b'`').count();
    let mut at = ticks;
    while let Some(next) = rest[at..].find('`') {
        at += next;
        let run = rest[at..].bytes().take_while(|&byte| byte == b'`').count();
        at += run;
        if run == ticks {
            return at;
        }
    }
    // An opening without an end is a character like others.
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        text.lines()
            .enumerate()
            .map(|(index, line)| Line {
                number: index as u32 + 1,
                text: line.to_owned(),
                columns: line.chars().count(),
            })
            .collect()
    }

    fn texts(text: &str) -> Vec<String> {
        let found = prose(&lines(text));
        found
            .paragraphs
            .into_iter()
            .map(|p| p.text.replace(CODE, ""))
            .collect()
    }

    #[test]
    fn paragraphs_headings_and_items_are_apart() {
        assert_eq!(
            texts("# Head\nOne\ntwo.\n\n- a\n  b\n- c\n1. d\n> e"),
            ["Head", "One two.", "a b", "c", "d e"]
        );
    }

    #[test]
    fn code_tables_and_addresses_are_no_prose() {
        assert_eq!(
            texts("A\n```\ncode\n```\nB\n\n    code\n\n    code\nC"),
            ["A", "B", "C"]
        );
        assert_eq!(texts("| a | b |\n|---|---|\nText"), ["Text"]);
        assert_eq!(texts("See `a b` and ``c ` d``."), ["See  and ."]);
        assert_eq!(
            texts("See [this page](over/there.md) now."),
            ["See [this page                 now."]
        );
        assert_eq!(texts("At https://a.b/c_d?e now"), ["At  now"]);
        assert_eq!(texts("[name]: https://a.b"), Vec::<String>::new());
        assert_eq!(texts("A lone ` tick"), ["A lone ` tick"]);
    }

    #[test]
    fn an_indented_line_of_a_list_is_prose() {
        assert_eq!(texts("- a\n\n    b\n\nc\n\n    code"), ["a", "b", "c"]);
    }

    #[test]
    fn code_may_go_on_over_lines_and_lines_are_found() {
        let found = prose(&lines("One `two\nthree` four\nfive."));
        let paragraph = &found.paragraphs[0];
        let at = |word: &str| paragraph.line_at(paragraph.text.find(word).unwrap());
        assert!(!paragraph.text.contains("three"));
        assert_eq!((at("One"), at("four"), at("five")), (1, 2, 3));
    }

    #[test]
    fn a_beginning_that_is_no_prose_is_told() {
        assert!(prose(&lines("A")).begins);
        assert!(!prose(&lines("| a |\nA")).begins);
        assert!(!prose(&lines("```\n```\nA")).begins);
        assert!(!prose(&lines("# Safety\nA")).begins);
    }
}
