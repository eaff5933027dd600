//! A process that stays the same one: a descriptor (pidfd), or a number with its start time.
//!
//! The kernel gives the number of a dead process to another one. A pidfd never changes its process
//! (`pidfd_open`, Linux 5.3). Without it, the start time tells two processes of one number apart.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::IdentityError;

/// The most bytes of a file in `/proc` that are read. A cgroup path has at most 4096 bytes, and a
/// machine has less than 20 hierarchies.
const MOST_BYTES: u64 = 128 << 10;

/// A process, by descriptor or by number and start time.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    /// A pidfd.
    Descriptor(OwnedFd),
    /// The start time in clock ticks since boot.
    StartTime(u64),
}

/// Facts about a process that the kernel gives through its pidfd (`PIDFD_GET_INFO`, Linux 6.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// The process number in this PID namespace.
    pub pid: u32,
    /// The effective user.
    pub euid: u32,
    /// The identifier of its cgroup in the v2 hierarchy: the inode of the cgroup's folder.
    pub cgroup_id: Option<u64>,
}

impl Process {
    /// Opens the process with this number in this PID namespace.
    ///
    /// # Errors
    ///
    /// There is no such process; the system's reason.
    pub fn open(pid: u32) -> Result<Self, IdentityError> {
        match open_descriptor(pid) {
            Ok(descriptor) => {
                let handle = Handle::Descriptor(descriptor);
                Ok(Self { pid, handle })
            }
            // An older kernel, or a filter of system calls that does not know the call.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                Self::open_by_start_time(pid)
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Err(IdentityError::Ended(pid))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the process with this number without a pidfd.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub fn open_by_start_time(pid: u32) -> Result<Self, IdentityError> {
        let start_time = start_time(pid).ok_or(IdentityError::Ended(pid))?;
        let handle = Handle::StartTime(start_time);
        Ok(Self { pid, handle })
    }

    /// Takes a pidfd, such as one from a socket.
    ///
    /// # Errors
    ///
    /// The process has ended, is outside this PID namespace, or the descriptor is no pidfd.
    pub fn from_descriptor(descriptor: OwnedFd) -> Result<Self, IdentityError> {
        let pid = match info(&descriptor) {
            Ok(info) => info.pid,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(IdentityError::Ended(0));
            }
            // A kernel without the request.
            Err(_) => listed_pid(&descriptor)?,
        };
        let handle = Handle::Descriptor(descriptor);
        Ok(Self { pid, handle })
    }

    /// Returns the process number in this PID namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the pidfd, which `poll` reports as readable once the process has ended.
    pub fn descriptor(&self) -> Option<&OwnedFd> {
        match &self.handle {
            Handle::Descriptor(descriptor) => Some(descriptor),
            Handle::StartTime(_) => None,
        }
    }

    /// Returns what the kernel says through the pidfd. None without a pidfd, or on a kernel without
    /// the request.
    pub fn info(&self) -> Option<Info> {
        info(self.descriptor()?).ok()
    }

    /// Returns whether the number still means this process. A process that has ended and that its
    /// parent has not waited for is not the same any more.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub fn is_same(&self) -> io::Result<bool> {
        match &self.handle {
            Handle::Descriptor(descriptor) => Ok(!has_ended(descriptor)?),
            Handle::StartTime(known) => Ok(start_time(self.pid) == Some(*known)),
        }
    }
}

/// Reads a file of `/proc/PID`, up to a bound.
///
/// # Errors
///
/// The system's reason, or the file is longer than any of the kernel's.
pub(crate) fn read_proc(pid: u32, name: &str) -> io::Result<Vec<u8>> {
    let file = File::open(format!("/proc/{pid}/{name}"))?;
    let mut contents = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("/proc/{pid}/{name} has more than {MOST_BYTES} bytes"),
        ));
    }
    Ok(contents)
}

