//! Cards and chips: which there are, what they are, how full and how busy.

use crate::state::{chip, machine};
use crate::{INVALID_PARAMETER, NOT_SUPPORT, api, put, put_text};
use fcsp_sim::process::{holdings, used};

const MIB: u64 = 1 << 20;

/// `dcmi_chip_info`.
#[repr(C)]
#[derive(Debug)]
pub struct ChipInfo {
    kind: [u8; 32],
    name: [u8; 32],
    version: [u8; 32],
    cores: u32,
}

/// `dcmi_pcie_info_all`.
#[repr(C)]
#[derive(Debug)]
pub struct PcieInfo {
    vendor: u32,
    subvendor: u32,
    device: u32,
    subdevice: u32,
    domain: i32,
    bus: u32,
    slot: u32,
    function: u32,
    reserve: [u8; 32],
}

/// `dcmi_hbm_info`, in MiB.
#[repr(C)]
#[derive(Debug)]
pub struct HbmInfo {
    size: u64,
    freq: u32,
    usage: u64,
    temperature: i32,
    bandwidth: u32,
}

/// `dcmi_memory_info`, in MiB.
#[repr(C)]
#[derive(Debug)]
pub struct MemoryInfo {
    size: u64,
    freq: u32,
    utilisation: u32,
}

/// `dcmi_get_memory_info_stru`, in MiB.
#[repr(C)]
#[derive(Debug)]
pub struct MemoryInfoV3 {
    size: u64,
    available: u64,
    freq: u32,
    huge_size: u64,
    huge_total: u64,
    huge_free: u64,
    utilisation: u32,
    reserve: [u8; 60],
}

fn text<const N: usize>(value: &str) -> [u8; N] {
    let mut out = [0; N];
    let n = value.len().min(N - 1);
    out[..n].copy_from_slice(&value.as_bytes()[..n]);
    out
}

/// Memory as the management library counts it: with what the firmware holds, and that as used.
fn memory(card: i32, device: i32) -> crate::Reply<(u64, u64)> {
    let (m, spec) = chip(card, device)?;
    let used = used(&m.region, spec.index) + spec.reserved;
    Ok(((spec.memory + spec.reserved) / MIB, used.div_ceil(MIB)))
}

fn utilisation(card: i32, device: i32) -> crate::Reply<u32> {
    let (m, spec) = chip(card, device)?;
    let all = holdings(&m.region, spec.index);
    Ok(all.iter().map(|h| h.utilisation).sum::<u32>().min(100))
}

api! {
    fn dcmi_get_dcmi_version(version: *mut u8, len: u32) {
        put_text(version, len as usize, "25.5.0")
    }
    fn dcmi_get_driver_version(version: *mut u8, len: u32) {
        machine()?;
        put_text(version, len as usize, "25.5.0")
    }
    fn dcmi_get_card_list(count: *mut i32, list: *mut i32, len: i32) {
        let n = machine()?.topology.devices.len();
        if list.is_null() {
            return Err(INVALID_PARAMETER);
        }
        for i in 0..n.min(usize::try_from(len).map_err(|_| INVALID_PARAMETER)?) {
            // SAFETY: by the API's contract an array of `len`.
            unsafe { list.add(i).write(i as i32) };
        }
        put(count, n as i32)
    }
    fn dcmi_get_device_num_in_card(card: i32, count: *mut i32) {
        chip(card, 0)?;
        put(count, 1)
    }
    fn dcmi_get_device_id_in_card(card: i32, most: *mut i32, mcu: *mut i32, cpu: *mut i32) {
        chip(card, 0)?;
        put(most, 1)?;
        put(mcu, -1)?;
        put(cpu, -1)
    }
    fn dcmi_get_device_type(card: i32, device: i32, kind: *mut i32) {
        chip(card, device)?;
        put(kind, 0)
    }
    fn dcmi_get_device_chip_info(card: i32, device: i32, info: *mut ChipInfo) {
        let (_, spec) = chip(card, device)?;
        put(info, ChipInfo {
            kind: text("Ascend"),
            name: text(spec.name.trim_start_matches("Ascend")),
            version: text("V1"),
            cores: spec.sm,
        })
    }
    fn dcmi_get_device_pcie_info_v2(card: i32, device: i32, info: *mut PcieInfo) {
        let (_, spec) = chip(card, device)?;
        put(info, PcieInfo {
            vendor: spec.pci_device & 0xffff,
            subvendor: 0,
            device: spec.pci_device >> 16,
            subdevice: 0,
            domain: 0,
            bus: spec.pci_bus(),
            slot: 0,
            function: 0,
            reserve: [0; 32],
        })
    }
    /// The virtual die's number: five words that no other chip has.
    fn dcmi_get_device_die_v2(card: i32, device: i32, _kind: i32, die: *mut [u32; 5]) {
        let (_, spec) = chip(card, device)?;
        let mut words = [spec.pci_device; 5];
        for (w, b) in words.iter_mut().zip(spec.uuid().chunks_exact(4)) {
            *w = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
        }
        put(die, words)
    }
    fn dcmi_get_device_health(card: i32, device: i32, health: *mut u32) {
        chip(card, device)?;
        put(health, 0)
    }
    fn dcmi_get_device_logic_id(logic: *mut i32, card: i32, device: i32) {
        let (_, spec) = chip(card, device)?;
        put(logic, spec.index as i32)
    }
    fn dcmi_get_device_phyid_from_logicid(logic: u32, physical: *mut u32) {
        chip(logic as i32, 0)?;
        put(physical, logic)
    }
    fn dcmi_get_device_hbm_info(card: i32, device: i32, info: *mut HbmInfo) {
        let (size, usage) = memory(card, device)?;
        let (_, spec) = chip(card, device)?;
        let bandwidth = utilisation(card, device)?;
        put(info, HbmInfo { size, freq: spec.memory_clock_khz / 1000, usage, temperature: 40, bandwidth })
    }
    fn dcmi_get_device_memory_info_v2(card: i32, device: i32, info: *mut MemoryInfo) {
        let (size, usage) = memory(card, device)?;
        put(info, MemoryInfo { size, freq: 0, utilisation: (100 * usage / size.max(1)) as u32 })
    }
    fn dcmi_get_device_memory_info_v3(card: i32, device: i32, info: *mut MemoryInfoV3) {
        let (size, usage) = memory(card, device)?;
        put(info, MemoryInfoV3 {
            size,
            available: size.saturating_sub(usage),
            freq: 0,
            huge_size: 2048,
            huge_total: size / 2,
            huge_free: size.saturating_sub(usage) / 2,
            utilisation: (100 * usage / size.max(1)) as u32,
            reserve: [0; 60],
        })
    }
    fn dcmi_get_device_utilization_rate(card: i32, device: i32, _kind: i32, rate: *mut u32) {
        put(rate, utilisation(card, device)?)
    }
    fn dcmi_get_device_power_info(card: i32, device: i32, power: *mut i32) {
        let (_, spec) = chip(card, device)?;
        // In tenths of a watt.
        let idle = spec.power_limit_mw / 400;
        put(power, (idle + spec.power_limit_mw / 100 * utilisation(card, device)? / 150) as i32)
    }
    fn dcmi_get_device_temperature(card: i32, device: i32, temperature: *mut i32) {
        chip(card, device)?;
        put(temperature, 40)
    }
    fn dcmi_create_vdevice(card: i32, device: i32, _vdevice: i32, _template: *const u8, _out: *mut u8) {
        chip(card, device)?;
        Err(NOT_SUPPORT)
    }
}
