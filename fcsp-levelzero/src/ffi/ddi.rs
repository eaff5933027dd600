//! Getters by which a loader takes a driver's functions, and a static loader the loader's. Each
//! fills a table of function pointers, as long as the requested version's. [`crate::loader`]'s list
//! has the places in the tables.

use core::ffi::c_void;

use super::Function;
pub use super::ze::{ze_api_version_t, ze_result_t};

pub type ze_global_dditable_t = c_void;
pub type ze_driver_dditable_t = c_void;
pub type ze_device_dditable_t = c_void;
pub type ze_device_exp_dditable_t = c_void;
pub type ze_context_dditable_t = c_void;
pub type ze_command_queue_dditable_t = c_void;
pub type ze_command_list_dditable_t = c_void;
pub type ze_image_dditable_t = c_void;
pub type ze_image_exp_dditable_t = c_void;
pub type ze_fence_dditable_t = c_void;
pub type ze_event_pool_dditable_t = c_void;
pub type ze_event_dditable_t = c_void;
pub type ze_event_exp_dditable_t = c_void;
pub type ze_module_dditable_t = c_void;
pub type ze_module_build_log_dditable_t = c_void;
pub type ze_kernel_dditable_t = c_void;
pub type ze_kernel_exp_dditable_t = c_void;
pub type ze_sampler_dditable_t = c_void;
pub type ze_physical_mem_dditable_t = c_void;
pub type ze_mem_dditable_t = c_void;
pub type ze_virtual_mem_dditable_t = c_void;
pub type ze_fabric_vertex_exp_dditable_t = c_void;
pub type ze_fabric_edge_exp_dditable_t = c_void;
pub type zes_driver_dditable_t = c_void;
pub type zes_device_dditable_t = c_void;
pub type zes_scheduler_dditable_t = c_void;
pub type zes_performance_factor_dditable_t = c_void;
pub type zes_power_dditable_t = c_void;
pub type zes_frequency_dditable_t = c_void;
pub type zes_engine_dditable_t = c_void;
pub type zes_standby_dditable_t = c_void;
pub type zes_firmware_dditable_t = c_void;
pub type zes_memory_dditable_t = c_void;
pub type zes_fabric_port_dditable_t = c_void;
pub type zes_temperature_dditable_t = c_void;
pub type zes_psu_dditable_t = c_void;
pub type zes_fan_dditable_t = c_void;
pub type zes_led_dditable_t = c_void;
pub type zes_ras_dditable_t = c_void;
pub type zes_diagnostics_dditable_t = c_void;
pub type zet_device_dditable_t = c_void;
pub type zet_context_dditable_t = c_void;
pub type zet_command_list_dditable_t = c_void;
pub type zet_module_dditable_t = c_void;
pub type zet_kernel_dditable_t = c_void;
pub type zet_metric_group_dditable_t = c_void;
pub type zet_metric_group_exp_dditable_t = c_void;
pub type zet_metric_dditable_t = c_void;
pub type zet_metric_streamer_dditable_t = c_void;
pub type zet_metric_query_pool_dditable_t = c_void;
pub type zet_metric_query_dditable_t = c_void;
pub type zet_tracer_exp_dditable_t = c_void;
pub type zet_debug_dditable_t = c_void;

fcsp_hook::functions! {
    /// Signatures of the getters, for the header test.
    GETTER_FUNCTIONS -> ze_result_t;

    zeGetGlobalProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_global_dditable_t);
    zeGetDriverProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_driver_dditable_t);
    zeGetDeviceProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_device_dditable_t);
    zeGetDeviceExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_device_exp_dditable_t);
    zeGetContextProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_context_dditable_t);
    zeGetCommandQueueProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_command_queue_dditable_t);
    zeGetCommandListProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_command_list_dditable_t);
    zeGetImageProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_image_dditable_t);
    zeGetImageExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_image_exp_dditable_t);
    zeGetFenceProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_fence_dditable_t);
    zeGetEventPoolProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_event_pool_dditable_t);
    zeGetEventProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_event_dditable_t);
    zeGetEventExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_event_exp_dditable_t);
    zeGetModuleProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_module_dditable_t);
    zeGetModuleBuildLogProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_module_build_log_dditable_t);
    zeGetKernelProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_kernel_dditable_t);
    zeGetKernelExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_kernel_exp_dditable_t);
    zeGetSamplerProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_sampler_dditable_t);
    zeGetPhysicalMemProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_physical_mem_dditable_t);
    zeGetMemProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_mem_dditable_t);
    zeGetVirtualMemProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_virtual_mem_dditable_t);
    zeGetFabricVertexExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_fabric_vertex_exp_dditable_t);
    zeGetFabricEdgeExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut ze_fabric_edge_exp_dditable_t);
    zesGetDriverProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_driver_dditable_t);
    zesGetDeviceProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_device_dditable_t);
    zesGetSchedulerProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_scheduler_dditable_t);
    zesGetPerformanceFactorProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_performance_factor_dditable_t);
    zesGetPowerProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_power_dditable_t);
    zesGetFrequencyProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_frequency_dditable_t);
    zesGetEngineProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_engine_dditable_t);
    zesGetStandbyProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_standby_dditable_t);
    zesGetFirmwareProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_firmware_dditable_t);
    zesGetMemoryProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_memory_dditable_t);
    zesGetFabricPortProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_fabric_port_dditable_t);
    zesGetTemperatureProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_temperature_dditable_t);
    zesGetPsuProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_psu_dditable_t);
    zesGetFanProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_fan_dditable_t);
    zesGetLedProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_led_dditable_t);
    zesGetRasProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_ras_dditable_t);
    zesGetDiagnosticsProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zes_diagnostics_dditable_t);
    zetGetDeviceProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_device_dditable_t);
    zetGetContextProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_context_dditable_t);
    zetGetCommandListProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_command_list_dditable_t);
    zetGetModuleProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_module_dditable_t);
    zetGetKernelProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_kernel_dditable_t);
    zetGetMetricGroupProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_metric_group_dditable_t);
    zetGetMetricGroupExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_metric_group_exp_dditable_t);
    zetGetMetricProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_metric_dditable_t);
    zetGetMetricStreamerProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_metric_streamer_dditable_t);
    zetGetMetricQueryPoolProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_metric_query_pool_dditable_t);
    zetGetMetricQueryProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_metric_query_dditable_t);
    zetGetTracerExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_tracer_exp_dditable_t);
    zetGetDebugProcAddrTable(version: ze_api_version_t, pDdiTable: *mut zet_debug_dditable_t);
}

/// Every getter.
pub const FUNCTIONS: &[&[Function]] = &[GETTER_FUNCTIONS];

fcsp_hook::functions! {
    /// Getters of tables that came after version 1.4. The header test passes them over.
    LATER_FUNCTIONS -> ze_result_t;

    zeGetCommandListExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
    zeGetDriverExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
    zeGetMemExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
    zeGetRTASBuilderExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
    zeGetRTASParallelOperationExpProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
    zesGetGlobalProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
    zesGetOverclockProcAddrTable(version: ze_api_version_t, pDdiTable: *mut c_void);
}
