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
use crate::memory::{Given, Record};
use crate::process::Process;

/// How far the device has come with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not yet reached.
    Pending,
    /// Passed.
    Done,
    /// It cannot be told: an error, which is the application's to find.
    Failed,
}

/// Status codes of one vendor's driver, and the state of this process. Implemented by the unit
/// struct of each backend, in its `vendor.rs`.
pub trait Driver: Sized + Copy + Debug + Send + Sync + 'static {
    /// What the driver's functions return: an integer.
    type Status: Copy + Eq + Debug + 'static;
    /// All went well.
    const SUCCESS: Self::Status;
    /// The driver's own answer when there is no memory left: what a refusal looks like.
    const OUT_OF_MEMORY: Self::Status;
    /// Something unforeseen: the answer after a panic of ours.
    const UNKNOWN: Self::Status;

    /// The state of this process: a static of the backend's.
    fn process() -> &'static Process<Self>
    where
        Self: Backend;
}

/// Devices, known by their number in this process from 0, and the contexts on them.
pub trait Devices: Driver {
    /// State that the backend keeps for each device; `()` if none.
    type PerDevice: Debug + Send + Sync + 'static;

    /// A context's size in bytes until it is measured, and for good where that cannot be done: more
    /// than the most that has been seen.
    const CONTEXT_ESTIMATE: u64;
    /// Whether launches are ever held back. Where they are not, a share has no effect: device time
    /// is counted if [`crate::setup::accounts_time`] asks for that, and launches have nothing to
    /// ask otherwise.
    const HOLDS_BACK: bool = true;

    /// Whether variables that only this backend has say something that can be read. Asked once, in
    /// a tenant's process.
    ///
    /// # Errors
    ///
    /// What is wrong, in a sentence that names the variable and what it takes. The process is then
    /// as one whose limits cannot be read: memory fails closed.
    fn check_settings() -> Result<(), String> {
        Ok(())
    }

    /// How many devices this process has; `None` while the driver is not initialised: it is asked
    /// again later.
    fn device_count() -> Option<i32>;
    /// The device's identity, the same in every process; `None` if there is no such device.
    fn identify(ordinal: i32) -> Option<DeviceIdentity>;
    /// Bytes of the device's memory; 0 if it cannot be asked, and a share of it then allows
    /// nothing.
    fn total_memory(ordinal: i32) -> u64;
    /// Makes the state for a device that this process begins to use.
    fn per_device(ordinal: i32) -> Self::PerDevice;
    /// The part of the device's compute units that this process's work runs on, as a part of
    /// [`fcsp_core::units::WHOLE`]; its time there is worth that part of the device.
    fn part_of(_device: &Device<Self>) -> Ppm
    where
        Self: Backend,
    {
        WHOLE
    }
    /// The calling thread's context; where there are none, something else that stands for the
    /// current device, and is not 0. `None` if there is no current one: the driver will refuse in
    /// its own words.
    fn current_context() -> Option<usize>;
    /// The device of the calling thread's context, which is `context`. Remembered for each thread
    /// until [`Process::forget_context`].
    fn device_of_current(context: usize) -> Option<i32>;
}

/// Figures of the management library and of the driver for a device's memory.
pub trait MemoryReport: Driver {
    /// Bytes the driver holds for this process on a device, as the management library says of this
    /// process's number; `None` if there is no such library, or it does not show this process or
    /// does not know its figure.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64>;
    /// Whether the management library lists processes by numbers of the first PID namespace.
    /// [`MemoryReport::listed`] and [`DriverMemory::with_block`] then find this process where it
    /// has another number.
    const LISTS: bool = false;
    /// The processes on a device as the management library lists them; `None` if it cannot be
    /// asked.
    fn listed(_device: &DeviceIdentity) -> Option<Vec<Listed>> {
        None
    }
    /// Whether this machine has the management library at all.
    fn has_management() -> bool;
    /// The device's free bytes as the driver says, where there is no management library.
    fn free_by_driver(device: &Device<Self>) -> Option<u64>
    where
        Self: Backend;
    /// The device's free bytes as the management library says. Asked around calls that take or give
    /// back memory where that library does not know what this process holds, and around the end of
    /// memory that was exported.
    fn free(_device: &DeviceIdentity) -> Option<u64> {
        None
    }
    /// Bytes in use on the device that the management library shows with no process, those of
    /// processes that it does not show here included.
    fn of_nobody(_device: &DeviceIdentity) -> Option<u64> {
        None
    }
}

/// Memory that the driver keeps beside plain allocations: pools, graphs, slabs, mappings.
pub trait DriverMemory: Driver {
    /// Where an allocation came from, if not simply from the driver's heap;
    /// [`core::convert::Infallible`] if nowhere else.
    type Origin: Clone + Send + Sync + 'static;

