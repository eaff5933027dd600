//! Tests of accounting while several things happen at once, and where the management library does
//! not report a process's memory. `benches/device/cases.py` runs the same programs on a device.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, compiled, program, stderr, stdout};

/// A machine whose contexts have their real size.
const REAL: &str = "h100,memory=16GiB";
/// Estimate of a context's size where it cannot be measured.
const ESTIMATE: u64 = <fcsp_cuda::vendor::Cuda as fcsp_hook::backend::Devices>::CONTEXT_ESTIMATE;
/// Size of a context on that machine.
const REAL_CONTEXT: u64 = 518 * MIB;

fn cases() -> PathBuf {
    compiled("../../benches/device/cases.c", "cases", &[])
}

/// Runs one case under a quota, or natively; its answer.
fn case(
    machine: &Machine,
    quota: Option<&str>,
    inside: &[&str],
    nvml: &str,
    words: &[&str],
) -> serde_json::Value {
    with_variables(machine, quota, inside, &[("FCSP_SIM_NVML", nvml)], words)
}

/// Runs a case with these variables; variables without a value are not set.
fn with_variables(
    machine: &Machine,
    quota: Option<&str>,
    inside: &[&str],
    variables: &[(&str, &str)],
    words: &[&str],
) -> serde_json::Value {
    let program = cases();
    let (first, rest) = match inside.split_first() {
        Some((first, rest)) => (PathBuf::from(first), rest),
        None => (program.clone(), inside),
    };
    let mut command = match quota {
        Some(quota) => machine.governed(first, "t", quota),
        None => machine.bare(first),
    };
    command.args(rest);
    if !inside.is_empty() {
        command.arg(program);
    }
    command.envs(
        variables
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .copied(),
    );
    let output = command.args(words).output().unwrap();
    let text = stdout(&output);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{words:?}: {error}: {text}{}", stderr(&output)))
}

