//! What the live pictures of `top` and `demo` have in common.

use std::io::IsTerminal;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::output;

/// Colours that tell tenants apart, in order; from the terminal's own palette, so that they suit its background.
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
/// What matters less.
pub const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// Whether somebody is looking: stdin and stdout are a terminal that can move its cursor.
pub fn is_live() -> bool {
    std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal()
        && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// The colour of a quota that is this full.
pub fn heat(used: u64, quota: u64) -> Color {
    match u128::from(used) * 100 / u128::from(quota.max(1)) {
        0..80 => Color::Green,
        80..95 => Color::Yellow,
        _ => Color::Red,
    }
}

/// A bar on a faint ground, so that its whole length can be seen.
pub fn bar(used: u64, quota: u64, width: usize, colour: Color) -> Line<'static> {
    let text = output::bar(used, quota, width);
    let filled = text.trim_end_matches(' ').to_owned();
    let empty = "·".repeat(width.saturating_sub(filled.chars().count()));
    Line::from(vec![
        Span::styled(filled, Style::new().fg(colour)),
        Span::styled(empty, FAINT),
    ])
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// End.
    Quit,
    /// Towards the start.
    Up,
    /// Towards the end.
    Down,
    /// Show or hide the dead.
    All,
    /// The terminal's size changed, or a key that means nothing.
    Other,
}

/// Waits up to `patience` for a key.
pub fn key(patience: Duration) -> std::io::Result<Option<Key>> {
    if !event::poll(patience)? {
        return Ok(None);
    }
    Ok(Some(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => match (key.code, key.modifiers) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL) | (KeyCode::Char('q') | KeyCode::Esc, _) => Key::Quit,
            (KeyCode::Up | KeyCode::Char('k'), _) => Key::Up,
            (KeyCode::Down | KeyCode::Char('j'), _) => Key::Down,
            (KeyCode::Char('a'), _) => Key::All,
            _ => Key::Other,
        },
        _ => Key::Other,
    }))
}
