//! The binding: how a process makes the objects behind the four traits when it uses a device.
//!
//! A backend names a type for each trait, and these traits make them. A type of one's own
//! implements two traits: one of the four, and the trait here that opens it.

use std::sync::atomic::AtomicU64;

use crate::device::DeviceIdentity;
use crate::limiter::RateLimiter;
use crate::memory::MemoryTracker;
use crate::process::ProcessManager;
use crate::region::Attachment;
use crate::share::params::Params;
use crate::tenant::{Tenant, TenantError};

/// A memory tracker that a process opens for a device.
pub trait OpenMemory: MemoryTracker + Sized {
    /// Takes a place on `device`, which has `total` bytes.
    ///
    /// # Errors
    ///
    /// A region or a control page that cannot be used. Memory then fails closed.
    fn open(
        tenant: &'static Tenant,
        device: &DeviceIdentity,
        total: u64,
    ) -> Result<Self, TenantError>;

    /// Returns the place in the tenant's region, where this process publishes its figures.
    fn place(&self) -> &Attachment;
}

/// A share of a device's time, as a limiter is opened for it.
#[derive(Debug, Clone, Copy)]
pub struct ShareOf<'a> {
    /// The tenant whose share it is.
    pub tenant: &'a Tenant,
    /// The device.
    pub device: &'a DeviceIdentity,
    /// The limits in force.
    pub params: Params,
    /// The word in which this process publishes since when a launch waits, ns; 0 while none does.
    pub wait_word: &'static AtomicU64,
}

/// A rate limiter that a process opens for a device.
pub trait OpenLimiter: RateLimiter + Sized {
    /// Opens the limiter. `told` takes remarks for people. `None`: launches go unlimited.
    ///
    /// The thread that needs it first may have a small stack: a limiter is large, so it is made on
    /// the heap.
    fn open(share: &ShareOf<'_>, told: &dyn Fn(&str)) -> Option<Box<Self>>;
}

/// A process manager that is made for a tenant.
pub trait OpenProcesses: ProcessManager + Sized {
    /// Makes the manager of the tenant's processes.
    fn open(tenant: &Tenant) -> Self;
}
