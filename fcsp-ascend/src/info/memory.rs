//! Memory information of ACL and of the runtime: the quota is the device.

use fcsp_hook::backend::Driver;
use fcsp_hook::process::Target;
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::call_real;
use crate::ffi::acl::*;
use crate::ffi::rt::rtError_t;
use crate::vendor::Ascend;

/// Shows the tenant's own figures in place of the device's. A kind of memory that the device has
/// none of keeps its zeroes.
fn show(free: *mut usize, total: *mut usize, call: impl Fn() -> aclError) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let Some(inside) = Reentry::enter() else {
            return call();
        };
        let result = call();
        if result == ACL_SUCCESS
            // SAFETY: the driver accepted the address and has written there.
            && unsafe { total.as_ref() }.is_none_or(|&bytes| bytes != 0)
            && let Target::Device(device, _) = Ascend::process().target_inside(&inside)
        {
            let usage = device.usage();
            // SAFETY: the driver accepted the addresses and has written there.
            unsafe {
                let physical = free.as_ref().map_or(u64::MAX, |&bytes| bytes as u64);
                if let Some(free) = free.as_mut() {
                    *free = usage.visible_free(physical) as usize;
                }
                if let Some(total) = total.as_mut() {
                    *total = usage.visible_total() as usize;
                }
            }
        }
        result
    })
}

/// `aclrtGetMemInfo`.
pub unsafe extern "C" fn aclrtGetMemInfo(
    attr: aclrtMemAttr,
    free: *mut usize,
    total: *mut usize,
) -> aclError {
    show(free, total, || {
        call_real!(aclrtGetMemInfo(attr, free, total))
    })
}

/// `rtMemGetInfoEx`.
pub unsafe extern "C" fn rtMemGetInfoEx(
    memInfoType: i32,
    free: *mut usize,
    total: *mut usize,
) -> rtError_t {
    show(free, total, || {
        call_real!(rtMemGetInfoEx(memInfoType, free, total))
    })
}

/// `rtMemGetInfo`.
pub unsafe extern "C" fn rtMemGetInfo(free: *mut usize, total: *mut usize) -> rtError_t {
    show(free, total, || call_real!(rtMemGetInfo(free, total)))
}

/// Attributes of a device, of which one is its size.
fn attribute(device: u32, attr: i32, value: *mut i64, call: impl Fn() -> aclError) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let result = call();
        if result == ACL_SUCCESS
            && attr == ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE
            && let Ok(ordinal) = i32::try_from(device)
            && let Target::Device(device, _) = Ascend::process().target_of(ordinal)
        {
            // SAFETY: the driver has written there with success.
            unsafe { *value = device.usage_as_known().visible_total() as i64 };
        }
        result
    })
}

/// `aclrtGetDeviceInfo`: its size is the quota.
pub unsafe extern "C" fn aclrtGetDeviceInfo(
    deviceId: u32,
    attr: aclrtDevAttr,
    value: *mut i64,
) -> aclError {
    attribute(deviceId, attr, value, || {
        call_real!(aclrtGetDeviceInfo(deviceId, attr, value))
    })
}

/// `rtsDeviceGetInfo`.
pub unsafe extern "C" fn rtsDeviceGetInfo(deviceId: u32, attr: i32, val: *mut i64) -> rtError_t {
    attribute(deviceId, attr, val, || {
        call_real!(rtsDeviceGetInfo(deviceId, attr, val))
    })
}
