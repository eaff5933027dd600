//! May this tenant's next work start now? A pure function of its own state, what its neighbours'
//! pages say, and the time.
//!
//! Tenants are ordered by *lag*: for how long each has been owed GPU time it has not had
//! ([`crate::share::bucket`]).
//!
//! 1. **Guarantee.** A tenant with tokens goes. It stands back for a neighbour only while that
//!    neighbour's host stands waiting for the device *and* has been owed its time for longer than
//!    this tenant by [`Tuning::window`]. A neighbour's lag counts at most [`COMPARED_NS`] and at
//!    most as this tenant's own bucket is deep: so with a bucket nearly full nobody is stood back
//!    for, whatever they claim, nothing spills, and the rate stays the quota. Standing back moves a
//!    tenant within its bucket; it cannot take it below its quota, less the margin. Where the
//!    device delivers less than the quotas promise, all charge themselves a margin
//!    ([`crate::share::margin`]), so that no bucket stays full.
//! 2. **Surplus.** A tenant without tokens may run while no neighbour *with* tokens is held up by
//!    the device, and among those without, the one that has had the least surplus for its weight
//!    goes first.
//! 3. **Held up by the device or busy on the host.** A neighbour is held up when its host stands
//!    waiting for the device or its queue would still be deep if it had had the device alone. One
//!    that submits small kernels with gaps is neither: the device has room beside it. It is not
//!    stood back for, but work is kept short ([`Tuning::polite`] in flight), so that its next
//!    kernel finds the device free soon; and where its gaps are its host's, and its steps are
//!    known, turns are taken with it instead ([`crate::share::turns`]).
//! 4. **Priority.** While a tenant of a higher class has work, a lower one stops, except for its
//!    floor. Between tenants of different owners the class is the one that root wrote down
//!    ([`crate::share::authority`]); what the page says decides only who goes first to the surplus.
//!    Where it can be foreseen when that one's next step begins ([`crate::share::arrivals`]), what
//!    the lower one has on the device ends before; otherwise one short kernel is in flight.
//! 5. **Leaning** (adaptive mode only). Where one tenant's work is waited for step by step and
//!    another's is measured by how much gets done ([`crate::share::mix`]), the first stands back
//!    later and the second sooner: an order within their buckets, as in 1, that takes from
//!    neither's quota. It also goes first to the surplus, within a bound.
//!
//! Claims are believed only while they can be true: written lately, not in the future, and held up
//! no longer than the queue claimed could take at the share claimed.

use crate::share::arrivals::Foreseen;
use crate::share::bucket::{Rate, gpu_of, wall_of};
use crate::share::gate::{RANKS_DEBT_NS, RANKS_MOST_NS};
use crate::share::margin;
use crate::share::mix::Leaning;
use crate::share::page::View;
use crate::share::params::{Mode, Params, Priority};
use crate::share::turns::{LONGEST_NS, Steps, Turn};
use crate::units::{Ppm, WHOLE};
use std::cmp::Ordering;

