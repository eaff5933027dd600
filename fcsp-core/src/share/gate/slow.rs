//! The slow path: publish, read the neighbours' claims, ask the policy, then take the next credit
//! slice or return how long to wait.

use std::sync::atomic::Ordering;

use super::hot_state::{WORD_AWAITED, WORD_CHANGED, WORD_PAUSED, WORD_SHALLOW};
use super::{
    FIRST_LAUNCHES, FIRST_SLICE_NS, Gate, GateAdmission, MAX_LONE_SLICE_NS, MAX_SLICE_NS,
    MAX_WAIT_NS, MIN_SLICE_NS, OVERDUE_NS, PUBLISH_NS, STUCK_NS, STUCK_PER_NEIGHBOUR_NS, TRIAL_NS,
};
use crate::classify::Class;
use crate::share::claim_page::ClaimView;
use crate::share::gap_filling::Quantum;
use crate::share::margin::Sample;
use crate::share::mix::Sensitivity;
use crate::share::params::{Mode, Params};
use crate::share::policy::{self, Account, Decision, LocalState, Reason, Tuning};
use crate::share::token_bucket::gpu_to_wall_ns;
use crate::units::WHOLE;

/// Credit for short launches before a predicted step, ns of GPU time.
const WITHIN_SLICE_NS: u64 = 50_000;
/// Bound on work in flight before a predicted step, which may begin early, ns of GPU time.
const WITHIN_DEPTH_NS: u64 = 1_000_000;

/// Interval at which a new process checks whether another one's trial has ended, ns.
const TRIAL_LOOK_NS: u64 = 1_000_000;

/// Manner in which a launch is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Up to the depth in flight.
    Freely,
    /// With a shallow queue: one short kernel in flight.
    Shallow,
    /// For the rest of a quantum, at once.
    InTurn(Quantum),
    /// Up to the depth in flight, done within this many ns.
    Within(u64),
    /// Up to the depth in flight, for this many ns of the floor.
    OnFloor(u64),
}

/// Bits of [`Gate::spent`]: the guarantee's bucket and the floor's bucket.
const GUARANTEE_SPENT: u32 = 1;
const FLOOR_SPENT: u32 = 2;

