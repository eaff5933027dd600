//! The scheduling policy: decides whether this tenant's next work may start now. It is a pure
//! function of the tenant's own state, its neighbours' claims, and the time.
//!
//! Tenants are ordered by *lag*: the time for which each has been owed GPU time that it has not had
//! ([`crate::share::token_bucket`]). This is EEVDF's lag divided by the share (Stoica and
//! Abdel-Wahab, "Earliest Eligible Virtual Deadline First", 1995). The surplus is divided by
//! virtual time, as in start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).
//!
//! 1. **Guarantee.** A tenant with tokens may start. It yields to a neighbour only if two things
//!    hold: that neighbour's host waits for the device, and its lag exceeds this tenant's lag by
//!    [`Tuning::window`]. A neighbour's lag counts up to [`COMPARED_NS`] and up to this tenant's
//!    own bucket depth. A tenant with a nearly full bucket therefore never yields, whatever its
//!    neighbours claim. No tokens are lost, and the tenant always receives its guarantee. Yielding
//!    moves a tenant within its bucket; it cannot take it below its guarantee, less the margin.
//!    Where the device delivers less than the guarantees promise, every tenant charges itself a
//!    margin ([`crate::share::margin`]), so that no bucket stays full.
//! 2. **Surplus.** A tenant without tokens may run while no neighbour *with* tokens is
//!    device-bound. Among tenants without tokens, the tenant with the least surplus for its weight
//!    goes first.
//! 3. **Device-bound and host-bound neighbours.** A neighbour is device-bound if its host waits for
//!    the device, or if its queue would be deep even if it had the device alone. A neighbour that
//!    submits small kernels with gaps is neither: the device has time for other work. This tenant
//!    does not yield to it, but keeps its own queue shallow ([`Tuning::shallow_depth`]), so that
//!    the neighbour's next kernel starts soon. If the neighbour is host-bound with a known step
//!    profile, this tenant fills its gaps instead ([`crate::share::gap_filling`]).
//! 4. **Priority.** While a tenant of a higher class has work, tenants of lower classes stop,
//!    except for their floors. Between tenants of different owners, root's record decides the class
//!    ([`crate::share::authority`]); the claimed class decides only the order on the surplus. If
//!    the higher tenant's next step can be predicted ([`crate::share::step_predictor`]), the lower
//!    tenant's work on the device ends before it. Otherwise one short kernel may be in flight.
//! 5. **Sensitivity** (adaptive mode only). Some work is sensitive to latency, other work to
//!    throughput ([`crate::share::mix`]). Next to each other, the tenant that is sensitive to
//!    latency yields later, and the other one sooner. As in 1, this is an order within their
//!    buckets and takes from neither guarantee. The first tenant also goes first on the surplus,
//!    within a bound.
//!
//! A claim is believed only while it can be true. It must be recent and not from the future. A
//! claim to be device-bound is believed no longer than the claimed queue could take at the claimed
//! share.

use crate::share::claim_page::ClaimView;
use crate::share::gap_filling::{HostBoundNeighbours, LONGEST_NS, Quantum};
use crate::share::gate::{RANKS_DEBT_NS, RANKS_MOST_NS};
use crate::share::margin;
use crate::share::mix::Sensitivity;
use crate::share::params::{Mode, Params, Priority};
use crate::share::step_predictor::ReservedWindow;
use crate::share::token_bucket::{TokenRate, gpu_to_wall_ns, wall_to_gpu_ns};
use crate::units::{Ppm, WHOLE};
use std::cmp::Ordering;

