//! Places of the state folder: an ordered list of candidates, each of which is checked.
//!
//! Every process of a user must find the same folder, or each would have a quota of its own. The
//! list therefore depends on the user and on little else. A candidate that exists in memory-backed
//! storage comes before one that would have to be made. If another user has taken a name, the next
//! name in the same place is tried.
//!
//! Under a root-owned file, processes of all users belong to one tenant, so the folder is common.
//! Any user makes it, any user finds it, and any user may write in it. It is in a place where every
//! user may make a folder.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file::{self, Folder, Mapping};

/// Names that are tried in a place that other users may write to.
const NAMES: u32 = 4;
/// Mode of a folder in which every user may make entries and only owners remove them.
const COMMON: u32 = 0o1777;

/// Candidate that cannot be used, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The folder.
    pub path: PathBuf,
    /// Reason why it cannot be used.
    pub reason: String,
}

/// Place for the state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    /// Number of names to try: the path itself, then `path.1` and so on.
    names: u32,
    /// True if the place is memory-backed and the same for all of a user's processes. Existing
    /// folders there are used before any is made.
    first: bool,
}

impl Place {
    fn new(path: impl Into<PathBuf>, names: u32, first: bool) -> Self {
        Self {
            path: path.into(),
            names,
            first,
        }
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..self.names).map(|number| match number {
            0 => self.path.clone(),
            number => {
                let mut name = self.path.clone().into_os_string();
                name.push(format!(".{number}"));
                name.into()
            }
        })
    }
}

/// Kind of a state folder, by the users that may write in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One user's own.
    Private,
    /// Common to all users.
    Common,
}

pub(crate) fn uid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Returns the folder that a variable names, if it is absolute and exists.
fn named(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    (path.is_absolute() && path.is_dir()).then_some(path)
}

fn is_ours(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == uid())
}

/// Returns the places of a user, best first.
fn private_places(uid: u32) -> Vec<Place> {
    let name = format!("fcsp-{uid}");
    let mut places = Vec::new();
    if uid == 0 {
        places.push(Place::new("/run/fcsp", 1, true));
    }
    // `su` and `sudo` keep the variable, which then names another user's folder.
    let sessions = [
        named("XDG_RUNTIME_DIR"),
        Some(PathBuf::from(format!("/run/user/{uid}"))),
    ];
    for session in sessions.into_iter().flatten().filter(|path| is_ours(path)) {
        places.push(Place::new(session.join("fcsp"), 1, true));
    }
    places.push(Place::new(Path::new("/dev/shm").join(&name), NAMES, true));
    for folder in temporary() {
        places.push(Place::new(folder.join(&name), NAMES, false));
    }
    places
}

/// Returns folders for temporary files, as on most machines.
fn temporary() -> impl Iterator<Item = PathBuf> {
    named("TMPDIR")
        .into_iter()
        .chain(["/tmp", "/var/tmp"].map(PathBuf::from))
}

/// Returns the places of a folder that all users share. None depends on a variable.
fn common_places() -> Vec<Place> {
    [
        "/dev/shm/fcsp-common",
        "/tmp/fcsp-common",
        "/var/tmp/fcsp-common",
    ]
    .map(|path| Place::new(path, NAMES, true))
    .into()
}

/// Returns this user's folders for other things than state, such as libraries, best first.
pub fn all_private() -> Vec<PathBuf> {
    private_places(uid())
        .iter()
        .flat_map(|place| place.paths().collect::<Vec<_>>())
        .collect()
}

/// Returns the state folder of this kind, and the candidates that were passed over. With `make` the
/// folder exists afterwards. Without it nothing is made, and the path is only a proposal.
pub fn choose(kind: Kind, make: bool) -> (PathBuf, Vec<Passed>) {
    match kind {
        Kind::Private => choose_among(&private_places(uid()), kind, make),
        Kind::Common => choose_among(&common_places(), kind, make),
    }
}

fn choose_among(places: &[Place], kind: Kind, make: bool) -> (PathBuf, Vec<Passed>) {
    for path in places
        .iter()
        .filter(|place| place.first)
        .flat_map(Place::paths)
    {
        if std::fs::symlink_metadata(&path).is_ok() && check(&path, kind).is_ok() {
            return (path, Vec::new());
        }
    }
    let mut passed = Vec::new();
    for path in places.iter().flat_map(Place::paths) {
        match provide(&path, kind, make) {
            Ok(()) => return (path, passed),
            // Without a descriptor nothing can be checked, and another folder would be another
            // quota.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                return (path, passed);
            }
            Err(error) => passed.push(Passed {
                path,
                reason: error.to_string(),
            }),
        }
    }
    // No candidate can be used: operations on the first one then give the reason.
    let first = places
        .first()
        .map(|place| place.path.clone())
        .unwrap_or_default();
    (first, passed)
}

