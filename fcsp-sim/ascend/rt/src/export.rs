//! Exports of functions: faults on demand before and after its effect, and refusal in a
//! forked child.

use crate::codes::{NO_DEVICE, Reply};
use fcsp_sim::faults::around;
use fcsp_sim::owner;

pub use fcsp_sim::export::log;

/// Prefixes of the names of this library's functions.
pub const PREFIXES: &[&str] = &["rt"];

/// Runs an exported function's body. In a child that was forked after the driver was used nothing
/// works, and nothing waits for locks that a thread of the parent held.
pub fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    if owner::is_child() {
        crate::driver::in_child();
        return NO_DEVICE.0;
    }
    around(name, || body().map_or_else(|c| c.0, |()| 0))
}

/// Exports functions; see [`fcsp_sim::exported_functions`].
macro_rules! api {
    ($($functions:tt)*) => {
        fcsp_sim::exported_functions!([crate::export::call] [crate::codes::Reply] $($functions)*);
    };
}
pub(crate) use api;
