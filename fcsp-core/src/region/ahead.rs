//! Bytes that a process holds against its quota ahead of the small requests that will want them:
//! one word of the process's own, one atomic change a request, where the ledger takes two of words
//! that other processes change as well.
//!
//! What stands in here is counted in the ledger already, so the tenant's sum is never too low for
//! it; it is too high by at most [`Ahead::MOST`] a process, and what nobody takes can be drained at
//! any time.
//!
//! ```text
//! ledger ──reserve──▶ Ahead ──take──▶ a small allocation
//!        ◀──release── surplus, drain ◀──give── its free
//! ```

use crate::sync::{AtomicU64, Ordering};

/// Bytes held ahead by one process on one device.
#[derive(Debug)]
// A line of its own: it is written by every small request, and what lies beside it is read by every
// one.
#[repr(align(64))]
pub struct Ahead(AtomicU64);

impl Ahead {
    /// Bytes that are held at once, and that are left of a surplus.
    pub const CHUNK: u64 = 256 << 10;
    /// The most that may stand in here between two requests.
    pub const MOST: u64 = 2 * Self::CHUNK;

    /// Nothing held.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Nothing held.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether there is anything.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Relaxed: an answer that is old by the time it is used, whatever the ordering.
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Takes `bytes` for a request, if they are there.
    #[inline]
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        while now >= bytes {
            // Acquire: what is taken was held by another thread, maybe, and the driver is asked
            // only after that. Release: as in `give`.
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

    /// Puts in bytes that the ledger holds and nothing uses. Returns the surplus, which is out of
    /// here and which the caller must release.
    #[inline]
    #[must_use = "the surplus is held by nobody"]
    pub fn give(&self, bytes: u64) -> u64 {
        // Release: the driver had freed them, or the ledger held them, before another takes them.
        let now = self.0.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if now <= Self::MOST {
            0
        } else {
            self.keep(Self::CHUNK)
        }
    }

    /// Takes everything out, for the caller to release.
    #[must_use = "what is taken out is held by nobody"]
    pub fn drain(&self) -> u64 {
        self.keep(0)
    }

    /// Takes out what is above `left`.
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
        /// Whatever is done, what went in is in here, in use, or was handed back.
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

    /// One thread takes and gives back, another drains, a third gives a surplus: each byte is in
    /// one place.
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
