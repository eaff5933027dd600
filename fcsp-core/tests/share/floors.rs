//! Floors: what a tenant keeps while one of a higher class has all the work it can submit.

use fcsp_core::share::params::{Mode, Params, Priority};

use crate::scenarios::{H100, SECOND};
use crate::sim::{self, Outcome, Tenant, WINDOW};
use crate::traces::Trace::{self, *};

/// Instant at which the high tenant begins.
const BEGINS: u64 = SECOND;

/// Returns the share between two instants after the high tenant began, in ns.
fn between(outcome: &Outcome, from: u64, to: u64) -> f64 {
    let window = |ns: u64| ((BEGINS + ns) / WINDOW) as usize;
    let busy: u64 = outcome.windows[window(from)..window(to)].iter().sum();
    busy as f64 / (to - from) as f64
}

/// Runs a tenant that has borrowed the whole device for a second, then one of high priority.
fn beside_high(trace: Trace, params: Params) -> Outcome {
    let mut high = Tenant::new(From(BEGINS), Params::balanced(500_000));
    high.params.priority = Priority::High;
    sim::run(&[Tenant::new(trace, params), high], H100, 4 * SECOND).remove(0)
}

#[test]
fn a_floor_is_kept_from_the_first_tenth_of_a_second() {
    println!("| work | mode | floor | 0.1 to 0.6 s | 0.6 to 3 s |\n|---|---|---|---|---|");
    for (trace, floors) in [
        (Matmul, &[5, 10, 20, 30][..]),
        (BigMatmul, &[5, 10, 20, 30]),
        (Small, &[5, 10, 20, 30]),
        (Train, &[5, 10, 20, 30]),
        // One graph at a time: it asks for no more beside slices of 2 ms.
        (DecodeGraph, &[5, 10]),
    ] {
        for mode in [Mode::Balanced, Mode::Adaptive] {
            for &percent in floors {
                let mut params = Params::balanced(500_000).with_mode(mode);
                params.floor = percent * 10_000;
                let got = beside_high(trace, params);
                let early = between(&got, SECOND / 10, SECOND * 6 / 10);
                let late = between(&got, SECOND * 6 / 10, 3 * SECOND);
                println!(
                    "| {} | {mode} | {percent} | {early:.3} | {late:.3} |",
                    trace.name()
                );
                let floor = f64::from(percent) / 100.0;
                for share in [early, late] {
                    assert!(
                        (share - floor).abs() <= 0.02,
                        "{} {mode}: {share} of a floor of {floor}",
                        trace.name()
                    );
                }
            }
        }
    }
}

/// Checks that kernels longer than the floor earns in a bucket's depth are paid back before the
/// next one.
#[test]
fn long_kernels_on_a_floor_are_paid_back() {
    let got = beside_high(Long, Params::balanced(500_000));
    let share = between(&got, SECOND / 10, 3 * SECOND);
    assert!((share - 0.05).abs() <= 0.02, "{share} of a floor of 0.05");
}
