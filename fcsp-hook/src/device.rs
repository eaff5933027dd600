//! One device's quota as this process keeps it: hold before the driver is asked, release after it
//! has freed, and measure what the driver takes for itself.
//!
//! The driver takes memory that no call asks for: contexts, code, streams, local memory, the unused
//! rest of what it cuts small requests from. It is not predicted but measured: the management
//! library's figure for this process, less the allocations this process knows of, is the overhead.
//! Measuring takes 22 us (NVML, H100), so it is done where it can change an answer. That is when a
//! request would end within [`NEAR`] of the quota, when the program asks for memory information,
//! and after a context is made close to the quota. Far from the quota the figure may lag. A new
//! context counts with [`crate::backend::Devices::CONTEXT_ESTIMATE`] until then; what it is known
//! to take is held before it is made (`device/contexts.rs`).
//!
//! In a PID namespace the library lists this process under a number that it does not know:
//! `device/listed.rs` finds its entry.
//!
//! That library may be missing (a container), list no process, or not know their figures. The
//! overhead is then the estimate of the contexts and the fall of the device's free memory. Only its
//! fall while code was loaded or a limit raised counts, less this process's allocations. Memory
//! that neighbours allocate at that moment counts as overhead, memory that they free hides as much.
//! Code that the driver loads lazily is not seen at all.

mod calls;
mod contexts;
mod hold;
mod listed;
mod measure;
mod small;

pub use calls::{DriverCall, LightDriverCall};
pub use contexts::Making;
pub use hold::Hold;
pub use listed::Listed;
pub(crate) use measure::Free;

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fcsp_core::binding::OpenMemory;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::memory::{Denied, MemoryTracker, Usage};
use fcsp_core::region::Attachment;
use fcsp_core::region::ahead::Ahead;
use fcsp_core::region::layout::SlotWords;
use fcsp_core::region::physical::Physical;
use fcsp_core::share::params::{Mode, Params};
use fcsp_core::tenant::{Tenant, TenantError};

use crate::backend::Backend;
use crate::compute::Compute;
use crate::info::sees_own_numbers;
use crate::memory::pool::Pool;
use crate::setup::{SetupOnce, accounts_time, log_refusal, logging};

/// Distance to the quota, in bytes, inside which requests are decided on a fresh measurement: more
/// than a context takes.
pub const NEAR: u64 = 1 << 30;

