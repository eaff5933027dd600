//! The devices that a program will see, in its own order.

use std::time::Duration;

use fcsp_sim::spec::Topology;

use super::probe::{self, Device};

/// Longest wait for the driver to say which devices there are.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where it has to be initialised for that.
const LONG_PATIENCE: Duration = Duration::from_secs(20);

/// Returns the devices that the program will see, in its own order; `None` where nobody can tell.
/// `ask` says whether that is worth initialising the driver for, which takes a tenth of a second
/// and more.
pub fn devices(sim: Option<&Topology>, ask: bool) -> Option<Vec<Device>> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    if let Some(sim) = sim {
        let order = sim.visible(visible.as_deref());
        let devices = order.iter().enumerate().map(|(index, &physical)| {
            let spec = &sim.devices[physical];
            Device {
                index: index as u32,
                name: spec.name.clone(),
                uuid: spec.uuid_text(),
                pci: Some(spec.pci_text().to_lowercase()),
                total_bytes: spec.memory,
                ..Device::default()
            }
        });
        return Some(devices.collect());
    }
    let all = probe::ask(None, false, PATIENCE).ok()?.devices;
    // The compute API sorts unlike devices by speed unless told otherwise, and has one instance of
    // a partitioned one.
    let alike = all.iter().all(|device| device.name == all[0].name);
    let by_bus = std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID");
    if !all.is_empty() && (alike || by_bus) && !all.iter().any(|device| device.mig) {
        return Some(select(&all, visible.as_deref()));
    }
    ask.then(|| in_order_of_the_driver(&all)).flatten()
}

/// Returns the devices as the compute library of this environment counts them.
fn in_order_of_the_driver(known: &[Device]) -> Option<Vec<Device>> {
    let order = probe::ask(None, true, LONG_PATIENCE).ok()?.order;
    let devices = order.into_iter().enumerate().map(|(index, uuid)| {
        let found = known.iter().find(|device| device.uuid == uuid);
        Device {
            index: index as u32,
            uuid,
            ..found.cloned().unwrap_or_default()
        }
    });
    Some(devices.collect::<Vec<_>>()).filter(|devices| !devices.is_empty())
}

/// Returns the devices that CUDA_VISIBLE_DEVICES leaves, renumbered: the list ends at the first
/// entry that names none.
fn select(all: &[Device], list: Option<&str>) -> Vec<Device> {
    let Some(list) = list else {
        return all.to_vec();
    };
    let mut chosen: Vec<Device> = Vec::new();
    for entry in list.split(',').map(str::trim) {
        let found = match entry.parse::<usize>() {
            Ok(index) => all.get(index),
            Err(_) if entry.len() > 4 => all.iter().find(|device| device.uuid.starts_with(entry)),
            Err(_) => None,
        };
        let Some(found) = found else { break };
        if chosen.iter().any(|device| device.uuid == found.uuid) {
            return Vec::new();
        }
        chosen.push(Device {
            index: chosen.len() as u32,
            ..found.clone()
        });
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Device> {
        devices(Some(&"h100x2,memory=4GiB".parse().unwrap()), false).unwrap()
    }

    #[test]
    fn visible_devices_are_renumbered() {
        let devices = machine();
        let chosen = select(&devices, Some("1"));
        assert_eq!(
            (chosen.len(), chosen[0].index, &chosen[0].uuid),
            (1, 0, &devices[1].uuid)
        );
        assert_eq!(select(&devices, Some("0,7,1")).len(), 1);
        assert_eq!(select(&devices, Some("0,0")).len(), 0);
        assert_eq!(
            select(&devices, Some(&devices[1].uuid[..12]))[0].uuid,
            devices[1].uuid
        );
    }
}
