//! Stream-ordered allocation and memory pools.
//!
//! What a pool costs is what it has reserved from the driver, not what is allocated from it, so that is what is held
//! against the quota: one figure a pool, read from the driver (33 ns, H100) when it may have grown or shrunk. Single
//! allocations are not remembered. Near the quota and for large requests the growth is held before the call; after it,
//! the difference to the truth is settled. Small requests far from the quota are settled afterwards, a few at a time: what
//! they can take meanwhile is a fraction of that distance.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{books, graph};
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::process::{self, Device, Inside, Scope, shielded};

/// Steps in which a pool reserves (measured, H100, driver 580).
const STEP: u64 = 32 << 20;
/// Largest request that is settled afterwards, in bytes. With one in [`SETTLE_EVERY`] looked at and sixty threads at
/// it, what is not settled stays below [`crate::device::NEAR`].
const SMALL: u64 = 4 << 20;
/// Small requests for each look at what the pool has reserved.
const SETTLE_EVERY: u32 = 4;

/// One pool. Leaked when first seen: records point at it without counting.
#[derive(Debug)]
pub struct Pool {
    handle: usize,
    device: &'static Device,
    /// Bytes held against the quota for it: what it had reserved when last asked.
    charged: AtomicU64,
    /// Allocations served; a hint for how often to look.
    served: AtomicU32,
    /// One thread settles at a time.
    settling: Mutex<()>,
}

impl Pool {
    fn attribute(&self, which: CUmemPool_attribute) -> Option<u64> {
        let mut value = 0u64;
        let call = real::cuMemPoolGetAttribute.get()?;
        // SAFETY: the attributes asked for here are 64-bit integers, and one outlives the call.
        let result = unsafe { call(self.handle as CUmemoryPool, which, (&raw mut value).cast()) };
        (result == CUDA_SUCCESS).then_some(value)
    }

    fn reserved(&self) -> Option<u64> {
        self.attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
    }

    /// Bytes allocated from it and not yet freed.
    fn used(&self) -> u64 {
        self.attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT).unwrap_or(0)
    }

    /// By how much a request of `bytes` will make the pool grow, going by its own figures: fragments may make it grow
    /// more.
    fn growth(&self, bytes: u64) -> u64 {
        let room = self.charged.load(Ordering::Relaxed).saturating_sub(self.used());
        // A request near 2^64 can be met by nobody.
        bytes
            .saturating_sub(room)
            .checked_next_multiple_of(STEP)
            .unwrap_or(u64::MAX)
    }

    /// Whether the pool has reserved another sum than is charged for it.
    fn has_moved(&self) -> bool {
        self.reserved() != Some(self.charged.load(Ordering::Relaxed))
    }

    /// Makes the charge equal to what the pool has reserved; `ahead` bytes were held for growth and are settled with
    /// it. Returns whether anything was given back.
    fn settle(&self, ahead: u64) -> bool {
        let _one = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reserved) = self.reserved() else {
            self.device.release(ahead);
            return false;
        };
        let before = self.charged.swap(reserved, Ordering::Relaxed);
        let held = before + ahead;
        if reserved > before {
            self.device.gained(reserved - before);
        } else if reserved < before {
            self.device.lost(before - reserved);
        }
        if reserved > held {
            self.device.charge(reserved - held);
        } else {
            self.device.release(held - reserved);
        }
        held > reserved
    }
}

/// Set by a free; the next synchronisation asks the pools how much they kept.
static MAY_HAVE_SHRUNK: AtomicBool = AtomicBool::new(false);

/// Set once this process has used any pool.
static ANY: AtomicBool = AtomicBool::new(false);

/// Memory was freed that is in no record: it may have been a pool's.
#[inline]
pub fn freed() {
    if any() && !MAY_HAVE_SHRUNK.load(Ordering::Relaxed) {
        MAY_HAVE_SHRUNK.store(true, Ordering::Relaxed);
    }
}

/// Whether this process has used any pool.
#[inline]
pub fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// The pools of this process.
#[derive(Default)]
pub struct Pools {
    known: Mutex<Vec<&'static Pool>>,
}

