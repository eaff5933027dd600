//! Small files shared by processes: mapping, byte-range locks that the kernel drops at death, setup locks.
//!
//! Locks are open-file-description locks (`F_OFD_SETLK`, Linux 3.15): they belong to the open file, not to a process
//! number, so they mean the same in every PID namespace and vanish when the last descriptor and the last mapping of the
//! file are gone, whatever killed the holder.
//!
//! What a program keeps for long it keeps by a mapping, and closes the descriptor: a program may close any number that it
//! did not open, as daemons do, and be given it again for a file of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// A shared mapping of the start of a file.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory that lives until drop; what is done with it through raw pointers is argued for
// where it is done.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself only hands out its address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file`, shared, for reading and, if asked, for writing. `len` may exceed the file: pages
    /// past its end fault with SIGBUS until the file grows, so callers stay below the size they have checked.
    pub fn new(file: &File, len: usize, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a fresh mapping at an address the kernel chooses overlaps nothing; the descriptor is open.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { base, len })
    }

    /// First byte of the mapping; page-aligned.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Puts zeroes of this process's own in the mapping's place, which then refers to no file. Async-signal-safe. Whoever
    /// still holds an address into it reads and writes what nobody else sees.
    pub fn replace_by_nothing(&self) {
        // SAFETY: exactly the range that `new` mapped, which stays mapped; it is unmapped by `drop` as before. A failure
        // leaves the old mapping, which is sound too.
        unsafe {
            libc::mmap(
                self.base.as_ptr().cast(),
                self.len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, unmapped once.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Opens for reading and writing, creating with `mode` if asked, never following a symbolic link at the last step
/// (a tenant must not be able to point a shared file elsewhere), closed on exec.
pub fn open_rw(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
}

/// Opens for reading only, never following a symbolic link at the last step.
pub fn open_ro(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
}

/// Makes the file at least `len` bytes, with its blocks really allocated: a full tmpfs is an error here and not a
/// SIGBUS later. Only ever grows, so two processes that grow a file at once cannot cut each other's part off.
///
/// Where the program may not make files so long (`RLIMIT_FSIZE`) that is an error, too, and not the signal that ends it.
pub fn allocate(file: &File, len: u64) -> io::Result<()> {
    let error = match without_size_signal(|| grow(file, len)) {
        Err(error) if error.raw_os_error() == Some(libc::EFBIG) => error,
        done => return done,
    };
    // Some file systems ask for the limit also where nothing grows.
    match file.metadata()?.len() >= len {
        true => Ok(()),
        false => Err(error),
    }
}

/// Runs `work` with SIGXFSZ held back from this thread, and takes back one that it caused.
fn without_size_signal(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: all three live through the calls, which write no more than them; zeroes are valid for the one that is only
    // read where a call failed. The mask is this thread's own and is put back below.
    let was_pending = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGXFSZ);
        if libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) != 0 {
            return work();
        }
        libc::sigpending(pending.as_mut_ptr());
        libc::sigismember(pending.as_ptr(), libc::SIGXFSZ) == 1
    };
    let done = work();
    let caused = done
        .as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG));
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: as above; without a place for its description the signal is only taken.
    unsafe {
        if caused && !was_pending {
            libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &at_once);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    done
}

fn grow(file: &File, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    loop {
        // SAFETY: no memory is passed; the descriptor is open.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // A file system without fallocate (some overlays): a sparse file is the best there is.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => {
                if file.metadata()?.len() < len as u64 {
                    file.set_len(len as u64)?;
                }
                return Ok(());
            }
            _ => return Err(error),
        }
    }
}

fn lock_request(kind: libc::c_int, offset: u64, len: u64) -> libc::flock {
    // SAFETY: flock is plain data for which all zeroes is a valid value (l_pid must be 0 for OFD locks).
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = offset as libc::off_t;
    lock.l_len = len as libc::off_t;
    lock
}

/// Takes the write lock on `[offset, offset + len)` if nobody else holds any of it; `len` 0 means to the end.
pub fn try_lock(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    set_lock(file, lock_request(libc::F_WRLCK, offset, len))
}

/// Takes a read lock on the range, which any number of open files may hold together, if nobody has the write lock.
/// A file opened for reading will do.
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

/// Gives a lock back.
pub fn unlock(file: &File, offset: u64, len: u64) {
    let lock = lock_request(libc::F_UNLCK, offset, len);
    // SAFETY: as in `try_lock`. Unlocking what is not locked is a no-op, so the result carries nothing.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
}

/// Whether some other open file holds a write lock on any byte of the range. Works on a file opened for reading.
pub fn is_locked(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    find_lock(file, lock_request(libc::F_RDLCK, offset, len))
}

/// Whether some other open file holds a lock of any kind on any byte of the range. Works on a file opened for reading.
pub fn is_held(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    find_lock(file, lock_request(libc::F_WRLCK, offset, len))
}

fn find_lock(file: &File, mut lock: libc::flock) -> io::Result<bool> {
    // SAFETY: the kernel reads and writes the request, which outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// An exclusive lock on a whole file for the length of a setup step. The kernel drops it if the holder dies.
#[derive(Debug)]
pub struct SetupLock {
    _file: File,
}

impl SetupLock {
    /// Longest wait for somebody else's setup, which takes well under a millisecond unless its process is stopped.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Waits for the lock on `path`, creating the file if need be. The file that was locked is the one at `path`: a
    /// lock on a file that was removed while this waited keeps nobody out. `NotFound` if its folder is gone.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        let deadline = Instant::now() + Self::PATIENCE;
        let mut file = open_rw(path, true)?;
        loop {
            if try_lock(&file, 0, 0)? {
                if is_at(&file, path)? {
                    return Ok(Self { _file: file });
                }
                file = open_rw(path, true)?;
                continue;
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "{} has been held for {:?} by a process that is stopped",
                        path.display(),
                        Self::PATIENCE
                    ),
                ));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The lock if it is free right now.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = open_rw(path, true)?;
        Ok((try_lock(&file, 0, 0)? && is_at(&file, path)?).then_some(Self { _file: file }))
    }
}

/// A file's identity: what its path named when it was opened, and may not name any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The identity of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

/// Whether `path` still names this open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let mine = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (mine.dev(), mine.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Nanoseconds of CLOCK_MONOTONIC: one clock for every process of a machine.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the timespec, which outlives the call; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
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
    fn a_setup_lock_on_a_removed_file_is_not_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = SetupLock::acquire(&path).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || SetupLock::acquire(&path)
        });
        std::thread::sleep(Duration::from_millis(20));
        std::fs::remove_file(&path).unwrap();
        drop(first);
        let second = waiter.join().unwrap().unwrap();
        assert!(is_at(&second._file, &path).unwrap());
        assert!(SetupLock::try_acquire(&path).unwrap().is_none());
    }

    #[test]
    fn allocation_only_grows() {
        let dir = tempfile::tempdir().unwrap();
        let file = open_rw(&dir.path().join("f"), true).unwrap();
        allocate(&file, 8192).unwrap();
        allocate(&file, 4096).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8192);
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("target"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("target"), dir.path().join("link")).unwrap();
        assert!(open_rw(&dir.path().join("link"), true).is_err());
    }
}
