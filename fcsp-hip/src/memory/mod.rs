//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | `hipMalloc`, pitch, managed, `hipFree`; small pieces are charged by whole blocks |
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

use core::convert::Infallible;
use core::ffi::c_void;

use fcsp_hook::backend::{Capture, DriverMemory};
use fcsp_hook::family::whole_pages;
use fcsp_hook::memory::pool::Pooled;
use fcsp_hook::memory::{Freed, graph as hook_graph, pieces, pool as hook_pool};

use self::vmm::PHYSICAL;
use crate::call_real;
use crate::device::major;
use crate::ffi::hip::{
    hipError_t, hipMemoryType, hipMemoryTypeUnregistered, hipPointerAttribute_t, hipSuccess,
};
use crate::vendor::{Device, Hip, Record};

/// Largest request that is taken to be cut from a block of 2 MiB, which is freed with its last
/// piece. No AMD device was at hand: where blocks are cut otherwise, what is charged differs from
/// what is taken, and ROCm SMI's figure for the process puts that right.
pub const LARGEST_PIECE: u64 = 1 << 20;

/// Returns the code by which the runtime refuses allocations of this thread because of a capture;
/// `None` if it allows them.
///
/// The runtime looks at captures before arguments and sizes, and ends the captures that it refuses
/// for (`CHECK_STREAM_CAPTURE_SUPPORTED` in its published sources). A refusal for the quota's sake
/// must not come before that. An allocation of no bytes asks, and takes nothing.
pub(crate) fn forbidden_by_capture() -> Option<hipError_t> {
    if !Hip::is_recording() {
        return None;
    }
    let mut nothing = core::ptr::null_mut();
    match call_real!(hipMalloc(&mut nothing, 0)) {
        hipSuccess => None,
        code => Some(code),
    }
}

/// Returns the kind of memory at an address, as far as the runtime knows it. Before HIP 6 the kinds
/// had other numbers, and memory that it does not know was an error.
pub(crate) fn kind_of(address: *const c_void) -> Option<hipMemoryType> {
    if major() < 6 {
        return None;
    }
    let _question = Hip::beside_recordings();
    let mut known = hipPointerAttribute_t::zeroed();
    let result = call_real!(hipPointerGetAttributes(&mut known, address));
    (result == hipSuccess && known.type_ != hipMemoryTypeUnregistered).then_some(known.type_)
}

impl DriverMemory for Hip {
    type Origin = Infallible;

    /// Takes the block only on the calling thread's device.
    fn with_block(device: &Device, _context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
        let mut current = -1;
        if call_real!(hipGetDevice(&mut current)) != hipSuccess || current != device.ordinal {
            return false;
        }
        let mut address = core::ptr::null_mut();
        let taken = call_real!(hipMalloc(&mut address, bytes as usize)) == hipSuccess;
        if taken {
            look();
            call_real!(hipFree(address));
        }
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

    fn leaves(_record: &Record, origin: &Infallible) -> Freed {
        match *origin {}
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
        major() >= 6 && kind_of(memory).is_none()
    }
}

/// Returns the bytes that the driver takes for a request of `bytes` above 1 MiB: whole 2 MiB pages.
/// Any smaller page would need less (no AMD device was available to measure). A request near 2^64
/// cannot be rounded up and cannot be met.
pub fn pages(bytes: u64) -> u64 {
    whole_pages(bytes, 2 << 20)
}
