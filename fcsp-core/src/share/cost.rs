//! What a kernel costs: learned per key, read without a lock or an allocation.
//!
//! A key is a function handle hashed with the binary logarithm of its grid ([`kernel_key`]), or a
//! graph's identity ([`graph_key`]), forgotten when it is updated. A key keeps an exponential
//! average (one eighth) and the minimum of the current and the last window of [`WINDOW`] samples.
//! Samples taken while other tenants were active may contain their time slices: they feed a
//! separate average, and lower the minimum; the cost follows those of them that have none in them.
//! Until there is a sample, the cost is a guess from the size of the grid. What is still wrong is
//! put right by the signed correction at markers ([`crate::share::gate::Gate::true_up`]), so errors
//! do not add up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::WHOLE;

/// Samples in a window of the minimum.
pub const WINDOW: u64 = 64;
/// Samples below which a key's average is not yet believed.
const YOUNG: u64 = 16;
/// Slots looked at for a key before giving up.
const PROBES: usize = 16;
/// The key of a slot that was given up. No key of a kernel or graph but by a chance of one in 2^63.
const GIVEN_UP: u64 = u64::MAX;
/// Contended samples of which one at least is believed to be of undisturbed work.
const CALM_WINDOW: u64 = 16;
/// Samples that are bounds of which the least is believed.
const BOUND_WINDOW: u64 = 4;
/// Work for which that holds, ns: well below a slice of the device's own (2 ms), and long against
/// what timing adds.
const CALM_SPAN_NS: std::ops::Range<u64> = 20_000..800_000;
/// A cost is at least this, ns: what the front end needs for an empty kernel.
pub const MIN_COST_NS: u64 = 1_000;
/// A cost is at most this, ns.
pub const MAX_COST_NS: u64 = 60_000_000_000;

/// Mixes all bits of a word into all others (the finaliser of SplitMix64; a bijection).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The key of a kernel: its function handle and the magnitude of its grid. Never 0.
#[inline]
pub fn kernel_key(function: u64, blocks: u64) -> u64 {
    mix(function ^ (u64::from(blocks.max(1).ilog2()) << 56)) | 1
}

/// The key of a graph executable or of a kind of copy. Never 0, and even, as no kernel's is.
#[inline]
pub fn graph_key(graph: u64) -> u64 {
    (mix(!graph) & !1).max(2)
}

/// The key of kernels of this name, by a hash of it, and the magnitude of their grid. Odd, as all
/// kernels' are.
pub fn name_key(name: u32, blocks: u64) -> u64 {
    kernel_key(CONTENT | u64::from(name), blocks)
}

/// The key of graphs of this content, by a hash of it.
pub fn content_key(content: u32) -> u64 {
    graph_key(CONTENT | u64::from(content))
}

/// No handle has this bit: user addresses have 47.
const CONTENT: u64 = 1 << 50;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Entry {
    key: AtomicU64,
    /// The average, in sixteenths of a nanosecond so that an eighth of a small difference is not
    /// lost; 0 is none.
    mean: AtomicU64,
    contended: AtomicU64,
    /// The least of the last full window, ns; 0 is none.
    least: AtomicU64,
    /// The least of the current window so far, ns; 0 is none.
    least_now: AtomicU64,
    samples: AtomicU64,
    /// `{contended samples in this window that were odd: 8 bits, all of them: 8 bits, the least in
    /// ns: 48 bits}`. Odd are long ones, and for long work those that are far shorter than what is
    /// known.
    calm: AtomicU64,
    /// `{samples in this window that are bounds: 16 bits, the least of them in ns: 48 bits}`.
    bound: AtomicU64,
}

/// What a timed launch was seen to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// GPU time, ns.
    pub ns: u64,
    /// Whether that is what it took. Otherwise it took no more.
    pub exact: bool,
}

impl From<u64> for Sample {
    fn from(ns: u64) -> Self {
        Self { ns, exact: true }
    }
}

/// A table of learned costs for one device of one process.
#[derive(Debug)]
pub struct CostTable {
    entries: Box<[Entry]>,
    mask: usize,
    /// The average cost of a block, in 1/1024 ns, for guesses.
    per_block: AtomicU64,
    overflow: AtomicU64,
}

impl CostTable {
    /// A table for about `keys` kernels. It never grows: keys that find no room are guessed.
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
            // own. A slot that was given up does not end the search, one that was never taken does.
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
            // Two threads that claim slots for one key: the first in the order of probes is then
            // the one that is used.
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

    /// The learned cost of `key`, ns.
    #[inline]
    pub fn known(&self, key: u64) -> Option<u64> {
        self.find(key).and_then(Entry::cost)
    }

