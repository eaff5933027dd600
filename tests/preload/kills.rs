//! Kills, storms of forks, and failing system calls, while the work of a share is reconciled.
//! Nothing is lost: no byte, no page, no neighbour's share.
//!
//! Each test takes seconds. Its ignored twin has the counts that a release is tried with.

use std::path::{Path, PathBuf};

use crate::{Client, GIB, MIB, Machine, compiled, program, stderr, stdout, wait_for};

const SPEC: &str = "h100,memory=8GiB,context=16MiB";
const CONTEXT: u64 = 16 * MIB;
const QUOTA: u64 = GIB;
/// Strict shares of the tenant whose processes are killed, and of its neighbour.
const KILLED: f64 = 0.4;
const NEIGHBOUR: f64 = 0.3;
/// Beyond the quota, with ten kernels of a millisecond that may end in this second or in the next.
const POINTS: f64 = 0.02 + 0.01;
/// Device time that a strict tenant may save up while its host gets no processor, in seconds.
const SAVED_UP: f64 = 0.1;
/// The factor by which a tenant on a loaded host may stay below its share.
const COARSE: f64 = 1.5;

fn tumult() -> PathBuf {
    compiled("tumult.c", "tumult", &["-rdynamic".as_ref()])
}

fn percent(share: f64) -> String {
    format!("{}%", share * 100.0)
}

/// Runs the program as the tenant `killed`; the numbers that it prints.
fn numbers(machine: &Machine, quota: u64, arguments: &[&str]) -> Vec<u64> {
    let output = machine
        .governed(tumult(), "killed", &quota.to_string())
        .env("FCSP_COMPUTE_LIMIT", percent(KILLED))
        .env("FCSP_MODE", "strict")
        .args(arguments)
        .output()
        .unwrap();
    let (said, errors) = (stdout(&output), stderr(&output));
    assert!(
        output.status.success(),
        "{arguments:?}: {} {errors}",
        output.status
    );
    println!("{arguments:?}: {said}{errors}");
    said.split_ascii_whitespace()
        .map(|word| word.parse().unwrap())
        .collect()
}

