//! A strict share of programs whose costs are hard to learn, and of many processes with long
//! kernels, in virtual time. The sum of the kernels' times is what they had: the simulated device
//! runs one after the other.

use crate::{Machine, program, stderr, stdout};

/// Beyond the quota in any second after the first.
const POINTS: f64 = 0.02;

/// Runs a program of `processes` under a strict share of `percent`, on a driver with these faults.
/// Returns its part of the device in each second.
/// Returns `None` without virtual time.
fn had(
    processes: u32,
    percent: u32,
    mode: &str,
    us: u32,
    every: u32,
    faults: &str,
) -> Option<Vec<f64>> {
    let machine = Machine::timed("h100,memory=64GiB,context=8MiB")?;
    let mut command = machine.governed(program("owed"), "owed", "32GiB");
    command
        .env("FCSP_COMPUTE_LIMIT", format!("{percent}%"))
        .env("FCSP_MODE", "strict")
        .env("FCSP_SIM_FAULTS", faults)
        .args([processes.to_string(), "5".to_owned(), mode.to_owned()])
        .args([us.to_string(), every.to_string()]);
    let output = machine.output(&mut command);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let seconds: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
    println!(
        "{processes} processes, {mode}, {us} us, waited for each {every}: {seconds:?} of {percent} %"
    );
    assert_eq!(seconds.len(), 5);
    Some(seconds)
}

/// `granule` is what one step of the program is of a second: it may end in this one or in the next.
fn strict_holds(processes: u32, percent: u32, mode: &str, us: u32, every: u32, granule: f64) {
    strict_holds_with(processes, percent, mode, us, every, granule, "");
}

fn strict_holds_with(
    processes: u32,
    percent: u32,
    mode: &str,
    us: u32,
    every: u32,
    granule: f64,
    faults: &str,
) {
    let quota = f64::from(percent) / 100.0;
    let Some(seconds) = had(processes, percent, mode, us, every, faults) else {
        return;
    };
    // In the first second costs are learned.
    for part in &seconds[1..] {
        assert!(
            *part <= quota + POINTS + granule,
            "{mode}: {seconds:?} of {quota}"
        );
    }
    let mean = seconds[1..].iter().sum::<f64>() / 4.0;
    assert!(
        mean >= 0.95 * quota - granule / 4.0,
        "{mode}: {seconds:?} of {quota}"
    );
}

#[test]
fn a_new_executable_graph_for_each_launch() {
    strict_holds(1, 10, "graph", 1_000, 1, 0.001);
    strict_holds(1, 10, "graph", 10_000, 1, 0.01);
}

#[test]
fn a_graph_after_many_have_come_and_gone() {
    strict_holds(1, 10, "old", 1_000, 1, 0.001);
}

#[test]
fn a_module_loaded_anew_for_each_launch() {
    strict_holds(1, 10, "module", 1_000, 1, 0.001);
}

#[test]
fn a_grid_of_its_own_for_each_launch() {
    strict_holds(1, 10, "grid", 10_000, 1, 0.01);
}

#[test]
fn kernels_of_which_a_few_take_very_long() {
    strict_holds(1, 10, "vary", 10, 1, 0.005);
    strict_holds(1, 10, "vary", 10, 50, 0.006);
}

/// Submits 30 unknown kernels before each wait: three seconds' work at 10 %. They may be early, and
/// are paid for then. Were the first 30 free, 60 would be done in five seconds.
#[test]
fn the_first_launches_of_all_are_paid_for() {
    let Some(seconds) = had(1, 10, "same", 10_000, 30, "") else {
        return;
    };
    let had: f64 = seconds.iter().sum();
    assert!(had <= 5.0 * 0.1 + POINTS, "{seconds:?}");
}

/// Delays the host's looks at the device: work must not seem done before the look has ended.
#[test]
fn a_host_that_is_slow_to_look_has_its_share_and_no_more() {
    for slow in ["cuEventQuery~300us", "cuEventElapsedTime_v2~500us"] {
        strict_holds_with(1, 30, "same", 1_000, 10, 0.01, slow);
    }
}

#[test]
fn many_processes_have_one_share_together() {
    strict_holds(16, 5, "same", 30_000, 1, 0.03);
    strict_holds(64, 5, "same", 30_000, 1, 0.03);
}
