//! ROCm SMI: what the wrappers and the accounting ask of it.

// Names are AMD's and documented there.
#![allow(missing_docs)]

use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[RSMI_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

pub type uint32_t = u32;
pub type uint64_t = u64;

/// Status of every call; 0 is success.
pub type rsmi_status_t = u32;
pub type rsmi_memory_type_t = u32;

fcsp_hook::functions! {
    /// Memory, processes, and how devices are told apart.
    RSMI_FUNCTIONS -> rsmi_status_t;
    rsmi_init(init_flags: uint64_t);
    rsmi_num_monitor_devices(num_devices: *mut uint32_t);
    rsmi_dev_pci_id_get(dv_ind: uint32_t, bdfid: *mut uint64_t);
    rsmi_dev_unique_id_get(dv_ind: uint32_t, id: *mut uint64_t);
    rsmi_dev_busy_percent_get(dv_ind: uint32_t, busy_percent: *mut uint32_t);
    rsmi_dev_memory_busy_percent_get(dv_ind: uint32_t, busy_percent: *mut uint32_t);
    rsmi_dev_memory_total_get(dv_ind: uint32_t, mem_type: rsmi_memory_type_t, total: *mut uint64_t);
    rsmi_dev_memory_usage_get(dv_ind: uint32_t, mem_type: rsmi_memory_type_t, used: *mut uint64_t);
    rsmi_compute_process_info_get(procs: *mut rsmi_process_info_t, num_items: *mut uint32_t);
    rsmi_compute_process_info_by_pid_get(pid: uint32_t, proc_: *mut rsmi_process_info_t);
    rsmi_compute_process_info_by_device_get(pid: uint32_t, dv_ind: uint32_t, proc_: *mut rsmi_process_info_t);
    rsmi_compute_process_gpus_get(pid: uint32_t, dv_indices: *mut uint32_t, num_devices: *mut uint32_t);
}

fcsp_hook::layouts! {
    /// Every struct of this module.
    STRUCTS;
    rsmi_process_info_t {
        process_id: u32,
        pasid: u32,
        vram_usage: u64,
        sdma_usage: u64,
        cu_occupancy: u32,
    }
}

fcsp_hook::constants! {
    /// Values that the wrappers use.
    VALUES;
    rsmi_status_t {
        RSMI_STATUS_SUCCESS = 0;
        RSMI_STATUS_NOT_SUPPORTED = 2;
        RSMI_STATUS_NOT_FOUND = 10;
        RSMI_STATUS_INSUFFICIENT_SIZE = 11;
        RSMI_STATUS_UNKNOWN_ERROR = 0xffff_ffff;
    }
    rsmi_memory_type_t {
        RSMI_MEM_TYPE_VRAM = 0;
        RSMI_MEM_TYPE_VIS_VRAM = 1;
        RSMI_MEM_TYPE_GTT = 2;
    }
}
