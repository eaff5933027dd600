//! HLML as the tenant sees it: the quota is the card's memory.
//!
//! A program that only looks has no card, so nothing is attached for it: it reads the tenant's
//! region file from outside.

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::info::View;
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::call_hlml;
use crate::device;
use crate::ffi::hlml::*;

/// `hlml_device_get_memory_info`.
pub unsafe extern "C" fn hlml_device_get_memory_info(
    device: hlml_device_t,
    memory: *mut hlml_memory_t,
) -> hlml_return_t {
    catch_panic(HLML_ERROR_UNKNOWN, || {
        let result = call_hlml!(hlml_device_get_memory_info(device, memory));
        if result == HLML_SUCCESS
            && let Some(_inside) = Reentry::enter()
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

/// Returns the identity of a card of HLML. In a program that has initialised Synapse, its ordinal
/// is Synapse's.
fn identity(device: hlml_device_t) -> Option<DeviceIdentity> {
    let managed = device::of_handle(device)?;
    let uuid = device::uuid(&managed.serial);
    let known = device::position(|card| card.identity.uuid == uuid).and_then(device::find);
    Some(known.map_or(
        DeviceIdentity {
            index: managed.module,
            uuid,
            pci: managed.pci,
        },
        |card| card.identity,
    ))
}
