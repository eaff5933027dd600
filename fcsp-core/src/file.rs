//! Small files shared by processes: opening, mapping, setup locks, and byte-range locks that the
//! kernel releases at death.
//!
//! Locks are open-file-description locks (`F_OFD_SETLK`, Linux 3.15). They belong to the open file
//! and not to a process number, so they mean the same in every PID namespace. They vanish when the
//! last descriptor and the last mapping of the file are gone, however the holder ended. A forked
//! child shares its parent's open files and their locks: see [`forget_in_child`].
//!
//! Long-lived files are kept by a mapping, and their descriptor is closed. A program may close
//! numbers that it did not open, as daemons do, and get them again for files of its own.

mod folder;
mod locks;
mod mapping;
mod setup_lock;
mod small;
mod transient;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub use crate::clock::now_ns as monotonic_ns;
pub use folder::{Folder, is_trusted};
pub use locks::{is_held, is_locked, locked_ranges, try_lock, try_lock_shared, unlock};
pub use mapping::Mapping;
pub use setup_lock::SetupLock;
pub use small::{MOST_BYTES, make, read, read_text, replace};
pub use transient::Transient;

/// Opens a file for reading and writing, closed on exec. `create` makes a missing file with mode
/// 0600. In a folder that every user may write to, every user may also write the new file.
///
/// No other user can redirect the path. A link in the last step is never followed; a link on the
/// way only if it belongs to this user or to root. The file must be a regular file with one name,
/// of this user, of root or of its folder's owner ([`Folder`]). A pipe or a device is an error and
/// causes no wait.
pub fn open_rw(path: &Path, create: bool) -> io::Result<Transient> {
    if !create {
        return Transient::open(path, libc::O_RDWR);
    }
    match Transient::open(path, libc::O_RDWR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            small::make_everybodys(path)?;
            Transient::open_or_make(path)
        }
        file => file,
    }
}

/// Opens a file that only this user's processes write, even if other users may make files next to
/// it.
///
/// # Errors
///
/// As above; `PermissionDenied` if another user has made the file.
pub fn open_own(path: &Path) -> io::Result<Transient> {
    let file = Transient::open_or_make(path)?;
    let meta = file.metadata()?;
    if !is_trusted(meta.uid()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} belongs to another user", path.display()),
        ));
    }
    Ok(file)
}

/// Opens a file for reading only, with the checks of [`open_rw`].
pub fn open_ro(path: &Path) -> io::Result<Transient> {
    Transient::open(path, libc::O_RDONLY)
}

/// Closes, in a forked child, the files that its parent had open at the fork, and replaces the
/// mappings that keep the parent's locks. The parent's locks then end with the parent.
/// Async-signal-safe.
///
/// An address into such a mapping then leads to zeroes that no other process sees.
pub fn forget_in_child() {
    transient::close_in_child();
    mapping::forget_in_child();
}

/// Makes the file at least `len` bytes long, with its blocks really allocated. A full tmpfs is then
/// an error here and not a SIGBUS later. The file only grows, so two processes that grow it at once
/// cannot truncate each other's part.
///
/// If the program may not make files so long (`RLIMIT_FSIZE`), that is also an error, and not the
/// signal that ends it.
pub fn allocate(file: &File, len: u64) -> io::Result<()> {
    let error = match without_size_signal(|| grow(file, len)) {
        Err(error) if error.raw_os_error() == Some(libc::EFBIG) => error,
        done => return done,
    };
    // Some file systems check the limit even if nothing grows.
    match file.metadata()?.len() >= len {
        true => Ok(()),
        false => Err(error),
    }
}

/// Writes at an offset in the file. If the program may not write there (`RLIMIT_FSIZE`), that is an
/// error, and not the signal that ends it.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    without_size_signal(|| file.write_all_at(bytes, offset))
}

/// Runs `work` with SIGXFSZ blocked in this thread, and consumes the signal if `work` caused it.
fn without_size_signal(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: all three live through the calls, which write no more than them. Zeroes are valid for
    // the set that is only read if a call failed. The mask is this thread's own and is restored
    // below.
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
    // SAFETY: as above; without an info pointer, the call only consumes the signal.
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
            // A file system without fallocate (some overlays) allows only a sparse file.
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

/// Identity of a file that a path named when it was opened. The path may name another file later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the identity of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// Returns the identity of the file at `path`, whose last link is not followed. Returns `None`
    /// if there is none.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(Self {
                device: meta.dev(),
                inode: meta.ino(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns true if `path` still names this open file.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    Ok(FileId::at(path)? == Some(FileId::of(file)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a pipe.
    pub(crate) fn make_pipe(path: &Path) {
        use std::os::unix::ffi::OsStrExt;
        let text = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string outlives the call.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o644) }, 0);
    }

    #[test]
    fn allocation_only_grows() {
        let dir = tempfile::tempdir().unwrap();
        let file = open_rw(&dir.path().join("f"), true).unwrap();
        allocate(&file, 8192).unwrap();
        allocate(&file, 4096).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8192);
    }
}
