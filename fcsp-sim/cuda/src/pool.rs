//! Memory pools and stream-ordered allocation.

use crate::abi::{In, Nowhere, Out};
use crate::capture::forbid_by;
use crate::codes::{INVALID_VALUE, NOT_SUPPORTED, Reply};
use crate::driver::driver;
use crate::export::{api, stream_api};
use crate::memory::Location;
use crate::stream::{Target, target};
use fcsp_sim::graph::Work;
use fcsp_sim::memory::Kind;
use fcsp_sim::strict::Rule;
use std::sync::atomic::Ordering::Relaxed;

/// How a pool is made.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Props {
    /// 1 for pinned device memory.
    pub kind: i32,
    /// Kinds of handle it may be exported as.
    pub handles: i32,
    /// Where.
    pub location: Location,
    security: u64,
    /// Largest size, 0 for the default.
    pub max: u64,
    rest: [u8; 56],
}

/// Returns a pool's handle.
pub fn handle(id: u64) -> Reply<u64> {
    driver()?
        .pool_handles
        .handle_of(|p| *p == id)
        .ok_or(INVALID_VALUE)
}

/// Returns the model's number of a pool. The driver refuses dead ones by a code; measured.
fn id(handle: u64) -> Reply<u64> {
    let pool = driver()?.pool_handles.checked(handle);
    Ok(*pool.map_err(|_| INVALID_VALUE)?)
}

