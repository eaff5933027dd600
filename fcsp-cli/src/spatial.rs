//! `fcsp run --spatial`: compute units of a tenant's own, on AMD's devices.
//!
//! They are claimed when the tenant is made (see `fcsp_core::spatial::claims`) and kept by a
//! variable of ROCr's that the program finds in its environment (see `fcsp_hip::units`).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fcsp_core::config::{ConfigError, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress, Selector};
use fcsp_core::spatial::claims::{self, ClaimError};
use fcsp_core::spatial::{Layout, UnitSet, Wish};
use fcsp_core::state::StateDir;
use fcsp_hip::process::Hip;
use fcsp_hip::units;
use fcsp_hook::backend::Backend;
use serde::{Deserialize, Serialize};

use super::probe;
use super::tenants::TenantView;

/// How long the runtime may take to say which devices there are; it starts all of them.
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

/// A device, its number in the program, and its place where masks are read.
#[derive(Debug)]
pub struct Place {
    identity: DeviceIdentity,
    layout: Layout,
    place: u32,
}

fn places() -> anyhow::Result<Vec<Place>> {
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
        Some(Place {
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
            place: place as u32,
        })
    });
    Ok(found.collect())
}

/// A tenant that a program is about to join.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// Its name.
    pub tenant: &'a str,
    /// Its limits.
    pub limits: &'a Limits,
    /// Whether it lived before.
    pub lives: bool,
}

/// Whether the tenant has compute units of its own anywhere.
fn has_claims(state: &StateDir, tenant: &str) -> bool {
    let file = PathBuf::from(format!("{tenant}.units"));
    std::fs::read_dir(state.path().join("devices"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|device| device.path().join(&file).exists())
}

fn variable(sets: &[(u32, UnitSet)]) -> Option<Variable> {
    let value = units::variable(sets.iter().map(|(place, set)| (*place, set)));
    (!value.is_empty()).then_some((units::VARIABLE, value))
}

/// ROCr's variable with its value.
pub type Variable = (&'static str, String);

/// The devices that `wishes` are about; none where nothing is wished.
pub fn look(wishes: &Rules<Wish>) -> anyhow::Result<Vec<Place>> {
    if wishes.is_empty() {
        return Ok(Vec::new());
    }
    if std::env::var_os(units::VARIABLE).is_some_and(|value| !value.is_empty()) {
        bail!(
            "--spatial: {} is set already; unset it, and name its units with --spatial",
            units::VARIABLE
        );
    }
    let places = places()?;
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

/// Claims what the tenant wishes. The caller holds its setup lock, and it counts as one that lives
/// already.
pub fn claim_all(
    state: &StateDir,
    joining: Joining<'_>,
    wishes: &Rules<Wish>,
    places: &[Place],
) -> anyhow::Result<Option<Variable>> {
    let mut sets: Vec<(u32, UnitSet)> = Vec::new();
    for place in places {
        if let Some(set) = claim(state, joining, wishes.for_device(&place.identity), place)? {
            sets.push((place.place, set));
        }
    }
    Ok(variable(&sets))
}

/// What a program is kept to that joins a tenant without a word about units: what the tenant has.
pub fn inherited(state: &StateDir, tenant: &str) -> anyhow::Result<Option<Variable>> {
    if !has_claims(state, tenant) {
        return Ok(None);
    }
    let mut sets: Vec<(u32, UnitSet)> = Vec::new();
    for place in places()? {
        if let Some(claim) = claims::read(state, &place.identity.uuid, tenant)? {
            sets.push((place.place, claim.set));
        }
    }
    Ok(variable(&sets))
}

fn claim(
    state: &StateDir,
    joining: Joining<'_>,
    wish: Option<Wish>,
    place: &Place,
) -> anyhow::Result<Option<UnitSet>> {
    let Joining {
        tenant,
        limits,
        lives,
    } = joining;
    let device = &place.identity;
    let Some(wish) = wish else {
        // A program that joins without a word has what the tenant has.
        return Ok(match lives {
            true => claims::read(state, &device.uuid, tenant)?.map(|claim| claim.set),
            false => None,
        });
    };
    let share = limits.compute.for_device(device).map(|params| params.quota);
    if wish == Wish::Share && share.is_none() && !lives {
        bail!(
            "--spatial: auto takes as many compute units as the share is of the device: give --compute, or name units such as 0-71"
        );
    }
    let alive = |other: &str| TenantView::read(state, other).alive;
    let wished = (wish, share.unwrap_or(0));
    match claims::claim(
        state,
        &device.uuid,
        (tenant, lives),
        place.layout,
        wished,
        alive,
    ) {
        Ok(set) => Ok(Some(set)),
        Err(ClaimError::Io(error)) => {
            Err(error).with_context(|| format!("--spatial: device {}", device.uuid))
        }
        Err(error @ ClaimError::Spatial { .. }) => {
            bail!("--spatial: device {}: {error}", device.uuid)
        }
        Err(error) => bail!("--spatial: tenant {tenant}: {error}"),
    }
}
