//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | `cuMemAlloc`, pitch, managed, `cuMemFree`; small pieces are charged by whole slabs |
//! | [`pool`] | stream-ordered allocation and memory pools, charged by what a pool reserves, not by allocation |
//! | [`vmm`] | physical memory by handle and mapping |
//! | [`mod@array`] | arrays and mipmaps |
//! | [`graph`] | memory nodes of graphs |
//!
//! Imports (IPC, external memory, shareable handles) are the exporter's memory and are not charged
//! twice: those functions are not wrapped. A pointer that is not known here always goes to the
//! driver.

pub mod array;
pub mod direct;
pub mod graph;
pub mod pool;
pub mod vmm;

use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;

use fcsp_hook::memory::physical::Physical;

use crate::call_real;
use crate::context::{Attached, PrimaryContexts};
use crate::ffi::cuda::{
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS, CUcontext, CUdeviceptr, CUresult,
};
use crate::process::{Cuda, SetupOnce};

/// Largest request that the driver takes from a slab of 2 MiB. A slab is freed with its last
/// suballocation. On an H100 with driver 580, requests of 1 to 2 MiB use what smaller ones leave of
/// a slab, and leave them the rest of theirs.
pub const LARGEST_PIECE: u64 = (2 << 20) - 1;

/// Returns the code by which the driver refuses any allocation of this thread because of a capture;
/// `None` if it allows them.
///
/// The driver looks at captures before arguments and sizes, and ends the capture that it refuses
/// for (measured, H200, driver 580). A refusal for the quota's sake must not come before that. An
/// allocation of no bytes asks, and takes nothing.
fn forbidden_by_capture() -> Option<CUresult> {
    if !graph::capturing() {
        return None;
    }
    let mut address = 0;
    match call_real!(cuMemAlloc_v2(&mut address, 0)) {
        CUDA_ERROR_INVALID_VALUE => None,
        code => Some(code),
    }
}

/// Passes `result` on. Without memory, or if a capture forbids the call, the driver writes a null
/// address to the caller's place, and so does a refusal. This was measured for `cuMemAlloc`,
/// `cuMemAllocPitch` and `cuMemAllocAsync` (H200, driver 580).
///
/// # Safety
///
/// `place` is null or the place for the caller's address.
unsafe fn without_address(result: CUresult, place: *mut CUdeviceptr) -> CUresult {
    let leaves_null = matches!(
        result,
        CUDA_ERROR_OUT_OF_MEMORY
            | CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            | CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
    );
    if leaves_null && !place.is_null() {
        // SAFETY: by this function's contract.
        unsafe { *place = 0 };
    }
    result
}

/// Origin of an allocation that is not simply from the driver's heap.
#[derive(Clone)]
pub enum Origin {
    /// Physical memory mapped into a sparse array, kept alive by it.
    Sparse(Arc<Physical<Cuda>>),
}

/// Records of this process's memory besides its live allocations.
pub struct Books {
    /// Primary contexts by device.
    pub primary: PrimaryContexts,
    /// Attachments to contexts.
    pub attached: Attached,
}

static BOOKS: AtomicPtr<Books> = AtomicPtr::new(core::ptr::null_mut());

/// Returns the records, made on first use.
pub fn books() -> &'static Books {
    // Acquire: made before their address was published.
    let known = BOOKS.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: the records are leaked, never freed.
        return unsafe { &*known };
    }
    SetupOnce::publish(&BOOKS, || Books {
        primary: PrimaryContexts::default(),
        attached: Attached::default(),
    })
}

/// Makes new records in a forked child. The old ones may hold locks of threads that do not exist
/// there.
pub fn forget_everything() {
    BOOKS.store(core::ptr::null_mut(), Ordering::Release);
    vmm::PHYSICAL.forget_in_child();
    pool::POOLS.forget_in_child();
    graph::GRAPHS.forget_in_child();
}

/// Takes `bytes` from the driver in `context`, calls `look`, and gives them back. Returns whether
/// they were taken.
pub fn with_block(context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
    if call_real!(cuCtxPushCurrent_v2(context as CUcontext)) != CUDA_SUCCESS {
        return false;
    }
    let mut address = 0;
    let taken = call_real!(cuMemAlloc_v2(&mut address, bytes as usize)) == CUDA_SUCCESS;
    if taken {
        look();
        call_real!(cuMemFree_v2(address));
    }
    let mut popped = core::ptr::null_mut();
    call_real!(cuCtxPopCurrent_v2(&mut popped));
    taken
}

/// Returns the bytes that the driver takes for a request of `bytes` that is no suballocation: whole
/// 2 MiB pages (measured, H100, driver 580). A request near 2^64 cannot be rounded up and cannot be
/// met.
pub fn pages(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(2 << 20).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::pages;

    #[test]
    fn rounds_as_the_driver_was_seen_to() {
        for (asked, taken) in [
            ((1 << 20) + 1, 2 << 20),
            (3 << 19, 2 << 20),
            ((2 << 20) + 1, 4 << 20),
            (5 << 20, 6 << 20),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(pages(asked), taken, "{asked}");
        }
    }
}
