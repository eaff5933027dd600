//! Start, end, versions.

use crate::rt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static STARTED: AtomicBool = AtomicBool::new(false);

const REPEAT_INITIALIZE: i32 = 100_002;
const REPEAT_FINALIZE: i32 = 100_037;

#[unsafe(no_mangle)]
pub extern "C" fn aclInit(_config: u64) -> i32 {
    if STARTED.swap(true, Ordering::AcqRel) {
        return REPEAT_INITIALIZE;
    }
    let mut count = 0;
    // SAFETY: writes one integer that outlives the call.
    unsafe { rt::rtGetDeviceCount(&mut count) }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclFinalize() -> i32 {
    if STARTED.swap(false, Ordering::AcqRel) {
        0
    } else {
        REPEAT_FINALIZE
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetRecentErrMsg() -> *const std::ffi::c_char {
    c"".as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtGetVersion(major: *mut i32, minor: *mut i32, patch: *mut i32) -> i32 {
    for (place, value) in [(major, 1), (minor, 17), (patch, 0)] {
        if place.is_null() {
            return crate::INVALID_PARAM;
        }
        // SAFETY: not null, so by the API's contract a place for an integer.
        unsafe { *place = value };
    }
    0
}

/// Returns the name of the first device; null where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtGetSocName() -> *const std::ffi::c_char {
    static NAME: OnceLock<Option<[u8; 64]>> = OnceLock::new();
    NAME.get_or_init(|| {
        let mut text = [0; 64];
        // SAFETY: the buffer has the length that is said.
        (unsafe { rt::rtGetSocVersion(text.as_mut_ptr(), 64) } == 0).then_some(text)
    })
    .as_ref()
    .map_or(std::ptr::null(), |t| t.as_ptr().cast())
}
