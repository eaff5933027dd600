//! The machine that this library looks at, between initialisation and shutdown.

use crate::abi::{INIT_ERROR, INVALID_ARGS, Reply};
use fcsp_sim::faults::check_environment;
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The devices and the shared state.
#[derive(Debug)]
pub struct Machine {
    /// The devices.
    pub topology: Topology,
    /// The shared state.
    pub region: Region,
}

static MACHINE: OnceLock<Option<Machine>> = OnceLock::new();
/// Initialisations without their shutdown.
static USERS: AtomicU32 = AtomicU32::new(0);

fn open() -> Option<Machine> {
    let fail = |text: String| crate::log(&text);
    check_environment(crate::PREFIXES, crate::is_exported).ok()?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string())).ok()?;
    let region = Region::open(&path_from_env(&topology), &topology)
        .map_err(|e| fail(e.to_string()))
        .ok()?;
    Some(Machine { topology, region })
}

/// Counts one more user of the library.
pub fn init() -> Reply {
    MACHINE.get_or_init(open).as_ref().ok_or(INIT_ERROR)?;
    // Relaxed, here and below: a count. The machine itself is published by its once-cell.
    USERS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Counts one user less.
pub fn shutdown() -> Reply {
    let less = |n: u32| n.checked_sub(1);
    USERS
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .map(|_| ())
        .map_err(|_| INIT_ERROR)
}

/// Returns the machine, if the library is initialised.
pub fn machine() -> Reply<&'static Machine> {
    if USERS.load(Ordering::Relaxed) == 0 {
        return Err(INIT_ERROR);
    }
    MACHINE.get().and_then(Option::as_ref).ok_or(INIT_ERROR)
}

/// Returns the machine and the device of an index. All devices are listed, whatever
/// `HIP_VISIBLE_DEVICES` says.
pub fn device(index: u32) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    let m = machine()?;
    let spec = m.topology.devices.get(index as usize).ok_or(INVALID_ARGS)?;
    Ok((m, spec))
}
