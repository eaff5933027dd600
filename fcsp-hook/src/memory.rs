//! The protocol of every allocation: hold the bytes, call the driver, enter what it gave or
//! release. A refusal never reaches the driver.
//!
//! Imports are the exporter's memory and are not charged twice: backends do not wrap those
//! functions. An address that is not known here always goes to the driver.
//!
//! | room | for drivers that have |
//! |---|---|
//! | [`pieces`] | slabs from which they cut small requests |
//! | [`pool`] | memory pools, charged by what a pool reserves |
//! | [`physical`] | physical memory by handle and mapping |
//! | [`graph`] | graphs with memory nodes |

mod ending;
mod entered;
pub mod graph;
pub mod physical;
pub mod pieces;
pub mod pool;

pub use ending::{Ending, context_ends};
pub(crate) use entered::Contexts;
pub use entered::enter;
use entered::{of_word, put_back, take_out, take_word};

use crate::backend::Backend;
use crate::device::{Device, DriverCall, Hold};
use crate::process::{Managed, Target};
use crate::setup::Reentry;

/// Record of one live allocation.
#[derive(Clone)]
pub struct Record<B: Backend> {
    /// The device that pays.
    pub device: &'static Device<B>,
    /// The context it belongs to: it dies with it. 0 for memory that outlives contexts.
    pub context: usize,
    /// Bytes held against the quota.
    pub bytes: u64,
    /// Source of the allocation.
    pub origin: Origin<B::Origin>,
}

/// Source of an allocation.
#[derive(Debug, Clone)]
pub enum Origin<O> {
    /// The driver's own heap; the management library counts it.
    Heap,
    /// Memory that is charged in full and is not in the management library's figure for the
    /// process, such as managed memory.
    Uncounted,
    /// As the backend says.
    Own(O),
}

/// Bytes that the driver releases with an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// Bytes, 0 for none: what the allocation is part of stays.
    pub bytes: u64,
    /// True if the management library counts them.
    pub counted: bool,
}

impl Freed {
    /// Nothing.
    pub const NOTHING: Self = Self {
        bytes: 0,
        counted: false,
    };
}

/// Request for an allocation.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The driver's function, for the log.
    pub what: &'static str,
    /// Bytes that the driver is expected to take, its rounding included.
    pub bytes: u64,
    /// True if the management library will count them.
    pub counted: bool,
}

/// Makes an allocation on the calling thread's device, as [`allocate`] does. Inside a wrapper, and
/// in a process without limits, the call goes straight to the driver.
pub fn allocate_here<B: Backend>(
    request: Request,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    match B::process().target_inside(&inside) {
        Target::Device(device, context) => {
            allocate(device, context, request, call, address, true_bytes, free)
        }
        Target::PassThrough => call(),
        Target::Deny => B::OUT_OF_MEMORY,
    }
}

/// Makes an allocation: holds its bytes, calls the driver, then enters or rolls back. After the
/// driver has written its result, `address` reads it, and `true_bytes` returns the size that the
/// driver chose. An allocation that passes the quota by that size is taken back through `free`.
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
    let Some(small) = device.take_small(held, request.counted) else {
        return allocate_by_ledger(device, context, request, &call, &address, &true_bytes, free);
    };
    let result = call();
    if result != B::SUCCESS {
        small.given();
        return result;
    }
    let bytes = true_bytes();
    small.taken(bytes);
    let record = Record {
        device,
        context,
        bytes,
        origin: Origin::Heap,
    };
    enter_taken(address(), record, held, free)
}

/// Makes an allocation that is not small, or is near the quota: two atomic changes of the ledger,
/// and one or two of the process's account.
fn allocate_by_ledger<B: Backend>(
    device: &'static Device<B>,
    context: usize,
    request: Request,
    call: &impl Fn() -> B::Status,
    address: &impl Fn() -> u64,
    true_bytes: &impl Fn() -> u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    let hold = match device.hold(request.bytes) {
        Ok(hold) => hold,
        Err(denied) => {
            device.refused(request.what, &denied);
            return B::OUT_OF_MEMORY;
        }
    };
    allocate_held(
        device, context, request, &hold, call, address, true_bytes, free,
    )
}

