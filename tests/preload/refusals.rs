//! Refusals are exact: what other requests hold for a moment refuses nothing, and what a refused
//! request asks of the driver passes no quota.

use super::*;

/// Waits for a request of another process that holds more than it takes: its driver call fails.
/// Nobody is refused for its sake.
#[test]
fn what_a_failing_request_holds_refuses_nobody() {
    let machine = Machine::new();
    let quota = 2 * CONTEXT + 160 * MIB;
    // Shorter than the longest wait before a refusal.
    let faults = "cuMemAlloc_v2~700ms;cuMemAlloc_v2=1";
    let mut command = machine.governed(program("client"), "t", &quota.to_string());
    command.env("FCSP_SIM_FAULTS", faults);
    let mut failing = Client::start(command);
    failing.ok("open 0");
    let mut other = machine.open("t", &quota.to_string());
    other.ok("info");
    let before = machine.used("t");
    failing.tell(&format!("alloc {}", 120 * MIB));
    // On a machine so busy that this comes too late, nothing is held, and nothing is refused.
    wait_for("the request", || {
        machine.used("t") >= before + 120 * MIB || failing.has_answered()
    });
    // It does not fit beside the other request.
    other.ok(&format!("alloc {}", 100 * MIB));
    assert_eq!(failing.hear().unwrap().0, INVALID_VALUE);
    assert!(machine.used("t") <= quota);
}

/// Refuses beside a request whose driver call never comes back, after a wait that ends.
#[test]
fn what_a_hanging_request_holds_stays_held() {
    let machine = Machine::new();
    let quota = 2 * CONTEXT + 160 * MIB;
    let mut command = machine.governed(program("client"), "t", &quota.to_string());
    command.env("FCSP_SIM_FAULTS", "cuMemAlloc_v2~100000ms");
    let mut hanging = Client::start(command);
    hanging.ok("open 0");
    let mut other = machine.open("t", &quota.to_string());
    other.ok("info");
    let before = machine.used("t");
    hanging.tell(&format!("alloc {}", 120 * MIB));
    wait_for("the request to be held", || {
        machine.used("t") >= before + 120 * MIB
    });
    for _ in 0..3 {
        other.refused(&format!("alloc {}", 100 * MIB));
    }
    hanging.kill();
    wait_for("its bytes", || {
        other.code(&format!("alloc {}", 100 * MIB)) == 0
    });
    assert!(machine.peak() <= quota);
}

/// Asks whether the driver takes the shape of a refused array without making that array.
#[test]
fn a_refused_array_is_not_made_for_a_moment() {
    // A texture gather of three dimensions: the simulated driver takes it, real ones do not.
    const SHAPE: &str = "array3d 1024 1024 64 8";
    let machine = Machine::new();
    let quota = CONTEXT + 64 * MIB;
    let mut client = machine.open("t", &quota.to_string());
    client.ok("info");
    client.refused(SHAPE);
    assert!(machine.peak() <= quota, "{} of {quota}", machine.peak());
    drop(client);
    let mut native = Client::start(machine.bare(program("client")));
    native.ok("open 0");
    native.ok(SHAPE);
}

/// Makes streams while another thread's allocation is on its way back from the driver. A
/// measurement in between counts its bytes twice; no stream is refused for that.
#[test]
fn what_is_counted_twice_for_a_moment_refuses_no_stream() {
    let machine = Machine::new();
    let quota = CONTEXT + 160 * MIB;
    let mut command = machine.governed(program("beside"), "t", &quota.to_string());
    command.args([(100 * MIB).to_string().as_str(), "8"]);
    // Shorter than the longest wait before a refusal.
    command.env("FCSP_SIM_FAULTS", "cuMemAlloc_v2~~700ms");
    let output = command.output().unwrap();
    assert_eq!(stdout(&output), "0 0\n", "{}", stderr(&output));
    assert!(machine.peak() <= quota);
}
