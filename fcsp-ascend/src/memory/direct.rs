//! The driver's heap, by ACL and by the runtime under it. Whichever layer is called first counts.

use core::ffi::c_void;

use fcsp_hook::backend::Driver;
use fcsp_hook::memory::{self, Request};
use fcsp_hook::process::Target;
use fcsp_hook::setup::{Reentry, catch_panic};

use super::{giant_pages, padded, pages};
use crate::call_real;
use crate::context::key;
use crate::ffi::acl::*;
use crate::ffi::rt::{rtError_t, rtMemType_t};
use crate::vendor::{Ascend, AscendDevice};

/// Reserves, calls the driver, then records the allocation or releases, on the named device or the
/// calling thread's. Memory belongs to its device, not to a context, and ends with the device's
/// last reset.
fn allocate(
    inside: &Reentry,
    device: Option<i32>,
    request: Request,
    devPtr: *mut *mut c_void,
    call: &dyn Fn() -> aclError,
) -> aclError {
    let process = Ascend::process();
    let target = match device {
        Some(ordinal) => process.target_of(ordinal),
        // To ask the driver for the context would take longer than all the rest.
        None => process.target_of_device(inside),
    };
    let device: &'static AscendDevice = match target {
        Target::Device(device, _) => device,
        Target::PassThrough => return call(),
        Target::Deny => return ACL_ERROR_RT_MEMORY_ALLOCATION,
    };
    memory::allocate(
        device,
        key(device.ordinal),
        request,
        call,
        // SAFETY: read after the driver has written there with success.
        || unsafe { *devPtr } as u64,
        || request.bytes,
        |address| call_real!(aclrtFree(address as *mut c_void)),
    )
}

/// The body of a wrapper that allocates. Inside another wrapper, such as ACL's calls of the
/// runtime, it is `$call` alone. The other arguments are evaluated only otherwise.
macro_rules! allocates {
    ($name:ident, $device:expr, $size:expr, $bytes:expr, $counted:expr, $place:expr, $call:expr) => {
        catch_panic(ACL_ERROR_FAILURE, || {
            let Some(inside) = Reentry::enter() else {
                return $call;
            };
            let request = Request {
                what: stringify!($name),
                bytes: $bytes,
                counted: $counted,
            };
            let result = allocate(&inside, $device, request, $place, &|| $call);
            let usable = || $size > 0 && !$place.is_null();
            memory::or_wrong_argument::<Ascend>(
                result,
                usable,
                || $call,
                || {
                    // SAFETY: the driver has written there with success.
                    let granted = unsafe { *$place };
                    call_real!(aclrtFree(granted));
                },
            )
        })
    };
}

/// Returns the bytes of a request with a policy.
fn by_policy(size: usize, policy: aclrtMemMallocPolicy, pads: bool) -> u64 {
    let size = size as u64;
    match policy {
        ACL_MEM_MALLOC_HUGE1G_ONLY | ACL_MEM_MALLOC_HUGE1G_ONLY_P2P => {
            giant_pages(padded(size, false))
        }
        _ => pages(padded(size, pads)),
    }
}

macro_rules! acl_malloc {
    ($($name:ident: $pads:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            devPtr: *mut *mut c_void,
            size: usize,
            policy: aclrtMemMallocPolicy,
        ) -> aclError {
            let bytes = || by_policy(size, policy, $pads);
            allocates!($name, None, size, bytes(), true, devPtr, call_real!($name(devPtr, size, policy)))
        }
    )*};
}
acl_malloc!(aclrtMalloc: true, aclrtMallocAlign32: false, aclrtMallocCached: true);

/// Returns the device that a configuration names, if it names one.
///
/// # Safety
/// `cfg` is null or a configuration with as many attributes as it says.
unsafe fn named_device(cfg: *const aclrtMallocConfig) -> Option<i32> {
    // SAFETY: by this function's contract.
    let cfg = unsafe { cfg.as_ref() }.filter(|cfg| !cfg.attrs.is_null())?;
    (0..cfg.numAttrs)
        // SAFETY: as above.
        .map(|at| unsafe { &*cfg.attrs.add(at) })
        .find(|attribute| attribute.attr == ACL_RT_MEM_ATTR_DEVICE_ID)
        .and_then(|attribute| i32::try_from(attribute.value[0]).ok())
}

