//! Structs of the CUDA driver API that an interposer reads, fills or must know the size of.

use core::ffi::c_void;

use super::*;

/// Union behind [`CUlaunchAttribute::value`]; which member is live is said by the attribute's `id`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CUlaunchAttributeValue {
    pub pad: [u8; 64],
    pub cooperative: i32,
    /// Blocks in x, y and z.
    pub clusterDim: [u32; 3],
    pub priority: i32,
    pub event: CUevent,
}

/// Union inside [`CUarrayMapInfo`]: a mipmapped array or an array, by `resourceType`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CUarrayMapResource {
    pub mipmap: CUmipmappedArray,
    pub array: CUarray,
}

/// Union inside [`CUDA_EXTERNAL_MEMORY_HANDLE_DESC`].
#[repr(C)]
#[derive(Clone, Copy)]
pub union CUexternalMemoryHandleValue {
    pub fd: i32,
    pub nvSciBufObject: *const c_void,
    pub win32: [*const c_void; 2],
}

/// Union inside [`CUgraphNodeParams`]; which member is live is said by its `type_`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CUgraphNodeParamsValue {
    pub reserved1: [i64; 29],
    pub kernel: CUDA_KERNEL_NODE_PARAMS_v3,
    pub memcpy: CUDA_MEMCPY_NODE_PARAMS,
    pub memset: CUDA_MEMSET_NODE_PARAMS_v2,
    pub graph: CUDA_CHILD_GRAPH_NODE_PARAMS,
    pub alloc: CUDA_MEM_ALLOC_NODE_PARAMS_v2,
    pub free: CUDA_MEM_FREE_NODE_PARAMS,
    pub conditional: CUDA_CONDITIONAL_NODE_PARAMS,
}

/// Memory at an address, inside [`CUmemcpy3DOperandValue`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUmemcpy3DPointer {
    pub ptr: CUdeviceptr,
    pub rowLength: usize,
    pub layerHeight: usize,
    pub locHint: CUmemLocation,
}

/// Part of an array, inside [`CUmemcpy3DOperandValue`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUmemcpy3DArray {
    pub array: CUarray,
    /// In elements.
    pub offset: [usize; 3],
}

/// Union inside [`CUmemcpy3DOperand`]; which member is live is said by its `type_`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CUmemcpy3DOperandValue {
    pub ptr: CUmemcpy3DPointer,
    pub array: CUmemcpy3DArray,
}

/// `nodeParams` of today's `cuGraphAddKernelNode` (`_v2`).
pub type CUDA_KERNEL_NODE_PARAMS = CUDA_KERNEL_NODE_PARAMS_v2;
/// `nodeParams` of `cuGraphAddMemAllocNode`; `_v2` has the same layout.
pub type CUDA_MEM_ALLOC_NODE_PARAMS = CUDA_MEM_ALLOC_NODE_PARAMS_v1;
pub type CUDA_MEMSET_NODE_PARAMS = CUDA_MEMSET_NODE_PARAMS_v1;
pub type CUDA_MEMCPY2D_v2 = CUDA_MEMCPY2D;
pub type CUDA_MEMCPY3D_v2 = CUDA_MEMCPY3D;

