//! Device and shared memory.

use core::ffi::c_void;

use fcsp_hook::memory::{Request, allocate, free, or_wrong_argument};

use super::{is_import, large_pages, pages};
use crate::call_real;
use crate::device;
use crate::device::target_of;
use crate::ffi::ze::*;
use crate::uses::using;
use crate::vendor::{LevelZero, Reentry, Target, catch_panic, process};

/// Reserves, calls the driver, then records the allocation or releases. `usable` says whether the
/// driver would accept the arguments if there were memory.
#[inline(always)]
fn take(
    target: Target,
    hContext: ze_context_handle_t,
    request: Request,
    usable: bool,
    place: *mut *mut c_void,
    call: impl Fn() -> ze_result_t,
) -> ze_result_t {
    let result = take_counted(target, hContext, request, place, &call);
    or_wrong_argument::<LevelZero>(
        result,
        || usable && !hContext.is_null(),
        call,
        || {
            // SAFETY: the driver has written there with success.
            let granted = unsafe { *place };
            call_real!(zeMemFree(hContext, granted));
        },
    )
}

#[inline(always)]
fn take_counted(
    target: Target,
    hContext: ze_context_handle_t,
    request: Request,
    place: *mut *mut c_void,
    call: impl Fn() -> ze_result_t,
) -> ze_result_t {
    let device = match target {
        Target::Device(device, _) => device,
        Target::PassThrough => return call(),
        Target::Deny => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
    };
    using(hContext, device, || {
        allocate::<LevelZero>(
            device,
            hContext as usize,
            request,
            call,
            // SAFETY: asked after the driver has written there with success.
            || unsafe { *place } as u64,
            || request.bytes,
            |address| call_real!(zeMemFree(hContext, address as *mut c_void)),
        )
    })
}

/// Returns true if the driver knows an alignment: none, or a power of two.
fn is_alignment(bytes: usize) -> bool {
    bytes == 0 || bytes.is_power_of_two()
}

/// `zeMemAllocDevice`.
pub unsafe extern "C" fn zeMemAllocDevice(
    hContext: ze_context_handle_t,
    device_desc: *const ze_device_mem_alloc_desc_t,
    size: usize,
    alignment: usize,
    hDevice: ze_device_handle_t,
    pptr: *mut *mut c_void,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeMemAllocDevice(
                hContext,
                device_desc,
                size,
                alignment,
                hDevice,
                pptr
            ))
        };
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        // SAFETY: the caller passes a description or null.
        let imports = || unsafe {
            device_desc
                .as_ref()
                .is_some_and(|desc| is_import(desc.pNext))
        };
        if pptr.is_null() || imports() {
            return call();
        }
        let request = Request {
            what: "zeMemAllocDevice",
            bytes: pages(size as u64),
            counted: true,
        };
        let usable = size > 0 && !device_desc.is_null() && is_alignment(alignment);
        take(target_of(hDevice), hContext, request, usable, pptr, call)
    })
}

/// `zeMemAllocShared`: in full on its device, wherever its pages are. Without a device it may go to
/// any, and counts on the first.
pub unsafe extern "C" fn zeMemAllocShared(
    hContext: ze_context_handle_t,
    device_desc: *const ze_device_mem_alloc_desc_t,
    host_desc: *const ze_host_mem_alloc_desc_t,
    size: usize,
    alignment: usize,
    hDevice: ze_device_handle_t,
    pptr: *mut *mut c_void,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeMemAllocShared(
                hContext,
                device_desc,
                host_desc,
                size,
                alignment,
                hDevice,
                pptr
            ))
        };
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        if pptr.is_null() {
            return call();
        }
        let target = if hDevice.is_null() {
            match device::by_ordinal(0) {
                Some(_) => process().target_of(0),
                None => Target::PassThrough,
            }
        } else {
            target_of(hDevice)
        };
        let request = Request {
            what: "zeMemAllocShared",
            bytes: large_pages(size as u64),
            counted: false,
        };
        let described = !device_desc.is_null() && !host_desc.is_null();
        let usable = size > 0 && described && is_alignment(alignment);
        take(target, hContext, request, usable, pptr, call)
    })
}

/// `zeMemFree`.
pub unsafe extern "C" fn zeMemFree(hContext: ze_context_handle_t, ptr: *mut c_void) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        free::<LevelZero>(ptr as u64, || call_real!(zeMemFree(hContext, ptr)))
    })
}

/// `zeMemFreeExt`. Memory that is freed when the device is done with it is given back now: the
/// driver holds it a moment longer than the tenant's account says.
pub unsafe extern "C" fn zeMemFreeExt(
    hContext: ze_context_handle_t,
    pMemFreeDesc: *const ze_memory_free_ext_desc_t,
    ptr: *mut c_void,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        free::<LevelZero>(ptr as u64, || {
            call_real!(zeMemFreeExt(hContext, pMemFreeDesc, ptr))
        })
    })
}
