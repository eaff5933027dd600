//! What the driver holds for one process by the process's own account: one word, two atomic changes
//! around a driver call.
//!
//! The word is compared with what the management library says, to find what the driver takes for
//! itself. The two may only be compared while no call is under way and if none has come and gone in
//! between, so the word counts both.

use super::ledger::UNIT;
use crate::sync::{AtomicU64, Ordering};

const UNITS_BITS: u32 = 36;
const UNDER_WAY: u64 = 1 << UNITS_BITS;
const UNDER_WAY_MASK: u64 = ((1 << 10) - 1) << UNITS_BITS;
const CHANGE: u64 = 1 << (UNITS_BITS + 10);

/// A process's account on one device.
#[derive(Debug, Clone, Copy)]
pub struct Physical<'a>(pub &'a AtomicU64);

/// An account at one moment; equal values mean that nothing has happened in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u64);

impl Reading {
    /// Bytes of live allocations.
    pub fn bytes(self) -> u64 {
        bytes(self.0)
    }

    /// Whether no call is between its two changes.
    pub fn is_settled(self) -> bool {
        // A sum below zero has borrowed from the counts above it.
        self.0.wrapping_sub(signed_units(self.0)) & UNDER_WAY_MASK == 0
    }

    /// Returns the part of `by_driver` that the account lacks, bytes.
    pub fn not_in_account(self, by_driver: u64) -> u64 {
        let units = signed_units(self.0).cast_signed();
        by_driver.saturating_add_signed(units.saturating_mul(UNIT.cast_signed()).saturating_neg())
    }
}

/// The sum of units, which may be below zero: bytes that were taken out twice, as where a program
/// frees memory that another thread's reset has freed, must not spoil the counts for good.
fn signed_units(word: u64) -> u64 {
    const ABOVE: u32 = u64::BITS - UNITS_BITS;
    ((word << ABOVE).cast_signed() >> ABOVE).cast_unsigned()
}

/// The bytes that a word read from outside stands for.
pub fn bytes(word: u64) -> u64 {
    let units = signed_units(word).cast_signed();
    u64::try_from(units).unwrap_or(0) * UNIT
}

/// Whole units, so that what is entered can be taken out again.
fn units(bytes: i64) -> u64 {
    (bytes / UNIT.cast_signed()).cast_unsigned()
}

impl Physical<'_> {
    /// Before a driver call that may change what is held. At most 1 023 calls are under way at
    /// once.
    #[inline]
    pub fn begin(self) {
        // Acquire: the driver call must not move before it.
        self.0.fetch_add(UNDER_WAY, Ordering::Acquire);
    }

    /// After it: what is held has grown by `by` bytes, a multiple of [`UNIT`].
    #[inline]
    pub fn end(self, by: i64) {
        // Release: a reading that sees this sees what the call did.
        self.0.fetch_add(
            CHANGE.wrapping_sub(UNDER_WAY).wrapping_add(units(by)),
            Ordering::Release,
        );
    }

    /// What is held has changed by `by` bytes, a multiple of [`UNIT`]: known only after the call,
    /// or in the middle of one.
    #[inline]
    pub fn add(self, by: i64) {
        self.0
            .fetch_add(CHANGE.wrapping_add(units(by)), Ordering::Release);
    }

    /// The account now.
    #[inline]
    pub fn read(self) -> Reading {
        // Acquire: pairs with the Release of `end`.
        Reading(self.0.load(Ordering::Acquire))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pair_that_cancels_out_is_still_seen() {
        let word = AtomicU64::new(0);
        let account = Physical(&word);
        let before = account.read();
        account.begin();
        assert!(!account.read().is_settled());
        account.end(4096);
        account.begin();
        account.end(-4096);
        let after = account.read();
        assert!(after.is_settled() && after != before);
        assert_eq!(after.bytes(), 0);
    }

    #[test]
    fn bytes_taken_out_twice_do_not_spoil_the_counts() {
        let word = AtomicU64::new(0);
        let account = Physical(&word);
        account.add(-4096);
        let reading = account.read();
        assert!(reading.is_settled() && reading.bytes() == 0);
        assert_eq!(reading.not_in_account(8192), 12288);
        account.begin();
        assert!(!account.read().is_settled());
        account.end(4096 + 512);
        let reading = account.read();
        assert!(reading.is_settled() && reading.bytes() == 512);
        assert_eq!(reading.not_in_account(8192), 8192 - 512);
        assert_eq!(reading.not_in_account(0), 0);
    }

    proptest! {
        #[test]
        fn counts_what_is_added_and_taken(steps in prop::collection::vec((0u64..1 << 40, any::<bool>(), any::<bool>()), 0..100)) {
            let word = AtomicU64::new(0);
            let account = Physical(&word);
            let mut held: Vec<i64> = Vec::new();
            for (bytes, take, bracket) in steps {
                let by = match (take, held.pop()) {
                    (false, Some(bytes)) => -bytes,
                    (_, back) => {
                        held.extend(back);
                        let bytes = (bytes - bytes % UNIT).cast_signed() / 100 / 512 * 512;
                        held.push(bytes);
                        bytes
                    }
                };
                if bracket {
                    account.begin();
                    account.end(by);
                } else {
                    account.add(by);
                }
                prop_assert!(account.read().is_settled());
                prop_assert_eq!(account.read().bytes(), held.iter().sum::<i64>().cast_unsigned());
            }
        }
    }
}
