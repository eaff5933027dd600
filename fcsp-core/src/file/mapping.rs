//! Mappings of shared files.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

/// A shared mapping of the start of a file.
#[derive(Debug)]
pub struct Mapping {
    /// First byte of the mapping.
    base: NonNull<u8>,
    /// Length in bytes.
    len: usize,
    /// Entry of [`OWN`] for a forked child; `None` for a mapping that a child may keep.
    own: Option<&'static Own>,
}

// SAFETY: the mapping is plain memory that lives until drop. Each use through raw pointers has its
// own argument.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself only hands out its address.
unsafe impl Sync for Mapping {}

/// Range of addresses that a forked child must not share with its parent.
#[derive(Debug)]
struct Own {
    /// First byte; null for a vacant entry, [`TAKEN`] for an entry that is being filled.
    base: AtomicPtr<u8>,
    /// Length in bytes. Written before `base`.
    len: AtomicUsize,
}

/// Value of an entry whose range is not known yet. Nothing is mapped there.
const TAKEN: *mut u8 = usize::MAX as *mut u8;

/// Most ranges of a process: more than any machine has devices. Unit tests are threads of one
/// process, and some map hundreds each.
const MOST: usize = if cfg!(test) { 4096 } else { 256 };

/// Ranges of this process.
static OWN: [Own; MOST] = [const {
    Own {
        base: AtomicPtr::new(null_mut()),
        len: AtomicUsize::new(0),
    }
}; MOST];

fn map(
    at: *mut libc::c_void,
    len: usize,
    protection: libc::c_int,
    flags: libc::c_int,
    file: libc::c_int,
) -> io::Result<NonNull<u8>> {
    // SAFETY: callers pass either no address, and the kernel chooses one that overlaps nothing, or
    // an unused range that they have reserved before.
    let base = unsafe { libc::mmap(at, len, protection, flags, file, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

const NOTHING: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

impl Mapping {
    /// Maps `len` bytes of `file`, shared, for reading and, if asked, for writing. `len` may exceed
    /// the file. Bytes past its end fault with SIGBUS until the file grows, so callers stay below
    /// the size that they have checked.
    pub fn new(file: &File, len: usize, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let base = map(
            null_mut(),
            len,
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
        )?;
        Ok(Self {
            base,
            len,
            own: None,
        })
    }

    /// Maps a file, writable, in which this process holds locks of its own. A child forked at any
    /// moment finds zeroes in its place ([`super::forget_in_child`]), so that the locks end with
    /// this process.
    pub fn new_own(file: &File, len: usize) -> io::Result<Self> {
        let Some(own) = OWN.iter().find(|own| {
            // Acquire: the thread that vacated the entry is done with it.
            own.base
                .compare_exchange(null_mut(), TAKEN, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        }) else {
            return Err(io::Error::other("too many regions are mapped"));
        };
        // The range is known before the file is mapped there. At no moment can a child share the
        // file without knowing its place.
        let free = |error| {
            own.base.store(null_mut(), Ordering::Release);
            error
        };
        let base = map(null_mut(), len, libc::PROT_NONE, NOTHING, -1).map_err(free)?;
        own.len.store(len, Ordering::Relaxed);
        // Release: the length belongs to it.
        own.base.store(base.as_ptr(), Ordering::Release);
        let this = Self {
            base,
            len,
            own: Some(own),
        };
        map(
            base.as_ptr().cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_FIXED,
            file.as_raw_fd(),
        )?;
        Ok(this)
    }

    /// Returns the first byte of the mapping, which is page-aligned.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns the number of mapped bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if the file has the 8 bytes that end at byte `end` of the mapping. Touching
    /// bytes past its end would be a fault.
    pub fn reaches(&self, end: usize) -> bool {
        const NO_OPERATION: libc::c_long = -1;
        if end < 8 || end > self.len {
            return false;
        }
        // SAFETY: the kernel copies the eight bytes of the set, or returns EFAULT, before it finds
        // that there is no such operation. It changes nothing. The address is inside the mapping.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                NO_OPERATION,
                self.base.as_ptr().wrapping_add(end - 8),
                null_mut::<u8>(),
                8usize,
            )
        };
        // In a sandbox with another answer, the question stays open.
        io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
    }

    /// Copies the first bytes, if the file has as many now. Reading them would be a fault if it has
    /// not. This is for files that another user may truncate while they are mapped.
    pub fn copy(&self, bytes: &mut [u8]) -> bool {
        if bytes.len() > self.len {
            return false;
        }
        let mut to = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let from = libc::iovec {
            iov_base: self.base.as_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: the kernel writes no more than the buffer's length, and reads inside the mapping
        // or returns EFAULT. A process may always read its own memory in this way.
        let copied = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw mut to, 1, &raw const from, 1, 0)
        };
        match usize::try_from(copied) {
            Ok(copied) => copied == bytes.len(),
            Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT) => false,
            // A sandbox without that call: a check before the copy must suffice.
            Err(_) => self.copy_after_a_look(bytes),
        }
    }

    fn copy_after_a_look(&self, bytes: &mut [u8]) -> bool {
        if !self.reaches(bytes.len().max(8)) {
            return false;
        }
        let words = self.base.cast::<AtomicU8>();
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: inside the mapping, which the file reached a moment ago. Other processes
            // write it as atomics, too.
            *byte = unsafe { words.add(index).as_ref() }.load(Ordering::Relaxed);
        }
        true
    }

    /// Returns true if nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Replaces a range by zeroes of this process's own, which refer to no file.
fn replace_by_nothing(base: *mut u8, len: usize) {
    // A failure leaves the old mapping, which is sound too.
    let _ = map(
        base.cast(),
        len,
        libc::PROT_READ | libc::PROT_WRITE,
        NOTHING | libc::MAP_FIXED,
        -1,
    );
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(own) = self.own {
            // In this order: a child forked in between finds a range that is still reserved, and no
            // file in it.
            replace_by_nothing(self.base.as_ptr(), self.len);
            own.base.store(null_mut(), Ordering::Release);
        }
        // SAFETY: exactly the range that was mapped, unmapped once.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Replaces the ranges in a forked child: see [`super::forget_in_child`].
pub(super) fn forget_in_child() {
    for own in &OWN {
        let base = own.base.swap(null_mut(), Ordering::Acquire);
        if !base.is_null() && base != TAKEN {
            replace_by_nothing(base, own.len.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{allocate, open_rw};
    use super::*;

    #[test]
    fn a_file_that_is_cut_short_is_not_copied_and_faults_nobody() {
        use std::os::unix::fs::FileExt;
        let dir = tempfile::tempdir().unwrap();
        let file = open_rw(&dir.path().join("f"), true).unwrap();
        allocate(&file, 4096).unwrap();
        file.write_all_at(b"sixteen letters.", 0).unwrap();
        let mapping = Mapping::new(&file, 4096, false).unwrap();
        let mut bytes = [0; 16];
        for copy in [Mapping::copy, Mapping::copy_after_a_look] {
            assert!(copy(&mapping, &mut bytes));
            assert_eq!(&bytes, b"sixteen letters.");
            bytes = [0; 16];
        }
        file.set_len(0).unwrap();
        assert!(!mapping.copy(&mut bytes) && !mapping.copy_after_a_look(&mut bytes));
        assert!(!mapping.copy(&mut [0; 8192]));
    }
}