impl Pools {
    fn find(&self, handle: CUmemoryPool, device: &'static Device) -> &'static Pool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = known.iter().find(|pool| pool.handle == handle as usize) {
            return pool;
        }
        ANY.store(true, Ordering::Relaxed);
        // A hundred bytes a pool, and programs make few.
        let pool: &'static Pool = Box::leak(Box::new(Pool {
            handle: handle as usize,
            device,
            charged: AtomicU64::new(0),
            served: AtomicU32::new(0),
            settling: Mutex::new(()),
        }));
        known.push(pool);
        pool
    }

    fn forget(&self, handle: CUmemoryPool) -> Option<&'static Pool> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|pool| pool.handle == handle as usize)?;
        Some(known.swap_remove(at))
    }

    fn take_back(&self, pool: &'static Pool) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pool);
    }

    fn all(&self) -> Vec<&'static Pool> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The pool that serves allocations on `device` which name none.
fn default_pool(device: &'static Device) -> Option<&'static Pool> {
    let known = device.own.default_pool.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: pools are leaked, never freed.
        return Some(unsafe { &*known });
    }
    let mut handle: CUmemoryPool = core::ptr::null_mut();
    if call_real!(cuDeviceGetMemPool(&mut handle, device.ordinal)) != CUDA_SUCCESS {
        return None;
    }
    let pool = books().pools.find(handle, device);
    device
        .own
        .default_pool
        .store(core::ptr::from_ref(pool).cast_mut(), Ordering::Release);
    Some(pool)
}

/// The choice of default pools has changed somewhere.
fn forget_default_pools() {
    if let Some(governed) = process::governed() {
        for device in governed.devices() {
            device
                .own
                .default_pool
                .store(core::ptr::null_mut(), Ordering::Release);
        }
    }
}

/// `cuDeviceSetMemPool`.
pub unsafe extern "C" fn cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuDeviceSetMemPool(dev, pool));
        forget_default_pools();
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
        forget_default_pools();
        result
    })
}

/// Asks every pool of `device` (and its graph memory) how much it has reserved; returns whether anything was given
/// back.
pub fn refresh_all(device: &Device) -> bool {
    let change = device.change();
    let mut freed = false;
    for pool in books().pools.all() {
        if core::ptr::eq(pool.device, device) {
            freed |= pool.settle(0);
        }
    }
    freed |= graph::settle(device, 0);
    drop(change);
    freed
}

/// After a synchronisation: pools without a release threshold have given memory back to the driver.
#[inline]
pub fn after_synchronisation() {
    if MAY_HAVE_SHRUNK.load(Ordering::Relaxed) {
        shrunk();
    }
}

#[cold]
fn shrunk() {
    let Some(_inside) = Inside::enter() else { return };
    MAY_HAVE_SHRUNK.store(false, Ordering::Relaxed);
    if let Some(governed) = process::governed() {
        for device in governed.devices() {
            refresh_all(device);
        }
    }
}

/// The device whose pool serves `stream`.
fn device_of_stream(inside: &Inside, stream: CUstream) -> Scope {
    let current = process::scope_of_device(inside);
    let Scope::On(device, context) = current else {
        return current;
    };
    // No context was asked for: there is only one device.
    if context == 0 || stream.is_null() || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD {
        return Scope::On(device, context);
    }
    let several = process::governed().is_some_and(|governed| governed.devices().nth(1).is_some());
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
    let there = process::scope();
    call_real!(cuCtxPopCurrent_v2(&mut popped));
    there
}

