//! Small allocations of drivers that cut them from slabs of 2 MiB and free a slab with its last
//! piece: a slab is charged as a whole, once, and is known by its address, to which it is aligned;
//! a piece is a size at an offset in it.
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
use crate::setup::Inside;

/// Bytes of a slab.
pub const SLAB: u64 = PAGE;
/// Grain of the cutting.
pub const GRAIN: u64 = 512;

/// What is known of a piece that was taken out of its slab.
struct Piece {
    /// The device that pays for the slab.
    ordinal: i32,
    context: usize,
    bytes: u64,
    /// Whether the driver gives up the slab with it.
    last: bool,
}

#[inline]
fn grain_of(address: u64) -> usize {
    (address % SLAB / GRAIN) as usize
}

/// Grains of a piece of `bytes`.
#[inline]
fn grains_of(bytes: u64) -> u16 {
    bytes.min(SLAB).div_ceil(GRAIN).max(1) as u16
}

/// Enters a piece; returns whether its slab is new, and must be charged. `None` if it cannot be
/// entered: out of memory, or an address that no device has. `context` is 0 where none was asked
/// about: the calling thread's then.
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

/// The same for a piece that seems to be the first of its slab.
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
    // Who pays is said before there is a piece: whoever frees one finds it.
    say_owner::<B>(slab, device.ordinal, context);
    match slab.put(grain_of(address), grains_of(bytes)) {
        1 => Some(true),
        0 => Some(false),
        slabs => Some(slabs_changed(slab, device, context, slabs)),
    }
}

/// A piece was entered that changed the charge by so many slabs. Returns whether its slab is new.
#[cold]
fn slabs_changed<B: Backend>(slab: &Slab, device: &Device<B>, context: usize, slabs: i32) -> bool {
    if slabs < 0 {
        closed(device);
        return false;
    }
    // Its last piece went in between, and it may have been another's meanwhile.
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

/// Takes out the piece at `address`, if there is one.
#[inline]
fn take_out(table: &Addresses, address: u64) -> Option<Piece> {
    let slab = slab_of(table.find(address)?)?;
    if !address.is_multiple_of(GRAIN) {
        return None;
    }
    // Read before the piece is taken: afterwards the slab may be another's.
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

/// The driver has not freed the piece after all.
#[cold]
fn put_back<B: Backend>(table: &Addresses, address: u64, piece: &Piece) {
    let Some(device) = paying::<B>(piece.ordinal) else {
        return;
    };
    match (
        piece.last,
        enter(table, device, piece.context, address, piece.bytes),
    ) {
        // Another piece came meanwhile and counted the slab once more, or left it and counted it
        // once less.
        (true, Some(false)) => closed(device),
        (false, Some(true)) => opened(device, false),
        _ => {}
    }
}

/// Whether a piece of `bytes` is sure to fit without a new slab. Asked where a slab would pass the
/// quota, so it may take its time; and a slab that is given back at once has been seen from
/// outside, so a doubt is a no.
fn surely_fits(table: &Addresses, bytes: u64) -> bool {
    let grains = usize::from(grains_of(bytes));
    let mut fits = false;
    table.for_each(|_, entry| {
        fits = fits || slab_of(entry).is_some_and(|slab| slab.surely_fits(grains))
    });
    fits
}

/// A slab whose context is about to end, out of the books, with its pieces: where each begins, and
/// its grains.
pub(super) struct Detached {
    slab: &'static Slab,
    ordinal: i32,
    context: usize,
    pieces: Vec<(usize, u16)>,
    /// How often the slab became empty when they were taken out, and so how often its bytes are to
    /// be given back.
    emptied: i32,
}

impl core::fmt::Debug for Detached {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} pieces", self.pieces.len())
    }
}

/// Takes the slabs of a context out of the books. They stay charged.
pub(super) fn detach<B: Backend>(context: usize) -> Vec<Detached> {
    let mut all = Vec::new();
    B::process().addresses().for_each(|_, entry| {
        let Some(slab) = slab_of(entry) else { return };
        // Relaxed: whoever may allocate in a context that is about to end has said so to this
        // thread.
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

/// Enters slabs again whose context lives on.
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
        // What stayed charged is charged again, unless other threads have opened or closed the slab
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

/// The device that pays for a slab.
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

/// A request that is cut from a slab: most cost nothing, some a slab, and only the driver knows
/// which before it is done. After the call `address` reads the result and `true_bytes` says what
/// was taken; `free` takes it back.
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

/// The same near the quota: a slab is held beforehand; where none fits, only a request that is sure
/// to find room in the slabs at hand is tried at all. One copy of the code for all callers.
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
    // Bracketed where measurements are taken: most pieces take nothing, and which one opened a slab
    // is only known afterwards. One that is taken elsewhere, and falls in between, counts the slab
    // as overhead: another is asked for.
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
        // One that could not be entered is not known there.
        if free_piece::<B>(at, || free(at)).is_none() {
            free(at);
        }
        return B::OUT_OF_MEMORY;
    }
    B::SUCCESS
}

/// Frees the piece at `address`, out of the books before the driver may hand the address out again.
/// `None`, and nothing called, if there is no such piece.
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

/// Frees the last piece of a slab, and the slab with it.
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

/// Frees `address`, a piece or not, through `call` and gives back what was held for it.
#[inline]
pub fn free<B: Backend>(address: u64, call: impl Fn() -> B::Status) -> B::Status {
    if B::process().is_free() {
        return call();
    }
    let Some(inside) = Inside::enter() else {
        return call();
    };
    match free_piece::<B>(address, &call) {
        Some(result) => result,
        None => free_inside::<B>(&inside, address, call),
    }
}
