//! Device, shared and host memory, and memory of other processes.

use crate::abi::{In, Out};
use crate::codes::{
    INVALID_ARGUMENT, INVALID_ENUMERATION, INVALID_SIZE, Reply, UNSUPPORTED_ALIGNMENT,
    UNSUPPORTED_SIZE,
};
use crate::driver::{Context, Driver, device, device_handle, driver};
use crate::export::api;
use crate::structs::{
    DeviceMemAllocDesc, HostMemAllocDesc, IpcMemHandle, MemoryAllocationProperties,
    MemoryFreeExtDesc,
};
use fcsp_sim::host::PAGE;
use fcsp_sim::memory::Kind;
use std::sync::Arc;

/// Pages of device memory for allocations below [`PAGE`].
pub const SMALL_PAGE: u64 = 64 << 10;

/// Returns the page size in which an allocation of this size is made.
pub fn page_of(size: u64) -> u64 {
    if size < PAGE { SMALL_PAGE } else { PAGE }
}

/// Types of memory by the API's numbers.
const UNKNOWN: u32 = 0;
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const SHARED: u32 = 3;

fn check(size: u64, alignment: u64, most: u64) -> Reply {
    if size == 0 {
        return Err(INVALID_SIZE);
    }
    if size > most {
        return Err(UNSUPPORTED_SIZE);
    }
    if alignment != 0 && (!alignment.is_power_of_two() || alignment > PAGE) {
        return Err(UNSUPPORTED_ALIGNMENT);
    }
    Ok(())
}

/// Takes device memory in whole pages.
pub fn take(d: &Driver, c: &Context, index: usize, size: u64) -> Reply<u64> {
    c.on(index)?;
    Ok(d.memory
        .alloc_pages(index, c.handle, size, page_of(size), Kind::Device)?)
}

/// Returns the context of a handle, once none of its work is in flight: the model's memory goes
/// when it is freed.
fn settled(handle: u64) -> Reply<(&'static Driver, Arc<Context>)> {
    let d = driver()?;
    let c = d.contexts.get(handle)?;
    c.settle()?;
    Ok((d, c))
}

fn free(context: u64, at: u64) -> Reply {
    let (d, c) = settled(context)?;
    let r = d
        .memory
        .find(at)
        .filter(|r| r.base == at && c.has(r))
        .ok_or(INVALID_ARGUMENT)?;
    match r.kind {
        Kind::Host(_) => d.memory.free_host(at)?,
        _ => d.memory.free(at, false)?,
    }
    Ok(())
}

api! {
    fn zeMemAllocDevice(
        context: u64, desc: In<DeviceMemAllocDesc>, size: u64, alignment: u64, on: u64, place: Out<u64>,
    ) {
        let (d, index) = device(on)?;
        let c = d.contexts.get(context)?;
        place.need()?;
        // One memory a device.
        if desc.get()?.ordinal != 0 {
            return Err(INVALID_ARGUMENT);
        }
        check(size, alignment, d.spec(index).memory)?;
        place.put(take(d, &c, index, size)?)
    }
    fn zeMemAllocShared(
        context: u64, desc: In<DeviceMemAllocDesc>, host: In<HostMemAllocDesc>, size: u64, alignment: u64, on: u64,
        place: Out<u64>,
    ) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        place.need()?;
        desc.get()?;
        host.get()?;
        // Without a device the memory may go to any; here to the first.
        let index = if on == 0 { d.visible[0] } else { device(on)?.1 };
        check(size, alignment, d.spec(index).memory)?;
        c.on(index)?;
        place.put(d.memory.alloc_managed(index, c.handle, size)?)
    }
    fn zeMemAllocHost(context: u64, desc: In<HostMemAllocDesc>, size: u64, alignment: u64, place: Out<u64>) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        place.need()?;
        desc.get()?;
        check(size, alignment, u64::MAX)?;
        place.put(d.memory.alloc_host(d.visible[0], c.handle, size, 0)?)
    }
    fn zeMemFree(context: u64, at: u64) {
        free(context, at)
    }
    /// With either policy: freeing waits here, so that nothing is left to be put off.
    fn zeMemFreeExt(context: u64, desc: In<MemoryFreeExtDesc>, at: u64) {
        if !matches!(desc.get()?.free_policy, 0..=2) {
            return Err(INVALID_ENUMERATION);
        }
        free(context, at)
    }
    fn zeMemGetAllocProperties(
        context: u64, at: u64, place: Out<MemoryAllocationProperties>, on: Out<u64>,
    ) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        let mut p = place.get()?;
        let (kind, r) = match d.memory.find(at).filter(|r| c.has(r)) {
            None => (UNKNOWN, None),
            Some(r) => (
                match r.kind {
                    Kind::Host(_) | Kind::Registered(_) => HOST,
                    Kind::Managed => SHARED,
                    _ => DEVICE,
                },
                Some(r),
            ),
        };
        p.kind = kind;
        p.id = r.map_or(0, |r| r.id);
        p.page_size = r.map_or(0, |r| if kind == DEVICE { page_of(r.size) } else { 4096 });
        place.put(p)?;
        on.set(r.filter(|_| kind > HOST).map_or(0, |r| device_handle(r.device)));
        Ok(())
    }
    fn zeMemGetAddressRange(context: u64, at: u64, base: Out<u64>, size: Out<u64>) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        let r = d.memory.find(at).filter(|r| c.has(r)).ok_or(INVALID_ARGUMENT)?;
        base.set(r.base);
        size.set(r.size);
        Ok(())
    }
    fn zeMemGetIpcHandle(context: u64, at: u64, place: Out<[u8; 64]>) {
        let (d, _) = settled(context)?;
        place.need()?;
        place.put(d.memory.ipc_export(at)?)
    }
    fn zeMemOpenIpcHandle(context: u64, on: u64, ticket: IpcMemHandle, flags: u32, place: Out<u64>) {
        let (d, index) = device(on)?;
        let c = d.contexts.get(context)?;
        place.need()?;
        if flags & !0b11 != 0 {
            return Err(INVALID_ENUMERATION);
        }
        c.on(index)?;
        place.put(d.memory.ipc_open(&ticket.data, c.handle)?)
    }
    fn zeMemCloseIpcHandle(context: u64, at: u64) {
        let (d, _) = settled(context)?;
        Ok(d.memory.ipc_close(at)?)
    }
    fn zeContextMakeMemoryResident(context: u64, on: u64, at: u64, size: u64) {
        let (d, _) = device(on)?;
        d.contexts.get(context)?;
        if !d.memory.covers(at, size) {
            return Err(INVALID_ARGUMENT);
        }
        d.memory.touch(at, size);
        Ok(())
    }
    fn zeContextEvictMemory(context: u64, on: u64, at: u64, size: u64) {
        let (d, _) = device(on)?;
        d.contexts.get(context)?;
        if !d.memory.covers(at, size) {
            return Err(INVALID_ARGUMENT);
        }
        d.memory.evict(at, size);
        Ok(())
    }
}
