//! Tenant and devices of this process, and their reset in a forked child.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use fcsp_core::allocations::Allocations;
use fcsp_core::clock::now_ns;
use fcsp_core::config::{Source, names};
use fcsp_core::state::StateDir;
use fcsp_core::tenant::{Tenant, TenantError};

use crate::addresses::Addresses;
use crate::backend::Backend;
use crate::compute::Compute;
use crate::device::Device;
use crate::embedding;
use crate::fork;
use crate::launch::Bypass;
use crate::memory::{Contexts, Record};
use crate::setup::{
    ForkSafeLock, Reentry, SetupOnce, Thread, Uncancelled, Undisturbed, log_refusal, logging,
};

/// Status of this process towards FCSP.
#[derive(Debug)]
pub enum Status<B: Backend> {
    /// Nobody set limits: every call goes straight to the driver.
    Unmanaged,
    /// The process belongs to a tenant.
    Managed(Managed<B>),
    /// Limits were set but cannot be enforced, for this reason. Memory fails closed.
    Broken(String),
}

/// A tenant's process and its devices.
#[derive(Debug)]
pub struct Managed<B: Backend> {
    /// The tenant.
    pub tenant: Tenant,
    devices: Box<[DeviceCell<B>]>,
}

#[derive(Debug)]
struct DeviceCell<B: Backend> {
    device: AtomicPtr<Device<B>>,
}

/// Decision for a memory wrapper.
pub enum Target<B: Backend> {
    /// Pass the call to the driver unchanged.
    PassThrough,
    /// The call belongs to this device and context; the context is 0 where it was not asked for.
    Device(&'static Device<B>, usize),
    /// Refuse the call: limits were set but cannot be enforced.
    Deny,
}

/// Not yet known.
const UNKNOWN: u32 = 0;
/// No tenant: launches go straight to the driver.
const UNMANAGED: u32 = 1;
/// The process belongs to a tenant.
const MANAGED: u32 = 2;

/// Time between two attempts to set up, after a failure that may pass, ns.
const RETRY_NS: u64 = 1_000_000_000;

/// State of a backend in this process. Each backend has one, a static; see
/// [`crate::backend::Driver::process`].
#[derive(Debug)]
pub struct Process<B: Backend> {
    /// Word that a launch checks to go straight to the driver.
    pub(crate) bypass: Bypass<B>,
    /// [`UNKNOWN`], [`UNMANAGED`] or [`MANAGED`]: the cached answer of [`Self::is_free`].
    state: AtomicU32,
    /// Number of contexts that died. A new value makes the contexts that threads cached void.
    epoch: AtomicU32,
    /// The device, if this process uses just one; null otherwise.
    only: AtomicPtr<Device<B>>,
    /// The device of a process that has just one, once it is used; null otherwise. Most processes
    /// have one, and then need one load.
    sole: AtomicPtr<Device<B>>,
    /// Null until the first call that needs it, and again in a forked child.
    status: AtomicPtr<Status<B>>,
    /// Status after the last failed attempt to set up, where the failure may pass; null without
    /// one. `status` stays null meanwhile.
    failed: AtomicPtr<Status<B>>,
    /// Time of the next attempt, ns of `CLOCK_MONOTONIC`. Written before `failed`.
    retry_ns: AtomicU64,
    live: AtomicPtr<Allocations<Record<B>>>,
    addresses: Addresses,
    contexts: Contexts,
    setting_up: ForkSafeLock,
}

impl<B: Backend> Process<B> {
    /// Creates the state of a process of which nothing is known yet.
    #[expect(clippy::new_without_default, reason = "for statics only")]
    pub const fn new() -> Self {
        Self {
            bypass: Bypass::new(),
            state: AtomicU32::new(UNKNOWN),
            epoch: AtomicU32::new(0),
            only: AtomicPtr::new(core::ptr::null_mut()),
            sole: AtomicPtr::new(core::ptr::null_mut()),
            status: AtomicPtr::new(core::ptr::null_mut()),
            failed: AtomicPtr::new(core::ptr::null_mut()),
            retry_ns: AtomicU64::new(0),
            live: AtomicPtr::new(core::ptr::null_mut()),
            addresses: Addresses::new(),
            contexts: Contexts::new(),
            setting_up: ForkSafeLock::new(),
        }
    }

