//! The driver's own heap: `cuMemAlloc`, pitched and managed memory, `cuMemFree`; with the 32-bit ABI that the driver
//! still exports.

use super::{Origin, Record, books, forget, rounded};
use crate::call_real;
use crate::ffi::cuda::*;
use crate::process::{Inside, Scope, scope, shielded};

/// Hold, call, enter or roll back. `address` reads the result once the driver has written it, `pitched` gives the true
/// size where the driver decides it.
fn allocate(
    bytes: u64,
    origin: Origin,
    call: impl Fn() -> CUresult,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> CUresult {
    let Some(_inside) = Inside::enter() else {
        return call();
    };
    let (device, context) = match scope() {
        Scope::On(device, context) => (device, context),
        Scope::Pass => return call(),
        Scope::Refuse => return CUDA_ERROR_OUT_OF_MEMORY,
    };
    let mut held = rounded(bytes);
    if let Err(denied) = device.hold(held) {
        device.refused("cuMemAlloc", &denied);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    let change = device.change();
    let result = call();
    if result != CUDA_SUCCESS {
        drop(change);
        device.release(held);
        return result;
    }
    let truly = rounded(true_bytes());
    if truly > held {
        // The driver chose a wider pitch than could be foreseen.
        device.charge(truly - held);
    } else if truly < held {
        device.release(held - truly);
    }
    held = truly;
    if matches!(origin, Origin::Direct) {
        device.gained(held);
    }
    drop(change);
    let record = Record {
        device,
        context: context as usize,
        bytes: held,
        origin,
    };
    if let Some(stale) = books().live.insert(address(), record) {
        // The address was freed by a route that we did not see.
        forget(&stale);
    }
    if device.is_over() {
        // Only a pitch wider than foreseen gets here: give it back rather than exceed.
        return give_back_over_quota(address());
    }
    CUDA_SUCCESS
}

#[cold]
fn give_back_over_quota(address: u64) -> CUresult {
    if call_real!(cuMemFree_v2(address)) == CUDA_SUCCESS
        && let Some(record) = books().live.remove(address)
    {
        let change = record.device.change();
        forget(&record);
        drop(change);
    }
    CUDA_ERROR_OUT_OF_MEMORY
}

/// `cuMemAlloc`.
pub unsafe extern "C" fn cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        allocate(
            bytesize as u64,
            Origin::Direct,
            || call_real!(cuMemAlloc_v2(dptr, bytesize)),
            // SAFETY: read after the driver has written there with success.
            || unsafe { *dptr },
            || bytesize as u64,
        )
    })
}

/// `cuMemAlloc` of the 32-bit ABI.
pub unsafe extern "C" fn cuMemAlloc(dptr: *mut CUdeviceptr_v1, bytesize: u32) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        allocate(
            u64::from(bytesize),
            Origin::Direct,
            || call_real!(cuMemAlloc(dptr, bytesize)),
            // SAFETY: as in `cuMemAlloc_v2`.
            || u64::from(unsafe { *dptr }),
            || u64::from(bytesize),
        )
    })
}

/// The least a pitched allocation takes: rows are aligned to 512 bytes (measured: width 1 and 1000 rows give a pitch
/// of 512).
fn pitched(width: u64, height: u64) -> u64 {
    width
        .checked_next_multiple_of(512)
        .and_then(|pitch| pitch.checked_mul(height))
        .unwrap_or(u64::MAX)
}

/// `cuMemAllocPitch`: charged by the pitch that the driver returns.
pub unsafe extern "C" fn cuMemAllocPitch_v2(
    dptr: *mut CUdeviceptr,
    pPitch: *mut usize,
    WidthInBytes: usize,
    Height: usize,
    ElementSizeBytes: u32,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        allocate(
            pitched(WidthInBytes as u64, Height as u64),
            Origin::Direct,
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
        )
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
    shielded(CUDA_ERROR_UNKNOWN, || {
        allocate(
            pitched(u64::from(WidthInBytes), u64::from(Height)),
            Origin::Direct,
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

/// `cuMemAllocManaged`: charged in full when it is asked for, though the driver takes device memory only when it is
/// touched there.
pub unsafe extern "C" fn cuMemAllocManaged(dptr: *mut CUdeviceptr, bytesize: usize, flags: u32) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        allocate(
            bytesize as u64,
            Origin::Managed,
            || call_real!(cuMemAllocManaged(dptr, bytesize, flags)),
            // SAFETY: as in `cuMemAlloc_v2`.
            || unsafe { *dptr },
            || bytesize as u64,
        )
    })
}

/// Frees `address` through `call` and gives back what was held for it.
pub(super) fn free(address: u64, call: impl Fn() -> CUresult) -> CUresult {
    let Some(_inside) = Inside::enter() else {
        return call();
    };
    // Out of the books before the driver may hand the address out again, back in if it refuses.
    let Some(record) = books().live.remove(address) else {
        return call();
    };
    let change = record.device.change();
    let result = call();
    if result == CUDA_SUCCESS {
        forget(&record);
        drop(change);
    } else {
        drop(change);
        books().live.insert(address, record);
    }
    result
}

/// `cuMemFree`.
pub unsafe extern "C" fn cuMemFree_v2(dptr: CUdeviceptr) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        free(dptr, || call_real!(cuMemFree_v2(dptr)))
    })
}

/// `cuMemFree` of the 32-bit ABI.
pub unsafe extern "C" fn cuMemFree(dptr: CUdeviceptr_v1) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        free(u64::from(dptr), || call_real!(cuMemFree(dptr)))
    })
}
