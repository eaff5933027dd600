//! Devices and kinds of queues and lists: a launch names only these handles.
//!
//! There are a fixed table of words, which launches read without a lock, and a map of the rest, for
//! threads that make events.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, PoisonError};

use fcsp_core::allocations::KeyHasher;
use fcsp_hook::setup::SetupOnce;

use crate::call_real;
use crate::device;
use crate::device::target_of;
use crate::ffi::ze::*;
use crate::uses::using;
use crate::vendor::{LevelZero, Reentry, Target, catch_panic};

/// Properties of a queue or list that a launch needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The device's ordinal.
    pub ordinal: i32,
    /// True if appended work runs at once.
    pub immediate: bool,
    /// True if it only copies.
    pub copies: bool,
}

/// Further properties, enough to make events for it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The context's handle.
    pub context: usize,
    /// The device's handle.
    pub device: usize,
    /// The queue group.
    pub group: u32,
    /// True if commands can be appended to it; otherwise lists are executed on it.
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
    /// Of a regular list: what was appended, mixed into a word, the groups of its kernels, and
    /// whether a collective is among them. Lists are filled by one thread at a time, by the API's
    /// own rules, so plain steps do.
    content: AtomicU64,
    blocks: AtomicU64,
    collective: AtomicBool,
}

/// Contents of lists that are executed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Key of their cost.
    pub key: usize,
    /// Groups of their kernels.
    pub blocks: u64,
    /// True if another rank may be waiting for them.
    pub collective: bool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        handle: AtomicUsize::new(0),
        lane: AtomicU64::new(0),
        content: AtomicU64::new(0),
        blocks: AtomicU64::new(0),
        collective: AtomicBool::new(false),
    }
}; SLOTS];

type Places = Mutex<HashMap<u64, (Place, Lane), BuildHasherDefault<KeyHasher>>>;
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

/// Forgets all queues in a forked child: they do not survive, and a thread that held the lock does
/// not exist.
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

/// Returns the properties of `handle` that a launch needs; `None` if its creation was not seen.
#[inline]
pub fn lane(handle: usize) -> Option<Lane> {
    match slot(handle) {
        Some(slot) => Some(Lane::unpacked(slot.lane.load(Ordering::Relaxed))),
        None => lane_beyond(handle),
    }
}

#[inline]
fn slot(handle: usize) -> Option<&'static Slot> {
    for slot in slots(handle) {
        // Acquire: what is in the slot was written before the handle.
        match slot.handle.load(Ordering::Acquire) {
            0 => return None,
            found if found == handle => return Some(slot),
            _ => {}
        }
    }
    None
}

/// Notes that something was appended to a regular list: what it is, and its groups if it is a
/// kernel.
///
/// Programs fill one list again and again, and with the same work more often than not. So what a
/// list costs is remembered by what is in it, not by its handle.
#[inline]
pub fn appended(list: usize, what: u64, blocks: u64, collective: bool) {
    if let Some(slot) = slot(list) {
        let mixed = (slot.content.load(Ordering::Relaxed) ^ what ^ blocks << 32)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23);
        slot.content.store(mixed, Ordering::Relaxed);
        let blocks = slot.blocks.load(Ordering::Relaxed).saturating_add(blocks);
        slot.blocks.store(blocks, Ordering::Relaxed);
        if collective {
            slot.collective.store(true, Ordering::Relaxed);
        }
    }
}

/// Records that a list is empty again.
fn emptied(list: usize) {
    if let Some(slot) = slot(list) {
        slot.clear();
    }
}

impl Slot {
    fn clear(&self) {
        self.record((0, 0, false));
    }

    fn record(&self, (content, blocks, collective): (u64, u64, bool)) {
        self.content.store(content, Ordering::Relaxed);
        self.blocks.store(blocks, Ordering::Relaxed);
        self.collective.store(collective, Ordering::Relaxed);
    }

    fn recorded(&self) -> (u64, u64, bool) {
        (
            self.content.load(Ordering::Relaxed),
            self.blocks.load(Ordering::Relaxed),
            self.collective.load(Ordering::Relaxed),
        )
    }
}

/// Returns the contents of lists that are executed together. A list whose commands were not seen is
/// known by its handle.
#[inline]
pub fn content(lists: &[*mut core::ffi::c_void]) -> Content {
    let (mut mixed, mut blocks, mut collective) = (0u64, 0u64, false);
    for list in lists {
        let mut what = 0;
        if let Some(slot) = slot(*list as usize) {
            what = slot.content.load(Ordering::Relaxed);
            blocks = blocks.saturating_add(slot.blocks.load(Ordering::Relaxed));
            collective |= slot.collective.load(Ordering::Relaxed);
        }
        let what = if what == 0 { *list as u64 } else { what };
        mixed = mixed.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what;
    }
    Content {
        key: key(mixed),
        blocks,
        collective,
    }
}

