//! Wraps paragraphs that have lines of more than 100 columns.
//!
//! Only such paragraphs change, and only in where their lines end. Left alone are comments behind
//! code, block comments, headings and quotations. A file whose paragraphs would read differently
//! afterwards is not changed at all.

use super::Form;
use super::comments::Comment;
use super::markup::{self, Line};
use super::rules::COLUMNS;

/// Wraps the wide paragraphs of a file. Returns the new text, if anything changes.
pub fn rewrap(form: Form, text: &str) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let before = super::comments_of(form, text);
    let mut paragraphs: Vec<Vec<u32>> = before
        .iter()
        .flat_map(|comment| markup::prose(&comment.lines).paragraphs)
        .map(|paragraph| paragraph.line_numbers().collect())
        .collect();
    // From the last on: the numbers of lines before it stay.
    paragraphs.sort();
    for numbers in paragraphs.into_iter().rev() {
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else {
            continue;
        };
        let range = first as usize - 1..last as usize;
        if range.len() != numbers.len() {
            continue;
        }
        if let Some(new) = wrapped(form, &lines[range.clone()]) {
            lines.splice(range, new);
        }
    }
    let mut new = lines.join("\n");
    if text.ends_with('\n') {
        new.push('\n');
    }
    (new != text && reads(&before) == reads(&super::comments_of(form, &new))).then_some(new)
}

/// Returns the paragraphs of comments, wherever their lines end.
fn reads(comments: &[Comment]) -> Vec<String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let texts = |lines: &[Line]| {
        let paragraphs = markup::prose(lines).paragraphs;
        paragraphs
            .into_iter()
            .map(|paragraph| words(&paragraph.text))
            .collect::<Vec<_>>()
    };
    comments
        .iter()
        .flat_map(|comment| texts(&comment.lines))
        .collect()
}

