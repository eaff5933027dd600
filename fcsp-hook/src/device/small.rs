//! Small requests far from the quota: their bytes come from a stock that this process holds ahead of them, and go back
//! into it. Drivers that cut small requests from slabs have [`crate::memory::pieces`], which need not hold anything.
//!
//! The stock is counted in the tenant's sum and in this process's account. It is drained where a figure must be exact: before
//! a measurement, an answer to the tenant, and any request near the quota.

use core::sync::atomic::Ordering;

use fcsp_core::region::ahead::Ahead;
use fcsp_core::region::ledger::UNIT;

use super::Device;
use crate::backend::Backend;

/// The largest request that is small, in bytes: a page of the drivers that take a page for the smallest.
pub const SMALL: u64 = 64 << 10;

/// Whole units, as the ledger counts.
#[inline]
fn whole(bytes: u64) -> u64 {
    bytes.next_multiple_of(UNIT)
}

/// Around a driver call that takes or gives back a small request's bytes.
pub struct Small<'a, B: Backend> {
    device: &'a Device<B>,
    bytes: u64,
    measurements: u32,
}

impl<B: Backend> Small<'_, B> {
    /// The call has taken `truly` bytes.
    #[inline]
    pub fn taken(self, truly: u64) {
        let truly = whole(truly);
        if truly > self.bytes {
            self.device.charge(truly - self.bytes);
            self.device.gained(truly - self.bytes);
        } else if truly < self.bytes {
            self.device.drop_ahead(self.bytes - truly);
        }
        self.seen();
    }

    /// The call has given the bytes back, or has not taken them.
    #[inline]
    pub fn given(self) {
        let surplus = self.device.ahead.give(self.bytes);
        if surplus > 0 {
            self.device.drop_ahead(surplus);
        }
        self.seen();
    }

    /// A measurement that overlapped the call may have counted its bytes on one side alone.
    #[inline]
    fn seen(&self) {
        // Acquire: after the driver call, whose lock orders it with the measurement's.
        let now = self.device.measurements.load(Ordering::Acquire);
        if now != self.measurements || !now.is_multiple_of(2) {
            self.device.measure_again();
        }
    }
}

impl<B: Backend> Device<B> {
    /// Takes `bytes`, which the management library will count, out of the stock for a request, if it is small and far from the
    /// quota. `None`, and nothing changed, if not.
    #[inline]
    pub fn take_small(&self, bytes: u64) -> Option<Small<'_, B>> {
        if bytes > SMALL || self.is_near() {
            return None;
        }
        let small = self.small(bytes);
        (self.ahead.take(small.bytes) || self.stock_up(small.bytes)).then_some(small)
    }

    /// Prepares to put `bytes` back that the driver is about to give up, if they are few and the quota is not `near`.
    #[inline]
    pub fn give_small(&self, bytes: u64, near: bool) -> Option<Small<'_, B>> {
        (bytes <= SMALL && !near).then(|| self.small(bytes))
    }

    #[inline]
    fn small(&self, bytes: u64) -> Small<'_, B> {
        Small {
            device: self,
            bytes: whole(bytes),
            // Acquire: before anything is taken.
            measurements: self.measurements.load(Ordering::Acquire),
        }
    }

    /// Holds a chunk more and takes `bytes` of it.
    #[cold]
    fn stock_up(&self, bytes: u64) -> bool {
        // Nobody is refused anything if it fails: the request then asks for its own bytes.
        if self
            .attachment
            .ledger()
            .reserve(Ahead::CHUNK + bytes, self.limit())
            .is_err()
        {
            return false;
        }
        self.gained(Ahead::CHUNK + bytes);
        let surplus = self.ahead.give(Ahead::CHUNK);
        if surplus > 0 {
            self.drop_ahead(surplus);
        }
        true
    }

    /// Gives back what is held ahead.
    #[inline]
    pub(super) fn drain_ahead(&self) {
        if !self.ahead.is_empty() {
            self.drop_ahead(self.ahead.drain());
        }
    }

    /// The next request near the quota measures; if the tenant is there by now, this one does, for the sake of its other processes.
    #[cold]
    fn measure_again(&self) {
        self.overhead_moved();
        if self.is_near() {
            self.measure_if_stale();
        }
    }

    /// Gives `bytes` back that nothing uses.
    #[cold]
    fn drop_ahead(&self, bytes: u64) {
        self.lost(bytes);
        self.attachment.release(bytes);
    }
}