/// A tenant that wrote nothing for so long, and stands waiting for nothing, is idle, ns.
pub const IDLE_NS: u64 = 500_000;
/// A tenant that submitted nothing for so long, with nothing in flight, comes back as a newcomer,
/// ns.
pub const AWAY_NS: u64 = 20_000_000;
/// A waiter renews its claim at least this often, or is taken for stopped, ns.
pub const WAITER_STALE_NS: u64 = 4_000_000;
/// How long after its work should be done at its share a blocked tenant is still believed, ns.
pub const HOLD_GRACE_NS: u64 = 10_000_000;
/// A slice of the device's own scheduling, ns.
pub const SLICE_NS: u64 = 2_000_000;
/// No claim is believed for longer than this, ns.
pub const HOLD_MAX_NS: u64 = 500_000_000;
/// A claim from further in the future than this is a lie, ns. Clocks of one machine do not differ.
pub const SKEW_NS: u64 = 1_000_000;
/// A queue this deep at best is a queue that holds its tenant up, ns of GPU time.
pub const DEEP_NS: u64 = 300_000;
/// A neighbour counts as held up for this long after its host went on, ns: the gap between two
/// steps.
pub const LINGER_NS: u64 = 40_000;
/// How soon a waiter looks again, ns.
pub const RECHECK_NS: u64 = 50_000;
/// How far beyond the window, and a slice of each neighbour, a lag counts when tenants are
/// compared, ns. A tenant back from idleness has a full bucket to spend, and the others make room
/// for it for this long, not until the bucket is empty.
pub const COMPARED_NS: u64 = 16_000_000;
/// What each active tenant adds to the window, ns: in a round of the device's slices, each falls
/// behind by a part of a slice of every other.
pub const ROUND_NS: u64 = 300_000;
/// A tenant of a higher priority that was seen within this time may come back at any moment, ns.
pub const ABOUT_NS: u64 = 1_000_000_000;
/// How soon a waiter in debt looks again, ns.
pub const LONG_RECHECK_NS: u64 = 2_000_000_000;
/// A bucket that ran empty counts as empty until it holds this again, ns of GPU time: work then
/// goes in pieces worth switching the device for.
pub const PIECE_NS: u64 = 1_000_000;
/// But no longer than this, ns.
pub const PIECE_WAIT_NS: u64 = 8_000_000;
/// Surplus clocks further apart than this are not compared, ns of GPU time of the whole device.
pub const VTIME_PLAUSIBLE_NS: u64 = 1_000_000_000;

/// The distances the policy works with. [`Tuning::DEFAULT`] unless the mode is adaptive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How much further behind a neighbour must be to be stood back for, ns of lag.
    pub window: u64,
    /// Work in flight where nobody is disturbed by it, ns of GPU time.
    pub depth: u64,
    /// Work in flight beside a tenant that waits for short turns, ns of GPU time.
    pub polite: u64,
    /// Surplus clocks this close are equal, ns of GPU time at the tenant's weight.
    pub surplus_window: u64,
}

impl Tuning {
    /// Measured to be right for the device's own slices of about 2 ms.
    pub const DEFAULT: Self = Self {
        window: 4_000_000,
        depth: 2_000_000,
        polite: 150_000,
        surplus_window: 2_000_000,
    };

    /// The work in flight for a measured `stretch` (time taken over time charged, in ppm: a million
    /// when alone) and the length of the tenant's kernels. Alone, deep queues cost nobody anything;
    /// the more the device is contended, the sooner it must be possible to stop.
    ///
    /// Work that leans to throughput goes in larger pieces while nobody about leans to latency, and
    /// in pieces of two kernels where somebody does (`disturbs`): that one's next step waits for no
    /// more than that, since the launches behind it stand back as soon as it is held up.
    pub fn adaptive(stretch: u64, kernel_ns: u64, leaning: Leaning, disturbs: bool) -> Self {
        let stretch = stretch.clamp(u64::from(WHOLE), 8 * u64::from(WHOLE));
        let (piece, least) = match (leaning, disturbs) {
            (Leaning::Throughput, false) => (6_000_000, 1_000_000),
            (Leaning::Throughput, true) => (400_000, 400_000),
            _ => (4_000_000, 1_000_000),
        };
        let depth = (piece * u64::from(WHOLE) / stretch).max(least);
        // At least two kernels, or the device runs dry between them.
        Self {
            depth: depth.max(2 * kernel_ns.min(2_000_000)),
            ..Self::DEFAULT
        }
    }
}

/// The tenant's own side of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// The promise.
    pub params: Params,
    /// When the bucket is empty.
    pub empty_at: u64,
    /// When the floor's bucket is empty.
    pub floor_empty_at: u64,
    /// When the pool's bucket is empty.
    pub pool_empty_at: u64,
    /// Surplus taken, over weight.
    pub vtime: u64,
    /// Whether the tenant is standing back already: it then comes back later than it went
    /// (hysteresis).
    pub standing_back: bool,
    /// Whether the bucket ran empty and has not filled up to a piece since.
    pub spent: bool,
    /// The same of the floor's bucket.
    pub floor_spent: bool,
    /// Distances.
    pub tuning: Tuning,
    /// How many neighbours are active.
    pub company: u64,
    /// Which way the tenant's work leans; [`Leaning::None`] unless the mode is adaptive.
    pub leaning: Leaning,
    /// The last turn taken.
    pub turn: Turn,
    /// Whether this tenant's own host does most of its work: others take turns with it then, and
    /// not it with others.
    pub is_hosts: bool,
    /// What is to be launched, ns of GPU time.
    pub cost: u64,
    /// What this process has queued before it, ns of GPU time.
    pub queued: u64,
}