impl Gate<'_> {
    /// Runs the slow path for a launch of `cost` ns: publishes, reads the neighbours' claims, asks
    /// the policy, and takes the next credit slice. The slice is counted for `class`, see
    /// [`crate::share::mix`].
    ///
    /// A collective for which other ranks may wait is admitted at once while the tenant owes
    /// little. It is charged to the guarantee, so that the debt is bounded and paid back.
    pub fn acquire_as(
        &self,
        class: Class,
        cost: u64,
        now: u64,
        neighbours: &[ClaimView],
    ) -> GateAdmission {
        let params = self.params();
        self.line.word.fetch_and(
            !(WORD_CHANGED | WORD_SHALLOW | WORD_AWAITED),
            Ordering::Relaxed,
        );
        self.arrivals.launches(now);
        let last = self.flushed_at.load(Ordering::Relaxed);
        self.flush(now);
        // A launch after a drain, after a query that answered "not ready", or from another thread:
        // the host runs again.
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
        let idle =
            !was_blocked && self.in_flight() == 0 && self.waiting.load(Ordering::Relaxed) == 0;
        // After idleness, join the neighbours' virtual time. A tenant that only paused, or used no
        // surplus for a while, stays behind by at most `AWAY_NS`.
        let away = idle && now.saturating_sub(last) > policy::AWAY_NS;
        let behind = if away {
            0
        } else {
            gpu_to_wall_ns(policy::AWAY_NS, params.weight.min(WHOLE))
        };
        let own = self.page.view().map_or(0, |view| view.virtual_time);
        let joined = policy::newcomer_virtual_time(own, neighbours, now).saturating_sub(behind);
        if joined > own {
            self.page.raise_vtime(joined);
        }
        self.learn_kernel(cost);
        let own = self.own(params, cost, neighbours, now);
        let decision = if self.line.word.load(Ordering::Relaxed) & WORD_PAUSED != 0 {
            Decision::Wait {
                recheck_at: now + 20 * policy::RECHECK_NS,
                reason: Reason::Paused,
            }
        } else {
            policy::decide(&own, neighbours, now)
        };
        let exhausted = |empty, bit| if empty { bit } else { 0 };
        self.exhausted.store(
            exhausted(!own.has_tokens(now), GUARANTEE_SPENT)
                | exhausted(own.floor_tokens(now) == 0, FLOOR_SPENT),
            Ordering::Relaxed,
        );
        let before = self.granted.load(Ordering::Relaxed);
        if class.bypasses_gate() && self.ranks.load(Ordering::Relaxed) && own.owes_little(now) {
            let funds = decision.funds().unwrap_or(Account::Guarantee);
            let verdict = self.pass(&own, funds, cost, now);
            self.note_mix(
                class,
                self.granted.load(Ordering::Relaxed).saturating_sub(before),
            );
            return verdict;
        }
        let verdict = match decision {
            Decision::Go(funds) => self.go(&own, funds, How::Freely, cost, now, last, neighbours),
            Decision::GoShallow(funds) => {
                self.go(&own, funds, How::Shallow, cost, now, last, neighbours)
            }
            Decision::GoFloor(funds, room) => {
                self.go(&own, funds, How::OnFloor(room), cost, now, last, neighbours)
            }
            Decision::GoQuantum(funds, turn) => {
                self.go(&own, funds, How::InTurn(turn), cost, now, last, neighbours)
            }
            Decision::GoWithin(funds, room) => {
                self.go(&own, funds, How::Within(room), cost, now, last, neighbours)
            }
            Decision::Wait { recheck_at, reason } => {
                self.yielding
                    .store(u32::from(reason == Reason::Neighbour), Ordering::Relaxed);
                self.wait(&own, recheck_at, reason, cost, now)
            }
        };
        // Another thread's slice may be included and then counts for this class: the mix is a
        // sample.
        self.note_mix(
            class,
            self.granted.load(Ordering::Relaxed).saturating_sub(before),
        );
        verdict
    }

    /// Grants `cost` and no more, regardless of the work in flight.
    fn pass(&self, own: &LocalState, funds: Account, cost: u64, now: u64) -> GateAdmission {
        self.resume(now);
        self.finish_wait(now);
        self.pay(own, funds, cost, now);
        self.pay_floor(own, cost, false, now);
        self.granted.fetch_add(cost, Ordering::Relaxed);
        self.flush(now);
        self.page.publish(now);
        GateAdmission::Go { marker: true }
    }

    /// Counts a slice of `granted` ns in the mix.
    fn note_mix(&self, class: Class, granted: u64) {
        if granted == 0 {
            return;
        }
        self.mix.note(class, granted);
        self.page.count_class(class, granted);
        self.page.lean(
            self.mix
                .sensitivity(self.mean_kernel_ns.load(Ordering::Relaxed)),
        );
    }

    fn own(&self, params: Params, cost: u64, neighbours: &[ClaimView], now: u64) -> LocalState {
        let active_neighbours = neighbours.iter().filter(|n| n.active(now)).count() as u64;
        let (floor_empty_at, pool_empty_at) = self.page.own_buckets();
        let exhausted = self.exhausted.load(Ordering::Relaxed);
        let view = self.page.view();
        let (empty_at, virtual_time, finish_at, doubt) = view.map_or((0, 0, u64::MAX, 0), |view| {
            (view.empty_at, view.virtual_time, view.finish_at, view.doubt)
        });
        let (mut tuning, sensitivity) = if params.mode == Mode::Adaptive {
            let kernel = self.mean_kernel_ns.load(Ordering::Relaxed);
            let sensitivity = self.mix.sensitivity(kernel);
            let disturbs = neighbours
                .iter()
                .any(|n| n.sensitivity == Sensitivity::Latency && n.was_active_recently(now));
            // The slowdown is not measured while the device is not contended.
            let slowdown = if active_neighbours == 0 {
                u64::from(WHOLE)
            } else {
                self.slowdown_ppm.load(Ordering::Relaxed)
            };
            (
                Tuning::adaptive(slowdown, kernel, sensitivity, disturbs),
                sensitivity,
            )
        } else {
            (Tuning::DEFAULT, Sensitivity::None)
        };
        // Work that is charged too little takes longer than its charges.
        if active_neighbours > 0 && params.mode != Mode::Strict {
            tuning.depth = less(tuning.depth, doubt);
        }
        LocalState {
            params,
            empty_at,
            floor_empty_at,
            pool_empty_at,
            virtual_time,
            yielding: self.yielding.load(Ordering::Relaxed) != 0,
            exhausted: exhausted & GUARANTEE_SPENT != 0,
            floor_spent: exhausted & FLOOR_SPENT != 0,
            tuning,
            active_neighbours,
            sensitivity,
            turn: self.turns.now(),
            cost,
            // Fences retire work kernel by kernel at best, so the estimate without neighbours may
            // be less.
            queued: self.in_flight().min(finish_at.saturating_sub(now)),
            is_host_bound: self.meter.pace().is_host_bound(),
        }
    }

    fn learn_kernel(&self, cost: u64) {
        let old = self.mean_kernel_ns.load(Ordering::Relaxed);
        self.mean_kernel_ns
            .store(old - old / 16 + cost / 16, Ordering::Relaxed);
    }

    #[allow(clippy::too_many_arguments)]
    fn go(
        &self,
        own: &LocalState,
        funds: Account,
        how: How,
        cost: u64,
        now: u64,
        last: u64,
        neighbours: &[ClaimView],
    ) -> GateAdmission {
        self.yielding.store(0, Ordering::Relaxed);
        let LocalState { params, tuning, .. } = own;
        let is_shallow = how == How::Shallow;
        let depth = match (is_shallow, own.active_neighbours == 0) {
            (true, _) => tuning.shallow_depth,
            (false, true) => 2 * tuning.depth,
            (false, false) => tuning.depth,
        };
        let depth = match how {
            How::Within(_) => depth.min(WITHIN_DEPTH_NS.max(2 * cost)),
            _ => depth,
        };
        let in_flight = self.in_flight();
        // Next to active neighbours, the first slices are short anyway.
        let is_new =
            (own.active_neighbours == 0 || own.params.mode == Mode::Strict) && self.is_new();
        if is_new
            && own.params.mode == Mode::Strict
            && self.first_slices.load(Ordering::Relaxed) == 0
            && let Err(until) = self.page.take_trial(TRIAL_NS, now)
        {
            return self.wait_for_trial(until, now);
        }
        let to = match (in_flight + cost > depth, is_new && self.first_are_out()) {
            (true, _) => Some(depth.saturating_sub(cost)),
            (false, true) => Some(in_flight.saturating_sub(1)),
            (false, false) => None,
        };
        if let Some(to) = to
            && params.mode != Mode::None
            && in_flight > 0
        {
            let is_stuck = now >= self.progress_at.load(Ordering::Relaxed) + self.patience(own);
            if is_stuck && let Ok(verdict) = self.let_one(own, cost, now) {
                return verdict;
            }
            self.stand(now);
            return GateAdmission::Drain { to };
        }
        let waited = self.waiting.load(Ordering::Relaxed) != 0;
        let tokens = tokens_in(own, now);
        let alone = !neighbours.iter().any(|n| n.was_active_recently(now));
        let slice = if is_new {
            0
        } else {
            self.next_slice(is_shallow, alone, now.saturating_sub(last), depth, tokens)
        };
        // Only without active neighbours: next to others no span can be measured, and slices are
        // short.
        let slice = if waited && own.active_neighbours == 0 {
            slice.min(FIRST_SLICE_NS)
        } else {
            slice
        };
        let credit = self.line.credit.load(Ordering::Relaxed);
        let grant = slice.max(cost.saturating_add_signed(-credit.min(0))).max(1);
        let grant = match how {
            How::Freely => grant,
            How::Shallow => cost.saturating_add_signed(-credit).max(1),
            // Each launch asks the gate, except short ones: the predicted step must not be delayed.
            How::Within(room) => {
                let some = WITHIN_SLICE_NS.min(room.saturating_sub(own.queued) / 2);
                cost.max(some).saturating_add_signed(-credit).max(1)
            }
            How::OnFloor(room) => grant
                .min(room.max(cost.saturating_add_signed(-credit)))
                .max(1),
            How::InTurn(turn) => {
                let left = turn.left.max(0).cast_unsigned().min(depth);
                left.max(cost.saturating_add_signed(-credit)).max(1)
            }
        };
        if params.mode == Mode::Strict {
            // A ceiling for all of the tenant's processes together: if several see the same token,
            // one takes it.
            if !self.page.charge_if_filled(own.rate(), grant, now) {
                return self.came_late(own, cost, now);
            }
            self.count(grant as i64);
        } else {
            self.pay(own, funds, grant, now);
        }
        self.pay_floor(own, grant, matches!(how, How::OnFloor(_)), now);
        if is_new {
            self.first_slices.fetch_add(1, Ordering::Relaxed);
        }
        self.resume(now);
        self.finish_wait(now);
        if let How::InTurn(turn) = how {
            self.turns.take(turn, grant);
        }
        self.granted.fetch_add(grant, Ordering::Relaxed);
        self.line
            .credit
            .fetch_add(grant as i64 - cost as i64, Ordering::Relaxed);
        if is_shallow || matches!(how, How::Within(_)) && cost >= WITHIN_SLICE_NS {
            self.line.word.fetch_or(WORD_SHALLOW, Ordering::Relaxed);
        }
        self.flush(now);
        if in_flight == 0 {
            self.progress_at.fetch_max(now, Ordering::Relaxed);
            self.period_begins(now);
        }
        self.page.publish(now);
        GateAdmission::Go { marker: true }
    }

    /// Computes the next credit slice, so that the slow path runs about once in [`PUBLISH_NS`].
    fn next_slice(
        &self,
        is_shallow: bool,
        nobody: bool,
        since: u64,
        depth: u64,
        tokens: u64,
    ) -> u64 {
        if is_shallow {
            return 0;
        }
        if nobody {
            // Far from the limit and without recently active neighbours, slices of a quarter of the
            // bucket make the slow path rare.
            return (tokens / 4).clamp(MAX_SLICE_NS, MAX_LONE_SLICE_NS);
        }
        // A host-bound tenant publishes with its steps. It is also the tenant that the slow path
        // delays most.
        let pace = self.meter.pace();
        let (often, most) = if pace.is_host_bound() {
            (pace.host / 2, MAX_SLICE_NS.max(pace.gpu / 2))
        } else {
            (PUBLISH_NS, MAX_SLICE_NS.min(depth / 4))
        };
        let old = self.slice.load(Ordering::Relaxed);
        let new = if since < often {
            (old * 2).min(most)
        } else if since > 2 * often {
            (old / 2).max(MIN_SLICE_NS)
        } else {
            old
        };
        self.slice.store(new, Ordering::Relaxed);
        new.min(most)
    }

    fn pay(&self, own: &LocalState, funds: Account, grant: u64, now: u64) {
        let LocalState { params, .. } = own;
        match funds {
            Account::Guarantee => {
                // Strict mode is a ceiling and has no margin.
                let charge = match params.mode {
                    Mode::Strict | Mode::None => grant,
                    Mode::Balanced | Mode::Adaptive => self.margin.charge(grant, now),
                };
                self.page.charge(own.rate(), charge as i64, now);
                self.count(grant as i64);
            }
            Account::Surplus => {
                self.count_paid(grant as i64);
                self.page
                    .charge_surplus(params.weight, policy::pool_rate(params), grant, now);
            }
        }
    }

    /// Counts `grant` ns against the floor, in full if the launch was admitted on the floor
    /// `alone`.
    fn pay_floor(&self, own: &LocalState, grant: u64, alone: bool, now: u64) {
        if own.params.floor > 0 {
            let rate = policy::floor_rate(&own.params);
            self.page.charge_floor(rate, grant, alone, now);
        }
    }

    /// Waits for tokens again, because another process of the tenant has taken the last ones.
    fn came_late(&self, own: &LocalState, cost: u64, now: u64) -> GateAdmission {
        let empty_at = self.page.view().map_or(own.empty_at, |view| view.empty_at);
        let own = LocalState {
            empty_at,
            exhausted: true,
            ..*own
        };
        self.exhausted.store(1, Ordering::Relaxed);
        self.wait(
            &own,
            own.refilled_at().max(now + 1),
            Reason::Quota,
            cost,
            now,
        )
    }

    /// Waits until another new process of the tenant has learned the cost of its first launches.
    /// All at once would spend what the tenant earns in seconds.
    fn wait_for_trial(&self, until: u64, now: u64) -> GateAdmission {
        self.begins_to_wait(now);
        self.page.waits(now);
        GateAdmission::Wait {
            until: until.min(now + TRIAL_LOOK_NS),
            reason: Reason::Quota,
        }
    }

    /// Returns true if the cost of this process's work is not known yet.
    fn is_new(&self) -> bool {
        self.has_retired.load(Ordering::Relaxed) == 0
    }

    /// Returns true if no further first launch may be submitted before one of them is done.
    fn first_are_out(&self) -> bool {
        self.first_slices.load(Ordering::Relaxed) >= FIRST_LAUNCHES
    }

    fn patience(&self, own: &LocalState) -> u64 {
        // Work in flight may take as long as the tenant's share of the device makes it.
        STUCK_NS
            + own.active_neighbours * STUCK_PER_NEIGHBOUR_NS
            + gpu_to_wall_ns(self.in_flight(), own.params.guarantee)
    }

    /// Starts the wait of a launch, or returns the instant at which it started.
    fn begins_to_wait(&self, now: u64) -> u64 {
        match self
            .waiting
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => {
                self.tell_wait(now);
                now
            }
            Err(since) => since,
        }
    }

    fn wait(
        &self,
        own: &LocalState,
        recheck_at: u64,
        reason: Reason,
        cost: u64,
        now: u64,
    ) -> GateAdmission {
        let since = self.begins_to_wait(now);
        self.page.waits(now);
        if reason == Reason::Paused {
            return GateAdmission::Wait {
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
        // A launch that waits for a higher class still has its floor. It is due when the floor's
        // bucket has filled.
        let on_floor = reason == Reason::Priority && own.params.floor > 0;
        let filled_at = if on_floor {
            own.floor_rate().clamp(own.floor_empty_at, since)
        } else {
            own.rate().clamp(own.empty_at, since)
        };
        let deadline = stuck_at.min(since.max(filled_at) + OVERDUE_NS);
        let deadline = if reason == Reason::Quota || on_floor {
            deadline
        } else {
            deadline.min(since + MAX_WAIT_NS)
        };
        let next = if now < deadline {
            deadline
        } else {
            match self.let_one(own, cost, now) {
                Ok(verdict) => return verdict,
                Err(next) => next,
            }
        };
        GateAdmission::Wait {
            until: recheck_at.min(next),
            reason,
        }
    }

    /// Forces the admission of a launch whose deadline has passed. The tenant's processes share one
    /// schedule of forced admissions, no faster than the guarantee pays for. Fails with the instant
    /// of the next forced admission.
    fn let_one(&self, own: &LocalState, cost: u64, now: u64) -> Result<GateAdmission, u64> {
        self.page
            .take_forced_admission(gpu_to_wall_ns(cost, own.params.guarantee), now)?;
        self.resume(now);
        self.finish_wait(now);
        self.page.note_forced_admission();
        // Work that waits for this launch cannot be found done before it.
        self.learns();
        self.pay(own, Account::Guarantee, cost, now);
        self.pay_floor(own, cost, true, now);
        self.granted.fetch_add(cost, Ordering::Relaxed);
        self.progress_at.fetch_max(now, Ordering::Relaxed);
        self.flush(now);
        self.page.publish(now);
        Ok(GateAdmission::Forced)
    }

    /// Ends the wait of a launch, and returns true if there was one.
    pub(super) fn finish_wait(&self, now: u64) -> bool {
        let since = self.waiting.swap(0, Ordering::Relaxed);
        if since != 0 {
            self.meter.waited(now.saturating_sub(since));
            // Before the wait is counted: a reader that sees both would count it twice.
            self.tell_wait(0);
            self.page.wait_ends(since, now);
        }
        since != 0
    }

    /// Publishes since when a launch waits. Relaxed: the word is independent of others.
    fn tell_wait(&self, since: u64) {
        if let Some(word) = self.wait_word {
            word.store(since, Ordering::Relaxed);
        }
    }
}

/// Returns the part of `depth` that is right for a tenant with this doubt, ppm.
fn less(depth: u64, doubt: u64) -> u64 {
    let right = u64::from(WHOLE).saturating_sub(doubt);
    depth * right / u64::from(WHOLE)
}

/// Returns the tokens in the guarantee's bucket, ns of GPU time.
fn tokens_in(own: &LocalState, now: u64) -> u64 {
    let lag = own.rate().lag(own.empty_at, now).max(0).cast_unsigned();
    (u128::from(lag) * u128::from(own.params.guarantee) / u128::from(WHOLE)) as u64
}
