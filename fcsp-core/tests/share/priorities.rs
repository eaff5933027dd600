//! Priorities between tenants of different owners: without authority they decide the surplus only.

use fcsp_core::share::params::{Mode, Params, Priority};

use crate::scenarios::{H100, SECOND};
use crate::sim::{self, Conduct, Tenant};
use crate::traces::Trace::*;

/// Returns the share of an honest tenant next to one of another user that claims high priority.
fn beside_liar(honest: Params, hostile: crate::traces::Trace) -> f64 {
    let mut liar = Tenant::new(hostile, Params::balanced(1_000_000)).user(7);
    liar.conduct = Conduct::ClaimsHigh;
    sim::run(&[Tenant::new(Matmul, honest), liar], H100, 3 * SECOND)[0].share
}

#[test]
fn a_priority_without_authority_takes_nothing_from_a_guarantee() {
    for mode in [Mode::Strict, Mode::Balanced, Mode::Adaptive] {
        for priority in [Priority::Low, Priority::Normal] {
            for (percent, least) in [(50, 0.42), (10, 0.084)] {
                let honest = Params::balanced(percent * 10_000)
                    .with_mode(mode)
                    .with_priority(priority);
                // A page alone, with nothing on the device.
                let share = beside_liar(honest, Idle);
                println!("{percent} % {mode} {priority}: {share:.3} beside a page");
                assert!(share >= least, "{percent} % {mode} {priority}: {share}");
            }
        }
    }
}

/// Checks that the library of a tenant that claims high priority respects the guarantees of other
/// users' tenants.
#[test]
fn a_tenant_that_names_itself_high_takes_the_surplus_only() {
    for percent in [30, 50] {
        let high = Params::balanced(150_000).with_priority(Priority::High);
        let list = [
            Tenant::new(Matmul, Params::balanced(percent * 10_000)),
            Tenant::new(Matmul, high).user(7),
            Tenant::new(Matmul, high).user(8),
            Tenant::new(Matmul, high).user(9),
        ];
        let got = sim::run(&list, H100, 3 * SECOND);
        let shares: Vec<f64> = got.iter().map(|outcome| outcome.share).collect();
        println!("{percent} %: {shares:.3?}");
        assert!(shares[0] >= 0.83 * f64::from(percent) / 100.0, "{shares:?}");
    }
    // It goes first to what is left over.
    let high = Params::balanced(200_000).with_priority(Priority::High);
    let list = [
        Tenant::new(Matmul, Params::balanced(200_000)),
        Tenant::new(Matmul, high).user(7),
    ];
    let got = sim::run(&list, H100, 3 * SECOND);
    println!("surplus: {:.3} {:.3}", got[0].share, got[1].share);
    assert!(
        got[0].share >= 0.83 * 0.2 && got[0].share < 0.25,
        "{}",
        got[0].share
    );
    assert!(got[1].share > 0.65, "{}", got[1].share);
}