    /// Returns this process's status; `None` before the driver is ready.
    ///
    /// The first call after that sets the process up, which takes files and a few milliseconds.
    /// Later calls are one load.
    #[inline]
    pub fn status(&'static self) -> Option<&'static Status<B>> {
        // Acquire: the status was fully made before its address was published.
        let known = self.status.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: statuses are leaked, never freed.
            return Some(unsafe { &*known });
        }
        self.set_up()
    }

    /// Returns the managed process, if it is one and the driver is initialised.
    #[inline]
    pub fn governed(&'static self) -> Option<&'static Managed<B>> {
        match self.status() {
            Some(Status::Managed(governed)) => Some(governed),
            _ => None,
        }
    }

    /// Returns whether limits were set that cannot be enforced: no device can then be used.
    pub fn is_broken(&'static self) -> bool {
        matches!(self.status(), Some(Status::Broken(_)))
    }

    #[cold]
    fn set_up(&'static self) -> Option<&'static Status<B>> {
        if let Some(failed) = self.failed_lately() {
            return Some(failed);
        }
        let _lasting = Uncancelled::begin();
        let config = match embedding::in_force() {
            Ok(config) => config,
            Err(error) => return Some(self.publish(Status::Broken(error.to_string()))),
        };
        if logging() {
            say_wrong_names();
        }
        if config.source == Source::Nothing && config.tenant.is_none() {
            return Some(self.publish(Status::Unmanaged));
        }
        // Before anything is locked or opened: a child that is forked at any later instant starts
        // anew.
        fork::watch(after_fork_in_child::<B>);
        fork::check();
        let _undisturbed = Undisturbed::begin();
        let _turn = self.setting_up.take();
        let known = self.status.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: as in `status`.
            return Some(unsafe { &*known });
        }
        if let Some(failed) = self.failed_lately() {
            return Some(failed);
        }
        if !config.spatial.is_empty() {
            // Compute units must be set before a process starts. `fcsp run` does that, and removes
            // this variable.
            log_refusal(
                "FCSP_SPATIAL holds for programs that `fcsp run` starts: no compute units are kept",
            );
        }
        if let Err(reason) = B::check_settings() {
            return Some(self.publish(Status::Broken(reason)));
        }
        // Before the driver is initialised there is nothing to limit, and the driver refuses
        // allocations by itself.
        let count = B::device_count()?;
        let status = match Tenant::join(&StateDir::provide(), &config) {
            Ok(tenant) if names_no_device::<B>(&tenant, count) => Status::Broken(
                "the memory limits name none of the devices that this process has; a limit for all of them has no device in front"
                    .to_owned(),
            ),
            Ok(tenant) => Status::Managed(Managed {
                tenant,
                devices: (0..count)
                    .map(|_| DeviceCell {
                        device: AtomicPtr::new(core::ptr::null_mut()),
                    })
                    .collect(),
            }),
            Err(error @ TenantError::Config(_)) => Status::Broken(error.to_string()),
            Err(error) => return Some(self.fail_for_now(error.to_string())),
        };
        Some(self.publish(status))
    }

    /// Returns the status of an attempt that failed less than [`RETRY_NS`] ago.
    fn failed_lately(&self) -> Option<&'static Status<B>> {
        // SAFETY: leaked, never freed. Acquire pairs with the Release in `fail_for_now`.
        let failed = unsafe { self.failed.load(Ordering::Acquire).as_ref() }?;
        (now_ns() < self.retry_ns.load(Ordering::Relaxed)).then_some(failed)
    }

