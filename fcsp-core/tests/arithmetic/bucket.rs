//! The token bucket of `share::token_bucket`.

use fcsp_core::share::token_bucket::{
    Bucket, MAX_DEBT_NS, TokenRate, gpu_to_wall_ns, wall_to_gpu_ns,
};
use fcsp_core::units::{Ppm, WHOLE};
use proptest::prelude::*;

/// Quotas around every edge: the least, powers of ten and their neighbours, thirds, the whole.
const QUOTAS: [Ppm; 17] = [
    1, 2, 3, 7, 9_999, 10_000, 10_001, 50_000, 99_999, 250_000, 333_333, 499_999, 500_000, 666_667,
    999_998, 999_999, WHOLE,
];

/// The greatest device time whose product with a million fits into a word.
const LAST_SHORT: u64 = u64::MAX / WHOLE as u64;

/// Compares `wall` ns with the exact quotient. Returns twice the error, in parts of the part.
fn twice_the_error(gpu: u64, part: Ppm, wall: u64) -> u128 {
    let exact = u128::from(gpu) * u128::from(WHOLE);
    2 * (u128::from(wall) * u128::from(part)).abs_diff(exact)
}

/// Returns true if the wall time of `gpu` ns is the nearest to the exact quotient, or the greatest
/// word where the nearest one is no word.
fn is_nearest(gpu: u64, part: Ppm) -> bool {
    let wall = gpu_to_wall_ns(gpu, part);
    if wall < u64::MAX {
        return twice_the_error(gpu, part, wall) <= u128::from(part);
    }
    // At least `u64::MAX - 1/2`.
    let exact = 2 * u128::from(gpu) * u128::from(WHOLE);
    exact >= (2 * u128::from(u64::MAX) - 1) * u128::from(part)
}

#[test]
fn wall_time_is_rounded_to_the_nearest() {
    for part in QUOTAS {
        for gpu in (0..4_096).chain(LAST_SHORT - 64..=LAST_SHORT) {
            let wall = gpu_to_wall_ns(gpu, part);
            assert!(
                twice_the_error(gpu, part, wall) <= u128::from(part),
                "{gpu} at {part}: {wall}"
            );
        }
    }
    // Each part there is, for one cost that none of them divides.
    for part in 1..=WHOLE {
        let wall = gpu_to_wall_ns(1_000_003, part);
        assert!(
            twice_the_error(1_000_003, part, wall) <= u128::from(part),
            "{part}: {wall}"
        );
    }
}

#[test]
fn wall_time_of_long_work_is_rounded_to_the_nearest_or_saturates() {
    for part in QUOTAS {
        for gpu in (LAST_SHORT + 1..LAST_SHORT + 64).chain(u64::MAX - 8..=u64::MAX) {
            assert!(is_nearest(gpu, part), "{gpu} at {part}");
        }
    }
}

#[test]
fn more_work_takes_no_less_time() {
    for part in QUOTAS {
        let costs = (0..4_096).chain(LAST_SHORT - 32..LAST_SHORT + 32);
        let walls: Vec<u64> = costs.map(|gpu| gpu_to_wall_ns(gpu, part)).collect();
        assert!(walls.windows(2).all(|pair| pair[0] <= pair[1]), "{part}");
    }
}

#[test]
fn there_and_back_loses_a_nanosecond_at_most() {
    for part in QUOTAS {
        for gpu in (0..4_096).chain([MAX_DEBT_NS, LAST_SHORT]) {
            let back = wall_to_gpu_ns(gpu_to_wall_ns(gpu, part), part);
            assert!(back == gpu || back + 1 == gpu, "{gpu} at {part}: {back}");
        }
    }
}

#[test]
fn no_quota_earns_nothing_and_divides_by_no_zero() {
    for wall in [0, 1, u64::MAX] {
        assert_eq!(wall_to_gpu_ns(wall, 0), 0);
        assert_eq!(gpu_to_wall_ns(wall, 0), gpu_to_wall_ns(wall, 1));
        assert_eq!(wall_to_gpu_ns(wall, WHOLE + 1), wall);
    }
}

/// Lists small buckets, whose every state can be visited.
fn small() -> impl Iterator<Item = TokenRate> {
    let quotas = [100_000, 333_333, 500_000, 999_999, WHOLE];
    quotas
        .into_iter()
        .flat_map(|part| (0..6).map(move |cap| TokenRate { part, cap }))
}

#[test]
fn clamping_keeps_to_its_range_and_its_order() {
    for rate in small() {
        for now in 0..80 {
            let mut last = 0;
            for empty_at in 0..160 {
                let clamped = rate.clamp(empty_at, now);
                assert!(clamped >= now.saturating_sub(rate.span()) && clamped <= now + MAX_DEBT_NS);
                assert_eq!(rate.clamp(clamped, now), clamped, "twice is once");
                assert!(clamped >= last, "the order stays");
                last = clamped;
            }
        }
    }
}

