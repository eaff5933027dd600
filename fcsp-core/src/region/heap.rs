//! A ledger in private memory: one process, no file. Embedders use it to limit only themselves, and
//! the ledger's own tests run on it.

use std::sync::Arc;

use super::layout::{SLOT_LIVE, SlotWords, TenantWords};
use super::ledger::Ledger;
use crate::memory::{Denied, MemoryTracker, Usage};
use crate::sync::{AtomicU32, AtomicU64};

/// Returns the words of a tenant without allocations, on a device of `total` bytes.
pub fn tenant_words(total: u64) -> TenantWords {
    TenantWords {
        used: AtomicU64::new(0),
        dirty: AtomicU64::new(0),
        total: AtomicU64::new(total),
        limit: AtomicU64::new(u64::MAX),
        capacity: AtomicU32::new(1),
        high: AtomicU32::new(1),
        reaped_ns: AtomicU64::new(0),
        peak: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        refused_bytes: AtomicU64::new(0),
        reaped: AtomicU64::new(0),
        boot: AtomicU64::new(0),
        first_context: AtomicU64::new(0),
        further_context: AtomicU64::new(0),
        layout_version: AtomicU64::new(0),
    }
}

/// Returns the words of a live process without allocations.
pub fn slot_words() -> SlotWords {
    SlotWords {
        state: AtomicU32::new(SLOT_LIVE),
        name_len: AtomicU32::new(0),
        held: AtomicU64::new(0),
        pid: AtomicU32::new(0),
        listed: AtomicU32::new(0),
        start_time: AtomicU64::new(0),
        allocated: AtomicU64::new(0),
        overhead: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        unchecked: AtomicU64::new(0),
        // Not a constant: loom makes its atomics at run time.
        name: std::array::from_fn(|_| AtomicU64::new(0)),
        waiting_since: AtomicU64::new(0),
        making_since: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        described: AtomicU64::new(0),
        layout_version: AtomicU64::new(0),
        pid_namespace: AtomicU64::new(0),
        cgroup: AtomicU64::new(0),
        stopped: AtomicU64::new(0),
    }
}

/// Quota inside one process.
///
/// ```
/// use fcsp_core::memory::MemoryTracker;
/// use fcsp_core::region::heap::LocalLedger;
///
/// let quota = LocalLedger::new(80 << 30, 8 << 30);
/// quota.reserve(6 << 30)?;
/// assert!(quota.reserve(3 << 30).is_err());
/// quota.release(6 << 30);
/// assert_eq!(quota.usage().used, 0);
/// # Ok::<(), fcsp_core::memory::Denied>(())
/// ```
#[derive(Debug, Clone)]
pub struct LocalLedger {
    /// Words of the tenant and of its only process.
    words: Arc<(TenantWords, SlotWords)>,
    /// Quota in bytes; `u64::MAX` for no limit.
    limit: u64,
}

impl LocalLedger {
    /// Creates a quota of `limit` bytes on a device of `total` bytes.
    pub fn new(total: u64, limit: u64) -> Self {
        Self {
            words: Arc::new((tenant_words(total), slot_words())),
            limit,
        }
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger {
            tenant: &self.words.0,
            slot: &self.words.1,
        }
    }
}

impl MemoryTracker for LocalLedger {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.ledger().reserve(bytes, limit)
    }

    fn charge(&self, bytes: u64) {
        self.ledger().charge(bytes);
    }

    fn release(&self, bytes: u64) {
        // There is one process, so no death and no recompute.
        let _ = self.ledger().release(bytes);
    }

    fn usage_under(&self, limit: u64) -> Usage {
        self.ledger().usage(limit)
    }
}
