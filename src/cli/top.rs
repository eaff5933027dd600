//! `fcsp top`: tenants, live.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fcsp::region::RegionSnapshot;
use fcsp::units::{Bytes, Percent};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::tenants::TenantView;
use super::{Context, output, ps, screen};

const HELP: &str = "\
Keys: q quit, up and down scroll, a show dead tenants too.
Into a pipe or a file it prints once, as --once does.

JSON keys: as `fcsp ps --json`.";

/// Pictures a second.
const RATE: u32 = 4;
/// How long a refusal stays lit.
const GLOW: Duration = Duration::from_secs(2);

/// Options of `fcsp top`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Print once and end
    #[arg(long)]
    once: bool,
    /// Show dead tenants that nobody named, too
    #[arg(long, short)]
    all: bool,
    /// Print one JSON document and end
    #[arg(long)]
    json: bool,
}

/// What is kept from picture to picture.
#[derive(Debug, Default)]
struct State {
    tenants: Vec<TenantView>,
    trouble: Option<String>,
    scroll: usize,
    all: bool,
    /// Refusals by tenant and device when last seen, and when they last rose.
    refusals: HashMap<(String, String), (u64, Option<Instant>)>,
}

impl State {
    fn refresh(&mut self, context: &Context) {
        match ps::list(context, self.all) {
            Ok(tenants) => (self.tenants, self.trouble) = (tenants, None),
            Err(error) => self.trouble = Some(format!("{error:#}")),
        }
        let now = Instant::now();
        for tenant in &self.tenants {
            for device in &tenant.devices {
                let key = (tenant.name.clone(), device.uuid.clone());
                let known = self.refusals.entry(key).or_insert((device.refused, None));
                if device.refused > known.0 {
                    known.1 = Some(now);
                }
                known.0 = device.refused;
            }
        }
    }

    fn glows(&self, tenant: &TenantView, device: &RegionSnapshot) -> bool {
        self.refusals
            .get(&(tenant.name.clone(), device.uuid.clone()))
            .and_then(|(_, at)| *at)
            .is_some_and(|at| at.elapsed() < GLOW)
    }
}

/// `fcsp top`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.json || args.once || !screen::is_live() {
        let tenants = ps::list(context, args.all)?;
        if args.json {
            output::json(&ps::document(context, &tenants))?;
        } else {
            output::line(&ps::table(&tenants).to_string())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminal = ratatui::try_init()?;
    let result = (|| -> anyhow::Result<()> {
        let mut state = State {
            all: args.all,
            ..State::default()
        };
        loop {
            state.refresh(context);
            terminal.draw(|frame| draw(frame, &mut state))?;
            let next = Instant::now() + Duration::from_secs(1) / RATE;
            loop {
                match screen::key(next.saturating_duration_since(Instant::now()))? {
                    None => break,
                    Some(screen::Key::Quit) => return Ok(()),
                    Some(screen::Key::Up) => state.scroll = state.scroll.saturating_sub(1),
                    Some(screen::Key::Down) => state.scroll += 1,
                    Some(screen::Key::All) => {
                        state.all = !state.all;
                        break;
                    }
                    Some(screen::Key::Other) => {}
                }
                terminal.draw(|frame| draw(frame, &mut state))?;
            }
        }
    })();
    ratatui::restore();
    result.map(|()| ExitCode::SUCCESS)
}

/// What all tenants together hold of a device.
#[derive(Debug, Default)]
struct DeviceSum {
    total: u64,
    used: u64,
    promised: u64,
    tenants: usize,
}

fn devices(tenants: &[TenantView]) -> BTreeMap<String, DeviceSum> {
    let mut sums: BTreeMap<String, DeviceSum> = BTreeMap::new();
    for device in tenants
        .iter()
        .filter(|tenant| tenant.alive)
        .flat_map(|tenant| &tenant.devices)
    {
        let sum = sums.entry(device.uuid.clone()).or_default();
        sum.total = sum.total.max(device.total_bytes);
        sum.used = sum.used.saturating_add(device.used_bytes);
        sum.promised = sum
            .promised
            .saturating_add(device.limit_bytes.unwrap_or(device.total_bytes));
        sum.tenants += 1;
    }
    sums
}

fn plural(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ if one.ends_with('s') => format!("{count} {one}es"),
        _ => format!("{count} {one}s"),
    }
}

fn draw(frame: &mut Frame, state: &mut State) {
    let sums = devices(&state.tenants);
    // At most a third of the screen: a machine has sixteen devices, but the tenants are what one came for.
    let shown = sums.len().min(usize::from(frame.area().height) / 3) as u16;
    let [head, machine, _, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(shown),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, state);
    draw_devices(frame, machine, &sums);
    draw_tenants(frame, body, state);
    let foot_text = match &state.trouble {
        Some(trouble) => Line::styled(trouble.clone(), Style::new().fg(Color::Red)),
        None => Line::styled(
            format!(
                "q quit   up/down scroll   a {} dead tenants",
                if state.all { "hide" } else { "show" }
            ),
            screen::FAINT,
        ),
    };
    frame.render_widget(Paragraph::new(foot_text), foot);
}

