//! Byte-range locks of open files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

fn lock_request(kind: libc::c_int, offset: u64, len: u64) -> libc::flock {
    // SAFETY: flock is plain data for which all zeroes is a valid value (l_pid must be 0 for OFD
    // locks).
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = offset as libc::off_t;
    lock.l_len = len as libc::off_t;
    lock
}

/// Takes the write lock on `[offset, offset + len)` if no other open file holds any of it. `len` 0
/// means to the end.
pub fn try_lock(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    set_lock(file, lock_request(libc::F_WRLCK, offset, len))
}

/// Takes a read lock on the range, unless another open file has the write lock. Any number of open
/// files may share it. A file opened for reading suffices.
pub fn try_lock_shared(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    set_lock(file, lock_request(libc::F_RDLCK, offset, len))
}

fn set_lock(file: &File, lock: libc::flock) -> io::Result<bool> {
    // SAFETY: the kernel reads the request, which outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Releases a lock.
pub fn unlock(file: &File, offset: u64, len: u64) {
    let lock = lock_request(libc::F_UNLCK, offset, len);
    // SAFETY: as in `try_lock`. Unlocking what is not locked is a no-op, so the result has no
    // meaning.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
}

/// Returns true if another open file holds a write lock on any byte of the range. A file opened for
/// reading suffices.
pub fn is_locked(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    find_lock(file, lock_request(libc::F_RDLCK, offset, len))
}

/// Returns true if another open file holds a lock of any kind on any byte of the range. A file
/// opened for reading suffices.
pub fn is_held(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    find_lock(file, lock_request(libc::F_WRLCK, offset, len))
}

fn find_lock(file: &File, lock: libc::flock) -> io::Result<bool> {
    Ok(ask(file, lock)?.l_type != libc::F_UNLCK as libc::c_short)
}

/// Returns a lock that conflicts with this one; of the kind F_UNLCK if there is none.
fn ask(file: &File, mut lock: libc::flock) -> io::Result<libc::flock> {
    // SAFETY: the kernel reads and writes the request, which outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock)
}

/// Most queries of [`locked_ranges`]. A thousand processes of one tenant take two thousand.
const MOST_QUESTIONS: u32 = 1 << 17;

/// Returns the parts of the range that other open files have locked for writing, in order. It takes
/// two system calls for each lock, however long the range is: a file may claim more owners than it
/// has.
///
/// # Errors
///
/// Any error of the system; `InvalidData` if there are more locks than any tenant has.
pub fn locked_ranges(file: &File, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut left = vec![range];
    for _ in 0..MOST_QUESTIONS {
        let Some(part) = left.pop() else {
            found.sort_by_key(|range: &Range<u64>| range.start);
            return Ok(found);
        };
        if part.is_empty() {
            continue;
        }
        let lock = ask(
            file,
            lock_request(libc::F_RDLCK, part.start, part.end - part.start),
        )?;
        if lock.l_type == libc::F_UNLCK as libc::c_short {
            continue;
        }
        // Any of the locks, not the first; one of length 0 has no end.
        let start = (lock.l_start as u64).clamp(part.start, part.end);
        let end = match lock.l_len as u64 {
            0 => part.end,
            len => (lock.l_start as u64)
                .saturating_add(len)
                .clamp(start, part.end),
        };
        found.push(start..end.max(start));
        left.push(part.start..start);
        left.push(end..part.end);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "has more locks than any tenant",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{open_ro, open_rw};
    use super::*;

    #[test]
    fn locks_belong_to_the_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let a = open_rw(&path, true).unwrap();
        let b = open_rw(&path, false).unwrap();
        assert!(try_lock(&a, 4096, 1).unwrap());
        assert!(!try_lock(&b, 4096, 1).unwrap());
        assert!(try_lock(&b, 4097, 1).unwrap());
        let reader = open_ro(&path).unwrap();
        assert!(is_locked(&reader, 4096, 1).unwrap());
        drop(a);
        assert!(!is_locked(&reader, 4096, 1).unwrap());
        assert!(try_lock(&b, 4096, 1).unwrap());
        unlock(&b, 4096, 1);
        assert!(!is_locked(&reader, 4096, 1).unwrap());
    }

    #[test]
    fn shared_locks_are_many_and_seen_by_who_asks_for_any() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        open_rw(&path, true).unwrap();
        let (a, b, c) = (
            open_ro(&path).unwrap(),
            open_ro(&path).unwrap(),
            open_ro(&path).unwrap(),
        );
        assert!(!is_held(&c, 0, 1).unwrap());
        assert!(try_lock_shared(&a, 0, 1).unwrap() && try_lock_shared(&b, 0, 1).unwrap());
        drop(a);
        assert!(is_held(&c, 0, 1).unwrap() && !is_locked(&c, 0, 1).unwrap());
        assert!(!try_lock(&open_rw(&path, false).unwrap(), 0, 1).unwrap());
        drop(b);
        assert!(!is_held(&c, 0, 1).unwrap());
    }

    #[test]
    fn every_lock_in_a_range_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let reader = open_rw(&path, true).unwrap();
        let find = |range| -> Vec<(u64, u64)> {
            let found = locked_ranges(&reader, range).unwrap();
            found
                .into_iter()
                .map(|range| (range.start, range.end))
                .collect()
        };
        assert!(find(0..1 << 40).is_empty());
        // Not in order, by several owners; adjacent locks of one owner are one.
        let (a, b, c) = (
            open_rw(&path, false).unwrap(),
            open_rw(&path, false).unwrap(),
            open_rw(&path, false).unwrap(),
        );
        for (file, at) in [
            (&b, 5000),
            (&a, 300),
            (&a, 20),
            (&b, 21),
            (&a, 301),
            (&a, 9000),
        ] {
            assert!(try_lock(file, at, 1).unwrap());
        }
        assert!(try_lock_shared(&c, 700, 1).unwrap());
        assert_eq!(
            find(0..10_000),
            [(20, 21), (21, 22), (300, 302), (5000, 5001), (9000, 9001)]
        );
        assert_eq!(find(301..5000), [(301, 302)]);
        assert!(try_lock(&b, 20_000, 0).unwrap());
        assert_eq!(find(15_000..25_000), [(20_000, 25_000)]);
        drop((a, b));
        assert!(find(0..1 << 40).is_empty());
    }
}
