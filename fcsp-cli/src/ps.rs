//! `fcsp ps`: tenants, devices and processes, once.

use std::process::ExitCode;

use anyhow::Context as _;
use fcsp_core::config::text;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::units::Bytes;
use fcsp_tenancy::{ComputeUsage, INTERVAL, MEND, Sampler, TenantSnapshot, inventory};

use super::output::{self, Align, Table};
use super::{Context, figures};

const HELP: &str = "\
Examples:
  fcsp ps
  fcsp ps --sample                     with the time used of each device, over 200 ms
  fcsp ps --json | jq '.tenants[] | {name, used_bytes, utilization: .devices[0].compute.utilization}'

UTIL is the device time used per time passed, THROTTLED the time that launches waited (at most 100% a process), QUEUE the \
device time submitted and not yet done, FORCED the launches that went because their deadline passed.

JSON keys: schema (fcsp.ps/3), state_dir, ended (tenants that are left out), tenants[]: name, alive, managed, outer (the tenant that it is a part of, or null), paused, \
run_state (running, paused, draining, quiesced, checkpointed), paused_by[] (user, agent), used_bytes, \
refused, memory[] (device, value, bytes, part), compute[] (device, value, guarantee, mode, priority, floor, shared_pool, burst, weight; \
parts are of the device, 1 is all of it, null where there is none), roots[] (pid, start_time, alive), problems[], \
devices[]: uuid, pci, total_bytes, limit_bytes (null without a limit), used_bytes, peak_bytes, refused, reaped (all null for a \
tenant that only submits work through fcsp-core), \
processes[]: pid, start_time, name, alive, reserved_bytes, allocated_bytes, overhead_bytes, refused, pid_namespace (its inode), \
cgroup (its number; both by the process's own claim, 0 if not known); \
compute (null without a share): guarantee, mode, priority, floor, shared_pool, burst, weight as above, utilization, surplus, throttled (each per \
time passed, throttled also per process; null of the ended, and where nothing is counted), interval_ns, in_flight_ns, consumed_ns, waits, forced_admissions, \
mix (parts of its GPU time by class of work: collective, attention, gemm, memory_bound, copy, other), sensitivity \
(latency, throughput or none: which the adaptive mode uses), not_coordinated (why the share is kept without regard to the other tenants, or null); \
units (compute units of its own, such as \"0-71\"; null where it runs on all).";

/// Options of `fcsp ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Show tenants and processes that have ended, too
    #[arg(long, short)]
    all: bool,
    /// Measure the time used of each device, too: takes 200 ms
    #[arg(long)]
    sample: bool,
    /// Print one JSON document; measures as --sample does
    #[arg(long)]
    json: bool,
}

/// Tenants that a listing shows.
#[derive(Debug, Default)]
pub struct Listing {
    /// The tenants.
    pub tenants: Vec<TenantSnapshot>,
    /// Tenants that have ended and are left out.
    pub ended: usize,
}

/// Returns whether a tenant is listed: a living one, or one with problems; with `all` every one.
fn visible(tenant: &TenantSnapshot, all: bool) -> bool {
    all || !tenant.is_dead() || !tenant.problems.is_empty()
}

/// Returns the whole listing as JSON.
pub fn document(context: &Context, listing: &Listing) -> serde_json::Value {
    serde_json::json!({
        "schema": "fcsp.ps/3",
        "state_dir": context.state.path(),
        "ended": listing.ended,
        "tenants": listing.tenants,
    })
}

/// Reads the tenants to list.
pub fn list(context: &Context, all: bool) -> anyhow::Result<Listing> {
    let mut tenants = inventory::all(&context.state)
        .with_context(|| format!("state folder {}", context.state.path().display()))?;
    let there = tenants.len();
    tenants.retain(|tenant| visible(tenant, all));
    Ok(Listing {
        ended: there - tenants.len(),
        tenants,
    })
}

/// Reads the tenants to list, with the device time that they used between two samples.
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
        std::thread::sleep(INTERVAL);
        listing = list(context, all)?;
        sampler.compare(&mut listing.tenants);
    }
    Ok(listing)
}

/// Returns a tenant's state as a word.
pub fn state(tenant: &TenantSnapshot) -> &'static str {
    let stays = tenant.alive || tenant.kept_by_agent();
    match (stays, tenant.paused) {
        (true, true) => "paused",
        (true, false) if tenant.alive => "running",
        (true, false) => "waiting",
        (false, _) => "ended",
    }
}

/// Returns the first digits of a UUID: enough to tell a machine's devices apart.
pub fn short(uuid: &str) -> String {
    uuid.chars().take(12).collect()
}

fn bytes(value: u64) -> String {
    Bytes(value).to_string()
}

fn limit(device: &RegionSnapshot) -> String {
    device.limit_bytes.map_or("unlimited".into(), bytes)
}

/// Lays out the table; with `sampled` it has the measured columns, with `all` the processes that
/// ended.
fn table(tenants: &[TenantSnapshot], sampled: bool, all: bool) -> Table {
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
        columns.extend(["UTIL", "THROTTLED", "QUEUE", "FORCED"].map(|name| (name, Align::Right)));
        columns.push(("MIX", Align::Left));
    }
    let mut table = Table::new(&columns);
    for tenant in tenants {
        let head =
            |table: &mut Table, device: &str, cells: [String; 5], share: Option<&ComputeUsage>| {
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
                    compute_text(tenant),
                ];
                row.extend(share.map_or(Default::default(), share_cells));
                table.row(row);
            };
        if tenant.devices.is_empty() {
            let dash = || "-".to_owned();
            let cells = [dash(), memory_text(tenant), dash(), dash(), dash()];
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
                        bytes(process.reserved_bytes)
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

/// Returns the cells of a share: utilization, throttled, queue, forced, mix.
pub fn share_cells(share: &ComputeUsage) -> [String; 5] {
    [
        figures::percent(share.utilization),
        figures::percent(share.throttled),
        figures::time(share.in_flight_ns),
        share.forced_admissions.to_string(),
        figures::mostly(&share.mix, 2),
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
    for text in listing.tenants.iter().flat_map(not_coordinated) {
        output::line(&text)?;
    }
    for problem in listing.tenants.iter().flat_map(|tenant| &tenant.problems) {
        eprintln!("fcsp: warning: {problem}; {}", MEND);
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
/// Returns a sentence for each share that is kept without regard to the device's other tenants.
pub fn not_coordinated(tenant: &TenantSnapshot) -> impl Iterator<Item = String> {
    tenant.devices.iter().filter_map(|device| {
        let share = device.compute.as_ref()?;
        let reason = share.not_coordinated.filter(|_| device.living > 0)?;
        let uuid = short(&device.region.uuid);
        Some(format!(
            "{} on {uuid} is not coordinated: {reason}",
            tenant.name
        ))
    })
}

/// Returns the compute share that was asked for, in a word or two for a table.
pub fn compute_text(tenant: &TenantSnapshot) -> String {
    match tenant.limits.compute.is_empty() {
        true => "-".into(),
        false => text::compute(&tenant.limits.compute),
    }
}

/// Returns the memory quota that was asked for, in a word or two.
pub fn memory_text(tenant: &TenantSnapshot) -> String {
    text::memory(&tenant.limits.memory)
}
