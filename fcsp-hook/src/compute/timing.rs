//! Timing of single launches on the device: an event before, an event after, read later.
//!
//! If the device was still busy with earlier work when the launch reached it, the span between the
//! events is the launch's own time and the events' cost. If the device was idle, the span also
//! contains the host's time between submitting the first event and the launch. That is measured on
//! the host and subtracted. A microsecond or two is left, which passes between the host's clock and
//! the device. Such a sample is only an upper bound, and of several the least counts. The cost of
//! the events is measured on the present device, behind the first few timed launches.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fcsp_core::share::cost::Sample;
use fcsp_core::share::wait::now_ns;

use super::cost_model::Key;
use super::events::Events;
use crate::backend::{Backend, Progress};

/// Longest time for a host to submit the launch, ns. Beyond it, the host was interrupted. The part
/// of the interruption in the span is unknown: the sample counts only if the span is [`HOST_PARTS`]
/// times as long.
const HOST_MOST_NS: u64 = 15_000;
/// Otherwise a program that waits for each of its launches, on a slow host, would keep the first
/// guess.
const HOST_PARTS: u64 = 4;

/// Number of times that the bracket of this device is measured.
const BRACKETS: u32 = 16;
/// Longest credible bracket, ns.
const BRACKET_MOST_NS: u64 = 20_000;

/// Most launches that are timed at once; more are not timed.
const MOST: usize = 32;

/// Observation of the others when a launch was timed next to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Others {
    /// The GPU time that they had had by then, ns.
    pub had: u64,
    /// Instant of the observation, ns; 0 for none.
    pub at: u64,
}

#[derive(Debug)]
struct Timed {
    pair: (usize, usize, usize),
    queue: usize,
    /// Keys of the launch.
    key: Key,
    blocks: u64,
    /// The others next to which it was launched.
    others: Option<Others>,
    /// True if the device was busy when the launch was submitted.
    busy: bool,
    /// The host's part of the span, ns.
    off_ns: u64,
    /// An event right behind the pair, and its context.
    third: Option<(usize, usize)>,
}

/// Returns the addition of two events to a launch's span on the present device. Here, two events
/// showed `here` with nothing between them (0: not measured yet). On the device of the backend's
/// figures, a launch between them added `known` and nothing `empty`. A backend without measurements
/// gives one figure for both; then only the local measurement counts.
fn corrected(known: u64, empty: u64, here: u64) -> u64 {
    match here {
        0 => known,
        here => (known + here).saturating_sub(empty),
    }
}

/// Launches whose times are not known yet.
#[derive(Debug, Default)]
pub struct Timing {
    pending: Mutex<VecDeque<Timed>>,
    /// Span of two events with nothing between them, ns; 0 until measured.
    bracket: AtomicU64,
    /// Number of such measurements.
    brackets: AtomicU32,
}

