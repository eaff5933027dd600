//! The simulated accelerator as `librocm_smi64.so.7`.
//!
//! It reads the machine's state file and changes nothing in it. Every function that the real
//! library exports is exported; a function that no module below defines answers
//! `RSMI_STATUS_NOT_SUPPORTED`. As in the real library all devices are listed, whatever
//! `HIP_VISIBLE_DEVICES` says.

mod abi;
mod device;
mod process;
mod state;
mod system;

use abi::NOT_SUPPORTED;
use fcsp_sim::export::{call, log};

/// Prefixes of the names of this library's functions.
const PREFIXES: &[&str] = &["rsmi_"];

/// Returns true if this library exports a function.
fn is_exported(name: &str) -> bool {
    include_str!("../symbols.txt")
        .lines()
        .any(|line| line == name)
}

fn unmodelled(name: &'static str) -> i32 {
    call(name, || {
        state::machine()?;
        Err(NOT_SUPPORTED)
    })
}

/// Exports functions; see [`fcsp_sim::exported_functions`].
macro_rules! api {
    ($($functions:tt)*) => {
        fcsp_sim::exported_functions!([$crate::call] [$crate::abi::Reply] $($functions)*);
    };
}
use api;

/// Code that the build script made from the list of names.
mod names {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}
