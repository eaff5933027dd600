//! Work that is recorded once and submitted often: graphs, command lists.

use crate::compute::near;
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
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let free = machine.busy("free", &[], true).rate();
    let strict = machine.busy(
        "strict",
        &[("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "strict")],
        true,
    );
    near("strict of free", strict.rate() / free, 0.25);
}
