//! Per-thread state in thread-local memory of the initial-exec model: two instructions to reach,
//! instead of a call of `__tls_get_addr`.
//!
//! Rust's own thread-locals have the general-dynamic model in a shared library. Each look-up is a
//! call of `__tls_get_addr`, which saves every register. It takes 4.4 ns where this form takes 2.4,
//! and each of thousands of launches a second passes here two or three times. A library of the
//! initial-exec model uses the loader's reserved space: 72 bytes of glibc's 1 664, also if the
//! library is loaded by `dlopen`.
//!
//! Source of the access sequences: "ELF Handling for Thread-Local Storage" (Drepper), sections
//! 4.3.2 and 4.4; for aarch64 "ELF for the Arm 64-bit Architecture", TLS relocations.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::frames::{code_address, runs_beneath, stack_pointer};

/// State of a thread, in one block, so that one look-up serves a whole call.
#[derive(Debug)]
#[repr(C)]
pub struct Thread {
    /// The flags of [`Reentry`] and [`Launching`]: the stack pointer of the function that has
    /// raised each; 0 while it is down.
    raised: [Cell<usize>; 2],
    /// The context that this thread asked about last.
    pub context: Cell<usize>,
    /// The backend's number of dead contexts when the context and its device were read.
    pub epoch: Cell<u32>,
    /// The context's device.
    pub ordinal: Cell<i32>,
    /// An address in the code of the function that has raised each flag.
    code: [Cell<usize>; 2],
    /// Number of times that each flag was found up since it was raised.
    claims: [Cell<u32>; 2],
    /// The outermost shield; see [`crate::setup::catch_panic`].
    pub(crate) shield: Shield,
}

/// State that the outermost shield on a thread has replaced.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shield {
    /// Its stack pointer; 0 if there is none.
    pub(crate) stack: Cell<usize>,
    /// The state of cancellation that it found.
    pub(crate) cancellation: Cell<i32>,
}

// The assembly below reserves and fills exactly this.
const _: () = assert!(!core::mem::needs_drop::<Thread>());
const _: () = assert!(size_of::<Thread>() == 72 && align_of::<Thread>() == 8);
const _: () = assert!(core::mem::offset_of!(Thread, ordinal) == 28);

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
core::arch::global_asm!(
    ".pushsection .tdata.fcsp_hook_thread,\"awT\",@progbits",
    ".p2align 3",
    // Seen by the whole library and by nobody else: each preload library has its own.
    ".globl fcsp_hook_thread",
    ".hidden fcsp_hook_thread",
    ".type fcsp_hook_thread, @object",
    ".size fcsp_hook_thread, 72",
    "fcsp_hook_thread:",
    ".zero 28",
    ".4byte 0xffffffff",
    ".zero 40",
    ".popsection",
);

/// Returns the calling thread's state.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn own() -> NonNull<Thread> {
    let at: *mut Thread;
    // SAFETY: reads the offset that the loader has stored for the block above and adds it to the
    // thread pointer, which the ABI keeps at fs:0. It writes one register and the flags.
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

/// Returns the calling thread's state.
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

/// Returns the calling thread's state.
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
fn own() -> NonNull<Thread> {
    std::thread_local! {
        static THREAD: Thread = const {
            Thread {
                raised: [const { Cell::new(0) }; 2],
                context: Cell::new(0),
                epoch: Cell::new(0),
                ordinal: Cell::new(-1),
                code: [const { Cell::new(0) }; 2],
                claims: [const { Cell::new(0) }; 2],
                shield: Shield {
                    stack: Cell::new(0),
                    cancellation: Cell::new(0),
                },
            }
        };
    }
    THREAD.with(|thread| NonNull::from(thread))
}

impl Thread {
    /// Passes the calling thread's state to `work`.
    #[inline(always)]
    pub fn with<R>(work: impl FnOnce(&Self) -> R) -> R {
        Here::now().with(work)
    }

    #[inline(always)]
    fn raise(&self, flag: usize, stack: usize, code: usize) {
        self.raised[flag].set(stack);
        self.code[flag].set(code);
        self.claims[flag].set(0);
    }

