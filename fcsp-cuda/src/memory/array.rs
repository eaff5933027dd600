//! Arrays and mipmapped arrays.
//!
//! The driver reports the size of an array only if it is created deferred
//! (`cuArrayGetMemoryRequirements` answers INVALID_VALUE otherwise, H100, driver 580), so the size
//! is computed. The block-linear layout (NVIDIA's open-gpu-doc) pads rows to 64 bytes, heights to
//! blocks of 8 to 128 rows, and depths to blocks of up to 8 slices. Arrays of up to 1 MiB are
//! suballocations of 2 MiB slabs; larger ones are rounded like any allocation. 27 shapes were
//! measured on an H200 and agree (`fcsp-sim/tests/strict/h200-sizes.txt`).

use fcsp_hook::family::array::{self, Shape, channel_bytes};
use fcsp_hook::family::whole_pages;
use fcsp_hook::memory;

use super::{forbidden_by_capture, pages, vmm};
use crate::call_real;
use crate::ffi::cuda::*;
use crate::vendor::{Cuda, catch_panic, target};

/// Largest array that is a suballocation of a slab, in bytes.
const SMALL_ARRAY: u64 = 1 << 20;
/// The size of a slab.
const SLAB: u64 = 2 << 20;
/// Slices of these are separate pictures, which no block spans and no mipmap level halves.
const LAYERED_OR_CUBE: u32 = 0x01 | 0x04;
/// Arrays of two dimensions alone may ask for it.
const CUDA_ARRAY3D_TEXTURE_GATHER: u32 = 0x08;
const CUDA_ARRAY3D_SPARSE: u32 = 0x40;
const CUDA_ARRAY3D_DEFERRED_MAPPING: u32 = 0x80;

/// Rounds `n` up to blocks of the next power of two of `n`, between `least` and `most`.
fn in_blocks(n: u64, least: u64, most: u64) -> u64 {
    let block = n
        .checked_next_power_of_two()
        .unwrap_or(most)
        .clamp(least, most);
    n.checked_next_multiple_of(block).unwrap_or(u64::MAX)
}

/// Returns the bytes of one level: slices of rows; a side of 0 counts as 1.
fn level_bytes(level: Shape) -> u64 {
    let [width, height, depth] = level.sides;
    let row = whole_pages(width.saturating_mul(level.element), 64);
    let rows = in_blocks(height.max(1), 8, 128);
    let slices = if level.is_layered {
        depth.max(1)
    } else {
        in_blocks(depth.max(1), 1, 8)
    };
    row.saturating_mul(rows).saturating_mul(slices)
}

fn mipmap_bytes(d: &CUDA_ARRAY3D_DESCRIPTOR, levels: u32) -> u64 {
    let shape = Shape {
        sides: [d.Width as u64, d.Height as u64, d.Depth as u64],
        element: channel_bytes(d.Format) * u64::from(d.NumChannels),
        is_layered: d.Flags & LAYERED_OR_CUBE != 0,
    };
    shape.bytes(levels, level_bytes)
}

/// Returns the part of a slab that an array of `bytes` is charged, as if all arrays in the slab had
/// its size. Three of 600 KiB fill a slab, and the rest of the slab holds none of them.
fn part_of_slab(bytes: u64) -> u64 {
    (SLAB / (SLAB / bytes.max(512))).next_multiple_of(512)
}

/// More bytes than any device has: such a shape has sides that no device has, and the driver says
/// which code that is.
const BEYOND_ANY_DEVICE: u64 = 1 << 42;

/// The formats that every driver has: integers and floats of one channel's width.
const PLAIN_FORMATS: [CUarray_format; 8] = [0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x10, 0x20];

/// Returns true if the driver would surely accept a shape: wider than nothing, no larger than a
/// device, and of one, two or four channels of a plain format.
fn is_shape(descriptor: Option<CUDA_ARRAY3D_DESCRIPTOR>) -> bool {
    descriptor.is_some_and(|d| {
        d.Width > 0
            && mipmap_bytes(&d, 1) < BEYOND_ANY_DEVICE
            && [1, 2, 4].contains(&d.NumChannels)
            && PLAIN_FORMATS.contains(&d.Format)
            && (d.Flags & CUDA_ARRAY3D_TEXTURE_GATHER == 0 || d.Depth == 0)
    })
}

/// Returns a side of at most 31 elements that a driver accepts where it accepts `side`. Powers of 2
/// up to 16 that divide `side` divide it, too. 0 stays 0, and equal sides stay equal.
fn small_side(side: usize) -> usize {
    if side < 32 { side } else { 16 + side % 16 }
}

