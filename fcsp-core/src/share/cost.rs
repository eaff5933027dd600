//! Costs of kernels: learned per key, read without a lock or an allocation.
//!
//! A key is a function handle hashed with the binary logarithm of its grid ([`kernel_key`]), or the
//! identity of a graph ([`graph_key`]), which is forgotten when the graph is updated. A key keeps a
//! moving average (weight 1/8) and the minimum of the current and the last window of [`WINDOW`]
//! samples.
//!
//! Samples taken while other tenants were active may contain their time slices. They feed a
//! separate average, and lower the minimum; the cost follows the samples without a slice. Without
//! any sample, the cost is a guess from the size of the grid. The signed correction at fences
//! ([`crate::share::gate::Gate::true_up`]) corrects what is still wrong, so that errors do not add
//! up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::WHOLE;

/// Number of samples in a window of the minimum.
pub const WINDOW: u64 = 64;
/// Number of samples below which a key is warming up: its average is not believed yet.
const YOUNG: u64 = 16;
/// Number of entries examined for a key.
const PROBES: usize = 16;
/// Key of an entry that was given up. A kernel or graph has it only by a chance of one in 2^63.
const GIVEN_UP: u64 = u64::MAX;
/// Number of contended samples of which at least one is believed to contain no time slice.
const CALM_WINDOW: u64 = 16;
/// Number of upper bounds of which the least is believed.
const BOUND_WINDOW: u64 = 4;
/// Costs for which that holds, ns: well below the device's time slice (2 ms), and long compared
/// with what timing adds.
const CALM_SPAN_NS: std::ops::Range<u64> = 20_000..800_000;
/// Least cost, ns: the time that the front end needs for an empty kernel.
pub const MIN_COST_NS: u64 = 1_000;
/// Greatest cost, ns.
pub const MAX_COST_NS: u64 = 60_000_000_000;

/// Mixes all bits of a word into all others (the finaliser of SplitMix64; a bijection).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Returns the key of a kernel: its function handle and the magnitude of its grid. Never 0.
#[inline]
pub fn kernel_key(function: u64, blocks: u64) -> u64 {
    mix(function ^ (u64::from(blocks.max(1).ilog2()) << 56)) | 1
}

/// Returns the key of an executable graph or of a kind of copy. It is never 0, and even, unlike the
/// keys of kernels.
#[inline]
pub fn graph_key(graph: u64) -> u64 {
    (mix(!graph) & !1).max(2)
}

/// Returns the key of kernels of a name, by a hash of it, and of the magnitude of their grid. It is
/// odd, like those of all kernels.
pub fn name_key(name: u32, blocks: u64) -> u64 {
    kernel_key(CONTENT | u64::from(name), blocks)
}

/// Returns the key of graphs of a content, by a hash of it.
pub fn content_key(content: u32) -> u64 {
    graph_key(CONTENT | u64::from(content))
}

/// Bit that no handle has: user addresses have 47 bits.
const CONTENT: u64 = 1 << 50;

/// Learned costs of one key, on one cache line. Any thread reads and writes it; a lost sample
/// does no harm.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Entry {
    /// Key of the entry; 0 while it is vacant, [`GIVEN_UP`] after [`CostTable::forget`]. Claimed
    /// with AcqRel and read with Acquire.
    key: AtomicU64,
    /// Average cost, in sixteenths of a nanosecond, so that an eighth of a small difference is not
    /// lost; 0 for none.
    mean: AtomicU64,
    /// The same of contended samples.
    contended: AtomicU64,
    /// Minimum of the last full window, ns; 0 for none.
    least: AtomicU64,
    /// Minimum of the current window so far, ns; 0 for none.
    least_now: AtomicU64,
    /// Number of samples.
    samples: AtomicU64,
    /// `{odd contended samples of this window: 8 bits, all of them: 8 bits, their minimum in ns: 48
    /// bits}`. Odd samples are long ones. For long work, they are the samples far below the known
    /// cost.
    calm: AtomicU64,
    /// `{upper bounds of this window: 16 bits, their minimum in ns: 48 bits}`.
    bound: AtomicU64,
}

