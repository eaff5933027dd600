//! Processes on a device, and how much of it each uses. Only processes with a context are listed.

use crate::abi::{INSUFFICIENT_SIZE, INVALID_ARGUMENT, Out, Reply, VERSION_MISMATCH};
use crate::api;
use crate::state::device;
use fcsp_sim::process::{Holding, holdings};

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Process1 {
    pid: u32,
    bytes: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Process2 {
    pid: u32,
    bytes: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pid: u32,
    time: u64,
    sm: u32,
    memory: u32,
    encoder: u32,
    decoder: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Info {
    time: u64,
    pid: u32,
    sm: u32,
    memory: u32,
    encoder: u32,
    decoder: u32,
    jpeg: u32,
    flow: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct InfoList {
    version: u32,
    n: u32,
    since: u64,
    list: Out<Info>,
}

const INFO_LIST: u32 = std::mem::size_of::<InfoList>() as u32 | 1 << 24;

/// Returns the processes with a context on a device, as this system numbers them and tells their
/// memory.
fn with_context(d: u64) -> Reply<Vec<Holding>> {
    let (m, spec) = device(d)?;
    let variant = &m.variant;
    let as_told = |h: Holding| Holding {
        pid: variant.number(h.pid),
        bytes: variant.bytes(h.bytes),
        ..h
    };
    Ok(holdings(&m.region, spec.index)
        .into_iter()
        .filter(|h| h.contexts > 0 && !variant.unlisted)
        .map(as_told)
        .collect())
}

/// Returns the list of processes that compute: those that run under MPS, or the others.
fn list(d: u64, under_mps: bool) -> Reply<Vec<Holding>> {
    let all = with_context(d)?;
    Ok(if device(d)?.0.variant.mps == under_mps {
        all
    } else {
        Vec::new()
    })
}

fn list1(d: u64, under_mps: bool) -> Reply<Vec<Process1>> {
    let one = |h: &Holding| Process1 {
        pid: h.pid,
        bytes: h.bytes,
    };
    Ok(list(d, under_mps)?.iter().map(one).collect())
}

fn list2(d: u64, under_mps: bool) -> Reply<Vec<Process2>> {
    let one = |h: &Holding| Process2 {
        pid: h.pid,
        bytes: h.bytes,
        gpu_instance: u32::MAX,
        compute_instance: u32::MAX,
    };
    Ok(list(d, under_mps)?.iter().map(one).collect())
}

/// Fills a caller's list, whose length comes in and goes out through `n`.
fn fill<T: Copy>(n: Out<u32>, list: Out<T>, items: &[T]) -> Reply {
    let room = n.get()?;
    n.put(items.len() as u32)?;
    if items.len() > room as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    if room > 0 && list.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    items
        .iter()
        .enumerate()
        .try_for_each(|(i, v)| list.put_at(i, *v))
}

fn now_us() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_micros() as u64)
}

api! {
    fn nvmlDeviceGetComputeRunningProcesses(d: u64, n: Out<u32>, place: Out<Process1>) {
        fill(n, place, &list1(d, false)?)
    }
    fn nvmlDeviceGetComputeRunningProcesses_v2, nvmlDeviceGetComputeRunningProcesses_v3(
        d: u64, n: Out<u32>, place: Out<Process2>,
    ) {
        fill(n, place, &list2(d, false)?)
    }
    fn nvmlDeviceGetMPSComputeRunningProcesses(d: u64, n: Out<u32>, place: Out<Process1>) {
        fill(n, place, &list1(d, true)?)
    }
    fn nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlDeviceGetMPSComputeRunningProcesses_v3(
        d: u64, n: Out<u32>, place: Out<Process2>,
    ) {
        fill(n, place, &list2(d, true)?)
    }
    /// No process of the simulator draws.
    fn nvmlDeviceGetGraphicsRunningProcesses(d: u64, n: Out<u32>, _list: Out<Process1>) {
        device(d)?;
        n.put(0)
    }
    fn nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlDeviceGetGraphicsRunningProcesses_v3(
        d: u64, n: Out<u32>, _list: Out<Process2>,
    ) {
        device(d)?;
        n.put(0)
    }
    fn nvmlDeviceGetProcessUtilization(d: u64, list: Out<Sample>, n: Out<u32>, _since: u64) {
        let time = now_us();
        let one = |h: &Holding| Sample {
            pid: h.pid,
            time,
            sm: h.utilisation,
            memory: h.utilisation / 2,
            encoder: 0,
            decoder: 0,
        };
        let all: Vec<_> = with_context(d)?.iter().map(one).collect();
        if list.is_null() {
            n.put(all.len() as u32)?;
            return if all.is_empty() { Ok(()) } else { Err(INSUFFICIENT_SIZE) };
        }
        fill(n, list, &all)
    }
    fn nvmlDeviceGetProcessesUtilizationInfo(d: u64, place: Out<InfoList>) {
        let mut head = place.get()?;
        if head.version != INFO_LIST {
            return Err(VERSION_MISMATCH);
        }
        let time = now_us();
        let all = with_context(d)?;
        let room = std::mem::replace(&mut head.n, all.len() as u32);
        place.put(head)?;
        if head.list.is_null() || (room as usize) < all.len() {
            return if all.is_empty() { Ok(()) } else { Err(INSUFFICIENT_SIZE) };
        }
        all.iter().enumerate().try_for_each(|(i, h)| {
            let (pid, sm, memory) = (h.pid, h.utilisation, h.utilisation / 2);
            head.list.put_at(i, Info { time, pid, sm, memory, encoder: 0, decoder: 0, jpeg: 0, flow: 0 })
        })
    }
}
