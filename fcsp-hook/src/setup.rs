//! Making things once, the shield between our code and the host's, and the log.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use crate::thread::{Inside, Thread};

/// Taken while a thread sets things up. Not a mutex of the library's: a forked child must be able to reset it.
#[derive(Debug, Default)]
pub struct SetupTurns(AtomicU32);

impl SetupTurns {
    /// Nobody's turn.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Waits for a turn, which lasts until dropped.
    pub fn take(&self) -> SetupTurn<'_> {
        // Acquire pairs with the Release in drop.
        while self
            .0
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        SetupTurn(self)
    }

    /// In a forked child: a thread that had the turn does not exist here.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// A thread's turn to set things up.
#[derive(Debug)]
pub struct SetupTurn<'a>(&'a SetupTurns);

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
        let mine = Box::into_raw(Box::new(make()));
        // Release publishes what was made; Acquire sees what somebody else made.
        match place.compare_exchange(core::ptr::null_mut(), mine, Ordering::AcqRel, Ordering::Acquire) {
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

/// Runs `body`; a panic in it becomes `fallback`, since it must not unwind into the host.
#[inline]
pub fn shielded<R>(fallback: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// 0 until asked, then 1 for silence and 2 for speech.
static LOGGING: AtomicU32 = AtomicU32::new(0);

/// Whether `FCSP_LOG` asks for words on standard error. Read once.
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
    // Relaxed: the answer is the same whoever finds it.
    LOGGING.store(1 + u32::from(asked), Ordering::Relaxed);
    asked
}

/// 0 until asked, then 1 for no and 2 for yes.
static COUNTING: AtomicU32 = AtomicU32::new(0);

/// Whether `FCSP_ACCOUNT_TIME` asks for the device time of a tenant without a share to be counted. It is not unless
/// asked for: that costs such launches as much as a share does. Read once.
pub fn accounts_time() -> bool {
    // Relaxed: the answer is the same whoever finds it.
    match COUNTING.load(Ordering::Relaxed) {
        0 => {
            let asked =
                std::env::var_os("FCSP_ACCOUNT_TIME").is_some_and(|value| !value.is_empty() && value != "0");
            COUNTING.store(1 + u32::from(asked), Ordering::Relaxed);
            asked
        }
        state => state == 2,
    }
}

/// Says on standard error why something was refused, if `FCSP_LOG` asks for it.
pub fn complain(reason: &str) {
    if logging() {
        use std::io::Write;
        // The host's standard error may be closed; that is no reason to fail.
        let _ = writeln!(std::io::stderr(), "fcsp[{}]: {reason}", std::process::id());
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
        assert_eq!(shielded(7, || 8), 8);
        assert_eq!(shielded(7, || std::panic::resume_unwind(Box::new("no words"))), 7);
    }
}
