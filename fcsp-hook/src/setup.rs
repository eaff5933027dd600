//! Making things once, the shield between our code and the host's, and the log.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fcsp_core::clock::nap;

use crate::frames::stack_pointer;
pub use crate::thread::{Reentry, Thread};

// `pthread.h`; the crate `libc` does not have it for this system.
unsafe extern "C" {
    fn pthread_setcancelstate(state: i32, old: *mut i32) -> i32;
}
const PTHREAD_CANCEL_DISABLE: i32 = 1;
/// No number of an error that `pthread_setcancelstate` has.
const TAKEN: i32 = -1;

/// Taken while a thread sets things up. Not a mutex of the library's: a forked child must be able
/// to reset it.
#[derive(Debug, Default)]
pub struct ForkSafeLock(AtomicU32);

impl ForkSafeLock {
    /// Creates the lock, not taken.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Waits for the lock, and holds it until the result is dropped.
    pub fn take(&self) -> SetupTurn<'_> {
        // Acquire pairs with the Release in drop.
        while self
            .0
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            nap(50_000);
        }
        SetupTurn(self)
    }

    /// Releases the lock in a forked child: a thread that held it does not exist there.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// A thread's turn to set things up.
#[derive(Debug)]
pub struct SetupTurn<'a>(&'a ForkSafeLock);

impl Drop for SetupTurn<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

/// Publication of things that are made once and leaked.
#[derive(Debug)]
pub struct SetupOnce;

impl SetupOnce {
    /// Publishes `make()` at `place` unless somebody was faster; returns what stands there.
    #[cold]
    pub fn publish<T>(place: &AtomicPtr<T>, make: impl FnOnce() -> T) -> &'static T {
        Self::publish_made(place, Box::new(make()))
    }

    /// Publishes a large value, which is never on the stack.
    #[cold]
    pub fn publish_made<T>(place: &AtomicPtr<T>, made: Box<T>) -> &'static T {
        let mine = Box::into_raw(made);
        // Release publishes what was made; Acquire sees what somebody else made.
        match place.compare_exchange(
            core::ptr::null_mut(),
            mine,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            // SAFETY: just leaked, never freed.
            Ok(_) => unsafe { &*mine },
            Err(theirs) => {
                // SAFETY: nobody has seen ours.
                drop(unsafe { Box::from_raw(mine) });
                // SAFETY: published by this function, never freed.
                unsafe { &*theirs }
            }
        }
    }
}

/// Runs `body`. A panic in it becomes `fallback`, since it must not unwind into the program.
///
/// The thread cannot be cancelled meanwhile: a cancellation unwinds too, and catching it ends the
/// process. It takes effect at the program's own next point of cancellation.
#[inline]
pub fn catch_panic<R>(fallback: R, body: impl FnOnce() -> R) -> R {
    let _lasting = Uncancelled::begin();
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// Guard that keeps the calling thread from being cancelled until it is dropped.
///
/// Only the outermost one on a thread does anything. If a jump left it, the next one that begins
/// further up the stack takes its place, with the state that it found.
#[derive(Debug)]
pub struct Uncancelled {
    outermost: bool,
    /// Stays on its thread.
    _thread: core::marker::PhantomData<*const ()>,
}

impl Uncancelled {
    /// Begins.
    #[inline(always)]
    pub fn begin() -> Self {
        Self {
            outermost: Self::take_place(stack_pointer()) == 0,
            _thread: core::marker::PhantomData,
        }
    }

    /// Takes the place of the outermost shield for the function whose stack pointer is `stack`, and
    /// returns 0. Another number: a shield further up the stack has it. Not inlined: every wrapper
    /// begins here. The answer is that of the C library's function, which is called last, so this
    /// needs no stack frame.
    #[inline(never)]
    fn take_place(stack: usize) -> i32 {
        Thread::with(|thread| {
            let shield = &thread.shield;
            let other = shield.stack.get();
            // The same function may begin twice, where one is inlined into the other.
            if stack <= other {
                return TAKEN;
            }
            shield.stack.set(stack);
            if other != 0 {
                return 0;
            }
            // SAFETY: writes one integer, the calling thread's own. It does not fail.
            unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, shield.cancellation.as_ptr()) }
        })
    }

    /// Gives up the place of the outermost shield.
    #[inline(never)]
    fn leave() {
        Thread::with(|thread| {
            thread.shield.stack.set(0);
            // SAFETY: the state that this thread had before. glibc and musl write nothing to null.
            unsafe {
                pthread_setcancelstate(thread.shield.cancellation.get(), core::ptr::null_mut())
            };
        });
    }
}

