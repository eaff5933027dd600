//! The vendor's type, and this process as the wrappers ask for it. Imports no other module that
//! imports this one.

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::process::Process;
pub use fcsp_hook::setup::{Reentry, catch_panic, log_refusal};

use crate::ffi::ze::*;

/// Whatever driver the loader has loaded.
#[derive(Debug, Clone, Copy)]
pub struct LevelZero;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<LevelZero>;
/// The target of a call in a memory wrapper.
pub type Target = fcsp_hook::process::Target<LevelZero>;
/// A tenant's process and its devices.
pub type Managed = fcsp_hook::process::Managed<LevelZero>;
/// The entry of one live allocation.
pub type Record = fcsp_hook::memory::Record<LevelZero>;

/// Returns this process.
#[inline]
pub fn process() -> &'static Process<LevelZero> {
    LevelZero::process()
}

/// The binding: the types that decide for tenants on this vendor's devices.
impl Backend for LevelZero {
    type Memory = fcsp_binding::Memory;
    type Limiter = fcsp_binding::Limiter;
    type Classifier = fcsp_binding::Classifier;
    type Processes = fcsp_binding::Processes;
}

impl Driver for LevelZero {
    type Status = ze_result_t;
    const SUCCESS: ze_result_t = ZE_RESULT_SUCCESS;
    const OUT_OF_MEMORY: ze_result_t = ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
    const UNKNOWN: ze_result_t = ZE_RESULT_ERROR_UNKNOWN;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<LevelZero> = Process::new();
        &PROCESS
    }
}
