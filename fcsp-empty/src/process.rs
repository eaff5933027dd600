//! The driver as the neutral part asks of it.

use core::convert::Infallible;
use core::ffi::c_char;
use core::sync::atomic::AtomicBool;
use std::ffi::CStr;

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::Device;
use fcsp_hook::memory::{Given, Record};
use fcsp_hook::process::Process;
use fcsp_hook::setup::shielded;

use crate::call_real;
use crate::ffi::*;

/// The driver of a vendor that does not exist.
#[derive(Debug, Clone, Copy)]
pub struct Empty;

impl Backend for Empty {
    type Status = emptyStatus;
    const SUCCESS: emptyStatus = EMPTY_SUCCESS;
    const OUT_OF_MEMORY: emptyStatus = EMPTY_OUT_OF_MEMORY;
    const UNKNOWN: emptyStatus = EMPTY_UNKNOWN;
    /// True once this process has chosen the device.
    type PerDevice = AtomicBool;
    type Origin = Infallible;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Empty> = Process::new();
        &PROCESS
    }

    fn device_count() -> Option<i32> {
        let mut count = 0;
        (call_real!(emptyDeviceCount(&mut count)) == EMPTY_SUCCESS).then_some(count)
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        let mut uuid = [0; 16];
        (call_real!(emptyDeviceUuid(ordinal, &mut uuid)) == EMPTY_SUCCESS).then_some(
            DeviceIdentity {
                index: Some(ordinal.cast_unsigned()),
                uuid: DeviceUuid(uuid),
                pci: None,
            },
        )
    }

    fn total_memory(ordinal: i32) -> u64 {
        let (mut free, mut total) = (0, 0);
        call_real!(emptyDeviceMemory(ordinal, &mut free, &mut total));
        total as u64
    }

    fn per_device(_ordinal: i32) -> AtomicBool {
        AtomicBool::new(false)
    }

    // No contexts: the current device stands for one, and 0 is none.
    fn current_context() -> Option<usize> {
        let mut ordinal = 0;
        (call_real!(emptyGetDevice(&mut ordinal)) == EMPTY_SUCCESS).then_some(ordinal as usize + 1)
    }

    fn device_of_current(context: usize) -> Option<i32> {
        i32::try_from(context - 1).ok()
    }

    const CONTEXT_ESTIMATE: u64 = 64 << 20;

    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        let (mut pids, mut bytes, mut count) = ([0; 256], [0; 256], 256);
        let ordinal = device.index?.cast_signed();
        let result = call_real!(emptyDeviceProcesses(
            ordinal,
            pids.as_mut_ptr(),
            bytes.as_mut_ptr(),
            &mut count
        ));
        let mine = pids.iter().position(|&pid| pid == std::process::id());
        (result == EMPTY_SUCCESS).then(|| mine.map_or(0, |at| bytes[at] as u64))
    }

    fn has_management() -> bool {
        true
    }

    fn free_by_driver(_device: &Device<Self>) -> Option<u64> {
        None
    }

    fn leaves(_record: &Record<Self>, origin: &Infallible) -> Given {
        match *origin {}
    }

    fn stays(_record: &Record<Self>, origin: &Infallible, _given: Given) {
        match *origin {}
    }

    // No events: launches are charged by guesses, and synchronisations tell when the device is
    // idle.
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;
    type Beside = ();

    fn beside_recordings() {}

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

/// `emptyInit`: fails where the limits cannot be kept.
pub unsafe extern "C" fn emptyInit() -> emptyStatus {
    shielded(EMPTY_UNKNOWN, || {
        let result = call_real!(emptyInit());
        if result == EMPTY_SUCCESS && Empty::process().is_broken() {
            return EMPTY_NOT_INITIALIZED;
        }
        result
    })
}
