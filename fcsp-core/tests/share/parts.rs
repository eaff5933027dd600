//! Properties of the parts: parameters, bucket, page, cost table, gate.

use fcsp_core::classify::Class;
use fcsp_core::share::claim_page::{ClaimPage, PageError};
use fcsp_core::share::cost::{CostTable, MAX_COST_NS, MIN_COST_NS, Sample, graph_key, kernel_key};
use fcsp_core::share::gate::{Gate, GateAdmission};
use fcsp_core::share::params::{Mode, Params, Priority, parse_share};
use fcsp_core::share::policy::{Reason, newcomer_virtual_time};
use fcsp_core::share::token_bucket::{
    Bucket, MAX_DEBT_NS, TokenRate, gpu_to_wall_ns, wall_to_gpu_ns,
};
use proptest::prelude::*;

const T0: u64 = 1 << 40;

fn rate() -> impl Strategy<Value = TokenRate> {
    (1u32..=1_000_000, 1u64..200_000_000).prop_map(|(part, cap)| TokenRate { part, cap })
}

proptest! {
    #[test]
    fn time_converts_both_ways(gpu in 0u64..10_000_000_000, quota in 1u32..=1_000_000) {
        let back = wall_to_gpu_ns(gpu_to_wall_ns(gpu, quota), quota);
        prop_assert!(back.abs_diff(gpu) <= 1, "{back} {gpu}");
    }

    /// Checks that a bucket gives out what flows in and no more, except its cap, in any order of
    /// charges and pauses.
    #[test]
    fn a_bucket_never_gives_more_than_flows_in(
        rate in rate(),
        steps in prop::collection::vec((0u64..50_000_000, 0u64..20_000_000), 1..200),
    ) {
        let mut bucket = Bucket::full(rate, T0);
        let (mut now, mut taken) = (T0, 0u64);
        for (pause, cost) in steps {
            now += pause;
            if bucket.tokens(now) > 0 && now < T0 + MAX_DEBT_NS {
                bucket.take(cost, now);
                taken += cost;
                // What was taken is covered by the cap, the inflow and one cost that was begun with
                // tokens left.
                prop_assert!(taken <= rate.cap + wall_to_gpu_ns(now - T0, rate.part) + cost + 200, "{taken}");
            }
            prop_assert!(bucket.tokens(now) <= rate.cap as i64 + 1);
        }
    }

    #[test]
    fn taking_and_giving_back_is_nothing(rate in rate(), cost in 0u64..1_000_000, now in T0..T0 * 2) {
        let mut bucket = Bucket::full(rate, T0);
        bucket.take(cost, T0);
        let before = bucket.tokens(T0);
        bucket.take(cost, T0);
        bucket.give(cost, T0);
        prop_assert!(bucket.tokens(T0).abs_diff(before) <= 2);
        prop_assert!(bucket.tokens(now) <= rate.cap as i64 + 1);
    }

    #[test]
    fn a_debt_never_waits_longer_than_promised(rate in rate(), cost: u64) {
        let mut bucket = Bucket::full(rate, T0);
        bucket.take(cost, T0);
        prop_assert!(bucket.ready_at() <= T0 + MAX_DEBT_NS);
    }

    #[test]
    fn a_new_rate_keeps_the_content(a in rate(), b in rate(), cost in 0u64..1_000_000) {
        let mut bucket = Bucket::full(a, T0);
        bucket.take(cost, T0);
        let before = bucket.tokens(T0);
        bucket.set_rate(b, T0);
        let debt = -(wall_to_gpu_ns(MAX_DEBT_NS, b.part) as i64);
        // No bucket is older than the clock.
        let full = b.cap.min(wall_to_gpu_ns(T0, b.part)) as i64;
        let want = before.min(full).max(debt);
        prop_assert!(bucket.tokens(T0).abs_diff(want) <= 2, "{} {want}", bucket.tokens(T0));
    }

    #[test]
    fn params_survive_their_words(
        quota in 1u32..=1_000_000, weight in 1u32..=1_000_000, mode in 0u32..4, priority in 0u32..3,
        floor: u32, pool in 0u32..=1_000_000, burst: u32,
    ) {
        let mut params = Params::balanced(quota);
        params.mode = Mode::from_code(mode).unwrap();
        params.priority = Priority::from_code(priority).unwrap();
        (params.weight, params.pool) = (weight, pool);
        params.floor = floor % (quota + 1);
        params.burst = if burst % 2 == 0 { 0 } else { quota + burst % (1_000_001 - quota) };
        params.validate().unwrap();
        prop_assert_eq!(Params::from_words(&params.to_words()), Some(params));
        prop_assert!(params.cap_ns() <= 110_000_000);
    }

    #[test]
    fn params_never_panic(field in "[a-z]{0,8}", text in ".{0,16}", words: [u64; 8]) {
        let mut params = Params::balanced(250_000);
        let _ = params.set(&field, &text);
        let _ = params.validate();
        let _ = Params::from_words(&words);
    }

    /// Checks that reading any neighbour's page and deciding on it does not panic.
    #[test]
    fn any_page_can_be_decided_on(words in prop::collection::vec(any::<u64>(), 48), now in 0u64..u64::MAX / 4, quota in 1u32..=1_000_000) {
        #[repr(align(64))]
        struct Raw([u64; 48]);
        let words_sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
        let mut raw = Box::new(Raw(words.try_into().unwrap()));
        raw.0[0] = fcsp_core::share::claim_page::MAGIC;
        // SAFETY: 384 aligned bytes that outlive the page and that nothing else touches.
        let page = unsafe { ClaimPage::from_mapping((&raw const raw.0).cast(), 384) }.unwrap();
        let views: Vec<_> = page.view().into_iter().collect();
        let own = ClaimPage::new();
        let mode = [Mode::Balanced, Mode::Adaptive][(words_sum % 2) as usize];
        let gate = Gate::new(&own, Params::balanced(quota).with_mode(mode), now).unwrap();
        for step in 0..4u64 {
            let verdict = gate.acquire_as(Class::Gemm, 100_000, now + step * 1_000_000, &views);
            if let GateAdmission::Wait { until, .. } = verdict {
                prop_assert!(until > now);
            }
        }
        newcomer_virtual_time(0, &views, now);
    }

    #[test]
    fn learned_costs_stay_between_the_samples(samples in prop::collection::vec(1_000u64..10_000_000, 1..300), blocks in 0u64..1 << 20) {
        let table = CostTable::new(64);
        let key = kernel_key(0x1234, blocks);
        for &ns in &samples {
            table.learn(key, blocks, ns, false);
        }
        let (least, most) = (samples.iter().min().unwrap(), samples.iter().max().unwrap());
        let cost = table.cost(key, blocks);
        prop_assert!(cost + 16 >= *least && cost <= *most + 16, "{least} {cost} {most}");
    }

    #[test]
    fn guesses_are_costs(blocks: u64, samples in prop::collection::vec((1u64..u64::MAX, any::<u64>()), 0..20)) {
        let table = CostTable::new(64);
        for (blocks, ns) in samples {
            table.learn(kernel_key(1, blocks), blocks, ns, false);
        }
        prop_assert!((MIN_COST_NS..=MAX_COST_NS).contains(&table.guess(blocks)));
    }
}