/// Starts a strict neighbour, which prints its part of the device for each second.
fn neighbours_seconds(machine: &Machine, seconds: u32) -> std::process::Child {
    machine
        .governed(program("owed"), "neighbour", "1GiB")
        .env("FCSP_COMPUTE_LIMIT", percent(NEIGHBOUR))
        .env("FCSP_MODE", "strict")
        .args(["1", &seconds.to_string(), "same", "1000", "10"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

fn had(neighbour: std::process::Child) -> Vec<f64> {
    let output = neighbour.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = stdout(&output);
    text.lines()
        .skip(1)
        .map(|line| line.parse().unwrap())
        .collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

/// Checks a tenant of dead processes: no byte is counted, and a new process has the whole quota.
/// The commands answer, and `gc` leaves nothing.
fn nothing_is_lost(machine: &Machine, held_by_others: u64) {
    wait_for("the account of the dead", || machine.used("killed") == 0);
    let tenant = machine.tenant("killed");
    assert_eq!(
        (&tenant["alive"], &tenant["problems"]),
        (&false.into(), &serde_json::json!([])),
        "{tenant}"
    );
    assert_eq!(machine.observer().sum(), held_by_others);
    let mut newcomer: Client = machine.open("killed", &QUOTA.to_string());
    assert_eq!(
        newcomer.fill(16 * MIB).len() as u64,
        (QUOTA - CONTEXT) / (16 * MIB)
    );
    assert_eq!(machine.used("killed"), QUOTA);
    newcomer.kill();
    wait_for("the newcomer's account", || machine.used("killed") == 0);
    // No temporary file of a process that was killed while it made one.
    let names: Vec<String> = files(&machine.state())
        .iter()
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .collect();
    let known = |name: &str| {
        ["control", "setup.lock"].contains(&name)
            || name.ends_with(".region")
            || name.ends_with(".page")
    };
    assert!(names.iter().all(|name| known(name)), "{names:?}");
    let collected = machine
        .bare(env!("CARGO_BIN_EXE_fcsp"))
        .args(["gc", "--json"])
        .output()
        .unwrap();
    assert!(collected.status.success(), "{}", stderr(&collected));
    assert!(
        stdout(&collected).contains("\"killed\""),
        "{}",
        stdout(&collected)
    );
    let left = files(&machine.state());
    assert!(!left.iter().any(|path| path.contains("killed")), "{left:?}");
}

/// Kills `count` processes beside a strict neighbour. Of their system calls in the library,
/// `faults` of a thousand fail.
fn kills(count: u32, faults: u32, seconds: u32) {
    let machine = Machine::with(SPEC);
    let counted = machine.path().join("had");
    std::fs::write(&counted, [0; 4096]).unwrap();
    let seed = u64::from(std::process::id());
    let beside = neighbours_seconds(&machine, seconds);
    let ends = numbers(
        &machine,
        QUOTA,
        &[
            "kills",
            &count.to_string(),
            &seed.to_string(),
            &faults.to_string(),
            counted.to_str().unwrap(),
        ],
    );
    // A fault or a full quota refuses the device to a new process. Only the kill ends any other.
    assert_eq!((ends[0], ends[2]), (count.into(), 0), "{ends:?}");
    let done = std::fs::read(&counted).unwrap();
    let done = u64::from_le_bytes(done[..8].try_into().unwrap());
    assert!(done > 0, "nobody's work was ever done");
    let seconds = had(beside);
    println!(
        "the neighbour had {seconds:?}, the killed {} ms",
        done / 1_000_000
    );
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    assert!(
        mean <= NEIGHBOUR + POINTS + SAVED_UP / seconds.len() as f64,
        "{mean} of {NEIGHBOUR}: {seconds:?}"
    );
    // The neighbour has its share once it is alone: no claim outlives the killed processes.
    let alone = had(neighbours_seconds(&machine, 4));
    println!("alone it had {alone:?}");
    assert!(
        alone.iter().all(|part| *part <= NEIGHBOUR + POINTS)
            && alone.iter().any(|part| *part >= NEIGHBOUR / COARSE),
        "{alone:?} of {NEIGHBOUR}"
    );
    nothing_is_lost(&machine, 0);
}

#[test]
fn kills_in_the_middle_of_reconciliation_lose_nothing() {
    kills(150, 0, 3);
}

#[test]
fn kills_lose_nothing_where_system_calls_fail_too() {
    kills(150, 50, 3);
}

#[test]
#[ignore = "minutes: before a release"]
fn six_thousand_kills_lose_nothing() {
    kills(6000, 0, 60);
}

#[test]
#[ignore = "minutes: before a release"]
fn six_thousand_kills_lose_nothing_where_system_calls_fail_too() {
    kills(6000, 50, 60);
}

/// Forks `count` children at once: they end, they are killed, or their parent allocates meanwhile.
fn forks(count: u32) {
    // Enough for all of them at once.
    const QUOTA: u64 = 12 * GIB;
    for (mode, ends) in [
        ("end", [count, 0, 0]),
        ("kill", [0, 0, count]),
        ("thread", [0, count, 0]),
    ] {
        let machine = Machine::with("h100,memory=32GiB,context=2MiB");
        let ends = ends.map(u64::from);
        assert_eq!(
            numbers(&machine, QUOTA, &["forks", &count.to_string(), mode, "5"]),
            ends,
            "{mode}"
        );
        wait_for("the account of the dead", || machine.used("killed") == 0);
        let mut newcomer = machine.open("killed", &QUOTA.to_string());
        assert_eq!(
            newcomer.fill(2 * MIB).len() as u64,
            (QUOTA - 2 * MIB) / (2 * MIB),
            "{mode}"
        );
    }
}

#[test]
fn storms_of_forks_lose_nothing() {
    forks(60);
}

#[test]
#[ignore = "a minute: before a release"]
fn storms_of_three_hundred_forks_lose_nothing() {
    forks(300);
}
