//! Small files that are written in one step and read whole, and files that every user may write.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::transient::Noted;
use super::{FileId, Folder, Transient};

/// Most bytes of a small file that are read.
pub const MOST_BYTES: u64 = 1 << 16;

/// Returns an unused name next to `name`.
fn temporary(name: &CStr) -> io::Result<CString> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut text = b".".to_vec();
    text.extend(name.to_bytes());
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    text.extend(format!(".{}.{number}", std::process::id()).bytes());
    Ok(CString::new(text)?)
}

/// Creates a file under a temporary name next to `path`, in `folder`, has it filled, and renames
/// it.
fn put(
    path: &Path,
    folder: &Folder,
    name: &CStr,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
    rename: impl FnOnce(&CStr) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary(name)?;
    let whole = path.with_file_name(OsStr::from_bytes(temporary.to_bytes()));
    let whole = CString::new(whole.into_os_string().into_vec())?;
    // A child that is forked meanwhile closes it.
    let noted = Noted::path(&whole);
    let done = folder.make_at(&temporary, 0o600).and_then(|mut file| {
        noted.is(FileId::of(&file)?);
        fill(&mut file)?;
        rename(&temporary)
    });
    done.inspect_err(|_| {
        let _ = folder.remove_at(&temporary);
    })
}

/// Creates a shared file under a temporary name and renames it to `path`, replacing an existing
/// file. No process ever opens an incomplete one. A process that dies halfway, or finds the disk
/// full, leaves nothing that disturbs the next one.
pub fn make(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<Transient> {
    let (folder, name) = Folder::of(path)?;
    put(
        path,
        &folder,
        &name,
        |file| {
            if folder.is_open() {
                file.set_permissions(Permissions::from_mode(0o666))?;
            }
            fill(file)
        },
        |temporary| folder.rename(temporary, &name),
    )?;
    super::open_rw(path, false)
}

/// Creates an empty file that every user may write, if every user may write its folder and the
/// folder has no file of that name. It gets its mode before its name, so no process ever finds it
/// closed.
pub(super) fn make_everybodys(path: &Path) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    if !folder.is_open() {
        return Ok(());
    }
    let done = put(
        path,
        &folder,
        &name,
        |file| file.set_permissions(Permissions::from_mode(0o666)),
        |temporary| folder.rename_new(temporary, &name),
    );
    match done {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Writes a small file that every user who reaches it may read, in one step and without following a
/// link. A full file system, a kill or another user's trap leaves the old file or none.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    put(
        path,
        &folder,
        &name,
        |file| {
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.write_all(contents)
        },
        |temporary| folder.rename(temporary, &name),
    )
}

/// Reads a small file, at most [`MOST_BYTES`] of it.
///
/// # Errors
///
/// `NotFound` if there is none; otherwise the reason why it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = super::open_ro(path)?;
    let mut bytes = Vec::new();
    (&*file).take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the text of a small file, at most [`MOST_BYTES`] of it. Returns an empty text if there is
/// none or it is not text.
pub fn read_text(path: &Path) -> String {
    read(path)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{FileId, open_ro, open_rw};
    use super::*;
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
        super::super::tests::make_pipe(&pipe);
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
