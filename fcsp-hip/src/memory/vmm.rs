//! Physical memory by handle and mapping: it lives while any handle or any mapping of it does, and is charged to the
//! device that its properties name, for just as long.

use core::ffi::c_void;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fcsp_hook::memory;

use super::books;
use crate::call_real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::process::{Device, Inside, Scope, scope, scope_of, shielded};

/// One piece of physical memory. Dropped with its last handle and mapping, which gives its bytes back.
pub struct Physical {
    device: &'static Device,
    bytes: u64,
}

impl Drop for Physical {
    fn drop(&mut self) {
        self.device.lost(self.bytes);
        self.device.release(self.bytes);
    }
}

/// Handles and mappings.
#[derive(Default)]
pub struct Books {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By handle: the memory and how many times the handle is held.
    handles: HashMap<u64, (Arc<Physical>, u32)>,
    /// By first address: length and, where it is ours, the memory.
    mappings: BTreeMap<u64, (u64, Arc<Physical>)>,
}

impl Books {
    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `hipMemCreate`: charged to the device in the properties; memory placed on the host is not charged.
pub unsafe extern "C" fn hipMemCreate(
    handle: *mut hipMemGenericAllocationHandle_t,
    size: usize,
    prop: *const hipMemAllocationProp,
    flags: u64,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let call = || call_real!(hipMemCreate(handle, size, prop, flags));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // SAFETY: the caller passes properties or null, as the driver requires.
        let Some(properties) = (unsafe { prop.as_ref() }) else {
            return call();
        };
        if properties.location.type_ != hipMemLocationTypeDevice {
            return call();
        }
        // What the runtime takes for itself on the current device comes with this call as with any other.
        if matches!(scope(), Scope::Refuse) {
            return answered(hipErrorOutOfMemory);
        }
        let device = match scope_of(properties.location.id) {
            Scope::On(device, _) => device,
            Scope::Pass => return call(),
            Scope::Refuse => return answered(hipErrorOutOfMemory),
        };
        let bytes = size as u64;
        let result = memory::take(device, "hipMemCreate", bytes, call);
        if result != hipSuccess {
            return answered(result);
        }
        let physical = Arc::new(Physical { device, bytes });
        // SAFETY: read after the driver has written there with success.
        let key = unsafe { *handle } as u64;
        books()
            .physical
            .with(|inner| inner.handles.insert(key, (physical, 1)));
        result
    })
}

/// `hipMemRelease`.
pub unsafe extern "C" fn hipMemRelease(handle: hipMemGenericAllocationHandle_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let call = || call_real!(hipMemRelease(handle));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // Out first: the driver may give the number to the next handle at once.
        let taken = books()
            .physical
            .with(|inner| match inner.handles.get_mut(&(handle as u64)) {
                Some((physical, count)) if *count > 1 => {
                    *count -= 1;
                    Some(physical.clone())
                }
                Some(_) => inner
                    .handles
                    .remove(&(handle as u64))
                    .map(|(physical, _)| physical),
                None => None,
            });
        let Some(physical) = taken else { return call() };
        let change = physical.device.change();
        let device = physical.device;
        let result = call();
        if result == hipSuccess {
            drop(physical);
        } else {
            books().physical.with(|inner| {
                inner
                    .handles
                    .entry(handle as u64)
                    .and_modify(|(_, count)| *count += 1)
                    .or_insert((physical, 1));
            });
        }
        drop(change);
        device.overhead_changed();
        result
    })
}

/// `hipMemMap`: the mapping keeps the memory alive.
pub unsafe extern "C" fn hipMemMap(
    ptr: *mut c_void,
    size: usize,
    offset: usize,
    handle: hipMemGenericAllocationHandle_t,
    flags: u64,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipMemMap(ptr, size, offset, handle, flags));
        if result == hipSuccess
            && let Some(_inside) = Inside::enter()
        {
            books().physical.with(|inner| {
                if let Some((physical, _)) = inner.handles.get(&(handle as u64)) {
                    let physical = physical.clone();
                    inner.mappings.insert(ptr as u64, (size as u64, physical));
                }
            });
        }
        result
    })
}

/// `hipMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn hipMemUnmap(ptr: *mut c_void, size: usize) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let call = || call_real!(hipMemUnmap(ptr, size));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let start = ptr as u64;
        let end = start.saturating_add(size as u64);
        let ended: Vec<(u64, (u64, Arc<Physical>))> = books().physical.with(|inner| {
            let keys: Vec<u64> = inner.mappings.range(start..end).map(|(&at, _)| at).collect();
            keys.into_iter()
                .filter_map(|at| inner.mappings.remove_entry(&at))
                .collect()
        });
        let changes: Vec<_> = ended.iter().map(|(_, (_, physical))| physical.device).collect();
        let guards: Vec<_> = changes.iter().map(|device| device.change()).collect();
        let result = call();
        if result == hipSuccess {
            drop(ended);
        } else {
            books().physical.with(|inner| inner.mappings.extend(ended));
        }
        drop(guards);
        result
    })
}

/// `hipMemRetainAllocationHandle`: one more handle for the memory mapped at `addr`.
pub unsafe extern "C" fn hipMemRetainAllocationHandle(
    handle: *mut hipMemGenericAllocationHandle_t,
    addr: *mut c_void,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipMemRetainAllocationHandle(handle, addr));
        if result == hipSuccess
            && let Some(_inside) = Inside::enter()
        {
            let at = addr as u64;
            // SAFETY: read after the driver has written there with success.
            let key = unsafe { *handle } as u64;
            books().physical.with(|inner| {
                let mapped = inner.mappings.range(..=at).next_back();
                let Some(physical) = mapped
                    .filter(|&(&start, &(length, _))| at < start.saturating_add(length))
                    .map(|(_, (_, physical))| physical.clone())
                else {
                    return;
                };
                inner
                    .handles
                    .entry(key)
                    .and_modify(|(_, count)| *count += 1)
                    .or_insert((physical, 1));
            });
        }
        result
    })
}
