//! Tests of programs that close every descriptor, lower their limits or damage their files. The
//! account stays correct, and the program goes on.

use std::os::unix::fs::FileExt;

use crate::{CONTEXT, Client, MIB, Machine, OUT_OF_MEMORY, program};

const BLOCK: u64 = 32 * MIB;

/// Daemons close every descriptor that they do not know, and get the numbers again for files of
/// their own.
#[test]
fn closed_descriptors_change_nothing() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    client.ok(&format!("alloc {}", 256 * MIB));
    let before = machine.used("t");
    client.ok("closeall");
    client.ok("hold 40");
    assert_eq!(machine.used("t"), before);
    assert!(machine.tenant("t")["alive"].as_bool().unwrap());
    client.refused(&format!("alloc {}", 768 * MIB));
    assert_eq!(
        client.fill(BLOCK).len() as u64,
        (768 * MIB - CONTEXT) / BLOCK
    );
    assert_eq!(
        client.code("lost"),
        0,
        "files of the program's own are open"
    );
    assert_eq!(client.code("locked"), 0, "and nobody else's business");
    assert_eq!(client.code("fork lost"), 0, "also in a child");
    client.kill();
    assert_eq!(machine.used("t"), 0);
}

/// Checks a process that has closed the region's file and opened other files in its place. It still
/// searches for dead neighbours, and not in its own files, where no process holds a lock.
#[test]
fn the_living_are_not_taken_for_dead() {
    let machine = Machine::new();
    let mut one = machine.open("t", "512MiB");
    let mut two = machine.open("t", "512MiB");
    let blocks = two.fill(BLOCK).len() as u64;
    assert_eq!(blocks * BLOCK, 512 * MIB - 2 * CONTEXT);
    one.ok("closeall");
    one.ok("hold 40");
    for _ in 0..4 {
        one.refused(&format!("alloc {BLOCK}"));
        // Dead processes are searched for a hundred times a second, at most.
        std::thread::sleep(std::time::Duration::from_millis(12));
    }
    assert_eq!(machine.used("t"), 512 * MIB);
    two.kill();
    // And dead processes are found.
    assert_eq!(one.fill(BLOCK).len() as u64, (512 * MIB - CONTEXT) / BLOCK);
}

/// Checks that a program that may not make files as long as a tenant's gets no memory. The signal
/// for this does not end it.
#[test]
fn a_limit_on_files_refuses_and_does_not_kill() {
    let machine = Machine::new();
    // The simulated driver needs its own file, too.
    let _other = machine.open("other", "1GiB");
    let mut client = machine.client("t", "1GiB");
    client.ok("filesize 0");
    assert_eq!(client.code("open 0"), 304, "\"OS call failed\"");
    // With room for the page of limits, and none for a region.
    let mut client = machine.client("t", "1GiB");
    client.ok("filesize 0");
    let made = machine.state().join("tenants/t");
    let _page = machine.client("t", "1GiB").ok("init");
    std::fs::metadata(made.join("control")).unwrap();
    assert_eq!(client.code("open 0"), OUT_OF_MEMORY);
    // What another process of the tenant has made is there to be used.
    let _first = machine.open("u", "1GiB");
    let mut second = machine.client("u", "1GiB");
    second.ok("filesize 0");
    second.ok("open 0");
    second.ok(&format!("alloc {BLOCK}"));
    assert_eq!(machine.used("u"), 2 * CONTEXT + BLOCK);
}

/// Checks that a control page that another process damaged does not remove the limits.
#[test]
fn a_damaged_page_of_limits_leaves_those_that_were_known() {
    let machine = Machine::new();
    let mut client = machine.open("t", "512MiB");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(machine.state().join("tenants/t/control"))
        .unwrap();
    // The generation moves on, and there are no rules any more.
    file.write_all_at(&[0; 8], 16).unwrap();
    file.write_all_at(&1000u64.to_le_bytes(), 8).unwrap();
    assert_eq!(client.call("info").1[1], 512 * MIB);
    client.refused(&format!("alloc {}", 512 * MIB));
    // A newcomer gets nothing, and a new page is taken.
    let mut newcomer = Client::start(machine.governed(program("client"), "t", "512MiB"));
    assert_ne!(newcomer.code("open 0"), 0);
    let output = machine
        .bare(env!("CARGO_BIN_EXE_fcsp"))
        .args(["limit", "t", "--memory", "1GiB"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", crate::stderr(&output));
    assert_eq!(client.call("info").1[1], 1024 * MIB);
}

/// Checks that a relative state folder is refused. Processes in different folders would each have
/// the whole quota.
#[test]
fn a_state_folder_that_depends_on_where_one_stands_is_refused() {
    let machine = Machine::new();
    let mut command = machine.governed(program("client"), "t", "1GiB");
    command
        .env("FCSP_STATE_DIR", "state")
        .current_dir(machine.path());
    let mut client = Client::start(command);
    assert_eq!(client.code("open 0"), 304);
    assert!(!machine.state().exists());
    // The command makes one of it that does not.
    let output = machine
        .bare(env!("CARGO_BIN_EXE_fcsp"))
        .args([
            "run",
            "--memory",
            "1GiB",
            "--",
            "sh",
            "-c",
            "cd /; echo $FCSP_STATE_DIR",
        ])
        .env("FCSP_STATE_DIR", "state")
        .current_dir(machine.path())
        .output()
        .unwrap();
    // Under root it is the tenant's own view of that folder.
    let told = std::path::PathBuf::from(crate::stdout(&output).trim());
    assert!(
        told.starts_with(machine.state()),
        "{told:?} {}",
        crate::stderr(&output)
    );
}