/// Measured GPU time of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// GPU time, ns.
    pub ns: u64,
    /// True for the exact time, false for an upper bound.
    pub exact: bool,
}

impl From<u64> for Sample {
    fn from(ns: u64) -> Self {
        Self { ns, exact: true }
    }
}

/// Table of learned costs for one device of one process.
#[derive(Debug)]
pub struct CostTable {
    entries: Box<[Entry]>,
    /// Number of entries, a power of two, less one.
    mask: usize,
    /// Average cost of a block, in 1/1024 ns, for guesses.
    per_block: AtomicU64,
    /// Number of times that a key found no entry.
    overflow: AtomicU64,
}

impl CostTable {
    /// Creates a table for about `keys` kernels. It never grows: keys without an entry are guessed.
    pub fn new(keys: usize) -> Self {
        let size = (keys.max(32) * 2).next_power_of_two();
        Self {
            entries: (0..size).map(|_| Entry::default()).collect(),
            mask: size - 1,
            per_block: AtomicU64::new(40 << 10),
            overflow: AtomicU64::new(0),
        }
    }

    fn find(&self, key: u64) -> Option<&Entry> {
        let start = mix(key) as usize;
        for i in 0..PROBES {
            let entry = &self.entries[(start + i) & self.mask];
            // Acquire: pairs with the Release of the claim, so that a found key's words are its
            // own. An entry that was given up does not end the search; a vacant one does.
            match entry.key.load(Ordering::Acquire) {
                k if k == key => return Some(entry),
                0 => return None,
                _ => {}
            }
        }
        None
    }

