//! Which queue and which list belongs to which device, and what kind it is: launches name nothing else.
//!
//! A fixed table of words, read without a lock, because launches read it; and a map of the rest, for whoever makes events.

use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fcsp_hook::setup::SetupOnce;

use crate::call_real;
use crate::context;
use crate::device;
use crate::ffi::ze::*;
use crate::process::{Inside, LevelZero, Scope, scope_of, shielded};

/// What a launch must know of a queue or list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The device's ordinal.
    pub ordinal: i32,
    /// Whether what is appended runs at once.
    pub immediate: bool,
    /// Whether it only copies.
    pub copies: bool,
}

/// What else is known: enough to make events for it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The context's handle.
    pub context: usize,
    /// The device's handle.
    pub device: usize,
    /// The queue group.
    pub group: u32,
    /// Whether commands can be appended to it; otherwise lists are executed on it.
    pub immediate: bool,
}

const SLOTS: usize = 8_192;
const PROBES: usize = 64;
/// A slot that held a handle which is gone. No handle is odd.
const GONE: usize = 1;

struct Slot {
    handle: AtomicUsize,
    /// A [`Lane`], packed.
    lane: AtomicU64,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        handle: AtomicUsize::new(0),
        lane: AtomicU64::new(0),
    }
}; SLOTS];

type Places = Mutex<HashMap<usize, (Place, Lane)>>;
static PLACES: AtomicPtr<Places> = AtomicPtr::new(core::ptr::null_mut());

fn places() -> &'static Places {
    // Acquire: made before its address was published.
    let known = PLACES.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: leaked, never freed.
        return unsafe { &*known };
    }
    SetupOnce::publish(&PLACES, Mutex::default)
}

/// In a forked child: queues do not survive, and a thread that held the lock does not exist.
pub fn forget_in_child() {
    PLACES.store(core::ptr::null_mut(), Ordering::Release);
    for slot in &TABLE {
        slot.handle.store(0, Ordering::Relaxed);
    }
}

impl Lane {
    fn packed(self) -> u64 {
        u64::from(self.ordinal.cast_unsigned())
            | u64::from(self.immediate) << 32
            | u64::from(self.copies) << 33
    }

    fn unpacked(word: u64) -> Self {
        Self {
            ordinal: (word as u32).cast_signed(),
            immediate: word >> 32 & 1 == 1,
            copies: word >> 33 & 1 == 1,
        }
    }
}

fn slots(handle: usize) -> impl Iterator<Item = &'static Slot> {
    let start = (handle as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51;
    (0..PROBES).map(move |probe| &TABLE[(start as usize + probe) % SLOTS])
}

/// What a launch must know of `handle`; nothing of one that came by a route we did not see.
#[inline]
pub fn lane(handle: usize) -> Option<Lane> {
    for slot in slots(handle) {
        // Acquire: the lane was written before the handle.
        match slot.handle.load(Ordering::Acquire) {
            0 => break,
            found if found == handle => return Some(Lane::unpacked(slot.lane.load(Ordering::Relaxed))),
            _ => {}
        }
    }
    lane_beyond(handle)
}

/// A program with thousands of queues may have one that found no place in the table.
#[cold]
fn lane_beyond(handle: usize) -> Option<Lane> {
    let places = places().lock().unwrap_or_else(PoisonError::into_inner);
    places.get(&handle).map(|(_, lane)| *lane)
}

/// What is known of a queue or list.
pub fn place(handle: usize) -> Option<Place> {
    let places = places().lock().unwrap_or_else(PoisonError::into_inner);
    places.get(&handle).map(|(place, _)| *place)
}

/// The context in which events for a queue are made.
pub fn context_of(queue: usize) -> Option<usize> {
    place(queue).map(|place| place.context)
}

fn enter(handle: usize, place: Place, lane: Lane) {
    let mut places = places().lock().unwrap_or_else(PoisonError::into_inner);
    // The lock keeps two writers apart.
    places.insert(handle, (place, lane));
    for slot in slots(handle) {
        let known = slot.handle.load(Ordering::Relaxed);
        if known == 0 || known == GONE || known == handle {
            slot.lane.store(lane.packed(), Ordering::Relaxed);
            // Release pairs with the Acquire in `lane`.
            slot.handle.store(handle, Ordering::Release);
            return;
        }
    }
}

