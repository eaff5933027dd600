//! The core API: what `ze_api.h` of version 1.4 declares, and in [`later`] what came after it.

use core::ffi::c_void;

pub use driver::*;
pub use later::*;
pub use lists::*;
pub use memory::*;
pub use modules::*;
pub use structs::*;

use super::{Constant, Function, Layout};

pub mod driver;
pub mod later;
pub mod lists;
pub mod memory;
pub mod modules;
pub mod structs;

pub type ze_result_t = u32;
pub type ze_api_version_t = u32;
pub type ze_bool_t = u8;
pub type ze_cache_config_flags_t = u32;
pub type ze_cache_ext_region_t = u32;
pub type ze_command_list_flags_t = u32;
pub type ze_command_queue_flags_t = u32;
pub type ze_command_queue_group_property_flags_t = u32;
pub type ze_command_queue_mode_t = u32;
pub type ze_command_queue_priority_t = u32;
pub type ze_context_flags_t = u32;
pub type ze_device_mem_alloc_flags_t = u32;
pub type ze_device_memory_property_flags_t = u32;
pub type ze_device_property_flags_t = u32;
pub type ze_device_type_t = u32;
pub type ze_driver_memory_free_policy_ext_flags_t = u32;
pub type ze_event_pool_flags_t = u32;
pub type ze_event_scope_flags_t = u32;
pub type ze_host_mem_alloc_flags_t = u32;
pub type ze_image_flags_t = u32;
pub type ze_image_format_layout_t = u32;
pub type ze_image_format_swizzle_t = u32;
pub type ze_image_format_type_t = u32;
pub type ze_image_type_t = u32;
pub type ze_init_flags_t = u32;
pub type ze_ipc_memory_flags_t = u32;
pub type ze_kernel_indirect_access_flags_t = u32;
pub type ze_memory_access_attribute_t = u32;
pub type ze_memory_advice_t = u32;
pub type ze_memory_type_t = u32;
pub type ze_module_format_t = u32;
pub type ze_physical_mem_flags_t = u32;
pub type ze_structure_type_t = u32;

pub type ze_command_list_handle_t = *mut c_void;
pub type ze_command_queue_handle_t = *mut c_void;
pub type ze_context_handle_t = *mut c_void;
pub type ze_device_handle_t = *mut c_void;
pub type ze_driver_handle_t = *mut c_void;
pub type ze_event_handle_t = *mut c_void;
pub type ze_event_pool_handle_t = *mut c_void;
pub type ze_fabric_edge_handle_t = *mut c_void;
pub type ze_fabric_vertex_handle_t = *mut c_void;
pub type ze_fence_handle_t = *mut c_void;
pub type ze_image_handle_t = *mut c_void;
pub type ze_kernel_handle_t = *mut c_void;
pub type ze_module_build_log_handle_t = *mut c_void;
pub type ze_module_handle_t = *mut c_void;
pub type ze_physical_mem_handle_t = *mut c_void;
pub type ze_sampler_handle_t = *mut c_void;

// Structs known by address only.
pub type ze_device_cache_properties_t = c_void;
pub type ze_device_compute_properties_t = c_void;
pub type ze_device_external_memory_properties_t = c_void;
pub type ze_device_image_properties_t = c_void;
pub type ze_device_memory_access_properties_t = c_void;
pub type ze_device_module_properties_t = c_void;
pub type ze_device_p2p_properties_t = c_void;
pub type ze_driver_extension_properties_t = c_void;
pub type ze_driver_ipc_properties_t = c_void;
pub type ze_fabric_edge_exp_properties_t = c_void;
pub type ze_fabric_vertex_exp_properties_t = c_void;
pub type ze_fence_desc_t = c_void;
pub type ze_image_allocation_ext_properties_t = c_void;
pub type ze_image_properties_t = c_void;
pub type ze_kernel_desc_t = c_void;
pub type ze_kernel_properties_t = c_void;
pub type ze_linkage_inspection_ext_desc_t = c_void;
pub type ze_module_constants_t = c_void;
pub type ze_module_properties_t = c_void;
pub type ze_sampler_desc_t = c_void;
pub type ze_scheduling_hint_exp_desc_t = c_void;

fcsp_hook::constants! {
    /// Values of the constants above, for the header test.
    CONSTANTS;
    ze_result_t {
        ZE_RESULT_SUCCESS = 0;
        ZE_RESULT_NOT_READY = 1;
        ZE_RESULT_ERROR_DEVICE_LOST = 0x7000_0001;
        ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY = 0x7000_0002;
        ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY = 0x7000_0003;
        ZE_RESULT_ERROR_UNINITIALIZED = 0x7800_0001;
        ZE_RESULT_ERROR_UNSUPPORTED_VERSION = 0x7800_0002;
        ZE_RESULT_ERROR_UNSUPPORTED_FEATURE = 0x7800_0003;
        ZE_RESULT_ERROR_INVALID_ARGUMENT = 0x7800_0004;
        ZE_RESULT_ERROR_INVALID_NULL_POINTER = 0x7800_0007;
        ZE_RESULT_ERROR_UNSUPPORTED_SIZE = 0x7800_0009;
        ZE_RESULT_ERROR_UNKNOWN = 0x7fff_fffe;
    }
    ze_api_version_t {
        ZE_API_VERSION_1_4 = 0x1_0004;
    }
    ze_structure_type_t {
        ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES = 0x3;
        ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC = 0x15;
        ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES = 0x6;
        ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES = 0x7;
        ZE_STRUCTURE_TYPE_CONTEXT_DESC = 0xd;
        ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC = 0xe;
        ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC = 0xf;
        ZE_STRUCTURE_TYPE_EVENT_POOL_DESC = 0x10;
        ZE_STRUCTURE_TYPE_EVENT_DESC = 0x11;
        ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES = 0x17;
        ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_FD = 0x19;
        ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_WIN32 = 0x22;
        ZE_STRUCTURE_TYPE_PCI_EXT_PROPERTIES = 0x1_0008;
        ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2 = 0x2_0006;
        ZE_STRUCTURE_TYPE_IMAGE_MEMORY_EXP_PROPERTIES = 0x2_0007;
    }
    ze_event_pool_flags_t {
        ZE_EVENT_POOL_FLAG_HOST_VISIBLE = 1;
        ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP = 4;
    }
    ze_command_queue_group_property_flags_t {
        ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE = 1;
    }
    ze_device_type_t {
        ZE_DEVICE_TYPE_GPU = 1;
    }
    ze_memory_type_t {
        ZE_MEMORY_TYPE_DEVICE = 2;
        ZE_MEMORY_TYPE_SHARED = 3;
    }
}

/// Every function of the header.
pub const FUNCTIONS: &[&[Function]] = &[
    DRIVER_FUNCTIONS,
    MEMORY_FUNCTIONS,
    LIST_FUNCTIONS,
    MODULE_FUNCTIONS,
];

/// Every struct above.
pub const LAYOUTS: &[Layout] = STRUCTS;

const _: &[Constant] = CONSTANTS;
