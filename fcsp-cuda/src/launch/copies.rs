//! Copies and fills.
//!
//! Those inside device memory are work of the device, as kernels are, and pass the gate. Those over
//! the bus are work of the copy engines, which no share governs. Some of them make the host wait
//! for the device, which the neighbours need to know.

use core::ffi::c_void;

use fcsp_hook::launch::copies::{Call, Kind, SMALL, Share, Transfer, share, transfer};

use crate::call_real;
use crate::ffi::cuda::*;
use crate::memory::kind_of;
use crate::vendor::{Cuda, named};

/// Bytes an element of an array has at most.
const ELEMENT: usize = 16;

/// Returns the share that a call on `stream` has to keep, if any.
#[inline(never)]
fn share_of(stream: CUstream, per_thread: bool) -> Option<Share<Cuda>> {
    share::<Cuda>(named(stream, per_thread))
}

fn is_on_device(address: CUdeviceptr) -> bool {
    kind_of(address) == Some(CU_MEMORYTYPE_DEVICE)
}

/// Describes a copy whose sides are known by their addresses.
fn between(dst: CUdeviceptr, src: CUdeviceptr, bytes: usize, waits: bool) -> Transfer {
    match (is_on_device(src), is_on_device(dst)) {
        (true, true) => Transfer::Inside(Kind::Copy, bytes),
        _ if waits => Transfer::Waits,
        (true, false) => Transfer::ToHost(core::ptr::without_provenance(dst as usize)),
        _ => Transfer::Other,
    }
}

/// One side of a copy of rows: the kind of its memory, its address if that is asked, its address in
/// the host.
type Side = (CUmemorytype, CUdeviceptr, *const c_void);

fn inside(side: Side) -> bool {
    match side.0 {
        CU_MEMORYTYPE_DEVICE | CU_MEMORYTYPE_ARRAY => true,
        CU_MEMORYTYPE_UNIFIED => is_on_device(side.1),
        _ => false,
    }
}

fn rows(src: Side, dst: Side, bytes: usize, waits: bool) -> Transfer {
    match (inside(src), inside(dst)) {
        (true, true) => Transfer::Inside(Kind::Rows, bytes),
        _ if waits => Transfer::Waits,
        (true, false) if dst.0 == CU_MEMORYTYPE_HOST => Transfer::ToHost(dst.2),
        (true, false) => Transfer::ToHost(core::ptr::without_provenance(dst.1 as usize)),
        _ => Transfer::Other,
    }
}

macro_rules! rows {
    ($($name:ident($copy:ty) = $($extent:ident)*;)*) => {$(
        /// # Safety
        /// The copy is one that the caller of the wrapper vouches for, or null.
        unsafe fn $name(copy: *const $copy, waits: bool) -> Transfer {
            // SAFETY: by this function's contract.
            let Some(c) = (unsafe { copy.as_ref() }) else { return Transfer::Other };
            let bytes = 1usize$(.saturating_mul(c.$extent))*;
            let src = (c.srcMemoryType, c.srcDevice, c.srcHost);
            rows(src, (c.dstMemoryType, c.dstDevice, c.dstHost.cast_const()), bytes, waits)
        }
    )*};
}
rows! {
    rows_2d(CUDA_MEMCPY2D) = WidthInBytes Height;
    rows_3d(CUDA_MEMCPY3D) = WidthInBytes Height Depth;
    rows_3d_peer(CUDA_MEMCPY3D_PEER) = WidthInBytes Height Depth;
}

/// # Safety
/// Each list holds `count` entries, as for the driver.
unsafe fn batch(
    dsts: *const CUdeviceptr,
    srcs: *const CUdeviceptr,
    sizes: *const usize,
    count: usize,
) -> Transfer {
    if dsts.is_null() || srcs.is_null() || sizes.is_null() {
        return Transfer::Other;
    }
    // SAFETY: by this function's contract; each index is below the count.
    let size = |index| unsafe { *sizes.add(index) };
    let all = (0..count).map(size).fold(0, usize::saturating_add);
    if all < SMALL {
        return Transfer::Other;
    }
    let bytes = (0..count)
        // SAFETY: as above.
        .filter(|&index| unsafe {
            is_on_device(*srcs.add(index)) && is_on_device(*dsts.add(index))
        })
        .map(size)
        .fold(0, usize::saturating_add);
    Transfer::Inside(Kind::Batch, bytes)
}

