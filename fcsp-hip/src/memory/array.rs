//! Arrays and mipmapped arrays.
//!
//! The runtime does not tell the size of an array, so it is computed: rows padded to 256 bytes and
//! heights to 8 rows, then rounded as any allocation. No AMD device was at hand; padding beyond
//! that shows in ROCm SMI's figure for the process and is charged from there.

use fcsp_hook::family::array::{self, Shape, channel_bytes};
use fcsp_hook::family::whole_pages;
use fcsp_hook::memory;

use super::{LARGEST_PIECE, forbidden_by_capture, pages};
use crate::call_real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::vendor::{Hip, catch_panic, target};

/// Returns the bytes of one level: slices of rows; a side of 0 counts as 1.
fn level_bytes(level: Shape) -> u64 {
    let [width, height, depth] = level.sides;
    let row = whole_pages(width.saturating_mul(level.element), 256);
    let rows = if height <= 1 {
        1
    } else {
        whole_pages(height, 8)
    };
    row.saturating_mul(rows).saturating_mul(depth.max(1))
}

fn mipmap_bytes(d: &HIP_ARRAY3D_DESCRIPTOR, levels: u32) -> u64 {
    const LAYERED: u32 = 0x01;
    let shape = Shape {
        sides: [d.Width as u64, d.Height as u64, d.Depth as u64],
        element: channel_bytes(d.Format) * u64::from(d.NumChannels),
        is_layered: d.Flags & LAYERED != 0,
    };
    shape.bytes(levels, level_bytes)
}

fn create(bytes: u64, call: impl Fn() -> hipError_t, handle: impl Fn() -> u64) -> hipError_t {
    // Small arrays share pages: which of them takes one shows in the overhead.
    let taken = pages(bytes);
    let charge = if bytes <= LARGEST_PIECE {
        bytes.next_multiple_of(512)
    } else {
        taken
    };
    array::create("hipMallocArray", charge, taken, target, call, handle)
}

fn destroy(array: u64, call: impl Fn() -> hipError_t) -> hipError_t {
    memory::free::<Hip>(array, call)
}

fn widened(d: &HIP_ARRAY_DESCRIPTOR) -> HIP_ARRAY3D_DESCRIPTOR {
    HIP_ARRAY3D_DESCRIPTOR {
        Width: d.Width,
        Height: d.Height,
        Depth: 0,
        Format: d.Format,
        NumChannels: d.NumChannels,
        Flags: 0,
    }
}

/// Returns the bytes for a descriptor. The runtime refuses null.
fn bytes_of(descriptor: Option<HIP_ARRAY3D_DESCRIPTOR>, levels: u32) -> u64 {
    descriptor.map_or(0, |d| mipmap_bytes(&d, levels))
}

/// Converts the runtime API's description, which has bits for each channel and a separate shape.
///
/// # Safety
/// `desc` is null or points to a description.
unsafe fn described(
    desc: *const hipChannelFormatDesc,
    extent: hipExtent,
    flags: u32,
) -> Option<HIP_ARRAY3D_DESCRIPTOR> {
    // SAFETY: by this function's contract.
    let desc = unsafe { desc.as_ref() }?;
    let bits = [desc.x, desc.y, desc.z, desc.w];
    Some(HIP_ARRAY3D_DESCRIPTOR {
        Width: extent.width,
        Height: extent.height,
        Depth: extent.depth,
        // As wide as the widest channel.
        Format: match bits.iter().max() {
            Some(..=8) => 0x01,
            Some(9..=16) => 0x02,
            _ => 0x20,
        },
        NumChannels: bits.iter().filter(|&&bits| bits > 0).count() as u32,
        Flags: flags,
    })
}

fn flat(width: usize, height: usize) -> hipExtent {
    hipExtent {
        width,
        height,
        depth: 0,
    }
}

