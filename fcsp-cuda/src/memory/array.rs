//! Arrays and mipmapped arrays.
//!
//! The driver tells the size of an array only if it is created deferred (`cuArrayGetMemoryRequirements` answers
//! INVALID_VALUE otherwise, H100, driver 580), so it is computed: rows padded to 64 bytes, heights to 8 rows (the
//! block-linear unit, NVIDIA's open-gpu-doc), then rounded as any allocation. Measured: 1000 x 1000 x 16 bytes takes 16 MiB,
//! five levels from 1024 x 1024 x 16 bytes take 22 MiB; both as computed.

use fcsp_hook::memory::{self, Request};

use super::{pages, vmm};
use crate::call_real;
use crate::ffi::cuda::*;
use crate::process::{Cuda, Inside, Scope, scope, shielded};

/// Arrays up to here share pages.
const SMALL_ARRAY: u64 = 1 << 20;
const CUDA_ARRAY3D_SPARSE: u32 = 0x40;
const CUDA_ARRAY3D_DEFERRED_MAPPING: u32 = 0x80;

/// Bytes of one element's channel; for block-compressed and planar formats, which the low numbers do not cover, the
/// widest that there is.
fn channel_bytes(format: CUarray_format) -> u64 {
    match format {
        0x01 | 0x08 => 1,
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => 4,
    }
}

fn level_bytes(width: u64, height: u64, depth: u64, element: u64) -> u64 {
    let row = width
        .saturating_mul(element)
        .checked_next_multiple_of(64)
        .unwrap_or(u64::MAX);
    let rows = if height <= 1 {
        1
    } else {
        height.checked_next_multiple_of(8).unwrap_or(u64::MAX)
    };
    row.saturating_mul(rows).saturating_mul(depth.max(1))
}

fn mipmap_bytes(d: &CUDA_ARRAY3D_DESCRIPTOR, levels: u32) -> u64 {
    const CUDA_ARRAY3D_LAYERED: u32 = 0x01;
    let element = channel_bytes(d.Format) * u64::from(d.NumChannels);
    let mut sum = 0u64;
    for level in 0..levels.clamp(1, 32) {
        let shrink = |n: usize| if n == 0 { 0 } else { (n as u64 >> level).max(1) };
        let depth = if d.Flags & CUDA_ARRAY3D_LAYERED != 0 {
            d.Depth as u64
        } else {
            shrink(d.Depth)
        };
        sum = sum.saturating_add(level_bytes(shrink(d.Width), shrink(d.Height), depth, element));
    }
    sum
}

/// More bytes than any device has: such a shape has sides that no device has, and the driver says which code that is.
const BEYOND_ANY_DEVICE: u64 = 1 << 42;

/// Whether the driver would accept a shape: something wide, no larger than a device, of one, two or four channels.
fn is_shape(descriptor: Option<CUDA_ARRAY3D_DESCRIPTOR>) -> bool {
    descriptor.is_some_and(|d| {
        d.Width > 0 && mipmap_bytes(&d, 1) < BEYOND_ANY_DEVICE && [1, 2, 4].contains(&d.NumChannels)
    })
}

/// Makes an array of `levels` levels through `call`; `handle` reads the result, and `destroy` destroys it.
fn create(
    descriptor: Option<CUDA_ARRAY3D_DESCRIPTOR>,
    levels: u32,
    call: &dyn Fn() -> CUresult,
    place: *mut CUarray,
    destroy: &dyn Fn(),
) -> CUresult {
    // SAFETY: read after the driver has written there with success.
    let handle = || unsafe { *place } as u64;
    let result = create_counted(bytes_of(descriptor, levels), call, &handle);
    let usable = || !place.is_null() && levels > 0 && is_shape(descriptor);
    memory::or_wrong_argument::<Cuda>(result, usable, call, destroy)
}

fn create_counted(bytes: u64, call: &dyn Fn() -> CUresult, handle: &dyn Fn() -> u64) -> CUresult {
    let Some(_inside) = Inside::enter() else {
        return call();
    };
    let (device, context) = match scope() {
        Scope::On(device, context) => (device, context),
        Scope::Pass => return call(),
        Scope::Refuse => return CUDA_ERROR_OUT_OF_MEMORY,
    };
    // Small arrays share pages: which of them takes one shows in the overhead.
    let taken = pages(bytes);
    let bytes = if bytes <= SMALL_ARRAY {
        bytes.next_multiple_of(512)
    } else {
        taken
    };
    let request = Request {
        what: "cuArrayCreate",
        bytes,
        counted: true,
    };
    memory::allocate_sharing(device, context, request, taken - bytes, call, handle)
}

