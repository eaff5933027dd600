//! Small allocations of drivers that cut them from slabs of 2 MiB and free a slab with its last piece: a slab is charged as a
//! whole, once, and is known by its address, to which it is aligned; a piece is a size at an offset in it.
//!
//! Nothing is locked: threads that allocate at once meet in the driver, and should not meet in here again.

#[cfg(test)]
mod tests;

use core::ffi::c_void;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};

use super::free_inside;
use crate::addresses::{Addresses, Entry, PAGE};
use crate::backend::Backend;
use crate::device::Device;
use crate::setup::Inside;

/// Bytes of a slab.
pub const SLAB: u64 = PAGE;
/// Grain of the cutting.
pub const GRAIN: u64 = 512;

const GRAINS: usize = (SLAB / GRAIN) as usize;
/// One piece, in [`Slab::state`]; the grains in use are below it.
const PIECE: u32 = 1 << 16;
const USED: u32 = PIECE - 1;

/// A page of the address space that is or was a slab. Never freed: the driver cuts the same pages again and again.
#[repr(C)]
struct Slab {
    /// `{pieces: 16 bits, grains in use: 16 bits}`.
    state: AtomicU32,
    /// The device that pays, and the context that it dies with.
    ordinal: AtomicI32,
    context: AtomicUsize,
    /// Grains of the piece that begins at each grain; 0 for none.
    sizes: [AtomicU16; GRAINS],
}

/// What is known of a piece that was taken out of its slab.
struct Piece {
    /// The device that pays for the slab.
    ordinal: i32,
    context: usize,
    bytes: u64,
    /// Whether the driver gives up the slab with it.
    last: bool,
}

impl Slab {
    /// Whether it has no piece, so that the next one opens it.
    #[inline]
    fn is_empty(&self) -> bool {
        self.state.load(Ordering::Relaxed) < PIECE
    }

    /// Enters a piece. Returns by how many slabs the charge changes: 1 for the first piece.
    #[inline]
    fn put(&self, grain: usize, grains: u16) -> i32 {
        // Relaxed, here and below: whoever frees the piece has its address from the thread that entered it. The state is
        // raised first and lowered last: it never says less than the sizes, whoever takes the piece out meanwhile.
        let before = self.state.fetch_add(PIECE + u32::from(grains), Ordering::Relaxed);
        let opens = i32::from(before < PIECE);
        // The driver gives an address to one thread at a time: nobody enters another piece here meanwhile.
        if self.sizes[grain].load(Ordering::Relaxed) == 0 {
            self.sizes[grain].store(grains, Ordering::Relaxed);
            return opens;
        }
        opens - self.replace(grain, grains)
    }

    /// Enters a piece where one stood that was freed by a route which we did not see. Returns how many slabs that empties.
    #[cold]
    fn replace(&self, grain: usize, grains: u16) -> i32 {
        match self.sizes[grain].swap(grains, Ordering::Relaxed) {
            0 => 0,
            stale => i32::from(self.leave(stale)),
        }
    }

    /// Counts a piece out whose size was taken; returns whether it was the last.
    #[inline]
    fn leave(&self, grains: u16) -> bool {
        self.state.fetch_sub(PIECE + u32::from(grains), Ordering::Relaxed) < 2 * PIECE
    }

    /// Takes a piece out, if there is one; returns its grains and whether it was the last.
    fn take(&self, grain: usize) -> Option<(u16, bool)> {
        let size = &self.sizes[grain];
        // Of two frees of one address, one gets it.
        if size.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let grains = size.swap(0, Ordering::Relaxed);
        if grains == 0 {
            return None;
        }
        Some((grains, self.leave(grains)))
    }

    /// Takes all pieces out, each with its grain and its size in grains. Also returns how often a last piece left: another
    /// thread may enter a piece meanwhile, which then stays or makes the slab new.
    fn take_all(&self) -> (Vec<(usize, u16)>, i32) {
        let (mut pieces, mut emptied) = (Vec::new(), 0);
        for at in 0..GRAINS {
            if let Some((grains, last)) = self.take(at) {
                pieces.push((at, grains));
                emptied += i32::from(last);
            }
        }
        (pieces, emptied)
    }

    /// Whether a piece of `grains` is sure to fit: the slab holds another of that size, so that is what the driver cuts from
    /// it, and has a hole for one where it may have to begin.
    fn surely_fits(&self, grains: usize) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if state < PIECE || (state & USED) as usize + grains > GRAINS {
            return false;
        }
        // No driver aligns a piece to more than its size, rounded up to a power of two.
        let align = grains.next_power_of_two();
        let (mut alike, mut fits, mut hole_at, mut at) = (false, false, 0, 0);
        while at < GRAINS {
            let size = usize::from(self.sizes[at].load(Ordering::Relaxed));
            at += size.max(1);
            if size > 0 {
                alike |= size == grains;
                hole_at = at;
            }
            fits |= hole_at.next_multiple_of(align) + grains <= at;
        }
        alike && fits
    }
}