/// Makes sure that the folder exists and can be used; without `make`, that it exists or could be
/// made.
pub fn provide(path: &Path, kind: Kind, make: bool) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(_) => return check(path, kind),
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !make {
        return may_write(parent);
    }
    match kind {
        // Other users may pass through root's folder, to its libraries and to keys that they know.
        Kind::Private => match DirBuilder::new()
            .mode(if uid() == 0 { 0o711 } else { 0o700 })
            .create(path)
        {
            // Another process made it at this moment, or another user took the name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => done?,
        },
        Kind::Common => make_common(path)?,
    }
    check(path, kind).inspect_err(|_| {
        // Only an empty one, and only this user's.
        let _ = std::fs::remove_dir(path);
    })
}

fn refuse(reason: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// Checks that an existing folder can be used.
fn check(path: &Path, kind: Kind) -> io::Result<()> {
    let meta = std::fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return refuse("is a link or a file, not a folder");
    }
    match kind {
        Kind::Private if meta.uid() != uid() => return refuse("belongs to another user"),
        Kind::Private if meta.mode() & 0o022 != 0 => return refuse("others may write there"),
        Kind::Common if meta.mode() & 0o7777 != COMMON => {
            return refuse("is not open to every user");
        }
        _ => {}
    }
    may_write(path)?;
    // A folder that was used before is not checked again: a full or slow folder is still the right
    // one.
    if path.join("tenants").is_dir() {
        return Ok(());
    }
    try_mapping(path)
}

/// Checks that this process may make entries in the folder; a read-only file system fails.
fn may_write(path: &Path) -> io::Result<()> {
    let text = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: the string outlives the call. AT_EACCESS checks the effective user, as opening does.
    let may = unsafe {
        libc::faccessat(
            libc::AT_FDCWD,
            text.as_ptr(),
            libc::W_OK | libc::X_OK,
            libc::AT_EACCESS,
        )
    };
    match may {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Creates a file and maps it shared, which some file systems refuse.
fn try_mapping(path: &Path) -> io::Result<()> {
    static TRIED: AtomicU64 = AtomicU64::new(0);
    // Without a descriptor nothing can be checked; the error number says so.
    drop(std::fs::File::open(path)?);
    let probe = path.join(format!(
        ".probe.{}.{}",
        std::process::id(),
        TRIED.fetch_add(1, Ordering::Relaxed)
    ));
    let file = file::open_rw(&probe, true)?;
    let done = file::allocate(&file, 4096).and_then(|()| Mapping::new(&file, 4096, true).map(drop));
    let _ = std::fs::remove_file(&probe);
    done
}

/// Creates a common folder with its contents, under another name first: no process ever sees it
/// closed.
fn make_common(path: &Path) -> io::Result<()> {
    let temporary = temporary_name(path);
    open_folder(&temporary, COMMON)?;
    for inner in ["tenants", "devices"] {
        open_folder(&temporary.join(inner), COMMON)?;
    }
    rename_new(&temporary, path).or_else(|error| {
        let _ = std::fs::remove_dir_all(&temporary);
        match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        }
    })
}

/// Creates a folder with exactly this mode, under another name first. An existing one is left
/// alone.
pub(crate) fn make_open(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let temporary = temporary_name(path);
    open_folder(&temporary, mode)?;
    rename_new(&temporary, path).or_else(|error| {
        let _ = std::fs::remove_dir(&temporary);
        match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        }
    })
}

fn temporary_name(path: &Path) -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(
        ".{name}.{}.{}",
        std::process::id(),
        MADE.fetch_add(1, Ordering::Relaxed)
    ))
}

/// Creates a folder with exactly this mode, regardless of the umask.
fn open_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    set_mode(path, mode)
}

/// Sets the mode of this user's folder. It uses the open folder: the name may be another user's
/// link, and its target would get the mode.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let folder = Folder::open(path)?;
    match folder.owner() == uid() {
        true => folder.set_mode(mode),
        false => refuse("belongs to another user"),
    }
}

/// Renames `from` to `to`, unless `to` exists.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let text =
        |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (source, target) = (text(from)?, text(to)?);
    // SAFETY: both strings outlive the call. Called by number, since old C libraries have no
    // function for it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            source.as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // A file system without this rename: check, then rename. Another process may create the
        // name in between.
        Some(libc::EINVAL | libc::ENOSYS) if std::fs::symlink_metadata(to).is_err() => {
            std::fs::rename(from, to)
        }
        _ => Err(error),
    }
}

