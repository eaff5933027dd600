//! `fcsp ps`: tenants, devices and processes, once.

use std::process::ExitCode;

use anyhow::Context as _;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::units::Bytes;

use super::Context;
use super::output::{self, Align, Table};
use super::shares::{self, Sampler, Share};
use super::tenants::{self, TenantView};

const HELP: &str = "\
Examples:
  fcsp ps
  fcsp ps --sample                     with the compute share had, over 200 ms
  fcsp ps --json | jq '.tenants[] | {name, used_bytes, had: .devices[0].compute.had}'

HAD is GPU time had per time passed, HELD the time its launches stood at the gate (at most 100% a process), QUEUE the GPU \
time submitted and not yet done, LATE the launches that went because a deadline passed.

JSON keys: schema (fcsp.ps/2), state_dir, ended (tenants that are left out), tenants[]: name, alive, managed, outer (the tenant that it is a part of, or null), paused, used_bytes, \
refused, memory[] (device, value, bytes, part), compute[] (device, value, quota, mode, priority, floor, pool, burst, weight; \
parts are of the device, 1 is all of it, null where there is none), roots[] (pid, start_time, alive), problems[], \
devices[]: uuid, pci, total_bytes, limit_bytes (null without a limit), used_bytes, peak_bytes, refused, reaped (all null for a \
tenant that only submits work through fcsp-core), \
processes[]: pid, start_time, name, alive, held_bytes, allocated_bytes, overhead_bytes, refused; \
compute (null without a share): quota, mode, priority, floor, pool, burst, weight as above, had, borrowed, throttled (each per \
time passed, throttled also per process; null of the ended, and where nothing is counted), interval_ns, in_flight_ns, consumed_ns, waits, let_through, \
mix (parts of its GPU time by class of work: collective, attention, gemm, memory_bound, copy, other), leaning \
(latency, throughput or none: what the adaptive mode goes by), not_coordinated (why the share is kept without regard to the other tenants, or null); \
units (compute units of its own, such as \"0-71\"; null where it runs on all).";

/// Options of `fcsp ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Show tenants and processes that have ended, too
    #[arg(long, short)]
    all: bool,
    /// Measure the compute share had, too: takes 200 ms
    #[arg(long)]
    sample: bool,
    /// Print one JSON document; measures as --sample does
    #[arg(long)]
    json: bool,
}

/// What is listed.
#[derive(Debug, Default)]
pub struct Listing {
    /// The tenants.
    pub tenants: Vec<TenantView>,
    /// Tenants that have ended and are left out.
    pub ended: usize,
}

/// Whether a tenant is listed: the living, and those with something wrong; with `all` every one.
fn visible(tenant: &TenantView, all: bool) -> bool {
    all || !tenant.is_dead() || !tenant.problems.is_empty()
}

/// The whole listing as JSON.
pub fn document(context: &Context, listing: &Listing) -> serde_json::Value {
    serde_json::json!({
        "schema": "fcsp.ps/2",
        "state_dir": context.state.path(),
        "ended": listing.ended,
        "tenants": listing.tenants,
    })
}

/// The tenants to list.
pub fn list(context: &Context, all: bool) -> anyhow::Result<Listing> {
    let mut tenants = tenants::all(&context.state)
        .with_context(|| format!("state folder {}", context.state.path().display()))?;
    let there = tenants.len();
    tenants.retain(|tenant| visible(tenant, all));
    Ok(Listing {
        ended: there - tenants.len(),
        tenants,
    })
}

/// The tenants to list, with what they had of their devices' time between two looks.
pub fn sampled(context: &Context, all: bool) -> anyhow::Result<Listing> {
    let mut listing = list(context, all)?;
    let shares = listing
        .tenants
        .iter()
        .flat_map(|tenant| &tenant.devices)
        .any(|device| device.compute.is_some() && device.living > 0);
    if shares {
        let mut sampler = Sampler::default();
        sampler.compare(&mut listing.tenants);
        std::thread::sleep(shares::INTERVAL);
        listing = list(context, all)?;
        sampler.compare(&mut listing.tenants);
    }
    Ok(listing)
}

/// A tenant's state in a word.
pub fn state(tenant: &TenantView) -> &'static str {
    match (tenant.alive, tenant.paused) {
        (true, true) => "paused",
        (true, false) => "running",
        (false, _) if tenant.kept_by_agent() => "waiting",
        (false, _) => "ended",
    }
}