/// # Safety
/// `list` holds `count` copies, as for the driver.
unsafe fn batch_3d(list: *const CUDA_MEMCPY3D_BATCH_OP, count: usize) -> Transfer {
    const POINTER: CUmemcpy3DOperandType = 1;
    if list.is_null() {
        return Transfer::Other;
    }
    let on_device = |side: &CUmemcpy3DOperand| {
        // SAFETY: the type says which member is live.
        side.type_ != POINTER || is_on_device(unsafe { side.op.ptr.ptr })
    };
    let bytes = (0..count)
        // SAFETY: by this function's contract; each index is below the count.
        .map(|index| unsafe { &*list.add(index) })
        .filter(|op| on_device(&op.src) && on_device(&op.dst))
        .map(|op| {
            // Between addresses an element is a byte; of an array's elements only the most is
            // known.
            let element = if op.src.type_ == POINTER && op.dst.type_ == POINTER {
                1
            } else {
                ELEMENT
            };
            let CUextent3D {
                width,
                height,
                depth,
            } = op.extent;
            [width, height, depth]
                .into_iter()
                .fold(element, usize::saturating_mul)
        })
        .fold(0, usize::saturating_add);
    Transfer::Inside(Kind::Batch, bytes)
}

fn fill(rows: usize, elements: usize, width: usize) -> Transfer {
    Transfer::Inside(
        Kind::Fill,
        rows.saturating_mul(elements).saturating_mul(width),
    )
}

/// Wraps pairs of functions: the second is the one in which stream 0 is the calling thread's own.
/// What follows the stream says what is moved, and is looked at only where somebody keeps a share.
macro_rules! transfers {
    ($($plain:ident, $twin:ident($($arg:ident: $ty:ty),* $(,)?) on $stream:expr => $what:expr;)*) => {$(
        transfers!(@one $plain false ($($arg: $ty),*) $stream, $what);
        transfers!(@one $twin true ($($arg: $ty),*) $stream, $what);
    )*};
    (@one $name:ident $per_thread:literal ($($arg:ident: $ty:ty),*) $stream:expr, $what:expr) => {
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> CUresult {
            let share = share_of($stream, $per_thread);
            let what = match share {
                #[allow(unused_unsafe, clippy::macro_metavars_in_unsafe)]
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
                // driver.
                Some(_) => unsafe { $what },
                None => Transfer::Other,
            };
            let call = || call_real!($name($($arg),*));
            // SAFETY: the closure lives to the end of this function.
            unsafe { transfer(share, what, Call::to(&call)) }
        }
    };
}

/// The stream of functions that name none.
const DEFAULT: CUstream = core::ptr::null_mut();

// Inside one device, or from one to another.
transfers! {
    cuMemcpyDtoD_v2, cuMemcpyDtoD_v2_ptds(dst: CUdeviceptr, src: CUdeviceptr, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Copy, n);
    cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync_v2_ptsz(dst: CUdeviceptr, src: CUdeviceptr, n: usize, stream: CUstream)
        on stream => Transfer::Inside(Kind::Copy, n);
    cuMemcpyAtoA_v2, cuMemcpyAtoA_v2_ptds(dst: CUarray, to: usize, src: CUarray, from: usize, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Rows, n);
    cuMemcpyAtoD_v2, cuMemcpyAtoD_v2_ptds(dst: CUdeviceptr, src: CUarray, from: usize, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Rows, n);
    cuMemcpyDtoA_v2, cuMemcpyDtoA_v2_ptds(dst: CUarray, to: usize, src: CUdeviceptr, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Rows, n);
    cuMemcpyPeer, cuMemcpyPeer_ptds(
        dst: CUdeviceptr, dst_context: CUcontext, src: CUdeviceptr, src_context: CUcontext, n: usize
    ) on DEFAULT => Transfer::Inside(Kind::Peer, n);
    cuMemcpyPeerAsync, cuMemcpyPeerAsync_ptsz(
        dst: CUdeviceptr, dst_context: CUcontext, src: CUdeviceptr, src_context: CUcontext, n: usize,
        stream: CUstream
    ) on stream => Transfer::Inside(Kind::Peer, n);
}

