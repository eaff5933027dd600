//! Tests of charges that costs do not cover: unlearned work, work whose time depends on its data,
//! many processes.

use fcsp_core::share::params::{Mode, Params};

use crate::scenarios::{H100, IDEAL, SECOND, show, sum, tenants};
use crate::sim::{self, Outcome, Tenant};
use crate::traces::Trace::{self, *};

/// Returns the part of the device that all of them had in each whole second after the first.
fn seconds(got: &[Outcome]) -> Vec<f64> {
    let windows = got[0].windows.len();
    let all: Vec<u64> = (0..windows)
        .map(|at| got.iter().map(|outcome| outcome.windows[at]).sum())
        .collect();
    all.chunks_exact(100)
        .skip(1)
        .map(|second| second.iter().sum::<u64>() as f64 / SECOND as f64)
        .collect()
}

fn within_two_points(name: &str, list: &[Tenant], quota: f64) {
    let got = sim::run(list, IDEAL, 6 * SECOND);
    show(name, list, "strict", &got);
    let seconds = seconds(&got);
    println!("    {seconds:.3?}");
    assert_eq!(seconds.len(), 5);
    for had in seconds {
        assert!((had - quota).abs() < 0.02, "{name}: {had:.3} of {quota}");
    }
}

fn strict(trace: Trace, quota: u32, flat: u64) -> Tenant {
    Tenant::new(trace, Params::strict(quota)).flat(flat)
}

/// Checks a new executable graph for each launch, a module loaded again, a grid of its own: each is
/// a stranger that is guessed at 3 us.
#[test]
fn work_that_nobody_has_learned_is_charged_what_it_takes() {
    for quota in [100_000, 500_000] {
        for gpu in [1_000_000, 10_000_000] {
            for every in [1, 20, 0] {
                let list = [Tenant::new(Each { gpu, every }, Params::strict(quota)).strange()];
                let name = format!(
                    "strangers of {} ms, waited for each {every}",
                    gpu / 1_000_000
                );
                within_two_points(&name, &list, f64::from(quota) / 1e6);
            }
        }
    }
}

/// Checks kernels of 10 us of which a few take 5 ms, charged 10 us each.
#[test]
fn work_whose_time_depends_on_its_data_is_charged_what_it_takes() {
    for quota in [100_000, 500_000] {
        for (of, every) in [(50, 1), (50, 50), (50, 0), (200, 1), (200, 100), (200, 0)] {
            let list = [strict(Vary { of, every }, quota, 10_000)];
            let name = format!("10 us, one in {of} 5 ms, waited for each {every}");
            within_two_points(&name, &list, f64::from(quota) / 1e6);
        }
    }
}

/// Checks that an excessive charge is refunded: strangers at the cost of other work.
#[test]
fn work_that_is_charged_too_much_is_given_it_back() {
    for every in [1, 20] {
        let list = [strict(
            Each {
                gpu: 200_000,
                every,
            },
            250_000,
            2_000_000,
        )];
        within_two_points(&format!("0.2 ms each {every}, charged 2 ms"), &list, 0.25);
    }
}

/// Checks that the host's own time between launches is not charged.
#[test]
fn time_in_which_the_host_works_is_not_charged() {
    let list = [Tenant::new(DecodeEager, Params::strict(300_000))];
    let got = sim::run(&list, H100, 4 * SECOND);
    let free = sim::run(
        &tenants(&[(DecodeEager, 100)], Mode::None),
        H100,
        4 * SECOND,
    );
    show(
        "decode eager, strict 30, asks for 24",
        &list,
        "strict",
        &got,
    );
    assert!(
        got[0].rate > 0.99 * free[0].rate,
        "{} {}",
        got[0].rate,
        free[0].rate
    );
}

/// Checks that a share is the tenant's: any number of its processes have it together.
#[test]
fn many_processes_with_long_kernels_have_one_share() {
    for (quota, gpu, processes, every) in [
        (50_000, 30_000_000, 1, 1),
        (50_000, 30_000_000, 16, 1),
        (50_000, 30_000_000, 64, 1),
        (50_000, 10_000_000, 64, 1),
        (200_000, 30_000_000, 64, 1),
        (50_000, 30_000_000, 16, 0),
    ] {
        let mut list = vec![Tenant::new(Each { gpu, every }, Params::strict(quota)); processes];
        for other in &mut list[1..] {
            other.shares_page_of = Some(0);
        }
        let got = sim::run(&list, IDEAL, 12 * SECOND);
        let had = sum(&got);
        println!(
            "{processes} processes, {} ms: {had:.3}, {:.3?}",
            gpu / 1_000_000,
            seconds(&got)
        );
        let share = f64::from(quota) / 1e6;
        assert!(
            (had - share).abs() < 0.005,
            "{processes} processes: {had} of {share}"
        );
        for had in seconds(&got) {
            // A kernel more or less ends in a second.
            assert!(
                (had - share).abs() <= 0.03 + 0.02,
                "{processes} processes: {had} of {share}"
            );
        }
    }
}

/// Checks the same next to others, and at no other tenant's cost, once it was seen alone how wrong
/// the charges are.
#[test]
fn work_that_nobody_has_learned_is_charged_beside_others() {
    let attacker = strict(
        Each {
            gpu: 10_000_000,
            every: 1,
        },
        100_000,
        3_000,
    );
    let name = "3 us, really 10 ms";
    for victim in [Matmul, BigMatmul, DecodeGraph] {
        let mut list = [attacker, Tenant::new(victim, Params::balanced(500_000))];
        list[1].start = SECOND / 2;
        let got = sim::run(&list, H100, 6 * SECOND);
        show(
            &format!("{name} beside {}", victim.name()),
            &list,
            "mixed",
            &got,
        );
        let had = seconds(&got[..1]);
        println!("    {had:.3?}");
        for had in &had {
            // A kernel more or less ends in a second.
            assert!(
                (had - 0.10).abs() <= 0.03,
                "{name} beside {}: {had}",
                victim.name()
            );
        }
        assert!(got[1].share > 0.70, "{}: {}", victim.name(), got[1].share);
    }
}