/// Age of the last publication after which a tenant that waits for nothing counts as idle, ns.
pub const IDLE_NS: u64 = 500_000;
/// Idle time after which a tenant returns as a newcomer, ns: nothing was submitted and nothing was
/// in flight.
pub const AWAY_NS: u64 = 20_000_000;
/// Age at which the claim of a waiter is void, ns. A waiter renews it more often unless it is
/// stopped.
pub const WAITER_STALE_NS: u64 = 4_000_000;
/// Grace for a blocked tenant's claim after its work should be done at its share, ns.
pub const HOLD_GRACE_NS: u64 = 10_000_000;
/// Time slice of the device's own scheduling, ns.
pub const SLICE_NS: u64 = 2_000_000;
/// Longest time for which any claim is believed, ns.
pub const HOLD_MAX_NS: u64 = 500_000_000;
/// Tolerance for a claim from the future, ns. A later claim is false, since clocks of one machine
/// do not differ.
pub const SKEW_NS: u64 = 1_000_000;
/// Least depth of a queue that makes its tenant device-bound, ns of GPU time.
pub const DEEP_NS: u64 = 300_000;
/// Time for which a neighbour stays device-bound after its host resumed, ns: the gap between two
/// steps.
pub const LINGER_NS: u64 = 40_000;
/// Interval at which a waiter checks again, ns.
pub const RECHECK_NS: u64 = 50_000;
/// Cap on the lag used in comparisons, ns, in addition to the window and one time slice for each
/// active neighbour.
///
/// A tenant that returns from idleness has a full bucket. The others yield to it for this long, and
/// not until that bucket is empty.
pub const COMPARED_NS: u64 = 16_000_000;
/// Addition to the window for each active tenant, ns. In a round of the device's time slices, each
/// tenant falls behind by a part of every other tenant's slice.
pub const ROUND_NS: u64 = 300_000;
/// Time after its last publication in which a tenant of a higher priority may return at any moment,
/// ns.
pub const ABOUT_NS: u64 = 1_000_000_000;
/// Interval at which a waiter in debt checks again, ns.
pub const LONG_RECHECK_NS: u64 = 2_000_000_000;
/// Hysteresis: content at which an exhausted bucket counts as filled again, ns of GPU time. Each
/// burst is then worth a context switch.
pub const QUANTUM_NS: u64 = 1_000_000;
/// Bound on the time that filling to [`QUANTUM_NS`] may take, ns.
pub const QUANTUM_WAIT_NS: u64 = 8_000_000;
/// Largest plausible difference of two virtual times, ns of GPU time of the whole device. Values
/// further apart are not compared.
pub const VTIME_PLAUSIBLE_NS: u64 = 1_000_000_000;

/// Distances used by the policy: [`Tuning::DEFAULT`] unless the mode is adaptive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Difference in lag beyond which this tenant yields, ns.
    pub window: u64,
    /// Bound on work in flight where it disturbs no neighbour, ns of GPU time.
    pub depth: u64,
    /// Bound on work in flight for a shallow queue, ns of GPU time.
    pub shallow_depth: u64,
    /// Difference below which two virtual times count as equal, ns of GPU time at the tenant's
    /// weight.
    pub surplus_window: u64,
}

impl Tuning {
    /// Distances that measurements showed to fit the device's time slices of about 2 ms.
    pub const DEFAULT: Self = Self {
        window: 4_000_000,
        depth: 2_000_000,
        shallow_depth: 150_000,
        surplus_window: 2_000_000,
    };

    /// Computes the distances of adaptive mode from the measured slowdown (`slowdown`: wall time
    /// over charged time in ppm, a million when alone) and the mean kernel cost.
    ///
    /// Without contention, deep queues disturb no neighbour. The more the device is contended, the
    /// sooner it must be possible to stop.
    ///
    /// Work that is sensitive to throughput is admitted in larger quanta while no recently active
    /// neighbour is sensitive to latency. Otherwise (`disturbs`) it is admitted in quanta of two
    /// kernels. The other tenant's next step waits for no more than that, since later launches
    /// yield once it is device-bound.
    pub fn adaptive(
        slowdown: u64,
        kernel_ns: u64,
        sensitivity: Sensitivity,
        disturbs: bool,
    ) -> Self {
        let slowdown = slowdown.clamp(u64::from(WHOLE), 8 * u64::from(WHOLE));
        let (quantum, least) = match (sensitivity, disturbs) {
            (Sensitivity::Throughput, false) => (6_000_000, 1_000_000),
            (Sensitivity::Throughput, true) => (400_000, 400_000),
            _ => (4_000_000, 1_000_000),
        };
        let depth = (quantum * u64::from(WHOLE) / slowdown).max(least);
        // At least two kernels: with fewer, the device would be idle between them.
        Self {
            depth: depth.max(2 * kernel_ns.min(2_000_000)),
            ..Self::DEFAULT
        }
    }
}

