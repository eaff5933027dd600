//! The simulated accelerator as `libamd_smi.so.26`.
//!
//! It reads the machine's state file and changes nothing in it. Every function that the real library exports is
//! exported; what is not defined in the rooms below answers `AMDSMI_STATUS_NOT_SUPPORTED`. As in the real library all
//! devices are listed, whatever `HIP_VISIBLE_DEVICES` says.

mod abi;
mod device;
mod process;
#[path = "../../rocm_smi/src/state.rs"]
mod state;
mod system;

use abi::{NOT_SUPPORTED, Reply};
use fcsp_sim::faults::{Faults, kill_self};
use std::sync::OnceLock;

static FAULTS: OnceLock<Faults> = OnceLock::new();

/// Writes a line to stderr if `FCSP_SIM_LOG` is set.
fn log(text: &str) {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {text}");
    }
}

/// Runs an exported function's body, with the faults asked for before and after it.
fn call(name: &str, body: impl FnOnce() -> Reply) -> i32 {
    let faults = FAULTS.get_or_init(|| {
        Faults::parse(&std::env::var("FCSP_SIM_FAULTS").unwrap_or_default()).unwrap_or_else(|e| {
            log(&e.to_string());
            Faults::default()
        })
    });
    if faults.is_empty() {
        return body().err().unwrap_or(0);
    }
    let verdict = faults.enter(name);
    if let Some(code) = verdict.code {
        return code;
    }
    let code = body().err().unwrap_or(0);
    if verdict.kill_after {
        kill_self();
    }
    code
}

fn unmodelled(name: &str) -> i32 {
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
