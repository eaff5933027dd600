//! Forks, noticed in the child: by the C library's handlers, and where those were passed by.
//!
//! A raw `clone` or `_Fork` runs no handlers. A page that the kernel wipes in every child
//! (`MADV_WIPEONFORK`, Linux 4.14) tells such a child at its next call, by one load. A `vfork`ed
//! child shares its parent's memory and is its parent in every respect.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use fcsp_core::clock::nap;

/// What a backend does in a child: async-signal-safe, and harmless when done twice.
pub type Handler = fn();

/// The handlers of the backends in this process, as addresses; as many as there are vendors, and
/// some.
static HANDLERS: [AtomicPtr<()>; 16] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 16];

/// The word that the kernel wipes: [`WIPED`] in a child until it is taken care of. Null before
/// [`watch`].
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());
/// A child that has done nothing about it.
const WIPED: u32 = 0;
/// A process that has its books in order.
const SETTLED: u32 = 1;
/// A child in which a thread runs the handlers.
const SETTLING: u32 = 2;

/// Whether the C library calls [`in_child`].
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Has `handler` run in every child of this process from now on. Whoever takes a lock does this
/// before: a child that is forked at any later instant finds it free.
///
/// May be done by several threads at once, and again.
pub fn watch(handler: Handler) {
    let address = handler as *mut ();
    for place in &HANDLERS {
        // AcqRel: whoever finds it there finds it whole; an address of code has nothing else that
        // belongs to it.
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

/// Maps the word. A kernel that cannot wipe it leaves only the C library's handlers.
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
        // SAFETY: as above; nobody else knows of it.
        unsafe { libc::munmap(page, LENGTH) };
        return;
    }
    let word: *mut AtomicU32 = page.cast();
    // SAFETY: the page is aligned, writable and mapped for good.
    unsafe { &*word }.store(SETTLED, Ordering::Relaxed);
    // Release: the word says so before anybody sees it.
    if WORD
        .compare_exchange(
            core::ptr::null_mut(),
            word,
            Ordering::Release,
            Ordering::Relaxed,
        )
        .is_err()
    {
        // SAFETY: another thread's is used; nobody knows of this one.
        unsafe { libc::munmap(page, LENGTH) };
    }
}

/// Takes care of a fork that no handler has noticed. Two loads where there was none.
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
        // Another thread of the child is at it.
        Err(_) => {
            while word.load(Ordering::Acquire) == SETTLING {
                nap(20_000);
            }
        }
    }
}

/// Async-signal-safe: plain stores and system calls.
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
    // SAFETY: as in `check`. Release: the books are in order before the word says so.
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

    /// Runs `work` in a child made by `fork` or by a raw system call, and gives what it returned.
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