/// Returns a word in the form of a handle: an even address of 47 bits.
pub fn key(mixed: u64) -> usize {
    ((mixed ^ mixed >> 47) & 0x7fff_ffff_fff0) as usize
}

/// Looks in the map: a program with thousands of queues may have one that is not in the table.
#[cold]
fn lane_beyond(handle: usize) -> Option<Lane> {
    let places = places().lock().unwrap_or_else(PoisonError::into_inner);
    places.get(&(handle as u64)).map(|(_, lane)| *lane)
}

/// Returns the further properties of a queue or list.
pub fn place(handle: usize) -> Option<Place> {
    let places = places().lock().unwrap_or_else(PoisonError::into_inner);
    places.get(&(handle as u64)).map(|(place, _)| *place)
}

/// Returns the context in which events for a queue are made.
pub fn context_of(queue: usize) -> Option<usize> {
    place(queue).map(|place| place.context)
}

fn enter(handle: usize, place: Place, lane: Lane) {
    let mut places = places().lock().unwrap_or_else(PoisonError::into_inner);
    // The lock keeps two writers apart.
    places.insert(handle as u64, (place, lane));
    for slot in slots(handle) {
        let known = slot.handle.load(Ordering::Relaxed);
        if known == 0 || known == GONE || known == handle {
            slot.lane.store(lane.packed(), Ordering::Relaxed);
            slot.clear();
            // Release pairs with the Acquire in `lane`.
            slot.handle.store(handle, Ordering::Release);
            return;
        }
    }
}

/// Forgets a queue or list; returns what was known of it.
fn leave(handle: usize) -> Option<Known> {
    let known = take_out(handle);
    fcsp_hook::launch::queue_ends::<LevelZero>(handle);
    known
}

/// All that is known of a queue or list.
#[derive(Debug)]
pub struct Known {
    place: Place,
    lane: Lane,
    /// As in its slot, if it has one: content, blocks, collective.
    recorded: (u64, u64, bool),
}

fn take_out(handle: usize) -> Option<Known> {
    let mut places = places().lock().unwrap_or_else(PoisonError::into_inner);
    let (place, lane) = places.remove(&(handle as u64))?;
    let mut recorded = (0, 0, false);
    if let Some(slot) = slot(handle) {
        recorded = slot.recorded();
        // What lies behind it is still found.
        slot.handle.store(GONE, Ordering::Relaxed);
    }
    Some(Known {
        place,
        lane,
        recorded,
    })
}

/// Runs `call`, which destroys a queue or list. Out first: the driver may give the handle to the
/// next one at once. One that the driver keeps is put back as it was.
fn destroys(handle: *mut core::ffi::c_void, call: impl FnOnce() -> ze_result_t) -> ze_result_t {
    let handle = handle as usize;
    let known = leave(handle);
    let result = call();
    if result != ZE_RESULT_SUCCESS
        && let Some(known) = known
    {
        put_back([(handle, known)]);
    }
    result
}

/// Enters queues and lists again that the driver has kept, as they were.
pub fn put_back(kept: impl IntoIterator<Item = (usize, Known)>) {
    for (handle, known) in kept {
        enter(handle, known.place, known.lane);
        if let Some(slot) = slot(handle) {
            slot.record(known.recorded);
        }
    }
}

/// Forgets what was made in a context that is about to end; returns it.
pub fn context_ends(context: usize) -> Vec<(usize, Known)> {
    let inside: Vec<usize> = {
        let places = places().lock().unwrap_or_else(PoisonError::into_inner);
        let inside = places
            .iter()
            .filter(|(_, (place, _))| place.context == context);
        inside.map(|(handle, _)| *handle as usize).collect()
    };
    let leave = |handle| leave(handle).map(|known| (handle, known));
    inside.into_iter().filter_map(leave).collect()
}

