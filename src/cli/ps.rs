//! `fcsp ps`: tenants, devices and processes, once.

use std::process::ExitCode;

use anyhow::Context as _;
use fcsp::region::RegionSnapshot;
use fcsp::units::Bytes;

use super::Context;
use super::output::{self, Align, Table};
use super::tenants::{self, TenantView};

const HELP: &str = "\
Examples:
  fcsp ps
  fcsp ps --json | jq '.tenants[] | {name, used_bytes}'

JSON keys: schema, state_dir, tenants[]: name, alive, managed, paused, used_bytes, refused,
memory[] and compute[] (device, value), roots[] (pid, start_time, alive), problems[],
devices[]: uuid, pci, total_bytes, limit_bytes (null without a limit), used_bytes, peak_bytes, refused, reaped,
processes[]: pid, start_time, name, alive, held_bytes, allocated_bytes, overhead_bytes, allocations, refused.";

/// Options of `fcsp ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Show dead tenants that nobody named, too
    #[arg(long, short)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What a user wants to see: the living, and dead tenants that somebody named.
pub fn visible(tenant: &TenantView, all: bool) -> bool {
    all || !tenant.is_dead() || (tenant.managed && !tenant.name.starts_with("run-"))
}

/// The whole listing as JSON.
pub fn document(context: &Context, tenants: &[TenantView]) -> serde_json::Value {
    serde_json::json!({
        "schema": "fcsp.ps/1",
        "state_dir": context.state.path(),
        "tenants": tenants,
    })
}

/// The tenants to list.
pub fn list(context: &Context, all: bool) -> anyhow::Result<Vec<TenantView>> {
    let mut tenants = tenants::all(&context.state)
        .with_context(|| format!("state folder {}", context.state.path().display()))?;
    tenants.retain(|tenant| visible(tenant, all));
    Ok(tenants)
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

/// The table.
pub fn table(tenants: &[TenantView]) -> Table {
    let mut table = Table::new(&[
        ("TENANT", Align::Left),
        ("STATE", Align::Left),
        ("DEVICE", Align::Left),
        ("USED", Align::Right),
        ("QUOTA", Align::Right),
        ("%", Align::Right),
        ("PEAK", Align::Right),
        ("REFUSED", Align::Right),
        ("COMPUTE", Align::Left),
    ]);
    for tenant in tenants {
        let head = |table: &mut Table, device: &str, cells: [String; 5]| {
            let [used, quota, percent, peak, refused] = cells;
            table.row([
                tenant.name.clone(),
                state(tenant).into(),
                device.to_owned(),
                used,
                quota,
                percent,
                peak,
                refused,
                tenant.compute_text(),
            ]);
        };
        if tenant.devices.is_empty() {
            let dash = || "-".to_owned();
            head(
                &mut table,
                "-",
                [dash(), tenant.memory_text(), dash(), dash(), dash()],
            );
        }
        for device in &tenant.devices {
            head(
                &mut table,
                &short(&device.uuid),
                [
                    bytes(device.used_bytes),
                    limit(device),
                    output::percent(device.used_bytes, device.limit_bytes),
                    bytes(device.peak_bytes),
                    device.refused.to_string(),
                ],
            );
            for process in &device.processes {
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

/// `fcsp ps`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let tenants = list(context, args.all)?;
    if args.json {
        output::json(&document(context, &tenants))?;
        return Ok(ExitCode::SUCCESS);
    }
    if tenants.is_empty() {
        output::line("no tenants; start one with `fcsp run --memory 8GiB -- PROGRAM`")?;
    } else {
        output::line(&table(&tenants).to_string())?;
    }
    for problem in tenants.iter().flat_map(|tenant| &tenant.problems) {
        eprintln!("fcsp: warning: {problem}");
    }
    Ok(ExitCode::SUCCESS)
}
