//! This process: its tenant, its devices, what happens at fork, and the shield between our code and the host's.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use fcsp_core::config::{Source, file};
use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_core::state::StateDir;
use fcsp_core::tenant::Tenant;
pub use fcsp_hook::setup::{Inside, SetupOnce, complain, logging, shielded};
use fcsp_hook::setup::{SetupTurns, Thread};

use crate::device::Device;
use crate::driver::real;
use crate::ffi::cuda::{
    CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID,
    CUcontext, CUdevice, CUdevice_attribute, CUuuid,
};

/// What this process is to FCSP.
#[derive(Debug)]
pub enum Status {
    /// Nobody asked for anything: every call goes straight to the driver.
    Ungoverned,
    /// A tenant's process.
    Governed(Governed),
    /// Somebody asked for limits that cannot be kept, for this reason. Memory fails closed.
    Broken(String),
}

/// A tenant's process and its devices.
#[derive(Debug)]
pub struct Governed {
    /// The tenant.
    pub tenant: Tenant,
    devices: Box<[DeviceCell]>,
}

#[derive(Debug, Default)]
struct DeviceCell {
    device: AtomicPtr<Device>,
}

/// The device of a process that has just one, once it is used: most processes, and one load for them.
static SOLE: AtomicPtr<Device> = AtomicPtr::new(core::ptr::null_mut());

#[inline]
fn sole() -> Option<&'static Device> {
    // SAFETY: devices are leaked, never freed. Acquire pairs with the Release in `attach`.
    unsafe { SOLE.load(Ordering::Acquire).as_ref() }
}

/// Null until the first call that matters; replaced by null in a forked child.
static STATUS: AtomicPtr<Status> = AtomicPtr::new(core::ptr::null_mut());
static SETTING_UP: SetupTurns = SetupTurns::new();

/// This process's status. The first call after the driver is ready sets it up, which takes files and a few
/// milliseconds; later calls are one load.
#[inline]
pub fn status() -> Option<&'static Status> {
    // Acquire: the status was fully made before its address was published.
    let known = STATUS.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: statuses are leaked, never freed.
        return Some(unsafe { &*known });
    }
    set_up()
}

/// The governed process, if it is one and the driver is initialised.
#[inline]
pub fn governed() -> Option<&'static Governed> {
    match status() {
        Some(Status::Governed(governed)) => Some(governed),
        _ => None,
    }
}

#[cold]
fn set_up() -> Option<&'static Status> {
    let _turn = SETTING_UP.take();
    let known = STATUS.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: as in `status`.
        return Some(unsafe { &*known });
    }
    let config = match file::in_force() {
        Ok(config) => config,
        Err(error) => return Some(publish(Status::Broken(error.to_string()))),
    };
    if config.source == Source::Nothing && config.tenant.is_none() {
        return Some(publish(Status::Ungoverned));
    }
    let mut count = 0;
    // Before cuInit there is nothing to govern and nothing to be asked; the driver itself refuses allocations.
    // SAFETY: writes one integer that outlives the call.
    if unsafe { real::cuDeviceGetCount.get()?(&mut count) } != 0 {
        return None;
    }
    // SAFETY: both handlers are plain functions for the life of the process, and the library is never unloaded.
    unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
    let status = match Tenant::join(&StateDir::locate(), &config) {
        Ok(tenant) if names_no_device(&tenant, count) => Status::Broken(
            "the memory limits name none of the devices that this process has; a limit for all of them has no device in front"
                .to_owned(),
        ),
        Ok(tenant) => Status::Governed(Governed {
            tenant,
            devices: (0..count).map(|_| DeviceCell::default()).collect(),
        }),
        Err(error) => Status::Broken(error.to_string()),
    };
    Some(publish(status))
}

/// Whether there are memory limits, and none of them is for any of the `count` devices. Somebody asked for limits and
/// would get none.
fn names_no_device(tenant: &Tenant, count: i32) -> bool {
    let Ok((_, limits)) = tenant.limits() else {
        return false;
    };
    !limits.memory.is_empty()
        && count > 0
        && (0..count)
            .filter_map(identify)
            .all(|device| limits.memory.for_device(&device).is_none())
}

