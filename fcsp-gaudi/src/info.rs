//! The answers that show a tenant its own device: the quota is the card's memory.

use core::ffi::c_uint;

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::Backend;
use fcsp_hook::info::View;
use fcsp_hook::process::Scope;
use fcsp_hook::setup::{Inside, shielded};

use crate::cards::{self, Card};
use crate::ffi::*;
use crate::process::{self, Gaudi};
use crate::{call_hlml, call_real};

/// Free and all bytes to show of the card that this process has, of which `free` are left; `None` if nothing is to be
/// changed.
fn own(free: u64) -> Option<(u64, u64)> {
    let _inside = Inside::enter()?;
    match Gaudi::process().scope() {
        Scope::On(device, _) => {
            let usage = device.usage();
            Some((usage.visible_free(free), usage.visible_total()))
        }
        _ => None,
    }
}

/// `synDeviceGetMemoryInfo`.
pub unsafe extern "C" fn synDeviceGetMemoryInfo(
    deviceId: synDeviceId,
    free: *mut u64,
    total: *mut u64,
) -> synStatus {
    shielded(synFail, || {
        let result = call_real!(synDeviceGetMemoryInfo(deviceId, free, total));
        if result == synSuccess {
            // SAFETY: Synapse has written to both with success.
            let (free, total) = unsafe { (&mut *free, &mut *total) };
            if let Some(shown) = own(*free) {
                (*free, *total) = shown;
            }
        }
        result
    })
}

/// `synDeviceGetInfo`.
pub unsafe extern "C" fn synDeviceGetInfo(
    deviceId: synDeviceId,
    pDeviceInfo: *mut synDeviceInfo,
) -> synStatus {
    shielded(synFail, || {
        let result = call_real!(synDeviceGetInfo(deviceId, pDeviceInfo));
        if result == synSuccess
            && let Some((_, total)) = own(u64::MAX)
        {
            // SAFETY: Synapse has written there with success.
            unsafe { (*pDeviceInfo).dramSize = total };
        }
        result
    })
}

/// `synDeviceGetInfoV2`.
pub unsafe extern "C" fn synDeviceGetInfoV2(
    deviceId: synDeviceId,
    pDeviceInfo: *mut synDeviceInfoV2,
) -> synStatus {
    shielded(synFail, || {
        let result = call_real!(synDeviceGetInfoV2(deviceId, pDeviceInfo));
        if result == synSuccess
            && let Some((_, total)) = own(u64::MAX)
        {
            // SAFETY: Synapse has written there with success.
            unsafe { (*pDeviceInfo).dramSize = total };
        }
        result
    })
}

/// Puts what is to be shown in the place of memory sizes among a card's attributes.
///
/// # Safety
/// Both lists have `count` entries.
unsafe fn change(
    values: *mut u64,
    asked: *const synDeviceAttribute,
    count: c_uint,
    shown: impl Fn(u64) -> Option<(u64, u64)>,
) {
    for at in 0..count as usize {
        // SAFETY: by this function's contract.
        let (value, attribute) = unsafe { (&mut *values.add(at), *asked.add(at)) };
        match attribute {
            DEVICE_ATTRIBUTE_DRAM_SIZE => *value = shown(*value).map_or(*value, |(_, total)| total),
            DEVICE_ATTRIBUTE_DRAM_FREE_SIZE => *value = shown(*value).map_or(*value, |(free, _)| free),
            _ => {}
        }
    }
}

/// `synDeviceGetAttribute`.
pub unsafe extern "C" fn synDeviceGetAttribute(
    retVal: *mut u64,
    deviceAttr: *const synDeviceAttribute,
    querySize: c_uint,
    deviceId: synDeviceId,
) -> synStatus {
    shielded(synFail, || {
        let result = call_real!(synDeviceGetAttribute(retVal, deviceAttr, querySize, deviceId));
        if result == synSuccess {
            // SAFETY: Synapse has read and written so many entries with success.
            unsafe { change(retVal, deviceAttr, querySize, own) };
        }
        result
    })
}

/// `synDeviceGetAttributeByModuleId`: of any card, also one that this process does not have.
pub unsafe extern "C" fn synDeviceGetAttributeByModuleId(
    retVal: *mut u64,
    deviceAttr: *const synDeviceAttribute,
    querySize: c_uint,
    moduleId: synModuleId,
) -> synStatus {
    shielded(synFail, || {
        let result = call_real!(synDeviceGetAttributeByModuleId(
            retVal, deviceAttr, querySize, moduleId
        ));
        if result == synSuccess
            && let Some(_inside) = Inside::enter()
            && let Some(ordinal) = cards::position(|card| card.module == moduleId)
            && let Some(Card { identity, .. }) = cards::find(ordinal)
        {
            let total = Gaudi::total_memory(ordinal);
            // SAFETY: as above.
            unsafe {
                change(retVal, deviceAttr, querySize, |free| {
                    let view = View::of(identity, total)?;
                    Some((view.free(free), view.limit))
                });
            }
        }
        result
    })
}

/// `hlml_device_get_memory_info`. A program that only looks has no card, so the tenant's region file is read from outside.
pub unsafe extern "C" fn hlml_device_get_memory_info(
    device: hlml_device_t,
    memory: *mut hlml_memory_t,
) -> hlml_return_t {
    shielded(HLML_ERROR_UNKNOWN, || {
        let result = call_hlml!(hlml_device_get_memory_info(device, memory));
        if result == HLML_SUCCESS
            && let Some(_inside) = Inside::enter()
            && let Some(identity) = identity(device)
        {
            // SAFETY: HLML has written there with success.
            let memory = unsafe { &mut *memory };
            if let Some(view) = View::of(&identity, memory.total) {
                memory.free = view.free(memory.free);
                memory.total = view.limit;
                memory.used = view.limit - memory.free;
            }
        }
        result
    })
}

/// Who a card of HLML's is. In a program that has initialised Synapse it has the number that Synapse gives it.
fn identity(device: hlml_device_t) -> Option<DeviceIdentity> {
    let managed = cards::of_handle(device)?;
    let uuid = cards::uuid(&managed.serial);
    let known = cards::position(|card| card.identity.uuid == uuid).and_then(cards::find);
    Some(known.map_or(
        DeviceIdentity {
            index: managed.module,
            uuid,
            pci: managed.pci,
        },
        |card| card.identity,
    ))
}

/// The card that this process has, as it can be told from Synapse's PCI address of it.
pub fn find_acquired() -> Option<i32> {
    let mut address: [core::ffi::c_char; 64] = [0; 64];
    let length = address.len() as i32;
    let result = call_real!(synDeviceGetPCIBusId(
        address.as_mut_ptr(),
        length,
        process::DEVICE
    ));
    if result != synSuccess {
        return None;
    }
    // SAFETY: ends in zeroes of ours, if not in one of Synapse's.
    let text = unsafe { core::ffi::CStr::from_ptr(address.as_ptr()) };
    let pci = text.to_str().ok()?.parse().ok()?;
    cards::position(|card| card.identity.pci == Some(pci))
}
