//! Folders, reached without following another user's link, and their files by name.
//!
//! Every call that takes a path resolves it again. Another user who may write in one of its folders
//! can put a link into the path between two calls. Therefore a folder is opened once, and its files
//! are opened, renamed and removed by names relative to it.

use std::ffi::{CStr, CString, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::FileId;
use super::transient::{Noted, raised};
use crate::places::uid;

/// Most links in one path, as in the kernel.
const MOST_LINKS: u32 = 40;
/// Owner that the kernel shows for users without a number here.
const UNKNOWN_OWNER: u32 = 65_534;
/// Permission of users other than owner and group to write.
const OTHERS_WRITE: u32 = 0o002;

/// Returns true if this process is in a user namespace. All unknown owners look alike there.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().ne(["0", "0", "4294967295"]))
}

/// Returns true if files of this owner are trusted: this user, root, or in a user namespace an
/// owner without a number, as root is there.
pub fn is_trusted(owner: u32) -> bool {
    owner == uid() || owner == 0 || (owner == UNKNOWN_OWNER && in_user_namespace())
}

fn refused(kind: io::ErrorKind, reason: &str) -> io::Error {
    io::Error::new(kind, reason)
}

/// Open folder. Neither it nor its path is another user's link. A forked child closes it at once.
#[derive(Debug)]
pub struct Folder {
    // The order matters: closed first, then forgotten.
    file: File,
    _noted: Noted,
    owner: u32,
    group: u32,
    mode: u32,
}

