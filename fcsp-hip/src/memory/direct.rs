//! The runtime's own heap: `hipMalloc` in its kinds, pitched and managed memory, `hipFree`.

use core::ffi::c_void;

use fcsp_hook::memory::{self, Request, pieces};

use super::{LARGEST_PIECE, forbidden_by_capture, pages};
use crate::call_real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::vendor::{Hip, Reentry, Target, catch_panic, target_inside};

/// Reserves, calls the runtime, then records the allocation or releases. `minds` says whether the
/// runtime refuses this function during captures. `usable` says whether it would accept the
/// arguments except the size. `address` reads the result after the call, and `true_bytes` the size
/// if the runtime decides it.
fn allocate(
    bytes: u64,
    managed: bool,
    minds: bool,
    usable: impl Fn() -> bool,
    call: impl Fn() -> hipError_t,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> hipError_t {
    let result = allocate_counted(bytes, managed, &call, &address, true_bytes);
    if result == hipErrorOutOfMemory
        && minds
        && let Some(code) = forbidden_by_capture()
    {
        return code;
    }
    answered(memory::or_wrong_argument::<Hip>(
        result,
        usable,
        call,
        || {
            taken_back(address());
        },
    ))
}

fn allocate_counted(
    bytes: u64,
    managed: bool,
    call: impl Fn() -> hipError_t,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> hipError_t {
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    // Nothing is what is asked for: the runtime answers with no address, and nothing is to be
    // charged.
    if bytes == 0 {
        return call();
    }
    let (device, context) = match target_inside(&inside) {
        Target::Device(device, context) => (device, context),
        Target::PassThrough => return call(),
        Target::Deny => return hipErrorOutOfMemory,
    };
    if bytes <= LARGEST_PIECE && !managed {
        return pieces::allocate(
            device,
            context,
            "hipMalloc",
            bytes,
            call,
            address,
            true_bytes,
            taken_back,
        );
    }
    let request = Request {
        what: "hipMalloc",
        bytes: pages(bytes),
        counted: !managed,
    };
    // More than predicted if the runtime chose a wider pitch.
    let truly = || pages(true_bytes());
    memory::allocate(device, context, request, call, address, truly, taken_back)
}

fn taken_back(address: u64) -> hipError_t {
    call_real!(hipFree(address as *mut c_void))
}

/// Flags that `hipExtMallocWithFlags` knows: default, fine-grained, signal, uncached, contiguous
/// (`hip_runtime_api.h`).
const EXTENDED_FLAGS: [u32; 5] = [0, 1, 2, 3, 4];
/// Flags that `hipMallocManaged` knows: for all devices, for the host.
const MANAGED_FLAGS: [u32; 2] = [1, 2];

macro_rules! plain {
    ($($name:ident($ptr:ident, $size:ident $(, $arg:ident: $ty:ty)*) $managed:literal, $minds:literal, $usable:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($ptr: *mut *mut c_void, $size: usize $(, $arg: $ty)*) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                allocate(
                    $size as u64,
                    $managed,
                    $minds,
                    || !$ptr.is_null() && $usable,
                    || call_real!($name($ptr, $size $(, $arg)*)),
                    // SAFETY: read after the runtime has written there with success.
                    || unsafe { *$ptr } as u64,
                    || $size as u64,
                )
            })
        }
    )*};
}
plain! {
    hipMalloc(ptr, size) false, true, true;
    hipExtMallocWithFlags(ptr, sizeBytes, flags: u32) false, false, EXTENDED_FLAGS.contains(&flags);
    // Charged in full when it is asked for, though the runtime takes device memory only when it is
    // touched there.
    hipMallocManaged(dev_ptr, size, flags: u32) true, true, MANAGED_FLAGS.contains(&flags);
}

/// Returns the least bytes of a pitched allocation: rows are aligned to at least 256 bytes. The
/// runtime's own pitch is read after the call.
fn pitched(width: usize, rows: usize) -> u64 {
    width
        .checked_next_multiple_of(256)
        .and_then(|pitch| pitch.checked_mul(rows))
        .map_or(u64::MAX, |bytes| bytes as u64)
}

macro_rules! pitch {
    ($($name:ident($ptr:ident, $pitch:ident, $width:ident, $height:ident $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: charged by the pitch that the runtime returns.")]
        pub unsafe extern "C" fn $name(
            $ptr: *mut *mut c_void,
            $pitch: *mut usize,
            $width: usize,
            $height: usize
            $(, $arg: $ty)*
        ) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                allocate(
                    pitched($width, $height),
                    false,
                    true,
                    || !$ptr.is_null() && !$pitch.is_null(),
                    || call_real!($name($ptr, $pitch, $width, $height $(, $arg)*)),
                    // SAFETY: read after the runtime has written there with success.
                    || unsafe { *$ptr } as u64,
                    // SAFETY: as above.
                    || (unsafe { *$pitch } as u64).saturating_mul($height as u64),
                )
            })
        }
    )*};
}
pitch! {
    hipMallocPitch(ptr, pitch, width, height);
    hipMemAllocPitch(dptr, pitch, widthInBytes, height, elementSizeBytes: u32);
}

/// `hipMalloc3D`: rows of all slices at one pitch.
pub unsafe extern "C" fn hipMalloc3D(
    pitchedDevPtr: *mut hipPitchedPtr,
    extent: hipExtent,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let rows = extent.height.saturating_mul(extent.depth);
        allocate(
            pitched(extent.width, rows),
            false,
            true,
            || !pitchedDevPtr.is_null(),
            || call_real!(hipMalloc3D(pitchedDevPtr, extent)),
            // SAFETY: read after the runtime has written there with success.
            || unsafe { (*pitchedDevPtr).ptr } as u64,
            // SAFETY: as above.
            || (unsafe { (*pitchedDevPtr).pitch } as u64).saturating_mul(rows as u64),
        )
    })
}

/// `hipFree`. Of nothing it is how programs make the runtime start, which then takes memory for
/// itself.
pub unsafe extern "C" fn hipFree(ptr: *mut c_void) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        if ptr.is_null()
            && let Some(inside) = Reentry::enter()
            && matches!(target_inside(&inside), Target::Deny)
        {
            return answered(hipErrorOutOfMemory);
        }
        pieces::free::<Hip>(ptr as u64, || call_real!(hipFree(ptr)))
    })
}
