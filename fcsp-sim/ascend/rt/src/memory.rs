//! Device memory, the memory of the media units, managed memory, pinned host memory, and how much
//! is free.

use crate::abi::{In, Out};
use crate::codes::{INVALID_MEMORY_TYPE, PARAM_INVALID, Reply};
use crate::driver::{current, driver, tag};
use crate::export::api;
use fcsp_sim::memory::Kind;

fn alloc(place: Out<u64>, size: u64) -> Reply {
    place.need()?;
    let c = current()?;
    place.put(
        driver()?
            .memory
            .alloc(c.open.device, tag(c.open.device), size, Kind::Device)?,
    )
}

fn free(at: u64) -> Reply {
    let d = driver()?;
    let r = d.memory.find(at).ok_or(PARAM_INVALID)?;
    // Freeing waits for the work that may use the memory.
    if !fcsp_sim::stream::on_device_thread()
        && let Ok(c) = current()
        && c.open.device == r.device
    {
        c.open.timeline.synchronise()?;
    }
    Ok(d.memory.free(at, false)?)
}

fn host(place: Out<u64>, size: u64) -> Reply {
    place.need()?;
    let c = current()?;
    place.put(
        driver()?
            .memory
            .alloc_host(c.open.device, tag(c.open.device), size, 0)?,
    )
}

/// The kinds that `aclrtGetMemInfo` knows; the device of this model has one kind of memory,
/// whatever it is called.
const KINDS: i32 = 18;

fn info(free: Out<u64>, total: Out<u64>) -> Reply {
    let c = current()?;
    let (f, t) = driver()?.process.memory(c.open.device);
    free.put(f)?;
    total.put(t)
}

/// An attribute of a request, as `aclrtMallocConfig` lists them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    kind: u32,
    value: [u32; 2],
}

/// `aclrtMallocConfig`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Config {
    attributes: In<Attribute>,
    count: usize,
}

const ATTRIBUTE_DEVICE: u32 = 2;

api! {
    fn rtMalloc, rtMallocCached(place: Out<u64>, size: u64, _kind: u32, _module: u16) {
        alloc(place, size)
    }
    fn rtDvppMalloc(place: Out<u64>, size: u64, _module: u16) {
        alloc(place, size)
    }
    fn rtDvppMallocWithFlag(place: Out<u64>, size: u64, _flag: u32, _module: u16) {
        alloc(place, size)
    }
    fn rtsMalloc(place: Out<u64>, size: u64, _policy: i32, _advice: i32, config: In<Config>) {
        place.need()?;
        let c = current()?;
        let d = driver()?;
        let mut device = c.open.device;
        if !config.is_null() {
            let config = config.get()?;
            for i in 0..config.count {
                let a = config.attributes.at(i)?;
                if a.kind == ATTRIBUTE_DEVICE {
                    device = d.device(a.value[0] as i32)?;
                }
            }
        }
        place.put(d.memory.alloc(device, tag(device), size, Kind::Device)?)
    }
    fn rtFree, rtFreeWithDevSync, rtDvppFree(at: u64) {
        free(at)
    }
    fn rtMallocHost(place: Out<u64>, size: u64, _module: u16) {
        host(place, size)
    }
    fn rtsMallocHost(place: Out<u64>, size: u64, _config: In<Config>) {
        host(place, size)
    }
    fn rtFreeHost, rtFreeHostWithDevSync(at: u64) {
        Ok(driver()?.memory.free_host(at)?)
    }
    fn rtMemAllocManaged(place: Out<u64>, size: u64, _flag: u32, _module: u16) {
        place.need()?;
        let c = current()?;
        place.put(driver()?.memory.alloc_managed(c.open.device, tag(c.open.device), size)?)
    }
    fn rtMemFreeManaged(at: u64) {
        free(at)
    }
    fn rtMemGetInfo(free: Out<u64>, total: Out<u64>) {
        info(free, total)
    }
    fn rtMemGetInfoEx(kind: i32, free: Out<u64>, total: Out<u64>) {
        if !(0..KINDS).contains(&kind) {
            return Err(INVALID_MEMORY_TYPE);
        }
        info(free, total)
    }
}
