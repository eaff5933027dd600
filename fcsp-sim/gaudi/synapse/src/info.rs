//! What a process is told of its card.

use crate::card::type_of;
use crate::{Driver, INVALID_ARGUMENT, NO_DEVICE_FOUND, Reply, api, driver, put, put_text};
use fcsp_sim::spec::DeviceSpec;
use std::os::fd::AsRawFd;

/// `synDeviceInfo`.
#[repr(C)]
#[derive(Debug)]
pub struct Info {
    sram_base: u64,
    dram_base: u64,
    sram_size: u32,
    dram_size: u64,
    tpc_mask: u64,
    dram_enabled: u8,
    device: u32,
    fd: u32,
    kind: i32,
}

/// `synDeviceInfoV2`.
#[repr(C)]
#[derive(Debug)]
pub struct InfoV2 {
    first: Info,
    index: u8,
    hbm_base: u64,
}

const SRAM_BASE: u64 = 0x1000_1000_0000_0000;
const DRAM_BASE: u64 = 0x1001_0000_0000_0000;

fn tpc_mask(spec: &DeviceSpec) -> u64 {
    u64::MAX >> (64 - spec.sm.clamp(1, 64))
}

fn info(driver: &Driver, device: u32) -> Reply<InfoV2> {
    driver.with_card(device, |card| {
        let spec = driver.spec(card.index);
        let first = Info {
            sram_base: SRAM_BASE,
            dram_base: DRAM_BASE,
            sram_size: spec.l2 as u32,
            dram_size: spec.memory,
            tpc_mask: tpc_mask(spec),
            dram_enabled: 1,
            device,
            fd: card.file.as_raw_fd() as u32,
            kind: type_of(spec),
        };
        Ok(InfoV2 {
            first,
            index: card.index as u8,
            hbm_base: DRAM_BASE,
        })
    })
}

/// Returns the values of attributes, by their numbers.
fn attributes(
    driver: &Driver,
    values: *mut u64,
    asked: *const i32,
    count: u32,
    index: usize,
) -> Reply {
    let spec = driver.spec(index);
    if asked.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    for at in 0..count as usize {
        // SAFETY: by the API's contract `count` of them.
        let value = match unsafe { *asked.add(at) } {
            0 => SRAM_BASE,
            1 => DRAM_BASE,
            2 => spec.l2,
            3 => spec.memory,
            4 => driver.process.memory(index).0,
            5 => tpc_mask(spec),
            6 => 1,
            7 => type_of(spec) as u64,
            8 => u64::from(spec.clock_khz) / 1000,
            11 => 128,
            12 => 25,
            _ => return Err(INVALID_ARGUMENT),
        };
        put(values.wrapping_add(at), value)?;
    }
    Ok(())
}

api! {
    fn synDeviceGetName(name: *mut u8, len: i32, device: u32) {
        let driver = driver()?;
        driver.with_card(device, |card| put_text(name, len, &driver.spec(card.index).name))
    }

    fn synDeviceGetPCIBusId(pci: *mut u8, len: i32, device: u32) {
        let driver = driver()?;
        driver.with_card(device, |card| {
            put_text(pci, len, &driver.spec(card.index).pci_text().to_lowercase())
        })
    }

    fn synDeviceGetMemoryInfo(device: u32, unused: *mut u64, total: *mut u64) {
        let driver = driver()?;
        driver.with_card(device, |card| {
            let (free, all) = driver.process.memory(card.index);
            put(unused, free)?;
            put(total, all)
        })
    }

    fn synDeviceGetInfo(device: u32, place: *mut Info) {
        put(place, info(driver()?, device)?.first)
    }

    fn synDeviceGetInfoV2(device: u32, place: *mut InfoV2) {
        put(place, info(driver()?, device)?)
    }

    fn synDeviceGetAttribute(values: *mut u64, asked: *const i32, count: u32, device: u32) {
        let driver = driver()?;
        let index = driver.with_card(device, |card| Ok(card.index))?;
        attributes(driver, values, asked, count, index)
    }

    fn synDeviceGetAttributeByModuleId(values: *mut u64, asked: *const i32, count: u32, module: u32) {
        let driver = driver()?;
        if module as usize >= driver.process.topology.devices.len() {
            return Err(NO_DEVICE_FOUND);
        }
        attributes(driver, values, asked, count, module as usize)
    }
}
