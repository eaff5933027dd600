//! The claim page, which a tenant publishes on one device. The tenant's own processes write it, and
//! every neighbour reads it.
//!
//! Every word is independent: no word is a lock, and none guards another. Every change is one
//! atomic store, add or exchange. A process killed at any instruction therefore leaves a valid
//! page. A neighbour that reads two words of different moments draws at worst a conclusion that was
//! true a moment ago.
//!
//! A page contains claims. The policy uses a neighbour's claims only to divide the surplus, never
//! to take its own tenant below the guarantee.
//!
//! Times are ns of CLOCK_MONOTONIC: one clock for all processes of a machine, in every container.

mod account;
mod beside;
mod renew;

use crate::boot;
use crate::classify::Class;
use crate::layout_version::Layout;
use crate::share::authority::Authority;
use crate::share::gap_filling::StepProfile;
use crate::share::mix::Sensitivity;
use crate::share::params::{Mode, Params, Priority};
use crate::share::step_predictor::PredictedStep;
use crate::share::token_bucket::{TokenRate, gpu_to_wall_ns};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::units::{Ppm, WHOLE};
use beside::Beside;

/// First seven bytes of a page.
const NAME: [u8; 7] = *b"FCSPSHR";
/// Layout versions. Version 2 appended [`ClaimPage::layout_version`].
const LAYOUT: Layout = Layout::new(1, 1, 2);
/// First word of a page of this build ([`Layout::magic`]).
pub const MAGIC: u64 = LAYOUT.magic(NAME);

/// Size of a page in a file, in bytes: one page of memory for each tenant and device.
pub const PAGE_BYTES: usize = 4096;

/// Offset of [`ClaimPage::seen`] in a page, in bytes.
pub(super) const SEEN_AT: u64 = 112;

/// Reason why a page cannot be used. The share is then enforced without it, in strict mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The page has another layout, or is no page.
    #[error(
        "not a share page that this version reads (found {found:#018x}); restart the tenant's processes together"
    )]
    Version {
        /// Word found in the place of [`MAGIC`].
        found: u64,
    },
    /// The mapping is too small or not aligned.
    #[error("a share page needs {PAGE_BYTES} bytes at a multiple of 64")]
    Mapping,
}

