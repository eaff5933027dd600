//! Waits until an instant or a wake-up, across processes and containers.
//!
//! The kernel identifies a futex (Franke, Russell and Kirkwood, 2002) in a shared file mapping by
//! the file and the offset. Processes that map the same page in different containers therefore meet
//! on it. A process may also sleep on a page that it can only read.
//!
//! A wait is a series of relative sleeps of at most [`crate::clock::QUANTUM_NS`]. A lost wake-up
//! costs one of them, and so does a clock that stops or jumps (a restored checkpoint).

use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex;

pub use crate::clock::now_ns;
use crate::clock::{Countdown, timespec};

/// Reason for the end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// A process called [`wake`], or the word was no longer `expected`.
    Event,
    /// The instant was reached.
    Deadline,
}

/// Sleeps until `until` (ns of CLOCK_MONOTONIC), a wake-up, or until the word is not `expected`.
/// Signals do not end it.
pub fn wait(word: &AtomicU32, expected: u32, until: u64) -> Woken {
    let mut left = Countdown::new(now_ns(), until);
    while let Some(piece) = left.piece(now_ns(), u64::MAX) {
        // Without the flag PRIVATE, since other processes wake it. The kernel only reads the word,
        // so a read-only mapping suffices.
        match futex::wait(
            word,
            futex::Flags::empty(),
            expected,
            Some(&timespec(piece)),
        ) {
            Ok(()) => return Woken::Event,
            Err(Errno::TIMEDOUT) => left.slept(piece),
            // A signal was handled after some part of the sleep.
            Err(Errno::INTR) => {}
            // AGAIN: the word changed before the sleep began. Any other error (a kernel without
            // futexes, a sandbox) must cause neither an endless busy loop nor a sleep. Asking the
            // gate again is always allowed.
            Err(_) => return Woken::Event,
        }
    }
    Woken::Deadline
}

/// Wakes all waiters on `word`. Change the word first
/// ([`crate::share::claim_page::ClaimPage::bump`]), or a waiter about to sleep misses the wake-up.
/// It costs a system call, so call it only if some neighbour's page says that it waits.
pub fn wake(word: &AtomicU32) {
    // A kernel or sandbox without futexes has no sleepers.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[test]
    fn ends_at_the_deadline_and_not_before() {
        let word = AtomicU32::new(7);
        let until = now_ns() + 3_000_000;
        assert_eq!(wait(&word, 7, until), Woken::Deadline);
        assert!(now_ns() >= until);
    }

    #[test]
    fn a_word_that_moved_on_is_not_slept_on() {
        let word = AtomicU32::new(8);
        assert_eq!(wait(&word, 7, now_ns() + 10_000_000_000), Woken::Event);
    }

    #[test]
    fn a_wake_up_ends_it() {
        let word = Arc::new(AtomicU32::new(0));
        let waker = {
            let word = word.clone();
            std::thread::spawn(move || {
                word.fetch_add(1, Ordering::Release);
                wake(&word);
            })
        };
        assert_eq!(wait(&word, 0, now_ns() + 30_000_000_000), Woken::Event);
        waker.join().unwrap();
    }
}
