//! Devices: which there are, what they are, and how full. Sensors read as a healthy card's at work.

use crate::abi::{INVALID_ARGS, NOT_SUPPORTED, Out, Reply, put_text};
use crate::api;
use crate::state::{device, machine};
use fcsp_sim::process::{holdings, used};
use fcsp_sim::spec::DeviceSpec;

const VRAM: u32 = 0;
const VISIBLE: u32 = 1;
const GTT: u32 = 2;

/// Returns the per cent of the last half second that all processes together kept the device busy.
fn busy(index: u32) -> Reply<u32> {
    let (m, spec) = device(index)?;
    Ok(holdings(&m.region, spec.index)
        .iter()
        .map(|h| h.utilisation)
        .sum::<u32>()
        .min(100))
}

/// Upper half: domain. Lower: bus, device, function, as the library packs them.
fn address(spec: &DeviceSpec) -> u64 {
    u64::from(spec.pci_bus()) << 8
}

/// Returns the first eight bytes of the device's UUID.
fn unique(spec: &DeviceSpec) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&spec.uuid()[..8]);
    u64::from_be_bytes(first)
}

api! {
    fn rsmi_num_monitor_devices(n: Out<u32>) {
        n.put(machine()?.topology.devices.len() as u32)
    }
    fn rsmi_dev_id_get(d: u32, id: Out<u16>) {
        id.put((device(d)?.1.pci_device >> 16) as u16)
    }
    fn rsmi_dev_vendor_id_get(d: u32, id: Out<u16>) {
        id.put(device(d)?.1.pci_device as u16)
    }
    fn rsmi_dev_subsystem_vendor_id_get(d: u32, id: Out<u16>) {
        id.put(device(d)?.1.pci_device as u16)
    }
    fn rsmi_dev_name_get(d: u32, text: Out<u8>, len: u64) {
        put_text(text, len as usize, &device(d)?.1.name)
    }
    fn rsmi_dev_brand_get(d: u32, text: Out<u8>, len: u32) {
        put_text(text, len as usize, &device(d)?.1.name)
    }
    fn rsmi_dev_vendor_name_get(d: u32, text: Out<u8>, len: u64) {
        device(d)?;
        put_text(text, len as usize, "Advanced Micro Devices, Inc. [AMD/ATI]")
    }
    fn rsmi_dev_unique_id_get(d: u32, id: Out<u64>) {
        id.put(unique(device(d)?.1))
    }
    fn rsmi_dev_serial_number_get(d: u32, text: Out<u8>, len: u32) {
        let serial = format!("{:016x}", unique(device(d)?.1));
        put_text(text, len as usize, &serial)
    }
    fn rsmi_dev_pci_id_get(d: u32, id: Out<u64>) {
        id.put(address(device(d)?.1))
    }
    fn rsmi_dev_memory_total_get(d: u32, kind: u32, total: Out<u64>) {
        let (_, spec) = device(d)?;
        match kind {
            VRAM | VISIBLE => total.put(spec.memory + spec.reserved),
            GTT => total.put(spec.memory / 2),
            _ => Err(INVALID_ARGS),
        }
    }
    fn rsmi_dev_memory_usage_get(d: u32, kind: u32, bytes: Out<u64>) {
        let (m, spec) = device(d)?;
        match kind {
            VRAM | VISIBLE => bytes.put(used(&m.region, spec.index) + spec.reserved),
            // No simulated memory lies in the host's part.
            GTT => bytes.put(0),
            _ => Err(INVALID_ARGS),
        }
    }
    fn rsmi_dev_memory_busy_percent_get(d: u32, percent: Out<u32>) {
        percent.put(busy(d)? / 2)
    }
    fn rsmi_dev_busy_percent_get(d: u32, percent: Out<u32>) {
        percent.put(busy(d)?)
    }
    fn rsmi_dev_power_ave_get(d: u32, sensor: u32, microwatts: Out<u64>) {
        let (_, spec) = device(d)?;
        if sensor != 0 {
            return Err(NOT_SUPPORTED);
        }
        let limit = u64::from(spec.power_limit_mw) * 1000;
        microwatts.put(limit / 10 + (limit - limit / 10) / 100 * u64::from(busy(d)?))
    }
    fn rsmi_dev_power_cap_get(d: u32, _sensor: u32, microwatts: Out<u64>) {
        microwatts.put(u64::from(device(d)?.1.power_limit_mw) * 1000)
    }
    /// Thousandths of a degree; idle, and what the work adds.
    fn rsmi_dev_temp_metric_get(d: u32, sensor: u32, metric: u32, value: Out<i64>) {
        device(d)?;
        if sensor > 2 || metric != 0 {
            return Err(NOT_SUPPORTED);
        }
        value.put(35_000 + i64::from(busy(d)?) * 350)
    }
    fn rsmi_dev_overdrive_level_get(d: u32, level: Out<u32>) {
        device(d)?;
        level.put(0)
    }
    fn rsmi_topo_get_numa_node_number(d: u32, node: Out<u32>) {
        device(d)?;
        node.put(0)
    }
    fn rsmi_topo_numa_affinity_get(d: u32, node: Out<u32>) {
        device(d)?;
        node.put(0)
    }
    fn rsmi_is_P2P_accessible(from: u32, to: u32, yes: Out<bool>) {
        device(from)?;
        device(to)?;
        yes.put(from != to)
    }
}
