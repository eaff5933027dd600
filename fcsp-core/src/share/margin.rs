//! The margin that keeps shares in proportion where the device delivers less than the quotas
//! promise.
//!
//! Quotas that add up to the whole device promise more than a contended device delivers: switching
//! contexts costs it several percent (three saturating tenants of an H100 get 0.905 of it together,
//! docs/results). If every tenant could claim its quota to the last percent, the one with the
//! largest would bear the whole loss, and there would be no order between the others: all buckets
//! are full then, and nobody stands back for anybody. So beside tenants that contend, each charges
//! itself [`MARGIN`] more than it takes, all the same. What is guaranteed then fits into what is
//! delivered, the rest goes by weight as surplus, and the proportion is that of the quotas whatever
//! the loss is. Nobody needs to know it.
//!
//! Contended means: over a window this tenant wanted the device throughout, and others charged a
//! part of it worth the name. That they did is their claim; one that lies about it costs this
//! tenant the margin and no more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::{Ppm, WHOLE};

/// The part of a charge beside tenants that contend that is margin, ppm. More would cost a victim
/// of lies more: a quota of half the device must leave it 0.42, of which a hundredth is between its
/// kernels. With less, prices that are a tenth too low for all would promise more than is
/// delivered.
pub const MARGIN: u64 = 145_000;
const WINDOW_NS: u64 = 50_000_000;
/// The part of a window for which the device must have been wanted, percent.
const WANTED: u64 = 50;
/// The part of a window that others must have charged, percent.
const OTHERS: u64 = 10;
/// For how long a window counts: some without contention may come between, ns.
const KEPT_NS: u64 = 200_000_000;

/// What the margin leaves of a quota.
pub fn less(quota: Ppm) -> Ppm {
    (u64::from(quota) * (u64::from(WHOLE) - MARGIN) / u64::from(WHOLE)) as Ppm
}

/// What happened since the last sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// GPU time charged so far by all other tenants, ns.
    pub others: u64,
    /// GPU time submitted so far by this process, ns.
    pub launched: u64,
    /// Whether some of it is in flight now.
    pub in_flight: bool,
    /// Time this host stood waiting for the device so far, ns.
    pub blocked: u64,
    /// Whether a launch was waiting at the gate since the last sample.
    pub waiting: bool,
}

/// Whether the margin applies. One writer at a time is expected; two blur the windows and harm
/// nothing else.
#[derive(Debug, Default)]
pub struct Margin {
    at: AtomicU64,
    others: AtomicU64,
    blocked: AtomicU64,
    launched: AtomicU64,
    began: AtomicU64,
    began_others: AtomicU64,
    wanted: AtomicU64,
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
        // Nothing was submitted and something is left: the queue held work throughout.
        let same = self.launched.swap(sample.launched, relaxed) == sample.launched;
        let held = same && sample.in_flight || sample.waiting;
        let charged = sample
            .others
            .wrapping_sub(self.others.swap(sample.others, relaxed))
            .cast_signed();
        // Silence, or a tenant that came or went: the sum moved by more than the device can have
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

    /// What to charge for `gpu` ns at `now`.
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
