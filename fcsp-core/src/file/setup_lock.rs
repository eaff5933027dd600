//! The setup lock, which orders the creation, checking and removal of shared files.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Transient, is_at, open_rw, try_lock, unlock};
use crate::clock::{Countdown, now_ns};

/// Instant at which this process last waited in vain, ns of CLOCK_MONOTONIC; 0 for never.
static WAITED_IN_VAIN: AtomicU64 = AtomicU64::new(0);
/// Time for which that is remembered, ns.
const MEMORY_NS: u64 = 60_000_000_000;
/// Wait of a process that has recently waited in vain, ns.
const IMPATIENCE_NS: u64 = 20_000_000;
/// Sleep between two attempts, ns.
const NAP_NS: u64 = 200_000;

/// Exclusive lock on a whole file for the length of a setup step. The kernel releases it if the
/// holder dies.
///
/// A child that is forked meanwhile shares the open file. Dropping the lock therefore unlocks
/// explicitly, which ends it for all processes that share the file.
#[derive(Debug)]
pub struct SetupLock {
    file: Transient,
}

impl SetupLock {
    /// Longest wait for another process's setup. A setup takes well under a millisecond unless its
    /// process is stopped. A process that has waited in vain waits less the next time, so that not
    /// all of its calls are slow.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Waits for the lock on `path`, and creates the file if needed. It returns only with a lock on
    /// the file that is at `path`: a lock on a removed file excludes no process.
    ///
    /// # Errors
    ///
    /// `NotFound` if its folder is gone; `TimedOut` if the lock was not available.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        Self::acquire_from(open_rw(path, true)?, path)
    }

    /// Waits for the lock on the file that was at `path` a moment ago.
    fn acquire_from(mut file: Transient, path: &Path) -> io::Result<Self> {
        let patience = patience_ns();
        let mut left = Countdown::of(patience);
        loop {
            if try_lock(&file, 0, 0)? {
                let this = Self { file };
                if is_at(&this.file, path)? {
                    return Ok(this);
                }
                file = open_rw(path, true)?;
                continue;
            }
            if !left.nap(NAP_NS) {
                WAITED_IN_VAIN.store(now_ns(), Ordering::Relaxed);
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "{0} has been held for {1:?} by a process that is stopped; find it with `fuser {0}`, and continue or end it",
                        path.display(),
                        Duration::from_nanos(patience)
                    ),
                ));
            }
        }
    }

    /// Takes the lock if it is available now.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = open_rw(path, true)?;
        if !try_lock(&file, 0, 0)? {
            return Ok(None);
        }
        let this = Self { file };
        Ok(is_at(&this.file, path)?.then_some(this))
    }
}

impl Drop for SetupLock {
    fn drop(&mut self) {
        unlock(&self.file, 0, 0);
    }
}

fn patience_ns() -> u64 {
    let last = WAITED_IN_VAIN.load(Ordering::Relaxed);
    if last != 0 && now_ns().saturating_sub(last) < MEMORY_NS {
        return IMPATIENCE_NS;
    }
    SetupLock::PATIENCE.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_on_a_removed_file_is_not_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // Opened, and removed before it could be locked.
        let old = open_rw(&path, true).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lock = SetupLock::acquire_from(old, &path).unwrap();
        assert!(is_at(&lock.file, &path).unwrap());
        assert!(SetupLock::try_acquire(&path).unwrap().is_none());
    }

    /// Checks that a forked child shares the lock; a second descriptor does the same.
    #[test]
    fn dropping_it_ends_it_for_everybody_that_shares_the_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = SetupLock::acquire(&path).unwrap();
        let shared = lock.file.try_clone().unwrap();
        drop(lock);
        assert!(SetupLock::try_acquire(&path).unwrap().is_some());
        drop(shared);
    }
}
