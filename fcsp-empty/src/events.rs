//! Events: this driver has none. Launches are charged by guesses, and synchronisations tell when
//! the device is idle.

use core::ffi::c_char;
use std::ffi::CStr;

use fcsp_hook::backend::{EventTiming, Progress};

use crate::vendor::Empty;

impl EventTiming for Empty {
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;

    fn event_context(_queue: usize) -> Option<usize> {
        None
    }

    fn create_event(_context: usize, _timed: bool) -> Option<usize> {
        None
    }

    fn record_event(_event: usize, _queue: usize) -> bool {
        false
    }

    fn destroy_event(_event: usize) {}

    fn event_progress(_event: usize) -> Progress {
        Progress::Failed
    }

    fn elapsed_ns(_first: usize, _second: usize) -> Option<u64> {
        None
    }

    fn kernel_name(function: usize) -> Option<String> {
        // SAFETY: a launch names its kernel by a C string, and this is asked during the launch.
        let name = unsafe { CStr::from_ptr(function as *const c_char) };
        Some(name.to_string_lossy().into_owned())
    }
}