/// Wraps one paragraph; `None` if it is narrow, or of a kind that is left alone.
fn wrapped(form: Form, lines: &[String]) -> Option<Vec<String>> {
    if lines
        .iter()
        .all(|line| line.trim_end().chars().count() <= COLUMNS)
    {
        return None;
    }
    let marker = marker(form, &lines[0])?;
    let bodies = lines
        .iter()
        .map(|line| {
            line.strip_prefix(marker.as_str())
                .or_else(|| line.strip_prefix(marker.trim_end()))
        })
        .collect::<Option<Vec<&str>>>()?;
    let first = bodies[0];
    let indent = first.len() - first.trim_start().len();
    let item = list_marker(first.trim_start());
    let lead = &first[..indent + item];
    if first.trim_start().starts_with(['#', '>', '|']) {
        return None;
    }
    let hanging = match bodies.get(1) {
        Some(next) => next[..next.len() - next.trim_start().len()].to_owned(),
        None => " ".repeat(indent + item),
    };
    // Spaces inside a line may have a meaning, and so have two at its end.
    let is_plain = |body: &str| !body.trim_start().contains("  ");
    if !is_plain(&first[indent + item..]) || !bodies[1..].iter().all(|body| is_plain(body)) {
        return None;
    }
    let mut new = Vec::new();
    let mut line = format!("{marker}{lead}");
    let mut is_empty = true;
    let words = first[indent + item..]
        .split_whitespace()
        .chain(bodies[1..].iter().flat_map(|body| body.split_whitespace()));
    for word in words {
        let fits = line.chars().count() + usize::from(!is_empty) + word.chars().count() <= COLUMNS;
        if !is_empty && !fits && !begins_something(word) {
            new.push(std::mem::replace(&mut line, format!("{marker}{hanging}")));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    new.push(line);
    Some(new)
}

/// Returns what a line of a comment begins with: its indent, the marker and a space. `None` if
/// code stands before the comment.
fn marker(form: Form, line: &str) -> Option<String> {
    let markers: &[&str] = match form {
        Form::Markdown => return Some(String::new()),
        Form::Rust => &["//!", "///", "//"],
        Form::Hashes(_) => &["#"],
    };
    let indent = line.len() - line.trim_start().len();
    if line.trim_start().starts_with("////") {
        return None;
    }
    let found = markers
        .iter()
        .find(|marker| line.trim_start().starts_with(**marker))?;
    Some(format!("{}{found} ", &line[..indent]))
}

/// Returns the length of the mark of a list's item, with its space; 0 if there is none.
fn list_marker(text: &str) -> usize {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &text[digits..];
    match digits {
        0 if ["- ", "* ", "+ "].iter().any(|mark| text.starts_with(mark)) => 2,
        0 => 0,
        _ if rest.starts_with(". ") || rest.starts_with(") ") => digits + 2,
        _ => 0,
    }
}

/// Tells whether a word at the beginning of a line would begin something other than a line.
fn begins_something(word: &str) -> bool {
    let number = word.trim_end_matches(['.', ')']);
    let is_item = number.len() < word.len()
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit());
    is_item
        || word.starts_with(['-', '+', '*', '#', '>', '|', '=', '~', '!', '/'])
        || word.starts_with("```")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prose::hashes::Language;

    /// Returns thirty words of four letters: 149 columns.
    fn long() -> String {
        ["word"; 30].join(" ")
    }

    #[test]
    fn wide_paragraphs_are_wrapped_and_others_left() {
        let source = format!(
            "/// Short\n/// lines.\nfn f() {{\n    // {} end\n    // of it.\n    g();\n}}\n",
            long()
        );
        let new = rewrap(Form::Rust, &source).unwrap();
        let lines: Vec<&str> = new.lines().collect();
        assert_eq!(lines[..3], ["/// Short", "/// lines.", "fn f() {"]);
        assert_eq!(lines[3], format!("    // {}", ["word"; 18].join(" ")));
        assert_eq!(
            lines[4],
            format!("    // {} end of it.", ["word"; 12].join(" "))
        );
        assert_eq!(lines[5..], ["    g();", "}"]);
        assert_eq!(rewrap(Form::Rust, &new), None, "twice is once");
    }

    #[test]
    fn items_of_lists_hang() {
        let new = rewrap(
            Form::Markdown,
            &format!("- {0}\n  more\n- b\n\n10. {0}\n", long()),
        )
        .unwrap();
        let lines: Vec<&str> = new.lines().collect();
        assert!(
            lines[0].starts_with("- word")
                && lines[1].starts_with("  word")
                && lines[1].ends_with("more")
        );
        assert_eq!(lines[2..4], ["- b", ""]);
        assert!(lines[4].starts_with("10. word") && lines[5].starts_with("    word"));
        assert!(new.lines().all(|line| line.len() <= COLUMNS));
    }

    #[test]
    fn what_is_no_paragraph_stays() {
        for source in [
            format!("| {} |\n", long()),
            format!("```\n{}\n```\n", long()),
            format!("# {}\n", long()),
            format!("> {}\n", long()),
            format!("{}  \nhard break\n", long()),
        ] {
            assert_eq!(rewrap(Form::Markdown, &source), None, "{source}");
        }
        for source in [
            format!("let x = 1; // {}\n", long()),
            format!("/* {} */\n", long()),
            format!("let x = r\"\n// {}\n\";\n", long()),
        ] {
            assert_eq!(rewrap(Form::Rust, &source), None, "{source}");
        }
    }

    #[test]
    fn no_word_becomes_a_mark() {
        // Each of these would begin a line, and with it a list, a heading or a quotation.
        for word in ["-", "#", ">", "1.", "//"] {
            let words = format!(
                "{} {word} {}",
                ["word"; 20].join(" "),
                ["word"; 20].join(" ")
            );
            let new = rewrap(Form::Markdown, &format!("{words}\n")).unwrap();
            assert!(!new.lines().any(|line| line.starts_with(word)), "{new}");
            assert_eq!(new.split_whitespace().collect::<Vec<_>>().join(" "), words);
        }
    }

    #[test]
    fn comments_of_scripts_are_wrapped() {
        let source = format!(
            "#!/bin/sh\n# {}\n# shellcheck disable=SC2086 # words\nx=1\n",
            long()
        );
        let new = rewrap(Form::Hashes(Language::Shell), &source).unwrap();
        assert_eq!(
            new.lines()
                .filter(|line| line.starts_with("# word"))
                .count(),
            2
        );
        assert!(new.ends_with("# shellcheck disable=SC2086 # words\nx=1\n"));
    }
}