fn publish(status: Status) -> &'static Status {
    if let Status::Broken(reason) = &status {
        complain(reason);
    }
    let leaked: &'static mut Status = Box::leak(Box::new(status));
    // Release pairs with the Acquire in `status`.
    STATUS.store(leaked, Ordering::Release);
    leaked
}

/// Async-signal-safe: plain stores and closes. CUDA does not survive a fork, but a child that forked before its parent
/// used the device may use it, and then joins with a slot of its own.
extern "C" fn after_fork_in_child() {
    SOLE.store(core::ptr::null_mut(), Ordering::Release);
    let known = STATUS.swap(core::ptr::null_mut(), Ordering::AcqRel);
    SETTING_UP.forget();
    crate::memory::forget_everything();
    crate::launch::forget_everything();
    // SAFETY: statuses are leaked, never freed; the child has this one thread.
    if let Some(Status::Governed(governed)) = unsafe { known.as_ref() } {
        for cell in &governed.devices {
            // SAFETY: devices are leaked, never freed.
            if let Some(device) = unsafe { cell.device.load(Ordering::Acquire).as_ref() } {
                device.attachment().abandon_in_child();
            }
        }
    }
}

impl Governed {
    /// The device with this ordinal, attached on first use. `None` if it cannot be: memory then fails closed.
    pub fn device(&'static self, ordinal: CUdevice) -> Option<&'static Device> {
        let cell = usize::try_from(ordinal)
            .ok()
            .and_then(|index| self.devices.get(index))?;
        let known = cell.device.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: devices are leaked, never freed.
            return Some(unsafe { &*known });
        }
        self.attach(ordinal, cell)
    }

    /// Devices this process has used.
    pub fn devices(&self) -> impl Iterator<Item = &'static Device> + '_ {
        // SAFETY: devices are leaked, never freed.
        self.devices
            .iter()
            .filter_map(|cell| unsafe { cell.device.load(Ordering::Acquire).as_ref() })
    }

    #[cold]
    fn attach(&'static self, ordinal: CUdevice, cell: &DeviceCell) -> Option<&'static Device> {
        let _turn = SETTING_UP.take();
        let known = cell.device.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: devices are leaked, never freed.
            return Some(unsafe { &*known });
        }
        let identity = identify(ordinal)?;
        match Device::open(&self.tenant, ordinal, identity) {
            Ok(device) => {
                let leaked: &'static mut Device = Box::leak(Box::new(device));
                let leaked: &'static Device = leaked;
                cell.device
                    .store(core::ptr::from_ref(leaked).cast_mut(), Ordering::Release);
                if self.devices.len() == 1 {
                    SOLE.store(core::ptr::from_ref(leaked).cast_mut(), Ordering::Release);
                }
                let mut used = self.devices();
                let first = used.next();
                crate::launch::devices_changed(if used.next().is_none() { first } else { None });
                Some(leaked)
            }
            Err(error) => {
                complain(&error.to_string());
                None
            }
        }
    }
}

fn attribute(device: CUdevice, which: CUdevice_attribute) -> Option<i32> {
    let mut value = 0;
    // SAFETY: writes one integer that outlives the call.
    (unsafe { real::cuDeviceGetAttribute.get()?(&mut value, which, device) } == 0).then_some(value)
}

/// A device attribute as a count.
pub fn count_attribute(device: CUdevice, which: CUdevice_attribute) -> u64 {
    attribute(device, which)
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(0)
}

fn identify(ordinal: CUdevice) -> Option<DeviceIdentity> {
    let mut uuid = CUuuid::zeroed();
    // The second version tells MIG instances apart; the first is all that drivers before 11.4 have.
    let result = match real::cuDeviceGetUuid_v2.get() {
        // SAFETY: writes 16 bytes that outlive the call.
        Some(real) => unsafe { real(&mut uuid, ordinal) },
        // SAFETY: as above.
        None => unsafe { real::cuDeviceGetUuid.get()?(&mut uuid, ordinal) },
    };
    if result != 0 {
        return None;
    }
    let byte = |which| attribute(ordinal, which).and_then(|value| u8::try_from(value).ok());
    let pci = match (
        attribute(ordinal, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID),
        byte(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID),
        byte(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID),
    ) {
        (Some(domain), Some(bus), Some(device)) => Some(PciAddress {
            domain: domain.cast_unsigned(),
            bus,
            device,
            function: 0,
        }),
        _ => None,
    };
    Some(DeviceIdentity {
        index: Some(ordinal.cast_unsigned()),
        uuid: DeviceUuid(uuid.bytes),
        pci,
    })
}

