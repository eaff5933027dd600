//! The token bucket: GPU time that fills at a fixed rate, as a pure function of one word and an
//! explicit clock.
//!
//! This is the Generic Cell Rate Algorithm (ITU-T I.371; ATM Forum, Traffic Management 4.0, 1996).
//! Its *theoretical arrival time* (TAT) is `empty_at`: the instant at which the bucket is, was or
//! will be empty. With a share `q` (a fraction of the device), the bucket holds `q * (now -
//! empty_at)` tokens at `now`. A charge of `c` ns of GPU time moves `empty_at` forward by `c / q`.
//!
//! One word therefore holds the whole state. There is no refill to write and no pair of words to
//! keep consistent. Two processes charge by exchanging one word, and a process killed between two
//! instructions leaves it valid. Every reader of the word knows the content at any later time.
//!
//! `now - empty_at` is also the tenant's *lag*: the time for which it has been owed GPU time. It is
//! EEVDF's lag divided by the share (Stoica and Abdel-Wahab, 1995). Lags of tenants with different
//! shares compare directly, and the policy orders tenants by them.
//!
//! Two clamps apply. The content never exceeds `cap`, so `empty_at >= now - cap / q`. The debt
//! never exceeds [`MAX_DEBT_NS`] of waiting, so that one absurd cost cannot stop a tenant
//! permanently. The second clamp is far beyond the joint debt of a tenant's processes: a debt that
//! others add to is not dropped.

use crate::units::{Ppm, WHOLE};

/// Longest wait for which a debt may ask, ns. A single kernel of 3 s at a share of 5 % stays exact.
pub const MAX_DEBT_NS: u64 = 60_000_000_000;

/// Returns the wall time in which `part` of a device earns `gpu` ns, to the nearest ns. A time
/// beyond `u64::MAX` ns is `u64::MAX`.
///
/// Rounding to nearest has no bias. A charge is at least several microseconds, so an error of half
/// a nanosecond is below one part in ten thousand.
pub fn gpu_to_wall_ns(gpu: u64, part: Ppm) -> u64 {
    let part = u64::from(part.clamp(1, WHOLE));
    // Costs are far below 2^44 ns (4.8 hours), where the product fits; above, 128 bits.
    match gpu.checked_mul(u64::from(WHOLE)) {
        Some(product) => (product + part / 2) / part,
        None => {
            let product = u128::from(gpu) * u128::from(WHOLE) + u128::from(part / 2);
            u64::try_from(product / u128::from(part)).unwrap_or(u64::MAX)
        }
    }
}

/// Returns the GPU time that `part` of a device earns in `wall` ns, rounded down.
pub fn wall_to_gpu_ns(wall: u64, part: Ppm) -> u64 {
    (u128::from(wall) * u128::from(part.min(WHOLE)) / u128::from(WHOLE)) as u64
}

/// Rate at which a bucket fills, and its cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRate {
    /// Fraction of the device's time that flows in.
    pub part: Ppm,
    /// Cap: the most tokens that the bucket holds, ns of GPU time.
    pub cap: u64,
}

impl TokenRate {
    /// Returns the wall time in which an empty bucket fills up, ns.
    pub fn span(self) -> u64 {
        gpu_to_wall_ns(self.cap, self.part)
    }

    /// Returns `empty_at` with both clamps applied.
    pub fn clamp(self, empty_at: u64, now: u64) -> u64 {
        empty_at.clamp(
            now.saturating_sub(self.span()),
            now.saturating_add(MAX_DEBT_NS),
        )
    }

    /// Returns the lag, ns of wall time: positive with tokens, negative in debt.
    pub fn lag(self, empty_at: u64, now: u64) -> i64 {
        let empty_at = self.clamp(empty_at, now);
        // After the clamp, the two differ by less than a span or a minute: no overflow.
        now.wrapping_sub(empty_at) as i64
    }

    /// Returns the tokens, ns of GPU time; negative for a debt.
    pub fn tokens(self, empty_at: u64, now: u64) -> i64 {
        let lag = self.lag(empty_at, now);
        let tokens = wall_to_gpu_ns(lag.unsigned_abs(), self.part) as i64;
        if lag < 0 { -tokens } else { tokens }
    }

    /// Returns `empty_at` after a charge of `gpu` ns, or a refund if negative.
    pub fn after(self, empty_at: u64, now: u64, gpu: i64) -> u64 {
        let clamped = self.clamp(empty_at, now);
        let wall = gpu_to_wall_ns(gpu.unsigned_abs(), self.part);
        let moved = if gpu >= 0 {
            clamped.saturating_add(wall)
        } else {
            clamped.saturating_sub(wall)
        };
        self.clamp(moved, now)
    }

    /// Returns `empty_at` under this rate for a bucket that holds the tokens of `empty_at` under
    /// `old`.
    pub fn converted(self, old: TokenRate, empty_at: u64, now: u64) -> u64 {
        let tokens = old.tokens(empty_at, now);
        self.after(now, now, -tokens)
    }
}

/// Token bucket of one owner. Buckets that processes share are words of a claim page, changed with
/// [`TokenRate::after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Rate and cap.
    rate: TokenRate,
    /// Instant at which the bucket is empty, ns (GCRA: TAT).
    empty_at: u64,
}

impl Bucket {
    /// Creates a full bucket.
    pub fn full(rate: TokenRate, now: u64) -> Self {
        Self {
            rate,
            empty_at: rate.clamp(0, now),
        }
    }

    /// Returns the tokens at `now`, ns of GPU time; negative for a debt.
    pub fn tokens(&self, now: u64) -> i64 {
        self.rate.tokens(self.empty_at, now)
    }

    /// Charges `gpu` ns whether the bucket holds them or not.
    pub fn take(&mut self, gpu: u64, now: u64) {
        self.empty_at = self
            .rate
            .after(self.empty_at, now, i64::try_from(gpu).unwrap_or(i64::MAX));
    }

    /// Refunds `gpu` ns.
    pub fn give(&mut self, gpu: u64, now: u64) {
        self.empty_at = self.rate.after(
            self.empty_at,
            now,
            i64::try_from(gpu).map_or(i64::MIN + 1, |gpu| -gpu),
        );
    }

    /// Returns the instant at which the bucket stops being empty: in the past if it has tokens.
    pub fn ready_at(&self) -> u64 {
        self.empty_at
    }

    /// Changes the rate and keeps the content, as far as the new cap allows.
    pub fn set_rate(&mut self, rate: TokenRate, now: u64) {
        self.empty_at = rate.converted(self.rate, self.empty_at, now);
        self.rate = rate;
    }
}
