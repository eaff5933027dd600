//! A tenant that is a part of another: its processes' memory counts in both regions.
//!
//! Each process of a part has a slot in its own tenant's region and one in the outer tenant's. A
//! reservation goes into its own ledger first, then into the outer one; if the outer one refuses,
//! the first is released. A process killed in between leaves two slots, each of which is cleared by
//! itself.

use super::Attachment;
use super::ledger::used_bytes;
use crate::memory::{Denied, Usage};
use crate::sync::{AtomicU64, Ordering};

/// A process's attachment to its outer tenant.
#[derive(Debug)]
pub(super) struct Outer {
    /// Slot in the outer tenant's region.
    pub(super) place: Attachment,
    /// Quota of the outer tenant in bytes. Changed by `set_outer_limits`.
    limit: AtomicU64,
}

impl Outer {
    fn limit(&self) -> u64 {
        // Relaxed: a number that guards no memory, like every limit.
        self.limit.load(Ordering::Relaxed)
    }
}

impl Attachment {
    /// Makes the tenant a part of the tenant of `place`, which has a quota of `limit` bytes.
    pub fn set_outer(&mut self, place: Attachment, limit: u64) {
        self.outer = Some(Box::new(Outer {
            place,
            limit: AtomicU64::new(limit),
        }));
    }

    /// Returns this process's attachment to the outermost tenant, which may be its own.
    pub fn outermost(&self) -> &Attachment {
        match &self.outer {
            None => self,
            Some(outer) => outer.place.outermost(),
        }
    }

    /// Sets new quotas of the outer tenants, from the inside outwards.
    pub fn set_outer_limits(&self, limits: &[u64]) {
        if let (Some(outer), Some((&limit, rest))) = (&self.outer, limits.split_first()) {
            outer.limit.store(limit, Ordering::Relaxed);
            outer.place.set_outer_limits(rest);
        }
    }

    /// Makes the outer reservation, and releases the inner one if that is refused.
    pub(super) fn reserve_in(&self, outer: &Outer, bytes: u64) -> Result<(), Denied> {
        outer
            .place
            .reserve_at_once(bytes, outer.limit())
            .inspect_err(|_| self.release_own(bytes))
    }

    /// Returns the bytes that may still be reserved, under this tenant's `limit` and the outer
    /// tenants' quotas.
    #[inline]
    pub fn room(&self, limit: u64) -> u64 {
        let own = limit.saturating_sub(used_bytes(self.tenant()));
        match &self.outer {
            None => own,
            Some(outer) => own.min(outer.place.room(outer.limit())),
        }
    }

    /// Returns the bytes by which this tenant exceeds `limit`, or an outer tenant exceeds its
    /// quota.
    pub fn over(&self, limit: u64) -> u64 {
        let own = used_bytes(self.tenant()).saturating_sub(limit);
        match &self.outer {
            None => own,
            Some(outer) => own.max(outer.place.over(outer.limit())),
        }
    }

    /// Returns the tenant's use and limit. Bytes that an outer tenant's quota prevents count as
    /// used.
    pub fn usage(&self, limit: u64) -> Usage {
        let mut usage = self.ledger().usage(limit);
        if self.outer.is_some() && limit != u64::MAX {
            usage.used = limit - self.room(limit).min(limit);
        }
        usage
    }

    /// Publishes the overhead of this process, in bytes, in the outer tenants' regions.
    pub fn show_overhead(&self, bytes: u64) {
        if let Some(outer) = &self.outer {
            outer.place.slot().overhead.store(bytes, Ordering::Relaxed);
            outer.place.show_overhead(bytes);
        }
    }

    /// Publishes the number under which the management library lists this process.
    pub fn set_listed(&self, number: u32) {
        self.slot().listed.store(number, Ordering::Relaxed);
        if let Some(outer) = &self.outer {
            outer.place.set_listed(number);
        }
    }
}
