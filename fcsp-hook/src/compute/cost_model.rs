//! The cost model: what launches are charged. Costs are learned from single samples and corrected
//! by spans. A span over one key sets that key's cost, against single samples, until several in a
//! row contradict it. Spans over many keys scale the costs of all others.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fcsp_core::classify::Class;
use fcsp_core::share::cost::{CostTable, Sample, kernel_key};
use fcsp_core::share::cost_cache::CostCache;
use fcsp_core::share::recent_average::RecentAverage;

/// A scale of one.
const UNSCALED: u64 = 1 << 20;
/// Samples in a row that must contradict a span's result before it is given up.
const DOUBTS: u32 = 4;
/// Most keys whose costs are set by spans. Two that share a place take it from each other.
const FIXED: usize = 64;

/// Cost model of one device in one process. All methods may be called from any thread.
#[derive(Debug)]
pub struct CostModel {
    costs: CostTable,
    lately: RecentAverage,
    recent: CostCache,
    /// The keys whose costs spans have set, hashed. Single samples of them are no better.
    exact: [AtomicU64; FIXED],
    /// The last result of a span that was far from the known cost, ns; 0 for none.
    odd: [AtomicU64; FIXED],
    /// Number of samples in a row that have contradicted the spans.
    doubts: [AtomicU32; FIXED],
    /// Factor of the learned costs of other keys, in [`UNSCALED`]ths: the measured time of spans
    /// over many keys, over their charges.
    scale: AtomicU64,
    /// The scale with which costs were put into the cost cache.
    told_scale: AtomicU64,
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            costs: CostTable::new(4096),
            lately: RecentAverage::default(),
            recent: CostCache::default(),
            exact: [const { AtomicU64::new(0) }; FIXED],
            odd: [const { AtomicU64::new(0) }; FIXED],
            doubts: [const { AtomicU32::new(0) }; FIXED],
            scale: AtomicU64::new(UNSCALED),
            told_scale: AtomicU64::new(UNSCALED),
        }
    }
}

/// Keys under which a cost is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Key {
    /// By its handle, and the magnitude of its grid; 0 once the handle means other work.
    pub handle: u64,
    /// By its contents, whatever its handle; 0 if unknown.
    pub content: u64,
}

impl From<u64> for Key {
    fn from(handle: u64) -> Self {
        Self { handle, content: 0 }
    }
}

fn place(key: u64) -> usize {
    (key >> 8) as usize % FIXED
}

impl CostModel {
    /// Returns the cost of `key`, ns, and the code of its class, if the cost cache has them.
    #[inline(always)]
    pub fn told(&self, key: u64) -> Option<(u64, u64)> {
        self.recent.get(key)
    }

    /// Puts the converged cost and class of `key` into the cost cache.
    #[inline]
    pub fn tell(&self, key: u64, class: Class, price: u64) {
        self.recent.put(key, class, price);
    }

    /// Returns the cost of `key` by single launches, ns; a guess from `blocks` before the first
    /// one.
    pub fn cost(&self, key: u64, blocks: u64) -> u64 {
        self.costs.cost(key, blocks)
    }

    /// Returns the charge for a launch, ns: the known cost of its key, or of work with the same
    /// contents, or the recent average.
    #[inline]
    pub fn price(&self, key: Key, blocks: u64) -> u64 {
        let Some(cost) = self.costs.known(key.handle) else {
            return self.price_of_stranger(key, blocks);
        };
        let scale = self.scale.load(Ordering::Relaxed);
        if scale == UNSCALED || self.exact[place(key.handle)].load(Ordering::Relaxed) == key.handle
        {
            return cost;
        }
        (u128::from(cost) * u128::from(scale) / u128::from(UNSCALED)) as u64
    }

    #[cold]
    fn price_of_stranger(&self, key: Key, blocks: u64) -> u64 {
        let by_content = match key.content {
            0 => None,
            content => self.costs.known(content),
        };
        by_content.unwrap_or_else(|| self.lately.price(self.costs.guess(blocks)))
    }