    fn find_or_claim(&self, key: u64) -> Option<&Entry> {
        if let Some(entry) = self.find(key) {
            return Some(entry);
        }
        let start = mix(key) as usize;
        for i in 0..PROBES {
            let entry = &self.entries[(start + i) & self.mask];
            // If two threads claim entries for one key, the first one in the order of probes is
            // used.
            let claim = |free| {
                entry
                    .key
                    .compare_exchange(free, key, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            };
            if claim(0) || claim(GIVEN_UP) {
                return Some(entry);
            }
        }
        self.overflow.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Returns the learned cost of `key`, ns.
    #[inline]
    pub fn known(&self, key: u64) -> Option<u64> {
        self.find(key).and_then(Entry::cost)
    }

    /// Returns the cost of `key`, ns: learned, or guessed from `blocks`.
    #[inline]
    pub fn cost(&self, key: u64, blocks: u64) -> u64 {
        self.known(key).unwrap_or_else(|| self.guess(blocks))
    }

    /// Guesses the cost of a kernel without samples: the launch itself, and the average cost of its
    /// blocks.
    pub fn guess(&self, blocks: u64) -> u64 {
        let per_block = self.per_block.load(Ordering::Relaxed);
        (3_000 + ((u128::from(blocks.max(1)) * u128::from(per_block)) >> 10).min(2_000_000) as u64)
            .clamp(MIN_COST_NS, MAX_COST_NS)
    }

    /// Records a sample for `key`. `blocks` is 0 if it has no meaning; `contended` says that
    /// another tenant was active meanwhile.
    pub fn learn(&self, key: u64, blocks: u64, sample: impl Into<Sample>, contended: bool) {
        let Sample { ns, exact } = sample.into();
        let ns = ns.clamp(MIN_COST_NS, MAX_COST_NS);
        let Some(entry) = self.find_or_claim(key) else {
            return;
        };
        match (exact, contended) {
            (false, false) => entry.learn_bound(ns),
            _ => entry.learn(ns, contended, exact),
        }
        if blocks > 0 && !contended && exact {
            let sample = ((ns << 10) / blocks).clamp(1, 1 << 30);
            let old = self.per_block.load(Ordering::Relaxed);
            self.per_block
                .store(old - old / 64 + sample.div_ceil(64), Ordering::Relaxed);
        }
    }

    /// Corrects the cost of `key` by a measurement over many launches of this key alone: `exact` ns
    /// each. It is far better than single samples and weighs more. A value far from the average
    /// replaces it, as for a kernel whose work depends on its arguments.
    pub fn correct(&self, key: u64, exact: u64) {
        let Some(entry) = self.find_or_claim(key) else {
            return;
        };
        let exact = exact.clamp(MIN_COST_NS, MAX_COST_NS) << 4;
        let old = entry.mean.load(Ordering::Relaxed);
        let near = exact < old.saturating_mul(3) / 2 && old < exact.saturating_mul(3) / 2;
        entry.mean.store(
            if near { old / 2 + exact / 2 } else { exact },
            Ordering::Relaxed,
        );
        // From now on the average is believed, however few samples there were: the minimum of the
        // first few says less.
        entry.samples.fetch_max(YOUNG, Ordering::Relaxed);
    }

    /// Forgets what was learned of `key`: a graph that was updated, or a handle that may be used
    /// again. Its entry becomes vacant.
    pub fn forget(&self, key: u64) {
        if let Some(entry) = self.find(key) {
            for word in [
                &entry.mean,
                &entry.contended,
                &entry.least,
                &entry.least_now,
                &entry.samples,
                &entry.calm,
                &entry.bound,
            ] {
                word.store(0, Ordering::Relaxed);
            }
            // Release: a thread that claims the entry finds nothing of what was known.
            let _ = entry
                .key
                .compare_exchange(key, GIVEN_UP, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Returns the slowdown of contended work, ppm. Returns `None` for a key without both kinds of
    /// samples.
    pub fn stretch(&self, key: u64) -> Option<u64> {
        let entry = self.find(key)?;
        let (mean, contended) = (
            entry.mean.load(Ordering::Relaxed),
            entry.contended.load(Ordering::Relaxed),
        );
        (mean != 0 && contended != 0)
            .then(|| (u128::from(contended) * u128::from(WHOLE) / u128::from(mean)) as u64)
    }

    /// Returns the number of times that a key found no entry.
    pub fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }
}

/// Moves an average towards a sample by an eighth. The sample counts for at most four times the
/// average.
///
/// While there are `few` samples, one far below the average halves it. The first launches of a
/// kernel may take a hundred times as long as later ones, since its code is loaded. An average
/// would remember that for too long.
fn blend(word: &AtomicU64, ns: u64, few: bool) {
    let sample = ns << 4;
    // A sample lost to another thread's write is one sample less; nothing depends on a single one.
    let old = word.load(Ordering::Relaxed);
    let new = if old == 0 {
        sample
    } else if few && sample < old / 2 {
        old / 2 + sample / 2
    } else {
        old - old / 8 + sample.min(old.saturating_mul(4)) / 8
    };
    word.store(new, Ordering::Relaxed);
}

fn lesser(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, x) | (x, 0) => x,
        (a, b) => a.min(b),
    }
}

impl Entry {
    /// Learns from a contended sample.
    ///
    /// A sample that contains another tenant's time slice is longer by at least a context switch
    /// there and back, which is as much as such work takes. The other samples show the present
    /// cost, with a busy device and its lower clock rate. Their mean is used, not their minimum: at
    /// the power limit, clock rates vary by a seventh within milliseconds. If nearly all samples
    /// are odd, the work itself has changed. The minimum of several samples in a row then contains
    /// no slice.
    fn learn_among_others(&self, ns: u64, exact: bool) {
        const NS: u64 = (1 << 48) - 1;
        const ODD_ONE: u64 = 1 << 56;
        const ONE: u64 = 1 << 48;
        let mean = self.mean.load(Ordering::Relaxed);
        let known = mean >> 4;
        let is_long_work = known >= CALM_SPAN_NS.end;
        let long = ns > known / 2 * 3;
        // Most samples of long work contain slices. Odd samples are therefore those far below the
        // known cost.
        let odd = if is_long_work {
            ns < known / 3 * 2
        } else {
            long
        };
        // For short work, the slack of an upper bound dominates, so bounds do not count.
        let counts =
            CALM_SPAN_NS.contains(&known) || (exact && (1..CALM_SPAN_NS.end).contains(&known));
        if counts && !long {
            self.mean.store(mean - mean / 16 + ns, Ordering::Relaxed);
        }
        // A sample lost to another thread's write is one sample less.
        let old = self.calm.load(Ordering::Relaxed);
        let now =
            ((old & !NS) + ONE + if odd { ODD_ONE } else { 0 }) | lesser(old & NS, ns.min(NS));
        if now >> 48 & 0xff < CALM_WINDOW {
            self.calm.store(now, Ordering::Relaxed);
            return;
        }
        self.calm.store(0, Ordering::Relaxed);
        let least = now & NS;
        if mean == 0 {
            // Without uncontended samples, the minimum is the first estimate.
            if CALM_SPAN_NS.contains(&least) {
                self.mean.store(least << 4, Ordering::Relaxed);
            }
        } else if is_long_work {
            // Slices of other tenants only add time, and upper bounds are no less than the work.
            // The learned cost was too high: the host had been preempted, and the device was idle
            // between the two events.
            if (now >> 56) * 4 >= CALM_WINDOW {
                self.mean.store(least << 4, Ordering::Relaxed);
            }
        } else if CALM_SPAN_NS.contains(&known)
            && (now >> 56) * 8 >= CALM_WINDOW * 7
            && least < known / 2 * 5
        {
            self.mean
                .store(mean - mean / 2 + (least << 4) / 2, Ordering::Relaxed);
        }
    }

    fn learn(&self, ns: u64, contended: bool, exact: bool) {
        let few = self.samples.load(Ordering::Relaxed) < 2 * YOUNG;
        if contended {
            self.learn_among_others(ns, exact);
            blend(&self.contended, ns, few);
        } else {
            blend(&self.mean, ns, few);
        }
        self.count(ns);
    }

    /// Learns from an upper bound. Its slack differs from one bound to the next, so the least of
    /// several counts as the sample.
    fn learn_bound(&self, ns: u64) {
        const NS: u64 = (1 << 48) - 1;
        // A sample lost to another thread's write is one sample less.
        let old = self.bound.load(Ordering::Relaxed);
        let (count, least) = ((old >> 48) + 1, lesser(old & NS, ns.min(NS)));
        if count < BOUND_WINDOW && self.mean.load(Ordering::Relaxed) != 0 {
            self.bound.store(count << 48 | least, Ordering::Relaxed);
        } else {
            self.bound.store(0, Ordering::Relaxed);
            let few = self.samples.load(Ordering::Relaxed) < 2 * YOUNG;
            blend(&self.mean, least, few);
        }
        self.count(ns);
    }

    fn count(&self, ns: u64) {
        let now = lesser(self.least_now.load(Ordering::Relaxed), ns);
        if (self.samples.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(WINDOW) {
            self.least.store(now, Ordering::Relaxed);
            self.least_now.store(0, Ordering::Relaxed);
        } else {
            self.least_now.store(now, Ordering::Relaxed);
        }
    }

    fn cost(&self) -> Option<u64> {
        let mean = self.mean.load(Ordering::Relaxed) >> 4;
        let least = lesser(
            self.least.load(Ordering::Relaxed),
            self.least_now.load(Ordering::Relaxed),
        );
        match (mean, least) {
            (0, 0) => None,
            // Only contended samples so far: the minimum contains the least of other tenants'
            // slices.
            (0, least) => Some(least),
            // The first launches of a kernel are slow (code is loaded, caches are cold). Until
            // there are more samples, the minimum says more than the average.
            (mean, least) if least != 0 && self.samples.load(Ordering::Relaxed) < YOUNG => {
                Some((mean + 3 * least.min(mean)) / 4)
            }
            (mean, _) => Some(mean),
        }
    }
}
