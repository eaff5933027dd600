//! How much of the device's time goes to nobody while everybody wants it: switching contexts, mostly.
//!
//! Quotas that add up to the whole device promise more than a contended device delivers; somebody then falls short. If
//! every tenant charges itself for the loss in proportion, all fall short alike and the shares stay in the proportion
//! of the quotas. Each tenant measures the loss for itself: over the time in which its own queue certainly
//! held work, so that the device was wanted, how much GPU time did all tenants together charge?
//!
//! What the neighbours charge is their claim, and a neighbour that claims too little makes the loss look larger. So a
//! loss above [`MAX_LOSS`] is taken for a lie and counts as none: whoever claims nothing at all gains nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::WHOLE;

/// The largest loss believed, ppm.
pub const MAX_LOSS: u64 = 120_000;
const WINDOW_NS: u64 = 50_000_000;
/// An interval counts only if the queue certainly held work for this part of it, percent.
const CERTAIN: u64 = 60;

/// The estimator. One writer at a time is expected; two blur the estimate and harm nothing else.
#[derive(Debug, Default)]
pub struct Loss {
    at: AtomicU64,
    total: AtomicU64,
    blocked: AtomicU64,
    launched: AtomicU64,
    wanted: AtomicU64,
    delivered: AtomicU64,
    estimate: AtomicU64,
}

impl Loss {
    /// Takes a sample: GPU time charged so far by all tenants, `total`; time this host stood waiting for the device so
    /// far, `blocked`; work submitted so far, `launched`; whether some of it is still `in_flight`.
    pub fn sample(&self, now: u64, total: u64, blocked: u64, launched: u64, in_flight: bool) {
        let relaxed = Ordering::Relaxed;
        let elapsed = now.saturating_sub(self.at.swap(now, relaxed));
        let charged = total.wrapping_sub(self.total.swap(total, relaxed)) as i64;
        let stood = blocked.saturating_sub(self.blocked.swap(blocked, relaxed));
        // Nothing was submitted and something is left: the queue held work throughout.
        let same = self.launched.swap(launched, relaxed) == launched;
        let stood = if same && in_flight { elapsed } else { stood };
        // A tenant that came or went moves the total by more than the device can have done.
        if elapsed == 0 || charged < 0 || charged as u64 > 2 * elapsed + 5_000_000 || elapsed > WINDOW_NS {
            return;
        }
        if stood * 100 < elapsed * CERTAIN {
            return;
        }
        let wanted = self.wanted.fetch_add(elapsed, relaxed) + elapsed;
        let delivered = self.delivered.fetch_add(charged as u64, relaxed) + charged as u64;
        if wanted < WINDOW_NS {
            return;
        }
        self.wanted.store(0, relaxed);
        self.delivered.store(0, relaxed);
        let loss = wanted.saturating_sub(delivered) * u64::from(WHOLE) / wanted;
        let old = self.estimate.load(relaxed);
        // Charges are made at submission, up to a queue's depth before the work is done, so that single windows are
        // off by some percent either way; an eighth of each evens that out.
        let new = if loss > 2 * MAX_LOSS { 0 } else { (old * 7 + loss.min(MAX_LOSS)) / 8 };
        self.estimate.store(new, relaxed);
    }

    /// `gpu` ns with the loss added.
    pub fn inflate(&self, gpu: u64) -> u64 {
        let estimate = self.estimate.load(Ordering::Relaxed).min(MAX_LOSS);
        gpu * u64::from(WHOLE) / (u64::from(WHOLE) - estimate)
    }
}
