//! Events, by which launches are counted.

use fcsp_hook::backend::{Devices, EventTiming, Progress};

use crate::call_real;
use crate::ffi::synapse::*;
use crate::vendor::{DEVICE, Gaudi};

impl EventTiming for Gaudi {
    // Nothing until it is measured on the card at hand (docs/assumptions.md).
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;

    fn event_context(_queue: usize) -> Option<usize> {
        Self::current_context()
    }

    fn create_event(_context: usize, timed: bool) -> Option<usize> {
        let flags = if timed { EVENT_COLLECT_TIME } else { 0 };
        let mut event: synEventHandle = core::ptr::null_mut();
        (call_real!(synEventCreate(&mut event, DEVICE, flags)) == synSuccess)
            .then_some(event as usize)
    }

    fn record_event(event: usize, stream: usize) -> bool {
        call_real!(synEventRecord(
            event as synEventHandle,
            stream as synStreamHandle
        )) == synSuccess
    }

    fn destroy_event(event: usize) {
        call_real!(synEventDestroy(event as synEventHandle));
    }

    fn event_progress(event: usize) -> Progress {
        match call_real!(synEventQuery(event as synEventHandle)) {
            synSuccess => Progress::Done,
            synBusy => Progress::Pending,
            _ => Progress::Failed,
        }
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        let mut ns = 0;
        let result = call_real!(synEventElapsedTime(
            &mut ns,
            first as synEventHandle,
            second as synEventHandle
        ));
        (result == synSuccess).then_some(ns)
    }

    fn kernel_name(_function: usize) -> Option<String> {
        None
    }
}
