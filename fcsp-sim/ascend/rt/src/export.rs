//! How a function is exported: faults on demand before and after its effect, and refusal in a
//! forked child.

use crate::codes::{NO_DEVICE, Reply};
use fcsp_sim::faults::around;
use fcsp_sim::owner;

/// How the names of this library's functions begin.
pub const PREFIXES: &[&str] = &["rt"];

/// Writes a line to stderr if `FCSP_SIM_LOG` is set.
pub fn log(text: &str) {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {text}");
    }
}

/// Runs an exported function's body. In a child that was forked after the driver was used nothing
/// works, and nothing waits for locks that a thread of the parent held.
pub fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    if owner::is_child() {
        crate::driver::in_child();
        return NO_DEVICE.0;
    }
    around(name, || body().map_or_else(|c| c.0, |()| 0))
}

/// Exports functions. Each body is a closure that may use `?`.
macro_rules! api {
    ($( $(#[$m:meta])* fn $($name:ident),+ ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        crate::export::api!(@one [$($name),+] [$(#[$m])*] ($($a: $t),*) $body);
    )* };
    (@one [$name:ident] [$($m:tt)*] $args:tt $body:block) => {
        crate::export::api!(@fn $name [$($m)*] $args $body);
    };
    (@one [$name:ident, $($more:ident),+] [$($m:tt)*] $args:tt $body:block) => {
        crate::export::api!(@fn $name [$($m)*] $args $body);
        crate::export::api!(@one [$($more),+] [$($m)*] $args $body);
    };
    (@fn $name:ident [$($m:tt)*] ($($a:ident : $t:ty),*) $body:block) => {
        $($m)*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            crate::export::call(stringify!($name), || -> crate::codes::Reply { $body })
        }
    };
}
pub(crate) use api;
