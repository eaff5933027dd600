//! This process's memory on a device by the driver's figures, from NVML.
//!
//! NVML is opened for the first query, which takes about 15 ms (H100, driver 580); later queries
//! take 22 us.

use core::sync::atomic::{AtomicU8, Ordering};
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::MemoryReport;
use fcsp_hook::device::Listed;

use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::CUDA_SUCCESS;
use crate::ffi::nvml::{
    NVML_ERROR_INSUFFICIENT_SIZE, NVML_SUCCESS, nvmlDevice_t, nvmlMemory_t, nvmlMemory_v2,
    nvmlMemory_v2_t, nvmlProcessInfo_t, nvmlReturn_t,
};
use crate::vendor::{Cuda, Device};

/// NVML device handles by UUID, for this process; the number says which process, since handles do
/// not survive a fork.
static HANDLES: Mutex<Vec<(u32, DeviceUuid, usize)>> = Mutex::new(Vec::new());

fn handle(device: &DeviceIdentity) -> Option<nvmlDevice_t> {
    let me = std::process::id();
    // A thread that held this at a fork does not exist in the child: do not wait for it, measure
    // another time.
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
        if unsafe { real::nvmlDeviceGetHandleByUUID.get()?(text.as_ptr(), &mut handle) }
            == NVML_SUCCESS
        {
            return Some(handle);
        }
    }
    None
}

type Ask = unsafe extern "C" fn(nvmlDevice_t, *mut u32, *mut nvmlProcessInfo_t) -> nvmlReturn_t;

/// Returns one of NVML's lists of processes.
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
            NVML_ERROR_INSUFFICIENT_SIZE if room < 65_536 => {
                room = (count as usize + 16).max(room * 2)
            }
            _ => return None,
        }
    }
}

/// NVML's answer where it does not know a figure (WSL2, devices that share the host's memory,
/// guests of a vGPU).
const NOT_AVAILABLE: u64 = u64::MAX;

fn computing(handle: nvmlDevice_t) -> Option<Vec<Listed>> {
    let ask = real::nvmlDeviceGetComputeRunningProcesses_v3
        .get()
        .or_else(|| real::nvmlDeviceGetComputeRunningProcesses_v2.get())?;
    listed(handle, ask)
}

fn under_mps(handle: nvmlDevice_t) -> Vec<Listed> {
    let ask = real::nvmlDeviceGetMPSComputeRunningProcesses_v3.get();
    ask.and_then(|ask| listed(handle, ask)).unwrap_or_default()
}

/// Adds another list. A process in several of them has the same figure in each.
fn add(all: &mut Vec<Listed>, mut more: Vec<Listed>) {
    more.retain(|entry| all.iter().all(|known| known.number != entry.number));
    all.extend(more);
}

fn listed(handle: nvmlDevice_t, ask: Ask) -> Option<Vec<Listed>> {
    let entry = |entry: &nvmlProcessInfo_t| Listed {
        number: entry.pid,
        bytes: (entry.usedGpuMemory != NOT_AVAILABLE).then_some(entry.usedGpuMemory),
    };
    Some(list(handle, ask)?.iter().map(entry).collect())
}

impl MemoryReport for Cuda {
    const LISTS: bool = true;

    /// `None` if NVML cannot be asked, does not show this process or does not know its figure.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        let me = std::process::id();
        let handle = handle(device)?;
        let find = |list: Vec<Listed>| {
            let mine = list.iter().filter(|entry| entry.number == me);
            mine.map(|entry| entry.bytes).max()
        };
        find(computing(handle)?).or_else(|| find(under_mps(handle)))?
    }

    /// Returns NVML's lists of computing processes and of users of an MPS server as one list. A
    /// number that one list has twice belongs to two processes.
    fn listed(device: &DeviceIdentity) -> Option<Vec<Listed>> {
        let handle = handle(device)?;
        let mut all = computing(handle)?;
        add(&mut all, under_mps(handle));
        Some(all)
    }

    /// Looks for the library once.
    fn has_management() -> bool {
        static THERE: AtomicU8 = AtomicU8::new(UNKNOWN);
        const UNKNOWN: u8 = 0;
        const NO: u8 = 1;
        const YES: u8 = 2;
        // Relaxed: the answer is the same whichever thread finds it.
        match THERE.load(Ordering::Relaxed) {
            UNKNOWN => {
                let found = real::nvmlInit_v2.get().is_some();
                THERE.store(if found { YES } else { NO }, Ordering::Relaxed);
                found
            }
            known => known == YES,
        }
    }

    fn free_by_driver(_device: &Device) -> Option<u64> {
        let (mut free, mut total) = (0usize, 0usize);
        (call_real!(cuMemGetInfo_v2(&mut free, &mut total)) == CUDA_SUCCESS).then_some(free as u64)
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        let mut memory = nvmlMemory_t::zeroed();
        // SAFETY: a handle from NVML and a struct that outlives the call.
        let result = unsafe { real::nvmlDeviceGetMemoryInfo.get()?(handle(device)?, &mut memory) };
        (result == NVML_SUCCESS).then_some(memory.free)
    }

    /// Includes what processes hold that NVML does not show. `None` if it cannot be asked.
    fn unattributed_bytes(device: &DeviceIdentity) -> Option<u64> {
        let handle = handle(device)?;
        let mut memory = nvmlMemory_v2_t {
            version: nvmlMemory_v2,
            ..nvmlMemory_v2_t::zeroed()
        };
        // SAFETY: a handle from NVML and a struct that says its own version and outlives the call.
        if unsafe { real::nvmlDeviceGetMemoryInfo_v2.get()?(handle, &mut memory) } != NVML_SUCCESS {
            return None;
        }
        let mut processes = Self::listed(device)?;
        if let Some(ask) = real::nvmlDeviceGetGraphicsRunningProcesses_v3.get() {
            add(&mut processes, listed(handle, ask).unwrap_or_default());
        }
        // A process whose figure is not known may have any part of what is in use.
        let shown = processes
            .iter()
            .map(|entry| entry.bytes)
            .collect::<Option<Vec<_>>>()?;
        Some(
            memory
                .used
                .saturating_sub(shown.into_iter().fold(0, u64::saturating_add)),
        )
    }
}
