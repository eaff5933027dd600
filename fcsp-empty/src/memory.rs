//! Everything that takes or gives back device memory.

use core::convert::Infallible;
use core::ffi::c_void;

use fcsp_hook::backend::DriverMemory;
use fcsp_hook::memory::{self, Freed, Request};
use fcsp_hook::setup::catch_panic;

use crate::call_real;
use crate::ffi::*;
use crate::vendor::{Empty, Record};

/// `emptyAlloc`: whole pages.
pub unsafe extern "C" fn emptyAlloc(address: *mut *mut c_void, bytes: usize) -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        let pages = (bytes.max(1) as u64)
            .checked_next_multiple_of(4096)
            .unwrap_or(u64::MAX);
        let request = Request {
            what: "emptyAlloc",
            bytes: pages,
            counted: true,
        };
        memory::allocate_here::<Empty>(
            request,
            || call_real!(emptyAlloc(address, bytes)),
            // SAFETY: read after the driver has written there with success.
            || unsafe { *address } as u64,
            || pages,
            |address| call_real!(emptyFree(address as *mut c_void)),
        )
    })
}

/// `emptyFree`.
pub unsafe extern "C" fn emptyFree(address: *mut c_void) -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        memory::free::<Empty>(address as u64, || call_real!(emptyFree(address)))
    })
}

impl DriverMemory for Empty {
    type Origin = Infallible;

    fn leaves(_record: &Record, origin: &Infallible) -> Freed {
        match *origin {}
    }

    fn stays(_record: &Record, origin: &Infallible, _given: Freed) {
        match *origin {}
    }
}