fn alloc(t: &Target, place: Out<u64>, size: u64, pool: Option<u64>) -> Reply {
    place.need()?;
    let d = driver()?;
    t.implicit()?;
    if size == 0 {
        return place.put(0);
    }
    if t.recording().is_some() {
        let node = d.graphs.pool.node(&d.memory, t.context.device, size)?;
        let at = node.address();
        t.run(Work::Alloc(node))?;
        return place.put(at);
    }
    forbid_by(Rule::Captures)?;
    if let Some(pool) = pool {
        return place.put(d.memory.pool_alloc(pool, size, t.stream.queue)?);
    }
    loop {
        let pool = d.current_pool(t.context.ordinal)?;
        match d.memory.pool_alloc(pool, size, t.stream.queue) {
            Ok(at) => return place.put(at),
            // Another thread destroyed the current pool meanwhile: there is another one now.
            Err(_) if d.current_pool(t.context.ordinal)? != pool => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn free(t: &Target, at: u64) -> Reply {
    let d = driver()?;
    t.implicit()?;
    if t.recording().is_some() {
        return t.run(Work::Free(at));
    }
    if d.graphs.pool.find(at).is_some() {
        return t.run(Work::Free(at));
    }
    let r = d
        .memory
        .find(at)
        .filter(|r| r.base == at)
        .ok_or(INVALID_VALUE)?;
    match r.kind {
        Kind::Pool(_) => {
            let (pool, ticket) = d.memory.pool_free(r, t.stream.queue)?;
            t.submit(vec![crate::copy::retire(pool, ticket)?])
        }
        Kind::Device => {
            let memory = d.memory.clone();
            t.submit(vec![fcsp_sim::stream::Op::Instant(Box::new(move || {
                memory.free(at, false)
            }))])
        }
        _ => Err(INVALID_VALUE),
    }
}

fn location(place: In<Location>) -> Reply<i32> {
    let l = place.get()?;
    // Pools of host memory are not modelled.
    if l.kind == 1 {
        Ok(l.id)
    } else {
        Err(NOT_SUPPORTED)
    }
}

fn set_current(device: i32, pool: u64) -> Reply {
    let d = driver()?;
    let physical = d.device(device)?;
    let pool = id(pool)?;
    if d.memory.pool(pool, |p| p.device)? != physical {
        return Err(INVALID_VALUE);
    }
    d.default_pool(device)?;
    d.pools[device as usize].1.store(pool, Relaxed);
    Ok(())
}

api! {
    fn cuMemPoolCreate(place: Out<u64>, props: In<Props>) {
        forbid_by(Rule::Captures)?;
        place.need()?;
        let p = props.get()?;
        if p.kind != 1 {
            return Err(INVALID_VALUE);
        }
        if p.location.kind != 1 || p.handles != 0 {
            return Err(NOT_SUPPORTED);
        }
        let d = driver()?;
        let device = d.device(p.location.id).map_err(|_| INVALID_VALUE)?;
        place.put(d.pool_handles.add(d.memory.pool_create(device, p.max, false)?))
    }
    fn cuMemPoolDestroy(pool: u64) {
        let d = driver()?;
        forbid_by(Rule::Captures)?;
        let (handle, pool) = (pool, id(pool)?);
        if d.memory.pool(pool, |p| p.default)? {
            return Err(INVALID_VALUE);
        }
        for (_, current) in &d.pools {
            // A destroyed pool stops being its device's current one. First, so that nobody is given
            // a dead one.
            let _ = current.compare_exchange(pool, 0, Relaxed, Relaxed);
        }
        d.memory.pool_destroy(pool)?;
        let _ = d.pool_handles.take(handle);
        Ok(())
    }
    fn cuMemPoolTrimTo(pool: u64, keep: u64) {
        forbid_by(Rule::Captures)?;
        Ok(driver()?.memory.pool_trim(id(pool)?, keep)?)
    }
    fn cuMemPoolSetAttribute(pool: u64, which: i32, value: In<u8>) {
        forbid_by(Rule::Captures)?;
        let wide = || In::<u64>::from_raw(value.address() as *const u64).get();
        let narrow = || In::<u32>::from_raw(value.address() as *const u32).get();
        let memory = &driver()?.memory;
        let pool = id(pool)?;
        match which {
            1..=3 => {
                let v = narrow()?;
                memory.pool(pool, |p| p.reuse[which as usize - 1] = v)?;
            }
            4 => {
                let v = wide()?;
                memory.pool(pool, |p| p.threshold = v)?;
            }
            6 if wide()? == 0 => memory.pool(pool, |p| p.sizes.reserved_high = p.sizes.reserved)?,
            8 if wide()? == 0 => memory.pool(pool, |p| p.sizes.used_high = p.sizes.used)?,
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    }
    fn cuMemPoolGetAttribute(pool: u64, which: i32, value: Out<u8>) {
        forbid_by(Rule::Captures)?;
        value.need()?;
        let d = driver()?;
        let (reuse, threshold, s, device, max) =
            d.memory.pool(id(pool)?, |p| (p.reuse, p.threshold, p.sizes, p.device, p.max))?;
        let wide = |v: u64| value.cast::<u64>().put(v);
        let narrow = |v: i32| value.cast::<i32>().put(v);
        match which {
            1..=3 => narrow(reuse[which as usize - 1] as i32),
            4 => wide(threshold),
            5 => wide(s.reserved),
            6 => wide(s.reserved_high),
            7 => wide(s.used),
            8 => wide(s.used_high),
            9 => narrow(1),
            10 => narrow(0),
            11 => narrow(d.ordinal(device)),
            12 => narrow(1),
            13 => wide(max),
            14 => narrow(0),
            _ => Err(INVALID_VALUE),
        }
    }
    fn cuMemPoolSetAccess(pool: u64, _map: u64, _n: u64) {
        Ok(driver()?.memory.pool(id(pool)?, |_| ())?)
    }
    fn cuMemPoolGetAccess(flags: Out<i32>, pool: u64, place: In<Location>) {
        driver()?.memory.pool(id(pool)?, |_| ())?;
        driver()?.device(location(place)?)?;
        flags.put(3)
    }
    fn cuDeviceGetDefaultMemPool(place: Out<u64>, device: i32) {
        place.put(handle(driver()?.default_pool(device)?)?)
    }
    fn cuDeviceGetMemPool(place: Out<u64>, device: i32) {
        place.put(handle(driver()?.current_pool(device)?)?)
    }
    fn cuDeviceSetMemPool(device: i32, pool: u64) {
        set_current(device, pool)
    }
    fn cuMemGetDefaultMemPool(place: Out<u64>, at: In<Location>, _kind: i32) {
        place.put(handle(driver()?.default_pool(location(at)?)?)?)
    }
    fn cuMemGetMemPool(place: Out<u64>, at: In<Location>, _kind: i32) {
        place.put(handle(driver()?.current_pool(location(at)?)?)?)
    }
    fn cuMemSetMemPool(at: In<Location>, _kind: i32, pool: u64) {
        set_current(location(at)?, pool)
    }
}

stream_api! {
    fn cuMemAllocAsync, cuMemAllocAsync_ptsz[pt](place: Out<u64>, size: u64, stream: u64) {
        alloc(&target(stream, pt)?, place, size, None).or_else(|code| place.nowhere(code))
    }
    fn cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz[pt](
        place: Out<u64>, size: u64, pool: u64, stream: u64,
    ) {
        alloc(&target(stream, pt)?, place, size, Some(id(pool)?))
    }
    fn cuMemFreeAsync, cuMemFreeAsync_ptsz[pt](at: u64, stream: u64) {
        let t = target(stream, pt)?;
        if at == 0 { Ok(()) } else { free(&t, at) }
    }
}
