//! The kernel's clock and its sleep.
//!
//! The C library's `clock_gettime`, `nanosleep` and `syscall` are symbols that a program can
//! interpose. libfaketime stops, shifts and scales the clock for a whole process. Instants in
//! shared files must be the machine's, and a deadline of another clock never comes. This module
//! therefore never calls the C library. It reads the time in the vDSO, the page of code that the
//! kernel maps into every process, or by a system call without one.
//!
//! A sleep of the C library is also a point of cancellation. These sleeps are not.

use rustix::thread::NanosleepRelativeResult;
use rustix::time::{ClockId, Timespec};

/// Longest single sleep before a deadline, ns. A clock that jumps costs no more than this.
pub const QUANTUM_NS: u64 = 20_000_000;

/// Reads CLOCK_MONOTONIC, ns: one clock for every process of a machine.
#[inline]
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sleeps for `ns`, or until a signal was handled.
pub fn nap(ns: u64) {
    match rustix::thread::nanosleep(&timespec(ns)) {
        NanosleepRelativeResult::Ok | NanosleepRelativeResult::Interrupted(_) => {}
        // In a sandbox that refuses to sleep, a loop around this must not keep the core to itself.
        NanosleepRelativeResult::Err(_) => std::thread::yield_now(),
    }
}

/// Converts a length of time to the kernel's form.
pub(crate) fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as _,
    }
}

/// Time left until a deadline, by the clock and by the sum of the sleeps so far.
///
/// A clock that stops or goes back does not lengthen the wait: sleeps are counted at their
/// requested length.
#[derive(Debug, Clone, Copy)]
pub struct Countdown {
    until: u64,
    left: u64,
}

impl Countdown {
    /// Counts from `now` down to `until`, both ns.
    pub fn new(now: u64, until: u64) -> Self {
        Self {
            until,
            left: until.saturating_sub(now),
        }
    }

    /// Counts down from now for `ns`.
    pub fn of(ns: u64) -> Self {
        let now = now_ns();
        Self::new(now, now.saturating_add(ns))
    }

    /// Returns the length of the next sleep at `now`, at most `most` and [`QUANTUM_NS`]. Returns
    /// `None` when the time is up.
    pub fn piece(&mut self, now: u64, most: u64) -> Option<u64> {
        self.left = self.left.min(self.until.saturating_sub(now));
        (self.left > 0).then(|| self.left.min(most).min(QUANTUM_NS))
    }

    /// Counts a sleep of `ns` that ran to its end.
    pub fn slept(&mut self, ns: u64) {
        self.left = self.left.saturating_sub(ns);
    }

    /// Sleeps for `ns`, or less if the deadline is nearer. Returns true if there was time left for
    /// it.
    pub fn nap(&mut self, ns: u64) -> bool {
        let Some(piece) = self.piece(now_ns(), ns) else {
            return false;
        };
        nap(piece);
        self.slept(piece);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_kernels() {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let before = now_ns();
        // SAFETY: the kernel writes the timespec, which outlives the call.
        unsafe {
            libc::syscall(
                libc::SYS_clock_gettime,
                libc::CLOCK_MONOTONIC,
                &raw mut time,
            )
        };
        let kernel = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        assert!((before..=now_ns()).contains(&kernel));
    }

    #[test]
    fn a_countdown_ends_by_the_clock_or_by_its_sleeps() {
        // By the clock.
        let mut left = Countdown::new(1_000, 31_000_000);
        assert_eq!(left.piece(1_000, u64::MAX), Some(QUANTUM_NS));
        assert_eq!(left.piece(30_000_000, u64::MAX), Some(1_000_000));
        assert_eq!(left.piece(31_000_000, u64::MAX), None);
        // A clock that stands still, and one that goes back.
        for step in [0, 5_000_000] {
            let (mut now, mut sleeps) = (1_000_000_000u64, 0);
            let mut left = Countdown::new(now, now + 100_000_000);
            while let Some(piece) = left.piece(now, u64::MAX) {
                left.slept(piece);
                now -= step;
                sleeps += 1;
            }
            assert_eq!(sleeps, 5);
        }
        // A deadline that has passed.
        assert_eq!(Countdown::new(5, 4).piece(5, 1), None);
    }

    #[test]
    fn a_nap_is_as_long_as_it_says() {
        let before = now_ns();
        nap(2_000_000);
        assert!(now_ns() >= before + 2_000_000);
    }
}
