//! Types of Synapse and HLML, one alias a function. The vendor publishes no headers with its packages; these follow its
//! reference and published sources.

#![allow(non_camel_case_types, missing_docs)]

use core::ffi::{c_char, c_int, c_uint, c_void};

/// Status of every call of Synapse.
pub type synStatus = c_int;
pub type synDeviceId = u32;
pub type synModuleId = u32;
pub type synDeviceType = c_int;
pub type synDeviceAttribute = c_int;
pub type synEventHandle = *mut c_void;
pub type synRecipeHandle = *mut c_void;
pub type synStreamHandle = *mut c_void;
/// Seen through pointers only; nothing here looks inside.
pub type synLaunchTensorInfo = c_void;
/// As above.
pub type synLaunchTensorInfoExt = c_void;
/// Status of every call of HLML.
pub type hlml_return_t = c_int;
pub type hlml_device_t = *mut c_void;

fcsp_hook::constants! {
    /// Values of the constants above.
    VALUES;
    synStatus {
        synSuccess = 0;
        synNoDeviceFound = 8;
        synFailedToAllocateDeviceMemory = 14;
        synUnsupported = 18;
        synBusy = 22;
        synFail = 26;
    }
    synDeviceAttribute {
        DEVICE_ATTRIBUTE_DRAM_SIZE = 3;
        DEVICE_ATTRIBUTE_DRAM_FREE_SIZE = 4;
    }
    hlml_return_t {
        HLML_SUCCESS = 0;
        HLML_ERROR_NOT_SUPPORTED = 3;
        HLML_ERROR_UNKNOWN = 49;
    }
}

fcsp_hook::layouts! {
    /// Sizes and offsets of the structs above.
    STRUCTS;
    /// A card.
    synDeviceInfo {
        sramBaseAddress: u64,
        dramBaseAddress: u64,
        sramSize: u32,
        dramSize: u64,
        tpcEnabledMask: u64,
        dramEnabled: u8,
        deviceId: u32,
        fd: u32,
        deviceType: synDeviceType,
    }
    /// A card, with its number on the machine.
    synDeviceInfoV2 {
        sramBaseAddress: u64,
        dramBaseAddress: u64,
        sramSize: u32,
        dramSize: u64,
        tpcEnabledMask: u64,
        dramEnabled: u8,
        deviceId: u32,
        fd: u32,
        deviceType: synDeviceType,
        deviceIndex: u8,
        globalHbmBaseAddress: u64,
    }
    /// Memory in bytes.
    hlml_memory_t { free: u64, total: u64, used: u64, }
}

fcsp_hook::functions! {
    /// Functions of Synapse that are wrapped or asked.
    SYNAPSE -> synStatus;
    synDestroy();
    synDeviceGetCount(pCount: *mut u32);
    synDeviceGetModuleIDs(pDeviceModuleIds: *mut u32, size: *mut u32);
    synDeviceAcquireByDeviceType(pDeviceId: *mut synDeviceId, deviceType: synDeviceType);
    synDeviceAcquireByModuleId(pDeviceId: *mut synDeviceId, moduleId: synModuleId);
    synDeviceAcquire(pDeviceId: *mut synDeviceId, pciBus: *const c_char);
    synDeviceRelease(deviceId: synDeviceId);
    synDeviceGetPCIBusId(pPciBusId: *mut c_char, len: c_int, deviceId: synDeviceId);
    synDeviceGetMemoryInfo(deviceId: synDeviceId, free: *mut u64, total: *mut u64);
    synDeviceGetInfo(deviceId: synDeviceId, pDeviceInfo: *mut synDeviceInfo);
    synDeviceGetInfoV2(deviceId: synDeviceId, pDeviceInfo: *mut synDeviceInfoV2);
    synDeviceGetAttribute(
        retVal: *mut u64, deviceAttr: *const synDeviceAttribute, querySize: c_uint, deviceId: synDeviceId
    );
    synDeviceGetAttributeByModuleId(
        retVal: *mut u64, deviceAttr: *const synDeviceAttribute, querySize: c_uint, moduleId: synModuleId
    );
    synDeviceMalloc(deviceId: synDeviceId, size: u64, reqAddr: u64, flags: u32, buffer: *mut u64);
    synDeviceFree(deviceId: synDeviceId, buffer: u64, flags: u32);
    synRecipeDestroy(recipeHandle: synRecipeHandle);
    synLaunch(
        streamHandle: synStreamHandle, launchTensorsInfo: *const synLaunchTensorInfo, numberOfTensors: u32,
        pWorkspace: u64, pRecipeHandle: synRecipeHandle, flags: u32
    );
    synLaunchExt(
        streamHandle: synStreamHandle, launchTensorsInfoExt: *const synLaunchTensorInfoExt, numberOfTensors: u32,
        pWorkspace: u64, pRecipeHandle: synRecipeHandle, flags: u32
    );
    synLaunchWithExternalEvents(
        streamHandle: synStreamHandle, launchTensorsInfo: *const synLaunchTensorInfo, numberOfTensors: u32,
        pWorkspace: u64, pRecipeHandle: synRecipeHandle, eventHandleList: *mut synEventHandle, numberOfEvents: u32,
        flags: u32
    );
    synLaunchWithExternalEventsExt(
        streamHandle: synStreamHandle, launchTensorsInfoExt: *const synLaunchTensorInfoExt, numberOfTensors: u32,
        pWorkspace: u64, pRecipeHandle: synRecipeHandle, eventHandleList: *mut synEventHandle, numberOfEvents: u32,
        flags: u32
    );
    synEventCreate(pEventHandler: *mut synEventHandle, deviceId: synDeviceId, flags: u32);
    synEventDestroy(eventHandle: synEventHandle);
    synEventRecord(eventHandle: synEventHandle, streamHandle: synStreamHandle);
    synEventQuery(eventHandle: synEventHandle);
    synEventElapsedTime(pNanoSeconds: *mut u64, eventHandleStart: synEventHandle, eventHandleEnd: synEventHandle);
}

/// `EVENT_COLLECT_TIME`, a flag of `synEventCreate`.
pub const EVENT_COLLECT_TIME: u32 = 1;

fcsp_hook::functions! {
    /// Functions of HLML that are wrapped or asked.
    HLML -> hlml_return_t;
    hlml_init();
    hlml_shutdown();
    hlml_device_get_count(device_count: *mut c_uint);
    hlml_device_get_handle_by_index(index: c_uint, device: *mut hlml_device_t);
    hlml_device_get_uuid(device: hlml_device_t, uuid: *mut c_char, length: c_uint);
    hlml_device_get_pci_info(device: hlml_device_t, pci: *mut c_void);
    hlml_device_get_module_id(device: hlml_device_t, module_id: *mut c_uint);
    hlml_device_get_memory_info(device: hlml_device_t, memory: *mut hlml_memory_t);
}
