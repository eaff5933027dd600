//! Pending requests: bytes are reserved for them, and their charge is not reconciled yet.
//!
//! A request may reserve more than it will take, and a driver call that fails takes nothing.
//! Between the call and its entry a measurement may also count the same bytes a second time. So a
//! refusal is exact only if no request of the tenant was pending from before the attempt to after
//! it. [`Attachment::requests`] tells, by one word for each process.

use super::Attachment;
use super::layout::SLOT_LIVE;
use crate::sync::Ordering;

/// Low bits of the word: requests under way.
const COUNT_BITS: u32 = 16;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// One request that has ended, in the bits above.
const ENDED: u64 = 1 << COUNT_BITS;

/// A pending request. It ends when dropped: its bytes must be reconciled by then.
#[derive(Debug)]
#[must_use = "a request ends when it is dropped"]
pub struct PendingRequest<'a> {
    place: &'a Attachment,
}

impl PendingRequest<'_> {
    /// Ends a request that has changed nothing: its reservation was refused.
    pub fn cancel(self) {
        self.place.change_requests(1_u64.wrapping_neg());
        core::mem::forget(self);
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.place.change_requests(ENDED - 1);
    }
}

/// The requests of a tenant at one moment, and of the tenants that it is a part of. Two equal
/// readings mean that none has ended in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingRequests {
    under_way: u64,
    ended: u64,
}

impl PendingRequests {
    /// Returns the number of pending requests.
    pub fn under_way(self) -> u64 {
        self.under_way
    }

    fn add(&mut self, word: u64) {
        self.under_way = self.under_way.wrapping_add(word & COUNT_MASK);
        self.ended = self.ended.wrapping_add(word >> COUNT_BITS);
    }
}

impl Attachment {
    /// Says that this process has a request under way. Comes before its bytes are reserved.
    pub fn request(&self) -> PendingRequest<'_> {
        self.change_requests(1);
        PendingRequest { place: self }
    }

    fn change_requests(&self, by: u64) {
        // AcqRel: the ledger's changes stay behind the beginning and before the end.
        self.slot().requests.fetch_add(by, Ordering::AcqRel);
        if let Some(outer) = &self.outer {
            outer.place.change_requests(by);
        }
    }

    /// Reads which requests are under way, in this process and in the tenant's others.
    pub fn requests(&self) -> PendingRequests {
        let mut all = PendingRequests {
            under_way: 0,
            ended: 0,
        };
        for index in 0..self.high() {
            let slot = self.slot_at(index);
            // Acquire: a slot that is seen live is initialised.
            if slot.state.load(Ordering::Acquire) == SLOT_LIVE {
                // Acquire: a reader that sees the end of a request sees its change of the ledger.
                all.add(slot.requests.load(Ordering::Acquire));
            }
        }
        if let Some(outer) = &self.outer {
            let PendingRequests { under_way, ended } = outer.place.requests();
            all.under_way = all.under_way.wrapping_add(under_way);
            all.ended = all.ended.wrapping_add(ended);
        }
        all
    }
}
