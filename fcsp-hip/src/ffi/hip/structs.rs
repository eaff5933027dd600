//! Structs that wrappers look into or pass by value.

use core::ffi::{c_char, c_void};

use fcsp_hook::layouts;

use super::*;

/// Features of an old device: a word of bits.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hipDeviceArch_t(pub u32);

layouts! {
    /// Every struct of this module.
    STRUCTS;
    /// Blocks of a grid, or threads of a block; passed by value.
    dim3 { x: u32, y: u32, z: u32, }
    hipExtent { width: usize, height: usize, depth: usize, }
    hipPos { x: usize, y: usize, z: usize, }
    hipPitchedPtr { ptr: *mut c_void, pitch: usize, xsize: usize, ysize: usize, }
    hipChannelFormatDesc { x: i32, y: i32, z: i32, w: i32, f: u32, }
    hipUUID { bytes: [c_char; 16], }
    hipIpcMemHandle_t { reserved: [c_char; 64], }
    HIP_ARRAY_DESCRIPTOR { Width: usize, Height: usize, Format: u32, NumChannels: u32, }
    HIP_ARRAY3D_DESCRIPTOR { Width: usize, Height: usize, Depth: usize, Format: u32, NumChannels: u32, Flags: u32, }
    hipMemLocation { type_: hipMemLocationType = "type", id: i32, }
    hipMemAccessDesc { location: hipMemLocation, flags: hipMemAccessFlags, }
    hipMemAllocationProp {
        type_: hipMemAllocationType = "type",
        requestedHandleType: hipMemAllocationHandleType,
        location: hipMemLocation,
        win32HandleMetaData: *mut c_void,
        allocFlags: [u8; 4],
    }
    hipMemPoolProps {
        allocType: hipMemAllocationType,
        handleTypes: hipMemAllocationHandleType,
        location: hipMemLocation,
        win32SecurityAttributes: *mut c_void,
        maxSize: usize,
        reserved: [u8; 56],
    }
    hipMemAllocNodeParams {
        poolProps: hipMemPoolProps,
        accessDescs: *const hipMemAccessDesc,
        accessDescCount: usize,
        bytesize: usize,
        dptr: *mut c_void,
    }
    /// Any node. Only nodes that hold memory are examined.
    hipGraphNodeParams {
        type_: hipGraphNodeType = "type",
        reserved0: [i32; 3],
        value: hipGraphNodeParamsValue = "reserved1",
        reserved2: i64,
    }
    hipMemcpy3DParms {
        srcArray: hipArray_t,
        srcPos: hipPos,
        srcPtr: hipPitchedPtr,
        dstArray: hipArray_t,
        dstPos: hipPos,
        dstPtr: hipPitchedPtr,
        extent: hipExtent,
        kind: hipMemcpyKind,
    }
    hipMemcpy3DPeerParms {
        srcArray: hipArray_t,
        srcPos: hipPos,
        srcPtr: hipPitchedPtr,
        srcDevice: i32,
        dstArray: hipArray_t,
        dstPos: hipPos,
        dstPtr: hipPitchedPtr,
        dstDevice: i32,
        extent: hipExtent,
    }
    hip_Memcpy2D {
        srcXInBytes: usize,
        srcY: usize,
        srcMemoryType: hipMemoryType,
        srcHost: *const c_void,
        srcDevice: hipDeviceptr_t,
        srcArray: hipArray_t,
        srcPitch: usize,
        dstXInBytes: usize,
        dstY: usize,
        dstMemoryType: hipMemoryType,
        dstHost: *mut c_void,
        dstDevice: hipDeviceptr_t,
        dstArray: hipArray_t,
        dstPitch: usize,
        WidthInBytes: usize,
        Height: usize,
    }
    HIP_MEMCPY3D {
        srcXInBytes: usize,
        srcY: usize,
        srcZ: usize,
        srcLOD: usize,
        srcMemoryType: hipMemoryType,
        srcHost: *const c_void,
        srcDevice: hipDeviceptr_t,
        srcArray: hipArray_t,
        srcPitch: usize,
        srcHeight: usize,
        dstXInBytes: usize,
        dstY: usize,
        dstZ: usize,
        dstLOD: usize,
        dstMemoryType: hipMemoryType,
        dstHost: *mut c_void,
        dstDevice: hipDeviceptr_t,
        dstArray: hipArray_t,
        dstPitch: usize,
        dstHeight: usize,
        WidthInBytes: usize,
        Height: usize,
        Depth: usize,
    }
    hipPointerAttribute_t {
        type_: hipMemoryType = "type",
        device: i32,
        devicePointer: *mut c_void,
        hostPointer: *mut c_void,
        isManaged: i32,
        allocationFlags: u32,
    }
    hipLaunchConfig_t {
        gridDim: dim3,
        blockDim: dim3,
        dynamicSmemBytes: usize,
        stream: hipStream_t,
        attrs: *mut hipLaunchAttribute,
        numAttrs: u32,
    }
    HIP_LAUNCH_CONFIG {
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        hStream: hipStream_t,
        attrs: *mut hipLaunchAttribute,
        numAttrs: u32,
    }
    hipLaunchParams {
        func: *mut c_void,
        gridDim: dim3,
        blockDim: dim3,
        args: *mut *mut c_void,
        sharedMem: usize,
        stream: hipStream_t,
    }
    hipFunctionLaunchParams {
        function: hipFunction_t,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        hStream: hipStream_t,
        kernelParams: *mut *mut c_void,
    }
    /// Since HIP 6.
    hipDeviceProp_tR0600 {
        name: [c_char; 256],
        uuid: hipUUID,
        luid: [c_char; 8],
        luidDeviceNodeMask: u32,
        totalGlobalMem: usize,
        sharedMemPerBlock: usize,
        regsPerBlock: i32,
        warpSize: i32,
        memPitch: usize,
        maxThreadsPerBlock: i32,
        maxThreadsDim: [i32; 3],
        maxGridSize: [i32; 3],
        clockRate: i32,
        totalConstMem: usize,
        major: i32,
        minor: i32,
        textureAlignment: usize,
        texturePitchAlignment: usize,
        deviceOverlap: i32,
        multiProcessorCount: i32,
        kernelExecTimeoutEnabled: i32,
        integrated: i32,
        canMapHostMemory: i32,
        computeMode: i32,
        maxTexture1D: i32,
        maxTexture1DMipmap: i32,
        maxTexture1DLinear: i32,
        maxTexture2D: [i32; 2],
        maxTexture2DMipmap: [i32; 2],
        maxTexture2DLinear: [i32; 3],
        maxTexture2DGather: [i32; 2],
        maxTexture3D: [i32; 3],
        maxTexture3DAlt: [i32; 3],
        maxTextureCubemap: i32,
        maxTexture1DLayered: [i32; 2],
        maxTexture2DLayered: [i32; 3],
        maxTextureCubemapLayered: [i32; 2],
        maxSurface1D: i32,
        maxSurface2D: [i32; 2],
        maxSurface3D: [i32; 3],
        maxSurface1DLayered: [i32; 2],
        maxSurface2DLayered: [i32; 3],
        maxSurfaceCubemap: i32,
        maxSurfaceCubemapLayered: [i32; 2],
        surfaceAlignment: usize,
        concurrentKernels: i32,
        ECCEnabled: i32,
        pciBusID: i32,
        pciDeviceID: i32,
        pciDomainID: i32,
        tccDriver: i32,
        asyncEngineCount: i32,
        unifiedAddressing: i32,
        memoryClockRate: i32,
        memoryBusWidth: i32,
        l2CacheSize: i32,
        persistingL2CacheMaxSize: i32,
        maxThreadsPerMultiProcessor: i32,
        streamPrioritiesSupported: i32,
        globalL1CacheSupported: i32,
        localL1CacheSupported: i32,
        sharedMemPerMultiprocessor: usize,
        regsPerMultiprocessor: i32,
        managedMemory: i32,
        isMultiGpuBoard: i32,
        multiGpuBoardGroupID: i32,
        hostNativeAtomicSupported: i32,
        singleToDoublePrecisionPerfRatio: i32,
        pageableMemoryAccess: i32,
        concurrentManagedAccess: i32,
        computePreemptionSupported: i32,
        canUseHostPointerForRegisteredMem: i32,
        cooperativeLaunch: i32,
        cooperativeMultiDeviceLaunch: i32,
        sharedMemPerBlockOptin: usize,
        pageableMemoryAccessUsesHostPageTables: i32,
        directManagedMemAccessFromHost: i32,
        maxBlocksPerMultiProcessor: i32,
        accessPolicyMaxWindowSize: i32,
        reservedSharedMemPerBlock: usize,
        hostRegisterSupported: i32,
        sparseHipArraySupported: i32,
        hostRegisterReadOnlySupported: i32,
        timelineSemaphoreInteropSupported: i32,
        memoryPoolsSupported: i32,
        gpuDirectRDMASupported: i32,
        gpuDirectRDMAFlushWritesOptions: u32,
        gpuDirectRDMAWritesOrdering: i32,
        memoryPoolSupportedHandleTypes: u32,
        deferredMappingHipArraySupported: i32,
        ipcEventSupported: i32,
        clusterLaunch: i32,
        unifiedFunctionPointers: i32,
        reserved: [i32; 63],
        hipReserved: [i32; 32],
        gcnArchName: [c_char; 256],
        maxSharedMemoryPerMultiProcessor: usize,
        clockInstructionRate: i32,
        arch: hipDeviceArch_t,
        hdpMemFlushCntl: *mut u32,
        hdpRegFlushCntl: *mut u32,
        cooperativeMultiDeviceUnmatchedFunc: i32,
        cooperativeMultiDeviceUnmatchedGridDim: i32,
        cooperativeMultiDeviceUnmatchedBlockDim: i32,
        cooperativeMultiDeviceUnmatchedSharedMem: i32,
        isLargeBar: i32,
        asicRevision: i32,
    }
    /// Up to HIP 5, and what `hipGetDeviceProperties` still fills for programs of that time.
    hipDeviceProp_tR0000 {
        name: [c_char; 256],
        totalGlobalMem: usize,
        sharedMemPerBlock: usize,
        regsPerBlock: i32,
        warpSize: i32,
        maxThreadsPerBlock: i32,
        maxThreadsDim: [i32; 3],
        maxGridSize: [i32; 3],
        clockRate: i32,
        memoryClockRate: i32,
        memoryBusWidth: i32,
        totalConstMem: usize,
        major: i32,
        minor: i32,
        multiProcessorCount: i32,
        l2CacheSize: i32,
        maxThreadsPerMultiProcessor: i32,
        computeMode: i32,
        clockInstructionRate: i32,
        arch: hipDeviceArch_t,
        concurrentKernels: i32,
        pciDomainID: i32,
        pciBusID: i32,
        pciDeviceID: i32,
        maxSharedMemoryPerMultiProcessor: usize,
        isMultiGpuBoard: i32,
        canMapHostMemory: i32,
        gcnArch: i32,
        gcnArchName: [c_char; 256],
        integrated: i32,
        cooperativeLaunch: i32,
        cooperativeMultiDeviceLaunch: i32,
        maxTexture1DLinear: i32,
        maxTexture1D: i32,
        maxTexture2D: [i32; 2],
        maxTexture3D: [i32; 3],
        hdpMemFlushCntl: *mut u32,
        hdpRegFlushCntl: *mut u32,
        memPitch: usize,
        textureAlignment: usize,
        texturePitchAlignment: usize,
        kernelExecTimeoutEnabled: i32,
        ECCEnabled: i32,
        tccDriver: i32,
        cooperativeMultiDeviceUnmatchedFunc: i32,
        cooperativeMultiDeviceUnmatchedGridDim: i32,
        cooperativeMultiDeviceUnmatchedBlockDim: i32,
        cooperativeMultiDeviceUnmatchedSharedMem: i32,
        isLargeBar: i32,
        asicRevision: i32,
        managedMemory: i32,
        directManagedMemAccessFromHost: i32,
        concurrentManagedAccess: i32,
        pageableMemoryAccess: i32,
        pageableMemoryAccessUsesHostPageTables: i32,
    }
}

/// Contents of [`hipGraphNodeParams`], by its type.
#[repr(C)]
#[derive(Clone, Copy)]
pub union hipGraphNodeParamsValue {
    /// Of a memory node.
    pub alloc: hipMemAllocNodeParams,
    /// Of a child graph.
    pub graph: hipGraph_t,
    /// All of it.
    pub words: [i64; 29],
}
