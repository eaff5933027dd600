//! Events of our own: a place in a queue that can be asked after, with a time if it is to be told.
//!
//! An event is signalled by a barrier, which the driver gives the times of its passing; a bare
//! signal has none. On a command queue the barrier lies in a list of its own, one for each group of
//! queues.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fcsp_hook::backend::{EventTiming, Progress};

use crate::call_real;
use crate::device;
use crate::ffi::ze::*;
use crate::queues::{self, Place};
use crate::vendor::LevelZero;

/// One event, used again and again until its context ends.
#[derive(Debug)]
struct Event {
    handle: usize,
    pool: usize,
    context: usize,
    /// True if a barrier that signals it was submitted since it was last reset.
    submitted: AtomicBool,
    /// The device where it was recorded last.
    device: AtomicUsize,
    /// Lists with a barrier that signals it: the device, the group and the list.
    lists: Mutex<Vec<(usize, u32, usize)>>,
}

fn known(event: usize) -> &'static Event {
    // SAFETY: only ever made by `create_event`, and there until `destroy_event`, which is called
    // for events that nobody else has.
    unsafe { &*(event as *const Event) }
}

/// Makes a closed list with one barrier that signals the event.
fn make_list(event: &Event, place: &Place) -> Option<usize> {
    let mut desc = ze_command_list_desc_t::zeroed();
    desc.stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC;
    desc.commandQueueGroupOrdinal = place.group;
    let mut list = core::ptr::null_mut();
    if call_real!(zeCommandListCreate(
        place.context as ze_context_handle_t,
        place.device as ze_device_handle_t,
        &desc,
        &mut list
    )) != ZE_RESULT_SUCCESS
    {
        return None;
    }
    let filled = call_real!(zeCommandListAppendBarrier(
        list,
        event.handle as ze_event_handle_t,
        0,
        core::ptr::null_mut()
    )) == ZE_RESULT_SUCCESS
        && call_real!(zeCommandListClose(list)) == ZE_RESULT_SUCCESS;
    if !filled {
        call_real!(zeCommandListDestroy(list));
        return None;
    }
    Some(list as usize)
}

fn submit(event: &Event, queue: usize) -> bool {
    let Some(place) = queues::place(queue).filter(|place| place.context == event.context) else {
        return false;
    };
    let handle = event.handle as ze_event_handle_t;
    if call_real!(zeEventHostReset(handle)) != ZE_RESULT_SUCCESS {
        return false;
    }
    // Relaxed: read long after, by the thread that has seen the event pass.
    event.device.store(place.device, Ordering::Relaxed);
    if place.immediate {
        return call_real!(zeCommandListAppendBarrier(
            queue as ze_command_list_handle_t,
            handle,
            0,
            core::ptr::null_mut()
        )) == ZE_RESULT_SUCCESS;
    }
    let list = {
        let mut lists = event.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = lists
            .iter()
            .find(|(device, group, _)| (*device, *group) == (place.device, place.group));
        match fits {
            Some((_, _, list)) => *list,
            None => {
                let Some(list) = make_list(event, &place) else {
                    return false;
                };
                lists.push((place.device, place.group, list));
                list
            }
        }
    };
    let mut list = list as ze_command_list_handle_t;
    call_real!(zeCommandQueueExecuteCommandLists(
        queue as ze_command_queue_handle_t,
        1,
        &mut list,
        core::ptr::null_mut()
    )) == ZE_RESULT_SUCCESS
}

/// Returns the instant at which the device passed it, in ticks.
fn passed(event: &Event) -> Option<u64> {
    let mut times = ze_kernel_timestamp_result_t::zeroed();
    let result = call_real!(zeEventQueryKernelTimestamp(
        event.handle as ze_event_handle_t,
        &mut times
    ));
    (result == ZE_RESULT_SUCCESS).then_some(times.global.kernelEnd)
}

/// Returns the nanoseconds from `first` to `second`, in ticks of which `bits` bits count. The
/// counter may have wrapped in between.
fn span_ns(first: u64, second: u64, bits: u32, ticks_a_second: u64) -> Option<u64> {
    let mask = if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    };
    let ticks = second.wrapping_sub(first) & mask;
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_a_second.max(1));
    // More than half the counter's range is a second event that came before the first.
    (ticks <= mask / 2).then(|| u64::try_from(ns).ok())?
}

