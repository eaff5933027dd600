//! Events, and the names of kernels: what a compute share asks of the driver.

use fcsp_hook::backend::{Devices, EventTiming, Progress};

use crate::ffi::acl::*;
use crate::vendor::Ascend;
use crate::{call_real, collective, launch};

impl EventTiming for Ascend {
    // Nothing until it is measured on the device at hand: a launch until then costs a little more
    // than it should (docs/assumptions.md).
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;

    fn event_context(_queue: usize) -> Option<usize> {
        Self::current_context()
    }

    fn create_event(_context: usize, timed: bool) -> Option<usize> {
        let mut event = core::ptr::null_mut();
        let flags = if timed {
            ACL_EVENT_TIME_LINE | ACL_EVENT_CAPTURE_STREAM_PROGRESS
        } else {
            ACL_EVENT_CAPTURE_STREAM_PROGRESS
        };
        (call_real!(aclrtCreateEventExWithFlag(&mut event, flags)) == ACL_SUCCESS)
            .then_some(event as usize)
    }

    fn record_event(event: usize, queue: usize) -> bool {
        call_real!(aclrtRecordEvent(event as aclrtEvent, queue as aclrtStream)) == ACL_SUCCESS
    }

    fn destroy_event(event: usize) {
        call_real!(aclrtDestroyEvent(event as aclrtEvent));
    }

    fn event_progress(event: usize) -> Progress {
        let mut status = 0;
        if call_real!(aclrtQueryEventStatus(event as aclrtEvent, &mut status)) != ACL_SUCCESS {
            Progress::Failed
        } else if status == ACL_EVENT_RECORDED_STATUS_COMPLETE {
            Progress::Done
        } else {
            Progress::Pending
        }
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        let mut ms = 0f32;
        let result = call_real!(aclrtEventElapsedTime(
            &mut ms,
            first as aclrtEvent,
            second as aclrtEvent
        ));
        (result == ACL_SUCCESS && ms >= 0.0).then_some((f64::from(ms) * 1e6) as u64)
    }

    fn kernel_name(function: usize) -> Option<String> {
        collective::name_of(function).or_else(|| launch::name_of(function))
    }
}
