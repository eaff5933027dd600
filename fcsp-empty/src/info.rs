//! The answers that show a tenant its own device.

use core::ffi::c_int;

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::{Driver, MemoryReport};
use fcsp_hook::info::own_processes;
use fcsp_hook::process::Target;
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::call_real;
use crate::ffi::*;
use crate::vendor::{Device, Empty};

/// `emptyDeviceMemory`: the quota is the device.
pub unsafe extern "C" fn emptyDeviceMemory(
    device: c_int,
    unused: *mut usize,
    total: *mut usize,
) -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        let result = call_real!(emptyDeviceMemory(device, unused, total));
        if result == EMPTY_SUCCESS
            && let Some(_inside) = Reentry::enter()
            && let Target::Device(device, _) = Empty::process().target_of(device)
        {
            let usage = device.usage();
            // SAFETY: the driver has written to both with success.
            unsafe {
                *unused = usage.visible_free(*unused as u64) as usize;
                *total = usage.visible_total() as usize;
            }
        }
        result
    })
}

/// `emptyDeviceProcesses`: the tenant's own.
pub unsafe extern "C" fn emptyDeviceProcesses(
    device: c_int,
    pids: *mut u32,
    bytes: *mut usize,
    count: *mut c_int,
) -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        // SAFETY: the caller says here how many entries it has room for; null is the driver's to
        // refuse.
        let room = unsafe { count.as_ref() }.map_or(0, |&room| room.max(0) as usize);
        let result = call_real!(emptyDeviceProcesses(device, pids, bytes, count));
        if result == EMPTY_SUCCESS
            && let Some(own) = own_processes::<Empty>()
        {
            let mut kept = 0;
            // SAFETY: the driver has written so many entries of both lists, which have that room.
            unsafe {
                for index in 0..room.min(*count as usize) {
                    if own.keeps(&mut *pids.add(index)) {
                        *pids.add(kept) = *pids.add(index);
                        *bytes.add(kept) = *bytes.add(index);
                        kept += 1;
                    }
                }
                *count = kept as c_int;
            }
        }
        result
    })
}

impl MemoryReport for Empty {
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        let (mut pids, mut bytes, mut count) = ([0; 256], [0; 256], 256);
        let ordinal = device.index?.cast_signed();
        let result = call_real!(emptyDeviceProcesses(
            ordinal,
            pids.as_mut_ptr(),
            bytes.as_mut_ptr(),
            &mut count
        ));
        let mine = pids.iter().position(|&pid| pid == std::process::id());
        (result == EMPTY_SUCCESS).then(|| mine.map_or(0, |at| bytes[at] as u64))
    }

    fn has_management() -> bool {
        true
    }

    fn free_by_driver(_device: &Device) -> Option<u64> {
        None
    }
}
