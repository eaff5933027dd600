//! Names of this process's container, as the kernel numbers them: its PID namespace and its cgroup.
//!
//! A process number alone means nothing outside its namespace. With these two numbers a program
//! outside finds the process among its own, and the container that it belongs to.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Mount points of the unified cgroup hierarchy.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Type of a cgroup2 file system (linux/magic.h).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// Returns the inode of this process's PID namespace; 0 if the kernel does not provide it.
pub fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

/// Returns the number of this process's cgroup in the unified hierarchy, which is the inode of its
/// folder. Returns 0 on a machine without that hierarchy, and in a mount namespace that does not
/// show the folder.
pub fn cgroup() -> u64 {
    let Some(path) = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| unified(&text))
    else {
        return 0;
    };
    MOUNTS
        .iter()
        .filter(|mount| is_cgroup2(mount))
        .find_map(|mount| std::fs::metadata(Path::new(mount).join(&path)).ok())
        .map_or(0, |meta| meta.ino())
}

fn is_cgroup2(mount: &str) -> bool {
    let Ok(path) = CString::new(mount) else {
        return false;
    };
    // SAFETY: all zeros are a valid value of this struct of integers.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, and statfs writes at most one struct.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut found) };
    result == 0 && i128::from(found.f_type) == i128::from(CGROUP2_SUPER_MAGIC)
}

/// Returns the path of the cgroup in the unified hierarchy, relative to its root. A path that
/// leaves this process's cgroup namespace leads to no folder here.
fn unified(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new(path);
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_number() {
        let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(link, PathBuf::from(format!("pid:[{}]", pid_namespace())));
    }

    #[test]
    fn only_the_unified_hierarchy_names_a_cgroup() {
        let text = "12:memory:/a\n1:name=systemd:/b\n0::/system.slice/x.service\n";
        assert_eq!(unified(text), Some("system.slice/x.service".into()));
        assert_eq!(unified("0::/\n"), Some(PathBuf::new()));
        assert_eq!(unified("0::/../other\n"), None);
        assert_eq!(unified("12:memory:/a\n"), None);
        assert_eq!(unified(""), None);
    }
}
