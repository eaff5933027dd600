//! Names of unnamed tenants: a tree of processes that was started with one set of limits.
//!
//! The first process of the tree that loads the library names it and writes the name into its own
//! environment, so that all descendants inherit it. Their parents may end, overwrite their
//! environment with a title, or live in another PID namespace. A name contains the PID namespace,
//! the process, and a check value over the limits:
//!
//! | name | what it is |
//! |---|---|
//! | `tree-<namespace>-<pid>-<start>-<limits>` | the tree below this process, its highest ancestor with these limits |
//! | `tree-<namespace>-<limits>` | all of a PID namespace (a container), whose first process has these limits, and what enters it later with the same ones |
//! | `tree-<namespace>-g<cgroup>-<limits>` | a process whose parent cannot be looked at: all of its control group with these limits |
//!
//! Two processes belong to one tree if their memory quotas and shares are equal. Other differences
//! (priority, mode, an unknown variable) make no other tenant.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use crate::config::{Config, check_tenant_name, env, initial};
use crate::process;
use crate::units::WHOLE;

/// Variable by which a tree's name is inherited.
pub const VARIABLE: &str = "FCSP_TREE";

/// Name that this process found or chose when the library was loaded.
static NAME: OnceLock<String> = OnceLock::new();

/// Computes FNV-1a, for names.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Computes the check value over memory quotas and shares, which all processes of one tree have in
/// common.
fn limits_of(config: &Config) -> String {
    let mut rules: Vec<String> = config
        .memory
        .iter()
        .map(|(device, quota)| match quota {
            crate::config::Quota::Bytes(bytes) => format!("m{device}={bytes}"),
            other => format!("m{device}={other}"),
        })
        .chain(
            config
                .compute
                .iter()
                // A whole device is no share: it appears where only a priority or a mode is set.
                .filter(|(_, params)| params.guarantee != WHOLE)
                .map(|(device, params)| format!("c{device}={}", params.guarantee)),
        )
        .collect();
    rules.sort();
    format!("{:08x}", hash(rules.join(",").bytes()) as u32)
}

/// Returns true if `name` is that of a tree.
pub(crate) fn is_tree(name: &str) -> bool {
    name.starts_with("tree-")
}

/// Returns true if `name` is that of a tree with these limits.
fn belongs(name: &str, limits: &str) -> bool {
    is_tree(name)
        && name
            .strip_suffix(limits)
            .is_some_and(|rest| rest.ends_with('-'))
        && check_tenant_name(VARIABLE, name).is_ok()
}

/// Returns the tenant's name for a process with this configuration.
pub fn name(config: &Config) -> String {
    let limits = limits_of(config);
    let inherited = || initial::variable(VARIABLE).and_then(|name| name.into_string().ok());
    NAME.get()
        .cloned()
        .into_iter()
        .chain(inherited())
        .find(|name| belongs(name, &limits))
        .unwrap_or_else(|| find(&limits))
}

/// Names this process's tree when the library is loaded. Returns the name if the environment lacks
/// it, so that the caller can write it there.
pub fn name_at_load(config: &Config) -> Option<&'static str> {
    let name = NAME.get_or_init(|| name(config));
    (std::env::var_os(VARIABLE) != Some(OsString::from(name))).then_some(name)
}

/// Finds the root of the tree in `/proc`.
fn find(limits: &str) -> String {
    let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino());
    let Some(mut root) = Process::read("self") else {
        // Without /proc, the ancestors are unknown.
        return format!("tree-{namespace:x}-{}-0-{limits}", std::process::id());
    };
    // Bounded: a tree of processes is not deep, and /proc may be unusual inside containers.
    for _ in 0..64 {
        if root.parent == 0 {
            return format!("tree-{namespace:x}-{limits}");
        }
        let parent = root.parent.to_string();
        let (Some(process), Ok(environ)) = (
            Process::read(&parent),
            std::fs::read(format!("/proc/{parent}/environ")),
        ) else {
            let groups = std::fs::read("/proc/self/cgroup").unwrap_or_default();
            return format!("tree-{namespace:x}-g{:08x}-{limits}", hash(groups) as u32);
        };
        let variables = initial::parse(&environ);
        let text = variables.iter().filter_map(|(name, value)| {
            Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
        });
        match env::read(text) {
            Ok(config) if config.tenant.is_none() && limits_of(&config) == limits => {}
            _ => break,
        }
        let named = variables
            .into_iter()
            .find(|(name, _)| name == VARIABLE)
            .and_then(|(_, name)| name.into_string().ok())
            .filter(|name| belongs(name, limits));
        if let Some(name) = named {
            return name;
        }
        root = process;
    }
    format!("tree-{namespace:x}-{}-{}-{limits}", root.pid, root.start)
}

/// Process as `/proc` numbers it, which may differ from its own number.
struct Process {
    pid: u32,
    parent: u32,
    start: u64,
}

impl Process {
    fn read(which: &str) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{which}/stat")).ok()?;
        let mut after = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        Some(Self {
            pid: text.split_ascii_whitespace().next()?.parse().ok()?,
            parent: after.nth(1)?.parse().ok()?,
            start: process::stat(which)?.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(pairs: &[(&str, &str)]) -> String {
        limits_of(
            &env::read(
                pairs
                    .iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned())),
            )
            .unwrap(),
        )
    }

    #[test]
    fn only_quotas_and_shares_tell_trees_apart() {
        let one = limits(&[("FCSP_MEMORY_LIMIT", "1GiB")]);
        assert_eq!(
            one,
            limits(&[("FCSP_MEMORY_LIMIT", "1024MiB"), ("FCSP_MODE_X", "3")])
        );
        assert_eq!(one, limits(&[("CUDA_DEVICE_MEMORY_LIMIT", "1g")]));
        assert_eq!(
            one,
            limits(&[("FCSP_MEMORY_LIMIT", "1GiB"), ("CUDA_TASK_PRIORITY", "1")])
        );
        assert_ne!(one, limits(&[("FCSP_MEMORY_LIMIT", "2GiB")]));
        let shared = [("FCSP_MEMORY_LIMIT", "1GiB"), ("FCSP_COMPUTE_LIMIT", "20%")];
        let with = |name, value| limits(&[shared[0], shared[1], (name, value)]);
        assert_eq!(limits(&shared), with("CUDA_TASK_PRIORITY", "0"));
        assert_eq!(limits(&shared), with("FCSP_MODE", "strict"));
        assert_ne!(limits(&shared), one);
    }

    #[test]
    fn a_name_is_of_its_limits() {
        let limits = limits(&[("FCSP_MEMORY_LIMIT", "1GiB")]);
        let name = find(&limits);
        assert!(belongs(&name, &limits), "{name}");
        assert!(!belongs(&name, "00000000"));
        for other in [
            "team-a",
            &limits,
            &format!("tree{limits}"),
            &format!("tree-/../-{limits}"),
        ] {
            assert!(!belongs(other, &limits), "{other}");
        }
        assert_eq!(find(&limits), name, "the same at every look");
    }
}
