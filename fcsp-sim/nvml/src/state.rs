//! The machine that this library looks at, between initialisation and shutdown.

use crate::abi::{DRIVER_NOT_LOADED, INVALID_ARGUMENT, Reply, UNINITIALIZED};
use crate::variant::Variant;
use fcsp_sim::faults::check_environment;
use fcsp_sim::first::First;
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use std::sync::atomic::{AtomicU32, Ordering};

/// The devices and the shared state.
#[derive(Debug)]
pub struct Machine {
    /// The devices.
    pub topology: Topology,
    /// The shared state.
    pub region: Region,
    /// How this system's library differs from the plain one.
    pub variant: Variant,
}

static MACHINE: First<Option<Machine>> = First::new();
/// Initialisations without their shutdown.
static USERS: AtomicU32 = AtomicU32::new(0);

fn open() -> Option<Machine> {
    let fail = |text: String| crate::log(&text);
    check_environment(&["nvml"], crate::is_exported).ok()?;
    let variant = Variant::from_env()
        .inspect_err(|text| fcsp_sim::strict::say(text))
        .ok()?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string())).ok()?;
    let region = Region::open(&path_from_env(&topology), &topology)
        .map_err(|e| fail(e.to_string()))
        .ok()?;
    Some(Machine {
        topology,
        region,
        variant,
    })
}

/// Counts one more user of the library.
pub fn init() -> Reply {
    MACHINE.get_or(open).as_ref().ok_or(DRIVER_NOT_LOADED)?;
    // Relaxed, here and below: a count. The machine itself is published by its cell.
    USERS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Counts one user less.
pub fn shutdown() -> Reply {
    let less = |n: u32| n.checked_sub(1);
    USERS
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .map(|_| ())
        .map_err(|_| UNINITIALIZED)
}

/// Returns the machine, if the library is initialised.
pub fn machine() -> Reply<&'static Machine> {
    if USERS.load(Ordering::Relaxed) == 0 {
        return Err(UNINITIALIZED);
    }
    MACHINE.get().and_then(Option::as_ref).ok_or(UNINITIALIZED)
}

const TAG: u64 = 0x4e56_0000;

/// Returns a device's handle.
pub fn handle(index: usize) -> u64 {
    TAG | (index as u64 + 1) << 4
}

/// Returns the machine and the device of a handle.
pub fn device(handle: u64) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    let m = machine()?;
    let index = (handle ^ TAG) >> 4;
    let known = handle & !0xffff == TAG && handle & 0xf == 0 && index >= 1;
    let spec = known
        .then(|| m.topology.devices.get(index as usize - 1))
        .flatten();
    Ok((m, spec.ok_or(INVALID_ARGUMENT)?))
}
