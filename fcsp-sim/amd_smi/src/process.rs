//! Processes, and how much device memory each has. Only processes with a context are listed.

use crate::abi::{NOT_FOUND, Out, Reply, fill, fixed};
use crate::api;
use crate::device::processor;
use crate::state::machine;
use fcsp_sim::process::{Holding, listed};
use std::collections::BTreeMap;

/// `amdsmi_proc_info_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OnDevice {
    name: [u8; 256],
    pid: u32,
    bytes: u64,
    engines: [u64; 2],
    engines_reserved: [u32; 12],
    memory: [u64; 3],
    memory_reserved: [u32; 10],
    container: [u8; 256],
    units: u32,
    reserved: [u32; 11],
}

/// `amdsmi_process_info_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pid: u32,
    vram: u64,
    sdma: u64,
    units: u32,
}

const _: () = assert!(size_of::<OnDevice>() == 704 && size_of::<Summary>() == 32);

fn with_context(index: usize) -> Reply<Vec<Holding>> {
    let all = listed(&machine()?.region, index);
    Ok(all.into_iter().filter(|h| h.contexts > 0).collect())
}

fn on_device(h: &Holding) -> OnDevice {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", h.pid)).unwrap_or_default();
    OnDevice {
        name: fixed(name.trim()),
        pid: h.pid,
        bytes: h.bytes,
        engines: [h.busy_ns, 0],
        engines_reserved: [0; 12],
        memory: [0, 0, h.bytes],
        memory_reserved: [0; 10],
        container: [0; 256],
        units: h.utilisation,
        reserved: [0; 11],
    }
}

/// Every process with what it has on all devices.
fn all() -> Reply<Vec<Summary>> {
    let mut found = BTreeMap::new();
    for index in 0..machine()?.topology.devices.len() {
        for h in with_context(index)? {
            let summary: &mut Summary = found.entry(h.pid).or_default();
            summary.pid = h.pid;
            summary.vram += h.bytes;
            summary.units = summary.units.max(h.utilisation);
        }
    }
    Ok(found.into_values().collect())
}

api! {
    fn amdsmi_get_gpu_process_list(p: u64, n: Out<u32>, list: Out<OnDevice>) {
        let items: Vec<OnDevice> = with_context(processor(p)?.1.index)?.iter().map(on_device).collect();
        fill(n, list, &items)
    }
    fn amdsmi_get_gpu_compute_process_info(list: Out<Summary>, n: Out<u32>) {
        fill(n, list, &all()?)
    }
    fn amdsmi_get_gpu_compute_process_info_by_pid(pid: u32, place: Out<Summary>) {
        place.put(all()?.into_iter().find(|s| s.pid == pid).ok_or(NOT_FOUND)?)
    }
    fn amdsmi_get_gpu_compute_process_gpus(pid: u32, list: Out<u32>, n: Out<u32>) {
        let mut found = Vec::new();
        for index in 0..machine()?.topology.devices.len() {
            if with_context(index)?.iter().any(|h| h.pid == pid) {
                found.push(index as u32);
            }
        }
        fill(n, list, &found)
    }
}
