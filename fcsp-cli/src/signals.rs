//! Signals that end or suspend a command that has something to restore first.
//!
//! The handlers store to atomics and write a byte into a pipe, which wakes the thread in poll(2). A
//! second ending signal does not wait for the program: it restores the terminal and takes its
//! default effect.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::screen;

/// The signals that end a process and can be caught: each may come from a user, a shell or a
/// supervisor.
const ENDING: [libc::c_int; 8] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGXCPU,
];

/// The ending signal that came; 0 before.
static ENDED: AtomicI32 = AtomicI32::new(0);
/// SIGTSTP came.
static SUSPENDED: AtomicBool = AtomicBool::new(false);
/// SIGCONT came: another program may have used the terminal meanwhile.
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// SIGWINCH came.
static RESIZED: AtomicBool = AtomicBool::new(false);
/// The pipe's ends; -1 before [`catch_ending`].
static READ_END: AtomicI32 = AtomicI32::new(-1);
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// Notes a signal. Async-signal-safe: atomics, write(2), and what [`screen::abandon`] does.
extern "C" fn note(signal: libc::c_int) {
    // SAFETY: errno is the thread's own; write takes a buffer that outlives the call, and a
    // descriptor that is open or -1.
    unsafe {
        let errno = *libc::__errno_location();
        // Relaxed throughout: each word stands alone, and the reader asks again after the pipe woke
        // it.
        match signal {
            libc::SIGTSTP => SUSPENDED.store(true, Ordering::Relaxed),
            libc::SIGCONT => CONTINUED.store(true, Ordering::Relaxed),
            libc::SIGWINCH => RESIZED.store(true, Ordering::Relaxed),
            _ => {
                if ENDED.swap(signal, Ordering::Relaxed) != 0 {
                    screen::abandon();
                    libc::signal(signal, libc::SIG_DFL);
                    libc::raise(signal);
                }
            }
        }
        // A full pipe has woken the reader already.
        libc::write(WRITE_END.load(Ordering::Relaxed), c"!".as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

fn install(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: sigaction is plain data for which all zeroes is valid, and both pointers outlive the
    // call. Without SA_RESTART: a system call that the terminal keeps must come back.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as libc::sighandler_t;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns whether the parent made this process ignore the signal, as nohup(1) does.
pub fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: as in `install`; a null action only asks.
    unsafe {
        let mut known: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut known) == 0
            && known.sa_sigaction == libc::SIG_IGN
    }
}

/// Catches ending signals from now on, except ignored ones.
pub fn catch_ending() -> io::Result<()> {
    if READ_END.load(Ordering::Relaxed) < 0 {
        let mut ends = [0; 2];
        // SAFETY: the array has the two places that the call fills.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        READ_END.store(ends[0], Ordering::Relaxed);
        WRITE_END.store(ends[1], Ordering::Relaxed);
    }
    ENDING
        .into_iter()
        .filter(|&signal| !is_ignored(signal))
        .try_for_each(install)
}

/// Notes the signals of a live picture, too: suspension, continuation, a changed size.
pub fn catch_screen() -> io::Result<()> {
    catch_ending()?;
    [libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH]
        .into_iter()
        .filter(|&signal| !is_ignored(signal))
        .try_for_each(install)
}

/// Returns the ending signal that came.
pub fn ended() -> Option<libc::c_int> {
    match ENDED.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// Returns whether SIGTSTP came since the last call.
pub fn take_suspended() -> bool {
    SUSPENDED.swap(false, Ordering::Relaxed)
}

/// Returns whether SIGCONT came since the last call.
pub fn take_continued() -> bool {
    CONTINUED.swap(false, Ordering::Relaxed)
}

/// Returns whether SIGWINCH came since the last call.
pub fn take_resized() -> bool {
    RESIZED.swap(false, Ordering::Relaxed)
}

/// Returns the descriptor that is readable once a signal came; empty it with [`empty`].
pub fn wake_end() -> RawFd {
    READ_END.load(Ordering::Relaxed)
}

/// Empties the pipe.
pub fn empty() {
    let mut bytes = [0u8; 64];
    // SAFETY: the buffer is as long as said; the descriptor does not block.
    while unsafe { libc::read(wake_end(), bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
}

/// Stops this process as SIGTSTP does by default, with its whole group if `group`; comes back when
/// it is continued. Where nobody could continue it the kernel does not stop it.
pub fn stop(group: bool) {
    // SAFETY: these calls take integers only; 0 names this process's group.
    unsafe {
        libc::signal(libc::SIGTSTP, libc::SIG_DFL);
        match group {
            true => libc::kill(0, libc::SIGTSTP),
            false => libc::raise(libc::SIGTSTP),
        };
    }
    // Failing leaves the default effect, which suspends without restoring the screen.
    let _ = install(libc::SIGTSTP);
    take_suspended();
    take_continued();
}

/// Ends this process by the signal, so that its parent learns the cause. Returns only where the
/// signal is ignored.
pub fn end_by(signal: libc::c_int) {
    // SAFETY: these calls take integers only.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
