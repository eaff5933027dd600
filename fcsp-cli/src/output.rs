//! Output formats: JSON documents, aligned tables, bars.

use std::io::Write;
use std::sync::OnceLock;

use serde::Serialize;

/// Prints one JSON document on stdout, with a line feed.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    line(&text)
}

/// Prints one line on stdout.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// Alignment of a column's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Amounts.
    Right,
}

/// Text in columns, each as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with a heading.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            align: columns.iter().map(|&(_, align)| align).collect(),
            rows: vec![columns.iter().map(|&(name, _)| name.to_owned()).collect()],
        }
    }

    /// Adds a row; cells beyond the heading are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().take(self.align.len()).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let width: Vec<usize> = (0..self.align.len())
            .map(|column| {
                self.rows
                    .iter()
                    .map(|row| cell(row, column).chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut text = String::new();
            for (column, align) in self.align.iter().enumerate() {
                let value = cell(row, column);
                match align {
                    Align::Left => text.push_str(&format!("{value:<0$}  ", width[column])),
                    Align::Right => text.push_str(&format!("{value:>0$}  ", width[column])),
                }
            }
            if number > 0 {
                writeln!(f)?;
            }
            f.write_str(text.trim_end())?;
        }
        Ok(())
    }
}

/// The characters that pictures are made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// A full cell of a bar.
    pub full: &'static str,
    /// Eighths of a cell, from none.
    eighths: [char; 8],
    /// The ground under a bar.
    pub ground: &'static str,
    /// In place of text that was cut off.
    pub cut: char,
}

static UNICODE: Glyphs = Glyphs {
    full: "█",
    eighths: [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'],
    ground: "·",
    cut: '…',
};

static ASCII: Glyphs = Glyphs {
    full: "#",
    eighths: [' ', '-', '-', '-', '=', '=', '=', '='],
    ground: ".",
    cut: '~',
};

/// Returns the characters that the locale has. Without a locale the terminal is taken for a modern
/// one.
pub fn glyphs() -> &'static Glyphs {
    static CHOSEN: OnceLock<&Glyphs> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        glyphs_of(
            set("LC_ALL")
                .or_else(|| set("LC_CTYPE"))
                .or_else(|| set("LANG")),
        )
    })
}

fn glyphs_of(locale: Option<String>) -> &'static Glyphs {
    match locale.map(|locale| locale.to_lowercase()) {
        Some(locale) if !locale.contains("utf-8") && !locale.contains("utf8") => &ASCII,
        _ => &UNICODE,
    }
}

/// Returns text of at most `width` characters; one character stands for the part cut off.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push(glyphs().cut);
    clipped
}

/// Draws a bar of `width` cells, filled to `part` of `whole`, in eighths of a cell.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let glyphs = glyphs();
    let cells = width as u128 * 8;
    let filled = if whole == 0 {
        0
    } else {
        (u128::from(part.min(whole)) * cells / u128::from(whole)) as usize
    };
    // Something held is never shown as nothing.
    let filled = if part > 0 && whole > 0 {
        filled.max(1)
    } else {
        filled
    };
    let mut text: String = glyphs.full.repeat(filled / 8);
    if !filled.is_multiple_of(8) {
        text.push(glyphs.eighths[filled % 8]);
    }
    let used = text.chars().count();
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    text
}

/// Formats a share for people, in whole per cent; "-" of nothing.
pub fn percent(part: u64, whole: Option<u64>) -> String {
    match whole {
        Some(whole) if whole > 0 => format!("{}%", u128::from(part) * 100 / u128::from(whole)),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_which_characters_there_are() {
        let of = |text: &str| glyphs_of(Some(text.into()));
        assert_eq!(of("C"), &ASCII);
        assert_eq!(of("POSIX"), &ASCII);
        assert_eq!(of("en_US.ISO-8859-1"), &ASCII);
        assert_eq!(of("C.UTF-8"), &UNICODE);
        assert_eq!(of("de_DE.utf8"), &UNICODE);
        assert_eq!(glyphs_of(None), &UNICODE);
    }

    #[test]
    fn bars_fill_and_keep_their_width() {
        let full = glyphs().full;
        for (part, whole, cells) in [(0, 8, 0), (8, 8, 4), (9, 8, 4), (4, 8, 2), (5, 0, 0)] {
            let text = format!("{:<4}", full.repeat(cells));
            assert_eq!(bar(part, whole, 4), text);
        }
        // Something held is never shown as nothing.
        assert_ne!(bar(1, 1 << 40, 4).trim(), "");
        for part in 0..=100 {
            assert_eq!(bar(part, 100, 13).chars().count(), 13);
        }
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("NAME", Align::Left), ("BYTES", Align::Right)]);
        table.row(["a".into(), "1".into()]);
        table.row(["longer".into(), "123456".into()]);
        assert_eq!(
            table.to_string(),
            "NAME     BYTES\na            1\nlonger  123456"
        );
    }
}
