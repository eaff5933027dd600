//! The process at the other end of a Unix socket, by the kernel's word.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::IdentityError;
use super::process::Process;

/// The socket option for a pidfd of the peer (Linux 6.5).
const SO_PEERPIDFD: libc::c_int = 77;

/// The process that connected a socket. Credentials are those of the instant of its `connect`.
#[derive(Debug)]
pub struct Peer {
    /// The effective user, as this user namespace numbers it.
    pub uid: u32,
    /// The effective group, likewise.
    pub gid: u32,
    /// The process; none if it is outside this PID namespace and the kernel gives no pidfd.
    pub process: Option<Process>,
    /// True if the kernel gave a pidfd with the socket. Otherwise the process was opened by its
    /// number after `connect`, and another process may have that number since.
    pub is_pinned: bool,
}

impl Peer {
    /// Asks the kernel for the peer of a connected socket.
    ///
    /// # Errors
    ///
    /// The peer has ended; the system's reason.
    pub fn of(stream: &UnixStream) -> Result<Self, IdentityError> {
        let credentials: libc::ucred = option(stream, libc::SO_PEERCRED)?;
        let (process, is_pinned) = match option::<libc::c_int>(stream, SO_PEERPIDFD) {
            Ok(descriptor) => {
                // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
                let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
                match Process::from_descriptor(descriptor) {
                    Err(IdentityError::InvisiblePeer) => (None, true),
                    process => (Some(process?), true),
                }
            }
            // The kernel has the option, and the peer has been waited for.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(IdentityError::Ended(credentials.pid as u32));
            }
            Err(_) => (by_number(&credentials)?, false),
        };
        Ok(Self {
            uid: credentials.uid,
            gid: credentials.gid,
            process,
            is_pinned,
        })
    }
}

/// Opens a peer by its number. The number is 0 outside this PID namespace.
fn by_number(credentials: &libc::ucred) -> Result<Option<Process>, IdentityError> {
    match credentials.pid {
        0 => Ok(None),
        pid => Process::open(pid as u32).map(Some),
    }
}

/// A plain value of a socket option.
///
/// # Safety
///
/// Every pattern of bits is a valid value, also all zeroes.
unsafe trait Plain: Sized {}
// SAFETY: three integers.
unsafe impl Plain for libc::ucred {}
// SAFETY: an integer.
unsafe impl Plain for libc::c_int {}

fn option<T: Plain>(stream: &UnixStream, name: libc::c_int) -> io::Result<T> {
    // SAFETY: zeroes are a valid value of every `Plain` type.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` has room for `length` bytes, and both live during the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    match result {
        0 if length as usize == size_of::<T>() => Ok(value),
        0 => Err(io::Error::from(io::ErrorKind::InvalidData)),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_sockets_has_this_process_as_peer() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let (peer, identity) = super::super::of_peer(&stream).unwrap();
        // SAFETY: the calls take nothing and cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        assert_eq!((peer.uid, peer.gid), (uid, gid));
        assert_eq!(peer.process.unwrap().pid(), std::process::id());
        let own = Process::open(std::process::id()).unwrap();
        assert_eq!(identity, super::super::of_process(&own).unwrap());
    }

    #[test]
    fn a_peer_is_found_by_number_on_an_older_kernel() {
        let credentials = |pid| libc::ucred {
            pid,
            uid: 0,
            gid: 0,
        };
        let own = by_number(&credentials(std::process::id() as i32)).unwrap();
        assert_eq!(own.unwrap().pid(), std::process::id());
        assert!(by_number(&credentials(0)).unwrap().is_none());
    }
}
