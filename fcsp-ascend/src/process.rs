//! What the other rooms ask of Ascend's driver.

use core::convert::Infallible;

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::{Device, Listed};
use fcsp_hook::memory::{Given, Record};
use fcsp_hook::process::Process;
use fcsp_hook::recordings::Question;

use crate::call_real;
use crate::ffi::acl::*;
use crate::info::process_memory;
use crate::{collective, context, cores, device, events, launch, memory, recording};

/// Ascend's driver, as the rest of FCSP sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ascend;

/// A device that this process uses.
pub type AscendDevice = Device<Ascend>;

impl Backend for Ascend {
    type Status = aclError;
    const SUCCESS: aclError = ACL_SUCCESS;
    const OUT_OF_MEMORY: aclError = ACL_ERROR_RT_MEMORY_ALLOCATION;
    const UNKNOWN: aclError = ACL_ERROR_FAILURE;
    type PerDevice = ();
    type Origin = Infallible;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Ascend> = Process::new();
        &PROCESS
    }

    fn check_settings() -> Result<(), String> {
        cores::setting().map(drop)
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

    fn per_device(_ordinal: i32) {}

    fn current_context() -> Option<usize> {
        let mut context = core::ptr::null_mut();
        (call_real!(aclrtGetCurrentContext(&mut context)) == ACL_SUCCESS && !context.is_null())
            .then_some(context as usize)
    }

    fn device_of_current(_context: usize) -> Option<i32> {
        let mut device = -1;
        (call_real!(aclrtGetDevice(&mut device)) == ACL_SUCCESS).then_some(device)
    }

    const CONTEXT_ESTIMATE: u64 = device::CONTEXT_ESTIMATE;

    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        process_memory::of_this_process(device::ordinal(device)?)
    }

    const LISTS: bool = true;

    fn listed(device: &DeviceIdentity) -> Option<Vec<Listed>> {
        process_memory::listed(device::ordinal(device)?)
    }

    fn with_block(
        device: &AscendDevice,
        _context: usize,
        bytes: u64,
        look: &mut dyn FnMut(),
    ) -> bool {
        memory::with_block(device.ordinal, bytes, look)
    }

    fn has_management() -> bool {
        process_memory::is_there()
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        let (total, used) = process_memory::of_chip(device::ordinal(device)?)?;
        Some(total.saturating_sub(used))
    }

    fn free_by_driver(_device: &AscendDevice) -> Option<u64> {
        let (mut free, mut total) = (0usize, 0usize);
        (call_real!(aclrtGetMemInfo(ACL_HBM_MEM, &mut free, &mut total)) == ACL_SUCCESS)
            .then_some(free as u64)
    }

    fn leaves(_record: &Record<Self>, origin: &Infallible) -> Given {
        match *origin {}
    }

    fn stays(_record: &Record<Self>, origin: &Infallible, _given: Given) {
        match *origin {}
    }

    fn forget_in_child() {
        memory::vmm::PHYSICAL.forget_in_child();
        context::forget_everything();
        recording::RECORDINGS.forget_in_child();
    }

    /// Nothing until it is measured on the device at hand: a launch until then costs a little more
    /// than it should (docs/assumptions.md).
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;

    #[inline]
    fn is_recording() -> bool {
        recording::RECORDINGS.any()
    }

    fn records(queue: usize) -> bool {
        recording::on(queue)
    }

    type Beside = Question<recording::BesideCaptures>;

    fn beside_recordings() -> Self::Beside {
        recording::RECORDINGS.ask(recording::BesideCaptures::begin)
    }

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

    fn kernel_name(function: usize) -> Option<String> {
        collective::name_of(function).or_else(|| launch::name_of(function))
    }
}
