//! How much of the device's time goes to nobody while everybody wants it: switching contexts, mostly.
//!
//! Quotas that add up to the whole device promise more than a contended device delivers; somebody then falls short. If
//! every tenant charges itself for the loss in proportion, all fall short alike and the shares stay in the proportion
//! of the quotas. Each tenant measures the loss for itself, over windows in which it wanted the device throughout: how
//! much GPU time did all tenants together charge?
//!
//! What the neighbours charge is their claim, and a neighbour that claims too little makes the loss look larger. Two
//! checks keep that from costing this tenant its guarantee. A window counts only if this tenant's own work was seen to
//! be held up: it stayed in flight for longer than it takes, so the device was really doing something else. And a loss
//! above [`PLAUSIBLE_LOSS`] is taken for a lie and counts as none: whoever claims nothing at all gains nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::WHOLE;

/// The largest loss charged, ppm.
pub const MAX_LOSS: u64 = 140_000;
/// The largest loss believed, ppm.
pub const PLAUSIBLE_LOSS: u64 = 160_000;
const WINDOW_NS: u64 = 50_000_000;
/// The part of a window for which the device must have been wanted, percent.
const WANTED: u64 = 85;
/// Own work must have been in flight for this part of what it was charged, percent.
const HELD_UP: u64 = 115;

/// What happened since the last sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// GPU time charged so far by all tenants, ns.
    pub total: u64,
    /// GPU time submitted so far by this process, ns.
    pub launched: u64,
    /// Whether some of it is in flight now.
    pub in_flight: bool,
    /// Time this host stood waiting for the device so far, ns.
    pub blocked: u64,
    /// Whether a launch was waiting at the gate since the last sample.
    pub waiting: bool,
}

/// The estimator. One writer at a time is expected; two blur the estimate and harm nothing else.
#[derive(Debug, Default)]
pub struct Loss {
    at: AtomicU64,
    total: AtomicU64,
    blocked: AtomicU64,
    launched: AtomicU64,
    began: AtomicU64,
    began_total: AtomicU64,
    began_launched: AtomicU64,
    in_flight: AtomicU64,
    wanted: AtomicU64,
    estimate: AtomicU64,
}

impl Loss {
    /// Takes a sample at `now`.
    pub fn sample(&self, now: u64, sample: Sample) {
        let relaxed = Ordering::Relaxed;
        let elapsed = now.saturating_sub(self.at.swap(now, relaxed));
        let stood = sample
            .blocked
            .saturating_sub(self.blocked.swap(sample.blocked, relaxed))
            .min(elapsed);
        // Nothing was submitted and something is left: the queue held work throughout.
        let same = self.launched.swap(sample.launched, relaxed) == sample.launched;
        let held = if same && sample.in_flight { elapsed } else { stood };
        let charged = sample.total.wrapping_sub(self.total.swap(sample.total, relaxed)) as i64;
        // Silence, or a tenant that came or went: the total moved by more than the device can have done.
        if elapsed > WINDOW_NS || charged < 0 || charged as u64 > 2 * elapsed + 5_000_000 {
            self.begin(now, sample);
            return;
        }
        let in_flight = self.in_flight.fetch_add(held, relaxed) + held;
        let wanted = if sample.waiting { elapsed } else { held };
        let wanted = self.wanted.fetch_add(wanted, relaxed) + wanted;
        let window = now.saturating_sub(self.began.load(relaxed));
        if window < WINDOW_NS {
            return;
        }
        let own = sample.launched.saturating_sub(self.began_launched.load(relaxed));
        let delivered = sample.total.wrapping_sub(self.began_total.load(relaxed));
        let sure = wanted * 100 >= window * WANTED && in_flight * 100 >= own * HELD_UP;
        self.begin(now, sample);
        let old = self.estimate.load(relaxed);
        let loss = window.saturating_sub(delivered) * u64::from(WHOLE) / window;
        let new = match (sure, loss) {
            (true, loss) if loss <= PLAUSIBLE_LOSS => (old * 7 + loss.min(MAX_LOSS)) / 8,
            // Not wanted throughout, not really contended, or not to be believed.
            _ => old * 7 / 8,
        };
        self.estimate.store(new, relaxed);
    }

    fn begin(&self, now: u64, sample: Sample) {
        let relaxed = Ordering::Relaxed;
        self.began.store(now, relaxed);
        self.began_total.store(sample.total, relaxed);
        self.began_launched.store(sample.launched, relaxed);
        self.in_flight.store(0, relaxed);
        self.wanted.store(0, relaxed);
    }

    /// `gpu` ns with the loss added, and a twentieth of the loss more: what all are owed then settles near nothing
    /// instead of growing with the error of the estimate, and the little that is left over is shared as surplus.
    pub fn inflate(&self, gpu: u64) -> u64 {
        let estimate = self.estimate.load(Ordering::Relaxed).min(MAX_LOSS) * 21 / 20;
        gpu * u64::from(WHOLE) / (u64::from(WHOLE) - estimate)
    }
}