/// The tenant's own side of a decision.
#[derive(Debug, Clone, Copy)]
pub struct LocalState {
    /// Limits of the tenant.
    pub params: Params,
    /// Instant at which the guarantee's bucket is empty, ns.
    pub empty_at: u64,
    /// Instant at which the floor's bucket is empty, ns.
    pub floor_empty_at: u64,
    /// Instant at which the pool limit's bucket is empty, ns.
    pub pool_empty_at: u64,
    /// Virtual time: surplus used, divided by the weight.
    pub virtual_time: u64,
    /// True if the tenant is yielding already. It then resumes at a smaller difference than it
    /// yielded at (hysteresis).
    pub yielding: bool,
    /// True if the guarantee's bucket is exhausted: it ran empty and has not filled to
    /// [`QUANTUM_NS`] since.
    pub exhausted: bool,
    /// True if the floor's bucket is exhausted.
    pub floor_spent: bool,
    /// Distances.
    pub tuning: Tuning,
    /// Number of active neighbours.
    pub active_neighbours: u64,
    /// Sensitivity of the tenant's work; [`Sensitivity::None`] unless the mode is adaptive.
    pub sensitivity: Sensitivity,
    /// The last quantum.
    pub turn: Quantum,
    /// True if this tenant is host-bound. Other tenants then fill its gaps, and it fills no gaps of
    /// others.
    pub is_host_bound: bool,
    /// Cost of the work to be launched, ns of GPU time.
    pub cost: u64,
    /// Work that this process has queued before it, ns of GPU time.
    pub queued: u64,
}

impl LocalState {
    /// Returns the rate of the guarantee's bucket.
    pub fn rate(&self) -> TokenRate {
        TokenRate {
            part: self.params.guarantee,
            cap: self.params.cap_ns(),
        }
    }

    /// Returns the instant at which an exhausted bucket counts as filled again, ns.
    pub fn refilled_at(&self) -> u64 {
        let quantum = filling_ns(self.params.guarantee).min(self.rate().span() / 2);
        self.empty_at.saturating_add(quantum)
    }

    /// Returns true if the bucket has tokens to spend.
    pub fn has_tokens(&self, now: u64) -> bool {
        now > if self.exhausted {
            self.refilled_at()
        } else {
            self.empty_at
        }
    }

    /// Returns true if the debt is small enough for collectives to go first
    /// ([`crate::share::gate::RANKS_DEBT_NS`]).
    pub fn owes_little(&self, now: u64) -> bool {
        let most = gpu_to_wall_ns(RANKS_MOST_NS, self.params.guarantee).min(RANKS_DEBT_NS);
        self.empty_at <= now.saturating_add(most)
    }

    /// Returns the difference beyond which two lags count as different, ns.
    pub fn window(&self) -> u64 {
        self.tuning.window.max(self.active_neighbours * ROUND_NS)
    }

    /// Scales the difference in lag beyond which this tenant yields to `n`. It is doubled if this
    /// tenant is sensitive to latency and `n` to throughput, and halved in the opposite case.
    fn patience_with(&self, n: &ClaimView, distance: i64) -> i64 {
        match (self.sensitivity, n.sensitivity) {
            (Sensitivity::Latency, Sensitivity::Throughput) => distance * 2,
            (Sensitivity::Throughput, Sensitivity::Latency) => distance / 2,
            _ => distance,
        }
    }

    /// Returns the rate of the floor's bucket, which is a tenth of a second deep.
    pub fn floor_rate(&self) -> TokenRate {
        floor_rate(&self.params)
    }

