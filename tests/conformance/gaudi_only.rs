//! Tests of Gaudi's recipes, and of a card whose time belongs to one process.

use std::path::PathBuf;

use crate::compute::{learned, near};
use crate::machine::{Machine, compile};
use crate::vendors::{GIB, Vendor};

pub fn recipes_become_launches(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let path = machine.path().join("recipes");
    let libraries: Vec<PathBuf> = vendor
        .linked
        .iter()
        .map(|name| machine.sim().join(name))
        .collect();
    let arguments: Vec<&str> = libraries
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect();
    compile(vendor, "recipes_gaudi.c", &path, &arguments);
    let quota = GIB.to_string();
    // Without limits, with a quota, and with launches counted: the program sees no difference.
    for settings in [
        &[("FCSP_TENANT", "free")][..],
        &[("FCSP_TENANT", "held"), ("FCSP_MEMORY_LIMIT", &quota)],
        &[("FCSP_TENANT", "counted"), ("FCSP_ACCOUNT_TIME", "1")],
    ] {
        let output = machine
            .program(&path, settings)
            .arg(machine.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{settings:?}: {errors}");
    }
}

pub fn what_a_recipe_needs_counts(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    let before = machine.used("a");
    let work = client.ok("record 2 1000");
    let with = machine.used("a");
    assert!(
        with > before,
        "workspace and tensors are the program's own memory"
    );
    client.ok(&format!("play {work}"));
    client.ok(&format!("norecord {work}"));
    assert_eq!(machine.used("a"), before);
}

pub fn launches_are_counted_and_never_held_back(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let limit = [
        ("FCSP_COMPUTE_LIMIT", "25%"),
        ("FCSP_MODE", "strict"),
        ("FCSP_ACCOUNT_TIME", "1"),
    ];
    // A compute limit is another vendor's: the card is this process's.
    let free = learned(&machine.busy("free", &[], false));
    let limited = learned(&machine.busy("limited", &limit, false));
    near("limited of free", limited / free, 1.0);
    let share = machine.tenant("limited")["devices"][0]["compute"].clone();
    assert_eq!(share["waits"].as_u64(), Some(0), "{share}");
    // Launches of a millisecond each, of which some hundred are done: what was counted comes near
    // that.
    let busy = machine.busy("counted", &limit, false);
    machine.wait_for("launches to be counted", || busy.done() > 300);
    let done = busy.done();
    let share = machine.tenant("counted")["devices"][0]["compute"].clone();
    let consumed = share["consumed_ns"].as_u64().unwrap();
    assert!(
        consumed > done * 500_000,
        "{consumed} ns of {done} launches"
    );
    // The card is one process's at a time.
    drop(busy);
    // Nobody asked for counting.
    let uncounted = machine.busy("uncounted", &limit[..2], false);
    machine.wait_for("launches", || uncounted.done() > 50);
    let share = machine.tenant("uncounted")["devices"][0]["compute"].clone();
    assert_eq!(share["consumed_ns"].as_u64(), Some(0), "{share}");
}
