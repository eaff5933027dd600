//! Holding bytes before the driver is asked for them, and refusing what passes the quota.
//!
//! Near the quota each request is under way until its bytes are reconciled
//! ([`fcsp_core::region::requests`]). A refusal waits for the requests of other threads and
//! processes: they may hold more than they will take, and a measurement beside them may count bytes
//! twice. No request waits while it holds anything, so none waits for another in a circle.

use core::sync::atomic::Ordering;

use fcsp_core::clock::Countdown;
use fcsp_core::memory::{Denied, MemoryTracker};
use fcsp_core::region::requests::PendingRequest;

use super::{Device, NEAR};
use crate::backend::Backend;

/// The longest wait for requests under way before a refusal, ns. A driver call that takes longer
/// hangs, or was left by a jump.
const LONGEST_WAIT_NS: u64 = 1_000_000_000;
/// The longest wait while contexts are made, ns.
const LONGEST_CONTEXT_WAIT_NS: u64 = 10_000_000_000;
/// Time between two attempts, ns.
const LOOK_NS: u64 = 100_000;

/// Bytes held for a request. Near the quota the request is under way until this is dropped, so it
/// is kept until the bytes are reconciled.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct Hold<'a> {
    /// The request; `None` where the quota is far.
    request: Option<PendingRequest<'a>>,
}

impl Hold<'_> {
    /// Returns whether the bytes end within [`NEAR`] of the quota.
    #[inline]
    pub fn is_near(&self) -> bool {
        self.request.is_some()
    }
}

impl<B: Backend> Device<B> {
    /// Holds `bytes` before the driver is asked for them.
    ///
    /// # Errors
    /// The quota has no room for them, whatever requests under way give back. The refusal is
    /// counted.
    #[inline]
    pub fn hold(&self, bytes: u64) -> Result<Hold<'_>, Denied> {
        let limit = self.limit();
        if limit == u64::MAX || self.memory.room_under(limit) >= bytes.saturating_add(NEAR) {
            let held = self.memory.reserve_under(bytes, limit);
            return held.map(|()| Hold { request: None });
        }
        if bytes > limit {
            return Err(self.memory.deny(bytes, limit));
        }
        self.hold_near(bytes, limit)
    }

    /// Puts a request under way that holds nothing.
    pub(crate) fn hold_nothing(&self) -> Hold<'_> {
        Hold {
            request: Some(self.place().request()),
        }
    }

    #[inline(never)]
    fn hold_near(&self, bytes: u64, limit: u64) -> Result<Hold<'_>, Denied> {
        self.try_hold_near(bytes, limit)
            .or_else(|_| self.hold_after_others(|| self.try_hold_near(bytes, limit)))
            .inspect_err(|denied| self.memory.count_refusal(denied.wanted))
    }

    /// [`Device::hold`] for a caller who can do with less, or tries again: a refusal is not
    /// counted, and comes at once.
    pub(crate) fn try_hold(&self, bytes: u64) -> Result<Hold<'_>, Denied> {
        let limit = self.limit();
        match self.memory.room_under(limit) >= bytes.saturating_add(NEAR) {
            true => self
                .memory
                .try_reserve_under(bytes, limit)
                .map(|()| Hold { request: None }),
            false => self.try_hold_near(bytes, limit),
        }
    }

    fn try_hold_near(&self, bytes: u64, limit: u64) -> Result<Hold<'_>, Denied> {
        let reserve = || self.as_request(|| self.memory.reserve_at_once_under(bytes, limit));
        self.drain_ahead();
        // More than the whole quota: no measurement and no pool can make room.
        if bytes <= limit {
            self.measure_if_stale();
            if let Ok(hold) = reserve() {
                return Ok(hold);
            }
            // Nothing is refused on an old figure: what code or pools have given back to the driver
            // since we last asked is free again.
            if self.stale.load(Ordering::Relaxed) {
                self.measure_now();
            }
            B::refresh(self);
            if let Ok(hold) = reserve() {
                return Ok(hold);
            }
            // Before it refuses, the driver takes back what pools keep and nothing uses.
            B::reclaim(self);
        }
        self.as_request(|| self.memory.try_reserve_under(bytes, limit))
    }

    /// Reserves within a request, which is under way if that succeeds.
    fn as_request(&self, reserve: impl FnOnce() -> Result<(), Denied>) -> Result<Hold<'_>, Denied> {
        let request = self.place().request();
        match reserve() {
            Ok(()) => Ok(Hold {
                request: Some(request),
            }),
            Err(denied) => {
                request.cancel();
                Err(denied)
            }
        }
    }

    /// Returns whether the tenant holds more than its quota once the requests of others are
    /// reconciled. The caller has none under way. For memory that the driver takes for itself: what
    /// a program asked for is taken back at once.
    #[cold]
    pub(crate) fn stays_over(&self) -> bool {
        let attempt = || {
            self.measure_now();
            if self.is_over() {
                // What pools keep and nothing uses goes first, as with the driver.
                B::reclaim(self);
            }
            match self.over() {
                0 => Ok(()),
                over => Err(Denied {
                    wanted: over,
                    used: self.memory.usage().used,
                    limit: self.limit(),
                }),
            }
        };
        self.hold_after_others(attempt).is_err()
    }

    /// Repeats an attempt that was refused until no request of others has been under way beside it.
    /// The caller has none under way.
    #[cold]
    pub(super) fn hold_after_others<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Denied>,
    ) -> Result<T, Denied> {
        let mut left = Countdown::of(LONGEST_WAIT_NS);
        let mut left_for_contexts = Countdown::of(LONGEST_CONTEXT_WAIT_NS);
        let mut fewest = u64::MAX;
        loop {
            let makes_contexts = self.makes_contexts();
            let before = self.place().requests();
            let denied = match attempt() {
                Ok(done) => return Ok(done),
                Err(denied) => denied,
            };
            let after = self.place().requests();
            // Relaxed: a number by itself.
            let abandoned = self.abandoned.load(Ordering::Relaxed);
            let is_exact = before == after
                && before.under_way() <= abandoned
                && !self.overlapped.load(Ordering::Relaxed);
            if is_exact && !makes_contexts {
                // Fewer than were abandoned: those of a process that is gone.
                self.abandoned.store(after.under_way(), Ordering::Relaxed);
                return Err(denied);
            }
            fewest = fewest.min(before.under_way()).min(after.under_way());
            if makes_contexts {
                if !left_for_contexts.nap(LOOK_NS) {
                    return Err(denied);
                }
            } else if !left.nap(LOOK_NS) {
                self.abandoned.store(fewest, Ordering::Relaxed);
                return Err(denied);
            }
        }
    }

    /// Returns whether this process or another of the tenant is making a context: more may be held
    /// for it than it will take.
    fn makes_contexts(&self) -> bool {
        // Relaxed: the readings of requests around the attempt say whether that has changed.
        self.under_way.load(Ordering::Relaxed) > 0 || self.place().others_make_contexts()
    }
}
