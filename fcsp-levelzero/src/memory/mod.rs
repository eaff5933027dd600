//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | device and shared memory |
//! | [`image`] | images |
//! | [`vmm`] | physical memory by handle and mapping |
//!
//! Imports (other processes' handles, external memory) are the exporter's memory and are not
//! charged twice.

pub mod direct;
pub mod image;
pub mod vmm;

use core::convert::Infallible;
use core::ffi::c_void;

use fcsp_hook::backend::DriverMemory;
use fcsp_hook::memory::Freed;

use crate::ffi::ze::*;
use crate::vendor::{Device, LevelZero, Record};
use crate::{call_real, device};

/// Pages of device memory: of allocations below [`LARGE_PAGE`], and of others. Intel's driver gives
/// device memory in these, and says so as the page size of an allocation.
const SMALL_PAGE: u64 = 64 << 10;
/// See [`SMALL_PAGE`].
const LARGE_PAGE: u64 = 2 << 20;

/// Returns the bytes that the driver takes for a request of `bytes`. A request near 2^64 cannot be
/// rounded up and cannot be met.
pub fn pages(bytes: u64) -> u64 {
    let page = if bytes < LARGE_PAGE {
        SMALL_PAGE
    } else {
        LARGE_PAGE
    };
    bytes.checked_next_multiple_of(page).unwrap_or(u64::MAX)
}

/// Returns the most that shared memory may take of the device: it moves there in large pages.
pub fn large_pages(bytes: u64) -> u64 {
    bytes
        .checked_next_multiple_of(LARGE_PAGE)
        .unwrap_or(u64::MAX)
}

/// Returns true if a chain of extensions says that the memory is imported.
///
/// # Safety
/// `next` is null or begins a chain of the API's structures, as a caller of the driver must
/// provide.
unsafe fn is_import(mut next: *const c_void) -> bool {
    // SAFETY: by this function's contract.
    while let Some(part) = unsafe { next.cast::<ze_base_desc_t>().as_ref() } {
        if matches!(
            part.stype,
            ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_FD
                | ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_WIN32
        ) {
            return true;
        }
        next = part.pNext;
    }
    false
}

impl DriverMemory for LevelZero {
    type Origin = Infallible;

    /// `bytes` are a multiple of large pages.
    fn with_block(device: &Device, context: usize, bytes: u64, look: &mut dyn FnMut()) -> bool {
        let Some(known) = device::by_ordinal(device.ordinal) else {
            return false;
        };
        let context = context as ze_context_handle_t;
        let desc = ze_device_mem_alloc_desc_t {
            stype: ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC,
            ..ze_device_mem_alloc_desc_t::zeroed()
        };
        let mut address = core::ptr::null_mut();
        let handle = known.handle as ze_device_handle_t;
        let taken = call_real!(zeMemAllocDevice(
            context,
            &desc,
            bytes as usize,
            0,
            handle,
            &mut address
        )) == ZE_RESULT_SUCCESS;
        if taken {
            look();
            call_real!(zeMemFree(context, address));
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
    fn requests_are_rounded_to_pages() {
        for (asked, taken) in [
            (1, 64 << 10),
            (64 << 10, 64 << 10),
            ((2 << 20) - 1, 2 << 20),
            (2 << 20, 2 << 20),
            ((2 << 20) + 1, 4 << 20),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(pages(asked), taken, "{asked}");
        }
        assert_eq!(large_pages(1), 2 << 20);
    }

    #[test]
    fn imports_are_recognised_behind_other_extensions() {
        let import = ze_base_desc_t {
            stype: ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_FD,
            pNext: core::ptr::null(),
        };
        let first = ze_base_desc_t {
            stype: 0x2_0001,
            pNext: (&raw const import).cast(),
        };
        // SAFETY: a chain of two structures and its end.
        unsafe {
            assert!(is_import((&raw const first).cast()));
            assert!(!is_import(core::ptr::null()));
        }
    }
}
