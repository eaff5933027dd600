//! The vendor's type, and this process as the wrappers ask for it. Imports no other module that
//! imports this one.

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::process::Process;
pub use fcsp_hook::setup::{Inside, SetupOnce, complain, logging, shielded};

use crate::ffi::cuda::*;

/// NVIDIA's driver.
#[derive(Debug, Clone, Copy)]
pub struct Cuda;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<Cuda>;
/// The target of a call in a memory wrapper.
pub type Scope = fcsp_hook::process::Scope<Cuda>;
/// The state of this process.
pub type Status = fcsp_hook::process::Status<Cuda>;
/// A tenant's process and its devices.
pub type Governed = fcsp_hook::process::Governed<Cuda>;
/// The entry of one live allocation.
pub type Record = fcsp_hook::memory::Record<Cuda>;

/// The binding: the types that decide for tenants on this vendor's devices.
impl Backend for Cuda {
    type Memory = fcsp_binding::Memory;
    type Limiter = fcsp_binding::Limiter;
    type Classifier = fcsp_binding::Classifier;
    type Processes = fcsp_binding::Processes;
}

impl Driver for Cuda {
    type Status = CUresult;
    const SUCCESS: CUresult = CUDA_SUCCESS;
    const OUT_OF_MEMORY: CUresult = CUDA_ERROR_OUT_OF_MEMORY;
    const UNKNOWN: CUresult = CUDA_ERROR_UNKNOWN;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Cuda> = Process::new();
        &PROCESS
    }
}

/// Returns the tenant's process, if this is one and the driver is initialised.
#[inline]
pub fn governed() -> Option<&'static Governed> {
    Cuda::process().governed()
}

/// Returns the scope of a call that concerns the current context's device.
#[inline]
pub fn scope() -> Scope {
    Cuda::process().scope()
}

/// Returns the same from inside a wrapper.
#[inline]
pub fn scope_inside(inside: &Inside) -> Scope {
    Cuda::process().scope_inside(inside)
}

/// Returns the same where the context does not matter: it may be 0.
#[inline]
pub fn scope_of_device(inside: &Inside) -> Scope {
    Cuda::process().scope_of_device(inside)
}

/// Returns the scope of a call that names its device.
pub fn scope_of(ordinal: CUdevice) -> Scope {
    Cuda::process().scope_of(ordinal)
}

/// Returns the true name of stream 0, which entry points of the per-thread kind take for another
/// stream.
#[inline]
pub(crate) fn named(stream: CUstream, per_thread: bool) -> usize {
    let named = match (stream.is_null(), per_thread) {
        (true, true) => CU_STREAM_PER_THREAD,
        (true, false) => CU_STREAM_LEGACY,
        _ => stream,
    };
    named as usize
}
