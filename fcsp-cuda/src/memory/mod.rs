//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | `cuMemAlloc`, pitch, managed, `cuMemFree` |
//! | [`pool`] | stream-ordered allocation and memory pools, charged by what a pool reserves |
//! | [`vmm`] | physical memory by handle and mapping |
//! | [`array`] | arrays and mipmaps |
//! | [`graph`] | memory nodes of graphs |
//!
//! Imports (IPC, external memory, shareable handles) are the exporter's memory and are not charged twice: those
//! functions are not wrapped. A pointer that is not known here always goes to the driver.

pub mod array;
pub mod direct;
pub mod graph;
pub mod pool;
pub mod vmm;

use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;

use fcsp_core::allocations::Allocations;

use crate::context::PrimaryContexts;
use crate::device::Device;
use crate::process::SetupOnce;

/// What is known of one live allocation.
#[derive(Clone)]
pub struct Record {
    /// The device that pays.
    pub device: &'static Device,
    /// The context it belongs to: it dies with it. Null for memory that outlives contexts.
    pub context: usize,
    /// Bytes held against the quota.
    pub bytes: u64,
    /// Where it came from.
    pub origin: Origin,
}

/// Where an allocation came from.
#[derive(Clone)]
pub enum Origin {
    /// The driver's own heap; NVML counts it.
    Direct,
    /// Managed memory: charged in full, not in NVML's figure for the process.
    Managed,
    /// A pool, which is charged as a whole.
    Pool(Arc<pool::Pool>),
    /// Physical memory mapped into a sparse array, kept alive by it.
    Sparse(Arc<vmm::Physical>),
}

/// This process's live allocations, by address or array handle.
pub struct Books {
    /// By device address or array handle.
    pub live: Allocations<Record>,
    /// Pools by handle.
    pub pools: pool::Pools,
    /// Physical memory by handle and mapping.
    pub physical: vmm::Books,
    /// Bytes of memory nodes by graph and executable graph.
    pub graphs: graph::Books,
    /// Primary contexts by device.
    pub primary: PrimaryContexts,
}

static BOOKS: AtomicPtr<Books> = AtomicPtr::new(core::ptr::null_mut());

/// The books, made on first use.
pub fn books() -> &'static Books {
    let known = BOOKS.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: books are leaked, never freed.
        return unsafe { &*known };
    }
    SetupOnce::publish(&BOOKS, || Books {
        live: Allocations::default(),
        pools: pool::Pools::default(),
        physical: vmm::Books::default(),
        graphs: graph::Books::default(),
        primary: PrimaryContexts::default(),
    })
}

/// In a forked child: a fresh page. The old one may hold locks of threads that do not exist here.
pub fn forget_everything() {
    BOOKS.store(core::ptr::null_mut(), Ordering::Release);
}

/// Forgets everything that lived in a context that is gone and gives its bytes back.
pub fn context_died(context: usize) {
    for record in books()
        .live
        .drain(|_, record| record.context == context && record.context != 0)
    {
        forget(&record);
    }
}

/// Gives back what a record held.
pub fn forget(record: &Record) {
    match &record.origin {
        Origin::Direct => {
            record.device.lost(record.bytes);
            record.device.release(record.bytes);
        }
        Origin::Managed => record.device.release(record.bytes),
        Origin::Pool(pool) => pool.returned(record.bytes),
        Origin::Sparse(_) => {}
    }
}

/// What the driver takes for a request of `bytes` (measured, H100, driver 580): up to 1 MiB it cuts from 2 MiB slabs
/// in steps of 512 bytes, above that it takes whole 2 MiB pages. The unused rest of slabs shows in the overhead.
pub fn rounded(bytes: u64) -> u64 {
    const PAGE: u64 = 2 << 20;
    if bytes <= 1 << 20 {
        bytes.next_multiple_of(512)
    } else {
        // A request near 2^64 cannot be rounded up and cannot be met either.
        bytes.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn rounds_as_the_driver_was_seen_to() {
        for (asked, taken) in [
            (1, 512),
            (512, 512),
            (513, 1024),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, 2 << 20),
            (3 << 19, 2 << 20),
            ((2 << 20) + 1, 4 << 20),
            (5 << 20, 6 << 20),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(rounded(asked), taken, "{asked}");
        }
    }
}