    /// Refuses for [`RETRY_NS`]. Some failures pass: a lock of a stopped process, a full disk, a
    /// table without a free descriptor.
    fn fail_for_now(&self, reason: String) -> &'static Status<B> {
        self.retry_ns
            .store(now_ns().saturating_add(RETRY_NS), Ordering::Relaxed);
        // SAFETY: as in `failed_lately`.
        let last = unsafe { self.failed.load(Ordering::Acquire).as_ref() };
        if let Some(last @ Status::Broken(known)) = last
            && *known == reason
        {
            return last;
        }
        log_refusal(&reason);
        let leaked: &'static mut Status<B> = Box::leak(Box::new(Status::Broken(reason)));
        // Release pairs with the Acquire in `failed_lately`.
        self.failed.store(leaked, Ordering::Release);
        leaked
    }

    fn publish(&self, status: Status<B>) -> &'static Status<B> {
        if let Status::Broken(reason) = &status {
            log_refusal(reason);
        }
        let leaked: &'static mut Status<B> = Box::leak(Box::new(status));
        // Release pairs with the Acquire in `status`.
        self.status.store(leaked, Ordering::Release);
        leaked
    }

    /// Applies limits that were changed from outside while a thread waits at its gate.
    pub fn notice_new_limits(&'static self) {
        if let Some(governed) = self.governed() {
            for device in governed.devices() {
                device.compute();
            }
        }
    }

    /// Forgets which device contexts belong to; called when a context dies, since its address may
    /// be used again.
    pub fn forget_context(&self) {
        // Relaxed: a thread learns of a new context at the same address by a synchronisation of the
        // program's own.
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the calling thread's current context and its device.
    pub fn current(&self) -> Option<(usize, i32)> {
        Thread::with(|thread| self.current_in(thread))
    }

    #[inline]
    fn current_in(&self, thread: &Thread) -> Option<(usize, i32)> {
        let context = B::current_context()?;
        let epoch = self.epoch.load(Ordering::Relaxed);
        if thread.context.get() == context && thread.epoch.get() == epoch {
            return Some((context, thread.ordinal.get()));
        }
        let ordinal = B::device_of_current(context)?;
        thread.context.set(context);
        thread.ordinal.set(ordinal);
        thread.epoch.set(epoch);
        Some((context, ordinal))
    }

    /// Returns the target of a call that concerns the current context's device.
    #[inline]
    pub fn target(&'static self) -> Target<B> {
        Thread::with(|thread| self.target_in(thread))
    }

    /// Returns the same as [`Self::target`], from inside a wrapper.
    #[inline]
    pub fn target_inside(&'static self, inside: &Reentry) -> Target<B> {
        inside.with(|thread| self.target_in(thread))
    }

    /// Returns the target of a call inside a wrapper for which the context does not matter:
    /// [`Target::Device`] may name none. Without a current context the driver refuses by itself.
    #[inline]
    pub fn target_of_device(&'static self, inside: &Reentry) -> Target<B> {
        match self.sole() {
            Some(device) => Target::Device(device, 0),
            None => self.target_inside(inside),
        }
    }

    /// Returns the managed device with this ordinal.
    #[inline]
    pub(crate) fn device(&'static self, ordinal: i32) -> Option<&'static Device<B>> {
        match self.sole() {
            Some(device) if device.ordinal == ordinal => Some(device),
            _ => self.governed()?.device(ordinal),
        }
    }

    #[inline]
    fn sole(&self) -> Option<&'static Device<B>> {
        // SAFETY: devices are leaked, never freed. Acquire pairs with the Release in `attach`.
        unsafe { self.sole.load(Ordering::Acquire).as_ref() }
    }

    #[inline]
    fn target_in(&'static self, thread: &Thread) -> Target<B> {
        if let Some(device) = self.sole() {
            return match B::current_context() {
                Some(context) => Target::Device(device, context),
                None => Target::PassThrough,
            };
        }
        match self.status() {
            Some(Status::Managed(governed)) => match self.current_in(thread) {
                Some((context, ordinal)) => match governed.device(ordinal) {
                    Some(device) => Target::Device(device, context),
                    None => Target::Deny,
                },
                // No context: the driver refuses the call itself.
                None => Target::PassThrough,
            },
            Some(Status::Broken(_)) => Target::Deny,
            _ => Target::PassThrough,
        }
    }

    /// Returns the target of a call that names its device.
    pub fn target_of(&'static self, ordinal: i32) -> Target<B> {
        match self.status() {
            Some(Status::Managed(governed)) => match governed.device(ordinal) {
                Some(device) => Target::Device(device, 0),
                // The driver refuses an ordinal that does not exist.
                None if B::identify(ordinal).is_none() => Target::PassThrough,
                None => Target::Deny,
            },
            Some(Status::Broken(_)) => Target::Deny,
            _ => Target::PassThrough,
        }
    }

    /// Returns this process's live allocations that begin at a page of the address space.
    #[inline]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the numbers that stand for contexts in [`Self::addresses`].
    #[inline]
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Returns this process's other live allocations, by address or handle. The table is made on
    /// first use.
    #[inline]
    pub fn live(&self) -> &'static Allocations<Record<B>> {
        // Acquire: made before its address was published.
        let known = self.live.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: leaked, never freed.
            return unsafe { &*known };
        }
        SetupOnce::publish(&self.live, Allocations::default)
    }

    // Launches.

    /// Returns whether the process is unmanaged: launches then go straight to the driver.
    #[inline]
    pub fn is_free(&'static self) -> bool {
        match self.state.load(Ordering::Relaxed) {
            UNMANAGED => true,
            MANAGED => false,
            _ => self.find_out_slowly(),
        }
    }

    #[cold]
    fn find_out_slowly(&'static self) -> bool {
        match self.status() {
            Some(Status::Managed(_)) => {
                self.state.store(MANAGED, Ordering::Relaxed);
                false
            }
            // Only for now: the next launch asks again.
            Some(_) if self.status.load(Ordering::Relaxed).is_null() => true,
            Some(_) => {
                self.state.store(UNMANAGED, Ordering::Relaxed);
                self.bypass.open_for_good();
                true
            }
            // The driver is not initialised: the launch will fail by itself.
            None => true,
        }
    }

    /// Returns the compute share of the device of the calling thread's context, if it has one to
    /// keep.
    #[inline]
    pub fn compute(&'static self) -> Option<&'static Compute<B>> {
        let only = self.only.load(Ordering::Acquire);
        if !only.is_null() {
            // SAFETY: devices are leaked, never freed.
            return unsafe { &*only }.compute();
        }
        match self.target() {
            Target::Device(device, _) => device.compute(),
            _ => None,
        }
    }

    /// Returns the compute share of the device with this ordinal, for calls that name their device.
    #[inline]
    pub fn compute_of(&'static self, ordinal: i32) -> Option<&'static Compute<B>> {
        let only = self.only.load(Ordering::Acquire);
        // SAFETY: devices are leaked, never freed.
        if let Some(only) = unsafe { only.as_ref() }
            && only.ordinal == ordinal
        {
            return only.compute();
        }
        self.governed()?.device(ordinal)?.compute()
    }

    /// Records the device that this process uses, if it is just one; called when one is attached.
    fn devices_changed(&'static self, only: Option<&'static Device<B>>) {
        let only = only.map_or(core::ptr::null_mut(), |device| {
            core::ptr::from_ref(device).cast_mut()
        });
        self.bypass.close();
        self.only.store(only, Ordering::Release);
    }

    /// Tells the launch fast path what the only device enforces at `generation`: no share, or this
    /// one.
    pub(crate) fn keeps(
        &'static self,
        device: &Device<B>,
        generation: u64,
        word: &'static AtomicU64,
        compute: Option<&'static Compute<B>>,
    ) {
        if !core::ptr::eq(self.only.load(Ordering::Acquire), device) {
            return;
        }
        match compute {
            None => self.bypass.open(word, generation),
            Some(compute) => self.bypass.settle(word, generation, compute),
        }
    }
}

/// Logs the variables that look meant for FCSP but have a name that it does not read.
#[cold]
fn say_wrong_names() {
    for (name, _) in std::env::vars_os() {
        if let Some(wrong) = name.to_str().and_then(names::wrong) {
            log_refusal(&wrong.to_string());
        }
    }
}

/// Returns whether there are memory limits and none of them is for any of the `count` devices. Such
/// limits would have no effect, against the user's intent.
fn names_no_device<B: Backend>(tenant: &Tenant, count: i32) -> bool {
    let Ok((_, limits)) = tenant.limits_when_settled() else {
        return false;
    };
    !limits.memory.is_empty()
        && count > 0
        && (0..count)
            .filter_map(B::identify)
            .all(|device| limits.memory.for_device(&device).is_none())
}

/// Resets the process's state in a forked child. Async-signal-safe: plain stores.
///
/// Most drivers do not survive a fork. A child that forked before its parent used the device may
/// use it, and then joins with a slot of its own. [`crate::fork`] releases the parent's slots.
fn after_fork_in_child<B: Backend>() {
    let process = B::process();
    process.sole.store(core::ptr::null_mut(), Ordering::Release);
    process
        .status
        .store(core::ptr::null_mut(), Ordering::Release);
    process
        .failed
        .store(core::ptr::null_mut(), Ordering::Release);
    process.setting_up.forget();
    // New tables: the old ones may hold locks of threads that do not exist in the child.
    process.live.store(core::ptr::null_mut(), Ordering::Release);
    process.addresses.forget();
    B::forget_in_child();
    process.state.store(UNKNOWN, Ordering::Relaxed);
    process.devices_changed(None);
}

impl<B: Backend> Managed<B> {
    /// Returns the device with this ordinal, attached on first use. `None` if it cannot be
    /// attached: memory then fails closed.
    #[inline]
    pub fn device(&'static self, ordinal: i32) -> Option<&'static Device<B>> {
        let cell = usize::try_from(ordinal)
            .ok()
            .and_then(|index| self.devices.get(index))?;
        // Acquire: the device was fully made before its address was published.
        let known = cell.device.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: devices are leaked, never freed.
            return Some(unsafe { &*known });
        }
        self.attach(ordinal, cell)
    }

    /// Returns the devices that this process has used.
    pub fn devices(&self) -> impl Iterator<Item = &'static Device<B>> + '_ {
        // SAFETY: devices are leaked, never freed.
        self.devices
            .iter()
            .filter_map(|cell| unsafe { cell.device.load(Ordering::Acquire).as_ref() })
    }

    #[cold]
    fn attach(&'static self, ordinal: i32, cell: &DeviceCell<B>) -> Option<&'static Device<B>> {
        let process = B::process();
        let _undisturbed = Undisturbed::begin();
        let _turn = process.setting_up.take();
        let known = cell.device.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: devices are leaked, never freed.
            return Some(unsafe { &*known });
        }
        let identity = B::identify(ordinal)?;
        match Device::open(&self.tenant, ordinal, identity) {
            Ok(device) => {
                let leaked = Box::into_raw(Box::new(device));
                // Release pairs with the Acquire in `device`.
                cell.device.store(leaked, Ordering::Release);
                if self.devices.len() == 1 {
                    process.sole.store(leaked, Ordering::Release);
                }
                let mut used = self.devices();
                let first = used.next();
                process.devices_changed(if used.next().is_none() { first } else { None });
                // SAFETY: just leaked, never freed.
                Some(unsafe { &*leaked })
            }
            Err(error) => {
                log_refusal(&error.to_string());
                None
            }
        }
    }
}
