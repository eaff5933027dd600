//! The overhead: what the driver takes for itself, measured as the management library's figure for
//! this process less what this process's own account has.

use core::sync::atomic::Ordering;
use std::sync::PoisonError;

use fcsp_core::file::monotonic_ns;

use super::Device;
use crate::backend::Backend;
use crate::setup::Undisturbed;

/// Least time between two measurements, in nanoseconds: 22 us in 20 ms is a thousandth.
const MEASURE_INTERVAL_NS: u64 = 20_000_000;

impl<B: Backend> Device<B> {
    /// Measures, unless that was done a short while ago and nothing is known to have changed. Waits
    /// for a measurement that is being taken.
    pub fn measure_if_stale(&self) {
        let now = monotonic_ns();
        // Acquire, and before the count is read: whoever sees the time of a measurement sees that
        // it has begun.
        let age = now.saturating_sub(self.measured_ns.load(Ordering::Acquire));
        // Code is loaded lazily, by launches that nobody announces: an old figure is stale whatever
        // the flag says.
        let is_old = age >= MEASURE_INTERVAL_NS
            && (self.stale.load(Ordering::Relaxed) || age >= 10 * MEASURE_INTERVAL_NS);
        if is_old || !self.measurements.load(Ordering::Acquire).is_multiple_of(2) {
            self.measure_now();
        }
    }

    /// Brings the overhead up to date with what the driver says.
    pub fn measure_now(&self) {
        self.measure_settling(0, 0);
    }

    /// The same, and turns `held` bytes into overhead by the same change: they were held for what
    /// the driver has just taken, and the measurement has that. `made` of them were held for a
    /// context, which is under way no longer.
    pub(super) fn measure_settling(&self, held: u64, made: u64) {
        // Acquire: what was entered before the count was read is in a measurement that begins
        // later.
        let seen = self.measurements.load(Ordering::Acquire);
        // A signal handler that left by a jump would leave the lock taken for good.
        let _undisturbed = Undisturbed::begin();
        let _only = self.measure.lock().unwrap_or_else(PoisonError::into_inner);
        // One that began and ended while this thread waited is as good. The count is odd while one
        // is taken.
        let begun_since = self.measurements.load(Ordering::Acquire).wrapping_sub(seen);
        if held == 0 && begun_since >= 2 + seen % 2 {
            return;
        }
        // Relaxed: read with the lock held, or for a figure that the settling of the context puts
        // right.
        self.under_way.fetch_sub(made, Ordering::Relaxed);
        // AcqRel, with those of `ahead`: a small request that takes its bytes after they are
        // drained sees that this has begun.
        self.measurements.fetch_add(1, Ordering::AcqRel);
        // Release: as in `measure_if_stale`.
        self.measured_ns.store(monotonic_ns(), Ordering::Release);
        self.asked.store(true, Ordering::Relaxed);
        self.stale.store(false, Ordering::Relaxed);
        self.compare_with_driver(held);
        self.measurements.fetch_add(1, Ordering::AcqRel);
    }

    fn compare_with_driver(&self, held: u64) {
        for attempt in 0..4 {
            // What is held ahead is in the account, and the driver knows nothing of it.
            self.drain_ahead();
            // Pools grow and shrink in calls that nobody announces. What the account has too little
            // or too much of them would stand in the overhead until the next measurement, with the
            // opposite sign.
            B::settle_pools(self);
            let before = self.physical().read();
            let Some(by_driver) = self.held_by_driver() else {
                return self.take_estimate(held);
            };
            self.unknown.store(false, Ordering::Relaxed);
            // One that has changed since is seen by the comparison below.
            B::settle_pools(self);
            let same = before.is_settled() && self.physical().read() == before;
            let overhead = self.without_those_under_way(before.not_in_account(by_driver));
            if same {
                if self.under_way.load(Ordering::Relaxed) > 0 {
                    self.stale.store(true, Ordering::Relaxed);
                }
                return self.set_overhead(overhead, held);
            }
            // Between calls of other threads the two figures belong to different moments. If it
            // stays so, take the figure only where it errs to the safe side.
            if attempt == 3 {
                let known = self.attachment.slot().overhead.load(Ordering::Relaxed) + held;
                self.set_overhead(overhead.max(known), held);
            }
        }
        self.stale.store(true, Ordering::Relaxed);
    }

