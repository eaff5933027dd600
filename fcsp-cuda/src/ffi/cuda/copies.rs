//! Copies, fills and migrations: device work that is not a kernel.

use core::ffi::c_void;

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    COPY_FUNCTIONS -> CUresult;

    cuMemAdvise_v2(devPtr: CUdeviceptr, count: usize, advice: CUmem_advise, location: CUmemLocation);
    cuMemcpyHtoD(dstDevice: CUdeviceptr_v1, srcHost: *const c_void, ByteCount: u32);
    cuMemcpyDtoH(dstHost: *mut c_void, srcDevice: CUdeviceptr_v1, ByteCount: u32);
    cuMemcpyDtoD(dstDevice: CUdeviceptr_v1, srcDevice: CUdeviceptr_v1, ByteCount: u32);
    cuMemcpyDtoA(dstArray: CUarray, dstOffset: u32, srcDevice: CUdeviceptr_v1, ByteCount: u32);
    cuMemcpyAtoD(dstDevice: CUdeviceptr_v1, srcArray: CUarray, srcOffset: u32, ByteCount: u32);
    cuMemcpyHtoA(dstArray: CUarray, dstOffset: u32, srcHost: *const c_void, ByteCount: u32);
    cuMemcpyAtoH(dstHost: *mut c_void, srcArray: CUarray, srcOffset: u32, ByteCount: u32);
    cuMemcpyAtoA(dstArray: CUarray, dstOffset: u32, srcArray: CUarray, srcOffset: u32, ByteCount: u32);
    cuMemcpyHtoAAsync(
        dstArray: CUarray, dstOffset: u32, srcHost: *const c_void, ByteCount: u32, hStream: CUstream
    );
    cuMemcpyAtoHAsync(
        dstHost: *mut c_void, srcArray: CUarray, srcOffset: u32, ByteCount: u32, hStream: CUstream
    );
    cuMemcpy2D(pCopy: *const CUDA_MEMCPY2D_v1);
    cuMemcpy2DUnaligned(pCopy: *const CUDA_MEMCPY2D_v1);
    cuMemcpy3D(pCopy: *const CUDA_MEMCPY3D_v1);
    cuMemcpyHtoDAsync(dstDevice: CUdeviceptr_v1, srcHost: *const c_void, ByteCount: u32, hStream: CUstream);
    cuMemcpyDtoHAsync(dstHost: *mut c_void, srcDevice: CUdeviceptr_v1, ByteCount: u32, hStream: CUstream);
    cuMemcpyDtoDAsync(
        dstDevice: CUdeviceptr_v1, srcDevice: CUdeviceptr_v1, ByteCount: u32, hStream: CUstream
    );
    cuMemcpy2DAsync(pCopy: *const CUDA_MEMCPY2D_v1, hStream: CUstream);
    cuMemcpy3DAsync(pCopy: *const CUDA_MEMCPY3D_v1, hStream: CUstream);
    cuMemsetD8(dstDevice: CUdeviceptr_v1, uc: u8, N: u32);
    cuMemsetD16(dstDevice: CUdeviceptr_v1, us: u16, N: u32);
    cuMemsetD32(dstDevice: CUdeviceptr_v1, ui: u32, N: u32);
    cuMemsetD2D8(dstDevice: CUdeviceptr_v1, dstPitch: u32, uc: u8, Width: u32, Height: u32);
    cuMemsetD2D16(dstDevice: CUdeviceptr_v1, dstPitch: u32, us: u16, Width: u32, Height: u32);
    cuMemsetD2D32(dstDevice: CUdeviceptr_v1, dstPitch: u32, ui: u32, Width: u32, Height: u32);
    cuMemcpyHtoD_v2, cuMemcpyHtoD_v2_ptds(dstDevice: CUdeviceptr, srcHost: *const c_void, ByteCount: usize);
    cuMemcpyDtoH_v2, cuMemcpyDtoH_v2_ptds(dstHost: *mut c_void, srcDevice: CUdeviceptr, ByteCount: usize);
    cuMemcpyDtoD_v2, cuMemcpyDtoD_v2_ptds(dstDevice: CUdeviceptr, srcDevice: CUdeviceptr, ByteCount: usize);
    cuMemcpyDtoA_v2, cuMemcpyDtoA_v2_ptds(
        dstArray: CUarray, dstOffset: usize, srcDevice: CUdeviceptr, ByteCount: usize
    );
    cuMemcpyAtoD_v2, cuMemcpyAtoD_v2_ptds(
        dstDevice: CUdeviceptr, srcArray: CUarray, srcOffset: usize, ByteCount: usize
    );
    cuMemcpyHtoA_v2, cuMemcpyHtoA_v2_ptds(
        dstArray: CUarray, dstOffset: usize, srcHost: *const c_void, ByteCount: usize
    );
    cuMemcpyAtoH_v2, cuMemcpyAtoH_v2_ptds(
        dstHost: *mut c_void, srcArray: CUarray, srcOffset: usize, ByteCount: usize
    );
    cuMemcpyAtoA_v2, cuMemcpyAtoA_v2_ptds(
        dstArray: CUarray, dstOffset: usize, srcArray: CUarray, srcOffset: usize, ByteCount: usize
    );
    cuMemcpyHtoAAsync_v2, cuMemcpyHtoAAsync_v2_ptsz(
        dstArray: CUarray, dstOffset: usize, srcHost: *const c_void, ByteCount: usize, hStream: CUstream
    );
    cuMemcpyAtoHAsync_v2, cuMemcpyAtoHAsync_v2_ptsz(
        dstHost: *mut c_void, srcArray: CUarray, srcOffset: usize, ByteCount: usize, hStream: CUstream
    );
    cuMemcpy2D_v2, cuMemcpy2D_v2_ptds(pCopy: *const CUDA_MEMCPY2D);
    cuMemcpy2DUnaligned_v2, cuMemcpy2DUnaligned_v2_ptds(pCopy: *const CUDA_MEMCPY2D);
    cuMemcpy3D_v2, cuMemcpy3D_v2_ptds(pCopy: *const CUDA_MEMCPY3D);
    cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync_v2_ptsz(
        dstDevice: CUdeviceptr, srcHost: *const c_void, ByteCount: usize, hStream: CUstream
    );
    cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2_ptsz(
        dstHost: *mut c_void, srcDevice: CUdeviceptr, ByteCount: usize, hStream: CUstream
    );
    cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync_v2_ptsz(
        dstDevice: CUdeviceptr, srcDevice: CUdeviceptr, ByteCount: usize, hStream: CUstream
    );
    cuMemcpy2DAsync_v2, cuMemcpy2DAsync_v2_ptsz(pCopy: *const CUDA_MEMCPY2D, hStream: CUstream);
    cuMemcpy3DAsync_v2, cuMemcpy3DAsync_v2_ptsz(pCopy: *const CUDA_MEMCPY3D, hStream: CUstream);
    cuMemsetD8_v2, cuMemsetD8_v2_ptds(dstDevice: CUdeviceptr, uc: u8, N: usize);
    cuMemsetD16_v2, cuMemsetD16_v2_ptds(dstDevice: CUdeviceptr, us: u16, N: usize);
    cuMemsetD32_v2, cuMemsetD32_v2_ptds(dstDevice: CUdeviceptr, ui: u32, N: usize);
    cuMemsetD2D8_v2, cuMemsetD2D8_v2_ptds(
        dstDevice: CUdeviceptr, dstPitch: usize, uc: u8, Width: usize, Height: usize
    );
    cuMemsetD2D16_v2, cuMemsetD2D16_v2_ptds(
        dstDevice: CUdeviceptr, dstPitch: usize, us: u16, Width: usize, Height: usize
    );
    cuMemsetD2D32_v2, cuMemsetD2D32_v2_ptds(
        dstDevice: CUdeviceptr, dstPitch: usize, ui: u32, Width: usize, Height: usize
    );
    cuMemcpy, cuMemcpy_ptds(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize);
    cuMemcpyAsync, cuMemcpyAsync_ptsz(
        dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize, hStream: CUstream
    );
    cuMemcpyPeer, cuMemcpyPeer_ptds(
        dstDevice: CUdeviceptr, dstContext: CUcontext, srcDevice: CUdeviceptr, srcContext: CUcontext,
        ByteCount: usize
    );
    cuMemcpyPeerAsync, cuMemcpyPeerAsync_ptsz(
        dstDevice: CUdeviceptr, dstContext: CUcontext, srcDevice: CUdeviceptr, srcContext: CUcontext,
        ByteCount: usize, hStream: CUstream
    );
    cuMemcpy3DPeer, cuMemcpy3DPeer_ptds(pCopy: *const CUDA_MEMCPY3D_PEER);
    cuMemcpy3DPeerAsync, cuMemcpy3DPeerAsync_ptsz(pCopy: *const CUDA_MEMCPY3D_PEER, hStream: CUstream);
    cuMemcpyBatchAsync, cuMemcpyBatchAsync_ptsz(
        dsts: *mut CUdeviceptr, srcs: *mut CUdeviceptr, sizes: *mut usize, count: usize,
        attrs: *mut CUmemcpyAttributes, attrsIdxs: *mut usize, numAttrs: usize, failIdx: *mut usize,
        hStream: CUstream
    );
    cuMemcpyBatchAsync_v2, cuMemcpyBatchAsync_v2_ptsz(
        dsts: *mut CUdeviceptr, srcs: *mut CUdeviceptr, sizes: *mut usize, count: usize,
        attrs: *mut CUmemcpyAttributes, attrsIdxs: *mut usize, numAttrs: usize, hStream: CUstream
    );
    cuMemcpy3DBatchAsync, cuMemcpy3DBatchAsync_ptsz(
        numOps: usize, opList: *mut CUDA_MEMCPY3D_BATCH_OP, failIdx: *mut usize, flags: u64, hStream: CUstream
    );
    cuMemcpy3DBatchAsync_v2, cuMemcpy3DBatchAsync_v2_ptsz(
        numOps: usize, opList: *mut CUDA_MEMCPY3D_BATCH_OP, flags: u64, hStream: CUstream
    );
    cuMemcpyWithAttributesAsync, cuMemcpyWithAttributesAsync_ptsz(
        dst: CUdeviceptr, src: CUdeviceptr, size: usize, attr: *mut CUmemcpyAttributes, hStream: CUstream
    );
    cuMemcpy3DWithAttributesAsync, cuMemcpy3DWithAttributesAsync_ptsz(
        op: *mut CUDA_MEMCPY3D_BATCH_OP, flags: u64, hStream: CUstream
    );
    cuMemsetD8Async, cuMemsetD8Async_ptsz(dstDevice: CUdeviceptr, uc: u8, N: usize, hStream: CUstream);
    cuMemsetD16Async, cuMemsetD16Async_ptsz(dstDevice: CUdeviceptr, us: u16, N: usize, hStream: CUstream);
    cuMemsetD32Async, cuMemsetD32Async_ptsz(dstDevice: CUdeviceptr, ui: u32, N: usize, hStream: CUstream);
    cuMemsetD2D8Async, cuMemsetD2D8Async_ptsz(
        dstDevice: CUdeviceptr, dstPitch: usize, uc: u8, Width: usize, Height: usize, hStream: CUstream
    );
    cuMemsetD2D16Async, cuMemsetD2D16Async_ptsz(
        dstDevice: CUdeviceptr, dstPitch: usize, us: u16, Width: usize, Height: usize, hStream: CUstream
    );
    cuMemsetD2D32Async, cuMemsetD2D32Async_ptsz(
        dstDevice: CUdeviceptr, dstPitch: usize, ui: u32, Width: usize, Height: usize, hStream: CUstream
    );
    cuMemPrefetchAsync, cuMemPrefetchAsync_ptsz(
        devPtr: CUdeviceptr, count: usize, dstDevice: CUdevice, hStream: CUstream
    );
    cuMemPrefetchAsync_v2, cuMemPrefetchAsync_v2_ptsz(
        devPtr: CUdeviceptr, count: usize, location: CUmemLocation, flags: u32, hStream: CUstream
    );
    cuMemAdvise(devPtr: CUdeviceptr, count: usize, advice: CUmem_advise, device: CUdevice);
    cuMemPrefetchBatchAsync, cuMemPrefetchBatchAsync_ptsz(
        dptrs: *mut CUdeviceptr, sizes: *mut usize, count: usize, prefetchLocs: *mut CUmemLocation,
        prefetchLocIdxs: *mut usize, numPrefetchLocs: usize, flags: u64, hStream: CUstream
    );
    cuMemDiscardBatchAsync, cuMemDiscardBatchAsync_ptsz(
        dptrs: *mut CUdeviceptr, sizes: *mut usize, count: usize, flags: u64, hStream: CUstream
    );
    cuMemDiscardAndPrefetchBatchAsync, cuMemDiscardAndPrefetchBatchAsync_ptsz(
        dptrs: *mut CUdeviceptr, sizes: *mut usize, count: usize, prefetchLocs: *mut CUmemLocation,
        prefetchLocIdxs: *mut usize, numPrefetchLocs: usize, flags: u64, hStream: CUstream
    );
}
