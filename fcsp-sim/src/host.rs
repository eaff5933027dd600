//! Host memory that stands for device memory.
//!
//! A device pointer is the address of host memory, so a copy is a copy. The mappings are not
//! reserved in advance: an allocation of 8 GiB costs the host nothing until somebody writes to it.

use crate::error::{Error, Result};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// Size of the pages in which the device hands out memory.
pub const PAGE: u64 = 2 << 20;

/// A private range of host address space, given back when dropped.
#[derive(Debug)]
pub struct Mapping {
    base: u64,
    len: u64,
}

impl Mapping {
    fn map(len: u64, align: u64, at: u64, protection: i32) -> Result<Self> {
        let span = len.checked_add(align).ok_or(Error::InvalidValue)?;
        // SAFETY: a fresh anonymous mapping wherever the kernel likes (`at` is a hint); checked
        // before use.
        let p = unsafe {
            libc::mmap(
                at as *mut libc::c_void,
                span as usize,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(Error::OperatingSystem);
        }
        let raw = p as u64;
        let base = raw.next_multiple_of(align);
        for (start, end) in [(raw, base), (base + len, raw + span)] {
            if end > start {
                // SAFETY: trims the parts of the fresh mapping that alignment left over.
                unsafe { libc::munmap(start as *mut libc::c_void, (end - start) as usize) };
            }
        }
        Ok(Self { base, len })
    }

    /// Maps zeroed memory, `align` a power of two of at least a page. `len` is rounded up to host
    /// pages.
    pub fn zeroed(len: u64, align: u64) -> Result<Self> {
        let len = len
            .checked_next_multiple_of(4096)
            .ok_or(Error::InvalidValue)?;
        Self::map(len, align, 0, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Address space with nothing behind it.
    pub fn reserved(len: u64, align: u64, hint: u64) -> Result<Self> {
        Self::map(len, align, hint, libc::PROT_NONE)
    }

    /// Returns the first address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Returns the length in bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Forgets the contents of a part, giving its host memory back.
    pub fn forget(&self, offset: u64, len: u64) {
        assert!(offset + len <= self.len);
        // SAFETY: within this mapping, which nothing else owns; afterwards it reads as zeroes.
        unsafe {
            libc::madvise(
                (self.base + offset) as *mut libc::c_void,
                len as usize,
                libc::MADV_DONTNEED,
            );
        }
    }

    /// Puts a file's bytes behind a part of this range.
    pub fn place(&self, offset: u64, len: u64, file: &File, at: u64, protection: i32) -> Result {
        assert!(offset + len <= self.len);
        // SAFETY: replaces part of a range this value owns; device pointers into it stay valid
        // addresses.
        let p = unsafe {
            libc::mmap(
                (self.base + offset) as *mut libc::c_void,
                len as usize,
                protection,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file.as_raw_fd(),
                at as libc::off_t,
            )
        };
        if p == libc::MAP_FAILED {
            Err(Error::OperatingSystem)
        } else {
            Ok(())
        }
    }

    /// Takes away what is behind a part of this range.
    pub fn clear(&self, offset: u64, len: u64) {
        assert!(offset + len <= self.len);
        // SAFETY: as for `place`; nothing is behind the range afterwards.
        unsafe {
            libc::mmap(
                (self.base + offset) as *mut libc::c_void,
                len as usize,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
    }

    /// Changes what may be done with a part of this range.
    pub fn protect(&self, offset: u64, len: u64, protection: i32) -> Result {
        assert!(offset + len <= self.len);
        // SAFETY: within this mapping.
        let r = unsafe {
            libc::mprotect(
                (self.base + offset) as *mut libc::c_void,
                len as usize,
                protection,
            )
        };
        if r == 0 {
            Ok(())
        } else {
            Err(Error::OperatingSystem)
        }
    }

    /// Makes the contents visible to other processes through a file, in place: the addresses stay,
    /// later writes on either side are seen by both.
    pub fn share(&self, name: &str) -> Result<File> {
        let file = shared_file(name, self.len)?;
        const STEP: u64 = 64 << 10;
        let zeroes = [0u8; STEP as usize];
        for at in (0..self.len).step_by(STEP as usize) {
            let n = STEP.min(self.len - at) as usize;
            // SAFETY: readable memory of this mapping; callers wait for the device to be idle
            // first.
            let part = unsafe { std::slice::from_raw_parts((self.base + at) as *const u8, n) };
            // Untouched memory stays untouched in the file, or sharing a large allocation would
            // fill the host.
            if part != &zeroes[..n] {
                file.write_all_at(part, at)
                    .map_err(|_| Error::OperatingSystem)?;
            }
        }
        self.place(0, self.len, &file, 0, libc::PROT_READ | libc::PROT_WRITE)?;
        Ok(file)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what this value owns.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.len as usize) };
    }
}

/// Makes an unnamed file of `len` bytes that can travel to other processes. `name` shows in
/// `/proc/self/fd`.
pub fn shared_file(name: &str, len: u64) -> Result<File> {
    let name = std::ffi::CString::new(name).map_err(|_| Error::InvalidValue)?;
    // SAFETY: `name` is a C string for the duration of the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(Error::OperatingSystem);
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len).map_err(|_| Error::OperatingSystem)?;
    Ok(file)
}

/// Returns the name that `shared_file` gave to the file behind a descriptor, if it was one.
pub fn shared_name(fd: i32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    let text = link.to_str()?.strip_prefix("/memfd:")?;
    Some(text.trim_end_matches(" (deleted)").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_memory_costs_nothing_and_sharing_keeps_addresses() {
        let m = Mapping::zeroed(8 << 30, PAGE).unwrap();
        assert_eq!(m.base() % PAGE, 0);
        let small = Mapping::zeroed(PAGE, PAGE).unwrap();
        let p = small.base() as *mut u8;
        // SAFETY: within the mapping made above.
        unsafe { p.add(70_000).write(7) };
        let file = small.share("fcsp-sim-test").unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 70_000).unwrap();
        assert_eq!(byte, [7]);
        file.write_all_at(&[9], 3).unwrap();
        // SAFETY: as above; the file is now behind the same address.
        assert_eq!(unsafe { (p.add(3).read(), p.add(70_000).read()) }, (9, 7));
        assert_eq!(
            shared_name(file.as_raw_fd()).as_deref(),
            Some("fcsp-sim-test")
        );
    }
}
