//! `fcsp top`: tenants, live.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fcsp::units::{Bytes, Percent};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::shares::{self, Sampler};
use super::tenants::{DeviceView, TenantView};
use super::{Context, output, ps, screen};

const HELP: &str = "\
Keys: q quit, up and down scroll, a show dead tenants too.
Into a pipe or a file it prints once, as --once does.

HAD is GPU time had per time passed, HELD the time its launches stood at the gate, QUEUE the GPU time submitted and
not yet done, LATE the launches that went because a deadline passed, MIX what its GPU time went into. Live, HAD, HELD and MIX
are of the last second.

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
    sampler: Sampler,
    trouble: Option<String>,
    scroll: usize,
    all: bool,
    /// Refusals by tenant and device when last seen, and when they last rose.
    refusals: HashMap<(String, String), (u64, Option<Instant>)>,
}

impl State {
    fn refresh(&mut self, context: &Context) {
        match ps::list(context, self.all) {
            Ok(mut tenants) => {
                self.sampler.compare(&mut tenants);
                (self.tenants, self.trouble) = (tenants, None);
            }
            Err(error) => self.trouble = Some(format!("{error:#}")),
        }
        let now = Instant::now();
        for tenant in &self.tenants {
            for device in &tenant.devices {
                let refused = device.region.refused;
                let key = (tenant.name.clone(), device.region.uuid.clone());
                let known = self.refusals.entry(key).or_insert((refused, None));
                if refused > known.0 {
                    known.1 = Some(now);
                }
                known.0 = refused;
            }
        }
    }

    fn glows(&self, tenant: &TenantView, device: &DeviceView) -> bool {
        self.refusals
            .get(&(tenant.name.clone(), device.region.uuid.clone()))
            .and_then(|(_, at)| *at)
            .is_some_and(|at| at.elapsed() < GLOW)
    }
}

/// `fcsp top`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.json || args.once || !screen::is_live() {
        let tenants = ps::sampled(context, args.all)?;
        if args.json {
            output::json(&ps::document(context, &tenants))?;
        } else {
            output::line(&ps::table(&tenants, true).to_string())?;
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
    /// Share of its time that tenants had, where any of them has one.
    had: Option<f64>,
    tenants: usize,
}

