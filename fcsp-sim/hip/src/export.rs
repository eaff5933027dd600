//! Definitions of functions: HIP's, with faults on demand before and after their effect and
//! refusal in a forked child; and the driver's behind them, which are plain functions here and
//! exported nowhere.
//!
//! The names with their versions are exported by jumps that the build script writes, as only an
//! assembler can say `name@@version`.

use crate::codes::{Code, NOT_INITIALIZED, NOT_READY, NOT_SUPPORTED, Reply};
use fcsp_sim::faults::around;
use fcsp_sim::owner;
use std::cell::Cell;

pub use fcsp_sim::export::log;

/// The variable that says which devices a process sees.
pub const VISIBLE: &str = "HIP_VISIBLE_DEVICES";

/// Prefixes of the names of this library's functions.
pub const PREFIXES: &[&str] = &["hip", "__hip"];

/// True if it was measured what arrays and modules take of a device. No such device was at hand.
pub const SIZES_ARE_KNOWN: bool = false;

/// Dead functions of modules are followed: `hip::DeviceFunc::asFunction` is a cast.
pub const CHECKS_FUNCTIONS: bool = false;

/// Graphs, executables and nodes are looked up, dead or not (`isGraphValid`, `isGraphExecValid`,
/// `isNodeValid`).
pub const LOOKS_UP_GRAPHS: bool = true;

/// Returns true if this library exports a function.
pub fn is_exported(name: &str) -> bool {
    let names = include_str!("../symbols.txt").lines();
    names
        .filter_map(|line| line.split(' ').next())
        .any(|symbol| symbol == name)
}

thread_local! {
    static LAST: Cell<i32> = const { Cell::new(0) };
}

/// Returns the thread's last error, which is forgotten if `take`.
pub fn last(take: bool) -> i32 {
    LAST.try_with(|l| if take { l.replace(0) } else { l.get() })
        .unwrap_or(0)
}

/// Runs the body of one of HIP's functions, and remembers its error for `hipGetLastError`. In a
/// child that was forked after the runtime was initialised nothing works, and nothing waits for
/// locks that a thread of the parent held.
pub fn hip(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    let code = if owner::is_child() {
        crate::driver::in_child();
        NOT_INITIALIZED.0
    } else {
        around(name, || run(name, body))
    };
    if code != 0 && code != NOT_READY.0 {
        let _ = LAST.try_with(|l| l.set(code));
    }
    code
}

/// Runs the body of one of the driver's functions; faults are HIP's, so the name does not matter
/// here.
pub fn call(_name: &str, body: impl FnOnce() -> Reply) -> i32 {
    body().map_or_else(|c| c.0, |()| 0)
}

/// Runs a body as [`call`] does.
pub fn run(name: &str, body: impl FnOnce() -> Reply) -> i32 {
    call(name, body)
}

/// Returns a driver function's result.
pub fn cu(code: i32) -> Reply {
    if code == 0 { Ok(()) } else { Err(Code(code)) }
}

/// Answers a call of an exported function that is not modelled.
pub fn unmodelled(name: &'static str) -> i32 {
    hip(name, || {
        log(&format!("{name} is not modelled"));
        Err(NOT_SUPPORTED)
    })
}

/// The driver's functions, under all of their names. Each body is a closure that may use `?`.
macro_rules! api {
    ($( $(#[$m:meta])* fn $($name:ident),+ ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        crate::export::api!(@one [$($name),+] ($($a: $t),*) $body);
    )* };
    (@one [$name:ident] $args:tt $body:block) => {
        crate::export::api!(@fn $name $args $body);
    };
    (@one [$name:ident, $($more:ident),+] $args:tt $body:block) => {
        crate::export::api!(@fn $name $args $body);
        crate::export::api!(@one [$($more),+] $args $body);
    };
    (@fn $name:ident ($($a:ident : $t:ty),*) $body:block) => {
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            crate::export::call(stringify!($name), || -> crate::codes::Reply { $body })
        }
    };
}
pub(crate) use api;

/// The driver's pairs of functions that differ in the meaning of stream 0.
macro_rules! stream_api {
    ($( $(#[$m:meta])* fn $legacy:ident, $thread:ident [$pt:ident] ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        pub extern "C" fn $legacy($($a: $t),*) -> i32 {
            let $pt = false;
            crate::export::call(stringify!($legacy), || -> crate::codes::Reply { $body })
        }
        pub extern "C" fn $thread($($a: $t),*) -> i32 {
            let $pt = true;
            crate::export::call(stringify!($thread), || -> crate::codes::Reply { $body })
        }
    )* };
}
pub(crate) use stream_api;

/// HIP's functions. The runtime is started and the thread's device has a context before a body
/// runs.
macro_rules! hip_api {
    ($( $(#[$m:meta])* fn $name:ident ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $(#[$m])*
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            crate::export::hip(stringify!($name), || -> crate::codes::Reply {
                crate::hip::thread::ready()?;
                $body
            })
        }
    )* };
}
pub(crate) use hip_api;

/// HIP's functions that make no context.
macro_rules! early_api {
    ($( $(#[$m:meta])* fn $name:ident ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $(#[$m])*
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            crate::export::hip(stringify!($name), || -> crate::codes::Reply {
                crate::driver::init()?;
                $body
            })
        }
    )* };
}
pub(crate) use early_api;

/// HIP's functions that are the driver's under another name: same arguments, same order.
macro_rules! same_api {
    ($( fn $name:ident = $module:ident::$driver:ident ($($a:ident : $t:ty),* $(,)?); )*) => { $(
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            crate::export::hip(stringify!($name), || -> crate::codes::Reply {
                crate::hip::thread::ready()?;
                crate::export::cu(crate::$module::$driver($($a),*))
            })
        }
    )* };
}
pub(crate) use same_api;

/// As [`same_api`], after a look at one of the handles.
macro_rules! handle_api {
    ($( fn $name:ident [$check:ident $handle:ident] = $module:ident::$driver:ident ($($a:ident : $t:ty),* $(,)?); )*) => { $(
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            crate::export::hip(stringify!($name), || -> crate::codes::Reply {
                crate::hip::thread::ready()?;
                crate::hip::handles::$check($handle)?;
                crate::export::cu(crate::$module::$driver($($a),*))
            })
        }
    )* };
}
pub(crate) use handle_api;