    /// Returns true if a function whose stack pointer is `stack` runs beneath the function that has
    /// raised a flag.
    #[inline(always)]
    fn is_beneath(&self, flag: usize, stack: usize) -> bool {
        // A frame further up: the function that has raised the flag is gone, or on another stack.
        stack < self.raised[flag].get() && self.looks(flag)
    }

    /// Checks whether the function that has raised a flag still runs, and lowers the flag if not.
    #[cold]
    #[inline(never)]
    fn looks(&self, flag: usize) -> bool {
        let runs = runs_beneath(self.raised[flag].get(), self.code[flag].get());
        if !runs {
            self.raised[flag].set(0);
        }
        runs
    }

    /// Checks likewise, but only at growing intervals.
    #[inline]
    fn believes(&self, flag: usize) -> bool {
        let claims = self.claims[flag].get().wrapping_add(1);
        self.claims[flag].set(claims);
        claims < BELIEVED || !claims.is_power_of_two() || self.looks(flag)
    }
}

/// Pointer to a thread's state on that thread: a pointer, so it cannot leave it.
#[derive(Debug, Clone, Copy)]
struct Here(NonNull<Thread>);

impl Here {
    #[inline(always)]
    fn now() -> Self {
        Self(own())
    }

    #[inline(always)]
    fn with<R>(self, work: impl FnOnce(&Thread) -> R) -> R {
        // SAFETY: `Thread` has nothing to drop, so its memory exists for as long as its thread
        // runs, which is the present one. All of it are cells, and no other thread has the address.
        work(unsafe { self.0.as_ref() })
    }
}

/// Guard of one of the thread's flags, which is raised until this is dropped. It stays on its
/// thread.
///
/// A program may leave the driver by a jump, so that this is never dropped. The flag therefore
/// remembers the function that has raised it, and holds only for calls from beneath that function.
/// A call that finds a flag left up takes it over. A function that raises a flag passes the guard
/// only to callees.
#[derive(Debug)]
pub struct ThreadFlag<const FLAG: usize>(Here);

/// Reentrancy guard: marks this thread as inside a wrapper. A driver that calls its own exported
/// functions must not be charged twice.
pub type Reentry = ThreadFlag<0>;

/// Marks this thread as launching, for a driver with several wrapped layers. The layers beneath
/// this call must not ask or charge again. Memory that they take is counted all the same.
pub type Launching = ThreadFlag<1>;

/// Number of times that launches believe a raised flag before they check it, and again at each
/// doubling. A check costs a hundred times as much as a nested launch.
const BELIEVED: u32 = 16;

impl<const FLAG: usize> ThreadFlag<FLAG> {
    /// Raises the flag. Returns `None` if the call comes from the driver itself, beneath the
    /// function that has raised it.
    #[inline(always)]
    pub fn enter() -> Option<Self> {
        crate::fork::check();
        // Both of the function into which this is inlined, not of a closure.
        let (stack, code) = (stack_pointer(), code_address());
        let here = Here::now();
        // Not made unless it is handed out: dropping it lowers the flag.
        here.with(|thread| !thread.is_beneath(FLAG, stack))
            .then(|| {
                here.with(|thread| thread.raise(FLAG, stack, code));
                Self(here)
            })
    }

    /// Sets the flag. Call it only after checking that it is down.
    #[inline(always)]
    #[must_use]
    pub fn raise() -> Self {
        let (stack, code) = (stack_pointer(), code_address());
        let here = Here::now();
        here.with(|thread| thread.raise(FLAG, stack, code));
        Self(here)
    }

    /// Returns true if the call comes from beneath the function that has raised the calling
    /// thread's flag.
    ///
    /// It is for launches. If a jump left the flag up, some launches from deeper on the stack may
    /// pass for such.
    #[inline(always)]
    pub fn is_up() -> bool {
        let stack = stack_pointer();
        Thread::with(|thread| stack < thread.raised[FLAG].get() && thread.believes(FLAG))
    }

    /// Passes the thread's state to `work`.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&Thread) -> R) -> R {
        self.0.with(work)
    }
}

