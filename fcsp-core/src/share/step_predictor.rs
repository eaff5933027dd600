//! Prediction of the instant at which a tenant's next step begins, from the begins of its last
//! steps.
//!
//! A tenant of high priority never waits at its gate. But it waits for the work that others have on
//! the device when its step begins: a kernel, and a context switch. Many steps begin at regular
//! times: a frame of video, a tick of a control loop, or a request that follows the last answer
//! after a fixed time. The other tenants' work can then end before the step begins.
//!
//! Two predictors are kept: the period from one step's begin to the next, and the pause from a
//! step's end to the next begin. Each is the estimator for round-trip times of RFC 6298 (Jacobson,
//! SIGCOMM 1988). The predictor with the smaller deviation is used, if that is at most
//! [`SPREAD_MOST_NS`].
//!
//! The tenant publishes the instant and the deviation. Tenants of lower classes keep their work
//! away from it ([`ReservedWindow`]), down to their floors. Nothing else depends on the prediction.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::share::claim_page::ClaimView;

/// Number of observed steps before a prediction is made.
const ENOUGH: u64 = 8;
/// Least distance of a predicted step, ns. For a nearer step it is not worth keeping the device
/// idle.
pub const SHORTEST_NS: u64 = 400_000;
/// Greatest distance of a predicted step, ns.
pub const LONGEST_NS: u64 = 200_000_000;
/// Greatest mean deviation of a usable prediction, ns.
pub const SPREAD_MOST_NS: u64 = 150_000;

/// Guard time: the device must be idle this long before a predicted step, in addition to twice the
/// deviation, ns.
pub const FREE_BEFORE_NS: u64 = 20_000;
/// Time for which a late step is still waited for, in addition to four times the deviation, ns.
pub const LATE_NS: u64 = 100_000;

/// A predicted step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PredictedStep {
    /// Instant at which it begins, ns; 0 for no prediction.
    pub at: u64,
    /// Mean deviation of the prediction, ns.
    pub deviation: u64,
}

/// Moving mean (weight 1/8) and mean deviation (weight 1/4), as in RFC 6298.
#[derive(Debug, Default)]
/// The mean, ns.
struct Estimate {
    /// The mean deviation, ns.
    mean: AtomicU64,
    /// Number of samples.
    deviation: AtomicU64,
    count: AtomicU64,
}

impl Estimate {
    fn learn(&self, ns: u64) {
        // Relaxed throughout: numbers of one process, which guard no memory.
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.mean.store(ns, Ordering::Relaxed);
            self.deviation.store(ns / 2, Ordering::Relaxed);
            return;
        }
        let mean = self.mean.load(Ordering::Relaxed);
        let deviation = self.deviation.load(Ordering::Relaxed);
        self.deviation.store(
            deviation - deviation / 4 + ns.abs_diff(mean) / 4,
            Ordering::Relaxed,
        );
        self.mean.store(mean - mean / 8 + ns / 8, Ordering::Relaxed);
    }

    /// Predicts the instant one mean after `from`. Returns `None` while too few samples are known.
    fn after(&self, from: u64) -> Option<PredictedStep> {
        (from != 0 && self.count.load(Ordering::Relaxed) >= ENOUGH).then(|| PredictedStep {
            at: from + self.mean.load(Ordering::Relaxed),
            deviation: self.deviation.load(Ordering::Relaxed),
        })
    }
}

/// Predictor of this process's steps. Threads with steps of their own blur it; then no prediction
/// is made. A process's threads write and read the words.
#[derive(Debug, Default)]
pub struct StepPredictor {
    /// Begin of the last step, ns; 0 for none.
    began: AtomicU64,
    /// End of the last step, ns.
    ended: AtomicU64,
    /// True if the next launch begins a step.
    awaited: AtomicBool,
    /// Period from begin to begin.
    from_begin: Estimate,
    /// Pause from end to begin.
    from_end: Estimate,
}

impl StepPredictor {
    /// Records that a step ended at `now` with nothing left in flight. Returns the prediction for
    /// the next step, or the default for none.
    pub fn ended(&self, now: u64) -> PredictedStep {
        self.ended.store(now, Ordering::Relaxed);
        self.awaited.store(true, Ordering::Relaxed);
        let by_begin = self.from_begin.after(self.began.load(Ordering::Relaxed));
        let by_end = self.from_end.after(now);
        by_begin
            .into_iter()
            .chain(by_end)
            .filter(|e| {
                e.deviation <= SPREAD_MOST_NS
                    && (now + SHORTEST_NS..now + LONGEST_NS).contains(&e.at)
            })
            .min_by_key(|e| e.deviation)
            .unwrap_or_default()
    }

