//! What the driver says this process holds on a device, asked of NVML.
//!
//! NVML is opened on the first question, which takes about 15 ms (H100, driver 580); a question then takes 22 us.

use core::sync::atomic::{AtomicU8, Ordering};
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

use fcsp_core::device::{DeviceIdentity, DeviceUuid};

use fcsp_hook::info::sees_own_numbers;

use crate::driver::real;
use crate::ffi::nvml::{
    NVML_ERROR_INSUFFICIENT_SIZE, NVML_SUCCESS, nvmlDevice_t, nvmlMemory_t, nvmlMemory_v2, nvmlMemory_v2_t,
    nvmlProcessInfo_t, nvmlReturn_t,
};

/// NVML device handles by UUID, for this process; the number says which process, since handles do not survive a fork.
static HANDLES: Mutex<Vec<(u32, DeviceUuid, usize)>> = Mutex::new(Vec::new());

fn handle(device: &DeviceIdentity) -> Option<nvmlDevice_t> {
    let me = std::process::id();
    // A thread that held this at a fork does not exist in the child: do not wait for it, measure another time.
    let mut handles = match HANDLES.try_lock() {
        Ok(handles) => handles,
        Err(std::sync::TryLockError::Poisoned(poison)) => PoisonError::into_inner(poison),
        Err(std::sync::TryLockError::WouldBlock) => return None,
    };
    handles.retain(|&(process, _, _)| process == me);
    if let Some(&(_, _, known)) = handles.iter().find(|(_, uuid, _)| *uuid == device.uuid) {
        return (known != 0).then_some(known as nvmlDevice_t);
    }
    let found = open(device);
    handles.push((me, device.uuid, found.map_or(0, |handle| handle as usize)));
    found
}

fn open(device: &DeviceIdentity) -> Option<nvmlDevice_t> {
    // SAFETY: takes nothing; may be called any number of times.
    if unsafe { real::nvmlInit_v2.get()?() } != NVML_SUCCESS {
        return None;
    }
    // The driver API gives a MIG instance's UUID without its prefix; NVML wants it.
    for prefix in ["GPU-", "MIG-"] {
        let text = CString::new(format!("{prefix}{}", &device.uuid.to_string()[4..])).ok()?;
        let mut handle: nvmlDevice_t = core::ptr::null_mut();
        // SAFETY: a C string, and a pointer that outlives the call.
        if unsafe { real::nvmlDeviceGetHandleByUUID.get()?(text.as_ptr(), &mut handle) } == NVML_SUCCESS {
            return Some(handle);
        }
    }
    None
}

/// Whether this machine has the management library at all. Looked for once.
pub fn is_there() -> bool {
    static THERE: AtomicU8 = AtomicU8::new(UNKNOWN);
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    // Relaxed: the answer is the same whoever finds it.
    match THERE.load(Ordering::Relaxed) {
        UNKNOWN => {
            let found = real::nvmlInit_v2.get().is_some();
            THERE.store(if found { YES } else { NO }, Ordering::Relaxed);
            found
        }
        known => known == YES,
    }
}

type Ask = unsafe extern "C" fn(nvmlDevice_t, *mut u32, *mut nvmlProcessInfo_t) -> nvmlReturn_t;

/// One of NVML's lists of processes.
fn list(handle: nvmlDevice_t, ask: Ask) -> Option<Vec<nvmlProcessInfo_t>> {
    let mut room = 64usize;
    loop {
        let mut list = vec![nvmlProcessInfo_t::zeroed(); room];
        let mut count = room as u32;
        // SAFETY: the list has room for `count` entries and outlives the call.
        match unsafe { ask(handle, &mut count, list.as_mut_ptr()) } {
            NVML_SUCCESS => {
                list.truncate(count as usize);
                return Some(list);
            }
            NVML_ERROR_INSUFFICIENT_SIZE if room < 65_536 => room = (count as usize + 16).max(room * 2),
            _ => return None,
        }
    }
}

fn compute_processes(handle: nvmlDevice_t) -> Option<Vec<nvmlProcessInfo_t>> {
    let ask = real::nvmlDeviceGetComputeRunningProcesses_v3
        .get()
        .or_else(|| real::nvmlDeviceGetComputeRunningProcesses_v2.get())?;
    list(handle, ask)
}

/// Bytes the driver holds for this process on `device`; `None` if NVML cannot be asked or does not show this process.
pub fn of_this_process(device: &DeviceIdentity) -> Option<u64> {
    let me = std::process::id();
    // A process may stand in the list once for each of its contexts' kinds.
    let bytes: Option<u64> = compute_processes(handle(device)?)?
        .iter()
        .filter(|entry| entry.pid == me)
        .map(|entry| entry.usedGpuMemory)
        .filter(|&bytes| bytes != u64::MAX)
        .fold(None, |sum, bytes| Some(sum.unwrap_or(0).max(bytes)));
    // The driver forgets a process whose last context is gone: then it holds nothing.
    bytes.or_else(|| sees_own_numbers().then_some(0))
}

/// Bytes in use on the device that NVML shows with no process; what it does not know of processes it cannot see included.
/// `None` if it cannot be asked.
pub fn of_nobody(device: &DeviceIdentity) -> Option<u64> {
    let handle = handle(device)?;
    let mut memory = nvmlMemory_v2_t {
        version: nvmlMemory_v2,
        ..nvmlMemory_v2_t::zeroed()
    };
    // SAFETY: a handle from NVML and a struct that says its own version and outlives the call.
    if unsafe { real::nvmlDeviceGetMemoryInfo_v2.get()?(handle, &mut memory) } != NVML_SUCCESS {
        return None;
    }
    let mut processes = compute_processes(handle)?;
    if let Some(ask) = real::nvmlDeviceGetGraphicsRunningProcesses_v3.get() {
        processes.extend(list(handle, ask).unwrap_or_default());
    }
    // A process in both lists stands there with the same figure.
    processes.sort_by_key(|entry| entry.pid);
    processes.dedup_by_key(|entry| entry.pid);
    let shown = processes
        .iter()
        .map(|entry| entry.usedGpuMemory)
        .filter(|&bytes| bytes != u64::MAX)
        .fold(0, u64::saturating_add);
    Some(memory.used.saturating_sub(shown))
}

/// The device's free bytes as NVML says.
pub fn free(device: &DeviceIdentity) -> Option<u64> {
    let mut memory = nvmlMemory_t::zeroed();
    // SAFETY: a handle from NVML and a struct that outlives the call.
    let result = unsafe { real::nvmlDeviceGetMemoryInfo.get()?(handle(device)?, &mut memory) };
    (result == NVML_SUCCESS).then_some(memory.free)
}

/// The device's free bytes, asked only in a process that NVML does not show.
pub fn free_if_unseen(device: &DeviceIdentity) -> Option<u64> {
    if sees_own_numbers() {
        return None;
    }
    free(device)
}
