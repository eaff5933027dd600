//! Copies and fills.
//!
//! Those inside device memory are work of the device, as kernels are, and pass the gate. Those over
//! the bus are work of the copy engines, which no share governs. Some of them make the host wait
//! for the device, which the neighbours need to know.

use core::ffi::c_void;

use fcsp_hook::launch::copies::{Call, Kind, SMALL, Share, Transfer, share, transfer};

use crate::call_real;
use crate::device::major;
use crate::ffi::hip::*;
use crate::memory::kind_of;
use crate::vendor::{Hip, Reentry, named};

/// Returns the share that a call on `stream` has to keep, if any.
#[inline(never)]
fn share_of(stream: hipStream_t, per_thread: bool) -> Option<Share<Hip>> {
    share::<Hip>(named(stream, per_thread))
}

fn is_on_device(address: *const c_void) -> bool {
    kind_of(address) == Some(hipMemoryTypeDevice)
}

/// Describes a copy in a direction that the caller names, or leaves to the addresses.
fn directed(
    dst: *const c_void,
    src: *const c_void,
    bytes: usize,
    what: Kind,
    kind: hipMemcpyKind,
    waits: bool,
) -> Transfer {
    let (from, to) = match kind {
        hipMemcpyDeviceToDevice => (true, true),
        hipMemcpyDeviceToHost => (true, false),
        hipMemcpyHostToDevice => (false, true),
        hipMemcpyHostToHost => (false, false),
        _ => (is_on_device(src), is_on_device(dst)),
    };
    match (from, to) {
        (true, true) => Transfer::Inside(what, bytes),
        _ if waits => Transfer::Waits,
        (true, false) => Transfer::ToHost(dst),
        _ => Transfer::Other,
    }
}

/// Describes a copy between memory and an array, which is on the device.
fn array(
    other: *const c_void,
    to_array: bool,
    bytes: usize,
    kind: hipMemcpyKind,
    waits: bool,
) -> Transfer {
    let here = core::ptr::null();
    let kind = match (kind, to_array) {
        (hipMemcpyDeviceToDevice, _) => kind,
        _ if is_on_device(other) => hipMemcpyDeviceToDevice,
        (_, true) => hipMemcpyHostToDevice,
        (_, false) => hipMemcpyDeviceToHost,
    };
    directed(
        if to_array { here } else { other },
        here,
        bytes,
        Kind::Rows,
        kind,
        waits,
    )
}

fn product(numbers: &[usize]) -> usize {
    numbers.iter().copied().fold(1, usize::saturating_mul)
}

/// # Safety
/// The copy is one that the caller of the wrapper vouches for, or null.
unsafe fn shaped(p: *const hipMemcpy3DParms, waits: bool) -> Transfer {
    // SAFETY: by this function's contract.
    let Some(c) = (unsafe { p.as_ref() }) else {
        return Transfer::Other;
    };
    let arrays = [c.srcArray, c.dstArray]
        .iter()
        .filter(|a| !a.is_null())
        .count();
    // Where an array takes part the width counts elements, of which only the most is known.
    let element = if arrays > 0 { 16 } else { 1 };
    let bytes = product(&[
        c.extent.width,
        c.extent.height,
        c.extent.depth.max(1),
        element,
    ]);
    match (c.srcArray.is_null(), c.dstArray.is_null()) {
        (false, false) => Transfer::Inside(Kind::Rows, bytes),
        (true, false) => array(c.srcPtr.ptr, true, bytes, c.kind, waits),
        (false, true) => array(c.dstPtr.ptr, false, bytes, c.kind, waits),
        (true, true) => directed(c.dstPtr.ptr, c.srcPtr.ptr, bytes, Kind::Rows, c.kind, waits),
    }
}

/// Returns whether one side of a copy, as the driver's structure describes it, is on the device.
fn inside(kind: hipMemoryType, at: hipDeviceptr_t) -> bool {
    match kind {
        hipMemoryTypeDevice | hipMemoryTypeArray => true,
        hipMemoryTypeUnified => is_on_device(at),
        _ => false,
    }
}

macro_rules! rows {
    ($($name:ident($copy:ty) = $($extent:ident)*;)*) => {$(
        /// # Safety
        /// The copy is one that the caller of the wrapper vouches for, or null.
        unsafe fn $name(copy: *const $copy, waits: bool) -> Transfer {
            // The kinds of memory had other numbers before HIP 6, and one of the structures other
            // widths.
            if major() < 6 {
                return if waits { Transfer::Waits } else { Transfer::Other };
            }
            // SAFETY: by this function's contract.
            let Some(c) = (unsafe { copy.as_ref() }) else { return Transfer::Other };
            let bytes = product(&[$(c.$extent),*]);
            match (inside(c.srcMemoryType, c.srcDevice), inside(c.dstMemoryType, c.dstDevice)) {
                (true, true) => Transfer::Inside(Kind::Rows, bytes),
                _ if waits => Transfer::Waits,
                (true, false) => Transfer::ToHost(c.dstHost.cast_const()),
                _ => Transfer::Other,
            }
        }
    )*};
}
rows! {
    rows_2d(hip_Memcpy2D) = WidthInBytes Height;
    rows_3d(HIP_MEMCPY3D) = WidthInBytes Height Depth;
}