#[test]
fn shares_are_read_as_people_write_them() {
    for (text, ppm) in [
        ("25%", 250_000),
        ("0.25", 250_000),
        ("12.5 %", 125_000),
        ("1.0", 1_000_000),
        ("100%", 1_000_000),
    ] {
        assert_eq!(parse_share("compute", text), Ok(ppm), "{text}");
    }
    for text in [
        "25",
        "1",
        "",
        "%",
        "-5%",
        "101%",
        "1.1",
        "0",
        "0%",
        "nan",
        "inf%",
        "1e2%",
        "0.0000001",
    ] {
        let message = parse_share("compute", text).expect_err(text).to_string();
        assert!(message.starts_with("compute: "), "{message}");
    }
}

#[test]
fn errors_name_the_field() {
    let base = Params::balanced(250_000);
    for (field, bad) in [
        (
            "compute",
            Params {
                guarantee: 0,
                ..base
            },
        ),
        (
            "floor",
            Params {
                floor: 300_000,
                ..base
            },
        ),
        (
            "shared_pool",
            Params {
                pool: 1_000_001,
                ..base
            },
        ),
        (
            "burst",
            Params {
                burst: 200_000,
                ..base
            },
        ),
        ("weight", Params { weight: 0, ..base }),
    ] {
        assert_eq!(bad.validate().unwrap_err().field, field);
    }
    let mut params = base;
    for (field, text) in [
        ("mode", "firm"),
        ("priority", "urgent"),
        ("weight", "x"),
        ("burst", "much"),
        ("speed", "1"),
    ] {
        params.set(field, text).unwrap_err();
    }
    params.set("compute", "40%").unwrap();
    assert_eq!(
        (params.guarantee, params.weight, params.floor),
        (400_000, 400_000, 50_000)
    );
    params.set("compute", "2%").unwrap();
    assert_eq!((params.weight, params.floor), (20_000, 20_000));
    params.validate().unwrap();
}

