//! Fences: events at positions in the submitted work. A fence that the device has reached retires
//! all work before it. Two timed fences, between which the device was never idle, give the exact
//! GPU time of that work, and correct its charge.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fcsp_core::limiter::{BusyInterval, Position, RateLimiter};
use fcsp_core::share::wait::now_ns;

use super::events::Events;
use crate::backend::{Backend, Progress};

/// Work that must be queued behind a fence, ns. Then the device is not idle while the next launch
/// is prepared, even on the slow path.
const BACKLOG_NS: u64 = 20_000;

/// One fence.
#[derive(Debug)]
struct Fence {
    event: usize,
    context: usize,
    queue: usize,
    timed: bool,
    marker: Position,
    recorded_ns: u64,
    /// True if the device had work all the time since the previous fence.
    continuous: bool,
    /// True if enough work was queued when it was recorded: the device would not be idle before
    /// more came. A span may begin here.
    busy: bool,
    /// The only key launched since the previous fence; 0 if there were several.
    key: u64,
    /// Cost charged for the last launch, ns.
    unit: u64,
    settled: bool,
    /// Launches since the previous fence.
    launches: u32,
    /// The GPU time that neighbours had had when it was recorded, ns.
    others: u64,
    /// Instant by which the device has reached it, ns: when a poll found it reached, or earlier if
    /// the previous fences show that.
    passed_by: u64,
}

/// A fence that a poll found reached, and the instant of that.
#[derive(Debug, Clone, Copy)]
struct Seen {
    marker: Position,
    at: u64,
}

/// GPU time of the work between two marks.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// By the device, ns.
    pub measured: u64,
    /// As charged at the launch, ns.
    pub charged: u64,
    /// As charged since then, ns.
    pub late: u64,
    /// The only key launched, or 0.
    pub key: u64,
    /// Cost charged for the last launch, ns.
    pub unit: u64,
    /// Number of launches.
    pub launches: u32,
    /// True if the costs of all launches had converged.
    pub settled: bool,
    /// Instant at which the first fence was recorded, ns.
    pub since: u64,
}

/// Busy time before a fence.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    /// From the submission of all of it until an instant at which some of it was not done.
    pub stretch: BusyInterval,
    /// The GPU time that neighbours had had at its beginning, ns.
    pub others: u64,
    /// As charged, ns; 0 while it is not done.
    pub charged: u64,
    /// Number of launches.
    pub launches: u32,
}

/// Receiver of a poll's results.
pub trait Told {
    /// Receives a measured span.
    fn span(&mut self, span: Span);
    /// Receives a busy time. Returns what was charged for it, ns.
    fn busy(&mut self, busy: Busy) -> u64;
}

impl Span {
    /// Returns true if its launches were charged about the same each.
    pub fn is_even(&self) -> bool {
        let all = self.unit.saturating_mul(u64::from(self.launches.max(1)));
        all < self.charged.saturating_mul(5) / 4 && self.charged < all.saturating_mul(5) / 4
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Fence>,
    /// The last fence that was reached. Its event is kept to measure from.
    passed: Option<Fence>,
    /// The last fence of the previous poll, for the time by the clock.
    seen: Option<Seen>,
    /// Last instant at which the device may have been idle, and the position then.
    began: Option<(u64, Position)>,
    /// Charges since the last reached fence for busy time, ns.
    late: u64,
}

/// The fences of one device in one process.
#[derive(Debug, Default)]
pub struct Fences {
    queue: Mutex<Queue>,
}

/// Work since the last fence.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// The only key launched, or 0.
    pub key: u64,
    /// Cost charged for the last launch, ns.
    pub unit: u64,
    /// True if the host waited at the gate meanwhile, so that the device may have been idle.
    pub interrupted: bool,
    /// True if the costs of all launches had converged.
    pub settled: bool,
    /// True to take the time: no neighbour's slices would be in it.
    pub timed: bool,
    /// True to take the time by the clock, which shows how contended the device is.
    pub watched: bool,
    /// Number of launches.
    pub launches: u32,
    /// The GPU time that neighbours have had, by the last look, ns.
    pub others: u64,
}

impl Fences {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if no fence is pending.
    pub fn is_empty(&self) -> bool {
        self.queue().waiting.is_empty()
    }

    /// Records a fence at the end of the queue `on`.
    pub fn record<B: Backend>(
        &self,
        limiter: &B::Limiter,
        events: &Events,
        on: usize,
        since: Since,
        now: u64,
    ) {
        let marker = limiter.position();
        let _question = B::beside_recordings();
        let Some((event, context)) = events.record::<B>(on, since.timed) else {
            return;
        };
        let mut queue = self.queue();
        let before = queue
            .waiting
            .back()
            .or(queue.passed.as_ref())
            .map(|before| {
                (
                    before.queue,
                    before.timed,
                    before.event,
                    before.marker,
                    before.recorded_ns,
                )
            });
        // The previous fence is not reached: all later work was queued behind it.
        let pending = !queue.waiting.is_empty()
            && before.is_some_and(|(queue, _, event, ..)| {
                queue == on && B::event_progress(event) == Progress::Pending
            });
        let continuous = match before {
            Some((queue, timed, _, at, recorded_ns))
                if queue == on && (since.watched || timed && since.timed) =>
            {
                // Or the host was done sooner than the device can have been.
                pending
                    || (!since.interrupted
                        && outran(marker.since(at), now.saturating_sub(recorded_ns)))
            }
            _ => false,
        };
        if since.interrupted || queue.began.is_none() {
            queue.began = Some((now, marker));
        }
        let busy = pending
            || queue.began.is_some_and(|(ns, at)| {
                let (charged, elapsed) = (marker.since(at), now.saturating_sub(ns));
                outran(charged, elapsed) && charged.saturating_sub(elapsed) >= BACKLOG_NS
            });
        queue.waiting.push_back(Fence {
            event,
            context,
            queue: on,
            timed: since.timed,
            marker,
            recorded_ns: now,
            continuous,
            busy,
            key: since.key,
            unit: since.unit,
            settled: since.settled,
            launches: since.launches,
            others: since.others,
            passed_by: 0,
        });
    }

