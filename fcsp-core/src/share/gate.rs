//! The gate: one process's rate limiter for one device.
//!
//! The process takes credit in slices from its tenant's token bucket, and every launch is charged
//! to that credit. The policy decides when the next slice may be taken, and how long to wait for
//! it.
//!
//! The fast path, [`Gate::admit`], loads one word that is otherwise only read, and subtracts from a
//! counter of this process. Credit lasts for some hundred microseconds of GPU time.
//! [`Gate::acquire`] then publishes the submitted work, reads the neighbours' claim pages, asks the
//! policy and takes the next slice.
//!
//! The gate never blocks and never reads a clock. The backend waits, and passes the time to every
//! call.

mod beside;
mod hot_state;
mod reconcile;
mod served;
mod slow;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::classify::Class;
use crate::share::claim_page::{ClaimPage, ClaimView, PageError};
use crate::share::gap_filling::{Quanta, StepProfiler};
use crate::share::margin::Margin;
use crate::share::mix::Mix;
use crate::share::params::{Params, Priority};
use crate::share::policy::Reason;
use crate::share::step_predictor::StepPredictor;
use crate::units::WHOLE;
use beside::Looked;
pub use beside::{may_have_run, progress};
pub use hot_state::{HotState, SEVERAL};
use hot_state::{WORD_AWAITED, WORD_BLOCKED, WORD_CHANGED, WORD_PAUSED};
pub use reconcile::BusyInterval;
use served::Served;

/// Largest credit slice, ns of GPU time.
pub const MAX_SLICE_NS: u64 = 500_000;
/// Largest credit slice without recently active neighbours and with many tokens, ns of GPU time.
pub const MAX_LONE_SLICE_NS: u64 = 2_000_000;
/// Smallest credit slice next to active neighbours, ns of GPU time.
pub const MIN_SLICE_NS: u64 = 8_000;
/// First credit slice after a wait for tokens, ns of GPU time.
///
/// It is short so that the backend can soon record a fence that the device has not reached. Spans
/// can be measured from such a fence.
pub const FIRST_SLICE_NS: u64 = 150_000;
/// Most launches that a process may have in flight before any of its work is known to be done:
/// their cost is not known yet.
pub const FIRST_LAUNCHES: u64 = 2;
/// Longest wait of a tenant's other new processes for the first launches of one of them, ns.
pub const TRIAL_NS: u64 = 1_000_000_000;
/// Interval at which a tenant with neighbours takes the slow path, so that they see it, ns.
pub const PUBLISH_NS: u64 = 200_000;
/// Time without progress after which one launch is admitted whatever the policy says, ns. It counts
/// only while work is in flight.
pub const STUCK_NS: u64 = 30_000_000;
/// Addition to [`STUCK_NS`] for each active neighbour, whose time slices may delay this work, ns.
pub const STUCK_PER_NEIGHBOUR_NS: u64 = 4_000_000;
/// Largest debt with which collectives are still admitted first, ns of waiting.
pub const RANKS_DEBT_NS: u64 = 100_000_000;
/// Limit to [`RANKS_DEBT_NS`] in GPU time, ns: a hundredth of a second. The lesser limit applies.
pub const RANKS_MOST_NS: u64 = 10_000_000;
/// Longest wait of a launch after its bucket has filled again, ns.
pub const OVERDUE_NS: u64 = 20_000_000;
/// Longest wait of a launch for any reason but a pause or a debt, ns.
pub const MAX_WAIT_NS: u64 = 500_000_000;

/// Admission of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateAdmission {
    /// Launch; the work is charged. If `marker` is set, record a fence in the queue after this
    /// launch, and pass it to [`Gate::retire`] once it is reached.
    Go {
        /// Request to record a fence.
        marker: bool,
    },
    /// Wait until [`Gate::in_flight`] is at most `to` or nothing is left to wait for. Then ask
    /// again.
    Drain {
        /// Bound for the work in flight, ns of GPU time.
        to: u64,
    },
    /// Wait until `until` or a wake-up, then ask again.
    Wait {
        /// Deadline of the wait, ns of CLOCK_MONOTONIC.
        until: u64,
        /// Reason for the wait.
        reason: Reason,
    },
    /// Forced admission: launch this one, since its deadline passed. It is charged. Record a fence.
    Forced,
}

/// Position in a process's submitted work: the GPU time charged up to it, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(u64);