/// Makes an allocation whose bytes are held: calls the driver, then enters or rolls back.
#[expect(
    clippy::too_many_arguments,
    reason = "those of `allocate`, and the hold"
)]
#[inline]
fn allocate_held<B: Backend>(
    device: &'static Device<B>,
    context: usize,
    request: Request,
    hold: &Hold<'_>,
    call: &impl Fn() -> B::Status,
    address: &impl Fn() -> u64,
    true_bytes: &impl Fn() -> u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    let held = request.bytes;
    let passing = device.passing(hold.is_near(), held, 0);
    let result = call();
    if result != B::SUCCESS {
        passing.failed();
        device.release(held);
        return result;
    }
    let truly = true_bytes();
    if truly > held {
        device.charge(truly - held);
    } else if truly < held {
        device.release(held - truly);
    }
    passing.succeeded(if request.counted { truly } else { 0 });
    let origin = if request.counted {
        Origin::Heap
    } else {
        Origin::Uncounted
    };
    let record = Record {
        device,
        context,
        bytes: truly,
        origin,
    };
    enter_taken(address(), record, held, free)
}

/// Enters what the driver has given, for which `held` bytes were held.
#[inline]
fn enter_taken<B: Backend>(
    address: u64,
    record: Record<B>,
    held: u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    let (device, bytes) = (record.device, record.bytes);
    enter(address, record);
    if bytes > held {
        return refuse_if_over(device, bytes, address, free);
    }
    B::SUCCESS
}

/// Takes an allocation back if it passes the quota by more than its request.
#[cold]
fn refuse_if_over<B: Backend>(
    device: &'static Device<B>,
    truly: u64,
    address: u64,
    free: impl FnOnce(u64) -> B::Status,
) -> B::Status {
    if device.is_over() {
        device.count_refusal(truly);
        return give_back::<B>(address, free);
    }
    B::SUCCESS
}

/// Returns a wrapper's answer. A refusal stands where the driver would accept the request's other
/// arguments, as `usable` tells. Elsewhere the driver itself answers, through `call`. Memory that
/// it grants all the same is given back through `undo`.
#[inline]
pub fn or_wrong_argument<B: Backend>(
    result: B::Status,
    usable: impl FnOnce() -> bool,
    call: impl FnOnce() -> B::Status,
    undo: impl FnOnce(),
) -> B::Status {
    if result != B::OUT_OF_MEMORY || usable() {
        return result;
    }
    let _inside = Reentry::enter();
    // What is granted is in no account: it must not be measured, nor refuse another thread.
    let devices = B::process()
        .governed()
        .into_iter()
        .flat_map(Managed::devices);
    let _beside: Vec<_> = devices.map(Unaccounted::begin).collect();
    let by_driver = call();
    if by_driver == B::SUCCESS {
        undo();
        return B::OUT_OF_MEMORY;
    }
    by_driver
}

/// Bracket around a driver call whose memory no account has, and around its undo.
struct Unaccounted<B: Backend> {
    device: &'static Device<B>,
    change: Option<DriverCall<'static>>,
    _request: Hold<'static>,
}

impl<B: Backend> Unaccounted<B> {
    fn begin(device: &'static Device<B>) -> Self {
        Self {
            _request: device.hold_nothing(),
            change: Some(device.change()),
            device,
        }
    }
}

impl<B: Backend> Drop for Unaccounted<B> {
    fn drop(&mut self) {
        drop(self.change.take());
        self.device.overhead_moved();
    }
}

/// Makes an allocation that shares pages with others of its kind, as [`allocate`] does. The driver
/// may take up to `spare` bytes more. Near the quota they are held until they are measured; far
/// from it a later measurement has them.
pub fn allocate_sharing<B: Backend>(
    device: &'static Device<B>,
    context: usize,
    request: Request,
    spare: u64,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
) -> B::Status {
    // Never taken back: what is held is what is entered.
    let keep = |_| B::UNKNOWN;
    let true_bytes = || request.bytes;
    if spare == 0 || !device.is_near() {
        let result = allocate(device, context, request, call, address, true_bytes, keep);
        device.overhead_changed();
        return result;
    }
    let hold = match device.hold(request.bytes.saturating_add(spare)) {
        Ok(hold) => hold,
        Err(denied) => {
            device.refused(request.what, &denied);
            return B::OUT_OF_MEMORY;
        }
    };
    let result = allocate_held(
        device,
        context,
        request,
        &hold,
        &call,
        &address,
        &true_bytes,
        keep,
    );
    if result == B::SUCCESS {
        device.held_became_overhead(spare, 0);
    } else {
        device.release(spare);
    }
    result
}

