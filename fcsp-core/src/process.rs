//! The process manager: which processes belong to a tenant, and which of them live.

pub mod container;

/// Description of a process by itself, written when it takes a slot. Ownership does not rest on it:
/// it rests on the kernel's lock on the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Process number in its own namespace.
    pub pid: u32,
    /// Clock ticks since boot when it started; tells a reused number apart.
    pub start_time: u64,
    /// Command name.
    pub name: String,
    /// Inode of its PID namespace; 0 if not known.
    pub pid_namespace: u64,
    /// Number of its cgroup ([`container::cgroup`]); 0 if not known.
    pub cgroup: u64,
}

/// Returns the description of this process.
pub fn myself() -> Identity {
    let (name, start_time) = stat("self").unwrap_or_default();
    Identity {
        pid: std::process::id(),
        start_time,
        name,
        pid_namespace: container::pid_namespace(),
        cgroup: container::cgroup(),
    }
}

/// Reads name and start time from `/proc/<which>/stat`.
pub fn stat(which: &str) -> Option<(String, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{which}/stat")).ok()?)
}

/// Parses name and start time. The name is in parentheses and may hold any character; the start
/// time is the 22nd field (proc(5)).
fn parse_stat(text: &str) -> Option<(String, u64)> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let start_time = text
        .get(close + 1..)?
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()?;
    Some((text.get(open + 1..close)?.to_owned(), start_time))
}

/// Members of a tenant. The kernel tells which process is alive, never the process's own claim.
pub trait ProcessManager {
    /// Reason why the processes cannot be listed.
    type Error;

    /// Processes that live now, as far as this tenant's shared files say.
    fn alive(&self) -> Result<Vec<Identity>, Self::Error>;
}

/// Process manager without members, for a program that only limits itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl ProcessManager for Unlimited {
    type Error = std::convert::Infallible;

    fn alive(&self) -> Result<Vec<Identity>, Self::Error> {
        Ok(vec![myself()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_stat() {
        let me = myself();
        assert_eq!(me.pid, std::process::id());
        assert!(me.start_time > 0 && !me.name.is_empty());
    }

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let mut text = String::from("7 (a) (b c) S");
        for field in 4..=30 {
            text.push_str(&format!(" {field}"));
        }
        assert_eq!(parse_stat(&text), Some(("a) (b c".into(), 22)));
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("7 (x"), None);
    }
}
