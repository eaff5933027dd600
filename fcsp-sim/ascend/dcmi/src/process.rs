//! Processes that use a chip.

use crate::state::chip;
use crate::{INVALID_PARAMETER, api};
use fcsp_sim::process::listed;

/// `dcmi_proc_mem_info`; bytes.
#[repr(C)]
#[derive(Debug)]
pub struct ProcessMemory {
    pid: i32,
    bytes: u64,
}

/// The library's own bound on the list.
const MOST: usize = 32;

api! {
    fn dcmi_get_device_resource_info(card: i32, device: i32, list: *mut ProcessMemory, count: *mut i32) {
        let (m, spec) = chip(card, device)?;
        if list.is_null() {
            return Err(INVALID_PARAMETER);
        }
        let mut n = 0;
        for h in listed(&m.region, spec.index).iter().filter(|h| h.bytes > 0).take(MOST) {
            // SAFETY: by the API's contract room for the most there can be.
            unsafe { list.add(n).write_unaligned(ProcessMemory { pid: h.pid as i32, bytes: h.bytes }) };
            n += 1;
        }
        crate::put(count, n as i32)
    }
}
