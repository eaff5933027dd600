//! The traits that a backend implements: one for each thing that it says of its vendor's driver.
//!
//! | trait | implemented in a backend's | about |
//! |---|---|---|
//! | [`Driver`] | `vendor.rs` | status codes, and the state of this process |
//! | [`Devices`] | `device.rs` | devices and current contexts |
//! | [`MemoryReport`] | `info/process_memory.rs` | figures of the management library and the driver |
//! | [`DriverMemory`] | `memory/mod.rs` | pools, graphs and other memory that the driver keeps |
//! | [`EventTiming`] | `events.rs` | events, their times, and names of kernels |
//! | [`Capture`] | `launch.rs` | queues that record work instead of doing it |
//! | [`Fork`] | `fork.rs` | state that a forked child forgets |
//!
//! [`Backend`] is all of them together.
//!
//! Every method calls the driver's real functions, never a wrapper. Handles of the vendor's
//! (contexts, queues, events, functions) cross as plain numbers: pointers mostly, never 0.

use core::ffi::c_void;
use core::fmt::Debug;

use fcsp_core::binding::{OpenLimiter, OpenMemory, OpenProcesses};
use fcsp_core::classifier::StreamClassifier;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::units::{Ppm, WHOLE};

use crate::device::{Device, Listed};
use crate::memory::{Freed, Record};
use crate::process::Process;

/// Progress of the device with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not yet reached.
    Pending,
    /// Passed.
    Done,
    /// Unknown: the driver reports an error, which the application will find.
    Failed,
}

/// Status codes of one vendor's driver, and the state of this process. Implemented by the unit
/// struct of each backend, in its `vendor.rs`.
pub trait Driver: Sized + Copy + Debug + Send + Sync + 'static {
    /// Status that the driver's functions return: an integer.
    type Status: Copy + Eq + Debug + 'static;
    /// Status of a call that succeeded.
    const SUCCESS: Self::Status;
    /// Status of the driver when no memory is left. A refusal returns it.
    const OUT_OF_MEMORY: Self::Status;
    /// Status for an unforeseen error. A wrapper returns it after a panic of FCSP.
    const UNKNOWN: Self::Status;

    /// Returns the state of this process: a static of the backend.
    fn process() -> &'static Process<Self>
    where
        Self: Backend;
}

/// Devices, known by their number in this process from 0, and the contexts on them.
pub trait Devices: Driver {
    /// State that the backend keeps for each device; `()` if none.
    type PerDevice: Debug + Send + Sync + 'static;

    /// Size of a context in bytes until it is measured, and permanently where it cannot be
    /// measured: more than the largest that was seen.
    const CONTEXT_ESTIMATE: u64;
    /// True if launches can be held back. Elsewhere a share has no effect: device time is only
    /// counted, if [`crate::setup::accounts_time`] asks for it.
    const HOLDS_BACK: bool = true;

    /// Checks the environment variables that only this backend has. Called once, in a tenant's
    /// process.
    ///
    /// # Errors
    ///
    /// A sentence that names the variable and the accepted form. The process then counts as one
    /// whose limits cannot be read: memory fails closed.
    fn check_settings() -> Result<(), String> {
        Ok(())
    }

    /// Returns the number of devices of this process. `None` while the driver is not initialised:
    /// the caller asks again later.
    fn device_count() -> Option<i32>;
    /// Returns the device's identity, the same in every process. `None` if there is no such device.
    fn identify(ordinal: i32) -> Option<DeviceIdentity>;
    /// Returns the device's memory in bytes. 0 if the driver does not answer: a quota in percent
    /// then allows nothing.
    fn total_memory(ordinal: i32) -> u64;
    /// Makes the state for a device that this process begins to use.
    fn per_device(ordinal: i32) -> Self::PerDevice;
    /// Returns the part of the device's compute units that this process uses, of
    /// [`fcsp_core::units::WHOLE`]. Its time counts as that part of the device's time.
    fn part_of(_device: &Device<Self>) -> Ppm
    where
        Self: Backend,
    {
        WHOLE
    }
    /// Returns the calling thread's context. A driver without contexts returns another number for
    /// the current device, never 0. `None` if none is current: the driver then refuses the call.
    fn current_context() -> Option<usize>;
    /// Returns the device of the calling thread's context, which is `context`. The hook remembers
    /// it for each thread until [`Process::forget_context`].
    fn device_of_current(context: usize) -> Option<i32>;
}

