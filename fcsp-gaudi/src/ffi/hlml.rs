//! HLML, the management library: what is wrapped and what is asked.

// One entry a function, type and constant; the vendor's reference says what each means.
#![allow(missing_docs)]

use core::ffi::{c_char, c_int, c_uint, c_void};

/// Status of every call.
pub type hlml_return_t = c_int;
pub type hlml_device_t = *mut c_void;

fcsp_hook::constants! {
    /// Values of the constants above.
    VALUES;
    hlml_return_t {
        HLML_SUCCESS = 0;
        HLML_ERROR_NOT_SUPPORTED = 3;
        HLML_ERROR_UNKNOWN = 49;
    }
}

fcsp_hook::layouts! {
    /// Sizes and offsets of the structs above.
    STRUCTS;
    /// Memory in bytes.
    hlml_memory_t { free: u64, total: u64, used: u64, }
}

fcsp_hook::functions! {
    /// Functions that are wrapped or asked.
    FUNCTIONS -> hlml_return_t;
    hlml_init();
    hlml_shutdown();
    hlml_device_get_count(device_count: *mut c_uint);
    hlml_device_get_handle_by_index(index: c_uint, device: *mut hlml_device_t);
    hlml_device_get_uuid(device: hlml_device_t, uuid: *mut c_char, length: c_uint);
    hlml_device_get_pci_info(device: hlml_device_t, pci: *mut c_void);
    hlml_device_get_module_id(device: hlml_device_t, module_id: *mut c_uint);
    hlml_device_get_memory_info(device: hlml_device_t, memory: *mut hlml_memory_t);
}
