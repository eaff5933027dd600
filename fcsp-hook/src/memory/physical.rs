//! Physical memory by handle and mapping. It lives while any handle or mapping of it does. It is
//! charged to the device on which it was made, for the same time.
//!
//! Memory that was exported as a descriptor stays on the device while any process has a descriptor
//! or an import of it. Drivers may show it with *no* process while a descriptor is open (CUDA,
//! H100, driver 580). Exported memory whose handles are released could therefore escape every
//! account, and descriptors alone could keep any amount of the device. So it stays charged when its
//! last handle and mapping go, unless the device's available memory rose by it. It is then
//! *orphaned*, until the unattributed memory is no more than the rest of the orphaned memory. By
//! then it is gone, or some process has it and is shown with it.
//!
//! If the management library does not show processes, the orphaned memory is computed. It is the
//! decrease of the device's available memory and this process's own account together, since before
//! the first of it left. Neighbours that allocate keep it charged meanwhile; neighbours that free
//! memory end the charge too early.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, PoisonError};

use fcsp_core::allocations::KeyHasher;

use super::take;
use crate::backend::Backend;
use crate::device::{Device, Free};
use crate::process::Target;
use crate::setup::{Reentry, SetupOnce};

/// Physical memory of one handle. It is dropped with its last handle and mapping, which releases
/// its bytes.
#[derive(Debug)]
pub struct Physical<B: Backend> {
    /// The device that is charged.
    pub device: &'static Device<B>,
    bytes: u64,
    context: usize,
    // Relaxed, both: set and read by calls that make and end handles and mappings, which the driver
    // orders.
    exported: AtomicBool,
    /// True if it is gone from this process and not from the device.
    adrift: AtomicBool,
}

impl<B: Backend> Physical<B> {
    fn is_exported(&self) -> bool {
        self.exported.load(Ordering::Relaxed)
    }

    /// Releases its bytes to the quota, unless they are still on the device.
    fn release(&self) {
        if !self.adrift.load(Ordering::Relaxed) {
            self.device.release(self.bytes);
        }
    }

    /// Ends it after its bytes were subtracted from the process's own account.
    fn gone(self) {
        self.release();
        // Nothing else is dropped: its fields are numbers and a reference.
        core::mem::forget(self);
    }
}

impl<B: Backend> Drop for Physical<B> {
    fn drop(&mut self) {
        self.device.lost(self.bytes);
        self.release();
    }
}

/// Handles and mappings. A static of each backend that has any.
#[derive(Debug)]
pub struct Books<B: Backend> {
    inner: AtomicPtr<Mutex<Inner<B>>>,
    any_adrift: AtomicBool,
}

/// Mappings by first address: length and memory.
type Mappings<B> = BTreeMap<u64, (u64, Arc<Physical<B>>)>;