fn allocate_async(
    bytes: usize,
    stream: CUstream,
    named: CUmemoryPool,
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
    let pool = if named.is_null() {
        default_pool(device)
    } else {
        Some(books().pools.find(named, device))
    };
    let Some(pool) = pool else { return call() };
    let bytes = bytes as u64;
    let near = device.is_near();
    if bytes <= SMALL && !near {
        let result = call();
        if result == CUDA_SUCCESS {
            // Not a counted step: a lost one is no harm.
            let served = pool.served.load(Ordering::Relaxed);
            pool.served.store(served.wrapping_add(1), Ordering::Relaxed);
            if served.is_multiple_of(SETTLE_EVERY) && pool.has_moved() {
                return settle_or_undo(pool, 0, address());
            }
        }
        return result;
    }
    let mut ahead = pool.growth(bytes);
    if ahead > 0 && device.hold(ahead).is_err() {
        // The pool may have shrunk since it was last asked.
        let change = device.change();
        pool.settle(0);
        drop(change);
        ahead = pool.growth(bytes);
        if ahead > 0
            && let Err(denied) = device.hold(ahead)
        {
            device.refused("cuMemAllocAsync", &denied);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    let change = (ahead > 0).then(|| device.change());
    let result = call();
    if result != CUDA_SUCCESS {
        if ahead > 0 {
            pool.settle(ahead);
        }
        return result;
    }
    drop(change);
    // Room that is in pieces, or freed in an order that this stream must not see, makes the pool grow all the same.
    if ahead > 0 || pool.has_moved() {
        return settle_or_undo(pool, ahead, address());
    }
    CUDA_SUCCESS
}

/// Settles the pool's charge; an allocation that made it pass the quota all the same is taken back.
fn settle_or_undo(pool: &Pool, ahead: u64, address: u64) -> CUresult {
    let change = pool.device.change();
    pool.settle(ahead);
    drop(change);
    if !pool.device.is_over() {
        return CUDA_SUCCESS;
    }
    // Freed at once and trimmed: nothing has used the address yet.
    if call_real!(cuMemFree_v2(address)) == CUDA_SUCCESS {
        call_real!(cuMemPoolTrimTo(pool.handle as CUmemoryPool, pool.used() as usize));
        let change = pool.device.change();
        pool.settle(0);
        drop(change);
    }
    CUDA_ERROR_OUT_OF_MEMORY
}

macro_rules! allocate_async {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(dptr: *mut CUdeviceptr, bytesize: usize, hStream: CUstream) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                allocate_async(
                    bytesize,
                    hStream,
                    core::ptr::null_mut(),
                    || call_real!($name(dptr, bytesize, hStream)),
                    // SAFETY: read after the driver has written there with success.
                    || unsafe { *dptr },
                )
            })
        }
    )*};
}
allocate_async!(cuMemAllocAsync, cuMemAllocAsync_ptsz);

macro_rules! allocate_from_pool {
    ($($name:ident),*) => {$(
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
                    hStream,
                    pool,
                    || call_real!($name(dptr, bytesize, pool, hStream)),
                    // SAFETY: as in `cuMemAllocAsync`.
                    || unsafe { *dptr },
                )
            })
        }
    )*};
}
allocate_from_pool!(cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz);

macro_rules! free_async {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(dptr: CUdeviceptr, hStream: CUstream) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || super::direct::free(dptr, || call_real!($name(dptr, hStream))))
        }
    )*};
}
free_async!(cuMemFreeAsync, cuMemFreeAsync_ptsz);

/// `cuMemPoolDestroy`: the pool's memory goes back to the driver, but for what is still allocated from it. That is
/// overhead from now on: measured where NVML shows it, counted for good where it does not.
pub unsafe extern "C" fn cuMemPoolDestroy(pool: CUmemoryPool) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let Some(_inside) = Inside::enter() else {
            return call_real!(cuMemPoolDestroy(pool));
        };
        let Some(known) = books().pools.forget(pool) else {
            return call_real!(cuMemPoolDestroy(pool));
        };
        let device = known.device;
        let outstanding = known.used();
        let change = device.change();
        let result = call_real!(cuMemPoolDestroy(pool));
        if result == CUDA_SUCCESS {
            let charged = known.charged.swap(0, Ordering::Relaxed);
            change.lost(charged);
            drop(change);
            device.saw_overhead(outstanding);
            device.release(charged);
            device.overhead_moved();
            forget_default_pools();
        } else {
            drop(change);
            books().pools.take_back(known);
        }
        result
    })
}

/// `cuMemPoolTrimTo`.
pub unsafe extern "C" fn cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuMemPoolTrimTo(pool, minBytesToKeep));
        if let Some(_inside) = Inside::enter()
            && let Some(known) = books()
                .pools
                .all()
                .into_iter()
                .find(|known| known.handle == pool as usize)
        {
            let change = known.device.change();
            known.settle(0);
            drop(change);
        }
        result
    })
}
