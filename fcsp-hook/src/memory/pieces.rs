//! Small allocations of drivers that cut them from slabs of 2 MiB. The driver frees a slab with its
//! last suballocation. A slab is charged as a whole, once. It is known by its address, to which it
//! is aligned. A suballocation is a size at an offset in it.
//!
//! Nothing is locked: threads that allocate at once meet in the driver, and should not meet in here
//! again.

mod slab;
#[cfg(test)]
mod tests;

use core::sync::atomic::Ordering;

use slab::{Slab, make, slab_of};

use super::free_inside;
use crate::addresses::{Addresses, PAGE};
use crate::backend::Backend;
use crate::device::Device;
use crate::setup::Reentry;

/// Bytes of a slab.
pub const SLAB: u64 = PAGE;
/// Grain of the cutting.
pub const GRAIN: u64 = 512;

/// A suballocation that was taken out of its slab.
struct Piece {
    /// The device that pays for the slab.
    ordinal: i32,
    context: usize,
    bytes: u64,
    /// True if the driver frees the slab with it.
    last: bool,
}

#[inline]
fn grain_of(address: u64) -> usize {
    (address % SLAB / GRAIN) as usize
}

/// Returns the grains of a suballocation of `bytes`.
#[inline]
fn grains_of(bytes: u64) -> u16 {
    bytes.min(SLAB).div_ceil(GRAIN).max(1) as u16
}

/// Records a suballocation. Returns true if its slab is new and must be charged. `None` if it
/// cannot be recorded: out of memory, or an address that no device has. `context` is 0 where none
/// was asked about: the calling thread's then.
#[inline(always)]
fn enter<B: Backend>(
    table: &Addresses,
    device: &Device<B>,
    context: usize,
    address: u64,
    bytes: u64,
) -> Option<bool> {
    let slab = table.find(address).and_then(slab_of);
    match slab.filter(|slab| !slab.is_empty()) {
        Some(slab) => match slab.put(grain_of(address), grains_of(bytes)) {
            0 => Some(false),
            slabs => Some(slabs_changed(slab, device, context, slabs)),
        },
        None => enter_first(table, device, context, address, bytes),
    }
}

/// Does the same for a suballocation that seems to be the first of its slab.
#[cold]
fn enter_first<B: Backend>(
    table: &Addresses,
    device: &Device<B>,
    context: usize,
    address: u64,
    bytes: u64,
) -> Option<bool> {
    let entry = table.entry(address)?;
    let slab = slab_of(entry).or_else(|| make(&entry.own))?;
    // The owner is recorded before the suballocation: a thread that frees one finds it.
    say_owner::<B>(slab, device.ordinal, context);
    match slab.put(grain_of(address), grains_of(bytes)) {
        1 => Some(true),
        0 => Some(false),
        slabs => Some(slabs_changed(slab, device, context, slabs)),
    }
}

/// Charges a suballocation that changed the charge by so many slabs. Returns true if its slab is
/// new.
#[cold]
fn slabs_changed<B: Backend>(slab: &Slab, device: &Device<B>, context: usize, slabs: i32) -> bool {
    if slabs < 0 {
        closed(device);
        return false;
    }
    // Its last suballocation was freed in between. Another device or context may have had it since.
    say_owner::<B>(slab, device.ordinal, context);
    true
}

#[cold]
fn say_owner<B: Backend>(slab: &Slab, ordinal: i32, context: usize) {
    let context = match context {
        0 => B::current_context().unwrap_or(0),
        known => known,
    };
    slab.ordinal.store(ordinal, Ordering::Relaxed);
    slab.context.store(context, Ordering::Relaxed);
}

/// Takes out the suballocation at `address`, if there is one.
#[inline]
fn take_out(table: &Addresses, address: u64) -> Option<Piece> {
    let slab = slab_of(table.find(address)?)?;
    if !address.is_multiple_of(GRAIN) {
        return None;
    }
    // Read before the suballocation is taken: afterwards the slab may be another's.
    let (ordinal, context) = (
        slab.ordinal.load(Ordering::Relaxed),
        slab.context.load(Ordering::Relaxed),
    );
    let (grains, last) = slab.take(grain_of(address))?;
    Some(Piece {
        ordinal,
        context,
        bytes: u64::from(grains) * GRAIN,
        last,
    })
}