impl Timing {
    /// Runs `call` between two events on `queue`.
    pub fn time<B: Backend>(
        &self,
        events: &Events,
        key: Key,
        blocks: u64,
        queue: usize,
        others: Option<Others>,
        call: &dyn Fn() -> B::Status,
    ) -> B::Status {
        if self
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
            >= MOST
        {
            return call();
        }
        let Some(pair) = begin::<B>(events, queue) else {
            return call();
        };
        let before = now_ns();
        let result = call();
        let after = now_ns();
        let _question = B::beside_recordings();
        // Not reached yet although the launch is submitted: the device was busy, and the span is
        // the launch's own.
        let busy = B::event_progress(pair.0) == Progress::Pending;
        let host_ns = after.saturating_sub(before);
        if result != B::SUCCESS || !B::record_event(pair.1, queue) {
            events.give_back_pair(pair);
            return result;
        }
        // The first few also measure the bracket: two events with nothing between them, behind the
        // same work.
        let third = (busy && self.brackets.load(Ordering::Relaxed) < BRACKETS)
            .then(|| events.record::<B>(queue, true))
            .flatten();
        let off_ns = if busy { 0 } else { host_ns };
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Timed {
                pair,
                queue,
                key,
                blocks,
                others,
                busy,
                off_ns,
                third,
            });
        result
    }

    /// Passes on the times that are known by now.
    pub fn collect<B: Backend>(
        &self,
        events: &Events,
        mut learn: impl FnMut(Key, u64, Sample, Option<Others>),
    ) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let _question = (!pending.is_empty()).then(B::beside_recordings);
        while let Some(first) = pending.front() {
            let progress = B::event_progress(first.pair.1);
            if progress == Progress::Pending {
                return;
            }
            let Some(first) = pending.pop_front() else {
                return;
            };
            if let Some((third, context)) = first.third {
                if progress == Progress::Done && first.others.is_none() {
                    self.learn_bracket::<B>(first.pair.1, third);
                }
                events.give_back(third, context, true);
            }
            if progress == Progress::Done
                && first.key != Key::default()
                && let Some(ns) = B::elapsed_ns(first.pair.0, first.pair.1)
                && (first.off_ns <= HOST_MOST_NS || ns >= HOST_PARTS.saturating_mul(first.off_ns))
            {
                let off = first.off_ns + self.bracket::<B>(first.busy);
                let sample = Sample {
                    ns: ns.saturating_sub(off),
                    exact: first.busy,
                };
                learn(first.key, first.blocks, sample, first.others);
            }
            events.give_back_pair(first.pair);
        }
    }

    /// Returns the addition of two events to a launch's span, ns.
    fn bracket<B: Backend>(&self, busy: bool) -> u64 {
        let known = if busy {
            B::BUSY_BRACKET_NS
        } else {
            B::IDLE_BRACKET_NS
        };
        corrected(
            known,
            B::EMPTY_BRACKET_NS,
            self.bracket.load(Ordering::Relaxed),
        )
    }

    /// Records the span of two events with nothing between them.
    fn learn_bracket<B: Backend>(&self, second: usize, third: usize) {
        // The third may not have been reached yet; it follows at once, or the next launch shows it.
        if B::event_progress(third) != Progress::Done {
            return;
        }
        if let Some(ns) = B::elapsed_ns(second, third)
            && ns <= BRACKET_MOST_NS
        {
            let old = self.bracket.load(Ordering::Relaxed);
            // The least: whatever else gets in between only adds.
            let new = if old == 0 { ns } else { old.min(ns) };
            self.bracket.store(new.max(1), Ordering::Relaxed);
            self.brackets.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the events of `context`, or all.
    pub fn take_out(&self, context: Option<usize>, gone: &mut Vec<usize>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|timed| {
            let ends = context.is_none_or(|context| timed.pair.2 == context);
            if ends {
                gone.extend([timed.pair.0, timed.pair.1]);
                gone.extend(timed.third.map(|(event, _)| event));
            }
            !ends
        });
    }

    /// Stops learning of the keys for which `changed` returns true: they mean other work from now
    /// on.
    pub fn forget_keys(&self, changed: impl Fn(u64) -> bool) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for timed in pending.iter_mut().filter(|timed| changed(timed.key.handle)) {
            timed.key.handle = 0;
        }
    }

    /// Returns true if the device has yet to reach an event on `queue`.
    pub fn is_pending_on<B: Backend>(&self, queue: usize) -> bool {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let _question = B::beside_recordings();
        let is_pending = |event| B::event_progress(event) == Progress::Pending;
        let mut there = pending.iter().filter(|timed| timed.queue == queue);
        there.any(|timed| {
            is_pending(timed.pair.1) || timed.third.is_some_and(|(event, _)| is_pending(event))
        })
    }
}

/// Returns two events for `queue`, the first of which is recorded there.
fn begin<B: Backend>(events: &Events, queue: usize) -> Option<(usize, usize, usize)> {
    let _question = B::beside_recordings();
    let pair = events.pair::<B>(queue)?;
    if B::record_event(pair.0, queue) {
        return Some(pair);
    }
    events.give_back_pair(pair);
    None
}

#[cfg(test)]
mod tests {
    use super::corrected;

    #[test]
    fn what_is_measured_here_replaces_what_is_assumed() {
        // An H100's figures, on devices whose events cost less, and more.
        assert_eq!(corrected(1_920, 1_216, 0), 1_920);
        assert_eq!(corrected(1_920, 1_216, 1_000), 1_704);
        assert_eq!(corrected(1_920, 1_216, 3_000), 3_704);
        // A vendor without measured devices: an assumption until the first measurement, and nothing
        // of it after.
        for (assumed, here) in [(1_200, 700), (1_000, 5_200), (0, 900)] {
            assert_eq!(corrected(assumed, assumed, 0), assumed);
            assert_eq!(corrected(assumed, assumed, here), here);
        }
        assert_eq!(corrected(0, 1_216, 1), 0, "never less than nothing");
    }
}
