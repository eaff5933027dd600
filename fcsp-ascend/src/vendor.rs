//! The vendor's type, and this process as the wrappers ask for it. Imports no other module that
//! imports this one.

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::process::Process;

use crate::ffi::acl::*;

/// Ascend's driver, as the rest of FCSP sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ascend;

/// A device that this process uses.
pub type AscendDevice = fcsp_hook::device::Device<Ascend>;
/// The entry of one live allocation.
pub type Record = fcsp_hook::memory::Record<Ascend>;

/// The binding: the types that decide for tenants on this vendor's devices.
impl Backend for Ascend {
    type Memory = fcsp_binding::Memory;
    type Limiter = fcsp_binding::Limiter;
    type Classifier = fcsp_binding::Classifier;
    type Processes = fcsp_binding::Processes;
}

impl Driver for Ascend {
    type Status = aclError;
    const SUCCESS: aclError = ACL_SUCCESS;
    const OUT_OF_MEMORY: aclError = ACL_ERROR_RT_MEMORY_ALLOCATION;
    const UNKNOWN: aclError = ACL_ERROR_FAILURE;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Ascend> = Process::new();
        &PROCESS
    }
}