/// Returns the start time of a process that has not ended.
fn start_time(pid: u32) -> Option<u64> {
    let stat = read_proc(pid, "stat").ok()?;
    // The name is in parentheses and may hold any bytes. State is the first field after it, and the
    // start time the 20th.
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn open_descriptor(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: the call takes two integers and touches no memory of this process.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn has_ended(descriptor: &OwnedFd) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` is one valid entry, and the call does not wait.
    match unsafe { libc::poll(&mut poll, 1, 0) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready == 1),
    }
}

/// The kernel's `struct pidfd_info` as it was at first (64 bytes). Newer kernels accept it.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    /// Requested facts before the call, and known ones after it.
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    spare: u32,
}

const PIDFD_INFO_PID: u64 = 1;
const PIDFD_INFO_CREDS: u64 = 2;
const PIDFD_INFO_CGROUPID: u64 = 4;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: u64 = 3 << 30 | (size_of::<PidfdInfo>() as u64) << 16 | 0xFF << 8 | 11;

fn info(descriptor: &OwnedFd) -> io::Result<Info> {
    let mut facts = PidfdInfo {
        mask: PIDFD_INFO_PID | PIDFD_INFO_CREDS | PIDFD_INFO_CGROUPID,
        ..PidfdInfo::default()
    };
    // SAFETY: the request names the size of `facts`, which lives during the call. A descriptor that
    // is no pidfd has no such request and answers with an error.
    let result = unsafe { libc::ioctl(descriptor.as_raw_fd(), PIDFD_GET_INFO as _, &mut facts) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if facts.mask & PIDFD_INFO_PID == 0 || facts.tgid == 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(Info {
        pid: facts.tgid,
        euid: facts.euid,
        cgroup_id: (facts.mask & PIDFD_INFO_CGROUPID != 0).then_some(facts.cgroup_id),
    })
}

/// Returns the process number in the line `Pid:` of a descriptor's `fdinfo`. It is -1 after the
/// end of the process, and 0 outside its PID namespace.
fn listed_pid(descriptor: &OwnedFd) -> Result<u32, IdentityError> {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i64>().ok());
    match number {
        Some(-1) => Err(IdentityError::Ended(0)),
        Some(0) => Err(IdentityError::InvisiblePeer),
        Some(pid) => {
            u32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidData).into())
        }
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a pidfd").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    /// Starts a child that lives until its input closes.
    fn child() -> Child {
        Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn check_end(open: impl Fn(u32) -> Result<Process, IdentityError>) {
        let mut cat = child();
        let process = open(cat.id()).unwrap();
        assert_eq!(process.pid(), cat.id());
        assert!(process.is_same().unwrap());
        cat.kill().unwrap();
        // The end of a killed process is known once its parent has waited for it.
        cat.wait().unwrap();
        assert!(!process.is_same().unwrap());
        assert!(matches!(
            super::super::of_process(&process),
            Err(IdentityError::Ended(pid)) if pid == cat.id()
        ));
    }

    #[test]
    fn a_process_that_ended_has_no_identity() {
        check_end(Process::open);
        check_end(Process::open_by_start_time);
    }

    #[test]
    fn a_process_that_nobody_waited_for_has_ended() {
        let mut cat = child();
        let by_descriptor = Process::open(cat.id()).unwrap();
        let by_start_time = Process::open_by_start_time(cat.id()).unwrap();
        drop(cat.stdin.take());
        let mut poll = libc::pollfd {
            fd: by_descriptor.descriptor().unwrap().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one valid entry.
        assert_eq!(unsafe { libc::poll(&mut poll, 1, 60_000) }, 1);
        assert!(!by_descriptor.is_same().unwrap());
        assert!(!by_start_time.is_same().unwrap());
        cat.wait().unwrap();
    }

    #[test]
    fn another_start_time_is_another_process() {
        let mut cat = child();
        let mut process = Process::open_by_start_time(cat.id()).unwrap();
        assert!(process.is_same().unwrap());
        let Handle::StartTime(known) = &mut process.handle else {
            panic!("opened by start time");
        };
        *known += 1;
        assert!(!process.is_same().unwrap());
        cat.kill().unwrap();
        cat.wait().unwrap();
    }

    #[test]
    fn the_kernel_says_who_a_descriptor_is() {
        let own = Process::open(std::process::id()).unwrap();
        let descriptor = own.descriptor().unwrap();
        assert_eq!(listed_pid(descriptor).unwrap(), std::process::id());
        // Kernels before 6.13 have no such request.
        if let Some(info) = own.info() {
            assert_eq!(info.pid, std::process::id());
            // SAFETY: the call takes nothing and cannot fail.
            assert_eq!(info.euid, unsafe { libc::geteuid() });
        }
        let again = Process::from_descriptor(descriptor.try_clone().unwrap()).unwrap();
        assert_eq!(again.pid(), std::process::id());
        let file: OwnedFd = File::open("/dev/null").unwrap().into();
        assert!(matches!(
            Process::from_descriptor(file),
            Err(IdentityError::System(_))
        ));
    }

    #[test]
    fn no_process_has_number_zero_or_one_beyond_all() {
        assert!(Process::open(u32::MAX).is_err());
        assert!(Process::open(0).is_err());
        assert!(Process::open_by_start_time(u32::MAX).is_err());
    }
}
