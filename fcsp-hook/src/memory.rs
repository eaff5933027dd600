//! The protocol of every allocation: hold the bytes, call the driver, enter what it gave or release. A refusal never
//! reaches the driver.
//!
//! Imports are the exporter's memory and are not charged twice: backends do not wrap those functions. An address that is
//! not known here always goes to the driver.
//!
//! | room | for drivers that have |
//! |---|---|
//! | [`pieces`] | slabs from which they cut small requests |
//! | [`pool`] | memory pools, charged by what a pool reserves |
//! | [`physical`] | physical memory by handle and mapping |
//! | [`graph`] | graphs with memory nodes |

pub mod graph;
pub mod physical;
pub mod pieces;
pub mod pool;

use core::sync::atomic::{AtomicUsize, Ordering};

use fcsp_core::region::ledger::UNIT;

use crate::addresses::PAGE;
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
    let taking = match device.taking(held, request.counted) {
        Ok(taking) => taking,
        Err(denied) => {
            device.refused(request.what, &denied);
            return B::OUT_OF_MEMORY;
        }
    };
    let result = call();
    if result != B::SUCCESS {
        taking.failed();
        return result;
    }
    let truly = true_bytes();
    taking.succeeded(truly);
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
        device.attachment().count_refusal(truly);
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
    // The usual case: a page of which something is known already, and which nothing stands at.
    if let Some(word) = pack(address, &record)
        && let Some(entry) = B::process().addresses().find(address)
        && entry.whole.load(Ordering::Relaxed) == 0
    {
        // The driver gives an address to one thread at a time, so nobody enters another allocation here meanwhile. Release:
        // whoever frees it, told of the address by this thread, finds it.
        entry.whole.store(word, Ordering::Release);
        return;
    }
    enter_elsewhere(address, record);
}

#[cold]
fn enter_elsewhere<B: Backend>(address: u64, record: Record<B>) {
    let process = B::process();
    let stale = match pack(address, &record)
        .and_then(|word| process.addresses().entry(address).map(|entry| (word, entry)))
    {
        Some((word, entry)) => unpack(entry.whole.swap(word, Ordering::AcqRel)),
        None => process.live().insert(address, record),
    };
    if let Some(stale) = stale {
        // The address was freed by a route that we did not see.
        forget(&stale);
    }
}

/// Takes out the word of an allocation that begins at a page; 0 if none does.
#[inline]
fn take_word<B: Backend>(address: u64) -> u64 {
    if address.is_multiple_of(PAGE)
        && let Some(entry) = B::process().addresses().find(address)
        && entry.whole.load(Ordering::Relaxed) != 0
    {
        // Of two frees of one address, one gets it.
        return entry.whole.swap(0, Ordering::AcqRel);
    }
    0
}

/// Takes an allocation out of the books.
fn take_out<B: Backend>(address: u64) -> Option<Record<B>> {
    match take_word::<B>(address) {
        0 => B::process().live().remove(address),
        word => unpack(word),
    }
}

/// Numbers for the contexts of this process, so that a record of one fits in a word.
#[derive(Debug)]
pub(crate) struct Contexts([AtomicUsize; CONTEXTS]);

const CONTEXTS: usize = 127;

impl Contexts {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; CONTEXTS])
    }

    /// The number of `context`: 0 for none, `None` if there are too many.
    #[inline]
    fn number(&self, context: usize) -> Option<u64> {
        if context == 0 {
            return Some(0);
        }
        for (index, place) in self.0.iter().enumerate() {
            let known = place.load(Ordering::Relaxed);
            // Relaxed: a number says nothing but which handle stands there, and it stands until the context is dead.
            let is_it = known == context
                || known == 0
                    && match place.compare_exchange(0, context, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => true,
                        Err(other) => other == context,
                    };
            if is_it {
                return Some(index as u64 + 1);
            }
        }
        None
    }

    fn handle(&self, number: u64) -> usize {
        match number.checked_sub(1) {
            Some(index) => self.0[index as usize % CONTEXTS].load(Ordering::Relaxed),
            None => 0,
        }
    }

    fn known(&self, context: usize) -> Option<(u64, &AtomicUsize)> {
        let index = self
            .0
            .iter()
            .position(|place| place.load(Ordering::Relaxed) == context)?;
        Some((index as u64 + 1, &self.0[index]))
    }
}

