//! Shares of the device's time. Times are those of a machine with other things to do, so every bound is coarse.

use crate::machine::{Busy, Machine};
use crate::vendors::Vendor;

/// How far a rate may be off.
const COARSE: f64 = 1.5;

fn near(what: &str, value: f64, expected: f64) {
    assert!(
        value > expected / COARSE && value < expected * COARSE,
        "{what}: {value:.3} where {expected:.3} was expected"
    );
}

/// Waits until a rate of running programs is what it should be, for 40 measurements at most: costs are learned meanwhile, and
/// the machine may give the clients too little time to keep the device busy.
pub fn settles(what: &str, expected: f64, mut measure: impl FnMut() -> f64) {
    let settled = (0..40).any(|_| {
        let value = measure();
        value > expected / COARSE && value < expected * COARSE
    });
    if !settled {
        near(what, measure(), expected);
    }
}

pub fn strict_is_its_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let settings = [("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "strict")];
    settles("strict of free", 0.25, || {
        let free = machine.busy("free", &[], false).rate();
        machine.busy("strict", &settings, false).rate() / free
    });
    let share = machine.tenant("strict")["devices"][0]["compute"].clone();
    assert_eq!(share["quota"].as_f64(), Some(0.25), "{share}");
    assert!(
        share["waits"].as_u64().unwrap() > 0 && share["consumed_ns"].as_u64().unwrap() > 0,
        "{share}"
    );
}

pub fn neighbours_get_their_quotas(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let start = |who: &str, quota| machine.busy(who, &[("FCSP_COMPUTE_LIMIT", quota)], false);
    let (small, large) = (start("small", "25%"), start("large", "75%"));
    let mut both = 0.0;
    let mut ratio = |small: &Busy, large: &Busy| {
        let [few, many] = Busy::rates([small, large]);
        both = few + many;
        many / few
    };
    settles("large of small", 3.0, || ratio(&small, &large));
    drop(large);
    settles("alone, of both before", 1.0, || small.rate() / both);
}

pub fn high_priority_goes_first(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let settings = [
        ("FCSP_COMPUTE_LIMIT", "50%"),
        ("FCSP_MODE", "adaptive"),
        ("FCSP_PRIORITY", "high"),
    ];
    let high = machine.busy("high", &settings, false);
    let low = machine.busy(
        "low",
        &[("FCSP_COMPUTE_LIMIT", "50%"), ("FCSP_PRIORITY", "low")],
        false,
    );
    let [first, last] = Busy::rates([&high, &low]);
    assert!(first > 1.5 * last, "high {first:.0}, low {last:.0}");
    assert!(last > 0.0, "the floor is kept");
}

/// A name lifts no share: kernels named as collectives, in a process that is no rank, are charged and held back.
pub fn kernels_named_as_collectives_are_held_to_the_share(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.governed(&[
        ("FCSP_TENANT", "ranks"),
        ("FCSP_COMPUTE_LIMIT", "1%"),
        ("FCSP_MODE", "strict"),
    ]);
    client.ok("open 0");
    // More than the bucket holds, though what is learned in single launches may miss some.
    for _ in 0..5_000 {
        client.ok(&format!("kernel {} 0", vendor.collective));
    }
    client.ok("sync");
    let share = machine.tenant("ranks")["devices"][0]["compute"].clone();
    assert!(share["mix"]["collective"].as_f64() > Some(0.9), "{share}");
    assert!(share["consumed_ns"].as_u64() > Some(1_000_000), "{share}");
    assert!(share["waits"].as_u64() > Some(0), "{share}");
}