/// Takes in limits that were changed from outside, while a thread waits at its gate.
pub fn notice_new_limits() {
    if let Some(governed) = governed() {
        for device in governed.devices() {
            device.compute();
        }
    }
}

/// What a memory wrapper is to do.
pub enum Scope {
    /// Hand the call to the driver and think no more of it.
    Pass,
    /// The call belongs to this device, in this context.
    On(&'static Device, CUcontext),
    /// Refuse: limits were asked for and cannot be kept.
    Refuse,
}

/// Forgets which device contexts belong to; called when a context dies, since its address may be used again.
pub fn forget_context() {
    CONTEXT_EPOCH.fetch_add(1, Ordering::Relaxed);
}

static CONTEXT_EPOCH: AtomicU32 = AtomicU32::new(0);

/// The calling thread's current context and its device.
pub fn current() -> Option<(CUcontext, CUdevice)> {
    Thread::with(current_in)
}

#[inline]
fn current_in(thread: &Thread) -> Option<(CUcontext, CUdevice)> {
    let mut context: CUcontext = core::ptr::null_mut();
    // SAFETY: writes one pointer that outlives the call.
    if unsafe { real::cuCtxGetCurrent.get()?(&mut context) } != 0 || context.is_null() {
        return None;
    }
    let epoch = CONTEXT_EPOCH.load(Ordering::Relaxed);
    if thread.context.get() == context as usize && thread.epoch.get() == epoch {
        return Some((context, thread.ordinal.get()));
    }
    let mut device = -1;
    // SAFETY: writes one integer that outlives the call.
    if unsafe { real::cuCtxGetDevice.get()?(&mut device) } != 0 {
        return None;
    }
    thread.context.set(context as usize);
    thread.ordinal.set(device);
    thread.epoch.set(epoch);
    Some((context, device))
}

/// The scope of a call that concerns the current context's device.
#[inline]
pub fn scope() -> Scope {
    Thread::with(scope_in)
}

/// The same, from inside a wrapper.
#[inline]
pub fn scope_inside(inside: &Inside) -> Scope {
    scope_in(inside.thread())
}

#[inline]
fn scope_in(thread: &Thread) -> Scope {
    if let Some(device) = sole() {
        let mut context: CUcontext = core::ptr::null_mut();
        // SAFETY: writes one pointer that outlives the call.
        let asked = real::cuCtxGetCurrent
            .get()
            .is_some_and(|real| unsafe { real(&mut context) } == 0);
        return if asked && !context.is_null() {
            Scope::On(device, context)
        } else {
            Scope::Pass
        };
    }
    match status() {
        Some(Status::Governed(governed)) => match current_in(thread) {
            Some((context, ordinal)) => match governed.device(ordinal) {
                Some(device) => Scope::On(device, context),
                None => Scope::Refuse,
            },
            // No context: the driver refuses in its own words.
            None => Scope::Pass,
        },
        Some(Status::Broken(_)) => Scope::Refuse,
        _ => Scope::Pass,
    }
}

/// The scope of a call made inside a wrapper where the context does not matter: [`Scope::On`] may name none. Without a
/// current context the driver refuses by itself.
#[inline]
pub fn scope_of_device(inside: &Inside) -> Scope {
    match sole() {
        Some(device) => Scope::On(device, core::ptr::null_mut()),
        None => scope_inside(inside),
    }
}

/// The scope of a call that names its device.
pub fn scope_of(ordinal: CUdevice) -> Scope {
    match status() {
        Some(Status::Governed(governed)) => match governed.device(ordinal) {
            Some(device) => Scope::On(device, core::ptr::null_mut()),
            // An ordinal that does not exist is the driver's to refuse.
            None if identify(ordinal).is_none() => Scope::Pass,
            None => Scope::Refuse,
        },
        Some(Status::Broken(_)) => Scope::Refuse,
        _ => Scope::Pass,
    }
}
