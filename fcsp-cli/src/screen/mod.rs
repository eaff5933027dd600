//! Common parts of the live pictures of `top` and `demo`.

mod keys;
mod terminal;

use std::io::IsTerminal;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::output;
pub use keys::Key;
pub use terminal::{End, Event, Session, abandon, finish};

/// Colours that tell tenants apart, in order; from the terminal's own palette, so that they suit
/// its background.
pub const PALETTE: [Color; 6] = [
    Color::Cyan,
    Color::Magenta,
    Color::Yellow,
    Color::Blue,
    Color::Green,
    Color::LightRed,
];

/// Headings.
pub const HEADING: Style = Style::new().add_modifier(Modifier::BOLD);
/// Style of less important text.
pub const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// Returns whether stdin and stdout are a terminal that can move its cursor.
pub fn is_live() -> bool {
    std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal()
        && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// Returns the colour of a quota that is this full.
pub fn heat(used: u64, quota: u64) -> Color {
    match u128::from(used) * 100 / u128::from(quota.max(1)) {
        0..80 => Color::Green,
        80..95 => Color::Yellow,
        _ => Color::Red,
    }
}

/// Draws a bar on a faint ground, so that its whole length can be seen.
pub fn bar(used: u64, quota: u64, width: usize, colour: Color) -> Line<'static> {
    let text = output::bar(used, quota, width);
    let filled = text.trim_end_matches(' ').to_owned();
    let empty = output::glyphs()
        .ground
        .repeat(width.saturating_sub(filled.chars().count()));
    Line::from(vec![
        Span::styled(filled, Style::new().fg(colour)),
        Span::styled(empty, FAINT),
    ])
}
