//! The driver as the neutral part asks of it, and this process as the wrappers ask for it.

use core::ffi::c_void;

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::Listed;
use fcsp_hook::memory::{Given, graph, pieces, pool};
use fcsp_hook::process::Process;
use fcsp_hook::recordings::Question;
pub use fcsp_hook::setup::{Inside, SetupOnce, complain, logging, shielded};

use crate::device::{self, PerDevice};
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::info::process_memory;
use crate::launch::{BesideCaptures, copies};
use crate::memory;
use crate::memory::graph::{GRAPHS, is_capturing};
use crate::memory::pool::POOLS;
use crate::memory::vmm::PHYSICAL;
use crate::{call_real, events};

/// NVIDIA's driver.
#[derive(Debug, Clone, Copy)]
pub struct Cuda;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<Cuda>;
/// What a memory wrapper is to do.
pub type Scope = fcsp_hook::process::Scope<Cuda>;
/// What this process is to FCSP.
pub type Status = fcsp_hook::process::Status<Cuda>;
/// A tenant's process and its devices.
pub type Governed = fcsp_hook::process::Governed<Cuda>;
/// What is known of one live allocation.
pub type Record = fcsp_hook::memory::Record<Cuda>;

impl Backend for Cuda {
    type Status = CUresult;
    const SUCCESS: CUresult = CUDA_SUCCESS;
    const OUT_OF_MEMORY: CUresult = CUDA_ERROR_OUT_OF_MEMORY;
    const UNKNOWN: CUresult = CUDA_ERROR_UNKNOWN;

    type PerDevice = PerDevice;
    type Origin = memory::Origin;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Cuda> = Process::new();
        &PROCESS
    }

    fn device_count() -> Option<i32> {
        device::count()
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        device::identify(ordinal)
    }

    fn total_memory(ordinal: i32) -> u64 {
        device::total_memory(ordinal)
    }

    fn per_device(ordinal: i32) -> PerDevice {
        PerDevice::of(ordinal)
    }

    #[inline]
    fn current_context() -> Option<usize> {
        let mut context: CUcontext = core::ptr::null_mut();
        // SAFETY: writes one pointer that outlives the call.
        let result = unsafe { real::cuCtxGetCurrent.get()?(&mut context) };
        (result == CUDA_SUCCESS && !context.is_null()).then_some(context as usize)
    }

    fn device_of_current(_context: usize) -> Option<i32> {
        let mut device = -1;
        // SAFETY: writes one integer that outlives the call.
        let result = unsafe { real::cuCtxGetDevice.get()?(&mut device) };
        (result == CUDA_SUCCESS).then_some(device)
    }

    const CONTEXT_ESTIMATE: u64 = device::CONTEXT_ESTIMATE;

    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        process_memory::of_this_process(device)
    }

    fn has_management() -> bool {
        process_memory::is_there()
    }

    const LISTS: bool = true;

    fn listed(device: &DeviceIdentity) -> Option<Vec<Listed>> {
        process_memory::processes(device)
    }

    fn with_block(_device: &Device, context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
        memory::with_block(context, bytes, look)
    }

    fn free_by_driver(_device: &Device) -> Option<u64> {
        let (mut free, mut total) = (0usize, 0usize);
        (call_real!(cuMemGetInfo_v2(&mut free, &mut total)) == CUDA_SUCCESS).then_some(free as u64)
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        process_memory::free(device)
    }

    fn of_nobody(device: &DeviceIdentity) -> Option<u64> {
        process_memory::of_nobody(device)
    }

    fn refresh(device: &Device) {
        if POOLS.any() || GRAPHS.any() {
            let change = device.change();
            Self::settle_pools(device);
            drop(change);
        }
        PHYSICAL.refresh(device);
    }

    fn settle_pools(device: &Device) {
        if POOLS.any() {
            pool::refresh(device);
        }
        if GRAPHS.any() {
            graph::settle(device, 0);
        }
    }

    fn reclaim(device: &Device) -> bool {
        pool::reclaim(device)
    }

    fn leaves(_record: &Record, origin: &memory::Origin) -> Given {
        match origin {
            // The physical memory has books of its own.
            memory::Origin::Sparse(_) => Given::NOTHING,
        }
    }

    fn context_died(context: usize) {
        pieces::context_died::<Self>(context);
    }

    #[inline]
    fn freed_unknown() {
        POOLS.freed();
    }

    fn forget_in_child() {
        memory::forget_everything();
    }

    const BUSY_BRACKET_NS: u64 = events::BUSY_BRACKET_NS;
    const EMPTY_BRACKET_NS: u64 = events::EMPTY_BRACKET_NS;
    const IDLE_BRACKET_NS: u64 = events::IDLE_BRACKET_NS;

    #[inline]
    fn is_recording() -> bool {
        GRAPHS.recordings().any()
    }

    fn records(stream: usize) -> bool {
        is_capturing(stream as CUstream)
    }

    type Beside = Question<BesideCaptures>;

    fn beside_recordings() -> Self::Beside {
        GRAPHS.recordings().ask(BesideCaptures::begin)
    }

    fn is_pageable(memory: *const c_void) -> bool {
        copies::is_pageable(memory)
    }

    fn event_context(_stream: usize) -> Option<usize> {
        Self::current_context()
    }

    fn create_event(_context: usize, timed: bool) -> Option<usize> {
        events::create(timed)
    }

    fn record_event(event: usize, stream: usize) -> bool {
        events::record(event, stream)
    }

    fn destroy_event(event: usize) {
        events::destroy(event);
    }

    fn event_progress(event: usize) -> Progress {
        events::progress(event)
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        events::elapsed_ns(first, second)
    }

    fn kernel_name(function: usize) -> Option<String> {
        events::kernel_name(function)
    }

    #[inline]
    fn after_synchronisation() {
        pool::after_synchronisation::<Self>();
    }
}

/// The governed process, if it is one and the driver is initialised.
#[inline]
pub fn governed() -> Option<&'static Governed> {
    Cuda::process().governed()
}

/// The scope of a call that concerns the current context's device.
#[inline]
pub fn scope() -> Scope {
    Cuda::process().scope()
}

/// The same, from inside a wrapper.
#[inline]
pub fn scope_inside(inside: &Inside) -> Scope {
    Cuda::process().scope_inside(inside)
}

/// The same where the context does not matter: it may be 0.
#[inline]
pub fn scope_of_device(inside: &Inside) -> Scope {
    Cuda::process().scope_of_device(inside)
}

/// The scope of a call that names its device.
pub fn scope_of(ordinal: CUdevice) -> Scope {
    Cuda::process().scope_of(ordinal)
}
