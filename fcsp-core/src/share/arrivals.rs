//! When a tenant's next step will begin, foreseen from when the last ones did.
//!
//! A tenant of high priority never waits at its gate, but it waits for what others have on the
//! device when its step begins: a kernel, and a switch of contexts. Where steps begin at regular
//! times (a frame of video, a tick of a control loop, a request that follows the last answer by as
//! long as that takes to handle), the others can have ended before. Two clocks are tried, the time
//! since the last step began and the time since it ended; the one that was wrong by less is
//! believed, if it was wrong by little. The tenant says when and how sure it is; tenants of lower
//! classes keep work out of that moment ([`Foreseen`]), down to their floors, and nothing else
//! depends on it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::share::page::View;

/// Steps seen before anything is foreseen.
const ENOUGH: u64 = 8;
/// Steps that begin sooner after the last one ended are not worth keeping the device free for, ns.
pub const SHORTEST_NS: u64 = 400_000;
/// Nobody looks further ahead, ns.
pub const LONGEST_NS: u64 = 200_000_000;
/// A time that is wrong by more than this on average says nothing, ns.
pub const SPREAD_MOST_NS: u64 = 150_000;

/// How long before a step that is foreseen the device is free for it, beside what such times were
/// wrong by, ns.
pub const FREE_BEFORE_NS: u64 = 20_000;
/// How long a step is waited for beyond the time foreseen and what such times were wrong by, ns.
pub const LATE_NS: u64 = 100_000;

/// A step foreseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// When it begins; 0 where nothing is foreseen.
    pub at: u64,
    /// By how much such times were wrong on average, ns.
    pub spread: u64,
}

/// A mean of the last eight or so, and how far from it they were: RFC 6298's estimator of
/// round-trip times.
#[derive(Debug, Default)]
struct Estimate {
    mean: AtomicU64,
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

    /// The instant so long after `from`, if enough is known.
    fn after(&self, from: u64) -> Option<Expected> {
        (from != 0 && self.count.load(Ordering::Relaxed) >= ENOUGH).then(|| Expected {
            at: from + self.mean.load(Ordering::Relaxed),
            spread: self.deviation.load(Ordering::Relaxed),
        })
    }
}

/// Learns when this process's steps begin. Threads with steps of their own blur it: then nothing is
/// foreseen.
#[derive(Debug, Default)]
pub struct Arrivals {
    began: AtomicU64,
    ended: AtomicU64,
    /// Whether the next launch begins a step.
    awaited: AtomicBool,
    from_begin: Estimate,
    from_end: Estimate,
}

impl Arrivals {
    /// A step ended at `now`, with nothing left in flight; when the next one begins, as far as that
    /// can be foreseen.
    pub fn ended(&self, now: u64) -> Expected {
        self.ended.store(now, Ordering::Relaxed);
        self.awaited.store(true, Ordering::Relaxed);
        let by_begin = self.from_begin.after(self.began.load(Ordering::Relaxed));
        let by_end = self.from_end.after(now);
        by_begin
            .into_iter()
            .chain(by_end)
            .filter(|e| {
                e.spread <= SPREAD_MOST_NS && (now + SHORTEST_NS..now + LONGEST_NS).contains(&e.at)
            })
            .min_by_key(|e| e.spread)
            .unwrap_or_default()
    }

    /// Whether the next launch begins a step.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// A launch at `now`: the first since the last step ended begins one.
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

/// The next step of tenants of a higher class, all of which can be foreseen.
#[derive(Debug, Clone, Copy)]
pub struct Foreseen {
    /// When the device has to be free.
    pub free_by: u64,
    /// When a step that has not begun is no longer waited for.
    pub late_at: u64,
    /// The longest kernel worth holding back for it, ns.
    pub longest: u64,
}

impl Foreseen {
    /// Of the tenants `above`; `None` if the next step of any of them cannot be foreseen.
    pub fn of<'v>(above: impl Iterator<Item = &'v View>, now: u64) -> Option<Self> {
        let mut all: Option<Self> = None;
        for n in above {
            let Expected { at, spread } = n.expected;
            // A page may say anything: looked at before it is reckoned with.
            if at == 0 || spread > SPREAD_MOST_NS || at > now + LONGEST_NS {
                return None;
            }
            let late_at = at + 4 * spread + LATE_NS;
            if now >= late_at {
                return None;
            }
            let next = Self {
                free_by: at.saturating_sub(FREE_BEFORE_NS + 2 * spread),
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

    /// Steps of `gpu(i)` ns that begin when `due(i, end of the last)` says; what was foreseen of
    /// each, and when it began.
    fn foreseen(
        steps: u64,
        due: impl Fn(u64, u64) -> u64,
        gpu: impl Fn(u64) -> u64,
    ) -> Vec<(Expected, u64)> {
        let arrivals = Arrivals::default();
        let (mut end, mut expected, mut seen) = (1_000_000_000, Expected::default(), Vec::new());
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
            assert!(expected.spread < 10_000, "{expected:?}");
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
            assert_eq!(expected, Expected::default());
        }
        for (expected, _) in foreseen(200, |_, end| end + 20_000, |_| 500_000) {
            assert_eq!(expected, Expected::default());
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
