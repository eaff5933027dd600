//! Stream-ordered allocation and memory pools. What a pool is charged is in
//! [`fcsp_hook::memory::pool`].

use fcsp_hook::family::ordered::{self, OrderedAllocation, Request};
use fcsp_hook::memory::pieces;
use fcsp_hook::memory::pool::{self, Pooled, Pools, forget_default_pools};
use fcsp_hook::observed;

use super::forbidden_by_capture;
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::vendor::{self, Cuda, Device, Reentry, Target, catch_panic, named};

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

impl OrderedAllocation for Cuda {
    const NAME: &'static str = "cuMemAllocAsync";
    const GRANTS_NOTHING: bool = false;

    fn device_of_stream(inside: &Reentry, stream: usize) -> Target {
        let stream = stream as CUstream;
        let current = vendor::target_of_device(inside);
        let Target::Device(device, context) = current else {
            return current;
        };
        // No context was asked for: there is only one device.
        if context == 0 || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD {
            return Target::Device(device, context);
        }
        let several =
            vendor::governed().is_some_and(|governed| governed.devices().nth(1).is_some());
        if !several {
            return Target::Device(device, context);
        }
        let mut owner: CUcontext = core::ptr::null_mut();
        if call_real!(cuStreamGetCtx(stream, &mut owner)) != CUDA_SUCCESS
            || owner as usize == context
        {
            return Target::Device(device, context);
        }
        // The stream belongs elsewhere: look there, as the driver does.
        let mut popped: CUcontext = core::ptr::null_mut();
        if call_real!(cuCtxPushCurrent_v2(owner)) != CUDA_SUCCESS {
            return Target::Device(device, context);
        }
        let there = vendor::target();
        call_real!(cuCtxPopCurrent_v2(&mut popped));
        there
    }

    /// Asks as `forbidden_by_capture` does, for this stream: an allocation of no bytes takes
    /// nothing.
    #[cold]
    fn forbidden_on(stream: usize, _pool: Option<usize>) -> Option<CUresult> {
        let mut nothing = 0;
        match call_real!(cuMemAllocAsync(&mut nothing, 0, stream as CUstream)) {
            CUDA_SUCCESS => forbidden_by_capture(),
            code => Some(code),
        }
    }
}

macro_rules! allocate_async {
    ($($name:ident $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(dptr: *mut CUdeviceptr, bytesize: usize, hStream: CUstream) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let request = Request {
                    bytes: bytesize as u64,
                    stream: named(hStream, $per_thread),
                    pool: 0,
                    is_usable: !dptr.is_null(),
                };
                let result = ordered::allocate::<Cuda>(
                    request,
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
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let request = Request {
                    bytes: bytesize as u64,
                    stream: named(hStream, $per_thread),
                    pool: pool as usize,
                    is_usable: !dptr.is_null() && !pool.is_null(),
                };
                ordered::allocate::<Cuda>(
                    request,
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
            catch_panic(CUDA_ERROR_UNKNOWN, || pieces::free::<Cuda>(dptr, || call_real!($name(dptr, hStream))))
        }
    )*};
}
free_async!(cuMemFreeAsync, cuMemFreeAsync_ptsz);

observed! {
    Cuda, call_real;

    cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool)
        always forget_default_pools::<Cuda>();
    cuMemSetMemPool(location: *mut CUmemLocation, kind: CUmemAllocationType, pool: CUmemoryPool)
        always forget_default_pools::<Cuda>();
    cuMemPoolDestroy(pool: CUmemoryPool)
        around |call| pool::destroy::<Cuda>(pool as usize, call);
    cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize)
        always pool::trimmed::<Cuda>(pool as usize);
}
