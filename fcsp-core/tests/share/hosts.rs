//! Scenarios with hosts like those of `benches/device`. They keep batches in flight, wait for one
//! of them, and pause after each; the steps of one come at regular times.

use fcsp_core::share::params::{Mode, Priority};

use crate::scenarios::{H100, IDEAL, SECOND, alone, fairness, heading, show, sum, tenants};
use crate::sim::{self, Conduct};
use crate::traces::Trace::*;

/// Checks the loops of the device benches, with hosts like theirs: some work is always in flight,
/// and the host pauses after each batch. A tenant whose queue holds work must count as device-bound
/// meanwhile. Otherwise the others take its part of the surplus.
#[test]
fn hosts_that_keep_work_in_flight_have_their_shares() {
    heading("hosts as those of the device benches");
    for (least, list) in [
        (
            0.999,
            vec![(HostedMatmul, 10), (HostedMatmul, 20), (HostedMatmul, 70)],
        ),
        (
            0.999,
            vec![(HostedMatmul, 25), (HostedMatmul, 35), (HostedMatmul, 40)],
        ),
        (0.999, vec![(HostedGraph, 50), (HostedMatmul, 50)]),
        (
            0.99,
            vec![(HostedGraph, 10), (Train, 20), (HostedMatmul, 70)],
        ),
    ] {
        let names: Vec<String> = list
            .iter()
            .map(|(t, q)| format!("{} {q}", t.name()))
            .collect();
        let (name, free) = (names.join(", "), tenants(&list, Mode::None));
        let unshared = sim::run(&free, H100, 6 * SECOND);
        show(&name, &free, "slices", &unshared);
        let list = tenants(&list, Mode::Balanced);
        let got = sim::run(&list, H100, 6 * SECOND);
        show(&name, &list, "balanced", &got);
        assert!(
            fairness(&list, &got) >= least,
            "{name}: {}",
            fairness(&list, &got)
        );
        assert!(sum(&got) >= sum(&unshared) - 0.016, "{name}: {}", sum(&got));
    }
    let list = tenants(&[(HostedEager, 50), (HostedMatmul, 50)], Mode::Balanced);
    let got = sim::run(&list, H100, 6 * SECOND);
    show(
        "hosted decode eager 50, hosted matmul 50",
        &list,
        "balanced",
        &got,
    );
    let speed = got[0].rate / alone(HostedEager, H100).rate;
    assert!(speed >= 0.95, "{speed}");
    assert!(got[1].share >= 0.55, "{}", got[1].share);
}

/// Checks that a step at regular times finds the device idle: only a context switch is left.
#[test]
fn a_step_of_high_priority_that_can_be_foreseen_finds_the_device_free() {
    heading("a decode graph each 3 ms, high, beside a matmul, low");
    let mut list = tenants(&[(Periodic, 50), (HostedMatmul, 50)], Mode::Balanced);
    list[0].params.priority = Priority::High;
    list[1].params.priority = Priority::Low;
    for scheduling in [H100, IDEAL] {
        let free = alone(Periodic, scheduling);
        let got = sim::run(&list, scheduling, 6 * SECOND);
        show("periodic, hosted matmul", &list, "balanced", &got);
        let (least, most) = (free.percentile(0.99), got[0].percentile(0.99));
        let switch = scheduling.idle_switch as f64 / 1e6;
        println!(
            "    p99 {most:.3} ms, alone {least:.3}; low has {:.3} of what is left",
            got[1].share / (1.0 - free.share)
        );
        assert!(most <= least * 1.05 + switch, "{most} of {least}");
        assert!(
            got[1].share >= 0.82 * (1.0 - free.share),
            "{}",
            got[1].share / (1.0 - free.share)
        );
    }
    // One that says it will begin and never does leaves the low one its floor at least.
    let mut lying = list.clone();
    lying[0].trace = Idle;
    for conduct in [Conduct::ClaimsToBegin, Conduct::Noise] {
        lying[0].conduct = conduct;
        let got = sim::run(&lying, H100, 4 * SECOND);
        show(
            &format!("{conduct:?}, hosted matmul"),
            &lying,
            "balanced",
            &got,
        );
        assert!(got[1].share >= 0.045, "{conduct:?}: {}", got[1].share);
    }
}

/// Checks a tenant that is busy on the host and cannot use its half: it is not slowed. The other
/// has its own half, and of the rest what one contiguous quantum in each step can use.
#[test]
fn a_host_bound_tenant_is_neither_slowed_nor_in_the_way() {
    heading("host-bound beside saturating");
    let own = alone(DecodeEager, IDEAL).rate;
    for (title, scheduling, speed, rest) in
        [("ideal", IDEAL, 0.97, 0.52), ("H100", H100, 0.97, 0.52)]
    {
        for mode in [Mode::None, Mode::Balanced, Mode::Adaptive] {
            let list = tenants(&[(DecodeEager, 50), (Matmul, 50)], mode);
            let got = sim::run(&list, scheduling, 4 * SECOND);
            show(
                &format!("decode eager 50, matmul 50 ({title})"),
                &list,
                &mode.to_string(),
                &got,
            );
            assert_eq!(
                got.iter().map(|o| o.forced_admissions).sum::<u64>(),
                0,
                "a deadline passed in an ordinary run"
            );
            println!(
                "    decode takes the slow path at {:.3} of its launches",
                got[0].slow
            );
            println!(
                "    decode at {:.3} of its own speed, p99 {:.2} of p50 alone",
                got[0].rate / own,
                got[0].percentile(0.99) / (1e3 / own)
            );
            if mode != Mode::None {
                assert!(
                    got[0].rate / own >= speed,
                    "{title} {mode}: {}",
                    got[0].rate / own
                );
                assert!(got[1].share >= rest, "{title} {mode}: {}", got[1].share);
            }
        }
    }
}
