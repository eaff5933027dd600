//! What launches are charged: learned costs, put right by spans. A span over one key fixes that key's cost, against single
//! samples, until several in a row contradict it; spans over many keys scale the costs of all others.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fcsp_core::classify::Class;
use fcsp_core::share::cost::{CostTable, Sample, kernel_key};
use fcsp_core::share::recent::Recent;

/// A scale of one.
const UNSCALED: u64 = 1 << 20;
/// Samples in a row that must contradict what spans have shown before it is given up.
const DOUBTS: u32 = 4;
/// Keys whose costs are fixed, at most; two that meet in one place take it from each other.
const FIXED: usize = 64;

/// The prices of one device in one process. All methods may be called from any thread.
#[derive(Debug)]
pub struct Prices {
    costs: CostTable,
    recent: Recent,
    /// The keys whose costs spans have put right, hashed; single samples of them say nothing better.
    exact: [AtomicU64; FIXED],
    /// How many samples in a row have contradicted them.
    doubts: [AtomicU32; FIXED],
    /// What learned costs of other keys are multiplied by, in [`UNSCALED`]ths: what spans over many keys were found to
    /// take, against what was charged.
    scale: AtomicU64,
    /// The scale that the recent costs were told with.
    told_scale: AtomicU64,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            costs: CostTable::new(4096),
            recent: Recent::default(),
            exact: [const { AtomicU64::new(0) }; FIXED],
            doubts: [const { AtomicU32::new(0) }; FIXED],
            scale: AtomicU64::new(UNSCALED),
            told_scale: AtomicU64::new(UNSCALED),
        }
    }
}

fn place(key: u64) -> usize {
    (key >> 8) as usize % FIXED
}

impl Prices {
    /// The price of `key`, ns, and the code of its class, if both are settled and were told lately.
    #[inline(always)]
    pub fn told(&self, key: u64) -> Option<(u64, u64)> {
        self.recent.get(key)
    }

    /// Remembers what is settled about `key`.
    #[inline]
    pub fn tell(&self, key: u64, class: Class, price: u64) {
        self.recent.put(key, class, price);
    }

    /// What single launches of `key` were seen to take, ns; a guess from `blocks` until one was.
    pub fn cost(&self, key: u64, blocks: u64) -> u64 {
        self.costs.cost(key, blocks)
    }

    /// What a launch of `key` is charged, ns.
    #[inline]
    pub fn price(&self, key: u64, blocks: u64) -> u64 {
        let cost = self.costs.cost(key, blocks);
        let scale = self.scale.load(Ordering::Relaxed);
        if scale == UNSCALED || self.exact[place(key)].load(Ordering::Relaxed) == key {
            return cost;
        }
        (u128::from(cost) * u128::from(scale) / u128::from(UNSCALED)) as u64
    }

    /// Takes in a sample.
    pub fn learn(&self, key: u64, blocks: u64, sample: Sample, contended: bool) {
        if contended || !self.stands(key, blocks, sample.ns) {
            self.costs.learn(key, blocks, sample, contended);
            self.recent.forget(key);
        }
    }

    /// Whether what spans have shown of `key` stands against a sample of `ns`: until the work changes.
    fn stands(&self, key: u64, blocks: u64, ns: u64) -> bool {
        let exact = &self.exact[place(key)];
        if exact.load(Ordering::Relaxed) != key {
            return false;
        }
        let doubts = &self.doubts[place(key)];
        let cost = self.costs.cost(key, blocks);
        if ns < cost / 4 * 5 && cost < ns / 4 * 5 {
            doubts.store(0, Ordering::Relaxed);
            return true;
        }
        // Relaxed, and not exact: a doubt lost to another thread is raised again.
        if doubts.fetch_add(1, Ordering::Relaxed) + 1 < DOUBTS {
            return true;
        }
        doubts.store(0, Ordering::Relaxed);
        exact.store(0, Ordering::Relaxed);
        false
    }

    /// Launches of `key` alone were shown to take `ns` each.
    pub fn fix(&self, key: u64, ns: u64) {
        self.costs.correct(key, ns);
        self.exact[place(key)].store(key, Ordering::Relaxed);
        self.recent.forget(key);
    }

    /// Takes in that work of many keys took `measured` ns where `charged` were charged: single samples are all a little
    /// too long or too short in the same way.
    pub fn rescale(&self, measured: u64, charged: u64) {
        let old = self.scale.load(Ordering::Relaxed);
        let whole = UNSCALED as i64;
        let ratio = (u128::from(measured) * u128::from(UNSCALED) / u128::from(charged))
            .min(2 * u128::from(UNSCALED)) as i64;
        let step = (ratio.max(whole / 2) - whole) * old as i64 / whole / 32;
        let new = (old as i64 + step).clamp(whole * 2 / 3, whole * 3 / 2) as u64;
        self.scale.store(new, Ordering::Relaxed);
        // A difference of a two-hundredth is worth looking costs up again.
        if new.abs_diff(self.told_scale.load(Ordering::Relaxed)) > UNSCALED / 200 {
            self.told_scale.store(new, Ordering::Relaxed);
            self.recent.clear();
        }
    }