impl Position {
    /// Returns the GPU time charged between an earlier position and this one, ns.
    pub fn since(self, earlier: Position) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One process's rate limiter for one device. All methods may be called from any thread.
///
/// All words are changed with relaxed atomics: they are quantities of one process and guard no
/// memory.
#[derive(Debug)]
pub struct Gate<'p> {
    /// State that every launch reads or writes, on one cache line.
    line: HotState,
    /// Claim page of the tenant on this device.
    page: &'p ClaimPage,
    /// Limits in force, as [`Params::to_words`]. [`Gate::set_params`] writes them; the slow path
    /// reads them.
    params: [AtomicU64; 8],
    /// Credit that this process has taken so far, ns of GPU time. The slow path adds to it. What is
    /// not left in [`HotState::credit`] has been submitted.
    granted: AtomicU64,
    /// Position up to which all work is known to be done, ns of GPU time. [`Gate::retire`] raises
    /// it.
    retired: AtomicU64,
    /// Position up to which work was published in the claim page, ns of GPU time.
    flushed: AtomicU64,
    /// Instant of the last publication, ns.
    flushed_at: AtomicU64,
    /// Size of the next credit slice, ns of GPU time. It adapts to [`PUBLISH_NS`].
    slice: AtomicU64,
    /// Instant since which the host waits for the device, ns; 0 while it does not.
    blocked: AtomicU64,
    /// Instant since which a launch waits for admission, ns; 0 while none does.
    waiting: AtomicU64,
    /// Word in which this process publishes `waiting` for readers outside. The claim page has one
    /// word for all processes of the tenant.
    wait_word: Option<&'p crate::sync::AtomicU64>,
    /// Instant at which work was last found done or the device was last idle, ns. Deadlines for
    /// stuck work count from it.
    progress_at: AtomicU64,
    /// Profile of this process's own steps.
    meter: StepProfiler,
    /// Current quantum next to a host-bound neighbour.
    turns: Quanta,
    /// Prediction of this process's next step.
    arrivals: StepPredictor,
    /// 1 while this tenant yields to a neighbour, else 0. A yielding tenant uses half the window
    /// (hysteresis).
    yielding: AtomicU32,
    /// Bits of exhausted buckets (`GUARANTEE_SPENT`, `FLOOR_SPENT`). A bit is set when a bucket
    /// runs empty, until the bucket holds a useful amount again.
    exhausted: AtomicU32,
    /// Slowdown: wall time over charged time, ppm, as a moving average with weight 1/8.
    /// [`Gate::observe`] writes it; only adaptive mode reads it.
    slowdown_ppm: AtomicU64,
    /// Mean cost of the launches that reach the slow path, ns, as a moving average with weight
    /// 1/16.
    mean_kernel_ns: AtomicU64,
    /// Time for which the host has waited for the device so far, ns.
    blocked_ns: AtomicU64,
    /// Margin on charges while the device is contended.
    margin: Margin,
    /// Device time by class of work.
    mix: Mix,
    /// True if other ranks may wait for this process's collectives.
    ranks: AtomicBool,
    /// 1 once any work was found done or a launch was forced.
    has_retired: AtomicU32,
    /// Device time counted as used by this process, ns.
    paid: AtomicU64,
    /// Number of credit slices taken before any work was found done.
    first_slices: AtomicU64,
    /// Earliest instant since which the device has continuously had work of this process, ns.
    period_at: AtomicU64,
    /// Position at `period_at`, ns of GPU time.
    period_mark: AtomicU64,
    /// Corrections to charges since `period_at`, ns.
    amended: AtomicI64,
    /// The last look at the neighbours' progress, for reconciliation.
    looked: Looked,
    /// The window in which the least that the device gave this process is summed up.
    served: Served,
}