impl EventTiming for LevelZero {
    // Of two barriers, until that is measured on the device at hand. Not measured beforehand, for
    // want of one (docs/assumptions.md); timestamps are the device's own and tick every 52 ns.
    const BUSY_BRACKET_NS: u64 = 1_000;
    const IDLE_BRACKET_NS: u64 = 1_000;
    const QUEUES_END_IDLE: bool = true;

    fn event_context(queue: usize) -> Option<usize> {
        queues::context_of(queue)
    }

    fn create_event(context: usize, timed: bool) -> Option<usize> {
        let mut pool_desc = ze_event_pool_desc_t::zeroed();
        pool_desc.stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC;
        pool_desc.count = 1;
        pool_desc.flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE;
        if timed {
            pool_desc.flags |= ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP;
        }
        let mut pool = core::ptr::null_mut();
        // No devices named: all of the context's.
        if call_real!(zeEventPoolCreate(
            context as ze_context_handle_t,
            &pool_desc,
            0,
            core::ptr::null_mut(),
            &mut pool
        )) != ZE_RESULT_SUCCESS
        {
            return None;
        }
        let mut desc = ze_event_desc_t::zeroed();
        desc.stype = ZE_STRUCTURE_TYPE_EVENT_DESC;
        let mut handle = core::ptr::null_mut();
        if call_real!(zeEventCreate(pool, &desc, &mut handle)) != ZE_RESULT_SUCCESS {
            call_real!(zeEventPoolDestroy(pool));
            return None;
        }
        let event = Box::leak(Box::new(Event {
            handle: handle as usize,
            pool: pool as usize,
            context,
            submitted: AtomicBool::new(false),
            device: AtomicUsize::new(0),
            lists: Mutex::default(),
        }));
        Some(core::ptr::from_ref::<Event>(event) as usize)
    }

    /// Records the event on a queue or an immediate list.
    fn record_event(event: usize, queue: usize) -> bool {
        let event = known(event);
        let done = submit(event, queue);
        // Relaxed: read by the thread that takes the event out of every list.
        event.submitted.store(done, Ordering::Relaxed);
        done
    }

    /// Ends an event, with its pool and its lists: the API wants them destroyed before their
    /// context. One that the device has yet to pass is left to the driver: that can only be where
    /// the program destroys what is still at work.
    fn destroy_event(event: usize) {
        if known(event).submitted.load(Ordering::Relaxed)
            && Self::event_progress(event) == Progress::Pending
        {
            return;
        }
        // SAFETY: made by `create_event` from a box, and in no list any more, so this is its only
        // user.
        let event = unsafe { Box::from_raw(event as *mut Event) };
        let lists = event
            .lists
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for (_, _, list) in lists {
            call_real!(zeCommandListDestroy(list as ze_command_list_handle_t));
        }
        call_real!(zeEventDestroy(event.handle as ze_event_handle_t));
        call_real!(zeEventPoolDestroy(event.pool as ze_event_pool_handle_t));
    }

    /// Returns false for a list. Several threads may execute lists on a command queue; a list
    /// belongs to one thread at a time, which may not be the thread that waits for it.
    fn marks_while_waiting(queue: usize) -> bool {
        queues::lane(queue).is_some_and(|lane| !lane.immediate)
    }

    fn event_progress(event: usize) -> Progress {
        match call_real!(zeEventQueryStatus(known(event).handle as ze_event_handle_t)) {
            ZE_RESULT_SUCCESS => Progress::Done,
            ZE_RESULT_NOT_READY => Progress::Pending,
            _ => Progress::Failed,
        }
    }

    fn elapsed_ns(first: usize, second: usize) -> Option<u64> {
        let (first, second) = (known(first), known(second));
        let on = second.device.load(Ordering::Relaxed);
        if on != first.device.load(Ordering::Relaxed) {
            return None;
        }
        let device = device::by_handle(on as ze_device_handle_t)?;
        span_ns(
            passed(first)?,
            passed(second)?,
            device.timestamp_bits,
            device.ticks_a_second,
        )
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

#[cfg(test)]
mod tests {
    use super::span_ns;

    #[test]
    fn spans_survive_a_wrap_and_refuse_what_runs_backwards() {
        assert_eq!(span_ns(10, 10 + 19_200, 32, 19_200_000), Some(1_000_000));
        assert_eq!(span_ns(0xffff_ff00, 0x100, 32, 19_200_000), Some(26_666));
        assert_eq!(span_ns(500, 100, 32, 19_200_000), None);
        assert_eq!(span_ns(0, 1, 64, 1_000_000_000), Some(1));
    }
}
