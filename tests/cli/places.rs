//! Tests of the places of state and libraries: `fcsp run` starts if any folder can be used, and
//! tells the program which.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Machine, stderr, stdout};

/// Runs a script in a mount namespace whose /dev/shm, /run and /var/cache are empty file systems;
/// `None`, with a note, where that is not allowed. `$F` is the command, and `$NOBODY` starts a
/// program as another user.
fn apart(machine: &Machine, script: &str) -> Option<String> {
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let can = root
        && Command::new("unshare")
            .args(["-m", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !can {
        println!("SKIPPED: this needs root and a mount namespace");
        return None;
    }
    // Where another user can run it.
    let command = machine.path().join("fcsp");
    std::fs::copy(env!("CARGO_BIN_EXE_fcsp"), &command).unwrap();
    std::fs::set_permissions(machine.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.env_clear();
    let output = unshare
        .args(["-m", "sh", "-c"])
        .arg(format!(
            "mount --make-rprivate / && for at in /dev/shm /run /var/cache; do mount -t tmpfs -o mode=1777 t $at; done; {script}"
        ))
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("F", &command)
        .env("NOBODY", "setpriv --reuid 65534 --regid 65534 --clear-groups")
        .env("TELL", "sh -c 'echo $FCSP_STATE_DIR $LD_PRELOAD'")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert!(
        !stderr(&output).contains("cannot be preloaded"),
        "{}",
        stderr(&output)
    );
    Some(stdout(&output))
}

/// Returns the state folder and the library's folder that a program was told.
fn told(said: &str) -> (String, String) {
    let (state, library) = said
        .trim()
        .rsplit_once(' ')
        .unwrap_or_else(|| panic!("{said}"));
    let folder = Path::new(library).parent().unwrap().display().to_string();
    (state.to_owned(), folder)
}

fn begins(what: &str, text: &str, start: &str) {
    assert!(text.starts_with(start), "{what}: {text}, not {start}...");
}

const RUN: &str = "run --memory 1GiB -- sh -c 'echo $FCSP_STATE_DIR $LD_PRELOAD'";

#[test]
fn the_first_place_that_serves_is_taken() {
    let machine = Machine::new();
    for (what, script, state, library) in [
        (
            "root",
            format!("$F {RUN}"),
            "/run/fcsp/open/",
            "/var/cache/fcsp/",
        ),
        (
            "root, /run and /var/cache read-only",
            format!("mount -o remount,ro /run; mount -o remount,ro /var/cache; $F {RUN}"),
            "/dev/shm/fcsp-0/open/",
            "/dev/shm/fcsp-0/lib/",
        ),
        (
            "root, only /tmp takes programs",
            format!(
                "for at in /run /dev/shm /var/cache; do mount -o remount,noexec $at; done; $F {RUN}"
            ),
            "/run/fcsp/open/",
            "/tmp/fcsp-0",
        ),
        (
            "nobody, no home",
            format!("$NOBODY $F {RUN}"),
            "/dev/shm/fcsp-65534",
            "/dev/shm/fcsp-65534/lib/",
        ),
        (
            "nobody, home that is not there, /dev/shm noexec",
            format!("mount -o remount,noexec /dev/shm; $NOBODY env HOME=/nonexistent $F {RUN}"),
            "/dev/shm/fcsp-65534",
            "/tmp/fcsp-65534",
        ),
        (
            "nobody with root's XDG_RUNTIME_DIR",
            format!("mkdir -m 700 /run/xdg; $NOBODY env XDG_RUNTIME_DIR=/run/xdg $F {RUN}"),
            "/dev/shm/fcsp-65534",
            "/dev/shm/fcsp-65534/lib/",
        ),
        (
            "nobody, whose name root has taken",
            format!(
                "mkdir /dev/shm/fcsp-65534; ln -s /tmp /dev/shm/fcsp-65534.1; $NOBODY $F {RUN}"
            ),
            "/dev/shm/fcsp-65534.2",
            "/dev/shm/fcsp-65534.2/lib/",
        ),
        (
            "nobody, /dev/shm read-only, a TMPDIR",
            format!(
                "mount -o remount,ro /dev/shm; mkdir -m 1777 /run/t; $NOBODY env TMPDIR=/run/t $F {RUN}"
            ),
            "/run/t/fcsp-65534",
            "/run/t/fcsp-65534/lib/",
        ),
    ] {
        let Some(said) = apart(&machine, &script) else {
            return;
        };
        let (at, folder) = told(&said);
        begins(what, &at, state);
        begins(what, &folder, library);
    }
    let _ = std::fs::remove_dir_all("/tmp/fcsp-65534");
    let _ = std::fs::remove_dir_all("/tmp/fcsp-0");
}

/// Checks that the command and the library find the folder that the program was told.
#[test]
fn all_processes_of_a_user_find_one_folder() {
    let machine = Machine::new();
    let script = "$NOBODY $F run --tenant t --memory 1GiB -- sleep 60 & \
        for i in $(seq 200); do $NOBODY $F ps --json | grep -q '\"t\"' && break; sleep 0.05; done; \
        mkdir -m 700 /run/u; chown 65534 /run/u; \
        $NOBODY env XDG_RUNTIME_DIR=/run/u HOME=/nonexistent $F ps --json | grep -c '\"name\": *\"t\"'; kill $!";
    let Some(said) = apart(&machine, script) else {
        return;
    };
    assert_eq!(
        said.trim(),
        "1",
        "a folder that exists comes before one that could be made"
    );
}

/// Checks that a child that would look elsewhere by itself stays in its tenant.
#[test]
fn the_state_folder_is_always_told() {
    let machine = Machine::new();
    let script = "mkdir /run/x; $F run --memory 1GiB -- sh -c 'tell=\"echo \\$FCSP_STATE_DIR\"; \
        XDG_RUNTIME_DIR=/run/x sh -c \"$tell\"; unshare -U sh -c \"$tell\"; $NOBODY sh -c \"$tell\"'";
    let Some(said) = apart(&machine, script) else {
        return;
    };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("/run/fcsp/open/"), "{said}");
    assert!(lines.iter().all(|line| *line == lines[0]), "{said}");
}