fn number(answer: &serde_json::Value, key: &str) -> u64 {
    answer[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {answer}"))
}

/// Returns the command that starts a program in a PID namespace of its own. Returns `None`, with a
/// note, if none can be made.
fn in_namespace() -> Option<&'static [&'static str]> {
    const INSIDE: &[&str] = &[
        "unshare",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let can = Command::new(INSIDE[0])
        .args(&INSIDE[1..])
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !can {
        println!("SKIPPED: this needs a PID namespace");
    }
    can.then_some(INSIDE)
}

/// Threads that begin at once: one makes the context, and no other finds it before it is counted.
#[test]
fn first_use_by_many_threads() {
    let machine = Machine::with(REAL);
    for _ in 0..5 {
        let free = case(&machine, Some("1GiB"), &[], "", &["first", "8"]);
        assert_eq!(number(&free, "least"), GIB - REAL_CONTEXT);
        assert_eq!(number(&free, "most"), GIB - REAL_CONTEXT);
        let taken = case(
            &machine,
            Some("1GiB"),
            &[],
            "",
            &["first", "8", "943718400"],
        );
        assert_eq!(number(&taken, "granted"), 0);
    }
}

/// Clients that make their contexts at once, each after the others have asked for theirs; how many
/// got one.
fn contexts_at_once(machine: &Machine, quota: u64, processes: usize, inside: &[&str]) -> usize {
    let start = |_| {
        let mut command = match inside.split_first() {
            Some((first, rest)) => {
                let mut command = machine.governed(first, "t", &quota.to_string());
                command.args(rest).arg(program("client"));
                command
            }
            None => machine.governed(program("client"), "t", &quota.to_string()),
        };
        command.env("FCSP_SIM_FAULTS", "cuDevicePrimaryCtxRetain~40ms");
        Client::start(command)
    };
    let mut clients: Vec<_> = (0..processes).map(start).collect();
    for client in &mut clients {
        client.tell("open 0");
    }
    // All answers before anybody leaves.
    let codes: Vec<_> = clients
        .iter_mut()
        .map(|client| client.hear().unwrap().0)
        .collect();
    assert!(
        codes.iter().all(|code| [0, OUT_OF_MEMORY].contains(code)),
        "{codes:?}"
    );
    codes.iter().filter(|&&code| code == 0).count()
}

/// Processes that make contexts at once: as many get one as fit, and the driver makes no more, not
/// even for a moment.
#[test]
fn contexts_made_at_once_never_pass_a_quota() {
    for (quota, fit) in [
        (2 * GIB, 3),
        (4 * REAL_CONTEXT, 4),
        (4 * REAL_CONTEXT - MIB, 3),
        (REAL_CONTEXT, 1),
    ] {
        let machine = Machine::with(REAL);
        assert_eq!(contexts_at_once(&machine, quota, 8, &[]), fit, "{quota}");
        assert!(machine.peak() <= quota, "{} of {quota}", machine.peak());
        // Refused processes hold nothing, and all have left.
        assert_eq!(contexts_at_once(&machine, quota, 8, &[]), fit, "{quota}");
        assert!(machine.peak() <= quota, "{} of {quota}", machine.peak());
    }
}

/// Checks the same where a process must find itself in the library's list first.
#[test]
fn contexts_made_at_once_in_a_container_never_pass_a_quota() {
    let Some(inside) = in_namespace() else { return };
    let machine = Machine::with(REAL);
    assert_eq!(contexts_at_once(&machine, 2 * GIB, 6, inside), 3);
    assert!(machine.peak() <= 2 * GIB, "{}", machine.peak());
}

/// Checks that a process that joins a full tenant is refused before the driver makes its context,
/// and gets one if there is exactly enough space.
#[test]
fn a_context_is_refused_before_it_is_made_and_has_the_last_room() {
    let machine = Machine::with(REAL);
    let mut first = machine.open("t", "4GiB");
    let mut blocks = first.fill(32 * MIB);
    let mut second = machine.client("t", "4GiB");
    second.refused("open 0");
    assert!(machine.peak() <= 4 * GIB, "{}", machine.peak());
    while 4 * GIB - machine.used("t") < REAL_CONTEXT {
        first.ok(&format!("free {}", blocks.pop().unwrap()));
    }
    let spare = 4 * GIB - machine.used("t") - REAL_CONTEXT;
    first.ok(&format!("alloc {spare}"));
    second.ok("open 0");
    assert_eq!(machine.used("t"), 4 * GIB);
    assert_eq!(machine.peak(), 4 * GIB);
}

/// Checks one process that makes contexts until it is refused.
#[test]
fn further_contexts_are_held_before_they_are_made() {
    let machine = Machine::with(REAL);
    for _ in 0..2 {
        let mut client = machine.open("t", "3GiB");
        let mut made = 1;
        while client.code("ctx 0") == 0 {
            made += 1;
        }
        assert_eq!(made, 3 * GIB / REAL_CONTEXT);
        assert!(machine.peak() <= 3 * GIB, "{}", machine.peak());
    }
}

/// Checks that a process in a container finds its own entry, although the library lists processes
/// by numbers that they do not know.
#[test]
fn a_container_with_host_numbers_measures_exactly() {
    let Some(inside) = in_namespace() else { return };
    let machine = Machine::with(REAL);
    let free = case(&machine, Some("4GiB"), inside, "hostpid", &["first", "8"]);
    assert_eq!(number(&free, "least"), 4 * GIB - REAL_CONTEXT);
    assert_eq!(number(&free, "most"), 4 * GIB - REAL_CONTEXT);
    let cycles = case(&machine, Some("3GiB"), inside, "hostpid", &["cycles"]);
    let begin = number(&cycles, "begin");
    assert_eq!(begin, (3 * GIB - REAL_CONTEXT) / MIB);
    for (what, free) in cycles.as_object().unwrap() {
        assert_eq!(free.as_u64(), Some(begin), "{what}: {cycles}");
    }
}

/// Checks that the memory of a neighbour that allocates and frees all the time is in no other
/// process's figure.
#[test]
fn a_noisy_neighbour_of_a_container_is_not_counted() {
    let Some(inside) = in_namespace() else { return };
    let machine = Machine::with(REAL);
    let mut command = machine.bare(cases());
    let mut noise = command
        .args(["noise", "4294967296"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 4];
    std::io::Read::read_exact(noise.stdout.as_mut().unwrap(), &mut begun).unwrap();
    for _ in 0..3 {
        let free = case(&machine, Some("2GiB"), inside, "hostpid", &["first", "1"]);
        assert_eq!(number(&free, "least"), 2 * GIB - REAL_CONTEXT);
    }
    noise.kill().unwrap();
    noise.wait().unwrap();
}

/// Checks two namespaces with the same numbers, both of which the library lists: the entry is found
/// by its figure.
#[test]
fn processes_of_one_number_are_told_apart() {
    let Some(inside) = in_namespace() else { return };
    let machine = Machine::with(REAL);
    let mut command = machine.bare(inside[0]);
    let mut neighbour = command
        .args(&inside[1..])
        .arg(cases())
        .args(["hold", "8589934592"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 4];
    std::io::Read::read_exact(neighbour.stdout.as_mut().unwrap(), &mut begun).unwrap();
    let free = case(&machine, Some("1GiB"), inside, "", &["first", "1"]);
    assert_eq!(number(&free, "least"), GIB - REAL_CONTEXT);
    drop(neighbour.stdin.take());
    neighbour.wait().unwrap();
}

/// Checks that without figures a context counts by its estimate, and code, streams and limits by
/// differences: nothing drifts.
#[test]
fn without_figures_nothing_is_uncounted_and_nothing_drifts() {
    for nvml in ["na", "na,uma", "unlisted"] {
        let machine = Machine::with(REAL);
        let cycles = case(&machine, Some("3GiB"), &[], nvml, &["cycles"]);
        let begin = number(&cycles, "begin");
        assert_eq!(begin, (3 * GIB - ESTIMATE) / MIB, "{nvml}");
        for (what, free) in cycles.as_object().unwrap() {
            assert_eq!(free.as_u64(), Some(begin), "{nvml}: {what}: {cycles}");
        }
    }
}

/// Processes that use an MPS server stand in a list of their own.
#[test]
fn a_client_of_mps_is_measured() {
    let machine = Machine::with(REAL);
    let free = case(&machine, Some("1GiB"), &[], "mps", &["first", "1"]);
    assert_eq!(number(&free, "least"), GIB - REAL_CONTEXT);
}

/// Checks that exported memory is released when it is gone, whatever the library shows.
#[test]
fn exports_do_not_stay_charged() {
    let machine = Machine::with(REAL);
    for nvml in ["", "na", "unlisted", "na,uma"] {
        for mode in ["1", "2", "3"] {
            let answer = case(
                &machine,
                Some("3GiB"),
                &[],
                nvml,
                &["export", mode, "20", "1073741824"],
            );
            assert_eq!(
                number(&answer, "rounds"),
                20,
                "{nvml}, mode {mode}: {answer}"
            );
            assert_eq!(answer["before"], answer["after"], "{nvml}, mode {mode}");
        }
    }
}

/// Checks that a pool's unused memory is released before a request is refused.
#[test]
fn what_a_pool_keeps_is_no_reason_to_refuse() {
    let machine = Machine::with("h100,memory=64GiB");
    for how in ["alloc", "create"] {
        let words = ["pool", "0", "13421772800", "12884901888", how];
        let answer = case(&machine, Some("20GiB"), &[], "", &words);
        assert_eq!(
            (number(&answer, "code"), number(&answer, "left")),
            (0, 0),
            "{how}"
        );
    }
}

/// Checks that memory freed behind running work can be allocated again in the stream's order and is
/// not counted twice meanwhile.
#[test]
fn what_was_freed_behind_work_can_be_taken_again() {
    let machine = Machine::with("h100,memory=16GiB,context=64MiB");
    for bytes in [300 * MIB, 600 * MIB, 900 * MIB] {
        let answer = case(
            &machine,
            Some("1GiB"),
            &[],
            "",
            &["reuse", &bytes.to_string(), "20"],
        );
        assert_eq!(number(&answer, "refused"), 0, "{bytes}");
        assert_eq!(number(&answer, "free"), GIB - CONTEXT, "{bytes}");
    }
}

/// Checks that the driver refuses a wrong argument in its own way, whatever the size in the same
/// call.
#[test]
fn wrong_arguments_are_the_drivers_to_refuse() {
    let machine = Machine::with(REAL);
    let native = case(&machine, None, &[], "", &["errors"]);
    let governed = case(&machine, Some("2GiB"), &[], "", &["errors"]);
    assert_eq!(native, governed);
    let refused = |code: &serde_json::Value| code.as_i64() == Some(OUT_OF_MEMORY.into());
    let sizes = native
        .as_object()
        .unwrap()
        .values()
        .filter(|code| refused(code))
        .count();
    assert!(sizes < native.as_object().unwrap().len() / 2, "{native}");
}

/// Blocks of any size fill a quota but for less than one of them.
#[test]
fn the_last_part_of_a_quota_can_be_had() {
    let machine = Machine::with(REAL);
    for block in [4096, 1 << 20, 2 << 20, 48 << 20] {
        let answer = case(
            &machine,
            Some("1GiB"),
            &[],
            "",
            &["fill", &block.to_string()],
        );
        assert_eq!(number(&answer, "code"), OUT_OF_MEMORY as u64);
        assert!(
            number(&answer, "free") < block.max(2 << 20),
            "{block}: {answer}"
        );
    }
}

/// Checks that the reservations of many small pools are all counted. Far from the quota, each pool
/// would reserve a step of 32 MiB, and all together would pass it.
#[test]
fn what_many_pools_draw_is_held() {
    const PROCESSES: u64 = 220;
    let machine = Machine::with("h100,memory=32GiB,context=64MiB");
    let mut judge = machine.observer();
    // A context and a full pool each, and less than a step for each of them beside NEAR.
    let quota = PROCESSES * (CONTEXT + 32 * MIB) + GIB + 128 * MIB;
    let open = |_| {
        let mut client = machine.open("t", &quota.to_string());
        // Measured: the estimate is ten times what a context takes here.
        client.ok("info");
        client
    };
    let mut clients: Vec<_> = (0..PROCESSES).map(open).collect();
    for client in &mut clients {
        client.ok(&format!("async {}", 28 * MIB));
        client.ok(&format!("async {}", 4 * MIB));
    }
    for client in &mut clients {
        client.tell(&format!("async {}", 4 * MIB));
    }
    let codes: Vec<_> = clients
        .iter_mut()
        .map(|client| client.hear().unwrap().0)
        .collect();
    let granted = codes.iter().filter(|&&code| code == 0).count() as u64;
    assert_eq!(granted, (GIB + 128 * MIB) / (32 * MIB), "{codes:?}");
    assert!(judge.sum() <= quota, "{} of {quota}", judge.sum());
    assert!(machine.peak() <= quota, "{} of {quota}", machine.peak());
}

/// Checks that the library's list in a container has the tenant's processes, by the numbers that
/// they have there.
#[test]
fn a_container_lists_its_own_processes() {
    let Some(inside) = in_namespace() else { return };
    let machine = Machine::with(REAL);
    for nvml in ["hostpid", ""] {
        let answer = case(&machine, Some("1GiB"), inside, nvml, &["listed"]);
        assert_eq!(
            answer["listed"],
            serde_json::json!([answer["pid"]]),
            "{nvml}"
        );
    }
}

/// Limits go by the number that programs call a device by, however it was made visible; both
/// libraries say the same.
#[test]
fn both_libraries_agree_on_a_device_named_by_its_uuid() {
    let machine = Machine::with("h100x2,memory=8GiB,context=64MiB");
    let native = case(&machine, None, &[], "", &["agree"]);
    let devices = native["devices"].as_array().unwrap().iter();
    let uuids: Vec<_> = devices
        .map(|device| device["uuid"].as_str().unwrap().to_owned())
        .collect();
    let orders = [
        (String::new(), [1, 3]),
        ("1,0".to_owned(), [1, 3]),
        (uuids[1].clone(), [1, 0]),
        (uuids[1][..12].to_owned(), [1, 0]),
        (format!("{},{}", uuids[1], uuids[0]), [1, 3]),
    ];
    for (visible, limits) in orders {
        let variables = [
            ("FCSP_MEMORY_LIMIT_0", "1GiB"),
            ("FCSP_MEMORY_LIMIT_1", "3GiB"),
            ("CUDA_VISIBLE_DEVICES", visible.as_str()),
        ];
        let answer = with_variables(&machine, Some("2GiB"), &[], &variables, &["agree"]);
        for (device, gib) in answer["devices"].as_array().unwrap().iter().zip(limits) {
            for key in ["total", "nvml_before", "nvml_after"] {
                assert_eq!(
                    number(device, key),
                    gib * GIB,
                    "{visible}: {key} of {answer}"
                );
            }
            assert_eq!(device["free"], device["nvml_free"], "{visible}: {answer}");
        }
    }
}
