//! Kernels launched lately: their costs and classes, two words each, so that a launch touches one
//! cache line of it.
//!
//! A driver call takes microseconds and leaves little of the caller's data in the nearest cache:
//! what a launch adds is counted in lines touched, not in instructions. The tables of costs and of
//! functions know more, in more lines; what is settled about a kernel is copied here and taken out
//! again when it changes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::classify::Class;

/// Entries; a kernel that meets another in its place is looked up in the tables.
const ENTRIES: usize = 1024;
const COST_BITS: u32 = 40;
const COST_MASK: u64 = (1 << COST_BITS) - 1;
const CLASS_BITS: u32 = 8;
const CHECK_SHIFT: u32 = COST_BITS + CLASS_BITS;

#[derive(Debug)]
#[repr(C, align(16))]
struct Entry {
    key: AtomicU64,
    /// `{check: 16 bits, class: 8 bits, cost in ns: 40 bits}`. The check is a part of the key: the
    /// two words are written apart, and a pair of two writers must not pass for an entry.
    value: AtomicU64,
}

/// What is settled about the kernels launched lately. All methods may be called from any thread.
#[derive(Debug)]
pub struct Recent {
    entries: Box<[Entry; ENTRIES]>,
}

impl Default for Recent {
    fn default() -> Self {
        let entry = |_| Entry {
            key: AtomicU64::new(0),
            value: AtomicU64::new(0),
        };
        // Entry by entry in its place: a thread that makes a gate may have a stack smaller than the
        // array.
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

impl Recent {
    #[inline(always)]
    fn entry(&self, key: u64) -> &Entry {
        // Keys are hashes: their middle bits are as good as any.
        &self.entries[(key >> 8) as usize % ENTRIES]
    }

    /// The cost of `key` in ns and the code of its class, if they are settled and nobody else has
    /// taken the place.
    #[inline(always)]
    pub fn get(&self, key: u64) -> Option<(u64, u64)> {
        // Relaxed: the two words vouch for each other.
        let entry = self.entry(key);
        if entry.key.load(Ordering::Relaxed) != key {
            return None;
        }
        let value = entry.value.load(Ordering::Relaxed);
        (value >> CHECK_SHIFT == check(key))
            .then_some((value & COST_MASK, value >> COST_BITS & 0xff))
    }

    /// Remembers what is settled about `key`.
    pub fn put(&self, key: u64, class: Class, cost: u64) {
        let entry = self.entry(key);
        let value = check(key) << CHECK_SHIFT | (class as u64) << COST_BITS | cost.min(COST_MASK);
        // A reader between the two stores finds a key without its check, or none.
        entry.value.store(0, Ordering::Relaxed);
        entry.key.store(key, Ordering::Release);
        entry.value.store(value, Ordering::Release);
    }

    /// Forgets `key`: it is looked up in the tables again.
    pub fn forget(&self, key: u64) {
        let entry = self.entry(key);
        if entry.key.load(Ordering::Relaxed) == key {
            entry.value.store(0, Ordering::Relaxed);
        }
    }

    /// Forgets everything.
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
        let recent = Recent::default();
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
        /// A cache may have forgotten; it never tells of one key what was said of another.
        #[test]
        fn never_speaks_of_another(steps in prop::collection::vec((0u64..4096, any::<bool>(), 1u64..1 << 39), 1..300)) {
            let (recent, mut told) = (Recent::default(), HashMap::new());
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
