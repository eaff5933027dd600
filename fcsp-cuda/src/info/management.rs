//! NVML as the tenant sees it: the quota is the device's memory, and only the tenant's own processes run on it.
//!
//! A program that only looks (nvidia-smi) never initialises CUDA, so nothing is attached for it: it reads the
//! tenant's region file from outside.

use std::ffi::CStr;
use std::path::PathBuf;

use fcsp_core::config::file;
use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::process::ProcessManager;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::state::StateDir;
use fcsp_core::tenant::Tenant;

use crate::driver::real;
use crate::ffi::nvml::*;
use crate::process::shielded;

macro_rules! call_nvml {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match real::$name.get() {
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to NVML.
            Some(real) => unsafe { real($($arg),*) },
            None => NVML_ERROR_FUNCTION_NOT_FOUND,
        }
    };
}

/// What the tenant may know of a device: bytes it may hold (`u64::MAX` without a limit) and bytes it holds.
struct View {
    limit: u64,
    used: u64,
}

/// The tenant this process belongs to, without becoming one of its device users.
fn tenant() -> Option<Tenant> {
    let config = file::in_force().ok()?;
    if config.memory.is_empty() && config.tenant.is_none() {
        return None;
    }
    Tenant::join(&StateDir::locate(), &config).ok()
}

fn uuid_of(device: nvmlDevice_t) -> Option<DeviceUuid> {
    let mut text = [0; NVML_DEVICE_UUID_V2_BUFFER_SIZE as usize];
    if call_nvml!(nvmlDeviceGetUUID(device, text.as_mut_ptr(), text.len() as u32)) != NVML_SUCCESS {
        return None;
    }
    // SAFETY: NVML has written a C string that fits the buffer.
    unsafe { CStr::from_ptr(text.as_ptr()) }
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The number a CUDA program of this environment would give the device: its place among those made visible by number,
/// or else NVML's own order.
fn index_of(device: nvmlDevice_t) -> Option<u32> {
    let mut index = 0;
    if call_nvml!(nvmlDeviceGetIndex(device, &mut index)) != NVML_SUCCESS {
        return None;
    }
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(list) if list.split(',').all(|n| n.trim().parse::<u32>().is_ok()) => list
            .split(',')
            .position(|n| n.trim().parse() == Ok(index))
            .map(|place| place as u32),
        _ => Some(index),
    }
}

fn region_path(tenant: &Tenant, uuid: DeviceUuid) -> PathBuf {
    tenant.dir().join(format!("{uuid}.region"))
}

fn view(device: nvmlDevice_t, total: u64) -> Option<View> {
    let tenant = tenant()?;
    let uuid = uuid_of(device)?;
    let identity = DeviceIdentity {
        index: index_of(device),
        uuid,
        pci: None,
    };
    let (_, limits) = tenant.limits().ok()?;
    let region = RegionSnapshot::read(&region_path(&tenant, uuid)).ok();
    // A region knows the limit that its users resolved; without one, the rules say.
    let limit = match &region {
        Some(region) if region.any_alive() => region.limit_bytes.unwrap_or(u64::MAX),
        _ => Tenant::memory_limit(&limits, &identity, total),
    };
    Some(View {
        limit,
        used: region.map_or(0, |region| region.used_bytes),
    })
}

/// `nvmlDeviceGetMemoryInfo`.
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(
    device: nvmlDevice_t,
    memory: *mut nvmlMemory_t,
) -> nvmlReturn_t {
    shielded(NVML_ERROR_UNKNOWN, || {
        let result = call_nvml!(nvmlDeviceGetMemoryInfo(device, memory));
        if result == NVML_SUCCESS {
            // SAFETY: NVML has written there with success.
            let memory = unsafe { &mut *memory };
            if let Some(view) = view(device, memory.total).filter(|view| view.limit < memory.total) {
                memory.total = view.limit;
                memory.used = view.used.min(view.limit);
                memory.free = (memory.total - memory.used).min(memory.free);
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
    shielded(NVML_ERROR_UNKNOWN, || {
        let result = call_nvml!(nvmlDeviceGetMemoryInfo_v2(device, memory));
        if result == NVML_SUCCESS {
            // SAFETY: NVML has written there with success.
            let memory = unsafe { &mut *memory };
            if let Some(view) = view(device, memory.total).filter(|view| view.limit < memory.total) {
                memory.total = view.limit;
                memory.reserved = 0;
                memory.used = view.used.min(view.limit);
                memory.free = (memory.total - memory.used).min(memory.free);
            }
        }
        result
    })
}

/// Process numbers of the tenant; `None` if this process is in no tenant.
fn own_processes() -> Option<Vec<u32>> {
    let tenant = tenant()?;
    let mut pids = vec![std::process::id()];
    if let Ok(alive) = (StateDir::locate(), tenant.name().to_owned()).alive() {
        pids.extend(alive.into_iter().map(|process| process.pid));
    }
    Some(pids)
}

/// Keeps the first entries of a list that `keep` says yes to; returns how many.
///
/// # Safety
/// `list` points to `count` initialised entries.
unsafe fn retain<T: Copy>(list: *mut T, count: u32, keep: impl Fn(&T) -> bool) -> u32 {
    // SAFETY: by this function's contract.
    let entries = unsafe { std::slice::from_raw_parts_mut(list, count as usize) };
    let mut kept = 0;
    for index in 0..entries.len() {
        if keep(&entries[index]) {
            entries[kept] = entries[index];
            kept += 1;
        }
    }
    kept as u32
}

macro_rules! process_lists {
    ($($name:ident: $entry:ty),* $(,)?) => {$(
        #[doc = concat!("`", stringify!($name), "`: the tenant's own processes.")]
        pub unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            infoCount: *mut u32,
            infos: *mut $entry,
        ) -> nvmlReturn_t {
            shielded(NVML_ERROR_UNKNOWN, || {
                let result = call_nvml!($name(device, infoCount, infos));
                if result == NVML_SUCCESS && !infos.is_null() && let Some(own) = own_processes() {
                    // SAFETY: NVML has written `*infoCount` entries with success.
                    unsafe { *infoCount = retain(infos, *infoCount, |entry| own.contains(&entry.pid)) };
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
    shielded(NVML_ERROR_UNKNOWN, || {
        let result = call_nvml!(nvmlDeviceGetProcessUtilization(
            device,
            utilization,
            processSamplesCount,
            lastSeenTimeStamp
        ));
        if result == NVML_SUCCESS
            && !utilization.is_null()
            && let Some(own) = own_processes()
        {
            // SAFETY: NVML has written as many entries with success.
            unsafe {
                *processSamplesCount = retain(utilization, *processSamplesCount, |entry| {
                    own.contains(&entry.pid)
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
            shielded(NVML_ERROR_UNKNOWN, || {
                let result = call_nvml!($name(device, $what));
                // SAFETY: NVML has filled the caller's structure with success.
                if result == NVML_SUCCESS && let Some(list) = unsafe { $what.as_mut() }
                    && !list.$array.is_null() && let Some(own) = own_processes()
                {
                    // SAFETY: NVML has written as many entries as it says.
                    list.$count = unsafe { retain(list.$array, list.$count, |entry| own.contains(&entry.pid)) };
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
