//! Physical memory by handle and mapping: it is charged while its handle or any mapping of it lives.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fcsp_hook::setup::SetupOnce;

use super::pages;
use crate::call_real;
use crate::context;
use crate::ffi::ze::*;
use crate::process::{Device, Inside, LevelZero, Scope, scope_of, shielded};

/// One piece of physical memory. Dropped with its handle and last mapping, which gives its bytes back.
struct Physical {
    device: &'static Device,
    bytes: u64,
    context: usize,
}

impl Drop for Physical {
    fn drop(&mut self) {
        self.device.lost(self.bytes);
        self.device.release(self.bytes);
    }
}

/// By handle; and by first address, with the length.
#[derive(Default)]
struct Inner {
    handles: HashMap<usize, Arc<Physical>>,
    mappings: BTreeMap<u64, (u64, Arc<Physical>)>,
}

type Books = Mutex<Inner>;
static BOOKS: AtomicPtr<Books> = AtomicPtr::new(core::ptr::null_mut());

/// In a forked child: fresh books. The old ones may be locked by a thread that does not exist here.
pub fn forget_in_child() {
    BOOKS.store(core::ptr::null_mut(), Ordering::Release);
}

fn with<R>(work: impl FnOnce(&mut Inner) -> R) -> R {
    // Acquire: made before its address was published.
    let known = BOOKS.load(Ordering::Acquire);
    let books = if known.is_null() {
        SetupOnce::publish(&BOOKS, Books::default)
    } else {
        // SAFETY: leaked, never freed.
        unsafe { &*known }
    };
    work(&mut books.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Forgets what was made in a context that is gone.
pub fn context_died(context: usize) {
    let gone = with(|inner| {
        let mut gone = Vec::new();
        inner.handles.retain(|_, physical| {
            let stays = physical.context != context;
            if !stays {
                gone.push(physical.clone());
            }
            stays
        });
        inner.mappings.retain(|_, (_, physical)| {
            let stays = physical.context != context;
            if !stays {
                gone.push(physical.clone());
            }
            stays
        });
        gone
    });
    // Outside the lock: dropping them changes the device's account.
    drop(gone);
}

/// Placed on the host, by a later version of the API.
const ON_HOST: ze_physical_mem_flags_t = 1 << 1;

/// `zePhysicalMemCreate`.
pub unsafe extern "C" fn zePhysicalMemCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *mut ze_physical_mem_desc_t,
    phPhysicalMemory: *mut ze_physical_mem_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zePhysicalMemCreate(hContext, hDevice, desc, phPhysicalMemory));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // SAFETY: the caller passes a description or null.
        let Some(wanted) = (unsafe { desc.as_ref() }) else {
            return call();
        };
        if phPhysicalMemory.is_null() || wanted.flags & ON_HOST != 0 {
            return call();
        }
        let device = match scope_of(hDevice) {
            Scope::On(device, _) => device,
            Scope::Pass => return call(),
            Scope::Refuse => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
        };
        let bytes = pages(wanted.size as u64);
        let result = context::using(hContext, device, || {
            fcsp_hook::memory::take::<LevelZero>(device, "zePhysicalMemCreate", bytes, call)
        });
        if result != ZE_RESULT_SUCCESS {
            return result;
        }
        // SAFETY: read after the driver has written there with success.
        let handle = unsafe { *phPhysicalMemory };
        let physical = Arc::new(Physical {
            device,
            bytes,
            context: hContext as usize,
        });
        with(|inner| inner.handles.insert(handle as usize, physical));
        result
    })
}

/// `zePhysicalMemDestroy`.
pub unsafe extern "C" fn zePhysicalMemDestroy(
    hContext: ze_context_handle_t,
    hPhysicalMemory: ze_physical_mem_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zePhysicalMemDestroy(hContext, hPhysicalMemory));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        // Out first: the driver may give the handle to the next one at once.
        let key = hPhysicalMemory as usize;
        let Some(physical) = with(|inner| inner.handles.remove(&key)) else {
            return call();
        };
        let change = physical.device.change();
        let result = call();
        if result == ZE_RESULT_SUCCESS {
            drop(physical);
        } else {
            with(|inner| inner.handles.insert(key, physical));
        }
        drop(change);
        result
    })
}

/// `zeVirtualMemMap`: the mapping keeps the memory alive.
pub unsafe extern "C" fn zeVirtualMemMap(
    hContext: ze_context_handle_t,
    ptr: *const c_void,
    size: usize,
    hPhysicalMemory: ze_physical_mem_handle_t,
    offset: usize,
    access: ze_memory_access_attribute_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeVirtualMemMap(
            hContext,
            ptr,
            size,
            hPhysicalMemory,
            offset,
            access
        ));
        if result == ZE_RESULT_SUCCESS
            && let Some(_inside) = Inside::enter()
        {
            with(|inner| {
                if let Some(physical) = inner.handles.get(&(hPhysicalMemory as usize)).cloned() {
                    inner.mappings.insert(ptr as u64, (size as u64, physical));
                }
            });
        }
        result
    })
}

/// `zeVirtualMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn zeVirtualMemUnmap(
    hContext: ze_context_handle_t,
    ptr: *const c_void,
    size: usize,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zeVirtualMemUnmap(hContext, ptr, size));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let first = ptr as u64;
        let end = first.saturating_add(size as u64);
        let ended: Vec<(u64, (u64, Arc<Physical>))> = with(|inner| {
            let keys: Vec<u64> = inner.mappings.range(first..end).map(|(&at, _)| at).collect();
            keys.into_iter()
                .filter_map(|at| inner.mappings.remove_entry(&at))
                .collect()
        });
        let devices: Vec<_> = ended.iter().map(|(_, (_, physical))| physical.device).collect();
        let changes: Vec<_> = devices.iter().map(|device| device.change()).collect();
        let result = call();
        if result == ZE_RESULT_SUCCESS {
            drop(ended);
        } else {
            with(|inner| inner.mappings.extend(ended));
        }
        drop(changes);
        result
    })
}