    /// Forgets what was learned of `key`, which does something else from now on.
    pub fn forget(&self, key: u64) {
        self.costs.forget(key);
        self.recent.forget(key);
        // Another key may have the place by now.
        let _ = self.exact[place(key)].compare_exchange(key, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Forgets what was learned of a kernel, whatever its grid.
    pub fn forget_kernel(&self, function: usize) {
        kernel_keys(function).for_each(|key| self.forget(key));
    }

    /// The kernel's price holds only once it is known to be the same kernel: nothing told lately of it does.
    pub fn doubt_kernel(&self, function: usize) {
        kernel_keys(function).for_each(|key| self.recent.forget(key));
    }

    /// The same for all kernels.
    pub fn doubt_all(&self) {
        self.recent.clear();
    }
}

/// The keys of a kernel: one for each binary logarithm of its blocks.
pub fn kernel_keys(function: usize) -> impl Iterator<Item = u64> {
    (0..u64::BITS).map(move |power| kernel_key(function as u64, 1 << power))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0x7f00_1234_5670;

    fn learned(ns: u64) -> (Prices, u64) {
        let (prices, key) = (Prices::default(), kernel_key(KEY, 64));
        for _ in 0..40 {
            prices.learn(key, 64, ns.into(), false);
        }
        (prices, key)
    }

    #[test]
    fn one_odd_sample_overturns_nothing_and_several_in_a_row_do() {
        let (prices, key) = learned(6_000);
        for _ in 0..8 {
            prices.fix(key, 5_000);
        }
        let fixed = prices.price(key, 64);
        assert!(fixed.abs_diff(5_000) < 50, "{fixed}");
        for _ in 0..20 {
            for odd in [9_000, 9_000, 9_000, 5_500] {
                prices.learn(key, 64, odd.into(), false);
                assert_eq!(prices.price(key, 64), fixed);
            }
        }
        for _ in 0..40 {
            prices.learn(key, 64, 9_000.into(), false);
        }
        assert!(prices.price(key, 64) > 8_000, "{}", prices.price(key, 64));
    }

    #[test]
    fn spans_over_many_scale_all_but_what_is_fixed() {
        let (prices, key) = learned(10_000);
        let other = kernel_key(KEY + 0x1000, 64);
        prices.learn(other, 64, 10_000.into(), false);
        prices.fix(other, 10_000);
        // Charged a tenth too much, again and again, until it is not.
        for _ in 0..400 {
            let charged = prices.price(key, 64) * 100;
            prices.rescale(900_000, charged);
        }
        assert!(
            prices.price(key, 64).abs_diff(9_000) < 50,
            "{}",
            prices.price(key, 64)
        );
        assert_eq!(prices.price(other, 64), 10_000);
        // A measurement that makes no sense is bounded.
        for _ in 0..400 {
            prices.rescale(u64::MAX / 2, 1);
        }
        assert!(prices.price(key, 64) <= 15_000);
    }

    #[test]
    fn what_was_told_is_taken_back_when_it_changes() {
        let (prices, key) = learned(10_000);
        prices.tell(key, Class::Gemm, prices.price(key, 64));
        assert_eq!(
            prices.told(key),
            Some((prices.price(key, 64), Class::Gemm as u64))
        );
        prices.fix(key, 8_000);
        assert_eq!(prices.told(key), None);
        prices.tell(key, Class::Gemm, prices.price(key, 64));
        prices.rescale(800_000, 1_000_000);
        assert_eq!(prices.told(key), None);
        prices.forget(key);
        assert_ne!(prices.cost(key, 64), 8_000, "a guess again");
    }

    #[test]
    fn a_kernel_is_forgotten_with_every_grid_and_nothing_else_is() {
        let prices = Prices::default();
        let (dead, living) = (0x7f00_1234_5600, 0x7f00_1234_5700);
        for function in [dead, living] {
            for blocks in [1, 64, 70_000] {
                let key = kernel_key(function as u64, blocks);
                prices.fix(key, 5_000);
                prices.tell(key, Class::Collective, 5_000);
            }
        }
        prices.forget_kernel(dead);
        for blocks in [1, 64, 70_000] {
            let (dead, living) = (kernel_key(dead as u64, blocks), kernel_key(living as u64, blocks));
            assert_eq!(prices.told(dead), None);
            assert_ne!(prices.cost(dead, blocks), 5_000, "a guess again");
            assert_eq!(prices.cost(living, blocks), 5_000);
            assert!(prices.told(living).is_some());
        }
        prices.doubt_kernel(living);
        assert_eq!(prices.told(kernel_key(living as u64, 64)), None);
        assert_eq!(prices.cost(kernel_key(living as u64, 64), 64), 5_000);
    }
}
