//! Physical memory by handle and mapping: it is charged while its handle or any mapping of it
//! lives.

use core::ffi::c_void;

use fcsp_hook::memory::or_wrong_argument;
use fcsp_hook::memory::physical::Books;

use super::pages;
use crate::call_real;
use crate::device::target_of;
use crate::ffi::ze::*;
use crate::uses::using;
use crate::vendor::{LevelZero, Reentry, Target, catch_panic};

/// Physical memory by handle and mapping.
pub static PHYSICAL: Books<LevelZero> = Books::new();

/// Placed on the host, by a later version of the API.
const ON_HOST: ze_physical_mem_flags_t = 1 << 1;

/// `zePhysicalMemCreate`.
pub unsafe extern "C" fn zePhysicalMemCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *mut ze_physical_mem_desc_t,
    phPhysicalMemory: *mut ze_physical_mem_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zePhysicalMemCreate(
                hContext,
                hDevice,
                desc,
                phPhysicalMemory
            ))
        };
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        // SAFETY: the caller passes a description or null.
        let Some(wanted) = (unsafe { desc.as_ref() }) else {
            return call();
        };
        if phPhysicalMemory.is_null() || wanted.flags & ON_HOST != 0 {
            return call();
        }
        let device = match target_of(hDevice) {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
        };
        let bytes = pages(wanted.size as u64);
        // SAFETY: read after the driver has written there with success.
        let made = || unsafe { *phPhysicalMemory } as u64;
        let result = using(hContext, device, || {
            PHYSICAL.create(
                device,
                hContext as usize,
                "zePhysicalMemCreate",
                bytes,
                call,
                made,
            )
        });
        let usable = || !hContext.is_null() && wanted.size > 0;
        or_wrong_argument::<LevelZero>(result, usable, call, || {
            call_real!(zePhysicalMemDestroy(
                hContext,
                made() as ze_physical_mem_handle_t
            ));
        })
    })
}

/// `zePhysicalMemDestroy`.
pub unsafe extern "C" fn zePhysicalMemDestroy(
    hContext: ze_context_handle_t,
    hPhysicalMemory: ze_physical_mem_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        PHYSICAL.release(hPhysicalMemory as u64, || {
            call_real!(zePhysicalMemDestroy(hContext, hPhysicalMemory))
        })
    })
}

/// `zeVirtualMemMap`: the mapping keeps the memory alive.
pub unsafe extern "C" fn zeVirtualMemMap(
    hContext: ze_context_handle_t,
    ptr: *const c_void,
    size: usize,
    hPhysicalMemory: ze_physical_mem_handle_t,
    offset: usize,
    access: ze_memory_access_attribute_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        PHYSICAL.map(hPhysicalMemory as u64, ptr as u64, size as u64, || {
            call_real!(zeVirtualMemMap(
                hContext,
                ptr,
                size,
                hPhysicalMemory,
                offset,
                access
            ))
        })
    })
}

/// `zeVirtualMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn zeVirtualMemUnmap(
    hContext: ze_context_handle_t,
    ptr: *const c_void,
    size: usize,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        PHYSICAL.unmap(ptr as u64, size as u64, || {
            call_real!(zeVirtualMemUnmap(hContext, ptr, size))
        })
    })
}