fn draw_head(frame: &mut Frame, area: Rect, state: &State) {
    let mut pids: Vec<u32> = state
        .tenants
        .iter()
        .flat_map(|tenant| &tenant.devices)
        .flat_map(|device| &device.processes)
        .filter(|process| process.alive)
        .map(|process| process.pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let alive = state.tenants.iter().filter(|tenant| tenant.alive).count();
    let line = Line::from(vec![
        Span::styled("fcsp top", screen::HEADING),
        Span::raw(format!(
            "   {}, {} on a device",
            plural(alive, "tenant"),
            plural(pids.len(), "process")
        )),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

fn draw_devices(frame: &mut Frame, area: Rect, sums: &BTreeMap<String, DeviceSum>) {
    let wide = area.width >= 100;
    let width = usize::from(area.width)
        .saturating_sub(if wide { 76 } else { 52 })
        .max(8);
    let lines: Vec<Line> = sums
        .iter()
        .map(|(uuid, sum)| {
            let mut line = Line::from(format!("{}  ", ps::short(uuid)));
            line.spans
                .extend(screen::bar(sum.used, sum.total, width, Color::Cyan).spans);
            line.push_span(Span::raw(format!(
                "  {} of {}",
                Bytes(sum.used),
                Bytes(sum.total)
            )));
            if wide {
                line.push_span(Span::styled(
                    format!(
                        "  {}, quotas {}",
                        plural(sum.tenants, "tenant"),
                        Bytes(sum.promised)
                    ),
                    screen::FAINT,
                ));
            }
            line
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// Text of at most `width` characters; what was cut off shows as a dot.
fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// Columns by what the width allows.
struct Columns {
    name: u16,
    bar: usize,
    peak: bool,
    compute: u16,
}

fn columns(width: u16, longest_name: usize) -> Columns {
    let wide = width >= 100;
    let compute = if wide { 24 } else { 13 };
    let name = longest_name.clamp(12, if wide { 28 } else { 15 }) as u16;
    // Device 8, used 10, quota 10, refused 7, where there is room peak 10; and the gaps between.
    let fixed = name + 8 + 10 + 10 + 7 + compute + if wide { 10 + 7 } else { 6 };
    Columns {
        name,
        bar: usize::from(width.saturating_sub(fixed)).clamp(6, 40),
        peak: wide,
        compute,
    }
}

/// The share that was asked for: in full where there is room, else just how much and how.
fn compute(tenant: &TenantView, columns: &Columns) -> Cell<'static> {
    let width = usize::from(columns.compute);
    let full = tenant.compute_text();
    let text = match tenant.limits.compute.iter().next() {
        Some((_, params)) if full.chars().count() > width => {
            let more = if tenant.limits.compute.iter().count() > 1 {
                " …"
            } else {
                ""
            };
            format!("{} {}{more}", Percent(params.quota), params.mode)
        }
        _ => full,
    };
    Cell::from(clip(&text, width))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn draw_tenants(frame: &mut Frame, area: Rect, state: &mut State) {
    let longest = state
        .tenants
        .iter()
        .map(|tenant| label(tenant).chars().count())
        .max();
    let columns = columns(area.width, longest.unwrap_or(0));
    let mut rows = Vec::new();
    for tenant in &state.tenants {
        rows.extend(tenant_rows(tenant, state, &columns));
    }
    if rows.is_empty() {
        let text = "no tenants; start one with `fcsp run --memory 8GiB -- PROGRAM`";
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let room = usize::from(area.height.saturating_sub(1));
    state.scroll = state.scroll.min(rows.len().saturating_sub(room));
    let rows: Vec<Row> = rows.into_iter().skip(state.scroll).collect();

    let mut heading = vec![Cell::from("TENANT"), Cell::from("DEVICE"), Cell::from("MEMORY")];
    heading.extend([right("USED".into()), right("QUOTA".into())]);
    let mut widths = vec![
        Constraint::Length(columns.name),
        Constraint::Length(8),
        Constraint::Length(columns.bar as u16),
        Constraint::Length(10),
        Constraint::Length(10),
    ];
    if columns.peak {
        heading.push(right("PEAK".into()));
        widths.push(Constraint::Length(10));
    }
    heading.extend([right("REFUSED".into()), Cell::from("COMPUTE")]);
    widths.extend([Constraint::Length(7), Constraint::Length(columns.compute)]);
    let table = Table::new(rows, widths)
        .header(Row::new(heading).style(screen::HEADING))
        .column_spacing(1);
    frame.render_widget(table, area);
}

/// A tenant's name, with its state where that is not the usual one.
fn label(tenant: &TenantView) -> String {
    match ps::state(tenant) {
        "running" => tenant.name.clone(),
        other => format!("{} ({other})", tenant.name),
    }
}

fn tenant_rows(tenant: &TenantView, state: &State, columns: &Columns) -> Vec<Row<'static>> {
    let name_style = match (tenant.alive, tenant.paused) {
        (false, _) => screen::FAINT,
        (true, true) => Style::new().fg(Color::Yellow),
        (true, false) => screen::HEADING,
    };
    let name = || -> Cell<'static> {
        let text = clip(&label(tenant), columns.name.into());
        Cell::from(Span::styled(text, name_style))
    };
    if tenant.devices.is_empty() {
        let mut cells = vec![name(), Cell::from("-"), Cell::from(""), right("-".into())];
        cells.push(right(tenant.memory_text()));
        if columns.peak {
            cells.push(right("-".into()));
        }
        cells.extend([right("-".into()), compute(tenant, columns)]);
        return vec![Row::new(cells)];
    }
    let mut rows = Vec::new();
    for device in &tenant.devices {
        let quota = device.limit_bytes.unwrap_or(device.total_bytes);
        let mut cells = vec![
            name(),
            Cell::from(device.uuid.chars().skip(4).take(8).collect::<String>()),
            Cell::from(screen::bar(
                device.used_bytes,
                quota,
                columns.bar,
                screen::heat(device.used_bytes, quota),
            )),
            right(Bytes(device.used_bytes).to_string()),
            right(
                device
                    .limit_bytes
                    .map_or("unlimited".into(), |limit| Bytes(limit).to_string()),
            ),
        ];
        if columns.peak {
            cells.push(right(Bytes(device.peak_bytes).to_string()));
        }
        let refused = right(device.refused.to_string());
        cells.push(if state.glows(tenant, device) {
            refused.style(Style::new().fg(Color::Red))
        } else {
            refused
        });
        cells.push(compute(tenant, columns));
        rows.push(Row::new(cells));
        for process in device
            .processes
            .iter()
            .filter(|process| process.alive || state.all)
        {
            let mut cells = vec![
                Cell::from(format!("  {}", process.pid)),
                Cell::from(""),
                Cell::from(process.name.clone()),
                right(Bytes(process.held_bytes).to_string()),
                right(if process.alive {
                    String::new()
                } else {
                    "dead".into()
                }),
            ];
            if columns.peak {
                cells.push(Cell::from(""));
            }
            cells.push(right(process.refused.to_string()));
            rows.push(Row::new(cells).style(screen::FAINT));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn view() -> TenantView {
        let device = RegionSnapshot {
            uuid: "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778".into(),
            pci: None,
            total_bytes: 80 << 30,
            limit_bytes: Some(8 << 30),
            used_bytes: 6 << 30,
            peak_bytes: 7 << 30,
            refused: 12,
            reaped: 0,
            processes: vec![fcsp::region::ProcessSnapshot {
                pid: 4711,
                start_time: 1,
                name: "python3".into(),
                alive: true,
                held_bytes: 6 << 30,
                allocated_bytes: 6 << 30,
                overhead_bytes: 0,
                allocations: 3,
                refused: 12,
            }],
        };
        TenantView {
            name: "train".into(),
            alive: true,
            managed: true,
            paused: false,
            used_bytes: 6 << 30,
            refused: 12,
            memory: Vec::new(),
            compute: Vec::new(),
            roots: Vec::new(),
            devices: vec![device],
            problems: Vec::new(),
            limits: fcsp::control::Limits::default(),
        }
    }

    fn picture(width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut state = State {
            tenants: vec![view()],
            ..State::default()
        };
        terminal.draw(|frame| draw(frame, &mut state)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn every_number_is_readable_at_both_sizes() {
        for (width, height) in [(80, 24), (120, 40)] {
            let picture = picture(width, height);
            for part in [
                "train",
                "a04154c4",
                "6 GiB",
                "8 GiB",
                "12",
                "4711",
                "python3",
                "of 80 GiB",
                "1 process",
            ] {
                assert!(picture.contains(part), "{part} at {width}x{height}:\n{picture}");
            }
            assert_eq!(picture.contains("PEAK"), width >= 100);
        }
    }

    #[test]
    fn long_texts_are_cut_visibly() {
        assert_eq!(clip("train", 5), "train");
        assert_eq!(clip("training", 5), "trai…");
        assert_eq!(clip("x", 0), "…");
    }

    #[test]
    fn a_tiny_terminal_does_not_panic() {
        for size in [(1, 1), (10, 3), (40, 5)] {
            picture(size.0, size.1);
        }
    }
}
