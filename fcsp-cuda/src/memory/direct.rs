//! The driver's own heap: `cuMemAlloc`, pitched and managed memory, `cuMemFree`; with the 32-bit
//! ABI that the driver still exports.

use fcsp_hook::backend::Devices;
use fcsp_hook::memory::{self, Request, pieces};

use super::{LARGEST_PIECE, forbidden_by_capture, pages, without_address};
use crate::call_real;
use crate::ffi::cuda::*;
use crate::vendor::{Cuda, Reentry, Target, catch_panic, target_inside, target_of_device};

/// Reserves, calls the driver, then records the allocation or releases. `usable` says whether the
/// driver would accept the arguments except the size. `address` reads the result after the call,
/// and `true_bytes` the size if the driver decides it.
fn allocate(
    bytes: u64,
    managed: bool,
    usable: impl Fn() -> bool,
    call: impl Fn() -> CUresult,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> CUresult {
    let result = allocate_counted(bytes, managed, &call, &address, true_bytes);
    if result != CUDA_ERROR_OUT_OF_MEMORY {
        return result;
    }
    // Some wrong arguments are reported before captures, others after; only the driver, which is
    // called below, knows which. It also knows the answer for a thread without a context.
    // Suballocations have not checked for one.
    let has_context = || !is_piece(bytes, managed) || Cuda::current_context().is_some();
    let usable = bytes > 0 && usable() && has_context();
    if usable && let Some(code) = forbidden_by_capture() {
        return code;
    }
    memory::or_wrong_argument::<Cuda>(
        result,
        || usable,
        call,
        || {
            taken_back(address());
        },
    )
}

/// Returns true if the driver takes such a request from a slab.
fn is_piece(bytes: u64, managed: bool) -> bool {
    bytes <= LARGEST_PIECE && !managed
}

fn allocate_counted(
    bytes: u64,
    managed: bool,
    call: impl Fn() -> CUresult,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> CUresult {
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    // Few suballocations open a slab, and the context matters only then.
    let is_piece = is_piece(bytes, managed);
    let target = if is_piece {
        target_of_device(&inside)
    } else {
        target_inside(&inside)
    };
    let (device, context) = match target {
        Target::Device(device, context) => (device, context),
        Target::PassThrough => return call(),
        Target::Deny => return CUDA_ERROR_OUT_OF_MEMORY,
    };
    if is_piece {
        return pieces::allocate(
            device,
            context,
            "cuMemAlloc",
            bytes,
            call,
            address,
            true_bytes,
            taken_back,
        );
    }
    let request = Request {
        what: "cuMemAlloc",
        bytes: pages(bytes),
        counted: !managed,
    };
    // More than predicted if the driver chose a wider pitch.
    let truly = || pages(true_bytes());
    memory::allocate(device, context, request, call, address, truly, taken_back)
}

fn taken_back(address: u64) -> CUresult {
    call_real!(cuMemFree_v2(address))
}

/// `cuMemAlloc`.
pub unsafe extern "C" fn cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = allocate(
            bytesize as u64,
            false,
            || !dptr.is_null(),
            || call_real!(cuMemAlloc_v2(dptr, bytesize)),
            // SAFETY: read after the driver has written there with success.
            || unsafe { *dptr },
            || bytesize as u64,
        );
        // SAFETY: the caller's place.
        unsafe { without_address(result, dptr) }
    })
}

/// `cuMemAlloc` of the 32-bit ABI.
pub unsafe extern "C" fn cuMemAlloc(dptr: *mut CUdeviceptr_v1, bytesize: u32) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        allocate(
            u64::from(bytesize),
            false,
            || !dptr.is_null(),
            || call_real!(cuMemAlloc(dptr, bytesize)),
            // SAFETY: as in `cuMemAlloc_v2`.
            || u64::from(unsafe { *dptr }),
            || u64::from(bytesize),
        )
    })
}

/// Returns the least bytes of a pitched allocation: rows are aligned to 512 bytes (measured: width
/// 1 and 1000 rows give a pitch of 512).
fn pitched(width: u64, height: u64) -> u64 {
    width
        .checked_next_multiple_of(512)
        .and_then(|pitch| pitch.checked_mul(height))
        .unwrap_or(u64::MAX)
}

/// Sizes of the elements that a pitched row may have, in bytes, as documented.
fn is_element(bytes: u32) -> bool {
    [4, 8, 16].contains(&bytes)
}

/// `cuMemAllocPitch`: charged by the pitch that the driver returns.
pub unsafe extern "C" fn cuMemAllocPitch_v2(
    dptr: *mut CUdeviceptr,
    pPitch: *mut usize,
    WidthInBytes: usize,
    Height: usize,
    ElementSizeBytes: u32,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = allocate(
            pitched(WidthInBytes as u64, Height as u64),
            false,
            || !dptr.is_null() && !pPitch.is_null() && is_element(ElementSizeBytes),
            || {
                call_real!(cuMemAllocPitch_v2(
                    dptr,
                    pPitch,
                    WidthInBytes,
                    Height,
                    ElementSizeBytes
                ))
            },
            // SAFETY: as in `cuMemAlloc_v2`.
            || unsafe { *dptr },
            // SAFETY: as above.
            || (unsafe { *pPitch } as u64).saturating_mul(Height as u64),
        );
        // SAFETY: the caller's place.
        unsafe { without_address(result, dptr) }
    })
}

/// `cuMemAllocPitch` of the 32-bit ABI.
pub unsafe extern "C" fn cuMemAllocPitch(
    dptr: *mut CUdeviceptr_v1,
    pPitch: *mut u32,
    WidthInBytes: u32,
    Height: u32,
    ElementSizeBytes: u32,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        allocate(
            pitched(u64::from(WidthInBytes), u64::from(Height)),
            false,
            || !dptr.is_null() && !pPitch.is_null() && is_element(ElementSizeBytes),
            || {
                call_real!(cuMemAllocPitch(
                    dptr,
                    pPitch,
                    WidthInBytes,
                    Height,
                    ElementSizeBytes
                ))
            },
            // SAFETY: as in `cuMemAlloc_v2`.
            || u64::from(unsafe { *dptr }),
            // SAFETY: as above.
            || u64::from(unsafe { *pPitch }).saturating_mul(u64::from(Height)),
        )
    })
}

/// `cuMemAllocManaged`: charged in full when it is asked for, though the driver takes device memory
/// only when it is touched there.
pub unsafe extern "C" fn cuMemAllocManaged(
    dptr: *mut CUdeviceptr,
    bytesize: usize,
    flags: u32,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        allocate(
            bytesize as u64,
            true,
            || !dptr.is_null() && [CU_MEM_ATTACH_GLOBAL, CU_MEM_ATTACH_HOST].contains(&flags),
            || call_real!(cuMemAllocManaged(dptr, bytesize, flags)),
            // SAFETY: as in `cuMemAlloc_v2`.
            || unsafe { *dptr },
            || bytesize as u64,
        )
    })
}

/// `cuMemFree`.
pub unsafe extern "C" fn cuMemFree_v2(dptr: CUdeviceptr) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        pieces::free::<Cuda>(dptr, || call_real!(cuMemFree_v2(dptr)))
    })
}

/// `cuMemFree` of the 32-bit ABI.
pub unsafe extern "C" fn cuMemFree(dptr: CUdeviceptr_v1) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        pieces::free::<Cuda>(u64::from(dptr), || call_real!(cuMemFree(dptr)))
    })
}
