//! Events, by which launches are counted.

use fcsp_hook::backend::Progress;

use crate::call_real;
use crate::ffi::synapse::*;
use crate::process::DEVICE;

/// Makes an event on the card.
pub fn create(timed: bool) -> Option<usize> {
    let flags = if timed { EVENT_COLLECT_TIME } else { 0 };
    let mut event: synEventHandle = core::ptr::null_mut();
    (call_real!(synEventCreate(&mut event, DEVICE, flags)) == synSuccess).then_some(event as usize)
}

/// Records an event at the end of a stream.
pub fn record(event: usize, stream: usize) -> bool {
    call_real!(synEventRecord(
        event as synEventHandle,
        stream as synStreamHandle
    )) == synSuccess
}

/// Ends an event, passed or not.
pub fn destroy(event: usize) {
    call_real!(synEventDestroy(event as synEventHandle));
}

/// Returns the progress of the card with an event.
pub fn progress(event: usize) -> Progress {
    match call_real!(synEventQuery(event as synEventHandle)) {
        synSuccess => Progress::Done,
        synBusy => Progress::Pending,
        _ => Progress::Failed,
    }
}

/// Returns the ns between two events.
pub fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
    let mut ns = 0;
    let result = call_real!(synEventElapsedTime(
        &mut ns,
        first as synEventHandle,
        second as synEventHandle
    ));
    (result == synSuccess).then_some(ns)
}
