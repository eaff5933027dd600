//! The management functions: what `zes_api.h` of version 1.4 declares.

use core::ffi::{c_char, c_void};

use super::Function;
pub use super::ze::{ze_bool_t, ze_device_properties_t, ze_driver_handle_t, ze_result_t};

pub type zes_diag_result_t = u32;
pub type zes_engine_type_flags_t = u32;
pub type zes_event_type_flags_t = u32;
pub type zes_fan_speed_units_t = u32;
pub type zes_mem_health_t = u32;
pub type zes_mem_loc_t = u32;
pub type zes_mem_type_t = u32;
pub type zes_oc_mode_t = u32;
pub type zes_sched_mode_t = u32;
pub type zes_standby_promo_mode_t = u32;
pub type zes_structure_type_t = u32;

pub type zes_device_handle_t = *mut c_void;
pub type zes_diag_handle_t = *mut c_void;
pub type zes_engine_handle_t = *mut c_void;
pub type zes_fabric_port_handle_t = *mut c_void;
pub type zes_fan_handle_t = *mut c_void;
pub type zes_firmware_handle_t = *mut c_void;
pub type zes_freq_handle_t = *mut c_void;
pub type zes_led_handle_t = *mut c_void;
pub type zes_mem_handle_t = *mut c_void;
pub type zes_perf_handle_t = *mut c_void;
pub type zes_psu_handle_t = *mut c_void;
pub type zes_pwr_handle_t = *mut c_void;
pub type zes_ras_handle_t = *mut c_void;
pub type zes_sched_handle_t = *mut c_void;
pub type zes_standby_handle_t = *mut c_void;
pub type zes_temp_handle_t = *mut c_void;

// Structs known by address only.
pub type zes_device_ecc_desc_t = c_void;
pub type zes_device_ecc_properties_t = c_void;
pub type zes_device_state_t = c_void;
pub type zes_diag_properties_t = c_void;
pub type zes_diag_test_t = c_void;
pub type zes_energy_threshold_t = c_void;
pub type zes_engine_properties_t = c_void;
pub type zes_engine_stats_t = c_void;
pub type zes_fabric_link_type_t = c_void;
pub type zes_fabric_port_config_t = c_void;
pub type zes_fabric_port_properties_t = c_void;
pub type zes_fabric_port_state_t = c_void;
pub type zes_fabric_port_throughput_t = c_void;
pub type zes_fan_config_t = c_void;
pub type zes_fan_properties_t = c_void;
pub type zes_fan_speed_t = c_void;
pub type zes_fan_speed_table_t = c_void;
pub type zes_firmware_properties_t = c_void;
pub type zes_freq_properties_t = c_void;
pub type zes_freq_range_t = c_void;
pub type zes_freq_state_t = c_void;
pub type zes_freq_throttle_time_t = c_void;
pub type zes_led_color_t = c_void;
pub type zes_led_properties_t = c_void;
pub type zes_led_state_t = c_void;
pub type zes_mem_bandwidth_t = c_void;
pub type zes_oc_capabilities_t = c_void;
pub type zes_pci_bar_properties_t = c_void;
pub type zes_pci_properties_t = c_void;
pub type zes_pci_state_t = c_void;
pub type zes_pci_stats_t = c_void;
pub type zes_perf_properties_t = c_void;
pub type zes_power_burst_limit_t = c_void;
pub type zes_power_energy_counter_t = c_void;
pub type zes_power_limit_ext_desc_t = c_void;
pub type zes_power_peak_limit_t = c_void;
pub type zes_power_properties_t = c_void;
pub type zes_power_sustained_limit_t = c_void;
pub type zes_psu_properties_t = c_void;
pub type zes_psu_state_t = c_void;
pub type zes_ras_config_t = c_void;
pub type zes_ras_properties_t = c_void;
pub type zes_ras_state_t = c_void;
pub type zes_sched_properties_t = c_void;
pub type zes_sched_timeout_properties_t = c_void;
pub type zes_sched_timeslice_properties_t = c_void;
pub type zes_standby_properties_t = c_void;
pub type zes_temp_config_t = c_void;
pub type zes_temp_properties_t = c_void;

