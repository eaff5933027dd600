//! Physical memory by handle and mapping. It lives while any handle or mapping of it does. It is
//! charged to the device that its properties name, for the same time.

use fcsp_hook::family::vmm::{Request, create};
use fcsp_hook::memory::physical::Books;

use crate::call_real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::vendor::{Hip, Reentry, Target, catch_panic, target, target_of};
use core::ffi::c_void;

/// Physical memory by handle and mapping.
pub static PHYSICAL: Books<Hip> = Books::new();

/// Physical memory on a device comes in multiples of pages, the smallest of which is taken here. No
/// AMD device was at hand.
const GRANULARITY: usize = 4 << 10;
/// `hipMemAllocationTypePinned`, the one kind that there is.
const PINNED: u32 = 1;

/// `hipMemCreate`: charged to the device in the properties; memory placed on the host is not
/// charged.
pub unsafe extern "C" fn hipMemCreate(
    handle: *mut hipMemGenericAllocationHandle_t,
    size: usize,
    prop: *const hipMemAllocationProp,
    flags: u64,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let call = || call_real!(hipMemCreate(handle, size, prop, flags));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        // SAFETY: the caller passes properties or null, as the driver requires.
        let Some(properties) = (unsafe { prop.as_ref() }) else {
            return call();
        };
        if properties.location.type_ != hipMemLocationTypeDevice {
            return call();
        }
        // What the runtime takes for itself on the current device comes with this call as with any
        // other.
        if matches!(target(), Target::Deny) {
            return answered(hipErrorOutOfMemory);
        }
        let device = match target_of(properties.location.id) {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return answered(hipErrorOutOfMemory),
        };
        let request = Request {
            what: "hipMemCreate",
            bytes: size,
            grain: GRANULARITY,
            is_usable: !handle.is_null() && flags == 0 && properties.type_ == PINNED,
        };
        let call = |size| call_real!(hipMemCreate(handle, size, prop, flags));
        // SAFETY: read after the driver has written there with success.
        let made = || unsafe { *handle } as u64;
        let release = |handle| {
            call_real!(hipMemRelease(handle as hipMemGenericAllocationHandle_t));
        };
        answered(create(&PHYSICAL, device, request, call, made, release))
    })
}

/// `hipMemRelease`.
pub unsafe extern "C" fn hipMemRelease(handle: hipMemGenericAllocationHandle_t) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        PHYSICAL.release(handle as u64, || call_real!(hipMemRelease(handle)))
    })
}

/// `hipMemExportToShareableHandle`: the descriptor keeps the memory on the device after this
/// process has released it.
pub unsafe extern "C" fn hipMemExportToShareableHandle(
    shareableHandle: *mut c_void,
    handle: hipMemGenericAllocationHandle_t,
    handleType: hipMemAllocationHandleType,
    flags: u64,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let result = call_real!(hipMemExportToShareableHandle(
            shareableHandle,
            handle,
            handleType,
            flags
        ));
        if result == hipSuccess
            && let Some(_inside) = Reentry::enter()
        {
            PHYSICAL.exported(handle as u64);
        }
        result
    })
}

/// `hipMemMap`: the mapping keeps the memory alive.
pub unsafe extern "C" fn hipMemMap(
    ptr: *mut c_void,
    size: usize,
    offset: usize,
    handle: hipMemGenericAllocationHandle_t,
    flags: u64,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        PHYSICAL.map(handle as u64, ptr as u64, size as u64, || {
            call_real!(hipMemMap(ptr, size, offset, handle, flags))
        })
    })
}

/// `hipMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn hipMemUnmap(ptr: *mut c_void, size: usize) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        PHYSICAL.unmap(ptr as u64, size as u64, || {
            call_real!(hipMemUnmap(ptr, size))
        })
    })
}

/// `hipMemRetainAllocationHandle`: one more handle for the memory mapped at `addr`.
pub unsafe extern "C" fn hipMemRetainAllocationHandle(
    handle: *mut hipMemGenericAllocationHandle_t,
    addr: *mut c_void,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let call = || call_real!(hipMemRetainAllocationHandle(handle, addr));
        // SAFETY: read after the driver has written there with success.
        PHYSICAL.retain(addr as u64, call, || unsafe { *handle } as u64)
    })
}
