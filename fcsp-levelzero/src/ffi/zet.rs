//! Tools: what `zet_api.h` of version 1.4 declares. Nothing of it is wrapped.

use core::ffi::c_void;

use super::Function;
pub use super::ze::*;

pub type zet_metric_group_calculation_type_t = u32;
pub type zet_module_debug_info_format_t = u32;

pub type zet_command_list_handle_t = *mut c_void;
pub type zet_context_handle_t = *mut c_void;
pub type zet_debug_session_handle_t = *mut c_void;
pub type zet_device_handle_t = *mut c_void;
pub type zet_kernel_handle_t = *mut c_void;
pub type zet_metric_group_handle_t = *mut c_void;
pub type zet_metric_handle_t = *mut c_void;
pub type zet_metric_query_handle_t = *mut c_void;
pub type zet_metric_query_pool_handle_t = *mut c_void;
pub type zet_metric_streamer_handle_t = *mut c_void;
pub type zet_module_handle_t = *mut c_void;
pub type zet_tracer_exp_handle_t = *mut c_void;

// Structs known by address only.
pub type ze_device_thread_t = c_void;
pub type zet_core_callbacks_t = c_void;
pub type zet_debug_config_t = c_void;
pub type zet_debug_event_t = c_void;
pub type zet_debug_memory_space_desc_t = c_void;
pub type zet_debug_regset_properties_t = c_void;
pub type zet_device_debug_properties_t = c_void;
pub type zet_metric_group_properties_t = c_void;
pub type zet_metric_properties_t = c_void;
pub type zet_metric_query_pool_desc_t = c_void;
pub type zet_metric_streamer_desc_t = c_void;
pub type zet_profile_properties_t = c_void;
pub type zet_tracer_exp_desc_t = c_void;
pub type zet_typed_value_t = c_void;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    FUNCTIONS_OF_TOOLS -> ze_result_t;

    zetModuleGetDebugInfo(
        hModule: zet_module_handle_t, format: zet_module_debug_info_format_t, pSize: *mut usize,
        pDebugInfo: *mut u8
    );
    zetDeviceGetDebugProperties(
        hDevice: zet_device_handle_t, pDebugProperties: *mut zet_device_debug_properties_t
    );
    zetDebugAttach(
        hDevice: zet_device_handle_t, config: *const zet_debug_config_t,
        phDebug: *mut zet_debug_session_handle_t
    );
    zetDebugDetach(hDebug: zet_debug_session_handle_t);
    zetDebugReadEvent(hDebug: zet_debug_session_handle_t, timeout: u64, event: *mut zet_debug_event_t);
    zetDebugAcknowledgeEvent(hDebug: zet_debug_session_handle_t, event: *const zet_debug_event_t);
    zetDebugInterrupt(hDebug: zet_debug_session_handle_t, thread: ze_device_thread_t);
    zetDebugResume(hDebug: zet_debug_session_handle_t, thread: ze_device_thread_t);
    zetDebugReadMemory(
        hDebug: zet_debug_session_handle_t, thread: ze_device_thread_t,
        desc: *const zet_debug_memory_space_desc_t, size: usize, buffer: *mut c_void
    );
    zetDebugWriteMemory(
        hDebug: zet_debug_session_handle_t, thread: ze_device_thread_t,
        desc: *const zet_debug_memory_space_desc_t, size: usize, buffer: *const c_void
    );
    zetDebugGetRegisterSetProperties(
        hDevice: zet_device_handle_t, pCount: *mut u32,
        pRegisterSetProperties: *mut zet_debug_regset_properties_t
    );
    zetDebugReadRegisters(
        hDebug: zet_debug_session_handle_t, thread: ze_device_thread_t, type_: u32, start: u32, count: u32,
        pRegisterValues: *mut c_void
    );
    zetDebugWriteRegisters(
        hDebug: zet_debug_session_handle_t, thread: ze_device_thread_t, type_: u32, start: u32, count: u32,
        pRegisterValues: *mut c_void
    );
    zetMetricGroupGet(
        hDevice: zet_device_handle_t, pCount: *mut u32, phMetricGroups: *mut zet_metric_group_handle_t
    );
    zetMetricGroupGetProperties(
        hMetricGroup: zet_metric_group_handle_t, pProperties: *mut zet_metric_group_properties_t
    );
    zetMetricGroupCalculateMetricValues(
        hMetricGroup: zet_metric_group_handle_t, type_: zet_metric_group_calculation_type_t,
        rawDataSize: usize, pRawData: *const u8, pMetricValueCount: *mut u32,
        pMetricValues: *mut zet_typed_value_t
    );
    zetMetricGet(
        hMetricGroup: zet_metric_group_handle_t, pCount: *mut u32, phMetrics: *mut zet_metric_handle_t
    );
    zetMetricGetProperties(hMetric: zet_metric_handle_t, pProperties: *mut zet_metric_properties_t);
    zetContextActivateMetricGroups(
        hContext: zet_context_handle_t, hDevice: zet_device_handle_t, count: u32,
        phMetricGroups: *mut zet_metric_group_handle_t
    );
    zetMetricStreamerOpen(
        hContext: zet_context_handle_t, hDevice: zet_device_handle_t,
        hMetricGroup: zet_metric_group_handle_t, desc: *mut zet_metric_streamer_desc_t,
        hNotificationEvent: ze_event_handle_t, phMetricStreamer: *mut zet_metric_streamer_handle_t
    );
    zetCommandListAppendMetricStreamerMarker(
        hCommandList: zet_command_list_handle_t, hMetricStreamer: zet_metric_streamer_handle_t, value: u32
    );
    zetMetricStreamerClose(hMetricStreamer: zet_metric_streamer_handle_t);
    zetMetricStreamerReadData(
        hMetricStreamer: zet_metric_streamer_handle_t, maxReportCount: u32, pRawDataSize: *mut usize,
        pRawData: *mut u8
    );
    zetMetricQueryPoolCreate(
        hContext: zet_context_handle_t, hDevice: zet_device_handle_t,
        hMetricGroup: zet_metric_group_handle_t, desc: *const zet_metric_query_pool_desc_t,
        phMetricQueryPool: *mut zet_metric_query_pool_handle_t
    );
    zetMetricQueryPoolDestroy(hMetricQueryPool: zet_metric_query_pool_handle_t);
    zetMetricQueryCreate(
        hMetricQueryPool: zet_metric_query_pool_handle_t, index: u32,
        phMetricQuery: *mut zet_metric_query_handle_t
    );
    zetMetricQueryDestroy(hMetricQuery: zet_metric_query_handle_t);
    zetMetricQueryReset(hMetricQuery: zet_metric_query_handle_t);
    zetCommandListAppendMetricQueryBegin(
        hCommandList: zet_command_list_handle_t, hMetricQuery: zet_metric_query_handle_t
    );
    zetCommandListAppendMetricQueryEnd(
        hCommandList: zet_command_list_handle_t, hMetricQuery: zet_metric_query_handle_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zetCommandListAppendMetricMemoryBarrier(hCommandList: zet_command_list_handle_t);
    zetMetricQueryGetData(
        hMetricQuery: zet_metric_query_handle_t, pRawDataSize: *mut usize, pRawData: *mut u8
    );
    zetKernelGetProfileInfo(hKernel: zet_kernel_handle_t, pProfileProperties: *mut zet_profile_properties_t);
    zetTracerExpCreate(
        hContext: zet_context_handle_t, desc: *const zet_tracer_exp_desc_t,
        phTracer: *mut zet_tracer_exp_handle_t
    );
    zetTracerExpDestroy(hTracer: zet_tracer_exp_handle_t);
    zetTracerExpSetPrologues(hTracer: zet_tracer_exp_handle_t, pCoreCbs: *mut zet_core_callbacks_t);
    zetTracerExpSetEpilogues(hTracer: zet_tracer_exp_handle_t, pCoreCbs: *mut zet_core_callbacks_t);
    zetTracerExpSetEnabled(hTracer: zet_tracer_exp_handle_t, enable: ze_bool_t);
    zetMetricGroupCalculateMultipleMetricValuesExp(
        hMetricGroup: zet_metric_group_handle_t, type_: zet_metric_group_calculation_type_t,
        rawDataSize: usize, pRawData: *const u8, pSetCount: *mut u32, pTotalMetricValueCount: *mut u32,
        pMetricCounts: *mut u32, pMetricValues: *mut zet_typed_value_t
    );
}

/// Every function of the header.
pub const FUNCTIONS: &[&[Function]] = &[FUNCTIONS_OF_TOOLS];
