//! Exports of functions: one name or two (the second for default streams a thread), faults on
//! demand before and after its effect, and refusal in a forked child.

use crate::codes::{NOT_INITIALIZED, NOT_SUPPORTED, Reply};
use fcsp_sim::faults::around;
use fcsp_sim::owner;

pub use fcsp_sim::export::log;

/// The variable that says which devices a process sees.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// Prefixes of the names of this library's functions.
pub const PREFIXES: &[&str] = &["cu"];

/// True if it was measured what arrays and modules take of a device.
pub const SIZES_ARE_KNOWN: bool = true;

/// Dead functions of modules are refused by a code; measured.
pub const CHECKS_FUNCTIONS: bool = true;

/// True if graphs, executables and nodes are looked up. Dead graphs and executables are refused by
/// a code, and dead nodes are followed; measured.
pub const LOOKS_UP_GRAPHS: bool = false;

/// Returns true if this library exports a function.
pub fn is_exported(name: &str) -> bool {
    include_str!("../symbols.txt")
        .lines()
        .any(|line| line == name)
}

/// Runs an exported function's body. In a child that was forked after the driver was initialised
/// nothing works, as with the real driver, and nothing waits for locks that a thread of the parent
/// held.
pub fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    if owner::is_child() {
        crate::driver::in_child();
        return NOT_INITIALIZED.0;
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
        Err(NOT_SUPPORTED)
    })
}

/// Exports functions; see [`fcsp_sim::exported_functions`].
macro_rules! api {
    ($($functions:tt)*) => {
        fcsp_sim::exported_functions!([crate::export::call] [crate::codes::Reply] $($functions)*);
    };
}
pub(crate) use api;

/// Exports pairs of functions that differ in the meaning of stream 0: the context's legacy stream
/// for the first name, the calling thread's own for the second. The body learns which from the
/// identifier in brackets.
macro_rules! stream_api {
    ($( $(#[$m:meta])* fn $legacy:ident, $thread:ident [$pt:ident] ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $(#[$m])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $legacy($($a: $t),*) -> i32 {
            let $pt = false;
            crate::export::call(stringify!($legacy), || -> crate::codes::Reply { $body })
        }
        $(#[$m])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $thread($($a: $t),*) -> i32 {
            let $pt = true;
            crate::export::call(stringify!($thread), || -> crate::codes::Reply { $body })
        }
    )* };
}
pub(crate) use stream_api;