impl Own {
    /// The guarantee's bucket.
    pub fn rate(&self) -> Rate {
        Rate {
            quota: self.params.quota,
            cap: self.params.cap_ns(),
        }
    }

    /// When the bucket counts as filled again after it ran empty.
    pub fn refilled_at(&self) -> u64 {
        let piece = filling_ns(self.params.quota).min(self.rate().span() / 2);
        self.empty_at.saturating_add(piece)
    }

    /// Whether there is something in the bucket to go on.
    pub fn has_tokens(&self, now: u64) -> bool {
        now > if self.spent {
            self.refilled_at()
        } else {
            self.empty_at
        }
    }

    /// Whether collectives may still go before the debt is paid
    /// ([`crate::share::gate::RANKS_DEBT_NS`]).
    pub fn owes_little(&self, now: u64) -> bool {
        let most = wall_of(RANKS_MOST_NS, self.params.quota).min(RANKS_DEBT_NS);
        self.empty_at <= now.saturating_add(most)
    }

    /// The distance at which lags differ.
    pub fn window(&self) -> u64 {
        self.tuning.window.max(self.company * ROUND_NS)
    }

    /// A distance at which to stand back for `n`: twice as far for one that only counts what it
    /// gets done, where somebody waits for this tenant's steps, and half as far the other way
    /// round.
    fn patience_with(&self, n: &View, distance: i64) -> i64 {
        match (self.leaning, n.leaning) {
            (Leaning::Latency, Leaning::Throughput) => distance * 2,
            (Leaning::Throughput, Leaning::Latency) => distance / 2,
            _ => distance,
        }
    }

    /// The floor's bucket: a tenth of a second deep.
    pub fn floor_rate(&self) -> Rate {
        floor_rate(&self.params)
    }

    /// The time in the floor's bucket that may be spent now, ns of GPU time. A bucket that ran
    /// empty gives nothing until it holds a piece.
    pub fn floor_tokens(&self, now: u64) -> u64 {
        if self.params.floor == 0 {
            return 0;
        }
        let rate = self.floor_rate();
        let tokens = rate.tokens(self.floor_empty_at, now).max(0).cast_unsigned();
        let piece = gpu_of(filling_ns(rate.quota).min(rate.span() / 2), rate.quota);
        if self.floor_spent && tokens < piece {
            0
        } else {
            tokens
        }
    }

    /// The pool's bucket.
    pub fn pool_rate(&self) -> Rate {
        pool_rate(&self.params)
    }
}

/// How long a bucket that ran empty fills until it counts as filled, ns.
fn filling_ns(quota: Ppm) -> u64 {
    wall_of(PIECE_NS, quota).min(PIECE_WAIT_NS)
}

/// The bucket of a tenant's floor.
pub fn floor_rate(params: &Params) -> Rate {
    Rate {
        quota: params.floor.max(1),
        cap: u64::from(params.floor) * 100,
    }
}

/// The bucket of a tenant's part of the pool.
pub fn pool_rate(params: &Params) -> Rate {
    Rate {
        quota: params.pool.max(1),
        cap: 5_000_000,
    }
}

/// What work is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Funds {
    /// The tenant's own share.
    Guarantee,
    /// What others leave.
    Surplus,
}

/// Why a launch waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The quota is spent and the mode takes no more.
    Quota,
    /// A neighbour below its own quota is held up by the device.
    Neighbour,
    /// Another tenant without tokens has had less of the surplus.
    Turn,
    /// The limit on surplus is reached.
    Pool,
    /// A tenant of a higher priority has work.
    Priority,
    /// The tenant is paused.
    Paused,
}

