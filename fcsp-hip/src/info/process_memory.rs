//! This process's memory on a device by the driver's figures, from ROCm SMI.

use core::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::MemoryReport;
use fcsp_hook::device::Listed;
use fcsp_hook::info::sees_own_numbers;

use crate::call_real;
use crate::driver::real;
use crate::ffi::hip::hipSuccess;
use crate::ffi::rocm_smi::*;
use crate::vendor::{Device, Hip};

/// ROCm SMI's indices by UUID, for this process; the number says which process, since the library's
/// state does not survive a fork. `None`: it has no such device.
static INDICES: Mutex<Vec<(u32, DeviceUuid, Option<u32>)>> = Mutex::new(Vec::new());

fn index(device: &DeviceIdentity) -> Option<u32> {
    let me = std::process::id();
    // A thread that held this at a fork does not exist in the child: do not wait for it, measure
    // another time.
    let mut indices = match INDICES.try_lock() {
        Ok(indices) => indices,
        Err(std::sync::TryLockError::Poisoned(poison)) => PoisonError::into_inner(poison),
        Err(std::sync::TryLockError::WouldBlock) => return None,
    };
    indices.retain(|&(process, _, _)| process == me);
    if let Some(&(_, _, known)) = indices.iter().find(|(_, uuid, _)| *uuid == device.uuid) {
        return known;
    }
    let found = open(device);
    indices.push((me, device.uuid, found));
    found
}

fn open(device: &DeviceIdentity) -> Option<u32> {
    (0..count()).find(|&index| is(index, device))
}

/// Returns the number of devices that ROCm SMI lists, and starts the library if it is not started.
pub fn count() -> u32 {
    let (Some(init), Some(ask)) = (real::rsmi_init.get(), real::rsmi_num_monitor_devices.get())
    else {
        return 0;
    };
    let mut count = 0;
    // SAFETY: takes an integer, and may be called any number of times; writes one integer that
    // outlives the call.
    let results = unsafe { [init(0), ask(&mut count)] };
    if results == [RSMI_STATUS_SUCCESS; 2] {
        count
    } else {
        0
    }
}

/// Returns true if ROCm SMI's device is this one: at the same address, or with the same number.
pub fn is(index: u32, device: &DeviceIdentity) -> bool {
    if let Some(pci) = device.pci {
        return address(index) == Some((pci.domain, pci.bus, pci.device));
    }
    unique(index).is_some_and(|unique| unique.to_be_bytes() == device.uuid.0[..8])
}

/// Returns domain, bus and device, packed as the library documents.
pub fn address(index: u32) -> Option<(u32, u8, u8)> {
    let mut packed = 0;
    // SAFETY: writes one integer that outlives the call.
    let result = unsafe { real::rsmi_dev_pci_id_get.get()?(index, &mut packed) };
    (result == RSMI_STATUS_SUCCESS).then_some((
        (packed >> 32) as u32,
        (packed >> 8) as u8,
        (packed >> 3 & 0x1f) as u8,
    ))
}

/// Returns the device's own number.
pub fn unique(index: u32) -> Option<u64> {
    let mut id = 0;
    // SAFETY: writes one integer that outlives the call.
    let result = unsafe { real::rsmi_dev_unique_id_get.get()?(index, &mut id) };
    (result == RSMI_STATUS_SUCCESS && id != 0).then_some(id)
}

/// Returns the bytes of a process on the device of this index, or ROCm SMI's error. Libraries
/// before ROCm 5.5 report only the sum over devices, which is the answer on a machine with one
/// device.
fn of_process(pid: u32, index: u32) -> Option<Result<u64, rsmi_status_t>> {
    let mut info = rsmi_process_info_t::zeroed();
    let result = match real::rsmi_compute_process_info_by_device_get.get() {
        // SAFETY: writes one structure that outlives the call.
        Some(ask) => unsafe { ask(pid, index, &mut info) },
        None => {
            let mut count = 0;
            // SAFETY: as above.
            unsafe {
                if real::rsmi_num_monitor_devices.get()?(&mut count) != RSMI_STATUS_SUCCESS
                    || count != 1
                {
                    return None;
                }
                real::rsmi_compute_process_info_by_pid_get.get()?(pid, &mut info)
            }
        }
    };
    Some(if result == RSMI_STATUS_SUCCESS {
        Ok(info.vram_usage)
    } else {
        Err(result)
    })
}

/// Returns the processes that use any device.
fn processes() -> Option<Vec<rsmi_process_info_t>> {
    let ask = real::rsmi_compute_process_info_get.get()?;
    let mut count = 0;
    // SAFETY: without a list it writes one integer, which outlives the call.
    if unsafe { ask(core::ptr::null_mut(), &mut count) } != RSMI_STATUS_SUCCESS {
        return None;
    }
    // Some may have begun meanwhile.
    count += 16;
    let mut list = vec![rsmi_process_info_t::zeroed(); count as usize];
    // SAFETY: the list has room for `count` entries and outlives the call.
    if unsafe { ask(list.as_mut_ptr(), &mut count) } != RSMI_STATUS_SUCCESS {
        return None;
    }
    list.truncate(count as usize);
    Some(list)
}

/// Returns total and used bytes of the device of this index.
fn memory(index: u32) -> Option<(u64, u64)> {
    let (mut total, mut used) = (0, 0);
    // SAFETY: each writes one integer that outlives the call.
    let result = unsafe {
        [
            real::rsmi_dev_memory_total_get.get()?(index, RSMI_MEM_TYPE_VRAM, &mut total),
            real::rsmi_dev_memory_usage_get.get()?(index, RSMI_MEM_TYPE_VRAM, &mut used),
        ]
    };
    (result == [RSMI_STATUS_SUCCESS; 2]).then_some((total, used))
}

impl MemoryReport for Hip {
    const LISTS: bool = true;

    /// `None` if ROCm SMI cannot be asked or does not show this process.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        match of_process(std::process::id(), index(device)?)? {
            Ok(bytes) => Some(bytes),
            // The driver forgets a process that uses no device any more: then it holds nothing.
            Err(RSMI_STATUS_NOT_FOUND) if sees_own_numbers() => Some(0),
            Err(_) => None,
        }
    }

    fn listed(device: &DeviceIdentity) -> Option<Vec<Listed>> {
        let index = index(device)?;
        let entry = |process: &rsmi_process_info_t| {
            let number = process.process_id;
            match of_process(number, index)? {
                Ok(bytes) => Some(Listed {
                    number,
                    bytes: Some(bytes),
                }),
                // It uses another device, or has ended meanwhile.
                Err(_) => None,
            }
        };
        Some(processes()?.iter().filter_map(entry).collect())
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
                let found = real::rsmi_init.get().is_some();
                THERE.store(if found { YES } else { NO }, Ordering::Relaxed);
                found
            }
            known => known == YES,
        }
    }

    fn free_by_driver(_device: &Device) -> Option<u64> {
        let (mut free, mut total) = (0usize, 0usize);
        (call_real!(hipMemGetInfo(&mut free, &mut total)) == hipSuccess).then_some(free as u64)
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        let (total, used) = memory(index(device)?)?;
        Some(total.saturating_sub(used))
    }

    /// Includes memory that the driver has reserved for itself, and memory of processes that the
    /// library cannot see. `None` if it cannot be asked.
    fn unattributed_bytes(device: &DeviceIdentity) -> Option<u64> {
        let index = index(device)?;
        let shown = processes()?
            .iter()
            .filter_map(|process| of_process(process.process_id, index)?.ok())
            .fold(0, u64::saturating_add);
        Some(memory(index)?.1.saturating_sub(shown))
    }
}
