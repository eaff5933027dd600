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

use crate::call_real;
use crate::ffi::hip::{hipDevice_t, hipError_t, hipSuccess};

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
    if !graph::capturing() {
        return None;
    }
    let mut nothing = core::ptr::null_mut();
    match call_real!(hipMalloc(&mut nothing, 0)) {
        hipSuccess => None,
        code => Some(code),
    }
}

/// Creates new records in a forked child. The old ones may hold locks of threads that do not exist
/// there.
pub fn forget_everything() {
    vmm::PHYSICAL.forget_in_child();
    pool::POOLS.forget_in_child();
    graph::GRAPHS.forget_in_child();
}

/// Takes `bytes` on a device from the runtime, calls `look`, and gives them back. Returns whether
/// they were taken: only on the calling thread's device.
pub fn with_block(ordinal: hipDevice_t, bytes: u64, look: &mut dyn FnMut()) -> bool {
    let mut current = -1;
    if call_real!(hipGetDevice(&mut current)) != hipSuccess || current != ordinal {
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

/// Returns the bytes that the driver takes for a request of `bytes` above 1 MiB: whole 2 MiB pages.
/// Any smaller page would need less (no AMD device was available to measure). A request near 2^64
/// cannot be rounded up and cannot be met.
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
