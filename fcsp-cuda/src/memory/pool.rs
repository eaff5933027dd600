//! Stream-ordered allocation and memory pools. What a pool is charged is in
//! [`fcsp_hook::memory::pool`].

use fcsp_hook::memory::pool::{self, Pooled, Pools, forget_default_pools};
use fcsp_hook::memory::{self, pieces};

use super::{forbidden_by_capture, graph};
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::vendor::{self, Cuda, Device, Inside, Scope, named, shielded};

/// The pools of this process.
pub static POOLS: Pools<Cuda> = Pools::new();

fn attribute(pool: usize, which: CUmemPool_attribute) -> Option<u64> {
    let mut value = 0u64;
    let call = real::cuMemPoolGetAttribute.get()?;
    // SAFETY: the attributes asked for here are 64-bit integers, and one outlives the call.
    let result = unsafe { call(pool as CUmemoryPool, which, (&raw mut value).cast()) };
    (result == CUDA_SUCCESS).then_some(value)
}

impl Pooled for Cuda {
    // Measured, H100, driver 580.
    const STEP: u64 = 32 << 20;

    #[inline]
    fn pools() -> &'static Pools<Self> {
        &POOLS
    }

    fn default_pool(device: &Device) -> Option<usize> {
        let mut handle: CUmemoryPool = core::ptr::null_mut();
        (call_real!(cuDeviceGetMemPool(&mut handle, device.ordinal)) == CUDA_SUCCESS)
            .then_some(handle as usize)
    }

    fn reserved(pool: usize) -> Option<u64> {
        attribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
    }

    fn used(pool: usize) -> u64 {
        attribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT).unwrap_or(0)
    }

    fn trim(pool: usize, keep: u64) {
        call_real!(cuMemPoolTrimTo(pool as CUmemoryPool, keep as usize));
    }

    fn free_now(address: u64) -> CUresult {
        call_real!(cuMemFree_v2(address))
    }
}

/// `cuDeviceSetMemPool`.
pub unsafe extern "C" fn cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuDeviceSetMemPool(dev, pool));
        forget_default_pools::<Cuda>();
        result
    })
}

/// `cuMemSetMemPool`.
pub unsafe extern "C" fn cuMemSetMemPool(
    location: *mut CUmemLocation,
    kind: CUmemAllocationType,
    pool: CUmemoryPool,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemSetMemPool(location, kind, pool));
        forget_default_pools::<Cuda>();
        result
    })
}

/// Returns the device whose pool serves `stream`.
fn device_of_stream(inside: &Inside, stream: CUstream) -> Scope {
    let current = vendor::scope_of_device(inside);
    let Scope::On(device, context) = current else {
        return current;
    };
    // No context was asked for: there is only one device.
    if context == 0 || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD {
        return Scope::On(device, context);
    }
    let several = vendor::governed().is_some_and(|governed| governed.devices().nth(1).is_some());
    if !several {
        return Scope::On(device, context);
    }
    let mut owner: CUcontext = core::ptr::null_mut();
    if call_real!(cuStreamGetCtx(stream, &mut owner)) != CUDA_SUCCESS || owner as usize == context {
        return Scope::On(device, context);
    }
    // The stream belongs elsewhere: look there, as the driver does.
    let mut popped: CUcontext = core::ptr::null_mut();
    if call_real!(cuCtxPushCurrent_v2(owner)) != CUDA_SUCCESS {
        return Scope::On(device, context);
    }
    let there = vendor::scope();
    call_real!(cuCtxPopCurrent_v2(&mut popped));
    there
}

/// Returns the code by which the driver refuses an allocation on a stream because of a capture
/// elsewhere. Asked first: the questions that a pool is asked before it grows would end a capture
/// which the refusal leaves alone.
#[cold]
fn forbidden_on(stream: CUstream) -> Option<CUresult> {
    // As in `forbidden_by_capture`, for this stream: an allocation of no bytes asks, and takes
    // nothing.
    let mut nothing = 0;
    match call_real!(cuMemAllocAsync(&mut nothing, 0, stream)) {
        CUDA_SUCCESS => forbidden_by_capture(),
        code => Some(code),
    }
}

/// Allocates in the order of `stream`, by its true name.
fn allocate_async(
    bytes: usize,
    stream: CUstream,
    pool: CUmemoryPool,
    usable: bool,
    call: impl Fn() -> CUresult,
    address: impl Fn() -> u64,
) -> CUresult {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    if graph::capturing() && graph::is_capturing(stream) {
        let result = call();
        if result == CUDA_SUCCESS {
            graph::captured(stream, bytes as u64);
        }
        return result;
    }
    let device = match device_of_stream(&inside, stream) {
        Scope::On(device, _) => device,
        Scope::Pass => return call(),
        Scope::Refuse => return CUDA_ERROR_OUT_OF_MEMORY,
    };
    if graph::capturing()
        && usable
        && bytes > 0
        && let Some(code) = forbidden_on(stream)
    {
        return code;
    }
    let pool = (!pool.is_null()).then_some(pool as usize);
    // What the driver refuses for its arguments must not make a pool give back what it keeps.
    let result = if usable {
        pool::allocate(
            device,
            pool,
            "cuMemAllocAsync",
            bytes as u64,
            &call,
            &address,
        )
    } else {
        CUDA_ERROR_OUT_OF_MEMORY
    };
    memory::or_wrong_argument::<Cuda>(
        result,
        || bytes > 0 && usable,
        call,
        || {
            call_real!(cuMemFree_v2(address()));
        },
    )
}

macro_rules! allocate_async {
    ($($name:ident $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(dptr: *mut CUdeviceptr, bytesize: usize, hStream: CUstream) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                let result = allocate_async(
                    bytesize,
                    named(hStream, $per_thread) as CUstream,
                    core::ptr::null_mut(),
                    !dptr.is_null(),
                    || call_real!($name(dptr, bytesize, hStream)),
                    // SAFETY: read after the driver has written there with success.
                    || unsafe { *dptr },
                );
                // SAFETY: the caller's place.
                unsafe { super::without_address(result, dptr) }
            })
        }
    )*};
}
allocate_async!(cuMemAllocAsync false, cuMemAllocAsync_ptsz true);

macro_rules! allocate_from_pool {
    ($($name:ident $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            dptr: *mut CUdeviceptr,
            bytesize: usize,
            pool: CUmemoryPool,
            hStream: CUstream,
        ) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                allocate_async(
                    bytesize,
                    named(hStream, $per_thread) as CUstream,
                    pool,
                    !dptr.is_null() && !pool.is_null(),
                    || call_real!($name(dptr, bytesize, pool, hStream)),
                    // SAFETY: as in `cuMemAllocAsync`.
                    || unsafe { *dptr },
                )
            })
        }
    )*};
}
allocate_from_pool!(cuMemAllocFromPoolAsync false, cuMemAllocFromPoolAsync_ptsz true);

macro_rules! free_async {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(dptr: CUdeviceptr, hStream: CUstream) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || pieces::free::<Cuda>(dptr, || call_real!($name(dptr, hStream))))
        }
    )*};
}
free_async!(cuMemFreeAsync, cuMemFreeAsync_ptsz);

/// `cuMemPoolDestroy`.
pub unsafe extern "C" fn cuMemPoolDestroy(pool: CUmemoryPool) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        pool::destroy::<Cuda>(pool as usize, || call_real!(cuMemPoolDestroy(pool)))
    })
}

/// `cuMemPoolTrimTo`.
pub unsafe extern "C" fn cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemPoolTrimTo(pool, minBytesToKeep));
        pool::trimmed::<Cuda>(pool as usize);
        result
    })
}
