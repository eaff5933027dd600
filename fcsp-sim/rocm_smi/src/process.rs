//! Compute processes, and how much device memory each has. Only processes with a context are
//! listed.

use crate::abi::{INSUFFICIENT_SIZE, INVALID_ARGS, NOT_FOUND, Out, Reply};
use crate::api;
use crate::state::{device, machine};
use fcsp_sim::process::listed;
use std::collections::BTreeMap;

/// `rsmi_process_info_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Info {
    pid: u32,
    pasid: u32,
    vram: u64,
    sdma: u64,
    units: u32,
}

const _: () = assert!(size_of::<Info>() == 32);

/// Every process with what it has on some of the devices.
fn all(devices: impl Iterator<Item = usize>) -> Reply<Vec<Info>> {
    let m = machine()?;
    let mut found = BTreeMap::new();
    for index in devices {
        let units = m.topology.devices.get(index).map_or(0, |d| d.sm);
        for h in listed(&m.region, index)
            .into_iter()
            .filter(|h| h.contexts > 0)
        {
            let info: &mut Info = found.entry(h.pid).or_default();
            info.pid = h.pid;
            info.pasid = 0x8000 | h.pid & 0x7fff;
            info.vram += h.bytes;
            info.units = info.units.max(units * h.utilisation / 100);
        }
    }
    Ok(found.into_values().collect())
}

fn one(list: Vec<Info>, pid: u32) -> Reply<Info> {
    list.into_iter().find(|i| i.pid == pid).ok_or(NOT_FOUND)
}

api! {
    fn rsmi_compute_process_info_get(list: Out<Info>, n: Out<u32>) {
        let found = all(0..machine()?.topology.devices.len())?;
        if list.is_null() {
            return n.put(found.len() as u32);
        }
        let room = n.get()? as usize;
        for (i, info) in found.iter().take(room).enumerate() {
            list.put_at(i, *info)?;
        }
        n.put(found.len().min(room) as u32)?;
        if found.len() > room { Err(INSUFFICIENT_SIZE) } else { Ok(()) }
    }
    fn rsmi_compute_process_info_by_pid_get(pid: u32, place: Out<Info>) {
        place.put(one(all(0..machine()?.topology.devices.len())?, pid)?)
    }
    fn rsmi_compute_process_info_by_device_get(pid: u32, d: u32, place: Out<Info>) {
        let index = device(d)?.1.index;
        place.put(one(all(std::iter::once(index))?, pid)?)
    }
    fn rsmi_compute_process_gpus_get(pid: u32, list: Out<u32>, n: Out<u32>) {
        let m = machine()?;
        if n.is_null() {
            return Err(INVALID_ARGS);
        }
        let has = |index: &usize| listed(&m.region, *index).iter().any(|h| h.pid == pid && h.contexts > 0);
        let found: Vec<usize> = (0..m.topology.devices.len()).filter(has).collect();
        if list.is_null() {
            return n.put(found.len() as u32);
        }
        let room = n.get()? as usize;
        for (i, index) in found.iter().take(room).enumerate() {
            list.put_at(i, *index as u32)?;
        }
        n.put(found.len().min(room) as u32)?;
        if found.len() > room { Err(INSUFFICIENT_SIZE) } else { Ok(()) }
    }
}
