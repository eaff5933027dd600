//! Tests of Ascend's two layers of one driver, each of which may be called alone.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::hip_only::program;
use crate::machine::Machine;
use crate::vendors::{GIB, MIB, Vendor};

/// Checks a jump out of a call of either layer, past the flags that say that a thread is inside
/// one. The quota still holds, and captured work is not taken for a launch afterwards.
pub fn a_jump_out_of_a_call_leaves_no_flag_up(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "jumps_ascend.c");
    let quota = GIB.to_string();
    let settings = [
        ("FCSP_TENANT", "memory"),
        ("FCSP_MEMORY_LIMIT", &*quota),
        ("FCSP_SIM_FAULTS", "rtFree!crash@1"),
    ];
    let output = machine
        .program(&program, &settings)
        .arg("memory")
        .output()
        .unwrap();
    let blocks: u64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    // The context, and what the call that was left had in hand, stay counted.
    let most = (GIB - vendor.context) / (64 * MIB);
    assert!((most - 1..=most).contains(&blocks), "{blocks}");

    let settings = [
        ("FCSP_TENANT", "capture"),
        ("FCSP_ACCOUNT_TIME", "1"),
        ("FCSP_SIM_FAULTS", "rtStreamEndCapture!crash@1"),
    ];
    let mut child = machine
        .program(&program, &settings)
        .arg("capture")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut after = |word: &str| {
        assert_eq!(lines.next().unwrap().unwrap(), word);
        let share = machine.tenant("capture")["devices"][0]["compute"].clone();
        input.write_all(b"\n").unwrap();
        share["consumed_ns"].as_u64().unwrap()
    };
    let ended = after("ended");
    let launched = after("launched") - ended;
    let captured = after("captured") - launched - ended;
    // 50 launches of 10 ms, and 200 that are only recorded.
    assert!(launched > 300_000_000, "{launched} ns");
    assert!(captured < 100_000_000, "{captured} ns");
    assert!(child.wait().unwrap().success());
}