#[derive(Debug)]
struct Inner<B: Backend> {
    /// By handle: the memory and the handle's reference count.
    handles: HashMap<u64, (Arc<Physical<B>>, u32), BuildHasherDefault<KeyHasher>>,
    mappings: Mappings<B>,
    /// Orphaned bytes, which are still charged.
    adrift: Vec<(&'static Device<B>, u64)>,
    /// By device: its available bytes before its first orphaned memory left.
    before: Vec<(&'static Device<B>, Free)>,
}

impl<B: Backend> Inner<B> {
    fn one_more(&mut self, handle: u64, physical: Arc<Physical<B>>) {
        self.handles
            .entry(handle)
            .and_modify(|(_, count)| *count += 1)
            .or_insert((physical, 1));
    }
}

impl<B: Backend> Books<B> {
    /// Creates an empty table.
    #[expect(clippy::new_without_default, reason = "for statics only")]
    pub const fn new() -> Self {
        Self {
            inner: AtomicPtr::new(core::ptr::null_mut()),
            any_adrift: AtomicBool::new(false),
        }
    }

    /// Forgets the records in a forked child: they may be locked by a thread that does not exist
    /// there.
    pub fn forget_in_child(&self) {
        self.inner.store(core::ptr::null_mut(), Ordering::Release);
        self.any_adrift.store(false, Ordering::Relaxed);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Inner<B>) -> R) -> R {
        // Acquire: made before its address was published.
        let known = self.inner.load(Ordering::Acquire);
        let inner = if known.is_null() {
            SetupOnce::publish(&self.inner, || {
                Mutex::new(Inner {
                    handles: HashMap::default(),
                    mappings: BTreeMap::new(),
                    adrift: Vec::new(),
                    before: Vec::new(),
                })
            })
        } else {
            // SAFETY: leaked, never freed.
            unsafe { &*known }
        };
        work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes physical memory through `call`; then `handle` reads its handle. It ends with
    /// `context`, or outlives contexts if that is 0. Inside a wrapper.
    pub fn create(
        &self,
        device: &'static Device<B>,
        context: usize,
        what: &'static str,
        bytes: u64,
        call: impl FnOnce() -> B::Status,
        handle: impl FnOnce() -> u64,
    ) -> B::Status {
        let result = take(device, what, bytes, call);
        if result == B::SUCCESS {
            let physical = Arc::new(Physical {
                device,
                bytes,
                context,
                exported: AtomicBool::new(false),
                adrift: AtomicBool::new(false),
            });
            let handle = handle();
            self.with(|inner| inner.handles.insert(handle, (physical, 1)));
        }
        result
    }

    /// Releases a handle through `call`.
    pub fn release(&self, handle: u64, call: impl FnOnce() -> B::Status) -> B::Status {
        let Some(inside) = Reentry::enter() else {
            return call();
        };
        // Removed first: the driver may give the number to the next handle at once.
        let taken = self.with(|inner| match inner.handles.entry(handle) {
            Entry::Occupied(mut entry) if entry.get().1 > 1 => {
                entry.get_mut().1 -= 1;
                Some(entry.get().0.clone())
            }
            Entry::Occupied(entry) => Some(entry.remove().0),
            Entry::Vacant(_) => None,
        });
        let Some(physical) = taken else {
            let result = call();
            import_ended::<B>(&inside);
            return result;
        };
        match Arc::try_unwrap(physical) {
            Ok(physical) => self.release_last(handle, physical, call),
            Err(physical) => self.release_one(handle, physical, call),
        }
    }

    /// Releases the only handle of `physical`, which is in the records no more.
    fn release_last(
        &self,
        handle: u64,
        physical: Physical<B>,
        call: impl FnOnce() -> B::Status,
    ) -> B::Status {
        let (device, bytes) = (physical.device, physical.bytes);
        let leaving = Leaving::of(&physical);
        let near = leaving.is_some() || device.is_near();
        let passing = device.passing(near, bytes, bytes);
        let result = call();
        if result != B::SUCCESS {
            passing.failed();
            self.with(|inner| inner.one_more(handle, Arc::new(physical)));
            return result;
        }
        if let Some(leaving) = leaving {
            self.leave(leaving, &physical);
        }
        passing.succeeded(0);
        physical.gone();
        device.overhead_changed();
        result
    }

    /// Releases one of several handles or mappings of `physical`. Others may end meanwhile.
    #[cold]
    fn release_one(
        &self,
        handle: u64,
        physical: Arc<Physical<B>>,
        call: impl FnOnce() -> B::Status,
    ) -> B::Status {
        let device = physical.device;
        let change = device.change();
        let result = call();
        if result == B::SUCCESS {
            drop(physical);
        } else {
            self.with(|inner| inner.one_more(handle, physical));
        }
        drop(change);
        device.overhead_changed();
        result
    }

    /// Maps the memory of `handle` at `address` through `call`; the mapping keeps it alive.
    pub fn map(
        &self,
        handle: u64,
        address: u64,
        bytes: u64,
        call: impl FnOnce() -> B::Status,
    ) -> B::Status {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let result = call();
        if result == B::SUCCESS {
            self.with(|inner| {
                if let Some((physical, _)) = inner.handles.get(&handle) {
                    let physical = physical.clone();
                    inner.mappings.insert(address, (bytes, physical));
                }
            });
        }
        result
    }

    /// Ends the mappings that begin in the `bytes` from `address` on, through `call`.
    pub fn unmap(&self, address: u64, bytes: u64, call: impl FnOnce() -> B::Status) -> B::Status {
        let Some(inside) = Reentry::enter() else {
            return call();
        };
        let end = address.saturating_add(bytes);
        let ended: Mappings<B> = self.with(|inner| {
            let keys: Vec<u64> = inner
                .mappings
                .range(address..end)
                .map(|(&at, _)| at)
                .collect();
            keys.into_iter()
                .filter_map(|at| inner.mappings.remove_entry(&at))
                .collect()
        });
        let devices: Vec<_> = ended
            .values()
            .map(|(_, physical)| physical.device)
            .collect();
        let changes: Vec<_> = devices.iter().map(|device| device.change()).collect();
        let leaving: Vec<_> = last_holds(&ended)
            .into_iter()
            .filter_map(|physical| Leaving::of(&physical).map(|leaving| (leaving, physical)))
            .collect();
        let result = call();
        if result == B::SUCCESS {
            for (leaving, physical) in leaving {
                self.leave(leaving, &physical);
            }
            if ended.is_empty() {
                import_ended::<B>(&inside);
            }
            drop(ended);
        } else {
            self.with(|inner| inner.mappings.extend(ended));
        }
        drop(changes);
        result
    }

    /// Adds a reference to the memory mapped at `address`, through `call`; then `handle` reads the
    /// handle.
    pub fn retain(
        &self,
        address: u64,
        call: impl FnOnce() -> B::Status,
        handle: impl FnOnce() -> u64,
    ) -> B::Status {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let result = call();
        if result == B::SUCCESS {
            let handle = handle();
            self.with(|inner| {
                let mapped = inner.mappings.range(..=address).next_back();
                let physical = mapped
                    .filter(|&(&start, &(length, _))| address < start.saturating_add(length))
                    .map(|(_, (_, physical))| physical.clone());
                if let Some(physical) = physical {
                    inner.one_more(handle, physical);
                }
            });
        }
        result
    }

    /// Records that the memory of `handle` was exported: from here on it may outlive this process's
    /// records of it. Inside a wrapper.
    pub fn exported(&self, handle: u64) {
        self.with(|inner| {
            if let Some((physical, _)) = inner.handles.get(&handle) {
                physical.exported.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Handles the end of the last reference to `physical`, after the driver was called.
    fn leave(&self, leaving: Leaving, physical: &Physical<B>) {
        let device = physical.device;
        let before = leaving.free;
        let rose = before
            .zip(device.free_now())
            .is_some_and(|(before, after)| before.rose_by(physical.bytes, after));
        if !rose {
            physical.adrift.store(true, Ordering::Relaxed);
            self.with(|inner| {
                let known = inner
                    .before
                    .iter()
                    .any(|&(on, _)| core::ptr::eq(on, device));
                if let (false, Some(before)) = (known, before) {
                    inner.before.push((device, before));
                }
                inner.adrift.push((device, physical.bytes));
            });
            // Release: a thread that sees it finds the entry.
            self.any_adrift.store(true, Ordering::Release);
        }
    }

    /// Releases orphaned memory on `device` beyond the unattributed memory there.
    pub fn refresh(&self, device: &Device<B>) {
        if !self.any_adrift.load(Ordering::Acquire) {
            return;
        }
        let here = |on: &Device<B>| core::ptr::eq(on, device);
        let sum = |inner: &Inner<B>| -> u64 {
            let on_it = inner.adrift.iter().filter(|(on, _)| here(on));
            on_it.map(|(_, bytes)| bytes).sum()
        };
        let fallen = || {
            let before = self.with(|inner| {
                let mut known = inner.before.iter();
                known.find(|&&(on, _)| here(on)).map(|&(_, before)| before)
            });
            Some(before?.fell_to(device.free_now()?))
        };
        // A library that does not list this process may not list others either.
        let shown = !device.is_unknown();
        let by_library = shown
            .then(|| B::unattributed_bytes(&device.identity))
            .flatten();
        let Some(nobodys) = by_library.or_else(fallen) else {
            return;
        };
        if self.with(|inner| sum(inner)) <= nobodys {
            return;
        }
        // Memory that this process has again by an import is shown with it now: it is counted
        // before it is released here.
        device.measure_now();
        let gone: Vec<u64> = self.with(|inner| {
            let mut left = sum(inner);
            let gone = inner
                .adrift
                .extract_if(.., |(on, bytes)| {
                    let goes = here(on) && left > nobodys;
                    left -= if goes { *bytes } else { 0 };
                    goes
                })
                .map(|(_, bytes)| bytes)
                .collect();
            if left == 0 {
                inner.before.retain(|&(on, _)| !here(on));
            }
            self.any_adrift
                .store(!inner.adrift.is_empty(), Ordering::Release);
            gone
        });
        for bytes in gone {
            device.release(bytes);
        }
    }

    /// Returns the memory of a handle.
    pub fn get(&self, handle: u64) -> Option<Arc<Physical<B>>> {
        self.with(|inner| {
            inner
                .handles
                .get(&handle)
                .map(|(physical, _)| physical.clone())
        })
    }

    /// Returns every handle.
    pub fn handles(&self) -> Vec<u64> {
        self.with(|inner| inner.handles.keys().copied().collect())
    }

    /// Forgets the memory that was made in a context that is gone.
    pub fn context_died(&self, context: usize) {
        let dies = |physical: &Physical<B>| physical.context == context && context != 0;
        let gone: (Vec<_>, Mappings<B>) = self.with(|inner| {
            let handles = inner
                .handles
                .extract_if(|_, (physical, _)| dies(physical))
                .collect();
            let (gone, kept) = core::mem::take(&mut inner.mappings)
                .into_iter()
                .partition(|(_, (_, physical))| dies(physical));
            inner.mappings = kept;
            (handles, gone)
        });
        // Outside the lock: dropping them changes the device's account.
        drop(gone);
    }
}

/// Exported memory about to lose its last reference: the device's available bytes before.
struct Leaving {
    free: Option<Free>,
}

impl Leaving {
    fn of<B: Backend>(physical: &Physical<B>) -> Option<Self> {
        physical.is_exported().then(|| Self {
            free: physical.device.free_now(),
        })
    }
}

/// Returns exported memory that ends with these mappings: nothing else refers to it.
fn last_holds<B: Backend>(ended: &Mappings<B>) -> Vec<Arc<Physical<B>>> {
    let mut last: Vec<Arc<Physical<B>>> = Vec::new();
    for (_, physical) in ended
        .values()
        .filter(|(_, physical)| physical.is_exported())
    {
        let here = ended
            .values()
            .filter(|(_, other)| Arc::ptr_eq(other, physical));
        if Arc::strong_count(physical) == here.count() {
            last.push(physical.clone());
        }
    }
    last
}

/// Handles the end of an unknown reference, which belongs to an import: this process's memory by it
/// was measured as overhead.
fn import_ended<B: Backend>(inside: &Reentry) {
    if let Target::Device(device, _) = B::process().target_inside(inside) {
        device.overhead_moved();
    }
}
