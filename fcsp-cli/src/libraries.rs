//! Search for the preload libraries and the simulated accelerator. Libraries that are only embedded
//! are written out.
//!
//! The search order is:
//!
//! 1. `$FCSP_LIB_DIR`, where nobody else can change its content.
//! 2. `lib/fcsp` beside the command's own `bin` (a tarball), under the same condition.
//! 3. A folder named by the embedded files' content, in the first place that can hold programs. The
//!    places are the user's cache, the state folder, and the other places of a state folder.
//!
//! Every user can read root's folder, because a program of root's may become another user.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use fcsp_core::file::is_trusted;
use fcsp_core::places::{self, Kind};
use fcsp_core::state::StateDir;
use serde::Serialize;

use super::{Context, output};
use fcsp_tenancy::Vendor;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The variable that names a folder of libraries.
pub const LIB_DIR_VARIABLE: &str = "FCSP_LIB_DIR";
/// The preload library for CUDA.
pub const PRELOAD: &str = "libfcsp_cuda.so";
/// The folder of the simulated driver libraries, beside the preload library.
const SIM: &str = "sim";

const LIB_HELP: &str = "\
Examples:
  LD_PRELOAD=$(fcsp lib) FCSP_MEMORY_LIMIT=8GiB ./app    plain preload, without `fcsp run`
  LD_PRELOAD=$(fcsp lib --vendor hip) FCSP_MEMORY_LIMIT=8GiB ./app
  fcsp lib --list                                        every vendor's library
  fcsp lib --to /usr/lib/fcsp                            write the libraries there, for an image or a package

JSON keys: schema, preload (of --vendor), vendors (vendor: library, null where there is none), sim, origin (variable, \
beside, cache, state, place, written).";

/// Options of `fcsp lib`.
#[derive(Debug, clap::Args)]
#[command(after_help = LIB_HELP)]
pub struct Args {
    /// Write the libraries into this folder instead
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print where this vendor's library is: cuda, hip, levelzero, ascend or gaudi
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cuda",
        hide_default_value = true
    )]
    vendor: Vendor,
    /// Print every vendor's name and library
    #[arg(long, conflicts_with = "vendor")]
    list: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Way in which the libraries were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `$FCSP_LIB_DIR`.
    Variable,
    /// `../lib/fcsp` from the command.
    Beside,
    /// Written to the user's cache.
    Cache,
    /// Written to the state folder.
    State,
    /// Written to another place where a state folder could be.
    Place,
    /// Written just now, by `fcsp lib --to`.
    Written,
}

/// Location of the libraries.
#[derive(Debug, Clone)]
pub struct Libraries {
    /// The preload library for CUDA.
    pub preload: PathBuf,
    /// The folder with the simulated `libcuda.so.1` and `libnvidia-ml.so.1`.
    pub sim: PathBuf,
    /// Way in which they were found.
    pub origin: Origin,
    /// The folder that they were found in.
    folder: PathBuf,
    /// A folder with what the first one lacks: a tarball brings the library of one vendor.
    rest: Option<PathBuf>,
}

impl Libraries {
    fn in_folder(dir: &Path, origin: Origin) -> Self {
        Self {
            preload: dir.join(PRELOAD),
            sim: dir.join(SIM),
            origin,
            folder: dir.to_owned(),
            rest: None,
        }
    }

    /// Takes the libraries in `dir`. Libraries that `dir` lacks come from the command itself, as
    /// far as a folder can hold them.
    fn completed(dir: &Path, state: &StateDir) -> Self {
        let mut found = Self::in_folder(dir, Origin::Beside);
        if embedded::FILES
            .iter()
            .any(|(name, _)| !dir.join(name).is_file())
        {
            found.rest = written_out(state).ok().map(|(folder, _)| folder);
        }
        if let Some(rest) = found.rest.as_ref().filter(|_| !found.has_sim()) {
            found.sim = rest.join(SIM);
        }
        if let Some(preload) = found.of(Vendor::Cuda) {
            found.preload = preload;
        }
        found
    }

