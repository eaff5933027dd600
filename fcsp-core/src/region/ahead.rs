//! The reservation cache: bytes that a process has reserved for later small requests.
//!
//! A small request costs one atomic change of a word of this process. The ledger would take two
//! changes of words that other processes change as well.
//!
//! Bytes in the cache are already counted in the ledger, so the tenant's sum is never too low. It
//! is too high by at most [`Ahead::MOST`] for each process. Unused bytes can be drained at any
//! time.
//!
//! ```text
//! ledger ──reserve──▶ Ahead ──take──▶ a small allocation
//!        ◀──release── surplus, drain ◀──give── its free
//! ```

use crate::sync::{AtomicU64, Ordering};

/// Bytes reserved in the cache by one process for one device. Any thread changes the word.
#[derive(Debug)]
// A cache line of its own: every small request writes it, and reads the words next to it.
#[repr(align(64))]
pub struct Ahead(AtomicU64);

impl Ahead {
    /// Bytes that are reserved at once, and that remain when a surplus is released.
    pub const CHUNK: u64 = 256 << 10;
    /// Most bytes that the cache may hold between two requests.
    pub const MOST: u64 = 2 * Self::CHUNK;

    /// Creates an empty cache.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Creates an empty cache.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns true if the cache is empty.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Relaxed: the answer may be old by the time it is used, whatever the ordering.
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Takes `bytes` for a request, if the cache has them.
    #[inline]
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        while now >= bytes {
            // Acquire: another thread may have reserved the bytes, and the driver is called only
            // after that. Release: as in `give`.
            match self.0.compare_exchange_weak(
                now,
                now - bytes,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Adds bytes that the ledger counts and nothing uses. Returns the surplus, which the caller
    /// must release.
    #[inline]
    #[must_use = "the surplus is held by nobody"]
    pub fn give(&self, bytes: u64) -> u64 {
        // Release: the driver had freed them, or the ledger had them reserved, before another
        // thread takes them.
        let now = self.0.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if now <= Self::MOST {
            0
        } else {
            self.keep(Self::CHUNK)
        }
    }

    /// Empties the cache. The caller must release the bytes.
    #[must_use = "what is taken out is held by nobody"]
    pub fn drain(&self) -> u64 {
        self.keep(0)
    }

    /// Takes out the bytes above `left`.
    #[cold]
    fn keep(&self, left: u64) -> u64 {
        let mut now = self.0.load(Ordering::Relaxed);
        while now > left {
            match self
                .0
                .compare_exchange_weak(now, left, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return now - left,
                Err(other) => now = other,
            }
        }
        0
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_there_is_not_taken() {
        let ahead = Ahead::new();
        assert!(ahead.is_empty() && !ahead.take(1));
        assert_eq!(ahead.give(4096), 0);
        assert!(!ahead.take(4097) && ahead.take(4096));
        assert!(ahead.is_empty());
    }

    #[test]
    fn a_surplus_comes_out_and_a_chunk_stays() {
        let ahead = Ahead::new();
        assert_eq!(ahead.give(Ahead::MOST), 0);
        assert_eq!(ahead.give(512), Ahead::MOST + 512 - Ahead::CHUNK);
        assert_eq!(ahead.drain(), Ahead::CHUNK);
        assert_eq!(ahead.drain(), 0);
    }

    proptest! {
        /// Checks that each byte that was put in is in the cache, in use, or was returned.
        #[test]
        fn nothing_is_lost_or_invented(steps in prop::collection::vec((0u8..4, 1u64..128), 0..200)) {
            let ahead = Ahead::new();
            let (mut held, mut in_use) = (0u64, Vec::new());
            for (what, units) in steps {
                let bytes = units * 512;
                match what {
                    0 => {
                        held += Ahead::CHUNK;
                        held -= ahead.give(Ahead::CHUNK);
                    }
                    1 => {
                        if ahead.take(bytes) {
                            in_use.push(bytes);
                        }
                    }
                    2 => {
                        if let Some(bytes) = in_use.pop() {
                            held -= ahead.give(bytes);
                        }
                    }
                    _ => held -= ahead.drain(),
                }
                let used: u64 = in_use.iter().sum();
                prop_assert!(held >= used && held - used <= Ahead::MOST);
            }
            held -= ahead.drain();
            prop_assert_eq!(held, in_use.iter().sum::<u64>());
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;

    /// Checks that each byte stays in one place: one thread takes and gives back, another drains, a
    /// third adds.
    #[test]
    fn loom_every_byte_is_in_one_place() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let ahead = Arc::new(Ahead::new());
            assert_eq!(ahead.give(Ahead::CHUNK), 0);
            let user = {
                let ahead = ahead.clone();
                loom::thread::spawn(move || if ahead.take(512) { ahead.give(512) } else { 0 })
            };
            let giver = {
                let ahead = ahead.clone();
                loom::thread::spawn(move || ahead.give(Ahead::MOST))
            };
            let drained = ahead.drain();
            let out = drained + user.join().unwrap() + giver.join().unwrap();
            assert_eq!(out + ahead.drain(), Ahead::CHUNK + Ahead::MOST);
        });
    }
}
