//! What a backend calls at a launch: credit in the process, slices of it from the tenant's page, waits from the policy.
//!
//! The fast path, [`Gate::admit`], is one load of a word that is otherwise only read and one subtraction from a counter
//! of this process. Credit runs out after some hundred microseconds of GPU time; then [`Gate::acquire`] publishes what
//! was submitted, reads the neighbours' pages, asks the policy and takes the next slice.
//!
//! The gate never blocks and never reads a clock: the backend waits, and says what time it is.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::classify::Class;
use crate::share::bucket::wall_of;
use crate::share::margin::{Margin, Sample};
use crate::share::mix::{Leaning, Mix};
use crate::share::page::{PageError, TenantPage, View};
use crate::share::params::{Mode, Params};
use crate::share::policy::{self, Decision, Funds, Own, Reason, Tuning};
use crate::share::turns::{Meter, Turn, Turns};
use crate::units::WHOLE;

/// The largest slice of credit, ns of GPU time.
pub const MAX_SLICE_NS: u64 = 500_000;
/// The largest slice of credit where no neighbour is about and tokens are plenty, ns of GPU time.
pub const MAX_LONE_SLICE_NS: u64 = 2_000_000;
/// The smallest slice of credit beside active neighbours, ns of GPU time.
pub const MIN_SLICE_NS: u64 = 8_000;
/// The first slice after a wait for tokens, ns of GPU time: soon after it a marker can be put that the device has not
/// reached yet, from which spans may be measured.
pub const FIRST_SLICE_NS: u64 = 150_000;
/// A tenant with neighbours passes the slow path about this often, so that they see it, ns.
pub const PUBLISH_NS: u64 = 200_000;
/// With work in flight and none of it done for this long, one launch goes through whatever the policy says, ns.
pub const STUCK_NS: u64 = 30_000_000;
/// Added to [`STUCK_NS`] for each active neighbour, whose slices may be why nothing got done, ns.
pub const STUCK_PER_NEIGHBOUR_NS: u64 = 4_000_000;
/// No launch waits longer than this after its bucket has filled again, ns.
pub const OVERDUE_NS: u64 = 20_000_000;
/// No launch waits longer than this for anything at all unless the tenant is paused or in debt, ns.
pub const MAX_WAIT_NS: u64 = 500_000_000;

/// What to do with a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Launch; it is charged. If `marker` is set, record something on the stream that tells when this launch is done,
    /// and hand it to [`Gate::retire`] then.
    Go {
        /// Whether to record a marker.
        marker: bool,
    },
    /// Wait until [`Gate::in_flight`] is at most `to` (or nothing is left to wait for), then ask again.
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

const WORD_CHANGED: u32 = 1;
const WORD_BLOCKED: u32 = 2;
const WORD_PAUSED: u32 = 4;
const WORD_POLITE: u32 = 8;

/// What every launch reads and writes: one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line {
    /// Nonzero sends every launch to the slow path.
    word: AtomicU32,
    /// Launches since the backend's last marker. Not counted exactly: threads may lose each other's steps.
    pub unmarked: AtomicU32,
    credit: AtomicI64,
    /// The stream of the last launch, as the backend names streams.
    pub stream: AtomicUsize,
    /// The key launched since the last marker; [`SEVERAL`] if there were more, 0 if there was none.
    pub key: AtomicU64,
    /// What the last launch was charged, ns.
    pub last_cost: AtomicU64,
    /// Launches until one is timed.
    pub countdown: AtomicU32,
}

/// How a launch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Up to the depth in flight.
    Freely,
    /// One short kernel in flight.
    Politely,
    /// What is left of a turn, in one piece.
    InTurn(Turn),
}

/// More than one key, in [`Line::key`]: no key of a kernel or graph is this small.
pub const SEVERAL: u64 = 1;