/// A device that this process uses.
#[derive(Debug)]
pub struct Device<B: Backend> {
    /// Ordinal in this process.
    pub ordinal: i32,
    /// Identity, the same in every process.
    pub identity: DeviceIdentity,
    /// State that the backend keeps for it.
    pub own: B::PerDevice,
    memory: B::Memory,
    tenant: &'static Tenant,
    /// The generation word of the control page, and the generation that `compute` was read at.
    page: &'static AtomicU64,
    generation: AtomicU64,
    /// The same of the tenants that this one is a part of, from the inside outwards.
    outer_pages: Box<[(&'static AtomicU64, AtomicU64)]>,
    /// True if processes have the same numbers here as in the management library's list.
    own_numbers: bool,
    /// True if the management library did not know this process's figure at the last measurement.
    unknown: AtomicBool,
    /// True once the overhead was measured.
    asked: AtomicBool,
    /// Held by the thread that makes or ends a context which other threads may use at once.
    turn: Mutex<()>,
    /// Set when something may have changed the overhead.
    stale: AtomicBool,
    measured_ns: AtomicU64,
    measure: Mutex<()>,
    /// Measurements begun and ended: odd while one is taken.
    measurements: AtomicU32,
    /// Reservation cache of small requests far from the quota.
    ahead: Ahead,
    /// Overhead by estimates and differences, for a process that the management library does not
    /// show.
    unseen: AtomicU64,
    /// The part of it that each context of this process stands for.
    contexts: Mutex<Vec<(usize, u64)>>,
    /// Bytes held for contexts that the driver is making.
    under_way: AtomicU64,
    /// True if driver calls of other threads spanned the whole of the last measurement: its figure
    /// may count their bytes twice. Written with `measure` held.
    overlapped: AtomicBool,
    /// Requests that never end: a jump has left their driver calls. Nobody waits for them again.
    abandoned: AtomicU64,
    /// The compute share to keep; null while there is none, or none that holds anything back.
    compute: AtomicPtr<Compute<B>>,
    /// The same once made: it is made once and taken up again.
    compute_made: AtomicPtr<Compute<B>>,
    /// True once launches may have gone to the driver without a gate. Set by `reload` before they
    /// do; Relaxed, since the next reload reads it on a path that has seen a newer generation.
    passed_by: AtomicBool,
    /// The pool that serves allocations which name none; null until asked, and after it may have
    /// changed.
    pub(crate) default_pool: AtomicPtr<Pool<B>>,
}

impl<B: Backend> Device<B> {
    /// Attaches this process to `tenant`'s region for the device.
    pub fn open(
        tenant: &'static Tenant,
        ordinal: i32,
        identity: DeviceIdentity,
    ) -> Result<Self, TenantError> {
        let total = B::total_memory(ordinal);
        // As below.
        let unseen = |outer: &'static Tenant| {
            let word = outer.control().generation_word();
            (
                word,
                AtomicU64::new(word.load(Ordering::Relaxed).wrapping_sub(2)),
            )
        };
        Ok(Self {
            ordinal,
            identity,
            own: B::per_device(ordinal),
            memory: B::Memory::open(tenant, &identity, total)?,
            tenant,
            // Not the generation read: the first look also sets up the compute share.
            generation: AtomicU64::new(tenant.control().generation().wrapping_sub(2)),
            page: tenant.control().generation_word(),
            outer_pages: tenant.outers().map(unseen).collect(),
            own_numbers: sees_own_numbers(),
            unknown: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            turn: Mutex::new(()),
            stale: AtomicBool::new(true),
            measured_ns: AtomicU64::new(0),
            measure: Mutex::new(()),
            measurements: AtomicU32::new(0),
            ahead: Ahead::new(),
            unseen: AtomicU64::new(0),
            contexts: Mutex::new(Vec::new()),
            under_way: AtomicU64::new(0),
            overlapped: AtomicBool::new(false),
            abandoned: AtomicU64::new(0),
            compute: AtomicPtr::new(core::ptr::null_mut()),
            compute_made: AtomicPtr::new(core::ptr::null_mut()),
            passed_by: AtomicBool::new(false),
            default_pool: AtomicPtr::new(core::ptr::null_mut()),
        })
    }

    /// Returns the place in the tenant's region.
    pub fn place(&self) -> &Attachment {
        self.memory.place()
    }

    /// Counts a refusal of `bytes` that no reservation had a part in.
    pub fn count_refusal(&self, bytes: u64) {
        self.memory.count_refusal(bytes);
    }

    /// Returns the bytes that the tenant may hold here now. One load notices a changed control
    /// page.
    #[inline]
    pub fn limit(&self) -> u64 {
        self.memory.limit()
    }

    /// Returns true if the known limits are those of the control pages.
    #[inline]
    fn is_current(&self) -> bool {
        let is_seen = |word: &AtomicU64, seen: &AtomicU64| {
            word.load(Ordering::Relaxed) == seen.load(Ordering::Relaxed)
        };
        is_seen(self.page, &self.generation)
            && (self.outer_pages.is_empty()
                || self
                    .outer_pages
                    .iter()
                    .all(|(word, seen)| is_seen(word, seen)))
    }

    /// Returns the compute share to keep here, if there is one.
    #[inline]
    pub fn compute(&self) -> Option<&'static Compute<B>> {
        if !self.is_current() {
            self.reload();
        }
        // SAFETY: compute states are leaked, never freed.
        unsafe { self.compute.load(Ordering::Acquire).as_ref() }
    }

