//! Promises of live tenants, added up by device. A sum above what the device has cannot be kept.

use std::collections::BTreeMap;

use fcsp_core::config::Quota;
use fcsp_core::control::Limits;
use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::share::params::{Mode, Params};
use fcsp_core::state::StateDir;
use fcsp_core::units::{Bytes, Percent, WHOLE};

use crate::device_order::VisibleDevice;
use crate::inventory::{self, TenantSnapshot};

/// A device, its name for people, and its memory in bytes.
struct Known {
    identity: DeviceIdentity,
    label: String,
    total: u64,
}

/// Returns the devices that the driver shows, and the devices of live tenants.
fn devices(shown: &[VisibleDevice], tenants: &[TenantSnapshot]) -> Vec<Known> {
    let mut known: BTreeMap<DeviceUuid, Known> = BTreeMap::new();
    for device in shown.iter().filter(|device| device.total_bytes > 0) {
        let identity = DeviceIdentity {
            index: None,
            ..device.identity
        };
        known.insert(
            identity.uuid,
            Known {
                identity,
                label: device.label.clone(),
                total: device.total_bytes,
            },
        );
    }
    for device in tenants.iter().flat_map(|tenant| &tenant.devices) {
        let Some(identity) = device.identity() else {
            continue;
        };
        known.entry(identity.uuid).or_insert(Known {
            identity,
            label: format!("device {}", identity.uuid),
            total: device.region.total_bytes,
        });
    }
    known.into_values().collect()
}

/// Returns the bytes that limits promise of a device; 0 where they promise none.
fn memory(limits: &Limits, device: &Known) -> u64 {
    match limits.memory.for_device(&device.identity) {
        Some(quota @ (Quota::Bytes(_) | Quota::Share(_))) => {
            quota.resolve(device.total).min(device.total)
        }
        Some(Quota::Unlimited) | None => 0,
    }
}

/// Returns the part of a device's time that limits promise. A whole device is no share: it is how
/// modes and priorities are set without one.
fn share(limits: &Limits, device: &Known) -> u64 {
    let promised = |params: &Params| params.mode != Mode::None && params.guarantee < WHOLE;
    match limits.compute.for_device(&device.identity) {
        Some(params) if promised(&params) => u64::from(params.guarantee),
        _ => 0,
    }
}

/// Returns a sentence for each device of which more would be promised than it has, if the tenant
/// `name` gets `limits`. Parts are not counted: their promises are their outer tenants'.
pub fn beyond(
    state: &StateDir,
    name: &str,
    limits: &Limits,
    shown: &[VisibleDevice],
) -> Vec<String> {
    let others: Vec<TenantSnapshot> = inventory::all(state)
        .unwrap_or_default()
        .into_iter()
        .filter(|tenant| tenant.name != name && !tenant.is_dead() && tenant.outer.is_none())
        .collect();
    let mut lines = Vec::new();
    for device in devices(shown, &others) {
        let by = |amount: &dyn Fn(&Limits) -> u64, text: &dyn Fn(u64) -> String| {
            let mut parts: Vec<(u64, &str)> = others
                .iter()
                .map(|tenant| (amount(&tenant.limits), tenant.name.as_str()))
                .filter(|(amount, _)| *amount > 0)
                .collect();
            parts.sort_by(|a, b| b.cmp(a));
            let sum = parts.iter().map(|(amount, _)| amount).sum::<u64>() + amount(limits);
            let most: Vec<String> = parts
                .iter()
                .take(3)
                .map(|(amount, name)| format!("{name} has {}", text(*amount)))
                .collect();
            (sum, most.join(", "))
        };
        let (sum, who) = by(&|limits| memory(limits, &device), &|bytes| {
            Bytes(bytes).to_string()
        });
        if memory(limits, &device) > 0 && sum > device.total {
            lines.push(format!(
                "{} of memory would be promised on {}, which has {}: {who}",
                Bytes(sum),
                device.label,
                Bytes(device.total)
            ));
        }
        let (sum, who) = by(&|limits| share(limits, &device), &|ppm| {
            Percent(ppm as u32).to_string()
        });
        if share(limits, &device) > 0 && sum > u64::from(WHOLE) {
            lines.push(format!(
                "{}% of the time would be promised on {}: {who}",
                sum as f64 / 10_000.0,
                device.label
            ));
        }
    }
    lines
}
