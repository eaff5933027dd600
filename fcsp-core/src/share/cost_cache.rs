//! The cost cache: costs and classes of recent kernels, two words each, so that a launch touches
//! one cache line of it.
//!
//! A driver call takes microseconds and leaves little of the caller's data in the nearest cache.
//! The cost of a launch wrapper is therefore counted in cache lines, not in instructions. The
//! tables of costs and functions know more, in more cache lines. Converged values are copied here,
//! and removed when they change.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::classify::Class;

/// Number of entries. A kernel whose entry another one has taken is looked up in the tables.
const ENTRIES: usize = 1024;
/// Bits of a cost in [`Entry::value`].
const COST_BITS: u32 = 40;
const COST_MASK: u64 = (1 << COST_BITS) - 1;
/// Bits of a class.
const CLASS_BITS: u32 = 8;
/// Position of the check.
const CHECK_SHIFT: u32 = COST_BITS + CLASS_BITS;

#[derive(Debug)]
#[repr(C, align(16))]
struct Entry {
    /// Key of the kernel; 0 for none.
    key: AtomicU64,
    /// `{check: 16 bits, class: 8 bits, cost in ns: 40 bits}`. The check is a part of the key. The
    /// two words are written separately, and a pair from two writers must not pass for an entry.
    value: AtomicU64,
}

/// Cache of converged costs and classes of recent kernels. All methods may be called from any
/// thread.
#[derive(Debug)]
pub struct CostCache {
    entries: Box<[Entry; ENTRIES]>,
}

impl Default for CostCache {
    fn default() -> Self {
        let entry = |_| Entry {
            key: AtomicU64::new(0),
            value: AtomicU64::new(0),
        };
        // Entry by entry on the heap: the stack of the thread that makes a gate may be smaller than
        // the array.
        let entries: Vec<Entry> = (0..ENTRIES).map(entry).collect();
        match Box::<[Entry; ENTRIES]>::try_from(entries.into_boxed_slice()) {
            Ok(entries) => Self { entries },
            Err(_) => unreachable!("as many as there are"),
        }
    }
}

fn check(key: u64) -> u64 {
    key >> 48
}

impl CostCache {
    #[inline(always)]
    fn entry(&self, key: u64) -> &Entry {
        // Keys are hashes: their middle bits are well distributed.
        &self.entries[(key >> 8) as usize % ENTRIES]
    }

    /// Returns the cost of `key` in ns and the code of its class, if the cache has them.
    #[inline(always)]
    pub fn get(&self, key: u64) -> Option<(u64, u64)> {
        // Relaxed: each word is checked against the other.
        let entry = self.entry(key);
        if entry.key.load(Ordering::Relaxed) != key {
            return None;
        }
        let value = entry.value.load(Ordering::Relaxed);
        (value >> CHECK_SHIFT == check(key))
            .then_some((value & COST_MASK, value >> COST_BITS & 0xff))
    }

    /// Stores the converged cost and class of `key`.
    pub fn put(&self, key: u64, class: Class, cost: u64) {
        let entry = self.entry(key);
        let value = check(key) << CHECK_SHIFT | (class as u64) << COST_BITS | cost.min(COST_MASK);
        // A reader between the stores finds a key without its check, or no entry.
        entry.value.store(0, Ordering::Relaxed);
        entry.key.store(key, Ordering::Release);
        entry.value.store(value, Ordering::Release);
    }

    /// Removes `key`, so that it is looked up in the tables again.
    pub fn forget(&self, key: u64) {
        let entry = self.entry(key);
        if entry.key.load(Ordering::Relaxed) == key {
            entry.value.store(0, Ordering::Relaxed);
        }
    }

    /// Removes all entries.
    pub fn clear(&self) {
        for entry in self.entries.iter() {
            entry.value.store(0, Ordering::Relaxed);
            entry.key.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::cost::{graph_key, kernel_key};
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn what_was_settled_is_found_until_it_changes() {
        let recent = CostCache::default();
        let key = kernel_key(0x7f00_1234_5670, 64);
        assert_eq!(recent.get(key), None);
        recent.put(key, Class::Gemm, 12_345);
        assert_eq!(recent.get(key), Some((12_345, Class::Gemm as u64)));
        recent.forget(key ^ 1 << 20);
        assert!(recent.get(key).is_some());
        recent.forget(key);
        assert_eq!(recent.get(key), None);
        recent.put(key, Class::Collective, u64::MAX);
        assert_eq!(recent.get(key), Some((COST_MASK, Class::Collective as u64)));
        recent.clear();
        assert_eq!(recent.get(key), None);
    }

    proptest! {
        /// Checks that the cache may forget a key, but never returns one key's values for another.
        #[test]
        fn never_speaks_of_another(steps in prop::collection::vec((0u64..4096, any::<bool>(), 1u64..1 << 39), 1..300)) {
            let (recent, mut told) = (CostCache::default(), HashMap::new());
            for (which, graph, cost) in steps {
                let key = if graph { graph_key(which << 4) } else { kernel_key(which << 4, 1) };
                if let Some((known, _)) = recent.get(key) {
                    prop_assert_eq!(Some(&known), told.get(&key));
                }
                recent.put(key, Class::Other, cost);
                told.insert(key, cost);
                prop_assert_eq!(recent.get(key), Some((cost, Class::Other as u64)));
            }
        }
    }
}