    /// Finds the libraries; writes them out if need be.
    pub fn locate(state: &StateDir) -> anyhow::Result<Self> {
        if let Some(dir) = std::env::var_os(LIB_DIR_VARIABLE).filter(|v| !v.is_empty()) {
            let dir = std::path::absolute(dir)?;
            if !dir.join(PRELOAD).is_file() {
                bail!(
                    "{LIB_DIR_VARIABLE}: {} has no {PRELOAD}; point it at a folder that `fcsp lib --to` wrote, or unset it",
                    dir.display()
                );
            }
            let dir = loadable(&dir)
                .and_then(|()| unchanged_by_others(&dir))
                .with_context(|| format!("{LIB_DIR_VARIABLE}: {}", dir.display()))?;
            return Ok(Self::in_folder(&dir, Origin::Variable));
        }
        if let Some(dir) = beside()
            && Vendor::ALL
                .iter()
                .any(|vendor| dir.join(vendor.library()).is_file())
            && loadable(&dir).is_ok()
        {
            match unchanged_by_others(&dir) {
                Ok(dir) => return Ok(Self::completed(&dir, state)),
                // The command brings its own, which nobody else can have changed.
                Err(error) if !embedded::FILES.is_empty() => {
                    eprintln!("fcsp: warning: {} is passed by: {error}", dir.display());
                }
                Err(error) => bail!("{}: {error}", dir.display()),
            }
        }
        let (dir, origin) = written_out(state)?;
        Ok(Self::in_folder(&dir, origin))
    }

    /// Returns a vendor's preload library. A folder made by somebody else may hold only some of
    /// them.
    pub fn of(&self, vendor: Vendor) -> Option<PathBuf> {
        let own = self.folder.join(vendor.library());
        let rest = self.rest.as_ref().map(|dir| dir.join(vendor.library()));
        [Some(own), rest]
            .into_iter()
            .flatten()
            .find(|path| path.is_file())
    }

    /// Returns whether the simulated libraries exist.
    pub fn has_sim(&self) -> bool {
        self.sim.join("libcuda.so.1").is_file()
    }
}

/// Writes the embedded libraries out, unless they are there; returns the folder.
fn written_out(state: &StateDir) -> anyhow::Result<(PathBuf, Origin)> {
    if embedded::FILES.is_empty() {
        bail!(
            "this build carries no preload library; put {PRELOAD} into ../lib/fcsp beside the command or point {LIB_DIR_VARIABLE} at it"
        );
    }
    let mut refusals = Vec::new();
    for (dir, origin) in candidates(state) {
        let done = match origin {
            // Beside state of one's own only: above it somebody else could swap folders.
            Origin::Place => places::provide(&dir, Kind::Private, true),
            _ => Ok(()),
        };
        let dir = match origin {
            Origin::Cache => dir.join(embedded::HASH),
            _ => dir.join("lib").join(embedded::HASH),
        };
        match done
            .and_then(|()| loadable(&dir))
            .and_then(|()| unpack(&dir))
        {
            Ok(()) => return Ok((dir, origin)),
            Err(error) => refusals.push(format!("{}: {error}", dir.display())),
        }
    }
    bail!(
        "no folder can hold the preload library ({}); point {LIB_DIR_VARIABLE} at a folder that `fcsp lib --to` wrote",
        refusals.join("; ")
    )
}

/// `<prefix>/lib/fcsp` where the command is `<prefix>/bin/fcsp`.
fn beside() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    Some(exe.parent()?.parent()?.join("lib/fcsp"))
}

/// Folders that may hold the libraries, best first. For root, one that every user can read comes
/// before its own cache.
fn candidates(state: &StateDir) -> Vec<(PathBuf, Origin)> {
    let set = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    // `sudo` may keep another user's home.
    let is_ours = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.uid() == uid());
    let root = (uid() == 0).then(|| PathBuf::from("/var/cache/fcsp"));
    let home = set("HOME")
        .filter(is_ours)
        .map(|home| home.join(".cache/fcsp"));
    let explicit = set("XDG_CACHE_HOME").map(|dir| dir.join("fcsp"));
    let caches = match explicit {
        Some(dir) => vec![dir],
        None => root.into_iter().chain(home).collect(),
    };
    let state = (state.path().to_owned(), Origin::State);
    let others = places::all_private()
        .into_iter()
        .map(|dir| (dir, Origin::Place));
    caches
        .into_iter()
        .map(|dir| (dir, Origin::Cache))
        .chain([state])
        .chain(others)
        .collect()
}