fn leave(handle: usize) {
    let mut places = places().lock().unwrap_or_else(PoisonError::into_inner);
    places.remove(&handle);
    for slot in slots(handle) {
        match slot.handle.load(Ordering::Relaxed) {
            0 => return,
            // What lies behind it is still found.
            found if found == handle => return slot.handle.store(GONE, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Forgets what was made in a context that is gone.
pub fn context_died(context: usize) {
    let gone: Vec<usize> = {
        let places = places().lock().unwrap_or_else(PoisonError::into_inner);
        let inside = places.iter().filter(|(_, (place, _))| place.context == context);
        inside.map(|(handle, _)| *handle).collect()
    };
    gone.into_iter().for_each(leave);
}

/// Whether a queue group only copies.
fn only_copies(device: ze_device_handle_t, group: u32) -> bool {
    let mut count = 0;
    if call_real!(zeDeviceGetCommandQueueGroupProperties(
        device,
        &mut count,
        core::ptr::null_mut()
    )) != ZE_RESULT_SUCCESS
        || group >= count
    {
        return false;
    }
    let mut empty = ze_command_queue_group_properties_t::zeroed();
    empty.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES;
    let mut groups = vec![empty; count as usize];
    let result = call_real!(zeDeviceGetCommandQueueGroupProperties(
        device,
        &mut count,
        groups.as_mut_ptr()
    ));
    result == ZE_RESULT_SUCCESS
        && groups
            .get(group as usize)
            .is_some_and(|group| group.flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE == 0)
}

/// Makes a queue or list and enters it. A queue is a use of its device. A process that nobody governs keeps no books.
fn make(
    context: ze_context_handle_t,
    device: ze_device_handle_t,
    group: Option<u32>,
    immediate: bool,
    handle: *mut *mut core::ffi::c_void,
    call: impl Fn() -> ze_result_t,
) -> ze_result_t {
    let Some(_inside) = Inside::enter() else {
        return call();
    };
    let result = match scope_of(device) {
        Scope::On(device, _) => context::using(context, device, call),
        Scope::Pass => return call(),
        Scope::Refuse => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
    };
    if result != ZE_RESULT_SUCCESS || handle.is_null() {
        return result;
    }
    if let Some(known) = device::by_handle(device) {
        let group = group.unwrap_or(0);
        let lane = Lane {
            ordinal: known.ordinal,
            immediate,
            copies: only_copies(device, group),
        };
        let place = Place {
            context: context as usize,
            device: device as usize,
            group,
            immediate,
        };
        // SAFETY: the driver has written there with success.
        enter(unsafe { *handle } as usize, place, lane);
    }
    result
}

/// `zeCommandQueueCreate`.
pub unsafe extern "C" fn zeCommandQueueCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *const ze_command_queue_desc_t,
    phCommandQueue: *mut ze_command_queue_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        // SAFETY: the caller passes a description or null.
        let group = unsafe { desc.as_ref() }.map(|desc| desc.ordinal);
        make(hContext, hDevice, group, false, phCommandQueue, || {
            call_real!(zeCommandQueueCreate(hContext, hDevice, desc, phCommandQueue))
        })
    })
}

/// `zeCommandListCreateImmediate`.
pub unsafe extern "C" fn zeCommandListCreateImmediate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    altdesc: *const ze_command_queue_desc_t,
    phCommandList: *mut ze_command_list_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        // SAFETY: the caller passes a description or null.
        let group = unsafe { altdesc.as_ref() }.map(|desc| desc.ordinal);
        make(hContext, hDevice, group, true, phCommandList, || {
            call_real!(zeCommandListCreateImmediate(
                hContext,
                hDevice,
                altdesc,
                phCommandList
            ))
        })
    })
}

/// `zeCommandListCreate`.
pub unsafe extern "C" fn zeCommandListCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *const ze_command_list_desc_t,
    phCommandList: *mut ze_command_list_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        // SAFETY: the caller passes a description or null.
        let group = unsafe { desc.as_ref() }.map(|desc| desc.commandQueueGroupOrdinal);
        make(hContext, hDevice, group, false, phCommandList, || {
            call_real!(zeCommandListCreate(hContext, hDevice, desc, phCommandList))
        })
    })
}

/// `zeCommandQueueDestroy`.
pub unsafe extern "C" fn zeCommandQueueDestroy(hCommandQueue: ze_command_queue_handle_t) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        // Out first: the driver may give the handle to the next one at once.
        leave(hCommandQueue as usize);
        call_real!(zeCommandQueueDestroy(hCommandQueue))
    })
}

/// `zeCommandListDestroy`.
pub unsafe extern "C" fn zeCommandListDestroy(hCommandList: ze_command_list_handle_t) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        leave(hCommandList as usize);
        fcsp_hook::launch::graph_changed::<LevelZero>(hCommandList as usize);
        call_real!(zeCommandListDestroy(hCommandList))
    })
}

/// `zeCommandListReset`: what is recorded next costs something else.
pub unsafe extern "C" fn zeCommandListReset(hCommandList: ze_command_list_handle_t) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        fcsp_hook::launch::graph_changed::<LevelZero>(hCommandList as usize);
        call_real!(zeCommandListReset(hCommandList))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_found_until_they_are_gone() {
        let lane_of = |ordinal| Lane {
            ordinal,
            immediate: ordinal % 2 == 0,
            copies: ordinal % 3 == 0,
        };
        let place = Place {
            context: 7,
            device: 1,
            group: 0,
            immediate: true,
        };
        let handles: Vec<usize> = (1..=2 * SLOTS).map(|n| n << 4).collect();
        for (ordinal, handle) in handles.iter().enumerate() {
            enter(*handle, place, lane_of(ordinal as i32));
        }
        for (ordinal, handle) in handles.iter().enumerate() {
            assert_eq!(lane(*handle), Some(lane_of(ordinal as i32)), "{ordinal}");
        }
        leave(handles[5]);
        assert_eq!(lane(handles[5]), None);
        assert_eq!(context_of(handles[6]), Some(7));
        context_died(7);
        assert!(handles.iter().all(|handle| lane(*handle).is_none()));
    }
}
