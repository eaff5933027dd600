//! Memory: allocation, pools, virtual memory management, arrays, sharing and queries.

use core::ffi::c_void;

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    MEMORY_FUNCTIONS -> CUresult;

    cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize);
    cuMemAllocPitch_v2(
        dptr: *mut CUdeviceptr, pPitch: *mut usize, WidthInBytes: usize, Height: usize,
        ElementSizeBytes: u32
    );
    cuMemFree_v2(dptr: CUdeviceptr);
    cuMemGetAddressRange_v2(pbase: *mut CUdeviceptr, psize: *mut usize, dptr: CUdeviceptr);
    cuMemAllocHost_v2(pp: *mut *mut c_void, bytesize: usize);
    cuMemFreeHost(p: *mut c_void);
    cuMemHostAlloc(pp: *mut *mut c_void, bytesize: usize, Flags: u32);
    cuMemHostGetDevicePointer_v2(pdptr: *mut CUdeviceptr, p: *mut c_void, Flags: u32);
    cuMemHostGetFlags(pFlags: *mut u32, p: *mut c_void);
    cuMemAllocManaged(dptr: *mut CUdeviceptr, bytesize: usize, flags: u32);
    cuIpcGetEventHandle(pHandle: *mut CUipcEventHandle, event: CUevent);
    cuIpcOpenEventHandle(phEvent: *mut CUevent, handle: CUipcEventHandle);
    cuIpcGetMemHandle(pHandle: *mut CUipcMemHandle, dptr: CUdeviceptr);
    cuIpcOpenMemHandle_v2(pdptr: *mut CUdeviceptr, handle: CUipcMemHandle, Flags: u32);
    cuIpcCloseMemHandle(dptr: CUdeviceptr);
    cuMemHostRegister_v2(p: *mut c_void, bytesize: usize, Flags: u32);
    cuMemHostUnregister(p: *mut c_void);
    cuArrayCreate_v2(pHandle: *mut CUarray, pAllocateArray: *const CUDA_ARRAY_DESCRIPTOR);
    cuArrayGetDescriptor_v2(pArrayDescriptor: *mut CUDA_ARRAY_DESCRIPTOR, hArray: CUarray);
    cuArrayGetSparseProperties(sparseProperties: *mut CUDA_ARRAY_SPARSE_PROPERTIES, array: CUarray);
    cuMipmappedArrayGetSparseProperties(
        sparseProperties: *mut CUDA_ARRAY_SPARSE_PROPERTIES, mipmap: CUmipmappedArray
    );
    cuArrayGetMemoryRequirements(
        memoryRequirements: *mut CUDA_ARRAY_MEMORY_REQUIREMENTS, array: CUarray, device: CUdevice
    );
    cuMipmappedArrayGetMemoryRequirements(
        memoryRequirements: *mut CUDA_ARRAY_MEMORY_REQUIREMENTS, mipmap: CUmipmappedArray,
        device: CUdevice
    );
    cuArrayGetPlane(pPlaneArray: *mut CUarray, hArray: CUarray, planeIdx: u32);
    cuArrayDestroy(hArray: CUarray);
    cuArray3DCreate_v2(pHandle: *mut CUarray, pAllocateArray: *const CUDA_ARRAY3D_DESCRIPTOR);
    cuArray3DGetDescriptor_v2(pArrayDescriptor: *mut CUDA_ARRAY3D_DESCRIPTOR, hArray: CUarray);
    cuMipmappedArrayCreate(
        pHandle: *mut CUmipmappedArray, pMipmappedArrayDesc: *const CUDA_ARRAY3D_DESCRIPTOR,
        numMipmapLevels: u32
    );
    cuMipmappedArrayGetLevel(pLevelArray: *mut CUarray, hMipmappedArray: CUmipmappedArray, level: u32);
    cuMipmappedArrayDestroy(hMipmappedArray: CUmipmappedArray);
    cuMemGetHandleForAddressRange(
        handle: *mut c_void, dptr: CUdeviceptr, size: usize, handleType: CUmemRangeHandleType, flags: u64
    );
    cuMemAddressReserve(
        ptr: *mut CUdeviceptr, size: usize, alignment: usize, addr: CUdeviceptr, flags: u64
    );
    cuMemAddressFree(ptr: CUdeviceptr, size: usize);
    cuMemCreate(
        handle: *mut CUmemGenericAllocationHandle, size: usize, prop: *const CUmemAllocationProp,
        flags: u64
    );
    cuMemRelease(handle: CUmemGenericAllocationHandle);
    cuMemMap(
        ptr: CUdeviceptr, size: usize, offset: usize, handle: CUmemGenericAllocationHandle, flags: u64
    );
    cuMemUnmap(ptr: CUdeviceptr, size: usize);
    cuMemSetAccess(ptr: CUdeviceptr, size: usize, desc: *const CUmemAccessDesc, count: usize);
    cuMemGetAccess(flags: *mut u64, location: *const CUmemLocation, ptr: CUdeviceptr);
    cuMemExportToShareableHandle(
        shareableHandle: *mut c_void, handle: CUmemGenericAllocationHandle,
        handleType: CUmemAllocationHandleType, flags: u64
    );
    cuMemImportFromShareableHandle(
        handle: *mut CUmemGenericAllocationHandle, osHandle: *mut c_void,
        shHandleType: CUmemAllocationHandleType
    );
    cuMemGetAllocationGranularity(
        granularity: *mut usize, prop: *const CUmemAllocationProp,
        option: CUmemAllocationGranularity_flags
    );
    cuMemGetAllocationPropertiesFromHandle(
        prop: *mut CUmemAllocationProp, handle: CUmemGenericAllocationHandle
    );
    cuMemRetainAllocationHandle(handle: *mut CUmemGenericAllocationHandle, addr: *mut c_void);
    cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize);
    cuMemPoolSetAttribute(pool: CUmemoryPool, attr: CUmemPool_attribute, value: *mut c_void);
    cuMemPoolGetAttribute(pool: CUmemoryPool, attr: CUmemPool_attribute, value: *mut c_void);
    cuMemPoolSetAccess(pool: CUmemoryPool, map: *const CUmemAccessDesc, count: usize);
    cuMemPoolGetAccess(flags: *mut CUmemAccess_flags, memPool: CUmemoryPool, location: *mut CUmemLocation);
    cuMemPoolCreate(pool: *mut CUmemoryPool, poolProps: *const CUmemPoolProps);
    cuMemPoolDestroy(pool: CUmemoryPool);
    cuMemGetDefaultMemPool(
        pool_out: *mut CUmemoryPool, location: *mut CUmemLocation, kind: CUmemAllocationType
    );
    cuMemGetMemPool(pool: *mut CUmemoryPool, location: *mut CUmemLocation, kind: CUmemAllocationType);
    cuMemSetMemPool(location: *mut CUmemLocation, kind: CUmemAllocationType, pool: CUmemoryPool);
    cuMemPoolExportToShareableHandle(
        handle_out: *mut c_void, pool: CUmemoryPool, handleType: CUmemAllocationHandleType, flags: u64
    );
    cuMemPoolImportFromShareableHandle(
        pool_out: *mut CUmemoryPool, handle: *mut c_void, handleType: CUmemAllocationHandleType,
        flags: u64
    );
    cuMemPoolExportPointer(shareData_out: *mut CUmemPoolPtrExportData, ptr: CUdeviceptr);
    cuMemPoolImportPointer(
        ptr_out: *mut CUdeviceptr, pool: CUmemoryPool, shareData: *mut CUmemPoolPtrExportData
    );
    cuMulticastCreate(mcHandle: *mut CUmemGenericAllocationHandle, prop: *const CUmulticastObjectProp);
    cuMulticastAddDevice(mcHandle: CUmemGenericAllocationHandle, dev: CUdevice);
    cuMulticastBindMem(
        mcHandle: CUmemGenericAllocationHandle, mcOffset: usize, memHandle: CUmemGenericAllocationHandle,
        memOffset: usize, size: usize, flags: u64
    );
    cuMulticastBindMem_v2(
        mcHandle: CUmemGenericAllocationHandle, dev: CUdevice, mcOffset: usize,
        memHandle: CUmemGenericAllocationHandle, memOffset: usize, size: usize, flags: u64
    );
    cuMulticastBindAddr(
        mcHandle: CUmemGenericAllocationHandle, mcOffset: usize, memptr: CUdeviceptr, size: usize,
        flags: u64
    );
    cuMulticastBindAddr_v2(
        mcHandle: CUmemGenericAllocationHandle, dev: CUdevice, mcOffset: usize, memptr: CUdeviceptr,
        size: usize, flags: u64
    );
    cuMulticastUnbind(mcHandle: CUmemGenericAllocationHandle, dev: CUdevice, mcOffset: usize, size: usize);
    cuMulticastGetGranularity(
        granularity: *mut usize, prop: *const CUmulticastObjectProp, option: CUmulticastGranularity_flags
    );
    cuPointerGetAttribute(data: *mut c_void, attribute: CUpointer_attribute, ptr: CUdeviceptr);
    cuMemGetLocationInfo(
        ptr: CUdeviceptr, size: usize, summaryGranularity: usize, samplingGranularity: usize,
        location_out: *mut CUmemLocation
    );
    cuMemRangeGetAttribute(
        data: *mut c_void, dataSize: usize, attribute: CUmem_range_attribute, devPtr: CUdeviceptr,
        count: usize
    );
    cuMemRangeGetAttributes(
        data: *mut *mut c_void, dataSizes: *mut usize, attributes: *mut CUmem_range_attribute,
        numAttributes: usize, devPtr: CUdeviceptr, count: usize
    );
    cuPointerSetAttribute(value: *const c_void, attribute: CUpointer_attribute, ptr: CUdeviceptr);
    cuPointerGetAttributes(
        numAttributes: u32, attributes: *mut CUpointer_attribute, data: *mut *mut c_void, ptr: CUdeviceptr
    );
    cuImportExternalMemory(
        extMem_out: *mut CUexternalMemory, memHandleDesc: *const CUDA_EXTERNAL_MEMORY_HANDLE_DESC
    );
    cuExternalMemoryGetMappedBuffer(
        devPtr: *mut CUdeviceptr, extMem: CUexternalMemory,
        bufferDesc: *const CUDA_EXTERNAL_MEMORY_BUFFER_DESC
    );
    cuExternalMemoryGetMappedMipmappedArray(
        mipmap: *mut CUmipmappedArray, extMem: CUexternalMemory,
        mipmapDesc: *const CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC
    );
    cuDestroyExternalMemory(extMem: CUexternalMemory);
    cuGraphicsUnregisterResource(resource: CUgraphicsResource);
    cuGraphicsSubResourceGetMappedArray(
        pArray: *mut CUarray, resource: CUgraphicsResource, arrayIndex: u32, mipLevel: u32
    );
    cuGraphicsResourceGetMappedMipmappedArray(
        pMipmappedArray: *mut CUmipmappedArray, resource: CUgraphicsResource
    );
    cuGraphicsResourceGetMappedPointer_v2(
        pDevPtr: *mut CUdeviceptr, pSize: *mut usize, resource: CUgraphicsResource
    );
    cuGraphicsResourceSetMapFlags_v2(resource: CUgraphicsResource, flags: u32);
    cuMemHostRegister(p: *mut c_void, bytesize: usize, Flags: u32);
    cuGraphicsResourceSetMapFlags(resource: CUgraphicsResource, flags: u32);
    cuMemGetInfo(free: *mut u32, total: *mut u32);
    cuMemAlloc(dptr: *mut CUdeviceptr_v1, bytesize: u32);
    cuMemAllocPitch(
        dptr: *mut CUdeviceptr_v1, pPitch: *mut u32, WidthInBytes: u32, Height: u32, ElementSizeBytes: u32
    );
    cuMemFree(dptr: CUdeviceptr_v1);
    cuMemGetAddressRange(pbase: *mut CUdeviceptr_v1, psize: *mut u32, dptr: CUdeviceptr_v1);
    cuMemAllocHost(pp: *mut *mut c_void, bytesize: u32);
    cuMemHostGetDevicePointer(pdptr: *mut CUdeviceptr_v1, p: *mut c_void, Flags: u32);
    cuArrayCreate(pHandle: *mut CUarray, pAllocateArray: *const CUDA_ARRAY_DESCRIPTOR_v1);
    cuArrayGetDescriptor(pArrayDescriptor: *mut CUDA_ARRAY_DESCRIPTOR_v1, hArray: CUarray);
    cuArray3DCreate(pHandle: *mut CUarray, pAllocateArray: *const CUDA_ARRAY3D_DESCRIPTOR_v1);
    cuArray3DGetDescriptor(pArrayDescriptor: *mut CUDA_ARRAY3D_DESCRIPTOR_v1, hArray: CUarray);
    cuGraphicsResourceGetMappedPointer(
        pDevPtr: *mut CUdeviceptr_v1, pSize: *mut u32, resource: CUgraphicsResource
    );
    cuGraphicsMapResources, cuGraphicsMapResources_ptsz(
        count: u32, resources: *mut CUgraphicsResource, hStream: CUstream
    );
    cuGraphicsUnmapResources, cuGraphicsUnmapResources_ptsz(
        count: u32, resources: *mut CUgraphicsResource, hStream: CUstream
    );
    cuIpcOpenMemHandle(pdptr: *mut CUdeviceptr, handle: CUipcMemHandle, Flags: u32);
    cuMemMapArrayAsync, cuMemMapArrayAsync_ptsz(
        mapInfoList: *mut CUarrayMapInfo, count: u32, hStream: CUstream
    );
    cuMemFreeAsync, cuMemFreeAsync_ptsz(dptr: CUdeviceptr, hStream: CUstream);
    cuMemAllocAsync, cuMemAllocAsync_ptsz(dptr: *mut CUdeviceptr, bytesize: usize, hStream: CUstream);
    cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz(
        dptr: *mut CUdeviceptr, bytesize: usize, pool: CUmemoryPool, hStream: CUstream
    );
    cuLogicalEndpointIdReserve(baseLeId: *mut CUlogicalEndpointId, count: cuuint32_t);
    cuLogicalEndpointIdRelease(baseLeId: CUlogicalEndpointId, count: cuuint32_t);
    cuLogicalEndpointCreate(leId: CUlogicalEndpointId, prop: *const CUlogicalEndpointProp);
    cuLogicalEndpointAddDevice(leId: CUlogicalEndpointId, dev: CUdevice);
    cuLogicalEndpointDestroy(leId: CUlogicalEndpointId);
    cuLogicalEndpointBindAddr(
        leId: CUlogicalEndpointId, dev: CUdevice, offset: cuuint64_t, ptr: *mut c_void, size: cuuint64_t,
        flags: u64
    );
    cuLogicalEndpointBindMem(
        leId: CUlogicalEndpointId, dev: CUdevice, offset: cuuint64_t,
        memHandle: CUmemGenericAllocationHandle, memOffset: cuuint64_t, size: cuuint64_t, flags: u64
    );
    cuLogicalEndpointUnbind(leId: CUlogicalEndpointId, dev: CUdevice, offset: cuuint64_t, size: cuuint64_t);
    cuLogicalEndpointExport(
        handle: *mut c_void, leId: CUlogicalEndpointId, handleType: CUlogicalEndpointIpcHandleType
    );
    cuLogicalEndpointImport(
        leId: CUlogicalEndpointId, handle: *const c_void, handleType: CUlogicalEndpointIpcHandleType
    );
    cuLogicalEndpointGetLimits(
        bindAlignment: *mut cuuint64_t, maxSize: *mut cuuint64_t, prop: *const CUlogicalEndpointProp
    );
    cuLogicalEndpointQuery(leId: CUlogicalEndpointId, count: cuuint32_t, queryStatus: *mut i32);
}
