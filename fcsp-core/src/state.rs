//! The state folder: one folder for each tenant, with one region file for each device.
//!
//! [`layout`] has every name. `<state>` is `$FCSP_STATE_DIR`, or the first usable folder of
//! [`crate::places`].
//!
//! A program that root starts may become another user (`setpriv`, `gosu`, `su`) and must still
//! reach its tenant's files. Such a tenant is behind a key: a folder with a random name of 128
//! bits, in a folder that only root can list. `fcsp run` names it in the program's environment.
//! Only processes with that environment may write the tenant's files. `<state>/tenants/<tenant>` is
//! then a link, and root's commands see the tenant like any other.
//!
//! The node agent owns the folders of its tenants, see [`StateDir::provide_owned`].

mod guard;
pub mod layout;
#[cfg(not(loom))]
mod owned;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{Source, check_tenant_name, file as authority, initial};
use crate::file::{self, Folder, is_trusted};
use crate::places::{self, Kind, Passed};
use crate::region::RegionSnapshot;
use crate::tree;

pub use guard::SetupGuard;
use layout::{DEVICES, OPEN, TENANTS};

/// Variable that moves the state folder.
pub const STATE_DIR_VARIABLE: &str = "FCSP_STATE_DIR";
/// Most dead tenants for which a program searches when it sets itself up.
const MOST_COLLECTED: usize = 16;

/// Folder that holds all tenants' files.
///
/// ```
/// use fcsp_core::state::StateDir;
///
/// // The folder that `fcsp` uses for this user, or that FCSP_STATE_DIR names.
/// let state = StateDir::locate();
/// assert!(state.tenant("serving").starts_with(state.path()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

impl StateDir {
    /// Returns the folder for this process, by the rule at the top of this page. Does not create
    /// it.
    pub fn locate() -> Self {
        Self::find(false).0
    }

    /// Returns the folder for this process, and creates it if needed.
    pub fn provide() -> Self {
        Self::find(true).0
    }

    /// Returns this user's folder, whatever the environment names, and creates it if needed.
    pub fn own() -> Self {
        Self(places::choose(Kind::Private, true).0)
    }

    /// Returns the folder for this process, and the candidates that were passed over.
    pub fn find(make: bool) -> (Self, Vec<Passed>) {
        if let Some(path) = initial::variable(STATE_DIR_VARIABLE) {
            return (Self(path.into()), Vec::new());
        }
        // An unreadable file still counts; its tenant has no name.
        let kind = match authority::read_authority() {
            Ok(None) => Kind::Private,
            Ok(Some(config)) => match config.state_dir {
                Some(path) => return (Self(path.into_path_buf()), Vec::new()),
                None => Kind::Common,
            },
            Err(_) => Kind::Common,
        };
        let (path, passed) = places::choose(kind, make);
        (Self(path), passed)
    }

    /// Returns this folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of a tenant's folder, which may not exist.
    pub fn tenant(&self, name: &str) -> PathBuf {
        self.0.join(TENANTS).join(name)
    }

    /// Creates the state folder if needed. Returns its path.
    pub fn provide_at(&self) -> io::Result<&Path> {
        make_private(&self.0)?;
        Ok(&self.0)
    }

    /// Creates a tenant's folder, private to its owner. Another user's state folder is refused,
    /// since its owner could replace the files.
    pub fn create_tenant(&self, name: &str) -> io::Result<PathBuf> {
        self.create_tenant_of(name, Source::Nothing)
    }

