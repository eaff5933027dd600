//! `fcsp devices`: the machine's accelerators, what is in use of them, what has been promised, and
//! to whom.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::share::params::Mode;
use fcsp_core::units::Bytes;
use fcsp_tenancy::{DeviceSnapshot, TenantSnapshot, Vendor, inventory};
use serde::Serialize;

use super::libraries::Libraries;
use super::probe::{self, Device, Simulated};
use super::{Context, figures, output, sim, visible};

const HELP: &str = "\
Every vendor whose driver is installed is asked, in a process of its own. A device has the number that a program started \
here would use, where that can be told without starting the driver, and its place in the machine otherwise. Tenants are \
those of this state folder; PROMISED is what their quotas and shares add up to, whether they use it or not.

Examples:
  fcsp devices
  fcsp devices --sim h100x2                      simulated accelerators, with their tenants
  fcsp devices --json | jq '.devices[] | {uuid, used_bytes, promised_bytes}'

JSON keys: schema (fcsp.devices/2), state_dir, devices[]: vendor (null where only a tenant's files tell of it), number (as a \
program counts; null if unknown), index (place in the machine), name, uuid, pci, total_bytes, used_bytes (by everybody, FCSP or \
not; null if nobody tells), mig, promised_bytes, promised_share (1 is all of its time), unlimited (tenants without a memory quota), \
tenants[]: name, used_bytes, limit_bytes, share (of the time); problems[] (vendor, text): what could not be read.";

/// Time limit for a driver that has to load its kernel module or wake its devices.
const PATIENCE: Duration = Duration::from_secs(20);

/// Options of `fcsp devices`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Show simulated accelerators instead of the machine's own
    #[arg(long, value_name = "SPEC")]
    sim: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A tenant on a device.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    used_bytes: u64,
    limit_bytes: Option<u64>,
    share: Option<f64>,
}

/// A device with what is promised of it.
#[derive(Debug, Serialize)]
struct Row {
    vendor: Option<&'static str>,
    number: Option<u32>,
    index: Option<u32>,
    name: Option<String>,
    uuid: String,
    pci: Option<String>,
    total_bytes: Option<u64>,
    used_bytes: Option<u64>,
    mig: bool,
    promised_bytes: u64,
    promised_share: f64,
    unlimited: usize,
    tenants: Vec<Part>,
}

/// A failure to read something.
#[derive(Debug, Serialize)]
struct Trouble {
    vendor: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    state_dir: String,
    devices: Vec<Row>,
    problems: Vec<Trouble>,
}

