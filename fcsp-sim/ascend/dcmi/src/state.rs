//! The machine that this library looks at, from its initialisation on.

use crate::{INVALID_DEVICE_ID, NOT_READY, Reply, api};
use fcsp_sim::faults::check_environment;
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use std::sync::OnceLock;

/// The devices and the shared state.
#[derive(Debug)]
pub struct Machine {
    /// The devices.
    pub topology: Topology,
    /// The shared state.
    pub region: Region,
}

static MACHINE: OnceLock<Option<Machine>> = OnceLock::new();

fn open() -> Option<Machine> {
    let fail = |text: String| crate::log(&text);
    // There is no list of this library's names to compare with.
    check_environment(&["dcmi_"], |_| true).ok()?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string())).ok()?;
    let region = Region::open(&path_from_env(&topology), &topology)
        .map_err(|e| fail(e.to_string()))
        .ok()?;
    Some(Machine { topology, region })
}

/// Returns the machine, if the library is initialised.
pub fn machine() -> Reply<&'static Machine> {
    MACHINE.get().and_then(Option::as_ref).ok_or(NOT_READY)
}

/// Returns the machine and a card's chip.
pub fn chip(card: i32, device: i32) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    let m = machine()?;
    let spec = usize::try_from(card)
        .ok()
        .and_then(|i| m.topology.devices.get(i));
    match spec {
        Some(spec) if device == 0 => Ok((m, spec)),
        _ => Err(INVALID_DEVICE_ID),
    }
}

api! {
    fn dcmi_init() {
        MACHINE.get_or_init(open).as_ref().map(|_| ()).ok_or(NOT_READY)
    }
}
