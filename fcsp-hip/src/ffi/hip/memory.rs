//! Memory, pools, graphs that hold memory, and what is told of it.

use core::ffi::{c_char, c_void};

use fcsp_hook::functions;

use super::*;

functions! {
    /// Memory, pools, graphs that hold memory, and what is told of it.
    MEMORY_FUNCTIONS -> hipError_t;
    hipArray3DCreate(array: *mut hipArray_t, pAllocateArray: *const HIP_ARRAY3D_DESCRIPTOR);
    hipArrayCreate(pHandle: *mut hipArray_t, pAllocateArray: *const HIP_ARRAY_DESCRIPTOR);
    hipArrayDestroy(array: hipArray_t);
    hipDestroyExternalMemory(extMem: hipExternalMemory_t);
    hipDeviceGetAttribute(pi: *mut i32, attr: hipDeviceAttribute_t, deviceId: i32);
    hipDeviceGraphMemTrim(device: i32);
    hipDeviceSetMemPool(device: i32, mem_pool: hipMemPool_t);
    hipDeviceTotalMem(bytes: *mut usize, device: hipDevice_t);
    hipDrvGraphAddMemFreeNode(phGraphNode: *mut hipGraphNode_t, hGraph: hipGraph_t, dependencies: *const hipGraphNode_t, numDependencies: usize, dptr: hipDeviceptr_t);
    hipExtMallocWithFlags(ptr: *mut *mut c_void, sizeBytes: usize, flags: u32);
    hipExternalMemoryGetMappedBuffer(devPtr: *mut *mut c_void, extMem: hipExternalMemory_t, bufferDesc: *const hipExternalMemoryBufferDesc);
    hipExternalMemoryGetMappedMipmappedArray(mipmap: *mut hipMipmappedArray_t, extMem: hipExternalMemory_t, mipmapDesc: *const hipExternalMemoryMipmappedArrayDesc);
    hipFree(ptr: *mut c_void);
    hipFreeArray(array: hipArray_t);
    hipFreeAsync(dev_ptr: *mut c_void, stream: hipStream_t);
    hipFreeMipmappedArray(mipmappedArray: hipMipmappedArray_t);
    hipGetDeviceProperties, hipGetDevicePropertiesR0000(prop: *mut hipDeviceProp_tR0000, deviceId: i32);
    hipGetDevicePropertiesR0600(prop: *mut hipDeviceProp_tR0600, deviceId: i32);
    hipGraphAddChildGraphNode(pGraphNode: *mut hipGraphNode_t, graph: hipGraph_t, pDependencies: *const hipGraphNode_t, numDependencies: usize, childGraph: hipGraph_t);
    hipGraphAddMemAllocNode(pGraphNode: *mut hipGraphNode_t, graph: hipGraph_t, pDependencies: *const hipGraphNode_t, numDependencies: usize, pNodeParams: *mut hipMemAllocNodeParams);
    hipGraphAddMemFreeNode(pGraphNode: *mut hipGraphNode_t, graph: hipGraph_t, pDependencies: *const hipGraphNode_t, numDependencies: usize, dev_ptr: *mut c_void);
    hipGraphAddNode(pGraphNode: *mut hipGraphNode_t, graph: hipGraph_t, pDependencies: *const hipGraphNode_t, numDependencies: usize, nodeParams: *mut hipGraphNodeParams);
    hipGraphDestroy(graph: hipGraph_t);
    hipGraphDestroyNode(node: hipGraphNode_t);
    hipGraphExecDestroy(graphExec: hipGraphExec_t);
    hipGraphInstantiate(pGraphExec: *mut hipGraphExec_t, graph: hipGraph_t, pErrorNode: *mut hipGraphNode_t, pLogBuffer: *mut c_char, bufferSize: usize);
    hipGraphInstantiateWithFlags(pGraphExec: *mut hipGraphExec_t, graph: hipGraph_t, flags: u64);
    hipGraphInstantiateWithParams(pGraphExec: *mut hipGraphExec_t, graph: hipGraph_t, instantiateParams: *mut hipGraphInstantiateParams);
    hipGraphUpload(graphExec: hipGraphExec_t, stream: hipStream_t);
    hipGraphicsMapResources(count: i32, resources: *mut hipGraphicsResource_t, stream: hipStream_t);
    hipGraphicsResourceGetMappedPointer(devPtr: *mut *mut c_void, size: *mut usize, resource: hipGraphicsResource_t);
    hipGraphicsSubResourceGetMappedArray(array: *mut hipArray_t, resource: hipGraphicsResource_t, arrayIndex: u32, mipLevel: u32);
    hipGraphicsUnmapResources(count: i32, resources: *mut hipGraphicsResource_t, stream: hipStream_t);
    hipGraphicsUnregisterResource(resource: hipGraphicsResource_t);
    hipImportExternalMemory(extMem_out: *mut hipExternalMemory_t, memHandleDesc: *const hipExternalMemoryHandleDesc);
    hipIpcCloseMemHandle(devPtr: *mut c_void);
    hipIpcGetMemHandle(handle: *mut hipIpcMemHandle_t, devPtr: *mut c_void);
    hipIpcOpenMemHandle(devPtr: *mut *mut c_void, handle: hipIpcMemHandle_t, flags: u32);
    hipMalloc(ptr: *mut *mut c_void, size: usize);
    hipMalloc3D(pitchedDevPtr: *mut hipPitchedPtr, extent: hipExtent);
    hipMalloc3DArray(array: *mut hipArray_t, desc: *const hipChannelFormatDesc, extent: hipExtent, flags: u32);
    hipMallocArray(array: *mut hipArray_t, desc: *const hipChannelFormatDesc, width: usize, height: usize, flags: u32);
    hipMallocAsync(dev_ptr: *mut *mut c_void, size: usize, stream: hipStream_t);
    hipMallocFromPoolAsync(dev_ptr: *mut *mut c_void, size: usize, mem_pool: hipMemPool_t, stream: hipStream_t);
    hipMallocManaged(dev_ptr: *mut *mut c_void, size: usize, flags: u32);
    hipMallocMipmappedArray(mipmappedArray: *mut hipMipmappedArray_t, desc: *const hipChannelFormatDesc, extent: hipExtent, numLevels: u32, flags: u32);
    hipMallocPitch(ptr: *mut *mut c_void, pitch: *mut usize, width: usize, height: usize);
    hipMemAllocPitch(dptr: *mut hipDeviceptr_t, pitch: *mut usize, widthInBytes: usize, height: usize, elementSizeBytes: u32);
    hipMemCreate(handle: *mut hipMemGenericAllocationHandle_t, size: usize, prop: *const hipMemAllocationProp, flags: u64);
    hipMemExportToShareableHandle(shareableHandle: *mut c_void, handle: hipMemGenericAllocationHandle_t, handleType: hipMemAllocationHandleType, flags: u64);
    hipMemGetHandleForAddressRange(handle: *mut c_void, dptr: hipDeviceptr_t, size: usize, handleType: hipMemRangeHandleType, flags: u64);
    hipMemGetInfo(free: *mut usize, total: *mut usize);
    hipMemImportFromShareableHandle(handle: *mut hipMemGenericAllocationHandle_t, osHandle: *mut c_void, shHandleType: hipMemAllocationHandleType);
    hipMemMap(ptr: *mut c_void, size: usize, offset: usize, handle: hipMemGenericAllocationHandle_t, flags: u64);
    hipMemMapArrayAsync(mapInfoList: *mut hipArrayMapInfo, count: u32, stream: hipStream_t);
    hipMemPoolCreate(mem_pool: *mut hipMemPool_t, pool_props: *const hipMemPoolProps);
    hipMemPoolDestroy(mem_pool: hipMemPool_t);
    hipMemPoolExportPointer(export_data: *mut hipMemPoolPtrExportData, dev_ptr: *mut c_void);
    hipMemPoolExportToShareableHandle(shared_handle: *mut c_void, mem_pool: hipMemPool_t, handle_type: hipMemAllocationHandleType, flags: u32);
    hipMemPoolImportFromShareableHandle(mem_pool: *mut hipMemPool_t, shared_handle: *mut c_void, handle_type: hipMemAllocationHandleType, flags: u32);
    hipMemPoolImportPointer(dev_ptr: *mut *mut c_void, mem_pool: hipMemPool_t, export_data: *mut hipMemPoolPtrExportData);
    hipMemPoolSetAttribute(mem_pool: hipMemPool_t, attr: hipMemPoolAttr, value: *mut c_void);
    hipMemPoolTrimTo(mem_pool: hipMemPool_t, min_bytes_to_hold: usize);
    hipMemRelease(handle: hipMemGenericAllocationHandle_t);
    hipMemRetainAllocationHandle(handle: *mut hipMemGenericAllocationHandle_t, addr: *mut c_void);
    hipMemUnmap(ptr: *mut c_void, size: usize);
    hipMipmappedArrayCreate(pHandle: *mut hipMipmappedArray_t, pMipmappedArrayDesc: *mut HIP_ARRAY3D_DESCRIPTOR, numMipmapLevels: u32);
    hipMipmappedArrayDestroy(hMipmappedArray: hipMipmappedArray_t);
}
