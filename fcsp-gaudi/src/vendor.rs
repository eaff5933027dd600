//! The vendor's type, and this process as the wrappers ask for it. Imports no other module that
//! imports this one.

use core::sync::atomic::{AtomicI32, Ordering};

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::process::Process;

use crate::ffi::synapse::*;

/// Gaudi's driver.
#[derive(Debug, Clone, Copy)]
pub struct Gaudi;

/// A card that this process uses.
pub type Device = fcsp_hook::device::Device<Gaudi>;
/// The entry of one live allocation.
pub type Record = fcsp_hook::memory::Record<Gaudi>;

/// The binding: the types that decide for tenants on this vendor's devices.
impl Backend for Gaudi {
    type Memory = fcsp_binding::Memory;
    type Limiter = fcsp_binding::Limiter;
    type Classifier = fcsp_binding::Classifier;
    type Processes = fcsp_binding::Processes;
}

impl Driver for Gaudi {
    type Status = synStatus;
    const SUCCESS: synStatus = synSuccess;
    const OUT_OF_MEMORY: synStatus = synFailedToAllocateDeviceMemory;
    const UNKNOWN: synStatus = synFail;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Gaudi> = Process::new();
        &PROCESS
    }
}

/// The number by which Synapse knows the one card that a process can have.
pub const DEVICE: synDeviceId = 0;

/// The card that this process has, by its number here; -1 for none.
static ACQUIRED: AtomicI32 = AtomicI32::new(-1);

/// Returns the card that this process has.
pub fn acquired() -> Option<i32> {
    // Acquire pairs with the Release in `set_acquired`.
    let ordinal = ACQUIRED.load(Ordering::Acquire);
    (ordinal >= 0).then_some(ordinal)
}

/// Says which card this process has; what it was before.
pub fn set_acquired(ordinal: Option<i32>) -> Option<i32> {
    let before = ACQUIRED.swap(ordinal.unwrap_or(-1), Ordering::AcqRel);
    (before >= 0).then_some(before)
}

/// Returns the number that stands for a card in the neutral crates' allocation table.
pub fn context(ordinal: i32) -> usize {
    ordinal as usize + 1
}
