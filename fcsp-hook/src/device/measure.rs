//! The overhead: what the driver takes for itself, measured as the management library's figure for this process less what
//! this process's own account has.

use core::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use fcsp_core::file::monotonic_ns;

use super::{Device, NEAR};
use crate::backend::Backend;

/// Least time between two measurements, in nanoseconds: 22 us in 20 ms is a thousandth.
const MEASURE_INTERVAL_NS: u64 = 20_000_000;

impl<B: Backend> Device<B> {
    /// Measures, unless that was done a short while ago and nothing is known to have changed.
    pub fn measure_if_stale(&self) {
        let now = monotonic_ns();
        let age = now.saturating_sub(self.measured_ns.load(Ordering::Relaxed));
        // Code is loaded lazily, by launches that nobody announces: an old figure is stale whatever the flag says.
        if age >= MEASURE_INTERVAL_NS
            && (self.stale.load(Ordering::Relaxed) || age >= 10 * MEASURE_INTERVAL_NS)
        {
            self.measure_now();
        }
    }

    /// Brings the overhead up to date with what the driver says.
    pub fn measure_now(&self) {
        // Somebody else measuring is as good.
        let Ok(_only) = self.measure.try_lock() else {
            return;
        };
        self.measured_ns.store(monotonic_ns(), Ordering::Relaxed);
        self.stale.store(false, Ordering::Relaxed);
        // AcqRel, with those of `ahead`: a small request that takes its bytes after they are drained sees that this has begun.
        self.measurements.fetch_add(1, Ordering::AcqRel);
        self.compare_with_driver();
        self.measurements.fetch_add(1, Ordering::AcqRel);
    }

    fn compare_with_driver(&self) {
        for attempt in 0..4 {
            // What is held ahead is in the account, and the driver knows nothing of it.
            self.drain_ahead();
            let before = self.physical().read();
            let Some(held) = B::held_by_this_process(&self.identity) else {
                // It does not show this process (a PID namespace): what was seen by differences stands.
                self.set_overhead(self.unseen.load(Ordering::Relaxed));
                return;
            };
            let same = before.is_settled() && self.physical().read() == before;
            let overhead = held.saturating_sub(before.bytes());
            if same {
                self.set_overhead(overhead);
                return;
            }
            // Between calls of other threads the two figures belong to different moments. If it stays so, take the
            // figure only where it errs to the safe side.
            if attempt == 3 && overhead > self.attachment.slot().overhead.load(Ordering::Relaxed) {
                self.set_overhead(overhead);
            }
        }
        self.stale.store(true, Ordering::Relaxed);
    }

    fn set_overhead(&self, now: u64) {
        // Only called with `measure` held, so the two halves belong together. The ledger counts whole units.
        let now = now.next_multiple_of(fcsp_core::region::ledger::UNIT);
        let slot = self.attachment.slot();
        let before = slot.overhead.swap(now, Ordering::Relaxed);
        if now > before {
            self.charge(now - before);
        } else {
            self.release(before - now);
        }
    }

    /// Enters a context that was just made. Near the quota it is measured; elsewhere it counts by what was `seen` of
    /// it or by an estimate: a process that then idles would otherwise hold it unknown to the tenant's others.
    pub fn context_made(&self, context: usize, seen: Option<u64>) {
        let bytes = seen.filter(|&bytes| bytes > 0).unwrap_or(B::CONTEXT_ESTIMATE);
        self.known_contexts().push((context, bytes));
        self.unseen.fetch_add(bytes, Ordering::Relaxed);
        let limit = self.limit();
        let used = fcsp_core::region::ledger::used_bytes(self.attachment.tenant());
        if limit == u64::MAX || used.saturating_add(bytes) <= limit.saturating_sub(NEAR) {
            let _only = self.measure.lock().unwrap_or_else(PoisonError::into_inner);
            self.set_overhead(self.attachment.slot().overhead.load(Ordering::Relaxed) + bytes);
            self.overhead_moved();
        } else {
            self.measure_now();
        }
    }

    /// Takes a context out again that is gone.
    pub fn context_gone(&self, context: usize) {
        let mut known = self.known_contexts();
        if let Some(at) = known.iter().position(|&(handle, _)| handle == context) {
            let (_, bytes) = known.swap_remove(at);
            self.saw_less(bytes);
        }
    }

    fn known_contexts(&self) -> MutexGuard<'_, Vec<(usize, u64)>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an overhead seen as a difference of the device's free memory, for a process that the management library does not show.
    pub fn saw_overhead(&self, bytes: u64) {
        if bytes > 0 {
            self.unseen.fetch_add(bytes, Ordering::Relaxed);
            self.measure_now();
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
}
