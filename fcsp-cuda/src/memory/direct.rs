//! The driver's own heap: `cuMemAlloc`, pitched and managed memory, `cuMemFree`; with the 32-bit ABI that the driver
//! still exports.

use fcsp_hook::backend::Backend;
use fcsp_hook::memory::{self, Request};

use super::pages;
use super::slab::{self, GRAIN, LARGEST, SLAB};
use crate::call_real;
use crate::ffi::cuda::*;
use crate::process::{Cuda, Device, Inside, Scope, scope_inside, shielded};

/// Hold, call, enter or roll back. `address` reads the result once the driver has written it, `true_bytes` the size where
/// the driver decides it.
fn allocate(
    bytes: u64,
    managed: bool,
    call: impl Fn() -> CUresult,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> CUresult {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let (device, context) = match scope_inside(&inside) {
        Scope::On(device, context) => (device, context),
        Scope::Pass => return call(),
        Scope::Refuse => return CUDA_ERROR_OUT_OF_MEMORY,
    };
    if bytes <= LARGEST && !managed {
        return allocate_piece(
            device,
            context,
            bytes.next_multiple_of(GRAIN),
            call,
            address,
            true_bytes,
        );
    }
    let request = Request {
        what: "cuMemAlloc",
        bytes: pages(bytes),
        counted: !managed,
    };
    // More than foreseen where the driver chose a wider pitch.
    let truly = || pages(true_bytes());
    memory::allocate(device, context, request, call, address, truly, taken_back)
}

fn taken_back(address: u64) -> CUresult {
    call_real!(cuMemFree_v2(address))
}

/// A request that is cut from a slab: most cost nothing, some a slab, and only the driver knows which before it is done.
fn allocate_piece(
    device: &'static Device,
    context: usize,
    bytes: u64,
    call: impl Fn() -> CUresult,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
) -> CUresult {
    // Far from the quota a slab is charged when it turns up. Near it, one is held beforehand; where none fits, only a
    // request that may find room in the slabs at hand is tried at all.
    let near = device.is_near();
    let mut held = false;
    if near {
        match device.hold(SLAB) {
            Ok(()) => held = true,
            Err(denied) if !slab::may_fit(Cuda::process().addresses(), bytes) => {
                device.refused("cuMemAlloc", &denied);
                return CUDA_ERROR_OUT_OF_MEMORY;
            }
            Err(_) => {}
        }
    }
    // Not bracketed: most pieces take nothing, and which one opened a slab is only known afterwards. A measurement that
    // falls in between counts the slab as overhead; `opened` asks for another.
    let result = call();
    if result != CUDA_SUCCESS {
        if held {
            device.release(SLAB);
        }
        return result;
    }
    let at = address();
    let bytes = true_bytes().next_multiple_of(GRAIN);
    let new = slab::enter(Cuda::process().addresses(), device, context, at, bytes);
    if new == Some(true) {
        slab::opened(device, held);
    } else if held {
        device.release(SLAB);
    }
    if near && !held && new != Some(false) {
        // One that could not be entered is not known there.
        if free_piece(at, || taken_back(at)).is_none() {
            taken_back(at);
        }
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    CUDA_SUCCESS
}

/// Frees the piece at `address`, out of the books before the driver may hand the address out again. `None`, and nothing
/// called, if there is no such piece.
#[inline]
fn free_piece(address: u64, call: impl FnOnce() -> CUresult) -> Option<CUresult> {
    let table = Cuda::process().addresses();
    let piece = slab::take_out(table, address)?;
    let device = piece.device;
    let change = (piece.given.bytes > 0).then(|| device.change());
    let result = call();
    if result != CUDA_SUCCESS {
        drop(change);
        slab::put_back(table, address, piece);
    } else if let Some(change) = change {
        change.lost(SLAB);
        drop(change);
        device.release(SLAB);
    }
    Some(result)
}

/// Frees `address` through `call` and gives back what was held for it.
#[inline]
pub(super) fn free(address: u64, call: impl Fn() -> CUresult) -> CUresult {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    match free_piece(address, &call) {
        Some(result) => result,
        None => memory::free_inside::<Cuda>(&inside, address, call),
    }
}

/// `cuMemAlloc`.
pub unsafe extern "C" fn cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        allocate(
            bytesize as u64,
            false,
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
            false,
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
            false,
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
            false,
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
            true,
            || call_real!(cuMemAllocManaged(dptr, bytesize, flags)),
            // SAFETY: as in `cuMemAlloc_v2`.
            || unsafe { *dptr },
            || bytesize as u64,
        )
    })
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