/// Records a suballocation again that the driver has not freed after all.
#[cold]
fn put_back<B: Backend>(table: &Addresses, address: u64, piece: &Piece) {
    let Some(device) = paying::<B>(piece.ordinal) else {
        return;
    };
    match (
        piece.last,
        enter(table, device, piece.context, address, piece.bytes),
    ) {
        // Another suballocation came meanwhile and counted the slab once more, or left it and
        // counted it once less.
        (true, Some(false)) => closed(device),
        (false, Some(true)) => opened(device, false),
        _ => {}
    }
}

/// Returns true if a suballocation of `bytes` is sure to fit without a new slab. Called where a
/// slab would pass the quota, so it may take its time. A slab that is given back at once has been
/// seen from outside: in doubt, it returns false.
fn surely_fits(table: &Addresses, bytes: u64) -> bool {
    let grains = usize::from(grains_of(bytes));
    let mut fits = false;
    table.for_each(|_, entry| {
        fits = fits || slab_of(entry).is_some_and(|slab| slab.surely_fits(grains))
    });
    fits
}

/// A slab whose context is about to end, out of the allocation table.
pub(super) struct Detached {
    slab: &'static Slab,
    ordinal: i32,
    context: usize,
    /// The offset and the length of each suballocation, in grains.
    pieces: Vec<(usize, u16)>,
    /// The number of times that the slab became empty when they were taken out. Its bytes are given
    /// back as often.
    emptied: i32,
}

impl core::fmt::Debug for Detached {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} pieces", self.pieces.len())
    }
}

/// Takes the slabs of a context out of the allocation table. They stay charged.
pub(super) fn detach<B: Backend>(context: usize) -> Vec<Detached> {
    let mut all = Vec::new();
    B::process().addresses().for_each(|_, entry| {
        let Some(slab) = slab_of(entry) else { return };
        // Relaxed: a thread that allocates in a context that is about to end has synchronised with
        // this one.
        if slab.context.load(Ordering::Relaxed) != context || slab.is_empty() {
            return;
        }
        let ordinal = slab.ordinal.load(Ordering::Relaxed);
        let (pieces, emptied) = slab.take_all();
        all.push(Detached {
            slab,
            ordinal,
            context,
            pieces,
            emptied,
        });
    });
    all
}

/// Records slabs again whose context lives on.
pub(super) fn attach<B: Backend>(slabs: &[Detached]) {
    for one in slabs {
        let opens: i32 = one
            .pieces
            .iter()
            .map(|&(at, grains)| one.slab.put(at, grains))
            .sum();
        one.slab.ordinal.store(one.ordinal, Ordering::Relaxed);
        one.slab.context.store(one.context, Ordering::Relaxed);
        let Some(device) = paying::<B>(one.ordinal) else {
            continue;
        };
        // The slab stayed charged. The count differs if other threads have opened or closed it
        // meanwhile.
        (one.emptied..opens).for_each(|_| opened(device, false));
        (opens..one.emptied).for_each(|_| closed(device));
    }
}

/// Gives back the slabs of a context that is gone.
pub(super) fn gone<B: Backend>(slabs: &[Detached]) {
    for one in slabs {
        if let Some(device) = paying::<B>(one.ordinal) {
            (0..one.emptied).for_each(|_| closed(device));
        }
    }
}

/// Gives back the slabs of a context that is gone. For
/// [`crate::backend::DriverMemory::context_died`].
pub fn context_died<B: Backend>(context: usize) {
    gone::<B>(&detach::<B>(context));
}

/// Returns the device that pays for a slab.
fn paying<B: Backend>(ordinal: i32) -> Option<&'static Device<B>> {
    B::process().device(ordinal)
}

/// Charges a new slab that the driver has taken; `held` says that its bytes are held already.
fn opened<B: Backend>(device: &Device<B>, held: bool) {
    device.gained(SLAB);
    if !held {
        device.charge(SLAB);
    }
}

/// Gives a slab back that the driver has freed.
fn closed<B: Backend>(device: &Device<B>) {
    device.lost(SLAB);
    device.release(SLAB);
}

