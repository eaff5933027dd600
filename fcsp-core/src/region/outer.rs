//! A tenant that is a part of another: what its processes hold counts in both regions.
//!
//! Each process of a part has a place in its own tenant's region and one in the outer tenant's. A
//! reservation goes into its own ledger first, then into the outer one; the outer refusal takes it
//! back out. A process killed in between leaves two slots, each of which is cleared by itself.

use super::Attachment;
use super::ledger::used_bytes;
use crate::memory::{Denied, Usage};
use crate::sync::{AtomicU64, Ordering};

/// A process's place in the tenant that its own tenant is a part of.
#[derive(Debug)]
pub(super) struct Outer {
    pub(super) place: Attachment,
    /// Bytes that tenant may hold.
    limit: AtomicU64,
}

impl Outer {
    fn limit(&self) -> u64 {
        // Relaxed: a number by itself, as every limit.
        self.limit.load(Ordering::Relaxed)
    }
}

impl Attachment {
    /// Says that the tenant is a part of the one that `place` is in, which may hold `limit` bytes.
    pub fn set_outer(&mut self, place: Attachment, limit: u64) {
        self.outer = Some(Box::new(Outer {
            place,
            limit: AtomicU64::new(limit),
        }));
    }

    /// This process's place in the outermost tenant; its own, if that is no part of another.
    pub fn outermost(&self) -> &Attachment {
        match &self.outer {
            None => self,
            Some(outer) => outer.place.outermost(),
        }
    }

    /// Puts new limits in force for the tenants that this one is a part of, from the inside
    /// outwards.
    pub fn set_outer_limits(&self, limits: &[u64]) {
        if let (Some(outer), Some((&limit, rest))) = (&self.outer, limits.split_first()) {
            outer.limit.store(limit, Ordering::Relaxed);
            outer.place.set_outer_limits(rest);
        }
    }

    /// The second half of a reservation whose first half is done; takes that back if it is refused.
    pub(super) fn reserve_in(&self, outer: &Outer, bytes: u64) -> Result<(), Denied> {
        outer
            .place
            .reserve_at_once(bytes, outer.limit())
            .inspect_err(|_| self.release_own(bytes))
    }

    /// Bytes that may still be held, by this tenant under `limit` and by those that it is a part
    /// of.
    #[inline]
    pub fn room(&self, limit: u64) -> u64 {
        let own = limit.saturating_sub(used_bytes(self.tenant()));
        match &self.outer {
            None => own,
            Some(outer) => own.min(outer.place.room(outer.limit())),
        }
    }

    /// Bytes by which this tenant is over `limit`, or one that it is a part of over its own.
    pub fn over(&self, limit: u64) -> u64 {
        let own = used_bytes(self.tenant()).saturating_sub(limit);
        match &self.outer {
            None => own,
            Some(outer) => own.max(outer.place.over(outer.limit())),
        }
    }

    /// What the tenant holds and may hold. What it cannot have for the sake of an outer tenant
    /// counts as held.
    pub fn usage(&self, limit: u64) -> Usage {
        let mut usage = self.ledger().usage(limit);
        if self.outer.is_some() && limit != u64::MAX {
            usage.used = limit - self.room(limit).min(limit);
        }
        usage
    }

    /// Shows the overhead of this process, in bytes, in the outer tenants' listings.
    pub fn show_overhead(&self, bytes: u64) {
        if let Some(outer) = &self.outer {
            outer.place.slot().overhead.store(bytes, Ordering::Relaxed);
            outer.place.show_overhead(bytes);
        }
    }

    /// Says under which number the management library lists this process.
    pub fn set_listed(&self, number: u32) {
        self.slot().listed.store(number, Ordering::Relaxed);
        if let Some(outer) = &self.outer {
            outer.place.set_listed(number);
        }
    }
}
