//! Hostile, dead and stopped neighbours: they take no guarantee, and leave their time.

use fcsp_core::classify::Class;
use fcsp_core::share::params::Mode;

use crate::scenarios::{H100, SECOND, heading, show, sum, tenants};
use crate::sim::{self, Conduct, START, WINDOW};
use crate::traces::Trace::*;

/// Checks that an honest tenant has its guarantee, whatever a neighbour claims and wherever it dies
/// or stops.
#[test]
fn nobody_takes_an_honest_tenant_below_its_guarantee() {
    heading("hostile neighbours: honest matmul 50 (or 70, 90) beside");
    for (trace, percent) in [(Matmul, 50), (DecodeGraph, 50), (Matmul, 70), (Matmul, 90)] {
        for conduct in [
            Conduct::ClaimsHeldUp,
            Conduct::ClaimsWaiting,
            Conduct::ClaimsHuge,
            Conduct::Noise,
            Conduct::DiesAt(START + SECOND / 2),
            Conduct::Stopped(START + SECOND / 2, START + 3 * SECOND / 2),
        ] {
            for hostile in [Matmul, Idle] {
                let mut list = tenants(
                    &[(trace, percent), (hostile, 100 - percent)],
                    Mode::Balanced,
                );
                list[1].conduct = conduct;
                let got = sim::run(&list, H100, 3 * SECOND);
                show(
                    &format!("{} {percent}, {} {conduct:?}", trace.name(), hostile.name()),
                    &list,
                    "balanced",
                    &got,
                );
                // What the device delivers to the two without any policy, in the proportion of the
                // quotas.
                let free = tenants(&[(trace, percent), (hostile, 100 - percent)], Mode::None);
                let delivered = sum(&sim::run(&free, H100, SECOND));
                let entitled = f64::from(percent) / 100.0 * delivered.min(1.0);
                assert!(
                    got[0].share >= 0.98 * entitled,
                    "{conduct:?} {}: {} of {entitled}",
                    hostile.name(),
                    got[0].share
                );
            }
        }
    }
}

#[test]
fn a_dead_or_stopped_tenant_leaves_its_time_to_the_others() {
    for conduct in [
        Conduct::DiesAt(START + SECOND),
        Conduct::Stopped(START + SECOND, START + 2 * SECOND),
    ] {
        for trace in [Matmul, DecodeGraph, Small] {
            let mut list = tenants(&[(Matmul, 40), (trace, 60)], Mode::Balanced);
            list[1].conduct = conduct;
            let got = sim::run(&list, H100, 3 * SECOND);
            let from = (SECOND / WINDOW) as usize + 4;
            let share =
                got[0].windows[from..from + 50].iter().sum::<u64>() as f64 / (50 * WINDOW) as f64;
            assert!(share >= 0.98, "{conduct:?} {}: {share}", trace.name());
        }
    }
}

/// Checks that a tenant that always claims to be sensitive to latency gets no more than a better
/// place within its bucket.
#[test]
fn a_false_leaning_takes_nothing_from_a_guarantee() {
    heading("hostile neighbours that claim to lean to latency: honest matmul beside");
    for percent in [50, 70, 90] {
        for conduct in [Conduct::ClaimsHeldUp, Conduct::ClaimsWaiting] {
            for hostile in [Matmul, Idle] {
                let mut list = tenants(
                    &[(Matmul, percent), (hostile, 100 - percent)],
                    Mode::Adaptive,
                );
                list[0].class = Class::Gemm;
                list[1].conduct = conduct;
                let got = sim::run(&list, H100, 3 * SECOND);
                show(
                    &format!("{conduct:?} {}", hostile.name()),
                    &list,
                    "adaptive",
                    &got,
                );
                let free = tenants(&[(Matmul, percent), (hostile, 100 - percent)], Mode::None);
                let delivered = sum(&sim::run(&free, H100, SECOND));
                let entitled = f64::from(percent) / 100.0 * delivered.min(1.0);
                assert!(
                    got[0].share >= 0.98 * entitled,
                    "{conduct:?} {}: {} of {entitled}",
                    hostile.name(),
                    got[0].share
                );
            }
        }
    }
}
