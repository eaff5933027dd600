//! Plain device memory, managed memory, and pinned host memory.

use crate::abi::{Nowhere, Out};
use crate::capture::{forbid, forbid_by};
use crate::codes::{
    HOST_MEMORY_ALREADY_REGISTERED, HOST_MEMORY_NOT_REGISTERED, INVALID_VALUE, Reply,
};
use crate::driver::{Context, current, current_or_none, driver, none_or_usable};
use crate::export::{api, stream_api};
use crate::stream::target;
use fcsp_sim::graph::Work;
use fcsp_sim::memory::Kind;
use fcsp_sim::slab::UNIT;
use fcsp_sim::strict::Rule;
use std::sync::Arc;

fn alloc(size: u64) -> Reply<u64> {
    let c = may_allocate()?;
    Ok(driver()?
        .memory
        .alloc(c.device, c.tag(), size, Kind::Device)?)
}

/// Returns the context to allocate in. Its refusals come before those of wrong arguments; measured.
pub fn may_allocate() -> Reply<Arc<Context>> {
    driver()?;
    forbid()?;
    current()
}

/// Waits for the work that may use an allocation, as freeing does.
pub fn settle(at: u64) -> Reply {
    let d = driver()?;
    let r = d.memory.find(at).ok_or(INVALID_VALUE)?;
    let owner = d.context(r.context).ok().or_else(current_or_none);
    if let Some(owner) = owner
        && !fcsp_sim::stream::on_device_thread()
    {
        owner.timeline.synchronise()?;
    }
    Ok(())
}

fn free(at: u64) -> Reply {
    none_or_usable()?;
    if at == 0 {
        return Ok(());
    }
    forbid()?;
    settle(at)?;
    let d = driver()?;
    if d.graphs.pool.end(&d.memory, at) {
        return Ok(());
    }
    Ok(d.memory.free(at, false)?)
}

fn pitched(place: Out<u64>, pitch: Out<u64>, width: u64, height: u64, element: u32) -> Reply {
    driver()?;
    // Before captures, and with a null address; measured.
    if !matches!(element, 4 | 8 | 16) {
        place.set(0);
        return Err(INVALID_VALUE);
    }
    may_allocate().or_else(|code| place.nowhere(code))?;
    place.need()?;
    pitch.need()?;
    if width == 0 || height == 0 {
        return Err(INVALID_VALUE);
    }
    let row = width.checked_next_multiple_of(UNIT).ok_or(INVALID_VALUE)?;
    let bytes = row.checked_mul(height).ok_or(crate::codes::OUT_OF_MEMORY);
    let at = bytes.and_then(alloc).or_else(|code| place.nowhere(code))?;
    place.put(at)?;
    pitch.put(row)
}

fn host(place: Out<u64>, size: u64, flags: u32) -> Reply {
    driver()?;
    forbid_by(Rule::Captures)?;
    let c = current()?;
    place.need()?;
    if flags & !7 != 0 {
        return Err(INVALID_VALUE);
    }
    if size == 0 {
        return place.put(0);
    }
    place.put(
        driver()?
            .memory
            .alloc_host(c.device, c.tag(), size, flags)?,
    )
}

fn register(at: u64, size: u64, flags: u32) -> Reply {
    forbid_by(Rule::Captures)?;
    let c = current()?;
    if at == 0 || size == 0 || flags & !0xf != 0 {
        return Err(INVALID_VALUE);
    }
    let fresh = driver()?
        .memory
        .register_host(c.device, c.tag(), at, size, flags);
    if fresh {
        Ok(())
    } else {
        Err(HOST_MEMORY_ALREADY_REGISTERED)
    }
}

fn device_pointer(place: Out<u64>, at: u64, flags: u32) -> Reply {
    place.need()?;
    current()?;
    let r = driver()?.memory.find(at).ok_or(INVALID_VALUE)?;
    if flags != 0 || r.on_device() {
        return Err(INVALID_VALUE);
    }
    place.put(at)
}

fn info(free: Out<u64>, total: Out<u64>) -> Reply {
    let c = current()?;
    driver()?.memory.collect_adrift();
    let (f, t) = driver()?.process.memory(c.device);
    free.set(f);
    total.set(t);
    Ok(())
}

fn range(base: Out<u64>, size: Out<u64>, at: u64) -> Reply {
    current()?;
    let r = driver()?
        .memory
        .find(at)
        .filter(|r| r.on_device())
        .ok_or(crate::codes::NOT_FOUND)?;
    base.set(r.base);
    size.set(r.size);
    Ok(())
}

/// Where memory is.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Location {
    /// 1 device, 2 host, 3 and 4 host NUMA nodes.
    pub kind: i32,
    /// Which.
    pub id: i32,
}

fn prefetch(t: &crate::stream::Target, at: u64, size: u64, to_device: bool) -> Reply {
    let d = driver()?;
    if size == 0
        || !d.memory.covers(at, size)
        || d.memory.find(at).is_none_or(|r| r.kind != Kind::Managed)
    {
        return Err(INVALID_VALUE);
    }
    let memory = d.memory.clone();
    t.submit(vec![fcsp_sim::stream::Op::Instant(Box::new(move || {
        if to_device {
            memory.touch(at, size)
        } else {
            memory.evict(at, size)
        }
        Ok(())
    }))])
}