/// What the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go, with up to [`Tuning::depth`] in flight.
    Go(Funds),
    /// Go, with one short kernel in flight.
    GoPolite(Funds),
    /// Go, with up to [`Tuning::depth`] in flight, for so many ns of the floor's GPU time.
    GoFloor(Funds, u64),
    /// Go, for what is left of this turn.
    GoTurn(Funds, Turn),
    /// Go, with up to [`Tuning::depth`] in flight that is done within so many ns.
    GoWithin(Funds, u64),
    /// Ask again at `recheck_at`, or when a neighbour wakes whoever waits.
    Wait {
        /// The instant, ns.
        recheck_at: u64,
        /// Why.
        reason: Reason,
    },
}

impl Decision {
    /// What a launch that goes is charged to.
    pub fn funds(self) -> Option<Funds> {
        match self {
            Self::Go(funds)
            | Self::GoPolite(funds)
            | Self::GoFloor(funds, _)
            | Self::GoTurn(funds, _)
            | Self::GoWithin(funds, _) => Some(funds),
            Self::Wait { .. } => None,
        }
    }
}

impl View {
    /// Until when a claim made at `since` to be held up is believed: the queue claimed, at the
    /// share claimed, and some grace. What others of the tenant write later makes it no longer:
    /// whoever made it may be dead or stopped.
    fn believed_until(&self, since: u64) -> u64 {
        let work = self.finish_at.saturating_sub(since).min(HOLD_MAX_NS);
        // A quota of one in n says that n others may have a slice of the device before it.
        let grace = HOLD_GRACE_NS + wall_of(SLICE_NS, self.quota);
        since.saturating_add((wall_of(work, self.quota) + grace).min(HOLD_MAX_NS))
    }

    fn honest_clock(&self, now: u64) -> bool {
        let limit = now + SKEW_NS;
        self.seen != 0
            && self.seen <= limit
            && self.blocked_since <= limit
            && self.waiting_at <= limit
    }

    /// The classes that count between this tenant and one that says `own`: first this one's.
    fn classes(&self, own: Priority) -> (Priority, Priority) {
        self.authority.classes(self.priority, own)
    }

    /// Whether this tenant goes before one that says `own`.
    fn is_above(&self, own: Priority) -> bool {
        let (theirs, ours) = self.classes(own);
        theirs > ours
    }

    /// Whether one that says `own` goes before this tenant.
    fn is_below(&self, own: Priority) -> bool {
        let (theirs, ours) = self.classes(own);
        theirs < ours
    }

