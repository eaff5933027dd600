//! Sizes of contexts, as the tenant's processes have seen them, and the processes that are making
//! one.
//!
//! A driver reveals the size of a context only by making one. The smallest size seen so far is
//! reserved before the driver makes the next one. It is a lower bound, so it refuses nothing that
//! would fit. With some drivers, a process's first context is larger than its later ones, so there
//! is a figure for each kind.

use super::Attachment;
use super::layout::SLOT_LIVE;
use crate::file::monotonic_ns;
use crate::sync::{AtomicU64, Ordering};

/// Longest time for which a process counts as making a context, ns. A process that takes longer
/// hangs in the driver, or has left it by a jump.
const LONGEST_MAKING_NS: u64 = 10_000_000_000;

/// Kind of context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// The only context of its process on the device.
    First,
    /// A further context of the same process.
    Further,
}

impl Attachment {
    fn context_word(&self, kind: ContextKind) -> &AtomicU64 {
        match kind {
            ContextKind::First => &self.tenant().first_context,
            ContextKind::Further => &self.tenant().further_context,
        }
    }

    /// Returns the smallest size seen of a context, in bytes, or `None` if none was seen. A further
    /// context counts as no larger than a first one: its figure may contain other memory.
    pub fn context_bytes(&self, kind: ContextKind) -> Option<u64> {
        // Acquire: the reservation for the context of this figure was reconciled before.
        let seen = |kind| self.context_word(kind).load(Ordering::Acquire);
        match (seen(kind), seen(ContextKind::First)) {
            (0, _) => self
                .outer
                .as_ref()
                .and_then(|outer| outer.place.context_bytes(kind)),
            (bytes, 0) => Some(bytes),
            (bytes, first) => Some(bytes.min(first)),
        }
    }

    /// Records the size of a context that was made, in bytes.
    pub fn saw_context(&self, kind: ContextKind, bytes: u64) {
        // Release: as above.
        let _ =
            self.context_word(kind)
                .fetch_update(Ordering::Release, Ordering::Relaxed, |known| {
                    (bytes != 0 && (known == 0 || bytes < known)).then_some(bytes)
                });
    }

    /// Publishes that the driver makes a context for this process. Call it before the reservation:
    /// a process that is refused because of it sees this.
    pub fn begins_context(&self) {
        // Release: pairs with the Acquire in `others_make_contexts`. The ledger's exchange comes
        // later and publishes it.
        self.slot()
            .making_since
            .store(monotonic_ns().max(1), Ordering::Release);
        if let Some(outer) = &self.outer {
            outer.place.begins_context();
        }
    }

    /// Publishes that the reservation for the context was reconciled.
    pub fn ends_context(&self) {
        // Release: a process that sees this sees the present ledger.
        self.slot().making_since.store(0, Ordering::Release);
        if let Some(outer) = &self.outer {
            outer.place.ends_context();
        }
    }

    /// Returns true if another process of the tenant, or of an outer tenant, is making a context.
    /// Its reservation may exceed what the context will take.
    pub fn others_make_contexts(&self) -> bool {
        let outer = self.outer.as_ref();
        self.others_here_make_contexts()
            || outer.is_some_and(|outer| outer.place.others_make_contexts())
    }

    fn others_here_make_contexts(&self) -> bool {
        let now = monotonic_ns();
        (0..self.high()).any(|index| {
            let slot = self.slot_at(index);
            // Acquire: a slot that is seen live is initialised; and as in `begins_context`.
            let since = match slot.state.load(Ordering::Acquire) {
                SLOT_LIVE if index != self.index => slot.making_since.load(Ordering::Acquire),
                _ => 0,
            };
            since != 0 && now.saturating_sub(since) < LONGEST_MAKING_NS
        })
    }
}
