//! `hipMemGetInfo`, `hipDeviceTotalMem`, the properties and the attributes: the quota is the
//! device, and so are the tenant's compute units.

use crate::errors::answered;
use crate::ffi::hip::*;
use crate::vendor::{Reentry, Target, catch_panic, target, target_of};
use crate::{call_real, units};

/// `hipMemGetInfo`.
pub unsafe extern "C" fn hipMemGetInfo(free: *mut usize, total: *mut usize) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let result = call_real!(hipMemGetInfo(free, total));
        if result != hipSuccess {
            return result;
        }
        let Some(_inside) = Reentry::enter() else {
            return result;
        };
        match target() {
            Target::Device(device, _) => {
                let usage = device.usage();
                // SAFETY: the runtime accepted the addresses and has written there; either may be
                // null.
                unsafe {
                    let physical = free.as_ref().map_or(u64::MAX, |&bytes| bytes as u64);
                    if let Some(free) = free.as_mut() {
                        *free = usage.visible_free(physical) as usize;
                    }
                    if let Some(total) = total.as_mut() {
                        *total = usage.visible_total() as usize;
                    }
                }
                result
            }
            // No room even for what the runtime keeps on the device for this process.
            Target::Deny => answered(hipErrorOutOfMemory),
            Target::PassThrough => result,
        }
    })
}

/// Returns the size to report for a device; `None` to report the true one.
fn size(ordinal: hipDevice_t) -> Option<usize> {
    let _inside = Reentry::enter()?;
    match target_of(ordinal) {
        Target::Device(device, _) => Some(device.usage_as_known().visible_total() as usize),
        _ => None,
    }
}

/// `hipDeviceTotalMem`.
pub unsafe extern "C" fn hipDeviceTotalMem(bytes: *mut usize, device: hipDevice_t) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let result = call_real!(hipDeviceTotalMem(bytes, device));
        if result == hipSuccess
            && let Some(size) = size(device)
        {
            // SAFETY: the runtime has written there with success.
            unsafe { *bytes = size };
        }
        result
    })
}

macro_rules! properties {
    ($($name:ident: $form:ty;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(prop: *mut $form, deviceId: i32) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                let result = call_real!($name(prop, deviceId));
                if result == hipSuccess && let Some(size) = size(deviceId) {
                    // SAFETY: the runtime has filled the caller's structure with success.
                    unsafe { (*prop).totalGlobalMem = size };
                }
                if result == hipSuccess && let Some(own) = units::processors(deviceId) {
                    // SAFETY: as above.
                    unsafe { (*prop).multiProcessorCount = own };
                }
                result
            })
        }
    )*};
}
properties! {
    hipGetDeviceProperties: hipDeviceProp_tR0000;
    hipGetDevicePropertiesR0000: hipDeviceProp_tR0000;
    hipGetDevicePropertiesR0600: hipDeviceProp_tR0600;
}

/// `hipDeviceGetAttribute`: the size of the device is one, cut to an integer; the number of its
/// processors another.
pub unsafe extern "C" fn hipDeviceGetAttribute(
    pi: *mut i32,
    attr: hipDeviceAttribute_t,
    deviceId: i32,
) -> hipError_t {
    let own: fn(i32) -> Option<i32> = match attr {
        // Cut as the runtime cuts it.
        hipDeviceAttributeTotalGlobalMem => |device| size(device).map(|size| size as i32),
        hipDeviceAttributeMultiprocessorCount => units::processors,
        _ => return call_real!(hipDeviceGetAttribute(pi, attr, deviceId)),
    };
    catch_panic(hipErrorUnknown, || {
        let result = call_real!(hipDeviceGetAttribute(pi, attr, deviceId));
        if result == hipSuccess
            && let Some(own) = own(deviceId)
        {
            // SAFETY: the runtime has written there with success.
            unsafe { *pi = own };
        }
        result
    })
}