/// Makes a queue or list and records it. A queue is a use of its device. An unmanaged process keeps
/// no records.
fn make(
    context: ze_context_handle_t,
    device: ze_device_handle_t,
    group: Option<u32>,
    immediate: bool,
    handle: *mut *mut core::ffi::c_void,
    call: impl Fn() -> ze_result_t,
) -> ze_result_t {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    let result = match target_of(device) {
        Target::Device(device, _) => using(context, device, call),
        Target::PassThrough => return call(),
        Target::Deny => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
    };
    if result != ZE_RESULT_SUCCESS || handle.is_null() {
        return result;
    }
    if let Some(known) = device::by_handle(device) {
        let group = group.unwrap_or(0);
        let lane = Lane {
            ordinal: known.ordinal,
            immediate,
            copies: device::only_copies(device, group),
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        // SAFETY: the caller passes a description or null.
        let group = unsafe { desc.as_ref() }.map(|desc| desc.ordinal);
        make(hContext, hDevice, group, false, phCommandQueue, || {
            call_real!(zeCommandQueueCreate(
                hContext,
                hDevice,
                desc,
                phCommandQueue
            ))
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        // SAFETY: the caller passes a description or null.
        let group = unsafe { desc.as_ref() }.map(|desc| desc.commandQueueGroupOrdinal);
        make(hContext, hDevice, group, false, phCommandList, || {
            call_real!(zeCommandListCreate(hContext, hDevice, desc, phCommandList))
        })
    })
}

/// `zeCommandQueueDestroy`.
pub unsafe extern "C" fn zeCommandQueueDestroy(
    hCommandQueue: ze_command_queue_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        destroys(hCommandQueue, || {
            call_real!(zeCommandQueueDestroy(hCommandQueue))
        })
    })
}

/// `zeCommandListDestroy`.
pub unsafe extern "C" fn zeCommandListDestroy(
    hCommandList: ze_command_list_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        destroys(hCommandList, || {
            call_real!(zeCommandListDestroy(hCommandList))
        })
    })
}

/// `zeCommandListReset`: what is recorded next may be something else.
pub unsafe extern "C" fn zeCommandListReset(hCommandList: ze_command_list_handle_t) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        emptied(hCommandList as usize);
        call_real!(zeCommandListReset(hCommandList))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the tests fills the table.
    static TURN: Mutex<()> = Mutex::new(());

    #[test]
    fn lists_are_known_by_what_is_in_them() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = Lane {
            ordinal: 0,
            immediate: false,
            copies: false,
        };
        let place = Place {
            context: 3,
            device: 1,
            group: 0,
            immediate: false,
        };
        let lists =
            [0x7f00_0000_1000, 0x7f00_0000_2000].map(|at: usize| at as *mut core::ffi::c_void);
        lists
            .iter()
            .for_each(|list| enter(*list as usize, place, lane));
        let of = |list| content(&[list]);
        assert_ne!(
            of(lists[0]),
            of(lists[1]),
            "empty lists are known by their handles"
        );
        for list in lists {
            appended(list as usize, 0xabc0, 4, false);
            appended(list as usize, 0xdef0, 2, false);
        }
        assert_eq!(of(lists[0]), of(lists[1]));
        assert_eq!((of(lists[0]).blocks, of(lists[0]).collective), (6, false));
        assert_ne!(content(&lists).key, of(lists[0]).key);
        emptied(lists[0] as usize);
        appended(lists[0] as usize, 0xdef0, 2, false);
        appended(lists[0] as usize, 0xabc0, 4, true);
        assert_ne!(
            of(lists[0]).key,
            of(lists[1]).key,
            "in another order it is something else"
        );
        assert_eq!(of(lists[0]).key & !0x7fff_ffff_fff0, 0);
        assert!(content(&lists).collective && !of(lists[1]).collective);
        emptied(lists[0] as usize);
        assert!(!of(lists[0]).collective);
        let refused = destroys(lists[1], || ZE_RESULT_ERROR_UNKNOWN);
        assert_eq!(refused, ZE_RESULT_ERROR_UNKNOWN);
        assert_eq!(super::lane(lists[1] as usize), Some(lane));
        assert_eq!((of(lists[1]).blocks, of(lists[1]).collective), (6, false));
        for list in lists {
            assert_eq!(destroys(list, || ZE_RESULT_SUCCESS), ZE_RESULT_SUCCESS);
            assert!(super::lane(list as usize).is_none());
        }
    }

    #[test]
    fn lanes_are_found_until_they_are_gone() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
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
        let gone = context_ends(7);
        assert!(handles.iter().all(|handle| lane(*handle).is_none()));
        // The driver has kept the context after all.
        put_back(gone);
        assert_eq!(lane(handles[6]), Some(lane_of(6)));
        context_ends(7);
        assert!(handles.iter().all(|handle| lane(*handle).is_none()));
    }
}
