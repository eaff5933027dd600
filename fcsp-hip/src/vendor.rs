//! The vendor's type, and this process as the wrappers ask for it. Imports no other module that
//! imports this one.

use core::sync::atomic::Ordering;

use fcsp_hook::backend::{Backend, Driver};
use fcsp_hook::overhead;
use fcsp_hook::process::Process;
pub use fcsp_hook::setup::{Reentry, SetupOnce, catch_panic, log_refusal, logging};

use crate::call_real;
use crate::ffi::hip::*;

/// AMD's runtime.
#[derive(Debug, Clone, Copy)]
pub struct Hip;

/// A device that this process uses.
pub type Device = fcsp_hook::device::Device<Hip>;
/// The target of a call in a memory wrapper.
pub type Target = fcsp_hook::process::Target<Hip>;
/// The state of this process.
pub type Status = fcsp_hook::process::Status<Hip>;
/// A tenant's process and its devices.
pub type Managed = fcsp_hook::process::Managed<Hip>;
/// The entry of one live allocation.
pub type Record = fcsp_hook::memory::Record<Hip>;

/// The binding: the types that decide for tenants on this vendor's devices.
impl Backend for Hip {
    type Memory = fcsp_binding::Memory;
    type Limiter = fcsp_binding::Limiter;
    type Classifier = fcsp_binding::Classifier;
    type Processes = fcsp_binding::Processes;
}

impl Driver for Hip {
    type Status = hipError_t;
    const SUCCESS: hipError_t = hipSuccess;
    const OUT_OF_MEMORY: hipError_t = hipErrorOutOfMemory;
    const UNKNOWN: hipError_t = hipErrorUnknown;

    #[inline]
    fn process() -> &'static Process<Self> {
        static PROCESS: Process<Hip> = Process::new();
        &PROCESS
    }
}

/// Returns a number that describes a device; `None` if the runtime does not report it.
pub(crate) fn attribute(device: hipDevice_t, which: hipDeviceAttribute_t) -> Option<i32> {
    let mut value = 0;
    (call_real!(hipDeviceGetAttribute(&mut value, which, device)) == hipSuccess).then_some(value)
}

/// Returns the number that stands for a device's context.
pub fn context_of(ordinal: i32) -> usize {
    ordinal.unsigned_abs() as usize + 1
}

/// Returns the tenant's process, if this is one.
#[inline]
pub fn governed() -> Option<&'static Managed> {
    Hip::process().governed()
}

/// Returns true unless limits were asked for that cannot be kept.
pub fn governed_or_unknown() -> bool {
    !Hip::process().is_broken()
}

/// Returns the target of a call that concerns the current device.
#[inline]
pub fn target() -> Target {
    used(Hip::process().target())
}

/// Returns the same from inside a wrapper. A process that has just one device is on it, and its
/// context is known by its ordinal: the runtime need not be asked.
#[inline]
pub fn target_inside(inside: &Reentry) -> Target {
    match Hip::process().target_of_device(inside) {
        Target::Device(device, _) => used(Target::Device(device, context_of(device.ordinal))),
        other => other,
    }
}

/// Returns the target of a call that names its device.
pub fn target_of(ordinal: hipDevice_t) -> Target {
    Hip::process().target_of(ordinal)
}

/// Charges the runtime's own memory on first use. That call makes the runtime take memory there for
/// itself, whatever the call is. That is charged before the call itself is looked at, and refused
/// with it where there is no room.
#[inline]
fn used(target: Target) -> Target {
    match target {
        // Acquire pairs with the Release below: who finds the device in use also finds its memory
        // charged.
        Target::Device(device, _) if !device.own.in_use.load(Ordering::Acquire) => {
            first_use(device)
        }
        target => target,
    }
}

#[cold]
fn first_use(device: &'static Device) -> Target {
    let context = context_of(device.ordinal);
    // A question that needs the device and changes nothing.
    let call = || {
        let (mut free, mut total) = (0usize, 0usize);
        call_real!(hipMemGetInfo(&mut free, &mut total))
    };
    let _turn = device.context_turn();
    if device.own.in_use.load(Ordering::Acquire) {
        return Target::Device(device, context);
    }
    let result = overhead::makes_context(Target::Device(device, context), call, || context, || {});
    if result == hipErrorOutOfMemory {
        return Target::Deny;
    }
    if result == hipSuccess {
        device.own.in_use.store(true, Ordering::Release);
    }
    Target::Device(device, context)
}

/// Returns the true name of stream 0, which entry points of the per-thread kind take for another
/// stream.
#[inline]
pub(crate) fn named(stream: hipStream_t, per_thread: bool) -> usize {
    let named = match (stream.is_null(), per_thread) {
        (true, true) => STREAM_PER_THREAD,
        (true, false) => STREAM_LEGACY,
        _ => stream,
    };
    named as usize
}
