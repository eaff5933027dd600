//! Compute units that a tenant reserves when it is set up.

use fcsp_core::config::{ConfigError, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::spatial::claims;
use fcsp_core::spatial::{Layout, UnitRequest, UnitSet};
use fcsp_core::state::{StateDir, layout};

use crate::error::Error;
use crate::inventory::TenantSnapshot;

/// The name that errors give the rules for compute units.
const FIELD: &str = "spatial";

/// A device whose compute units can be reserved.
#[derive(Debug, Clone)]
pub struct UnitDevice {
    /// Its identity, with the number that the program counts.
    pub identity: DeviceIdentity,
    /// Its compute units.
    pub layout: Layout,
    /// Its number where the runtime reads the masks of compute units.
    pub mask_number: u32,
}

/// Compute units on the device with this mask number.
pub type Reserved = (u32, UnitSet);

/// A tenant that a program is about to join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joining<'a> {
    /// Its name.
    pub tenant: &'a str,
    /// Its limits.
    pub limits: &'a Limits,
    /// True if it lived before.
    pub lives: bool,
}

/// Returns whether the tenant has reserved compute units on any device.
pub fn has_reserved(state: &StateDir, tenant: &str) -> bool {
    let file = layout::units(tenant);
    std::fs::read_dir(state.path().join(layout::DEVICES))
        .into_iter()
        .flatten()
        .flatten()
        .any(|device| device.path().join(&file).exists())
}

/// Reads the compute units that the tenant has reserved on `devices`.
///
/// # Errors
///
/// A reservation cannot be read.
pub fn reserved(
    state: &StateDir,
    tenant: &str,
    devices: &[UnitDevice],
) -> Result<Vec<Reserved>, Error> {
    let mut sets = Vec::new();
    for device in devices {
        if let Some(claim) = claims::read(state, &device.identity.uuid, tenant)? {
            sets.push((device.mask_number, claim.set));
        }
    }
    Ok(sets)
}

/// Reserves the wished compute units. The caller holds the tenant's setup lock, and the tenant
/// counts as live already.
pub(crate) fn reserve(
    state: &StateDir,
    joining: Joining<'_>,
    wishes: &Rules<UnitRequest>,
    devices: &[UnitDevice],
) -> Result<Vec<Reserved>, Error> {
    let mut sets = Vec::new();
    for device in devices {
        let wish = wishes.for_device(&device.identity);
        if let Some(set) = reserve_on(state, joining, wish, device)? {
            sets.push((device.mask_number, set));
        }
    }
    Ok(sets)
}

fn reserve_on(
    state: &StateDir,
    joining: Joining<'_>,
    wish: Option<UnitRequest>,
    device: &UnitDevice,
) -> Result<Option<UnitSet>, Error> {
    let Joining {
        tenant,
        limits,
        lives,
    } = joining;
    let uuid = &device.identity.uuid;
    let Some(wish) = wish else {
        // A program that joins and wishes nothing gets the tenant's units.
        return Ok(match lives {
            true => claims::read(state, uuid, tenant)?.map(|claim| claim.set),
            false => None,
        });
    };
    let share = limits.compute.for_device(&device.identity);
    let share = share.map(|params| params.guarantee);
    if wish == UnitRequest::Share && share.is_none() && !lives {
        return Err(ConfigError::new(
            FIELD,
            "auto takes as many compute units as the share is of the device: give --compute, or name units such as 0-71",
        )
        .into());
    }
    let alive = |other: &str| TenantSnapshot::read(state, other).alive;
    claims::claim(
        state,
        uuid,
        (tenant, lives),
        device.layout,
        (wish, share.unwrap_or(0)),
        alive,
    )
    .map(Some)
    .map_err(|error| {
        let about = match &error {
            claims::ClaimError::Io(_) | claims::ClaimError::Spatial { .. } => {
                format!("device {uuid}: {error}")
            }
            other => format!("tenant {tenant}: {other}"),
        };
        ConfigError::new(FIELD, about).into()
    })
}