    /// Records that `launches` launches took `ns` together.
    pub fn took(&self, ns: u64, launches: u32) {
        self.lately.took(ns, launches);
    }

    /// Records a sample.
    pub fn learn(&self, key: Key, blocks: u64, sample: Sample, contended: bool) {
        if key.content != 0 {
            self.costs.learn(key.content, blocks, sample, contended);
        }
        let handle = key.handle;
        if handle != 0 && (contended || !self.stands(handle, blocks, sample.ns)) {
            self.costs.learn(handle, blocks, sample, contended);
            self.recent.forget(handle);
        }
        // A contended sample may contain other tenants' slices. A cost learned from several
        // contains less of them.
        let known = if handle != 0 { handle } else { key.content };
        let took = if contended {
            self.costs.known(known)
        } else {
            Some(sample.ns)
        };
        if let Some(ns) = took {
            self.lately.took(ns, 1);
        }
    }

    /// Returns true if the spans' result for `key` holds against a sample of `ns`: until the work
    /// changes.
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

    /// Records that launches of `key` alone took `ns` each. A value far from the known cost is
    /// believed when it comes twice in a row. Where work depends on its data, one launch may take
    /// as long as a hundred others.
    pub fn fix(&self, key: u64, ns: u64) {
        let far = |a: u64, b: u64| a > b.saturating_mul(4);
        let odd = &self.odd[place(key)];
        if let Some(known) = self.costs.known(key)
            && (far(ns, known) || far(known, ns))
        {
            let before = odd.swap(ns, Ordering::Relaxed);
            if before == 0 || far(ns, before) || far(before, ns) {
                return;
            }
        }
        odd.store(0, Ordering::Relaxed);
        self.costs.correct(key, ns);
        self.exact[place(key)].store(key, Ordering::Relaxed);
        self.recent.forget(key);
    }

    /// Records that work of many keys took `measured` ns where `charged` were charged: single
    /// samples all have the same small bias.
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

