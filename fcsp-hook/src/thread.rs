//! What a thread remembers, in thread-local memory of the initial-exec model: two instructions find it.
//!
//! Rust's own thread-locals are of the general-dynamic model in a shared library: each look-up is a call of `__tls_get_addr`, 4.4 ns
//! where this form takes 2.4 (a launch in the thousands a second passes here two or three times), and a call that saves every
//! register on the way. A library of the initial-exec model is loaded into the space that the loader keeps for such: 24 bytes of
//! glibc's 1 664, also where the library comes by `dlopen`.
//!
//! Source of the access sequences: "ELF Handling for Thread-Local Storage" (Drepper), sections 4.3.2 and 4.4; for aarch64 "ELF for
//! the Arm 64-bit Architecture", TLS relocations.

use core::cell::Cell;
use core::ptr::NonNull;

/// What a thread remembers. Together, so that one look-up serves a whole call.
#[derive(Debug)]
#[repr(C)]
pub struct Thread {
    /// The flags of [`Inside`] and [`Launching`].
    flags: [Cell<bool>; 2],
    /// The backend's count of dead contexts when the two below were asked for.
    pub epoch: Cell<u32>,
    /// The context this thread asked about last.
    pub context: Cell<usize>,
    /// Its device.
    pub ordinal: Cell<i32>,
}

// What the assembly below reserves and fills, byte for byte.
const _: () = assert!(!core::mem::needs_drop::<Thread>());
const _: () = assert!(size_of::<Thread>() == 24 && align_of::<Thread>() == 8);
const _: () = assert!(core::mem::offset_of!(Thread, ordinal) == 16);

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
core::arch::global_asm!(
    ".pushsection .tdata.fcsp_hook_thread,\"awT\",@progbits",
    ".p2align 3",
    // Seen by the whole library and by nobody else: each preload library has its own.
    ".globl fcsp_hook_thread",
    ".hidden fcsp_hook_thread",
    ".type fcsp_hook_thread, @object",
    ".size fcsp_hook_thread, 24",
    "fcsp_hook_thread:",
    ".zero 16",
    ".4byte 0xffffffff",
    ".zero 4",
    ".popsection",
);

/// The calling thread's.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn own() -> NonNull<Thread> {
    let at: *mut Thread;
    // SAFETY: reads the offset that the loader has entered for the block above and adds it to the thread pointer, which the ABI
    // keeps at fs:0; writes one register and the flags.
    unsafe {
        core::arch::asm!(
            "mov {at}, qword ptr [rip + fcsp_hook_thread@GOTTPOFF]",
            "add {at}, qword ptr fs:[0]",
            at = out(reg) at,
            options(pure, nomem, nostack),
        );
        NonNull::new_unchecked(at)
    }
}

/// The calling thread's.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn own() -> NonNull<Thread> {
    let at: *mut Thread;
    // SAFETY: as on x86-64; the thread pointer is in a register of its own.
    unsafe {
        core::arch::asm!(
            "adrp {at}, :gottprel:fcsp_hook_thread",
            "ldr {at}, [{at}, :gottprel_lo12:fcsp_hook_thread]",
            "mrs {base}, tpidr_el0",
            "add {at}, {at}, {base}",
            at = out(reg) at,
            base = out(reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
        NonNull::new_unchecked(at)
    }
}

/// The calling thread's.
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
fn own() -> NonNull<Thread> {
    std::thread_local! {
        static THREAD: Thread = const {
            Thread {
                flags: [const { Cell::new(false) }; 2],
                epoch: Cell::new(0),
                context: Cell::new(0),
                ordinal: Cell::new(-1),
            }
        };
    }
    THREAD.with(|thread| NonNull::from(thread))
}

impl Thread {
    /// Hands over what the calling thread remembers.
    #[inline(always)]
    pub fn with<R>(work: impl FnOnce(&Self) -> R) -> R {
        Here::now().with(work)
    }
}

/// A thread's memory, at hand on that thread: a pointer, so it cannot leave it.
#[derive(Debug, Clone, Copy)]
struct Here(NonNull<Thread>);

impl Here {
    #[inline(always)]
    fn now() -> Self {
        Self(own())
    }

    #[inline(always)]
    fn with<R>(self, work: impl FnOnce(&Thread) -> R) -> R {
        // SAFETY: `Thread` has nothing to drop, so its memory is there for as long as its thread runs, which is the one that this
        // runs on; all of it are cells, and nobody else has the address.
        work(unsafe { self.0.as_ref() })
    }
}

/// One of the thread's flags, raised until this is dropped. Stays on its thread.
#[derive(Debug)]
pub struct Raised<const FLAG: usize>(Here);

/// Marks this thread as inside a wrapper: a driver that calls its own exported functions must not be charged twice.
pub type Inside = Raised<0>;

/// Marks this thread as launching, where a driver has layers that all are wrapped: those under this call must not ask or charge
/// again. Memory that they take is counted all the same.
pub type Launching = Raised<1>;

impl<const FLAG: usize> Raised<FLAG> {
    /// `None` if the flag is up already: the call then comes from the driver itself.
    #[inline]
    pub fn enter() -> Option<Self> {
        let here = Here::now();
        // Not made unless it is handed out: dropping it lowers the flag.
        (!here.with(|thread| thread.flags[FLAG].replace(true))).then(|| Self(here))
    }

    /// For who has just been told that the flag is down.
    #[inline(always)]
    #[must_use]
    pub fn raise() -> Self {
        let here = Here::now();
        let was_up = here.with(|thread| thread.flags[FLAG].replace(true));
        debug_assert!(!was_up);
        Self(here)
    }

    /// Whether the calling thread's flag is up.
    #[inline(always)]
    pub fn is_up() -> bool {
        Thread::with(|thread| thread.flags[FLAG].get())
    }

    /// What the thread remembers.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&Thread) -> R) -> R {
        self.0.with(work)
    }
}

impl<const FLAG: usize> Drop for Raised<FLAG> {
    #[inline]
    fn drop(&mut self) {
        self.0.with(|thread| thread.flags[FLAG].set(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_once() {
        let outer = Inside::enter();
        assert!(outer.is_some());
        assert!(Inside::enter().is_none());
        assert!(Inside::is_up());
        assert!(Inside::enter().is_none(), "asking does not change it");
        let other = std::thread::spawn(|| Inside::enter().is_some()).join();
        assert!(other.unwrap(), "another thread is not");
        drop(outer);
        assert!(!Inside::is_up() && Inside::enter().is_some());
    }

    #[test]
    fn a_thread_launches_once_at_a_time() {
        let outer = Launching::enter();
        assert!(outer.is_some() && Launching::is_up());
        for _ in 0..2 {
            assert!(Launching::enter().is_none(), "asking does not change it");
        }
        assert!(!std::thread::spawn(Launching::is_up).join().unwrap());
        assert!(Inside::enter().is_some(), "and may take memory meanwhile");
        drop(outer);
        assert!(!Launching::is_up() && Launching::enter().is_some());
    }

    #[test]
    fn every_thread_begins_with_nothing() {
        let began = || {
            Thread::with(|thread| {
                let was = (
                    thread.flags[0].get(),
                    thread.flags[1].get(),
                    thread.epoch.get(),
                    thread.context.get(),
                    thread.ordinal.get(),
                );
                thread.epoch.set(7);
                thread.context.set(0x5555);
                thread.ordinal.set(3);
                was
            })
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(began)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (false, false, 0, 0, -1));
        }
    }
}
