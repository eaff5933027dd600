//! Handles that come and go: streams, events, graphs, modules, contexts, pools and cards are
//! created, used and destroyed, by one thread and by eight, in every mode. The simulated driver
//! ends a program where a dead handle is named.

use crate::hip_only::program;
use crate::machine::Machine;
use crate::vendors::{GIB, Vendor};

/// A quota of memory alone, with device time counted, and the modes of a share.
const MODES: [&[(&str, &str)]; 5] = [
    &[],
    &[("FCSP_ACCOUNT_TIME", "1")],
    &[("FCSP_COMPUTE_LIMIT", "60%"), ("FCSP_MODE", "strict")],
    &[("FCSP_COMPUTE_LIMIT", "60%"), ("FCSP_MODE", "balanced")],
    &[("FCSP_COMPUTE_LIMIT", "60%"), ("FCSP_MODE", "adaptive")],
];

/// Runs scenarios of `clients/lifetimes_<vendor>.c`, each with its rounds.
fn are_right(vendor: &'static Vendor, scenarios: &[(&str, u32)]) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, &format!("lifetimes_{}.c", vendor.name));
    for (scenario, rounds) in scenarios {
        for settings in MODES {
            for threads in ["1", "8"] {
                let quota = [("FCSP_TENANT", "t"), ("FCSP_MEMORY_LIMIT", "4GiB")];
                let output = machine
                    .program(&program, &[&quota[..], settings].concat())
                    .env("FCSP_SIM_STRICT", "all")
                    .args([scenario, &*rounds.to_string(), threads])
                    .output()
                    .unwrap();
                assert!(
                    output.status.success() && output.stdout.starts_with(b"right"),
                    "{scenario} on {threads} threads with {settings:?}: {}\n{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
}

pub fn handles_of_hip_come_and_go(vendor: &'static Vendor) {
    are_right(
        vendor,
        &[
            ("streams", 10),
            ("graphs", 20),
            ("captures", 60),
            ("modules", 20),
            ("pools", 20),
            ("resets", 5),
            ("resets_beside", 5),
        ],
    );
}

pub fn handles_of_ascend_come_and_go(vendor: &'static Vendor) {
    are_right(
        vendor,
        &[
            ("streams", 10),
            ("contexts", 10),
            ("resets", 10),
            ("bindings", 5),
            ("captures", 60),
            ("resets_beside", 5),
        ],
    );
}

pub fn handles_of_level_zero_come_and_go(vendor: &'static Vendor) {
    are_right(
        vendor,
        &[
            ("lists", 10),
            ("several", 40),
            ("queues", 20),
            ("contexts", 10),
            ("kernels", 20),
        ],
    );
}

pub fn handles_of_gaudi_come_and_go(vendor: &'static Vendor) {
    are_right(vendor, &[("cards", 10)]);
}

/// Checks a device that another thread uses again before the call that ended it returns. `ends` is
/// that call; `figures` is a call that the management library needs for its own. A measurement
/// would find what is lost in between.
fn what_is_taken_anew_counts(vendor: &'static Vendor, ends: &str, figures: Option<&str>) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, &format!("again_{}.c", vendor.name));
    let quota = GIB.to_string();
    let without = figures.map(|call| format!(";{call}=3"));
    for lacks in [String::new()].into_iter().chain(without) {
        let settings = [("FCSP_TENANT", "t"), ("FCSP_MEMORY_LIMIT", &quota)];
        let output = machine
            .program(&program, &settings)
            .env("FCSP_SIM_FAULTS", format!("{ends}~~100ms{lacks}"))
            .arg(&quota)
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stdout == b"right\n",
            "{ends}{lacks}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

pub fn a_device_used_anew_while_its_reset_ends_counts(vendor: &'static Vendor) {
    match vendor.name {
        "cuda" => what_is_taken_anew_counts(vendor, "cuCtxDestroy_v2", None),
        "hip" => what_is_taken_anew_counts(vendor, "hipDeviceReset", Some("rsmi_init")),
        "ascend" => what_is_taken_anew_counts(vendor, "rtDeviceResetForce", Some("dcmi_init")),
        _ => what_is_taken_anew_counts(vendor, "synDeviceRelease", None),
    }
}

/// Checks that a kernel with the handle of an unloaded one is classified anew: it has none of the
/// old one's class.
pub fn a_handle_that_comes_again_is_a_stranger(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let mut client = machine.governed(&[
        ("FCSP_TENANT", "t"),
        ("FCSP_COMPUTE_LIMIT", "50%"),
        ("FCSP_MODE", "strict"),
    ]);
    client.ok("open 0");
    // Parts of the time that was granted.
    let mix = |class: &str| {
        let share = machine.tenant("t")["devices"][0]["compute"].clone();
        share["mix"][class].as_f64().unwrap_or(0.0)
    };
    let mut launch = |name: &str, times: u32, ns: u64| {
        for _ in 0..times {
            client.ok(&format!("kernel {name} {ns}"));
            // Each is paid for before the next, so that each is a grant.
            client.ok("sync");
        }
        let handle = client.ok("function");
        client.ok("unload");
        handle
    };
    let first = launch("flash_fwd_kernel", 64, 0);
    assert!(mix("attention") > 0.9, "{}", mix("attention"));
    // A hundred times as much device time.
    let second = launch("fcsp_spin", 64, 1_000_000);
    assert_eq!(first, second, "the handle did not come again");
    assert!(mix("attention") < 0.5, "{}", mix("attention"));
}
