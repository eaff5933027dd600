//! DCMI, the management library, as its published reference describes it.

// Names are Huawei's and documented there; ours would only repeat them.
#![allow(missing_docs)]

use core::ffi::c_ulong;

use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[DCMI_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

/// Status of every call; 0 is success, errors are below -8000.
pub type dcmi_result = i32;

fcsp_hook::constants! {
    /// Values of the constants above.
    VALUES;
    dcmi_result {
        DCMI_OK = 0;
        DCMI_ERR_CODE_INNER_ERR = -8_005;
        DCMI_ERR_CODE_NOT_SUPPORT = -8_255;
    }
    i32 {
        VDIE = 1;
    }
}

fcsp_hook::layouts! {
    /// Sizes and offsets of the structs above.
    STRUCTS;
    /// A die's number.
    dcmi_die_id { soc_die: [u32; 5], }
    /// High-bandwidth memory, in MiB.
    dcmi_hbm_info { memory_size: u64, freq: u32, memory_usage: u64, temp: i32, bandwith_util_rate: u32, }
    /// Memory, in MiB and per cent.
    dcmi_memory_info { memory_size: u64, freq: u32, utiliza: u32, }
    /// Memory, in MiB; pages of `hugepagesize` KiB.
    dcmi_get_memory_info_stru {
        memory_size: u64,
        memory_available: u64,
        freq: u32,
        hugepagesize: c_ulong,
        hugepages_total: c_ulong,
        hugepages_free: c_ulong,
        utiliza: u32,
        reserve: [u8; 60],
    }
    /// A process and the bytes it holds.
    dcmi_proc_mem_info { proc_id: i32, proc_mem_usage: c_ulong, }
}

fcsp_hook::functions! {
    /// Signatures of this module.
    DCMI_FUNCTIONS -> dcmi_result;

    dcmi_init();
    dcmi_get_card_list(card_num: *mut i32, card_list: *mut i32, list_len: i32);
    dcmi_get_device_num_in_card(card_id: i32, device_num: *mut i32);
    dcmi_get_device_logic_id(device_logic_id: *mut i32, card_id: i32, device_id: i32);
    dcmi_get_device_die_v2(card_id: i32, device_id: i32, input_type: i32, die_id: *mut dcmi_die_id);
    dcmi_get_device_hbm_info(card_id: i32, device_id: i32, hbm_info: *mut dcmi_hbm_info);
    dcmi_get_device_memory_info_v2(card_id: i32, device_id: i32, memory_info: *mut dcmi_memory_info);
    dcmi_get_device_memory_info_v3(
        card_id: i32, device_id: i32, memory_info: *mut dcmi_get_memory_info_stru
    );
    dcmi_get_device_resource_info(
        card_id: i32, device_id: i32, proc_info: *mut dcmi_proc_mem_info, proc_num: *mut i32
    );
}
