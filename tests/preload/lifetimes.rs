//! Tests of streams, events, graphs, modules, contexts and pools that come and go, on one thread
//! and on eight, in every mode. No handle is used after its end, no code is wrong, no data is
//! wrong. The program is `benches/device/lifetimes.c`, which also runs on a real device. Here the
//! simulated driver ends it if it names a dead handle.

use std::process::Output;

use crate::{Machine, compiled, program, stderr, stdout};

/// A quota of memory alone, one that everything is near to, and the modes of a share.
const MODES: [&[(&str, &str)]; 5] = [
    &[],
    &[("FCSP_MEMORY_LIMIT", "1GiB")],
    &[("FCSP_COMPUTE_LIMIT", "60%"), ("FCSP_MODE", "strict")],
    &[("FCSP_COMPUTE_LIMIT", "60%"), ("FCSP_MODE", "balanced")],
    &[("FCSP_COMPUTE_LIMIT", "60%"), ("FCSP_MODE", "adaptive")],
];

fn run(settings: &[(&str, &str)], scenario: &str, rounds: u32, threads: u32) -> Output {
    let machine = Machine::with("h100,memory=8GiB,context=16MiB");
    let file = compiled("../../benches/device/lifetimes.c", "lifetimes", &[]);
    machine
        .governed(file, "t", "4GiB")
        .env("FCSP_SIM_STRICT", "all")
        .envs(settings.iter().copied())
        .args([scenario, &rounds.to_string(), &threads.to_string()])
        .output()
        .unwrap()
}

fn is_right(scenario: &str, rounds: u32) {
    for settings in MODES {
        for threads in [1, 8] {
            is_right_with(settings, scenario, rounds, threads);
        }
    }
}

fn is_right_with(settings: &[(&str, &str)], scenario: &str, rounds: u32, threads: u32) {
    let output = run(settings, scenario, rounds, threads);
    assert!(
        output.status.success() && stdout(&output).contains("\"skipped\""),
        "{scenario} on {threads} threads with {settings:?}: {}\n{}",
        output.status,
        stderr(&output)
    );
}

/// Checks captures while most of the time is spent at the gate, which asks the driver for progress.
#[test]
fn captures_are_not_spoiled_by_threads_that_wait_for_long() {
    let settings = [("FCSP_COMPUTE_LIMIT", "20%"), ("FCSP_MODE", "strict")];
    is_right_with(&settings, "captures", 160, 8);
}

macro_rules! scenarios {
    ($($name:ident: $scenario:literal $rounds:literal;)*) => {$(
        #[test]
        fn $name() {
            is_right($scenario, $rounds);
        }
    )*};
}
scenarios! {
    streams_that_are_gone_are_not_used: "streams" 60;
    streams_that_are_gone_are_not_used_at_a_wait_for_the_device: "copies" 16;
    events_come_and_go: "events" 40;
    graphs_come_and_go: "graphs" 40;
    what_one_thread_uses_another_destroys: "handed" 40;
    captures_that_fail_leave_nothing: "failures" 80;
    captures_are_not_spoiled_by_threads_that_wait_at_their_gate: "captures" 40;
    modules_come_and_go: "modules" 60;
    libraries_come_and_go: "libraries" 60;
    pools_come_and_go: "pools" 60;
    contexts_come_and_go_beside_others: "contexts" 1000;
    contexts_that_are_detached_from_are_gone: "detached" 1000;
    primary_contexts_come_and_go: "primaries" 400;
    contexts_with_units_of_their_own_come_and_go: "greens" 200;
}

/// Ends a primary context that a library retained unseen: no handle of it is used afterwards, and
/// its memory is counted once.
#[test]
fn a_context_that_was_retained_unseen_ends_with_its_handles() {
    for settings in MODES {
        let machine = Machine::with("h100,memory=8GiB,context=64MiB,stream=0");
        let output = machine
            .governed(program("unseen"), "t", "4GiB")
            .env("FCSP_SIM_STRICT", "all")
            .envs(settings.iter().copied())
            .arg("20")
            .output()
            .unwrap();
        let said = stdout(&output);
        assert!(
            output.status.success(),
            "{settings:?}: {} {}",
            output.status,
            stderr(&output)
        );
        let quota = if settings.contains(&("FCSP_MEMORY_LIMIT", "1GiB")) {
            1024
        } else {
            4096
        };
        let expected = format!("{0} {0}\n", quota - 64).repeat(20);
        assert_eq!(said, expected, "{settings:?}");
    }
}

/// Checks that a kernel that is no collective, and has the handle of an unloaded one, is limited to
/// its share.
#[test]
fn a_handle_that_comes_again_is_a_stranger() {
    for end in ["module", "context"] {
        let Some(machine) = Machine::timed(crate::SPEC) else {
            return;
        };
        let mut command = machine.governed(program("strangers"), "t", "1GiB");
        command
            .envs([("FCSP_COMPUTE_LIMIT", "10%"), ("FCSP_MODE", "strict")])
            .env("FCSP_SIM_STRICT", "reuse")
            .args([end, "3"]);
        let output = machine.output(&mut command);
        assert!(output.status.success(), "{end}: {}", stderr(&output));
        let text = stdout(&output);
        let words: Vec<u64> = text
            .split_ascii_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(words[0], 1, "{end}: the handle did not come again");
        // As a collective it would have all of the device.
        assert!(words[1] < 120, "{end}: had {} thousandths", words[1]);
    }
}
