//! The program that `fcsp run` is to start: where it is, and whether a preload library reaches it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Coded;

/// Finds `program` as execvp(3) would: 127 if there is no such file, 126 if it cannot be executed.
pub fn find(program: &OsStr) -> Result<PathBuf, Coded> {
    let shown = program.to_string_lossy();
    if program.is_empty() {
        return Err(Coded {
            code: 127,
            message: "the program's name is empty".into(),
        });
    }
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(reason) if path.exists() => Err(Coded {
                code: 126,
                message: format!("{shown} {reason}"),
            }),
            Err(_) => Err(Coded {
                code: 127,
                message: format!("{shown}: no such file"),
            }),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let mut unusable = None;
    for dir in std::env::split_paths(&path) {
        let candidate = dir.join(program);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(reason) if candidate.is_file() => {
                unusable.get_or_insert(format!("{} {reason}", candidate.display()));
            }
            Err(_) => {}
        }
    }
    Err(match unusable {
        Some(message) => Coded { code: 126, message },
        None => Coded {
            code: 127,
            message: format!("{shown}: not found in PATH; give its path or correct PATH"),
        },
    })
}

fn executable(path: &Path) -> Result<(), &'static str> {
    let meta = std::fs::metadata(path).map_err(|_| "is not there")?;
    if meta.is_dir() {
        return Err("is a folder, not a program");
    }
    if !meta.is_file() {
        return Err("is a pipe, a socket or a device, not a program");
    }
    let text = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| "has a zero byte in its name")?;
    // SAFETY: the string outlives the call. AT_EACCESS asks for the effective user, as exec does.
    let may =
        unsafe { libc::faccessat(libc::AT_FDCWD, text.as_ptr(), libc::X_OK, libc::AT_EACCESS) }
            == 0;
    if may {
        Ok(())
    } else {
        Err("is not executable; chmod +x it, or name its interpreter")
    }
}

/// Obstacle between a program and the preload library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The program runs, and no limit holds in it.
    Unreached(String),
    /// The program does not start with the library, and would have no limit without it.
    Unloadable(String),
}

/// Returns the obstacle that keeps a preload library from this program, if any.
pub fn obstacle(path: &Path) -> Option<Obstacle> {
    inspect(path, 0)
}

fn inspect(path: &Path, depth: u8) -> Option<Obstacle> {
    // A pipe in a program's place must not keep this waiting for a writer.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let shown = path.display();
    // SAFETY: geteuid and getegid take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if (meta.mode() & libc::S_ISUID != 0 && meta.uid() != uid)
        || (meta.mode() & libc::S_ISGID != 0 && meta.gid() != gid)
    {
        return Some(Obstacle::Unreached(format!(
            "{shown} is setuid or setgid: the dynamic linker ignores LD_PRELOAD in it"
        )));
    }
    if uid != 0 && has_capabilities(path) {
        return Some(Obstacle::Unreached(format!(
            "{shown} has file capabilities: the dynamic linker ignores LD_PRELOAD in it"
        )));
    }
    let mut head = [0u8; 256];
    let read = (&file).read(&mut head).ok()?;
    let head = &head[..read];
    if let Some(line) = head.strip_prefix(b"#!") {
        // A script: its interpreter is what gets loaded. An interpreter of an interpreter is as far
        // as Linux goes.
        let line = String::from_utf8_lossy(line.split(|&b| b == b'\n').next()?).into_owned();
        let interpreter = line.split_ascii_whitespace().next()?.to_owned();
        return (depth < 4).then(|| inspect(Path::new(&interpreter), depth + 1))?;
    }
    match elf_reason(&file, head)? {
        MUSL => Some(Obstacle::Unloadable(format!(
            "{shown} uses musl, which cannot load the preload library: no limit would hold; run a build for glibc"
        ))),
        reason => Some(Obstacle::Unreached(format!("{shown} {reason}"))),
    }
}

/// Stands for a program that musl's dynamic linker loads.
const MUSL: &str = "uses musl";

fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: with a null buffer of no bytes the kernel only reports the attribute's size.
    unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        ) > 0
    }
}

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// Reads just the ELF header and the program headers: a program may be hundreds of megabytes.
fn elf_reason(file: &File, head: &[u8]) -> Option<&'static str> {
    const PT_INTERP: u32 = 3;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    match *head.get(4)? {
        1 => return Some("is a 32-bit program: the preload library has 64 bits"),
        2 => {}
        _ => return None,
    }
    let half = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    if half(18)? != MACHINE {
        return Some("is built for another processor than the preload library");
    }
    let table = u64::from_le_bytes(head.get(32..40)?.try_into().ok()?);
    let (size, count) = (half(54)?, half(56)?);
    for index in 0..u64::from(count) {
        let mut entry = [0u8; 56];
        file.read_exact_at(&mut entry, table + index * u64::from(size))
            .ok()?;
        if u32::from_le_bytes(entry[..4].try_into().ok()?) != PT_INTERP {
            continue;
        }
        let offset = u64::from_le_bytes(entry[8..16].try_into().ok()?);
        let mut name =
            vec![0u8; u64::from_le_bytes(entry[32..40].try_into().ok()?).min(4096) as usize];
        file.read_exact_at(&mut name, offset).ok()?;
        let name = String::from_utf8_lossy(&name);
        return name.contains("ld-musl").then_some(MUSL);
    }
    Some("is linked statically: no preload library reaches it, and no limit holds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn finds_as_exec_does() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(
            find(OsStr::new("no-such-program-here")).unwrap_err().code,
            127
        );
        assert_eq!(find(OsStr::new("/no/such/program")).unwrap_err().code, 127);
        assert_eq!(find(OsStr::new("")).unwrap_err().code, 127);
        assert_eq!(find(OsStr::new("/etc/passwd")).unwrap_err().code, 126);
        assert_eq!(find(OsStr::new("/etc")).unwrap_err().code, 126);
    }

    fn unreached(path: &Path) -> String {
        match obstacle(path) {
            Some(Obstacle::Unreached(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the start of a 64-bit program for this processor.
    fn elf() -> Vec<u8> {
        let mut elf = vec![0u8; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18..20].copy_from_slice(&MACHINE.to_le_bytes());
        elf
    }

    #[test]
    fn an_ordinary_program_and_its_scripts_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(obstacle(&find(OsStr::new("sh")).unwrap()), None);
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
        assert_eq!(obstacle(&script), None);
    }

    #[test]
    fn a_static_program_is_named_also_behind_a_script() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("static");
        let mut elf = elf();
        std::fs::write(&program, &elf).unwrap();
        assert!(unreached(&program).contains("statically"));
        let script = dir.path().join("script");
        std::fs::write(&script, format!("#!{}\n", program.display())).unwrap();
        assert!(unreached(&script).contains("statically"));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        elf[4] = 1;
        std::fs::write(&program, &elf).unwrap();
        assert!(unreached(&program).contains("32-bit"));
    }

    #[test]
    fn a_program_of_musl_is_told_from_one_of_glibc() {
        let dir = tempfile::tempdir().unwrap();
        for (linker, loadable) in [
            ("/lib/ld-musl-x86_64.so.1", false),
            ("/lib64/ld-linux-x86-64.so.2", true),
        ] {
            let mut elf = elf();
            // One program header, behind the ELF header: PT_INTERP, whose text follows.
            elf[32..40].copy_from_slice(&64u64.to_le_bytes());
            elf[54..56].copy_from_slice(&56u16.to_le_bytes());
            elf[56..58].copy_from_slice(&1u16.to_le_bytes());
            let mut header = [0u8; 56];
            header[..4].copy_from_slice(&3u32.to_le_bytes());
            header[8..16].copy_from_slice(&120u64.to_le_bytes());
            header[32..40].copy_from_slice(&(linker.len() as u64 + 1).to_le_bytes());
            elf.extend(header);
            elf.extend(linker.as_bytes());
            elf.push(0);
            let program = dir.path().join("program");
            std::fs::write(&program, &elf).unwrap();
            match obstacle(&program) {
                None => assert!(loadable, "{linker}"),
                Some(Obstacle::Unloadable(reason)) => {
                    assert!(!loadable && reason.contains("musl"), "{reason}")
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn four_bytes_of_an_elf_make_no_claim() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("short");
        for bytes in [&b"\x7fELF"[..], b"\x7fELF\x02", b"\x7fELF text", &[]] {
            std::fs::write(&program, bytes).unwrap();
            assert_eq!(obstacle(&program), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_pipe_is_no_program_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let path = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string outlives the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o755) }, 0);
        assert_eq!(find(pipe.as_os_str()).unwrap_err().code, 126);
        let script = dir.path().join("script");
        std::fs::write(&script, format!("#!{}\n", pipe.display())).unwrap();
        assert_eq!(obstacle(&script), None);
    }
}
