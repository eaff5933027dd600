//! How answers look: JSON documents, aligned tables, bars.

use std::io::Write;

use serde::Serialize;

/// One JSON document on stdout, with a line feed.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    line(&text)
}

/// One line on stdout.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// Which way a column's text leans.
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
    /// A table with a heading.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            align: columns.iter().map(|&(_, align)| align).collect(),
            rows: vec![columns.iter().map(|&(name, _)| name.to_owned()).collect()],
        }
    }

    /// Adds a row; cells beyond the heading are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().take(self.align.len()).collect());
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

/// A bar of `width` cells, filled to `part` of `whole`, in eighths of a cell.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
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
    let mut text: String = "█".repeat(filled / 8);
    if !filled.is_multiple_of(8) {
        text.push(EIGHTHS[filled % 8]);
    }
    let used = text.chars().count();
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    text
}

/// A share for people, to the whole per cent; "-" of nothing.
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
    fn bars_fill_and_keep_their_width() {
        for (part, whole, text) in [
            (0, 8, "    "),
            (8, 8, "████"),
            (9, 8, "████"),
            (4, 8, "██  "),
            (1, 1 << 40, "▏   "),
            (5, 0, "    "),
        ] {
            assert_eq!(bar(part, whole, 4), text);
        }
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