/// Returns a small array of the same kind. A cube map keeps a whole number of cubes.
fn small_shape(d: &CUDA_ARRAY3D_DESCRIPTOR) -> CUDA_ARRAY3D_DESCRIPTOR {
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: small_side(d.Width),
        Height: small_side(d.Height),
        Depth: if d.Depth < 12 {
            d.Depth
        } else {
            6 + d.Depth % 6
        },
        ..*d
    }
}

/// Makes an array of `levels` levels through `call`, which leaves it in `place`. `destroy` destroys
/// it. `try_small` makes and destroys one of another shape.
fn create(
    descriptor: Option<CUDA_ARRAY3D_DESCRIPTOR>,
    levels: u32,
    call: &dyn Fn() -> CUresult,
    place: *mut CUarray,
    destroy: &dyn Fn(),
    try_small: &dyn Fn(&CUDA_ARRAY3D_DESCRIPTOR) -> CUresult,
) -> CUresult {
    // SAFETY: read after the driver has written there with success.
    let handle = || unsafe { *place } as u64;
    let result = create_counted(bytes_of(descriptor, levels), call, &handle);
    if result == CUDA_ERROR_OUT_OF_MEMORY
        && let Some(code) = forbidden_by_capture()
    {
        return code;
    }
    let usable = || !place.is_null() && levels > 0 && is_shape(descriptor);
    // Whether the driver takes the shape at all is asked with a small one: the array itself would
    // pass the quota.
    match descriptor.filter(|d| mipmap_bytes(d, levels) < BEYOND_ANY_DEVICE) {
        Some(d) if !place.is_null() => {
            memory::or_wrong_argument::<Cuda>(result, usable, || try_small(&small_shape(&d)), || ())
        }
        _ => memory::or_wrong_argument::<Cuda>(result, usable, call, destroy),
    }
}

fn create_counted(bytes: u64, call: &dyn Fn() -> CUresult, handle: &dyn Fn() -> u64) -> CUresult {
    // Which of the small ones takes a new slab shows in the overhead.
    let taken = pages(bytes);
    let charge = if bytes == 0 {
        // Nothing wide, or mapped later: the driver takes nothing now.
        0
    } else if bytes <= SMALL_ARRAY {
        part_of_slab(bytes)
    } else {
        taken
    };
    array::create("cuArrayCreate", charge, taken, target, call, handle)
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

/// Returns the bytes for a descriptor, or none for arrays whose memory comes later, by mapping. The
/// driver refuses null.
fn bytes_of(descriptor: Option<CUDA_ARRAY3D_DESCRIPTOR>, levels: u32) -> u64 {
    match descriptor {
        Some(d) if d.Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING) == 0 => {
            mipmap_bytes(&d, levels)
        }
        _ => 0,
    }
}

macro_rules! create {
    ($($name:ident($desc:ident: $ty:ty $(, $levels:ident)?) = $described:expr, tried by $try:ident, undone by $undo:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(pHandle: *mut CUarray, $desc: *const $ty $(, $levels: u32)?) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                // SAFETY: the caller passes a descriptor or null, as the driver requires.
                let descriptor = unsafe { $desc.as_ref() }.map($described);
                let levels = 1 $(* $levels)?;
                let call = || call_real!($name(pHandle, $desc $(, $levels)?));
                let undo = || {
                    // SAFETY: the driver has written there with success.
                    let made = unsafe { *pHandle };
                    call_real!($undo(made));
                };
                let try_small = |d: &CUDA_ARRAY3D_DESCRIPTOR| {
                    let mut made = core::ptr::null_mut();
                    let result = call_real!($try(&mut made, d $(, $levels)?));
                    if result == CUDA_SUCCESS {
                        call_real!($undo(made));
                    }
                    result
                };
                create(descriptor, levels, &call, pHandle, &undo, &try_small)
            })
        }
    )*};
}
create! {
    cuArrayCreate_v2(pAllocateArray: CUDA_ARRAY_DESCRIPTOR) = widened,
        tried by cuArray3DCreate_v2, undone by cuArrayDestroy;
    cuArray3DCreate_v2(pAllocateArray: CUDA_ARRAY3D_DESCRIPTOR) = |d| *d,
        tried by cuArray3DCreate_v2, undone by cuArrayDestroy;
    // The 32-bit ABI.
    cuArrayCreate(pAllocateArray: CUDA_ARRAY_DESCRIPTOR_v1) = widened_v1,
        tried by cuArray3DCreate_v2, undone by cuArrayDestroy;
    cuArray3DCreate(pAllocateArray: CUDA_ARRAY3D_DESCRIPTOR_v1) = widened_3d_v1,
        tried by cuArray3DCreate_v2, undone by cuArrayDestroy;
    cuMipmappedArrayCreate(pMipmappedArrayDesc: CUDA_ARRAY3D_DESCRIPTOR, numMipmapLevels) = |d| *d,
        tried by cuMipmappedArrayCreate, undone by cuMipmappedArrayDestroy;
}

