//! What the neutral part asks of Gaudi's driver.

use core::convert::Infallible;
use core::sync::atomic::{AtomicI32, Ordering};

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::Device;
use fcsp_hook::memory::{Given, Record};
use fcsp_hook::process::Process;

use crate::ffi::synapse::*;
use crate::info::process_memory;
use crate::{device, events};

/// Gaudi's driver.
#[derive(Debug, Clone, Copy)]
pub struct Gaudi;

/// The number by which Synapse knows the one card that a process can have.
pub const DEVICE: synDeviceId = 0;

/// The card that this process has, by its number here; -1 for none.
static ACQUIRED: AtomicI32 = AtomicI32::new(-1);

/// The card that this process has.
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

impl Backend for Gaudi {
    type Status = synStatus;
    const SUCCESS: synStatus = synSuccess;
    const OUT_OF_MEMORY: synStatus = synFailedToAllocateDeviceMemory;
    const UNKNOWN: synStatus = synFail;
    type PerDevice = ();
    type Origin = Infallible;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Gaudi> = Process::new();
        &PROCESS
    }

    fn device_count() -> Option<i32> {
        i32::try_from(device::all()?.len()).ok()
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        Some(device::find(ordinal)?.identity)
    }

    fn total_memory(ordinal: i32) -> u64 {
        device::total_memory(ordinal)
    }

    fn per_device(_ordinal: i32) {}

    // The card at hand stands for a context.
    fn current_context() -> Option<usize> {
        Some(context(acquired()?))
    }

    fn device_of_current(context: usize) -> Option<i32> {
        i32::try_from(context - 1).ok()
    }

    const CONTEXT_ESTIMATE: u64 = device::CONTEXT_ESTIMATE;

    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        process_memory::of_this_process(device)
    }

    fn has_management() -> bool {
        true
    }

    fn free_by_driver(_device: &Device<Self>) -> Option<u64> {
        None
    }

    fn leaves(_record: &Record<Self>, origin: &Infallible) -> Given {
        match *origin {}
    }

    fn stays(_record: &Record<Self>, origin: &Infallible, _given: Given) {
        match *origin {}
    }

    fn forget_in_child() {
        ACQUIRED.store(-1, Ordering::Release);
    }

    // Who has the card has all of its time.
    const HOLDS_BACK: bool = false;
    // Nothing until it is measured on the card at hand (docs/assumptions.md).
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;
    type Beside = ();

    fn records(_queue: usize) -> bool {
        false
    }

    fn beside_recordings() {}

    fn event_context(_queue: usize) -> Option<usize> {
        Self::current_context()
    }

    fn create_event(_context: usize, timed: bool) -> Option<usize> {
        events::create(timed)
    }

    fn record_event(event: usize, queue: usize) -> bool {
        events::record(event, queue)
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

    fn kernel_name(_function: usize) -> Option<String> {
        None
    }
}

/// What stands for a card in the neutral part's books.
pub fn context(ordinal: i32) -> usize {
    ordinal as usize + 1
}
