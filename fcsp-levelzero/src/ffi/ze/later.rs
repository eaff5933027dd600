//! Functions that came after version 1.4 and matter for a quota or a share. No header that these
//! tests download declares them; they are as the specification has them.

use core::ffi::c_void;

use super::*;

/// Request of a caller of `zeInitDrivers` for drivers.
pub type ze_init_driver_type_desc_t = c_void;

/// Work items a group in x, y and z; by value in one call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ze_group_size_t {
    pub groupSizeX: u32,
    pub groupSizeY: u32,
    pub groupSizeZ: u32,
}

fcsp_hook::functions! {
    /// Signatures of this module. The header test passes them over.
    LATER_FUNCTIONS -> ze_result_t;

    zeInitDrivers(pCount: *mut u32, phDrivers: *mut ze_driver_handle_t, desc: *mut ze_init_driver_type_desc_t);
    zeCommandListHostSynchronize(hCommandList: ze_command_list_handle_t, timeout: u64);
    zeCommandListImmediateAppendCommandListsExp(
        hCommandListImmediate: ze_command_list_handle_t, numCommandLists: u32,
        phCommandLists: *mut ze_command_list_handle_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendLaunchKernelWithParameters(
        hCommandList: ze_command_list_handle_t, hKernel: ze_kernel_handle_t,
        pGroupCounts: *const ze_group_count_t, pNext: *const c_void, hSignalEvent: ze_event_handle_t,
        numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendLaunchKernelWithArguments(
        hCommandList: ze_command_list_handle_t, hKernel: ze_kernel_handle_t, groupCounts: ze_group_count_t,
        groupSizes: ze_group_size_t, pArguments: *mut *mut c_void, pNext: *const c_void,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
}
