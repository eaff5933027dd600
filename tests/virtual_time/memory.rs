//! Memory of another process.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Reads `bytes` at an address of the process of this thread. Returns `None` if it is gone or the
/// address is not mapped.
pub fn read<const N: usize>(thread: u32, address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let here = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: N,
    };
    let there = libc::iovec {
        iov_base: address as *mut _,
        iov_len: N,
    };
    // SAFETY: the kernel writes into the array and checks the other process's address.
    let length = unsafe { libc::process_vm_readv(thread as i32, &here, 1, &there, 1, 0) };
    (length == N as isize).then_some(bytes)
}

/// Writes at an address of the process of this thread, if it lives and may write there itself.
pub fn write(thread: u32, address: u64, bytes: &[u8]) {
    let here = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let there = libc::iovec {
        iov_base: address as *mut _,
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel reads from the slice and checks the other process's address.
    unsafe { libc::process_vm_writev(thread as i32, &here, 1, &there, 1, 0) };
}

/// Reads a `timespec`, in ns.
pub fn read_time(thread: u32, address: u64) -> Option<u64> {
    let bytes: [u8; 16] = read(thread, address)?;
    let half = |at: usize| i64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let seconds = u64::try_from(half(0)).ok()?;
    Some(
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(half(8) as u64),
    )
}

/// Writes ns as a `timespec`.
pub fn write_time(thread: u32, address: u64, ns: u64) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(ns / 1_000_000_000).to_ne_bytes());
    bytes[8..].copy_from_slice(&(ns % 1_000_000_000).to_ne_bytes());
    write(thread, address, &bytes);
}

/// Opens all memory of the process of this thread, also what it may only execute.
pub fn all(thread: u32) -> std::io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{thread}/mem"))
}

/// Reads a range of it.
pub fn range(memory: &File, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; (to - from) as usize];
    memory.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// A line of a process's map.
#[derive(Debug)]
pub struct Mapping<'a> {
    pub from: u64,
    pub to: u64,
    /// True if other processes see what is written here.
    pub is_shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// Device and inode of the file.
    pub file: &'a str,
    pub name: &'a str,
}

impl<'a> Mapping<'a> {
    /// Reads a line of `/proc/<pid>/maps`.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let (rights, rest) = rest.split_once(' ')?;
        let (offset, rest) = rest.split_once(' ')?;
        let device = rest.find(' ')? + 1;
        let inode = rest[device..].find(' ').unwrap_or(rest.len() - device);
        let words = device + inode;
        Some(Self {
            from: u64::from_str_radix(from, 16).ok()?,
            to: u64::from_str_radix(to, 16).ok()?,
            is_shared: rights.ends_with('s'),
            offset: u64::from_str_radix(offset, 16).ok()?,
            file: &rest[..words],
            name: rest[words..].trim(),
        })
    }
}