fn destroy(array: u64, call: impl Fn() -> CUresult) -> CUresult {
    let result = memory::free::<Cuda>(array, call);
    if result == CUDA_SUCCESS {
        vmm::array_gone(array);
    }
    result
}

fn widened(d: &CUDA_ARRAY_DESCRIPTOR) -> CUDA_ARRAY3D_DESCRIPTOR {
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: d.Width,
        Height: d.Height,
        Depth: 0,
        Format: d.Format,
        NumChannels: d.NumChannels,
        Flags: 0,
    }
}

fn widened_v1(d: &CUDA_ARRAY_DESCRIPTOR_v1) -> CUDA_ARRAY3D_DESCRIPTOR {
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: d.Width as usize,
        Height: d.Height as usize,
        Depth: 0,
        Format: d.Format,
        NumChannels: d.NumChannels,
        Flags: 0,
    }
}

fn widened_3d_v1(d: &CUDA_ARRAY3D_DESCRIPTOR_v1) -> CUDA_ARRAY3D_DESCRIPTOR {
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: d.Width as usize,
        Height: d.Height as usize,
        Depth: d.Depth as usize,
        Format: d.Format,
        NumChannels: d.NumChannels,
        Flags: d.Flags,
    }
}

/// Bytes for a descriptor; none for arrays whose memory comes later, by mapping. Null is the driver's to refuse.
fn bytes_of(descriptor: Option<CUDA_ARRAY3D_DESCRIPTOR>, levels: u32) -> u64 {
    match descriptor {
        Some(d) if d.Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING) == 0 => {
            mipmap_bytes(&d, levels)
        }
        _ => 0,
    }
}

macro_rules! create {
    ($($name:ident($desc:ident: $ty:ty $(, $levels:ident)?) = $described:expr, undone by $undo:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(pHandle: *mut CUarray, $desc: *const $ty $(, $levels: u32)?) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                // SAFETY: the caller passes a descriptor or null, as the driver requires.
                let descriptor = unsafe { $desc.as_ref() }.map($described);
                let levels = 1 $(* $levels)?;
                let call = || call_real!($name(pHandle, $desc $(, $levels)?));
                let undo = || {
                    // SAFETY: the driver has written there with success.
                    let made = unsafe { *pHandle };
                    call_real!($undo(made));
                };
                create(descriptor, levels, &call, pHandle, &undo)
            })
        }
    )*};
}
create! {
    cuArrayCreate_v2(pAllocateArray: CUDA_ARRAY_DESCRIPTOR) = widened, undone by cuArrayDestroy;
    cuArray3DCreate_v2(pAllocateArray: CUDA_ARRAY3D_DESCRIPTOR) = |d| *d, undone by cuArrayDestroy;
    // The 32-bit ABI.
    cuArrayCreate(pAllocateArray: CUDA_ARRAY_DESCRIPTOR_v1) = widened_v1, undone by cuArrayDestroy;
    cuArray3DCreate(pAllocateArray: CUDA_ARRAY3D_DESCRIPTOR_v1) = widened_3d_v1, undone by cuArrayDestroy;
    cuMipmappedArrayCreate(pMipmappedArrayDesc: CUDA_ARRAY3D_DESCRIPTOR, numMipmapLevels) = |d| *d,
        undone by cuMipmappedArrayDestroy;
}

/// `cuArrayDestroy`.
pub unsafe extern "C" fn cuArrayDestroy(hArray: CUarray) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        destroy(hArray as u64, || call_real!(cuArrayDestroy(hArray)))
    })
}

/// `cuMipmappedArrayDestroy`.
pub unsafe extern "C" fn cuMipmappedArrayDestroy(hMipmappedArray: CUmipmappedArray) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        destroy(hMipmappedArray as u64, || {
            call_real!(cuMipmappedArrayDestroy(hMipmappedArray))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_measured() {
        let mut d = CUDA_ARRAY3D_DESCRIPTOR::zeroed();
        (d.Width, d.Height, d.Format, d.NumChannels) = (1000, 1000, CU_AD_FORMAT_FLOAT, 4);
        assert_eq!(pages(bytes_of(Some(d), 1)), 16 << 20);
        (d.Width, d.Height) = (1024, 1024);
        assert_eq!(pages(bytes_of(Some(d), 5)), 22 << 20);
        d.Flags = CUDA_ARRAY3D_DEFERRED_MAPPING;
        assert_eq!(bytes_of(Some(d), 5), 0);
        (d.Width, d.Height, d.Depth, d.Flags) = (usize::MAX, usize::MAX, usize::MAX, 0);
        assert_eq!(bytes_of(Some(d), 32), u64::MAX);
        assert_eq!(bytes_of(None, 1), 0);
    }
}