    /// Returns the time in the floor's bucket that may be spent now, ns of GPU time. An exhausted
    /// bucket has none.
    pub fn floor_tokens(&self, now: u64) -> u64 {
        if self.params.floor == 0 {
            return 0;
        }
        let rate = self.floor_rate();
        let tokens = rate.tokens(self.floor_empty_at, now).max(0).cast_unsigned();
        let quantum = wall_to_gpu_ns(filling_ns(rate.part).min(rate.span() / 2), rate.part);
        if self.floor_spent && tokens < quantum {
            0
        } else {
            tokens
        }
    }

    /// Returns the rate of the pool limit's bucket.
    pub fn pool_rate(&self) -> TokenRate {
        pool_rate(&self.params)
    }
}

/// Returns the time for which an exhausted bucket must fill, ns.
fn filling_ns(guarantee: Ppm) -> u64 {
    gpu_to_wall_ns(QUANTUM_NS, guarantee).min(QUANTUM_WAIT_NS)
}

/// Returns the rate of the bucket of a tenant's floor.
pub fn floor_rate(params: &Params) -> TokenRate {
    TokenRate {
        part: params.floor.max(1),
        cap: u64::from(params.floor) * 100,
    }
}

/// Returns the rate of the bucket of a tenant's pool limit.
pub fn pool_rate(params: &Params) -> TokenRate {
    TokenRate {
        part: params.pool.max(1),
        cap: 5_000_000,
    }
}

/// Account to which work is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The tenant's own share.
    Guarantee,
    /// Time that other tenants leave.
    Surplus,
}

/// Reason for which a launch waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The guarantee is spent and the mode admits no more.
    Quota,
    /// A neighbour below its own guarantee is device-bound.
    Neighbour,
    /// Another tenant without tokens has used less of the surplus.
    FairShare,
    /// The pool limit is reached.
    Pool,
    /// A tenant of a higher priority has work.
    Priority,
    /// The tenant is paused.
    Paused,
}

/// Decision of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go, with up to [`Tuning::depth`] in flight.
    Go(Account),
    /// Go, with a shallow queue: one short kernel in flight.
    GoShallow(Account),
    /// Go, with up to [`Tuning::depth`] in flight, for this many ns of the floor's GPU time.
    GoFloor(Account, u64),
    /// Go, for the rest of this quantum.
    GoQuantum(Account, Quantum),
    /// Go, with up to [`Tuning::depth`] in flight that ends within this many ns.
    GoWithin(Account, u64),
    /// Ask again at `recheck_at`, or when a neighbour wakes the waiters.
    Wait {
        /// Instant of the recheck, ns.
        recheck_at: u64,
        /// Reason for the wait.
        reason: Reason,
    },
}

impl Decision {
    /// Returns the account that an admitted launch is charged to.
    pub fn funds(self) -> Option<Account> {
        match self {
            Self::Go(funds)
            | Self::GoShallow(funds)
            | Self::GoFloor(funds, _)
            | Self::GoQuantum(funds, _)
            | Self::GoWithin(funds, _) => Some(funds),
            Self::Wait { .. } => None,
        }
    }
}

impl ClaimView {
    /// Returns the instant until which a claim to be device-bound, made at `since`, is believed:
    /// the claimed queue at the claimed share, and a grace. Later publications of the tenant do not
    /// extend it, since the process that made the claim may be dead or stopped.
    fn believed_until(&self, since: u64) -> u64 {
        let work = self.finish_at.saturating_sub(since).min(HOLD_MAX_NS);
        // With a share of 1/n, n other tenants may get a time slice before this one.
        let grace = HOLD_GRACE_NS + gpu_to_wall_ns(SLICE_NS, self.guarantee);
        since.saturating_add((gpu_to_wall_ns(work, self.guarantee) + grace).min(HOLD_MAX_NS))
    }

    fn honest_clock(&self, now: u64) -> bool {
        let limit = now + SKEW_NS;
        self.seen != 0
            && self.seen <= limit
            && self.blocked_since <= limit
            && self.waiting_at <= limit
    }

    /// Returns the two classes that count between this tenant and one of class `own`: first this
    /// tenant's.
    fn classes(&self, own: Priority) -> (Priority, Priority) {
        self.authority.classes(self.priority, own)
    }

