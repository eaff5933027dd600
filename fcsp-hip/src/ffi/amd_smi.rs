//! AMD SMI, the newer management library: what the wrappers ask of it. Its header is in no package
//! registry; AMD's own Python bindings are, and the test `headers` compares with those.

// Names are AMD's and documented there.
#![allow(missing_docs)]

use core::ffi::c_void;

use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[AMDSMI_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

pub type amdsmi_status_t = u32;
pub type amdsmi_memory_type_t = u32;
pub type amdsmi_processor_handle = *mut c_void;
/// The device's place: function, device, bus and domain from the lowest bit on (3, 5, 8 and 48
/// bits).
pub type amdsmi_bdf_t = u64;

fcsp_hook::functions! {
    /// Memory, processes, and how devices are told apart.
    AMDSMI_FUNCTIONS -> amdsmi_status_t;
    amdsmi_get_gpu_device_bdf(processor_handle: amdsmi_processor_handle, bdf: *mut amdsmi_bdf_t);
    amdsmi_get_gpu_memory_total(
        processor_handle: amdsmi_processor_handle, mem_type: amdsmi_memory_type_t, total: *mut u64
    );
    amdsmi_get_gpu_memory_usage(
        processor_handle: amdsmi_processor_handle, mem_type: amdsmi_memory_type_t, used: *mut u64
    );
    amdsmi_get_gpu_vram_usage(processor_handle: amdsmi_processor_handle, info: *mut amdsmi_vram_usage_t);
    amdsmi_get_gpu_vram_info(processor_handle: amdsmi_processor_handle, info: *mut amdsmi_vram_info_t);
    amdsmi_get_gpu_process_list(
        processor_handle: amdsmi_processor_handle, max_processes: *mut u32, list: *mut amdsmi_proc_info_t
    );
    amdsmi_get_gpu_compute_process_info(procs: *mut amdsmi_process_info_t, num_items: *mut u32);
    amdsmi_get_gpu_compute_process_info_by_pid(pid: u32, info: *mut amdsmi_process_info_t);
    amdsmi_get_gpu_compute_process_gpus(pid: u32, dv_indices: *mut u32, num_devices: *mut u32);
}

fcsp_hook::layouts! {
    /// Every struct of this module.
    STRUCTS;
    /// In MiB.
    amdsmi_vram_usage_t { vram_total: u32, vram_used: u32, reserved: [u32; 2], }
    /// Sizes in MiB.
    amdsmi_vram_info_t {
        vram_type: u32,
        vram_vendor: [u8; 256],
        vram_size: u64,
        vram_bit_width: u32,
        vram_max_bandwidth: u64,
        reserved: [u64; 37],
    }
    amdsmi_proc_info_t {
        name: [u8; 256],
        pid: u32,
        mem: u64,
        engine_usage: [u64; 8],
        memory_usage: [u64; 8],
        container_name: [u8; 256],
        cu_occupancy: u32,
        reserved: [u32; 11],
    }
    amdsmi_process_info_t { process_id: u32, vram_usage: u64, sdma_usage: u64, cu_occupancy: u32, }
}

fcsp_hook::constants! {
    /// Values that the wrappers use.
    VALUES;
    amdsmi_status_t {
        AMDSMI_STATUS_SUCCESS = 0;
        AMDSMI_STATUS_NOT_SUPPORTED = 2;
        AMDSMI_STATUS_NOT_FOUND = 31;
        AMDSMI_STATUS_UNKNOWN_ERROR = 0xffff_ffff;
    }
    amdsmi_memory_type_t {
        AMDSMI_MEM_TYPE_VRAM = 0;
        AMDSMI_MEM_TYPE_VIS_VRAM = 1;
    }
}
