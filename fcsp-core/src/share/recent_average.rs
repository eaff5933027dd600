//! The recent mean cost of a process's launches. It is charged for strangers, whose cost is not
//! learned yet.

use std::sync::atomic::{AtomicU64, Ordering};

/// Largest charge for a stranger, ns. Many small strangers may follow a large one before anything
/// is known of them.
const MOST_NS: u64 = 20_000_000;

/// Moving mean of launch costs. All methods may be called from any thread.
#[derive(Debug, Default)]
pub struct RecentAverage {
    /// The mean, in sixteenths of a nanosecond; 0 for none.
    mean: AtomicU64,
}

impl RecentAverage {
    /// Records that `launches` launches took `ns` together.
    pub fn took(&self, ns: u64, launches: u32) {
        if launches == 0 {
            return;
        }
        let each = (ns / u64::from(launches)).min(1 << 56) << 4;
        // Relaxed: a sample lost to another thread's write is one sample less.
        let old = self.mean.load(Ordering::Relaxed);
        let new = match old {
            0 => each,
            old => old - old / 4 + each / 4,
        };
        self.mean.store(new.max(1), Ordering::Relaxed);
    }

    /// Returns the charge for a stranger whose grid suggests `guess`, ns.
    pub fn price(&self, guess: u64) -> u64 {
        guess.max((self.mean.load(Ordering::Relaxed) >> 4).min(MOST_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::RecentAverage;

    #[test]
    fn a_stranger_costs_what_work_cost_lately() {
        let lately = RecentAverage::default();
        assert_eq!(lately.price(3_000), 3_000, "nothing is known");
        lately.took(10_000_000, 2);
        assert_eq!(lately.price(3_000), 5_000_000);
        assert_eq!(lately.price(9_000_000), 9_000_000, "its grid says more");
        for _ in 0..40 {
            lately.took(40_000, 4);
        }
        assert!(
            lately.price(3_000).abs_diff(10_000) < 200,
            "{}",
            lately.price(3_000)
        );
        lately.took(0, 0);
        for _ in 0..40 {
            lately.took(1 << 50, 1);
        }
        assert_eq!(lately.price(3_000), 20_000_000);
    }
}
