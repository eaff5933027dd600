//! Scenarios and what must hold in them. Run with `--nocapture` for the table.

use fcsp_core::share::params::{Mode, Params, Priority};

use crate::device::Scheduling;
use crate::sim::{self, Conduct, Outcome, Tenant};
use crate::traces::Trace;

const SECOND: u64 = 1_000_000_000;
const H100: Scheduling = Scheduling { slice: 1_200_000, switch: 45_000 };
const IDEAL: Scheduling = Scheduling { slice: 2_000_000, switch: 0 };

fn jain(x: &[f64]) -> f64 {
    let sum: f64 = x.iter().sum();
    sum * sum / (x.len() as f64 * x.iter().map(|v| v * v).sum::<f64>())
}

fn show(name: &str, tenants: &[Tenant], policy: &str, got: &[Outcome]) {
    let shares: Vec<String> = got.iter().map(|o| format!("{:.3}", o.share)).collect();
    let p99: Vec<String> = got.iter().map(|o| format!("{:.1}", o.percentile(0.99))).collect();
    let ratio: Vec<f64> =
        got.iter().zip(tenants).map(|(o, t)| o.share * 1e6 / f64::from(t.params.quota)).collect();
    println!(
        "| {name} | {policy} | {} | {:.3} | {:.4} | {} |",
        shares.join(" "),
        got.iter().map(|o| o.share).sum::<f64>(),
        jain(&ratio),
        p99.join(" ")
    );
}

fn tenants(list: &[(Trace, u32)], mode: Mode) -> Vec<Tenant> {
    list.iter().map(|&(trace, q)| Tenant::new(trace, Params::balanced(q * 10_000).with_mode(mode))).collect()
}

#[test]
fn table() {
    use Trace::*;
    for (device, scheduling) in [("H100 (1.2 ms, 45 us)", H100), ("2 ms, 0 us", IDEAL)] {
        println!("\n{device}\n| tenants | policy | GPU-time shares | sum | Jain | p99 step ms |\n|---|---|---|---|---|---|");
        for (name, list) in [
            ("matmul 25/35/40", vec![(BigMatmul, 25), (BigMatmul, 35), (BigMatmul, 40)]),
            ("decode graph 25, train 35, matmul 40", vec![(DecodeGraph, 25), (Train, 35), (BigMatmul, 40)]),
            ("decode graph 50, matmul 50", vec![(DecodeGraph, 50), (BigMatmul, 50)]),
            ("decode eager 50, matmul 50", vec![(DecodeEager, 50), (Matmul, 50)]),
            ("decode eager 50, matmul 218 50", vec![(DecodeEager, 50), (BigMatmul, 50)]),
            ("4 x decode graph", vec![(DecodeGraph, 25); 4]),
            ("matmul 10/20/70", vec![(Matmul, 10), (Matmul, 20), (Matmul, 70)]),
            ("unlike 10/20/70", vec![(Small, 10), (Train, 20), (DecodeGraph, 70)]),
            ("matmul 25/25", vec![(Matmul, 25), (Matmul, 25)]),
            ("matmul 10/30", vec![(Matmul, 10), (Matmul, 30)]),
        ] {
            for (policy, mode) in [("slices", Mode::None), ("balanced", Mode::Balanced)] {
                let list = tenants(&list, mode);
                let got = sim::run(&list, scheduling, 4 * SECOND);
                show(name, &list, policy, &got);
                if name.contains("eager") {
                    println!("   rates {:?} slow {:?}", got.iter().map(|o| o.rate).collect::<Vec<_>>(), got.iter().map(|o| o.slow).collect::<Vec<_>>());
                }
            }
        }
    }
    let _ = (Conduct::Honest, Priority::High);
    for t in [DecodeEager, DecodeGraph] {
        let got = sim::run(&tenants(&[(t, 50)], Mode::None), IDEAL, SECOND);
        println!("alone {} {:?} {}", t.name(), got[0].rate, got[0].share);
    }
}
