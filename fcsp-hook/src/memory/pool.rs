//! Memory pools.
//!
//! A pool costs the bytes that it has reserved from the driver, not the bytes that are allocated
//! from it. The reserved bytes are held against the quota: one figure a pool. It is read from the
//! driver (33 ns, H100) when it may have changed. Single allocations are not recorded anywhere.
//! Before a call that may make a pool grow, the growth is held. After it, the charge is reconciled
//! with the driver's figure. Far from the quota, that happens only for some of the small requests
//! that the pool has a place for: a pool whose room is fragmented may have grown.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use crate::backend::Backend;
use crate::device::Device;
use crate::setup::{Reentry, SetupOnce};

/// Largest request whose charge is reconciled afterwards, in bytes, where the pool is known to have
/// a place for it.
const SMALL: u64 = 4 << 20;
/// Granularity of the memory that pools hand out, in bytes (measured, H100, driver 580).
const GRAIN: u64 = 512;
/// Small requests for each look at what the pool has reserved.
const SETTLE_EVERY: u32 = 4;

/// Calls of a driver with pools.
pub trait Pooled: Backend {
    /// Steps in which a pool reserves, in bytes.
    const STEP: u64;
    /// Returns the list of pools: a static of the backend.
    fn pools() -> &'static Pools<Self>;
    /// Returns the pool that serves allocations on `device` which name none.
    fn default_pool(device: &Device<Self>) -> Option<usize>;
    /// Returns the bytes that a pool has reserved.
    fn reserved(pool: usize) -> Option<u64>;
    /// Returns the bytes allocated from it and not yet freed; 0 if that cannot be told.
    fn used(pool: usize) -> u64;
    /// Makes it give back its memory above `keep` bytes, as far as it can.
    fn trim(pool: usize, keep: u64);
    /// Frees an address at once, whatever is queued.
    fn free_now(address: u64) -> Self::Status;
}

/// One pool. Leaked when first seen.
#[derive(Debug)]
pub struct Pool<B: Backend> {
    handle: usize,
    device: &'static Device<B>,
    /// Bytes held against the quota for it: the driver's figure when it was last read. Relaxed: it
    /// says nothing of other memory.
    charged: AtomicU64,
    /// Allocations served; a hint for how often to look.
    served: AtomicU32,
    /// Bytes that small requests may take before anybody looks again: they are in what the pool has
    /// reserved and charged.
    credit: AtomicU64,
    /// Held by the thread that reconciles the charge.
    settling: Mutex<()>,
    /// True while the driver has the pool. Written before the call that destroys it: from then on
    /// no thread queries it. Held for reading during a query.
    alive: RwLock<bool>,
}

impl<B: Pooled> Pool<B> {
    /// Asks the driver about the pool; `None` if it is destroyed or being destroyed, maybe by
    /// another thread. Beside recordings of any thread, which the question would end.
    fn ask<R>(&self, question: impl FnOnce(usize) -> R) -> Option<R> {
        let alive = self.alive.read().unwrap_or_else(PoisonError::into_inner);
        let _question = alive.then(B::beside_recordings);
        alive.then(|| question(self.handle))
    }

    /// Sets whether the driver has the pool. Waits for queries in flight, and for a thread that
    /// reconciles the charge.
    fn set_alive(&self, alive: bool) {
        let _one = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        *self.alive.write().unwrap_or_else(PoisonError::into_inner) = alive;
    }

    /// Gives back the memory that no allocation uses.
    fn trim(&self) {
        self.ask(|handle| B::trim(handle, B::used(handle)));
    }

    /// Returns the bytes that are charged for the pool and that no allocation uses.
    fn room(&self) -> u64 {
        let used = self.ask(B::used).unwrap_or(0);
        self.charged.load(Ordering::Relaxed).saturating_sub(used)
    }

    /// Returns the bytes by which a request of `bytes` may make the pool grow. Far from the quota,
    /// its own figures decide. If its room is fragmented, it grows by more, and the charge is
    /// reconciled afterwards. Near the quota, it is the most that is possible. A request that is
    /// small against the room finds a place in it.
    fn growth(&self, bytes: u64) -> u64 {
        let room = self.room();
        // No driver can meet a request near 2^64.
        let steps = |bytes: u64| bytes.checked_next_multiple_of(B::STEP).unwrap_or(u64::MAX);
        if !fits_anyhow(bytes, room) && self.device.is_near() {
            return steps(bytes);
        }
        steps(bytes.saturating_sub(room))
    }

