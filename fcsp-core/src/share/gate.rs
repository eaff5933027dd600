//! What a backend calls at a launch: credit in the process, slices of it from the tenant's page,
//! waits from the policy.
//!
//! The fast path, [`Gate::admit`], is one load of a word that is otherwise only read and one
//! subtraction from a counter of this process. Credit runs out after some hundred microseconds of
//! GPU time; then [`Gate::acquire`] publishes what was submitted, reads the neighbours' pages, asks
//! the policy and takes the next slice.
//!
//! The gate never blocks and never reads a clock: the backend waits, and says what time it is.

mod beside;
mod line;
mod reconcile;
mod slow;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::classify::Class;
use crate::share::arrivals::Arrivals;
use crate::share::margin::Margin;
use crate::share::mix::Mix;
use crate::share::page::{PageError, TenantPage, View};
use crate::share::params::{Params, Priority};
use crate::share::policy::Reason;
use crate::share::turns::{Meter, Turns};
use crate::units::WHOLE;
use beside::Looked;
pub use beside::{may_have_run, progress};
pub use line::{Line, SEVERAL};
use line::{WORD_AWAITED, WORD_BLOCKED, WORD_CHANGED, WORD_PAUSED};
pub use reconcile::Stretch;

/// The largest slice of credit, ns of GPU time.
pub const MAX_SLICE_NS: u64 = 500_000;
/// The largest slice of credit where no neighbour is about and tokens are plenty, ns of GPU time.
pub const MAX_LONE_SLICE_NS: u64 = 2_000_000;
/// The smallest slice of credit beside active neighbours, ns of GPU time.
pub const MIN_SLICE_NS: u64 = 8_000;
/// The first slice after a wait for tokens, ns of GPU time: soon after it a marker can be put that
/// the device has not reached yet, from which spans may be measured.
pub const FIRST_SLICE_NS: u64 = 150_000;
/// Launches of a process that may be on the device before anything was found done: nobody knows
/// what they take.
pub const FIRST_LAUNCHES: u64 = 2;
/// For so long at most other new processes of a tenant wait for such launches of one, ns.
pub const TRIAL_NS: u64 = 1_000_000_000;
/// A tenant with neighbours passes the slow path about this often, so that they see it, ns.
pub const PUBLISH_NS: u64 = 200_000;
/// With work in flight and none of it done for this long, one launch goes through whatever the
/// policy says, ns.
pub const STUCK_NS: u64 = 30_000_000;
/// Added to [`STUCK_NS`] for each active neighbour, whose slices may be why nothing got done, ns.
pub const STUCK_PER_NEIGHBOUR_NS: u64 = 4_000_000;
/// Waiting that a tenant may owe before its collectives wait like other work, ns.
pub const RANKS_DEBT_NS: u64 = 100_000_000;
/// The same as GPU time, if that is less, ns: a point of a second.
pub const RANKS_MOST_NS: u64 = 10_000_000;
/// No launch waits longer than this after its bucket has filled again, ns.
pub const OVERDUE_NS: u64 = 20_000_000;
/// No launch waits longer than this for anything at all unless the tenant is paused or in debt, ns.
pub const MAX_WAIT_NS: u64 = 500_000_000;

/// What to do with a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Launch; it is charged. If `marker` is set, record something on the stream that tells when
    /// this launch is done, and hand it to [`Gate::retire`] then.
    Go {
        /// Whether to record a marker.
        marker: bool,
    },
    /// Wait until [`Gate::in_flight`] is at most `to` (or nothing is left to wait for), then ask
    /// again.
    Drain {
        /// Ns of GPU time.
        to: u64,
    },
    /// Wait until `until` or a wake-up, then ask again.
    Wait {
        /// Ns.
        until: u64,
        /// Why.
        reason: Reason,
    },
    /// A deadline passed: launch this one, it is charged. Record a marker.
    LetOne,
}

/// A position in the process's stream of submitted work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Marker(u64);