    /// Whether the device holds this tenant up: its host stands waiting for the device, has just
    /// stopped to, or has submitted more than the device alone could have done by now.
    pub fn held_up(&self, now: u64) -> bool {
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

    /// Whether a launch of this tenant stands at its gate.
    pub fn waits(&self, now: u64) -> bool {
        self.waiting_at != 0
            && self.honest_clock(now)
            && now.saturating_sub(self.waiting_at) < WAITER_STALE_NS
    }

    /// Whether the tenant uses the device at all.
    pub fn active(&self, now: u64) -> bool {
        self.honest_clock(now)
            && (now.saturating_sub(self.seen) < IDLE_NS
                || self.held_up(now)
                || self.waits(now)
                || self.prepares(now))
    }

    /// Whether the tenant's host does most of its work, and works on a step for no longer than it
    /// usually does.
    fn prepares(&self, now: u64) -> bool {
        self.pace.is_hosts()
            && self.pressed_at <= now
            && now - self.pressed_at < self.pace.host + self.pace.host / 2
    }

    /// Whether the tenant is within a step that turns can be taken with: its host works for as long
    /// as it usually does, or waits for the device.
    pub fn steps(&self, now: u64) -> bool {
        self.pace.is_hosts()
            && self.pressed_at <= now
            && self.active(now)
            // Another process of the tenant may be all that is active, and this pace a dead one's.
            && (now - self.pressed_at < LONGEST_NS || self.held_up(now))
    }

    /// Whether the tenant was seen lately: it may come back at any moment.
    pub fn about(&self, now: u64) -> bool {
        self.honest_clock(now) && now.saturating_sub(self.seen) < ABOUT_NS
    }

    /// The lag, as far as a bucket of `span` ns would show it.
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
pub fn decide(own: &Own, neighbours: &[View], now: u64) -> Decision {
    let Params { mode, priority, .. } = own.params;
    if mode == Mode::None {
        return Decision::Go(Funds::Guarantee);
    }
    let rate = own.rate();
    let lag = rate.lag(own.empty_at, now);
    let wait = |recheck_at: u64, reason| Decision::Wait {
        recheck_at: recheck_at.max(now + 1),
        reason,
    };

    // A strict tenant's quota is a ceiling whatever its priority.
    let has_tokens = own.has_tokens(now);
    if mode == Mode::Strict && !has_tokens {
        return wait(own.refilled_at().min(now + LONG_RECHECK_NS), Reason::Quota);
    }
    // One that is only counted was promised nothing: it has what the driver's own slices give it.
    // And one of high priority waits for nobody towards whom that counts.
    let rivals = || {
        neighbours
            .iter()
            .filter(|n| n.mode != Mode::None && n.classes(priority).1 != Priority::High)
    };
    if priority == Priority::High && rivals().next().is_none() {
        return Decision::Go(if has_tokens {
            Funds::Guarantee
        } else {
            Funds::Surplus
        });
    }
    let above = rivals().any(|n| n.is_above(priority) && has_work(n, now));
    let higher_about = rivals().any(|n| n.is_above(priority) && n.about(now));
    // What stays even while tenants of a higher class have work, or say that they will. It goes at
    // full depth: one short kernel in each of the device's slices would be less than the floor.
    let on_floor = |funds| match own.floor_tokens(now) {
        0 => None,
        tokens => Some(Decision::GoFloor(funds, tokens)),
    };
    if above {
        let funds = if has_tokens {
            Funds::Guarantee
        } else {
            Funds::Surplus
        };
        return on_floor(funds).unwrap_or_else(|| wait(now + RECHECK_NS, Reason::Priority));
    }

    let window = own.window();
    let span = rate
        .span()
        .min(window + COMPARED_NS + own.company * SLICE_NS);
    let window = if own.standing_back {
        window / 2
    } else {
        window
    }
    .min(span / 2) as i64;
    // With one whose host does most of the work, and that is owed what it asks for, turns are
    // taken.
    let partner =
        |n: &View| !own.is_hosts && !n.is_below(priority) && n.lag(now, span) > 0 && n.steps(now);
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
        Decision::Go(funds) | Decision::GoPolite(funds) => funds,
        waits => return waits,
    };
    if higher_about {
        if let Some(decision) = on_floor(funds) {
            return decision;
        }
        let above = rivals().filter(|n| n.is_above(priority) && n.about(now));
        return match Foreseen::of(above, now) {
            None => Decision::GoPolite(funds),
            // What does not fit between two steps would never go.
            Some(next) if own.cost > next.longest => Decision::GoPolite(funds),
            Some(next) if now + own.queued + own.cost > next.free_by => {
                // Asked again before the claim to be waiting is stale: whoever ends its step wakes
                // those that wait.
                wait(
                    next.late_at.min(now + WAITER_STALE_NS / 2),
                    Reason::Priority,
                )
            }
            Some(next) => Decision::GoWithin(funds, next.free_by.saturating_sub(now)),
        };
    }
    match Steps::of(rivals(), partner, now) {
        None => decision,
        Some(steps) => {
            // Without tokens it is what the margin leaves of the quota: turns give what surplus
            // would.
            let least = if has_tokens {
                own.params.quota
            } else {
                margin::less(own.params.quota)
            };
            match steps.turn(own.turn, least, now) {
                Some(turn) => Decision::GoTurn(funds, turn),
                None => wait(now + RECHECK_NS, Reason::Neighbour),
            }
        }
    }
}

/// A tenant with tokens goes, but for a neighbour that is held up and behind by more than the
/// window.
fn guaranteed<'v>(
    own: &Own,
    rivals: impl Iterator<Item = &'v View>,
    lag: i64,
    (window, span): (i64, u64),
    now: u64,
) -> Decision {
    let mut polite = false;
    for n in rivals {
        // Cheapest first: most pages are idle or not behind.
        // Never farther than the bucket is deep: it would not be seen to be passed.
        let far = own.patience_with(n, window).min(span as i64 / 2);
        if n.lag(now, span) <= lag + far || n.is_below(own.params.priority) || !n.active(now) {
            continue;
        }
        if n.held_up(now) {
            return Decision::Wait {
                recheck_at: now + RECHECK_NS,
                reason: Reason::Neighbour,
            };
        }
        // Not at the price of the guarantee: one that is owed time itself works at full depth.
        polite |= lag <= window / 2;
    }
    go(polite, Funds::Guarantee)
}