/// Figures of the management library and of the driver for a device's memory.
pub trait MemoryReport: Driver {
    /// Returns the bytes that the driver holds for this process on a device, by the management
    /// library. `None` if there is no such library, or if it does not know the figure.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64>;
    /// True if the management library lists processes by the numbers of the first PID namespace.
    /// [`MemoryReport::listed`] and [`DriverMemory::with_block`] then find this process where it
    /// has another number.
    const LISTS: bool = false;
    /// Returns the processes on a device as the management library lists them. `None` if it does
    /// not answer.
    fn listed(_device: &DeviceIdentity) -> Option<Vec<Listed>> {
        None
    }
    /// Returns true if this machine has the management library.
    fn has_management() -> bool;
    /// Returns the device's free bytes by the driver, for machines without the management library.
    fn free_by_driver(device: &Device<Self>) -> Option<u64>
    where
        Self: Backend;
    /// Returns the device's free bytes by the management library. Called around calls that take or
    /// give back memory where that library does not know this process's figure, and around the end
    /// of exported memory.
    fn free(_device: &DeviceIdentity) -> Option<u64> {
        None
    }
    /// Returns the used bytes of the device that the management library attributes to no visible
    /// process. Processes that a PID namespace hides are included.
    fn unattributed_bytes(_device: &DeviceIdentity) -> Option<u64> {
        None
    }
}

/// Memory that the driver keeps beside plain allocations: pools, graphs, slabs, mappings.
pub trait DriverMemory: Driver {
    /// Source of an allocation beside the driver's heap; [`core::convert::Infallible`] if there is
    /// none.
    type Origin: Clone + Send + Sync + 'static;

    /// Takes `bytes` on a device from the driver, calls `look`, and gives them back. Returns true
    /// if they were taken. `context` is a live context of this process there, and need not be
    /// current.
    fn with_block(
        _device: &Device<Self>,
        _context: usize,
        _bytes: u64,
        _look: &mut dyn FnMut(),
    ) -> bool
    where
        Self: Backend,
    {
        false
    }
    /// Reads again how much memory pools and the like have reserved. Called before a refusal, and
    /// before the tenant is told its free memory.
    fn refresh(_device: &Device<Self>)
    where
        Self: Backend,
    {
    }
    /// Enters the bytes that pools and graphs have reserved by now. Part of
    /// [`DriverMemory::refresh`] and of every measurement, so it must not measure.
    fn reconcile_pools(_device: &Device<Self>)
    where
        Self: Backend,
    {
    }
    /// Makes pools give back the memory that no allocation uses, as the driver does before it
    /// refuses a request. Returns true if any was given back. Called before a refusal.
    fn reclaim(_device: &Device<Self>) -> bool
    where
        Self: Backend,
    {
        false
    }
    /// Returns the bytes that the driver will release with an allocation from a source of the
    /// backend's own. Called before the free, or after its context is gone.
    fn leaves(record: &Record<Self>, origin: &Self::Origin) -> Freed
    where
        Self: Backend;
    /// Rolls [`DriverMemory::leaves`] back, which returned `given`: the driver did not free the
    /// allocation.
    fn stays(_record: &Record<Self>, _origin: &Self::Origin, _given: Freed)
    where
        Self: Backend,
    {
    }
    /// Forgets the memory that the backend itself has recorded for a context, which is gone.
    fn context_died(_context: usize) {}
    /// Notes that memory was freed which is in no record.
    #[inline]
    fn freed_untracked() {}
    /// Notes that the host has waited for the device: pools may hold less.
    #[inline]
    fn after_synchronisation() {}
    /// Returns true if host memory was not allocated by the driver: a copy into it returns once it
    /// is complete.
    fn is_pageable(_memory: *const c_void) -> bool {
        false
    }
}