fcsp_hook::layouts! {
    /// Layouts of the structs above, for the header test.
    STRUCTS;

    /// 16 bytes, opaque; as text it is `GPU-` and lower-case hexadecimal.
    CUuuid { bytes: [u8; 16], }

    /// Place of memory: a device ordinal or a NUMA node, by type.
    CUmemLocation {
        type_: CUmemLocationType = "type",
        id: i32,
    }
    CUmemAllocationProp {
        type_: CUmemAllocationType = "type",
        requestedHandleTypes: CUmemAllocationHandleType,
        /// The device that pays for the memory.
        location: CUmemLocation,
        win32HandleMetaData: *mut c_void,
        compressionType: u8 = "allocFlags.compressionType",
        gpuDirectRDMACapable: u8 = "allocFlags.gpuDirectRDMACapable",
        usage: u16 = "allocFlags.usage",
        reserved: [u8; 4] = "allocFlags.reserved",
    }
    CUmemAccessDesc {
        location: CUmemLocation,
        flags: CUmemAccess_flags,
    }
    CUmemPoolProps {
        allocType: CUmemAllocationType,
        handleTypes: CUmemAllocationHandleType,
        location: CUmemLocation,
        win32SecurityAttributes: *mut c_void,
        /// Bytes; 0 leaves the bound to the driver.
        maxSize: usize,
        usage: u16,
        gpuDirectRDMACapable: u8,
        reserved: [u8; 53],
    }
    CUmemPoolPtrExportData { reserved: [u8; 64], }
    CUmulticastObjectProp {
        numDevices: u32,
        size: usize,
        handleTypes: u64,
        flags: u64,
    }

    CUDA_ARRAY_DESCRIPTOR_v1 {
        Width: u32,
        Height: u32,
        Format: CUarray_format,
        NumChannels: u32,
    }
    CUDA_ARRAY_DESCRIPTOR {
        Width: usize,
        Height: usize,
        Format: CUarray_format,
        NumChannels: u32,
    }
    CUDA_ARRAY3D_DESCRIPTOR_v1 {
        Width: u32,
        Height: u32,
        Depth: u32,
        Format: CUarray_format,
        NumChannels: u32,
        Flags: u32,
    }
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: usize,
        Height: usize,
        Depth: usize,
        Format: CUarray_format,
        NumChannels: u32,
        Flags: u32,
    }
    CUDA_ARRAY_MEMORY_REQUIREMENTS {
        /// Bytes.
        size: usize,
        alignment: usize,
        reserved: [u32; 4],
    }
    CUarrayMapInfo {
        resourceType: u32,
        resource: CUarrayMapResource,
        subresourceType: u32,
        /// A tile box (eight `u32`) or a mip tail (layer, offset, size), by `subresourceType`.
        subresource: [u64; 4],
        memOperationType: CUmemOperationType,
        memHandleType: u32,
        memHandle: CUmemGenericAllocationHandle,
        offset: u64,
        deviceBitMask: u32,
        flags: u32,
        reserved: [u32; 2],
    }

    CUipcMemHandle { reserved: [u8; 64], }
    CUipcEventHandle { reserved: [u8; 64], }
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC {
        type_: CUexternalMemoryHandleType = "type",
        handle: CUexternalMemoryHandleValue,
        /// Bytes of the whole imported object.
        size: u64,
        flags: u32,
        reserved: [u32; 16],
    }
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC {
        offset: u64,
        size: u64,
        flags: u32,
        reserved: [u32; 16],
    }

    CUDA_MEMCPY2D {
        srcXInBytes: usize,
        srcY: usize,
        srcMemoryType: CUmemorytype,
        srcHost: *const c_void,
        srcDevice: CUdeviceptr,
        srcArray: CUarray,
        srcPitch: usize,
        dstXInBytes: usize,
        dstY: usize,
        dstMemoryType: CUmemorytype,
        dstHost: *mut c_void,
        dstDevice: CUdeviceptr,
        dstArray: CUarray,
        dstPitch: usize,
        WidthInBytes: usize,
        Height: usize,
    }
    CUDA_MEMCPY3D {
        srcXInBytes: usize,
        srcY: usize,
        srcZ: usize,
        srcLOD: usize,
        srcMemoryType: CUmemorytype,
        srcHost: *const c_void,
        srcDevice: CUdeviceptr,
        srcArray: CUarray,
        reserved0: *mut c_void,
        srcPitch: usize,
        srcHeight: usize,
        dstXInBytes: usize,
        dstY: usize,
        dstZ: usize,
        dstLOD: usize,
        dstMemoryType: CUmemorytype,
        dstHost: *mut c_void,
        dstDevice: CUdeviceptr,
        dstArray: CUarray,
        reserved1: *mut c_void,
        dstPitch: usize,
        dstHeight: usize,
        WidthInBytes: usize,
        Height: usize,
        Depth: usize,
    }
    CUDA_MEMCPY3D_PEER {
        srcXInBytes: usize,
        srcY: usize,
        srcZ: usize,
        srcLOD: usize,
        srcMemoryType: CUmemorytype,
        srcHost: *const c_void,
        srcDevice: CUdeviceptr,
        srcArray: CUarray,
        srcContext: CUcontext,
        srcPitch: usize,
        srcHeight: usize,
        dstXInBytes: usize,
        dstY: usize,
        dstZ: usize,
        dstLOD: usize,
        dstMemoryType: CUmemorytype,
        dstHost: *mut c_void,
        dstDevice: CUdeviceptr,
        dstArray: CUarray,
        dstContext: CUcontext,
        dstPitch: usize,
        dstHeight: usize,
        WidthInBytes: usize,
        Height: usize,
        Depth: usize,
    }
    CUmemcpyAttributes {
        srcAccessOrder: CUmemcpySrcAccessOrder,
        srcLocHint: CUmemLocation,
        dstLocHint: CUmemLocation,
        flags: u32,
    }

    CUextent3D {
        width: usize,
        height: usize,
        depth: usize,
    }
    CUmemcpy3DOperand {
        type_: CUmemcpy3DOperandType = "type",
        op: CUmemcpy3DOperandValue,
    }
    CUDA_MEMCPY3D_BATCH_OP {
        src: CUmemcpy3DOperand,
        dst: CUmemcpy3DOperand,
        extent: CUextent3D,
        srcAccessOrder: CUmemcpySrcAccessOrder,
        flags: u32,
    }

    CUexecAffinityParam {
        type_: CUexecAffinityType = "type",
        /// Multiprocessors asked for; the only kind of affinity there is.
        smCount: u32 = "param.smCount.val",
    }
    CUctxCigParam {
        sharedDataType: CUcigDataType,
        sharedData: *mut c_void,
    }
    CUctxCreateParams {
        execAffinityParams: *mut CUexecAffinityParam,
        numExecAffinityParams: i32,
        cigParams: *mut CUctxCigParam,
    }
    /// Output of the deprecated `cuDeviceGetProperties`. It has no memory size.
    CUdevprop {
        maxThreadsPerBlock: i32,
        maxThreadsDim: [i32; 3],
        maxGridSize: [i32; 3],
        sharedMemPerBlock: i32,
        totalConstantMemory: i32,
        SIMDWidth: i32,
        memPitch: i32,
        regsPerBlock: i32,
        clockRate: i32,
        textureAlign: i32,
    }

    CUlaunchAttribute {
        id: CUlaunchAttributeID,
        pad: [u8; 4],
        value: CUlaunchAttributeValue,
    }
    CUlaunchConfig {
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        hStream: CUstream,
        attrs: *mut CUlaunchAttribute,
        numAttrs: u32,
    }
    CUDA_LAUNCH_PARAMS {
        function: CUfunction,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        hStream: CUstream,
        kernelParams: *mut *mut c_void,
    }

    CUgraphEdgeData {
        from_port: u8,
        to_port: u8,
        type_: u8 = "type",
        reserved: [u8; 5],
    }
    CUDA_KERNEL_NODE_PARAMS_v1 {
        func: CUfunction,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void,
    }
    CUDA_KERNEL_NODE_PARAMS_v2 {
        func: CUfunction,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void,
        /// Used when `func` is null.
        kern: CUkernel,
        ctx: CUcontext,
    }
    CUDA_KERNEL_NODE_PARAMS_v3 {
        func: CUfunction,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void,
        kern: CUkernel,
        ctx: CUcontext,
    }
    CUDA_MEMSET_NODE_PARAMS_v1 {
        dst: CUdeviceptr,
        pitch: usize,
        value: u32,
        elementSize: u32,
        width: usize,
        height: usize,
    }
    CUDA_MEMSET_NODE_PARAMS_v2 {
        dst: CUdeviceptr,
        pitch: usize,
        value: u32,
        elementSize: u32,
        width: usize,
        height: usize,
        ctx: CUcontext,
    }
    CUDA_MEMCPY_NODE_PARAMS {
        flags: i32,
        reserved: i32,
        copyCtx: CUcontext,
        copyParams: CUDA_MEMCPY3D,
    }
    CUDA_HOST_NODE_PARAMS {
        func: CUhostFn = "fn",
        userData: *mut c_void,
    }
    CUDA_CHILD_GRAPH_NODE_PARAMS {
        graph: CUgraph,
        ownership: CUgraphChildGraphNodeOwnership,
    }
    CUDA_MEM_ALLOC_NODE_PARAMS_v1 {
        poolProps: CUmemPoolProps,
        accessDescs: *const CUmemAccessDesc,
        accessDescCount: usize,
        /// Bytes asked for.
        bytesize: usize,
        /// Written by the driver when the node is added: the address that every launch will use.
        dptr: CUdeviceptr,
    }
    CUDA_MEM_ALLOC_NODE_PARAMS_v2 {
        poolProps: CUmemPoolProps,
        accessDescs: *const CUmemAccessDesc,
        accessDescCount: usize,
        bytesize: usize,
        dptr: CUdeviceptr,
    }
    CUDA_MEM_FREE_NODE_PARAMS { dptr: CUdeviceptr, }
    CUDA_CONDITIONAL_NODE_PARAMS {
        handle: CUgraphConditionalHandle,
        type_: CUgraphConditionalNodeType = "type",
        size: u32,
        phGraph_out: *mut CUgraph,
        ctx: CUcontext,
    }
    CUgraphNodeParams {
        type_: CUgraphNodeType = "type",
        reserved0: [i32; 3],
        value: CUgraphNodeParamsValue = "reserved1",
        reserved2: i64,
    }
    CUDA_GRAPH_INSTANTIATE_PARAMS {
        flags: cuuint64_t,
        hUploadStream: CUstream,
        hErrNode_out: CUgraphNode,
        result_out: CUgraphInstantiateResult,
    }
    CUgraphExecUpdateResultInfo {
        result: CUgraphExecUpdateResult,
        errorNode: CUgraphNode,
        errorFromNode: CUgraphNode,
    }
}
