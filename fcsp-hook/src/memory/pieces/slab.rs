//! One slab and its suballocations, without a lock.

use core::ffi::c_void;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};

use super::{GRAIN, SLAB};
use crate::addresses::Entry;

pub(super) const GRAINS: usize = (SLAB / GRAIN) as usize;
/// One suballocation, in [`Slab::state`]; the grains in use are below it.
const PIECE: u32 = 1 << 16;
const USED: u32 = PIECE - 1;

/// A span of the address space that is or was a slab. It is never freed: the driver divides the
/// same spans again and again.
#[repr(C)]
pub(super) struct Slab {
    /// `{suballocations: 16 bits, grains in use: 16 bits}`. ThreadFlag before `sizes`, and lowered
    /// after.
    pub(super) state: AtomicU32,
    /// The device that is charged, and the context with which it ends.
    pub(super) ordinal: AtomicI32,
    pub(super) context: AtomicUsize,
    /// Grains of the suballocation that begins at each grain; 0 for none.
    sizes: [AtomicU16; GRAINS],
}

impl Slab {
    /// Returns true if it has no suballocation, so that the next one opens it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.state.load(Ordering::Relaxed) < PIECE
    }

    /// Records a suballocation. Returns the number of slabs by which the charge changes: 1 for the
    /// first one.
    #[inline]
    pub(super) fn put(&self, grain: usize, grains: u16) -> i32 {
        // Relaxed, here and below: a thread that frees the suballocation has its address from the
        // thread that recorded it. The state is raised first and lowered last. It never says less
        // than the sizes, even if another thread removes the suballocation meanwhile.
        let before = self
            .state
            .fetch_add(PIECE + u32::from(grains), Ordering::Relaxed);
        let opens = i32::from(before < PIECE);
        // The driver gives an address to one thread at a time: no other thread records a
        // suballocation here meanwhile.
        if self.sizes[grain].load(Ordering::Relaxed) == 0 {
            self.sizes[grain].store(grains, Ordering::Relaxed);
            return opens;
        }
        opens - self.replace(grain, grains)
    }

    /// Records a suballocation in place of one whose free was not seen. Returns the number of slabs
    /// that this empties.
    #[cold]
    fn replace(&self, grain: usize, grains: u16) -> i32 {
        match self.sizes[grain].swap(grains, Ordering::Relaxed) {
            0 => 0,
            stale => i32::from(self.leave(stale)),
        }
    }

    /// Subtracts a suballocation whose size was taken. Returns true if it was the last one.
    #[inline]
    fn leave(&self, grains: u16) -> bool {
        self.state
            .fetch_sub(PIECE + u32::from(grains), Ordering::Relaxed)
            < 2 * PIECE
    }

    /// Removes a suballocation, if there is one. Returns its grains, and true if it was the last
    /// one.
    pub(super) fn take(&self, grain: usize) -> Option<(u16, bool)> {
        let size = &self.sizes[grain];
        // Of two frees of one address, one gets it.
        if size.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let grains = size.swap(0, Ordering::Relaxed);
        if grains == 0 {
            return None;
        }
        Some((grains, self.leave(grains)))
    }

    /// Removes all suballocations, each with its grain and its size in grains. Also returns the
    /// number of times that a last one left. Another thread may record one meanwhile, which then
    /// stays or opens the slab again.
    pub(super) fn take_all(&self) -> (Vec<(usize, u16)>, i32) {
        let (mut pieces, mut emptied) = (Vec::new(), 0);
        for at in 0..GRAINS {
            if let Some((grains, last)) = self.take(at) {
                pieces.push((at, grains));
                emptied += i32::from(last);
            }
        }
        (pieces, emptied)
    }

    /// Returns true if a suballocation of `grains` surely fits. The slab has another one of that
    /// size, so the driver divides it for that size, and there is a hole at a possible begin.
    pub(super) fn surely_fits(&self, grains: usize) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if state < PIECE || (state & USED) as usize + grains > GRAINS {
            return false;
        }
        // No driver aligns a suballocation to more than its size, rounded up to a power of two.
        let align = grains.next_power_of_two();
        let (mut alike, mut fits, mut hole_at, mut at) = (false, false, 0, 0);
        while at < GRAINS {
            let size = usize::from(self.sizes[at].load(Ordering::Relaxed));
            at += size.max(1);
            if size > 0 {
                alike |= size == grains;
                hole_at = at;
            }
            fits |= hole_at.next_multiple_of(align) + grains <= at;
        }
        alike && fits
    }
}

pub(super) fn slab_of(entry: &Entry) -> Option<&'static Slab> {
    // SAFETY: only ever set below, to a slab that is never freed. Acquire: it was made before.
    unsafe { entry.own.load(Ordering::Acquire).cast::<Slab>().as_ref() }
}

#[cold]
pub(super) fn make(own: &AtomicPtr<c_void>) -> Option<&'static Slab> {
    let layout = Layout::new::<Slab>();
    // SAFETY: a slab is not of size zero.
    let mine = unsafe { alloc_zeroed(layout) };
    if mine.is_null() {
        return None;
    }
    let stands = match own.compare_exchange(
        core::ptr::null_mut(),
        mine.cast(),
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => mine,
        Err(theirs) => {
            // SAFETY: no other thread has seen this one.
            unsafe { dealloc(mine, layout) };
            theirs.cast()
        }
    };
    // SAFETY: made of atomics, for which zero is a value; published and never freed.
    Some(unsafe { &*stands.cast::<Slab>() })
}
