//! This process's memory on a device by the driver's figures, from Sysman.
//!
//! The core's handles work for that only if `ZES_ENABLE_SYSMAN=1` was set when the driver was
//! initialised. The environment belongs to the program: without the variable there is no answer,
//! and contexts keep their estimates.

use core::sync::atomic::{AtomicU32, Ordering};

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::MemoryReport;
use fcsp_hook::device::Listed;

use crate::call_real;
use crate::device;
use crate::ffi::ze::*;
use crate::ffi::zes::*;
use crate::vendor::{Device, LevelZero};

/// Nobody has asked yet.
const UNKNOWN: u32 = 0;
const THERE: u32 = 1;
const ABSENT: u32 = 2;

static MANAGEMENT: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Forgets the answer in a forked child, so that it asks again.
pub fn forget_in_child() {
    MANAGEMENT.store(UNKNOWN, Ordering::Relaxed);
}

/// Returns the processes on a device; `None` if the driver does not report them.
fn processes(device: zes_device_handle_t) -> Option<Vec<zes_process_state_t>> {
    // Processes come between the two questions; a few more places cost nothing.
    for _ in 0..3 {
        let mut count = 0;
        if call_real!(zesDeviceProcessesGetState(
            device,
            &mut count,
            core::ptr::null_mut()
        )) != ZE_RESULT_SUCCESS
        {
            return None;
        }
        let mut empty = zes_process_state_t::zeroed();
        empty.stype = ZES_STRUCTURE_TYPE_PROCESS_STATE;
        count += 8;
        let mut list = vec![empty; count as usize];
        if call_real!(zesDeviceProcessesGetState(
            device,
            &mut count,
            list.as_mut_ptr()
        )) == ZE_RESULT_SUCCESS
        {
            list.truncate(count as usize);
            return Some(list);
        }
    }
    None
}

fn of(device: &DeviceIdentity) -> Option<Vec<zes_process_state_t>> {
    let handle = device::by_uuid(device.uuid)?.handle;
    let list = processes(handle as zes_device_handle_t);
    // Relaxed: the answer is the same whichever thread finds it.
    MANAGEMENT.store(
        if list.is_some() { THERE } else { ABSENT },
        Ordering::Relaxed,
    );
    list
}

impl MemoryReport for LevelZero {
    const LISTS: bool = true;

    /// `None` if the driver does not say, or does not show this process.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        let me = std::process::id();
        let mut mine = of(device)?;
        mine.retain(|entry| entry.processId == me);
        if mine.is_empty() {
            // A process that holds nothing yet is not listed; one whose number differs outside
            // never is.
            return fcsp_hook::info::sees_own_numbers().then_some(0);
        }
        Some(mine.iter().map(|entry| entry.memSize).sum())
    }

    /// Lists processes by their numbers on the host.
    fn listed(device: &DeviceIdentity) -> Option<Vec<Listed>> {
        let mut all: Vec<Listed> = Vec::new();
        for entry in of(device)? {
            let number = entry.processId;
            // A process may be listed once for each engine that it uses.
            match all.iter_mut().find(|known| known.number == number) {
                Some(known) => {
                    known.bytes = known.bytes.map(|bytes| bytes.saturating_add(entry.memSize))
                }
                None => all.push(Listed {
                    number,
                    bytes: Some(entry.memSize),
                }),
            }
        }
        Some(all)
    }

    /// Returns true if the driver's management functions answer.
    fn has_management() -> bool {
        match MANAGEMENT.load(Ordering::Relaxed) {
            UNKNOWN => device::by_ordinal(0).is_some_and(|known| of(&known.identity).is_some()),
            state => state == THERE,
        }
    }

    /// Returns `None`: the core API does not tell free memory.
    fn free_by_driver(_device: &Device) -> Option<u64> {
        None
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        let handle = device::by_uuid(device.uuid)?.handle as zes_device_handle_t;
        let mut count = 0;
        call_real!(zesDeviceEnumMemoryModules(
            handle,
            &mut count,
            core::ptr::null_mut()
        ));
        let mut modules = vec![core::ptr::null_mut(); count as usize];
        if count == 0
            || call_real!(zesDeviceEnumMemoryModules(
                handle,
                &mut count,
                modules.as_mut_ptr()
            )) != ZE_RESULT_SUCCESS
        {
            return None;
        }
        let mut free = 0;
        for module in modules {
            let mut state = zes_mem_state_t::zeroed();
            state.stype = ZES_STRUCTURE_TYPE_MEM_STATE;
            if call_real!(zesMemoryGetState(module, &mut state)) != ZE_RESULT_SUCCESS {
                return None;
            }
            free += state.free;
        }
        Some(free)
    }
}
