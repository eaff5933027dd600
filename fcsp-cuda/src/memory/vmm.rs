//! Physical memory by handle and mapping: it lives while any handle or any mapping of it does, and is charged to the
//! device that its properties name, for just as long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fcsp_hook::backend::Backend;
use fcsp_hook::memory;

use super::{Origin, books};
use crate::call_real;
use crate::ffi::cuda::*;
use crate::process::{Cuda, Device, Inside, Record, Scope, scope_of, shielded};

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

/// `cuMemCreate`: charged to the device in the properties; memory placed on the host is not charged.
pub unsafe extern "C" fn cuMemCreate(
    handle: *mut CUmemGenericAllocationHandle,
    size: usize,
    prop: *const CUmemAllocationProp,
    flags: u64,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuMemCreate(handle, size, prop, flags));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // SAFETY: the caller passes properties or null, as the driver requires.
        let Some(properties) = (unsafe { prop.as_ref() }) else {
            return call();
        };
        if properties.location.type_ != CU_MEM_LOCATION_TYPE_DEVICE {
            return call();
        }
        let device = match scope_of(properties.location.id) {
            Scope::On(device, _) => device,
            Scope::Pass => return call(),
            Scope::Refuse => return CUDA_ERROR_OUT_OF_MEMORY,
        };
        let bytes = size as u64;
        let result = memory::take(device, "cuMemCreate", bytes, call);
        if result != CUDA_SUCCESS {
            return result;
        }
        let physical = Arc::new(Physical { device, bytes });
        // SAFETY: read after the driver has written there with success.
        let key = unsafe { *handle };
        books()
            .physical
            .with(|inner| inner.handles.insert(key, (physical, 1)));
        result
    })
}

/// `cuMemRelease`.
pub unsafe extern "C" fn cuMemRelease(handle: CUmemGenericAllocationHandle) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuMemRelease(handle));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // Out first: the driver may give the number to the next handle at once.
        let taken = books()
            .physical
            .with(|inner| match inner.handles.get_mut(&handle) {
                Some((physical, count)) if *count > 1 => {
                    *count -= 1;
                    Some(physical.clone())
                }
                Some(_) => inner.handles.remove(&handle).map(|(physical, _)| physical),
                None => None,
            });
        let Some(physical) = taken else { return call() };
        let change = physical.device.change();
        let device = physical.device;
        let result = call();
        if result == CUDA_SUCCESS {
            drop(physical);
        } else {
            books().physical.with(|inner| {
                inner
                    .handles
                    .entry(handle)
                    .and_modify(|(_, count)| *count += 1)
                    .or_insert((physical, 1));
            });
        }
        drop(change);
        device.overhead_changed();
        result
    })
}

/// `cuMemMap`: the mapping keeps the memory alive.
pub unsafe extern "C" fn cuMemMap(
    ptr: CUdeviceptr,
    size: usize,
    offset: usize,
    handle: CUmemGenericAllocationHandle,
    flags: u64,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemMap(ptr, size, offset, handle, flags));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Inside::enter()
        {
            books().physical.with(|inner| {
                if let Some((physical, _)) = inner.handles.get(&handle) {
                    let physical = physical.clone();
                    inner.mappings.insert(ptr, (size as u64, physical));
                }
            });
        }
        result
    })
}

/// `cuMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn cuMemUnmap(ptr: CUdeviceptr, size: usize) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuMemUnmap(ptr, size));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let end = ptr.saturating_add(size as u64);
        let ended: Vec<(u64, (u64, Arc<Physical>))> = books().physical.with(|inner| {
            let keys: Vec<u64> = inner.mappings.range(ptr..end).map(|(&at, _)| at).collect();
            keys.into_iter()
                .filter_map(|at| inner.mappings.remove_entry(&at))
                .collect()
        });
        let changes: Vec<_> = ended.iter().map(|(_, (_, physical))| physical.device).collect();
        let guards: Vec<_> = changes.iter().map(|device| device.change()).collect();
        let result = call();
        if result == CUDA_SUCCESS {
            drop(ended);
        } else {
            books().physical.with(|inner| inner.mappings.extend(ended));
        }
        drop(guards);
        result
    })
}

/// `cuMemRetainAllocationHandle`: one more handle for the memory mapped at `addr`.
pub unsafe extern "C" fn cuMemRetainAllocationHandle(
    handle: *mut CUmemGenericAllocationHandle,
    addr: *mut core::ffi::c_void,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemRetainAllocationHandle(handle, addr));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Inside::enter()
        {
            let at = addr as u64;
            // SAFETY: read after the driver has written there with success.
            let key = unsafe { *handle };
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

macro_rules! map_array {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: memory mapped into a sparse array is kept until the array goes.")]
        pub unsafe extern "C" fn $name(mapInfoList: *mut CUarrayMapInfo, count: u32, hStream: CUstream) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                let result = call_real!($name(mapInfoList, count, hStream));
                if result == CUDA_SUCCESS && let Some(_inside) = Inside::enter() {
                    for index in 0..count as usize {
                        // SAFETY: the driver accepted a list of `count` entries at this address.
                        sparse(unsafe { &*mapInfoList.add(index) });
                    }
                }
                result
            })
        }
    )*};
}
map_array!(cuMemMapArrayAsync, cuMemMapArrayAsync_ptsz);

fn sparse(info: &CUarrayMapInfo) {
    if info.memOperationType != CU_MEM_OPERATION_TYPE_MAP {
        return;
    }
    // SAFETY: both members are a handle of pointer size.
    let array = unsafe { info.resource.array } as u64;
    let Some(physical) = books()
        .physical
        .with(|inner| inner.handles.get(&info.memHandle).map(|(p, _)| p.clone()))
    else {
        return;
    };
    let record = Record {
        device: physical.device,
        context: 0,
        bytes: 0,
        origin: memory::Origin::Own(Origin::Sparse(physical)),
    };
    // Keyed apart from the array's own record; one entry for each piece of memory mapped into it.
    Cuda::process()
        .live()
        .insert(sparse_key(array, info.memHandle), record);
}

fn sparse_key(array: u64, handle: u64) -> u64 {
    // Arrays are addresses, so the low bits are free; the handle is mixed into the high ones.
    array.rotate_left(17) ^ handle.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// An array is gone: memory mapped into it is let go if nothing else holds it.
pub(super) fn array_gone(array: u64) {
    let handles: Vec<u64> = books()
        .physical
        .with(|inner| inner.handles.keys().copied().collect());
    for handle in handles {
        Cuda::process().live().remove(sparse_key(array, handle));
    }
}
