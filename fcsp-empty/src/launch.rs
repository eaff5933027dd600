//! Everything that starts work on the device, and everything that waits for it.

use core::ffi::c_char;

use fcsp_hook::backend::Capture;
use fcsp_hook::compute::Drains;
use fcsp_hook::launch::{self, admits_kernel, is_unthrottled};
use fcsp_hook::setup::catch_panic;

use crate::call_real;
use crate::driver::real;
use crate::ffi::*;
use crate::vendor::Empty;

/// The one queue that the driver has.
const QUEUE: usize = 1;

impl Capture for Empty {
    type Beside = ();

    fn beside_recordings() {}
}

fcsp_hook::staged! {
    /// `emptyLaunch`.
    emptyLaunch(kernel: *const c_char, ns: u64) -> emptyStatus,
    real::emptyLaunch,
    bypass is_unthrottled::<Empty>(),
    admitted kernel.is_null() || admits_kernel::<Empty>(kernel as usize, 1, QUEUE),
    asking launch::kernel::<Empty>(kernel as usize, 1, QUEUE, || call_real!(emptyLaunch(kernel, ns)))
}

/// `emptySynchronize`.
pub unsafe extern "C" fn emptySynchronize() -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        launch::waiting::<Empty>(Drains::Everything, || call_real!(emptySynchronize()))
    })
}