impl Marker {
    /// GPU time charged between an earlier marker and this one, ns.
    pub fn since(self, earlier: Marker) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One process's gate to one device. All methods may be called from any thread.
#[derive(Debug)]
pub struct Gate<'p> {
    line: Line,
    page: &'p TenantPage,
    params: [AtomicU64; 8],
    granted: AtomicU64,
    retired: AtomicU64,
    flushed: AtomicU64,
    flushed_at: AtomicU64,
    slice: AtomicU64,
    blocked: AtomicU64,
    waiting: AtomicU64,
    /// Where this process says since when it waits, for readers outside; the tenant's page has one
    /// word for all processes.
    wait_word: Option<&'p crate::sync::AtomicU64>,
    progress_at: AtomicU64,
    meter: Meter,
    turns: Turns,
    arrivals: Arrivals,
    back: AtomicU32,
    spent: AtomicU32,
    stretch: AtomicU64,
    kernel: AtomicU64,
    blocked_ns: AtomicU64,
    margin: Margin,
    mix: Mix,
    /// Whether other ranks may wait for this process's collectives.
    ranks: AtomicBool,
    /// Whether anything was found done yet.
    has_retired: AtomicU32,
    /// Counted as used by this process, ns.
    paid: AtomicU64,
    /// Slices granted before anything was found done.
    first_slices: AtomicU64,
    /// Since when the device has had work of this process, at the earliest, and the position at
    /// that instant.
    period_at: AtomicU64,
    period_mark: AtomicU64,
    /// Charged after the fact since then, ns.
    amended: AtomicI64,
    looked: Looked,
}

impl<'p> Gate<'p> {
    /// A gate for a process of the tenant whose page this is.
    pub fn new(page: &'p TenantPage, params: Params, now: u64) -> Result<Self, PageError> {
        page.attach(&params, now)?;
        let gate = Self {
            line: Line::default(),
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
            meter: Meter::default(),
            turns: Turns::default(),
            arrivals: Arrivals::default(),
            back: AtomicU32::new(0),
            spent: AtomicU32::new(0),
            stretch: AtomicU64::new(u64::from(WHOLE)),
            kernel: AtomicU64::new(0),
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
        };
        Ok(gate)
    }

    /// The same gate, which also says in `word` since when it holds a launch back: ns of
    /// CLOCK_MONOTONIC, 0 while it does not.
    #[must_use]
    pub fn telling(mut self, word: &'p crate::sync::AtomicU64) -> Self {
        self.wait_word = Some(word);
        self
    }