    /// Creates the folder of a tenant with limits of this source. A root-owned file has one tenant
    /// for all users, whose folder in a common state folder is common too.
    fn create_tenant_of(&self, name: &str, source: Source) -> io::Result<PathBuf> {
        let dir = self.tenant(name);
        // Processes in different folders would each have a tenant of their own, with the whole
        // quota.
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
        let is_common =
            |meta: &std::fs::Metadata| places::is_open(meta) && meta.mode() & 0o1000 != 0;
        let meta = std::fs::metadata(&self.0)?;
        if !is_common(&meta) && !is_trusted(meta.uid()) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} belongs to another user", self.0.display()),
            ));
        }
        match std::fs::metadata(self.0.join(TENANTS)) {
            Ok(meta) if source == Source::File && is_common(&meta) => {
                places::make_open(&dir, 0o777)?
            }
            _ => make_private(&dir)?,
        }
        Ok(dir)
    }

    /// Refuses a tenant's folder that another user made or may write: that user could replace its
    /// files and write its limits. A root-owned file has one tenant for all users, and its limits
    /// are not read from a folder. A tenant behind a key is written by every process with the key.
    pub fn check_owner(&self, name: &str, source: Source) -> io::Result<()> {
        let dir = self.tenant(name);
        let folder = Folder::open(&dir)?;
        let reason = if source == Source::File {
            return Ok(());
        } else if !is_trusted(folder.owner()) {
            "belongs to another user, who could change its limits"
        } else if folder.is_open() && self.home().is_none() && self.key_of(name).is_none() {
            "may be written by other users, who could change its limits"
        } else {
            return Ok(());
        };
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{reason}; remove it, or name another tenant or state folder"),
        ))
    }

    /// Creates a tenant's folder if needed and takes its setup lock. It tries again if a collector
    /// removes the folder in between.
    pub fn set_up_tenant(&self, name: &str, source: Source) -> io::Result<SetupGuard> {
        self.set_up(name, |state, name| {
            let dir = state.create_tenant_of(name, source)?;
            // Before anything is made in it.
            state.check_owner(name, source)?;
            Ok(dir)
        })
    }

    /// Does the same for a tenant whose programs may change their user: a new one gets a key.
    pub fn set_up_behind_key(&self, name: &str) -> io::Result<SetupGuard> {
        self.set_up(name, |state, name| {
            state.make_key(name)?;
            let dir = state.create_tenant(name)?;
            state.check_owner(name, Source::Nothing)?;
            Ok(dir)
        })
    }

    fn set_up(
        &self,
        name: &str,
        create: impl Fn(&Self, &str) -> io::Result<PathBuf>,
    ) -> io::Result<SetupGuard> {
        for _ in 0..64 {
            let made = create(self, name).and_then(|dir| SetupGuard::acquire(&dir));
            match made {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                lock => return lock,
            }
        }
        Err(io::Error::other(format!(
            "{} is being removed over and over",
            self.tenant(name).display()
        )))
    }

    /// Puts a new tenant's folder behind a key. An existing one stays as it is.
    fn make_key(&self, name: &str) -> io::Result<()> {
        let link = self.tenant(name);
        if std::fs::symlink_metadata(&link).is_ok() || self.home().is_some() {
            return Ok(());
        }
        make_private(&self.0.join(TENANTS))?;
        make_private(&self.0.join(DEVICES))?;
        // Other users may pass through to a place that they know, and list nothing. If they may
        // make entries themselves, a key excludes no one. They could also redirect the change of
        // mode.
        let open = self.0.join(OPEN);
        make_private(&open)?;
        for folder in [&self.0, &open] {
            let folder = Folder::open(folder)?;
            if folder.owner() != places::uid() || folder.is_open() {
                return Ok(());
            }
        }
        places::set_mode(&self.0, 0o711)?;
        places::set_mode(&open, 0o711)?;
        let key = random_key()?;
        let (root, tenants) = (open.join(&key), open.join(&key).join(TENANTS));
        let made = make_private(&tenants)
            .and_then(|()| places::make_open(&tenants.join(name), 0o777))
            .and_then(|()| std::os::unix::fs::symlink("../../devices", root.join(DEVICES)))
            .and_then(|()| places::set_mode(&tenants, 0o755))
            .and_then(|()| places::set_mode(&root, 0o755))
            .and_then(|()| {
                let target = Path::new("..")
                    .join(OPEN)
                    .join(&key)
                    .join(TENANTS)
                    .join(name);
                std::os::unix::fs::symlink(target, &link)
            });
        made.or_else(|error| {
            let _ = std::fs::remove_dir_all(&root);
            match error.kind() {
                // Another command was faster: its key serves as well.
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            }
        })
    }

    /// Returns the folder behind a key in which a tenant's folder is, if it is in one.
    fn key_of(&self, name: &str) -> Option<PathBuf> {
        let target = std::fs::read_link(self.tenant(name)).ok()?;
        let key = target
            .strip_prefix(Path::new("..").join(OPEN))
            .ok()?
            .iter()
            .next()?;
        is_key(key).then(|| self.0.join(OPEN).join(key))
    }

    /// Returns the state folder as the tenant's programs must find it.
    pub fn for_programs(&self, name: &str) -> Self {
        self.key_of(name).map_or_else(|| self.clone(), Self)
    }

    /// Returns the state folder to which this one belongs, if this one is behind a key.
    pub fn home(&self) -> Option<Self> {
        let open = self.0.parent()?;
        (open.file_name()? == OPEN && is_key(self.0.file_name()?))
            .then(|| open.parent().map(|home| Self(home.to_owned())))?
    }

    /// Returns the tenants behind keys that some process has in its initial environment: it may
    /// join at any time. Only root can find them.
    pub fn carried(&self) -> Vec<String> {
        let marker = format!("{STATE_DIR_VARIABLE}={}/", self.0.join(OPEN).display()).into_bytes();
        let keys: std::collections::BTreeSet<Vec<u8>> = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
            .filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
            .filter_map(|environ| {
                let entry = environ
                    .split(|&byte| byte == 0)
                    .find(|entry| entry.starts_with(&marker))?;
                Some(entry[marker.len()..].to_vec())
            })
            .collect();
        let is_carried = |name: &String| {
            let key = self.key_of(name);
            key.is_some_and(|key| {
                key.file_name()
                    .is_some_and(|key| keys.contains(key.as_encoded_bytes()))
            })
        };
        match keys.is_empty() {
            true => Vec::new(),
            false => self
                .tenants()
                .unwrap_or_default()
                .into_iter()
                .filter(is_carried)
                .collect(),
        }
    }

    /// Returns the names of the tenants that have a folder, sorted. An invalid name is ignored,
    /// since names are printed on terminals.
    pub fn tenants(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.0.join(TENANTS)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| check_tenant_name("tenant", name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Returns every region of a tenant, or the reason why it cannot be read.
    pub fn regions(&self, tenant: &str) -> io::Result<Vec<(PathBuf, io::Result<RegionSnapshot>)>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.tenant(tenant))?
            .flatten()
            .filter(|entry| layout::device_of_region(&entry.file_name()).is_some())
            .map(|entry| entry.path())
            .take(MOST_DEVICES)
            .collect();
        paths.sort();
        Ok(paths
            .into_iter()
            .map(|path| (path.clone(), RegionSnapshot::read(&path)))
            .collect())
    }

    /// Returns true if a process of the tenant lives: it has joined the tenant, or has a slot in
    /// one of its regions.
    pub fn is_alive(&self, tenant: &str) -> io::Result<bool> {
        match file::open_ro(&self.tenant(tenant).join(layout::CONTROL)) {
            Ok(control) if file::is_held(&control, MEMBER_LOCK, 1)? => return Ok(true),
            // No process joins through anything but a regular file.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidData
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
        Ok(self
            .regions(tenant)?
            .into_iter()
            .any(|(_, region)| region.is_ok_and(|region| region.any_alive())))
    }

    /// Removes a tenant's files if no process of it lives. Returns true if they are gone. A process
    /// that joins at the same moment waits for the setup lock and then makes new files.
    pub fn remove_if_dead(&self, tenant: &str) -> io::Result<bool> {
        self.remove_if(tenant, || true)
    }

    /// Removes a tenant's files likewise, if `agrees` also returns true. It is called under the
    /// setup lock, so no process joins meanwhile.
    pub fn remove_if(&self, tenant: &str, agrees: impl FnOnce() -> bool) -> io::Result<bool> {
        // One process removes one folder at a time, but a folder that it could not empty keeps its
        // name.
        static REMOVED: AtomicU64 = AtomicU64::new(0);
        let dir = self.tenant(tenant);
        let Some(_lock) = SetupGuard::try_acquire(&dir)? else {
            return Ok(false);
        };
        if self.is_alive(tenant)? || !agrees() {
            return Ok(false);
        }
        // Before the folder is renamed: afterwards a new tenant of this name may publish a page of
        // its own.
        #[cfg(not(loom))]
        {
            crate::share::files::remove(self, tenant);
            crate::share::authority::forget(self, tenant);
            crate::spatial::claims::release(self, tenant);
        }
        // In one step, and not file by file: a process that finds half a folder would make the
        // missing half again, and lose it.
        let grave = self.0.join(TENANTS).join(format!(
            ".{tenant}.{}.{}",
            std::process::id(),
            REMOVED.fetch_add(1, Ordering::Relaxed)
        ));
        let key = self.key_of(tenant);
        std::fs::rename(&dir, &grave)?;
        // The next `sweep` removes what cannot be removed now. For a link, this removes the link.
        let _ = std::fs::remove_dir_all(&grave);
        if let Some(key) = key {
            let _ = std::fs::remove_dir_all(key);
        }
        Ok(true)
    }

    /// Removes a few dead unnamed tenants other than `own`: later programs collect what earlier
    /// ones leave behind.
    pub fn collect_some(&self, own: &str) {
        let names = self.tenants().unwrap_or_default();
        let unnamed: Vec<&String> = names
            .iter()
            .filter(|name| *name != own && tree::is_tree(name))
            .collect();
        // Not always the same ones, since those may all live.
        let first = std::process::id() as usize % unnamed.len().max(1);
        for name in unnamed
            .iter()
            .cycle()
            .skip(first)
            .take(MOST_COLLECTED.min(unnamed.len()))
        {
            // A tenant that cannot be removed is another user's, or is being joined.
            let _ = self
                .is_alive(name)
                .is_ok_and(|lives| !lives)
                .then(|| self.remove_if_dead(name));
        }
    }

    /// Removes what killed collectors have left of tenants' folders.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(self.0.join(TENANTS))
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                // Another collector may remove it too.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        self.sweep_keys();
    }

    /// Removes keys that no tenant has, unless they were made just now and may get their link
    /// later.
    fn sweep_keys(&self) {
        let used: Vec<PathBuf> = self
            .tenants()
            .unwrap_or_default()
            .iter()
            .filter_map(|name| self.key_of(name))
            .collect();
        for entry in std::fs::read_dir(self.0.join(OPEN))
            .into_iter()
            .flatten()
            .flatten()
        {
            let age = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .ok()
                .and_then(|made| made.elapsed().ok());
            let is_old = age.is_some_and(|age| age > std::time::Duration::from_secs(60));
            if is_old && !used.contains(&entry.path()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Creates a new key: 128 random bits as a folder's name.
pub fn random_key() -> io::Result<String> {
    use std::io::Read;
    let mut random = [0u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns true if a folder's name is a key: 32 hexadecimal digits.
pub fn is_key(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
}

/// Most devices of one tenant that are read: more than any machine has. A tenant cannot occupy its
/// readers forever.
const MOST_DEVICES: usize = 256;

/// Byte of a tenant's control page that each of its processes keeps read-locked from joining to its
/// end.
pub(crate) const MEMBER_LOCK: u64 = 0;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_depends_on_where_one_stands_is_refused() {
        let error = StateDir::at("somewhere").create_tenant("a").unwrap_err();
        assert!(
            error.to_string().contains("somewhere is relative"),
            "{error}"
        );
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

    #[test]
    fn a_tenant_behind_a_key_looks_like_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("s"));
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        drop(state.set_up_behind_key("a").unwrap());
        drop(state.set_up_behind_key("a").unwrap());
        state.create_tenant("b").unwrap();
        assert_eq!(state.tenants().unwrap(), ["a", "b"]);
        let keys = || std::fs::read_dir(state.path().join(OPEN)).unwrap().count();
        assert_eq!(keys(), 1);
        let inside = state.for_programs("a");
        assert_eq!(inside.tenants().unwrap(), ["a"]);
        assert_eq!(inside.home(), Some(state.clone()));
        assert_eq!(
            (state.for_programs("b"), state.home()),
            (state.clone(), None)
        );
        // Only root lists keys, no other user replaces the tenant's folder, and every process with
        // the key writes in it.
        assert_eq!(
            (mode(state.path()), mode(&state.path().join(OPEN))),
            (0o711, 0o711)
        );
        assert_eq!(mode(&state.path().join(TENANTS)), 0o700);
        assert_eq!(mode(&inside.path().join(TENANTS)), 0o755);
        assert_eq!(mode(&inside.tenant("a")), 0o777);
        assert_eq!(mode(&inside.tenant("a").join("setup.lock")), 0o666);
        assert!(inside.path().join(DEVICES).is_dir());
        // Removed by its name, and its key with it.
        state.sweep();
        assert_eq!(keys(), 1);
        assert!(state.remove_if_dead("a").unwrap());
        assert_eq!(
            (state.tenants().unwrap(), keys()),
            (vec!["b".to_owned()], 0)
        );
        // A key whose link was never made.
        assert!(!is_key("..".as_ref()) && !is_key("z".repeat(32).as_ref()));
        let stray = state.path().join(OPEN).join("0".repeat(32));
        std::fs::create_dir(&stray).unwrap();
        state.sweep();
        assert!(stray.exists(), "its link may be to come");
    }

    #[test]
    fn a_common_folder_has_tenants_of_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("common");
        places::provide(&path, Kind::Common, true).unwrap();
        let state = StateDir::at(&path);
        drop(state.set_up_tenant("t", Source::File).unwrap());
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&state.tenant("t")), 0o777);
        assert_eq!(mode(&state.tenant("t").join("setup.lock")), 0o666);
        assert!(state.remove_if_dead("t").unwrap());
        // No other user may write a tenant of one user in it.
        drop(state.set_up_tenant("t", Source::Environment).unwrap());
        assert_eq!(mode(&state.tenant("t")), 0o700);
        assert_eq!(mode(&state.tenant("t").join("setup.lock")), 0o600);
        state.check_owner("t", Source::Environment).unwrap();
        std::fs::set_permissions(state.tenant("t"), std::fs::Permissions::from_mode(0o777))
            .unwrap();
        let error = state.set_up_tenant("t", Source::Environment).unwrap_err();
        assert!(
            error.to_string().contains("written by other users"),
            "{error}"
        );
    }

    #[test]
    fn a_tenant_of_somebody_elses_is_refused() {
        // SAFETY: geteuid takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            println!("SKIPPED: only root can make a folder of another user's");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("s"));
        let folder = state.create_tenant("t").unwrap();
        state.check_owner("t", Source::Environment).unwrap();
        std::os::unix::fs::chown(&folder, Some(4242), None).unwrap();
        let error = state.check_owner("t", Source::Environment).unwrap_err();
        assert!(error.to_string().contains("another user"), "{error}");
        state.check_owner("t", Source::File).unwrap();
        let before = std::fs::read_dir(&folder).unwrap().count();
        assert!(state.set_up_tenant("t", Source::Environment).is_err());
        assert!(state.set_up_behind_key("t").is_err());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), before);
    }

    /// Checks that folders and files with any name from another user are neither listed nor opened.
    #[test]
    fn names_that_no_tenant_can_have_are_passed_by() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        state.create_tenant("t").unwrap();
        for name in ["\u{1b}[31mred", "two\nlines", "-", "\u{202e}txt", ".hidden"] {
            std::fs::create_dir_all(state.tenant(name)).unwrap();
            std::fs::write(state.tenant("t").join(format!("{name}.region")), "").unwrap();
        }
        std::fs::create_dir(state.tenant("t").join("control")).unwrap();
        assert_eq!(state.tenants().unwrap(), ["-", "t"]);
        assert!(state.regions("t").unwrap().is_empty());
    }

    #[test]
    fn programs_collect_what_dead_trees_have_left() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        for number in 0..3 * MOST_COLLECTED {
            drop(
                state
                    .set_up_tenant(&format!("tree-1-{number}-0-00000000"), Source::Environment)
                    .unwrap(),
            );
        }
        drop(state.set_up_tenant("named", Source::Environment).unwrap());
        let mut config = crate::config::Config::unlimited();
        config.tenant = Some("tree-1-lives-0-00000000".into());
        let living = crate::tenant::Tenant::join(&state, &config).unwrap();
        for _ in 0..3 {
            state.collect_some("tree-other");
        }
        assert_eq!(state.tenants().unwrap(), ["named", living.name()]);
    }
}
