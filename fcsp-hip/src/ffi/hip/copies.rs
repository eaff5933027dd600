//! Copies and fills.

use core::ffi::c_void;

use fcsp_hook::functions;

use super::*;

functions! {
    /// Copies and fills.
    COPY_FUNCTIONS -> hipError_t;
    hipDrvMemcpy2DUnaligned(pCopy: *const hip_Memcpy2D);
    hipDrvMemcpy3D(pCopy: *const HIP_MEMCPY3D);
    hipDrvMemcpy3DAsync(pCopy: *const HIP_MEMCPY3D, stream: hipStream_t);
    hipMemPrefetchAsync(dev_ptr: *const c_void, count: usize, device: i32, stream: hipStream_t);
    hipMemPrefetchAsync_v2(dev_ptr: *const c_void, count: usize, location: hipMemLocation, flags: u32, stream: hipStream_t);
    hipMemcpy, hipMemcpy_spt(dst: *mut c_void, src: *const c_void, sizeBytes: usize, kind: hipMemcpyKind);
    hipMemcpy2D, hipMemcpy2D_spt(dst: *mut c_void, dpitch: usize, src: *const c_void, spitch: usize, width: usize, height: usize, kind: hipMemcpyKind);
    hipMemcpy2DArrayToArray(dst: hipArray_t, wOffsetDst: usize, hOffsetDst: usize, src: hipArray_const_t, wOffsetSrc: usize, hOffsetSrc: usize, width: usize, height: usize, kind: hipMemcpyKind);
    hipMemcpy2DAsync, hipMemcpy2DAsync_spt(dst: *mut c_void, dpitch: usize, src: *const c_void, spitch: usize, width: usize, height: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemcpy2DFromArray, hipMemcpy2DFromArray_spt(dst: *mut c_void, dpitch: usize, src: hipArray_const_t, wOffset: usize, hOffset: usize, width: usize, height: usize, kind: hipMemcpyKind);
    hipMemcpy2DFromArrayAsync, hipMemcpy2DFromArrayAsync_spt(dst: *mut c_void, dpitch: usize, src: hipArray_const_t, wOffset: usize, hOffset: usize, width: usize, height: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemcpy2DToArray, hipMemcpy2DToArray_spt(dst: hipArray_t, wOffset: usize, hOffset: usize, src: *const c_void, spitch: usize, width: usize, height: usize, kind: hipMemcpyKind);
    hipMemcpy2DToArrayAsync, hipMemcpy2DToArrayAsync_spt(dst: hipArray_t, wOffset: usize, hOffset: usize, src: *const c_void, spitch: usize, width: usize, height: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemcpy3D, hipMemcpy3D_spt(p: *const hipMemcpy3DParms);
    hipMemcpy3DAsync, hipMemcpy3DAsync_spt(p: *const hipMemcpy3DParms, stream: hipStream_t);
    hipMemcpy3DBatchAsync(numOps: usize, opList: *mut hipMemcpy3DBatchOp, failIdx: *mut usize, flags: u64, stream: hipStream_t);
    hipMemcpy3DPeer(p: *mut hipMemcpy3DPeerParms);
    hipMemcpy3DPeerAsync(p: *mut hipMemcpy3DPeerParms, stream: hipStream_t);
    hipMemcpyAsync, hipMemcpyAsync_spt(dst: *mut c_void, src: *const c_void, sizeBytes: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemcpyAtoA(dstArray: hipArray_t, dstOffset: usize, srcArray: hipArray_t, srcOffset: usize, ByteCount: usize);
    hipMemcpyAtoD(dstDevice: hipDeviceptr_t, srcArray: hipArray_t, srcOffset: usize, ByteCount: usize);
    hipMemcpyAtoH(dst: *mut c_void, srcArray: hipArray_t, srcOffset: usize, count: usize);
    hipMemcpyAtoHAsync(dstHost: *mut c_void, srcArray: hipArray_t, srcOffset: usize, ByteCount: usize, stream: hipStream_t);
    hipMemcpyBatchAsync(dsts: *mut *mut c_void, srcs: *mut *mut c_void, sizes: *mut usize, count: usize, attrs: *mut hipMemcpyAttributes, attrsIdxs: *mut usize, numAttrs: usize, failIdx: *mut usize, stream: hipStream_t);
    hipMemcpyDtoA(dstArray: hipArray_t, dstOffset: usize, srcDevice: hipDeviceptr_t, ByteCount: usize);
    hipMemcpyDtoD(dst: hipDeviceptr_t, src: hipDeviceptr_t, sizeBytes: usize);
    hipMemcpyDtoDAsync(dst: hipDeviceptr_t, src: hipDeviceptr_t, sizeBytes: usize, stream: hipStream_t);
    hipMemcpyDtoH(dst: *mut c_void, src: hipDeviceptr_t, sizeBytes: usize);
    hipMemcpyDtoHAsync(dst: *mut c_void, src: hipDeviceptr_t, sizeBytes: usize, stream: hipStream_t);
    hipMemcpyFromArray, hipMemcpyFromArray_spt(dst: *mut c_void, srcArray: hipArray_const_t, wOffset: usize, hOffset: usize, count: usize, kind: hipMemcpyKind);
    hipMemcpyFromSymbol, hipMemcpyFromSymbol_spt(dst: *mut c_void, symbol: *const c_void, sizeBytes: usize, offset: usize, kind: hipMemcpyKind);
    hipMemcpyFromSymbolAsync, hipMemcpyFromSymbolAsync_spt(dst: *mut c_void, symbol: *const c_void, sizeBytes: usize, offset: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemcpyHtoA(dstArray: hipArray_t, dstOffset: usize, srcHost: *const c_void, count: usize);
    hipMemcpyHtoAAsync(dstArray: hipArray_t, dstOffset: usize, srcHost: *const c_void, ByteCount: usize, stream: hipStream_t);
    hipMemcpyHtoD(dst: hipDeviceptr_t, src: *const c_void, sizeBytes: usize);
    hipMemcpyHtoDAsync(dst: hipDeviceptr_t, src: *const c_void, sizeBytes: usize, stream: hipStream_t);
    hipMemcpyParam2D(pCopy: *const hip_Memcpy2D);
    hipMemcpyParam2DAsync(pCopy: *const hip_Memcpy2D, stream: hipStream_t);
    hipMemcpyPeer(dst: *mut c_void, dstDeviceId: i32, src: *const c_void, srcDeviceId: i32, sizeBytes: usize);
    hipMemcpyPeerAsync(dst: *mut c_void, dstDeviceId: i32, src: *const c_void, srcDevice: i32, sizeBytes: usize, stream: hipStream_t);
    hipMemcpyToArray(dst: hipArray_t, wOffset: usize, hOffset: usize, src: *const c_void, count: usize, kind: hipMemcpyKind);
    hipMemcpyToSymbol, hipMemcpyToSymbol_spt(symbol: *const c_void, src: *const c_void, sizeBytes: usize, offset: usize, kind: hipMemcpyKind);
    hipMemcpyToSymbolAsync, hipMemcpyToSymbolAsync_spt(symbol: *const c_void, src: *const c_void, sizeBytes: usize, offset: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemcpyWithStream(dst: *mut c_void, src: *const c_void, sizeBytes: usize, kind: hipMemcpyKind, stream: hipStream_t);
    hipMemset, hipMemset_spt(dst: *mut c_void, value: i32, sizeBytes: usize);
    hipMemset2D, hipMemset2D_spt(dst: *mut c_void, pitch: usize, value: i32, width: usize, height: usize);
    hipMemset2DAsync, hipMemset2DAsync_spt(dst: *mut c_void, pitch: usize, value: i32, width: usize, height: usize, stream: hipStream_t);
    hipMemset3D, hipMemset3D_spt(pitchedDevPtr: hipPitchedPtr, value: i32, extent: hipExtent);
    hipMemset3DAsync, hipMemset3DAsync_spt(pitchedDevPtr: hipPitchedPtr, value: i32, extent: hipExtent, stream: hipStream_t);
    hipMemsetAsync, hipMemsetAsync_spt(dst: *mut c_void, value: i32, sizeBytes: usize, stream: hipStream_t);
    hipMemsetD16(dest: hipDeviceptr_t, value: u16, count: usize);
    hipMemsetD16Async(dest: hipDeviceptr_t, value: u16, count: usize, stream: hipStream_t);
    hipMemsetD2D16(dst: hipDeviceptr_t, dstPitch: usize, value: u16, width: usize, height: usize);
    hipMemsetD2D16Async(dst: hipDeviceptr_t, dstPitch: usize, value: u16, width: usize, height: usize, stream: hipStream_t);
    hipMemsetD2D32(dst: hipDeviceptr_t, dstPitch: usize, value: u32, width: usize, height: usize);
    hipMemsetD2D32Async(dst: hipDeviceptr_t, dstPitch: usize, value: u32, width: usize, height: usize, stream: hipStream_t);
    hipMemsetD2D8(dst: hipDeviceptr_t, dstPitch: usize, value: u8, width: usize, height: usize);
    hipMemsetD2D8Async(dst: hipDeviceptr_t, dstPitch: usize, value: u8, width: usize, height: usize, stream: hipStream_t);
    hipMemsetD32(dest: hipDeviceptr_t, value: i32, count: usize);
    hipMemsetD32Async(dst: hipDeviceptr_t, value: i32, count: usize, stream: hipStream_t);
    hipMemsetD8(dest: hipDeviceptr_t, value: u8, count: usize);
    hipMemsetD8Async(dest: hipDeviceptr_t, value: u8, count: usize, stream: hipStream_t);
}
