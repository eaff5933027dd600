//! `synDeviceMalloc` and `synDeviceFree`. What recipes need (workspace, tensors) programs allocate
//! here, too.

use fcsp_hook::memory::{self, Request};
use fcsp_hook::setup::catch_panic;

use crate::call_real;
use crate::ffi::synapse::*;
use crate::vendor::{DEVICE, Gaudi};

/// Buffers begin at multiples of this.
const ALIGNMENT: u64 = 128;

/// `synDeviceMalloc`.
pub unsafe extern "C" fn synDeviceMalloc(
    deviceId: synDeviceId,
    size: u64,
    reqAddr: u64,
    flags: u32,
    buffer: *mut u64,
) -> synStatus {
    catch_panic(synFail, || {
        let bytes = size
            .max(1)
            .checked_next_multiple_of(ALIGNMENT)
            .unwrap_or(u64::MAX);
        let request = Request {
            what: "synDeviceMalloc",
            bytes,
            counted: true,
        };
        let call = || call_real!(synDeviceMalloc(deviceId, size, reqAddr, flags, buffer));
        // SAFETY: read after Synapse has written there with success.
        let address = || unsafe { *buffer };
        let free = |address| call_real!(synDeviceFree(deviceId, address, 0));
        let result = memory::allocate_here::<Gaudi>(request, call, address, || bytes, free);
        let usable = || size > 0 && !buffer.is_null() && deviceId == DEVICE;
        memory::or_wrong_argument::<Gaudi>(result, usable, call, || {
            free(address());
        })
    })
}

/// `synDeviceFree`.
pub unsafe extern "C" fn synDeviceFree(
    deviceId: synDeviceId,
    buffer: u64,
    flags: u32,
) -> synStatus {
    catch_panic(synFail, || {
        memory::free::<Gaudi>(buffer, || {
            call_real!(synDeviceFree(deviceId, buffer, flags))
        })
    })
}
