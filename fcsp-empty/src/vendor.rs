//! The vendor's type, and the state of this process. Imports no other module that imports this one.

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::process::Process;

use crate::ffi::*;

/// The driver of a vendor that does not exist.
#[derive(Debug, Clone, Copy)]
pub struct Empty;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<Empty>;
/// The entry of one live allocation.
pub type Record = fcsp_hook::memory::Record<Empty>;

/// The binding: the types that decide for tenants on this vendor's devices.
impl Backend for Empty {
    type Memory = fcsp_binding::Memory;
    type Limiter = fcsp_binding::Limiter;
    type Classifier = fcsp_binding::Classifier;
    type Processes = fcsp_binding::Processes;
}

impl Driver for Empty {
    type Status = emptyStatus;
    const SUCCESS: emptyStatus = EMPTY_SUCCESS;
    const OUT_OF_MEMORY: emptyStatus = EMPTY_OUT_OF_MEMORY;
    const UNKNOWN: emptyStatus = EMPTY_UNKNOWN;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Empty> = Process::new();
        &PROCESS
    }
}