impl Row {
    fn of(vendor: Vendor, device: Device, number: Option<u32>) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            vendor: Some(vendor.name()),
            number,
            index: Some(device.index),
            name: some(device.name),
            uuid: device.uuid,
            pci: device.pci,
            total_bytes: Some(device.total_bytes).filter(|&bytes| bytes > 0),
            used_bytes: device.used_bytes,
            mig: device.mig,
            promised_bytes: 0,
            promised_share: 0.0,
            unlimited: 0,
            tenants: Vec::new(),
        }
    }

    /// Describes a device that no driver showed: a simulated one, or one that is gone.
    fn of_tenant(device: &DeviceSnapshot) -> Self {
        let region = &device.region;
        Self {
            vendor: None,
            number: None,
            index: None,
            name: None,
            uuid: region.uuid.clone(),
            pci: region.pci.clone(),
            total_bytes: Some(region.total_bytes).filter(|&bytes| bytes > 0),
            used_bytes: None,
            mig: false,
            promised_bytes: 0,
            promised_share: 0.0,
            unlimited: 0,
            tenants: Vec::new(),
        }
    }

    fn identity(&self) -> Option<DeviceIdentity> {
        Some(DeviceIdentity {
            index: None,
            uuid: self.uuid.parse().ok()?,
            pci: self.pci.as_ref().and_then(|pci| pci.parse().ok()),
        })
    }

    /// Enters a tenant that is on this device, or whose limits name it.
    fn enter(&mut self, tenant: &TenantSnapshot) {
        let on = tenant.devices.iter().find(|on| on.region.uuid == self.uuid);
        let promise = self
            .identity()
            .map(|identity| inventory::promise(tenant, &identity))
            .unwrap_or_default();
        if on.is_none() && !promise.by_name {
            return;
        }
        let total = self.total_bytes.unwrap_or(0);
        let limit = match on {
            Some(on) if on.counts_memory => on.region.limit_bytes,
            Some(_) => Some(0),
            None => promise.memory.map(|quota| quota.resolve(total)),
        };
        let limit = limit.filter(|&bytes| bytes != u64::MAX);
        let share = promise
            .compute
            .filter(|params| params.mode != Mode::None)
            .map(|params| f64::from(params.guarantee) / f64::from(fcsp_core::units::WHOLE));
        match limit {
            // One that holds no memory here is promised none, and is not without a quota.
            Some(bytes) => self.promised_bytes = self.promised_bytes.saturating_add(bytes),
            None => self.unlimited += 1,
        }
        self.promised_share += share.unwrap_or(0.0);
        self.tenants.push(Part {
            name: tenant.name.clone(),
            used_bytes: on.map_or(0, |on| on.region.used_bytes),
            limit_bytes: limit,
            share,
        });
    }

    /// Formats the device as lines for people.
    fn text(&self) -> String {
        let mut number = match (self.number, self.index) {
            (Some(number), _) => number.to_string(),
            (None, Some(index)) => format!("({index})"),
            (None, None) => "-".into(),
        };
        if self.mig {
            number.push_str(" MIG");
        }
        let name = self.name.as_deref().unwrap_or(match self.vendor {
            Some(_) => "unnamed",
            None => "shown by no driver here",
        });
        let bytes = |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| Bytes(bytes).to_string());
        let mut memory = match self.used_bytes {
            Some(_) => format!(
                "{} of {} in use",
                bytes(self.used_bytes),
                bytes(self.total_bytes)
            ),
            None => bytes(self.total_bytes),
        };
        if self.promised_bytes > 0 {
            memory.push_str(&format!(", {} promised", Bytes(self.promised_bytes)));
            if self
                .total_bytes
                .is_some_and(|total| self.promised_bytes > total)
            {
                memory.push_str(", MORE THAN IT HAS");
            }
        }
        if self.unlimited > 0 {
            memory.push_str(&format!(", {} without a quota", self.unlimited));
        }
        let mut lines = vec![
            match self.vendor {
                Some(vendor) => format!("{number}  {name} ({vendor})"),
                None => format!("{number}  {name}"),
            },
            format!(
                "   uuid     {}{}",
                self.uuid,
                self.pci
                    .as_ref()
                    .map(|pci| format!(", {pci}"))
                    .unwrap_or_default()
            ),
            format!("   memory   {memory}"),
        ];
        if self.promised_share > 0.0 {
            let more = if self.promised_share > 1.000_001 {
                ", MORE THAN IT HAS"
            } else {
                ""
            };
            let share = figures::percent(Some(self.promised_share));
            lines.push(format!("   time     {share} promised{more}"));
        }
        for part in &self.tenants {
            let limit = part
                .limit_bytes
                .map_or("no quota".into(), |limit| format!("of {}", Bytes(limit)));
            let quota = part
                .share
                .map(|quota| format!(", {} of the time", figures::percent(Some(quota))))
                .unwrap_or_default();
            lines.push(format!(
                "   tenant   {}: {} {limit}{quota}",
                part.name,
                Bytes(part.used_bytes)
            ));
        }
        lines.join("\n")
    }
}

/// Sentences on devices of which more has been promised than they have.
pub fn over_promised(context: &Context, devices: &[Device]) -> Vec<String> {
    // A folder that cannot be read is a finding of its own.
    let tenants = inventory::all(&context.state).unwrap_or_default();
    let mut said = Vec::new();
    for device in devices {
        let mut row = Row::of(Vendor::Cuda, device.clone(), None);
        for tenant in tenants.iter().filter(|tenant| !tenant.is_dead()) {
            row.enter(tenant);
        }
        let names: Vec<&str> = row.tenants.iter().map(|part| part.name.as_str()).collect();
        let names = names.join(", ");
        if row
            .total_bytes
            .is_some_and(|total| row.promised_bytes > total)
        {
            said.push(format!(
                "{} of {} were promised of device {}, to {names}",
                Bytes(row.promised_bytes),
                Bytes(device.total_bytes),
                row.uuid
            ));
        }
        if row.promised_share > 1.000_001 {
            let share = figures::percent(Some(row.promised_share));
            said.push(format!(
                "{share} of the time of device {} were promised, to {names}",
                row.uuid
            ));
        }
    }
    said
}

