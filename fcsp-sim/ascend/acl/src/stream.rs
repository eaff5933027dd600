//! Streams and events.

use crate::{INVALID_PARAM, forward, rt};

forward! {
    fn aclrtCreateStream(place: *mut u64) = rtStreamCreate(place, 0);
    fn aclrtCreateStreamWithConfig(place: *mut u64, priority: u32, flags: u32) = rtStreamCreateWithFlags(place, priority as i32, flags);
    fn aclrtDestroyStream(stream: u64) = rtStreamDestroy(stream);
    fn aclrtDestroyStreamForce(stream: u64) = rtStreamDestroyForce(stream);
    fn aclrtSynchronizeStream(stream: u64) = rtStreamSynchronize(stream);
    fn aclrtSynchronizeStreamWithTimeout(stream: u64, timeout: i32) = rtStreamSynchronizeWithTimeout(stream, timeout);
    fn aclrtStreamWaitEvent(stream: u64, event: u64) = rtStreamWaitEvent(stream, event);
    fn aclrtStreamGetId(stream: u64, id: *mut i32) = rtGetStreamId(stream, id);
    fn aclrtStreamGetPriority(stream: u64, priority: *mut u32) = rtStreamGetPriority(stream, priority);
    fn aclrtStreamGetFlags(stream: u64, flags: *mut u32) = rtStreamGetFlags(stream, flags);
    fn aclrtLaunchHostFunc(stream: u64, f: u64, data: u64) = rtsLaunchHostFunc(stream, f, data);
    fn aclrtCreateEvent(place: *mut u64) = rtEventCreate(place);
    fn aclrtCreateEventWithFlag(place: *mut u64, flags: u32) = rtEventCreateWithFlag(place, flags);
    fn aclrtCreateEventExWithFlag(place: *mut u64, flags: u32) = rtEventCreateExWithFlag(place, flags);
    fn aclrtDestroyEvent(event: u64) = rtEventDestroy(event);
    fn aclrtRecordEvent(event: u64, stream: u64) = rtEventRecord(event, stream);
    fn aclrtResetEvent(event: u64, stream: u64) = rtEventReset(event, stream);
    fn aclrtSynchronizeEvent(event: u64) = rtEventSynchronize(event);
    fn aclrtSynchronizeEventWithTimeout(event: u64, timeout: i32) = rtEventSynchronizeWithTimeout(event, timeout);
    fn aclrtQueryEventStatus(event: u64, status: *mut i32) = rtEventQueryStatus(event, status);
    fn aclrtEventElapsedTime(ms: *mut f32, start: u64, end: u64) = rtEventElapsedTime(ms, start, end);
    fn aclrtEventGetTimestamp(event: u64, stamp: *mut u64) = rtEventGetTimeStamp(stamp, event);
    fn aclrtGetEventId(event: u64, id: *mut u32) = rtGetEventID(event, id);
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtQueryEvent(event: u64, status: *mut i32) -> i32 {
    let mut reached = 0;
    // SAFETY: writes one integer that outlives the call.
    let code = unsafe { rt::rtEventQueryStatus(event, &mut reached) };
    if status.is_null() {
        return INVALID_PARAM;
    }
    // SAFETY: not null, so by the API's contract a place for an integer.
    unsafe { *status = 1 - reached };
    code
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtStreamQuery(stream: u64, status: *mut i32) -> i32 {
    const NOT_COMPLETE: i32 = 0x0711_0007;
    // SAFETY: an integer.
    let code = unsafe { rt::rtStreamQuery(stream) };
    if status.is_null() {
        return INVALID_PARAM;
    }
    // SAFETY: not null, so by the API's contract a place for an integer.
    unsafe { *status = i32::from(code == NOT_COMPLETE) };
    if code == NOT_COMPLETE { 0 } else { code }
}
