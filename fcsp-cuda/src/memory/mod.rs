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

use core::ffi::c_void;

use fcsp_hook::backend::{Capture, DriverMemory};
use fcsp_hook::family::whole_pages;
use fcsp_hook::memory::pool::Pooled;
use fcsp_hook::memory::{Freed, graph as hook_graph, pieces, pool as hook_pool};

use self::vmm::PHYSICAL;
use crate::call_real;
use crate::ffi::cuda::{
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS,
    CUcontext, CUdeviceptr, CUmemorytype, CUresult,
};
use crate::vendor::{Cuda, Device, Record};

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
    if !Cuda::is_recording() {
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

/// Returns the kind of memory at an address, as far as the driver knows it: host memory of its own
/// is `CU_MEMORYTYPE_HOST`.
pub(crate) fn kind_of(address: CUdeviceptr) -> Option<CUmemorytype> {
    let _question = Cuda::beside_recordings();
    let mut kind: CUmemorytype = 0;
    (call_real!(cuPointerGetAttribute(
        (&raw mut kind).cast(),
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        address
    )) == CUDA_SUCCESS)
        .then_some(kind)
}

impl DriverMemory for Cuda {
    type Origin = vmm::Origin;

    fn with_block(_device: &Device, context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
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

    fn refresh(device: &Device) {
        hook_graph::refresh_with_pools(device);
        PHYSICAL.refresh(device);
    }

    fn reconcile_pools(device: &Device) {
        hook_graph::settle_with_pools(device);
    }

    fn reclaim(device: &Device) -> bool {
        hook_pool::reclaim(device)
    }

    fn leaves(_record: &Record, origin: &vmm::Origin) -> Freed {
        match origin {
            // The physical memory has an account of its own.
            vmm::Origin::Sparse(_) => Freed::NOTHING,
        }
    }

    fn context_died(context: usize) {
        pieces::context_died::<Self>(context);
    }

    #[inline]
    fn freed_untracked() {
        Self::pools().freed();
    }

    #[inline]
    fn after_synchronisation() {
        hook_pool::after_synchronisation::<Self>();
    }

    fn is_pageable(memory: *const c_void) -> bool {
        kind_of(memory.addr() as CUdeviceptr).is_none()
    }
}

/// Returns the bytes that the driver takes for a request of `bytes` that is no suballocation: whole
/// 2 MiB pages (measured, H100, driver 580). A request near 2^64 cannot be rounded up and cannot be
/// met.
pub fn pages(bytes: u64) -> u64 {
    whole_pages(bytes, 2 << 20)
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
