//! Memory of the card and of the host.

use crate::{
    DEVICE, FAILED_TO_ALLOCATE_DEVICE_MEMORY, FAILED_TO_FREE_DEVICE_MEMORY, INVALID_ARGUMENT,
    OUT_OF_HOST_MEMORY, api, driver, lock, put,
};
use core::ffi::c_void;
use fcsp_sim::host::Mapping;
use fcsp_sim::process::Account;

/// Every buffer begins at a multiple of this, and takes one.
const ALIGNMENT: u64 = 128;
const PAGE: u64 = 4096;

api! {
    fn synDeviceMalloc(device: u32, size: u64, _wanted: u64, flags: u32, buffer: *mut u64) {
        let driver = driver()?;
        if size == 0 || flags != 0 || buffer.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        driver.with_card(device, |card| {
            let bytes = size.checked_next_multiple_of(ALIGNMENT).ok_or(FAILED_TO_ALLOCATE_DEVICE_MEMORY)?;
            let refused = |_| FAILED_TO_ALLOCATE_DEVICE_MEMORY;
            driver.process.take(card.index, bytes, Account::Process).map_err(refused)?;
            let mapping = Mapping::zeroed(bytes, PAGE).map_err(|error| {
                driver.process.give(card.index, bytes, Account::Process);
                refused(error)
            })?;
            let base = mapping.base();
            card.memory.insert(base, (mapping, bytes));
            put(buffer, base)
        })
    }

    fn synDeviceFree(device: u32, buffer: u64, flags: u32) {
        let driver = driver()?;
        if flags != 0 {
            return Err(INVALID_ARGUMENT);
        }
        if lock(&driver.card).is_none() {
            // Without a card there is nothing to free, which is no error
            // (`DeviceManager::deallocateDeviceMemory`).
            return Ok(());
        }
        driver.with_card(device, |card| {
            let (_, bytes) = card.memory.remove(&buffer).ok_or(FAILED_TO_FREE_DEVICE_MEMORY)?;
            driver.process.give(card.index, bytes, Account::Process);
            Ok(())
        })
    }

    fn synHostMalloc(device: u32, size: u64, flags: u32, buffer: *mut *mut c_void) {
        if device != DEVICE || size == 0 || flags != 0 {
            return Err(INVALID_ARGUMENT);
        }
        let mapping = Mapping::zeroed(size, PAGE).map_err(|_| OUT_OF_HOST_MEMORY)?;
        let base = mapping.base();
        lock(&driver()?.host).insert(base, mapping);
        put(buffer, base as *mut c_void)
    }

    fn synHostFree(device: u32, buffer: *const c_void, flags: u32) {
        if device != DEVICE || flags != 0 {
            return Err(INVALID_ARGUMENT);
        }
        lock(&driver()?.host).remove(&(buffer as u64)).map(drop).ok_or(INVALID_ARGUMENT)
    }
}
