//! Surplus: who has the time that its owner does not use, and how soon.

use fcsp_core::classify::Class;
use fcsp_core::share::params::Mode;

use crate::scenarios::{H100, IDEAL, SECOND, heading, show, sum, tenants};
use crate::sim::{self, WINDOW};
use crate::traces::Trace::*;

#[test]
fn strict_takes_no_surplus_and_balanced_takes_it_by_weight() {
    heading("surplus");
    let mut list = tenants(&[(Matmul, 25), (Matmul, 25)], Mode::Balanced);
    list[0].params.mode = Mode::Strict;
    let got = sim::run(&list, H100, 4 * SECOND);
    show("matmul 25 strict, matmul 25", &list, "mixed", &got);
    assert!((got[0].share - 0.25).abs() < 0.01 && got[1].share > 0.69);

    for (quota, weight) in [([10, 30], [1, 3]), ([20, 20], [1, 3]), ([10, 10], [2, 1])] {
        let mut list = tenants(&[(Matmul, quota[0]), (Matmul, quota[1])], Mode::Balanced);
        for (tenant, w) in list.iter_mut().zip(weight) {
            tenant.params.weight = w * 100_000;
        }
        let got = sim::run(&list, H100, 4 * SECOND);
        show(
            &format!("matmul {quota:?} weights {weight:?}"),
            &list,
            "balanced",
            &got,
        );
        let over: Vec<f64> = got
            .iter()
            .zip(quota)
            .map(|(o, q)| o.share - f64::from(q) / 100.0)
            .collect();
        let want = f64::from(weight[0]) / f64::from(weight[0] + weight[1]);
        assert!(
            (over[0] / (over[0] + over[1]) - want).abs() < 0.05,
            "{over:?}"
        );
    }

    let mut list = tenants(&[(Matmul, 25)], Mode::Balanced);
    list[0].params.pool = 150_000;
    let got = sim::run(&list, H100, 2 * SECOND);
    show("matmul 25, pool 15", &list, "balanced", &got);
    assert!((got[0].share - 0.40).abs() < 0.015, "{}", got[0].share);
}

#[test]
fn one_active_of_four_has_the_device_and_gives_it_back_at_once() {
    heading("one of four");
    for mode in [Mode::Balanced, Mode::Adaptive] {
        let list = tenants(&[(Matmul, 25), (Idle, 25), (Idle, 25), (Idle, 25)], mode);
        let got = sim::run(&list, H100, 2 * SECOND);
        show("matmul and three idle", &list, &mode.to_string(), &got);
        assert!(got[0].share >= 0.99, "{}", got[0].share);
    }
    // Three others wake at 1 s: within 20 ms each has its quarter of what the device delivers.
    let late = From(SECOND);
    let list = tenants(
        &[(Matmul, 25), (late, 25), (late, 25), (late, 25)],
        Mode::Balanced,
    );
    let got = sim::run(&list, H100, 2 * SECOND);
    show("three wake", &list, "balanced", &got);
    let after = (SECOND / WINDOW) as usize + 2;
    for o in &got {
        let share = o.windows[after..after + 4].iter().sum::<u64>() as f64 / (4 * WINDOW) as f64;
        assert!(share >= 0.20, "{share}");
    }
    // The old one has its quarter from the start: nobody is owed the time it had alone.
    let share = got[0].windows[after..after + 10].iter().sum::<u64>() as f64 / (10 * WINDOW) as f64;
    assert!(share >= 0.2, "{share}");
}

#[test]
fn idle_time_flows_to_the_others_at_once() {
    let list = tenants(
        &[
            (
                Bursts {
                    on: 50_000_000,
                    off: 50_000_000,
                },
                50,
            ),
            (Matmul, 50),
        ],
        Mode::Balanced,
    );
    let got = sim::run(&list, H100, 3 * SECOND);
    heading("bursts");
    show("bursts 50, matmul 50", &list, "balanced", &got);
    assert!(sum(&got) > 0.96, "{}", sum(&got));
    // In the middle of each pause the other has everything.
    for period in 5..25 {
        let pause = got[1].windows[period * 10 + 6..period * 10 + 9]
            .iter()
            .sum::<u64>();
        assert!(pause as f64 >= 0.97 * 3.0 * WINDOW as f64, "{pause}");
    }
}

/// Checks that in adaptive mode the class of the work decides whose next step waits. Work that is
/// sensitive to latency goes sooner than work that is sensitive to throughput, and neither loses
/// any of its share.
#[test]
fn the_class_of_the_work_decides_who_waits_in_adaptive_mode() {
    heading("sensitivity: decode beside matmul, adaptive, classes unknown and known");
    for (trace, heap, quotas) in [
        (DecodeEager, BigMatmul, [25, 75]),
        (DecodeEager, BigMatmul, [50, 50]),
        (Ping, Matmul, [25, 75]),
        (Ping, BigMatmul, [50, 50]),
    ] {
        for scheduling in [H100, IDEAL] {
            let mut results = Vec::new();
            for known in [false, true] {
                let mut list = tenants(&[(trace, quotas[0]), (heap, quotas[1])], Mode::Adaptive);
                if known {
                    (list[0].class, list[1].class) = (Class::Attention, Class::Gemm);
                }
                let got = sim::run(&list, scheduling, 4 * SECOND);
                let name = format!("{} {quotas:?} {} {known}", trace.name(), heap.name());
                show(&name, &list, "adaptive", &got);
                results.push(got);
            }
            let [unknown, known] = &results[..] else {
                unreachable!()
            };
            let (before, after) = (unknown[0].percentile(0.99), known[0].percentile(0.99));
            // With decode turns are taken either way.
            assert!(
                after <= 1.01 * before,
                "{} p99 {after} ms of {before} ms",
                trace.name()
            );
            assert!(
                known[0].rate >= 0.98 * unknown[0].rate,
                "{} is slower",
                trace.name()
            );
            let (before, after) = (unknown[1].share, known[1].share);
            assert!(
                after >= 0.9 * before,
                "{} has {after} of {before}",
                heap.name()
            );
        }
    }
}
