//! `cuMemGetInfo` and `cuDeviceTotalMem`: the quota is the device.

use crate::call_real;
use crate::ffi::cuda::*;
use crate::vendor::{Reentry, Target, catch_panic, target, target_of};

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// `cuMemGetInfo`.
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemGetInfo_v2(free, total));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Target::Device(device, _) = target()
        {
            let usage = device.usage();
            // SAFETY: the driver accepted the addresses and has written there; it allows either to
            // be null.
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

/// `cuMemGetInfo` of the 32-bit ABI.
pub unsafe extern "C" fn cuMemGetInfo(free: *mut u32, total: *mut u32) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemGetInfo(free, total));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Target::Device(device, _) = target()
        {
            let usage = device.usage();
            // SAFETY: as in `cuMemGetInfo_v2`.
            unsafe {
                if let Some(free) = free.as_mut() {
                    // The driver itself caps at 4 GiB, so its figure says nothing about more.
                    let physical = if *free == u32::MAX {
                        u64::MAX
                    } else {
                        u64::from(*free)
                    };
                    *free = narrow(usage.visible_free(physical));
                }
                if let Some(total) = total.as_mut() {
                    *total = narrow(usage.visible_total()).min(*total);
                }
            }
        }
        result
    })
}

/// `cuDeviceTotalMem`.
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuDeviceTotalMem_v2(bytes, dev));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Target::Device(device, _) = target_of(dev)
        {
            // SAFETY: the driver has written there with success.
            unsafe { *bytes = device.usage_as_known().visible_total() as usize };
        }
        result
    })
}

/// `cuDeviceTotalMem` of the 32-bit ABI.
pub unsafe extern "C" fn cuDeviceTotalMem(bytes: *mut u32, dev: CUdevice) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuDeviceTotalMem(bytes, dev));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Target::Device(device, _) = target_of(dev)
        {
            // SAFETY: the driver has written there with success.
            unsafe { *bytes = narrow(device.usage_as_known().visible_total()).min(*bytes) };
        }
        result
    })
}
