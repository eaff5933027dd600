//! NVML, the management library: handles, constants, structs and functions whose answers a tenant
//! may see.

// Names are NVIDIA's and documented there; ours would only repeat them. What is not obvious is said
// in place.
#![allow(missing_docs)]

use core::ffi::{c_char, c_ulong, c_void};

use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[NVML_FUNCTIONS, TEXT_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

/// Status of every NVML call; 0 is success.
pub type nvmlReturn_t = i32;
/// A device, or a MIG instance of one: both travel in the same type.
pub type nvmlDevice_t = *mut c_void;

pub type nvmlClockType_t = u32;
pub type nvmlComputeMode_t = u32;
pub type nvmlEnableState_t = u32;
pub type nvmlGpuTopologyLevel_t = u32;
pub type nvmlGpuVirtualizationMode_t = u32;
pub type nvmlSamplingType_t = u32;
pub type nvmlTemperatureSensors_t = u32;
pub type nvmlValueType_t = u32;

/// Handed on as it is.
pub type nvmlGpmSupport_t = c_void;

/// `version` word of a versioned struct: its size and its number.
const fn struct_version(size: usize, number: u32) -> u32 {
    size as u32 | (number << 24)
}

fcsp_hook::constants! {
    /// Values of the constants above, for the header test.
    VALUES;
    nvmlReturn_t {
        NVML_SUCCESS = 0;
        NVML_ERROR_UNINITIALIZED = 1;
        NVML_ERROR_INVALID_ARGUMENT = 2;
        NVML_ERROR_NOT_SUPPORTED = 3;
        NVML_ERROR_NO_PERMISSION = 4;
        NVML_ERROR_ALREADY_INITIALIZED = 5;
        NVML_ERROR_NOT_FOUND = 6;
        NVML_ERROR_INSUFFICIENT_SIZE = 7;
        NVML_ERROR_INSUFFICIENT_POWER = 8;
        NVML_ERROR_DRIVER_NOT_LOADED = 9;
        NVML_ERROR_TIMEOUT = 10;
        NVML_ERROR_IRQ_ISSUE = 11;
        NVML_ERROR_LIBRARY_NOT_FOUND = 12;
        NVML_ERROR_FUNCTION_NOT_FOUND = 13;
        NVML_ERROR_CORRUPTED_INFOROM = 14;
        NVML_ERROR_GPU_IS_LOST = 15;
        NVML_ERROR_RESET_REQUIRED = 16;
        NVML_ERROR_OPERATING_SYSTEM = 17;
        NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18;
        NVML_ERROR_IN_USE = 19;
        NVML_ERROR_MEMORY = 20;
        NVML_ERROR_NO_DATA = 21;
        NVML_ERROR_INSUFFICIENT_RESOURCES = 23;
        NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25;
        NVML_ERROR_DEPRECATED = 26;
        NVML_ERROR_NOT_READY = 27;
        NVML_ERROR_GPU_NOT_FOUND = 28;
        NVML_ERROR_INVALID_STATE = 29;
        NVML_ERROR_UNKNOWN = 999;
    }
    u32 {
        NVML_INIT_FLAG_NO_GPUS = 1;
        NVML_INIT_FLAG_NO_ATTACH = 2;
        NVML_DEVICE_PCI_BUS_ID_BUFFER_SIZE = 32;
        NVML_DEVICE_PCI_BUS_ID_BUFFER_V2_SIZE = 16;
        NVML_DEVICE_UUID_BUFFER_SIZE = 80;
        NVML_DEVICE_UUID_V2_BUFFER_SIZE = 96;
        NVML_DEVICE_NAME_BUFFER_SIZE = 64;
        NVML_DEVICE_NAME_V2_BUFFER_SIZE = 96;
        NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE = 80;
        NVML_PROCESS_MODE_COMPUTE = 0;
        NVML_PROCESS_MODE_GRAPHICS = 1;
        NVML_PROCESS_MODE_MPS = 2;
        NVML_PROCESS_MODE_ALL = 3;
        NVML_UUID_TYPE_ASCII = 1;
        NVML_UUID_TYPE_BINARY = 2;
        NVML_DEVICE_UUID_ASCII_LEN = 41;
        nvmlMemory_v2 = struct_version(size_of::<nvmlMemory_v2_t>(), 2);
        nvmlProcessDetailList_v1 = struct_version(size_of::<nvmlProcessDetailList_t>(), 1);
        nvmlProcessesUtilizationInfo_v1 = struct_version(size_of::<nvmlProcessesUtilizationInfo_t>(), 1);
        nvmlPciInfoExt_v1 = struct_version(size_of::<nvmlPciInfoExt_t>(), 1);
        nvmlUUID_v1 = struct_version(size_of::<nvmlUUID_t>(), 1);
    }
    nvmlSamplingType_t {
        NVML_TOTAL_POWER_SAMPLES = 0;
        NVML_GPU_UTILIZATION_SAMPLES = 1;
        NVML_MEMORY_UTILIZATION_SAMPLES = 2;
        NVML_ENC_UTILIZATION_SAMPLES = 3;
        NVML_DEC_UTILIZATION_SAMPLES = 4;
        NVML_PROCESSOR_CLK_SAMPLES = 5;
        NVML_MEMORY_CLK_SAMPLES = 6;
    }
    nvmlValueType_t {
        NVML_VALUE_TYPE_DOUBLE = 0;
        NVML_VALUE_TYPE_UNSIGNED_INT = 1;
        NVML_VALUE_TYPE_UNSIGNED_LONG = 2;
        NVML_VALUE_TYPE_UNSIGNED_LONG_LONG = 3;
        NVML_VALUE_TYPE_SIGNED_LONG_LONG = 4;
        NVML_VALUE_TYPE_SIGNED_INT = 5;
    }
    nvmlClockType_t {
        NVML_CLOCK_GRAPHICS = 0;
        NVML_CLOCK_SM = 1;
        NVML_CLOCK_MEM = 2;
    }
}

/// Value that NVML reports for an unknown number: all bits set, in the width of the field.
pub const NVML_VALUE_NOT_AVAILABLE: u64 = u64::MAX;

/// Union inside [`nvmlFieldValue_t`] and [`nvmlSample_t`]; which member is live is said by a value
/// type.
#[repr(C)]
#[derive(Clone, Copy)]
pub union nvmlValue_t {
    pub dVal: f64,
    pub siVal: i32,
    pub uiVal: u32,
    pub ulVal: c_ulong,
    pub ullVal: u64,
    pub sllVal: i64,
    pub usVal: u16,
}

/// Union inside [`nvmlUUID_t`].
#[repr(C)]
#[derive(Clone, Copy)]
pub union nvmlUUIDValue_t {
    pub str: [c_char; 41],
    pub bytes: [u8; 16],
}

pub type nvmlProcessInfo_v2_t = nvmlProcessInfo_t;

fcsp_hook::layouts! {
    /// Layouts of the structs above, for the header test.
    STRUCTS;

    /// Bytes.
    nvmlMemory_t {
        total: u64,
        free: u64,
        used: u64,
    }
    /// Bytes. Here `used` leaves out what the driver and firmware reserve; in [`nvmlMemory_t`] it
    /// does not.
    nvmlMemory_v2_t {
        version: u32,
        total: u64,
        reserved: u64,
        free: u64,
        used: u64,
    }
    nvmlBAR1Memory_t {
        bar1Total: u64,
        bar1Free: u64,
        bar1Used: u64,
    }
    nvmlConfComputeMemSizeInfo_t {
        protectedMemSizeKib: u64,
        unprotectedMemSizeKib: u64,
    }
    /// Limits that a driver keeps per cgroup, in bytes.
    nvmlGetMemoryLimits_v1_t {
        nameSpace: *const c_char,
        softLimit: u64,
        hardLimit: u64,
        currentUsed: u64,
    }
    /// Entry of the unversioned process lists, whose stride is 16 bytes.
    nvmlProcessInfo_v1_t {
        pid: u32,
        usedGpuMemory: u64,
    }
    /// Entry of the `_v2` and `_v3` process lists, whose stride is 24 bytes.
    nvmlProcessInfo_t {
        /// In the PID namespace of the reader.
        pid: u32,
        /// Bytes.
        usedGpuMemory: u64,
        /// All bits set without MIG.
        gpuInstanceId: u32,
        computeInstanceId: u32,
    }
    nvmlProcessDetail_v1_t {
        pid: u32,
        usedGpuMemory: u64,
        gpuInstanceId: u32,
        computeInstanceId: u32,
        usedGpuCcProtectedMemory: u64,
    }
    nvmlProcessDetailList_t {
        version: u32,
        mode: u32,
        /// In: entries that `procArray` holds. Out: entries there are.
        numProcArrayEntries: u32,
        procArray: *mut nvmlProcessDetail_v1_t,
    }
    nvmlProcessUtilizationSample_t {
        pid: u32,
        /// Microseconds since the epoch.
        timeStamp: u64,
        /// Percent, as the others.
        smUtil: u32,
        memUtil: u32,
        encUtil: u32,
        decUtil: u32,
    }
    nvmlProcessUtilizationInfo_v1_t {
        timeStamp: u64,
        pid: u32,
        smUtil: u32,
        memUtil: u32,
        encUtil: u32,
        decUtil: u32,
        jpgUtil: u32,
        ofaUtil: u32,
    }
    nvmlProcessesUtilizationInfo_t {
        version: u32,
        processSamplesCount: u32,
        lastSeenTimeStamp: u64,
        procUtilArray: *mut nvmlProcessUtilizationInfo_v1_t,
    }
    /// Percent of the driver's last sample period.
    nvmlUtilization_t {
        gpu: u32,
        memory: u32,
    }
    nvmlPciInfo_t {
        busIdLegacy: [c_char; 16],
        domain: u32,
        bus: u32,
        device: u32,
        pciDeviceId: u32,
        pciSubSystemId: u32,
        busId: [c_char; 32],
    }
    nvmlPciInfoExt_t {
        version: u32,
        domain: u32,
        bus: u32,
        device: u32,
        pciDeviceId: u32,
        pciSubSystemId: u32,
        baseClass: u32,
        subClass: u32,
        busId: [c_char; 32],
    }
    nvmlUUID_t {
        version: u32,
        type_: u32 = "type",
        value: nvmlUUIDValue_t,
    }
    nvmlDeviceAttributes_t {
        multiprocessorCount: u32,
        sharedCopyEngineCount: u32,
        sharedDecoderCount: u32,
        sharedEncoderCount: u32,
        sharedJpegCount: u32,
        sharedOfaCount: u32,
        gpuInstanceSliceCount: u32,
        computeInstanceSliceCount: u32,
        /// Mebibytes.
        memorySizeMB: u64,
    }
    nvmlSample_t {
        timeStamp: u64,
        sampleValue: nvmlValue_t,
    }
    nvmlFieldValue_t {
        fieldId: u32,
        scopeId: u32,
        timestamp: i64,
        latencyUsec: i64,
        valueType: nvmlValueType_t,
        /// Status of this field; the call as a whole may succeed while a field fails.
        nvmlReturn: nvmlReturn_t,
        value: nvmlValue_t,
    }
    nvmlAccountingStats_t {
        gpuUtilization: u32,
        memoryUtilization: u32,
        maxMemoryUsage: u64,
        time: u64,
        startTime: u64,
        isRunning: u32,
        reserved: [u32; 5],
    }
}

/// Handed on as it is.
pub type nvmlAccountingStats_v2_t = c_void;

fcsp_hook::functions! {
    /// The one function that returns text: never null.
    TEXT_FUNCTIONS -> *const c_char;

    nvmlErrorString(result: nvmlReturn_t);
}

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    NVML_FUNCTIONS -> nvmlReturn_t;

    nvmlInit_v2();
    nvmlInitWithFlags(flags: u32);
    nvmlShutdown();
    nvmlSystemGetDriverVersion(version: *mut c_char, length: u32);
    nvmlSystemGetNVMLVersion(version: *mut c_char, length: u32);
    nvmlSystemGetCudaDriverVersion(cudaDriverVersion: *mut i32);
    nvmlSystemGetCudaDriverVersion_v2(cudaDriverVersion: *mut i32);
    nvmlSystemGetProcessName(pid: u32, name: *mut c_char, length: u32);
    nvmlSystemGetTopologyGpuSet(cpuNumber: u32, count: *mut u32, deviceArray: *mut nvmlDevice_t);
    nvmlDeviceGetCount_v2(deviceCount: *mut u32);
    nvmlDeviceGetAttributes_v2(device: nvmlDevice_t, attributes: *mut nvmlDeviceAttributes_t);
    nvmlDeviceGetHandleByIndex_v2(index: u32, device: *mut nvmlDevice_t);
    nvmlDeviceGetHandleBySerial(serial: *const c_char, device: *mut nvmlDevice_t);
    nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut nvmlDevice_t);
    nvmlDeviceGetHandleByUUIDV(uuid: *const nvmlUUID_t, device: *mut nvmlDevice_t);
    nvmlDeviceGetHandleByPciBusId_v2(pciBusId: *const c_char, device: *mut nvmlDevice_t);
    nvmlDeviceGetName(device: nvmlDevice_t, name: *mut c_char, length: u32);
    nvmlDeviceGetIndex(device: nvmlDevice_t, index: *mut u32);
    nvmlDeviceGetSerial(device: nvmlDevice_t, serial: *mut c_char, length: u32);
    nvmlDeviceGetTopologyNearestGpus(
        device: nvmlDevice_t, level: nvmlGpuTopologyLevel_t, count: *mut u32,
        deviceArray: *mut nvmlDevice_t
    );
    nvmlDeviceGetUUID(device: nvmlDevice_t, uuid: *mut c_char, length: u32);
    nvmlDeviceGetMinorNumber(device: nvmlDevice_t, minorNumber: *mut u32);
    nvmlDeviceGetPersistenceMode(device: nvmlDevice_t, mode: *mut nvmlEnableState_t);
    nvmlDeviceGetPciInfoExt(device: nvmlDevice_t, pci: *mut nvmlPciInfoExt_t);
    nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t);
    nvmlDeviceGetClockInfo(device: nvmlDevice_t, kind: nvmlClockType_t, clock: *mut u32);
    nvmlDeviceGetMaxClockInfo(device: nvmlDevice_t, kind: nvmlClockType_t, clock: *mut u32);
    nvmlDeviceGetTemperature(device: nvmlDevice_t, sensorType: nvmlTemperatureSensors_t, temp: *mut u32);
    nvmlDeviceGetCurrentClocksEventReasons(device: nvmlDevice_t, clocksEventReasons: *mut u64);
    nvmlDeviceGetCurrentClocksThrottleReasons(device: nvmlDevice_t, clocksThrottleReasons: *mut u64);
    nvmlDeviceGetPowerUsage(device: nvmlDevice_t, power: *mut u32);
    nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t, energy: *mut u64);
    nvmlDeviceGetMemoryInfo(device: nvmlDevice_t, memory: *mut nvmlMemory_t);
    nvmlDeviceGetMemoryInfo_v2(device: nvmlDevice_t, memory: *mut nvmlMemory_v2_t);
    nvmlDeviceGetMemoryLimits_v1(device: nvmlDevice_t, limits: *mut nvmlGetMemoryLimits_v1_t);
    nvmlDeviceGetComputeMode(device: nvmlDevice_t, mode: *mut nvmlComputeMode_t);
    nvmlDeviceGetCudaComputeCapability(device: nvmlDevice_t, major: *mut i32, minor: *mut i32);
    nvmlDeviceGetUtilizationRates(device: nvmlDevice_t, utilization: *mut nvmlUtilization_t);
    nvmlDeviceGetEncoderUtilization(
        device: nvmlDevice_t, utilization: *mut u32, samplingPeriodUs: *mut u32
    );
    nvmlDeviceGetDecoderUtilization(
        device: nvmlDevice_t, utilization: *mut u32, samplingPeriodUs: *mut u32
    );
    nvmlDeviceGetJpgUtilization(device: nvmlDevice_t, utilization: *mut u32, samplingPeriodUs: *mut u32);
    nvmlDeviceGetOfaUtilization(device: nvmlDevice_t, utilization: *mut u32, samplingPeriodUs: *mut u32);
    nvmlDeviceGetComputeRunningProcesses_v3(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_t
    );
    nvmlDeviceGetGraphicsRunningProcesses_v3(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_t
    );
    nvmlDeviceGetMPSComputeRunningProcesses_v3(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_t
    );
    nvmlDeviceGetRunningProcessDetailList(device: nvmlDevice_t, plist: *mut nvmlProcessDetailList_t);
    nvmlDeviceOnSameBoard(device1: nvmlDevice_t, device2: nvmlDevice_t, onSameBoard: *mut i32);
    nvmlDeviceGetSamples(
        device: nvmlDevice_t, kind: nvmlSamplingType_t, lastSeenTimeStamp: u64,
        sampleValType: *mut nvmlValueType_t, sampleCount: *mut u32, samples: *mut nvmlSample_t
    );
    nvmlDeviceGetBAR1MemoryInfo(device: nvmlDevice_t, bar1Memory: *mut nvmlBAR1Memory_t);
    nvmlDeviceGetNumGpuCores(device: nvmlDevice_t, numCores: *mut u32);
    nvmlDeviceGetMemoryBusWidth(device: nvmlDevice_t, busWidth: *mut u32);
    nvmlDeviceGetConfComputeMemSizeInfo(device: nvmlDevice_t, memInfo: *mut nvmlConfComputeMemSizeInfo_t);
    nvmlDeviceGetConfComputeProtectedMemoryUsage(device: nvmlDevice_t, memory: *mut nvmlMemory_t);
    nvmlDeviceGetAccountingMode(device: nvmlDevice_t, mode: *mut nvmlEnableState_t);
    nvmlDeviceGetAccountingStats(device: nvmlDevice_t, pid: u32, stats: *mut nvmlAccountingStats_t);
    nvmlDeviceGetAccountingPids(device: nvmlDevice_t, count: *mut u32, pids: *mut u32);
    nvmlDeviceGetAccountingBufferSize(device: nvmlDevice_t, bufferSize: *mut u32);
    nvmlDeviceGetAccountingStats_v2(device: nvmlDevice_t, stats: *mut nvmlAccountingStats_v2_t);
    nvmlDeviceGetProcessUtilization(
        device: nvmlDevice_t, utilization: *mut nvmlProcessUtilizationSample_t,
        processSamplesCount: *mut u32, lastSeenTimeStamp: u64
    );
    nvmlDeviceGetProcessesUtilizationInfo(
        device: nvmlDevice_t, procesesUtilInfo: *mut nvmlProcessesUtilizationInfo_t
    );
    nvmlDeviceGetFieldValues(device: nvmlDevice_t, valuesCount: i32, values: *mut nvmlFieldValue_t);
    nvmlDeviceClearFieldValues(device: nvmlDevice_t, valuesCount: i32, values: *mut nvmlFieldValue_t);
    nvmlDeviceGetVirtualizationMode(device: nvmlDevice_t, pVirtualMode: *mut nvmlGpuVirtualizationMode_t);
    nvmlDeviceGetMigMode(device: nvmlDevice_t, currentMode: *mut u32, pendingMode: *mut u32);
    nvmlDeviceIsMigDeviceHandle(device: nvmlDevice_t, isMigDevice: *mut u32);
    nvmlDeviceGetGpuInstanceId(device: nvmlDevice_t, id: *mut u32);
    nvmlDeviceGetComputeInstanceId(device: nvmlDevice_t, id: *mut u32);
    nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t, count: *mut u32);
    nvmlDeviceGetMigDeviceHandleByIndex(device: nvmlDevice_t, index: u32, migDevice: *mut nvmlDevice_t);
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle(migDevice: nvmlDevice_t, device: *mut nvmlDevice_t);
    nvmlGpmQueryDeviceSupport(device: nvmlDevice_t, gpmSupport: *mut nvmlGpmSupport_t);
    nvmlInit();
    nvmlDeviceGetCount(deviceCount: *mut u32);
    nvmlDeviceGetHandleByIndex(index: u32, device: *mut nvmlDevice_t);
    nvmlDeviceGetHandleByPciBusId(pciBusId: *const c_char, device: *mut nvmlDevice_t);
    nvmlDeviceGetPciInfo(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t);
    nvmlDeviceGetPciInfo_v2(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t);
    nvmlDeviceGetAttributes(device: nvmlDevice_t, attributes: *mut nvmlDeviceAttributes_t);
    nvmlDeviceGetComputeRunningProcesses(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_v1_t
    );
    nvmlDeviceGetComputeRunningProcesses_v2(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_v2_t
    );
    nvmlDeviceGetGraphicsRunningProcesses(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_v1_t
    );
    nvmlDeviceGetGraphicsRunningProcesses_v2(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_v2_t
    );
    nvmlDeviceGetMPSComputeRunningProcesses(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_v1_t
    );
    nvmlDeviceGetMPSComputeRunningProcesses_v2(
        device: nvmlDevice_t, infoCount: *mut u32, infos: *mut nvmlProcessInfo_v2_t
    );
}
