//! The driver as the neutral part asks of it, and this process as the wrappers ask for it.

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::Listed;
use fcsp_hook::memory::Given;
use fcsp_hook::process::{Process, Status};
pub use fcsp_hook::setup::{Inside, complain, shielded};

use crate::ffi::ze::*;
use crate::info::process_memory;
use crate::{call_real, context, device, events, memory, queues};

/// Whatever driver the loader has loaded.
#[derive(Debug, Clone, Copy)]
pub struct LevelZero;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<LevelZero>;
/// What a memory wrapper is to do.
pub type Scope = fcsp_hook::process::Scope<LevelZero>;
/// What is known of one live allocation.
pub type Record = fcsp_hook::memory::Record<LevelZero>;

/// This process.
#[inline]
pub fn process() -> &'static Process<LevelZero> {
    LevelZero::process()
}

/// The scope of a call that names its device. What is no device is the driver's to refuse; a device
/// that we have never heard of has no account, and its memory fails closed.
#[inline]
pub fn scope_of(device: ze_device_handle_t) -> Scope {
    let governed = match process().status() {
        Some(Status::Governed(governed)) => governed,
        Some(Status::Broken(_)) => return Scope::Refuse,
        _ => return Scope::Pass,
    };
    match device::by_handle(device) {
        Some(known) => match governed.device(known.ordinal) {
            Some(device) => Scope::On(device, 0),
            None => Scope::Refuse,
        },
        None if device::is_one(device as usize) => Scope::Refuse,
        None => Scope::Pass,
    }
}

impl Backend for LevelZero {
    type Status = ze_result_t;
    const SUCCESS: ze_result_t = ZE_RESULT_SUCCESS;
    const OUT_OF_MEMORY: ze_result_t = ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
    const UNKNOWN: ze_result_t = ZE_RESULT_ERROR_UNKNOWN;

    type PerDevice = ();
    type Origin = core::convert::Infallible;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<LevelZero> = Process::new();
        &PROCESS
    }

    fn device_count() -> Option<i32> {
        device::count()
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        device::by_ordinal(ordinal).map(|known| known.identity)
    }

    fn total_memory(ordinal: i32) -> u64 {
        device::by_ordinal(ordinal).map_or(0, |known| known.total)
    }

    fn per_device(_ordinal: i32) {}

    /// No context is current here: calls name theirs, and their device.
    #[inline]
    fn current_context() -> Option<usize> {
        None
    }

    fn device_of_current(_context: usize) -> Option<i32> {
        None
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
        process_memory::listed(device)
    }

    fn with_block(device: &Device, context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
        memory::with_block(device, context, bytes, look)
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        process_memory::free(device)
    }

    /// The core API does not tell free memory.
    fn free_by_driver(_device: &Device) -> Option<u64> {
        None
    }

    fn leaves(_record: &Record, origin: &core::convert::Infallible) -> Given {
        match *origin {}
    }

    fn stays(_record: &Record, origin: &core::convert::Infallible, _given: Given) {
        match *origin {}
    }

    fn forget_in_child() {
        device::forget_in_child();
        memory::vmm::PHYSICAL.forget_in_child();
        queues::forget_in_child();
        context::forget_in_child();
        process_memory::forget_in_child();
    }

    // What two barriers add, until that is measured on the device at hand. Not measured beforehand,
    // for want of one (docs/assumptions.md); timestamps are the device's own and tick every 52 ns.
    const BUSY_BRACKET_NS: u64 = 1_000;
    const IDLE_BRACKET_NS: u64 = 1_000;

    /// Lists are recorded without the driver's minding anything.
    type Beside = ();
    fn beside_recordings() {}

    fn event_context(queue: usize) -> Option<usize> {
        queues::context_of(queue)
    }

    fn create_event(context: usize, timed: bool) -> Option<usize> {
        events::create(context, timed)
    }

    fn record_event(event: usize, queue: usize) -> bool {
        events::record(event, queue)
    }

    fn destroy_event(event: usize) {
        events::destroy(event);
    }

    /// Several threads may execute lists on a command queue; a list belongs to one thread at a
    /// time, which may not be the one that waits for it.
    fn marks_while_waiting(queue: usize) -> bool {
        queues::lane(queue).is_some_and(|lane| !lane.immediate)
    }

    const QUEUES_END_IDLE: bool = true;

    fn event_progress(event: usize) -> Progress {
        events::progress(event)
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        events::elapsed_ns(first, second)
    }

    fn kernel_name(function: usize) -> Option<String> {
        let kernel = function as ze_kernel_handle_t;
        let mut size = 0usize;
        if call_real!(zeKernelGetName(kernel, &mut size, core::ptr::null_mut()))
            != ZE_RESULT_SUCCESS
            || size == 0
        {
            return None;
        }
        let mut text = vec![0u8; size];
        let result = call_real!(zeKernelGetName(kernel, &mut size, text.as_mut_ptr().cast()));
        if result != ZE_RESULT_SUCCESS {
            return None;
        }
        let end = text
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(text.len());
        String::from_utf8(text[..end].to_vec()).ok()
    }
}