    /// Returns true if a small request finds a place in the memory that the pool has reserved. One
    /// in many queries the driver. Half of the room is then handed out without another query, by
    /// one atomic change a request.
    #[inline]
    fn has_place(&self, bytes: u64) -> bool {
        // However small, a request takes a grain. Relaxed: the credit says nothing of other memory.
        let bytes = bytes.next_multiple_of(GRAIN);
        let take = |credit: u64| credit.checked_sub(bytes);
        self.credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
            || self.look_for_place(bytes)
    }

    #[cold]
    fn look_for_place(&self, bytes: u64) -> bool {
        let room = self.room();
        let fits = fits_anyhow(bytes, room);
        self.credit
            .store(if fits { room / 2 - bytes } else { 0 }, Ordering::Relaxed);
        fits
    }

    /// Returns true if the pool has reserved another sum than is charged for it.
    fn has_moved(&self) -> bool {
        self.ask(B::reserved) != Some(Some(self.charged.load(Ordering::Relaxed)))
    }

    /// Makes the charge equal to the bytes that the pool has reserved. `ahead` bytes were held for
    /// growth and become part of the charge.
    fn settle(&self, ahead: u64) {
        let _one = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reserved) = self.ask(B::reserved).flatten() else {
            self.device.release(ahead);
            return;
        };
        let before = self.charged.swap(reserved, Ordering::Relaxed);
        if reserved < before {
            self.credit.store(0, Ordering::Relaxed);
        }
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
    }

    /// Gives back the memory that no allocation uses, and reconciles the charge. Returns true if
    /// the charge fell.
    fn reclaim(&self) -> bool {
        let before = self.charged.load(Ordering::Relaxed);
        if self.ask(B::used).is_none_or(|used| used >= before) {
            return false;
        }
        let change = self.device.change();
        self.trim();
        self.settle(0);
        drop(change);
        self.charged.load(Ordering::Relaxed) < before
    }

    /// Does the same as [`Pool::settle`], bracketed.
    fn settle_now(&self, ahead: u64) {
        let change = self.device.change();
        self.settle(ahead);
        drop(change);
    }
}

/// The pools of this process. A static of each backend that has any.
#[derive(Debug)]
pub struct Pools<B: Backend> {
    /// Set once this process has used any pool.
    any: AtomicBool,
    /// Set by a free. The next synchronisation reads how much the pools have kept. Relaxed: a free
    /// of another thread that it misses shows at a later synchronisation.
    may_have_shrunk: AtomicBool,
    /// Set once memory of a pool has outlived the pool's entry here, as after a reset: it is
    /// overhead from then on, and goes unannounced, behind some synchronisation.
    outlived: AtomicBool,
    known: AtomicPtr<Mutex<Vec<&'static Pool<B>>>>,
}

