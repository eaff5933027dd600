//! Live allocations by address or handle: what a free must give back, and where.
//!
//! Sharded by a hash of the key, each shard a short lock around a hash map: allocation calls take microseconds in the
//! driver, so an uncontended lock is not felt, and eight threads rarely meet in one of 64 shards. Never touched on the
//! launch path.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;

/// Mixes one 64-bit key; keys are addresses, whose low bits are zero.
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
        // The finaliser of MurmurHash3: every input bit reaches every output bit.
        let mut x = key;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.0 = x ^ (x >> 33);
    }
}

type Shard<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// A map from addresses or handles to what is known of them.
#[derive(Debug)]
pub struct Allocations<V> {
    shards: Box<[Mutex<Shard<V>>]>,
}

impl<V> Default for Allocations<V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl<V: Clone> Allocations<V> {
    fn shard(&self, key: u64) -> MutexGuard<'_, Shard<V>> {
        let mut hasher = KeyHasher::default();
        hasher.write_u64(key);
        // The top bits choose the shard; the map inside uses the low ones. A panic under the lock leaves the map
        // whole (nothing in here panics half-way), so poison is passed over.
        let index = (hasher.finish() >> 58) as usize;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers `value` under `key`; returns what stood there.
    pub fn insert(&self, key: u64, value: V) -> Option<V> {
        self.shard(key).insert(key, value)
    }

    /// Forgets `key`; returns what stood there.
    pub fn remove(&self, key: u64) -> Option<V> {
        self.shard(key).remove(&key)
    }

    /// What stands under `key`.
    pub fn get(&self, key: u64) -> Option<V> {
        self.shard(key).get(&key).cloned()
    }

    /// Changes what stands under `key`, or adds or removes it (`None` for absent).
    pub fn update<R>(&self, key: u64, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let mut shard = self.shard(key);
        let mut value = shard.remove(&key);
        let result = change(&mut value);
        if let Some(value) = value {
            shard.insert(key, value);
        }
        result
    }

    /// Forgets everything `matching` says yes to; returns it.
    pub fn drain(&self, mut matching: impl FnMut(u64, &V) -> bool) -> Vec<V> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let keys: Vec<u64> = shard
                .iter()
                .filter(|&(&key, value)| matching(key, value))
                .map(|(&key, _)| key)
                .collect();
            taken.extend(keys.into_iter().filter_map(|key| shard.remove(&key)));
        }
        taken
    }

    /// Every entry, one shard at a time.
    pub fn for_each(&self, mut visit: impl FnMut(u64, &V)) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (&key, value) in shard.iter() {
                visit(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
