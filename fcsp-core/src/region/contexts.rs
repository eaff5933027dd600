//! What a context takes of a device, as the tenant's processes have seen it, and which of them are
//! making one.
//!
//! A driver says what a context takes only by taking it. The smallest figure seen so far is held
//! before the driver is asked for the next one. It is a lower bound, so it refuses nothing that
//! would fit. A process's first context takes more than its later ones on some drivers: there is a
//! figure for each kind.

use super::Attachment;
use super::layout::SLOT_LIVE;
use crate::file::monotonic_ns;
use crate::sync::{AtomicU64, Ordering};

/// The longest that a process counts as making a context, ns. One that takes longer hangs in the
/// driver, or has left it by a jump.
const LONGEST_MAKING_NS: u64 = 10_000_000_000;

/// The kinds of context that are known apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// The only one that its process has on the device.
    First,
    /// One beside others of the same process.
    Further,
}

impl Attachment {
    fn context_word(&self, kind: ContextKind) -> &AtomicU64 {
        match kind {
            ContextKind::First => &self.tenant().first_context,
            ContextKind::Further => &self.tenant().further_context,
        }
    }

    /// The smallest size seen of a context, in bytes; `None` while none was seen. One beside others
    /// is taken to be no larger than a first one: what else took memory meanwhile may be in its
    /// figure.
    pub fn context_bytes(&self, kind: ContextKind) -> Option<u64> {
        // Acquire: what was held for the context that the figure is of is settled.
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

    /// Takes in the size of a context that was made, in bytes.
    pub fn saw_context(&self, kind: ContextKind, bytes: u64) {
        // Release: as above.
        let _ =
            self.context_word(kind)
                .fetch_update(Ordering::Release, Ordering::Relaxed, |known| {
                    (bytes != 0 && (known == 0 || bytes < known)).then_some(bytes)
                });
    }

    /// Says that this process has the driver make a context. Before anything is held for it: a
    /// process that is refused for what is held sees this.
    pub fn begins_context(&self) {
        // Release, with the Acquire in `others_make_contexts`. The ledger's exchange comes after it
        // and publishes it.
        self.slot()
            .making_since
            .store(monotonic_ns().max(1), Ordering::Release);
        if let Some(outer) = &self.outer {
            outer.place.begins_context();
        }
    }

    /// Says that what was held for the context is settled.
    pub fn ends_context(&self) {
        // Release: whoever sees this sees the ledger as it is now.
        self.slot().making_since.store(0, Ordering::Release);
        if let Some(outer) = &self.outer {
            outer.place.ends_context();
        }
    }

    /// Whether another process of the tenant, or of one that this is a part of, is making a
    /// context: what it holds for that may be more than it will take.
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
