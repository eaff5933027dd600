//! Events: what a compute share asks of the driver.

use fcsp_hook::backend::Progress;

use crate::call_real;
use crate::ffi::acl::*;

/// Makes an event in the current context.
pub fn create(timed: bool) -> Option<usize> {
    let mut event = core::ptr::null_mut();
    let flags = if timed {
        ACL_EVENT_TIME_LINE | ACL_EVENT_CAPTURE_STREAM_PROGRESS
    } else {
        ACL_EVENT_CAPTURE_STREAM_PROGRESS
    };
    (call_real!(aclrtCreateEventExWithFlag(&mut event, flags)) == ACL_SUCCESS)
        .then_some(event as usize)
}

/// Records an event at the end of a stream.
pub fn record(event: usize, queue: usize) -> bool {
    call_real!(aclrtRecordEvent(event as aclrtEvent, queue as aclrtStream)) == ACL_SUCCESS
}

/// Ends an event, passed or not.
pub fn destroy(event: usize) {
    call_real!(aclrtDestroyEvent(event as aclrtEvent));
}

/// Returns the progress of the device with an event.
pub fn progress(event: usize) -> Progress {
    let mut status = 0;
    if call_real!(aclrtQueryEventStatus(event as aclrtEvent, &mut status)) != ACL_SUCCESS {
        Progress::Failed
    } else if status == ACL_EVENT_RECORDED_STATUS_COMPLETE {
        Progress::Done
    } else {
        Progress::Pending
    }
}

/// Returns the ns between two timed events that have passed.
pub fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
    let mut ms = 0f32;
    let result = call_real!(aclrtEventElapsedTime(
        &mut ms,
        first as aclrtEvent,
        second as aclrtEvent
    ));
    (result == ACL_SUCCESS && ms >= 0.0).then_some((f64::from(ms) * 1e6) as u64)
}
