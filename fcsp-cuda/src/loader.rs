//! `cuGetProcAddress`: asks the real function first, with the caller's own version and flags, and
//! replaces the returned address if that function is wrapped. `dlsym` works likewise, in
//! [`fcsp_hook::lookup`].
//!
//! On drivers seen so far, both ways give the same addresses for every exported name (H100, driver
//! 580: 671 of 671). Wrapped functions are therefore known by address, which is safe against
//! versions and flags. If a driver gives another address for a known name, the function is matched
//! by name, version and stream flag instead.

use core::ffi::{CStr, c_char, c_void};

use fcsp_hook::backend::Driver;
use fcsp_hook::lookup::Hooked;
use fcsp_hook::setup::catch_panic;

use crate::call_real;
use crate::ffi::cuda::*;
use crate::symbols::versions;
use crate::vendor::Cuda;

/// The highest driver API version whose ABIs the tables know.
const KNOWN_VERSION: i32 = 13_050;

fn swapped(base: &CStr, address: *mut c_void, version: i32, flags: u64) -> *mut c_void {
    if let Some(hook) = Cuda::hooks().by_address(address as usize) {
        return hook.address;
    }
    // No exported function has this address. If the name is one we wrap, the driver keeps separate
    // entry points.
    let per_thread = flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM != 0;
    let known = u32::try_from(version.min(KNOWN_VERSION)).unwrap_or(0);
    let hook = versions::newest(base.to_bytes(), known, per_thread).and_then(|name| {
        Cuda::hooks()
            .hooks()
            .find(|hook| hook.name.to_bytes() == name)
    });
    match hook {
        // A program that asks for an ABI newer than the tables gets it as it is: a wrapper of
        // another ABI would break it.
        Some(hook) if version <= KNOWN_VERSION => hook.address,
        _ => address,
    }
}

/// `cuGetProcAddress` since 12.0.
pub unsafe extern "C" fn cuGetProcAddress_v2(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    cudaVersion: i32,
    flags: cuuint64_t,
    symbolStatus: *mut CUdriverProcAddressQueryResult,
) -> CUresult {
    let result = call_real!(cuGetProcAddress_v2(
        symbol,
        pfn,
        cudaVersion,
        flags,
        symbolStatus
    ));
    // SAFETY: the driver has accepted the arguments with success.
    unsafe { swap_result(result, symbol, pfn, cudaVersion, flags) }
}

/// `cuGetProcAddress` of 11.3 to 11.8.
pub unsafe extern "C" fn cuGetProcAddress(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    cudaVersion: i32,
    flags: cuuint64_t,
) -> CUresult {
    let result = call_real!(cuGetProcAddress(symbol, pfn, cudaVersion, flags));
    // SAFETY: as above.
    unsafe { swap_result(result, symbol, pfn, cudaVersion, flags) }
}

/// # Safety
/// If `result` is success, the driver has accepted `symbol` and written `*pfn`.
unsafe fn swap_result(
    result: CUresult,
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    version: i32,
    flags: u64,
) -> CUresult {
    catch_panic(result, || {
        if result == CUDA_SUCCESS && !symbol.is_null() && !pfn.is_null() {
            // SAFETY: by this function's contract.
            unsafe {
                if !(*pfn).is_null() {
                    *pfn = swapped(CStr::from_ptr(symbol), *pfn, version, flags);
                }
            }
        }
        result
    })
}

/// `cuInit`: without limits that can be enforced, it returns no device.
pub unsafe extern "C" fn cuInit(flags: u32) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuInit(flags));
        if result == CUDA_SUCCESS && Cuda::process().is_broken() {
            return CUDA_ERROR_OPERATING_SYSTEM;
        }
        result
    })
}
