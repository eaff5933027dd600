//! The library and the system: initialisation, versions, names.

use crate::abi::{INVALID_ARGUMENT, NOT_FOUND, Out, put_text};
use crate::api;
use crate::state::{init, machine, shutdown};
use std::ffi::c_char;

const DRIVER: &str = "580.0-sim";

api! {
    fn nvmlInit, nvmlInit_v2() {
        init()
    }
    fn nvmlInitWithFlags(_flags: u32) {
        init()
    }
    fn nvmlShutdown() {
        shutdown()
    }
    fn nvmlSystemGetDriverVersion(text: Out<u8>, len: u32) {
        machine()?;
        put_text(text, len, DRIVER)
    }
    fn nvmlSystemGetNVMLVersion(text: Out<u8>, len: u32) {
        machine()?;
        put_text(text, len, "13.580.0-sim")
    }
    fn nvmlSystemGetCudaDriverVersion, nvmlSystemGetCudaDriverVersion_v2(version: Out<i32>) {
        version.put(13000)
    }
    fn nvmlSystemGetProcessName(pid: u32, text: Out<u8>, len: u32) {
        machine()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).map_err(|_| NOT_FOUND)?;
        let name = line.split(|b| *b == 0).next().unwrap_or_default();
        let mut name = String::from_utf8_lossy(name).into_owned();
        // A name that does not fit is cut short, as by the real library.
        name.truncate((0..=name.len().min(len.saturating_sub(1) as usize)).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0));
        if len == 0 { Err(INVALID_ARGUMENT) } else { put_text(text, len, &name) }
    }
}

/// Texts by code; static, as callers keep the pointer.
const TEXTS: &[(i32, &std::ffi::CStr)] = &[
    (0, c"Success"),
    (1, c"Uninitialized"),
    (2, c"Invalid Argument"),
    (3, c"Not Supported"),
    (4, c"Insufficient Permissions"),
    (6, c"Not Found"),
    (7, c"Insufficient Size"),
    (9, c"Driver Not Loaded"),
    (10, c"Timeout"),
    (12, c"NVML Shared Library Not Found"),
    (13, c"Function Not Found"),
    (15, c"GPU is lost"),
    (20, c"Insufficient Memory"),
    (25, c"Argument Version Mismatch"),
    (999, c"Unknown Error"),
];

#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(code: i32) -> *const c_char {
    TEXTS
        .iter()
        .find(|(c, _)| *c == code)
        .map_or(c"Unknown Error".as_ptr(), |(_, t)| t.as_ptr())
}