#[test]
fn contended_samples_do_not_raise_a_cost() {
    let table = CostTable::new(64);
    let key = kernel_key(7, 64);
    for _ in 0..20 {
        table.learn(key, 64, 100_000, false);
    }
    for _ in 0..200 {
        table.learn(key, 64, 900_000, true);
    }
    assert!(
        table.cost(key, 64).abs_diff(100_000) < 2_000,
        "{}",
        table.cost(key, 64)
    );
    assert!(table.stretch(key).unwrap() > 8_000_000);
    let only_contended = graph_key(9);
    table.learn(only_contended, 0, 300_000, true);
    table.learn(only_contended, 0, 700_000, true);
    assert_eq!(table.cost(only_contended, 0), 300_000);
    assert_ne!(graph_key(9), graph_key(8));
}

#[test]
fn a_full_cost_table_guesses_and_counts() {
    let table = CostTable::new(32);
    for function in 0..4096 {
        table.learn(kernel_key(function, 1), 0, 50_000, false);
    }
    assert!(table.overflow() > 0);
    assert!(table.cost(kernel_key(99_999, 1), 1) >= MIN_COST_NS);
}

#[test]
fn a_page_of_another_version_is_refused() {
    #[repr(align(64))]
    struct Raw([u8; 4096]);
    let mut raw = Box::new(Raw([0; 4096]));
    raw.0[..8].copy_from_slice(b"FCSPSHR\x7f");
    // SAFETY: aligned, 4096 bytes, outlives the page, touched by nothing else.
    let page = unsafe { ClaimPage::from_mapping(raw.0.as_ptr(), 4096) }.unwrap();
    let error = page.attach(&Params::balanced(1), T0).unwrap_err();
    assert!(matches!(error, PageError::Version { .. }) && error.to_string().contains("version"));
    assert_eq!(page.view(), None);
    let shifted = raw.0.as_ptr().wrapping_add(8);
    // SAFETY: refused for its alignment before it is looked at.
    let refused = unsafe { ClaimPage::from_mapping(shifted, 4088) };
    assert_eq!(refused.unwrap_err(), PageError::Mapping);
}