macro_rules! acl_malloc_with {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: attributes may name another device.")]
        pub unsafe extern "C" fn $name(
            devPtr: *mut *mut c_void,
            size: usize,
            policy: aclrtMemMallocPolicy,
            cfg: *mut aclrtMallocConfig,
        ) -> aclError {
            // SAFETY: the caller passes a configuration or null, as the driver requires.
            let device = || unsafe { named_device(cfg) };
            let bytes = || by_policy(size, policy, false);
            allocates!($name, device(), size, bytes(), true, devPtr, call_real!($name(devPtr, size, policy, cfg)))
        }
    )*};
}
acl_malloc_with!(aclrtMallocWithCfg, aclrtMallocForTaskScheduler);

/// `aclrtMemAllocManaged`: charged in full when it is asked for, though the driver takes device
/// memory only when it is touched there.
pub unsafe extern "C" fn aclrtMemAllocManaged(
    ptr: *mut *mut c_void,
    size: u64,
    flag: u32,
) -> aclError {
    allocates!(
        aclrtMemAllocManaged,
        None,
        size,
        pages(size),
        false,
        ptr,
        call_real!(aclrtMemAllocManaged(ptr, size, flag))
    )
}

macro_rules! rt_malloc {
    ($($name:ident($place:ident, $size:ident $(, $arg:ident: $ty:ty)*): $counted:literal;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($place: *mut *mut c_void, $size: u64 $(, $arg: $ty)*) -> rtError_t {
            allocates!($name, None, $size, pages($size), $counted, $place, call_real!($name($place, $size $(, $arg)*)))
        }
    )*};
}
rt_malloc! {
    rtMalloc(devPtr, size, kind: rtMemType_t, moduleId: u16): true;
    rtMallocCached(devPtr, size, kind: rtMemType_t, moduleId: u16): true;
    rtDvppMalloc(devPtr, size, moduleId: u16): true;
    rtDvppMallocWithFlag(devPtr, size, flag: u32, moduleId: u16): true;
    rtMemAllocManaged(ptr, size, flag: u32, moduleId: u16): false;
}

/// `rtsMalloc`: attributes may name another device.
pub unsafe extern "C" fn rtsMalloc(
    devPtr: *mut *mut c_void,
    size: u64,
    policy: i32,
    advise: i32,
    cfg: *mut aclrtMallocConfig,
) -> rtError_t {
    // SAFETY: the caller passes a configuration or null, as the driver requires.
    let device = || unsafe { named_device(cfg) };
    let bytes = || by_policy(usize::try_from(size).unwrap_or(usize::MAX), policy, false);
    allocates!(
        rtsMalloc,
        device(),
        size,
        bytes(),
        true,
        devPtr,
        call_real!(rtsMalloc(devPtr, size, policy, advise, cfg))
    )
}

macro_rules! free {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(devPtr: *mut c_void) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || {
                memory::free::<Ascend>(devPtr as u64, || call_real!($name(devPtr)))
            })
        }
    )*};
}
free!(
    aclrtFree,
    aclrtFreeWithDevSync,
    rtFree,
    rtFreeWithDevSync,
    rtDvppFree,
    rtMemFreeManaged
);

/// Returns true if memory is limited on the calling thread's device. A pool would keep an unknown
/// amount of freed memory, so there are no pools under a quota.
fn is_limited() -> bool {
    match Ascend::process().target() {
        Target::Device(device, _) => device.limit() != u64::MAX,
        Target::PassThrough => false,
        Target::Deny => true,
    }
}

macro_rules! pools {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: not to be had under a quota.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || {
                if is_limited() {
                    fcsp_hook::setup::log_refusal(concat!("refused: ", stringify!($name), " under a memory quota"));
                    return ACL_ERROR_RT_FEATURE_NOT_SUPPORT;
                }
                call_real!($name($($arg),*))
            })
        }
    )*};
}
pools! {
    aclrtMemPoolCreate(memPool: *mut aclrtMemPool, poolProps: *const aclrtMemPoolProps);
    aclrtMemPoolMallocAsync(ptr: *mut *mut c_void, size: usize, memPool: aclrtMemPool, stream: aclrtStream);
}