    /// Retires the work that the device has done, and passes on every measured span and busy time.
    /// `is_all`: no work exists that a fence on another queue does not wait for.
    pub fn poll<B: Backend>(
        &self,
        limiter: &B::Limiter,
        events: &Events,
        now: u64,
        is_all: bool,
        told: &mut impl Told,
    ) {
        let mut queue = self.queue();
        let mut steady = true;
        let _question = (!queue.waiting.is_empty()).then(B::beside_recordings);
        while let Some(first) = queue.waiting.front() {
            // Any answer but "pending" ends the wait: the application must find an error itself.
            if B::event_progress(first.event) == Progress::Pending {
                if is_all {
                    limiter.is_all(now);
                }
                let busy = Busy {
                    stretch: BusyInterval {
                        from: first.recorded_ns,
                        until: now,
                    },
                    others: first.others,
                    charged: 0,
                    launches: 0,
                };
                queue.late += told.busy(busy);
                break;
            }
            let Some(mut mark) = queue.waiting.pop_front() else {
                break;
            };
            // Read after the query: the host may have been preempted before or in it. An earlier
            // instant would say that the device was done sooner, and charges would be refunded.
            let seen_at = now_ns();
            mark.passed_by = seen_at;
            steady &= mark.continuous;
            let late = core::mem::take(&mut queue.late);
            let before = queue.passed.take();
            if let Some(before) = before {
                let charged = mark.marker.since(before.marker);
                if before.timed
                    && mark.timed
                    && before.context == mark.context
                    && let Some(measured) = B::elapsed_ns(before.event, mark.event)
                {
                    mark.passed_by = seen_at.min(by_the_device(before.passed_by, measured));
                    if mark.continuous && before.busy {
                        told.span(Span {
                            measured,
                            charged,
                            late,
                            key: mark.key,
                            unit: mark.unit,
                            launches: mark.launches,
                            settled: mark.settled,
                            since: before.recorded_ns,
                        });
                    }
                    // Recorded on a queue that was done, to wait for tokens: the instant at which
                    // it was reached was not observed.
                    if charged > 0 {
                        told.busy(Busy {
                            stretch: BusyInterval {
                                from: mark.recorded_ns,
                                until: mark.passed_by,
                            },
                            others: mark.others,
                            charged: charged.saturating_add(late),
                            launches: mark.launches,
                        });
                    }
                }
                events.give_back(before.event, before.context, before.timed);
            }
            limiter.passed(mark.marker, now);
            limiter.emptied(mark.marker, mark.passed_by);
            queue.passed = Some(mark);
        }
        let Some(marker) = queue.passed.as_ref().map(|mark| mark.marker) else {
            return;
        };
        // The charges between two polls against the time between them, if the device had work all
        // along.
        match queue.seen {
            Some(seen) if seen.marker == marker => {}
            seen => {
                if let Some(seen) = seen.filter(|_| steady) {
                    limiter.observe(now.saturating_sub(seen.at), marker.since(seen.marker));
                }
                queue.seen = Some(Seen { marker, at: now });
            }
        }
    }

    /// Removes the events of `context`, or all.
    pub fn take_out(&self, context: Option<usize>, gone: &mut Vec<usize>) {
        let mut queue = self.queue();
        let mut ends = |mark: &Fence| {
            let ends = context.is_none_or(|context| mark.context == context);
            if ends {
                gone.push(mark.event);
            }
            ends
        };
        queue.waiting.retain(|mark| !ends(mark));
        queue.passed.take_if(|mark| ends(mark));
        queue.seen = None;
        queue.began = None;
    }

    /// Forgets the keys for which `changed` returns true. They mean other work from now on, and
    /// earlier launches do not belong to it.
    pub fn forget_keys(&self, changed: impl Fn(u64) -> bool) {
        let mut queue = self.queue();
        let Queue {
            waiting, passed, ..
        } = &mut *queue;
        for mark in waiting.iter_mut().chain(passed) {
            if changed(mark.key) {
                mark.key = 0;
            }
        }
    }

    /// Returns true if the device has yet to reach a fence on the queue `on`.
    pub fn is_pending_on<B: Backend>(&self, on: usize) -> bool {
        let queue = self.queue();
        let _question = B::beside_recordings();
        let mut there = queue.waiting.iter().filter(|mark| mark.queue == on);
        there.any(|mark| B::event_progress(mark.event) == Progress::Pending)
    }
}

/// Returns the latest instant at which the device reached a fence. It reached it `elapsed` ns after
/// another one, which it had reached by `before`. The clocks of device and host differ by less than
/// one in 20,000.
fn by_the_device(before: u64, elapsed: u64) -> u64 {
    before
        .saturating_add(elapsed)
        .saturating_add(elapsed / 20_000)
}

/// Returns true if a host that submitted `charged` ns of work in `elapsed` ns was faster than the
/// device, even if the charges are a quarter too high.
fn outran(charged: u64, elapsed: u64) -> bool {
    elapsed < charged / 4 * 3
}