/// Wraps functions that make an array: `$bytes` says from the arguments what it will take.
macro_rules! creates {
    ($($name:ident($place:ident: $handle:ty $(, $arg:ident: $ty:ty)*) = $bytes:expr, undone by $undo:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($place: *mut $handle $(, $arg: $ty)*) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                // SAFETY: the caller passes descriptions or null, as the runtime requires.
                let bytes = unsafe { $bytes };
                let call = || call_real!($name($place $(, $arg)*));
                // SAFETY: read after the runtime has written there with success.
                let made = || unsafe { *$place };
                let result = create(bytes, call, || made() as u64);
                if result == hipErrorOutOfMemory && let Some(code) = forbidden_by_capture() {
                    return code;
                }
                let usable = || !$place.is_null() && bytes > 0;
                answered(memory::or_wrong_argument::<Hip>(result, usable, call, || {
                    call_real!($undo(made()));
                }))
            })
        }
    )*};
}
creates! {
    hipArrayCreate(place: hipArray_t, desc: *const HIP_ARRAY_DESCRIPTOR) = bytes_of(desc.as_ref().map(widened), 1), undone by hipArrayDestroy;
    hipArray3DCreate(place: hipArray_t, desc: *const HIP_ARRAY3D_DESCRIPTOR) = bytes_of(desc.as_ref().copied(), 1), undone by hipArrayDestroy;
    hipMallocArray(place: hipArray_t, desc: *const hipChannelFormatDesc, width: usize, height: usize, flags: u32)
        = bytes_of(described(desc, flat(width, height), flags), 1), undone by hipFreeArray;
    hipMalloc3DArray(place: hipArray_t, desc: *const hipChannelFormatDesc, extent: hipExtent, flags: u32)
        = bytes_of(described(desc, extent, flags), 1), undone by hipFreeArray;
    hipMipmappedArrayCreate(place: hipMipmappedArray_t, desc: *mut HIP_ARRAY3D_DESCRIPTOR, levels: u32)
        = bytes_of(desc.as_ref().copied(), levels), undone by hipMipmappedArrayDestroy;
    hipMallocMipmappedArray(
        place: hipMipmappedArray_t, desc: *const hipChannelFormatDesc, extent: hipExtent, levels: u32, flags: u32
    ) = bytes_of(described(desc, extent, flags), levels), undone by hipFreeMipmappedArray;
}

macro_rules! destroys {
    ($($name:ident: $handle:ty;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(array: $handle) -> hipError_t {
            catch_panic(hipErrorUnknown, || destroy(array as u64, || call_real!($name(array))))
        }
    )*};
}
destroys! {
    hipArrayDestroy: hipArray_t;
    hipFreeArray: hipArray_t;
    hipMipmappedArrayDestroy: hipMipmappedArray_t;
    hipFreeMipmappedArray: hipMipmappedArray_t;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_padded_and_never_overflow() {
        let mut d = HIP_ARRAY3D_DESCRIPTOR::zeroed();
        (d.Width, d.Height, d.Format, d.NumChannels) = (1000, 1000, 0x20, 4);
        assert_eq!(pages(bytes_of(Some(d), 1)), 16 << 20);
        (d.Width, d.Height) = (1024, 1024);
        assert_eq!(pages(bytes_of(Some(d), 5)), 22 << 20);
        (d.Width, d.Height, d.Depth) = (usize::MAX, usize::MAX, usize::MAX);
        assert_eq!(bytes_of(Some(d), 32), u64::MAX);
        assert_eq!(bytes_of(None, 1), 0);
    }

    #[test]
    fn both_ways_to_describe_an_array_agree() {
        let float4 = hipChannelFormatDesc {
            x: 32,
            y: 32,
            z: 32,
            w: 32,
            f: 2,
        };
        // SAFETY: a description that lives on.
        let d = unsafe { described(&float4, flat(1000, 1000), 0) };
        assert_eq!(bytes_of(d, 1), 1008 * 16 * 1000);
        // SAFETY: null is allowed.
        assert!(unsafe { described(core::ptr::null(), flat(1, 1), 0) }.is_none());
    }
}