    /// Forgets the learned cost of `key`, which means other work from now on.
    pub fn forget(&self, key: u64) {
        self.costs.forget(key);
        self.recent.forget(key);
        // Another key may have the place by now.
        let _ =
            self.exact[place(key)].compare_exchange(key, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Forgets the learned costs of a kernel, whatever its grid.
    pub fn forget_kernel(&self, function: usize) {
        kernel_keys(function).for_each(|key| self.forget(key));
    }

    /// Removes a kernel from the cost cache. Its cost holds only once it is known to be the same
    /// kernel.
    pub fn doubt_kernel(&self, function: usize) {
        kernel_keys(function).for_each(|key| self.recent.forget(key));
    }

    /// Removes all kernels from the cost cache.
    pub fn doubt_all(&self) {
        self.recent.clear();
    }
}

/// Returns the keys of a kernel: one for each binary logarithm of its blocks.
pub fn kernel_keys(function: usize) -> impl Iterator<Item = u64> {
    (0..u64::BITS).map(move |power| kernel_key(function as u64, 1 << power))
}

#[cfg(test)]
mod tests {
    use fcsp_core::share::cost::{content_key, graph_key};

    use super::*;

    const KEY: u64 = 0x7f00_1234_5670;

    fn learned(ns: u64) -> (CostModel, u64) {
        let (prices, key) = (CostModel::default(), kernel_key(KEY, 64));
        for _ in 0..40 {
            prices.learn(key.into(), 64, ns.into(), false);
        }
        (prices, key)
    }

    #[test]
    fn one_odd_sample_overturns_nothing_and_several_in_a_row_do() {
        let (prices, key) = learned(6_000);
        for _ in 0..8 {
            prices.fix(key, 5_000);
        }
        let fixed = prices.price(key.into(), 64);
        assert!(fixed.abs_diff(5_000) < 50, "{fixed}");
        for _ in 0..20 {
            for odd in [9_000, 9_000, 9_000, 5_500] {
                prices.learn(key.into(), 64, odd.into(), false);
                assert_eq!(prices.price(key.into(), 64), fixed);
            }
        }
        for _ in 0..40 {
            prices.learn(key.into(), 64, 9_000.into(), false);
        }
        assert!(
            prices.price(key.into(), 64) > 8_000,
            "{}",
            prices.price(key.into(), 64)
        );
    }

    #[test]
    fn spans_over_many_scale_all_but_what_is_fixed() {
        let (prices, key) = learned(10_000);
        let other = kernel_key(KEY + 0x1000, 64);
        prices.learn(other.into(), 64, 10_000.into(), false);
        prices.fix(other, 10_000);
        // Charged a tenth too much, again and again, until it is not.
        for _ in 0..400 {
            let charged = prices.price(key.into(), 64) * 100;
            prices.rescale(900_000, charged);
        }
        assert!(
            prices.price(key.into(), 64).abs_diff(9_000) < 50,
            "{}",
            prices.price(key.into(), 64)
        );
        assert_eq!(prices.price(other.into(), 64), 10_000);
        // An absurd measurement is bounded.
        for _ in 0..400 {
            prices.rescale(u64::MAX / 2, 1);
        }
        assert!(prices.price(key.into(), 64) <= 15_000);
    }

    #[test]
    fn what_was_told_is_taken_back_when_it_changes() {
        let (prices, key) = learned(10_000);
        prices.tell(key, Class::Gemm, prices.price(key.into(), 64));
        assert_eq!(
            prices.told(key),
            Some((prices.price(key.into(), 64), Class::Gemm as u64))
        );
        prices.fix(key, 8_000);
        assert_eq!(prices.told(key), None);
        prices.tell(key, Class::Gemm, prices.price(key.into(), 64));
        prices.rescale(800_000, 1_000_000);
        assert_eq!(prices.told(key), None);
        prices.forget(key);
        assert_ne!(prices.cost(key, 64), 8_000, "a guess again");
    }

    #[test]
    fn a_kernel_is_forgotten_with_every_grid_and_nothing_else_is() {
        let prices = CostModel::default();
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
            let (dead, living) = (
                kernel_key(dead as u64, blocks),
                kernel_key(living as u64, blocks),
            );
            assert_eq!(prices.told(dead), None);
            assert_ne!(prices.cost(dead, blocks), 5_000, "a guess again");
            assert_eq!(prices.cost(living, blocks), 5_000);
            assert!(prices.told(living).is_some());
        }
        prices.doubt_kernel(living);
        assert_eq!(prices.told(kernel_key(living as u64, 64)), None);
        assert_eq!(prices.cost(kernel_key(living as u64, 64), 64), 5_000);
    }

    #[test]
    fn work_of_the_same_content_is_no_stranger_and_a_stranger_costs_what_work_took_lately() {
        let prices = CostModel::default();
        let graph = |handle: u64, content| Key {
            handle: graph_key(handle << 6),
            content: content_key(content),
        };
        let first = prices.price(graph(1, 7), 0);
        for handle in 1..=4 {
            prices.learn(graph(handle, 7), 0, 5_000_000.into(), false);
            prices.forget(graph(handle, 7).handle);
        }
        assert_eq!(prices.price(graph(5, 7), 0), 5_000_000);
        assert_eq!(prices.price(graph(6, 8), 0), 5_000_000, "lately");
        prices.took(80_000, 40);
        prices.took(80_000, 40);
        assert!(prices.price(graph(6, 8), 0) < 4_000_000);
        assert_eq!(prices.price(graph(5, 7), 0), 5_000_000);
        assert!(first < 10_000, "{first}");
    }

    #[test]
    fn graphs_that_come_and_go_leave_room_for_others() {
        let prices = CostModel::default();
        for handle in 1..40_000u64 {
            let key = graph_key(handle << 6);
            prices.learn(key.into(), 0, 2_000.into(), false);
            prices.forget(key);
        }
        let last = graph_key(50_000 << 6);
        prices.learn(last.into(), 0, 7_000_000.into(), false);
        assert_eq!(prices.price(last.into(), 0), 7_000_000);
    }
}