    /// Returns true if this tenant goes before one of class `own`.
    fn is_above(&self, own: Priority) -> bool {
        let (theirs, ours) = self.classes(own);
        theirs > ours
    }

    /// Returns true if this tenant goes after one of class `own`.
    fn is_below(&self, own: Priority) -> bool {
        let (theirs, ours) = self.classes(own);
        theirs < ours
    }

    /// Returns true if the tenant is device-bound. Its host waits for the device, has just resumed,
    /// or has submitted more than the device alone could have done by now.
    pub fn is_device_bound(&self, now: u64) -> bool {
        if !self.honest_clock(now) {
            return false;
        }
        let stands = self.blocked_since != 0 && now <= self.believed_until(self.blocked_since);
        let is_pressed = || {
            self.finish_at > now + DEEP_NS
                || (self.pressed_at <= now && now - self.pressed_at < LINGER_NS)
        };
        stands || (now <= self.believed_until(self.seen) && is_pressed())
    }

    /// Returns true if a launch of this tenant waits at its gate.
    pub fn waits(&self, now: u64) -> bool {
        self.waiting_at != 0
            && self.honest_clock(now)
            && now.saturating_sub(self.waiting_at) < WAITER_STALE_NS
    }

    /// Returns true if the tenant uses the device at all.
    pub fn active(&self, now: u64) -> bool {
        self.honest_clock(now)
            && (now.saturating_sub(self.seen) < IDLE_NS
                || self.is_device_bound(now)
                || self.waits(now)
                || self.prepares(now))
    }

    /// Returns true if the tenant is host-bound and its host works on a step for no longer than
    /// usual.
    fn prepares(&self, now: u64) -> bool {
        self.pace.is_host_bound()
            && self.pressed_at <= now
            && now - self.pressed_at < self.pace.host + self.pace.host / 2
    }

    /// Returns true if the tenant is in a step whose gaps can be filled: its host works for as long
    /// as usual, or waits for the device.
    pub fn steps(&self, now: u64) -> bool {
        self.pace.is_host_bound()
            && self.pressed_at <= now
            && self.active(now)
            // Another process of the tenant may be the only active one, and this profile that of a
            // dead process.
            && (now - self.pressed_at < LONGEST_NS || self.is_device_bound(now))
    }

    /// Returns true if the tenant was active recently: it may return at any moment.
    pub fn was_active_recently(&self, now: u64) -> bool {
        self.honest_clock(now) && now.saturating_sub(self.seen) < ABOUT_NS
    }

    /// Returns the lag, clamped to what a bucket of `span` ns would show.
    pub fn lag(&self, now: u64, span: u64) -> i64 {
        let lag = now.saturating_sub(self.empty_at).min(span) as i64;
        if lag > 0 {
            lag
        } else {
            -(self.empty_at.saturating_sub(now).min(span) as i64)
        }
    }
}

