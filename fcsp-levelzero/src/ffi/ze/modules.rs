//! Events, modules and kernels.

use core::ffi::{c_char, c_void};

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    MODULE_FUNCTIONS -> ze_result_t;

    zeEventPoolCreate(
        hContext: ze_context_handle_t, desc: *const ze_event_pool_desc_t, numDevices: u32,
        phDevices: *mut ze_device_handle_t, phEventPool: *mut ze_event_pool_handle_t
    );
    zeEventPoolDestroy(hEventPool: ze_event_pool_handle_t);
    zeEventCreate(
        hEventPool: ze_event_pool_handle_t, desc: *const ze_event_desc_t, phEvent: *mut ze_event_handle_t
    );
    zeEventDestroy(hEvent: ze_event_handle_t);
    zeEventPoolGetIpcHandle(hEventPool: ze_event_pool_handle_t, phIpc: *mut ze_ipc_event_pool_handle_t);
    zeEventPoolOpenIpcHandle(
        hContext: ze_context_handle_t, hIpc: ze_ipc_event_pool_handle_t,
        phEventPool: *mut ze_event_pool_handle_t
    );
    zeEventPoolCloseIpcHandle(hEventPool: ze_event_pool_handle_t);
    zeEventHostSignal(hEvent: ze_event_handle_t);
    zeEventHostSynchronize(hEvent: ze_event_handle_t, timeout: u64);
    zeEventQueryStatus(hEvent: ze_event_handle_t);
    zeEventHostReset(hEvent: ze_event_handle_t);
    zeEventQueryKernelTimestamp(hEvent: ze_event_handle_t, dstptr: *mut ze_kernel_timestamp_result_t);
    zeModuleCreate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *const ze_module_desc_t,
        phModule: *mut ze_module_handle_t, phBuildLog: *mut ze_module_build_log_handle_t
    );
    zeModuleDestroy(hModule: ze_module_handle_t);
    zeModuleDynamicLink(
        numModules: u32, phModules: *mut ze_module_handle_t, phLinkLog: *mut ze_module_build_log_handle_t
    );
    zeModuleBuildLogDestroy(hModuleBuildLog: ze_module_build_log_handle_t);
    zeModuleBuildLogGetString(
        hModuleBuildLog: ze_module_build_log_handle_t, pSize: *mut usize, pBuildLog: *mut c_char
    );
    zeModuleGetNativeBinary(hModule: ze_module_handle_t, pSize: *mut usize, pModuleNativeBinary: *mut u8);
    zeModuleGetGlobalPointer(
        hModule: ze_module_handle_t, pGlobalName: *const c_char, pSize: *mut usize, pptr: *mut *mut c_void
    );
    zeModuleGetKernelNames(hModule: ze_module_handle_t, pCount: *mut u32, pNames: *mut *const c_char);
    zeModuleGetProperties(hModule: ze_module_handle_t, pModuleProperties: *mut ze_module_properties_t);
    zeKernelCreate(
        hModule: ze_module_handle_t, desc: *const ze_kernel_desc_t, phKernel: *mut ze_kernel_handle_t
    );
    zeKernelDestroy(hKernel: ze_kernel_handle_t);
    zeModuleGetFunctionPointer(
        hModule: ze_module_handle_t, pFunctionName: *const c_char, pfnFunction: *mut *mut c_void
    );
    zeKernelSetGroupSize(hKernel: ze_kernel_handle_t, groupSizeX: u32, groupSizeY: u32, groupSizeZ: u32);
    zeKernelSuggestGroupSize(
        hKernel: ze_kernel_handle_t, globalSizeX: u32, globalSizeY: u32, globalSizeZ: u32,
        groupSizeX: *mut u32, groupSizeY: *mut u32, groupSizeZ: *mut u32
    );
    zeKernelSuggestMaxCooperativeGroupCount(hKernel: ze_kernel_handle_t, totalGroupCount: *mut u32);
    zeKernelSetArgumentValue(
        hKernel: ze_kernel_handle_t, argIndex: u32, argSize: usize, pArgValue: *const c_void
    );
    zeKernelSetIndirectAccess(hKernel: ze_kernel_handle_t, flags: ze_kernel_indirect_access_flags_t);
    zeKernelGetIndirectAccess(hKernel: ze_kernel_handle_t, pFlags: *mut ze_kernel_indirect_access_flags_t);
    zeKernelGetSourceAttributes(hKernel: ze_kernel_handle_t, pSize: *mut u32, pString: *mut *mut c_char);
    zeKernelSetCacheConfig(hKernel: ze_kernel_handle_t, flags: ze_cache_config_flags_t);
    zeKernelGetProperties(hKernel: ze_kernel_handle_t, pKernelProperties: *mut ze_kernel_properties_t);
    zeKernelGetName(hKernel: ze_kernel_handle_t, pSize: *mut usize, pName: *mut c_char);
    zeKernelSetGlobalOffsetExp(hKernel: ze_kernel_handle_t, offsetX: u32, offsetY: u32, offsetZ: u32);
    zeEventQueryTimestampsExp(
        hEvent: ze_event_handle_t, hDevice: ze_device_handle_t, pCount: *mut u32,
        pTimestamps: *mut ze_kernel_timestamp_result_t
    );
    zeKernelSchedulingHintExp(hKernel: ze_kernel_handle_t, pHint: *mut ze_scheduling_hint_exp_desc_t);
    zeModuleInspectLinkageExt(
        pInspectDesc: *mut ze_linkage_inspection_ext_desc_t, numModules: u32,
        phModules: *mut ze_module_handle_t, phLog: *mut ze_module_build_log_handle_t
    );
}