impl<const FLAG: usize> Drop for ThreadFlag<FLAG> {
    #[inline]
    fn drop(&mut self) {
        self.0.with(|thread| thread.raised[FLAG].set(0));
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use core::ffi::{c_int, c_void};

    use super::*;

    /// Runs `work` as a driver runs its own exported functions: beneath the caller, through other
    /// code.
    #[inline(never)]
    fn within_a_driver<W: FnMut()>(mut work: W) {
        unsafe extern "C" fn compare<W: FnMut()>(
            work: *const c_void,
            _element: *const c_void,
        ) -> c_int {
            // SAFETY: what `within_a_driver` passed, which nothing else uses meanwhile.
            unsafe { (*work.cast_mut().cast::<W>())() };
            0
        }
        let element = 0u8;
        // SAFETY: one element of one byte; the key goes to `compare` as it is.
        unsafe {
            libc::bsearch(
                (&raw mut work).cast(),
                (&raw const element).cast(),
                1,
                1,
                Some(compare::<W>),
            )
        };
    }

    #[inline(never)]
    fn enters<const FLAG: usize>() -> bool {
        core::hint::black_box(ThreadFlag::<FLAG>::enter()).is_some()
    }

    #[inline(never)]
    fn is_up<const FLAG: usize>() -> bool {
        core::hint::black_box(ThreadFlag::<FLAG>::is_up())
    }

    #[test]
    fn a_thread_is_inside_once() {
        let outer = Reentry::enter();
        assert!(outer.is_some());
        let mut asked = 0;
        within_a_driver(|| {
            for _ in 0..2 {
                assert!(!enters::<0>() && is_up::<0>(), "asking does not change it");
                asked += 1;
            }
        });
        assert_eq!(asked, 2);
        assert!(!enters::<0>(), "nor beneath functions of ours");
        assert!(
            std::thread::spawn(enters::<0>).join().unwrap(),
            "another thread is not"
        );
        drop(outer);
        assert!(!is_up::<0>() && enters::<0>());
    }

    #[test]
    fn a_thread_launches_once_at_a_time() {
        let outer = Launching::enter();
        assert!(outer.is_some() && is_up::<1>());
        assert!(!std::thread::spawn(is_up::<1>).join().unwrap());
        assert!(enters::<0>(), "and may take memory meanwhile");
        within_a_driver(|| {
            for _ in 0..100 {
                assert!(is_up::<1>() && !enters::<1>(), "asking does not change it");
            }
        });
        drop(outer);
        assert!(!is_up::<1>() && enters::<1>());
    }

    /// Raises a flag and never lowers it, as a function that a jump leaves.
    #[inline(never)]
    fn left<const FLAG: usize>() {
        core::mem::forget(core::hint::black_box(ThreadFlag::<FLAG>::raise()));
    }

    /// Runs `work` so many bytes deeper on the stack.
    #[inline(never)]
    fn deeper<const BYTES: usize>(work: fn() -> bool) -> bool {
        let space = core::hint::black_box([0u8; BYTES]);
        let result = core::hint::black_box(work)();
        core::hint::black_box(space);
        result
    }

    #[test]
    fn a_flag_that_was_left_up_is_taken_over() {
        for enters_at in [
            enters::<0> as fn() -> bool,
            || deeper::<64>(enters::<0>),
            || deeper::<512>(enters::<0>),
            || deeper::<20_000>(enters::<0>),
        ] {
            left::<0>();
            assert!(enters_at());
            assert!(!is_up::<0>(), "and lowered as ever");
        }
        // Launches do not check each time, but soon.
        left::<1>();
        let passed = (0..1000).filter(|_| deeper::<4096>(is_up::<1>)).count();
        assert!(passed < BELIEVED as usize, "{passed}");
    }

    #[test]
    fn every_thread_begins_with_nothing() {
        let began = || {
            Thread::with(|thread| {
                let was = (
                    thread.raised[0].get(),
                    thread.raised[1].get(),
                    thread.epoch.get(),
                    thread.context.get(),
                    thread.ordinal.get(),
                    thread.shield.stack.get(),
                );
                thread.epoch.set(7);
                thread.context.set(0x5555);
                thread.ordinal.set(3);
                was
            })
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(began)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (0, 0, 0, 0, -1, 0));
        }
    }
}
