//! Virtual memory: addresses and physical memory have lives of their own.

use crate::abi::{In, Out};
use crate::codes::{INVALID_ENUMERATION, INVALID_SIZE, Reply, UNSUPPORTED_SIZE};
use crate::driver::{Context, device, driver};
use crate::export::api;
use crate::structs::PhysicalMemDesc;
use fcsp_sim::host::PAGE;
use fcsp_sim::vmm::{Access, Properties};
use std::sync::{Arc, PoisonError};

/// One piece of physical memory.
#[derive(Debug)]
pub struct Physical {
    /// Its context.
    pub context: Arc<Context>,
    /// The device model's own number of it.
    pub id: u64,
}

fn access(number: u32) -> Reply<Access> {
    Ok(match number {
        0 => Access::None,
        1 => Access::ReadWrite,
        2 => Access::Read,
        _ => return Err(INVALID_ENUMERATION),
    })
}

fn whole(size: u64) -> Reply {
    if size == 0 {
        return Err(INVALID_SIZE);
    }
    if size.is_multiple_of(PAGE) {
        Ok(())
    } else {
        Err(UNSUPPORTED_SIZE)
    }
}

api! {
    fn zeVirtualMemReserve(context: u64, start: u64, size: u64, place: Out<u64>) {
        let d = driver()?;
        d.contexts.get(context)?;
        place.need()?;
        whole(size)?;
        place.put(d.memory.space_reserve(size, 0, start)?)
    }
    fn zeVirtualMemFree(context: u64, at: u64, size: u64) {
        let d = driver()?;
        d.contexts.get(context)?;
        Ok(d.memory.space_free(at, size)?)
    }
    fn zeVirtualMemQueryPageSize(context: u64, on: u64, size: u64, place: Out<u64>) {
        let (d, _) = device(on)?;
        d.contexts.get(context)?;
        if size == 0 {
            return Err(INVALID_SIZE);
        }
        place.put(PAGE)
    }
    fn zePhysicalMemCreate(context: u64, on: u64, desc: In<PhysicalMemDesc>, place: Out<u64>) {
        let (d, index) = device(on)?;
        let c = d.contexts.get(context)?;
        place.need()?;
        let desc = desc.get()?;
        if desc.flags != 0 {
            return Err(INVALID_ENUMERATION);
        }
        whole(desc.size)?;
        c.on(index)?;
        let id = d.memory.physical_create(desc.size, Properties { device: Some(index), exportable: 0 })?;
        place.put(d.physical.add(Physical { context: c, id }))
    }
    fn zePhysicalMemDestroy(context: u64, handle: u64) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        let p = d.physical.remove(handle)?;
        c.must_be(&p.context, "physical memory", handle);
        Ok(d.memory.physical_release(p.id)?)
    }
    fn zeVirtualMemMap(context: u64, at: u64, size: u64, physical: u64, offset: u64, how: u32) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        let p = d.physical.get(physical)?;
        c.must_be(&p.context, "physical memory", physical);
        let how = access(how)?;
        whole(size)?;
        d.memory.physical_map(at, size, offset, p.id)?;
        d.memory.physical_access(at, size, how)?;
        c.mappings.lock().unwrap_or_else(PoisonError::into_inner).insert(at, size);
        Ok(())
    }
    fn zeVirtualMemUnmap(context: u64, at: u64, size: u64) {
        let d = driver()?;
        let c = d.contexts.get(context)?;
        c.settle()?;
        whole(size)?;
        d.memory.physical_unmap(at, size)?;
        c.mappings.lock().unwrap_or_else(PoisonError::into_inner).remove(&at);
        Ok(())
    }
    fn zeVirtualMemSetAccessAttribute(context: u64, at: u64, size: u64, how: u32) {
        let d = driver()?;
        d.contexts.get(context)?.settle()?;
        Ok(d.memory.physical_access(at, size, access(how)?)?)
    }
    fn zeVirtualMemGetAccessAttribute(context: u64, at: u64, size: u64, how: Out<u32>, covered: Out<u64>) {
        let d = driver()?;
        d.contexts.get(context)?;
        let granted = d.memory.physical_granted(at)?;
        let r = d.memory.find(at).ok_or(crate::codes::INVALID_ARGUMENT)?;
        how.put(match granted {
            Access::None => 0,
            Access::ReadWrite => 1,
            Access::Read => 2,
        })?;
        covered.put(size.min(r.base + r.size - at))
    }
}
