//! `fcsp top`: tenants, live.

mod table;

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fcsp_core::units::Bytes;
use fcsp_tenancy::{DeviceSnapshot, Sampler, TenantSnapshot};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::screen::{self, End, Event, Key, Session};
use super::{Context, output, ps};
use table::{FULL_WIDTH, columns, label, right, tenant_rows};

const HELP: &str = "\
Keys: q quit, up, down, page up, page down, home and end scroll, a show the ended, too, Ctrl-Z suspend.
Into a pipe or a file it prints once, as --once does.

UTIL is the device time used per time passed, THROTTLED (THR) the time that launches waited, QUEUE the device time submitted \
and not yet done, FORCED the launches that went because their deadline passed, MIX what the device time went into. Live, UTIL, \
THROTTLED and MIX are of the last second.

JSON keys: as `fcsp ps --json`.";

/// Pictures a second.
const RATE: u32 = 4;
/// Time for which a refusal stays lit.
const GLOW: Duration = Duration::from_secs(2);

/// Options of `fcsp top`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Print once and end
    #[arg(long)]
    once: bool,
    /// Show tenants and processes that have ended, too
    #[arg(long, short)]
    all: bool,
    /// Print one JSON document and end
    #[arg(long)]
    json: bool,
}

/// State kept from picture to picture.
#[derive(Debug, Default)]
struct State {
    tenants: Vec<TenantSnapshot>,
    /// Tenants that ended and are not shown.
    ended: usize,
    sampler: Sampler,
    trouble: Option<String>,
    scroll: usize,
    /// Rows that were drawn: what a page is.
    page: usize,
    all: bool,
    /// Refusals by tenant and device when last seen, and when they last rose.
    refusals: HashMap<(String, String), (u64, Option<Instant>)>,
}

