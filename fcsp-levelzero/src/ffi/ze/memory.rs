//! Memory, addresses, images and samplers.

use core::ffi::c_void;

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    MEMORY_FUNCTIONS -> ze_result_t;

    zeImageGetProperties(
        hDevice: ze_device_handle_t, desc: *const ze_image_desc_t,
        pImageProperties: *mut ze_image_properties_t
    );
    zeImageCreate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *const ze_image_desc_t,
        phImage: *mut ze_image_handle_t
    );
    zeImageDestroy(hImage: ze_image_handle_t);
    zeMemAllocShared(
        hContext: ze_context_handle_t, device_desc: *const ze_device_mem_alloc_desc_t,
        host_desc: *const ze_host_mem_alloc_desc_t, size: usize, alignment: usize,
        hDevice: ze_device_handle_t, pptr: *mut *mut c_void
    );
    zeMemAllocDevice(
        hContext: ze_context_handle_t, device_desc: *const ze_device_mem_alloc_desc_t, size: usize,
        alignment: usize, hDevice: ze_device_handle_t, pptr: *mut *mut c_void
    );
    zeMemAllocHost(
        hContext: ze_context_handle_t, host_desc: *const ze_host_mem_alloc_desc_t, size: usize,
        alignment: usize, pptr: *mut *mut c_void
    );
    zeMemFree(hContext: ze_context_handle_t, ptr: *mut c_void);
    zeMemGetAllocProperties(
        hContext: ze_context_handle_t, ptr: *const c_void,
        pMemAllocProperties: *mut ze_memory_allocation_properties_t, phDevice: *mut ze_device_handle_t
    );
    zeMemGetAddressRange(
        hContext: ze_context_handle_t, ptr: *const c_void, pBase: *mut *mut c_void, pSize: *mut usize
    );
    zeMemGetIpcHandle(
        hContext: ze_context_handle_t, ptr: *const c_void, pIpcHandle: *mut ze_ipc_mem_handle_t
    );
    zeMemOpenIpcHandle(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, handle: ze_ipc_mem_handle_t,
        flags: ze_ipc_memory_flags_t, pptr: *mut *mut c_void
    );
    zeMemCloseIpcHandle(hContext: ze_context_handle_t, ptr: *const c_void);
    zeSamplerCreate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *const ze_sampler_desc_t,
        phSampler: *mut ze_sampler_handle_t
    );
    zeSamplerDestroy(hSampler: ze_sampler_handle_t);
    zeVirtualMemReserve(
        hContext: ze_context_handle_t, pStart: *const c_void, size: usize, pptr: *mut *mut c_void
    );
    zeVirtualMemFree(hContext: ze_context_handle_t, ptr: *const c_void, size: usize);
    zeVirtualMemQueryPageSize(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, size: usize, pagesize: *mut usize
    );
    zePhysicalMemCreate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *mut ze_physical_mem_desc_t,
        phPhysicalMemory: *mut ze_physical_mem_handle_t
    );
    zePhysicalMemDestroy(hContext: ze_context_handle_t, hPhysicalMemory: ze_physical_mem_handle_t);
    zeVirtualMemMap(
        hContext: ze_context_handle_t, ptr: *const c_void, size: usize,
        hPhysicalMemory: ze_physical_mem_handle_t, offset: usize, access: ze_memory_access_attribute_t
    );
    zeVirtualMemUnmap(hContext: ze_context_handle_t, ptr: *const c_void, size: usize);
    zeVirtualMemSetAccessAttribute(
        hContext: ze_context_handle_t, ptr: *const c_void, size: usize,
        access: ze_memory_access_attribute_t
    );
    zeVirtualMemGetAccessAttribute(
        hContext: ze_context_handle_t, ptr: *const c_void, size: usize,
        access: *mut ze_memory_access_attribute_t, outSize: *mut usize
    );
    zeImageGetMemoryPropertiesExp(
        hImage: ze_image_handle_t, pMemoryProperties: *mut ze_image_memory_properties_exp_t
    );
    zeImageViewCreateExp(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *const ze_image_desc_t,
        hImage: ze_image_handle_t, phImageView: *mut ze_image_handle_t
    );
    zeImageGetAllocPropertiesExt(
        hContext: ze_context_handle_t, hImage: ze_image_handle_t,
        pImageAllocProperties: *mut ze_image_allocation_ext_properties_t
    );
    zeMemFreeExt(
        hContext: ze_context_handle_t, pMemFreeDesc: *const ze_memory_free_ext_desc_t, ptr: *mut c_void
    );
}