fn advise(at: u64, size: u64, advice: i32) -> Reply {
    current()?;
    if !(1..=6).contains(&advice) || size == 0 || !driver()?.memory.covers(at, size) {
        return Err(INVALID_VALUE);
    }
    Ok(())
}

/// Addresses of the first version of the API have 32 bits, and this library has no memory there:
/// such calls cannot be served by the real library on a 64-bit host either.
const NARROW: Reply = Err(INVALID_VALUE);

api! {
    fn cuMemGetInfo_v2(free: Out<u64>, total: Out<u64>) {
        info(free, total)
    }
    fn cuMemGetInfo(free: Out<u32>, total: Out<u32>) {
        let c = current()?;
        let (f, t) = driver()?.process.memory(c.device);
        free.set(f.min(u64::from(u32::MAX)) as u32);
        total.set(t.min(u64::from(u32::MAX)) as u32);
        Ok(())
    }
    fn cuMemAlloc_v2(place: Out<u64>, size: u64) {
        may_allocate().or_else(|code| place.nowhere(code))?;
        place.need()?;
        place.put(alloc(size).or_else(|code| place.nowhere(code))?)
    }
    fn cuMemAlloc(_place: Out<u32>, _size: u32) {
        NARROW
    }
    fn cuMemFree_v2(at: u64) {
        free(at)
    }
    fn cuMemFree(_at: u32) {
        NARROW
    }
    fn cuMemAllocPitch_v2(place: Out<u64>, pitch: Out<u64>, width: u64, height: u64, element: u32) {
        pitched(place, pitch, width, height, element)
    }
    fn cuMemGetAddressRange_v2(base: Out<u64>, size: Out<u64>, at: u64) {
        range(base, size, at)
    }
    fn cuMemAllocHost, cuMemAllocHost_v2(place: Out<u64>, size: u64) {
        host(place, size, 0)
    }
    fn cuMemHostAlloc(place: Out<u64>, size: u64, flags: u32) {
        host(place, size, flags)
    }
    fn cuMemFreeHost(at: u64) {
        current()?;
        if at == 0 {
            return Ok(());
        }
        forbid()?;
        settle(at)?;
        Ok(driver()?.memory.free_host(at)?)
    }
    fn cuMemHostRegister, cuMemHostRegister_v2(at: u64, size: u64, flags: u32) {
        register(at, size, flags)
    }
    fn cuMemHostUnregister(at: u64) {
        current()?;
        settle(at).map_err(|_| HOST_MEMORY_NOT_REGISTERED)?;
        if driver()?.memory.unregister_host(at) { Ok(()) } else { Err(HOST_MEMORY_NOT_REGISTERED) }
    }
    fn cuMemHostGetDevicePointer_v2(place: Out<u64>, at: u64, flags: u32) {
        device_pointer(place, at, flags)
    }
    fn cuMemHostGetFlags(flags: Out<u32>, at: u64) {
        current()?;
        match driver()?.memory.find(at).map(|r| r.kind) {
            Some(Kind::Host(f) | Kind::Registered(f)) => flags.put(f),
            _ => Err(INVALID_VALUE),
        }
    }
    fn cuMemAllocManaged(place: Out<u64>, size: u64, flags: u32) {
        let c = may_allocate()?;
        place.need()?;
        if !matches!(flags, 1 | 2) {
            return Err(INVALID_VALUE);
        }
        place.put(driver()?.memory.alloc_managed(c.device, c.tag(), size)?)
    }
    fn cuMemAdvise(at: u64, size: u64, advice: i32, _device: i32) {
        advise(at, size, advice)
    }
    fn cuMemAdvise_v2(at: u64, size: u64, advice: i32, _location: Location) {
        advise(at, size, advice)
    }
}

stream_api! {
    fn cuMemPrefetchAsync, cuMemPrefetchAsync_ptsz[pt](at: u64, size: u64, device: i32, stream: u64) {
        let t = target(stream, pt)?;
        if device != -1 {
            driver()?.device(device)?;
        }
        prefetch(&t, at, size, device != -1)
    }
    fn cuMemPrefetchAsync_v2, cuMemPrefetchAsync_v2_ptsz[pt](
        at: u64, size: u64, location: Location, _flags: u32, stream: u64,
    ) {
        let t = target(stream, pt)?;
        if location.kind == 1 {
            driver()?.device(location.id)?;
        }
        prefetch(&t, at, size, location.kind == 1)
    }
    fn cuMemMapArrayAsync, cuMemMapArrayAsync_ptsz[pt](_list: u64, n: u32, stream: u64) {
        let t = target(stream, pt)?;
        // No array is sparse here, so there is nothing to map into.
        if n == 0 { t.run(Work::Empty) } else { Err(INVALID_VALUE) }
    }
}