impl Drop for Uncancelled {
    #[inline(always)]
    fn drop(&mut self) {
        if self.outermost {
            Self::leave();
        }
    }
}

/// Guard that keeps the calling thread from being cancelled and from handling signals until it is
/// dropped. It is for steps that hold a lock of this process: a handler may leave by a jump, fork,
/// or call the driver.
///
/// Signals for a fault of the thread itself are not blocked.
#[derive(Debug)]
pub struct Undisturbed {
    mask: libc::sigset_t,
    _uncancelled: Uncancelled,
}

impl Undisturbed {
    /// Begins.
    #[inline(always)]
    pub fn begin() -> Self {
        let uncancelled = Uncancelled::begin();
        Self {
            mask: without_signals(),
            _uncancelled: uncancelled,
        }
    }
}

fn without_signals() -> libc::sigset_t {
    let faults = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
    ];
    let mut all = core::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = core::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets outlive the calls, which write no more than them; zeroes are a set as well.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in faults {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        // SAFETY: the mask that this thread had before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, core::ptr::null_mut()) };
    }
}

/// 0 until asked, then 1 for silence and 2 for speech.
static LOGGING: AtomicU32 = AtomicU32::new(0);

/// Returns true if `FCSP_LOG` asks for messages on standard error. It is read once.
#[inline]
pub fn logging() -> bool {
    match LOGGING.load(Ordering::Relaxed) {
        0 => ask_for_logging(),
        state => state == 2,
    }
}

#[cold]
fn ask_for_logging() -> bool {
    let asked = std::env::var_os("FCSP_LOG").is_some_and(|value| !value.is_empty() && value != "0");
    // Relaxed: the answer is the same whichever thread finds it.
    LOGGING.store(1 + u32::from(asked), Ordering::Relaxed);
    asked
}

/// 0 until asked, then 1 for no and 2 for yes.
static COUNTING: AtomicU32 = AtomicU32::new(0);

/// Returns true if `FCSP_ACCOUNT_TIME` asks to count the device time of a tenant without a share.
/// By default it is not counted, since that costs such launches as much as a share does. It is read
/// once.
pub fn accounts_time() -> bool {
    // Relaxed: the answer is the same whichever thread finds it.
    match COUNTING.load(Ordering::Relaxed) {
        0 => {
            let asked = std::env::var_os("FCSP_ACCOUNT_TIME")
                .is_some_and(|value| !value.is_empty() && value != "0");
            COUNTING.store(1 + u32::from(asked), Ordering::Relaxed);
            asked
        }
        state => state == 2,
    }
}

/// Says on standard error why something was refused, if `FCSP_LOG` asks for it.
pub fn log_refusal(reason: &str) {
    if logging() {
        let line = format!("fcsp[{}]: {reason}\n", std::process::id());
        let _lasting = Uncancelled::begin();
        // By one system call: the library's own stream has a lock, which a forked child may find
        // taken forever. With a closed standard error, the message is lost. SAFETY: the line
        // outlives the call.
        unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_publish_is_kept() {
        let place = AtomicPtr::new(core::ptr::null_mut());
        assert_eq!(SetupOnce::publish(&place, || 1), &1);
        assert_eq!(SetupOnce::publish(&place, || 2), &1);
    }

    #[test]
    fn a_panic_is_an_answer() {
        assert_eq!(catch_panic(7, || 8), 8);
        assert_eq!(
            catch_panic(7, || std::panic::resume_unwind(Box::new("no words"))),
            7
        );
    }
}
