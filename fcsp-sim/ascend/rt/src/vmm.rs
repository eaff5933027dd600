//! Physical memory and reserved addresses.

use crate::abi::{In, Out};
use crate::codes::{PARAM_INVALID, Reply};
use crate::driver::{current, driver};
use crate::export::api;
use fcsp_sim::host::PAGE;
use fcsp_sim::vmm::{Access, Properties};
use std::sync::PoisonError;

/// `rtDrvMemProp_t` as ACL fills it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Physical {
    /// 0 host, 1 device.
    side: u32,
    device: u32,
    _module: u32,
    _page: u32,
    _kind: u32,
    _reserve: u64,
}

fn whole(size: u64) -> Reply<u64> {
    size.checked_next_multiple_of(PAGE)
        .filter(|n| *n > 0)
        .ok_or(PARAM_INVALID)
}

api! {
    fn rtMallocPhysical(place: Out<u64>, size: u64, property: In<Physical>, flags: u64) {
        place.need()?;
        let p = property.get()?;
        if flags != 0 {
            return Err(PARAM_INVALID);
        }
        let d = driver()?;
        let device = if p.side == 1 { Some(d.device(p.device as i32)?) } else { None };
        let handle = d.memory.physical_create(whole(size)?, Properties { device, exportable: 0 })?;
        place.put(handle)
    }
    fn rtFreePhysical(handle: u64) {
        Ok(driver()?.memory.physical_release(handle)?)
    }
    fn rtReserveMemAddress(place: Out<u64>, size: u64, alignment: u64, hint: u64, _flags: u64) {
        place.need()?;
        current()?;
        let d = driver()?;
        let size = whole(size)?;
        let at = d.memory.space_reserve(size, alignment, hint)?;
        d.spaces.lock().unwrap_or_else(PoisonError::into_inner).insert(at, size);
        place.put(at)
    }
    fn rtReleaseMemAddress(at: u64) {
        let d = driver()?;
        let mut spaces = d.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let size = *spaces.get(&at).ok_or(PARAM_INVALID)?;
        d.memory.space_free(at, size)?;
        spaces.remove(&at);
        Ok(())
    }
    fn rtMapMem(at: u64, size: u64, offset: u64, handle: u64, flags: u64) {
        if flags != 0 {
            return Err(PARAM_INVALID);
        }
        let d = driver()?;
        let size = whole(size)?;
        d.memory.physical_map(at, size, offset, handle)?;
        // Mapped memory is at once the device's to use.
        d.memory.physical_access(at, size, Access::ReadWrite)?;
        d.mapped.lock().unwrap_or_else(PoisonError::into_inner).insert(at, size);
        Ok(())
    }
    fn rtUnmapMem(at: u64) {
        let d = driver()?;
        let mut mapped = d.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let size = *mapped.get(&at).ok_or(PARAM_INVALID)?;
        d.memory.physical_unmap(at, size)?;
        mapped.remove(&at);
        Ok(())
    }
    fn rtMemGetAllocationGranularity(_property: In<Physical>, _option: i32, granularity: Out<u64>) {
        granularity.put(PAGE)
    }
}
