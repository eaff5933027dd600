//! Measurement of the overhead: memory that the driver takes for itself. It is the management
//! library's figure for this process less the process's driver account.

use core::sync::atomic::Ordering;
use std::sync::PoisonError;

use fcsp_core::file::monotonic_ns;

use super::Device;
use crate::backend::Backend;
use crate::setup::Undisturbed;

/// Least time between two measurements, ns: 22 us in 20 ms is a thousandth.
const MEASURE_INTERVAL_NS: u64 = 20_000_000;

impl<B: Backend> Device<B> {
    /// Measures, unless that was done recently and nothing is known to have changed. Waits for a
    /// measurement in progress.
    pub fn measure_if_stale(&self) {
        let now = monotonic_ns();
        // Acquire, and before the count is read: a thread that sees the time of a measurement sees
        // that it has begun.
        let age = now.saturating_sub(self.measured_ns.load(Ordering::Acquire));
        // Code is loaded lazily, by launches without notice: an old figure is stale whatever the
        // flag says.
        let is_old = age >= MEASURE_INTERVAL_NS
            && (self.stale.load(Ordering::Relaxed) || age >= 10 * MEASURE_INTERVAL_NS);
        if is_old || !self.measurements.load(Ordering::Acquire).is_multiple_of(2) {
            self.measure_now();
        }
    }

    /// Updates the overhead from the driver's figures.
    pub fn measure_now(&self) {
        self.measure_settling(0, 0);
    }

    /// Measures, and turns `held` reserved bytes into overhead by the same change. They were
    /// reserved for what the driver has just taken, which the measurement contains. `made` of them
    /// were for a context, which is no longer in progress.
    pub(super) fn measure_settling(&self, held: u64, made: u64) {
        // Acquire: records made before the count was read are in a measurement that begins later.
        let seen = self.measurements.load(Ordering::Acquire);
        // A signal handler that left by a jump would leave the lock taken forever.
        let _undisturbed = Undisturbed::begin();
        let _only = self.measure.lock().unwrap_or_else(PoisonError::into_inner);
        // One that began and ended while this thread waited serves as well. The count is odd while
        // one is in progress.
        let begun_since = self.measurements.load(Ordering::Acquire).wrapping_sub(seen);
        if held == 0 && begun_since >= 2 + seen % 2 {
            return;
        }
        // Relaxed: read under the lock, or for a figure that the context's reconciliation corrects.
        self.under_way.fetch_sub(made, Ordering::Relaxed);
        // AcqRel, with the changes of `ahead`: a small request that takes its bytes after the cache
        // was drained sees that this has begun.
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
            // The reservation cache is in the account, and the driver knows nothing of it.
            self.drain_ahead();
            // Pools grow and shrink in calls without notice. An error of theirs in the account
            // would be in the overhead until the next measurement, with the opposite sign.
            B::reconcile_pools(self);
            let before = self.physical().read();
            let Some(by_driver) = self.held_by_driver() else {
                return self.take_estimate(held);
            };
            self.unknown.store(false, Ordering::Relaxed);
            // The comparison below sees a pool that has changed since.
            B::reconcile_pools(self);
            let same = before.is_settled() && self.physical().read() == before;
            let overhead = self.without_those_under_way(before.not_in_account(by_driver));
            if same {
                if self.under_way.load(Ordering::Relaxed) > 0 {
                    self.stale.store(true, Ordering::Relaxed);
                }
                // Relaxed, here and below: with the lock held, and a hint for others.
                self.overlapped.store(false, Ordering::Relaxed);
                return self.set_overhead(overhead, held);
            }
            // Between calls of other threads, the two figures belong to different moments. If that
            // persists, take the figure only on the safe side.
            if attempt == 3 {
                let known = self.place().slot().overhead.load(Ordering::Relaxed) + held;
                self.set_overhead(overhead.max(known), held);
            }
        }
        self.overlapped.store(true, Ordering::Relaxed);
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Keeps the estimates and differences, since the management library does not know this
    /// process's memory. Without a context the driver holds nothing, whatever noise the differences
    /// had.
    fn take_estimate(&self, held: u64) {
        self.unknown.store(true, Ordering::Relaxed);
        if self.known_contexts().is_empty() {
            self.unseen.store(0, Ordering::Relaxed);
        }
        self.set_overhead(self.unseen.load(Ordering::Relaxed), held);
    }

    /// Returns true if the management library is not known to report this process's memory.
    pub(crate) fn is_unknown(&self) -> bool {
        if self.unknown.load(Ordering::Relaxed) {
            return true;
        }
        !self.own_numbers && B::LISTS && self.place().slot().listed.load(Ordering::Relaxed) == 0
    }

    /// Replaces the known overhead and `held` reserved bytes by `now`, in one change of the ledger:
    /// no thread sees both counted, or neither.
    pub(super) fn set_overhead(&self, now: u64, held: u64) {
        // Only called under the lock `measure`, so the two halves belong together. The ledger
        // counts whole granules.
        let unit = |bytes: u64| bytes.next_multiple_of(fcsp_core::region::ledger::UNIT);
        let (now, slot) = (unit(now), self.place().slot());
        let before = slot.overhead.swap(now, Ordering::Relaxed) + unit(held);
        self.place().show_overhead(now);
        if now > before {
            self.charge(now - before);
        } else {
            self.release(before - now);
        }
    }

    /// Adds an overhead seen as a difference of the device's available memory, for a process whose
    /// figure the management library does not know.
    pub fn saw_overhead(&self, bytes: u64) {
        if bytes > 0 {
            self.unseen.fetch_add(bytes, Ordering::Relaxed);
            self.measure_now();
        }
    }

    /// Turns `held` reserved bytes into overhead, of which the driver has taken `taken`.
    pub fn held_became_overhead(&self, held: u64, taken: u64) {
        self.unseen.fetch_add(taken, Ordering::Relaxed);
        if self.limit() == u64::MAX {
            self.release(held);
            self.overhead_moved();
        } else {
            self.measure_settling(held, 0);
        }
    }

    /// Subtracts an overhead that was seen as a difference.
    pub fn saw_less(&self, bytes: u64) {
        let _ = self
            .unseen
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some(old.saturating_sub(bytes))
            });
        self.overhead_changed();
    }

    /// Returns the device's available bytes, for a call that takes or frees memory of the driver's
    /// own. Returns `None` if that is measured.
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

    /// Returns the device's available bytes now, by the management library, or else by the driver.
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

/// The device's available bytes at one moment, and this process's allocations then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Free {
    bytes: u64,
    allocated: u64,
}

impl Free {
    /// Returns true if `bytes` more are available on the device `later`.
    pub(crate) fn rose_by(self, bytes: u64, later: Self) -> bool {
        later.bytes >= self.bytes.saturating_add(bytes)
    }

    /// Returns the bytes that the driver has taken for itself from here to `later`, without other
    /// threads' allocations meanwhile.
    pub(crate) fn fell_to(self, later: Self) -> u64 {
        (self.bytes + self.allocated).saturating_sub(later.bytes + later.allocated)
    }
}
