//! Physical memory by handle and mapping: it is charged while its handle or any mapping of it lives.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};

use fcsp_hook::memory::physical;
use fcsp_hook::setup::SetupOnce;

use super::pages;
use crate::call_real;
use crate::context;
use crate::ffi::ze::*;
use crate::process::{Inside, LevelZero, Scope, scope_of, shielded};

type Books = physical::Books<LevelZero>;
static BOOKS: AtomicPtr<Books> = AtomicPtr::new(core::ptr::null_mut());

/// In a forked child: fresh books. The old ones may be locked by a thread that does not exist here.
pub fn forget_in_child() {
    BOOKS.store(core::ptr::null_mut(), Ordering::Release);
}

fn books() -> &'static Books {
    // Acquire: made before its address was published.
    let known = BOOKS.load(Ordering::Acquire);
    if known.is_null() {
        return SetupOnce::publish(&BOOKS, Books::default);
    }
    // SAFETY: leaked, never freed.
    unsafe { &*known }
}

/// Forgets what was made in a context that is gone.
pub fn context_died(context: usize) {
    books().context_died(context);
}

/// Placed on the host, by a later version of the API.
const ON_HOST: ze_physical_mem_flags_t = 1 << 1;

/// `zePhysicalMemCreate`.
pub unsafe extern "C" fn zePhysicalMemCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *mut ze_physical_mem_desc_t,
    phPhysicalMemory: *mut ze_physical_mem_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zePhysicalMemCreate(hContext, hDevice, desc, phPhysicalMemory));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // SAFETY: the caller passes a description or null.
        let Some(wanted) = (unsafe { desc.as_ref() }) else {
            return call();
        };
        if phPhysicalMemory.is_null() || wanted.flags & ON_HOST != 0 {
            return call();
        }
        let device = match scope_of(hDevice) {
            Scope::On(device, _) => device,
            Scope::Pass => return call(),
            Scope::Refuse => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
        };
        context::using(hContext, device, || {
            books().create(
                device,
                hContext as usize,
                "zePhysicalMemCreate",
                pages(wanted.size as u64),
                call,
                // SAFETY: read after the driver has written there with success.
                || unsafe { *phPhysicalMemory } as u64,
            )
        })
    })
}

/// `zePhysicalMemDestroy`.
pub unsafe extern "C" fn zePhysicalMemDestroy(
    hContext: ze_context_handle_t,
    hPhysicalMemory: ze_physical_mem_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        books().release(hPhysicalMemory as u64, || {
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
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeVirtualMemMap(
            hContext,
            ptr,
            size,
            hPhysicalMemory,
            offset,
            access
        ));
        if result == ZE_RESULT_SUCCESS {
            books().mapped(hPhysicalMemory as u64, ptr as u64, size as u64);
        }
        result
    })
}

/// `zeVirtualMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn zeVirtualMemUnmap(
    hContext: ze_context_handle_t,
    ptr: *const c_void,
    size: usize,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        books().unmap(ptr as u64, size as u64, || {
            call_real!(zeVirtualMemUnmap(hContext, ptr, size))
        })
    })
}
