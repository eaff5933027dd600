//! Virtual memory calls, and external memory imported from a file descriptor.

use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, NOT_SUPPORTED, Reply};
use crate::driver::{current, current_or_none, driver};
use crate::export::api;
use crate::memory::Location;
use fcsp_sim::host::PAGE;
use fcsp_sim::vmm::{Access, Properties};

/// A request for physical memory.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Prop {
    kind: i32,
    handles: i32,
    location: Location,
    windows: u64,
    flags: u64,
}

/// The access of one place to memory.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AccessDesc {
    location: Location,
    flags: i32,
}

/// Memory of another API, brought in by a descriptor.
#[derive(Debug)]
pub struct External {
    handle: u64,
    mapped: std::sync::Mutex<Vec<(u64, u64)>>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ExternalDesc {
    kind: i32,
    _gap: i32,
    fd: i32,
    // The descriptor's place is a union with two pointers.
    _rest: [i32; 3],
    size: u64,
    flags: u32,
    _reserved: [u32; 16],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BufferDesc {
    offset: u64,
    size: u64,
    flags: u32,
    _reserved: [u32; 16],
}

const FD: i32 = 1;

fn properties(p: &Prop) -> Reply<Properties> {
    if p.kind != 1 || p.handles & !FD != 0 {
        return Err(if p.kind == 1 {
            NOT_SUPPORTED
        } else {
            INVALID_VALUE
        });
    }
    let device = match p.location.kind {
        1 => Some(driver()?.device(p.location.id)?),
        2..=4 => None,
        _ => return Err(INVALID_VALUE),
    };
    Ok(Properties {
        device,
        exportable: p.handles as u32,
    })
}

/// Returns the model's number of physical memory.
fn physical(handle: u64) -> Reply<u64> {
    let number = driver()?.physical.get(handle);
    Ok(*number.map_err(|_| INVALID_VALUE)?)
}

/// Returns a handle for physical memory: the one it has, or a new one.
fn handle_of(id: u64) -> Reply<u64> {
    let handles = &driver()?.physical;
    let known = handles.handle_of(|p| *p == id);
    Ok(known.unwrap_or_else(|| handles.add(id)))
}

fn settle() -> Reply {
    if let Some(c) = current_or_none()
        && !fcsp_sim::stream::on_device_thread()
    {
        c.timeline.synchronise()?;
    }
    Ok(())
}

fn unmap(at: u64, size: u64) -> Reply {
    settle()?;
    Ok(driver()?.memory.physical_unmap(at, size)?)
}

api! {
    fn cuMemGetAllocationGranularity(size: Out<u64>, prop: In<Prop>, option: i32) {
        properties(&prop.get()?)?;
        if !(0..=1).contains(&option) {
            return Err(INVALID_VALUE);
        }
        size.put(PAGE)
    }
    fn cuMemAddressReserve(place: Out<u64>, size: u64, align: u64, hint: u64, flags: u64) {
        place.need()?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        place.put(driver()?.memory.space_reserve(size, align, hint)?)
    }
    fn cuMemAddressFree(at: u64, size: u64) {
        Ok(driver()?.memory.space_free(at, size)?)
    }
    fn cuMemCreate(place: Out<u64>, size: u64, prop: In<Prop>, flags: u64) {
        place.need()?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        let p = properties(&prop.get()?)?;
        place.put(driver()?.physical.add(driver()?.memory.physical_create(size, p)?))
    }
    /// A handle that is released already is refused by a code; measured.
    fn cuMemRelease(handle: u64) {
        let d = driver()?;
        let id = *d.physical.checked(handle).map_err(|_| INVALID_VALUE)?;
        d.memory.physical_release(id)?;
        if d.memory.physical_properties(id).is_err() {
            let _ = d.physical.take(handle);
        }
        Ok(())
    }
    fn cuMemMap(at: u64, size: u64, offset: u64, handle: u64, flags: u64) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        Ok(driver()?.memory.physical_map(at, size, offset, physical(handle)?)?)
    }
    fn cuMemUnmap(at: u64, size: u64) {
        unmap(at, size)
    }
    fn cuMemSetAccess(at: u64, size: u64, list: In<AccessDesc>, n: u64) {
        for i in 0..n as usize {
            let a = list.at(i)?;
            let access = match a.flags {
                0 => Access::None,
                1 => Access::Read,
                3 => Access::ReadWrite,
                _ => return Err(INVALID_VALUE),
            };
            driver()?.memory.physical_access(at, size, access)?;
        }
        Ok(())
    }
    fn cuMemGetAccess(flags: Out<u64>, location: In<Location>, at: u64) {
        location.get()?;
        flags.put(match driver()?.memory.physical_granted(at)? {
            Access::None => 0,
            Access::Read => 1,
            Access::ReadWrite => 3,
        })
    }
    fn cuMemRetainAllocationHandle(place: Out<u64>, at: u64) {
        place.need()?;
        place.put(handle_of(driver()?.memory.physical_retain(at)?)?)
    }
    fn cuMemGetAllocationPropertiesFromHandle(prop: Out<Prop>, handle: u64) {
        let d = driver()?;
        let (p, _) = d.memory.physical_properties(physical(handle)?)?;
        let location = match p.device {
            Some(device) => Location { kind: 1, id: d.ordinal(device) },
            None => Location { kind: 2, id: 0 },
        };
        prop.put(Prop { kind: 1, handles: p.exportable as i32, location, windows: 0, flags: 0 })
    }
    fn cuMemExportToShareableHandle(place: Out<i32>, handle: u64, kind: i32, flags: u64) {
        place.need()?;
        if kind != FD || flags != 0 {
            return Err(if kind == FD { INVALID_VALUE } else { NOT_SUPPORTED });
        }
        place.put(driver()?.memory.physical_export(physical(handle)?)?)
    }
    fn cuMemImportFromShareableHandle(place: Out<u64>, fd: u64, kind: i32) {
        place.need()?;
        if kind != FD {
            return Err(NOT_SUPPORTED);
        }
        place.put(driver()?.physical.add(driver()?.memory.physical_import(fd as i32)?))
    }
    /// Descriptors that `cuMemExportToShareableHandle` made are the only ones there are to import.
    fn cuImportExternalMemory(place: Out<u64>, desc: In<ExternalDesc>) {
        place.need()?;
        current()?;
        let e = desc.get()?;
        if e.kind != FD {
            return Err(NOT_SUPPORTED);
        }
        let d = driver()?;
        let handle = d.memory.physical_import(e.fd)?;
        if d.memory.physical_properties(handle)?.1 < e.size {
            d.memory.physical_release(handle)?;
            return Err(INVALID_VALUE);
        }
        // As the API says of a successful import: the descriptor is the driver's from here on.
        // SAFETY: the caller handed the descriptor over and may not use it any more.
        unsafe { libc::close(e.fd) };
        place.put(d.externals.add(External { handle, mapped: Default::default() }))
    }
    fn cuExternalMemoryGetMappedBuffer(place: Out<u64>, external: u64, desc: In<BufferDesc>) {
        place.need()?;
        let d = driver()?;
        let e = d.externals.get(external)?;
        let b = desc.get()?;
        let (_, size) = d.memory.physical_properties(e.handle)?;
        if b.flags != 0 || b.offset.checked_add(b.size).is_none_or(|end| end > size) {
            return Err(INVALID_VALUE);
        }
        let at = d.memory.space_reserve(size, 0, 0)?;
        d.memory.physical_map(at, size, 0, e.handle)?;
        d.memory.physical_access(at, size, Access::ReadWrite)?;
        e.mapped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, size));
        place.put(at + b.offset)
    }
    fn cuDestroyExternalMemory(external: u64) {
        let d = driver()?;
        let e = d.externals.remove(external)?;
        settle()?;
        for (at, size) in e.mapped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..) {
            d.memory.physical_unmap(at, size)?;
            d.memory.space_free(at, size)?;
        }
        Ok(d.memory.physical_release(e.handle)?)
    }
}