const UNITS_BITS: u32 = 36;
const CONTEXT_AT: u32 = UNITS_BITS;
const DEVICE_AT: u32 = CONTEXT_AT + 7;
const COUNTED: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;

/// `{present: 1 bit, counted: 1 bit, device: 19 bits, context: 7 bits, units of 512 bytes: 36 bits}`, for an allocation
/// that begins at a page and is nothing special.
#[inline]
fn pack<B: Backend>(address: u64, record: &Record<B>) -> Option<u64> {
    let counted = match record.origin {
        Origin::Heap => COUNTED,
        Origin::Uncounted => 0,
        Origin::Own(_) => return None,
    };
    let units = record.bytes / UNIT;
    let device = u64::try_from(record.device.ordinal).ok()?;
    if !address.is_multiple_of(PAGE)
        || !record.bytes.is_multiple_of(UNIT)
        || units >> UNITS_BITS != 0
        || device >> 19 != 0
    {
        return None;
    }
    let context = B::process().contexts().number(record.context)?;
    Some(PRESENT | counted | device << DEVICE_AT | context << CONTEXT_AT | units)
}

/// The device of a word, and what the driver gives up with what it stands for.
#[inline]
fn of_word<B: Backend>(word: u64) -> Option<(&'static Device<B>, Given)> {
    let ordinal = (word >> DEVICE_AT & ((1 << 19) - 1)) as i32;
    let given = Given {
        bytes: (word & ((1 << UNITS_BITS) - 1)) * UNIT,
        counted: word & COUNTED != 0,
    };
    Some((B::process().device(ordinal)?, given))
}

fn unpack<B: Backend>(word: u64) -> Option<Record<B>> {
    if word == 0 {
        return None;
    }
    let (device, given) = of_word::<B>(word)?;
    Some(Record {
        device,
        context: B::process().contexts().handle(word >> CONTEXT_AT & 0x7f),
        bytes: given.bytes,
        origin: if given.counted {
            Origin::Heap
        } else {
            Origin::Uncounted
        },
    })
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
    match Inside::enter() {
        Some(inside) => free_inside::<B>(&inside, address, call),
        None => call(),
    }
}

/// The same inside a wrapper.
#[inline]
pub fn free_inside<B: Backend>(
    _inside: &Inside,
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
    let giving = device.giving(given);
    let result = call();
    if result == B::SUCCESS {
        giving.succeeded();
    } else {
        giving.failed();
        put_back::<B>(address, word);
    }
    result
}

/// The driver has not freed what `word` stands for after all.
#[cold]
fn put_back<B: Backend>(address: u64, word: u64) {
    if let Some(record) = unpack::<B>(word) {
        enter(address, record);
    }
}

/// Frees what does not begin at a page, or is special, or is not known.
fn free_elsewhere<B: Backend>(address: u64, call: impl FnOnce() -> B::Status) -> B::Status {
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
    let giving = device.giving(given);
    let result = call();
    if result == B::SUCCESS {
        giving.succeeded();
    } else {
        giving.failed();
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
    let Some((number, place)) = process.contexts().known(context) else {
        return;
    };
    process.addresses().for_each(|_, entry| {
        let word = entry.whole.load(Ordering::Relaxed);
        if word != 0
            && word >> CONTEXT_AT & 0x7f == number
            && entry
                .whole
                .compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && let Some(record) = unpack::<B>(word)
        {
            forget(&record);
        }
    });
    place.store(0, Ordering::Relaxed);
}
