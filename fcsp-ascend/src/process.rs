//! What the other rooms ask of Ascend's driver.

use core::convert::Infallible;

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::Device;
use fcsp_hook::memory::{Given, Record};
use fcsp_hook::process::Process;

use crate::call_real;
use crate::ffi::acl::*;
use crate::info::process_memory;
use crate::{collective, context, cores, launch, memory, recording};

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
        let mut count = 0;
        if call_real!(aclrtGetDeviceCount(&mut count)) != ACL_SUCCESS {
            return None;
        }
        i32::try_from(count).ok()
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        let mut uuid = aclrtUuid::zeroed();
        let bytes = if call_real!(aclrtDeviceGetUuid(ordinal, &mut uuid)) == ACL_SUCCESS {
            uuid.bytes.map(|b| b.cast_unsigned())
        } else {
            // Versions of CANN that cannot say: the virtual die's number is as good.
            process_memory::die(ordinal)?
        };
        Some(DeviceIdentity {
            index: Some(u32::try_from(ordinal).ok()?),
            uuid: DeviceUuid(bytes),
            pci: None,
        })
    }

    fn total_memory(ordinal: i32) -> u64 {
        let mut total = 0i64;
        let asked = u32::try_from(ordinal).unwrap_or(u32::MAX);
        if call_real!(aclrtGetDeviceInfo(
            asked,
            ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE,
            &mut total
        )) == ACL_SUCCESS
        {
            return u64::try_from(total).unwrap_or(0);
        }
        process_memory::of_chip(ordinal).map_or(0, |(total, _)| total)
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

    /// Not measured, for want of a device (docs/assumptions.md). What HCCL and operators take besides comes by calls that are counted.
    const CONTEXT_ESTIMATE: u64 = 256 << 20;

    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        process_memory::of_this_process(ordinal(device)?)
    }

    fn has_management() -> bool {
        process_memory::is_there()
    }

    fn free_if_unseen(device: &DeviceIdentity) -> Option<u64> {
        if fcsp_hook::info::sees_own_numbers() {
            return None;
        }
        let (total, used) = process_memory::of_chip(ordinal(device)?)?;
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
        recording::forget_everything();
    }

    /// Nothing until it is measured on the device at hand: a launch until then costs a little more than it should
    /// (docs/assumptions.md).
    const BUSY_BRACKET_NS: u64 = 0;
    const IDLE_BRACKET_NS: u64 = 0;

    #[inline]
    fn is_recording() -> bool {
        recording::any()
    }

    fn records(queue: usize) -> bool {
        recording::on(queue)
    }

    type Beside = Option<recording::BesideCaptures>;

    fn beside_recordings() -> Self::Beside {
        recording::beside_captures()
    }

    fn event_context(_queue: usize) -> Option<usize> {
        Self::current_context()
    }

    fn create_event(_context: usize, timed: bool) -> Option<usize> {
        let mut event = core::ptr::null_mut();
        let flags = if timed {
            ACL_EVENT_TIME_LINE | ACL_EVENT_CAPTURE_STREAM_PROGRESS
        } else {
            ACL_EVENT_CAPTURE_STREAM_PROGRESS
        };
        (call_real!(aclrtCreateEventExWithFlag(&mut event, flags)) == ACL_SUCCESS).then_some(event as usize)
    }

    fn record_event(event: usize, queue: usize) -> bool {
        call_real!(aclrtRecordEvent(event as aclrtEvent, queue as aclrtStream)) == ACL_SUCCESS
    }

    fn event_progress(event: usize) -> Progress {
        let mut status = 0;
        if call_real!(aclrtQueryEventStatus(event as aclrtEvent, &mut status)) != ACL_SUCCESS {
            Progress::Failed
        } else if status == ACL_EVENT_RECORDED_STATUS_COMPLETE {
            Progress::Done
        } else {
            Progress::Pending
        }
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        let mut ms = 0f32;
        let result = call_real!(aclrtEventElapsedTime(
            &mut ms,
            first as aclrtEvent,
            second as aclrtEvent
        ));
        (result == ACL_SUCCESS && ms >= 0.0).then_some((f64::from(ms) * 1e6) as u64)
    }

    fn kernel_name(function: usize) -> Option<String> {
        collective::name_of(function).or_else(|| launch::name_of(function))
    }
}

/// The number in this process of a device that it has identified.
fn ordinal(device: &DeviceIdentity) -> Option<i32> {
    device.index.and_then(|index| i32::try_from(index).ok())
}