/// The first digits of a UUID: enough to tell a machine's devices apart.
pub fn short(uuid: &str) -> String {
    uuid.chars().take(12).collect()
}

fn bytes(value: u64) -> String {
    Bytes(value).to_string()
}

fn limit(device: &RegionSnapshot) -> String {
    device.limit_bytes.map_or("unlimited".into(), bytes)
}

/// The table; `sampled` with what was measured, with `all` the processes that ended, too.
fn table(tenants: &[TenantView], sampled: bool, all: bool) -> Table {
    let mut columns = vec![
        ("TENANT", Align::Left),
        ("STATE", Align::Left),
        ("DEVICE", Align::Left),
        ("USED", Align::Right),
        ("QUOTA", Align::Right),
        ("%", Align::Right),
        ("PEAK", Align::Right),
        ("REFUSED", Align::Right),
        ("COMPUTE", Align::Left),
    ];
    if sampled {
        columns.extend(["HAD", "HELD", "QUEUE", "LATE"].map(|name| (name, Align::Right)));
        columns.push(("MIX", Align::Left));
    }
    let mut table = Table::new(&columns);
    for tenant in tenants {
        let head = |table: &mut Table, device: &str, cells: [String; 5], share: Option<&Share>| {
            let [used, quota, percent, peak, refused] = cells;
            let mut row = vec![
                match &tenant.outer {
                    Some(outer) => format!("{} (in {outer})", tenant.name),
                    None => tenant.name.clone(),
                },
                state(tenant).into(),
                device.to_owned(),
                used,
                quota,
                percent,
                peak,
                refused,
                tenant.compute_text(),
            ];
            row.extend(share.map_or(Default::default(), share_cells));
            table.row(row);
        };
        if tenant.devices.is_empty() {
            let dash = || "-".to_owned();
            let cells = [dash(), tenant.memory_text(), dash(), dash(), dash()];
            head(&mut table, "-", cells, None);
        }
        for device in &tenant.devices {
            let region = &device.region;
            let memory = [
                bytes(region.used_bytes),
                limit(region),
                output::percent(region.used_bytes, region.limit_bytes),
                bytes(region.peak_bytes),
                region.refused.to_string(),
            ];
            head(
                &mut table,
                &short(&region.uuid),
                match device.counts_memory {
                    true => memory,
                    false => memory.map(|_| "-".to_owned()),
                },
                device.compute.as_ref(),
            );
            for process in region
                .processes
                .iter()
                .filter(|process| all || process.alive)
            {
                table.row([
                    format!("  {} {}", process.pid, process.name),
                    if process.alive { "alive" } else { "dead" }.into(),
                    String::new(),
                    if process.alive {
                        bytes(process.held_bytes)
                    } else {
                        "-".into()
                    },
                    String::new(),
                    String::new(),
                    String::new(),
                    process.refused.to_string(),
                ]);
            }
        }
    }
    table
}

/// What was measured of a share: had, held, queue, late, mix.
pub fn share_cells(share: &Share) -> [String; 5] {
    [
        shares::percent(share.had),
        shares::percent(share.throttled),
        shares::time(share.in_flight_ns),
        share.let_through.to_string(),
        shares::mostly(&share.mix, 2),
    ]
}

/// Prints tenants for people, and what is wrong with their files.
pub fn show(listing: &Listing, sampled: bool, all: bool) -> anyhow::Result<()> {
    if listing.tenants.is_empty() {
        output::line("no tenants; start one with `fcsp run --memory 8GiB -- PROGRAM`")?;
    } else {
        output::line(&table(&listing.tenants, sampled, all).to_string())?;
    }
    match listing.ended {
        0 => {}
        1 => output::line("1 tenant has ended: --all shows it, `fcsp gc` removes it")?,
        ended => output::line(&format!(
            "{ended} tenants have ended: --all shows them, `fcsp gc` removes them"
        ))?,
    }
    for text in listing.tenants.iter().flat_map(TenantView::not_coordinated) {
        output::line(&text)?;
    }
    for problem in listing.tenants.iter().flat_map(|tenant| &tenant.problems) {
        eprintln!("fcsp: warning: {problem}; {}", tenants::MEND);
    }
    Ok(())
}

/// `fcsp ps`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let measure = args.sample || args.json;
    let listing = if measure {
        sampled(context, args.all)?
    } else {
        list(context, args.all)?
    };
    if args.json {
        output::json(&document(context, &listing))?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&listing, measure, args.all)?;
    Ok(ExitCode::SUCCESS)
}
