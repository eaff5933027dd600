//! Sysman as the tenant sees it: the quota is the device's memory, and only the tenant's own
//! processes run on it.
//!
//! A program that only looks takes no memory of the device, so nothing is attached for it: it reads
//! the tenant's region file from outside.

use std::sync::Mutex;

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::info::{View, own_processes, retain};

use super::memory::{bound, portion};
use crate::call_real;
use crate::device;
use crate::ffi::ze::*;
use crate::ffi::zes::*;
use crate::vendor::{LevelZero, Reentry, catch_panic, process};

/// Owner of each memory module: the module's handle, its device, and that device's number of
/// modules.
static MODULES: Mutex<Vec<(usize, DeviceUuid, u32)>> = Mutex::new(Vec::new());

/// Returns the device behind a handle of Sysman's, which may differ from the core's.
fn device_of(handle: zes_device_handle_t) -> Option<&'static device::Known> {
    if let Some(known) = device::by_handle(handle.cast()) {
        return Some(known);
    }
    let mut properties = zes_device_properties_t::zeroed();
    properties.stype = ZES_STRUCTURE_TYPE_DEVICE_PROPERTIES;
    properties.core.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES;
    let result = call_real!(zesDeviceGetProperties(handle, &mut properties));
    (result == ZE_RESULT_SUCCESS)
        .then(|| device::by_uuid(DeviceUuid(properties.core.uuid.id)))
        .flatten()
}

/// Returns the tenant's view of a device: fresh if this process uses it, else from its region file.
fn view(identity: &DeviceIdentity, total: u64) -> Option<View> {
    let attached = process().governed().and_then(|governed| {
        governed
            .devices()
            .find(|device| device.identity.uuid == identity.uuid)
    });
    match attached {
        Some(device) => {
            let usage = device.usage();
            (usage.limit < total).then_some(View {
                limit: usage.limit,
                used: usage.used.min(usage.limit),
            })
        }
        None => View::of(identity, total),
    }
}

/// `zesDeviceEnumMemoryModules`: changes nothing, but whose a module is must be known when it is
/// asked.
pub unsafe extern "C" fn zesDeviceEnumMemoryModules(
    hDevice: zes_device_handle_t,
    pCount: *mut u32,
    phMemory: *mut zes_mem_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zesDeviceEnumMemoryModules(hDevice, pCount, phMemory));
        if result == ZE_RESULT_SUCCESS
            && !phMemory.is_null()
            && let Some(known) = device_of(hDevice)
        {
            let mut all = 0;
            call_real!(zesDeviceEnumMemoryModules(
                hDevice,
                &mut all,
                core::ptr::null_mut()
            ));
            // A thread that held this at a fork does not exist in the child, which then shows the
            // device as it is.
            if let Ok(mut modules) = MODULES.try_lock() {
                // SAFETY: the driver has written `*pCount` handles with success.
                for handle in unsafe { core::slice::from_raw_parts(phMemory, *pCount as usize) } {
                    let handle = *handle as usize;
                    modules.retain(|(other, _, _)| *other != handle);
                    modules.push((handle, known.identity.uuid, all.max(1)));
                }
            }
        }
        result
    })
}

/// Returns the view of a module's device, and the number of modules that share it.
fn view_of_module(module: zes_mem_handle_t) -> Option<(View, u64)> {
    let (uuid, count) = MODULES
        .try_lock()
        .ok()?
        .iter()
        .find(|(handle, _, _)| *handle == module as usize)
        .map(|(_, uuid, count)| (*uuid, *count))?;
    let known = device::by_uuid(uuid)?;
    Some((view(&known.identity, known.total)?, u64::from(count)))
}

/// `zesMemoryGetState`.
pub unsafe extern "C" fn zesMemoryGetState(
    hMemory: zes_mem_handle_t,
    pState: *mut zes_mem_state_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zesMemoryGetState(hMemory, pState));
        if result == ZE_RESULT_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Some((view, count)) = view_of_module(hMemory)
        {
            // SAFETY: the driver has written there with success.
            let state = unsafe { &mut *pState };
            state.size = portion(view.limit, 1, count).min(state.size);
            state.free = portion(view.free(state.free.saturating_mul(count)), 1, count);
        }
        result
    })
}

/// `zesMemoryGetProperties`.
pub unsafe extern "C" fn zesMemoryGetProperties(
    hMemory: zes_mem_handle_t,
    pProperties: *mut zes_mem_properties_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zesMemoryGetProperties(hMemory, pProperties));
        if result == ZE_RESULT_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Some((view, count)) = view_of_module(hMemory)
        {
            // SAFETY: the driver has written there with success.
            let properties = unsafe { &mut *pProperties };
            properties.physicalSize = portion(view.limit, 1, count).min(properties.physicalSize);
        }
        result
    })
}

/// `zesDeviceProcessesGetState`: the tenant's own processes.
pub unsafe extern "C" fn zesDeviceProcessesGetState(
    hDevice: zes_device_handle_t,
    pCount: *mut u32,
    pProcesses: *mut zes_process_state_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zesDeviceProcessesGetState(hDevice, pCount, pProcesses));
        if result == ZE_RESULT_SUCCESS
            && !pProcesses.is_null()
            && let Some(_inside) = Reentry::enter()
            && let Some(own) = own_processes::<LevelZero>()
        {
            // SAFETY: the driver has written `*pCount` entries with success.
            unsafe {
                *pCount = retain(pProcesses, *pCount, |entry| own.keeps(&mut entry.processId))
            };
        }
        result
    })
}

/// `zesDeviceGetProperties`: holds the core's properties.
pub unsafe extern "C" fn zesDeviceGetProperties(
    hDevice: zes_device_handle_t,
    pProperties: *mut zes_device_properties_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zesDeviceGetProperties(hDevice, pProperties));
        if result == ZE_RESULT_SUCCESS {
            // SAFETY: the driver has written there with success.
            bound(hDevice.cast(), unsafe { &mut (*pProperties).core });
        }
        result
    })
}