/// A tenant's claim page on one device. A page of zeros is not set up yet.
///
/// Six cache lines:
///
/// 1. Written when the tenant attaches or its limits change.
/// 2. Written with every credit slice.
/// 3. Used by the tenant's own processes among themselves, and by reports.
/// 4. Written with every credit slice, for reports and adaptive mode.
/// 5. Used by the tenant's own processes among themselves.
/// 6. The same, for reconciliation next to other tenants.
///
/// The bytes are a stable layout. Words that were added later read as zero in pages of older
/// builds.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct ClaimPage {
    /// Name and minimum reader ([`MAGIC`]) once the page is set up, 0 before. `attach` exchanges it
    /// once (AcqRel); readers load it with Acquire.
    magic: AtomicU64,
    /// Number of changes of `promise`. `set_params` raises it with Release; a reader that sees the
    /// new value sees the new promise.
    generation: AtomicU64,
    /// Limits: share in bits 0-19 (ppm), weight in 20-39, priority in 40-43, mode in 44-47. They
    /// are one word, so that they belong to one moment.
    promise: AtomicU64,
    /// Wake word. Waiters of any tenant sleep on it; `bump` raises it with Release.
    event: AtomicU32,
    /// Number of attached processes. Killed processes stay counted.
    attached: AtomicU32,
    /// Predicted begin of the next step, ns; 0 for none ([`PredictedStep::at`]). Tenants of high
    /// priority write it at the end of every step. Added later.
    expected_at: AtomicU64,
    /// Mean deviation of that prediction, ns ([`PredictedStep::deviation`]). Added later.
    expected_deviation: AtomicU64,
    /// Boot to which the times belong ([`crate::boot::id`]). Added later.
    boot: AtomicU64,
    /// Layout version of the newest build that attached to the page; 0 if none had one. `attach`
    /// raises it (Relaxed: it guards no other word). Version 2 appended it.
    layout_version: AtomicU64,

    /// Instant at which the guarantee's token bucket is empty, ns (GCRA's theoretical arrival
    /// time). Every charge exchanges it.
    empty_at: AtomicU64,
    /// Virtual time: surplus used, ns of GPU time times a million over the weight.
    virtual_time: AtomicU64,
    /// Instant at which all submitted work would be done if the tenant had the device alone, ns.
    finish_at: AtomicU64,
    /// Instant since which a host of the tenant waits for the device, ns; 0 for none.
    blocked_since: AtomicU64,
    /// Instant at which a host of the tenant last resumed after such a wait, or a step ended, ns.
    pressed_at: AtomicU64,
    /// Instant at which a launch last claimed to wait at the gate, ns; 0 for none. The waiter
    /// renews it.
    waiting_at: AtomicU64,
    /// Instant of the last publication, ns. Writers use Release and readers Acquire, so that the
    /// words above and below are at least as new.
    seen: AtomicU64,
    /// GPU time charged since the page was set up, ns, less what was refunded.
    consumed: AtomicU64,

    /// Instant at which the floor's token bucket is empty, ns.
    floor_empty_at: AtomicU64,
    /// Instant at which the pool limit's token bucket is empty, ns.
    pool_empty_at: AtomicU64,
    /// Cap of the guarantee's token bucket, ns of GPU time.
    cap: AtomicU64,
    /// Part of `consumed` that was surplus, ns.
    surplus: AtomicU64,
    /// Time for which launches waited at the gate, ns.
    waited: AtomicU64,
    /// Number of launches that waited at the gate.
    waits: AtomicU64,
    /// Number of forced admissions.
    forced_admissions: AtomicU64,
    /// Sum of all corrections to charges, ns, signed.
    corrections: AtomicU64,

    /// GPU time by class, ns, in the order of [`Class::ALL`]. This line was added later.
    classes: [AtomicU64; Class::ALL.len()],
    /// Sensitivity ([`Sensitivity::code`]).
    sensitivity: AtomicU64,
    /// Step profile ([`StepProfile::word`]).
    pace: AtomicU64,

    /// Instant before which no other launch is forced, ns. [`ClaimPage::take_forced_admission`]
    /// exchanges it.
    let_at: AtomicU64,
    /// Instant up to which charges account for the device's time, ns. Every charge moves it on.
    accounted_at: AtomicU64,
    /// Doubt: the part of the tenant's charges that may be wrong, ppm.
    doubt: AtomicU64,
    /// End of the trial in which one process learns the cost of its first launches, ns; 0 for none.
    trial_until: AtomicU64,
    /// Reserved; zero.
    _later: [AtomicU64; 4],

    /// State of reconciliation next to other tenants, see [`Beside`].
    beside: Beside,
}

/// A neighbour's claims, read once for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimView {
    /// Guaranteed share.
    pub guarantee: Ppm,
    /// Weight in the surplus.
    pub weight: u32,
    /// Class that the page claims, for the surplus.
    pub priority: Priority,
    /// Authority that decides which classes count for the guarantee.
    pub authority: Authority,
    /// Mode in which the share is enforced.
    pub mode: Mode,
    /// Instant at which the bucket is empty, ns; see [`crate::share::token_bucket`].
    pub empty_at: u64,
    /// Virtual time: surplus used, ns of GPU time times a million over the weight.
    pub virtual_time: u64,
    /// Instant at which all submitted work would be done if the tenant had the device alone, ns.
    pub finish_at: u64,
    /// Instant since which the host waits for the device, ns; 0 while it does not.
    pub blocked_since: u64,
    /// Instant at which the host last resumed after a wait for the device, ns.
    pub pressed_at: u64,
    /// Instant at which a launch last claimed to wait at the gate, ns; 0 while none does.
    pub waiting_at: u64,
    /// Instant of the tenant's last publication, ns.
    pub seen: u64,
    /// GPU time charged since the page was set up, ns.
    pub consumed: u64,
    /// Sensitivity of its work.
    pub sensitivity: Sensitivity,
    /// Step profile: its host time and GPU time.
    pub pace: StepProfile,
    /// Predicted begin of its next step.
    pub expected: PredictedStep,
    /// Part of its charges that may be wrong, ppm.
    pub doubt: u64,
    /// GPU time charged for work that is done, ns, wrapping.
    pub done: u64,
    /// True if some of its work is not known to be done.
    pub is_queued: bool,
    /// Instant up to which its charges account for the device's time, ns.
    pub accounted_at: u64,
    /// The number of processes of the tenant, the killed included.
    pub processes: u32,
}

