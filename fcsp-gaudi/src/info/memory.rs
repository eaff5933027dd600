//! Synapse as the tenant sees it: the quota is the card's memory.

use core::ffi::c_uint;

use fcsp_hook::backend::{Devices, Driver};
use fcsp_hook::info::View;
use fcsp_hook::process::Target;
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::call_real;
use crate::device::{self, Card};
use crate::ffi::synapse::*;
use crate::vendor::Gaudi;

/// Returns the available and all bytes to report for this process's card, of which `free` are left.
/// Returns `None` if nothing must be changed.
fn own(free: u64) -> Option<(u64, u64)> {
    let _inside = Reentry::enter()?;
    match Gaudi::process().target() {
        Target::Device(device, _) => {
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
    catch_panic(synFail, || {
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
    catch_panic(synFail, || {
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
    catch_panic(synFail, || {
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
            DEVICE_ATTRIBUTE_DRAM_FREE_SIZE => {
                *value = shown(*value).map_or(*value, |(free, _)| free)
            }
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
    catch_panic(synFail, || {
        let result = call_real!(synDeviceGetAttribute(
            retVal, deviceAttr, querySize, deviceId
        ));
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
    catch_panic(synFail, || {
        let result = call_real!(synDeviceGetAttributeByModuleId(
            retVal, deviceAttr, querySize, moduleId
        ));
        if result == synSuccess
            && let Some(_inside) = Reentry::enter()
            && let Some(ordinal) = device::position(|card| card.module == moduleId)
            && let Some(Card { identity, .. }) = device::find(ordinal)
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
