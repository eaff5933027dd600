//! Everything that starts work on the device, and everything that waits for it.

use core::ffi::c_char;

use fcsp_hook::compute::Drains;
use fcsp_hook::launch::{self, admits_kernel, straight};
use fcsp_hook::setup::shielded;

use crate::call_real;
use crate::ffi::*;
use crate::process::Empty;

/// The one queue that the driver has.
const QUEUE: usize = 1;

/// `emptyLaunch`.
pub unsafe extern "C" fn emptyLaunch(kernel: *const c_char, ns: u64) -> emptyStatus {
    let call = || call_real!(emptyLaunch(kernel, ns));
    let function = kernel as usize;
    if kernel.is_null() || straight::<Empty>() || admits_kernel::<Empty>(function, 1, QUEUE) {
        return call();
    }
    launch::kernel::<Empty>(function, 1, QUEUE, call)
}

/// `emptySynchronize`.
pub unsafe extern "C" fn emptySynchronize() -> emptyStatus {
    shielded(EMPTY_UNKNOWN, || {
        launch::waiting::<Empty>(Drains::Everything, || call_real!(emptySynchronize()))
    })
}
