//! Where shared files live: one folder a tenant, one region file a device in it.
//!
//! ```text
//! <state>/tenants/<tenant>/control              limits, written by `fcsp` or the node agent
//! <state>/tenants/<tenant>/<device uuid>.region what the tenant's processes hold
//! <state>/tenants/<tenant>/setup.lock           taken while files are made
//! <state>/tenants/.<tenant>.<pid>.<n>           a dead tenant's folder on its way out
//! ```
//! `<state>` is `$FCSP_STATE_DIR`, or `/run/fcsp` for root, or `$XDG_RUNTIME_DIR/fcsp`, or `/dev/shm/fcsp-<uid>`.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file::{self, SetupLock};
use crate::region::RegionSnapshot;

/// The variable that moves the state folder.
pub const STATE_DIR_VARIABLE: &str = "FCSP_STATE_DIR";

/// The folder that holds every tenant's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

fn uid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

impl StateDir {
    /// The folder for this user, by the rule at the top of this page. Does not create it.
    pub fn locate() -> Self {
        if let Some(path) = std::env::var_os(STATE_DIR_VARIABLE).filter(|v| !v.is_empty()) {
            return Self(path.into());
        }
        if uid() == 0 {
            return Self("/run/fcsp".into());
        }
        if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty())
            && Path::new(&runtime).is_dir()
        {
            return Self(Path::new(&runtime).join("fcsp"));
        }
        Self(format!("/dev/shm/fcsp-{}", uid()).into())
    }

    /// This folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A tenant's folder; not necessarily there.
    pub fn tenant(&self, name: &str) -> PathBuf {
        self.0.join("tenants").join(name)
    }

    /// Makes a tenant's folder, private to its owner. A folder under a world-writable parent that belongs to somebody
    /// else is refused: its owner could swap the files.
    pub fn create_tenant(&self, name: &str) -> io::Result<PathBuf> {
        let dir = self.tenant(name);
        // Processes that stand in different folders would each have a tenant of their own, with the whole quota.
        if !self.0.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the state folder {} is relative; name it from the root",
                    self.0.display()
                ),
            ));
        }
        make_private(&self.0)?;
        let owner = std::fs::metadata(&self.0)?.uid();
        if owner != uid() && owner != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} belongs to another user", self.0.display()),
            ));
        }
        make_private(&dir)?;
        Ok(dir)
    }

    /// Makes a tenant's folder if need be and takes its setup lock, trying again where a collector removes the folder
    /// in between.
    pub fn set_up_tenant(&self, name: &str) -> io::Result<SetupLock> {
        for _ in 0..64 {
            match SetupLock::acquire(&self.create_tenant(name)?.join("setup.lock")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                lock => return lock,
            }
        }
        Err(io::Error::other(format!(
            "{} is being removed over and over",
            self.tenant(name).display()
        )))
    }

    /// Makes the state folder itself, readable by everybody so that `fcsp ps` can list it, when the caller is root.
    pub fn create_shared(&self) -> io::Result<()> {
        make_private(&self.0)?;
        std::fs::set_permissions(&self.0, Permissions::from_mode(0o755))
    }

    /// Names of the tenants that have a folder, sorted.
    pub fn tenants(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.0.join("tenants")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Every region of a tenant, with the reason for those that cannot be read.
    pub fn regions(&self, tenant: &str) -> io::Result<Vec<(PathBuf, io::Result<RegionSnapshot>)>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.tenant(tenant))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "region"))
            .collect();
        paths.sort();
        Ok(paths
            .into_iter()
            .map(|path| (path.clone(), RegionSnapshot::read(&path)))
            .collect())
    }

    /// Whether a process of the tenant lives: one that has joined it, or holds a place in one of its regions.
    pub fn is_alive(&self, tenant: &str) -> io::Result<bool> {
        match file::open_ro(&self.tenant(tenant).join("control")) {
            Ok(control) if file::is_held(&control, MEMBER_LOCK, 1)? => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(self
            .regions(tenant)?
            .into_iter()
            .any(|(_, region)| region.is_ok_and(|region| region.any_alive())))
    }

    /// Removes a tenant's files if no process of it lives. Returns whether they are gone. A process that joins at
    /// the same moment waits for the setup lock and then makes new files.
    pub fn remove_if_dead(&self, tenant: &str) -> io::Result<bool> {
        self.remove_if(tenant, || true)
    }

    /// The same, if `agrees` also says so; it is asked while the setup lock is held, so nobody joins meanwhile.
    pub fn remove_if(&self, tenant: &str, agrees: impl FnOnce() -> bool) -> io::Result<bool> {
        // One process removes one folder at a time, but a folder it could not empty keeps its name.
        static REMOVED: AtomicU64 = AtomicU64::new(0);
        let dir = self.tenant(tenant);
        let Some(_lock) = SetupLock::try_acquire(&dir.join("setup.lock"))? else {
            return Ok(false);
        };
        if self.is_alive(tenant)? || !agrees() {
            return Ok(false);
        }
        // Before the folder goes: from then on a new tenant of this name may publish a page of its own.
        #[cfg(not(loom))]
        {
            crate::share::files::remove(self, tenant);
            crate::spatial::claims::release(self, tenant);
        }
        // In one step, and not file by file: a process that finds half a folder would make the missing half anew, to
        // have it removed under its hands.
        let grave = self.0.join("tenants").join(format!(
            ".{tenant}.{}.{}",
            std::process::id(),
            REMOVED.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::rename(&dir, &grave)?;
        // What cannot be removed now is removed by the next `sweep`.
        let _ = std::fs::remove_dir_all(&grave);
        Ok(true)
    }

    /// Removes what collectors that were killed have left of tenants' folders.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(self.0.join("tenants"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                // Somebody else at the same work is as good.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Byte of a tenant's control page that each of its processes keeps read-locked from joining to its end.
pub(crate) const MEMBER_LOCK: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_depends_on_where_one_stands_is_refused() {
        let error = StateDir::at("somewhere").create_tenant("a").unwrap_err();
        assert!(error.to_string().contains("somewhere is relative"), "{error}");
        assert!(!Path::new("somewhere").exists());
    }

    #[test]
    fn lists_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("s"));
        assert_eq!(state.tenants().unwrap(), Vec::<String>::new());
        state.create_tenant("b").unwrap();
        state.create_tenant("a").unwrap();
        assert_eq!(state.tenants().unwrap(), ["a", "b"]);
        assert!(state.remove_if_dead("a").unwrap());
        assert_eq!(state.tenants().unwrap(), ["b"]);
        assert!(!state.remove_if("b", || false).unwrap());
        let left = dir.path().join("s/tenants/.a.1.0");
        std::fs::create_dir(&left).unwrap();
        assert_eq!(state.tenants().unwrap(), ["b"]);
        state.sweep();
        assert!(!left.exists() && state.tenant("b").exists());
    }
}
