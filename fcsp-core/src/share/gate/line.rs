//! What every launch reads and writes, on one cache line.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

pub(super) const WORD_CHANGED: u32 = 1;
pub(super) const WORD_BLOCKED: u32 = 2;
pub(super) const WORD_PAUSED: u32 = 4;
pub(super) const WORD_POLITE: u32 = 8;
/// The next launch begins a step.
pub(super) const WORD_AWAITED: u32 = 16;

/// What every launch reads and writes: one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line {
    /// Nonzero sends every launch to the slow path.
    pub(super) word: AtomicU32,
    /// Launches since the backend's last marker. Not counted exactly: threads may lose each other's
    /// steps.
    pub unmarked: AtomicU32,
    pub(super) credit: AtomicI64,
    /// The stream of the last launch, as the backend names streams.
    pub stream: AtomicUsize,
    /// The key launched since the last marker; [`SEVERAL`] if there were more, 0 if there was none.
    pub key: AtomicU64,
    /// What the last launch was charged, ns.
    pub last_cost: AtomicU64,
    /// Launches until one is timed.
    pub countdown: AtomicU32,
}

/// More than one key, in [`Line::key`]: no key of a kernel or graph is this small.
pub const SEVERAL: u64 = 1;

impl Line {
    /// Enters a launch of `key` for `cost` ns.
    #[inline(always)]
    pub fn launched(&self, key: u64, cost: u64) {
        // Relaxed throughout: what is lost to another thread makes a span's key uncertain, which is
        // found out when its costs do not fit.
        let known = self.key.load(Ordering::Relaxed);
        if known != key && known != SEVERAL {
            self.key
                .store(if known == 0 { key } else { SEVERAL }, Ordering::Relaxed);
        }
        self.last_cost.store(cost, Ordering::Relaxed);
        self.unmarked.store(
            self.unmarked.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Whether `stream` is the one of the last launch and this launch is not to be timed.
    #[inline(always)]
    pub fn is_plain(&self, stream: usize) -> bool {
        let left = self.countdown.load(Ordering::Relaxed);
        if left <= 1 || self.stream.load(Ordering::Relaxed) != stream {
            return false;
        }
        self.countdown.store(left - 1, Ordering::Relaxed);
        true
    }
}