    /// What every launch reads and writes.
    #[inline(always)]
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The tenant's page.
    pub fn page(&self) -> &'p TenantPage {
        self.page
    }

    /// The fast path: takes `cost` ns from the credit. False means: ask [`Gate::acquire`]; nothing
    /// was taken.
    #[inline(always)]
    pub fn admit(&self, cost: u64) -> bool {
        // Relaxed throughout: credit is a quantity and guards no memory; a change of the word may
        // be seen a launch late.
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

    /// Says whether other ranks may wait for this process's collectives. Those then go first, as
    /// long as the tenant owes little ([`Gate::acquire_as`]).
    pub fn set_ranks(&self, several: bool) {
        // Relaxed: a sign that stands alone.
        self.ranks.store(several, Ordering::Relaxed);
    }

    /// GPU time submitted by this process and not known to be done, ns.
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

    /// The position after everything submitted so far.
    pub fn mark(&self) -> Marker {
        Marker(self.launched())
    }

    /// Everything up to `marker` is done at `now`.
    pub fn retire(&self, marker: Marker, now: u64) {
        let before = self.retired.fetch_max(marker.0, Ordering::Relaxed);
        if before < marker.0 {
            self.page.add_done((marker.0 - before).cast_signed());
            self.progress_at.fetch_max(now, Ordering::Relaxed);
            self.learns();
        }
    }

    /// Something is known of what this process's work takes.
    fn learns(&self) {
        if self.has_retired.load(Ordering::Relaxed) == 0 {
            self.has_retired.store(1, Ordering::Relaxed);
            if self.first_slices.load(Ordering::Relaxed) > 0 {
                self.page.end_trial();
            }
        }
    }

    /// Nothing of this process is in flight at `now`: a device or context synchronisation came
    /// back.
    pub fn drained(&self, now: u64) {
        self.flush(now);
        self.retire(self.mark(), now);
        self.page.drained(now);
    }

    /// The host is about to stand waiting for the device (a synchronisation, a blocking copy, a
    /// query that said "not ready").
    pub fn block(&self, now: u64) {
        self.meter.stands(now, true);
        self.stand(now);
    }

    /// As [`Gate::block`], where the gate itself holds the host back: no end of a step of the
    /// program's.
    fn stand(&self, now: u64) {
        self.meter.stands(now, false);
        self.flush(now);
        if self.in_flight() > 0 && self.blocked.swap(now, Ordering::Relaxed) == 0 {
            self.line.word.fetch_or(WORD_BLOCKED, Ordering::Relaxed);
            self.page.block(now);
        }
    }

    /// The host goes on at `now`. True if neighbours that wait should be woken
    /// ([`crate::share::wait::wake`]).
    pub fn resume(&self, now: u64) -> bool {
        let ended = self.meter.goes_on(now, self.launched());
        if let Some(pace) = ended {
            // Before the end of the step is seen: whoever takes a turn then goes by the pace.
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
        // Before the claim is taken back: what is still queued holds the tenant up while its host
        // prepares more.
        self.page.still_queued(self.in_flight(), now);
        self.page.unblock(since, now);
        true
    }

    /// Puts right what was charged: `measured` ns of GPU time were used where `estimated` had been
    /// charged since the last correction. Only for measurements in which no other tenant's time is
    /// contained.
    pub fn true_up(&self, measured: u64, estimated: u64, now: u64) {
        let difference = measured as i64 - estimated as i64;
        self.page.move_account(difference);
        self.amend(difference, now);
    }

    /// Tells the gate how long work took by the clock, with the queue never empty, against what was
    /// charged for it: what the adaptive mode goes by.
    pub fn observe(&self, elapsed: u64, charged: u64) {
        if charged == 0 {
            return;
        }
        let sample =
            (u128::from(elapsed) * u128::from(WHOLE) / u128::from(charged)).min(64_000_000) as u64;
        let old = self.stretch.load(Ordering::Relaxed);
        self.stretch
            .store(old - old / 8 + sample / 8, Ordering::Relaxed);
    }

    /// The limits in force.
    pub fn params(&self) -> Params {
        let words = std::array::from_fn(|i| self.params[i].load(Ordering::Relaxed));
        // A mixture of two sets read while they change may be invalid; the next launch reads again.
        Params::from_words(&words).unwrap_or_default()
    }

    /// Changes the limits. The change is felt at the next launch.
    pub fn set_params(&self, params: Params, now: u64) {
        for (word, value) in self.params.iter().zip(params.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.page.set_params(&params, now);
        self.line.word.fetch_or(WORD_CHANGED, Ordering::Relaxed);
    }

    /// Stops every launch, or lets them go on.
    pub fn set_paused(&self, paused: bool) {
        if paused {
            self.line.word.fetch_or(WORD_PAUSED, Ordering::Relaxed);
        } else {
            self.line.word.fetch_and(!WORD_PAUSED, Ordering::Relaxed);
        }
    }

    fn own_rate(&self) -> crate::share::bucket::Rate {
        let params = self.params();
        crate::share::bucket::Rate {
            quota: params.quota,
            cap: params.cap_ns(),
        }
    }

    /// Publishes what was submitted since the last time.
    fn flush(&self, now: u64) {
        let launched = self.launched();
        let before = self.flushed.fetch_max(launched, Ordering::Relaxed);
        let since = self.flushed_at.swap(now, Ordering::Relaxed);
        if launched > before {
            // As if all of it had been submitted at the start of the interval: the queue is then at
            // least this deep.
            self.page.submitted(launched - before, since.min(now));
            self.page.add_launched((launched - before).cast_signed());
            // The other way round: not a moment of the interval before counts as busy unless
            // somebody has seen it.
            self.account_for(launched - before, now);
        }
    }

    /// [`Gate::acquire_as`] for work that nobody has classified.
    pub fn acquire(&self, cost: u64, now: u64, neighbours: &[View]) -> Verdict {
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
