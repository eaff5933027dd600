//! Comments of source files, with their lines and the items that they document.

use super::markup::Line;

/// A kind of item, as far as the form of its summary depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A function or method.
    Function,
    /// A type, trait, constant or static.
    Thing,
    /// Anything else: a field, a variant, a module, an entry of a macro's list.
    Other,
}

/// The relation of a comment to the code around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A comment beside code, or a whole document.
    None,
    /// The documentation of a module, inside it.
    Module,
    /// The documentation of the item that follows.
    Item(Item),
}

/// One comment: a block, or adjacent lines of one kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Comment {
    /// The item that it documents.
    pub owner: Owner,
    /// Its lines, without their markers.
    pub lines: Vec<Line>,
}

/// The scan of one Rust source.
struct Rust<'s> {
    source: &'s str,
    at: usize,
    found: Vec<Found>,
}

struct Found {
    owner: Owner,
    /// True for a line comment with nothing but space before it.
    joins: bool,
    end: usize,
    last_line: u32,
    lines: Vec<Line>,
}

/// Finds the comments of a Rust source.
pub fn rust(source: &str) -> Vec<Comment> {
    let mut scan = Rust {
        source,
        at: 0,
        found: Vec::new(),
    };
    scan.run();
    scan.found
        .into_iter()
        .map(|found| Comment {
            owner: match found.owner {
                Owner::Item(_) => Owner::Item(item_after(&source[found.end..])),
                owner => owner,
            },
            lines: found.lines,
        })
        .collect()
}

impl Rust<'_> {
    fn run(&mut self) {
        let bytes = self.source.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            let rest = &self.source[self.at..];
            match byte {
                b'/' if rest.starts_with("//") => self.line_comment(rest),
                b'/' if rest.starts_with("/*") => self.block_comment(rest),
                b'"' => self.at += string_length(rest),
                b'r' if !self.follows_a_word() => self.at += raw_string_length(rest).unwrap_or(1),
                b'\'' => self.at += quote_length(rest),
                _ => self.at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
    }

    /// Tells whether the character before ends a longer identifier. The prefixes `b` and `c` of
    /// strings do not.
    fn follows_a_word(&self) -> bool {
        let before = &self.source.as_bytes()[..self.at];
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        match before {
            [.., first, b'b' | b'c'] => is_word(first),
            [b'b' | b'c'] => false,
            [.., last] => is_word(last),
            [] => false,
        }
    }

    fn line_number(&self, at: usize) -> u32 {
        // Comments are few: counting from the last one found would save little.
        let from = self
            .found
            .last()
            .map_or((0, 1), |found| (found.end, found.last_line));
        from.1
            + self.source[from.0..at]
                .bytes()
                .filter(|&byte| byte == b'\n')
                .count() as u32
    }

    fn begins_line(&self, at: usize) -> bool {
        let start = self.source[..at]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        self.source[start..at].trim().is_empty()
    }

    fn line_comment(&mut self, rest: &str) {
        let length = rest.find('\n').unwrap_or(rest.len());
        let text = rest[..length].trim_end();
        let (owner, body) = match text {
            _ if text.starts_with("////") => (Owner::None, text.trim_start_matches('/')),
            _ if text.starts_with("///") => (Owner::Item(Item::Other), &text[3..]),
            _ if text.starts_with("//!") => (Owner::Module, &text[3..]),
            _ => (Owner::None, &text[2..]),
        };
        let number = self.line_number(self.at);
        let end = self.at + length;
        let line = Line::new(number, body, line_columns(self.source, self.at));
        let joins = self.begins_line(self.at);
        self.at = end;
        match self.found.last_mut() {
            Some(last)
                if joins && last.joins && last.owner == owner && last.last_line + 1 == number =>
            {
                last.lines.push(line);
                (last.end, last.last_line) = (end, number);
            }
            _ => self.found.push(Found {
                owner,
                joins,
                end,
                last_line: number,
                lines: vec![line],
            }),
        }
    }

    fn block_comment(&mut self, rest: &str) {
        let length = block_length(rest);
        let text = &rest[..length];
        let inner = text.strip_suffix("*/").unwrap_or(text);
        let (owner, body) = match inner {
            _ if inner.len() < 3 || inner.starts_with("/***") => {
                (Owner::None, inner[1..].trim_start_matches('*'))
            }
            _ if inner.starts_with("/**") => (Owner::Item(Item::Other), &inner[3..]),
            _ if inner.starts_with("/*!") => (Owner::Module, &inner[3..]),
            _ => (Owner::None, &inner[2..]),
        };
        let first = self.line_number(self.at);
        let (mut number, mut at) = (first, self.at);
        let mut lines = Vec::new();
        for line in body.split('\n') {
            let columns = line_columns(self.source, at);
            let trimmed = line.trim_start();
            let without_star = trimmed.strip_prefix('*').unwrap_or(line);
            lines.push(Line::new(number, without_star.trim_end(), columns));
            number += 1;
            at = self.source[at..]
                .find('\n')
                .map_or(self.source.len(), |newline| at + newline + 1);
        }
        self.at += length;
        self.found.push(Found {
            owner,
            joins: false,
            end: self.at,
            last_line: number - 1,
            lines,
        });
    }
}

/// Returns the width of the line that holds the byte at `at`.
fn line_columns(source: &str, at: usize) -> usize {
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source[at..]
        .find('\n')
        .map_or(source.len(), |newline| at + newline);
    source[start..end].trim_end().chars().count()
}

