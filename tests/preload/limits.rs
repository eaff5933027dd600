//! Limits and files that cannot be used: memory fails closed, never open, and the reason is told to
//! who asks for it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, is_root, program, stderr};

/// Runs the client's commands with FCSP_LOG; its exit status and what it said.
fn said(machine: &Machine, limit: &str, commands: &str) -> (i32, String) {
    let output = machine
        .governed(program("client"), "t", limit)
        .env("FCSP_LOG", "1")
        .args(["-c", commands])
        .output()
        .unwrap();
    (output.status.code().unwrap_or(-1), stderr(&output))
}

/// Checks that a process with this limit and these files gets no memory at all. It reports the
/// reason if asked, and prints nothing otherwise.
fn closed(machine: &Machine, limit: &str, parts: &[&str]) {
    let mut client = machine.client("t", limit);
    let opened = client.code("open 0");
    assert_ne!(opened, 0, "{limit} was taken for a limit");
    for command in [
        "alloc 512",
        "managed 512",
        "async 512",
        "array 16 16",
        "create 2097152 0",
        "ctx 0",
        "module 4",
    ] {
        assert_ne!(client.code(command), 0, "{limit}: {command}");
    }
    assert!(
        machine
            .observer()
            .processes(0)
            .iter()
            .all(|(pid, bytes)| *pid != client.pid() || *bytes == 0)
    );
    let (code, text) = said(machine, limit, "open 0");
    assert_ne!(code, 0);
    for part in parts {
        assert!(text.contains(part), "\"{part}\" in: {text}");
    }
    assert!(text.lines().all(|line| line.starts_with("fcsp[")), "{text}");
    let silent = machine
        .governed(program("client"), "t", limit)
        .args(["-c", "open 0"])
        .output()
        .unwrap();
    assert_eq!(stderr(&silent), "");
}

/// Returns the quota in force for this limit, by the memory that can be allocated.
fn had(machine: &Machine, limit: &str) -> u64 {
    let mut client = machine.open("t", limit);
    client.fill(2 * MIB).len() as u64 * 2 * MIB + CONTEXT
}

#[test]
fn limits_that_cannot_be_understood() {
    let machine = Machine::new();
    for (limit, parts) in [
        ("0", &["FCSP_MEMORY_LIMIT", "leave the limit out"][..]),
        ("101%", &["FCSP_MEMORY_LIMIT", "100%"]),
        ("8 gigs", &["FCSP_MEMORY_LIMIT", "\"8 gigs\"", "8GiB"]),
        ("-1", &["FCSP_MEMORY_LIMIT"]),
        ("lots", &["FCSP_MEMORY_LIMIT", "\"lots\""]),
        ("0=1GiB,0=2GiB", &["FCSP_MEMORY_LIMIT", "twice"]),
        ("gpu=1GiB", &["FCSP_MEMORY_LIMIT", "names no device"]),
        ("99999999999TiB", &["FCSP_MEMORY_LIMIT", "64 bits"]),
    ] {
        closed(&machine, limit, parts);
    }
}

#[test]
fn limits_that_can() {
    // 8 GB are 8 * 10^9 bytes; whole pages of 2 MiB of it can be had.
    let machine = Machine::with("h100,memory=16GiB,context=64MiB");
    assert_eq!(had(&machine, "8GB"), 8_000_000_000 / (2 * MIB) * (2 * MIB));
    assert_eq!(had(&machine, "8 GiB"), 8 * GIB);
    assert_eq!(had(&machine, "25%"), 4 * GIB);
    assert_eq!(had(&machine, "0=2GiB"), 2 * GIB);
    assert_eq!(
        had(&machine, "0=2GiB,7=1GiB"),
        2 * GIB,
        "a device that is not there does no harm beside one that is"
    );
}

#[test]
fn devices_that_are_not_there() {
    let machine = Machine::new();
    closed(&machine, "7=1GiB", &["name none of the devices"]);
    closed(
        &machine,
        "GPU-00000000-0000-4000-8000-000000000000=1GiB",
        &["name none of the devices"],
    );
    closed(&machine, "ff:1f.0=1GiB", &["name none of the devices"]);
}

/// Checks that more than the device has is no error: the device itself is then the limit, and is
/// reported as such.
#[test]
fn more_than_the_device_has() {
    let machine = Machine::new();
    let mut client = machine.open("t", "100GiB");
    assert_eq!(client.call("info").1, vec![8 * GIB - CONTEXT, 8 * GIB]);
    assert_eq!(client.ok("total 0"), 8 * GIB);
    assert_eq!(
        client.fill(64 * MIB).len() as u64,
        (8 * GIB - CONTEXT) / (64 * MIB)
    );
}

