//! A signed bucket of GPU time, filled at a quota, as a pure function of one word and an explicit
//! clock.
//!
//! The bucket's whole state is the instant at which it is (or was, or will be) empty. With a quota
//! `q` (a fraction of the device) its content at `now` is `q * (now - empty_at)`; taking `c` ns of
//! GPU time moves `empty_at` forward by `c / q`. So there is no refill to write, no pair of words
//! to keep consistent, two processes take from it by exchanging one word, a process killed between
//! two instructions leaves it valid, and whoever can read the word knows the content at any later
//! time.
//!
//! `now - empty_at` is also the tenant's *lag*: how long it has been owed time it has not had. Lags
//! of tenants with different quotas compare directly, which is what the policy orders tenants by.
//!
//! Two clamps: the content never exceeds `cap` (so `empty_at >= now - cap / q`), and the debt never
//! exceeds [`MAX_DEBT_NS`] of waiting (so one absurd cost cannot stop a tenant for good). The
//! second is far beyond what a tenant's processes owe together: a debt that others add to is not
//! forgiven.

use crate::units::{Ppm, WHOLE};

/// The longest wait a debt may ask for, ns. A single kernel of 3 s at a quota of 5 % stays exact.
pub const MAX_DEBT_NS: u64 = 60_000_000_000;

/// The wall time in which `quota` of a device earns `gpu` ns, to the nearest ns.
///
/// Rounding to nearest has no bias, and an error of half a nanosecond in a charge of at least
/// several microseconds is below one part in ten thousand even if it always fell the same way.
pub fn wall_of(gpu: u64, quota: Ppm) -> u64 {
    let quota = u64::from(quota.clamp(1, WHOLE));
    // Costs are far below 2^44 ns (4.8 hours), where the product fits; above, 128 bits.
    match gpu.checked_mul(u64::from(WHOLE)) {
        Some(product) => (product + quota / 2) / quota,
        None => u64::try_from((u128::from(gpu) * u128::from(WHOLE)) / u128::from(quota))
            .unwrap_or(u64::MAX),
    }
}

/// The GPU time that `quota` of a device earns in `wall` ns, rounded down.
pub fn gpu_of(wall: u64, quota: Ppm) -> u64 {
    (u128::from(wall) * u128::from(quota.min(WHOLE)) / u128::from(WHOLE)) as u64
}

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The fraction of the device's time that flows in.
    pub quota: Ppm,
    /// The most it holds, ns of GPU time.
    pub cap: u64,
}

impl Rate {
    /// The wall time in which an empty bucket fills up, ns.
    pub fn span(self) -> u64 {
        wall_of(self.cap, self.quota)
    }

    /// `empty_at` with both clamps applied.
    pub fn settle(self, empty_at: u64, now: u64) -> u64 {
        empty_at.clamp(
            now.saturating_sub(self.span()),
            now.saturating_add(MAX_DEBT_NS),
        )
    }

    /// How long the tenant has been owed time, ns of wall time: positive with tokens, negative in
    /// debt.
    pub fn lag(self, empty_at: u64, now: u64) -> i64 {
        let empty_at = self.settle(empty_at, now);
        // Settled, the two differ by less than a span or a minute: no overflow.
        now.wrapping_sub(empty_at) as i64
    }

    /// The content, ns of GPU time.
    pub fn tokens(self, empty_at: u64, now: u64) -> i64 {
        let lag = self.lag(empty_at, now);
        let tokens = gpu_of(lag.unsigned_abs(), self.quota) as i64;
        if lag < 0 { -tokens } else { tokens }
    }

    /// `empty_at` after `gpu` ns were taken, or given back where negative.
    pub fn after(self, empty_at: u64, now: u64, gpu: i64) -> u64 {
        let settled = self.settle(empty_at, now);
        let wall = wall_of(gpu.unsigned_abs(), self.quota);
        let moved = if gpu >= 0 {
            settled.saturating_add(wall)
        } else {
            settled.saturating_sub(wall)
        };
        self.settle(moved, now)
    }

    /// `empty_at` under this rate of a bucket that held what `empty_at` says under `old`.
    pub fn converted(self, old: Rate, empty_at: u64, now: u64) -> u64 {
        let tokens = old.tokens(empty_at, now);
        self.after(now, now, -tokens)
    }
}

/// A bucket of one owner. What tenants share is the same word in a page, changed with
/// [`Rate::after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    empty_at: u64,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: u64) -> Self {
        Self {
            rate,
            empty_at: rate.settle(0, now),
        }
    }

    /// The content at `now`, ns of GPU time; negative is a debt.
    pub fn tokens(&self, now: u64) -> i64 {
        self.rate.tokens(self.empty_at, now)
    }

    /// Takes `gpu` ns whether they are there or not.
    pub fn take(&mut self, gpu: u64, now: u64) {
        self.empty_at = self
            .rate
            .after(self.empty_at, now, i64::try_from(gpu).unwrap_or(i64::MAX));
    }

    /// Gives `gpu` ns back.
    pub fn give(&mut self, gpu: u64, now: u64) {
        self.empty_at = self.rate.after(
            self.empty_at,
            now,
            i64::try_from(gpu).map_or(i64::MIN + 1, |gpu| -gpu),
        );
    }

    /// When the bucket stops being empty: in the past where it has content.
    pub fn ready_at(&self) -> u64 {
        self.empty_at
    }

    /// Changes the rate and keeps the content, as far as the new cap allows.
    pub fn set_rate(&mut self, rate: Rate, now: u64) {
        self.empty_at = rate.converted(self.rate, self.empty_at, now);
        self.rate = rate;
    }
}