/// Events on queues (streams, command queues, immediate lists), their times, and names of kernels.
pub trait EventTiming: Driver {
    /// Time that two events around a launch add to its span while the device is busy, compared with
    /// the same launch between others of its kind, ns.
    const BUSY_BRACKET_NS: u64;
    /// Span of two events with nothing between them, on the device where the other two constants
    /// were measured, ns. The span is measured again on the device at hand, and the difference is
    /// added to both.
    const EMPTY_BRACKET_NS: u64 = Self::BUSY_BRACKET_NS;
    /// Launch latency that remains in a span on an idle device once the host's time is subtracted,
    /// ns.
    const IDLE_BRACKET_NS: u64;
    /// True if a queue may only be destroyed once the device has passed everything on it, events of
    /// FCSP included.
    const QUEUES_END_IDLE: bool = false;

    /// Returns the context in which events for `queue` are made.
    fn event_context(queue: usize) -> Option<usize>;
    /// Makes an event in `context`, which is current or the queue's. `timed` events have a time. A
    /// backend without events returns `None`: launches are then charged by estimates, and
    /// synchronisations reconcile them.
    fn create_event(context: usize, timed: bool) -> Option<usize>;
    /// Records an event, new or passed, at the end of `queue`. Returns true if that succeeded.
    fn record_event(event: usize, queue: usize) -> bool;
    /// Destroys an event that [`EventTiming::create_event`] made. Called while the event's context
    /// is alive, and never for an event that another thread may be asked about.
    fn destroy_event(event: usize);
    /// Returns true if a call that waits for `queue` may record an event on it. False where only
    /// one thread at a time may use a queue: another thread may be launching on it.
    fn marks_while_waiting(_queue: usize) -> bool {
        true
    }
    /// Returns the device's progress with an event.
    fn event_progress(event: usize) -> Progress;
    /// Returns the time between two timed events that have passed, ns.
    fn elapsed_ns(first: usize, second: usize) -> Option<u64>;
    /// Returns the name of the kernel that a function handle launches.
    fn kernel_name(function: usize) -> Option<String>;
}

/// Queues that record work rather than do it. Work is charged when a recording is launched.
pub trait Capture: Driver {
    /// Guard that lets this thread make and query events while another thread records. `()` where
    /// the driver allows it anyway.
    type Beside;

    /// Returns true if any queue of this process may be recording work instead of doing it.
    #[inline]
    fn is_recording() -> bool {
        false
    }
    /// Returns true if this queue is recording. Called only while any queue may be.
    fn records(_queue: usize) -> bool {
        false
    }
    /// Begins a question to the driver. Until the guard is dropped, this thread may make, record,
    /// query and destroy events although another thread is recording. Each question takes its own
    /// guard; the program's own call takes none. Without the guard an open recording would be a way
    /// around the share.
    fn beside_recordings() -> Self::Beside;
}

/// State of the backend's own that a forked child forgets.
pub trait Fork: Driver {
    /// Forgets the state. Async-signal-safe: plain stores.
    fn forget_in_child() {}
}

/// One vendor's driver with everything that the neutral crates ask of it, and the binding: the
/// types that decide for its tenants. Each backend names its four in `vendor.rs`. They are called
/// as they are, without a table of functions.
pub trait Backend:
    Driver + Devices + MemoryReport + DriverMemory + EventTiming + Capture + Fork
{
    /// Decides whether a tenant may hold bytes. Every allocation goes through it.
    type Memory: OpenMemory + Debug + Send + Sync + 'static;
    /// Decides whether work may start. Every launch goes through it.
    type Limiter: OpenLimiter + Debug + 'static;
    /// Decides what kind of work a kernel is.
    type Classifier: StreamClassifier + Default + Debug + 'static;
    /// Type that finds the live processes of a tenant.
    type Processes: OpenProcesses;
}
