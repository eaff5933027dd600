//! The rate limiter: may this work start now?
//!
//! A limiter answers, counts and never submits anything itself. Its user does, in four steps:
//!
//! 1. before each piece of work, [`RateLimiter::try_admit`] with what it is charged; if that is
//!    false, [`RateLimiter::ask`], which says to go, to drain or to wait, and ask again;
//! 2. where the answer requests a marker, and before it waits, it puts a marker behind everything
//!    submitted so far (an event, a fence, a callback) and keeps the [`RateLimiter::position`];
//! 3. when the device has passed that, [`RateLimiter::passed`] with the position;
//! 4. around a wait of its own for the device, [`RateLimiter::block`] and [`RateLimiter::resume`].
//!
//! [`crate::share::limiter::ShareLimiter`] is the limiter that keeps shares. It serves the preload
//! libraries, whose `fcsp_hook::compute::Compute` does the steps with events and queues, and
//! embedders, for whom [`crate::submitter::Submitter`] does them. [`Unlimited`] lets everything
//! through. A limiter of one's own implements the five required methods; the others tell it more
//! than it may want to know.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::classifier::Class;
use crate::share::params::Params;

pub use crate::share::gate::{BusyInterval, GateAdmission, HotState, Position};
pub use crate::share::policy::Reason;

/// Device work about to be submitted.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Identifies the kernel and its launch shape, or the graph: what its cost is remembered under.
    /// Not 0; see [`crate::share::cost::kernel_key`].
    pub key: u64,
    /// Thread blocks, for a first guess of the cost; 0 where that means nothing.
    pub blocks: u64,
    /// Class of the work.
    pub class: Class,
}

/// Answer of [`crate::submitter::Submitter::admit`] to a program that does the steps itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Submit now; the work is charged.
    Go {
        /// True if a marker is wanted behind the work.
        marker: bool,
    },
    /// Too much is in flight: wait for a marker to be passed, then ask again. Not for longer than a
    /// few milliseconds, since a device that makes no progress is the limiter's to judge.
    Drain {
        /// Ask again when no more than this much device time is in flight.
        to: Duration,
    },
    /// Ask again after this long, or when woken.
    Wait(Duration),
}

/// Device time that other tenants had since an earlier look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Others {
    /// Their device time, ns.
    pub ns: u64,
    /// Number of tenants that may have run.
    pub tenants: u64,
}

/// Nobody wakes a limiter that has no word of its own: its waits end by the clock.
static NO_EVENT: AtomicU32 = AtomicU32::new(0);

/// A share of a device's time for one tenant. All methods may be called from any thread and never
/// block. Times are ns; `now` is CLOCK_MONOTONIC.
///
/// ## Contract
///
/// A backend calls these methods of a type that it knows: nothing is called indirectly. Each launch
/// reads [`RateLimiter::line`] and calls [`RateLimiter::try_admit`]: their cost is that of every
/// launch. Everything else is called once in some hundred microseconds of device time, or less.
pub trait RateLimiter: Send + Sync {
    /// Returns the state that every launch reads or writes. One for the life of the limiter.
    fn line(&self) -> &HotState;

    /// Charges `cost` ns of device time if there is nothing to think about. Returns false if
    /// nothing was charged: [`RateLimiter::ask`] then.
    fn try_admit(&self, cost: u64) -> bool;

    /// Says whether work of this class, which costs `cost` ns, may start at `now`.
    /// [`GateAdmission::Go`] and [`GateAdmission::Forced`] have charged it.
    fn ask(&self, class: Class, cost: u64, now: u64) -> GateAdmission;

    /// Takes in new limits; the next launch feels them.
    fn set_limits(&self, params: Params, paused: bool);

    /// Returns the limits in force.
    fn params(&self) -> Params;

    /// Returns the word that changes, or whose waiters are woken, when an earlier answer may have
    /// become another one.
    fn event_word(&self) -> &AtomicU32 {
        &NO_EVENT
    }

    /// Returns the position after everything admitted so far, to remember with a marker.
    fn position(&self) -> Position {
        Position::default()
    }

    /// Returns the device time submitted by this process and not known to be done, ns.
    fn in_flight(&self) -> u64 {
        0
    }

    /// Records that everything up to `marker` is done at `now`.
    fn passed(&self, _marker: Position, _now: u64) {}

    /// Records that the device had done everything up to `marker` by `at`.
    fn emptied(&self, _marker: Position, _at: u64) {}

    /// Records that nothing of this process is in flight.
    fn drained(&self, _now: u64) {}

    /// Records that what the device has not passed at `now` is all on one queue.
    fn is_all(&self, _now: u64) {}

    /// Records that work went to another queue than the work before it.
    fn queue_changes(&self) {}

    /// Records that the host is about to wait for the device.
    fn block(&self, _now: u64) {}

    /// Records that the host goes on, and wakes neighbours for whom that matters.
    fn resume(&self, _now: u64) {}

    /// Records that work charged `charged` ns took `elapsed` ns of wall time.
    fn observe(&self, _elapsed: u64, _charged: u64) {}

    /// Corrects the charge: `measured` ns were used where `charged` ns had been charged.
    fn true_up(&self, _measured: u64, _charged: u64, _now: u64) {}

    /// Returns the part of a busy interval that no charge accounts for yet, ns.
    fn unaccounted(&self, _busy: BusyInterval) -> u64 {
        0
    }

    /// Charges what the device did in a busy interval and nobody was charged for; returns that, ns.
    /// `before` is [`RateLimiter::others_seen`] as it was when the interval began.
    fn reconcile(&self, _busy: BusyInterval, _before: u64, _now: u64) -> u64 {
        0
    }

    /// Records that `charged` ns were done with no other tenant about.
    fn was_alone(&self, _charged: u64) {}

    /// Returns what other processes of the tenant have been charged, ns.
    fn siblings(&self) -> u64 {
        0
    }

    /// Returns the instant up to which the tenant's queue is accounted for, ns.
    fn accounted_at(&self) -> u64 {
        0
    }

    /// Returns true if another tenant was active at the last [`RateLimiter::ask`].
    fn is_contended(&self) -> bool {
        false
    }

    /// Returns the device time that other tenants had had by the last look, ns.
    fn others_seen(&self) -> u64 {
        0
    }

    /// Looks at the other tenants, for [`RateLimiter::others_seen`].
    fn see_others(&self, _now: u64) {}

    /// Returns the device time that other tenants have had by now, ns.
    fn others_now(&self, _now: u64) -> u64 {
        0
    }

    /// Returns what other tenants had since `at`, when [`RateLimiter::others_now`] was `before`.
    fn others_since(&self, _before: u64, _at: u64, _now: u64) -> Others {
        Others::default()
    }

    /// Returns true if another tenant has done anything since `since`.
    fn others_ran_since(&self, _since: u64) -> bool {
        false
    }

    /// Records whether other ranks may wait for this process's collectives.
    fn set_ranks(&self, _several: bool) {}
}

/// Limiter that admits everything.
#[derive(Debug, Default)]
pub struct Unlimited(HotState);

impl RateLimiter for Unlimited {
    #[inline(always)]
    fn line(&self) -> &HotState {
        &self.0
    }

    #[inline(always)]
    fn try_admit(&self, _cost: u64) -> bool {
        true
    }

    fn ask(&self, _class: Class, _cost: u64, _now: u64) -> GateAdmission {
        GateAdmission::Go { marker: false }
    }

    fn set_limits(&self, _params: Params, _paused: bool) {}

    fn params(&self) -> Params {
        Params::default()
    }
}
