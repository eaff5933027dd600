//! The folder of tenants' files. A file with a mistake keeps what it declared before.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::file::{self, Declaration, FileError};
use crate::identity::CgroupIdentity;

/// The most bytes of a file that are read.
const MOST_BYTES: u64 = 1 << 20;

/// The declarations of a folder, as last read without a mistake.
#[derive(Debug)]
pub struct Declarations {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Vec<Declaration>>,
    errors: Vec<FileError>,
}

impl Declarations {
    /// Makes an empty set for a folder. [`Self::reload`] fills it.
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            files: BTreeMap::new(),
            errors: Vec::new(),
        }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads all files named `*.toml` in the order of their names. A file with a mistake keeps what
    /// it declared before, and a file that is gone declares nothing. A folder that is not there is
    /// an empty one.
    pub fn reload(&mut self) {
        self.errors.clear();
        let names = match names(&self.folder) {
            Ok(names) => names,
            Err(error) => {
                let folder = self.folder.clone();
                self.note(&folder, error.to_string());
                return;
            }
        };
        self.files.retain(|path, _| names.contains(path));
        for path in names {
            let read = read(&path)
                .map_err(|error| FileError {
                    file: path.clone(),
                    line: None,
                    reason: error.to_string(),
                })
                .and_then(|text| file::parse(&path, &text));
            match read {
                Ok(declarations) => drop(self.files.insert(path, declarations)),
                Err(error) => self.errors.push(error),
            }
        }
        self.refuse_duplicates();
    }

    fn note(&mut self, path: &Path, reason: String) {
        self.errors.push(FileError {
            file: path.to_owned(),
            line: None,
            reason,
        });
    }

    /// Notes each tenant that two files declare. The first declaration counts.
    fn refuse_duplicates(&mut self) {
        let mut known: BTreeMap<&str, &Declaration> = BTreeMap::new();
        let mut errors = Vec::new();
        for declaration in self.files.values().flatten() {
            match known.get(declaration.name.as_str()) {
                Some(first) => errors.push(FileError {
                    file: declaration.file.clone(),
                    line: Some(declaration.line),
                    reason: format!(
                        "[{}] is declared in {}:{} already, which counts",
                        declaration.name,
                        first.file.display(),
                        first.line
                    ),
                }),
                None => drop(known.insert(&declaration.name, declaration)),
            }
        }
        self.errors.extend(errors);
    }

    /// Returns the mistakes of the last reading.
    pub fn errors(&self) -> &[FileError] {
        &self.errors
    }

    /// Returns the declarations in the order of files and lines, each tenant once.
    pub fn iter(&self) -> impl Iterator<Item = &Declaration> {
        let mut known = std::collections::BTreeSet::new();
        self.files
            .values()
            .flatten()
            .filter(move |declaration| known.insert(&declaration.name))
    }

    /// Returns the tenant that an identity belongs to: that with the most precise rules. The first
    /// of several equally precise ones counts.
    pub fn tenant_of(&self, identity: &CgroupIdentity) -> Option<&Declaration> {
        let mut best: Option<&Declaration> = None;
        for declaration in self.iter().filter(|one| one.matcher.matches(identity)) {
            let precision = declaration.matcher.precision();
            if best.is_none_or(|best| precision > best.matcher.precision()) {
                best = Some(declaration);
            }
        }
        best
    }
}

/// Returns the paths of a folder's files, sorted.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
        Ok(meta) => trust(&meta)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|ending| ending == "toml") {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

/// Refuses what another user could write.
fn trust(meta: &Metadata) -> io::Result<()> {
    // SAFETY: geteuid takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    if (meta.uid() == 0 || meta.uid() == own) && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "must belong to root and be writable by nobody else (owner {}, mode {:03o})",
            meta.uid(),
            meta.mode() & 0o7777
        ),
    ))
}

