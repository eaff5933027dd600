//! Exports of functions: faults on demand before and after its effect, and refusal in a
//! forked child.

use crate::codes::{Reply, UNINITIALIZED, UNSUPPORTED_FEATURE};
use fcsp_sim::faults::around;
use fcsp_sim::owner;

pub use fcsp_sim::export::log;

/// Prefixes of the names of this library's functions.
pub const PREFIXES: &[&str] = &["ze"];

/// Returns true if this library exports a function.
pub fn is_exported(name: &str) -> bool {
    crate::names::FUNCTIONS
        .iter()
        .any(|(known, _)| *known == name)
}

/// Runs an exported function's body. In a child that was forked after the driver was initialised
/// nothing works, as with the real driver, and nothing waits for locks that a thread of the parent
/// held.
pub fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    if owner::is_child() {
        crate::driver::in_child();
        return UNINITIALIZED.0;
    }
    run(name, body)
}

/// Runs a body as [`call`] does, for the few functions that also work in a forked child.
pub fn run(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    around(name, || body().map_or_else(|c| c.0, |()| 0))
}

/// Answers a call of an exported function that is not modelled.
pub fn unmodelled(name: &'static str) -> i32 {
    call(name, || {
        log(&format!("{name} is not modelled"));
        Err(UNSUPPORTED_FEATURE)
    })
}

/// Exports functions; see [`fcsp_sim::exported_functions`].
macro_rules! api {
    ($($functions:tt)*) => {
        fcsp_sim::exported_functions!([crate::export::call] [crate::codes::Reply] $($functions)*);
    };
}
pub(crate) use api;
