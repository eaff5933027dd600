//! Synapse, the runtime: status codes, attributes, what is wrapped and what is asked.

// One entry a function, type and constant; the vendor's reference says what each means.
#![allow(missing_docs)]

use core::ffi::{c_char, c_int, c_uint, c_void};

/// Status of every call.
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
/// Opaque type, like the one above.
pub type synLaunchTensorInfoExt = c_void;

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
}

fcsp_hook::functions! {
    /// Functions that are wrapped or asked.
    FUNCTIONS -> synStatus;
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