/// A tenant without tokens goes where nobody with tokens is held up and nobody has had less of the
/// surplus.
fn surplus<'v>(
    own: &Own,
    rivals: impl Iterator<Item = &'v View>,
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
    let (mut turn, mut polite) = (false, false);
    for n in rivals {
        if n.is_below(own.params.priority) || !n.active(now) {
            continue;
        }
        // One that is filling up to a piece has no tokens yet, and is after the surplus like this
        // tenant.
        let filled = filling_ns(n.quota) as i64;
        if n.lag(now, span) > filled.min(span as i64 / 2).max(window / 16) {
            if n.held_up(now) {
                return wait(now + RECHECK_NS, Reason::Neighbour);
            }
            polite = true;
        } else if n.mode != Mode::Strict && (n.waits(now) || n.held_up(now)) {
            // Without authority for more a class decides here, and only here.
            turn |= match n.priority.cmp(&own.params.priority) {
                Ordering::Less => false,
                Ordering::Equal => behind(n, own),
                Ordering::Greater => true,
            };
        }
    }
    if turn {
        return wait(now + RECHECK_NS, Reason::Turn);
    }
    go(polite, Funds::Surplus)
}

fn go(polite: bool, funds: Funds) -> Decision {
    if polite {
        Decision::GoPolite(funds)
    } else {
        Decision::Go(funds)
    }
}

/// Whether a tenant of a higher class has work for the device at this moment.
fn has_work(n: &View, now: u64) -> bool {
    n.active(now) && (n.held_up(now) || n.finish_at > now || n.waits(now))
}

/// Whether `n` has had less of the surplus for its weight than `own`, by more than the window.
/// Clocks that are too far apart to be true are left out: a page that claims a clock of zero for
/// ever must not hold the surplus for ever.
fn behind(n: &View, own: &Own) -> bool {
    let ahead = own.vtime.saturating_sub(n.vtime);
    let weight = own.params.weight.min(WHOLE);
    let window = wall_of(own.tuning.surplus_window, weight) / 2;
    let window = own.patience_with(n, i64::try_from(window).unwrap_or(i64::MAX / 2));
    ahead > window.cast_unsigned() && ahead < wall_of(VTIME_PLAUSIBLE_NS, n.weight.min(weight))
}

/// The surplus clock a tenant starts with when it comes back after being idle since `idle_since`:
/// no earlier than the least clock of those that are active, so that time spent idle is not saved
/// up as surplus.
pub fn newcomer_vtime(own_vtime: u64, neighbours: &[View], now: u64) -> u64 {
    neighbours
        .iter()
        .filter(|n| n.active(now) && !matches!(n.mode, Mode::Strict | Mode::None))
        .map(|n| n.vtime)
        .filter(|&v| v.saturating_sub(own_vtime) < wall_of(VTIME_PLAUSIBLE_NS, 1_000))
        .min()
        .map_or(own_vtime, |least| least.max(own_vtime))
}

/// The share of the device promised to the active neighbours, for reports. Claims are not checked.
pub fn promised(neighbours: &[View], now: u64) -> Ppm {
    neighbours
        .iter()
        .filter(|n| n.active(now))
        .map(|n| n.quota)
        .fold(0, Ppm::saturating_add)
}
