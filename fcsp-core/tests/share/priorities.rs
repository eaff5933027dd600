//! Priorities between tenants of different owners: without authority they decide the surplus only.

use fcsp_core::share::params::{Mode, Params, Priority};

use crate::scenarios::{H100, SECOND, alone, heading, show, tenants};
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

#[test]
fn high_priority_is_not_slowed_and_low_keeps_what_is_left() {
    heading("priority");
    for trace in [
        Ping,
        Bursts {
            on: 10_000_000,
            off: 30_000_000,
        },
    ] {
        let free = alone(trace, H100);
        let mut list = tenants(&[(trace, 50), (Matmul, 50)], Mode::Balanced);
        list[0].params.priority = Priority::High;
        list[1].params.priority = Priority::Low;
        let got = sim::run(&list, H100, 4 * SECOND);
        show(
            &format!("high {}, low matmul", trace.name()),
            &list,
            "balanced",
            &got,
        );
        let left = 1.0 - free.share;
        println!(
            "    high at {:.3}, low has {:.3} of what is left",
            got[0].rate / free.rate,
            got[1].share / left
        );
        assert!(
            got[0].rate >= 0.92 * free.rate,
            "{}",
            got[0].rate / free.rate
        );
        assert!(got[1].share >= 0.82 * left, "{}", got[1].share / left);
    }
    // With kernels of 218 us: what is missing to all of it are the switches, and what is left
    // before each step that no kernel fits into.
    let mut list = tenants(&[(Ping, 50), (BigMatmul, 50)], Mode::Balanced);
    list[0].params.priority = Priority::High;
    list[1].params.priority = Priority::Low;
    let got = sim::run(&list, H100, 4 * SECOND);
    show("high ping, low matmul 218", &list, "balanced", &got);
    assert!(
        got[1].share >= 0.82 * (1.0 - alone(Ping, H100).share),
        "{}",
        got[1].share
    );
    // A saturating high tenant leaves the low one its floor and no more.
    let mut list = tenants(&[(Matmul, 50), (Matmul, 50)], Mode::Balanced);
    list[0].params.priority = Priority::High;
    list[1].params.priority = Priority::Low;
    let got = sim::run(&list, H100, 4 * SECOND);
    show("high matmul, low matmul (floor 5)", &list, "balanced", &got);
    assert!(
        got[1].share >= 0.045 && got[1].share <= 0.07,
        "{}",
        got[1].share
    );
}