#[test]
fn limits_change_on_a_running_gate() {
    let page = ClaimPage::new();
    let gate = Gate::new(&page, Params::strict(100_000), T0).unwrap();
    let mut now = T0;
    while let GateAdmission::Go { .. } = gate.acquire(1_000_000, now, &[]) {
        gate.drained(now);
        now += 1_000;
    }
    let slow = gate.acquire(1_000_000, now, &[]);
    assert!(matches!(
        slow,
        GateAdmission::Wait {
            reason: Reason::Quota,
            ..
        }
    ));
    // What was paid for before may still be used.
    while gate.admit(10_000) {}
    assert!(!gate.admit(10_000));
    gate.set_params(Params::strict(1_000_000), now);
    assert!(matches!(
        gate.acquire(1_000_000, now + 2_000_000, &[]),
        GateAdmission::Go { .. }
    ));
    gate.set_paused(true);
    assert!(!gate.admit(1));
    assert!(matches!(
        gate.acquire(1, now + 3_000_000, &[]),
        GateAdmission::Wait {
            reason: Reason::Paused,
            ..
        }
    ));
    gate.set_paused(false);
    assert!(matches!(
        gate.acquire(1, now + 3_100_000, &[]),
        GateAdmission::Go { .. }
    ));
}

/// Checks work in flight that never ends, since it may wait for the launch that waits: one launch
/// is forced within the deadline.
#[test]
fn a_stuck_device_lets_one_launch_through() {
    let page = ClaimPage::new();
    let gate = Gate::new(&page, Params::strict(500_000), T0).unwrap();
    let (mut now, mut launched) = (T0, 0);
    let mut let_through_at = None;
    while now < T0 + 300_000_000 && let_through_at.is_none() {
        match gate.acquire(1_000_000, now, &[]) {
            GateAdmission::Go { .. } => launched += 1,
            GateAdmission::Forced => let_through_at = Some(now),
            GateAdmission::Wait { .. } | GateAdmission::Drain { .. } => now += 1_000_000,
        }
    }
    assert!(launched >= 1);
    let waited = let_through_at.expect("nothing was let through") - T0;
    assert!(waited <= 50_000_000 + 4_000_000, "{waited}");
    assert_eq!(page.counters().forced_admissions, 1);
}

#[test]
fn work_among_others_costs_what_its_undisturbed_runs_take() {
    let table = CostTable::new(64);
    let (short, long) = (kernel_key(0x10, 64), kernel_key(0x20, 64));
    for key in [short, long] {
        let alone = if key == short { 200_000 } else { 20_000_000 };
        for _ in 0..40 {
            table.learn(key, 64, alone, false);
        }
    }
    // Clocks have fallen by a seventh, and every other sample has a slice of a neighbour in it.
    for i in 0..320u64 {
        table.learn(short, 64, 230_000 + (i % 2) * 1_200_000, true);
        table.learn(long, 64, 40_000_000 + (i % 2) * 1_200_000, true);
    }
    assert!(
        table.cost(short, 64).abs_diff(230_000) < 2_000,
        "{}",
        table.cost(short, 64)
    );
    // Work as long as many slices is never seen undisturbed.
    assert!(
        table.cost(long, 64).abs_diff(20_000_000) < 200_000,
        "{}",
        table.cost(long, 64)
    );
    // Clocks go up and down: what counts is the average of the undisturbed ones, not the quickest.
    for i in 0..640u64 {
        let slice = if i % 7 == 0 { 900_000 } else { 0 };
        table.learn(short, 64, 170_000 + i * 5 % 9 * 7_500 + slice, true);
    }
    assert!(
        table.cost(short, 64).abs_diff(200_000) < 8_000,
        "{}",
        table.cost(short, 64)
    );
    // The same function does twice as much from now on.
    for i in 0..640u64 {
        table.learn(short, 64, 400_000 + (i % 3) * 600_000, true);
    }
    assert!(
        table.cost(short, 64).abs_diff(400_000) < 10_000,
        "{}",
        table.cost(short, 64)
    );
}