/// Reads a regular file that nobody else may write, up to a bound. A pipe causes no wait.
fn read(path: &Path) -> io::Result<String> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    trust(&meta)?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MOST_BYTES {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, remove_file, rename, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, Declarations) {
        let folder = tempfile::tempdir().unwrap();
        let declarations = Declarations::of(folder.path());
        (folder, declarations)
    }

    fn put(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn tenants(declarations: &Declarations) -> Vec<(&str, Option<u32>)> {
        declarations
            .iter()
            .map(|one| (one.name.as_str(), one.matcher.user))
            .collect()
    }

    #[test]
    fn a_mistake_keeps_the_last_good_state_of_its_file_alone() {
        let (folder, mut declarations) = folder();
        let a = put(&folder, "a.toml", "[a]\nuser = \"1\"\n");
        let b = put(&folder, "b.toml", "[b]\nuser = \"2\"\n");
        put(&folder, "ignored", "[c]\n");
        put(&folder, ".b.toml", "[c]\n");
        declarations.reload();
        assert_eq!(declarations.errors(), []);
        assert_eq!(tenants(&declarations), [("a", Some(1)), ("b", Some(2))]);
        write(&a, "[a]\nuser = \n").unwrap();
        write(&b, "[b]\nuser = \"3\"\n").unwrap();
        declarations.reload();
        assert_eq!(tenants(&declarations), [("a", Some(1)), ("b", Some(3))]);
        assert_eq!(declarations.errors().len(), 1);
        assert_eq!(declarations.errors()[0].line, Some(2));
        write(&a, "[a]\nuser = \"4\"\n").unwrap();
        remove_file(&b).unwrap();
        declarations.reload();
        assert_eq!(declarations.errors(), []);
        assert_eq!(tenants(&declarations), [("a", Some(4))]);
    }

    #[test]
    fn a_tenant_of_two_files_is_a_mistake_of_the_second() {
        let (folder, mut declarations) = folder();
        put(&folder, "a.toml", "[t]\nuser = \"1\"\n");
        let b = put(&folder, "b.toml", "\n[t]\nuser = \"2\"\n");
        declarations.reload();
        assert_eq!(tenants(&declarations), [("t", Some(1))]);
        let error = &declarations.errors()[0];
        assert_eq!((&error.file, error.line), (&b, Some(2)));
        assert!(error.reason.contains("a.toml:1"), "{error}");
    }

    #[test]
    fn only_regular_files_of_the_owner_count() {
        let (folder, mut declarations) = folder();
        let a = put(&folder, "a.toml", "[a]\nuser = \"1\"\n");
        let mode = |mode| set_permissions(&a, Permissions::from_mode(mode)).unwrap();
        for wrong in [0o664, 0o646] {
            mode(wrong);
            declarations.reload();
            assert!(tenants(&declarations).is_empty(), "{wrong:o}");
            assert!(
                declarations.errors()[0]
                    .reason
                    .contains("writable by nobody else")
            );
        }
        mode(0o600);
        declarations.reload();
        assert_eq!(tenants(&declarations).len(), 1);
        let elsewhere = folder.path().join("elsewhere");
        rename(&a, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &a).unwrap();
        let pipe = std::ffi::CString::new(folder.path().join("p.toml").to_str().unwrap()).unwrap();
        // SAFETY: the path ends in zero.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        put(&folder, "long.toml", &"#".repeat(2 << 20));
        declarations.reload();
        assert_eq!(
            declarations.errors().len(),
            3,
            "{:?}",
            declarations.errors()
        );
        set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        declarations.reload();
        assert_eq!(declarations.errors().len(), 1);
        assert_eq!(declarations.errors()[0].file, folder.path());
    }

    #[test]
    fn the_most_precise_rules_win() {
        let (folder, mut declarations) = folder();
        put(
            &folder,
            "a.toml",
            "[everybody]\ncgroup = \"/user.slice\"\n[one]\nuser = \"1\"\n[again]\nuser = \"1\"\n",
        );
        declarations.reload();
        let of = |path: &str| {
            let identity = CgroupIdentity::of_path(path.as_bytes());
            declarations
                .tenant_of(&identity)
                .map(|one| one.name.as_str())
        };
        assert_eq!(of("/user.slice/user-1.slice/session-1.scope"), Some("one"));
        assert_eq!(
            of("/user.slice/user-2.slice/session-1.scope"),
            Some("everybody")
        );
        assert_eq!(of("/system.slice/a.service"), None);
    }

    #[test]
    fn no_folder_is_an_empty_one() {
        let mut declarations = Declarations::of("/nonexistent/tenants.d");
        declarations.reload();
        assert!(declarations.errors().is_empty() && declarations.iter().next().is_none());
    }
}
