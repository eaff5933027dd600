//! Stream-ordered allocation and memory pools. What a pool is charged is in
//! [`fcsp_hook::memory::pool`].

use core::ffi::c_void;

use fcsp_hook::family::ordered::{self, OrderedAllocation, Request};
use fcsp_hook::memory::pieces;
use fcsp_hook::memory::pool::{self, Pooled, Pools, forget_default_pools};
use fcsp_hook::observed;

use crate::call_real;
use crate::driver::real;
use crate::errors::{answered, unnoticed};
use crate::ffi::hip::*;
use crate::vendor::{self, Device, Hip, Reentry, Target, catch_panic};

/// The pools of this process.
pub static POOLS: Pools<Hip> = Pools::new();

fn attribute(pool: usize, which: hipMemPoolAttr) -> Option<u64> {
    let mut value = 0u64;
    let call = real::hipMemPoolGetAttribute.get()?;
    // SAFETY: the attributes asked for here are 64-bit integers, and one outlives the call.
    let result = unsafe { call(pool as hipMemPool_t, which, (&raw mut value).cast()) };
    (result == hipSuccess).then_some(value)
}

impl Pooled for Hip {
    // Not measured, for want of a device (docs/assumptions.md): as on NVIDIA's. The truth is read
    // from the pool after the call.
    const STEP: u64 = 32 << 20;

    #[inline]
    fn pools() -> &'static Pools<Self> {
        &POOLS
    }

    fn default_pool(device: &Device) -> Option<usize> {
        let mut handle: hipMemPool_t = core::ptr::null_mut();
        (call_real!(hipDeviceGetMemPool(&mut handle, device.ordinal)) == hipSuccess)
            .then_some(handle as usize)
    }

    fn reserved(pool: usize) -> Option<u64> {
        attribute(pool, hipMemPoolAttrReservedMemCurrent)
    }

    fn used(pool: usize) -> u64 {
        attribute(pool, hipMemPoolAttrUsedMemCurrent).unwrap_or(0)
    }

    fn trim(pool: usize, keep: u64) {
        call_real!(hipMemPoolTrimTo(pool as hipMemPool_t, keep as usize));
    }

    fn free_now(address: u64) -> hipError_t {
        call_real!(hipFree(address as *mut c_void))
    }
}

impl OrderedAllocation for Hip {
    const NAME: &'static str = "hipMallocAsync";
    const GRANTS_NOTHING: bool = true;

    fn device_of_stream(inside: &Reentry, stream: usize) -> Target {
        let stream = stream as hipStream_t;
        let current = vendor::target_inside(inside);
        let Target::Device(device, context) = current else {
            return current;
        };
        if stream.is_null() || stream == STREAM_LEGACY || stream == STREAM_PER_THREAD {
            return Target::Device(device, context);
        }
        let several =
            vendor::governed().is_some_and(|governed| governed.devices().nth(1).is_some());
        let mut owner = device.ordinal;
        if several
            && call_real!(hipStreamGetDevice(stream, &mut owner)) == hipSuccess
            && owner != device.ordinal
        {
            return vendor::target_of(owner);
        }
        Target::Device(device, context)
    }

    /// Asks by freeing nothing. From a pool that it names, the runtime may always allocate.
    #[cold]
    fn forbidden_on(stream: usize, pool: Option<usize>) -> Option<hipError_t> {
        if pool.is_some() {
            return None;
        }
        let stream = stream as hipStream_t;
        let code = unnoticed(|| call_real!(hipFreeAsync(core::ptr::null_mut(), stream)));
        matches!(
            code,
            hipErrorStreamCaptureUnsupported | hipErrorStreamCaptureImplicit
        )
        .then_some(code)
    }
}

/// `hipMallocAsync`.
pub unsafe extern "C" fn hipMallocAsync(
    dev_ptr: *mut *mut c_void,
    size: usize,
    stream: hipStream_t,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let request = Request {
            bytes: size as u64,
            stream: stream as usize,
            pool: 0,
            is_usable: !dev_ptr.is_null(),
        };
        answered(ordered::allocate::<Hip>(
            request,
            || call_real!(hipMallocAsync(dev_ptr, size, stream)),
            // SAFETY: read after the runtime has written there with success.
            || unsafe { *dev_ptr } as u64,
        ))
    })
}

/// `hipMallocFromPoolAsync`.
pub unsafe extern "C" fn hipMallocFromPoolAsync(
    dev_ptr: *mut *mut c_void,
    size: usize,
    mem_pool: hipMemPool_t,
    stream: hipStream_t,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let request = Request {
            bytes: size as u64,
            stream: stream as usize,
            pool: mem_pool as usize,
            is_usable: !dev_ptr.is_null() && !mem_pool.is_null(),
        };
        answered(ordered::allocate::<Hip>(
            request,
            || call_real!(hipMallocFromPoolAsync(dev_ptr, size, mem_pool, stream)),
            // SAFETY: as in `hipMallocAsync`.
            || unsafe { *dev_ptr } as u64,
        ))
    })
}

observed! {
    Hip, call_real;

    hipFreeAsync(dev_ptr: *mut c_void, stream: hipStream_t)
        around |call| pieces::free::<Hip>(dev_ptr as u64, call);
    hipDeviceSetMemPool(dev: hipDevice_t, pool: hipMemPool_t)
        always forget_default_pools::<Hip>();
    hipMemPoolDestroy(pool: hipMemPool_t)
        around |call| pool::destroy::<Hip>(pool as usize, call);
    hipMemPoolTrimTo(pool: hipMemPool_t, minBytesToKeep: usize)
        always pool::trimmed::<Hip>(pool as usize);
}
