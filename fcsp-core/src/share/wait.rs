//! Sleeping until an instant or a wake-up, across processes and containers.
//!
//! A futex on a word of a shared file mapping is known to the kernel by the file and the offset, so processes that map
//! the same page in different containers meet on it, and a process may sleep on a page it can only read. The wait ends
//! at an absolute instant of CLOCK_MONOTONIC, the clock that all times in pages are in.

use std::sync::atomic::AtomicU32;

/// Ns of CLOCK_MONOTONIC.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody called [`wake`], or the word was no longer `expected`.
    Event,
    /// The instant came.
    Deadline,
}

/// Sleeps until `until` (ns of CLOCK_MONOTONIC), or a wake-up, or the word is not `expected`. Signals do not end it.
pub fn wait(word: &AtomicU32, expected: u32, until: u64) -> Woken {
    let deadline = libc::timespec {
        tv_sec: (until / 1_000_000_000) as libc::time_t,
        tv_nsec: (until % 1_000_000_000) as libc::c_long,
    };
    loop {
        // SAFETY: the word is valid for the call and aligned; the kernel only reads it, so a read-only mapping will
        // do; the timeout outlives the call. Without FUTEX_PRIVATE_FLAG: other processes wake it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                std::ptr::from_ref(word),
                libc::FUTEX_WAIT_BITSET,
                expected,
                &raw const deadline,
                std::ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        if result == 0 {
            return Woken::Event;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ETIMEDOUT) => return Woken::Deadline,
            Some(libc::EINTR) if now_ns() < until => {}
            Some(libc::EINTR) => return Woken::Deadline,
            // EAGAIN: the word moved on before the sleep began. Anything else (a kernel without futexes, a sandbox)
            // must not turn into a busy loop that never ends, nor into a sleep: asking again is always allowed.
            _ => return Woken::Event,
        }
    }
}

/// Wakes everyone who sleeps on `word`. Change the word before ([`crate::share::page::TenantPage::bump`]), or a waiter
/// about to sleep misses it. Costs a system call: call it only when some neighbour's page says that it waits.
pub fn wake(word: &AtomicU32) {
    // SAFETY: as in `wait`; waking reads nothing.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            std::ptr::from_ref(word),
            libc::FUTEX_WAKE,
            i32::MAX,
        );
    }
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
