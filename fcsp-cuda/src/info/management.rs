//! NVML as the tenant sees it: the quota is the device's memory, and only the tenant's own
//! processes run on it.
//!
//! A program that only looks (nvidia-smi) never initialises CUDA, so nothing is attached for it: it
//! reads the tenant's region file from outside.

use std::ffi::CStr;

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::Devices;
use fcsp_hook::info::{View, names, own_processes, retain, visible_index};
use fcsp_hook::setup::catch_panic;

use crate::driver::{CUDA, real};
use crate::ffi::nvml::*;
use crate::vendor::Cuda;

macro_rules! call_nvml {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match real::$name.get() {
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to NVML.
            Some(real) => unsafe { real($($arg),*) },
            None => NVML_ERROR_FUNCTION_NOT_FOUND,
        }
    };
}

fn uuid_of(device: nvmlDevice_t) -> Option<DeviceUuid> {
    let mut text = [0; NVML_DEVICE_UUID_V2_BUFFER_SIZE as usize];
    if call_nvml!(nvmlDeviceGetUUID(
        device,
        text.as_mut_ptr(),
        text.len() as u32
    )) != NVML_SUCCESS
    {
        return None;
    }
    // SAFETY: NVML has written a C string that fits the buffer.
    unsafe { CStr::from_ptr(text.as_ptr()) }
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Returns the ordinal of the device in a CUDA program of this environment. If this program uses
/// the driver, the driver is asked. Otherwise it is the place among the devices that the
/// environment makes visible. Unlike devices have another order in CUDA than in NVML unless
/// `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`; then only the driver knows it.
fn index_of(device: nvmlDevice_t, uuid: DeviceUuid) -> Option<u32> {
    if !CUDA.loaded().is_null()
        && let Some(count) = Cuda::device_count()
    {
        let is_it =
            |&ordinal: &i32| Cuda::identify(ordinal).is_some_and(|known| known.uuid == uuid);
        return (0..count).find(is_it).map(i32::cast_unsigned);
    }
    let mut index = 0;
    if call_nvml!(nvmlDeviceGetIndex(device, &mut index)) != NVML_SUCCESS {
        return None;
    }
    visible_index("CUDA_VISIBLE_DEVICES", index, |word| names(word, uuid))
}

fn view(device: nvmlDevice_t, total: u64) -> Option<View> {
    let uuid = uuid_of(device)?;
    let identity = DeviceIdentity {
        uuid,
        index: index_of(device, uuid),
        pci: None,
    };
    View::of(&identity, total)
}

/// `nvmlDeviceGetMemoryInfo`.
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(
    device: nvmlDevice_t,
    memory: *mut nvmlMemory_t,
) -> nvmlReturn_t {
    catch_panic(NVML_ERROR_UNKNOWN, || {
        let result = call_nvml!(nvmlDeviceGetMemoryInfo(device, memory));
        if result == NVML_SUCCESS {
            // SAFETY: NVML has written there with success.
            let memory = unsafe { &mut *memory };
            if let Some(view) = view(device, memory.total) {
                memory.total = view.limit;
                memory.used = view.used;
                memory.free = view.free(memory.free);
            }
        }
        result
    })
}

/// `nvmlDeviceGetMemoryInfo_v2`: what driver and firmware reserve is not the tenant's.
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    memory: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    catch_panic(NVML_ERROR_UNKNOWN, || {
        let result = call_nvml!(nvmlDeviceGetMemoryInfo_v2(device, memory));
        if result == NVML_SUCCESS {
            // SAFETY: NVML has written there with success.
            let memory = unsafe { &mut *memory };
            if let Some(view) = view(device, memory.total) {
                memory.total = view.limit;
                memory.reserved = 0;
                memory.used = view.used;
                memory.free = view.free(memory.free);
            }
        }
        result
    })
}

macro_rules! process_lists {
    ($($name:ident: $entry:ty),* $(,)?) => {$(
        #[doc = concat!("`", stringify!($name), "`: the tenant's own processes.")]
        pub unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            infoCount: *mut u32,
            infos: *mut $entry,
        ) -> nvmlReturn_t {
            catch_panic(NVML_ERROR_UNKNOWN, || {
                let result = call_nvml!($name(device, infoCount, infos));
                if result == NVML_SUCCESS && !infos.is_null() && let Some(own) = own_processes::<Cuda>() {
                    // SAFETY: NVML has written `*infoCount` entries with success.
                    unsafe { *infoCount = retain(infos, *infoCount, |entry| own.keeps(&mut entry.pid)) };
                }
                result
            })
        }
    )*};
}
process_lists! {
    nvmlDeviceGetComputeRunningProcesses: nvmlProcessInfo_v1_t,
    nvmlDeviceGetComputeRunningProcesses_v2: nvmlProcessInfo_v2_t,
    nvmlDeviceGetComputeRunningProcesses_v3: nvmlProcessInfo_t,
    nvmlDeviceGetGraphicsRunningProcesses: nvmlProcessInfo_v1_t,
    nvmlDeviceGetGraphicsRunningProcesses_v2: nvmlProcessInfo_v2_t,
    nvmlDeviceGetGraphicsRunningProcesses_v3: nvmlProcessInfo_t,
    nvmlDeviceGetMPSComputeRunningProcesses: nvmlProcessInfo_v1_t,
    nvmlDeviceGetMPSComputeRunningProcesses_v2: nvmlProcessInfo_v2_t,
    nvmlDeviceGetMPSComputeRunningProcesses_v3: nvmlProcessInfo_t,
}

/// `nvmlDeviceGetProcessUtilization`: the tenant's own processes.
pub unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: nvmlDevice_t,
    utilization: *mut nvmlProcessUtilizationSample_t,
    processSamplesCount: *mut u32,
    lastSeenTimeStamp: u64,
) -> nvmlReturn_t {
    catch_panic(NVML_ERROR_UNKNOWN, || {
        let result = call_nvml!(nvmlDeviceGetProcessUtilization(
            device,
            utilization,
            processSamplesCount,
            lastSeenTimeStamp
        ));
        if result == NVML_SUCCESS
            && !utilization.is_null()
            && let Some(own) = own_processes::<Cuda>()
        {
            // SAFETY: NVML has written as many entries with success.
            unsafe {
                *processSamplesCount = retain(utilization, *processSamplesCount, |entry| {
                    own.keeps(&mut entry.pid)
                });
            }
        }
        result
    })
}

macro_rules! process_structs {
    ($($name:ident($what:ident: $list:ty) $count:ident of $array:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: the tenant's own processes.")]
        pub unsafe extern "C" fn $name(device: nvmlDevice_t, $what: *mut $list) -> nvmlReturn_t {
            catch_panic(NVML_ERROR_UNKNOWN, || {
                let result = call_nvml!($name(device, $what));
                // SAFETY: NVML has filled the caller's structure with success.
                if result == NVML_SUCCESS && let Some(list) = unsafe { $what.as_mut() }
                    && !list.$array.is_null() && let Some(own) = own_processes::<Cuda>()
                {
                    // SAFETY: NVML has written as many entries as it says.
                    list.$count = unsafe { retain(list.$array, list.$count, |entry| own.keeps(&mut entry.pid)) };
                }
                result
            })
        }
    )*};
}
process_structs! {
    nvmlDeviceGetProcessesUtilizationInfo(procesesUtilInfo: nvmlProcessesUtilizationInfo_t)
        processSamplesCount of procUtilArray;
    nvmlDeviceGetRunningProcessDetailList(plist: nvmlProcessDetailList_t) numProcArrayEntries of procArray;
}
