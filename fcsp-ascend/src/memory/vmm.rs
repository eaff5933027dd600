//! Physical memory: charged when it is made, given back when its last handle and its last mapping
//! are gone.

use core::ffi::c_void;

use fcsp_hook::backend::Driver;
use fcsp_hook::memory::or_wrong_argument;
use fcsp_hook::memory::physical::Books;
use fcsp_hook::process::Target;
use fcsp_hook::setup::{Reentry, catch_panic};

use super::pages;
use crate::call_real;
use crate::ffi::acl::*;
use crate::ffi::rt::{MEM_DEV_SIDE, rtDrvMemHandle, rtDrvMemProp_t, rtError_t};
use crate::vendor::Ascend;

/// Physical memory by handle and mapping.
pub static PHYSICAL: Books<Ascend> = Books::new();

/// Makes physical memory on `device`, or elsewhere for `None`.
fn make(
    what: &'static str,
    device: Option<i32>,
    size: usize,
    handle: *mut *mut c_void,
    call: &dyn Fn() -> aclError,
    undo: &dyn Fn(),
) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let Some(ordinal) = device else { return call() };
        let device = match Ascend::process().target_of(ordinal) {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return ACL_ERROR_RT_MEMORY_ALLOCATION,
        };
        // Physical memory comes in large pages however little is asked for.
        let bytes = pages((size as u64).max((1 << 20) + 1));
        // SAFETY: read after the driver has written there with success.
        let result = PHYSICAL.create(device, 0, what, bytes, call, || unsafe { *handle } as u64);
        let usable = || size > 0 && !handle.is_null();
        or_wrong_argument::<Ascend>(result, usable, call, undo)
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
    let call = || call_real!(aclrtMallocPhysical(handle, size, prop, flags));
    make("aclrtMallocPhysical", device, size, handle, &call, &|| {
        // SAFETY: the driver has written there with success.
        let made = unsafe { *handle };
        call_real!(aclrtFreePhysical(made));
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
    let call = || call_real!(rtMallocPhysical(handle, size, prop, flags));
    make("rtMallocPhysical", device, size, handle, &call, &|| {
        // SAFETY: as in `aclrtMallocPhysical`.
        let made = unsafe { *handle };
        call_real!(rtFreePhysical(made));
    })
}

macro_rules! free_physical {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: mappings keep the memory alive.")]
        pub unsafe extern "C" fn $name(handle: aclrtDrvMemHandle) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || PHYSICAL.release(handle as u64, || call_real!($name(handle))))
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
            let call = || call_real!($name(virPtr, size, offset, handle, flags));
            catch_panic(ACL_ERROR_FAILURE, || PHYSICAL.map(handle as u64, virPtr as u64, size as u64, call))
        }
    )*};
}
map!(aclrtMapMem, rtMapMem);

macro_rules! unmap {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(virPtr: *mut c_void) -> aclError {
            // The mapping that begins there, and no other.
            catch_panic(ACL_ERROR_FAILURE, || PHYSICAL.unmap(virPtr as u64, 1, || call_real!($name(virPtr))))
        }
    )*};
}
unmap!(aclrtUnmapMem, rtUnmapMem);

/// `aclrtMemRetainAllocationHandle`: one more hold on the memory mapped at `virPtr`.
pub unsafe extern "C" fn aclrtMemRetainAllocationHandle(
    virPtr: *mut c_void,
    handle: *mut aclrtDrvMemHandle,
) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let call = || call_real!(aclrtMemRetainAllocationHandle(virPtr, handle));
        // SAFETY: read after the driver has written there with success.
        PHYSICAL.retain(virPtr as u64, call, || unsafe { *handle } as u64)
    })
}
