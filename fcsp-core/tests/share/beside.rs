//! A strict share holds beside others, whatever its work takes, and costs them nothing.

use fcsp_core::share::params::{Mode, Params};

use crate::device::Scheduling;
use crate::scenarios::{H100, IDEAL, SECOND};
use crate::sim::{self, Outcome, Tenant};
use crate::traces::Trace::{self, *};

const QUOTA: f64 = 0.10;

/// Returns the least and the most that a tenant had of a second after the first.
fn range(got: &Outcome) -> (f64, f64) {
    let had = |second: &[u64]| second.iter().sum::<u64>() as f64 / SECOND as f64;
    got.windows
        .chunks_exact(100)
        .skip(1)
        .map(had)
        .fold((f64::MAX, 0.0), |(least, most), had| {
            (had.min(least), had.max(most))
        })
}

fn strict(trace: Trace) -> Tenant {
    Tenant::new(trace, Params::strict(100_000))
}

fn each(gpu: u64, every: u64) -> Tenant {
    strict(Each { gpu, every })
}

/// Creates kernels of 10 us, charged that much each, of which one in `of` takes 5 ms.
fn vary(of: u64, every: u64) -> Tenant {
    strict(Vary { of, every }).flat(10_000)
}

fn balanced(mut tenant: Tenant) -> Tenant {
    tenant.params = Params::balanced(tenant.params.quota);
    tenant
}

fn half(trace: Trace) -> Tenant {
    Tenant::new(trace, Params::balanced(500_000))
}

fn run(name: &str, list: &[Tenant], scheduling: Scheduling) -> Vec<(f64, f64)> {
    let got: Vec<_> = sim::run(list, scheduling, 6 * SECOND)
        .iter()
        .map(range)
        .collect();
    println!("  {name:44} {got:.3?}");
    got
}

/// Checks each next to a tenant that takes all of the rest, in each whole second after the first.
/// No two of them are ever alone.
#[test]
fn a_strict_share_holds_beside_one_that_takes_the_rest() {
    for (title, scheduling, beyond) in [("H100", H100, 0.02), ("ideal", IDEAL, 0.035)] {
        println!("{title}");
        // What a kernel that began before a second's end may add, and what the device loses when it
        // switches for each launch.
        for (name, attacker, kernel, lost) in [
            ("plain 1 ms", each(1_000_000, 1), 0.001, 0.0),
            ("never waits, 1 ms", each(1_000_000, 0), 0.001, 0.0),
            ("waits for each 20 ms", each(20_000_000, 1), 0.02, 0.0),
            ("110 us, waits each 8", each(110_000, 8), 0.001, 0.0),
            (
                "strangers of 1 ms",
                each(1_000_000, 1).strange(),
                0.001,
                0.0,
            ),
            (
                "strangers of 10 ms",
                each(10_000_000, 1).strange(),
                0.01,
                0.0,
            ),
            (
                "1 ms, charged 3 us",
                each(1_000_000, 1).flat(3_000),
                0.001,
                0.0,
            ),
            (
                "10 ms, charged 3 us",
                each(10_000_000, 1).flat(3_000),
                0.01,
                0.0,
            ),
            ("one in 50", vary(50, 1), 0.005, 0.0),
            ("one in 50, waits each 50", vary(50, 50), 0.005, 0.0),
            ("one in 50, never waits", vary(50, 0), 0.005, 0.0),
            ("one in 200", vary(200, 1), 0.005, 0.02),
        ] {
            for victim in [Matmul, HostedMatmul, DecodeGraph] {
                let name = format!("{name}, beside {}", victim.name());
                let got = run(&name, &[attacker, half(victim)], scheduling);
                let (least, most) = got[0];
                assert!(
                    most <= QUOTA + beyond + kernel && least >= QUOTA - 0.02 - kernel - lost,
                    "{title}: {name}: {least:.3} to {most:.3}"
                );
                assert!(got[1].0 >= 0.80, "{title}: {name}: {:.3} is left", got[1].0);
            }
        }
    }
}

