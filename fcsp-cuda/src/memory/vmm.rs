//! Physical memory by handle and mapping. It lives while any handle or mapping of it does. It is
//! charged to the device that its properties name, for the same time.

use std::sync::Arc;

use fcsp_hook::backend::Driver;
use fcsp_hook::family::vmm::{Request, create};
use fcsp_hook::memory;
use fcsp_hook::memory::physical::{Books, Physical};

use crate::call_real;
use crate::ffi::cuda::*;
use crate::vendor::{Cuda, Record, Reentry, Target, catch_panic, target_of};

/// Origin of an allocation that is not simply from the driver's heap.
#[derive(Clone)]
pub enum Origin {
    /// Physical memory mapped into a sparse array, kept alive by it.
    Sparse(Arc<Physical<Cuda>>),
}

/// Physical memory by handle and mapping.
pub static PHYSICAL: Books<Cuda> = Books::new();

/// Physical memory on a device comes in multiples of so many bytes (measured, H100, driver 580).
const GRANULARITY: usize = 2 << 20;

/// `cuMemCreate`: charged to the device in the properties; memory placed on the host is not
/// charged.
pub unsafe extern "C" fn cuMemCreate(
    handle: *mut CUmemGenericAllocationHandle,
    size: usize,
    prop: *const CUmemAllocationProp,
    flags: u64,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuMemCreate(handle, size, prop, flags));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        // SAFETY: the caller passes properties or null, as the driver requires.
        let Some(properties) = (unsafe { prop.as_ref() }) else {
            return call();
        };
        if properties.location.type_ != CU_MEM_LOCATION_TYPE_DEVICE {
            return call();
        }
        let device = match target_of(properties.location.id) {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return CUDA_ERROR_OUT_OF_MEMORY,
        };
        let request = Request {
            what: "cuMemCreate",
            bytes: size,
            grain: GRANULARITY,
            is_usable: !handle.is_null()
                && flags == 0
                && properties.type_ == CU_MEM_ALLOCATION_TYPE_PINNED,
        };
        let call = |size| call_real!(cuMemCreate(handle, size, prop, flags));
        // SAFETY: read after the driver has written there with success.
        let made = || unsafe { *handle };
        create(&PHYSICAL, device, request, call, made, |handle| {
            call_real!(cuMemRelease(handle));
        })
    })
}

/// `cuMemRelease`.
pub unsafe extern "C" fn cuMemRelease(handle: CUmemGenericAllocationHandle) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        PHYSICAL.release(handle, || call_real!(cuMemRelease(handle)))
    })
}

/// `cuMemExportToShareableHandle`: from here on the memory may outlive what this process knows of
/// it.
pub unsafe extern "C" fn cuMemExportToShareableHandle(
    shareableHandle: *mut core::ffi::c_void,
    handle: CUmemGenericAllocationHandle,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemExportToShareableHandle(
            shareableHandle,
            handle,
            handleType,
            flags
        ));
        if result == CUDA_SUCCESS
            && let Some(_inside) = Reentry::enter()
        {
            PHYSICAL.exported(handle);
        }
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
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        PHYSICAL.map(handle, ptr, size as u64, || {
            call_real!(cuMemMap(ptr, size, offset, handle, flags))
        })
    })
}

/// `cuMemUnmap`: one call may end several mappings.
pub unsafe extern "C" fn cuMemUnmap(ptr: CUdeviceptr, size: usize) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        PHYSICAL.unmap(ptr, size as u64, || call_real!(cuMemUnmap(ptr, size)))
    })
}

/// `cuMemRetainAllocationHandle`: one more handle for the memory mapped at `addr`.
pub unsafe extern "C" fn cuMemRetainAllocationHandle(
    handle: *mut CUmemGenericAllocationHandle,
    addr: *mut core::ffi::c_void,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuMemRetainAllocationHandle(handle, addr));
        // SAFETY: read after the driver has written there with success.
        PHYSICAL.retain(addr as u64, call, || unsafe { *handle })
    })
}

macro_rules! map_array {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: memory mapped into a sparse array is kept until the array goes.")]
        pub unsafe extern "C" fn $name(mapInfoList: *mut CUarrayMapInfo, count: u32, hStream: CUstream) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let result = call_real!($name(mapInfoList, count, hStream));
                if result == CUDA_SUCCESS && let Some(_inside) = Reentry::enter() {
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
    let Some(physical) = PHYSICAL.get(info.memHandle) else {
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

/// Removes an array that is gone. Memory mapped into it is released if nothing else holds it.
pub(super) fn array_gone(array: u64) {
    for handle in PHYSICAL.handles() {
        Cuda::process().live().remove(sparse_key(array, handle));
    }
}