// Between whatever the arguments say.
transfers! {
    cuMemcpy, cuMemcpy_ptds(dst: CUdeviceptr, src: CUdeviceptr, n: usize)
        on DEFAULT => between(dst, src, n, true);
    cuMemcpyAsync, cuMemcpyAsync_ptsz(dst: CUdeviceptr, src: CUdeviceptr, n: usize, stream: CUstream)
        on stream => between(dst, src, n, false);
    cuMemcpyWithAttributesAsync, cuMemcpyWithAttributesAsync_ptsz(
        dst: CUdeviceptr, src: CUdeviceptr, n: usize, attributes: *mut CUmemcpyAttributes, stream: CUstream
    ) on stream => between(dst, src, n, false);
    cuMemcpy2D_v2, cuMemcpy2D_v2_ptds(copy: *const CUDA_MEMCPY2D)
        on DEFAULT => rows_2d(copy, true);
    cuMemcpy2DUnaligned_v2, cuMemcpy2DUnaligned_v2_ptds(copy: *const CUDA_MEMCPY2D)
        on DEFAULT => rows_2d(copy, true);
    cuMemcpy2DAsync_v2, cuMemcpy2DAsync_v2_ptsz(copy: *const CUDA_MEMCPY2D, stream: CUstream)
        on stream => rows_2d(copy, false);
    cuMemcpy3D_v2, cuMemcpy3D_v2_ptds(copy: *const CUDA_MEMCPY3D)
        on DEFAULT => rows_3d(copy, true);
    cuMemcpy3DAsync_v2, cuMemcpy3DAsync_v2_ptsz(copy: *const CUDA_MEMCPY3D, stream: CUstream)
        on stream => rows_3d(copy, false);
    cuMemcpy3DPeer, cuMemcpy3DPeer_ptds(copy: *const CUDA_MEMCPY3D_PEER)
        on DEFAULT => rows_3d_peer(copy, true);
    cuMemcpy3DPeerAsync, cuMemcpy3DPeerAsync_ptsz(copy: *const CUDA_MEMCPY3D_PEER, stream: CUstream)
        on stream => rows_3d_peer(copy, false);
    cuMemcpyBatchAsync, cuMemcpyBatchAsync_ptsz(
        dsts: *mut CUdeviceptr, srcs: *mut CUdeviceptr, sizes: *mut usize, count: usize,
        attributes: *mut CUmemcpyAttributes, indices: *mut usize, attribute_count: usize, failed: *mut usize,
        stream: CUstream
    ) on stream => batch(dsts, srcs, sizes, count);
    cuMemcpyBatchAsync_v2, cuMemcpyBatchAsync_v2_ptsz(
        dsts: *mut CUdeviceptr, srcs: *mut CUdeviceptr, sizes: *mut usize, count: usize,
        attributes: *mut CUmemcpyAttributes, indices: *mut usize, attribute_count: usize, stream: CUstream
    ) on stream => batch(dsts, srcs, sizes, count);
    cuMemcpy3DBatchAsync, cuMemcpy3DBatchAsync_ptsz(
        count: usize, list: *mut CUDA_MEMCPY3D_BATCH_OP, failed: *mut usize, flags: u64, stream: CUstream
    ) on stream => batch_3d(list, count);
    cuMemcpy3DBatchAsync_v2, cuMemcpy3DBatchAsync_v2_ptsz(
        count: usize, list: *mut CUDA_MEMCPY3D_BATCH_OP, flags: u64, stream: CUstream
    ) on stream => batch_3d(list, count);
    cuMemcpy3DWithAttributesAsync, cuMemcpy3DWithAttributesAsync_ptsz(
        op: *mut CUDA_MEMCPY3D_BATCH_OP, flags: u64, stream: CUstream
    ) on stream => batch_3d(op, 1);
}

