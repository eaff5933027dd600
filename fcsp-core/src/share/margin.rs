//! The margin: an extra charge that keeps shares in proportion where the device delivers less than
//! the guarantees promise.
//!
//! Guarantees that add up to the whole device promise more than a contended device delivers, since
//! context switches cost several percent. Three saturating tenants of an H100 get 0.905 of it
//! together (docs/results). If every tenant could claim its guarantee to the last percent, the
//! largest one would bear the whole loss. All other buckets would be full, so that no tenant would
//! yield and no order would remain.
//!
//! Therefore each tenant charges itself [`MARGIN`] more than it uses while the device is contended.
//! The guarantees less the margin fit into what is delivered, and the rest is divided by weight as
//! surplus. The proportion is then that of the guarantees, whatever the loss is.
//!
//! The device counts as contended if, over a window, this tenant always wanted the device and
//! others charged a considerable part of it. Their charges are their claims. A false claim costs
//! this tenant the margin and no more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::{Ppm, WHOLE};

/// Part of a charge on a contended device that is margin, ppm.
///
/// A larger margin would cost a victim of false claims more: a share of half the device must leave
/// it 0.42, of which a hundredth is between its kernels. With a smaller one, costs that are a tenth
/// too low for all tenants would promise more than is delivered.
pub const MARGIN: u64 = 145_000;
/// Length of a window, ns.
const WINDOW_NS: u64 = 50_000_000;
/// Least part of a window in which this tenant wanted the device, percent.
const WANTED: u64 = 50;
/// Least part of a window that other tenants charged, percent.
const OTHERS: u64 = 10;
/// Time for which a contended window counts, ns. Windows without contention may come between.
const KEPT_NS: u64 = 200_000_000;

/// Returns what the margin leaves of a share.
pub fn less(guarantee: Ppm) -> Ppm {
    (u64::from(guarantee) * (u64::from(WHOLE) - MARGIN) / u64::from(WHOLE)) as Ppm
}

/// Observation of this process and the other tenants at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// GPU time charged so far by all other tenants, ns.
    pub others: u64,
    /// GPU time submitted so far by this process, ns.
    pub launched: u64,
    /// True if some of it is in flight now.
    pub in_flight: bool,
    /// Time for which this host has waited for the device so far, ns.
    pub blocked: u64,
    /// True if a launch waited at the gate since the last sample.
    pub waiting: bool,
}

/// Detector of contention for one process. One writer at a time is expected; two writers blur the
/// windows and do no other harm.
#[derive(Debug, Default)]
pub struct Margin {
    /// Instant of the last sample, ns.
    at: AtomicU64,
    /// [`Sample::others`] of the last sample, ns.
    others: AtomicU64,
    /// [`Sample::blocked`] of the last sample, ns.
    blocked: AtomicU64,
    /// [`Sample::launched`] of the last sample, ns.
    launched: AtomicU64,
    /// Begin of the present window, ns.
    began: AtomicU64,
    /// [`Sample::others`] when the window began, ns.
    began_others: AtomicU64,
    /// Time of the window in which this tenant wanted the device, ns.
    wanted: AtomicU64,
    /// Instant until which the margin applies, ns. [`Margin::charge`] reads it.
    until: AtomicU64,
}

impl Margin {
    /// Takes a sample at `now`.
    pub fn sample(&self, now: u64, sample: Sample) {
        // Relaxed throughout: numbers of one process, which guard no memory.
        let relaxed = Ordering::Relaxed;
        let elapsed = now.saturating_sub(self.at.swap(now, relaxed));
        let stood = sample
            .blocked
            .saturating_sub(self.blocked.swap(sample.blocked, relaxed))
            .min(elapsed);
        // Nothing was submitted and work is left: the queue was never empty.
        let same = self.launched.swap(sample.launched, relaxed) == sample.launched;
        let held = same && sample.in_flight || sample.waiting;
        let charged = sample
            .others
            .wrapping_sub(self.others.swap(sample.others, relaxed))
            .cast_signed();
        // A pause, or a tenant that came or went: the sum changed by more than the device can have
        // done.
        if elapsed > WINDOW_NS || charged < 0 || charged.cast_unsigned() > 2 * elapsed + 5_000_000 {
            self.begin(now, sample);
            return;
        }
        let wanted = if held { elapsed } else { stood };
        let wanted = self.wanted.fetch_add(wanted, relaxed) + wanted;
        let window = now.saturating_sub(self.began.load(relaxed));
        if window < WINDOW_NS {
            return;
        }
        let others = sample.others.wrapping_sub(self.began_others.load(relaxed));
        self.begin(now, sample);
        if wanted * 100 >= window * WANTED && others * 100 >= window * OTHERS {
            self.until.store(now + KEPT_NS, relaxed);
        }
    }

    fn begin(&self, now: u64, sample: Sample) {
        let relaxed = Ordering::Relaxed;
        self.began.store(now, relaxed);
        self.began_others.store(sample.others, relaxed);
        self.wanted.store(0, relaxed);
    }

    /// Returns the amount to charge for `gpu` ns at `now`.
    pub fn charge(&self, gpu: u64, now: u64) -> u64 {
        if now < self.until.load(Ordering::Relaxed) {
            gpu * u64::from(WHOLE) / (u64::from(WHOLE) - MARGIN)
        } else {
            gpu
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples each 200 us for `ns`, with others charging `others` percent.
    fn pass(margin: &Margin, now: &mut u64, sum: &mut u64, ns: u64, others: u64, wanted: bool) {
        let end = *now + ns;
        while *now < end {
            *now += 200_000;
            *sum += 200_000 * others / 100;
            let sample = Sample {
                others: *sum,
                launched: if wanted { 1 } else { *now },
                in_flight: true,
                blocked: 0,
                waiting: false,
            };
            margin.sample(*now, sample);
        }
    }

    #[test]
    fn contention_alone_brings_it_and_it_goes_again() {
        let (margin, mut now, mut sum) = (Margin::default(), 1_000_000_000, 0);
        pass(&margin, &mut now, &mut sum, 300_000_000, 0, true);
        assert_eq!(margin.charge(855, now), 855, "nobody else had any of it");
        pass(&margin, &mut now, &mut sum, 300_000_000, 60, false);
        assert_eq!(
            margin.charge(855, now),
            855,
            "it did not want more than it had"
        );
        pass(&margin, &mut now, &mut sum, 150_000_000, 60, true);
        assert_eq!(margin.charge(855, now), 1000);
        pass(&margin, &mut now, &mut sum, 300_000_000, 0, true);
        assert_eq!(margin.charge(855, now), 855);
    }

    #[test]
    fn a_sum_that_jumps_is_no_contention() {
        let (margin, mut now, mut sum) = (Margin::default(), 1_000_000_000, 0);
        for _ in 0..100 {
            pass(&margin, &mut now, &mut sum, 10_000_000, 0, true);
            sum += 1_000_000_000;
        }
        assert_eq!(margin.charge(855, now), 855);
    }
}