/// Checks that neither unpredictable tenants nor their number change the result, and that a
/// correctly charged tenant pays for no other.
#[test]
fn those_whose_work_can_be_foretold_pay_for_nobody() {
    let (one, long) = (vary(50, 1), each(10_000_000, 1).flat(3_000));
    let (never, plain) = (vary(50, 0), each(1_000_000, 1));
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for (name, list, sure) in [
            (
                "one in 50, plain, half",
                vec![one, plain, half(Matmul)],
                vec![1, 2],
            ),
            (
                "10 ms, plain, half",
                vec![long, plain, half(Matmul)],
                vec![1, 2],
            ),
            (
                "never waits, plain, half",
                vec![never, plain, half(Matmul)],
                vec![1, 2],
            ),
            (
                "none of three waits",
                vec![never, each(1_000_000, 0), half(Matmul)],
                vec![1, 2],
            ),
            ("two of one kind", vec![one, one, half(Matmul)], vec![2]),
            ("two and nobody else", vec![one, long], vec![]),
            ("three strict", vec![one, long, plain], vec![2]),
            ("beside one that is idle", vec![one, half(Idle)], vec![]),
            (
                "beside one that comes and goes",
                vec![one, half(Ping)],
                vec![],
            ),
        ] {
            let got = run(name, &list, scheduling);
            for (i, (tenant, &(least, most))) in list.iter().zip(&got).enumerate() {
                if tenant.params == one.params {
                    let beyond = if sure.contains(&i) { 0.02 } else { 0.05 };
                    assert!(
                        least >= QUOTA - 0.02 && most <= QUOTA + beyond + 0.01,
                        "{title}: {name}: {least:.3} to {most:.3}"
                    );
                } else if sure.contains(&i) {
                    assert!(least >= 0.42, "{title}: {name}: {least:.3}");
                }
            }
        }
    }
}

/// Checks that the error in a neighbour's costs moves a strict share by at most a part of what the
/// neighbour had.
#[test]
fn a_neighbour_whose_costs_are_wrong_moves_a_strict_share_a_little() {
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for (bias, least, most) in [(800_000, 0.065, 0.14), (1_250_000, 0.08, 0.18)] {
            for (name, attacker) in [("one in 50", vary(50, 1)), ("plain", each(1_000_000, 1))] {
                let mut victim = half(Matmul);
                victim.bias = bias;
                let got = run(
                    &format!("{name}, costs off to {bias}"),
                    &[attacker, victim],
                    scheduling,
                );
                assert!(
                    got[0].0 >= least && got[0].1 <= most,
                    "{title}: {name} {bias}: {:?}",
                    got[0]
                );
                assert!(got[1].0 >= 0.42, "{title}: {name} {bias}: {:?}", got[1]);
            }
        }
    }
}

/// Checks that a strict tenant with half has it next to a borrower whose charges are far too low.
#[test]
fn a_strict_guarantee_holds_beside_work_that_nobody_can_foretell() {
    let victim = Tenant::new(Matmul, Params::strict(500_000));
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for (name, attacker) in [
            ("strict, one in 50", vary(50, 1)),
            ("balanced, one in 50", balanced(vary(50, 1))),
        ] {
            let got = run(name, &[attacker, victim], scheduling);
            assert!(
                got[1].0 >= 0.48 && got[1].1 <= 0.52,
                "{title}: {name}: {:?}",
                got[1]
            );
        }
    }
}

/// Checks that a guarantee of half holds in two cases. One is work that queues ahead, next to a
/// borrower that is charged far too little. The other is work that waits for its steps, next to a
/// tenant with learned costs or one that waits for its own.
#[test]
fn a_guarantee_holds_for_work_that_queues_ahead_beside_a_borrower() {
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for params in [100_000, 300_000].map(Params::balanced) {
            for params in [params, params.with_mode(Mode::Adaptive)] {
                let borrower = |tenant: Tenant| Tenant { params, ..tenant };
                for (name, attacker, waiting) in [
                    ("one in 50, never waits", vary(50, 0), false),
                    ("one in 50", vary(50, 1), true),
                    ("one in 200, never waits", vary(200, 0), false),
                    (
                        "10 ms, charged 3 us",
                        each(10_000_000, 1).flat(3_000),
                        false,
                    ),
                    ("strangers of 1 ms", each(1_000_000, 1).strange(), true),
                    ("strangers of 10 ms", each(10_000_000, 1).strange(), true),
                ] {
                    let victims = [Matmul, HostedMatmul]
                        .into_iter()
                        .chain(waiting.then_some(DecodeGraph));
                    for victim in victims {
                        let name = format!(
                            "{:?} {} {name}, {}",
                            params.mode,
                            params.quota,
                            victim.name()
                        );
                        let got = run(&name, &[borrower(attacker), half(victim)], scheduling);
                        assert!(got[1].0 >= 0.42, "{title}: {name}: {:.3}", got[1].0);
                    }
                }
            }
        }
    }
}
