//! Structs that an interposer reads, fills or must know the size of. The rest are known by address
//! only.

use core::ffi::{c_char, c_void};

use super::*;

fcsp_hook::layouts! {
    /// Layouts of the structs above, for the header test.
    STRUCTS;
    ze_image_region_t {
        originX: u32,
        originY: u32,
        originZ: u32,
        width: u32,
        height: u32,
        depth: u32,
    }
    ze_copy_region_t {
        originX: u32,
        originY: u32,
        originZ: u32,
        width: u32,
        height: u32,
        depth: u32,
    }
    ze_device_uuid_t {
        id: [u8; 16],
    }
    ze_driver_uuid_t {
        id: [u8; 16],
    }
    ze_device_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
        type_: ze_device_type_t = "type",
        vendorId: u32,
        deviceId: u32,
        flags: ze_device_property_flags_t,
        subdeviceId: u32,
        coreClockRate: u32,
        maxMemAllocSize: u64,
        maxHardwareContexts: u32,
        maxCommandQueuePriority: u32,
        numThreadsPerEU: u32,
        physicalEUSimdWidth: u32,
        numEUsPerSubslice: u32,
        numSubslicesPerSlice: u32,
        numSlices: u32,
        timerResolution: u64,
        timestampValidBits: u32,
        kernelTimestampValidBits: u32,
        uuid: ze_device_uuid_t,
        name: [c_char; 256],
    }
    ze_device_memory_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
        flags: ze_device_memory_property_flags_t,
        maxClockRate: u32,
        maxBusWidth: u32,
        totalSize: u64,
        name: [c_char; 256],
    }
    ze_driver_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
        uuid: ze_driver_uuid_t,
        driverVersion: u32,
    }
    ze_context_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        flags: ze_context_flags_t,
    }
    ze_command_queue_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        ordinal: u32,
        index: u32,
        flags: ze_command_queue_flags_t,
        mode: ze_command_queue_mode_t,
        priority: ze_command_queue_priority_t,
    }
    ze_command_list_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        commandQueueGroupOrdinal: u32,
        flags: ze_command_list_flags_t,
    }
    ze_command_queue_group_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
        flags: ze_command_queue_group_property_flags_t,
        maxMemoryFillPatternSize: usize,
        numQueues: u32,
    }
    ze_event_pool_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        flags: ze_event_pool_flags_t,
        count: u32,
    }
    ze_event_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        index: u32,
        signal: ze_event_scope_flags_t,
        wait: ze_event_scope_flags_t,
    }
    ze_kernel_timestamp_data_t {
        kernelStart: u64,
        kernelEnd: u64,
    }
    ze_kernel_timestamp_result_t {
        global: ze_kernel_timestamp_data_t,
        context: ze_kernel_timestamp_data_t,
    }
    ze_image_format_t {
        layout: ze_image_format_layout_t,
        type_: ze_image_format_type_t = "type",
        x: ze_image_format_swizzle_t,
        y: ze_image_format_swizzle_t,
        z: ze_image_format_swizzle_t,
        w: ze_image_format_swizzle_t,
    }
    ze_image_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        flags: ze_image_flags_t,
        type_: ze_image_type_t = "type",
        format: ze_image_format_t,
        width: u64,
        height: u32,
        depth: u32,
        arraylevels: u32,
        miplevels: u32,
    }
    ze_image_memory_properties_exp_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        size: u64,
        rowPitch: u64,
        slicePitch: u64,
    }
    ze_device_mem_alloc_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        flags: ze_device_mem_alloc_flags_t,
        ordinal: u32,
    }
    ze_host_mem_alloc_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        flags: ze_host_mem_alloc_flags_t,
    }
    ze_memory_allocation_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
        type_: ze_memory_type_t = "type",
        id: u64,
        pageSize: u64,
    }
    ze_module_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        format: ze_module_format_t,
        inputSize: usize,
        pInputModule: *const u8,
        pBuildFlags: *const c_char,
        pConstants: *const ze_module_constants_t,
    }
    ze_group_count_t {
        groupCountX: u32,
        groupCountY: u32,
        groupCountZ: u32,
    }
    ze_physical_mem_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        flags: ze_physical_mem_flags_t,
        size: usize,
    }
    ze_pci_address_ext_t {
        domain: u32,
        bus: u32,
        device: u32,
        function: u32,
    }
    ze_pci_speed_ext_t {
        genVersion: i32,
        width: i32,
        maxBandwidth: i64,
    }
    ze_pci_ext_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
        address: ze_pci_address_ext_t,
        maxSpeed: ze_pci_speed_ext_t,
    }
    ze_memory_free_ext_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
        freePolicy: ze_driver_memory_free_policy_ext_flags_t,
    }
    ze_ipc_mem_handle_t {
        data: [c_char; 64],
    }
    ze_ipc_event_pool_handle_t {
        data: [c_char; 64],
    }
    ze_base_properties_t {
        stype: ze_structure_type_t,
        pNext: *mut c_void,
    }
    ze_base_desc_t {
        stype: ze_structure_type_t,
        pNext: *const c_void,
    }
}