/// Finds the machine's devices as their drivers show them. Drivers that could not be asked go to
/// `problems`.
fn found(simulated: Option<&Simulated>, problems: &mut Vec<Trouble>) -> Vec<(Vendor, Device)> {
    let mut all = Vec::new();
    for vendor in Vendor::ALL {
        // The simulated machine that the command brings along is NVIDIA's.
        let asked = match (vendor, simulated) {
            (Vendor::Cuda, _) => cuda(simulated),
            (_, Some(_)) => continue,
            (vendor, None) if vendor.driver().is_none() => continue,
            (vendor, None) => probe::of_vendor(vendor, PATIENCE),
        };
        match asked {
            Ok(devices) => all.extend(devices.into_iter().map(|device| (vendor, device))),
            Err(text) => problems.push(Trouble {
                vendor: vendor.name(),
                text,
            }),
        }
    }
    all
}

/// Finds NVIDIA's devices by the management library, which wakes nothing, or by the compute library
/// where that is missing.
fn cuda(simulated: Option<&Simulated>) -> Result<Vec<Device>, String> {
    let quick = probe::ask(simulated, false, PATIENCE)?;
    if quick.nvml.error.is_none() {
        return Ok(quick.devices);
    }
    let full = probe::ask(simulated, true, PATIENCE)?;
    match (&full.cuda.error, Vendor::Cuda.driver()) {
        (None, _) => Ok(full.devices),
        // No driver is no trouble.
        (Some(_), None) if simulated.is_none() && quick.nvml.path.is_none() => Ok(Vec::new()),
        (Some(error), _) => Err(match quick.nvml.path {
            Some(_) => quick.nvml.error.unwrap_or_default(),
            None => error.clone(),
        }),
    }
}

/// `fcsp devices`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let machine = args.sim.as_deref().map(sim::topology).transpose()?;
    let simulated = match &machine {
        Some(machine) => Some(Simulated {
            libraries: Libraries::locate(&context.state)?.sim,
            text: args.sim.clone().unwrap_or_default(),
            state: sim::state_file(&context.state, machine).ok().flatten(),
        }),
        None => None,
    };
    let mut problems = Vec::new();
    let found = found(simulated.as_ref(), &mut problems);
    let numbered: BTreeMap<String, u32> = visible::devices(machine.as_ref(), false)
        .into_iter()
        .flatten()
        .map(|device| (device.uuid, device.index))
        .collect();
    let mut devices: Vec<Row> = found
        .into_iter()
        .map(|(vendor, device)| {
            let number = match vendor {
                Vendor::Cuda => numbered.get(&device.uuid).copied(),
                _ => Some(device.index),
            };
            Row::of(vendor, device, number)
        })
        .collect();
    let tenants = inventory::all(&context.state)
        .with_context(|| format!("state folder {}", context.state.path().display()))?;
    for tenant in tenants.iter().filter(|tenant| !tenant.is_dead()) {
        for device in &tenant.devices {
            if !devices.iter().any(|known| known.uuid == device.region.uuid) {
                devices.push(Row::of_tenant(device));
            }
        }
    }
    for device in &mut devices {
        for tenant in tenants.iter().filter(|tenant| !tenant.is_dead()) {
            device.enter(tenant);
        }
    }
    let report = Report {
        schema: "fcsp.devices/2",
        state_dir: context.state.path().display().to_string(),
        devices,
        problems,
    };
    if args.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    if report.devices.is_empty() {
        output::line(
            "no accelerator; `fcsp devices --sim h100` shows a simulated one, `fcsp doctor` says what is missing",
        )?;
    } else {
        let rows: Vec<String> = report.devices.iter().map(Row::text).collect();
        output::line(&rows.join("\n"))?;
    }
    for trouble in &report.problems {
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "fcsp: warning: {}: {}; `fcsp doctor` says more",
            trouble.vendor,
            trouble.text
        );
    }
    Ok(ExitCode::SUCCESS)
}
