//! A page that a worker shares with the tester: what each thread is about to do. It says over what
//! a worker died.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Threads that a program can have.
const THREADS: usize = 8;
/// Stands for what follows a thread's operations.
const AFTERWARDS: u64 = u64::MAX;

/// The worker's side: one word a thread, the index of its operation and one, or 0 before the first.
pub struct Progress(&'static [AtomicU64; THREADS]);

impl Progress {
    /// Maps the page of a file, which is made as long as it must be.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        file.set_len((THREADS * 8) as u64)?;
        // SAFETY: a new mapping of a file of that length; no address is asked for.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                THREADS * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a mapping of that many bytes, aligned to a page, that stays for the life of the
        // process; nobody shortens the file. Readers in other processes read the file.
        Ok(Self(unsafe { &*page.cast() }))
    }

    /// Notes what a thread does next.
    pub fn note(&self, thread: u8, at: usize) {
        let word = if at == usize::MAX {
            AFTERWARDS
        } else {
            at as u64 + 1
        };
        // Relaxed: read only once this process is dead.
        self.0[usize::from(thread) % THREADS].store(word, Relaxed);
    }

    /// Forgets all, before a program.
    pub fn clear(&self) {
        for word in self.0 {
            word.store(0, Relaxed);
        }
    }
}

/// Reads from a dead worker's file which operation each thread was about to run: indices, or `None`
/// after the last one.
pub fn read(path: &Path) -> Vec<Option<usize>> {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
        .filter_map(|word| match word {
            0 => None,
            AFTERWARDS => Some(None),
            next => Some(Some(next as usize - 1)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        let progress = Progress::create(&path).unwrap();
        progress.note(0, 7);
        progress.note(2, 0);
        progress.note(1, usize::MAX);
        assert_eq!(read(&path), [Some(7), None, Some(0)]);
        progress.clear();
        assert_eq!(read(&path), []);
    }
}