/// Returns true if every user may make entries in this folder. Every user may then write its files.
pub(crate) fn is_open(meta: &Metadata) -> bool {
    meta.is_dir() && meta.mode() & 0o002 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn places(dir: &Path, names: u32) -> Vec<Place> {
        vec![
            Place::new(dir.join("missing/a"), 1, true),
            Place::new(dir.join("b"), names, true),
            Place::new(dir.join("c"), names, false),
        ]
    }

    fn chosen(places: &[Place]) -> PathBuf {
        let looked = choose_among(places, Kind::Private, false).0;
        let made = choose_among(places, Kind::Private, true).0;
        assert_eq!(looked, made, "looking and making give one answer");
        assert_eq!(choose_among(places, Kind::Private, true).0, made);
        made
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_that_serves_is_made_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = chosen(&places(dir.path(), 2));
        assert_eq!(path, dir.path().join("b"));
        let expected = if uid() == 0 { 0o711 } else { 0o700 };
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, expected);
        assert_eq!(
            std::fs::read_dir(&path).unwrap().count(),
            0,
            "no trace of the trial"
        );
    }

    #[test]
    fn names_that_were_taken_are_passed_by() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path(), 4);
        std::os::unix::fs::symlink("/tmp", dir.path().join("b")).unwrap();
        std::fs::write(dir.path().join("b.1"), "").unwrap();
        std::fs::create_dir(dir.path().join("b.2")).unwrap();
        mode(&dir.path().join("b.2"), 0o777);
        assert_eq!(chosen(&places), dir.path().join("b.3"));
        mode(&dir.path().join("b.3"), 0o770);
        assert_eq!(chosen(&places), dir.path().join("c"));
        let (_, passed) = choose_among(&places, Kind::Private, true);
        assert_eq!(passed.len(), 5, "{passed:?}");
        assert!(passed[1].reason.contains("not a folder"), "{passed:?}");
    }

    /// Checks that a folder which a process with another environment made in a later place is used.
    #[test]
    fn what_exists_comes_before_what_could_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let places = [
            Place::new(dir.path().join("a"), 1, true),
            Place::new(dir.path().join("b"), 1, true),
            Place::new(dir.path().join("c"), 1, false),
        ];
        std::fs::create_dir(dir.path().join("c")).unwrap();
        mode(&dir.path().join("c"), 0o700);
        std::fs::create_dir(dir.path().join("b")).unwrap();
        mode(&dir.path().join("b"), 0o700);
        assert_eq!(chosen(&places), dir.path().join("b"));
        std::fs::remove_dir(dir.path().join("b")).unwrap();
        assert_eq!(
            chosen(&places),
            dir.path().join("a"),
            "one on a disk is not looked for"
        );
    }

    #[test]
    fn nothing_that_serves_is_said_by_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let places = [Place::new(dir.path().join("no/a"), 1, true)];
        let (path, passed) = choose_among(&places, Kind::Private, true);
        assert_eq!((path, passed.len()), (dir.path().join("no/a"), 1));
    }

    #[test]
    fn a_common_folder_is_made_whole_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let places = [Place::new(dir.path().join("common"), 2, true)];
        let paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| choose_among(&places, Kind::Common, true).0))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(
            paths.iter().all(|path| *path == dir.path().join("common")),
            "{paths:?}"
        );
        for path in ["common", "common/tenants", "common/devices"] {
            let mode = std::fs::metadata(dir.path().join(path)).unwrap().mode();
            assert_eq!(mode & 0o7777, COMMON, "{path}");
        }
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left of the others"
        );
        // Another user's private folder in its place is no common folder.
        mode(&dir.path().join("common"), 0o755);
        assert_eq!(
            choose_among(&places, Kind::Common, true).0,
            dir.path().join("common.1")
        );
    }

    #[test]
    fn no_mode_is_given_through_a_link_or_to_another_users_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (own, link) = (dir.path().join("own"), dir.path().join("link"));
        let mode = || std::fs::metadata(&own).unwrap().mode() & 0o777;
        open_folder(&own, 0o711).unwrap();
        assert_eq!(mode(), 0o711);
        set_mode(&own, 0o755).unwrap();
        assert_eq!(mode(), 0o755);
        if uid() != 0 {
            println!("SKIPPED: only root can make a link of another user's");
            return;
        }
        std::os::unix::fs::symlink(&own, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
        assert!(set_mode(&link, 0o700).is_err());
        std::os::unix::fs::chown(&own, Some(4242), None).unwrap();
        assert!(set_mode(&own, 0o700).is_err());
        assert_eq!(mode(), 0o755);
    }

    #[test]
    fn every_user_has_places_of_its_own_name() {
        let text = |uid| format!("{:?}", private_places(uid));
        assert!(text(0).contains("/run/fcsp") && text(0).contains("/dev/shm/fcsp-0"));
        assert!(!text(4242).contains("/run/fcsp") && text(4242).contains("/tmp/fcsp-4242"));
    }
}
