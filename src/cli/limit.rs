//! `fcsp limit`, `fcsp pause`, `fcsp resume`: change a tenant while its programs run.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use fcsp::config::{Quota, check_tenant_name, file};
use fcsp::control::{Control, Limits};
use fcsp::file::SetupLock;
use fcsp::units::Bytes;

use super::limits::{self, LimitArgs};
use super::numbers::Numbers;
use super::tenants::{self, TenantView};
use super::{Context, output};

const LIMIT_HELP: &str = "\
What is not named stays as it is. A value without a device is for every device and takes the place of all that was \
said of single ones; --memory unlimited takes quotas away. A quota below what is held refuses new \
requests and takes nothing back. Device numbers are those of the tenant's programs when it was set up.

Examples:
  fcsp limit train --memory 12GiB
  fcsp limit train --memory 0=8GiB --compute 0=50% --mode strict
  fcsp limit train                           show the limits

JSON keys: schema, tenant, paused, memory (text), compute (text), used_bytes.";

const PAUSE_HELP: &str = "\
A paused tenant's programs wait at their next launch; their memory stays. `fcsp resume` lets them go on.

JSON keys: schema, tenant, paused, memory (text), compute (text), used_bytes.";

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
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Rewrites the limits of `name` under its setup lock.
fn change(
    context: &Context,
    name: &str,
    edit: impl FnOnce(&Limits) -> anyhow::Result<Limits>,
) -> anyhow::Result<()> {
    check_tenant_name("TENANT", name)?;
    let dir = context.state.tenant(name);
    if !dir.is_dir() {
        bail!("no tenant is called \"{name}\"; `fcsp ps` lists them");
    }
    let write = || -> anyhow::Result<()> {
        let _lock = SetupLock::acquire(&dir.join("setup.lock"))?;
        let before = match Control::open(&dir)? {
            // A page that its writer left half-written says nothing: the limits given now are all there are.
            Some(page) => page.read_settled().map(|(_, limits)| limits).unwrap_or_default(),
            None => Limits::default(),
        };
        let after = edit(&before)?;
        Control::create(&dir)?.write(&after)?;
        Ok(())
    };
    write()
        .map_err(|error| match error.downcast_ref::<std::io::Error>() {
            Some(io) if io.kind() == std::io::ErrorKind::InvalidData => {
                anyhow::anyhow!("{error}; {}", tenants::MEND)
            }
            _ => error,
        })
        .with_context(|| format!("tenant {name}"))
}

fn report(context: &Context, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let view = TenantView::read(&context.state, name);
    if json {
        output::json(&serde_json::json!({
            "schema": "fcsp.limit/1",
            "tenant": name,
            "paused": view.paused,
            "memory": limits::memory_text(&view.limits.memory),
            "compute": limits::compute_text(&view.limits.compute),
            "used_bytes": view.used_bytes,
        }))?;
    } else {
        output::line(&format!(
            "{name}: memory {}, compute {}{}",
            limits::memory_text(&view.limits.memory),
            limits::compute_text(&view.limits.compute),
            if view.paused { ", paused" } else { "" }
        ))?;
    }
    for device in view.devices {
        let region = device.region;
        if region.limit_bytes.is_some_and(|limit| region.used_bytes > limit) {
            eprintln!(
                "fcsp: note: {name} holds more than its new quota on {}: nothing is taken back, new requests are refused",
                region.uuid
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `fcsp limit`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.limits.is_empty() {
        change_nothing(context, &args.tenant)?;
    } else {
        if file::read_authority()?.is_some() {
            bail!(
                "{} sets this machine's limits, and programs keep to it: change it there",
                file::AUTHORITY
            );
        }
        let numbers = Numbers::load(&context.state.tenant(&args.tenant));
        change(context, &args.tenant, |before| {
            let after = args.limits.merge(before, &numbers)?;
            check_devices(context, &args.tenant, before, &after)?;
            Ok(after)
        })?;
        let view = TenantView::read(&context.state, &args.tenant);
        if view.is_dead() {
            eprintln!(
                "fcsp: note: {} has ended; a new tenant of this name sets its own limits",
                args.tenant
            );
        }
    }
    report(context, &args.tenant, args.json)
}

/// Refuses a new quota that is larger than every device it is for, as `fcsp run` does, as far as the tenant's programs
/// have used devices.
fn check_devices(context: &Context, name: &str, before: &Limits, after: &Limits) -> anyhow::Result<()> {
    let devices = TenantView::read(&context.state, name).devices;
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
        let Some(largest) = largest.filter(|largest| !known && bytes > largest.region.total_bytes) else {
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

fn change_nothing(context: &Context, name: &str) -> anyhow::Result<()> {
    check_tenant_name("TENANT", name)?;
    if !context.state.tenant(name).is_dir() {
        bail!("no tenant is called \"{name}\"; `fcsp ps` lists them");
    }
    Ok(())
}

/// `fcsp pause` and `fcsp resume`.
pub fn pause(context: &Context, args: &PauseArgs, paused: bool) -> anyhow::Result<ExitCode> {
    change(context, &args.tenant, |before| {
        Ok(Limits {
            paused,
            ..before.clone()
        })
    })?;
    report(context, &args.tenant, args.json)
}
