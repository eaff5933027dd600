//! Stream-ordered allocation and memory pools.
//!
//! What a pool costs is what it has reserved from the driver, not what is allocated from it, so that is what is held
//! against the quota: one figure a pool, read from the runtime when it may have grown or shrunk. Single
//! allocations are not remembered. Near the quota and for large requests the growth is held before the call; after it,
//! the difference to the truth is settled. Small requests far from the quota are settled afterwards, a few at a time: what
//! they can take meanwhile is a fraction of that distance.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use fcsp_hook::memory;

use super::{books, graph};
use crate::call_real;
use crate::driver::real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::process::{self, Device, Hip, Inside, Scope, shielded};

/// Steps in which a pool is taken to reserve; no AMD device was at hand: as on NVIDIA's. The truth is read from the pool
/// after the call.
const STEP: u64 = 32 << 20;
/// Largest request that is settled afterwards, in bytes. With one in [`SETTLE_EVERY`] looked at and sixty threads at
/// it, what is not settled stays below [`fcsp_hook::device::NEAR`].
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
    fn attribute(&self, which: hipMemPoolAttr) -> Option<u64> {
        let mut value = 0u64;
        let call = real::hipMemPoolGetAttribute.get()?;
        // SAFETY: the attributes asked for here are 64-bit integers, and one outlives the call.
        let result = unsafe { call(self.handle as hipMemPool_t, which, (&raw mut value).cast()) };
        (result == hipSuccess).then_some(value)
    }

    fn reserved(&self) -> Option<u64> {
        self.attribute(hipMemPoolAttrReservedMemCurrent)
    }

    /// Bytes allocated from it and not yet freed.
    fn used(&self) -> u64 {
        self.attribute(hipMemPoolAttrUsedMemCurrent).unwrap_or(0)
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
    fn find(&self, handle: hipMemPool_t, device: &'static Device) -> &'static Pool {
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

    fn forget(&self, handle: hipMemPool_t) -> Option<&'static Pool> {
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
    let mut handle: hipMemPool_t = core::ptr::null_mut();
    if call_real!(hipDeviceGetMemPool(&mut handle, device.ordinal)) != hipSuccess {
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

/// `hipDeviceSetMemPool`.
pub unsafe extern "C" fn hipDeviceSetMemPool(dev: hipDevice_t, pool: hipMemPool_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipDeviceSetMemPool(dev, pool));
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
fn device_of_stream(inside: &Inside, stream: hipStream_t) -> Scope {
    let current = process::scope_inside(inside);
    let Scope::On(device, context) = current else {
        return current;
    };
    if stream.is_null() || stream == STREAM_LEGACY || stream == STREAM_PER_THREAD {
        return Scope::On(device, context);
    }
    let several = process::governed().is_some_and(|governed| governed.devices().nth(1).is_some());
    let mut owner = device.ordinal;
    if several && call_real!(hipStreamGetDevice(stream, &mut owner)) == hipSuccess && owner != device.ordinal
    {
        return process::scope_of(owner);
    }
    Scope::On(device, context)
}

fn allocate_async(
    bytes: usize,
    stream: hipStream_t,
    named: hipMemPool_t,
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
        if result == hipSuccess {
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
            device.refused("hipMallocAsync", &denied);
            return hipErrorOutOfMemory;
        }
    }
    let change = (ahead > 0).then(|| device.change());
    let result = call();
    if result != hipSuccess {
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
    hipSuccess
}

/// Settles the pool's charge; an allocation that made it pass the quota all the same is taken back.
fn settle_or_undo(pool: &Pool, ahead: u64, address: u64) -> hipError_t {
    let change = pool.device.change();
    pool.settle(ahead);
    drop(change);
    if !pool.device.is_over() {
        return hipSuccess;
    }
    // Freed at once and trimmed: nothing has used the address yet.
    if call_real!(hipFree(address as *mut c_void)) == hipSuccess {
        call_real!(hipMemPoolTrimTo(
            pool.handle as hipMemPool_t,
            pool.used() as usize
        ));
        let change = pool.device.change();
        pool.settle(0);
        drop(change);
    }
    hipErrorOutOfMemory
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
            || call_real!(hipMallocFromPoolAsync(dev_ptr, size, mem_pool, stream)),
            // SAFETY: as in `hipMallocAsync`.
            || unsafe { *dev_ptr } as u64,
        ))
    })
}

/// `hipFreeAsync`.
pub unsafe extern "C" fn hipFreeAsync(dev_ptr: *mut c_void, stream: hipStream_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        memory::free::<Hip>(dev_ptr as u64, || call_real!(hipFreeAsync(dev_ptr, stream)))
    })
}

/// `hipMemPoolDestroy`: the pool's memory goes back to the driver, but for what is still allocated from it. That is
/// overhead from now on: measured where ROCm SMI shows it, counted for good where it does not.
pub unsafe extern "C" fn hipMemPoolDestroy(pool: hipMemPool_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let Some(_inside) = Inside::enter() else {
            return call_real!(hipMemPoolDestroy(pool));
        };
        let Some(known) = books().pools.forget(pool) else {
            return call_real!(hipMemPoolDestroy(pool));
        };
        let device = known.device;
        let outstanding = known.used();
        let change = device.change();
        let result = call_real!(hipMemPoolDestroy(pool));
        if result == hipSuccess {
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

/// `hipMemPoolTrimTo`.
pub unsafe extern "C" fn hipMemPoolTrimTo(pool: hipMemPool_t, minBytesToKeep: usize) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipMemPoolTrimTo(pool, minBytesToKeep));
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
