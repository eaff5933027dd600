//! The vendor's type, and this process as the wrappers ask for it. Imports no other module that
//! imports this one.

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::process::Process;
pub use fcsp_hook::setup::{Reentry, SetupOnce, catch_panic, log_refusal, logging};

use crate::ffi::cuda::*;

/// NVIDIA's driver.
#[derive(Debug, Clone, Copy)]
pub struct Cuda;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<Cuda>;
/// The target of a call in a memory wrapper.
pub type Target = fcsp_hook::process::Target<Cuda>;
/// The state of this process.
pub type Status = fcsp_hook::process::Status<Cuda>;
/// A tenant's process and its devices.
pub type Managed = fcsp_hook::process::Managed<Cuda>;
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
pub fn governed() -> Option<&'static Managed> {
    Cuda::process().governed()
}

/// Returns the target of a call that concerns the current context's device.
#[inline]
pub fn target() -> Target {
    Cuda::process().target()
}

/// Returns the same from inside a wrapper.
#[inline]
pub fn target_inside(inside: &Reentry) -> Target {
    Cuda::process().target_inside(inside)
}

/// Returns the same where the context does not matter: it may be 0.
#[inline]
pub fn target_of_device(inside: &Reentry) -> Target {
    Cuda::process().target_of_device(inside)
}

/// Returns the target of a call that names its device.
pub fn target_of(ordinal: CUdevice) -> Target {
    Cuda::process().target_of(ordinal)
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