impl<'p> Gate<'p> {
    /// Creates the gate of a process of the tenant to which `page` belongs.
    pub fn new(page: &'p ClaimPage, params: Params, now: u64) -> Result<Self, PageError> {
        page.attach(&params, now)?;
        let gate = Self {
            line: HotState::default(),
            page,
            params: params.to_words().map(AtomicU64::new),
            granted: AtomicU64::new(0),
            retired: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            flushed_at: AtomicU64::new(now),
            slice: AtomicU64::new(MIN_SLICE_NS),
            blocked: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            wait_word: None,
            progress_at: AtomicU64::new(now),
            meter: StepProfiler::default(),
            turns: Quanta::default(),
            arrivals: StepPredictor::default(),
            yielding: AtomicU32::new(0),
            exhausted: AtomicU32::new(0),
            slowdown_ppm: AtomicU64::new(u64::from(WHOLE)),
            mean_kernel_ns: AtomicU64::new(0),
            blocked_ns: AtomicU64::new(0),
            margin: Margin::default(),
            mix: Mix::default(),
            ranks: AtomicBool::new(false),
            has_retired: AtomicU32::new(0),
            paid: AtomicU64::new(0),
            first_slices: AtomicU64::new(0),
            period_at: AtomicU64::new(now),
            period_mark: AtomicU64::new(0),
            amended: AtomicI64::new(0),
            looked: Looked::default(),
            served: Served::new(page),
        };
        Ok(gate)
    }

    /// Adds a `word` in which the gate publishes since when a launch waits: ns of CLOCK_MONOTONIC,
    /// 0 while none does.
    #[must_use]
    pub fn telling(mut self, word: &'p crate::sync::AtomicU64) -> Self {
        self.wait_word = Some(word);
        self
    }

    /// Returns the state that every launch reads and writes.
    #[inline(always)]
    pub fn line(&self) -> &HotState {
        &self.line
    }

