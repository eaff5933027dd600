//! A table of live allocations by address or handle: what a free must release, and where.
//!
//! The table is sharded by a hash of the key. Each shard is a short lock around a hash map. The
//! lock is one atomic change and one store, in the same cache line as the map's header. After a
//! driver call, cold cache lines cost more than instructions. The launch path never uses the table.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Number of shards.
const SHARDS: usize = 64;
/// Attempts of a thread to lock a shard before it yields the processor: the holder may have been
/// preempted.
const PATIENCE: u32 = 200;

/// Hasher of one 64-bit key. Keys are addresses, whose low bits are zero.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        // The finaliser of MurmurHash3: every input bit affects every output bit.
        let mut x = key;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.0 = x ^ (x >> 33);
    }
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

#[derive(Debug)]
#[repr(align(64))]
struct Shard<V> {
    /// True while a thread holds the lock.
    taken: AtomicBool,
    /// Number of entries, written under the lock. An empty shard is thus found empty without the
    /// lock.
    len: AtomicUsize,
    /// The entries.
    map: UnsafeCell<Map<V>>,
}

// SAFETY: only the thread that has set `taken` touches the map, and values move between threads.
unsafe impl<V: Send> Sync for Shard<V> {}

struct Taken<'a, V>(&'a Shard<V>);

impl<V> Shard<V> {
    fn take(&self) -> Taken<'_, V> {
        let mut turns = 0;
        // Acquire pairs with the Release in `Taken::drop`.
        while self
            .taken
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            turns += 1;
            if turns < PATIENCE {
                core::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Taken(self)
    }
}

impl<V> Taken<'_, V> {
    fn map(&mut self) -> &mut Map<V> {
        // SAFETY: this thread has set `taken`, and the borrow ends before it is cleared.
        unsafe { &mut *self.0.map.get() }
    }
}

impl<V> Drop for Taken<'_, V> {
    fn drop(&mut self) {
        let len = self.map().len();
        // Relaxed: the Release below orders it. A thread that frees another thread's allocation has
        // learned of it from that thread.
        self.0.len.store(len, Ordering::Relaxed);
        self.0.taken.store(false, Ordering::Release);
    }
}

/// Map from addresses or handles to their records.
#[derive(Debug)]
pub struct Allocations<V> {
    shards: Box<[Shard<V>]>,
}

impl<V> Default for Allocations<V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| Shard {
                    taken: AtomicBool::new(false),
                    len: AtomicUsize::new(0),
                    map: UnsafeCell::default(),
                })
                .collect(),
        }
    }
}

impl<V: Clone> Allocations<V> {
    fn shard(&self, key: u64) -> &Shard<V> {
        let mut hasher = KeyHasher::default();
        hasher.write_u64(key);
        // The top bits choose the shard; the map inside uses the low ones.
        &self.shards[(hasher.finish() >> 58) as usize]
    }

    /// Inserts `value` under `key`. Returns the previous value.
    pub fn insert(&self, key: u64, value: V) -> Option<V> {
        self.shard(key).take().map().insert(key, value)
    }

    /// Removes `key`. Returns its value.
    pub fn remove(&self, key: u64) -> Option<V> {
        let shard = self.shard(key);
        if shard.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        shard.take().map().remove(&key)
    }

    /// Returns the value under `key`.
    pub fn get(&self, key: u64) -> Option<V> {
        self.shard(key).take().map().get(&key).cloned()
    }

    /// Changes the value under `key`, or adds or removes it (`None` for absent).
    pub fn update<R>(&self, key: u64, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let mut shard = self.shard(key).take();
        let map = shard.map();
        let mut value = map.remove(&key);
        let result = change(&mut value);
        if let Some(value) = value {
            map.insert(key, value);
        }
        result
    }

    /// Removes all entries for which `matching` returns true. Returns their values.
    pub fn drain(&self, mut matching: impl FnMut(u64, &V) -> bool) -> Vec<V> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.take();
            let map = shard.map();
            let keys: Vec<u64> = map
                .iter()
                .filter(|&(&key, value)| matching(key, value))
                .map(|(&key, _)| key)
                .collect();
            taken.extend(keys.into_iter().filter_map(|key| map.remove(&key)));
        }
        taken
    }

    /// Visits every entry, one shard at a time.
    pub fn for_each(&self, mut visit: impl FnMut(u64, &V)) {
        for shard in &self.shards {
            for (&key, value) in shard.take().map().iter() {
                visit(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn threads_find_what_they_left() {
        let map = Allocations::<u64>::default();
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let map = &map;
                scope.spawn(move || {
                    for round in 0..20_000u64 {
                        let key = (thread << 20) + (round % 64) * 512;
                        assert_eq!(map.insert(key, round), None);
                        assert_eq!(map.remove(key), Some(round));
                    }
                });
            }
        });
        map.for_each(|key, _| panic!("{key} is left"));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u64..64, 0u8..3, any::<u32>()), 0..200)) {
            let (ours, mut model) = (Allocations::<u32>::default(), HashMap::new());
            for (key, what, value) in steps {
                let key = key << 9;
                match what {
                    0 => prop_assert_eq!(ours.insert(key, value), model.insert(key, value)),
                    1 => prop_assert_eq!(ours.remove(key), model.remove(&key)),
                    _ => prop_assert_eq!(ours.get(key), model.get(&key).copied()),
                }
            }
            let mut seen = 0;
            ours.for_each(|key, value| { assert_eq!(model.get(&key), Some(value)); seen += 1; });
            prop_assert_eq!(seen, model.len());
            prop_assert_eq!(ours.drain(|_, value| value % 2 == 0).len(), model.values().filter(|v| **v % 2 == 0).count());
        }
    }
}