/// Checks that a thread without a context gets the driver's error, whatever is left of the quota.
#[test]
fn no_context_comes_before_the_quota() {
    const INVALID_CONTEXT: i32 = 201;
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    client.fill(2 * MIB);
    client.refused("alloc 512");
    client.ok("current 0");
    for bytes in [512, 2 * MIB, 2 * GIB] {
        assert_eq!(
            client.code(&format!("alloc {bytes}")),
            INVALID_CONTEXT,
            "{bytes}"
        );
    }
}

/// Checks a quota smaller than a context: no memory is available, and the refusal is the driver's
/// own.
#[test]
fn less_than_a_context_takes() {
    let machine = Machine::new();
    let mut client = machine.client("t", "32MiB");
    assert_eq!(client.code("open 0"), OUT_OF_MEMORY);
    assert_eq!(machine.observer().sum(), 0, "the context was undone");
    let (_, text) = said(&machine, "32MiB", "open 0");
    assert!(text.contains("quota"), "{text}");
}

#[test]
fn a_refusal_is_explained_on_request() {
    let machine = Machine::new();
    let (code, text) = said(&machine, "1GiB", "open 0;alloc 2147483648");
    assert_eq!(code, OUT_OF_MEMORY);
    assert!(
        text.contains("cuMemAlloc") && text.contains("2147483648") && text.contains("quota"),
        "{text}"
    );
}

/// Returns the only region file of the tenant, made by a process that has ended.
fn region(machine: &Machine) -> PathBuf {
    machine.open("t", "1GiB").ok("alloc 4096");
    let dir = machine.state().join("tenants/t");
    std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "region")
        })
        .unwrap()
}

fn scribble(path: &Path, at: u64, bytes: &[u8]) {
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(bytes, at)
        .unwrap();
}

/// Checks every damage of a region that its header can reveal, and that a new region repairs it.
#[test]
fn damaged_regions() {
    type Damage = (&'static str, fn(&Path), &'static str);
    let damages: [Damage; 8] = [
        (
            "another version",
            |path| scribble(path, 8, &9u32.to_le_bytes()),
            "layout version 9",
        ),
        (
            "not a region",
            |path| scribble(path, 0, b"ELF?"),
            "not an FCSP region",
        ),
        (
            "scribbled header",
            |path| scribble(path, 30, b"XX"),
            "damaged header",
        ),
        (
            "another device's",
            |path| std::fs::copy(foreign_region(), path).map(drop).unwrap(),
            "another device",
        ),
        (
            "empty",
            |path| std::fs::write(path, b"").unwrap(),
            "truncated",
        ),
        ("cut in the header", |path| truncate(path, 100), "truncated"),
        ("cut in the slots", |path| truncate(path, 5000), "truncated"),
        (
            "impossible number of slots",
            |path| scribble(path, 128 + 32, &u32::MAX.to_le_bytes()),
            "slots",
        ),
    ];
    for (what, damage, reason) in damages {
        let machine = Machine::new();
        let path = region(&machine);
        damage(&path);
        closed(&machine, "1GiB", &[reason, path.to_str().unwrap()]);
        // What the message says to do helps.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(had(&machine, "1GiB"), GIB, "{what}");
    }
}

fn truncate(path: &Path, bytes: u64) {
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

/// Makes a sound region of a device with another identity.
fn foreign_region() -> PathBuf {
    let machine = Machine::with("a100,memory=8GiB,context=64MiB");
    let path = region(&machine);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("foreign-{}.region", std::process::id()));
    std::fs::copy(path, &kept).unwrap();
    kept
}

/// Checks a tenant that truncates its own region under its live processes: it harms no other
/// tenant. An access beyond the end of a file ends the process, whatever the program. The neighbour
/// goes on, readers report it, and a new region repairs it.
#[test]
fn a_region_cut_off_under_living_processes() {
    let machine = Machine::new();
    let mut neighbour = machine.open("neighbour", "1GiB");
    let mut client = machine.open("t", "1GiB");
    client.ok(&format!("alloc {}", 64 * MIB));
    let path = std::fs::read_dir(machine.state().join("tenants/t"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "region")
        })
        .unwrap();
    truncate(&path, 0);
    client.tell(&format!("alloc {}", 2 * GIB));
    assert!(
        client.hear().is_none_or(|(code, _)| code != 0),
        "memory without an account"
    );
    neighbour.ok(&format!("alloc {}", 64 * MIB));
    assert_eq!(machine.used("neighbour"), CONTEXT + 64 * MIB);
    let problems = machine.tenant("t")["problems"].to_string();
    assert!(problems.contains("truncated"), "{problems}");
    drop(client);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(had(&machine, "1GiB"), GIB);
}

