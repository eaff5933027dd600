//! Devices: which there are, what they are, and how full. Sensors read as a healthy card's at work.

use crate::abi::{
    INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, Out, Reply, Text, VERSION_MISMATCH, fixed, put_text,
};
use crate::api;
use crate::state::{Machine, device, handle, machine};
use fcsp_sim::process::{holdings, used};
use fcsp_sim::spec::DeviceSpec;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Pci {
    legacy: [u8; 16],
    domain: u32,
    bus: u32,
    device: u32,
    device_id: u32,
    subsystem: u32,
    id: [u8; 32],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Memory2 {
    version: u32,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    gpu: u32,
    memory: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Temperature {
    version: u32,
    sensor: u32,
    degrees: i32,
}

const MEMORY2: u32 = std::mem::size_of::<Memory2>() as u32 | 2 << 24;

fn bus_id(spec: &DeviceSpec) -> String {
    format!("00000000:{:02X}:00.0", spec.pci_bus())
}

fn pci(spec: &DeviceSpec) -> Pci {
    Pci {
        legacy: fixed(&spec.pci_text()),
        domain: 0,
        bus: spec.pci_bus(),
        device: 0,
        device_id: spec.pci_device,
        subsystem: 0x16c1_10de,
        id: fixed(&bus_id(spec)),
    }
}

/// Returns true if a text names the device's PCI address, with a domain of any width or none and
/// with or without function.
fn is_at(spec: &DeviceSpec, text: &str) -> bool {
    let mut parts = text.rsplitn(3, ':');
    let slot = parts
        .next()
        .and_then(|s| u32::from_str_radix(s.split('.').next().unwrap_or_default(), 16).ok());
    let bus = parts.next().and_then(|b| u32::from_str_radix(b, 16).ok());
    let domain = parts
        .next()
        .map_or(Some(0), |d| u32::from_str_radix(d, 16).ok());
    slot == Some(0) && bus == Some(spec.pci_bus()) && domain == Some(0)
}

/// Returns the per cent of the last half second that all processes together kept the device busy.
fn busy(d: u64) -> Reply<u32> {
    let (m, spec) = device(d)?;
    Ok(holdings(&m.region, spec.index)
        .iter()
        .map(|h| h.utilisation)
        .sum::<u32>()
        .min(100))
}

/// Milliwatts: idle, and what the work adds.
fn power(d: u64) -> Reply<u32> {
    let (_, spec) = device(d)?;
    let idle = spec.power_limit_mw / 10;
    Ok(idle + (spec.power_limit_mw - idle) / 100 * busy(d)?)
}

fn clock(d: u64, kind: u32) -> Reply<u32> {
    let (_, spec) = device(d)?;
    match kind {
        0..=1 => Ok(spec.clock_khz / 1000),
        2 => Ok(spec.memory_clock_khz / 1000),
        3 => Ok(spec.clock_khz / 1000 * 9 / 10),
        _ => Err(INVALID_ARGUMENT),
    }
}

/// Returns a device whose memory this system tells.
fn told(d: u64) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    let (m, spec) = device(d)?;
    if m.variant.unified {
        return Err(NOT_SUPPORTED);
    }
    Ok((m, spec))
}

fn find(place: Out<u64>, hit: impl Fn(&DeviceSpec) -> bool) -> Reply {
    let spec = machine()?
        .topology
        .devices
        .iter()
        .find(|d| hit(d))
        .ok_or(NOT_FOUND)?;
    place.put(handle(spec.index))
}

api! {
    fn nvmlDeviceGetCount, nvmlDeviceGetCount_v2(n: Out<u32>) {
        n.put(machine()?.topology.devices.len() as u32)
    }
    fn nvmlDeviceGetHandleByIndex, nvmlDeviceGetHandleByIndex_v2(index: u32, place: Out<u64>) {
        if index as usize >= machine()?.topology.devices.len() {
            return Err(INVALID_ARGUMENT);
        }
        place.put(handle(index as usize))
    }
    fn nvmlDeviceGetHandleByUUID(uuid: Text, place: Out<u64>) {
        let text = uuid.get()?;
        find(place, |d| d.uuid_text() == text)
    }
    fn nvmlDeviceGetHandleByPciBusId, nvmlDeviceGetHandleByPciBusId_v2(id: Text, place: Out<u64>) {
        let text = id.get()?;
        find(place, |d| is_at(d, &text))
    }
    fn nvmlDeviceGetHandleBySerial(serial: Text, place: Out<u64>) {
        let text = serial.get()?;
        find(place, |d| serial_of(d) == text)
    }
    fn nvmlDeviceGetIndex(d: u64, index: Out<u32>) {
        index.put(device(d)?.1.index as u32)
    }
    fn nvmlDeviceGetMinorNumber(d: u64, minor: Out<u32>) {
        minor.put(device(d)?.1.index as u32)
    }
    fn nvmlDeviceGetName(d: u64, text: Out<u8>, len: u32) {
        put_text(text, len, &device(d)?.1.name)
    }
    fn nvmlDeviceGetUUID(d: u64, text: Out<u8>, len: u32) {
        put_text(text, len, &device(d)?.1.uuid_text())
    }
    fn nvmlDeviceGetSerial(d: u64, text: Out<u8>, len: u32) {
        put_text(text, len, &serial_of(device(d)?.1))
    }
    fn nvmlDeviceGetVbiosVersion(d: u64, text: Out<u8>, len: u32) {
        device(d)?;
        put_text(text, len, "96.00.00.00.00")
    }
    fn nvmlDeviceGetBrand(d: u64, brand: Out<u32>) {
        device(d)?;
        brand.put(14)
    }
    fn nvmlDeviceGetArchitecture(d: u64, value: Out<u32>) {
        value.put(match device(d)?.1.capability {
            (8, 9) => 8,
            (8, _) => 7,
            _ => 9,
        })
    }
    fn nvmlDeviceGetCudaComputeCapability(d: u64, major: Out<i32>, minor: Out<i32>) {
        let (a, b) = device(d)?.1.capability;
        major.put(a as i32)?;
        minor.put(b as i32)
    }
    fn nvmlDeviceGetPciInfo, nvmlDeviceGetPciInfo_v2, nvmlDeviceGetPciInfo_v3(d: u64, info: Out<Pci>) {
        info.put(pci(device(d)?.1))
    }
    fn nvmlDeviceGetMemoryInfo(d: u64, info: Out<Memory>) {
        let (m, spec) = told(d)?;
        let taken = used(&m.region, spec.index) + spec.reserved;
        let total = spec.memory + spec.reserved;
        info.put(Memory { total, free: total.saturating_sub(taken), used: taken })
    }
    fn nvmlDeviceGetMemoryInfo_v2(d: u64, info: Out<Memory2>) {
        let (m, spec) = told(d)?;
        let version = info.get()?.version;
        if version != MEMORY2 {
            return Err(VERSION_MISMATCH);
        }
        let taken = used(&m.region, spec.index);
        info.put(Memory2 {
            version,
            total: spec.memory + spec.reserved,
            reserved: spec.reserved,
            free: spec.memory.saturating_sub(taken),
            used: taken,
        })
    }
    fn nvmlDeviceGetBAR1MemoryInfo(d: u64, info: Out<Memory>) {
        device(d)?;
        info.put(Memory { total: 128 << 30, free: (128 << 30) - (4 << 20), used: 4 << 20 })
    }
    fn nvmlDeviceGetUtilizationRates(d: u64, rates: Out<Rates>) {
        let gpu = busy(d)?;
        rates.put(Rates { gpu, memory: gpu / 2 })
    }
    fn nvmlDeviceGetEncoderUtilization, nvmlDeviceGetDecoderUtilization(d: u64, value: Out<u32>, period: Out<u32>) {
        device(d)?;
        value.put(0)?;
        period.put(167_000)
    }
    fn nvmlDeviceGetPowerUsage(d: u64, milliwatts: Out<u32>) {
        milliwatts.put(power(d)?)
    }
    fn nvmlDeviceGetPowerManagementLimit, nvmlDeviceGetPowerManagementDefaultLimit, nvmlDeviceGetEnforcedPowerLimit(
        d: u64, milliwatts: Out<u32>,
    ) {
        milliwatts.put(device(d)?.1.power_limit_mw)
    }
    fn nvmlDeviceGetPowerManagementLimitConstraints(d: u64, least: Out<u32>, most: Out<u32>) {
        let limit = device(d)?.1.power_limit_mw;
        least.put(limit / 3)?;
        most.put(limit)
    }
    fn nvmlDeviceGetPowerManagementMode(d: u64, mode: Out<u32>) {
        device(d)?;
        mode.put(1)
    }
    fn nvmlDeviceGetTotalEnergyConsumption(d: u64, millijoules: Out<u64>) {
        let (m, spec) = device(d)?;
        // Idle power since the host started, and the rest for the time that the device was busy.
        let idle = u64::from(spec.power_limit_mw / 10);
        let up = fcsp_sim::clock::now() / 1_000_000;
        let work = m.region.engine(spec.index).busy_ns.load(std::sync::atomic::Ordering::Relaxed) / 1_000_000;
        millijoules.put((idle * up + (u64::from(spec.power_limit_mw) - idle) * work) / 1000)
    }
    fn nvmlDeviceGetTemperature(d: u64, sensor: u32, degrees: Out<u32>) {
        if sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        degrees.put(35 + busy(d)? / 4)
    }
    fn nvmlDeviceGetTemperatureV(d: u64, place: Out<Temperature>) {
        let t = place.get()?;
        if t.sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        place.put(Temperature { degrees: 35 + busy(d)? as i32 / 4, ..t })
    }
    fn nvmlDeviceGetTemperatureThreshold(d: u64, kind: u32, degrees: Out<u32>) {
        device(d)?;
        degrees.put(match kind {
            0 => 92,
            1 => 89,
            2 => 95,
            3 => 87,
            _ => return Err(NOT_SUPPORTED),
        })
    }
    fn nvmlDeviceGetFanSpeed(d: u64, _percent: Out<u32>) {
        device(d)?;
        // Cooled by the chassis.
        Err(NOT_SUPPORTED)
    }
    fn nvmlDeviceGetClockInfo, nvmlDeviceGetMaxClockInfo, nvmlDeviceGetApplicationsClock, nvmlDeviceGetDefaultApplicationsClock(
        d: u64, kind: u32, mhz: Out<u32>,
    ) {
        mhz.put(clock(d, kind)?)
    }
    fn nvmlDeviceGetClock(d: u64, kind: u32, _id: u32, mhz: Out<u32>) {
        mhz.put(clock(d, kind)?)
    }
    fn nvmlDeviceGetCurrentClocksEventReasons, nvmlDeviceGetCurrentClocksThrottleReasons(d: u64, reasons: Out<u64>) {
        // Idle, or nothing.
        reasons.put(u64::from(busy(d)? == 0))
    }
    fn nvmlDeviceGetSupportedClocksEventReasons, nvmlDeviceGetSupportedClocksThrottleReasons(d: u64, mask: Out<u64>) {
        device(d)?;
        mask.put(0x1ff)
    }
    fn nvmlDeviceGetPerformanceState, nvmlDeviceGetPowerState(d: u64, state: Out<u32>) {
        device(d)?;
        state.put(0)
    }
    fn nvmlDeviceGetPersistenceMode(d: u64, mode: Out<u32>) {
        device(d)?;
        mode.put(1)
    }
    fn nvmlDeviceGetComputeMode(d: u64, mode: Out<u32>) {
        device(d)?;
        mode.put(0)
    }
    fn nvmlDeviceGetDisplayMode, nvmlDeviceGetDisplayActive(d: u64, mode: Out<u32>) {
        device(d)?;
        mode.put(0)
    }
    fn nvmlDeviceGetEccMode(d: u64, now: Out<u32>, pending: Out<u32>) {
        device(d)?;
        now.put(1)?;
        pending.put(1)
    }
    fn nvmlDeviceGetTotalEccErrors(d: u64, _kind: u32, _counter: u32, n: Out<u64>) {
        device(d)?;
        n.put(0)
    }
    /// Hardware partitions are not modelled: devices that have them report the mode as off, others
    /// as unknown.
    fn nvmlDeviceGetMigMode(d: u64, now: Out<u32>, pending: Out<u32>) {
        if matches!(device(d)?.1.capability, (8, 9)) {
            return Err(NOT_SUPPORTED);
        }
        now.put(0)?;
        pending.put(0)
    }
    fn nvmlDeviceGetMaxMigDeviceCount(d: u64, n: Out<u32>) {
        n.put(if matches!(device(d)?.1.capability, (8, 9)) { 0 } else { 7 })
    }
    fn nvmlDeviceIsMigDeviceHandle(d: u64, is: Out<u32>) {
        device(d)?;
        is.put(0)
    }
    fn nvmlDeviceGetVirtualizationMode(d: u64, mode: Out<u32>) {
        device(d)?;
        mode.put(0)
    }
    fn nvmlDeviceGetMemoryBusWidth(d: u64, bits: Out<u32>) {
        bits.put(device(d)?.1.bus_width)
    }
    fn nvmlDeviceGetNumGpuCores(d: u64, n: Out<u32>) {
        n.put(device(d)?.1.sm * 128)
    }
    fn nvmlDeviceGetCurrPcieLinkGeneration, nvmlDeviceGetMaxPcieLinkGeneration, nvmlDeviceGetGpuMaxPcieLinkGeneration(
        d: u64, value: Out<u32>,
    ) {
        value.put(if device(d)?.1.capability.0 >= 9 { 5 } else { 4 })
    }
    fn nvmlDeviceGetCurrPcieLinkWidth, nvmlDeviceGetMaxPcieLinkWidth(d: u64, value: Out<u32>) {
        device(d)?;
        value.put(16)
    }
    fn nvmlDeviceGetPcieThroughput(d: u64, _counter: u32, value: Out<u32>) {
        device(d)?;
        value.put(0)
    }
    fn nvmlDeviceGetMultiGpuBoard(d: u64, value: Out<u32>) {
        device(d)?;
        value.put(0)
    }
    fn nvmlDeviceGetBoardId(d: u64, value: Out<u32>) {
        value.put(device(d)?.1.pci_bus() << 8)
    }
    fn nvmlDeviceOnSameBoard(a: u64, b: u64, same: Out<i32>) {
        same.put(i32::from(device(a)?.1.index == device(b)?.1.index))
    }
    fn nvmlDeviceGetTopologyCommonAncestor(a: u64, b: u64, level: Out<u32>) {
        // One host bridge.
        level.put(if device(a)?.1.index == device(b)?.1.index { 0 } else { 30 })
    }
    fn nvmlDeviceGetP2PStatus(a: u64, b: u64, _index: u32, status: Out<u32>) {
        device(a)?;
        device(b)?;
        status.put(0)
    }
    fn nvmlDeviceGetCpuAffinity(d: u64, words: u32, set: Out<u64>) {
        device(d)?;
        let n = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for i in 0..words as usize {
            let bits = n.saturating_sub(i * 64).min(64);
            set.put_at(i, if bits == 64 { u64::MAX } else { (1 << bits) - 1 })?;
        }
        Ok(())
    }
}

fn serial_of(spec: &DeviceSpec) -> String {
    let id = spec.uuid();
    let digits = u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
    format!("{:013}", digits % 10_000_000_000_000)
}
