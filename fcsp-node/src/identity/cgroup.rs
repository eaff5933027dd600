//! The file `/proc/PID/cgroup`: which of its lines decides.
//!
//! cgroup v2 has one line, `0::PATH`. cgroup v1 has one for each hierarchy,
//! `NUMBER:CONTROLLERS:PATH`. A hybrid machine has both, and its `0::` line is often `/`.

use super::kind::{CgroupIdentity, Kind};

/// The suffix that the kernel appends to the path of a cgroup that was removed.
const REMOVED: &[u8] = b" (deleted)";

/// A reason why a cgroup file names no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A line has another form than `NUMBER:CONTROLLERS:/PATH`.
    #[error("line {0} is not NUMBER:CONTROLLERS:/PATH")]
    Form(usize),
    /// A path leaves the reader's cgroup namespace.
    #[error("line {0} leaves this cgroup namespace; the agent needs the host's")]
    Outside(usize),
    /// Two hierarchies name different containers.
    #[error("hierarchies disagree: one names container {0}, another {1}")]
    Disagree(String, String),
    /// No line of a hierarchy that decides.
    #[error("no line for cgroup v2, memory, pids, devices or systemd")]
    Empty,
}

/// Parses the contents of `/proc/PID/cgroup`. Paths may hold any bytes but a line feed, since a
/// container may name its own cgroups.
///
/// Lines for cgroup v2, memory, pids, devices and systemd's own hierarchy decide. The line with the
/// most containers wins, then a line with a unit or user, then the longest path.
///
/// ```
/// use fcsp_node::identity::{Kind, cgroup};
///
/// let identity = cgroup::parse(b"0::/system.slice/postgresql@16-main.service/worker\n")?;
/// assert_eq!(identity.kind, Kind::Unit("postgresql@16-main.service".into()));
/// assert_eq!(identity.path.to_str(), Some("/system.slice/postgresql@16-main.service"));
/// # Ok::<(), fcsp_node::identity::CgroupError>(())
/// ```
///
/// # Errors
///
/// A line has the wrong form or leaves this cgroup namespace. Hierarchies name different
/// containers. No line decides.
pub fn parse(contents: &[u8]) -> Result<CgroupIdentity, CgroupError> {
    let mut best: Option<(Rank, CgroupIdentity)> = None;
    for (index, line) in contents.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let (controllers, path) = split(line).ok_or(CgroupError::Form(index + 1))?;
        if path.split(|&byte| byte == b'/').any(|name| name == b"..") {
            return Err(CgroupError::Outside(index + 1));
        }
        if !decides(controllers) {
            continue;
        }
        let path = match controllers {
            b"" => path.strip_suffix(REMOVED).unwrap_or(path),
            _ => path,
        };
        let found = CgroupIdentity::of_path(path);
        if let Some((_, known)) = &best {
            agree(known, &found)?;
        }
        let rank = Rank::of(&found, path);
        if best.as_ref().is_none_or(|(known, _)| rank > *known) {
            best = Some((rank, found));
        }
    }
    best.map(|(_, identity)| identity).ok_or(CgroupError::Empty)
}

/// Splits a line into controllers and path. A path may contain further colons.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = line.splitn(3, |&byte| byte == b':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    (is_number && path.starts_with(b"/")).then_some((controllers, path))
}

/// Returns whether a hierarchy decides: v2, or a v1 controller that every runtime uses.
fn decides(controllers: &[u8]) -> bool {
    controllers.is_empty()
        || controllers
            .split(|&byte| byte == b',')
            .any(|name| matches!(name, b"memory" | b"pids" | b"devices" | b"name=systemd"))
}

/// Refuses two hierarchies that name different outermost containers. The outermost one was made by
/// the machine's own runtime; a container may make any cgroup below it.
fn agree(known: &CgroupIdentity, found: &CgroupIdentity) -> Result<(), CgroupError> {
    match (known.outermost(), found.outermost()) {
        (Some(a), Some(b)) if a.id != b.id => {
            Err(CgroupError::Disagree(a.id.clone(), b.id.clone()))
        }
        _ => Ok(()),
    }
}

/// Order of hierarchies by how much they say.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    containers: usize,
    is_named: bool,
    length: usize,
}

impl Rank {
    fn of(identity: &CgroupIdentity, path: &[u8]) -> Self {
        Self {
            containers: match &identity.kind {
                Kind::Container { chain, .. } => chain.len(),
                _ => 0,
            },
            is_named: matches!(identity.kind, Kind::Unit(_) | Kind::User { .. }),
            length: path.len(),
        }
    }
}
