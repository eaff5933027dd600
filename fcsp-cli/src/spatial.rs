//! `fcsp run --spatial`: compute units of a tenant's own, on AMD's devices.
//!
//! They are reserved when the tenant is set up (see `fcsp_tenancy::units`) and kept by a
//! variable of ROCr's that the program finds in its environment (see `fcsp_hip::units`).

use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use fcsp_core::config::{ConfigError, Rules};
use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress, Selector};
use fcsp_core::spatial::{Layout, UnitRequest};
use fcsp_core::state::StateDir;
use fcsp_hip::units;
use fcsp_hip::vendor::Hip;
use fcsp_hook::backend::Devices;
use fcsp_tenancy::units::{self as reservations, Reserved, UnitDevice};
use serde::{Deserialize, Serialize};

use super::probe;

/// Time limit for the runtime to list its devices; it starts all of them.
const PATIENCE: Duration = Duration::from_secs(30);
/// Variables by which the runtime leaves devices out or orders them anew, above the layer that
/// reads masks.
const ORDERING: [&str; 3] = [
    "HIP_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
];

/// A device as the runtime describes it to the hidden child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Device {
    uuid: String,
    pci: Option<String>,
    units: u32,
    group: u32,
}

/// Asks the runtime, in the child.
pub fn devices() -> Result<Vec<Device>, String> {
    let count = Hip::device_count().ok_or("there is no HIP runtime, or it finds no device")?;
    (0..count)
        .map(|ordinal| {
            let identity =
                Hip::identify(ordinal).ok_or(format!("device {ordinal} has no identity"))?;
            let layout = units::layout(ordinal)
                .ok_or(format!("device {ordinal} does not tell its compute units"))?;
            Ok(Device {
                uuid: identity.uuid.to_string(),
                pci: identity.pci.map(|pci| pci.to_string()),
                units: layout.units,
                group: layout.group,
            })
        })
        .collect()
}

fn ask(as_the_program: bool) -> anyhow::Result<Vec<Device>> {
    let mut command: Command = probe::child_command(&["--hip"]);
    command.env_remove(units::VARIABLE);
    if !as_the_program {
        for variable in ORDERING {
            command.env_remove(variable);
        }
    }
    let text =
        probe::answer(command, PATIENCE).map_err(|error| anyhow::anyhow!("--spatial: {error}"))?;
    let found: Result<Vec<Device>, String> = serde_json::from_str(&text)?;
    found.map_err(|error| anyhow::anyhow!("--spatial: {error}"))
}

fn devices_with_units() -> anyhow::Result<Vec<UnitDevice>> {
    let all = ask(false)?;
    let chosen = match ORDERING
        .iter()
        .any(|variable| std::env::var_os(variable).is_some())
    {
        true => ask(true)?,
        false => all.clone(),
    };
    let found = chosen.iter().enumerate().filter_map(|(index, device)| {
        let place = all.iter().position(|other| other.uuid == device.uuid)?;
        let uuid: DeviceUuid = device.uuid.parse().ok()?;
        Some(UnitDevice {
            identity: DeviceIdentity {
                index: Some(index as u32),
                uuid,
                pci: device
                    .pci
                    .as_ref()
                    .and_then(|pci| pci.parse::<PciAddress>().ok()),
            },
            layout: Layout {
                units: device.units,
                group: device.group,
            },
            mask_number: place as u32,
        })
    });
    Ok(found.collect())
}

/// Returns the variable that keeps a program on these compute units; `None` without any.
pub fn variable(sets: &[Reserved]) -> Option<Variable> {
    let value = units::variable(sets.iter().map(|(place, set)| (*place, set)));
    (!value.is_empty()).then_some((units::VARIABLE, value))
}

/// ROCr's variable with its value.
pub type Variable = (&'static str, String);

/// Returns the devices that `wishes` are about; none without a wish.
pub fn look(wishes: &Rules<UnitRequest>) -> anyhow::Result<Vec<UnitDevice>> {
    if wishes.is_empty() {
        return Ok(Vec::new());
    }
    if std::env::var_os(units::VARIABLE).is_some_and(|value| !value.is_empty()) {
        bail!(
            "--spatial: {} is set already; unset it, and name its units with --spatial",
            units::VARIABLE
        );
    }
    let places = devices_with_units()?;
    for (selector, _) in wishes.iter() {
        if !places
            .iter()
            .any(|place| selector.matches(&place.identity).is_some())
        {
            let reason = match selector {
                Selector::All => "the HIP runtime shows no device".to_owned(),
                selector => format!("the HIP runtime shows no device {selector}"),
            };
            return Err(ConfigError::new("--spatial", reason).into());
        }
    }
    Ok(places)
}

/// Returns the variable for compute units that the tenant reserved earlier, for a program that
/// joins it and wishes none.
pub fn inherited(state: &StateDir, tenant: &str) -> anyhow::Result<Option<Variable>> {
    if !reservations::has_reserved(state, tenant) {
        return Ok(None);
    }
    let sets = reservations::reserved(state, tenant, &devices_with_units()?)?;
    Ok(variable(&sets))
}
