//! The driver account: the bytes that a process has obtained from the driver, by its own count. It
//! is one word, with two atomic changes around a driver call.
//!
//! The word is compared with the management library's figure to find what the driver takes for
//! itself. The comparison is valid only if no call is in progress and none happened in between, so
//! the word counts both.

use super::ledger::UNIT;
use crate::sync::{AtomicU64, Ordering};

const UNITS_BITS: u32 = 36;
const UNDER_WAY: u64 = 1 << UNITS_BITS;
const UNDER_WAY_MASK: u64 = ((1 << 10) - 1) << UNITS_BITS;
const CHANGE: u64 = 1 << (UNITS_BITS + 10);

/// Driver account of a process on one device.
#[derive(Debug, Clone, Copy)]
pub struct Physical<'a>(pub &'a AtomicU64);

/// Driver account at one moment. Equal values mean that nothing has happened in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u64);

impl Reading {
    /// Returns the bytes of live allocations.
    pub fn bytes(self) -> u64 {
        bytes(self.0)
    }

    /// Returns true if the account is quiescent: no driver call is in progress.
    pub fn is_settled(self) -> bool {
        // A negative sum has borrowed from the counts above it.
        self.0.wrapping_sub(signed_units(self.0)) & UNDER_WAY_MASK == 0
    }

    /// Returns the part of `by_driver` that the account lacks, bytes.
    pub fn not_in_account(self, by_driver: u64) -> u64 {
        let units = signed_units(self.0).cast_signed();
        by_driver.saturating_add_signed(units.saturating_mul(UNIT.cast_signed()).saturating_neg())
    }
}

/// Returns the sum of granules, which may be negative. Bytes may be subtracted twice, for example
/// if a program frees memory that another thread's reset has freed. That must not damage the counts
/// permanently.
fn signed_units(word: u64) -> u64 {
    const ABOVE: u32 = u64::BITS - UNITS_BITS;
    ((word << ABOVE).cast_signed() >> ABOVE).cast_unsigned()
}

/// Returns the bytes of a word that was read from outside.
pub fn bytes(word: u64) -> u64 {
    let units = signed_units(word).cast_signed();
    u64::try_from(units).unwrap_or(0) * UNIT
}

/// Returns whole granules, so that what is added can be subtracted again.
fn units(bytes: i64) -> u64 {
    (bytes / UNIT.cast_signed()).cast_unsigned()
}

impl Physical<'_> {
    /// Marks the begin of a driver call that may change the account. At most 1 023 calls may be in
    /// progress at once.
    #[inline]
    pub fn begin(self) {
        // Acquire: the driver call must not move before it.
        self.0.fetch_add(UNDER_WAY, Ordering::Acquire);
    }

    /// Marks the end of the call, which changed the account by `by` bytes, a multiple of [`UNIT`].
    #[inline]
    pub fn end(self, by: i64) {
        // Release: a reading that sees this sees the effect of the call.
        self.0.fetch_add(
            CHANGE.wrapping_sub(UNDER_WAY).wrapping_add(units(by)),
            Ordering::Release,
        );
    }

    /// Changes the account by `by` bytes, a multiple of [`UNIT`], after a call or in the middle of
    /// one.
    #[inline]
    pub fn add(self, by: i64) {
        self.0
            .fetch_add(CHANGE.wrapping_add(units(by)), Ordering::Release);
    }

    /// Reads the account.
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