fn devices(tenants: &[TenantView]) -> BTreeMap<String, DeviceSum> {
    let mut sums: BTreeMap<String, DeviceSum> = BTreeMap::new();
    for device in tenants
        .iter()
        .filter(|tenant| tenant.alive)
        .flat_map(|tenant| &tenant.devices)
    {
        let region = &device.region;
        let sum = sums.entry(region.uuid.clone()).or_default();
        sum.total = sum.total.max(region.total_bytes);
        sum.used = sum.used.saturating_add(region.used_bytes);
        sum.promised = sum
            .promised
            .saturating_add(region.limit_bytes.unwrap_or(region.total_bytes));
        if let Some(had) = device.compute.as_ref().and_then(|share| share.had) {
            sum.had = Some(sum.had.unwrap_or(0.0) + had);
        }
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
                "q quit   up/down scroll   a {} dead tenants   {}",
                if state.all { "hide" } else { "show" },
                if frame.area().width >= FULL_WIDTH {
                    "HELD: launches waiting, LATE: let go by a deadline"
                } else {
                    "HELD: launches waiting"
                }
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
        .flat_map(|device| &device.region.processes)
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
        .saturating_sub(if wide { 87 } else { 63 })
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
            if let Some(had) = sum.had {
                line.push_span(Span::raw(format!("  {:.0}% busy", had * 100.0)));
            }
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

/// Width from which everything is shown.
const FULL_WIDTH: u16 = 112;

/// Width from which the class of most work is shown.
const MIX_WIDTH: u16 = 132;
/// Width from which two classes are.
const LONG_MIX_WIDTH: u16 = 160;

/// Columns by what the width allows.
struct Columns {
    /// Whether there is room for everything: else peak, queue and late launches are left out and the rest is narrow.
    full: bool,
    name: u16,
    bar: u16,
    amount: u16,
    refused: u16,
    compute: u16,
    part: u16,
    /// 0 where there is no room for it.
    mix: u16,
}

fn columns(width: u16, longest_name: usize) -> Columns {
    let full = width >= FULL_WIDTH;
    let mut columns = Columns {
        full,
        name: 12,
        bar: 6,
        amount: if full { 10 } else { 9 },
        refused: if full { 7 } else { 4 },
        compute: if full { 14 } else { 12 },
        part: if full { 5 } else { 4 },
        mix: match width {
            0..MIX_WIDTH => 0,
            MIX_WIDTH..LONG_MIX_WIDTH => 17,
            _ => 33,
        },
    };
    let least: u16 = columns.list("").iter().map(|column| column.width + 1).sum();
    // What is left over goes to long names, to shares in full, and to the bar.
    let spare = width.saturating_sub(least.saturating_sub(1));
    let name = (longest_name as u16).saturating_sub(columns.name).min(spare / 3);
    let compute = if full { (spare / 3).min(14) } else { 0 };
    columns.name += name;
    columns.compute += compute;
    columns.bar = (columns.bar + spare - name - compute).min(40);
    columns
}

/// A column's heading, width, and whether it holds amounts.
struct Column {
    heading: &'static str,
    width: u16,
    right: bool,
}

impl Columns {
    /// The columns, with `bar` as the heading of the bar.
    fn list(&self, bar: &'static str) -> Vec<Column> {
        let left = |heading, width| Column {
            heading,
            width,
            right: false,
        };
        let right = |heading, width| Column {
            heading,
            width,
            right: true,
        };
        let mut list = vec![
            left("TENANT", self.name),
            left("DEVICE", 8),
            left(bar, self.bar),
            right("USED", self.amount),
            right("QUOTA", self.amount),
        ];
        if self.full {
            list.push(right("PEAK", self.amount));
        }
        list.push(right(if self.full { "REFUSED" } else { "REF" }, self.refused));
        list.push(left("COMPUTE", self.compute));
        list.push(right("HAD", self.part));
        list.push(right("HELD", self.part));
        if self.full {
            list.extend([right("QUEUE", 6), right("LATE", 4)]);
        }
        if self.mix > 0 {
            list.push(left("MIX", self.mix));
        }
        list
    }

    /// Bytes in a column of amounts.
    fn bytes(&self, bytes: u64) -> Cell<'static> {
        let text = Bytes(bytes).to_string();
        // Two decimals of a four-digit number are the only thing too wide.
        right(match text.split_once('.') {
            Some((whole, unit)) if text.chars().count() > usize::from(self.amount) => {
                format!("{whole}{}", unit.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            _ => text,
        })
    }

    /// A number in the column of refusals.
    fn count(&self, count: u64) -> Cell<'static> {
        let text = count.to_string();
        right(match text.len() {
            length if length <= usize::from(self.refused) => text,
            0..=6 => format!("{}k", count / 1_000),
            7..=9 => format!("{}M", count / 1_000_000),
            _ => "many".into(),
        })
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

    let list = columns.list("MEMORY");
    let widths: Vec<Constraint> = list
        .iter()
        .map(|column| Constraint::Length(column.width))
        .collect();
    let heading: Vec<Cell> = list
        .iter()
        .map(|column| match column.right {
            true => right(column.heading.into()),
            false => Cell::from(column.heading),
        })
        .collect();
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
        cells.push(right(clip(&tenant.memory_text(), columns.amount.into())));
        if columns.full {
            cells.push(right("-".into()));
        }
        cells.extend([right("-".into()), compute(tenant, columns)]);
        return vec![Row::new(cells)];
    }
    let mut rows = Vec::new();
    for device in &tenant.devices {
        let region = &device.region;
        let quota = region.limit_bytes.unwrap_or(region.total_bytes);
        let mut cells = vec![
            name(),
            Cell::from(region.uuid.chars().skip(4).take(8).collect::<String>()),
            Cell::from(screen::bar(
                region.used_bytes,
                quota,
                columns.bar.into(),
                screen::heat(region.used_bytes, quota),
            )),
            columns.bytes(region.used_bytes),
            match region.limit_bytes {
                Some(limit) => columns.bytes(limit),
                None => right("unlimited".into()),
            },
        ];
        if columns.full {
            cells.push(columns.bytes(region.peak_bytes));
        }
        let refused = columns.count(region.refused);
        cells.push(if state.glows(tenant, device) {
            refused.style(Style::new().fg(Color::Red))
        } else {
            refused
        });
        cells.push(compute(tenant, columns));
        if let Some(share) = &device.compute {
            let [had, held, queue, late, _] = ps::share_cells(share);
            let waiting = share.throttled.is_some_and(|part| part >= 0.005);
            cells.push(right(had));
            cells.push(right(held).style(if waiting {
                Style::new().fg(Color::Yellow)
            } else {
                Style::new()
            }));
            if columns.full {
                cells.extend([right(queue), right(late)]);
            }
            if columns.mix > 0 {
                let words = if columns.mix > 20 { 2 } else { 1 };
                let text = shares::mostly(&share.mix, words);
                cells.push(Cell::from(clip(&text, columns.mix.into())));
            }
        }
        rows.push(Row::new(cells));
        for process in region
            .processes
            .iter()
            .filter(|process| process.alive || state.all)
        {
            let mut cells = vec![
                Cell::from(format!("  {}", process.pid)),
                Cell::from(""),
                Cell::from(clip(&process.name, columns.bar.into())),
                columns.bytes(process.held_bytes),
                right(if process.alive {
                    String::new()
                } else {
                    "dead".into()
                }),
            ];
            if columns.full {
                cells.push(Cell::from(""));
            }
            cells.push(columns.count(process.refused));
            rows.push(Row::new(cells).style(screen::FAINT));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shares::Share;
    use fcsp::region::RegionSnapshot;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn view() -> TenantView {
        let region = RegionSnapshot {
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
                refused: 12,
            }],
        };
        let share = Share {
            quota: Some(0.25),
            had: Some(0.2496),
            throttled: Some(0.61),
            in_flight_ns: 1_500_000,
            let_through: 3,
            mix: [("attention", 0.25), ("gemm", 0.71), ("other", 0.04)].into(),
            ..Share::default()
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
            devices: vec![DeviceView {
                region,
                compute: Some(share),
                units: None,
            }],
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
        for (width, height) in [(80, 24), (120, 40), (140, 40), (180, 50)] {
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
                "25%",
                "61%",
                "25% busy",
            ] {
                assert!(picture.contains(part), "{part} at {width}x{height}:\n{picture}");
            }
            assert_eq!(
                picture.contains("PEAK") && picture.contains("1.5ms"),
                width >= FULL_WIDTH
            );
            assert_eq!(picture.contains("gemm 71%"), width >= MIX_WIDTH);
            assert_eq!(picture.contains("attention 25%"), width >= LONG_MIX_WIDTH);
        }
    }

    #[test]
    fn long_texts_are_cut_visibly() {
        assert_eq!(clip("train", 5), "train");
        assert_eq!(clip("training", 5), "trai…");
        assert_eq!(clip("x", 0), "…");
    }

    #[test]
    fn every_width_is_used_up_and_not_exceeded() {
        for width in 80..200 {
            for name in [1, 12, 15, 40] {
                let columns = columns(width, name);
                let all: u16 = columns.list("").iter().map(|column| column.width + 1).sum();
                assert!(all - 1 <= width, "{} at {width} with {name}", all - 1);
            }
        }
        let columns = columns(80, 0);
        for bytes in [0, 1, 1023, (1 << 20) - 1, (1 << 30) - 1, (80 << 30) - 1, 1 << 50] {
            let text = Bytes(bytes).to_string();
            let cell = format!("{:?}", columns.bytes(bytes));
            let shown = cell.split('"').nth(1).unwrap_or("");
            assert!(shown.chars().count() <= 9, "{text} as {shown}");
        }
    }

    #[test]
    fn a_tiny_terminal_does_not_panic() {
        for size in [(1, 1), (10, 3), (40, 5)] {
            picture(size.0, size.1);
        }
    }
}
