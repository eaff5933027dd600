//! Comments that begin with `#`: shell scripts, Python and TOML.

use super::comments::{Comment, Owner};
use super::markup::Line;

/// A language whose comments begin with `#`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// POSIX shells and bash.
    Shell,
    /// Python.
    Python,
    /// TOML.
    Toml,
}

/// Comments that speak to a tool and not to a reader.
const DIRECTIVES: &[&str] = &[
    "!",
    "shellcheck ",
    "noqa",
    "type:",
    "pylint:",
    "fmt:",
    "ruff:",
];

/// The end of a literal or a text that goes on over lines.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Open {
    Nothing,
    Quote(&'static str),
    Document(String),
}

/// Finds the comments of `source`.
pub fn comments(source: &str, language: Language) -> Vec<Comment> {
    let mut found: Vec<Comment> = Vec::new();
    let mut open = Open::Nothing;
    let mut last = None;
    for (index, line) in source.lines().enumerate() {
        let number = index as u32 + 1;
        let Some(at) = comment_in(line, language, &mut open) else {
            continue;
        };
        let text = line[at + 1..].trim_end();
        if DIRECTIVES
            .iter()
            .any(|directive| text.trim_start().starts_with(directive))
        {
            continue;
        }
        let body = text.trim_start_matches('#');
        let mut line_of = Line::new(number, body, line.trim_end().chars().count());
        // Scripts indent what is no prose by two columns more, Markdown by four.
        if body.starts_with("   ") {
            line_of.text.insert_str(0, "  ");
        }
        let alone = line[..at].trim().is_empty();
        match found.last_mut() {
            Some(comment) if alone && last == Some(number - 1) => comment.lines.push(line_of),
            _ => found.push(Comment {
                owner: Owner::None,
                lines: vec![line_of],
            }),
        }
        last = alone.then_some(number);
    }
    found
}

/// Finds where a comment begins in `line`, and follows literals into the next.
fn comment_in(line: &str, language: Language, open: &mut Open) -> Option<usize> {
    if let Open::Document(end) = open {
        if line.trim_start_matches('\t') == end {
            *open = Open::Nothing;
        }
        return None;
    }
    let mut document = None;
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let first = rest.chars().next()?;
        if let Open::Quote(end) = *open {
            at += match first {
                '\\' if is_escaped(end, language) => {
                    1 + rest[1..].chars().next().map_or(0, char::len_utf8)
                }
                _ if rest.starts_with(end) => {
                    *open = Open::Nothing;
                    end.len()
                }
                _ => first.len_utf8(),
            };
            continue;
        }
        let begins_word =
            at == 0 || line[..at].ends_with(char::is_whitespace) || line[..at].ends_with(';');
        match first {
            '#' if language != Language::Shell || begins_word => return Some(at),
            '\\' if language == Language::Shell => {
                at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                continue;
            }
            '\'' | '"' => {
                let quote = opening(rest, language);
                *open = Open::Quote(quote);
                at += quote.len();
                continue;
            }
            '<' if language == Language::Shell
                && rest.starts_with("<<")
                && !rest.starts_with("<<<") =>
            {
                let word = rest[2..]
                    .trim_start_matches(['-', ' '])
                    .trim_start_matches(['\'', '"', '\\']);
                let end: String = word
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                // An arithmetic shift has a number behind it.
                if !end.is_empty() && !end.starts_with(|c: char| c.is_ascii_digit()) {
                    document = Some(end);
                }
                at += 2;
                continue;
            }
            _ => {}
        }
        at += first.len_utf8();
    }
    if let Some(end) = document {
        *open = Open::Document(end);
    } else if language != Language::Shell && matches!(open, Open::Quote(quote) if quote.len() == 1)
    {
        // Literals of one quote end with their line.
        *open = Open::Nothing;
    }
    None
}

/// Returns the quote that `rest` begins with.
fn opening(rest: &str, language: Language) -> &'static str {
    for long in ["\"\"\"", "'''"] {
        if language != Language::Shell && rest.starts_with(long) {
            return long;
        }
    }
    if rest.starts_with('"') { "\"" } else { "'" }
}

/// Tells whether a backslash has a meaning inside this quote.
fn is_escaped(quote: &str, language: Language) -> bool {
    match language {
        Language::Python => true,
        Language::Shell | Language::Toml => quote.starts_with('"'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str, language: Language) -> Vec<String> {
        comments(source, language)
            .iter()
            .map(|comment| {
                comment
                    .lines
                    .iter()
                    .map(|line| line.text.as_str())
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect()
    }

    #[test]
    fn a_shells_words_hold_no_comments() {
        let source = "#!/bin/sh\n# one\n# two\nx=${y#z} # three\necho \"# no\" '# no' $#\n# shellcheck disable=SC1\n";
        assert_eq!(texts(source, Language::Shell), ["one|two", "three"]);
        let document = "cat <<'END'\n# no\nEND\n# yes\ncat <<< x # yes\n";
        assert_eq!(texts(document, Language::Shell), ["yes", "yes"]);
        assert_eq!(texts("x='a\n# no\n' # yes", Language::Shell), ["yes"]);
        assert_eq!(
            texts("x=$((1 << 2)) # yes\n# yes", Language::Shell),
            ["yes", "yes"]
        );
    }

    #[test]
    fn an_indented_usage_is_no_prose() {
        let found = comments("# Text.\n#\n#   usage [A]\n#\n#  Text.\n", Language::Shell);
        let prose = crate::prose::markup::prose(&found[0].lines);
        let texts: Vec<&str> = prose
            .paragraphs
            .iter()
            .map(|paragraph| paragraph.text.as_str())
            .collect();
        assert_eq!(texts, ["Text.", "Text."]);
    }

    #[test]
    fn strings_of_python_and_toml_hold_no_comments() {
        let python = "\"\"\"Text\n# no\n\"\"\"\nx = '# no' # yes\ny = 'it\\'s # no'\n";
        assert_eq!(texts(python, Language::Python), ["yes"]);
        let toml = "a = '''\n# no\n''' # yes\nb = \"\\\"# no\"\nc = 'x\\' # yes\n";
        assert_eq!(texts(toml, Language::Toml), ["yes", "yes"]);
    }
}
