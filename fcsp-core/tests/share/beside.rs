//! A strict share holds beside others, whatever its work takes, and costs them nothing.

use fcsp_core::share::margin;
use fcsp_core::share::params::{Mode, Params};

use crate::device::Scheduling;
use crate::scenarios::{H100, IDEAL, SECOND};
use crate::sim::{self, Conduct, Outcome, START, Tenant};
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
    tenant.params = Params::balanced(tenant.params.guarantee);
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

/// Checks that a guarantee of half holds next to a borrower that is charged far too little: for
/// work that queues ahead, and for work that waits for its steps.
#[test]
fn a_guarantee_holds_beside_a_borrower_that_is_charged_too_little() {
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for params in [100_000, 300_000].map(Params::balanced) {
            for params in [params, params.with_mode(Mode::Adaptive)] {
                let borrower = |tenant: Tenant| Tenant { params, ..tenant };
                for (name, attacker) in [
                    ("one in 50, never waits", vary(50, 0)),
                    ("one in 50", vary(50, 1)),
                    ("one in 50, waits each 50", vary(50, 50)),
                    ("one in 200, never waits", vary(200, 0)),
                    ("10 ms, charged 3 us", each(10_000_000, 1).flat(3_000)),
                    ("strangers of 1 ms", each(1_000_000, 1).strange()),
                    ("strangers of 10 ms", each(10_000_000, 1).strange()),
                ] {
                    for victim in [Matmul, HostedMatmul, DecodeGraph] {
                        let name = format!(
                            "{:?} {} {name}, {}",
                            params.mode,
                            params.guarantee,
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

/// Checks the same next to a neighbour whose own charges were found wrong, so that it is in doubt
/// too. What the borrower certainly had is not charged to that neighbour.
#[test]
fn a_guarantee_in_doubt_holds_beside_a_borrower_that_is_charged_too_little() {
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for bias in [500_000, 700_000, 800_000] {
            for trace in [Matmul, HostedMatmul, DecodeGraph] {
                let mut victim = half(trace);
                victim.bias = bias;
                let mut borrower = balanced(vary(50, 0));
                borrower.params = Params::balanced(100_000);
                let name = format!("{} off to {bias}", trace.name());
                let got = run(&name, &[borrower, victim], scheduling);
                assert!(got[1].0 >= 0.55, "{title}: {name}: {:.3}", got[1].0);
            }
        }
    }
}

/// Checks the same where the borrower has several processes, and where there are two borrowers.
#[test]
fn a_guarantee_holds_beside_several_that_are_charged_too_little() {
    let borrower = balanced(vary(50, 0));
    let mut sibling = borrower;
    sibling.shares_page_of = Some(0);
    let mut killed = sibling;
    killed.conduct = Conduct::DiesAt(START + SECOND / 10);
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for (name, attackers) in [
            ("two processes", vec![borrower, sibling]),
            ("one of two is killed", vec![borrower, killed]),
            ("two tenants", vec![borrower, borrower]),
            (
                "one that is charged right",
                vec![borrower, balanced(each(1_000_000, 1))],
            ),
        ] {
            let mut list = attackers;
            list.push(half(DecodeGraph));
            let got = run(name, &list, scheduling);
            let had = got[got.len() - 1].0;
            assert!(had >= 0.42, "{title}: {name}: {had:.3}");
        }
    }
}

/// Checks that a neighbour that uses the device and denies it takes its time slices and no more. A
/// tenant with right charges keeps its guarantee, as far as the device serves it. That also holds
/// next to one more process without a page.
#[test]
fn a_neighbour_that_denies_its_use_takes_its_turns_and_no_more() {
    let mut liar = Tenant::new(BigMatmul, Params::default());
    liar.conduct = Conduct::DeniesUse;
    let mut hidden = liar;
    hidden.conduct = Conduct::Hidden;
    for (title, scheduling) in [("H100", H100), ("ideal", IDEAL)] {
        println!("{title}");
        for liars in [vec![liar], vec![liar, hidden]] {
            for quota in [100_000, 300_000, 500_000] {
                for trace in [
                    Matmul,
                    Small,
                    HostedMatmul,
                    Train,
                    DecodeGraph,
                    HostedGraph,
                    Long,
                ] {
                    let beside = |params| {
                        let mut list = vec![Tenant::new(trace, params)];
                        list.extend(&liars);
                        let name = format!("{quota} {} beside {}", trace.name(), liars.len());
                        run(&name, &list, scheduling)[0].0
                    };
                    let free = beside(Params::default());
                    let had = beside(Params::balanced(quota));
                    let promised = f64::from(margin::less(quota)) / 1e6;
                    assert!(
                        had >= promised.min(0.97 * free),
                        "{title}: {} with {quota}: {had:.3} of {free:.3}",
                        trace.name()
                    );
                }
            }
        }
    }
}