fcsp_hook::layouts! {
    /// Layouts of the structs above, for the header test.
    LAYOUTS;
    zes_device_properties_t {
        stype: zes_structure_type_t,
        pNext: *mut c_void,
        core: ze_device_properties_t,
        numSubdevices: u32,
        serialNumber: [c_char; 64],
        boardNumber: [c_char; 64],
        brandName: [c_char; 64],
        modelName: [c_char; 64],
        vendorName: [c_char; 64],
        driverVersion: [c_char; 64],
    }
    zes_process_state_t {
        stype: zes_structure_type_t,
        pNext: *const c_void,
        processId: u32,
        memSize: u64,
        sharedSize: u64,
        engines: zes_engine_type_flags_t,
    }
    zes_mem_properties_t {
        stype: zes_structure_type_t,
        pNext: *mut c_void,
        type_: zes_mem_type_t = "type",
        onSubdevice: ze_bool_t,
        subdeviceId: u32,
        location: zes_mem_loc_t,
        physicalSize: u64,
        busWidth: i32,
        numChannels: i32,
    }
    zes_mem_state_t {
        stype: zes_structure_type_t,
        pNext: *const c_void,
        health: zes_mem_health_t,
        free: u64,
        size: u64,
    }
}

fcsp_hook::constants! {
    /// Values of the constants above, for the header test.
    CONSTANTS;
    zes_structure_type_t {
        ZES_STRUCTURE_TYPE_DEVICE_PROPERTIES = 0x1;
        ZES_STRUCTURE_TYPE_MEM_PROPERTIES = 0xb;
        ZES_STRUCTURE_TYPE_PROCESS_STATE = 0x16;
        ZES_STRUCTURE_TYPE_MEM_STATE = 0x1e;
    }
    zes_mem_loc_t {
        ZES_MEM_LOC_DEVICE = 1;
    }
}

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    FUNCTIONS_OF_SYSMAN -> ze_result_t;

    zesDeviceGetProperties(hDevice: zes_device_handle_t, pProperties: *mut zes_device_properties_t);
    zesDeviceGetState(hDevice: zes_device_handle_t, pState: *mut zes_device_state_t);
    zesDeviceReset(hDevice: zes_device_handle_t, force: ze_bool_t);
    zesDeviceProcessesGetState(
        hDevice: zes_device_handle_t, pCount: *mut u32, pProcesses: *mut zes_process_state_t
    );
    zesDevicePciGetProperties(hDevice: zes_device_handle_t, pProperties: *mut zes_pci_properties_t);
    zesDevicePciGetState(hDevice: zes_device_handle_t, pState: *mut zes_pci_state_t);
    zesDevicePciGetBars(
        hDevice: zes_device_handle_t, pCount: *mut u32, pProperties: *mut zes_pci_bar_properties_t
    );
    zesDevicePciGetStats(hDevice: zes_device_handle_t, pStats: *mut zes_pci_stats_t);
    zesDeviceEnumDiagnosticTestSuites(
        hDevice: zes_device_handle_t, pCount: *mut u32, phDiagnostics: *mut zes_diag_handle_t
    );
    zesDiagnosticsGetProperties(hDiagnostics: zes_diag_handle_t, pProperties: *mut zes_diag_properties_t);
    zesDiagnosticsGetTests(hDiagnostics: zes_diag_handle_t, pCount: *mut u32, pTests: *mut zes_diag_test_t);
    zesDiagnosticsRunTests(
        hDiagnostics: zes_diag_handle_t, startIndex: u32, endIndex: u32, pResult: *mut zes_diag_result_t
    );
    zesDeviceEccAvailable(hDevice: zes_device_handle_t, pAvailable: *mut ze_bool_t);
    zesDeviceEccConfigurable(hDevice: zes_device_handle_t, pConfigurable: *mut ze_bool_t);
    zesDeviceGetEccState(hDevice: zes_device_handle_t, pState: *mut zes_device_ecc_properties_t);
    zesDeviceSetEccState(
        hDevice: zes_device_handle_t, newState: *const zes_device_ecc_desc_t,
        pState: *mut zes_device_ecc_properties_t
    );
    zesDeviceEnumEngineGroups(
        hDevice: zes_device_handle_t, pCount: *mut u32, phEngine: *mut zes_engine_handle_t
    );
    zesEngineGetProperties(hEngine: zes_engine_handle_t, pProperties: *mut zes_engine_properties_t);
    zesEngineGetActivity(hEngine: zes_engine_handle_t, pStats: *mut zes_engine_stats_t);
    zesDeviceEventRegister(hDevice: zes_device_handle_t, events: zes_event_type_flags_t);
    zesDriverEventListen(
        hDriver: ze_driver_handle_t, timeout: u32, count: u32, phDevices: *mut zes_device_handle_t,
        pNumDeviceEvents: *mut u32, pEvents: *mut zes_event_type_flags_t
    );
    zesDriverEventListenEx(
        hDriver: ze_driver_handle_t, timeout: u64, count: u32, phDevices: *mut zes_device_handle_t,
        pNumDeviceEvents: *mut u32, pEvents: *mut zes_event_type_flags_t
    );
    zesDeviceEnumFabricPorts(
        hDevice: zes_device_handle_t, pCount: *mut u32, phPort: *mut zes_fabric_port_handle_t
    );
    zesFabricPortGetProperties(
        hPort: zes_fabric_port_handle_t, pProperties: *mut zes_fabric_port_properties_t
    );
    zesFabricPortGetLinkType(hPort: zes_fabric_port_handle_t, pLinkType: *mut zes_fabric_link_type_t);
    zesFabricPortGetConfig(hPort: zes_fabric_port_handle_t, pConfig: *mut zes_fabric_port_config_t);
    zesFabricPortSetConfig(hPort: zes_fabric_port_handle_t, pConfig: *const zes_fabric_port_config_t);
    zesFabricPortGetState(hPort: zes_fabric_port_handle_t, pState: *mut zes_fabric_port_state_t);
    zesFabricPortGetThroughput(
        hPort: zes_fabric_port_handle_t, pThroughput: *mut zes_fabric_port_throughput_t
    );
    zesDeviceEnumFans(hDevice: zes_device_handle_t, pCount: *mut u32, phFan: *mut zes_fan_handle_t);
    zesFanGetProperties(hFan: zes_fan_handle_t, pProperties: *mut zes_fan_properties_t);
    zesFanGetConfig(hFan: zes_fan_handle_t, pConfig: *mut zes_fan_config_t);
    zesFanSetDefaultMode(hFan: zes_fan_handle_t);
    zesFanSetFixedSpeedMode(hFan: zes_fan_handle_t, speed: *const zes_fan_speed_t);
    zesFanSetSpeedTableMode(hFan: zes_fan_handle_t, speedTable: *const zes_fan_speed_table_t);
    zesFanGetState(hFan: zes_fan_handle_t, units: zes_fan_speed_units_t, pSpeed: *mut i32);
    zesDeviceEnumFirmwares(
        hDevice: zes_device_handle_t, pCount: *mut u32, phFirmware: *mut zes_firmware_handle_t
    );
    zesFirmwareGetProperties(hFirmware: zes_firmware_handle_t, pProperties: *mut zes_firmware_properties_t);
    zesFirmwareFlash(hFirmware: zes_firmware_handle_t, pImage: *mut c_void, size: u32);
    zesDeviceEnumFrequencyDomains(
        hDevice: zes_device_handle_t, pCount: *mut u32, phFrequency: *mut zes_freq_handle_t
    );
    zesFrequencyGetProperties(hFrequency: zes_freq_handle_t, pProperties: *mut zes_freq_properties_t);
    zesFrequencyGetAvailableClocks(hFrequency: zes_freq_handle_t, pCount: *mut u32, phFrequency: *mut f64);
    zesFrequencyGetRange(hFrequency: zes_freq_handle_t, pLimits: *mut zes_freq_range_t);
    zesFrequencySetRange(hFrequency: zes_freq_handle_t, pLimits: *const zes_freq_range_t);
    zesFrequencyGetState(hFrequency: zes_freq_handle_t, pState: *mut zes_freq_state_t);
    zesFrequencyGetThrottleTime(hFrequency: zes_freq_handle_t, pThrottleTime: *mut zes_freq_throttle_time_t);
    zesFrequencyOcGetCapabilities(hFrequency: zes_freq_handle_t, pOcCapabilities: *mut zes_oc_capabilities_t);
    zesFrequencyOcGetFrequencyTarget(hFrequency: zes_freq_handle_t, pCurrentOcFrequency: *mut f64);
    zesFrequencyOcSetFrequencyTarget(hFrequency: zes_freq_handle_t, CurrentOcFrequency: f64);
    zesFrequencyOcGetVoltageTarget(
        hFrequency: zes_freq_handle_t, pCurrentVoltageTarget: *mut f64, pCurrentVoltageOffset: *mut f64
    );
    zesFrequencyOcSetVoltageTarget(
        hFrequency: zes_freq_handle_t, CurrentVoltageTarget: f64, CurrentVoltageOffset: f64
    );
    zesFrequencyOcSetMode(hFrequency: zes_freq_handle_t, CurrentOcMode: zes_oc_mode_t);
    zesFrequencyOcGetMode(hFrequency: zes_freq_handle_t, pCurrentOcMode: *mut zes_oc_mode_t);
    zesFrequencyOcGetIccMax(hFrequency: zes_freq_handle_t, pOcIccMax: *mut f64);
    zesFrequencyOcSetIccMax(hFrequency: zes_freq_handle_t, ocIccMax: f64);
    zesFrequencyOcGetTjMax(hFrequency: zes_freq_handle_t, pOcTjMax: *mut f64);
    zesFrequencyOcSetTjMax(hFrequency: zes_freq_handle_t, ocTjMax: f64);
    zesDeviceEnumLeds(hDevice: zes_device_handle_t, pCount: *mut u32, phLed: *mut zes_led_handle_t);
    zesLedGetProperties(hLed: zes_led_handle_t, pProperties: *mut zes_led_properties_t);
    zesLedGetState(hLed: zes_led_handle_t, pState: *mut zes_led_state_t);
    zesLedSetState(hLed: zes_led_handle_t, enable: ze_bool_t);
    zesLedSetColor(hLed: zes_led_handle_t, pColor: *const zes_led_color_t);
    zesDeviceEnumMemoryModules(
        hDevice: zes_device_handle_t, pCount: *mut u32, phMemory: *mut zes_mem_handle_t
    );
    zesMemoryGetProperties(hMemory: zes_mem_handle_t, pProperties: *mut zes_mem_properties_t);
    zesMemoryGetState(hMemory: zes_mem_handle_t, pState: *mut zes_mem_state_t);
    zesMemoryGetBandwidth(hMemory: zes_mem_handle_t, pBandwidth: *mut zes_mem_bandwidth_t);
    zesDeviceEnumPerformanceFactorDomains(
        hDevice: zes_device_handle_t, pCount: *mut u32, phPerf: *mut zes_perf_handle_t
    );
    zesPerformanceFactorGetProperties(hPerf: zes_perf_handle_t, pProperties: *mut zes_perf_properties_t);
    zesPerformanceFactorGetConfig(hPerf: zes_perf_handle_t, pFactor: *mut f64);
    zesPerformanceFactorSetConfig(hPerf: zes_perf_handle_t, factor: f64);
    zesDeviceEnumPowerDomains(hDevice: zes_device_handle_t, pCount: *mut u32, phPower: *mut zes_pwr_handle_t);
    zesDeviceGetCardPowerDomain(hDevice: zes_device_handle_t, phPower: *mut zes_pwr_handle_t);
    zesPowerGetProperties(hPower: zes_pwr_handle_t, pProperties: *mut zes_power_properties_t);
    zesPowerGetEnergyCounter(hPower: zes_pwr_handle_t, pEnergy: *mut zes_power_energy_counter_t);
    zesPowerGetLimits(
        hPower: zes_pwr_handle_t, pSustained: *mut zes_power_sustained_limit_t,
        pBurst: *mut zes_power_burst_limit_t, pPeak: *mut zes_power_peak_limit_t
    );
    zesPowerSetLimits(
        hPower: zes_pwr_handle_t, pSustained: *const zes_power_sustained_limit_t,
        pBurst: *const zes_power_burst_limit_t, pPeak: *const zes_power_peak_limit_t
    );
    zesPowerGetEnergyThreshold(hPower: zes_pwr_handle_t, pThreshold: *mut zes_energy_threshold_t);
    zesPowerSetEnergyThreshold(hPower: zes_pwr_handle_t, threshold: f64);
    zesDeviceEnumPsus(hDevice: zes_device_handle_t, pCount: *mut u32, phPsu: *mut zes_psu_handle_t);
    zesPsuGetProperties(hPsu: zes_psu_handle_t, pProperties: *mut zes_psu_properties_t);
    zesPsuGetState(hPsu: zes_psu_handle_t, pState: *mut zes_psu_state_t);
    zesDeviceEnumRasErrorSets(hDevice: zes_device_handle_t, pCount: *mut u32, phRas: *mut zes_ras_handle_t);
    zesRasGetProperties(hRas: zes_ras_handle_t, pProperties: *mut zes_ras_properties_t);
    zesRasGetConfig(hRas: zes_ras_handle_t, pConfig: *mut zes_ras_config_t);
    zesRasSetConfig(hRas: zes_ras_handle_t, pConfig: *const zes_ras_config_t);
    zesRasGetState(hRas: zes_ras_handle_t, clear: ze_bool_t, pState: *mut zes_ras_state_t);
    zesDeviceEnumSchedulers(
        hDevice: zes_device_handle_t, pCount: *mut u32, phScheduler: *mut zes_sched_handle_t
    );
    zesSchedulerGetProperties(hScheduler: zes_sched_handle_t, pProperties: *mut zes_sched_properties_t);
    zesSchedulerGetCurrentMode(hScheduler: zes_sched_handle_t, pMode: *mut zes_sched_mode_t);
    zesSchedulerGetTimeoutModeProperties(
        hScheduler: zes_sched_handle_t, getDefaults: ze_bool_t,
        pConfig: *mut zes_sched_timeout_properties_t
    );
    zesSchedulerGetTimesliceModeProperties(
        hScheduler: zes_sched_handle_t, getDefaults: ze_bool_t,
        pConfig: *mut zes_sched_timeslice_properties_t
    );
    zesSchedulerSetTimeoutMode(
        hScheduler: zes_sched_handle_t, pProperties: *mut zes_sched_timeout_properties_t,
        pNeedReload: *mut ze_bool_t
    );
    zesSchedulerSetTimesliceMode(
        hScheduler: zes_sched_handle_t, pProperties: *mut zes_sched_timeslice_properties_t,
        pNeedReload: *mut ze_bool_t
    );
    zesSchedulerSetExclusiveMode(hScheduler: zes_sched_handle_t, pNeedReload: *mut ze_bool_t);
    zesSchedulerSetComputeUnitDebugMode(hScheduler: zes_sched_handle_t, pNeedReload: *mut ze_bool_t);
    zesDeviceEnumStandbyDomains(
        hDevice: zes_device_handle_t, pCount: *mut u32, phStandby: *mut zes_standby_handle_t
    );
    zesStandbyGetProperties(hStandby: zes_standby_handle_t, pProperties: *mut zes_standby_properties_t);
    zesStandbyGetMode(hStandby: zes_standby_handle_t, pMode: *mut zes_standby_promo_mode_t);
    zesStandbySetMode(hStandby: zes_standby_handle_t, mode: zes_standby_promo_mode_t);
    zesDeviceEnumTemperatureSensors(
        hDevice: zes_device_handle_t, pCount: *mut u32, phTemperature: *mut zes_temp_handle_t
    );
    zesTemperatureGetProperties(hTemperature: zes_temp_handle_t, pProperties: *mut zes_temp_properties_t);
    zesTemperatureGetConfig(hTemperature: zes_temp_handle_t, pConfig: *mut zes_temp_config_t);
    zesTemperatureSetConfig(hTemperature: zes_temp_handle_t, pConfig: *const zes_temp_config_t);
    zesTemperatureGetState(hTemperature: zes_temp_handle_t, pTemperature: *mut f64);
    zesPowerGetLimitsExt(
        hPower: zes_pwr_handle_t, pCount: *mut u32, pSustained: *mut zes_power_limit_ext_desc_t
    );
    zesPowerSetLimitsExt(
        hPower: zes_pwr_handle_t, pCount: *mut u32, pSustained: *mut zes_power_limit_ext_desc_t
    );
}

/// Every function of the header.
pub const FUNCTIONS: &[&[Function]] = &[FUNCTIONS_OF_SYSMAN];
