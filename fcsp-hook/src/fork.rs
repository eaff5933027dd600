//! Detection of forks in the child: by the C library's handlers, and by a wiped page where those
//! did not run.
//!
//! A raw `clone` or `_Fork` runs no handlers. A page that the kernel wipes in every child
//! (`MADV_WIPEONFORK`, Linux 4.14) reveals it at the child's next call, by one load. A `vfork`ed
//! child shares its parent's memory and counts as its parent.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use fcsp_core::clock::nap;

/// Function that a backend runs in a child: async-signal-safe, and harmless when run twice.
pub type Handler = fn();

/// The handlers of the backends in this process, as addresses. There is space for more than all
/// vendors.
static HANDLERS: [AtomicPtr<()>; 16] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 16];

/// The word that the kernel wipes: [`WIPED`] in a child until it is handled. Null before [`watch`].
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());
/// State of a child that has not run its handlers.
const WIPED: u32 = 0;
/// State of a process whose records are in order.
const SETTLED: u32 = 1;
/// State of a child in which a thread runs the handlers.
const SETTLING: u32 = 2;

/// True once the C library calls [`in_child`].
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Registers `handler` to run in every child of this process from now on. A thread that takes a
/// lock calls this before, so that a child forked at any later instant finds the lock available.
///
/// Several threads may call it at once, and again.
pub fn watch(handler: Handler) {
    let address = handler as *mut ();
    for place in &HANDLERS {
        // AcqRel: a thread that finds the address finds it complete; nothing else belongs to it.
        match place.compare_exchange(
            core::ptr::null_mut(),
            address,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => break,
            Err(there) if there == address => break,
            Err(_) => {}
        }
    }
    if !REGISTERED.load(Ordering::Acquire) {
        // SAFETY: the handler is a plain function for the life of the process, and the library is
        // never unloaded. Registered twice by two threads it runs twice, which is harmless.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        // Release: after the registration, so that a child forked before registers by itself.
        REGISTERED.store(true, Ordering::Release);
    }
    if WORD.load(Ordering::Acquire).is_null() {
        mark();
    }
}

/// Maps the word. If the kernel cannot wipe it, only the C library's handlers are left.
#[cold]
fn mark() {
    const LENGTH: usize = size_of::<AtomicU32>();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh page at an address that the kernel chooses.
    let page = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            LENGTH,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return;
    }
    // SAFETY: the page that was just mapped.
    if unsafe { libc::madvise(page, LENGTH, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above; no other thread knows of it.
        unsafe { libc::munmap(page, LENGTH) };
        return;
    }
    let word: *mut AtomicU32 = page.cast();
    // SAFETY: the page is aligned, writable and never unmapped.
    unsafe { &*word }.store(SETTLED, Ordering::Relaxed);
    // Release: the word is set before another thread sees it.
    if WORD
        .compare_exchange(
            core::ptr::null_mut(),
            word,
            Ordering::Release,
            Ordering::Relaxed,
        )
        .is_err()
    {
        // SAFETY: another thread's page is used; no other thread knows of this one.
        unsafe { libc::munmap(page, LENGTH) };
    }
}

/// Handles a fork that no handler has noticed. Costs two loads if there was none.
#[inline]
pub fn check() {
    // SAFETY: null, or a page that stays mapped. Acquire pairs with the Release in `mark`.
    if let Some(word) = unsafe { WORD.load(Ordering::Acquire).as_ref() }
        && word.load(Ordering::Acquire) != SETTLED
    {
        in_unnoticed_child(word);
    }
}

#[cold]
#[inline(never)]
fn in_unnoticed_child(word: &AtomicU32) {
    match word.compare_exchange(WIPED, SETTLING, Ordering::Acquire, Ordering::Acquire) {
        Ok(_) => run_handlers(),
        // Another thread of the child runs them.
        Err(_) => {
            while word.load(Ordering::Acquire) == SETTLING {
                nap(20_000);
            }
        }
    }
}

/// Runs the handlers in a child. Async-signal-safe: plain stores and system calls.
extern "C" fn in_child() {
    run_handlers();
}

fn run_handlers() {
    fcsp_core::file::forget_in_child();
    for place in &HANDLERS {
        let address = place.load(Ordering::Acquire);
        if !address.is_null() {
            // SAFETY: only `watch` writes here, and only addresses of handlers.
            let handler = unsafe { core::mem::transmute::<*mut (), Handler>(address) };
            handler();
        }
    }
    // SAFETY: as in `check`. Release: the records are in order before the word says so.
    if let Some(word) = unsafe { WORD.load(Ordering::Acquire).as_ref() } {
        word.store(SETTLED, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static RUNS: AtomicU32 = AtomicU32::new(0);

    fn count() {
        RUNS.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs `work` in a child made by `fork` or by a raw system call, and returns its result.
    fn in_a_child(raw: bool, work: impl FnOnce() -> u8) -> i32 {
        // SAFETY: the child does nothing but plain loads and stores, and ends.
        unsafe {
            let child = if raw {
                libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t
            } else {
                libc::fork()
            };
            if child == 0 {
                libc::_exit(work().into());
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert!(libc::WIFEXITED(status));
            libc::WEXITSTATUS(status)
        }
    }

    #[test]
    fn every_child_is_noticed_once() {
        watch(count);
        watch(count);
        check();
        assert_eq!(RUNS.load(Ordering::Relaxed), 0, "nothing to notice here");
        let runs = || {
            check();
            check();
            RUNS.load(Ordering::Relaxed) as u8
        };
        assert_eq!(in_a_child(false, runs), 1, "by the C library's handler");
        assert_eq!(in_a_child(true, || RUNS.load(Ordering::Relaxed) as u8), 0);
        assert_eq!(in_a_child(true, runs), 1, "by the wiped word");
        check();
        assert_eq!(RUNS.load(Ordering::Relaxed), 0);
    }
}