    /// The management library does not know what this process holds: what was estimated and seen by
    /// differences stands. Without a context the driver holds nothing, whatever noise the
    /// differences had.
    fn take_estimate(&self, held: u64) {
        self.unknown.store(true, Ordering::Relaxed);
        if self.known_contexts().is_empty() {
            self.unseen.store(0, Ordering::Relaxed);
        }
        self.set_overhead(self.unseen.load(Ordering::Relaxed), held);
    }

    /// Whether the management library is not known to say what this process holds.
    pub(crate) fn is_unknown(&self) -> bool {
        if self.unknown.load(Ordering::Relaxed) {
            return true;
        }
        !self.own_numbers && B::LISTS && self.attachment.slot().listed.load(Ordering::Relaxed) == 0
    }

    /// Puts `now` in place of the overhead known so far and of `held` bytes, in one change of the
    /// ledger: nobody sees both counted, or neither.
    pub(super) fn set_overhead(&self, now: u64, held: u64) {
        // Only called with `measure` held, so the two halves belong together. The ledger counts
        // whole units.
        let unit = |bytes: u64| bytes.next_multiple_of(fcsp_core::region::ledger::UNIT);
        let (now, slot) = (unit(now), self.attachment.slot());
        let before = slot.overhead.swap(now, Ordering::Relaxed) + unit(held);
        self.attachment.show_overhead(now);
        if now > before {
            self.charge(now - before);
        } else {
            self.release(before - now);
        }
    }

    /// Adds an overhead seen as a difference of the device's free memory, for a process whose
    /// figure the management library does not know.
    pub fn saw_overhead(&self, bytes: u64) {
        if bytes > 0 {
            self.unseen.fetch_add(bytes, Ordering::Relaxed);
            self.measure_now();
        }
    }

    /// The driver has taken `taken` bytes of its own, for which `held` were held.
    pub fn held_became_overhead(&self, held: u64, taken: u64) {
        self.unseen.fetch_add(taken, Ordering::Relaxed);
        if self.limit() == u64::MAX {
            self.release(held);
            self.overhead_moved();
        } else {
            self.measure_settling(held, 0);
        }
    }

    /// The opposite.
    pub fn saw_less(&self, bytes: u64) {
        let _ = self
            .unseen
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some(old.saturating_sub(bytes))
            });
        self.overhead_changed();
    }

    /// The device's free bytes around a call that takes or gives back memory of the driver's own;
    /// `None` where that is measured.
    pub(crate) fn free_around_call(&self) -> Option<Free> {
        if self.limit() == u64::MAX {
            return None;
        }
        let by_driver = || B::free_by_driver(self);
        if !B::has_management() {
            return Some(self.free(by_driver()?));
        }
        // Once, to find out what the library knows.
        if !self.asked.load(Ordering::Relaxed) {
            self.measure_now();
        }
        if !self.is_unknown() {
            return None;
        }
        Some(self.free(B::free(&self.identity).or_else(by_driver)?))
    }

    /// The device's free bytes now, as the management library says, or else the driver.
    pub(crate) fn free_now(&self) -> Option<Free> {
        let bytes = B::free(&self.identity).or_else(|| B::free_by_driver(self))?;
        Some(self.free(bytes))
    }

    pub(super) fn free(&self, bytes: u64) -> Free {
        Free {
            bytes,
            allocated: self.physical().read().bytes(),
        }
    }
}

/// The device's free bytes at one moment, and what this process had allocated then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Free {
    bytes: u64,
    allocated: u64,
}

impl Free {
    /// Whether `bytes` more are free on the device `later`.
    pub(crate) fn rose_by(self, bytes: u64, later: Self) -> bool {
        later.bytes >= self.bytes.saturating_add(bytes)
    }

    /// Bytes that the driver has taken for itself from here to `later`: what other threads of this
    /// process allocated meanwhile is not among them.
    pub(crate) fn fell_to(self, later: Self) -> u64 {
        (self.bytes + self.allocated).saturating_sub(later.bytes + later.allocated)
    }
}