/// Returns the length of a block comment, those nested in it included.
fn block_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0u32, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        at += match here {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                if depth == 0 {
                    return at + 2;
                }
                2
            }
            _ => 1,
        };
    }
    rest.len()
}

/// Returns the length of a string literal from its opening quote.
fn string_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns the length of a raw string literal from its `r`; `None` if this is something else.
fn raw_string_length(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body
        .find(&close)
        .map_or(body.len(), |end| end + close.len());
    Some(2 + hashes + end)
}

/// Returns the length of a character literal, or 1 for the quote of a lifetime.
fn quote_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            // The character after the backslash may be a quote.
            rest[3.min(rest.len())..]
                .find('\'')
                .map_or(1, |end| end + 4)
        }
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Finds the kind of the item at the start of `rest`, behind attributes and comments.
fn item_after(mut rest: &str) -> Item {
    loop {
        rest = rest.trim_start();
        let skipped = match rest.as_bytes() {
            [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => block_length(rest),
            [b'#', b'[', ..] => attribute_length(rest),
            _ => break,
        };
        rest = &rest[skipped..];
    }
    loop {
        let length = rest
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        rest = after.trim_start();
        match word {
            "fn" => return Item::Function,
            "struct" | "enum" | "union" | "trait" | "type" | "static" => return Item::Thing,
            "const"
                if !["fn ", "unsafe ", "extern ", "async "]
                    .iter()
                    .any(|next| rest.starts_with(next)) =>
            {
                return Item::Thing;
            }
            "const" | "unsafe" | "async" | "default" => {}
            "extern" if rest.starts_with('"') => rest = rest[string_length(rest)..].trim_start(),
            "extern" => {}
            "pub" if rest.starts_with('(') => {
                rest = rest
                    .find(')')
                    .map_or("", |end| rest[end + 1..].trim_start());
            }
            "pub" => {}
            _ => return Item::Other,
        }
    }
}

/// Returns the length of an attribute, brackets in strings aside.
fn attribute_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0u32, 0);
    while let Some(byte) = rest.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string_length(&rest[at..]);
                continue;
            }
            b'[' => depth += 1,
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        rust(source)
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
    fn adjacent_line_comments_of_one_kind_are_one() {
        let source = "// a\n// b\n\n// c\n/// d\nfn f() {} // e\n// f\n";
        assert_eq!(texts(source), ["a|b", "c", "d", "e", "f"]);
        let numbers: Vec<u32> = rust(source)
            .iter()
            .map(|comment| comment.lines[0].number)
            .collect();
        assert_eq!(numbers, [1, 4, 5, 6, 7]);
    }

    #[test]
    fn strings_hold_no_comments() {
        for source in [
            "let a = \"// no\";",
            "let a = \"\\\"// no\";",
            "let a = r\"// no\\\";",
            "let a = r##\"\"# // no\"##;",
            "let a = br#\"\" // no\"#;",
            "let a = b\"/* no\";",
            "let a = '\"'; let b = \"// no\";",
            "let a = '\\''; let b = \"// no\";",
            "let a = 'ä'; let b = \"// no\";",
        ] {
            assert!(texts(source).is_empty(), "{source}: {:?}", texts(source));
        }
        assert_eq!(texts("fn f<'a>(x: &'a str) {} // yes"), ["yes"]);
        assert_eq!(texts("let r#type = 1; // yes"), ["yes"]);
        assert_eq!(texts("let for_r = bar\"x\"; // yes"), ["yes"]);
        assert_eq!(texts("let a = r#\"x\"#; // yes"), ["yes"]);
    }

    #[test]
    fn block_comments_nest() {
        assert_eq!(
            texts("/* a /* b */ c */ let x; /* d */"),
            ["a /* b */ c", "d"]
        );
        let source = "/**\n * One.\n * Two.\n */\nstruct S;";
        let found = rust(source);
        assert_eq!(found[0].owner, Owner::Item(Item::Thing));
        assert_eq!(
            (found[0].lines[1].number, found[0].lines[1].text.as_str()),
            (2, "One.")
        );
        assert_eq!(texts("/**/ let x; // y")[1], "y");
        assert_eq!(texts("/* open"), ["open"]);
        assert_eq!(texts("/*"), [""]);
    }

    #[test]
    fn the_documented_item_is_found() {
        for (source, item) in [
            (
                "/// x\npub(crate) const unsafe extern \"C\" fn f() {}",
                Item::Function,
            ),
            (
                "/// x\n#[cfg(any(a, b))]\n#[doc = \"]\"]\n// z\npub async fn f() {}",
                Item::Function,
            ),
            ("/// x\npub const A: u32 = 1;", Item::Thing),
            ("/// x\nstatic A: u32 = 1;", Item::Thing),
            ("/// x\npub unsafe trait A {}", Item::Thing),
            ("/// x\npub field: u32,", Item::Other),
            ("/// x\nVariant(u32),", Item::Other),
            ("/// x", Item::Other),
        ] {
            assert_eq!(rust(source)[0].owner, Owner::Item(item), "{source}");
        }
        assert_eq!(rust("//! x")[0].owner, Owner::Module);
        assert_eq!(rust("//// x")[0].owner, Owner::None);
    }

    #[test]
    fn columns_are_those_of_the_whole_line() {
        assert_eq!(rust("    let ä = 1; // two  \n")[0].lines[0].columns, 21);
    }
}
