//! Claims end with the process that made them, though others of its tenant live on.

use fcsp_core::share::claim_page::ClaimPage;
use fcsp_core::share::params::Params;
use fcsp_core::share::policy::{HOLD_GRACE_NS, SLICE_NS, WAITER_STALE_NS};
use fcsp_core::share::token_bucket::gpu_to_wall_ns;

use crate::scenarios::{H100, SECOND};
use crate::sim::{self, Conduct, START, Tenant, WINDOW};
use crate::traces::Trace::{self, *};

/// Returns the share of a tenant with 20 % from 0.6 s to 1.6 s after a process of its neighbour
/// ended by `conduct`. Another process of that neighbour continues.
fn after(trace: Trace, conduct: Conduct) -> f64 {
    let mut busy = Tenant::new(trace, Params::balanced(300_000));
    busy.conduct = conduct;
    let mut ticking = Tenant::new(Tick, Params::balanced(300_000));
    ticking.shares_page_of = Some(1);
    let list = [
        Tenant::new(Matmul, Params::balanced(200_000)),
        busy,
        ticking,
    ];
    let got = sim::run(&list, H100, 3 * SECOND);
    let from = (SECOND * 16 / 10 / WINDOW) as usize;
    got[0].windows[from..from + 100].iter().sum::<u64>() as f64 / (100 * WINDOW) as f64
}

#[test]
fn a_process_that_dies_or_stops_holds_nothing_while_another_of_its_tenant_lives() {
    let ticks_alone = after(Idle, Conduct::Honest);
    println!("beside one that only ticks: {ticks_alone:.3}");
    for trace in [Matmul, DecodeGraph, DecodeEager] {
        for at in (0..12).map(|i| START + SECOND + i * 1_237_000) {
            let shares = [
                Conduct::DiesAt(at),
                Conduct::Stopped(at, START + 10 * SECOND),
            ]
            .map(|conduct| after(trace, conduct));
            assert!(
                shares.iter().all(|&share| share >= ticks_alone - 0.02),
                "{} {}: {shares:.3?}",
                trace.name(),
                at - START
            );
        }
    }
}

/// Checks every kind of claim, as its maker left it, on a page that another process keeps fresh.
#[test]
fn each_claim_has_an_end_of_its_own() {
    let (quota, begins) = (300_000, 1 << 40);
    let page = ClaimPage::new();
    page.attach(&Params::balanced(quota), begins).unwrap();
    page.submitted(1_000_000, begins);
    page.block(begins);
    let ends =
        begins + gpu_to_wall_ns(1_000_000, quota) + HOLD_GRACE_NS + gpu_to_wall_ns(SLICE_NS, quota);
    for (now, is_device_bound) in [
        (begins, true),
        (ends - 1, true),
        (ends + 1, false),
        (ends * 2, false),
    ] {
        page.publish(now);
        let view = page.view().unwrap();
        assert_eq!(
            view.is_device_bound(now),
            is_device_bound,
            "{}",
            now - begins
        );
    }
    let page = ClaimPage::new();
    page.attach(&Params::balanced(quota), begins).unwrap();
    page.waits(begins);
    for (now, waits) in [(begins, true), (begins + WAITER_STALE_NS, false)] {
        page.publish(now);
        assert_eq!(page.view().unwrap().waits(now), waits);
    }
    // One that stands there still says so again.
    let now = begins + WAITER_STALE_NS;
    page.waits(now);
    assert!(page.view().unwrap().waits(now));
}