    /// Returns the tenant's claim page.
    pub fn page(&self) -> &'p ClaimPage {
        self.page
    }

    /// Takes `cost` ns from the credit (the fast path). Returns false if nothing was taken; then
    /// call [`Gate::acquire`].
    #[inline(always)]
    pub fn admit(&self, cost: u64) -> bool {
        // Relaxed throughout: credit is a quantity and guards no memory. A launch may see a change
        // of the word late by one.
        if self.line.word.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let cost = cost as i64;
        if self.line.credit.fetch_sub(cost, Ordering::Relaxed) >= cost {
            return true;
        }
        self.line.credit.fetch_add(cost, Ordering::Relaxed);
        false
    }

    /// Sets whether other ranks may wait for this process's collectives. Such collectives are
    /// admitted first while the tenant owes little ([`Gate::acquire_as`]).
    pub fn set_ranks(&self, several: bool) {
        // Relaxed: the flag guards no memory.
        self.ranks.store(several, Ordering::Relaxed);
    }

    /// Returns the GPU time submitted by this process and not known to be done, ns.
    pub fn in_flight(&self) -> u64 {
        self.launched()
            .saturating_sub(self.retired.load(Ordering::Relaxed))
    }

    fn launched(&self) -> u64 {
        let credit = self.line.credit.load(Ordering::Relaxed);
        (self.granted.load(Ordering::Relaxed) as i64)
            .saturating_sub(credit)
            .max(0) as u64
    }

    /// Returns the position after all work submitted so far.
    pub fn mark(&self) -> Position {
        Position(self.launched())
    }

    /// Records that all work up to `marker` is done at `now`.
    pub fn retire(&self, marker: Position, now: u64) {
        let before = self.retired.fetch_max(marker.0, Ordering::Relaxed);
        if before < marker.0 {
            self.page.add_done((marker.0 - before).cast_signed());
            self.progress_at.fetch_max(now, Ordering::Relaxed);
            self.learns();
            if self.in_flight() == 0 {
                self.ran_empty();
            }
        }
    }

    /// Records that the cost of some work of this process is known, and ends its trial.
    fn learns(&self) {
        if self.has_retired.load(Ordering::Relaxed) == 0 {
            self.has_retired.store(1, Ordering::Relaxed);
            if self.first_slices.load(Ordering::Relaxed) > 0 {
                self.page.end_trial();
            }
        }
    }

    /// Records that nothing of this process is in flight at `now`: a device or context
    /// synchronisation has returned.
    pub fn drained(&self, now: u64) {
        self.flush(now);
        self.retire(self.mark(), now);
        self.page.drained(now);
    }

    /// Records that the host begins to wait for the device: a synchronisation, a blocking copy, or
    /// a query that answered "not ready".
    pub fn block(&self, now: u64) {
        self.meter.stands(now, true);
        self.stand(now);
    }

    /// Records that the host waits because the gate delays it. Unlike [`Gate::block`], this ends no
    /// step of the program.
    fn stand(&self, now: u64) {
        self.meter.stands(now, false);
        self.flush(now);
        if self.in_flight() > 0 && self.blocked.swap(now, Ordering::Relaxed) == 0 {
            self.line.word.fetch_or(WORD_BLOCKED, Ordering::Relaxed);
            self.page.block(now);
        }
    }

    /// Records that the host runs again at `now`. Returns true if waiting neighbours should be
    /// woken ([`crate::share::wait::wake`]).
    pub fn resume(&self, now: u64) -> bool {
        let ended = self.meter.goes_on(now, self.launched());
        if let Some(pace) = ended {
            // The profile is published before the end of the step is: a neighbour that starts a
            // quantum then uses the new profile.
            if self.params().priority == Priority::High && self.in_flight() == 0 {
                self.page.expect(self.arrivals.ended(now));
                self.line.word.fetch_or(WORD_AWAITED, Ordering::Relaxed);
            }
            self.page.keep_pace(pace, now);
        }
        let since = self.blocked.swap(0, Ordering::Relaxed);
        if since == 0 {
            return ended.is_some();
        }
        self.line.word.fetch_and(!WORD_BLOCKED, Ordering::Relaxed);
        self.blocked_ns
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        // Published before the claim is withdrawn: queued work keeps the tenant device-bound while
        // its host prepares more.
        self.page.still_queued(self.in_flight(), now);
        self.page.unblock(since, now);
        true
    }

    /// Corrects the charge: `measured` ns of GPU time were used where `estimated` ns had been
    /// charged since the last correction. Use it only for measurements that contain no other
    /// tenant's time.
    pub fn true_up(&self, measured: u64, estimated: u64, now: u64) {
        let difference = measured as i64 - estimated as i64;
        self.page.move_account(difference);
        self.amend(difference, now);
    }

    /// Records the slowdown: work charged `charged` ns took `elapsed` ns of wall time with the
    /// queue never empty. Only adaptive mode uses it.
    pub fn observe(&self, elapsed: u64, charged: u64) {
        if charged == 0 {
            return;
        }
        let sample =
            (u128::from(elapsed) * u128::from(WHOLE) / u128::from(charged)).min(64_000_000) as u64;
        let old = self.slowdown_ppm.load(Ordering::Relaxed);
        self.slowdown_ppm
            .store(old - old / 8 + sample / 8, Ordering::Relaxed);
    }

    /// Returns the limits in force.
    pub fn params(&self) -> Params {
        let words = std::array::from_fn(|i| self.params[i].load(Ordering::Relaxed));
        // A mixture of two sets, read during a change, may be invalid. The next launch reads again.
        Params::from_words(&words).unwrap_or_default()
    }

    /// Changes the limits. The next launch sees the change.
    pub fn set_params(&self, params: Params, now: u64) {
        for (word, value) in self.params.iter().zip(params.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.page.set_params(&params, now);
        self.line.word.fetch_or(WORD_CHANGED, Ordering::Relaxed);
    }

    /// Stops every launch, or admits launches again.
    pub fn set_paused(&self, paused: bool) {
        if paused {
            self.line.word.fetch_or(WORD_PAUSED, Ordering::Relaxed);
        } else {
            self.line.word.fetch_and(!WORD_PAUSED, Ordering::Relaxed);
        }
    }

    fn own_rate(&self) -> crate::share::token_bucket::TokenRate {
        let params = self.params();
        crate::share::token_bucket::TokenRate {
            part: params.guarantee,
            cap: params.cap_ns(),
        }
    }

    /// Publishes the work submitted since the last publication.
    fn flush(&self, now: u64) {
        let launched = self.launched();
        let before = self.flushed.fetch_max(launched, Ordering::Relaxed);
        let since = self.flushed_at.swap(now, Ordering::Relaxed);
        if launched > before {
            // Counted as if all of it had been submitted at the start of the interval. The
            // published queue is then at least as deep as the real one.
            self.page.submitted(launched - before, since.min(now));
            self.page.add_launched((launched - before).cast_signed());
            // Here the interval counts from its end: no time in it counts as busy unless it was
            // observed.
            self.account_for(launched - before, now);
        }
    }

    /// Calls [`Gate::acquire_as`] for unclassified work.
    pub fn acquire(&self, cost: u64, now: u64, neighbours: &[ClaimView]) -> GateAdmission {
        self.acquire_as(Class::Other, cost, now, neighbours)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let now = self.flushed_at.load(Ordering::Relaxed);
        self.resume(now);
        self.finish_wait(now);
        self.page.detach(now);
    }
}
