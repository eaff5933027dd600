//! `hipGetProcAddress` and `hipGetDriverEntryPoint`: ask the real ones first, with the caller's own
//! version and flags; then swap the address they gave if that is a function we wrap. `dlsym`,
//! likewise, is in [`fcsp_hook::lookup`].
//!
//! What they give are addresses of exported functions, so wrapped functions are known by address. A
//! runtime that gives another address for a name we know is matched by the name instead, in its
//! variant for the stream flag.

use core::ffi::{CStr, c_char, c_void};

use fcsp_hook::lookup::Hooked;

use crate::call_real;
use crate::ffi::hip::*;
use crate::vendor::{Hip, catch_panic, governed_or_unknown};

/// `hipGetProcAddress` and `hipGetDriverEntryPoint`: names mean the variants for streams of
/// threads.
const PER_THREAD: u64 = 2;
/// The first version whose properties are the newer structure.
const NEWER_PROPERTIES: i32 = 60_000_000;

fn swapped(name: &CStr, address: *mut c_void, version: i32, per_thread: bool) -> *mut c_void {
    if let Some(hook) = Hip::hooks().by_address(address as usize) {
        return hook.address;
    }
    // No exported function has this address: the runtime keeps separate entry points.
    let name = name.to_bytes();
    let variant: &[u8] = match name {
        b"hipGetDeviceProperties" if version >= NEWER_PROPERTIES => b"R0600",
        _ if per_thread => b"_spt",
        _ => b"",
    };
    let named = |tail: &[u8]| {
        Hip::hooks().hooks().find(|hook| {
            hook.name
                .to_bytes()
                .strip_prefix(name)
                .is_some_and(|rest| rest == tail)
        })
    };
    let hook = named(variant).or_else(|| if per_thread { named(b"") } else { None });
    hook.map_or(address, |hook| hook.address)
}

/// `hipGetProcAddress`.
pub unsafe extern "C" fn hipGetProcAddress(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    hipVersion: i32,
    flags: uint64_t,
    symbolStatus: *mut hipDriverProcAddressQueryResult,
) -> hipError_t {
    let result = call_real!(hipGetProcAddress(
        symbol,
        pfn,
        hipVersion,
        flags,
        symbolStatus
    ));
    // SAFETY: the runtime has accepted the arguments with success.
    unsafe { swap_result(result, symbol, pfn, hipVersion, flags == PER_THREAD) }
}

macro_rules! entry_point {
    ($($name:ident: $per_thread:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            symbol: *const c_char,
            funcPtr: *mut *mut c_void,
            flags: u64,
            status: *mut hipDriverEntryPointQueryResult,
        ) -> hipError_t {
            let result = call_real!($name(symbol, funcPtr, flags, status));
            // SAFETY: the runtime has accepted the arguments with success.
            unsafe { swap_result(result, symbol, funcPtr, i32::MAX, $per_thread(flags)) }
        }
    )*};
}
entry_point! {
    hipGetDriverEntryPoint: |flags| flags == PER_THREAD;
    hipGetDriverEntryPoint_spt: |flags| flags != 1;
}

/// # Safety
/// If `result` is success, the runtime has accepted `symbol` and written `*pfn`.
unsafe fn swap_result(
    result: hipError_t,
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    version: i32,
    per_thread: bool,
) -> hipError_t {
    catch_panic(result, || {
        if result == hipSuccess && !symbol.is_null() && !pfn.is_null() {
            // SAFETY: by this function's contract.
            unsafe {
                if !(*pfn).is_null() {
                    *pfn = swapped(CStr::from_ptr(symbol), *pfn, version, per_thread);
                }
            }
        }
        result
    })
}

/// `hipInit`: without limits that can be enforced, it returns no device.
pub unsafe extern "C" fn hipInit(flags: u32) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let result = call_real!(hipInit(flags));
        if result == hipSuccess && !governed_or_unknown() {
            return hipErrorOperatingSystem;
        }
        result
    })
}
