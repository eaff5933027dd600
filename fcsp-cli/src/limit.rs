//! `fcsp limit`, `fcsp pause`, `fcsp resume`: change a tenant while its programs run.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fcsp_core::config::{Parameter, Quota, check_tenant_name, file, text};
use fcsp_core::control::{Limits, Pauser, RunState};
use fcsp_core::state::SetupGuard;
use fcsp_core::units::Bytes;
use fcsp_tenancy::{
    DeviceOrder, MEND, PausedProcess, Stance, Standstill, TenantSnapshot, edit_limits,
};
use serde::Serialize;

use super::limits::LimitArgs;
use super::{Context, output, ps};

const LIMIT_HELP: &str = "\
What is not named stays as it is. A value without a device is for every device and takes the place of all that was \
said of single ones; `unlimited` takes the limit away, and `remove` the rule for a device (or, without one, the rule for \
every device), so that a more general one holds again. A quota below what is held refuses new \
requests and takes nothing back. Device numbers are those of the tenant's programs when it was set up.

Examples:
  fcsp limit train --memory 12GiB
  fcsp limit train --memory 0=8GiB --compute 0=50% --mode strict
  fcsp limit train --compute unlimited       no share any more
  fcsp limit train --memory 1=remove         device 1 as every other
  fcsp limit train                           show the limits

JSON keys: schema (fcsp.limit/3), notes[], and those of a tenant in `fcsp ps --json`.

Exit codes: 0 done, 125 no such tenant, it has ended, or the limits do not fit.";

const PAUSE_HELP: &str = "\
A paused tenant's programs wait at their next launch; their memory stays. `fcsp resume` lets them go on, unless the \
node agent pauses them, too. `fcsp pause` waits until every process stands still, and reports those that do not: work \
that was submitted before still runs (stopped), or the process has launched nothing since (silent).

JSON keys: schema (fcsp.limit/3), notes[], standstill (of `fcsp pause`): complete, processes[] (pid, name, device, \
stance: still, stopped or silent); and those of a tenant in `fcsp ps --json`.

Exit codes: 0 done, 125 no such tenant, or it has ended.";

