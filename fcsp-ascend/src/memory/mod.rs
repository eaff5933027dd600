//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | `aclrtMalloc` and its kin, `rtMalloc` and its kin, media memory, managed memory; frees |
//! | [`vmm`] | physical memory by handle and mapping |
//!
//! Imports (keys between processes, shareable handles) are the exporter's memory and are not
//! charged twice: those functions are not wrapped. A pointer that is not known here always goes to
//! the driver.

pub mod direct;
pub mod vmm;

use core::convert::Infallible;

use fcsp_hook::backend::DriverMemory;
use fcsp_hook::memory::Freed;

use crate::call_real;
use crate::ffi::acl::{ACL_MEM_MALLOC_HUGE_FIRST, ACL_SUCCESS};
use crate::vendor::{Ascend, AscendDevice, Record};

/// Up to here requests are served from small pages.
const SMALL: u64 = 1 << 20;
const SMALL_PAGE: u64 = 4 << 10;
const HUGE_PAGE: u64 = 2 << 20;
const HUGE1G_PAGE: u64 = 1 << 30;
/// Alignment of ACL, and its padding behind a request for reads beyond the end.
const ALIGN: u64 = 32;

/// Returns the bytes that the driver takes for `bytes`: pages of 4 KiB up to 1 MiB and of 2 MiB
/// above, as documented. A request for small pages only takes less; the difference is on the safe
/// side. A request near 2^64 cannot be rounded up and cannot be met.
pub fn pages(bytes: u64) -> u64 {
    let page = if bytes <= SMALL {
        SMALL_PAGE
    } else {
        HUGE_PAGE
    };
    bytes.checked_next_multiple_of(page).unwrap_or(u64::MAX)
}

/// Returns the same in pages of 1 GiB.
pub fn giant_pages(bytes: u64) -> u64 {
    bytes
        .checked_next_multiple_of(HUGE1G_PAGE)
        .unwrap_or(u64::MAX)
}

/// Returns the bytes that ACL asks of the runtime for `bytes`, by its published source.
pub fn padded(bytes: u64, behind: bool) -> u64 {
    let more = if behind { 2 * ALIGN } else { ALIGN };
    bytes
        .checked_add(more)
        .map_or(u64::MAX, |padded| (padded - 1) / ALIGN * ALIGN)
}

impl DriverMemory for Ascend {
    type Origin = Infallible;

    /// Takes the block only on the calling thread's device. `bytes` are a multiple of large pages.
    fn with_block(
        device: &AscendDevice,
        _context: usize,
        bytes: u64,
        look: &mut dyn FnMut(),
    ) -> bool {
        let mut current = -1;
        if call_real!(aclrtGetDevice(&mut current)) != ACL_SUCCESS || current != device.ordinal {
            return false;
        }
        let mut address = core::ptr::null_mut();
        // With what ACL puts behind a request that is all of the pages.
        let size = bytes.saturating_sub(2 * ALIGN) as usize;
        let taken =
            call_real!(aclrtMalloc(&mut address, size, ACL_MEM_MALLOC_HUGE_FIRST)) == ACL_SUCCESS;
        if taken {
            look();
            call_real!(aclrtFree(address));
        }
        taken
    }

    fn leaves(_record: &Record, origin: &Infallible) -> Freed {
        match *origin {}
    }

    fn stays(_record: &Record, origin: &Infallible, _given: Freed) {
        match *origin {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_documented() {
        for (asked, taken) in [
            (1, 4096),
            (4097, 8192),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, 2 << 20),
            ((2 << 20) + 1, 4 << 20),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(pages(asked), taken, "{asked}");
        }
    }

    #[test]
    fn pads_as_acl_does() {
        for (asked, behind, padded_to) in [
            (1, true, 64),
            (1, false, 32),
            (32, true, 64),
            (33, false, 64),
            (2 << 20, true, (2 << 20) + 32),
            (2 << 20, false, 2 << 20),
            (u64::MAX, true, u64::MAX),
        ] {
            assert_eq!(padded(asked, behind), padded_to, "{asked}");
        }
    }
}
