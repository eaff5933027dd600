//! Tests of threads that are interrupted in driver calls, or make them in odd circumstances. These
//! are a jump out of a signal handler, a cancellation, a small stack, and a replaced clock of the C
//! library.

use crate::{MIB, Machine, OUT_OF_MEMORY, compiled, stderr, stdout};

/// Bytes that the client allocates at a time.
const BLOCK: u64 = 64 * MIB;

/// Runs the client as a tenant with 1 GiB and a tenth of the device; the numbers that it prints.
fn run(machine: &Machine, tenant: &str, arguments: &[&str]) -> Vec<i64> {
    run_under(
        machine,
        tenant,
        &[("FCSP_COMPUTE_LIMIT", "10%"), ("FCSP_MODE", "strict")],
        arguments,
    )
}

/// Runs the program with this share.
fn run_under(
    machine: &Machine,
    tenant: &str,
    share: &[(&str, &str)],
    arguments: &[&str],
) -> Vec<i64> {
    let program = compiled("interrupted.c", "interrupted", &["-rdynamic".as_ref()]);
    let output = machine
        .governed(program, tenant, "1GiB")
        .envs(share.iter().copied())
        .args(arguments)
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(
        output.status.success(),
        "{arguments:?}: {} {text} {}",
        output.status,
        stderr(&output)
    );
    text.split_ascii_whitespace()
        .map(|word| word.parse().unwrap())
        .collect()
}

/// Checks Ctrl-C in an interactive program, which leaves a call that waits for a kernel. The quota
/// still holds for that thread, from wherever on its stack it calls.
#[test]
fn a_jump_out_of_a_call_is_no_way_past_the_quota() {
    let machine = Machine::new();
    for deeper in ["0", "200", "4000", "100000"] {
        let blocks = run(&machine, &format!("t{deeper}"), &["jump", deeper])[0] as u64;
        // What the call that was left had in hand stays counted.
        assert!((13..=1024 * MIB / BLOCK - 1).contains(&blocks), "{blocks}");
    }
}

/// Checks that a cancelled thread ends, as it does without the library, and damages nothing.
#[test]
fn a_cancelled_thread_ends_and_the_process_goes_on() {
    let machine = Machine::new();
    let mut rounds = Vec::new();
    for what in ["launch", "alloc"] {
        rounds.extend([0, 700, 3000].map(|after| (what, after)));
    }
    rounds.extend((0..10).map(|round| ("open", round * 400)));
    for (what, after) in rounds {
        let tenant = format!("{what}{after}");
        let numbers = run(&machine, &tenant, &["cancel", what, &after.to_string()]);
        assert_eq!(numbers, [1, 0, i64::from(OUT_OF_MEMORY)], "{tenant}");
    }
}

/// Checks that the first use of a device and launches fit on the smallest stack of a thread,
/// including its thread-local memory, in every mode.
#[test]
fn the_smallest_stack_will_do() {
    let machine = Machine::new();
    for (tenant, share) in [
        ("none", &[][..]),
        (
            "strict",
            &[("FCSP_COMPUTE_LIMIT", "10%"), ("FCSP_MODE", "strict")],
        ),
        (
            "balanced",
            &[("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "balanced")],
        ),
        (
            "adaptive",
            &[("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "adaptive")],
        ),
    ] {
        assert_eq!(
            run_under(&machine, tenant, share, &["stack", "16384"]),
            [0, i64::from(OUT_OF_MEMORY), 0],
            "{tenant}"
        );
    }
}

/// Checks that the library takes the time from the kernel, and sleeps by it: a replaced clock of
/// the C library that stands still delays no thread.
#[test]
fn the_clock_is_the_kernels() {
    let machine = Machine::new();
    assert_eq!(
        run(&machine, "t", &["clock"]),
        [0],
        "calls of the C library's clock"
    );
    let share = machine.tenant("t")["devices"][0]["compute"].clone();
    assert!(
        share["waits"].as_u64().unwrap() > 0,
        "nothing waited: {share}"
    );
}