/// The tenant's own counters, for `top` and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// GPU time charged, ns.
    pub consumed: u64,
    /// The part of it that was surplus, ns.
    pub surplus: u64,
    /// Time for which launches waited at the gate, ns.
    pub waited: u64,
    /// Number of launches that waited at the gate.
    pub waits: u64,
    /// Number of forced admissions.
    pub forced_admissions: u64,
    /// Sum of the corrections made at fences, ns, wrapping as a signed number.
    pub corrections: i64,
    /// GPU time granted, by class of the launch that asked for it, ns, in the order of
    /// [`Class::ALL`]. It is a sample and contains no corrections.
    pub classes: [u64; Class::ALL.len()],
}

impl ClaimPage {
    /// Creates a page in this process's own memory, for tests and for a tenant without a shared
    /// folder.
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            magic: zero(),
            generation: zero(),
            promise: zero(),
            event: AtomicU32::new(0),
            attached: AtomicU32::new(0),
            expected_at: zero(),
            expected_deviation: zero(),
            boot: zero(),
            layout_version: zero(),
            empty_at: zero(),
            virtual_time: zero(),
            finish_at: zero(),
            blocked_since: zero(),
            pressed_at: zero(),
            waiting_at: zero(),
            seen: zero(),
            consumed: zero(),
            floor_empty_at: zero(),
            pool_empty_at: zero(),
            cap: zero(),
            surplus: zero(),
            waited: zero(),
            waits: zero(),
            forced_admissions: zero(),
            corrections: zero(),
            classes: std::array::from_fn(|_| zero()),
            sensitivity: zero(),
            pace: zero(),
            let_at: zero(),
            accounted_at: zero(),
            doubt: zero(),
            trial_until: zero(),
            _later: std::array::from_fn(|_| zero()),
            beside: Beside::default(),
        }
    }

    /// Returns the page in a mapping of `len` bytes at `base`.
    ///
    /// # Safety
    /// `base` must point to `len` bytes that stay mapped for `'a` and are changed only through
    /// atomics. A read-only mapping supports only [`ClaimPage::view`], [`ClaimPage::counters`]
    /// and [`ClaimPage::event_word`].
    #[cfg(not(loom))]
    pub unsafe fn from_mapping<'a>(base: *const u8, len: usize) -> Result<&'a Self, PageError> {
        if base.is_null()
            || len < size_of::<Self>()
            || !base.addr().is_multiple_of(align_of::<Self>())
        {
            return Err(PageError::Mapping);
        }
        // SAFETY: long enough, aligned, and every bit pattern is a valid page of atomics; the
        // caller vouches for the lifetime.
        Ok(unsafe { &*base.cast::<Self>() })
    }

    /// Sets the page up if it is blank, and counts one process in. Any number of processes may do
    /// this at once.
    pub fn attach(&self, params: &Params, now: u64) -> Result<(), PageError> {
        // AcqRel: a process that finds the page set up also sees everything written before that.
        match self
            .magic
            .compare_exchange(0, MAGIC, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => {}
            Err(found) if LAYOUT.check_magic(NAME, found).is_ok() => {}
            Err(found) => return Err(PageError::Version { found }),
        }
        self.layout_version
            .fetch_max(u64::from(LAYOUT.version()), Ordering::Relaxed);
        self.renew(boot::id(), now);
        self.set_params(params, now);
        self.attached.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Counts one process out. If a process dies without this, the page goes stale by itself.
    pub fn detach(&self, now: u64) {
        let left = self.attached.fetch_sub(1, Ordering::AcqRel);
        if left <= 1 {
            self.blocked_since.store(0, Ordering::Relaxed);
            self.waiting_at.store(0, Ordering::Relaxed);
            self.finish_at.store(now, Ordering::Relaxed);
            self.bump();
        }
    }

    /// Publishes the limits and keeps the bucket's tokens.
    pub fn set_params(&self, params: &Params, now: u64) {
        let promise = u64::from(params.guarantee)
            | (u64::from(params.weight) << 20)
            | (u64::from(params.priority.code()) << 40)
            | (u64::from(params.mode.code()) << 44);
        let new = TokenRate {
            part: params.guarantee,
            cap: params.cap_ns(),
        };
        // Relaxed, here and for every word below that is only counted or compared: no other memory
        // is published by it. A decision may use a slightly old value.
        let old_cap = self.cap.swap(new.cap, Ordering::Relaxed);
        let old = self.promise.swap(promise, Ordering::Relaxed);
        let old_guarantee = (old & 0xf_ffff) as Ppm;
        if old_guarantee != 0 && (old_guarantee != new.part || old_cap != new.cap) {
            let before = TokenRate {
                part: old_guarantee,
                cap: old_cap,
            };
            let _ = self
                .empty_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                    Some(new.converted(before, at, now))
                });
        }
        if old != promise {
            // Release: a reader that sees the new generation sees the new promise.
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns true if the page is set up and this build can read it.
    pub fn is_valid(&self) -> bool {
        LAYOUT
            .check_magic(NAME, self.magic.load(Ordering::Acquire))
            .is_ok()
    }

    /// Returns true if the page is not set up.
    pub fn is_blank(&self) -> bool {
        self.magic.load(Ordering::Acquire) == 0
    }

    /// Returns the instant of the tenant's last publication, by its own claim, ns.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Returns the number of changes of the tenant's limits.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the page's claims. Returns `None` if the page is of another version or boot, or if
    /// its limits are invalid.
    pub fn view(&self) -> Option<ClaimView> {
        if !self.is_valid() || boot::is_another(self.boot.load(Ordering::Relaxed)) {
            return None;
        }
        // Acquire: pairs with the Release in `publish`, so that every word below is at least as new
        // as this one. A stale word can then never pass for a fresh one.
        let seen = self.seen.load(Ordering::Acquire);
        let promise = self.promise.load(Ordering::Relaxed);
        let consumed = self.consumed.load(Ordering::Relaxed);
        let view = ClaimView {
            guarantee: (promise & 0xf_ffff) as Ppm,
            weight: ((promise >> 20) & 0xf_ffff) as u32,
            priority: Priority::from_code(((promise >> 40) & 0xf) as u32)?,
            authority: Authority::Said,
            mode: Mode::from_code(((promise >> 44) & 0xf) as u32)?,
            empty_at: self.empty_at.load(Ordering::Relaxed),
            virtual_time: self.virtual_time.load(Ordering::Relaxed),
            finish_at: self.finish_at.load(Ordering::Relaxed),
            blocked_since: self.blocked_since.load(Ordering::Relaxed),
            pressed_at: self.pressed_at.load(Ordering::Relaxed),
            waiting_at: self.waiting_at.load(Ordering::Relaxed),
            seen,
            consumed,
            sensitivity: Sensitivity::from_code(self.sensitivity.load(Ordering::Relaxed)),
            pace: StepProfile::from_word(self.pace.load(Ordering::Relaxed)),
            expected: PredictedStep {
                at: self.expected_at.load(Ordering::Relaxed),
                deviation: self.expected_deviation.load(Ordering::Relaxed),
            },
            doubt: self.doubt.load(Ordering::Relaxed),
            done: self.done().unwrap_or(consumed),
            is_queued: self.is_queued(),
            accounted_at: self.accounted_at(),
            processes: self.attached.load(Ordering::Relaxed),
        };
        (view.guarantee != 0 && view.guarantee <= WHOLE && view.weight != 0).then_some(view)
    }

    /// Claims that the tenant is alive at `now`.
    pub fn publish(&self, now: u64) {
        // Release: see `view`. The maximum is kept, since clock readings of two processes may
        // cross.
        self.seen.fetch_max(now, Ordering::Release);
    }

    /// Charges `gpu` ns to the guarantee; a negative amount is a refund. Returns the tokens left.
    /// [`ClaimPage::count`] counts the use.
    pub fn charge(&self, rate: TokenRate, gpu: i64, now: u64) -> i64 {
        let mut left = 0;
        // An exchange loop instead of an add: the clamp and the charge are then one step. A clamp
        // can then never drop a charge that another process made in between.
        let _ = self
            .empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                let after = rate.after(at, now, gpu);
                left = rate.tokens(after, now);
                Some(after)
            });
        left
    }

    /// Charges `gpu` ns to the surplus: to the virtual time and the pool limit.
    pub fn charge_surplus(&self, weight: u32, pool: TokenRate, gpu: u64, now: u64) {
        self.virtual_time
            .fetch_add(gpu_to_wall_ns(gpu, weight.min(WHOLE)), Ordering::Relaxed);
        if pool.part < WHOLE {
            let _ = self
                .pool_empty_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                    Some(pool.after(at, now, i64::try_from(gpu).unwrap_or(i64::MAX)))
                });
        }
        self.surplus.fetch_add(gpu, Ordering::Relaxed);
        self.count(i64::try_from(gpu).unwrap_or(i64::MAX));
    }

    /// Charges `gpu` ns to the floor. All use counts against the floor.
    ///
    /// Time that the tenant got for other reasons makes a debt of at most the bucket's depth, so
    /// that its floor soon begins again. Time that it got on the floor `alone` is paid back in
    /// full.
    pub fn charge_floor(&self, floor: TokenRate, gpu: u64, alone: bool, now: u64) {
        let gpu = i64::try_from(gpu).unwrap_or(i64::MAX);
        let _ = self
            .floor_empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                let after = floor.after(at, now, gpu);
                let most = floor.clamp(at, now).max(now.saturating_add(floor.span()));
                Some(if alone { after } else { after.min(most) })
            });
    }

    /// Counts `gpu` ns as used.
    pub fn count(&self, gpu: i64) {
        // Wrapping: a signed amount added to an unsigned counter.
        self.consumed.fetch_add(gpu as u64, Ordering::Relaxed);
    }

    /// Counts a correction that [`ClaimPage::charge`] has made.
    pub fn note_correction(&self, gpu: i64) {
        self.corrections.fetch_add(gpu as u64, Ordering::Relaxed);
    }

    /// Adds work submitted from `since` on to the published queue.
    pub fn submitted(&self, gpu: u64, since: u64) {
        let _ = self
            .finish_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                Some(at.max(since).saturating_add(gpu))
            });
    }

    /// Raises the estimate of the queue's end: at `now`, `gpu` ns of work are still queued, because
    /// neighbours used the device.
    pub fn still_queued(&self, gpu: u64, now: u64) {
        if gpu > 0 {
            self.finish_at
                .fetch_max(now.saturating_add(gpu), Ordering::Relaxed);
        }
    }

    /// Lowers the estimate of the queue's end to `now`: nothing is in flight.
    pub fn drained(&self, now: u64) {
        self.finish_at.fetch_min(now, Ordering::Relaxed);
    }

    /// Claims that the host waits for the device since `now`.
    pub fn block(&self, now: u64) {
        // An exchange instead of a store: it is then ordered with the exchanges of `unblock`, also
        // in loom's model.
        self.blocked_since.swap(now, Ordering::Relaxed);
        self.publish(now);
    }

    /// Withdraws the claim made with the same `since`, and no other process's claim.
    pub fn unblock(&self, since: u64, now: u64) {
        self.pressed_at.fetch_max(now, Ordering::Relaxed);
        // A failed exchange means that another process began to wait later. Its claim stays.
        let _ = self
            .blocked_since
            .compare_exchange(since, 0, Ordering::Relaxed, Ordering::Relaxed);
        self.publish(now);
    }

    /// Claims that a launch waits at the gate at `now`. Each recheck renews the claim. A dead or
    /// stopped process's claim goes stale even if other processes of its tenant write the page.
    pub fn waits(&self, now: u64) {
        self.waiting_at.fetch_max(now, Ordering::Relaxed);
        self.publish(now);
    }

    /// Ends the claim of [`ClaimPage::waits`] and counts the wait, which began at `since`.
    pub fn wait_ends(&self, since: u64, now: u64) {
        self.waiting_at.store(0, Ordering::Relaxed);
        self.waited
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a forced admission.
    pub fn note_forced_admission(&self) {
        self.forced_admissions.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `gpu` ns as granted to work of `class`.
    pub fn count_class(&self, class: Class, gpu: u64) {
        self.classes[usize::from(class.code())].fetch_add(gpu, Ordering::Relaxed);
    }

    /// Publishes the sensitivity of the tenant's work. Of several processes, the last writer wins.
    pub fn lean(&self, sensitivity: Sensitivity) {
        // Read first: the value hardly ever changes, and neighbours read the cache line.
        if self.sensitivity.load(Ordering::Relaxed) != sensitivity.code() {
            self.sensitivity
                .store(sensitivity.code(), Ordering::Relaxed);
        }
    }

    /// Publishes that a step has ended at `now`, and the step profile. Of several processes, the
    /// last writer wins.
    pub fn keep_pace(&self, pace: StepProfile, now: u64) {
        self.pace.store(pace.word(), Ordering::Relaxed);
        self.pressed_at.fetch_max(now, Ordering::Relaxed);
        self.publish(now);
    }

    /// Publishes the prediction of the tenant's next step. A reader may see an instant with the
    /// deviation of another one; both were recently true.
    pub fn expect(&self, expected: PredictedStep) {
        self.expected_deviation
            .store(expected.deviation, Ordering::Relaxed);
        self.expected_at.store(expected.at, Ordering::Relaxed);
    }

    /// Raises the virtual time to `to`. It never decreases.
    pub fn raise_vtime(&self, to: u64) {
        self.virtual_time.fetch_max(to, Ordering::Relaxed);
    }

    /// Returns the instants at which the tenant's floor bucket and pool bucket are empty, ns.
    pub fn own_buckets(&self) -> (u64, u64) {
        (
            self.floor_empty_at.load(Ordering::Relaxed),
            self.pool_empty_at.load(Ordering::Relaxed),
        )
    }

    /// Raises the wake word. The caller must then wake its waiters: see [`crate::share::wait`].
    pub fn bump(&self) {
        // Release: a waiter that sees the new value sees what was published before it.
        self.event.fetch_add(1, Ordering::Release);
    }

    /// Returns the wake word.
    pub fn event_word(&self) -> &AtomicU32 {
        &self.event
    }

    /// Returns the tenant's counters.
    pub fn counters(&self) -> Counters {
        Counters {
            consumed: self.consumed.load(Ordering::Relaxed),
            surplus: self.surplus.load(Ordering::Relaxed),
            waited: self.waited.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            forced_admissions: self.forced_admissions.load(Ordering::Relaxed),
            corrections: self.corrections.load(Ordering::Relaxed) as i64,
            classes: std::array::from_fn(|index| self.classes[index].load(Ordering::Relaxed)),
        }
    }
}

impl Default for ClaimPage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<ClaimPage>() == 384);
    assert!(std::mem::offset_of!(ClaimPage, boot) == 48);
    assert!(std::mem::offset_of!(ClaimPage, empty_at) == 64);
    assert!(std::mem::offset_of!(ClaimPage, seen) as u64 == SEEN_AT);
    assert!(std::mem::offset_of!(ClaimPage, floor_empty_at) == 128);
    assert!(std::mem::offset_of!(ClaimPage, classes) == 192);
    assert!(std::mem::offset_of!(ClaimPage, let_at) == 256);
    assert!(std::mem::offset_of!(ClaimPage, beside) == 320);
};