/// Decides whether work of `cost` ns may start at `now`.
pub fn decide(own: &LocalState, neighbours: &[ClaimView], now: u64) -> Decision {
    let Params { mode, priority, .. } = own.params;
    if mode == Mode::None {
        return Decision::Go(Account::Guarantee);
    }
    let rate = own.rate();
    let lag = rate.lag(own.empty_at, now);
    let wait = |recheck_at: u64, reason| Decision::Wait {
        recheck_at: recheck_at.max(now + 1),
        reason,
    };

    // A strict tenant's guarantee is a ceiling whatever its priority.
    let has_tokens = own.has_tokens(now);
    if mode == Mode::Strict && !has_tokens {
        return wait(own.refilled_at().min(now + LONG_RECHECK_NS), Reason::Quota);
    }
    // A tenant in mode none has no guarantee: it gets what the driver's own time slices give it. A
    // tenant of high priority yields to no tenant against which that priority counts.
    let rivals = || {
        neighbours
            .iter()
            .filter(|n| n.mode != Mode::None && n.classes(priority).1 != Priority::High)
    };
    if priority == Priority::High && rivals().next().is_none() {
        return Decision::Go(if has_tokens {
            Account::Guarantee
        } else {
            Account::Surplus
        });
    }
    let above = rivals().any(|n| n.is_above(priority) && has_work(n, now));
    let higher_about = rivals().any(|n| n.is_above(priority) && n.was_active_recently(now));
    // The floor remains even while tenants of a higher class have work. It is admitted at full
    // depth: one short kernel in each of the device's time slices would be less than the floor.
    let on_floor = |funds| match own.floor_tokens(now) {
        0 => None,
        tokens => Some(Decision::GoFloor(funds, tokens)),
    };
    if above {
        let funds = if has_tokens {
            Account::Guarantee
        } else {
            Account::Surplus
        };
        return on_floor(funds).unwrap_or_else(|| wait(now + RECHECK_NS, Reason::Priority));
    }

    let window = own.window();
    let span = rate
        .span()
        .min(window + COMPARED_NS + own.active_neighbours * SLICE_NS);
    let window = if own.yielding { window / 2 } else { window }.min(span / 2) as i64;
    // The gaps of a host-bound neighbour with a positive lag are filled.
    let partner = |n: &ClaimView| {
        !own.is_host_bound && !n.is_below(priority) && n.lag(now, span) > 0 && n.steps(now)
    };
    let decision = if has_tokens {
        guaranteed(
            own,
            rivals().filter(|n| !partner(n)),
            lag,
            (window, span),
            now,
        )
    } else {
        surplus(own, rivals().filter(|n| !partner(n)), (window, span), now)
    };
    let funds = match decision {
        Decision::Go(funds) | Decision::GoShallow(funds) => funds,
        waits => return waits,
    };
    if higher_about {
        if let Some(decision) = on_floor(funds) {
            return decision;
        }
        let above = rivals().filter(|n| n.is_above(priority) && n.was_active_recently(now));
        return match ReservedWindow::of(above, now) {
            None => Decision::GoShallow(funds),
            // Work that does not fit between two steps would never be admitted.
            Some(next) if own.cost > next.longest => Decision::GoShallow(funds),
            Some(next) if now + own.queued + own.cost > next.free_by => {
                // Checked again before the claim to wait is stale. A tenant wakes the waiters when
                // it ends a step.
                wait(
                    next.late_at.min(now + WAITER_STALE_NS / 2),
                    Reason::Priority,
                )
            }
            Some(next) => Decision::GoWithin(funds, next.free_by.saturating_sub(now)),
        };
    }
    match HostBoundNeighbours::of(rivals(), partner, now) {
        None => decision,
        Some(steps) => {
            // Without tokens, the least quantum is the guarantee less the margin: quanta then
            // replace the surplus.
            let least = if has_tokens {
                own.params.guarantee
            } else {
                margin::less(own.params.guarantee)
            };
            match steps.turn(own.turn, least, now) {
                Some(turn) => Decision::GoQuantum(funds, turn),
                None => wait(now + RECHECK_NS, Reason::Neighbour),
            }
        }
    }
}

/// Admits a tenant with tokens, unless a neighbour is device-bound and its lag is greater by more
/// than the window.
fn guaranteed<'v>(
    own: &LocalState,
    rivals: impl Iterator<Item = &'v ClaimView>,
    lag: i64,
    (window, span): (i64, u64),
    now: u64,
) -> Decision {
    let mut is_shallow = false;
    for n in rivals {
        // Cheapest test first: most neighbours are idle or have a small lag.
        // Clamped to half the bucket depth, since a larger difference could never be exceeded.
        let far = own.patience_with(n, window).min(span as i64 / 2);
        if n.lag(now, span) <= lag + far || n.is_below(own.params.priority) || !n.active(now) {
            continue;
        }
        if n.is_device_bound(now) {
            return Decision::Wait {
                recheck_at: now + RECHECK_NS,
                reason: Reason::Neighbour,
            };
        }
        // The guarantee comes first: a tenant that is owed time itself uses its full depth.
        is_shallow |= lag <= window / 2;
    }
    go(is_shallow, Account::Guarantee)
}