fn uid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Checks that the dynamic linker would load a library from `dir`, as far as it can be known
/// without trying.
fn loadable(dir: &Path) -> io::Result<()> {
    // LD_PRELOAD is a list that spaces and colons separate, with no way to quote them.
    if dir
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|&b| b == b' ' || b == b':')
    {
        return Err(io::Error::other(
            "LD_PRELOAD cannot name a path with spaces or colons",
        ));
    }
    let mut existing = dir;
    while !existing.exists() {
        existing = match existing.parent() {
            Some(parent) => parent,
            None => return Ok(()),
        };
    }
    if mount_flags(existing)? & libc::ST_NOEXEC != 0 {
        return Err(io::Error::other("is on a file system mounted noexec"));
    }
    Ok(())
}

fn mount_flags(path: &Path) -> io::Result<libc::c_ulong> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: statvfs is plain data for which all zeroes is valid; the kernel fills it.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_flag)
}

/// Returns the path of a folder without links, if only this user and root can change the folder.
///
/// The same must hold for the libraries in it and for the folders above it: a started program loads
/// what is there, and root's commands start programs, too.
fn unchanged_by_others(dir: &Path) -> io::Result<PathBuf> {
    let refused = |path: &Path, why: String| {
        let text = format!(
            "{} {why}; programs would load what others put there",
            path.display()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    let check = |path: &Path, is_above: bool| {
        let meta = std::fs::metadata(path)?;
        if !is_trusted(meta.uid()) {
            return refused(path, format!("belongs to user {}", meta.uid()));
        }
        // Above, a folder whose entries only their owners can rename is as good.
        let is_sticky = is_above && meta.mode() & libc::S_ISVTX != 0;
        if meta.mode() & 0o022 != 0 && !is_sticky {
            return refused(path, "can be written by others".to_owned());
        }
        Ok(())
    };
    let real = dir.canonicalize()?;
    real.ancestors()
        .skip(1)
        .try_for_each(|above| check(above, true))?;
    check(&real, false)?;
    let sim = real.join(SIM);
    if sim.is_dir() {
        check(&sim, false)?;
    }
    for folder in [&real, &sim] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            if path.is_file() {
                check(&path, false)?;
            }
        }
    }
    Ok(real)
}

/// Makes a folder of the user's own, refusing one in which somebody else could swap the files.
/// Everybody can read root's.
fn private(dir: &Path) -> io::Result<()> {
    let mode = if uid() == 0 { 0o755 } else { 0o700 };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)?;
    let meta = std::fs::metadata(dir)?;
    if meta.uid() == 0 && uid() == 0 && meta.mode() & 0o022 == 0 {
        // Whatever the umask was when it was made.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(meta.mode() | 0o555))?;
    }
    if (meta.uid() != uid() && meta.uid() != 0) || meta.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others may write there",
        ));
    }
    Ok(())
}

/// Puts every embedded file into `dir`.
///
/// A file with the same bytes is left alone. Any other is replaced by a new file under the same
/// name, so that a process which has the old one mapped keeps it.
fn unpack(dir: &Path) -> io::Result<()> {
    private(dir)?;
    for (name, bytes) in embedded::FILES {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            private(parent)?;
        }
        if !holds(&path, bytes) {
            write(&path, bytes)?;
        }
    }
    Ok(())
}

