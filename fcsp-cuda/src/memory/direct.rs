//! The driver's own heap: `cuMemAlloc`, pitched and managed memory, `cuMemFree`; with the 32-bit ABI that the driver
//! still exports.

use super::slab::{self, GRAIN, LARGEST, SLAB};
use super::{Origin, Record, books, forget, pages, pool};
use crate::call_real;
use crate::device::Device;
use crate::ffi::cuda::*;
use crate::process::{Inside, Scope, scope_inside, shielded};

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
    let held = pages(bytes);
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
    let truly = pages(true_bytes());
    if truly > held {
        // The driver chose a wider pitch than could be foreseen.
        device.charge(truly - held);
    } else if truly < held {
        device.release(held - truly);
    }
    if !managed {
        change.gained(truly);
    }
    drop(change);
    let origin = if managed { Origin::Managed } else { Origin::Direct };
    enter(
        address(),
        Record {
            device,
            context: context as usize,
            bytes: truly,
            origin,
        },
    );
    if truly > held && device.is_over() {
        return give_back(address());
    }
    CUDA_SUCCESS
}

/// A request that is cut from a slab: most cost nothing, some a slab, and only the driver knows which before it is done.
fn allocate_piece(
    device: &'static Device,
    context: CUcontext,
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
            Err(denied) if !books().slabs.may_fit(bytes) => {
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
    let new = books().slabs.enter(at, bytes);
    if new {
        slab::opened(device, held);
    } else if held {
        device.release(SLAB);
    }
    enter(
        at,
        Record {
            device,
            context: context as usize,
            bytes,
            origin: Origin::Piece(at),
        },
    );
    if near && new && !held {
        return give_back(at);
    }
    CUDA_SUCCESS
}

fn enter(address: u64, record: Record) {
    if let Some(stale) = books().live.insert(address, record) {
        // The address was freed by a route that we did not see.
        forget(&stale);
    }
}

/// Takes an allocation back that turned out to pass the quota.
#[cold]
fn give_back(address: u64) -> CUresult {
    if let Some(record) = books().live.remove(address) {
        free_record(address, record, || call_real!(cuMemFree_v2(address)));
    }
    CUDA_ERROR_OUT_OF_MEMORY
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

/// Frees `address` through `call` and gives back what was held for it.
pub(super) fn free(address: u64, call: impl Fn() -> CUresult) -> CUresult {
    let Some(_inside) = Inside::enter() else {
        return call();
    };
    match books().live.remove(address) {
        Some(record) => free_record(address, record, call),
        None => {
            let result = call();
            pool::freed();
            result
        }
    }
}

/// Frees what `record` stands for, which is out of the books already: the driver may hand the address out again at once.
/// If it refuses, the record goes back in.
fn free_record(address: u64, record: Record, call: impl Fn() -> CUresult) -> CUresult {
    let device = record.device;
    // The bytes that the driver gives up with this allocation, and whether NVML counts them.
    let (bytes, physical) = match record.origin {
        Origin::Direct => (record.bytes, true),
        Origin::Piece(at) if books().slabs.leave(at, record.bytes) => (SLAB, true),
        Origin::Piece(_) | Origin::Sparse(_) => (0, false),
        Origin::Managed => (record.bytes, false),
    };
    let change = (bytes > 0).then(|| device.change());
    let result = call();
    if result == CUDA_SUCCESS {
        if let Some(change) = change {
            if physical {
                change.lost(bytes);
            }
            drop(change);
            device.release(bytes);
        }
    } else {
        drop(change);
        if let Origin::Piece(at) = record.origin {
            match (bytes > 0, books().slabs.enter(at, record.bytes)) {
                // Another piece came meanwhile and counted the slab once more, or left it and counted it once less.
                (true, false) => slab::closed(device),
                (false, true) => slab::opened(device, false),
                _ => {}
            }
        }
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