    /// Returns true if the next launch begins a step.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Records a launch at `now`: the first one since the last step ended begins a step.
    pub fn launches(&self, now: u64) {
        // Read first: most calls find nothing to do.
        if !self.is_awaited() || !self.awaited.swap(false, Ordering::Relaxed) {
            return;
        }
        let before = self.began.swap(now, Ordering::Relaxed);
        if before != 0 {
            self.from_begin
                .learn(now.saturating_sub(before).min(LONGEST_NS));
        }
        let ended = self.ended.load(Ordering::Relaxed);
        self.from_end
            .learn(now.saturating_sub(ended).min(LONGEST_NS));
    }
}

/// Next step of the tenants of a higher class, if all of them can be predicted.
#[derive(Debug, Clone, Copy)]
pub struct ReservedWindow {
    /// Instant by which the device must be idle, ns.
    pub free_by: u64,
    /// Instant after which a step that has not begun is no longer waited for, ns.
    pub late_at: u64,
    /// Cost of the longest kernel worth delaying for it, ns.
    pub longest: u64,
}

impl ReservedWindow {
    /// Computes the next step of the tenants `above`. Returns `None` if one of them cannot be
    /// predicted.
    pub fn of<'v>(above: impl Iterator<Item = &'v ClaimView>, now: u64) -> Option<Self> {
        let mut all: Option<Self> = None;
        for n in above {
            let PredictedStep { at, deviation } = n.expected;
            // A page may claim anything, so the values are checked before they are used.
            if at == 0 || deviation > SPREAD_MOST_NS || at > now + LONGEST_NS {
                return None;
            }
            let late_at = at + 4 * deviation + LATE_NS;
            if now >= late_at {
                return None;
            }
            let next = Self {
                free_by: at.saturating_sub(FREE_BEFORE_NS + 2 * deviation),
                late_at,
                longest: at.saturating_sub(n.pressed_at) / 2,
            };
            all = Some(all.map_or(next, |all| Self {
                free_by: all.free_by.min(next.free_by),
                late_at: if all.free_by <= next.free_by {
                    all.late_at
                } else {
                    next.late_at
                },
                longest: all.longest.min(next.longest),
            }));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps of `gpu(i)` ns that begin when `due(i, end of the last)` says. Returns each
    /// step's prediction and its begin.
    fn foreseen(
        steps: u64,
        due: impl Fn(u64, u64) -> u64,
        gpu: impl Fn(u64) -> u64,
    ) -> Vec<(PredictedStep, u64)> {
        let arrivals = StepPredictor::default();
        let (mut end, mut expected, mut seen) =
            (1_000_000_000, PredictedStep::default(), Vec::new());
        for i in 0..steps {
            let begins = due(i, end).max(end);
            seen.push((expected, begins));
            arrivals.launches(begins);
            end = begins + gpu(i);
            expected = arrivals.ended(end);
        }
        seen
    }

    #[test]
    fn a_fixed_rate_is_foreseen_whatever_the_steps_take() {
        let seen = foreseen(
            100,
            |i, _| 1_000_000_000 + i * 3_000_000,
            |i| 450_000 + i * 7 % 5 * 60_000,
        );
        for (expected, begins) in &seen[40..] {
            assert!(
                expected.at.abs_diff(*begins) < 5_000,
                "{expected:?} {begins}"
            );
            assert!(expected.deviation < 10_000, "{expected:?}");
        }
    }

    #[test]
    fn a_fixed_pause_is_foreseen_whatever_the_steps_take() {
        let seen = foreseen(
            100,
            |_, end| end + 2_000_000,
            |i| 500_000 + i * 7 % 5 * 300_000,
        );
        for (expected, begins) in &seen[40..] {
            assert!(
                expected.at.abs_diff(*begins) < 5_000,
                "{expected:?} {begins}"
            );
        }
    }

    #[test]
    fn what_is_irregular_or_at_once_is_not_foreseen() {
        let random = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 4_000_000;
        for (expected, _) in foreseen(200, |i, end| end + 500_000 + random(i), |_| 500_000) {
            assert_eq!(expected, PredictedStep::default());
        }
        for (expected, _) in foreseen(200, |_, end| end + 20_000, |_| 500_000) {
            assert_eq!(expected, PredictedStep::default());
        }
    }

    #[test]
    fn a_rate_that_changes_is_foreseen_again_soon() {
        let due = |i: u64, _| 1_000_000_000 + i * 3_000_000 + i.saturating_sub(100) * 4_000_000;
        let seen = foreseen(200, due, |_| 450_000);
        for (expected, begins) in &seen[170..] {
            assert!(
                expected.at.abs_diff(*begins) < 100_000,
                "{expected:?} {begins}"
            );
        }
    }
}