impl State {
    fn refresh(&mut self, context: &Context) {
        match ps::list(context, self.all) {
            Ok(mut listing) => {
                self.sampler.compare(&mut listing.tenants);
                self.ended = listing.ended;
                (self.tenants, self.trouble) = (listing.tenants, None);
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

    fn scroll(&mut self, key: Key) {
        let page = self.page.max(1);
        self.scroll = match key {
            Key::Up => self.scroll.saturating_sub(1),
            Key::Down => self.scroll + 1,
            Key::PageUp => self.scroll.saturating_sub(page),
            Key::PageDown => self.scroll + page,
            Key::Home => 0,
            // As far as there are rows: drawing holds it to that.
            Key::End => usize::MAX / 2,
            _ => self.scroll,
        };
    }

    fn glows(&self, tenant: &TenantSnapshot, device: &DeviceSnapshot) -> bool {
        self.refusals
            .get(&(tenant.name.clone(), device.region.uuid.clone()))
            .and_then(|(_, at)| *at)
            .is_some_and(|at| at.elapsed() < GLOW)
    }
}

/// `fcsp top`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.json || args.once || !screen::is_live() {
        let listing = ps::sampled(context, args.all)?;
        if args.json {
            output::json(&ps::document(context, &listing))?;
        } else {
            ps::show(&listing, true, args.all)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut state = State {
        all: args.all,
        ..State::default()
    };
    let end = watch(context, &mut state)?;
    screen::finish(end)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the picture until something ends it. The terminal is given back at the return, an error's
/// too.
fn watch(context: &Context, state: &mut State) -> anyhow::Result<End> {
    let mut session = Session::open()?;
    loop {
        state.refresh(context);
        session.draw(|frame| draw(frame, state))?;
        let next = Instant::now() + Duration::from_secs(1) / RATE;
        while let Some(event) = session.wait(next.saturating_duration_since(Instant::now()))? {
            match event {
                Event::End(end) => return Ok(end),
                Event::Suspend { group } => {
                    session.suspend(group)?;
                    break;
                }
                Event::Key(Key::All) => {
                    state.all = !state.all;
                    break;
                }
                Event::Key(key) => state.scroll(key),
                Event::Redraw => {}
            }
            session.draw(|frame| draw(frame, state))?;
        }
    }
}

/// Sums over all tenants on a device.
#[derive(Debug, Default)]
struct DeviceSum {
    total: u64,
    used: u64,
    promised: u64,
    /// Part of its time that tenants used, where any of them has one.
    utilization: Option<f64>,
    tenants: usize,
}

fn devices(tenants: &[TenantSnapshot]) -> BTreeMap<String, DeviceSum> {
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
        if let Some(had) = device.compute.as_ref().and_then(|share| share.utilization) {
            sum.utilization = Some(sum.utilization.unwrap_or(0.0) + had);
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
    // At most a third of the screen: a machine has sixteen devices, but the tenants are what one
    // came for.
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
            match (frame.area().width, if state.all { "hide" } else { "show" }) {
                (0..60, word) => format!("q quit  a {word} ended  up/down"),
                (FULL_WIDTH.., word) => format!(
                    "q quit   up/down scroll   a {word} the ended   THROTTLED: launches waiting, FORCED: admitted by a deadline"
                ),
                (_, word) => {
                    format!("q quit   up/down scroll   a {word} the ended   THR: launches waiting")
                }
            },
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
            "   {}, {}{}",
            plural(alive, "tenant"),
            plural(pids.len(), "process"),
            if area.width >= 60 { " on a device" } else { "" }
        )),
        Span::styled(
            match state.ended {
                0 => String::new(),
                ended => format!(", {ended} ended"),
            },
            screen::FAINT,
        ),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

fn draw_devices(frame: &mut Frame, area: Rect, sums: &BTreeMap<String, DeviceSum>) {
    let wide = area.width >= 100;
    // Below that the amounts are cut before the bar says anything.
    let bar = area.width >= 60;
    let width = usize::from(area.width)
        .saturating_sub(if wide { 87 } else { 63 })
        .max(8);
    let lines: Vec<Line> = sums
        .iter()
        .map(|(uuid, sum)| {
            let mut line = Line::from(format!("{}  ", ps::short(uuid)));
            if bar {
                line.spans
                    .extend(screen::bar(sum.used, sum.total, width, Color::Cyan).spans);
                line.push_span(Span::raw("  "));
            }
            line.push_span(Span::raw(format!(
                "{} of {}",
                Bytes(sum.used),
                Bytes(sum.total)
            )));
            if let Some(had) = sum.utilization {
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
    state.page = room;
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

#[cfg(test)]
mod tests {
    use super::table::{LONG_MIX_WIDTH, MIX_WIDTH};
    use super::*;
    use crate::output::clip;
    use fcsp_core::region::RegionSnapshot;
    use fcsp_tenancy::ComputeUsage;
    use fcsp_tenancy::rules::Promise;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn view() -> TenantSnapshot {
        let region = RegionSnapshot {
            uuid: "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778".into(),
            pci: None,
            total_bytes: 80 << 30,
            limit_bytes: Some(8 << 30),
            used_bytes: 6 << 30,
            peak_bytes: 7 << 30,
            refused: 12,
            reaped: 0,
            processes: vec![fcsp_core::region::ProcessSnapshot {
                listed: 0,
                pid: 4711,
                start_time: 1,
                name: "python3".into(),
                alive: true,
                reserved_bytes: 6 << 30,
                allocated_bytes: 6 << 30,
                overhead_bytes: 0,
                refused: 12,
                waiting_since: 0,
                layout_version: 0,
                pid_namespace: 0,
                cgroup: 0,
                stopped: 0,
            }],
        };
        let mut share = ComputeUsage::default();
        share.promise = Promise {
            guarantee: Some(0.25),
            ..Promise::default()
        };
        share.utilization = Some(0.2496);
        share.throttled = Some(0.61);
        share.in_flight_ns = 1_500_000;
        share.forced_admissions = 3;
        share.mix = [("attention", 0.25), ("gemm", 0.71), ("other", 0.04)].into();
        TenantSnapshot {
            name: "train".into(),
            alive: true,
            managed: true,
            outer: None,
            paused: false,
            run_state: "running",
            paused_by: Vec::new(),
            used_bytes: 6 << 30,
            refused: 12,
            memory: Vec::new(),
            compute: Vec::new(),
            roots: Vec::new(),
            devices: vec![DeviceSnapshot {
                region,
                counts_memory: true,
                living: 1,
                compute: Some(share),
                units: None,
            }],
            problems: Vec::new(),
            limits: fcsp_core::control::Limits::default(),
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
                assert!(
                    picture.contains(part),
                    "{part} at {width}x{height}:\n{picture}"
                );
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
        let cut = output::glyphs().cut;
        assert_eq!(clip("training", 5), format!("trai{cut}"));
        assert_eq!(clip("x", 0), cut.to_string());
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
        for bytes in [
            0,
            1,
            1023,
            (1 << 20) - 1,
            (1 << 30) - 1,
            (80 << 30) - 1,
            1 << 50,
        ] {
            let text = Bytes(bytes).to_string();
            let cell = format!("{:?}", columns.bytes(bytes));
            let shown = cell.split('"').nth(1).unwrap_or("");
            assert!(shown.chars().count() <= 9, "{text} as {shown}");
        }
    }

    #[test]
    fn a_narrow_terminal_shows_who_holds_how_much() {
        for width in [30, 40, 60, 78] {
            let picture = picture(width, 20);
            for part in ["train", "USED", "6 GiB", "QUOTA", "8 GiB", "4711", "q quit"] {
                assert!(picture.contains(part), "{part} at {width}:\n{picture}");
            }
            assert!(
                width < 40 || picture.contains("6 GiB of 80 GiB"),
                "{width}:\n{picture}"
            );
        }
    }

    #[test]
    fn a_tiny_terminal_does_not_panic() {
        for size in [(1, 1), (10, 3), (40, 5)] {
            picture(size.0, size.1);
        }
    }
}