/// Admits a tenant without tokens, unless a neighbour with tokens is device-bound or another one
/// has used less of the surplus.
fn surplus<'v>(
    own: &LocalState,
    rivals: impl Iterator<Item = &'v ClaimView>,
    (window, span): (i64, u64),
    now: u64,
) -> Decision {
    let wait = |recheck_at: u64, reason| Decision::Wait {
        recheck_at: recheck_at.max(now + 1),
        reason,
    };
    let pool = own.pool_rate();
    if own.params.pool == 0 || (own.params.pool < WHOLE && pool.lag(own.pool_empty_at, now) <= 0) {
        return wait(own.refilled_at().min(now + 20 * RECHECK_NS), Reason::Pool);
    }
    let (mut turn, mut is_shallow) = (false, false);
    for n in rivals {
        if n.is_below(own.params.priority) || !n.active(now) {
            continue;
        }
        // A neighbour whose exhausted bucket still fills has no tokens yet. It uses the surplus
        // like this tenant.
        let filled = filling_ns(n.guarantee) as i64;
        if n.lag(now, span) > filled.min(span as i64 / 2).max(window / 16) {
            if n.is_device_bound(now) {
                return wait(now + RECHECK_NS, Reason::Neighbour);
            }
            is_shallow = true;
        } else if n.mode != Mode::Strict && (n.waits(now) || n.is_device_bound(now)) {
            // Without further authority, the claimed class decides here, and only here.
            turn |= match n.priority.cmp(&own.params.priority) {
                Ordering::Less => false,
                Ordering::Equal => behind(n, own),
                Ordering::Greater => true,
            };
        }
    }
    if turn {
        return wait(now + RECHECK_NS, Reason::FairShare);
    }
    go(is_shallow, Account::Surplus)
}

fn go(is_shallow: bool, funds: Account) -> Decision {
    if is_shallow {
        Decision::GoShallow(funds)
    } else {
        Decision::Go(funds)
    }
}

/// Returns true if a tenant of a higher class has work for the device now.
fn has_work(n: &ClaimView, now: u64) -> bool {
    n.active(now) && (n.is_device_bound(now) || n.finish_at > now || n.waits(now))
}

/// Returns true if `n` has used less of the surplus for its weight than `own`, by more than the
/// window. Virtual times that are implausibly far apart are ignored: a false claim of zero must not
/// hold the surplus forever.
fn behind(n: &ClaimView, own: &LocalState) -> bool {
    let ahead = own.virtual_time.saturating_sub(n.virtual_time);
    let weight = own.params.weight.min(WHOLE);
    let window = gpu_to_wall_ns(own.tuning.surplus_window, weight) / 2;
    let window = own.patience_with(n, i64::try_from(window).unwrap_or(i64::MAX / 2));
    ahead > window.cast_unsigned()
        && ahead < gpu_to_wall_ns(VTIME_PLAUSIBLE_NS, n.weight.min(weight))
}

/// Returns the virtual time of a tenant that returns from idleness: at least the least virtual time
/// of the active neighbours. Time spent idle is thus not saved up as surplus.
pub fn newcomer_virtual_time(own_vtime: u64, neighbours: &[ClaimView], now: u64) -> u64 {
    neighbours
        .iter()
        .filter(|n| n.active(now) && !matches!(n.mode, Mode::Strict | Mode::None))
        .map(|n| n.virtual_time)
        .filter(|&v| v.saturating_sub(own_vtime) < gpu_to_wall_ns(VTIME_PLAUSIBLE_NS, 1_000))
        .min()
        .map_or(own_vtime, |least| least.max(own_vtime))
}

/// Returns the sum of the shares of the active neighbours, for reports. Claims are not checked.
pub fn promised(neighbours: &[ClaimView], now: u64) -> Ppm {
    neighbours
        .iter()
        .filter(|n| n.active(now))
        .map(|n| n.guarantee)
        .fold(0, Ppm::saturating_add)
}