/// Makes a request that the driver cuts from a slab. Most cost nothing and some a slab, which shows
/// only after the call. Then `address` reads the result and `true_bytes` returns the bytes that
/// were taken. `free` takes it back.
#[expect(
    clippy::too_many_arguments,
    reason = "those of `memory::allocate`, one by one"
)]
pub fn allocate<B: Backend>(
    device: &'static Device<B>,
    context: usize,
    what: &'static str,
    bytes: u64,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
    true_bytes: impl Fn() -> u64,
    free: impl Fn(u64) -> B::Status,
) -> B::Status {
    // Far from the quota a slab is charged when it turns up.
    if device.is_near() {
        return allocate_near(
            device,
            context,
            what,
            bytes,
            &call,
            &address,
            &true_bytes,
            &free,
        );
    }
    let result = call();
    if result != B::SUCCESS {
        return result;
    }
    let table = B::process().addresses();
    if enter(table, device, context, address(), true_bytes()) == Some(true) {
        opened(device, false);
        device.overhead_changed();
    }
    result
}

/// Does the same near the quota. A slab is held beforehand. Where none fits, only a request is
/// tried that is sure to find room in the slabs at hand. One copy of the code serves all callers.
#[expect(clippy::too_many_arguments, reason = "as above")]
#[cold]
fn allocate_near<B: Backend>(
    device: &'static Device<B>,
    context: usize,
    what: &'static str,
    bytes: u64,
    call: &dyn Fn() -> B::Status,
    address: &dyn Fn() -> u64,
    true_bytes: &dyn Fn() -> u64,
    free: &dyn Fn(u64) -> B::Status,
) -> B::Status {
    let table = B::process().addresses();
    let hold = match device.hold(SLAB) {
        Ok(hold) => Some(hold),
        Err(denied) if !surely_fits(table, bytes) => {
            device.refused(what, &denied);
            return B::OUT_OF_MEMORY;
        }
        Err(_) => None,
    };
    let held = hold.is_some();
    // Bracketed where measurements are taken: most suballocations take nothing, and only afterwards
    // is it known which one opened a slab. A measurement that is taken elsewhere, in between,
    // counts the slab as overhead: another is asked for.
    let change = device.change();
    let result = call();
    if result != B::SUCCESS {
        drop(change);
        if held {
            device.release(SLAB);
        }
        return result;
    }
    let at = address();
    let new = enter(table, device, context, at, true_bytes());
    if new == Some(true) {
        opened(device, held);
    } else if held {
        device.release(SLAB);
    }
    drop(change);
    if !held && new != Some(false) {
        // A suballocation that could not be recorded is not known there.
        if free_piece::<B>(at, || free(at)).is_none() {
            free(at);
        }
        return B::OUT_OF_MEMORY;
    }
    B::SUCCESS
}

/// Frees the suballocation at `address`. It leaves the allocation table before the driver may hand
/// the address out again. `None`, and nothing called, if there is no such suballocation.
#[inline]
fn free_piece<B: Backend>(address: u64, call: impl Fn() -> B::Status) -> Option<B::Status> {
    let table = B::process().addresses();
    let piece = take_out(table, address)?;
    if piece.last {
        return Some(free_last::<B>(address, &piece, &call));
    }
    let result = call();
    if result != B::SUCCESS {
        put_back::<B>(table, address, &piece);
    }
    Some(result)
}

/// Frees the last suballocation of a slab, and the slab with it.
#[cold]
fn free_last<B: Backend>(address: u64, piece: &Piece, call: &dyn Fn() -> B::Status) -> B::Status {
    let Some(device) = paying::<B>(piece.ordinal) else {
        return call();
    };
    let passing = device.passing(device.is_near(), SLAB, SLAB);
    let result = call();
    if result == B::SUCCESS {
        passing.succeeded(0);
        device.release(SLAB);
    } else {
        passing.failed();
        put_back::<B>(B::process().addresses(), address, piece);
    }
    result
}

/// Frees `address`, a suballocation or not, through `call`, and gives back its bytes.
#[inline]
pub fn free<B: Backend>(address: u64, call: impl Fn() -> B::Status) -> B::Status {
    if B::process().is_free() {
        return call();
    }
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    match free_piece::<B>(address, &call) {
        Some(result) => result,
        None => free_inside::<B>(&inside, address, call),
    }
}
