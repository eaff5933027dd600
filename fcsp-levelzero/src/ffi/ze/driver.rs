//! Drivers, devices, contexts and fabric.

use core::ffi::{c_char, c_void};

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    DRIVER_FUNCTIONS -> ze_result_t;

    zeInit(flags: ze_init_flags_t);
    zeDriverGet(pCount: *mut u32, phDrivers: *mut ze_driver_handle_t);
    zeDriverGetApiVersion(hDriver: ze_driver_handle_t, version: *mut ze_api_version_t);
    zeDriverGetProperties(hDriver: ze_driver_handle_t, pDriverProperties: *mut ze_driver_properties_t);
    zeDriverGetIpcProperties(hDriver: ze_driver_handle_t, pIpcProperties: *mut ze_driver_ipc_properties_t);
    zeDriverGetExtensionProperties(
        hDriver: ze_driver_handle_t, pCount: *mut u32,
        pExtensionProperties: *mut ze_driver_extension_properties_t
    );
    zeDriverGetExtensionFunctionAddress(
        hDriver: ze_driver_handle_t, name: *const c_char, ppFunctionAddress: *mut *mut c_void
    );
    zeDeviceGet(hDriver: ze_driver_handle_t, pCount: *mut u32, phDevices: *mut ze_device_handle_t);
    zeDeviceGetSubDevices(
        hDevice: ze_device_handle_t, pCount: *mut u32, phSubdevices: *mut ze_device_handle_t
    );
    zeDeviceGetProperties(hDevice: ze_device_handle_t, pDeviceProperties: *mut ze_device_properties_t);
    zeDeviceGetComputeProperties(
        hDevice: ze_device_handle_t, pComputeProperties: *mut ze_device_compute_properties_t
    );
    zeDeviceGetModuleProperties(
        hDevice: ze_device_handle_t, pModuleProperties: *mut ze_device_module_properties_t
    );
    zeDeviceGetCommandQueueGroupProperties(
        hDevice: ze_device_handle_t, pCount: *mut u32,
        pCommandQueueGroupProperties: *mut ze_command_queue_group_properties_t
    );
    zeDeviceGetMemoryProperties(
        hDevice: ze_device_handle_t, pCount: *mut u32, pMemProperties: *mut ze_device_memory_properties_t
    );
    zeDeviceGetMemoryAccessProperties(
        hDevice: ze_device_handle_t, pMemAccessProperties: *mut ze_device_memory_access_properties_t
    );
    zeDeviceGetCacheProperties(
        hDevice: ze_device_handle_t, pCount: *mut u32, pCacheProperties: *mut ze_device_cache_properties_t
    );
    zeDeviceGetImageProperties(
        hDevice: ze_device_handle_t, pImageProperties: *mut ze_device_image_properties_t
    );
    zeDeviceGetExternalMemoryProperties(
        hDevice: ze_device_handle_t, pExternalMemoryProperties: *mut ze_device_external_memory_properties_t
    );
    zeDeviceGetP2PProperties(
        hDevice: ze_device_handle_t, hPeerDevice: ze_device_handle_t,
        pP2PProperties: *mut ze_device_p2p_properties_t
    );
    zeDeviceCanAccessPeer(
        hDevice: ze_device_handle_t, hPeerDevice: ze_device_handle_t, value: *mut ze_bool_t
    );
    zeDeviceGetStatus(hDevice: ze_device_handle_t);
    zeDeviceGetGlobalTimestamps(
        hDevice: ze_device_handle_t, hostTimestamp: *mut u64, deviceTimestamp: *mut u64
    );
    zeContextCreate(
        hDriver: ze_driver_handle_t, desc: *const ze_context_desc_t, phContext: *mut ze_context_handle_t
    );
    zeContextCreateEx(
        hDriver: ze_driver_handle_t, desc: *const ze_context_desc_t, numDevices: u32,
        phDevices: *mut ze_device_handle_t, phContext: *mut ze_context_handle_t
    );
    zeContextDestroy(hContext: ze_context_handle_t);
    zeContextGetStatus(hContext: ze_context_handle_t);
    zeContextSystemBarrier(hContext: ze_context_handle_t, hDevice: ze_device_handle_t);
    zeContextMakeMemoryResident(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, ptr: *mut c_void, size: usize
    );
    zeContextEvictMemory(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, ptr: *mut c_void, size: usize
    );
    zeContextMakeImageResident(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, hImage: ze_image_handle_t
    );
    zeContextEvictImage(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, hImage: ze_image_handle_t
    );
    zeDeviceReserveCacheExt(hDevice: ze_device_handle_t, cacheLevel: usize, cacheReservationSize: usize);
    zeDeviceSetCacheAdviceExt(
        hDevice: ze_device_handle_t, ptr: *mut c_void, regionSize: usize,
        cacheRegion: ze_cache_ext_region_t
    );
    zeDevicePciGetPropertiesExt(hDevice: ze_device_handle_t, pPciProperties: *mut ze_pci_ext_properties_t);
    zeFabricVertexGetExp(
        hDriver: ze_driver_handle_t, pCount: *mut u32, phVertices: *mut ze_fabric_vertex_handle_t
    );
    zeFabricVertexGetSubVerticesExp(
        hVertex: ze_fabric_vertex_handle_t, pCount: *mut u32, phSubvertices: *mut ze_fabric_vertex_handle_t
    );
    zeFabricVertexGetPropertiesExp(
        hVertex: ze_fabric_vertex_handle_t, pVertexProperties: *mut ze_fabric_vertex_exp_properties_t
    );
    zeFabricVertexGetDeviceExp(hVertex: ze_fabric_vertex_handle_t, phDevice: *mut ze_device_handle_t);
    zeDeviceGetFabricVertexExp(hDevice: ze_device_handle_t, phVertex: *mut ze_fabric_vertex_handle_t);
    zeFabricEdgeGetExp(
        hVertexA: ze_fabric_vertex_handle_t, hVertexB: ze_fabric_vertex_handle_t, pCount: *mut u32,
        phEdges: *mut ze_fabric_edge_handle_t
    );
    zeFabricEdgeGetVerticesExp(
        hEdge: ze_fabric_edge_handle_t, phVertexA: *mut ze_fabric_vertex_handle_t,
        phVertexB: *mut ze_fabric_vertex_handle_t
    );
    zeFabricEdgeGetPropertiesExp(
        hEdge: ze_fabric_edge_handle_t, pEdgeProperties: *mut ze_fabric_edge_exp_properties_t
    );
}