fn slab_of(entry: &Entry) -> Option<&'static Slab> {
    // SAFETY: only ever set below, to a slab that is never freed. Acquire: it was made before.
    unsafe { entry.own.load(Ordering::Acquire).cast::<Slab>().as_ref() }
}

#[cold]
fn make(own: &AtomicPtr<c_void>) -> Option<&'static Slab> {
    let layout = Layout::new::<Slab>();
    // SAFETY: a slab is not of size zero.
    let mine = unsafe { alloc_zeroed(layout) };
    if mine.is_null() {
        return None;
    }
    let stands = match own.compare_exchange(
        core::ptr::null_mut(),
        mine.cast(),
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => mine,
        Err(theirs) => {
            // SAFETY: nobody has seen ours.
            unsafe { dealloc(mine, layout) };
            theirs.cast()
        }
    };
    // SAFETY: made of atomics, for which zero is a value; published and never freed.
    Some(unsafe { &*stands.cast::<Slab>() })
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

/// Enters a piece; returns whether its slab is new, and must be charged. `None` if it cannot be entered: out of memory,
/// or an address that no device has. `context` is 0 where none was asked about: the calling thread's then.
#[inline]
fn enter<B: Backend>(
    table: &Addresses,
    device: &Device<B>,
    context: usize,
    address: u64,
    bytes: u64,
) -> Option<bool> {
    let slab = match table.find(address).and_then(slab_of) {
        Some(slab) => slab,
        None => make_slab(table, address)?,
    };
    // Who pays is said before there is a piece: whoever frees one finds it.
    let was_empty = slab.is_empty();
    if was_empty {
        say_owner::<B>(slab, device.ordinal, context);
    }
    match slab.put(grain_of(address), grains_of(bytes)) {
        0 => Some(false),
        1 => {
            if !was_empty {
                // Its last piece went in between, and it may have been another's meanwhile.
                say_owner::<B>(slab, device.ordinal, context);
            }
            Some(true)
        }
        _ => {
            closed(device);
            Some(false)
        }
    }
}

#[cold]
fn make_slab(table: &Addresses, address: u64) -> Option<&'static Slab> {
    let entry = table.entry(address)?;
    slab_of(entry).or_else(|| make(&entry.own))
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
        // Another piece came meanwhile and counted the slab once more, or left it and counted it once less.
        (true, Some(false)) => closed(device),
        (false, Some(true)) => opened(device, false),
        _ => {}
    }
}

/// Whether a piece of `bytes` is sure to fit without a new slab. Asked where a slab would pass the quota, so it may take
/// its time; and a slab that is given back at once has been seen from outside, so a doubt is a no.
fn surely_fits(table: &Addresses, bytes: u64) -> bool {
    let grains = usize::from(grains_of(bytes));
    let mut fits = false;
    table.for_each(|_, entry| fits = fits || slab_of(entry).is_some_and(|slab| slab.surely_fits(grains)));
    fits
}

/// A slab whose context is about to end, out of the books, with its pieces: where each begins, and its grains.
pub(super) struct Detached {
    slab: &'static Slab,
    ordinal: i32,
    context: usize,
    pieces: Vec<(usize, u16)>,
    /// How often the slab became empty when they were taken out, and so how often its bytes are to be given back.
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
        // Relaxed: whoever may allocate in a context that is about to end has said so to this thread.
        if slab.context.load(Ordering::Relaxed) != context || slab.state.load(Ordering::Relaxed) < PIECE {
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
        // What stayed charged is charged again, unless other threads have opened or closed the slab meanwhile.
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

/// Gives back the slabs of a context that is gone. For [`Backend::context_died`].
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

/// A request that is cut from a slab: most cost nothing, some a slab, and only the driver knows which before it is done.
/// After the call `address` reads the result and `true_bytes` says what was taken; `free` takes it back.
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
        return allocate_near(device, context, what, bytes, &call, &address, &true_bytes, &free);
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

/// The same near the quota: a slab is held beforehand; where none fits, only a request that is sure to find room in the
/// slabs at hand is tried at all. One copy of the code for all callers.
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
    let held = match device.hold(SLAB) {
        Ok(_) => true,
        Err(denied) if !surely_fits(table, bytes) => {
            device.refused(what, &denied);
            return B::OUT_OF_MEMORY;
        }
        Err(_) => false,
    };
    // Bracketed where measurements are taken: most pieces take nothing, and which one opened a slab is only known
    // afterwards. One that is taken elsewhere, and falls in between, counts the slab as overhead: another is asked for.
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

/// Frees the piece at `address`, out of the books before the driver may hand the address out again. `None`, and nothing
/// called, if there is no such piece.
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