/// Returns whether `path` is a plain file with exactly these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64)
        && std::fs::read(path).is_ok_and(|found| found == bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or("library");
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // A file of this name can only be left from a dead process with the same number.
    let _ = std::fs::remove_file(&temporary);
    let result = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| {
            file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
            file.write_all(bytes)
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// `fcsp lib`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let libraries = match &args.to {
        Some(dir) => {
            let dir = std::path::absolute(dir)?;
            if embedded::FILES.is_empty() {
                bail!("this build carries no libraries to write");
            }
            for (name, bytes) in embedded::FILES {
                let path = dir.join(name);
                let parent = path.parent().unwrap_or(&dir);
                std::fs::create_dir_all(parent)
                    .and_then(|()| {
                        if holds(&path, bytes) {
                            Ok(())
                        } else {
                            write(&path, bytes)
                        }
                    })
                    .with_context(|| format!("--to: {}", path.display()))?;
            }
            Libraries::in_folder(&dir, Origin::Written)
        }
        None => Libraries::locate(&context.state)?,
    };
    if args.json {
        output::json(&serde_json::json!({
            "schema": "fcsp.lib/1",
            "preload": libraries.of(args.vendor),
            "vendors": Vendor::ALL
                .iter()
                .map(|&vendor| (vendor.name(), libraries.of(vendor)))
                .collect::<BTreeMap<_, _>>(),
            "sim": libraries.has_sim().then_some(&libraries.sim),
            "origin": libraries.origin,
        }))?;
    } else if args.list {
        for vendor in Vendor::ALL {
            let path = libraries.of(vendor);
            let shown = path.map_or_else(|| "none".to_owned(), |path| path.display().to_string());
            output::line(&format!("{:<10} {shown}", vendor.name()))?;
        }
    } else {
        let Some(path) = libraries.of(args.vendor) else {
            bail!(
                "--vendor: {} has no {}; `fcsp lib --list` shows what there is",
                libraries.folder.display(),
                args.vendor.library()
            );
        };
        output::line(&path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_mends_what_was_changed_and_leaves_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("lib");
        unpack(&dir).unwrap();
        let Some((name, bytes)) = embedded::FILES.first() else {
            return;
        };
        let inode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().ino();
        let before = inode(name);
        unpack(&dir).unwrap();
        assert_eq!(inode(name), before, "the same bytes are not written again");
        std::fs::write(dir.join(name), b"cut short").unwrap();
        unpack(&dir).unwrap();
        assert!(holds(&dir.join(name), bytes));
        assert_ne!(
            inode(name),
            before,
            "a file that may be mapped is replaced, not overwritten"
        );
    }

    #[test]
    fn a_folder_with_one_vendors_library_hides_no_other() {
        if embedded::FILES.is_empty() {
            return;
        }
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let hip = dir.path().join(Vendor::Hip.library());
        std::fs::write(&hip, "the tarball's").unwrap();
        let found = Libraries::completed(dir.path(), &StateDir::at(state.path()));
        assert_eq!(found.of(Vendor::Hip), Some(hip));
        for vendor in Vendor::ALL {
            assert!(found.of(vendor).is_some(), "{}", vendor.name());
        }
        assert!(found.has_sim());
    }

    #[test]
    fn a_path_that_ld_preload_cannot_name_is_refused() {
        assert!(loadable(Path::new("/tmp/with space")).is_err());
        assert!(loadable(Path::new("/tmp/a:b")).is_err());
        assert!(loadable(Path::new("/nowhere/at/all")).is_ok());
    }

    #[test]
    fn libraries_that_others_may_change_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("above/lib");
        let sim = lib.join(SIM);
        std::fs::create_dir_all(&sim).unwrap();
        let files = [lib.join(PRELOAD), sim.join("libcuda.so.1")];
        files
            .iter()
            .for_each(|file| std::fs::write(file, "").unwrap());
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in [&lib, &sim, lib.parent().unwrap()] {
            set(path, 0o755);
        }
        files.iter().for_each(|file| set(file, 0o644));
        unchanged_by_others(&lib).unwrap();
        for (path, open, closed) in [
            (lib.as_path(), 0o775, 0o755),
            (&sim, 0o757, 0o755),
            (&files[0], 0o664, 0o644),
            (&files[1], 0o646, 0o644),
            (lib.parent().unwrap(), 0o777, 0o755),
        ] {
            set(path, open);
            let error = unchanged_by_others(&lib).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{} can be written by others", path.display())),
                "{error}"
            );
            set(path, closed);
        }
        // As /tmp is: who may write there cannot rename what is another's.
        set(lib.parent().unwrap(), 0o1777);
        unchanged_by_others(&lib).unwrap();
        if uid() == 0 {
            let other = Some(4242);
            std::os::unix::fs::chown(&files[0], other, None).unwrap();
            let error = unchanged_by_others(&lib).unwrap_err().to_string();
            assert!(error.contains("belongs to user 4242"), "{error}");
            std::os::unix::fs::chown(&files[0], Some(0), None).unwrap();
        }
        // The link's target is resolved once: a later change of the link has no effect.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&lib, &link).unwrap();
        assert_eq!(
            unchanged_by_others(&link).unwrap(),
            lib.canonicalize().unwrap()
        );
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(unpack(&shared).is_err());
    }
}