/// Options of `fcsp limit`.
#[derive(Debug, clap::Args)]
#[command(after_help = LIMIT_HELP)]
pub struct Args {
    /// The tenant, as `fcsp ps` names it
    tenant: String,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Options of `fcsp pause` and `fcsp resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = PAUSE_HELP)]
pub struct PauseArgs {
    /// The tenant, as `fcsp ps` names it
    tenant: String,
    /// Longest wait for every process to stand still, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    wait: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Reads the tenant of this name as it is now.
fn existing(context: &Context, name: &str) -> anyhow::Result<TenantSnapshot> {
    check_tenant_name("TENANT", name)?;
    match std::fs::metadata(context.state.tenant(name)) {
        Ok(folder) if folder.is_dir() => Ok(TenantSnapshot::read(&context.state, name)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => bail!(
            "state folder {}: {error}; it is another user's: be that user, or choose one with --state-dir",
            context.state.path().display()
        ),
        _ => bail!("no tenant is called \"{name}\"; `fcsp ps` lists them"),
    }
}

/// Reads the tenant as [`existing`] does, in order to change it. A tenant that has ended takes no
/// change.
fn living(context: &Context, name: &str) -> anyhow::Result<TenantSnapshot> {
    let view = existing(context, name)?;
    if view.is_dead() {
        bail!(
            "tenant {name} has ended, so nothing was changed; `fcsp run --tenant {name}` starts it anew, with limits of its own"
        );
    }
    Ok(view)
}

/// Rewrites the limits of `name` under its setup lock.
fn change(
    context: &Context,
    name: &str,
    edit: impl FnOnce(&Limits) -> anyhow::Result<Limits>,
) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let setup = SetupGuard::acquire(&context.state.tenant(name))?;
        edit_limits(&setup, &context.state, edit)?;
        Ok(())
    };
    write()
        .map_err(|error| match io_error(&error) {
            Some(io) if io.kind() == std::io::ErrorKind::InvalidData => {
                anyhow::anyhow!("{error}; {MEND}")
            }
            _ => error,
        })
        .with_context(|| format!("tenant {name}"))
}

/// Returns the system's reason of an error, if it has one.
pub fn io_error(error: &anyhow::Error) -> Option<&std::io::Error> {
    match error.downcast_ref() {
        Some(fcsp_tenancy::Error::Io(io)) => Some(io),
        _ => error.downcast_ref(),
    }
}

/// Answer of `limit`, `pause` and `resume`: the tenant as `fcsp ps` prints it.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    standstill: Option<&'a Standstill>,
    #[serde(flatten)]
    tenant: &'a TenantSnapshot,
}

/// Prints the tenant's limits. `quota` is what a quota below the bytes held is called.
fn report(
    context: &Context,
    name: &str,
    quota: &str,
    json: bool,
    standstill: Option<&Standstill>,
) -> anyhow::Result<ExitCode> {
    let view = TenantSnapshot::read(&context.state, name);
    let mut notes = Vec::new();
    for region in view.devices.iter().map(|device| &device.region) {
        if region
            .limit_bytes
            .is_some_and(|limit| region.used_bytes > limit)
        {
            notes.push(format!(
                "{name} holds more than {quota} on {}: nothing is taken back, new requests are refused",
                region.uuid
            ));
        }
    }
    if json {
        output::json(&Document {
            schema: "fcsp.limit/3",
            notes: &notes,
            standstill,
            tenant: &view,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!(
        "{name}: memory {}, compute {}{}",
        text::memory(&view.limits.memory),
        match &view.outer {
            Some(outer) => format!("that of {outer}, which it is a part of"),
            None => text::compute(&view.limits.compute),
        },
        match ps::state(&view) {
            "running" => String::new(),
            other => format!(", {other}"),
        }
    ))?;
    if let Some(standstill) = standstill.filter(|found| !found.processes.is_empty()) {
        let all = standstill.processes.len();
        output::line(&format!(
            "{name}: {} of {all} {} still",
            standstill.count(Stance::Still),
            if all == 1 {
                "process stands"
            } else {
                "processes stand"
            }
        ))?;
    }
    notes.extend(standstill.into_iter().flat_map(unstill));
    for note in notes {
        let _ = writeln!(std::io::stderr(), "fcsp: note: {note}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `fcsp limit`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let changes = args.limits.changes();
    if changes.is_empty() {
        existing(context, &args.tenant)?;
        return report(context, &args.tenant, "its quota", args.json, None);
    }
    let view = living(context, &args.tenant)?;
    let other = changes
        .iter()
        .find(|change| change.parameter != Parameter::Memory)
        .map(|change| &change.field);
    if let (Some(outer), Some(option)) = (&view.outer, other) {
        bail!(
            "{option}: tenant {} is a part of {outer} and has a memory limit only: its work counts in the share of {outer}",
            args.tenant
        );
    }
    if file::read_authority()?.is_some() {
        bail!(
            "{} sets this machine's limits, and programs keep to it: change it there",
            file::AUTHORITY
        );
    }
    let order = DeviceOrder::load(&context.state.tenant(&args.tenant));
    change(context, &args.tenant, |before| {
        let after = changes.apply(before, &order)?;
        check_devices(context, &args.tenant, before, &after)?;
        Ok(after)
    })?;
    report(context, &args.tenant, "its new quota", args.json, None)
}

/// Refuses a new quota that is larger than every device it is for, as `fcsp run` does, as far as
/// the tenant's programs have used devices.
fn check_devices(
    context: &Context,
    name: &str,
    before: &Limits,
    after: &Limits,
) -> anyhow::Result<()> {
    let devices = TenantSnapshot::read(&context.state, name).devices;
    for (selector, quota) in after.memory.iter() {
        let Quota::Bytes(bytes) = quota else { continue };
        let known = before.memory.iter().any(|rule| rule == (selector, quota));
        let largest = devices
            .iter()
            .filter(|device| {
                device
                    .identity()
                    .is_some_and(|identity| selector.matches(&identity).is_some())
            })
            .max_by_key(|device| device.region.total_bytes);
        let Some(largest) = largest.filter(|largest| !known && bytes > largest.region.total_bytes)
        else {
            continue;
        };
        bail!(
            "--memory: {} is more than device {} has: {} ({} bytes); give less, or a share such as 100%",
            Bytes(bytes),
            largest.region.uuid,
            Bytes(largest.region.total_bytes),
            largest.region.total_bytes
        );
    }
    Ok(())
}

/// `fcsp pause` and `fcsp resume`.
pub fn pause(context: &Context, args: &PauseArgs, paused: bool) -> anyhow::Result<ExitCode> {
    let view = living(context, &args.tenant)?;
    if let Some(outer) = &view.outer {
        bail!(
            "tenant {0} is a part of {outer}, whose share its work counts in: pause or resume {outer}, and {0} with it",
            args.tenant
        );
    }
    let mut left = RunState::default();
    change(context, &args.tenant, |before| {
        let run_state = match paused {
            true => before.run_state.paused_by(Pauser::User),
            false => before.run_state.resumed_by(Pauser::User),
        };
        left = run_state;
        Ok(Limits {
            run_state,
            ..before.clone()
        })
    })?;
    if !paused && left.is_paused() {
        let _ = writeln!(
            std::io::stderr(),
            "fcsp: note: {} stays paused by the node agent",
            args.tenant
        );
    }
    let standstill = match paused {
        true => {
            let longest = Duration::from_secs(u64::from(args.wait));
            Standstill::wait(&context.state, &args.tenant, longest)?
        }
        false => None,
    };
    report(
        context,
        &args.tenant,
        "its quota",
        args.json,
        standstill.as_ref(),
    )
}

/// Returns a note for each process that does not stand still.
fn unstill(standstill: &Standstill) -> Vec<String> {
    let note = |process: &PausedProcess| {
        let reason = match process.stance {
            Stance::Still => return None,
            Stance::Stopped => "is stopped; work that it submitted before may still run",
            _ => "has launched nothing since the pause; it stops at its next launch",
        };
        let PausedProcess { name, pid, .. } = process;
        Some(format!("{name} ({pid}) on {} {reason}", process.device))
    };
    standstill.processes.iter().filter_map(note).collect()
}
