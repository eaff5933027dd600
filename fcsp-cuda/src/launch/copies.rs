//! Copies and fills. Those inside device memory are the device's work as kernels are, and pass the gate; those over the
//! bus are the copy engines' work, which no share governs, but some of them make the host wait for the device, which
//! neighbours need to know.

use core::ffi::c_void;

use fcsp_core::share::cost;

use super::{beside_captures, compute, is_free, named, waiting};
use crate::call_real;
use crate::compute::{Compute, Drains, Known, Work};
use crate::ffi::cuda::*;
use crate::memory::graph;
use crate::process::shielded;

/// Copies and fills of fewer bytes than this are not worth asking for.
const SMALL: usize = 1 << 20;
/// Bytes an element of an array has at most.
const ELEMENT: usize = 16;

/// What the costs of copies are kept apart by, beside their size.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Copy = 0,
    Fill = 1,
    Rows = 2,
    Peer = 3,
    Batch = 4,
}

/// What a call moves.
#[derive(Debug, Clone, Copy)]
enum Transfer {
    /// This many bytes inside device memory.
    Inside(Kind, usize),
    /// To host memory; the call comes back when it is done if the memory is the host's alone.
    ToHost(*const c_void),
    /// Between host and device, and the call may wait for the device.
    Waits,
    /// Over the bus.
    Other,
}

/// A share that a call has to keep to, and the stream by its true name.
#[derive(Clone, Copy)]
struct Share {
    compute: &'static Compute,
    stream: CUstream,
}

/// The share that a call on `stream` has to keep to, if any. Not inlined, here and below: copies are not so short that a
/// call counts, and there are many of them.
#[inline(never)]
fn share(stream: CUstream, per_thread: bool) -> Option<Share> {
    if is_free() {
        return None;
    }
    let compute = compute()?;
    let stream = named(stream, per_thread);
    let recorded = graph::capturing() && graph::is_capturing(stream);
    (!recorded).then_some(Share { compute, stream })
}

/// The driver's function with its arguments, without a type of its own.
#[derive(Clone, Copy)]
struct Call {
    run: unsafe fn(*const c_void) -> CUresult,
    closure: *const c_void,
}

impl Call {
    fn to<C: Fn() -> CUresult>(closure: &C) -> Self {
        unsafe fn run<C: Fn() -> CUresult>(closure: *const c_void) -> CUresult {
            // SAFETY: made below from a reference to such a closure.
            unsafe { (*closure.cast::<C>())() }
        }
        Self {
            run: run::<C>,
            closure: core::ptr::from_ref(closure).cast(),
        }
    }

    /// # Safety
    /// The closure must still be there.
    unsafe fn make(self) -> CUresult {
        // SAFETY: the function is the one for this closure.
        unsafe { (self.run)(self.closure) }
    }
}

/// Submits or lets by what `call` does.
///
/// # Safety
/// The closure of `call` must outlive this.
#[inline(never)]
unsafe fn transfer(share: Option<Share>, what: Transfer, call: Call) -> CUresult {
    // SAFETY: by this function's contract.
    let call = || unsafe { call.make() };
    let Some(Share { compute, stream }) = share else {
        return call();
    };
    shielded(CUDA_ERROR_UNKNOWN, || {
        let _beside = beside_captures();
        match what {
            Transfer::Inside(kind, bytes) if bytes >= SMALL => {
                let key = key(kind, bytes);
                let Known {
                    class,
                    sample,
                    settled,
                } = compute.functions.copy(key, compute.countdown());
                let work = Work {
                    key: cost::graph_key(key),
                    blocks: 0,
                    class,
                    sample,
                    settled,
                };
                compute.submit(work, stream, call)
            }
            Transfer::ToHost(memory) if compute.is_busy() && is_pageable(memory) => {
                waiting(Drains::Stream(stream), call)
            }
            Transfer::Waits => waiting(Drains::Something, call),
            _ => call(),
        }
    })
}

