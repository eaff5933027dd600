//! The simulated accelerator as `librocm_smi64.so.7`.
//!
//! It reads the machine's state file and changes nothing in it. Every function that the real
//! library exports is exported; what is not defined in the rooms below answers
//! `RSMI_STATUS_NOT_SUPPORTED`. As in the real library all devices are listed, whatever
//! `HIP_VISIBLE_DEVICES` says.

mod abi;
mod device;
mod process;
mod state;
mod system;

use abi::{NOT_SUPPORTED, Reply};
use fcsp_sim::faults::around;

/// Writes a line to stderr if `FCSP_SIM_LOG` is set.
fn log(text: &str) {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {text}");
    }
}

/// How the names of this library's functions begin.
const PREFIXES: &[&str] = &["rsmi_"];

/// Whether this library exports a function.
fn is_exported(name: &str) -> bool {
    include_str!("../symbols.txt")
        .lines()
        .any(|line| line == name)
}

/// Runs an exported function's body, with the faults asked for before and after it.
fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    around(name, || body().err().unwrap_or(0))
}

fn unmodelled(name: &'static str) -> i32 {
    call(name, || {
        state::machine()?;
        Err(NOT_SUPPORTED)
    })
}

/// Exports functions, several names for one body where the versions agree.
macro_rules! api {
    ($( $(#[$m:meta])* fn $($name:ident),+ ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $crate::api!(@one [$($name),+] [$(#[$m])*] ($($a: $t),*) $body);
    )* };
    (@one [$name:ident] [$($m:tt)*] $args:tt $body:block) => {
        $crate::api!(@fn $name [$($m)*] $args $body);
    };
    (@one [$name:ident, $($more:ident),+] [$($m:tt)*] $args:tt $body:block) => {
        $crate::api!(@fn $name [$($m)*] $args $body);
        $crate::api!(@one [$($more),+] [$($m)*] $args $body);
    };
    (@fn $name:ident [$($m:tt)*] ($($a:ident : $t:ty),*) $body:block) => {
        $($m)*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            $crate::call(stringify!($name), || -> $crate::abi::Reply { $body })
        }
    };
}
use api;

/// What the build script made of the list of names.
mod names {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}
