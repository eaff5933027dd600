//! The driver's types, one alias a function, as `empty.h` has them.

#![allow(non_camel_case_types, missing_docs)]

use core::ffi::{c_char, c_int, c_void};

pub type emptyStatus = c_int;
pub const EMPTY_SUCCESS: emptyStatus = 0;
pub const EMPTY_NOT_INITIALIZED: emptyStatus = 1;
pub const EMPTY_OUT_OF_MEMORY: emptyStatus = 2;
pub const EMPTY_NOT_FOUND: emptyStatus = 4;
pub const EMPTY_UNKNOWN: emptyStatus = 5;

fcsp_hook::functions! {
    /// Every function that is wrapped or asked.
    FUNCTIONS -> emptyStatus;
    emptyInit();
    emptyDeviceCount(count: *mut c_int);
    emptyDeviceUuid(device: c_int, uuid: *mut [u8; 16]);
    emptyGetDevice(device: *mut c_int);
    emptySetDevice(device: c_int);
    emptyReleaseDevice(device: c_int);
    emptyAlloc(address: *mut *mut c_void, bytes: usize);
    emptyFree(address: *mut c_void);
    emptyDeviceMemory(device: c_int, unused: *mut usize, total: *mut usize);
    emptyDeviceProcesses(device: c_int, pids: *mut u32, bytes: *mut usize, count: *mut c_int);
    emptyLaunch(kernel: *const c_char, ns: u64);
    emptySynchronize();
}
