//! The numbers of a process in its PID namespaces.
//!
//! A tenant's shared files hold the numbers of its own namespace. A driver lists processes by the
//! numbers of the first namespace, or by those of the container, depending on its version. The
//! innermost number together with the namespace's inode translates between them.

use std::os::unix::fs::MetadataExt;

use super::IdentityError;
use super::process::{Process, read_proc};

/// The numbers of a process in its PID namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePids {
    /// The inode of the innermost namespace; none without the right to look at it.
    pub inode: Option<u64>,
    /// Numbers from this namespace to the innermost one; never empty.
    pub pids: Vec<u32>,
}

impl NamespacePids {
    /// Reads the numbers of a process.
    ///
    /// # Errors
    ///
    /// The process has ended, or the kernel does not list numbers (before Linux 4.1).
    pub fn of(process: &Process) -> Result<Self, IdentityError> {
        let pid = process.pid();
        let status = read_proc(pid, "status");
        let inode = std::fs::metadata(format!("/proc/{pid}/ns/pid"));
        if !process.is_same()? {
            return Err(IdentityError::Ended(pid));
        }
        let pids = parse(&status?).ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("/proc/{pid}/status has no line NSpid"),
            )
        })?;
        Ok(Self {
            inode: inode.ok().map(|metadata| metadata.ino()),
            pids,
        })
    }

    /// Returns the number that the process itself sees.
    pub fn innermost(&self) -> u32 {
        self.pids.last().copied().unwrap_or_default()
    }
}

/// Parses the line `NSpid:` of `/proc/PID/status`. The line `Name:` escapes line feeds, so no name
/// can pass for another line.
fn parse(status: &[u8]) -> Option<Vec<u32>> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let pids: Result<Vec<u32>, _> = std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .map(str::parse)
        .collect();
    pids.ok().filter(|pids| !pids.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_is_the_processes_own() {
        let status = b"Name:\tx\\nNSpid:\t9\nPid:\t4711\nNSpid:\t4711\t31\t1\nVmPeak:\t1 kB\n";
        assert_eq!(parse(status), Some(vec![4711, 31, 1]));
        assert_eq!(parse(b"Name:\tx\nNSpid:\n"), None);
        assert_eq!(parse(b"Name:\tx\nNSpid:\t1\t-1\n"), None);
        assert_eq!(parse(b"Name:\tx\nPid:\t1\n"), None);
    }

    #[test]
    fn this_process_has_its_own_number() {
        let own = Process::open(std::process::id()).unwrap();
        let pids = NamespacePids::of(&own).unwrap();
        assert_eq!(pids.innermost(), std::process::id());
        let inode = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
        assert_eq!(pids.inode, Some(inode));
    }
}