/// Holds `bytes` around a call that takes them, and has the management library's count expect them.
/// For memory of which the backend keeps its own records. The backend must give the bytes back with
/// [`Device::lost`] and [`Device::release`].
pub fn take<B: Backend>(
    device: &'static Device<B>,
    what: &'static str,
    bytes: u64,
    call: impl FnOnce() -> B::Status,
) -> B::Status {
    let hold = match device.hold(bytes) {
        Ok(hold) => hold,
        Err(denied) => {
            device.refused(what, &denied);
            return B::OUT_OF_MEMORY;
        }
    };
    let passing = device.passing(hold.is_near(), bytes, 0);
    let result = call();
    if result == B::SUCCESS {
        passing.succeeded(bytes);
    } else {
        passing.failed();
        device.release(bytes);
    }
    result
}

/// Takes an allocation back that turned out to pass the quota.
#[cold]
pub fn give_back<B: Backend>(address: u64, free: impl FnOnce(u64) -> B::Status) -> B::Status {
    if let Some(record) = take_out::<B>(address) {
        free_record::<B>(address, record, || free(address));
    }
    B::OUT_OF_MEMORY
}

/// Frees `address` through `call` and gives back what was held for it.
#[inline]
pub fn free<B: Backend>(address: u64, call: impl FnOnce() -> B::Status) -> B::Status {
    if B::process().is_free() {
        return call();
    }
    match Reentry::enter() {
        Some(inside) => free_inside::<B>(&inside, address, call),
        None => call(),
    }
}

/// Frees an allocation inside a wrapper.
#[inline]
pub fn free_inside<B: Backend>(
    _inside: &Reentry,
    address: u64,
    call: impl FnOnce() -> B::Status,
) -> B::Status {
    let word = take_word::<B>(address);
    if word == 0 {
        return free_elsewhere::<B>(address, call);
    }
    let Some((device, given)) = of_word::<B>(word) else {
        return call();
    };
    let Some(small) = device.give_small(given) else {
        return free_by_ledger(device, given, address, word, call);
    };
    let result = call();
    if result == B::SUCCESS {
        small.given();
    } else {
        put_back::<B>(address, word);
    }
    result
}

fn free_by_ledger<B: Backend>(
    device: &'static Device<B>,
    given: Freed,
    address: u64,
    word: u64,
    call: impl FnOnce() -> B::Status,
) -> B::Status {
    let result = give_up(device, given, call);
    if result != B::SUCCESS {
        put_back::<B>(address, word);
    }
    result
}

/// Runs a call that gives memory back.
#[inline]
fn give_up<B: Backend>(
    device: &'static Device<B>,
    given: Freed,
    call: impl FnOnce() -> B::Status,
) -> B::Status {
    if given.bytes == 0 {
        return call();
    }
    let lost = if given.counted { given.bytes } else { 0 };
    let passing = device.passing(device.is_near(), given.bytes, lost);
    let result = call();
    if result == B::SUCCESS {
        passing.succeeded(0);
        device.release(given.bytes);
    } else {
        passing.failed();
    }
    result
}

/// Frees what does not begin at a page, or is special, or is not known.
fn free_elsewhere<B: Backend>(address: u64, call: impl FnOnce() -> B::Status) -> B::Status {
    match B::process().live().remove(address) {
        Some(record) => free_record(address, record, call),
        None => {
            let result = call();
            B::freed_untracked();
            result
        }
    }
}

/// Returns the bytes that the driver releases with the allocation of `record`.
#[inline]
fn leaves<B: Backend>(record: &Record<B>) -> Freed {
    match &record.origin {
        Origin::Heap => Freed {
            bytes: record.bytes,
            counted: true,
        },
        Origin::Uncounted => Freed {
            bytes: record.bytes,
            counted: false,
        },
        Origin::Own(origin) => B::leaves(record, origin),
    }
}

/// Frees the allocation of `record`, which is out of the allocation table already: the driver may
/// hand the address out again at once. If the driver refuses, the record goes back in.
fn free_record<B: Backend>(
    address: u64,
    record: Record<B>,
    call: impl FnOnce() -> B::Status,
) -> B::Status {
    let device = record.device;
    let given = leaves(&record);
    let result = give_up(device, given, call);
    if result != B::SUCCESS {
        if let Origin::Own(origin) = &record.origin {
            B::stays(&record, origin, given);
        }
        enter(address, record);
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
    if context == 0 {
        return;
    }
    let process = B::process();
    for record in process.live().drain(|_, record| record.context == context) {
        forget(&record);
    }
    entered::drop_context::<B>(context);
}
