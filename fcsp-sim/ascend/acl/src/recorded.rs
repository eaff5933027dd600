//! Recorded work: captures of a stream, and models built by hand.

use crate::forward;

forward! {
    fn aclmdlRICaptureBegin(stream: u64, mode: i32) = rtStreamBeginCapture(stream, mode);
    fn aclmdlRICaptureEnd(stream: u64, place: *mut u64) = rtStreamEndCapture(stream, place);
    fn aclmdlRICaptureGetInfo(stream: u64, status: *mut i32, model: *mut u64) = rtStreamGetCaptureInfo(stream, status, model);
    fn aclmdlRIExecuteAsync(model: u64, stream: u64) = rtModelExecute(model, stream, 0);
    fn aclmdlRIExecute(model: u64, timeout: i32) = rtModelExecuteSync(model, 0, 0, timeout);
    fn aclmdlRIDestroy(model: u64) = rtModelDestroy(model);
    fn aclmdlRIBuildBegin(place: *mut u64, flags: u32) = rtModelCreate(place, flags);
    fn aclmdlRIBindStream(model: u64, stream: u64, flags: u32) = rtModelBindStream(model, stream, flags);
    fn aclmdlRIUnbindStream(model: u64, stream: u64) = rtModelUnbindStream(model, stream);
    fn aclmdlRIBuildEnd(model: u64, _reserve: u64) = rtModelLoadComplete(model);
}
