//! The allocation table by address: a radix tree of two levels over the device's address space, in
//! spans of 2 MiB. A free finds the bytes to release in one cache line.
//!
//! The tree covers 49-bit addresses. It is made as it is touched and never taken apart. The first
//! level has a pointer for each 32 GiB, the second 16 bytes for each span. There is no lock: an
//! entry is a word that is exchanged. After a driver call of tens of microseconds, cold cache lines
//! cost more than instructions. Threads that allocate at once must not queue here.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Bytes of a span. On every device seen so far, large allocations begin at one; others are
/// recorded elsewhere.
pub const PAGE: u64 = 2 << 20;
/// Bits of an address that one level resolves.
const LEVEL_BITS: u32 = 14;
/// Entries of one table.
const FAN: usize = 1 << LEVEL_BITS;
/// Bits of an address within a span.
const PAGE_BITS: u32 = PAGE.trailing_zeros();

/// Record of one span. Any thread exchanges its words.
#[derive(Debug)]
#[repr(C)]
pub struct Entry {
    /// The allocation that begins here, as [`crate::memory`] packs it; 0 for none.
    pub whole: AtomicU64,
    /// The backend's record of the span, never freed.
    pub own: AtomicPtr<core::ffi::c_void>,
}

type Leaf = [Entry; FAN];
type Root = [AtomicPtr<Leaf>; FAN];

/// The tree. Empty until it is first written.
#[derive(Debug)]
pub struct Addresses {
    /// First level; null until it is made.
    root: AtomicPtr<Root>,
}

/// Returns the table at `place`, and makes one of zeros if there is none. Returns `None` without
/// memory.
fn made<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    // Acquire: made before its address was published.
    let known = place.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: tables are never freed.
        return Some(unsafe { &*known });
    }
    make(place)
}

#[cold]
fn make<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    let layout = Layout::new::<T>();
    // SAFETY: no table is of size zero.
    let mine = unsafe { alloc_zeroed(layout) }.cast::<T>();
    if mine.is_null() {
        return None;
    }
    match place.compare_exchange(
        core::ptr::null_mut(),
        mine,
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        // SAFETY: just made and never freed. Both kinds of table are made of atomics, for which
        // zero is a value.
        Ok(_) => Some(unsafe { &*mine }),
        Err(theirs) => {
            // SAFETY: no other thread has seen this one.
            unsafe { dealloc(mine.cast(), layout) };
            // SAFETY: published by this function, never freed.
            Some(unsafe { &*theirs })
        }
    }
}

/// Returns the positions of an address in the two levels; `None` beyond 49 bits.
#[inline(always)]
fn places(address: u64) -> Option<(usize, usize)> {
    let page = address >> PAGE_BITS;
    let upper = (page >> LEVEL_BITS) as usize;
    (upper < FAN).then_some((upper, page as usize % FAN))
}

impl Addresses {
    /// Creates an empty tree.
    pub const fn new() -> Self {
        Self {
            root: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Finds the entry of the span that contains `address`, if its table was ever made.
    #[inline]
    pub fn find(&self, address: u64) -> Option<&'static Entry> {
        let (upper, lower) = places(address)?;
        // SAFETY: tables are never freed. Acquire, here and below: made before its address was
        // published.
        let root = unsafe { self.root.load(Ordering::Acquire).as_ref() }?;
        // SAFETY: as above.
        let leaf = unsafe { root[upper].load(Ordering::Acquire).as_ref() }?;
        Some(&leaf[lower])
    }

    /// Returns the entry of the span that contains `address`, and makes its table if needed.
    /// Returns `None` beyond 49 bits and without memory.
    #[inline]
    pub fn entry(&self, address: u64) -> Option<&'static Entry> {
        let (upper, lower) = places(address)?;
        Some(&made(&made(&self.root)?[upper])?[lower])
    }

    /// Visits every entry of every table, with the address of its span.
    pub fn for_each(&self, mut visit: impl FnMut(u64, &'static Entry)) {
        // SAFETY: as in `find`.
        let Some(root) = (unsafe { self.root.load(Ordering::Acquire).as_ref() }) else {
            return;
        };
        for (upper, leaf) in root.iter().enumerate() {
            // SAFETY: as in `find`.
            let Some(leaf) = (unsafe { leaf.load(Ordering::Acquire).as_ref() }) else {
                continue;
            };
            for (lower, entry) in leaf.iter().enumerate() {
                let page = (upper << LEVEL_BITS | lower) as u64;
                visit(page << PAGE_BITS, entry);
            }
        }
    }

    /// Empties the tree in a forked child.
    pub fn forget(&self) {
        self.root.store(core::ptr::null_mut(), Ordering::Release);
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_apart_and_addresses_in_one_are_not() {
        let table = Addresses::new();
        assert!(table.find(0x7f00_0000_0000).is_none());
        let page = 0x7f00_0020_0000;
        table.entry(page).unwrap().whole.store(7, Ordering::Relaxed);
        assert_eq!(
            table
                .find(page + PAGE - 1)
                .unwrap()
                .whole
                .load(Ordering::Relaxed),
            7
        );
        assert_eq!(
            table
                .find(page + PAGE)
                .unwrap()
                .whole
                .load(Ordering::Relaxed),
            0
        );
        assert!(
            table.find(page + (1 << 40)).is_none(),
            "nothing is near there"
        );
        let mut seen = Vec::new();
        table.for_each(|at, entry| {
            if entry.whole.load(Ordering::Relaxed) != 0 {
                seen.push(at);
            }
        });
        assert_eq!(seen, [page]);
        table.forget();
        assert!(table.find(page).is_none());
    }

    #[test]
    fn what_lies_beyond_the_table_is_nowhere() {
        let table = Addresses::new();
        assert!(table.entry(1 << 49).is_none() && table.entry(u64::MAX).is_none());
        assert!(table.entry((1 << 49) - 1).is_some());
    }
}
