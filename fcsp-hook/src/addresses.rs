//! The device's address space, 2 MiB page by page: what a free must give back, found in one cache
//! line.
//!
//! A table of two levels over 49-bit addresses, made as it is touched and never taken apart: the
//! first level has a pointer for each 32 GiB, the second 16 bytes for each page. Nothing is locked:
//! an entry is a word that is exchanged. After a driver call of tens of microseconds what is felt
//! is not instructions but lines that have gone cold, and threads that allocate at once must not
//! queue behind one another in here.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Bytes of a page. Large allocations begin at one on every device seen so far; others are kept
/// elsewhere.
pub const PAGE: u64 = 2 << 20;
const LEVEL_BITS: u32 = 14;
const FAN: usize = 1 << LEVEL_BITS;
const PAGE_BITS: u32 = PAGE.trailing_zeros();

/// What is known of one page.
#[derive(Debug)]
#[repr(C)]
pub struct Entry {
    /// The allocation that begins here, as [`crate::memory`] packs it; 0 for none.
    pub whole: AtomicU64,
    /// What the backend keeps of the page, never freed.
    pub own: AtomicPtr<core::ffi::c_void>,
}

type Leaf = [Entry; FAN];
type Root = [AtomicPtr<Leaf>; FAN];

/// The table. Empty until it is first written.
#[derive(Debug)]
pub struct Addresses {
    root: AtomicPtr<Root>,
}

/// What stands at `place`, made of zeros if nothing does. `None` without memory.
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
        // SAFETY: just made and never freed; both kinds of table are made of atomics, for which
        // zero is a value.
        Ok(_) => Some(unsafe { &*mine }),
        Err(theirs) => {
            // SAFETY: nobody has seen ours.
            unsafe { dealloc(mine.cast(), layout) };
            // SAFETY: published by this function, never freed.
            Some(unsafe { &*theirs })
        }
    }
}

/// The places of an address in the two levels; `None` beyond 49 bits.
#[inline(always)]
fn places(address: u64) -> Option<(usize, usize)> {
    let page = address >> PAGE_BITS;
    let upper = (page >> LEVEL_BITS) as usize;
    (upper < FAN).then_some((upper, page as usize % FAN))
}

impl Addresses {
    /// An empty table.
    pub const fn new() -> Self {
        Self {
            root: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// The entry of the page that `address` lies in, if anything was ever entered near it.
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

    /// The entry of the page that `address` lies in. `None` beyond 49 bits and without memory.
    #[inline]
    pub fn entry(&self, address: u64) -> Option<&'static Entry> {
        let (upper, lower) = places(address)?;
        Some(&made(&made(&self.root)?[upper])?[lower])
    }

    /// Every entry that was ever near one in use, with the address of its page.
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

    /// In a forked child: an empty table.
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