impl Line {
    /// Enters a launch of `key` for `cost` ns.
    #[inline(always)]
    pub fn launched(&self, key: u64, cost: u64) {
        // Relaxed throughout: what is lost to another thread makes a span's key uncertain, which is found out when its
        // costs do not fit.
        let known = self.key.load(Ordering::Relaxed);
        if known != key && known != SEVERAL {
            self.key
                .store(if known == 0 { key } else { SEVERAL }, Ordering::Relaxed);
        }
        self.last_cost.store(cost, Ordering::Relaxed);
        self.unmarked.store(
            self.unmarked.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Whether `stream` is the one of the last launch and this launch is not to be timed.
    #[inline(always)]
    pub fn is_plain(&self, stream: usize) -> bool {
        let left = self.countdown.load(Ordering::Relaxed);
        if left <= 1 || self.stream.load(Ordering::Relaxed) != stream {
            return false;
        }
        self.countdown.store(left - 1, Ordering::Relaxed);
        true
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
    progress_at: AtomicU64,
    meter: Meter,
    turns: Turns,
    back: AtomicU32,
    spent: AtomicU32,
    stretch: AtomicU64,
    kernel: AtomicU64,
    blocked_ns: AtomicU64,
    margin: Margin,
    mix: Mix,
    /// Charged to work that must not wait, since the last slice, ns.
    bypassed: AtomicU64,
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
            progress_at: AtomicU64::new(now),
            meter: Meter::default(),
            turns: Turns::default(),
            back: AtomicU32::new(0),
            spent: AtomicU32::new(0),
            stretch: AtomicU64::new(u64::from(WHOLE)),
            kernel: AtomicU64::new(0),
            blocked_ns: AtomicU64::new(0),
            margin: Margin::default(),
            mix: Mix::default(),
            bypassed: AtomicU64::new(0),
        };
        Ok(gate)
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

    /// The fast path: takes `cost` ns from the credit. False means: ask [`Gate::acquire`]; nothing was taken.
    #[inline(always)]
    pub fn admit(&self, cost: u64) -> bool {
        // Relaxed throughout: credit is a quantity and guards no memory; a change of the word may be seen a launch
        // late.
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

    /// Charges work that must not wait (collectives, work inside the driver): after the fact and in full.
    pub fn bypass(&self, cost: u64) {
        self.line.credit.fetch_sub(cost as i64, Ordering::Relaxed);
        self.bypassed.fetch_add(cost, Ordering::Relaxed);
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
            self.progress_at.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Nothing of this process is in flight at `now`: a device or context synchronisation came back.
    pub fn drained(&self, now: u64) {
        self.flush(now);
        self.retire(self.mark(), now);
        self.page.drained(now);
    }

    /// The host is about to stand waiting for the device (a synchronisation, a blocking copy, a query that said "not
    /// ready").
    pub fn block(&self, now: u64) {
        self.meter.stands(now, true);
        self.stand(now);
    }

    /// As [`Gate::block`], where the gate itself holds the host back: no end of a step of the program's.
    fn stand(&self, now: u64) {
        self.meter.stands(now, false);
        self.flush(now);
        if self.in_flight() > 0 && self.blocked.swap(now, Ordering::Relaxed) == 0 {
            self.line.word.fetch_or(WORD_BLOCKED, Ordering::Relaxed);
            self.page.block(now);
        }
    }

    /// The host goes on at `now`. True if neighbours that wait should be woken ([`crate::share::wait::wake`]).
    pub fn resume(&self, now: u64) -> bool {
        let ended = self.meter.goes_on(now, self.launched());
        if let Some(pace) = ended {
            // Before the end of the step is seen: whoever takes a turn then goes by the pace.
            self.page.keep_pace(pace, now);
        }
        let since = self.blocked.swap(0, Ordering::Relaxed);
        if since == 0 {
            return ended.is_some();
        }
        self.line.word.fetch_and(!WORD_BLOCKED, Ordering::Relaxed);
        self.blocked_ns
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        self.page.unblock(since, now);
        true
    }

    /// Puts right what was charged: `measured` ns of GPU time were used where `estimated` had been charged since the
    /// last correction. Only for measurements in which no other tenant's time is contained.
    pub fn true_up(&self, measured: u64, estimated: u64, now: u64) {
        let difference = measured as i64 - estimated as i64;
        self.page.charge(self.own_rate(), difference, now);
        self.page.count(difference);
        self.page.note_correction(difference);
    }

    /// Tells the gate how long work took by the clock, with the queue never empty, against what was charged for it:
    /// what the adaptive mode goes by.
    pub fn observe(&self, elapsed: u64, charged: u64) {
        if charged == 0 {
            return;
        }
        let sample = (u128::from(elapsed) * u128::from(WHOLE) / u128::from(charged)).min(64_000_000) as u64;
        let old = self.stretch.load(Ordering::Relaxed);
        self.stretch.store(old - old / 8 + sample / 8, Ordering::Relaxed);
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
            // As if all of it had been submitted at the start of the interval: the queue is then at least this deep.
            self.page.submitted(launched - before, since.min(now));
        }
    }

    /// [`Gate::acquire_as`] for work that nobody has classified.
    pub fn acquire(&self, cost: u64, now: u64, neighbours: &[View]) -> Verdict {
        self.acquire_as(Class::Other, cost, now, neighbours)
    }

    /// The slow path for a launch of `cost` ns: publish, look at the neighbours, decide, take the next slice. The slice
    /// is counted as this class's, see [`crate::share::mix`].
    pub fn acquire_as(&self, class: Class, cost: u64, now: u64, neighbours: &[View]) -> Verdict {
        let params = self.params();
        self.line
            .word
            .fetch_and(!(WORD_CHANGED | WORD_POLITE), Ordering::Relaxed);
        let last = self.flushed_at.load(Ordering::Relaxed);
        self.flush(now);
        // A launch after a drain, after a query that said "not ready", or from another thread: the host goes on.
        let was_blocked = self.resume(now);
        self.margin.sample(
            now,
            Sample {
                others: neighbours
                    .iter()
                    .fold(0, |sum: u64, n| sum.wrapping_add(n.consumed)),
                launched: self.launched(),
                in_flight: self.in_flight() > 0,
                blocked: self.blocked_ns.load(Ordering::Relaxed),
                waiting: self.waiting.load(Ordering::Relaxed) != 0,
            },
        );
        let idle = !was_blocked && self.in_flight() == 0 && self.waiting.load(Ordering::Relaxed) == 0;
        // Back from idleness: join the others' surplus clock. Whoever only paused, or took none of the surplus for a while,
        // is behind it by so much and no more.
        let away = idle && now.saturating_sub(last) > policy::AWAY_NS;
        let behind = if away {
            0
        } else {
            wall_of(policy::AWAY_NS, params.weight.min(WHOLE))
        };
        let own = self.page.view().map_or(0, |view| view.vtime);
        let joined = policy::newcomer_vtime(own, neighbours, now).saturating_sub(behind);
        if joined > own {
            self.page.raise_vtime(joined);
        }
        self.learn_kernel(cost);
        let own = self.own(params, neighbours, now);
        let decision = if self.line.word.load(Ordering::Relaxed) & WORD_PAUSED != 0 {
            Decision::Wait {
                recheck_at: now + 20 * policy::RECHECK_NS,
                reason: Reason::Paused,
            }
        } else {
            policy::decide(&own, neighbours, now)
        };
        self.spent
            .store(u32::from(!own.has_tokens(now)), Ordering::Relaxed);
        let before = self.granted.load(Ordering::Relaxed);
        let verdict = match decision {
            Decision::Go(funds) => self.go(&own, funds, How::Freely, cost, now, last, neighbours),
            Decision::GoPolite(funds) => self.go(&own, funds, How::Politely, cost, now, last, neighbours),
            Decision::GoTurn(funds, turn) => {
                self.go(&own, funds, How::InTurn(turn), cost, now, last, neighbours)
            }
            Decision::Wait { recheck_at, reason } => {
                self.back
                    .store(u32::from(reason == Reason::Neighbour), Ordering::Relaxed);
                self.wait(&own, recheck_at, reason, cost, now)
            }
        };
        // Another thread's slice may be in it, which then counts for this class: it is a sample.
        self.note_mix(class, self.granted.load(Ordering::Relaxed).saturating_sub(before));
        verdict
    }

    /// Counts a slice of `granted` ns, and what has passed by the gate since the last one.
    fn note_mix(&self, class: Class, granted: u64) {
        if granted == 0 {
            return;
        }
        let bypassed = self.bypassed.swap(0, Ordering::Relaxed).min(granted);
        for (class, ns) in [(Class::Collective, bypassed), (class, granted - bypassed)] {
            if ns > 0 {
                self.mix.note(class, ns);
                self.page.count_class(class, ns);
            }
        }
        self.page
            .lean(self.mix.leaning(self.kernel.load(Ordering::Relaxed)));
    }

    fn own(&self, params: Params, neighbours: &[View], now: u64) -> Own {
        let company = neighbours.iter().filter(|n| n.active(now)).count() as u64;
        let (floor_empty_at, pool_empty_at) = self.page.own_buckets();
        let (empty_at, vtime) = self
            .page
            .view()
            .map_or((0, 0), |view| (view.empty_at, view.vtime));
        let (tuning, leaning) = if params.mode == Mode::Adaptive {
            let kernel = self.kernel.load(Ordering::Relaxed);
            let leaning = self.mix.leaning(kernel);
            let disturbs = neighbours
                .iter()
                .any(|n| n.leaning == Leaning::Latency && n.about(now));
            // Nobody measures it while nobody contends.
            let stretch = if company == 0 {
                u64::from(WHOLE)
            } else {
                self.stretch.load(Ordering::Relaxed)
            };
            (Tuning::adaptive(stretch, kernel, leaning, disturbs), leaning)
        } else {
            (Tuning::DEFAULT, Leaning::None)
        };
        Own {
            params,
            empty_at,
            floor_empty_at,
            pool_empty_at,
            vtime,
            standing_back: self.back.load(Ordering::Relaxed) != 0,
            spent: self.spent.load(Ordering::Relaxed) != 0,
            tuning,
            company,
            leaning,
            turn: self.turns.now(),
            is_hosts: self.meter.pace().is_hosts(),
        }
    }

    fn learn_kernel(&self, cost: u64) {
        let old = self.kernel.load(Ordering::Relaxed);
        self.kernel.store(old - old / 16 + cost / 16, Ordering::Relaxed);
    }

    #[allow(clippy::too_many_arguments)]
    fn go(
        &self,
        own: &Own,
        funds: Funds,
        how: How,
        cost: u64,
        now: u64,
        last: u64,
        neighbours: &[View],
    ) -> Verdict {
        self.back.store(0, Ordering::Relaxed);
        let Own { params, tuning, .. } = own;
        let polite = how == How::Politely;
        let depth = match (polite, own.company == 0) {
            (true, _) => tuning.polite,
            (false, true) => 2 * tuning.depth,
            (false, false) => tuning.depth,
        };
        let in_flight = self.in_flight();
        if params.mode != Mode::None && in_flight > 0 && in_flight + cost > depth {
            if now < self.progress_at.load(Ordering::Relaxed) + self.patience(own) {
                self.stand(now);
                return Verdict::Drain {
                    to: depth.saturating_sub(cost),
                };
            }
            return self.let_one(own, cost, now);
        }
        self.resume(now);
        let waited = self.finish_wait(now);

        let tokens = tokens_in(own, now);
        let slice = self.next_slice(
            polite,
            !neighbours.iter().any(|n| n.about(now)),
            now.saturating_sub(last),
            depth,
            tokens,
        );
        // Alone only: beside others nothing can be measured, and slices are short anyway.
        let slice = if waited && own.company == 0 {
            slice.min(FIRST_SLICE_NS)
        } else {
            slice
        };
        let credit = self.line.credit.load(Ordering::Relaxed);
        let grant = slice.max(cost.saturating_add_signed(-credit.min(0))).max(1);
        let grant = match how {
            How::Freely => grant,
            How::Politely => cost.saturating_add_signed(-credit).max(1),
            // In one piece: the switches between contexts are paid once.
            How::InTurn(turn) => {
                let left = turn.left.max(0).cast_unsigned().min(depth);
                left.max(cost.saturating_add_signed(-credit)).max(1)
            }
        };
        if let How::InTurn(turn) = how {
            self.turns.take(turn, grant);
        }
        self.pay(own, funds, grant, now);
        self.granted.fetch_add(grant, Ordering::Relaxed);
        self.line
            .credit
            .fetch_add(grant as i64 - cost as i64, Ordering::Relaxed);
        if polite {
            self.line.word.fetch_or(WORD_POLITE, Ordering::Relaxed);
        }
        self.flush(now);
        if in_flight == 0 {
            self.progress_at.fetch_max(now, Ordering::Relaxed);
        }
        self.page.publish(now);
        Verdict::Go { marker: true }
    }

    /// The next slice of credit: what keeps the slow path at about one in [`PUBLISH_NS`].
    fn next_slice(&self, polite: bool, nobody: bool, since: u64, depth: u64, tokens: u64) -> u64 {
        if polite {
            return 0;
        }
        if nobody {
            // Far from the quota with nobody to tell: the slow path is as rare as a bucket a quarter as deep allows.
            return (tokens / 4).clamp(MAX_SLICE_NS, MAX_LONE_SLICE_NS);
        }
        let old = self.slice.load(Ordering::Relaxed);
        let new = match since {
            0..PUBLISH_NS => (old * 2).min(MAX_SLICE_NS),
            s if s > 2 * PUBLISH_NS => (old / 2).max(MIN_SLICE_NS),
            _ => old,
        };
        self.slice.store(new, Ordering::Relaxed);
        new.min(depth / 4)
    }

    fn pay(&self, own: &Own, funds: Funds, grant: u64, now: u64) {
        let Own { params, .. } = own;
        match funds {
            Funds::Guarantee => {
                // A ceiling is not lowered by what others do to the device.
                let charge = match params.mode {
                    Mode::Strict | Mode::None => grant,
                    Mode::Balanced | Mode::Adaptive => self.margin.charge(grant, now),
                };
                self.page.charge(own.rate(), charge as i64, now);
                self.page.count(grant as i64);
            }
            Funds::Surplus => {
                self.page
                    .charge_surplus(params.weight, policy::pool_rate(params), grant, now);
            }
        }
        if params.floor > 0 {
            self.page
                .charge_floor(policy::floor_rate(params), grant as i64, now);
        }
    }

    fn patience(&self, own: &Own) -> u64 {
        // What is in flight may take as long as its share of the device makes it.
        STUCK_NS + own.company * STUCK_PER_NEIGHBOUR_NS + wall_of(self.in_flight(), own.params.quota)
    }

    fn wait(&self, own: &Own, recheck_at: u64, reason: Reason, cost: u64, now: u64) -> Verdict {
        let since = match self
            .waiting
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => now,
            Err(since) => since,
        };
        self.page.wait_begins(since, now);
        if reason == Reason::Paused {
            return Verdict::Wait {
                until: recheck_at,
                reason,
            };
        }
        // Work in flight that does not end may be waiting for the launch that waits here.
        let stuck_at = if self.in_flight() > 0 {
            since.max(self.progress_at.load(Ordering::Relaxed)) + self.patience(own)
        } else {
            u64::MAX
        };
        let overdue_at = since.max(own.rate().settle(own.empty_at, since)) + OVERDUE_NS;
        let deadline = stuck_at.min(overdue_at.max(since + OVERDUE_NS));
        let deadline = if reason == Reason::Quota {
            deadline
        } else {
            deadline.min(since + MAX_WAIT_NS)
        };
        if now >= deadline {
            return self.let_one(own, cost, now);
        }
        Verdict::Wait {
            until: recheck_at.min(deadline),
            reason,
        }
    }

    fn let_one(&self, own: &Own, cost: u64, now: u64) -> Verdict {
        self.resume(now);
        self.finish_wait(now);
        self.page.note_let_through();
        self.pay(own, Funds::Guarantee, cost, now);
        self.granted.fetch_add(cost, Ordering::Relaxed);
        self.progress_at.fetch_max(now, Ordering::Relaxed);
        self.flush(now);
        self.page.publish(now);
        Verdict::LetOne
    }

    /// Returns whether the launch has waited.
    fn finish_wait(&self, now: u64) -> bool {
        let since = self.waiting.swap(0, Ordering::Relaxed);
        if since != 0 {
            self.meter.waited(now.saturating_sub(since));
            self.page.wait_ends(since, now);
        }
        since != 0
    }
}

/// Ns of GPU time in the bucket.
fn tokens_in(own: &Own, now: u64) -> u64 {
    let lag = own.rate().lag(own.empty_at, now).max(0).cast_unsigned();
    (u128::from(lag) * u128::from(own.params.quota) / u128::from(WHOLE)) as u64
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let now = self.flushed_at.load(Ordering::Relaxed);
        self.resume(now);
        self.finish_wait(now);
        self.page.detach(now);
    }
}
