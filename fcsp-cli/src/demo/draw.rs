//! The demo's picture.

use fcsp_core::units::Bytes;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Show;
use super::stage::{Stage, Tenant};
use crate::output;
use crate::screen::{self, FAINT, HEADING, PALETTE};

fn colour(tenant: usize) -> Color {
    PALETTE[tenant % PALETTE.len()]
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, show: &Show) {
    let stage = &show.stage;
    let tenants = stage.tenants.len() as u16;
    // Three lines a tenant read best; a low terminal gets two.
    let each = if frame.area().height >= 24 { 3 } else { 2 };
    let [head, machine, _, body, events] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(tenants * each),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    draw_head(frame, head, show);
    draw_machine(frame, machine, stage);
    let rooms = Layout::vertical(vec![Constraint::Length(each); stage.tenants.len()]).split(body);
    for (index, (tenant, room)) in stage.tenants.iter().zip(rooms.iter()).enumerate() {
        draw_tenant(frame, *room, index, tenant);
    }
    draw_events(frame, events, show);
}

fn draw_head(frame: &mut Frame, area: Rect, show: &Show) {
    let left = show.length.saturating_sub(show.stage.elapsed());
    let lines = vec![
        Line::from(vec![
            Span::styled("fcsp demo", HEADING),
            Span::raw(match area.width {
                0..60 => format!("   {} tenants, simulated", show.stage.tenants.len()),
                _ => format!(
                    "   one simulated {}, {} tenants",
                    show.stage.device,
                    show.stage.tenants.len()
                ),
            }),
        ]),
        Line::styled(
            format!("{:.0} s left, q ends it", left.as_secs_f64().ceil()),
            FAINT,
        ),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

/// Draws the device as one bar in the tenants' colours.
fn draw_machine(frame: &mut Frame, area: Rect, stage: &Stage) {
    let width = usize::from(area.width);
    let glyphs = output::glyphs();
    let mut spans = Vec::new();
    let (mut used, mut cells) = (0u64, 0usize);
    for (index, tenant) in stage.tenants.iter().enumerate() {
        used += tenant.judged;
        // From the running sum, so that rounding never adds up to a cell too many.
        let end = (u128::from(used) * width as u128 / u128::from(stage.total.max(1))) as usize;
        spans.push(Span::styled(
            glyphs.full.repeat(end.saturating_sub(cells)),
            Style::new().fg(colour(index)),
        ));
        cells = cells.max(end);
    }
    spans.push(Span::styled(
        glyphs.ground.repeat(width.saturating_sub(cells)),
        FAINT,
    ));
    let lines = vec![
        Line::from(format!(
            "GPU memory: {} of {}{}",
            Bytes(used),
            Bytes(stage.total),
            if width >= 72 {
                " in use, as the device itself counts it"
            } else {
                ""
            }
        )),
        Line::from(spans),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_tenant(frame: &mut Frame, area: Rect, index: usize, tenant: &Tenant) {
    let width = usize::from(area.width);
    let processes = match (tenant.processes(), tenant.killed) {
        (0, true) => "killed".to_owned(),
        (0, false) => "not running".to_owned(),
        (1, _) => "1 process".to_owned(),
        (count, _) => format!("{count} processes"),
    };
    // On a narrow screen the counts matter more than what the tenant plays.
    let about = match width {
        0..72 => String::new(),
        _ => format!("{:<37}", tenant.about),
    };
    let title = Line::from(vec![
        Span::styled(format!("{:<9}", tenant.name), HEADING.fg(colour(index))),
        Span::raw(about),
        Span::styled(format!("{processes:<13}"), FAINT),
        Span::styled(
            format!("{} refused", tenant.refused),
            if tenant.refused > 0 {
                Style::new().fg(Color::Red)
            } else {
                FAINT
            },
        ),
    ]);
    let amounts = format!(
        " {:>9} of {:<9}",
        Bytes(tenant.used()).to_string(),
        Bytes(tenant.quota).to_string()
    );
    let mut bar = screen::bar(
        tenant.used(),
        tenant.quota,
        width.saturating_sub(amounts.chars().count()).clamp(1, 90),
        colour(index),
    );
    bar.push_span(Span::raw(amounts));
    frame.render_widget(Paragraph::new(vec![title, bar]), area);
}

fn draw_events(frame: &mut Frame, area: Rect, show: &Show) {
    let room = usize::from(area.height);
    let lines: Vec<Line> = show
        .notes
        .iter()
        .skip(show.notes.len().saturating_sub(room))
        .map(|note| {
            let mut spans = vec![Span::styled(
                format!("{:4.1} s ", note.at.as_secs_f64()),
                FAINT,
            )];
            if let Some(tenant) = note.tenant {
                spans.push(Span::styled(
                    format!("{:<9}", show.stage.tenants[tenant].name),
                    Style::new().fg(colour(tenant)),
                ));
            }
            spans.push(Span::raw(note.text.clone()));
            Line::from(spans)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}