    /// Takes `bytes` on a device from the driver, calls `look`, and gives them back. Returns
    /// whether they were taken. `context` is a live one of this process's there, and need not be
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
    /// Asks again how much memory pools and the like have reserved: before a refusal, and for an
    /// answer.
    fn refresh(_device: &Device<Self>)
    where
        Self: Backend,
    {
    }
    /// Enters what pools and graphs have reserved by now. Part of [`DriverMemory::refresh`], and of
    /// every measurement: it takes none.
    fn settle_pools(_device: &Device<Self>)
    where
        Self: Backend,
    {
    }
    /// Has pools give back what they keep and no allocation uses, as the driver does before it
    /// refuses a request. Returns whether anything was given back. Asked before a refusal.
    fn reclaim(_device: &Device<Self>) -> bool
    where
        Self: Backend,
    {
        false
    }
    /// An allocation with an origin of the backend's own is about to be freed, or is gone with its
    /// context: what the driver gives up with it.
    fn leaves(record: &Record<Self>, origin: &Self::Origin) -> Given
    where
        Self: Backend;
    /// The driver did not free it after all; `given` is what [`DriverMemory::leaves`] said.
    fn stays(_record: &Record<Self>, _origin: &Self::Origin, _given: Given)
    where
        Self: Backend,
    {
    }
    /// A context is gone, and with it what the backend has kept for itself of its memory.
    fn context_died(_context: usize) {}
    /// Memory was freed that is in no record.
    #[inline]
    fn freed_unknown() {}
    /// After the host has waited for the device: pools may hold less.
    #[inline]
    fn after_synchronisation() {}
    /// Whether memory of the host is not the driver's: a copy into it comes back when it is done.
    fn is_pageable(_memory: *const c_void) -> bool {
        false
    }
}

/// Events on queues (streams, command queues, immediate lists), their times, and names of kernels.
pub trait EventTiming: Driver {
    /// What two events around a launch add to its span while the device is busy, against the same
    /// launch between others of its kind, ns.
    const BUSY_BRACKET_NS: u64;
    /// What two events show with nothing between them where the figures beside this one were
    /// measured, ns. Devices differ: it is measured on the one at hand, and the difference added to
    /// both.
    const EMPTY_BRACKET_NS: u64 = Self::BUSY_BRACKET_NS;
    /// What is left of the launch's own latency when the device was idle and the host's time is
    /// taken off, ns.
    const IDLE_BRACKET_NS: u64;
    /// Whether a queue may only be destroyed once the device has passed everything on it, our own
    /// events included.
    const QUEUES_END_IDLE: bool = false;

    /// The context in which events for `queue` are made.
    fn event_context(queue: usize) -> Option<usize>;
    /// Makes an event in `context`, which is current or the queue's; `timed` events can be told
    /// apart in time. A backend without events answers `None`: launches are then charged by
    /// guesses, and put right by synchronisations.
    fn create_event(context: usize, timed: bool) -> Option<usize>;
    /// Records an event, new or passed, at the end of `queue`; returns whether that was done.
    fn record_event(event: usize, queue: usize) -> bool;
    /// Ends an event that [`EventTiming::create_event`] made. Called while the event's context is
    /// alive, and never for an event that another thread may be asked about.
    fn destroy_event(event: usize);
    /// Whether a call that waits for `queue` may put an event on it. False where one thread at a
    /// time may use a queue: another may be in the middle of a launch on it.
    fn marks_while_waiting(_queue: usize) -> bool {
        true
    }
    /// How far the device has come with it.
    fn event_progress(event: usize) -> Progress;
    /// Ns between two timed events that have passed.
    fn elapsed_ns(first: usize, second: usize) -> Option<u64>;
    /// The name of the kernel that `function` stands for at a launch.
    fn kernel_name(function: usize) -> Option<String>;
}

/// Queues that record work rather than do it. Work is charged when a recording is launched.
pub trait Capture: Driver {
    /// A guard under which this thread makes and asks events beside recordings; `()` where those do
    /// not mind.
    type Beside;

    /// Whether any queue of this process may be recording work rather than doing it.
    #[inline]
    fn is_recording() -> bool {
        false
    }
    /// Whether this queue is. Asked only while any may be.
    fn records(_queue: usize) -> bool {
        false
    }
    /// Begins a question to the driver: until what this returns is dropped, this thread may make,
    /// record, query and destroy events although another thread is recording. One for each
    /// question, and none around the program's own call. Where such a question would break the
    /// recording, a launch on a queue that is not recorded must not be let by for that: one
    /// recording left open would be a way around the share.
    fn beside_recordings() -> Self::Beside;
}

/// State of the backend's own that a forked child forgets.
pub trait Fork: Driver {
    /// Forgets it. Async-signal-safe: plain stores.
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
