//! Physical memory: charged when it is made, given back when its last handle and its last mapping are gone.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fcsp_hook::backend::Backend;
use fcsp_hook::memory;
use fcsp_hook::process::Scope;
use fcsp_hook::setup::{Inside, SetupOnce, shielded};

use super::pages;
use crate::call_real;
use crate::ffi::acl::*;
use crate::ffi::rt::{MEM_DEV_SIDE, rtDrvMemHandle, rtDrvMemProp_t, rtError_t};
use crate::process::{Ascend, AscendDevice};

/// One piece of physical memory of a device.
struct Physical {
    device: &'static AscendDevice,
    bytes: u64,
}

impl Drop for Physical {
    fn drop(&mut self) {
        self.device.lost(self.bytes);
        self.device.release(self.bytes);
    }
}

#[derive(Default)]
struct Inner {
    /// By handle, with how many holds there are under that number.
    handles: HashMap<usize, (Arc<Physical>, u32)>,
    /// By address, with the length.
    mappings: BTreeMap<u64, (u64, Arc<Physical>)>,
}

/// What is known of physical memory, made on first use.
struct Books(Mutex<Inner>);

static BOOKS: AtomicPtr<Books> = AtomicPtr::new(core::ptr::null_mut());

fn with<R>(work: impl FnOnce(&mut Inner) -> R) -> R {
    // Acquire: made before its address was published.
    let known = BOOKS.load(Ordering::Acquire);
    // SAFETY: books are leaked, never freed.
    let books = match unsafe { known.as_ref() } {
        Some(books) => books,
        None => SetupOnce::publish(&BOOKS, || Books(Mutex::default())),
    };
    work(&mut books.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// In a forked child: a fresh page. The old one may hold the lock of a thread that does not exist here.
pub fn forget_everything() {
    BOOKS.store(core::ptr::null_mut(), Ordering::Release);
}

/// Makes physical memory on `device`, or elsewhere for `None`.
fn make(
    what: &'static str,
    device: Option<i32>,
    size: usize,
    handle: *mut *mut c_void,
    call: &dyn Fn() -> aclError,
) -> aclError {
    shielded(ACL_ERROR_FAILURE, || {
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let Some(ordinal) = device else { return call() };
        let device = match Ascend::process().scope_of(ordinal) {
            Scope::On(device, _) => device,
            Scope::Pass => return call(),
            Scope::Refuse => return ACL_ERROR_RT_MEMORY_ALLOCATION,
        };
        // Physical memory comes in large pages however little is asked for.
        let bytes = pages((size as u64).max((1 << 20) + 1));
        let result = memory::take(device, what, bytes, call);
        if result == ACL_SUCCESS {
            // SAFETY: the driver has written there with success.
            let made = unsafe { *handle } as usize;
            with(|inner| {
                inner
                    .handles
                    .insert(made, (Arc::new(Physical { device, bytes }), 1))
            });
        }
        result
    })
}

/// `aclrtMallocPhysical`.
pub unsafe extern "C" fn aclrtMallocPhysical(
    handle: *mut aclrtDrvMemHandle,
    size: usize,
    prop: *const aclrtPhysicalMemProp,
    flags: u64,
) -> aclError {
    // SAFETY: the caller passes properties or null, as the driver requires.
    let device = unsafe { prop.as_ref() }
        .filter(|prop| prop.location.type_ == ACL_MEM_LOCATION_TYPE_DEVICE)
        .and_then(|prop| i32::try_from(prop.location.id).ok());
    make("aclrtMallocPhysical", device, size, handle, &|| {
        call_real!(aclrtMallocPhysical(handle, size, prop, flags))
    })
}

/// `rtMallocPhysical`.
pub unsafe extern "C" fn rtMallocPhysical(
    handle: *mut rtDrvMemHandle,
    size: usize,
    prop: *mut rtDrvMemProp_t,
    flags: u64,
) -> rtError_t {
    // SAFETY: as in `aclrtMallocPhysical`.
    let device = unsafe { prop.as_ref() }
        .filter(|prop| prop.side == MEM_DEV_SIDE)
        .and_then(|prop| i32::try_from(prop.devid).ok());
    make("rtMallocPhysical", device, size, handle, &|| {
        call_real!(rtMallocPhysical(handle, size, prop, flags))
    })
}

macro_rules! free_physical {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: mappings keep the memory alive.")]
        pub unsafe extern "C" fn $name(handle: aclrtDrvMemHandle) -> aclError {
            shielded(ACL_ERROR_FAILURE, || {
                let call = || call_real!($name(handle));
                let Some(_inside) = Inside::enter() else { return call() };
                let key = handle as usize;
                // Out first: the driver may give the number to the next handle at once.
                let taken = with(|inner| match inner.handles.get_mut(&key) {
                    Some((physical, count)) if *count > 1 => {
                        *count -= 1;
                        Some(physical.clone())
                    }
                    Some(_) => inner.handles.remove(&key).map(|(physical, _)| physical),
                    None => None,
                });
                let Some(physical) = taken else { return call() };
                let result = call();
                if result != ACL_SUCCESS {
                    with(|inner| {
                        let back = inner.handles.entry(key);
                        back.and_modify(|(_, count)| *count += 1).or_insert((physical, 1));
                    });
                }
                result
            })
        }
    )*};
}
free_physical!(aclrtFreePhysical, rtFreePhysical);