impl<B: Backend> Pools<B> {
    /// Creates an empty list.
    #[expect(clippy::new_without_default, reason = "for statics only")]
    pub const fn new() -> Self {
        Self {
            any: AtomicBool::new(false),
            may_have_shrunk: AtomicBool::new(false),
            outlived: AtomicBool::new(false),
            known: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Empties the list in a forked child: a thread that does not exist here may hold its lock.
    pub fn forget_in_child(&self) {
        self.known.store(core::ptr::null_mut(), Ordering::Release);
    }

    /// Returns true if this process has used any pool.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Notes that memory was freed which is in no record: it may have been a pool's. For
    /// [`crate::backend::DriverMemory::freed_untracked`].
    #[inline]
    pub fn freed(&self) {
        if self.any() && !self.may_have_shrunk.load(Ordering::Relaxed) {
            self.may_have_shrunk.store(true, Ordering::Relaxed);
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<&'static Pool<B>>> {
        // Acquire: made before its address was published.
        let known = self.known.load(Ordering::Acquire);
        let known = if known.is_null() {
            SetupOnce::publish(&self.known, Mutex::default)
        } else {
            // SAFETY: leaked, never freed.
            unsafe { &*known }
        };
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, handle: usize, device: &'static Device<B>) -> &'static Pool<B> {
        let mut known = self.known();
        if let Some(pool) = known.iter().find(|pool| pool.handle == handle) {
            return pool;
        }
        self.any.store(true, Ordering::Relaxed);
        // A hundred bytes a pool, and programs make few.
        let pool: &'static Pool<B> = Box::leak(Box::new(Pool {
            handle,
            device,
            charged: AtomicU64::new(0),
            served: AtomicU32::new(0),
            credit: AtomicU64::new(0),
            settling: Mutex::new(()),
            alive: RwLock::new(true),
        }));
        known.push(pool);
        // A pool that outlived its context has memory already. It is in the overhead so far.
        device.overhead_moved();
        pool
    }

    fn forget(&self, pool: &'static Pool<B>) {
        self.known().retain(|known| !core::ptr::eq(*known, pool));
    }
}

/// Returns the pool that serves allocations on `device` which name none.
#[inline]
fn default_pool<B: Pooled>(device: &'static Device<B>) -> Option<&'static Pool<B>> {
    let known = device.default_pool.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: pools are leaked, never freed.
        return Some(unsafe { &*known });
    }
    let pool = B::pools().find(B::default_pool(device)?, device);
    device
        .default_pool
        .store(core::ptr::from_ref(pool).cast_mut(), Ordering::Release);
    Some(pool)
}

/// Forgets the default pools of all devices: the program has changed one.
pub fn forget_default_pools<B: Pooled>() {
    if let Some(governed) = B::process().governed() {
        for device in governed.devices() {
            device
                .default_pool
                .store(core::ptr::null_mut(), Ordering::Release);
        }
    }
}

/// Returns true if a request of `bytes` finds a place in `room` bytes of a pool, however fragmented
/// they are.
fn fits_anyhow(bytes: u64, room: u64) -> bool {
    bytes <= SMALL && bytes.saturating_mul(8) <= room
}

/// Reconciles the charge of every pool of `device`, within a [`Device::change`] or a measurement.
pub fn refresh<B: Pooled>(device: &Device<B>) {
    let known = B::pools().known().clone();
    for pool in known {
        if core::ptr::eq(pool.device, device) {
            pool.settle(0);
        }
    }
}

/// Makes every pool of `device` give back the memory that no allocation uses. Returns true if any
/// did. For [`crate::backend::DriverMemory::reclaim`].
pub fn reclaim<B: Pooled>(device: &Device<B>) -> bool {
    if !B::pools().any() {
        return false;
    }
    let known = B::pools().known().clone();
    let mut any = false;
    for pool in known {
        if core::ptr::eq(pool.device, device) {
            any |= pool.reclaim();
        }
    }
    any
}

/// Reconciles the charge of all pools after a synchronisation, if memory was freed before: pools
/// without a release threshold have given it back to the driver.
/// For [`crate::backend::DriverMemory::after_synchronisation`].
#[inline]
pub fn after_synchronisation<B: Pooled>() {
    if B::pools().may_have_shrunk.load(Ordering::Relaxed) {
        shrunk::<B>();
    }
}

#[cold]
fn shrunk<B: Pooled>() {
    let Some(_inside) = Reentry::enter() else {
        return;
    };
    B::pools().may_have_shrunk.store(false, Ordering::Relaxed);
    let outlived = B::pools().outlived.load(Ordering::Relaxed);
    if let Some(governed) = B::process().governed() {
        for device in governed.devices() {
            B::refresh(device);
            if outlived {
                device.overhead_moved();
            }
        }
    }
}

/// Allocates `bytes` on `device` through `call`, from the pool `named` or from the default one;
/// `address` reads the result then. Inside a wrapper.
pub fn allocate<B: Pooled>(
    device: &'static Device<B>,
    named: Option<usize>,
    what: &'static str,
    bytes: u64,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
) -> B::Status {
    let pool = match named {
        Some(handle) => Some(B::pools().find(handle, device)),
        None => default_pool(device),
    };
    let Some(pool) = pool else { return call() };
    let near = device.is_near();
    if bytes <= SMALL && !near && pool.has_place(bytes) {
        let result = call();
        if result == B::SUCCESS {
            // Not a counted step: a lost one is no harm.
            let served = pool.served.load(Ordering::Relaxed);
            pool.served.store(served.wrapping_add(1), Ordering::Relaxed);
            if served.is_multiple_of(SETTLE_EVERY) && pool.has_moved() {
                return settle_or_undo(pool, 0, address());
            }
        }
        return result;
    }
    allocate_much(pool, what, bytes, &call, &address)
}

/// Returns true if pools may have memory that was freed behind work which the device has not done
/// yet: no thread has waited for it since. The pools' figures do not show how much that is, and the
/// pools cannot give it back.
fn is_freed_behind_work<B: Pooled>() -> bool {
    B::pools().may_have_shrunk.load(Ordering::Relaxed)
}

/// Makes a request whose charge is reconciled at once. One copy of the code serves all callers: its
/// queries of the driver take longer than an indirect call.
fn allocate_much<B: Pooled>(
    pool: &'static Pool<B>,
    what: &'static str,
    bytes: u64,
    call: &dyn Fn() -> B::Status,
    address: &dyn Fn() -> u64,
) -> B::Status {
    let device = pool.device;
    let mut ahead = pool.growth(bytes);
    let mut hold = None;
    if ahead > 0 {
        hold = device.try_hold(ahead).ok();
    }
    if ahead > 0 && hold.is_none() {
        // Fragmented room becomes room under the quota, and the pool may have shrunk since its
        // figure was last read.
        pool.trim();
        pool.settle_now(0);
        ahead = pool.growth(bytes);
        if is_freed_behind_work::<B>() && !device.has_room_for(ahead) {
            // The driver may hand it out again in the order of its queue. Growth past the quota is
            // taken back below.
            ahead = 0;
        } else if ahead > 0 {
            match device.hold(ahead) {
                Ok(held) => hold = Some(held),
                Err(denied) => {
                    device.refused(what, &denied);
                    return B::OUT_OF_MEMORY;
                }
            }
        }
    }
    // Under way until the pool's growth is reconciled.
    let _hold = hold;
    let change = (ahead > 0).then(|| device.change());
    let result = call();
    if result != B::SUCCESS {
        if ahead > 0 {
            pool.settle(ahead);
        }
        return result;
    }
    drop(change);
    // Fragmented room, or room that was freed in an order that this queue must not see, makes the
    // pool grow all the same.
    if ahead > 0 || pool.has_moved() {
        return settle_or_undo(pool, ahead, address());
    }
    B::SUCCESS
}

/// Reconciles the pool's charge. An allocation that made it pass the quota all the same is taken
/// back.
fn settle_or_undo<B: Pooled>(pool: &Pool<B>, ahead: u64, address: u64) -> B::Status {
    pool.settle_now(ahead);
    if !pool.device.is_over() {
        return B::SUCCESS;
    }
    pool.device.count_refusal(ahead);
    // Freed at once and trimmed: nothing has used the address yet.
    let question = B::beside_recordings();
    let freed = B::free_now(address);
    drop(question);
    if freed == B::SUCCESS {
        pool.trim();
        pool.settle_now(0);
    }
    B::OUT_OF_MEMORY
}

/// Destroys a pool through `call`. Its memory goes back to the driver, except the memory that is
/// still allocated from it. That is overhead from now on: measured where the management library
/// shows it, counted permanently where it does not.
pub fn destroy<B: Pooled>(handle: usize, call: impl FnOnce() -> B::Status) -> B::Status {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    let known = B::pools()
        .known()
        .iter()
        .find(|pool| pool.handle == handle)
        .copied();
    let Some(pool) = known else {
        return call();
    };
    let device = pool.device;
    let outstanding = pool.ask(B::used).unwrap_or(0);
    let ending = ends(vec![pool]);
    let change = device.change();
    let result = call();
    drop(change);
    if result == B::SUCCESS {
        if outstanding > 0 {
            ending.left();
        } else {
            ending.died();
        }
        device.saw_overhead(outstanding);
        device.overhead_moved();
    } else {
        ending.survived();
    }
    result
}

/// Pools that are about to be destroyed: no thread queries them from here on. They stay in the list
/// until that is done. Otherwise a thread that learns of one from the driver in the meantime would
/// take it for a new one.
#[derive(Debug)]
#[must_use]
pub struct Ending<B: Pooled>(Vec<&'static Pool<B>>);

fn ends<B: Pooled>(pools: Vec<&'static Pool<B>>) -> Ending<B> {
    for pool in &pools {
        pool.set_alive(false);
    }
    forget_default_pools::<B>();
    Ending(pools)
}

/// Announces that all pools of a device are about to be destroyed, with it or with its context.
pub fn device_ends<B: Pooled>(device: &Device<B>) -> Ending<B> {
    let known = B::pools().known();
    let here = known
        .iter()
        .filter(|pool| core::ptr::eq(pool.device, device));
    let here = here.copied().collect();
    drop(known);
    ends(here)
}

impl<B: Pooled> Ending<B> {
    /// Forgets the pools, which are gone, and gives their charge back.
    fn died(self) {
        for pool in self.0 {
            let charged = pool.charged.swap(0, Ordering::Relaxed);
            pool.device.lost(charged);
            pool.device.release(charged);
            B::pools().forget(pool);
        }
        forget_default_pools::<B>();
    }

    /// Does the same where the driver may keep the pools, or some of their memory.
    pub fn left(self) {
        let any = !self.0.is_empty();
        self.died();
        if any {
            B::pools().outlived.store(true, Ordering::Relaxed);
            B::pools().freed();
        }
    }

    /// Returns the pools to use: they were not destroyed.
    pub fn survived(self) {
        for pool in self.0 {
            pool.set_alive(true);
        }
    }
}

/// Reconciles the charge of a pool that the program has trimmed.
pub fn trimmed<B: Pooled>(handle: usize) {
    let Some(_inside) = Reentry::enter() else {
        return;
    };
    let known = B::pools()
        .known()
        .iter()
        .find(|pool| pool.handle == handle)
        .copied();
    if let Some(pool) = known {
        pool.settle_now(0);
    }
}