/// `cuArrayDestroy`.
pub unsafe extern "C" fn cuArrayDestroy(hArray: CUarray) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        destroy(hArray as u64, || call_real!(cuArrayDestroy(hArray)))
    })
}

/// `cuMipmappedArrayDestroy`.
pub unsafe extern "C" fn cuMipmappedArrayDestroy(hMipmappedArray: CUmipmappedArray) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        destroy(hMipmappedArray as u64, || {
            call_real!(cuMipmappedArrayDestroy(hMipmappedArray))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width, height and depth; format, channels and flags of an array; the count of arrays, and
    /// the KiB that they took.
    type Measured = ([usize; 3], u32, u32, u32, u64, u64);
    /// From an H200, driver 580.159.04 (`fcsp-sim/tests/strict/h200-sizes.txt`).
    const MEASURED: &[Measured] = &[
        ([1, 1, 0], 0x20, 1, 0, 64, 2048),
        ([64, 64, 0], 0x20, 4, 0, 64, 4096),
        ([65, 64, 0], 0x20, 4, 0, 64, 6144),
        ([100, 100, 0], 0x20, 4, 0, 64, 14336),
        ([128, 128, 0], 0x20, 4, 0, 64, 16384),
        ([256, 256, 0], 0x20, 4, 0, 16, 16384),
        ([10, 1000, 0], 1, 1, 0, 64, 4096),
        ([4096, 0, 0], 0x20, 4, 0, 64, 32768),
        ([4097, 0, 0], 0x20, 4, 0, 64, 45056),
        ([362, 362, 0], 0x20, 4, 0, 8, 32768),
        ([500, 500, 0], 0x20, 4, 0, 8, 32768),
        ([16, 16, 16], 0x20, 4, 0, 64, 4096),
        ([17, 17, 17], 0x20, 4, 0, 64, 16384),
        ([64, 64, 6], 0x20, 4, 5, 16, 8192),
        ([64, 64, 4], 0x20, 4, 1, 16, 4096),
        ([2048, 1, 0], 0x20, 4, 0, 64, 16384),
        ([1, 2048, 0], 0x20, 4, 0, 64, 8192),
        ([8193, 1, 0], 1, 1, 0, 64, 6144),
        ([129, 129, 0], 0x10, 2, 0, 64, 10240),
    ];

    #[test]
    fn texture_gather_has_two_dimensions() {
        // A depth of 4 with this flag was INVALID_VALUE on an H200, driver 580.159.04.
        for (depth, flags, usable) in [(0, 8, true), (4, 8, false), (4, 0, true)] {
            let descriptor = CUDA_ARRAY3D_DESCRIPTOR {
                Width: 1511,
                Height: 1204,
                Depth: depth,
                Format: 0x08,
                NumChannels: 1,
                Flags: flags,
            };
            assert_eq!(is_shape(Some(descriptor)), usable, "{depth} {flags}");
        }
    }

    #[test]
    fn what_arrays_are_charged_is_what_they_took() {
        for &([width, height, depth], format, channels, flags, count, kib) in MEASURED {
            let mut d = CUDA_ARRAY3D_DESCRIPTOR::zeroed();
            (d.Width, d.Height, d.Depth) = (width, height, depth);
            (d.Format, d.NumChannels, d.Flags) = (format, channels, flags);
            let bytes = bytes_of(Some(d), 1);
            let took = if bytes <= SMALL_ARRAY {
                let a_slab = SLAB / bytes.next_multiple_of(512);
                count.div_ceil(a_slab) * SLAB
            } else {
                count * pages(bytes)
            };
            assert_eq!(took, kib << 10, "{width} x {height} x {depth}");
            if bytes <= SMALL_ARRAY {
                let charged = count * part_of_slab(bytes);
                // The last slab may be partly empty.
                assert!(
                    charged <= took + count * 512 && charged + SLAB > took,
                    "{charged} of {took}"
                );
            }
        }
    }

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
