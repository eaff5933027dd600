//! The runtime as the neutral part asks of it, and this process as the wrappers ask for it.

use core::convert::Infallible;
use core::ffi::c_void;
use core::sync::atomic::Ordering;

use fcsp_core::device::DeviceIdentity;
use fcsp_core::units::{Ppm, WHOLE};
use fcsp_hook::backend::{Backend, Progress};
use fcsp_hook::device::Listed;
use fcsp_hook::memory::{Given, graph, pieces, pool};
use fcsp_hook::overhead;
use fcsp_hook::process::Process;
use fcsp_hook::recordings::Question;
pub use fcsp_hook::setup::{Inside, SetupOnce, complain, logging, shielded};

use crate::device::{self, PerDevice};
use crate::ffi::hip::*;
use crate::info::process_memory;
use crate::launch::{BesideCaptures, copies};
use crate::memory;
use crate::memory::graph::{GRAPHS, is_capturing};
use crate::memory::pool::POOLS;
use crate::memory::vmm::PHYSICAL;
use crate::{call_real, events};

/// AMD's runtime.
#[derive(Debug, Clone, Copy)]
pub struct Hip;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<Hip>;
/// What a memory wrapper is to do.
pub type Scope = fcsp_hook::process::Scope<Hip>;
/// A tenant's process and its devices.
pub type Governed = fcsp_hook::process::Governed<Hip>;
/// What is known of one live allocation.
pub type Record = fcsp_hook::memory::Record<Hip>;

impl Backend for Hip {
    type Status = hipError_t;
    const SUCCESS: hipError_t = hipSuccess;
    const OUT_OF_MEMORY: hipError_t = hipErrorOutOfMemory;
    const UNKNOWN: hipError_t = hipErrorUnknown;

    type PerDevice = PerDevice;
    type Origin = Infallible;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Hip> = Process::new();
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

    fn part_of(device: &Device) -> Ppm {
        device
            .own
            .units
            .as_ref()
            .map_or(WHOLE, |claim| claim.part())
    }

    /// The runtime's contexts are its devices: what stands for one is its ordinal, counted from 1.
    #[inline]
    fn current_context() -> Option<usize> {
        let mut device = 0;
        let result = call_real!(hipGetDevice(&mut device));
        (result == hipSuccess).then(|| context_of(device))
    }

    #[inline]
    fn device_of_current(context: usize) -> Option<i32> {
        i32::try_from(context - 1).ok()
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

    fn with_block(device: &Device, _context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
        memory::with_block(device.ordinal, bytes, look)
    }

    fn free_by_driver(_device: &Device) -> Option<u64> {
        let (mut free, mut total) = (0usize, 0usize);
        (call_real!(hipMemGetInfo(&mut free, &mut total)) == hipSuccess).then_some(free as u64)
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

    fn leaves(_record: &Record, origin: &Infallible) -> Given {
        match *origin {}
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
    const IDLE_BRACKET_NS: u64 = events::IDLE_BRACKET_NS;

    #[inline]
    fn is_recording() -> bool {
        GRAPHS.recordings().any()
    }

    fn records(stream: usize) -> bool {
        is_capturing(stream as hipStream_t)
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

/// What stands for a device's context.
pub fn context_of(ordinal: i32) -> usize {
    ordinal.unsigned_abs() as usize + 1
}

/// The governed process, if it is one.
#[inline]
pub fn governed() -> Option<&'static Governed> {
    Hip::process().governed()
}

/// Whether nothing stands in the way of a start: limits that were asked for can be kept.
pub fn governed_or_unknown() -> bool {
    !Hip::process().is_broken()
}

/// The scope of a call that concerns the current device.
#[inline]
pub fn scope() -> Scope {
    used(Hip::process().scope())
}

/// The same, from inside a wrapper. A process that has just one device is on it, and its context is
/// known by its ordinal: the runtime need not be asked.
#[inline]
pub fn scope_inside(inside: &Inside) -> Scope {
    match Hip::process().scope_of_device(inside) {
        Scope::On(device, _) => used(Scope::On(device, context_of(device.ordinal))),
        other => other,
    }
}

/// The scope of a call that names its device.
pub fn scope_of(ordinal: hipDevice_t) -> Scope {
    Hip::process().scope_of(ordinal)
}

/// The first call that uses a device makes the runtime take memory there for itself, whatever the
/// call is. That is charged before the call itself is looked at, and refused with it where there is
/// no room.
#[inline]
fn used(scope: Scope) -> Scope {
    match scope {
        // Acquire pairs with the Release below: who finds the device in use also finds its memory
        // charged.
        Scope::On(device, _) if !device.own.in_use.load(Ordering::Acquire) => first_use(device),
        scope => scope,
    }
}

#[cold]
fn first_use(device: &'static Device) -> Scope {
    let context = context_of(device.ordinal);
    // A question that needs the device and changes nothing.
    let call = || {
        let (mut free, mut total) = (0usize, 0usize);
        call_real!(hipMemGetInfo(&mut free, &mut total))
    };
    let _turn = device.context_turn();
    if device.own.in_use.load(Ordering::Acquire) {
        return Scope::On(device, context);
    }
    let result = overhead::makes_context(Scope::On(device, context), call, || context, || {});
    if result == hipErrorOutOfMemory {
        return Scope::Refuse;
    }
    if result == hipSuccess {
        device.own.in_use.store(true, Ordering::Release);
    }
    Scope::On(device, context)
}