macro_rules! map {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: the mapping keeps the memory alive.")]
        pub unsafe extern "C" fn $name(
            virPtr: *mut c_void,
            size: usize,
            offset: usize,
            handle: aclrtDrvMemHandle,
            flags: u64,
        ) -> aclError {
            shielded(ACL_ERROR_FAILURE, || {
                let call = || call_real!($name(virPtr, size, offset, handle, flags));
                let Some(_inside) = Inside::enter() else { return call() };
                let result = call();
                if result == ACL_SUCCESS {
                    with(|inner| {
                        if let Some((physical, _)) = inner.handles.get(&(handle as usize)) {
                            let physical = physical.clone();
                            inner.mappings.insert(virPtr as u64, (size as u64, physical));
                        }
                    });
                }
                result
            })
        }
    )*};
}
map!(aclrtMapMem, rtMapMem);

macro_rules! unmap {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(virPtr: *mut c_void) -> aclError {
            shielded(ACL_ERROR_FAILURE, || {
                let call = || call_real!($name(virPtr));
                let Some(_inside) = Inside::enter() else { return call() };
                let at = virPtr as u64;
                // Out first: another thread may map at the address as soon as it is free.
                let ended = with(|inner| inner.mappings.remove(&at));
                let result = call();
                if result != ACL_SUCCESS && let Some(mapping) = ended {
                    with(|inner| inner.mappings.insert(at, mapping));
                }
                result
            })
        }
    )*};
}
unmap!(aclrtUnmapMem, rtUnmapMem);

/// `aclrtMemRetainAllocationHandle`: one more hold on the memory mapped at `virPtr`.
pub unsafe extern "C" fn aclrtMemRetainAllocationHandle(
    virPtr: *mut c_void,
    handle: *mut aclrtDrvMemHandle,
) -> aclError {
    shielded(ACL_ERROR_FAILURE, || {
        let call = || call_real!(aclrtMemRetainAllocationHandle(virPtr, handle));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let result = call();
        if result == ACL_SUCCESS {
            let at = virPtr as u64;
            // SAFETY: read after the driver has written there with success.
            let key = unsafe { *handle } as usize;
            with(|inner| {
                let mapped = inner.mappings.range(..=at).next_back();
                let Some(physical) = mapped
                    .filter(|&(&start, &(length, _))| at < start.saturating_add(length))
                    .map(|(_, (_, physical))| physical.clone())
                else {
                    return;
                };
                let held = inner.handles.entry(key);
                held.and_modify(|(_, count)| *count += 1).or_insert((physical, 1));
            });
        }
        result
    })
}
