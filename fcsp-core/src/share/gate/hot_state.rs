//! State that every launch reads or writes, on one cache line.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The limits changed.
pub(super) const WORD_CHANGED: u32 = 1;
/// The host waits for the device.
pub(super) const WORD_BLOCKED: u32 = 2;
/// The tenant is paused.
pub(super) const WORD_PAUSED: u32 = 4;
/// The queue is shallow: every launch asks the policy.
pub(super) const WORD_SHALLOW: u32 = 8;
/// The next launch begins a step.
pub(super) const WORD_AWAITED: u32 = 16;

/// State that every launch reads or writes: one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct HotState {
    /// Reasons for the slow path ([`WORD_CHANGED`] and so on); a nonzero word sends every launch
    /// there. Any thread sets or clears bits; [`Gate::admit`](super::Gate::admit) reads it.
    pub(super) word: AtomicU32,
    /// Launches since the backend's last fence. The count is not exact: threads may lose each
    /// other's increments.
    pub unmarked: AtomicU32,
    /// Credit left, ns of GPU time. Launches subtract from it, the slow path adds to it. A failed
    /// launch makes it negative for a moment.
    pub(super) credit: AtomicI64,
    /// Queue of the last launch, in the backend's numbering.
    pub stream: AtomicUsize,
    /// Key launched since the last fence; [`SEVERAL`] for more than one key, 0 for none.
    pub key: AtomicU64,
    /// Cost charged for the last launch, ns.
    pub last_cost: AtomicU64,
    /// Launches left until one is timed.
    pub countdown: AtomicU32,
}

/// Value of [`HotState::key`] for more than one key. No key of a kernel or graph is this small.
pub const SEVERAL: u64 = 1;

impl HotState {
    /// Records a launch of `key` for `cost` ns.
    #[inline(always)]
    pub fn launched(&self, key: u64, cost: u64) {
        // Relaxed throughout: a change lost to another thread makes a span's key uncertain. This is
        // noticed when its costs do not fit.
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

    /// Returns true if the last launch used `stream` too and this launch is not to be timed.
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
