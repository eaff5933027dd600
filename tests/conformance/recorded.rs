//! Work that is recorded once and submitted often: graphs, command lists.

use crate::compute::{learned, near};
use crate::hip_only::program;
use crate::machine::Machine;
use crate::vendors::{GIB, Vendor};

pub fn recorded_work_runs(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    let before = machine.used("a");
    let work = client.ok("record 4 1000");
    for _ in 0..64 {
        client.ok(&format!("play {work}"));
    }
    client.ok("sync");
    client.ok(&format!("norecord {work}"));
    assert!(machine.used("a") >= before);
}

pub fn recorded_work_is_held_to_the_share(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let settings = [("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "strict")];
    let free = learned(&machine.busy("free", &[], true));
    let strict = learned(&machine.busy("strict", &settings, true));
    near("strict of free", strict / free, 0.25);
}

/// Checks that a call which a capture forbids gets the capture's refusal, which ends the capture. A
/// call that it allows gets the quota's refusal, which does not.
pub fn a_captures_refusal_comes_before_the_quotas(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, &format!("captures_{}.c", vendor.name));
    let quota = GIB.to_string();
    let settings = [("FCSP_TENANT", "a"), ("FCSP_MEMORY_LIMIT", &quota)];
    let output = machine
        .program(&program, &settings)
        .arg(&quota)
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stdout == b"right\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