/// Checks that damaged numbers in slots of dead processes are cleared, not believed.
#[test]
fn scribbled_slots_of_the_dead() {
    let machine = Machine::new();
    let path = region(&machine);
    scribble(&path, 4096 + 8, &u64::MAX.to_le_bytes());
    scribble(&path, 4096 + 4, &7u32.to_le_bytes());
    assert_eq!(had(&machine, "1GiB"), GIB);
}

/// Checks that truncating or overwriting the control page of a live tenant gives no process more
/// than the quota.
#[test]
fn damaged_control_page() {
    for damage in [(|path: &Path| truncate(path, 0)) as fn(&Path), |path| {
        scribble(path, 0, &[0xff; 512])
    }] {
        let machine = Machine::new();
        region(&machine);
        let control = machine.state().join("tenants/t/control");
        damage(&control);
        let mut client = machine.client("t", "1GiB");
        if client.code("open 0") == 0 {
            assert!(client.fill(2 * MIB).len() as u64 * 2 * MIB + CONTEXT <= GIB);
        }
    }
}

/// A file system of its own for the state folder; `None`, with a note, where that is not allowed
/// here.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(machine: &Machine, options: &str) -> Option<Self> {
        let dir = machine.state();
        std::fs::create_dir_all(&dir).unwrap();
        let mounted = is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "fcsp-test"])
                .arg(&dir)
                .output()
                .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("SKIPPED: this needs a tmpfs, and mounting one is not allowed here");
            return None;
        }
        Some(Self(dir))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn read_only_state_folder() {
    let machine = Machine::new();
    let Some(mount) = Mount::tmpfs(&machine, "size=1m") else {
        // Without the right to mount, permissions stand in, except for root, whom they do not bind.
        if !is_root() {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(machine.state(), std::fs::Permissions::from_mode(0o500))
                .unwrap();
            closed(&machine, "1GiB", &["tenant folder"]);
        }
        return;
    };
    mount.remount("ro");
    closed(&machine, "1GiB", &["tenant folder", "Read-only"]);
    // Also where the tenant's files are there already.
    mount.remount("rw");
    region(&machine);
    mount.remount("ro");
    closed(&machine, "1GiB", &["Read-only"]);
    mount.remount("rw");
    assert_eq!(had(&machine, "1GiB"), GIB);
}

/// Checks a full file system at every moment at which space is needed: never a crash, and never
/// memory without an account.
#[test]
fn full_state_folder() {
    let machine = Machine::new();
    let Some(mount) = Mount::tmpfs(&machine, "size=64k") else {
        return;
    };
    let filler = mount.0.join("filler");
    let mut refused = 0;
    for kept in (0..=64).step_by(4) {
        let _ = std::fs::remove_dir_all(mount.0.join("tenants"));
        std::fs::write(&filler, vec![1; (64 - kept) << 10]).ok();
        let mut client = machine.client("t", "1GiB");
        match client.code("open 0") {
            0 => assert_eq!(
                client.fill(64 * MIB).len() as u64,
                (GIB - CONTEXT) / (64 * MIB)
            ),
            _ => {
                refused += 1;
                assert_ne!(client.code("alloc 512"), 0);
                let (_, text) = said(&machine, "1GiB", "open 0");
                assert!(
                    text.contains("No space left") || text.contains("cannot"),
                    "{text}"
                );
            }
        }
    }
    assert!(
        (2..16).contains(&refused),
        "{refused} of 17 found too little room"
    );
    // A region that must grow for its 33rd process and cannot: that process is refused, the others
    // go on.
    let _ = std::fs::remove_dir_all(mount.0.join("tenants"));
    std::fs::remove_file(&filler).unwrap();
    let mut crowd: Vec<Client> = (0..32).map(|_| machine.open("t", "100GiB")).collect();
    std::fs::write(&filler, vec![1; 64 << 10]).ok();
    let mut late = machine.client("t", "100GiB");
    assert_ne!(late.code("open 0"), 0);
    for client in &mut crowd {
        client.ok("alloc 2097152");
    }
    std::fs::remove_file(&filler).unwrap();
    let mut later = machine.open("t", "100GiB");
    later.ok("alloc 2097152");
}

/// Checks that joining a live tenant does not raise its quota, whatever the newcomer's variables
/// say.
#[test]
fn a_newcomer_does_not_raise_the_quota() {
    let machine = Machine::new();
    let mut first = machine.open("t", "1GiB");
    let mut second = machine.open("t", "4GiB");
    assert_eq!(second.call("info").1[1], GIB);
    assert_eq!(
        second.fill(64 * MIB).len() as u64,
        (GIB - 2 * CONTEXT) / (64 * MIB)
    );
    first.refused(&format!("alloc {}", 64 * MIB));
}
