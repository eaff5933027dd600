//! The identity of a process: which container, unit or user it belongs to.
//!
//! A tenant cannot forge three facts of the kernel. They are the cgroup of a process, the peer of a
//! socket, and a descriptor of a process (pidfd), which never means another process.
//!
//! The reader must be in the first PID namespace and in the root cgroup namespace. `/proc` shows
//! only processes of its own namespace, and paths relative to the reader's cgroup namespace.

pub mod cgroup;
pub mod kind;
pub mod namespace;
pub mod peer;
pub mod process;

use std::io;
use std::os::unix::net::UnixStream;

pub use cgroup::CgroupError;
pub use kind::{CgroupIdentity, Container, Kind, Runtime};
pub use namespace::NamespacePids;
pub use peer::Peer;
pub use process::Process;

/// A reason why a process has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The process has ended, so that its number may belong to another one.
    #[error("process {0} has ended")]
    Ended(u32),
    /// The peer of a socket is outside this PID namespace.
    #[error("the peer is not visible in this PID namespace; the agent needs the host's")]
    InvisiblePeer,
    /// The cgroup file of the process is not to be understood.
    #[error("/proc/{pid}/cgroup: {reason}")]
    Cgroup {
        /// The number of the process.
        pid: u32,
        /// The reason.
        reason: CgroupError,
    },
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Returns the cgroup identity of a process.
///
/// The file is read first and the process is checked after. A number that the kernel gave to
/// another process in between is therefore noticed.
///
/// # Errors
///
/// The process has ended; its cgroup file cannot be read or understood.
pub fn of_process(process: &Process) -> Result<CgroupIdentity, IdentityError> {
    let pid = process.pid();
    let text = process::read_proc(pid, "cgroup");
    if !process.is_same()? {
        return Err(IdentityError::Ended(pid));
    }
    cgroup::parse(&text?).map_err(|reason| IdentityError::Cgroup { pid, reason })
}

/// Returns the peer of a socket and its cgroup identity.
///
/// # Errors
///
/// The peer is not visible or has ended; its cgroup file cannot be read or understood.
pub fn of_peer(stream: &UnixStream) -> Result<(Peer, CgroupIdentity), IdentityError> {
    let peer = Peer::of(stream)?;
    let identity = of_process(peer.process.as_ref().ok_or(IdentityError::InvisiblePeer)?)?;
    Ok((peer, identity))
}
