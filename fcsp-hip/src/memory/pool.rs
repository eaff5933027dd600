//! Stream-ordered allocation and memory pools. What a pool is charged is in
//! [`fcsp_hook::memory::pool`].

use core::ffi::c_void;

use fcsp_hook::memory::pool::{self, Pooled, Pools, forget_default_pools};
use fcsp_hook::memory::{self, pieces};

use super::graph;
use crate::call_real;
use crate::driver::real;
use crate::errors::{answered, unnoticed};
use crate::ffi::hip::*;
use crate::vendor::{self, Device, Hip, Inside, Scope, shielded};

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

/// `hipDeviceSetMemPool`.
pub unsafe extern "C" fn hipDeviceSetMemPool(dev: hipDevice_t, pool: hipMemPool_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipDeviceSetMemPool(dev, pool));
        forget_default_pools::<Hip>();
        result
    })
}

/// Returns the device whose pool serves `stream`.
fn device_of_stream(inside: &Inside, stream: hipStream_t) -> Scope {
    let current = vendor::scope_inside(inside);
    let Scope::On(device, context) = current else {
        return current;
    };
    if stream.is_null() || stream == STREAM_LEGACY || stream == STREAM_PER_THREAD {
        return Scope::On(device, context);
    }
    let several = vendor::governed().is_some_and(|governed| governed.devices().nth(1).is_some());
    let mut owner = device.ordinal;
    if several
        && call_real!(hipStreamGetDevice(stream, &mut owner)) == hipSuccess
        && owner != device.ordinal
    {
        return vendor::scope_of(owner);
    }
    Scope::On(device, context)
}

/// Returns the code by which the runtime refuses an allocation on a stream because of a capture
/// elsewhere. To free nothing asks. Asked first, as with CUDA: a pool is asked before it grows, and
/// not every capture may stand that.
#[cold]
fn forbidden_on(stream: hipStream_t) -> Option<hipError_t> {
    let code = unnoticed(|| call_real!(hipFreeAsync(core::ptr::null_mut(), stream)));
    matches!(
        code,
        hipErrorStreamCaptureUnsupported | hipErrorStreamCaptureImplicit
    )
    .then_some(code)
}

fn allocate_async(
    bytes: usize,
    stream: hipStream_t,
    named: hipMemPool_t,
    usable: bool,
    call: impl Fn() -> hipError_t,
    address: impl Fn() -> u64,
) -> hipError_t {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    if graph::capturing() && graph::is_capturing(stream) {
        let result = call();
        if result == hipSuccess {
            graph::captured(stream, bytes as u64);
        }
        return result;
    }
    let device = match device_of_stream(&inside, stream) {
        Scope::On(device, _) => device,
        Scope::Pass => return call(),
        Scope::Refuse => return hipErrorOutOfMemory,
    };
    let named = (!named.is_null()).then_some(named as usize);
    // From a pool that it names, the runtime may always allocate.
    if graph::capturing()
        && usable
        && bytes > 0
        && named.is_none()
        && let Some(code) = forbidden_on(stream)
    {
        return code;
    }
    // What the runtime refuses for its arguments must not make a pool give back what it keeps.
    let result = if usable {
        pool::allocate(
            device,
            named,
            "hipMallocAsync",
            bytes as u64,
            &call,
            &address,
        )
    } else {
        hipErrorOutOfMemory
    };
    memory::or_wrong_argument::<Hip>(
        result,
        || usable,
        call,
        || {
            call_real!(hipFree(address() as *mut c_void));
        },
    )
}

/// `hipMallocAsync`.
pub unsafe extern "C" fn hipMallocAsync(
    dev_ptr: *mut *mut c_void,
    size: usize,
    stream: hipStream_t,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        answered(allocate_async(
            size,
            stream,
            core::ptr::null_mut(),
            !dev_ptr.is_null(),
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
    shielded(hipErrorUnknown, || {
        answered(allocate_async(
            size,
            stream,
            mem_pool,
            !dev_ptr.is_null() && !mem_pool.is_null(),
            || call_real!(hipMallocFromPoolAsync(dev_ptr, size, mem_pool, stream)),
            // SAFETY: as in `hipMallocAsync`.
            || unsafe { *dev_ptr } as u64,
        ))
    })
}

/// `hipFreeAsync`.
pub unsafe extern "C" fn hipFreeAsync(dev_ptr: *mut c_void, stream: hipStream_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        pieces::free::<Hip>(dev_ptr as u64, || call_real!(hipFreeAsync(dev_ptr, stream)))
    })
}

/// `hipMemPoolDestroy`.
pub unsafe extern "C" fn hipMemPoolDestroy(pool: hipMemPool_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        pool::destroy::<Hip>(pool as usize, || call_real!(hipMemPoolDestroy(pool)))
    })
}

/// `hipMemPoolTrimTo`.
pub unsafe extern "C" fn hipMemPoolTrimTo(pool: hipMemPool_t, minBytesToKeep: usize) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipMemPoolTrimTo(pool, minBytesToKeep));
        pool::trimmed::<Hip>(pool as usize);
        result
    })
}
