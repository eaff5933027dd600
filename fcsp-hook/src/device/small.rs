//! Small requests far from the quota, which use the reservation cache of this process. Drivers that
//! take small requests from slabs have [`crate::memory::pieces`] instead, which needs no cache.
//!
//! The cache is counted in the tenant's sum and in this process's account. It is drained where a
//! figure must be exact: before a measurement, an answer to the tenant, and any request near the
//! quota.

use core::sync::atomic::Ordering;

use fcsp_core::memory::MemoryTracker;
use fcsp_core::region::ahead::Ahead;
use fcsp_core::region::ledger::UNIT;

use super::Device;
use crate::backend::Backend;
use crate::memory::Freed;

/// The largest small request, in bytes: a page of the drivers that take a page for the smallest.
pub const SMALL: u64 = 64 << 10;

/// Returns true if the bytes go through the cache: few, and whole granules, as all accounts count.
#[inline]
fn is_small(bytes: u64) -> bool {
    bytes <= SMALL && bytes.is_multiple_of(UNIT)
}

/// Bracket around a driver call that takes or frees a small request's bytes.
pub struct Small<'a, B: Backend> {
    device: &'a Device<B>,
    bytes: u64,
    measurements: u32,
}

impl<B: Backend> Small<'_, B> {
    /// Records that the call has taken `truly` bytes.
    #[inline]
    pub fn taken(self, truly: u64) {
        if truly != self.bytes {
            self.otherwise(truly);
        }
        self.seen();
    }

    #[cold]
    fn otherwise(&self, truly: u64) {
        if truly > self.bytes {
            self.device.charge(truly - self.bytes);
            self.device.gained(truly - self.bytes);
        } else {
            self.device.drop_ahead(self.bytes - truly);
        }
    }

    /// Returns the bytes to the cache: the call has freed them, or has not taken them.
    #[inline]
    pub fn given(self) {
        let surplus = self.device.ahead.give(self.bytes);
        if surplus > 0 {
            self.device.drop_ahead(surplus);
        }
        self.seen();
    }

    /// Requests a new measurement if one overlapped the call: it may have counted the bytes on one
    /// side alone.
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
    /// Takes a request's bytes from the cache, if they are few, the management library will count
    /// them, and the quota is far. Otherwise returns `None` and changes nothing.
    #[inline]
    pub fn take_small(&self, bytes: u64, counted: bool) -> Option<Small<'_, B>> {
        if !counted || !is_small(bytes) || self.is_near() {
            return None;
        }
        let small = self.small(bytes);
        (self.ahead.take(bytes) || self.stock_up(bytes)).then_some(small)
    }

    /// Prepares to return the bytes that the driver is about to free, if they are as few and the
    /// quota is far.
    #[inline]
    pub fn give_small(&self, given: Freed) -> Option<Small<'_, B>> {
        let Freed { bytes, counted } = given;
        (counted && is_small(bytes) && !self.is_near()).then(|| self.small(bytes))
    }

    #[inline]
    fn small(&self, bytes: u64) -> Small<'_, B> {
        Small {
            device: self,
            bytes,
            // Acquire: before anything is taken.
            measurements: self.measurements.load(Ordering::Acquire),
        }
    }

    /// Reserves a chunk more and takes `bytes` of it.
    #[cold]
    fn stock_up(&self, bytes: u64) -> bool {
        // A failure refuses nothing: the request then asks for its own bytes.
        if self
            .memory
            .reserve_at_once_under(Ahead::CHUNK + bytes, self.limit())
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

    /// Releases the reservation cache.
    #[inline]
    pub(super) fn drain_ahead(&self) {
        if !self.ahead.is_empty() {
            self.drop_ahead(self.ahead.drain());
        }
    }

    /// Makes the next request near the quota measure. If the tenant is near it by now, this one
    /// measures, for its other processes.
    #[cold]
    fn measure_again(&self) {
        self.overhead_moved();
        if self.is_near() {
            self.measure_if_stale();
        }
    }

    /// Releases `bytes` that nothing uses.
    #[cold]
    fn drop_ahead(&self, bytes: u64) {
        self.lost(bytes);
        self.memory.release(bytes);
    }
}