/// Checks a cost learned alone on a preempted host, which contains idle time of the device. It does
/// not stay with other active tenants; a correct cost does.
#[test]
fn long_work_that_was_learned_too_long_is_put_right_among_others() {
    for (learned, right) in [
        (2_500_000u64, 1_000_000u64),
        (1_000_000, 1_000_000),
        (4_000_000, 4_000_000),
    ] {
        let table = CostTable::new(64);
        let key = kernel_key(0x60, 64);
        for _ in 0..40 {
            table.learn(key, 64, learned, false);
        }
        table.correct(key, learned);
        // Half of a kernel of a millisecond, and most of a longer one, have slices of two in them.
        for i in 0..160u64 {
            let slices = if right > 2_000_000 {
                1 + i % 3
            } else {
                i % 4 / 2 * (1 + i % 2)
            };
            table.learn(
                key,
                64,
                right + i * 5 % 9 * 5_000 + slices * 2_000_000,
                true,
            );
        }
        let cost = table.cost(key, 64);
        assert!(
            cost.abs_diff(right) < right / 10,
            "{cost} where {right} is right"
        );
    }
}

/// Checks that a tenant that was never alone still learns the cost of its work.
#[test]
fn work_that_was_never_alone_is_learned_among_others() {
    let table = CostTable::new(64);
    let key = kernel_key(0x40, 64);
    for i in 0..320u64 {
        let slice = if i % 5 == 0 { 2_000_000 } else { 0 };
        table.learn(key, 64, 165_000 + i * 5 % 9 * 5_000 + slice, true);
    }
    assert!(
        table.cost(key, 64).abs_diff(185_000) < 6_000,
        "{}",
        table.cost(key, 64)
    );
    // Short work by exact samples alone: behind another's slice they are, and bounds are too much
    // by half.
    let short = kernel_key(0x50, 64);
    for _ in 0..40 {
        table.learn(
            short,
            64,
            Sample {
                ns: 6_000,
                exact: false,
            },
            false,
        );
    }
    for i in 0..320u64 {
        table.learn(
            short,
            64,
            Sample {
                ns: 6_500,
                exact: false,
            },
            true,
        );
        let slice = if i % 9 == 0 { 1_000_000 } else { 0 };
        table.learn(short, 64, 4_000 + slice, true);
    }
    assert!(
        table.cost(short, 64).abs_diff(4_000) < 300,
        "{}",
        table.cost(short, 64)
    );
}

/// Checks that a span over many launches gives their cost, and that the minimum of a few first
/// samples no longer counts.
#[test]
fn a_correction_outweighs_the_first_few_samples() {
    let table = CostTable::new(64);
    let key = kernel_key(0x30, 64);
    for ns in [163_000, 171_000, 169_000, 172_000] {
        table.learn(key, 64, ns, false);
    }
    for _ in 0..16 {
        table.correct(key, 171_000);
    }
    assert!(
        table.cost(key, 64).abs_diff(171_000) < 200,
        "{}",
        table.cost(key, 64)
    );
}

/// Checks samples whose host part is uncertain because the device was idle before the launch. The
/// cost is near the minimum of such samples and not their mean. It follows the work when that
/// becomes longer.
#[test]
fn samples_that_are_bounds_count_by_the_least_of_several() {
    let table = CostTable::new(64);
    let key = kernel_key(7, 64);
    let bound = |ns: u64| Sample { ns, exact: false };
    for i in 0..64u64 {
        // 4.5 us, and up to 3 us of the host's.
        table.learn(key, 64, bound(4_500 + i * 7 % 5 * 750), false);
    }
    let cost = table.cost(key, 64);
    assert!((4_500..5_300).contains(&cost), "{cost}");
    for i in 0..256u64 {
        table.learn(key, 64, bound(9_000 + i * 7 % 5 * 750), false);
    }
    let cost = table.cost(key, 64);
    assert!((9_000..9_900).contains(&cost), "{cost}");
}