    /// Returns the compute share of this device if there ever was one. The handles that it
    /// remembers must be forgotten in time even while the limit is lifted.
    pub fn compute_made(&self) -> Option<&'static Compute<B>> {
        // SAFETY: compute states are leaked, never freed. Acquire pairs with their publication.
        unsafe { self.compute_made.load(Ordering::Acquire).as_ref() }
    }

    /// Takes in what the control page says now. Damaged, or half-written by somebody who died, it
    /// leaves the last known limits.
    #[cold]
    pub fn reload(&self) {
        let seen = self.page.load(Ordering::Relaxed);
        // Before the limits are read: a change meanwhile is another look's.
        for (word, known) in &self.outer_pages {
            known.store(word.load(Ordering::Acquire), Ordering::Relaxed);
        }
        // The tracker follows by itself; for those who read the region it does so at once.
        self.memory.limit();
        let Ok((generation, limits)) = self.tenant.limits() else {
            // The next look is worth its wait when somebody has written again.
            self.generation.store(seen, Ordering::Relaxed);
            return;
        };
        self.generation.store(generation, Ordering::Relaxed);
        // Launches look at one page: that of the share.
        let (page, generation) = match self.outer_pages.last() {
            Some((word, known)) => (*word, known.load(Ordering::Relaxed)),
            None => (self.page, generation),
        };

        let mut params = limits
            .compute
            .for_device(&self.identity)
            .unwrap_or_default()
            .within(B::part_of(self));
        if !B::HOLDS_BACK {
            params.mode = Mode::None;
        }
        let pause = limits.run_state.is_paused().then_some(generation);
        if params.mode == Mode::None && pause.is_none() && !accounts_time() {
            // SAFETY: as in `compute`. Somebody may be waiting at the gate that is given up here.
            if let Some(made) = unsafe { self.compute_made.load(Ordering::Acquire).as_ref() } {
                made.is_passed_by();
                made.set(params, None);
            }
            self.passed_by.store(true, Ordering::Relaxed);
            self.compute.store(core::ptr::null_mut(), Ordering::Release);
            B::process().keeps(self, generation, page, None);
            return;
        }
        // SAFETY: as in `compute`.
        let made = match unsafe { self.compute_made.load(Ordering::Acquire).as_ref() } {
            Some(made) => made,
            None => match self.open_compute(params) {
                Some(made) => made,
                None => return,
            },
        };
        made.set(params, pause);
        B::process().keeps(self, generation, page, Some(made));
        self.compute
            .store(core::ptr::from_ref(made).cast_mut(), Ordering::Release);
    }

    /// Makes the gate of this device. A frame of its own: it takes stack that a tenant without a
    /// share may not have.
    #[cold]
    #[inline(never)]
    fn open_compute(&self, params: Params) -> Option<&'static Compute<B>> {
        let outermost = self.tenant.outermost();
        let made = Compute::open(outermost, &self.identity, params, self.outermost_slot())?;
        if self.passed_by.load(Ordering::Relaxed) {
            made.is_passed_by();
        }
        // Lost to another thread's is as good: both speak for the same page.
        Some(SetupOnce::publish_made(&self.compute_made, made))
    }

    /// Returns the slot in which this process publishes since when a launch waits, and answers
    /// pauses. It lies in the region of the tenant whose share is waited for.
    fn outermost_slot(&self) -> &'static SlotWords {
        // SAFETY: devices are leaked, never freed, and the addresses of their mappings stay mapped
        // until the process ends: a forked child has an empty page there, which it may write.
        unsafe { &*core::ptr::from_ref(self.place().outermost().slot()) }
    }

    /// Locks the making and ending of contexts that several threads may use. A thread that finds
    /// such a context finds it counted.
    pub fn context_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what was held, after the driver has freed it or refused it.
    #[inline]
    pub fn release(&self, bytes: u64) {
        self.memory.release(bytes);
    }

    /// Counts bytes that the driver has taken already.
    pub fn charge(&self, bytes: u64) {
        self.memory.charge(bytes);
    }

    /// Returns the driver account of this process.
    #[inline]
    fn physical(&self) -> Physical<'_> {
        Physical(&self.place().slot().allocated)
    }

    /// Enters memory that the management library counts, where no [`Device::change`] is at hand.
    #[inline]
    pub fn gained(&self, bytes: u64) {
        self.physical().add(bytes.cast_signed());
    }

    /// Removes memory that the management library counts, where no [`Device::change`] is at hand.
    #[inline]
    pub fn lost(&self, bytes: u64) {
        self.physical().add(-bytes.cast_signed());
    }

    /// Says that the overhead may have changed.
    #[inline]
    pub fn overhead_changed(&self) {
        if !self.stale.load(Ordering::Relaxed) {
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    /// Says that the driver has just taken memory of its own or given it back: the next request
    /// near the quota measures, however short a time ago that was done.
    pub fn overhead_moved(&self) {
        self.measured_ns.store(0, Ordering::Relaxed);
        self.overhead_changed();
    }

    /// Returns true if the tenant has a quota here and is within [`NEAR`] of it.
    #[inline]
    pub fn is_near(&self) -> bool {
        let limit = self.limit();
        limit != u64::MAX && self.memory.room_under(limit) < NEAR
    }

    /// Returns true if `bytes` more would leave the tenant within its quota at this moment.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.memory.room_under(self.limit()) >= bytes
    }

    /// Returns true if the tenant holds more than its quota.
    pub fn is_over(&self) -> bool {
        self.over() > 0
    }

    /// Returns the bytes that the tenant holds beyond its quota.
    pub fn over(&self) -> u64 {
        self.memory.over()
    }

    /// Returns fresh figures for an answer to the tenant.
    pub fn usage(&self) -> Usage {
        let limit = self.limit();
        self.memory.reap_if_due();
        self.drain_ahead();
        if limit != u64::MAX {
            B::refresh(self);
            self.measure_if_stale();
        }
        self.memory.usage_under(limit)
    }

    /// Figures without asking the driver anything.
    pub fn usage_as_known(&self) -> Usage {
        self.memory.usage()
    }

    /// Refuses, in the log's words.
    pub fn refused(&self, what: &str, denied: &Denied) {
        if logging() {
            self.say_refused(what, denied);
        }
    }

    #[cold]
    fn say_refused(&self, what: &str, denied: &Denied) {
        log_refusal(&format!("{what} on {}: {denied}", self.identity.uuid));
    }
}