#[test]
fn the_content_is_never_above_the_cap() {
    for rate in small() {
        for now in 0..160 {
            for empty_at in 0..160 {
                let tokens = rate.tokens(empty_at, now);
                assert!(
                    tokens <= rate.cap as i64,
                    "{rate:?}: {tokens} at {now}, empty at {empty_at}"
                );
                let lag = rate.lag(empty_at, now);
                assert!(tokens.signum() * lag.signum() >= 0 && tokens.abs() <= lag.abs());
            }
        }
    }
}

#[test]
fn a_charge_and_its_refund_cancel_out() {
    // Far from both clamps.
    for part in QUOTAS {
        let rate = TokenRate { part, cap: 1_000 };
        let now = rate.span() + 1;
        for gpu in 0..1_000 {
            let charged = rate.after(now, now, gpu);
            if charged < now + MAX_DEBT_NS {
                assert_eq!(rate.after(charged, now, -gpu), now, "{gpu} at {part}");
            }
        }
    }
}

#[test]
fn two_charges_are_one_but_for_rounding() {
    for part in QUOTAS {
        let rate = TokenRate { part, cap: 100 };
        for (first, second) in
            (0..100).flat_map(|first| (0..100).map(move |second| (first, second)))
        {
            let now = 1 << 40;
            let apart = rate.after(rate.after(now, now, first), now, second);
            let together = rate.after(now, now, first + second);
            assert!(
                apart.abs_diff(together) <= 1,
                "{first} and {second} at {part}"
            );
        }
    }
}

#[test]
fn extreme_words_neither_overflow_nor_leave_the_range() {
    let edges = [0, 1, MAX_DEBT_NS, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    for part in [0, 1, WHOLE / 2, WHOLE, Ppm::MAX] {
        let rate = TokenRate {
            part,
            cap: 10_000_000,
        };
        for now in edges {
            for empty_at in edges {
                for gpu in [i64::MIN, -1, 0, 1, i64::MAX] {
                    let after = rate.after(empty_at, now, gpu);
                    assert_eq!(rate.clamp(after, now), after);
                    assert!(rate.tokens(after, now) <= rate.cap as i64);
                }
            }
        }
    }
}

#[test]
fn a_change_of_the_rate_keeps_the_content() {
    for old in small() {
        for new in small() {
            let now = 200;
            for empty_at in 100..300 {
                let (was, is) = (
                    old.tokens(empty_at, now),
                    new.tokens(new.converted(old, empty_at, now), now),
                );
                let wanted = was.min(new.cap as i64);
                assert!(
                    (is - wanted).abs() <= 1,
                    "{old:?} to {new:?}: {was} became {is}"
                );
            }
        }
    }
}

#[test]
fn a_debt_is_waited_for_no_longer_than_its_cap() {
    let rate = TokenRate { part: 1, cap: 1 };
    let mut bucket = Bucket::full(rate, 0);
    bucket.take(u64::MAX, 0);
    assert_eq!(bucket.ready_at(), MAX_DEBT_NS);
    bucket.give(u64::MAX, 5);
    assert_eq!(bucket.ready_at(), 0, "a bucket holds no more than its cap");
}

proptest! {
    #[test]
    fn any_wall_time_is_the_nearest(
        gpu in prop_oneof![0..=LAST_SHORT, LAST_SHORT + 1..=u64::MAX],
        part in 1u32..=WHOLE,
    ) {
        prop_assert!(is_nearest(gpu, part), "{gpu} at {part}: {}", gpu_to_wall_ns(gpu, part));
    }

    /// Holds charges to the bound of the token bucket. In any interval, what was admitted is at
    /// most the cap, what flowed in, and one charge that may overdraw the bucket.
    #[test]
    fn what_is_admitted_fits_into_cap_and_rate(
        part in 1u32..=WHOLE,
        cap in 1u64..5_000_000,
        steps in prop::collection::vec((0u64..2_000_000, 1u64..3_000_000), 1..200),
    ) {
        let rate = TokenRate { part, cap };
        let mut now = 1 << 40;
        let begin = now;
        let mut bucket = Bucket::full(rate, now);
        let (mut admitted, mut longest) = (0u64, 0);
        for (pause, cost) in steps {
            now += pause;
            if bucket.tokens(now) > 0 {
                bucket.take(cost, now);
                admitted += cost;
                longest = longest.max(cost);
            }
            // Each charge is rounded by half a nanosecond of wall time at most: less than one of
            // device time.
            let most = cap + wall_to_gpu_ns(now - begin, part) + longest + 200;
            prop_assert!(admitted <= most, "{admitted} of {most}");
        }
    }
}