impl Folder {
    /// Opens the folder at `path`. A link on the way is followed only if root or this user made it.
    ///
    /// # Errors
    ///
    /// Any error of the system, or `PermissionDenied` for another user's link.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let name = CString::new(path.as_os_str().as_bytes())?;
        let noted = Noted::path(&name);
        let file = raised(
            without_links(&name).or_else(|error| match error.raw_os_error() {
                // A link, or a kernel or sandbox without openat2.
                Some(libc::ELOOP | libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::EAGAIN) => {
                    walk(path)
                }
                _ => Err(error),
            })?,
        );
        let meta = file.metadata()?;
        if !meta.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        noted.is(FileId::of(&file)?);
        Ok(Self {
            file,
            _noted: noted,
            owner: meta.uid(),
            group: meta.gid(),
            mode: meta.mode(),
        })
    }

    /// Returns the folder of the file at `path`, and the file's name.
    pub(super) fn of(path: &Path) -> io::Result<(Self, CString)> {
        let name = path
            .file_name()
            .ok_or_else(|| refused(io::ErrorKind::InvalidInput, "names no file"))?;
        let folder = Self::open(path.parent().unwrap_or(Path::new("")))?;
        Ok((folder, CString::new(name.as_bytes())?))
    }

    /// Returns the owner's user number.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Returns true if every user may make entries. Every user may then write its files.
    pub fn is_open(&self) -> bool {
        self.mode & OTHERS_WRITE != 0
    }

    /// Sets the folder's mode.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let folder = openat(self.file.as_raw_fd(), c".", flags, 0)?;
        folder.set_permissions(Permissions::from_mode(mode))
    }

    /// Opens a file by its name, without following a link and without waiting for the other end of
    /// a pipe.
    pub(super) fn open_at(
        &self,
        name: &CStr,
        flags: libc::c_int,
        mode: libc::c_uint,
    ) -> io::Result<File> {
        let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        openat(self.file.as_raw_fd(), name, flags, mode)
    }

    /// Creates a file that must not exist yet. Root gives it to the folder's owner, whose processes
    /// use it as well.
    pub(super) fn make_at(&self, name: &CStr, mode: libc::c_uint) -> io::Result<File> {
        let file = self.open_at(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode)?;
        if uid() == 0 && self.owner != 0 && !self.is_open() {
            // Root without that capability leaves a file of its own, which readers accept.
            let _ = std::os::unix::fs::fchown(&file, Some(self.owner), Some(self.group));
        }
        Ok(file)
    }

    /// Checks that a file opened here may be used: a regular file with one name. Its owner must be
    /// this user, root or the folder's owner, or anyone in a folder that every user may write. Only
    /// in such a folder may others write the file.
    pub(super) fn check(&self, file: &Metadata) -> io::Result<()> {
        // A pipe or a device in place of a file is a trap.
        if !file.is_file() {
            return Err(refused(io::ErrorKind::InvalidData, "is not a regular file"));
        }
        // A second name may be another user's file.
        if file.nlink() > 1 {
            return Err(refused(
                io::ErrorKind::InvalidData,
                "has more than one name",
            ));
        }
        if self.is_open() {
            return Ok(());
        }
        if file.uid() != self.owner && !is_trusted(file.uid()) {
            return Err(refused(
                io::ErrorKind::PermissionDenied,
                "belongs to another user",
            ));
        }
        if file.mode() & OTHERS_WRITE != 0 {
            return Err(refused(
                io::ErrorKind::PermissionDenied,
                "may be written by others",
            ));
        }
        Ok(())
    }

    /// Renames the file `from` to `to`, in one step.
    pub(super) fn rename(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        let at = self.file.as_raw_fd();
        // SAFETY: both strings outlive the call; the descriptor is open.
        done(unsafe { libc::renameat(at, from.as_ptr(), at, to.as_ptr()) })
    }

    /// Renames the file `from` to `to`, unless a file of that name exists.
    pub(super) fn rename_new(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        let at = self.file.as_raw_fd();
        // SAFETY: as in `rename`. Called by number, since old C libraries have no function for it.
        let result = done(unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                at,
                from.as_ptr(),
                at,
                to.as_ptr(),
                libc::RENAME_NOREPLACE,
            )
        } as libc::c_int);
        match result {
            // A file system without this rename: check, then rename. Another process may create the
            // name in between.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                match openat(at, to, AS_PLACE | libc::O_NOFOLLOW, 0) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(from, to),
                    Err(error) => Err(error),
                    Ok(_) => Err(io::Error::from_raw_os_error(libc::EEXIST)),
                }
            }
            result => result,
        }
    }

    pub(super) fn remove_at(&self, name: &CStr) -> io::Result<()> {
        // SAFETY: the string outlives the call; the descriptor is open.
        done(unsafe { libc::unlinkat(self.file.as_raw_fd(), name.as_ptr(), 0) })
    }

    /// Removes the file or link `name`.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.remove_at(&CString::new(name)?)
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn openat(
    at: libc::c_int,
    name: &CStr,
    flags: libc::c_int,
    mode: libc::c_uint,
) -> io::Result<File> {
    loop {
        // SAFETY: a C string that outlives the call, flags and a mode; `at` is open or AT_FDCWD.
        let number = unsafe { libc::openat(at, name.as_ptr(), flags, mode) };
        if number >= 0 {
            // SAFETY: just opened, and used nowhere else.
            return Ok(unsafe { File::from_raw_fd(number) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

const AS_PLACE: libc::c_int = libc::O_PATH | libc::O_CLOEXEC;

/// Opens a folder by one call, if no link is in its path.
fn without_links(path: &CStr) -> io::Result<File> {
    // SAFETY: open_how is plain integers, for which zeroes are valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (AS_PLACE | libc::O_DIRECTORY) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: the string and the record outlive the call, which reads no more than the size passed.
    let number = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    match libc::c_int::try_from(number) {
        // SAFETY: just opened, and used nowhere else.
        Ok(number) if number >= 0 => Ok(unsafe { File::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the steps of a path.
fn steps(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components()
        .filter(|step| *step != Component::CurDir)
        .map(|step| step.as_os_str().to_owned())
}

/// Opens a folder step by step, following links that root or this user made.
fn walk(path: &Path) -> io::Result<File> {
    let mut left: Vec<OsString> = steps(path).rev().collect();
    let mut at = openat(libc::AT_FDCWD, c".", AS_PLACE | libc::O_DIRECTORY, 0)?;
    let mut links = 0;
    while let Some(step) = left.pop() {
        let name = CString::new(step.as_bytes())?;
        let next = openat(at.as_raw_fd(), &name, AS_PLACE | libc::O_NOFOLLOW, 0)?;
        let meta = next.metadata()?;
        if !meta.file_type().is_symlink() {
            at = next;
            continue;
        }
        if !is_trusted(meta.uid()) {
            return Err(refused(
                io::ErrorKind::PermissionDenied,
                "a link of another user's leads there",
            ));
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        left.extend(steps(&target(&next)?).rev());
    }
    Ok(at)
}

/// Returns the target of an open link.
fn target(link: &File) -> io::Result<PathBuf> {
    let mut text = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes no more than the buffer's length.
    let length = unsafe {
        libc::readlinkat(
            link.as_raw_fd(),
            c"".as_ptr(),
            text.as_mut_ptr().cast(),
            text.len(),
        )
    };
    text.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
    Ok(OsString::from_vec(text).into())
}

#[cfg(test)]
mod tests {
    use super::super::{open_ro, open_rw};
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    const ANOTHER: u32 = 4242;

    fn is_root() -> bool {
        let root = uid() == 0;
        if !root {
            println!("SKIPPED: only root can make files of another user's");
        }
        root
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn links_of_ones_own_are_followed_on_the_way_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real/inner");
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("f"), "text").unwrap();
        symlink("real/../real", dir.path().join("short")).unwrap();
        symlink(dir.path().join("short/inner"), dir.path().join("long")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let expected = FileId::at(&real).unwrap().unwrap();
        for path in [
            "real/inner",
            "short/inner",
            "long",
            "./long/",
            "long/../inner",
        ] {
            let folder = Folder::open(&dir.path().join(path)).unwrap();
            assert_eq!(FileId::of(&folder.file).unwrap(), expected, "{path}");
            open_ro(&dir.path().join(path).join("f")).unwrap();
        }
        assert!(Folder::open(&dir.path().join("loop")).is_err());
        assert!(Folder::open(&real.join("f")).is_err());
        assert_eq!(
            Folder::open(&dir.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn links_of_another_users_lead_nowhere() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("real/f"), "text").unwrap();
        let link = dir.path().join("link");
        symlink("real", &link).unwrap();
        open_ro(&link.join("f")).unwrap();
        std::os::unix::fs::lchown(&link, Some(ANOTHER), None).unwrap();
        for path in [link.join("f"), link.join("../real/f"), link.join("new")] {
            let error = open_rw(&path, true).unwrap_err();
            assert!(
                error.to_string().contains("a link of another user's"),
                "{error}"
            );
        }
        assert!(!dir.path().join("real/new").exists());
    }

    #[test]
    fn a_file_with_two_names_or_of_another_owner_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "text").unwrap();
        std::fs::hard_link(&path, dir.path().join("second")).unwrap();
        let error = open_ro(&path).unwrap_err();
        assert!(error.to_string().contains("more than one name"), "{error}");
        std::fs::remove_file(dir.path().join("second")).unwrap();
        open_ro(&path).unwrap();
        mode(&path, 0o666);
        assert!(
            open_ro(&path)
                .unwrap_err()
                .to_string()
                .contains("by others")
        );
        mode(&path, 0o600);
        if !is_root() {
            return;
        }
        chown(&path, Some(ANOTHER), None).unwrap();
        assert!(
            open_ro(&path)
                .unwrap_err()
                .to_string()
                .contains("another user")
        );
        // In a folder that every user may write, every user's file is accepted. In a private
        // folder, the folder's owner's file is accepted too.
        mode(dir.path(), 0o777);
        open_ro(&path).unwrap();
        mode(dir.path(), 0o700);
        chown(dir.path(), Some(ANOTHER), None).unwrap();
        open_rw(&path, false).unwrap();
    }

    /// Checks that root's commands make files in a tenant's folder that the tenant's processes can
    /// open.
    #[test]
    fn root_makes_files_for_the_folders_owner() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(ANOTHER), Some(ANOTHER)).unwrap();
        let path = dir.path().join("setup.lock");
        open_rw(&path, true).unwrap();
        let made = std::fs::metadata(&path).unwrap();
        assert_eq!(
            (made.uid(), made.gid(), made.mode() & 0o777),
            (ANOTHER, ANOTHER, 0o600)
        );
        super::super::replace(&dir.path().join("root"), b"1 1\n").unwrap();
        assert_eq!(
            std::fs::metadata(dir.path().join("root")).unwrap().uid(),
            ANOTHER
        );
    }
}