/// Names copies of one kind and about one size, in steps of a sixteenth. Odd, which no handle is.
fn key(kind: Kind, bytes: usize) -> u64 {
    let whole = bytes.checked_next_power_of_two().unwrap_or(1 << 63);
    let steps = bytes.div_ceil((whole / 16).max(1)) as u64;
    (kind as u64) << 16 | steps << 9 | u64::from(whole.ilog2()) << 1 | 1
}

/// The kind of memory at an address, as far as the driver knows it: host memory of its own is `CU_MEMORYTYPE_HOST`.
fn kind_of(address: CUdeviceptr) -> Option<CUmemorytype> {
    let mut kind: CUmemorytype = 0;
    (call_real!(cuPointerGetAttribute(
        (&raw mut kind).cast(),
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        address
    )) == CUDA_SUCCESS)
        .then_some(kind)
}

fn is_on_device(address: CUdeviceptr) -> bool {
    kind_of(address) == Some(CU_MEMORYTYPE_DEVICE)
}

fn is_pageable(memory: *const c_void) -> bool {
    kind_of(memory.addr() as CUdeviceptr).is_none()
}

/// A copy whose sides the addresses tell.
fn between(dst: CUdeviceptr, src: CUdeviceptr, bytes: usize, waits: bool) -> Transfer {
    match (is_on_device(src), is_on_device(dst)) {
        (true, true) => Transfer::Inside(Kind::Copy, bytes),
        _ if waits => Transfer::Waits,
        (true, false) => Transfer::ToHost(core::ptr::without_provenance(dst as usize)),
        _ => Transfer::Other,
    }
}

/// One side of a copy of rows: the kind of its memory, its address if that is asked, its address in the host.
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
        .filter(|&index| unsafe { is_on_device(*srcs.add(index)) && is_on_device(*dsts.add(index)) })
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
            // Between addresses an element is a byte; of an array's elements only the most is known.
            let element = if op.src.type_ == POINTER && op.dst.type_ == POINTER {
                1
            } else {
                ELEMENT
            };
            let CUextent3D { width, height, depth } = op.extent;
            [width, height, depth]
                .into_iter()
                .fold(element, usize::saturating_mul)
        })
        .fold(0, usize::saturating_add);
    Transfer::Inside(Kind::Batch, bytes)
}

fn fill(rows: usize, elements: usize, width: usize) -> Transfer {
    Transfer::Inside(Kind::Fill, rows.saturating_mul(elements).saturating_mul(width))
}

/// Wraps pairs of functions: the second is the one in which stream 0 is the calling thread's own. What follows the
/// stream says what is moved, and is looked at only where somebody keeps a share.
macro_rules! transfers {
    ($($plain:ident, $twin:ident($($arg:ident: $ty:ty),* $(,)?) on $stream:expr => $what:expr;)*) => {$(
        transfers!(@one $plain false ($($arg: $ty),*) $stream, $what);
        transfers!(@one $twin true ($($arg: $ty),*) $stream, $what);
    )*};
    (@one $name:ident $per_thread:literal ($($arg:ident: $ty:ty),*) $stream:expr, $what:expr) => {
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> CUresult {
            let share = share($stream, $per_thread);
            let what = match share {
                #[allow(unused_unsafe, clippy::macro_metavars_in_unsafe)]
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the driver.
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

// Between host and device. What goes to the device is waited for where the default stream has work before it; what
// comes from it is waited for always, or where the host's memory is its own.
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
    fn keys_tell_kinds_and_sizes_apart_and_are_odd() {
        let mut seen = std::collections::HashSet::new();
        for kind in [Kind::Copy, Kind::Fill, Kind::Rows, Kind::Peer, Kind::Batch] {
            for power in 20..40 {
                for sixteenth in 9..=16usize {
                    let bytes = (1 << power) / 16 * sixteenth;
                    let key = key(kind, bytes);
                    assert_eq!(key % 2, 1);
                    assert!(seen.insert(key), "{kind:?} of {bytes}");
                    assert_eq!(key, super::key(kind, bytes - 1), "{kind:?} of {bytes} less one");
                }
            }
        }
        assert_eq!(key(Kind::Copy, usize::MAX) % 2, 1);
    }

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
