//! Small files that are written in one step and read whole, and files that every user may write.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A name beside `path` that nobody else uses.
fn temporary(path: &Path) -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(
        ".{name}.{}.{}",
        std::process::id(),
        MADE.fetch_add(1, Ordering::Relaxed)
    ))
}

fn make(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
}

/// Whether a file made at `path` is to be every user's, as its folder is.
pub(super) fn is_everybodys(path: &Path) -> bool {
    path.parent()
        .and_then(|folder| std::fs::metadata(folder).ok())
        .is_some_and(|meta| crate::places::is_open(&meta))
}

/// Makes an empty file that every user may write, unless there is one of that name. It gets its mode before its name:
/// nobody ever finds it closed.
pub(super) fn make_everybodys(path: &Path) -> io::Result<()> {
    let temporary = temporary(path);
    let done = make(&temporary, 0o600)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o666)))
        .and_then(|()| crate::places::rename_new(&temporary, path));
    done.or_else(|error| {
        let _ = std::fs::remove_file(&temporary);
        match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        }
    })
}

/// Writes a small file under a temporary name and gives it its own, in one step and without following a link: a full
/// file system, a kill or a trap of another user's leaves the old file or none.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    make(&temporary, 0o644)
        .and_then(|mut file| file.write_all(contents))
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
}

/// The text of a small file, at most 64 KiB of it; empty where there is none or it is no text.
pub fn read_text(path: &Path) -> String {
    let mut text = String::new();
    match super::open_ro(path) {
        Ok(file) if (&*file).take(1 << 16).read_to_string(&mut text).is_ok() => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileId, open_ro, open_rw};
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_in_a_folder_of_everybody_is_everybodys() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        open_rw(&dir.path().join("own"), true).unwrap();
        assert_eq!(mode(&dir.path().join("own")), 0o600);
        let open = dir.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let first = open_rw(&open.join("f"), true).unwrap();
        assert_eq!(mode(&open.join("f")), 0o666);
        let second = open_rw(&open.join("f"), true).unwrap();
        assert_eq!(FileId::of(&first).unwrap(), FileId::of(&second).unwrap());
        assert_eq!(std::fs::read_dir(&open).unwrap().count(), 1);
    }

    #[test]
    fn nobody_waits_at_a_pipe_and_nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let path = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string outlives the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        for opened in [open_ro(&pipe), open_rw(&pipe, false), open_rw(&pipe, true)] {
            assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(read_text(&pipe), "");
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(read_text(&link), "");
        replace(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"kept");
        assert_eq!(read_text(&link), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