/// # Safety
/// Each list holds `count` entries, as for the runtime.
unsafe fn batch(
    dsts: *mut *mut c_void,
    srcs: *mut *mut c_void,
    sizes: *mut usize,
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
/// The copy is one that the caller of the wrapper vouches for, or null.
unsafe fn between_devices(p: *const hipMemcpy3DPeerParms) -> Transfer {
    // SAFETY: by this function's contract.
    match unsafe { p.as_ref() } {
        Some(c) => Transfer::Inside(
            Kind::Peer,
            product(&[c.extent.width, c.extent.height, c.extent.depth.max(1)]),
        ),
        None => Transfer::Other,
    }
}

fn fill(rows: usize, elements: usize, width: usize) -> Transfer {
    Transfer::Inside(Kind::Fill, product(&[rows, elements, width]))
}

/// Wraps functions that move memory. What follows the stream says what is moved, and is looked at
/// only where somebody keeps a share.
macro_rules! transfers {
    ($($name:ident $per_thread:literal ($($arg:ident: $ty:ty),* $(,)?) on $stream:expr => $what:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> hipError_t {
            let call = || call_real!($name($($arg),*));
            let Some(share) = share_of($stream, $per_thread) else { return call() };
            let Some(_inside) = Reentry::enter() else { return call() };
            #[allow(unused_unsafe, clippy::macro_metavars_in_unsafe)]
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
            // runtime.
            let what = unsafe { $what };
            // SAFETY: the closure lives to the end of this function.
            unsafe { transfer(Some(share), what, Call::to(&call)) }
        }
    )*};
}

/// The stream of functions that name none.
const DEFAULT: hipStream_t = core::ptr::null_mut();

/// Pairs of functions: the second is the one in which stream 0 is the calling thread's own.
macro_rules! pairs {
    ($($plain:ident, $twin:ident($($arg:ident: $ty:ty),* $(,)?) on $stream:expr => $what:expr;)*) => {
        $(transfers! {
            $plain false ($($arg: $ty),*) on $stream => $what;
            $twin true ($($arg: $ty),*) on $stream => $what;
        })*
    };
}

// Between whatever the arguments say.
pairs! {
    hipMemcpy, hipMemcpy_spt(dst: *mut c_void, src: *const c_void, n: usize, kind: hipMemcpyKind)
        on DEFAULT => directed(dst, src, n, Kind::Copy, kind, true);
    hipMemcpyAsync, hipMemcpyAsync_spt(
        dst: *mut c_void, src: *const c_void, n: usize, kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => directed(dst, src, n, Kind::Copy, kind, false);
    hipMemcpy2D, hipMemcpy2D_spt(
        dst: *mut c_void, dpitch: usize, src: *const c_void, spitch: usize, width: usize, height: usize,
        kind: hipMemcpyKind
    ) on DEFAULT => directed(dst, src, product(&[width, height]), Kind::Rows, kind, true);
    hipMemcpy2DAsync, hipMemcpy2DAsync_spt(
        dst: *mut c_void, dpitch: usize, src: *const c_void, spitch: usize, width: usize, height: usize,
        kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => directed(dst, src, product(&[width, height]), Kind::Rows, kind, false);
    hipMemcpy2DToArray, hipMemcpy2DToArray_spt(
        dst: hipArray_t, x: usize, y: usize, src: *const c_void, spitch: usize, width: usize, height: usize,
        kind: hipMemcpyKind
    ) on DEFAULT => array(src, true, product(&[width, height]), kind, true);
    hipMemcpy2DToArrayAsync, hipMemcpy2DToArrayAsync_spt(
        dst: hipArray_t, x: usize, y: usize, src: *const c_void, spitch: usize, width: usize, height: usize,
        kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => array(src, true, product(&[width, height]), kind, false);
    hipMemcpy2DFromArray, hipMemcpy2DFromArray_spt(
        dst: *mut c_void, dpitch: usize, src: hipArray_const_t, x: usize, y: usize, width: usize, height: usize,
        kind: hipMemcpyKind
    ) on DEFAULT => array(dst, false, product(&[width, height]), kind, true);
    hipMemcpy2DFromArrayAsync, hipMemcpy2DFromArrayAsync_spt(
        dst: *mut c_void, dpitch: usize, src: hipArray_const_t, x: usize, y: usize, width: usize, height: usize,
        kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => array(dst, false, product(&[width, height]), kind, false);
    hipMemcpyFromArray, hipMemcpyFromArray_spt(
        dst: *mut c_void, src: hipArray_const_t, x: usize, y: usize, n: usize, kind: hipMemcpyKind
    ) on DEFAULT => array(dst, false, n, kind, true);
    hipMemcpy3D, hipMemcpy3D_spt(p: *const hipMemcpy3DParms) on DEFAULT => shaped(p, true);
    hipMemcpy3DAsync, hipMemcpy3DAsync_spt(p: *const hipMemcpy3DParms, stream: hipStream_t)
        on stream => shaped(p, false);
    hipMemcpyToSymbol, hipMemcpyToSymbol_spt(
        symbol: *const c_void, src: *const c_void, n: usize, offset: usize, kind: hipMemcpyKind
    ) on DEFAULT => array(src, true, n, kind, true);
    hipMemcpyToSymbolAsync, hipMemcpyToSymbolAsync_spt(
        symbol: *const c_void, src: *const c_void, n: usize, offset: usize, kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => array(src, true, n, kind, false);
    hipMemcpyFromSymbol, hipMemcpyFromSymbol_spt(
        dst: *mut c_void, symbol: *const c_void, n: usize, offset: usize, kind: hipMemcpyKind
    ) on DEFAULT => array(dst, false, n, kind, true);
    hipMemcpyFromSymbolAsync, hipMemcpyFromSymbolAsync_spt(
        dst: *mut c_void, symbol: *const c_void, n: usize, offset: usize, kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => array(dst, false, n, kind, false);
}

transfers! {
    hipMemcpyWithStream false (
        dst: *mut c_void, src: *const c_void, n: usize, kind: hipMemcpyKind, stream: hipStream_t
    ) on stream => directed(dst, src, n, Kind::Copy, kind, true);
    hipMemcpyToArray false (
        dst: hipArray_t, x: usize, y: usize, src: *const c_void, n: usize, kind: hipMemcpyKind
    ) on DEFAULT => array(src, true, n, kind, true);
    hipMemcpy2DArrayToArray false (
        dst: hipArray_t, dx: usize, dy: usize, src: hipArray_const_t, sx: usize, sy: usize, width: usize,
        height: usize, kind: hipMemcpyKind
    ) on DEFAULT => Transfer::Inside(Kind::Rows, product(&[width, height]));
    hipMemcpyParam2D false (copy: *const hip_Memcpy2D) on DEFAULT => rows_2d(copy, true);
    hipMemcpyParam2DAsync false (copy: *const hip_Memcpy2D, stream: hipStream_t) on stream => rows_2d(copy, false);
    hipDrvMemcpy2DUnaligned false (copy: *const hip_Memcpy2D) on DEFAULT => rows_2d(copy, true);
    hipDrvMemcpy3D false (copy: *const HIP_MEMCPY3D) on DEFAULT => rows_3d(copy, true);
    hipDrvMemcpy3DAsync false (copy: *const HIP_MEMCPY3D, stream: hipStream_t) on stream => rows_3d(copy, false);
    hipMemcpyBatchAsync false (
        dsts: *mut *mut c_void, srcs: *mut *mut c_void, sizes: *mut usize, count: usize,
        attributes: *mut hipMemcpyAttributes, indices: *mut usize, attribute_count: usize, failed: *mut usize,
        stream: hipStream_t
    ) on stream => batch(dsts, srcs, sizes, count);
}

// Inside one device, or from one to another.
transfers! {
    hipMemcpyDtoD false (dst: hipDeviceptr_t, src: hipDeviceptr_t, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Copy, n);
    hipMemcpyDtoDAsync false (dst: hipDeviceptr_t, src: hipDeviceptr_t, n: usize, stream: hipStream_t)
        on stream => Transfer::Inside(Kind::Copy, n);
    hipMemcpyAtoA false (dst: hipArray_t, to: usize, src: hipArray_t, from: usize, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Rows, n);
    hipMemcpyAtoD false (dst: hipDeviceptr_t, src: hipArray_t, from: usize, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Rows, n);
    hipMemcpyDtoA false (dst: hipArray_t, to: usize, src: hipDeviceptr_t, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Rows, n);
    hipMemcpyPeer false (dst: *mut c_void, to: i32, src: *const c_void, from: i32, n: usize)
        on DEFAULT => Transfer::Inside(Kind::Peer, n);
    hipMemcpyPeerAsync false (dst: *mut c_void, to: i32, src: *const c_void, from: i32, n: usize, stream: hipStream_t)
        on stream => Transfer::Inside(Kind::Peer, n);
    hipMemcpy3DPeer false (p: *mut hipMemcpy3DPeerParms) on DEFAULT => between_devices(p);
    hipMemcpy3DPeerAsync false (p: *mut hipMemcpy3DPeerParms, stream: hipStream_t) on stream => between_devices(p);
}

// Between host and device.
transfers! {
    hipMemcpyHtoD false (dst: hipDeviceptr_t, src: *const c_void, n: usize) on DEFAULT => Transfer::Waits;
    hipMemcpyDtoH false (dst: *mut c_void, src: hipDeviceptr_t, n: usize) on DEFAULT => Transfer::Waits;
    hipMemcpyHtoA false (dst: hipArray_t, to: usize, src: *const c_void, n: usize) on DEFAULT => Transfer::Waits;
    hipMemcpyAtoH false (dst: *mut c_void, src: hipArray_t, from: usize, n: usize) on DEFAULT => Transfer::Waits;
    hipMemcpyDtoHAsync false (dst: *mut c_void, src: hipDeviceptr_t, n: usize, stream: hipStream_t)
        on stream => Transfer::ToHost(dst.cast_const());
    hipMemcpyAtoHAsync false (dst: *mut c_void, src: hipArray_t, from: usize, n: usize, stream: hipStream_t)
        on stream => Transfer::ToHost(dst.cast_const());
}

// Fills.
pairs! {
    hipMemset, hipMemset_spt(dst: *mut c_void, value: i32, n: usize) on DEFAULT => fill(1, n, 1);
    hipMemsetAsync, hipMemsetAsync_spt(dst: *mut c_void, value: i32, n: usize, stream: hipStream_t)
        on stream => fill(1, n, 1);
    hipMemset2D, hipMemset2D_spt(dst: *mut c_void, pitch: usize, value: i32, width: usize, height: usize)
        on DEFAULT => fill(height, width, 1);
    hipMemset2DAsync, hipMemset2DAsync_spt(
        dst: *mut c_void, pitch: usize, value: i32, width: usize, height: usize, stream: hipStream_t
    ) on stream => fill(height, width, 1);
    hipMemset3D, hipMemset3D_spt(dst: hipPitchedPtr, value: i32, extent: hipExtent)
        on DEFAULT => fill(extent.depth, extent.height, extent.width);
    hipMemset3DAsync, hipMemset3DAsync_spt(dst: hipPitchedPtr, value: i32, extent: hipExtent, stream: hipStream_t)
        on stream => fill(extent.depth, extent.height, extent.width);
}
transfers! {
    hipMemsetD8 false (dst: hipDeviceptr_t, value: u8, n: usize) on DEFAULT => fill(1, n, 1);
    hipMemsetD16 false (dst: hipDeviceptr_t, value: u16, n: usize) on DEFAULT => fill(1, n, 2);
    hipMemsetD32 false (dst: hipDeviceptr_t, value: i32, n: usize) on DEFAULT => fill(1, n, 4);
    hipMemsetD8Async false (dst: hipDeviceptr_t, value: u8, n: usize, stream: hipStream_t) on stream => fill(1, n, 1);
    hipMemsetD16Async false (dst: hipDeviceptr_t, value: u16, n: usize, stream: hipStream_t)
        on stream => fill(1, n, 2);
    hipMemsetD32Async false (dst: hipDeviceptr_t, value: i32, n: usize, stream: hipStream_t)
        on stream => fill(1, n, 4);
    hipMemsetD2D8 false (dst: hipDeviceptr_t, pitch: usize, value: u8, width: usize, height: usize)
        on DEFAULT => fill(height, width, 1);
    hipMemsetD2D16 false (dst: hipDeviceptr_t, pitch: usize, value: u16, width: usize, height: usize)
        on DEFAULT => fill(height, width, 2);
    hipMemsetD2D32 false (dst: hipDeviceptr_t, pitch: usize, value: u32, width: usize, height: usize)
        on DEFAULT => fill(height, width, 4);
    hipMemsetD2D8Async false (
        dst: hipDeviceptr_t, pitch: usize, value: u8, width: usize, height: usize, stream: hipStream_t
    ) on stream => fill(height, width, 1);
    hipMemsetD2D16Async false (
        dst: hipDeviceptr_t, pitch: usize, value: u16, width: usize, height: usize, stream: hipStream_t
    ) on stream => fill(height, width, 2);
    hipMemsetD2D32Async false (
        dst: hipDeviceptr_t, pitch: usize, value: u32, width: usize, height: usize, stream: hipStream_t
    ) on stream => fill(height, width, 4);
}