// Copies between host and device. A copy to the device waits where the default stream has work
// before it. A copy from the device waits always, or, if asynchronous, where the host memory is
// pageable.
transfers! {
    cuMemcpyHtoD_v2, cuMemcpyHtoD_v2_ptds(dst: CUdeviceptr, src: *const c_void, n: usize)
        on DEFAULT => Transfer::Waits;
    cuMemcpyHtoA_v2, cuMemcpyHtoA_v2_ptds(dst: CUarray, to: usize, src: *const c_void, n: usize)
        on DEFAULT => Transfer::Waits;
    cuMemcpyDtoH_v2, cuMemcpyDtoH_v2_ptds(dst: *mut c_void, src: CUdeviceptr, n: usize)
        on DEFAULT => Transfer::Waits;
    cuMemcpyAtoH_v2, cuMemcpyAtoH_v2_ptds(dst: *mut c_void, src: CUarray, from: usize, n: usize)
        on DEFAULT => Transfer::Waits;
    cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2_ptsz(
        dst: *mut c_void, src: CUdeviceptr, n: usize, stream: CUstream
    ) on stream => Transfer::ToHost(dst.cast_const());
    cuMemcpyAtoHAsync_v2, cuMemcpyAtoHAsync_v2_ptsz(
        dst: *mut c_void, src: CUarray, from: usize, n: usize, stream: CUstream
    ) on stream => Transfer::ToHost(dst.cast_const());
}

// Fills.
transfers! {
    cuMemsetD8_v2, cuMemsetD8_v2_ptds(dst: CUdeviceptr, value: u8, n: usize) on DEFAULT => fill(1, n, 1);
    cuMemsetD16_v2, cuMemsetD16_v2_ptds(dst: CUdeviceptr, value: u16, n: usize) on DEFAULT => fill(1, n, 2);
    cuMemsetD32_v2, cuMemsetD32_v2_ptds(dst: CUdeviceptr, value: u32, n: usize) on DEFAULT => fill(1, n, 4);
    cuMemsetD8Async, cuMemsetD8Async_ptsz(dst: CUdeviceptr, value: u8, n: usize, stream: CUstream)
        on stream => fill(1, n, 1);
    cuMemsetD16Async, cuMemsetD16Async_ptsz(dst: CUdeviceptr, value: u16, n: usize, stream: CUstream)
        on stream => fill(1, n, 2);
    cuMemsetD32Async, cuMemsetD32Async_ptsz(dst: CUdeviceptr, value: u32, n: usize, stream: CUstream)
        on stream => fill(1, n, 4);
    cuMemsetD2D8_v2, cuMemsetD2D8_v2_ptds(dst: CUdeviceptr, pitch: usize, value: u8, width: usize, height: usize)
        on DEFAULT => fill(height, width, 1);
    cuMemsetD2D16_v2, cuMemsetD2D16_v2_ptds(dst: CUdeviceptr, pitch: usize, value: u16, width: usize, height: usize)
        on DEFAULT => fill(height, width, 2);
    cuMemsetD2D32_v2, cuMemsetD2D32_v2_ptds(dst: CUdeviceptr, pitch: usize, value: u32, width: usize, height: usize)
        on DEFAULT => fill(height, width, 4);
    cuMemsetD2D8Async, cuMemsetD2D8Async_ptsz(
        dst: CUdeviceptr, pitch: usize, value: u8, width: usize, height: usize, stream: CUstream
    ) on stream => fill(height, width, 1);
    cuMemsetD2D16Async, cuMemsetD2D16Async_ptsz(
        dst: CUdeviceptr, pitch: usize, value: u16, width: usize, height: usize, stream: CUstream
    ) on stream => fill(height, width, 2);
    cuMemsetD2D32Async, cuMemsetD2D32Async_ptsz(
        dst: CUdeviceptr, pitch: usize, value: u32, width: usize, height: usize, stream: CUstream
    ) on stream => fill(height, width, 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_say_what_a_copy_of_rows_is() {
        let device = (CU_MEMORYTYPE_DEVICE, 0, core::ptr::null());
        let array = (CU_MEMORYTYPE_ARRAY, 0, core::ptr::null());
        let host = (CU_MEMORYTYPE_HOST, 0, core::ptr::dangling());
        assert!(matches!(
            rows(device, array, 7, true),
            Transfer::Inside(Kind::Rows, 7)
        ));
        assert!(matches!(rows(device, host, 7, true), Transfer::Waits));
        assert!(matches!(rows(device, host, 7, false), Transfer::ToHost(at) if at == host.2));
        assert!(matches!(rows(host, device, 7, false), Transfer::Other));
    }
}
