//! Events, and the names of kernels: what a compute share asks of the runtime.

use core::ffi::{CStr, c_char, c_void};

use fcsp_hook::backend::{Devices, EventTiming, Progress};

use crate::call_real;
use crate::driver::real;
use crate::ffi::hip::*;
use crate::vendor::Hip;

/// The lowest bit of a function as launches name it: set for a host function's address, which the
/// runtime knows by another question than a function handle. Both are aligned.
pub const HOST_FUNCTION: usize = 1;

impl EventTiming for Hip {
    /// Addition of two events to the span of a launch between them while the device is busy, ns,
    /// until it is measured on the present device. It was not measured before, since no device was
    /// available (docs/assumptions.md); NVIDIA's devices have this order of magnitude.
    const BUSY_BRACKET_NS: u64 = 1_200;
    /// Rest of the launch's own latency if the device was idle, ns; likewise.
    const IDLE_BRACKET_NS: u64 = 1_400;

    fn event_context(_stream: usize) -> Option<usize> {
        Self::current_context()
    }

    fn create_event(_context: usize, timed: bool) -> Option<usize> {
        let flags = if timed {
            hipEventDefault
        } else {
            hipEventDisableTiming
        };
        let mut event: hipEvent_t = core::ptr::null_mut();
        (call_real!(hipEventCreateWithFlags(&mut event, flags)) == hipSuccess)
            .then_some(event as usize)
    }

    fn record_event(event: usize, stream: usize) -> bool {
        call_real!(hipEventRecord(event as hipEvent_t, stream as hipStream_t)) == hipSuccess
    }

    fn destroy_event(event: usize) {
        call_real!(hipEventDestroy(event as hipEvent_t));
    }

    fn event_progress(event: usize) -> Progress {
        match call_real!(hipEventQuery(event as hipEvent_t)) {
            hipSuccess => Progress::Done,
            hipErrorNotReady => Progress::Pending,
            _ => Progress::Failed,
        }
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        let mut milliseconds = 0f32;
        let result = call_real!(hipEventElapsedTime(
            &mut milliseconds,
            first as hipEvent_t,
            second as hipEvent_t
        ));
        (result == hipSuccess && milliseconds >= 0.0)
            .then_some((f64::from(milliseconds) * 1e6) as u64)
    }

    /// Returns the kernel name of a function handle or a host function.
    fn kernel_name(function: usize) -> Option<String> {
        let at = (function & !HOST_FUNCTION) as *mut c_void;
        let name: *const c_char = if function & HOST_FUNCTION == 0 {
            // SAFETY: a handle that the program has just launched.
            unsafe { real::hipKernelNameRef.get()?(at) }
        } else {
            // SAFETY: a host function that the program has just launched; the default stream is on
            // the current device.
            unsafe { real::hipKernelNameRefByPtr.get()?(at, core::ptr::null_mut()) }
        };
        if name.is_null() {
            return None;
        }
        // SAFETY: the runtime gave a C string that lives as long as the function.
        Some(
            unsafe { CStr::from_ptr(name) }
                .to_string_lossy()
                .into_owned(),
        )
    }
}
