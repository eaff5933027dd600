//! The protocol of every allocation: hold the bytes, call the driver, enter what it gave or release. A refusal never
//! reaches the driver.
//!
//! Imports are the exporter's memory and are not charged twice: backends do not wrap those functions. An address that is
//! not known here always goes to the driver.

use crate::backend::Backend;
use crate::device::Device;
use crate::process::Scope;
use crate::setup::Inside;

/// What is known of one live allocation.
#[derive(Clone)]
pub struct Record<B: Backend> {
    /// The device that pays.
    pub device: &'static Device<B>,
    /// The context it belongs to: it dies with it. 0 for memory that outlives contexts.
    pub context: usize,
    /// Bytes held against the quota.
    pub bytes: u64,
    /// Where it came from.
    pub origin: Origin<B::Origin>,
}

/// Where an allocation came from.
#[derive(Debug, Clone)]
pub enum Origin<O> {
    /// The driver's own heap; the management library counts it.
    Heap,
    /// Memory that is charged in full and is not in the management library's figure for the process, such as managed
    /// memory.
    Uncounted,
    /// As the backend says.
    Own(O),
}

/// What the driver gives up with an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// Bytes, 0 for none: what the allocation is part of stays.
    pub bytes: u64,
    /// Whether the management library counts them.
    pub counted: bool,
}

impl Given {
    /// Nothing.
    pub const NOTHING: Self = Self {
        bytes: 0,
        counted: false,
    };
}

/// What an allocation asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The driver's function, for the log.
    pub what: &'static str,
    /// Bytes that the driver is expected to take, its rounding included.
    pub bytes: u64,
    /// Whether the management library will count them.
    pub counted: bool,
}

/// Hold, call, enter or roll back, on the calling thread's device; with [`allocate`] for the rest. Everything goes straight
/// to the driver inside a wrapper and where nobody governs.
pub fn allocate_here<B: Backend>(
    request: Request,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    match B::process().scope_inside(&inside) {
        Scope::On(device, context) => allocate(device, context, request, call, address, true_bytes, free),
        Scope::Pass => call(),
        Scope::Refuse => B::OUT_OF_MEMORY,
    }
}

/// Hold, call, enter or roll back. After the driver has written its result, `address` reads it, and `true_bytes` says what
/// was truly taken, where the driver decides that. An allocation that passes the quota by what could not be foreseen is
/// taken back through `free`.
#[inline]
pub fn allocate<B: Backend>(
    device: &'static Device<B>,
    context: usize,
    request: Request,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    let held = request.bytes;
    if let Err(denied) = device.hold(held) {
        device.refused(request.what, &denied);
        return B::OUT_OF_MEMORY;
    }
    let change = device.change();
    let result = call();
    if result != B::SUCCESS {
        drop(change);
        device.release(held);
        return result;
    }
    let truly = true_bytes();
    if truly > held {
        device.charge(truly - held);
    } else if truly < held {
        device.release(held - truly);
    }
    if request.counted {
        change.gained(truly);
    }
    drop(change);
    let origin = if request.counted {
        Origin::Heap
    } else {
        Origin::Uncounted
    };
    enter(
        address(),
        Record {
            device,
            context,
            bytes: truly,
            origin,
        },
    );
    if truly > held && device.is_over() {
        return give_back::<B>(address(), free);
    }
    B::SUCCESS
}

/// Holds `bytes` around a call that takes them, and has the management library's count expect them. For memory that the
/// backend keeps its own books of; it must give them back with [`Device::lost`] and [`Device::release`].
pub fn take<B: Backend>(
    device: &'static Device<B>,
    what: &'static str,
    bytes: u64,
    call: impl FnOnce() -> B::Status,
) -> B::Status {
    if let Err(denied) = device.hold(bytes) {
        device.refused(what, &denied);
        return B::OUT_OF_MEMORY;
    }
    let change = device.change();
    let result = call();
    if result == B::SUCCESS {
        change.gained(bytes);
    } else {
        drop(change);
        device.release(bytes);
    }
    result
}

/// Enters an allocation under its address or handle.
#[inline]
pub fn enter<B: Backend>(address: u64, record: Record<B>) {
    if let Some(stale) = B::process().live().insert(address, record) {
        // The address was freed by a route that we did not see.
        forget(&stale);
    }
}

/// Takes an allocation back that turned out to pass the quota.
#[cold]
pub fn give_back<B: Backend>(address: u64, free: impl FnOnce(u64) -> B::Status) -> B::Status {
    if let Some(record) = B::process().live().remove(address) {
        free_record::<B>(address, record, || free(address));
    }
    B::OUT_OF_MEMORY
}

/// Frees `address` through `call` and gives back what was held for it.
#[inline]
pub fn free<B: Backend>(address: u64, call: impl FnOnce() -> B::Status) -> B::Status {
    let Some(_inside) = Inside::enter() else {
        return call();
    };
    match B::process().live().remove(address) {
        Some(record) => free_record(address, record, call),
        None => {
            let result = call();
            B::freed_unknown();
            result
        }
    }
}

/// What the driver gives up with what `record` stands for.
#[inline]
fn leaves<B: Backend>(record: &Record<B>) -> Given {
    match &record.origin {
        Origin::Heap => Given {
            bytes: record.bytes,
            counted: true,
        },
        Origin::Uncounted => Given {
            bytes: record.bytes,
            counted: false,
        },
        Origin::Own(origin) => B::leaves(record, origin),
    }
}

/// Frees what `record` stands for, which is out of the books already: the driver may hand the address out again at once.
/// If it refuses, the record goes back in.
fn free_record<B: Backend>(address: u64, record: Record<B>, call: impl FnOnce() -> B::Status) -> B::Status {
    let device = record.device;
    let given = leaves(&record);
    let change = (given.bytes > 0).then(|| device.change());
    let result = call();
    if result == B::SUCCESS {
        if let Some(change) = change {
            if given.counted {
                change.lost(given.bytes);
            }
            drop(change);
            device.release(given.bytes);
        }
    } else {
        drop(change);
        if let Origin::Own(origin) = &record.origin {
            B::stays(&record, origin, given);
        }
        B::process().live().insert(address, record);
    }
    result
}

/// Gives back what a record held, whose memory is gone.
pub fn forget<B: Backend>(record: &Record<B>) {
    let given = leaves(record);
    if given.bytes > 0 {
        if given.counted {
            record.device.lost(given.bytes);
        }
        record.device.release(given.bytes);
    }
}

/// Forgets everything that lived in a context that is gone and gives its bytes back.
pub fn context_died<B: Backend>(context: usize) {
    for record in B::process()
        .live()
        .drain(|_, record| record.context == context && record.context != 0)
    {
        forget(&record);
    }
}
