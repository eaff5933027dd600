//! Parts that scenarios share: devices, lists of tenants, measures, and tables. Run with
//! `--nocapture` for the tables.

use fcsp_core::share::params::{Mode, Params};

use crate::device::Scheduling;
use crate::sim::{self, Outcome, Tenant};
use crate::traces::Trace;

pub const SECOND: u64 = 1_000_000_000;
/// Fits measurements of an H100 (driver 580): three matmuls had .307 each. The other record is a
/// loop of small kernels next to quanta of a matmul of various lengths. There a switch there and
/// back took 0.25 ms, with the time that the hosts need to notice.
pub const H100: Scheduling = Scheduling {
    slice: 2_000_000,
    switch: 170_000,
    idle_switch: 90_000,
};
/// Long slices and free switches: what the policy does, without what the device loses.
pub const IDEAL: Scheduling = Scheduling {
    slice: 2_000_000,
    switch: 0,
    idle_switch: 0,
};

fn jain(x: &[f64]) -> f64 {
    let sum: f64 = x.iter().sum();
    sum * sum / (x.len() as f64 * x.iter().map(|v| v * v).sum::<f64>())
}

pub fn sum(got: &[Outcome]) -> f64 {
    got.iter().map(|o| o.share).sum()
}

pub fn fairness(list: &[Tenant], got: &[Outcome]) -> f64 {
    let x: Vec<f64> = got
        .iter()
        .zip(list)
        .map(|(o, t)| o.share * 1e6 / f64::from(t.params.guarantee))
        .collect();
    jain(&x)
}

pub fn show(name: &str, list: &[Tenant], policy: &str, got: &[Outcome]) {
    let shares: Vec<String> = got
        .iter()
        .take(8)
        .map(|o| format!("{:.3}", o.share))
        .collect();
    let p99: Vec<String> = got
        .iter()
        .take(8)
        .map(|o| format!("{:.1}", o.percentile(0.99)))
        .collect();
    println!(
        "| {name} | {policy} | {} | {:.3} | {:.4} | {} |",
        shares.join(" "),
        sum(got),
        fairness(list, got),
        p99.join(" ")
    );
}

pub fn heading(title: &str) {
    println!(
        "\n{title}\n| tenants | policy | GPU-time shares | sum | Jain | p99 step ms |\n|---|---|---|---|---|---|"
    );
}

pub fn tenants(list: &[(Trace, u32)], mode: Mode) -> Vec<Tenant> {
    list.iter()
        .map(|&(trace, percent)| {
            Tenant::new(trace, Params::balanced(percent * 10_000).with_mode(mode))
        })
        .collect()
}

pub fn alone(trace: Trace, scheduling: Scheduling) -> Outcome {
    sim::run(
        &tenants(&[(trace, 100)], Mode::None),
        scheduling,
        2 * SECOND,
    )
    .remove(0)
}