    /// The cost of `key`, ns: learned, or guessed from `blocks`.
    #[inline]
    pub fn cost(&self, key: u64, blocks: u64) -> u64 {
        self.known(key).unwrap_or_else(|| self.guess(blocks))
    }

    /// A guess for a kernel never measured: the launch itself, and what blocks cost on average so
    /// far.
    pub fn guess(&self, blocks: u64) -> u64 {
        let per_block = self.per_block.load(Ordering::Relaxed);
        (3_000 + ((u128::from(blocks.max(1)) * u128::from(per_block)) >> 10).min(2_000_000) as u64)
            .clamp(MIN_COST_NS, MAX_COST_NS)
    }

    /// Takes a sample for `key`. `blocks` is 0 where it means nothing; `contended` says that
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

    /// Puts the cost of `key` right by a measurement over many launches of this key alone: `exact`
    /// ns each. Far better than single samples, so it weighs more; one that is far off (a kernel
    /// whose work depends on its arguments) replaces what was known.
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
        // The average is believed from now on, however few samples there were: the least of a few
        // first ones says less.
        entry.samples.fetch_max(YOUNG, Ordering::Relaxed);
    }

    /// Forgets what was learned of `key`: a graph that was updated, or a handle that may be used
    /// again. Its slot is free.
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
            // Release: whoever claims the slot finds nothing of what was known.
            let _ = entry
                .key
                .compare_exchange(key, GIVEN_UP, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// How much longer work takes under contention than alone, ppm; `None` for a key without both
    /// kinds of samples.
    pub fn stretch(&self, key: u64) -> Option<u64> {
        let entry = self.find(key)?;
        let (mean, contended) = (
            entry.mean.load(Ordering::Relaxed),
            entry.contended.load(Ordering::Relaxed),
        );
        (mean != 0 && contended != 0)
            .then(|| (u128::from(contended) * u128::from(WHOLE) / u128::from(mean)) as u64)
    }

    /// How many times a key found no room.
    pub fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }
}

/// Moves an average towards a sample: by an eighth, and by no more than as if it were four times
/// the average. While there are `few` samples, those far below the average halve it: the first
/// launches of a kernel may take a hundred times as long as the others (code is loaded), and an
/// average would remember that for too long.
fn blend(word: &AtomicU64, ns: u64, few: bool) {
    let sample = ns << 4;
    // A sample lost to another thread's is a sample less; nothing depends on each one.
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
    /// Takes in a sample in which other tenants' slices may be. Those that have one in them are
    /// longer by a switch of contexts there and back at least, which is as much as such work takes:
    /// what is left says what the work takes now, with everybody busy and clocks as low as that
    /// makes them. On average, and not at best: clocks go up and down by a seventh within
    /// milliseconds where a device is held to its power. If next to nothing is left, the work has
    /// changed: the least of several in a row has no slice in it.
    fn learn_among_others(&self, ns: u64, exact: bool) {
        const NS: u64 = (1 << 48) - 1;
        const ODD_ONE: u64 = 1 << 56;
        const ONE: u64 = 1 << 48;
        let mean = self.mean.load(Ordering::Relaxed);
        let known = mean >> 4;
        let is_long_work = known >= CALM_SPAN_NS.end;
        let long = ns > known / 2 * 3;
        // Of long work most samples have slices in them. What is odd are those far below what is
        // known.
        let odd = if is_long_work {
            ns < known / 3 * 2
        } else {
            long
        };
        // What is too much in a bound is long against short work.
        let counts =
            CALM_SPAN_NS.contains(&known) || (exact && (1..CALM_SPAN_NS.end).contains(&known));
        if counts && !long {
            self.mean.store(mean - mean / 16 + ns, Ordering::Relaxed);
        }
        // A sample lost to another thread's is a sample less.
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
            // Never seen without others about: the least is what there is to begin with.
            if CALM_SPAN_NS.contains(&least) {
                self.mean.store(least << 4, Ordering::Relaxed);
            }
        } else if is_long_work {
            // Slices of others only add, and bounds are no less than the work. What was learned had
            // more in it: the host had been kept from its processor, and the device stood idle
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

    /// Takes in a sample that is a bound: what is too much in it differs from one to the next, so
    /// the least of several is the sample.
    fn learn_bound(&self, ns: u64) {
        const NS: u64 = (1 << 48) - 1;
        // A sample lost to another thread's is a sample less.
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
            // Only contended samples so far: the least of them has the least of others' slices in
            // it.
            (0, least) => Some(least),
            // The first launches of a kernel are slow (code is loaded, caches are cold): until
            // there are some more samples, the least says more than the average.
            (mean, least) if least != 0 && self.samples.load(Ordering::Relaxed) < YOUNG => {
                Some((mean + 3 * least.min(mean)) / 4)
            }
            (mean, _) => Some(mean),
        }
    }
}
