//! Search for this process's entry in the management library's list of processes.
//!
//! The library lists processes by their numbers in the first PID namespace. A process in another
//! namespace does not know its number there, and a foreign process may be listed under its number
//! here. The entry is therefore found by an experiment: a block is allocated and freed, and one
//! entry rises and falls by exactly the block. That is done once, at the process's first context.
//! From then on the process is measured as on a host, and neither neighbours nor other threads
//! disturb its figure.

use core::sync::atomic::Ordering;

use fcsp_core::file::monotonic_ns;
use fcsp_core::memory::MemoryTracker;

use super::Device;
use crate::backend::Backend;

/// One entry of the management library's list of processes on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Process number, in the library's own namespace.
    pub number: u32,
    /// Bytes of the process; `None` if the library does not know them.
    pub bytes: Option<u64>,
}

/// Step of the tried sizes, in bytes: what every driver takes for a large request.
const BLOCK: u64 = 2 << 20;
/// Number of sizes, so that two processes that try at once can be told apart.
const SIZES: u64 = 8;
/// The largest block, in bytes.
pub(super) const LARGEST_BLOCK: u64 = BLOCK * SIZES;
/// Rounds that must agree on one entry.
const AGREE: u32 = 2;
/// Most rounds: a round in which another thread allocates is useless.
const ROUNDS: u64 = 6;

/// Returns the figures of all entries with one number, in order. Numbers of several namespaces may
/// be the same.
fn figures(list: &[Listed], number: u32) -> Vec<u64> {
    let entries = list.iter().filter(|entry| entry.number == number);
    let mut figures: Vec<u64> = entries.filter_map(|entry| entry.bytes).collect();
    figures.sort_unstable();
    figures
}

/// Returns true if one figure of `with` is one of `without` plus `bytes`, and the others are the
/// same.
fn differ_by(without: &[u64], with: &[u64], bytes: u64) -> bool {
    without.len() == with.len()
        && without.iter().any(|&one| {
            let mut raised = without.to_vec();
            if let Some(place) = raised.iter().position(|&figure| figure == one) {
                raised[place] = one.saturating_add(bytes);
            }
            raised.sort_unstable();
            raised == with
        })
}

/// Returns the numbers whose entries rose and fell by `bytes` between three readings of the list.
fn moved(before: &[Listed], with: &[Listed], after: &[Listed], bytes: u64) -> Vec<u32> {
    let mut numbers: Vec<u32> = with.iter().map(|entry| entry.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.retain(|&number| {
        let raised = figures(with, number);
        differ_by(&figures(before, number), &raised, bytes)
            && differ_by(&figures(after, number), &raised, bytes)
    });
    numbers
}

/// Returns the figure nearest to `expected` bytes of the entries with a number. Returns
/// `Some(None)` if the library does not know it, and `None` without such an entry.
fn nearest(list: &[Listed], number: u32, expected: u64) -> Option<Option<u64>> {
    let entries = || list.iter().filter(|entry| entry.number == number);
    let known = entries().filter_map(|entry| entry.bytes);
    match known.min_by_key(|bytes| bytes.abs_diff(expected)) {
        Some(bytes) => Some(Some(bytes)),
        None => entries().next().map(|_| None),
    }
}

impl<B: Backend> Device<B> {
    /// Finds this process's entry in the list, unless it is known or has this process's own number.
    /// `context` is a live context of this process on the device.
    pub fn find_entry(&self, context: usize) {
        if self.own_numbers || self.place().slot().listed.load(Ordering::Relaxed) != 0 {
            return;
        }
        let mut agreed: Option<(u32, u32)> = None;
        for round in 0..ROUNDS {
            let seed =
                monotonic_ns() ^ u64::from(std::process::id()).wrapping_mul(0x9e37_79b9) ^ round;
            let bytes = BLOCK * (1 + seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % SIZES);
            let numbers = match self.try_block(context, bytes) {
                Some(numbers) => numbers,
                // No list, or no memory for the block.
                None => return,
            };
            agreed = match (agreed, numbers.as_slice()) {
                (Some((number, times)), seen) if seen.contains(&number) => {
                    Some((number, times + 1))
                }
                (_, &[number]) => Some((number, 1)),
                (before, _) => before,
            };
            if let Some((number, AGREE)) = agreed {
                self.place().set_listed(number);
                return;
            }
        }
    }

    /// Allocates and frees a block. Returns the entries that changed with it, or `None` if it is
    /// impossible.
    fn try_block(&self, context: usize, bytes: u64) -> Option<Vec<u32>> {
        let before = B::listed(&self.identity)?;
        // The block counts like any other while it exists.
        self.memory.try_reserve_under(bytes, self.limit()).ok()?;
        let change = self.change();
        // Another thread's capture must not be disturbed.
        let beside = B::beside_recordings();
        let mut with = None;
        let taken = B::with_block(self, context, bytes, &mut || {
            with = B::listed(&self.identity)
        });
        drop(beside);
        drop(change);
        self.release(bytes);
        let after = B::listed(&self.identity)?;
        Some(moved(&before, &with.filter(|_| taken)?, &after, bytes))
    }

    /// Returns the bytes that the management library reports for this process; `None` if it does
    /// not know them.
    pub(super) fn held_by_driver(&self) -> Option<u64> {
        if self.own_numbers {
            return B::held_by_this_process(&self.identity);
        }
        let slot = self.place().slot();
        match slot.listed.load(Ordering::Relaxed) {
            // A backend without a list may know this process by other means.
            0 if !B::LISTS => B::held_by_this_process(&self.identity),
            0 => None,
            number => {
                let overhead = slot.overhead.load(Ordering::Relaxed);
                let expected = self.physical().read().bytes().saturating_add(overhead);
                // A process whose last context is gone is not listed: it holds nothing.
                nearest(&B::listed(&self.identity)?, number, expected).unwrap_or(Some(0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u32, u64)]) -> Vec<Listed> {
        let entry = |&(number, bytes)| Listed {
            number,
            bytes: Some(bytes),
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn the_entry_that_moves_with_the_block_is_found() {
        let before = list(&[(7, 100), (8, 50), (9, 70)]);
        let with = list(&[(7, 110), (8, 60), (9, 70)]);
        let after = list(&[(7, 100), (8, 60), (9, 70)]);
        assert_eq!(
            moved(&before, &with, &after, 10),
            [7],
            "8 did not fall again"
        );
        assert_eq!(moved(&before, &with, &after, 5), [0u32; 0]);
    }

    #[test]
    fn entries_of_one_number_are_told_apart() {
        let before = list(&[(7, 8000), (7, 100)]);
        let with = list(&[(7, 110), (7, 8000)]);
        assert_eq!(moved(&before, &with, &before, 10), [7]);
        assert_eq!(nearest(&before, 7, 120), Some(Some(100)));
        assert_eq!(nearest(&before, 7, 7000), Some(Some(8000)));
        assert_eq!(nearest(&before, 6, 0), None);
    }

    #[test]
    fn an_entry_without_a_figure_is_not_known() {
        let unknown = [Listed {
            number: 7,
            bytes: None,
        }];
        assert_eq!(nearest(&unknown, 7, 0), Some(None));
        assert_eq!(moved(&unknown, &unknown, &unknown, 10), [0u32; 0]);
    }
}
