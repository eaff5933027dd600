//! Marks: events at positions in the submitted work. A mark that the device has passed retires
//! everything before it; two marks with times, between which the device never ran empty, tell
//! exactly how much GPU time that work took, and put right what was charged for it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fcsp_core::share::gate::{Gate, Marker, Stretch};
use fcsp_core::share::wait::now_ns;

use super::events::Events;
use crate::backend::{Backend, Progress};

/// Work that must be queued behind a mark for the device not to run empty while the launch after it
/// is prepared, a slow path included, ns.
const BACKLOG_NS: u64 = 20_000;

/// One mark.
#[derive(Debug)]
struct Mark {
    event: usize,
    context: usize,
    queue: usize,
    timed: bool,
    marker: Marker,
    recorded_ns: u64,
    /// Whether the device had work all the time since the mark before.
    continuous: bool,
    /// Whether there was work enough when it was recorded for the device not to run empty before
    /// more came: a span may begin here.
    busy: bool,
    /// The one key launched since the mark before; 0 if there were several.
    key: u64,
    unit: u64,
    settled: bool,
    /// Launches since the mark before.
    launches: u32,
    /// The GPU time that neighbours had had when it was recorded, ns.
    others: u64,
    /// By when the device has passed it, ns: when a poll found it passed, or sooner if the marks
    /// before say so.
    passed_by: u64,
}

/// A mark that a poll found passed, and when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    marker: Marker,
    at: u64,
}

/// GPU time of the work between two marks.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// As the device says, ns.
    pub measured: u64,
    /// As charged when it was launched, ns.
    pub charged: u64,
    /// As charged since then, ns.
    pub late: u64,
    /// The one key launched, or 0.
    pub key: u64,
    /// What the last launch was charged, ns.
    pub unit: u64,
    /// How many launches.
    pub launches: u32,
    /// Whether the costs of all that was launched were settled.
    pub settled: bool,
    /// When the first mark was recorded, ns.
    pub since: u64,
}

/// A time in which the device had work that a mark comes after.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    /// From when all of it had been submitted until some of it was not done.
    pub stretch: Stretch,
    /// The GPU time that neighbours had had by its beginning, ns.
    pub others: u64,
    /// As charged, ns; 0 while it is not done.
    pub charged: u64,
    /// How many launches it is.
    pub launches: u32,
}

/// What a poll tells of.
pub trait Told {
    /// A span was measured.
    fn span(&mut self, span: Span);
    /// The device was busy; what was charged for that, ns.
    fn busy(&mut self, busy: Busy) -> u64;
}

impl Span {
    /// Whether its launches were charged about the same each.
    pub fn is_even(&self) -> bool {
        let all = self.unit.saturating_mul(u64::from(self.launches.max(1)));
        all < self.charged.saturating_mul(5) / 4 && self.charged < all.saturating_mul(5) / 4
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Mark>,
    /// The last one passed, whose event is kept to measure from.
    passed: Option<Mark>,
    /// The last one of the poll before, for the time by the clock.
    seen: Option<Seen>,
    /// When the device may have run empty last, and what had been charged then.
    began: Option<(u64, Marker)>,
    /// Charged since the last mark was passed for time in which the device was busy, ns.
    late: u64,
}

/// The marks of one device in one process.
#[derive(Debug, Default)]
pub struct Marks {
    queue: Mutex<Queue>,
}

/// What is known about the work since the last mark.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// The one key launched, or 0.
    pub key: u64,
    /// What the last launch was charged, ns.
    pub unit: u64,
    /// Whether the host waited for its turn meanwhile, so that the device may have run empty.
    pub interrupted: bool,
    /// Whether the costs of all that was launched are settled.
    pub settled: bool,
    /// Whether to take the time: there is nobody whose slices would be in it.
    pub timed: bool,
    /// Whether the time by the clock is asked for: how contended the device is.
    pub watched: bool,
    /// How many launches.
    pub launches: u32,
    /// The GPU time that neighbours have had, as far as was last seen, ns.
    pub others: u64,
}

impl Marks {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no mark is waited for.
    pub fn is_empty(&self) -> bool {
        self.queue().waiting.is_empty()
    }

    /// Puts a mark at the end of what is queued on the queue `on`.
    pub fn record<B: Backend>(
        &self,
        gate: &Gate<'_>,
        events: &Events,
        on: usize,
        since: Since,
        now: u64,
    ) {
        let marker = gate.mark();
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
        // The mark before is still to come: everything since was queued behind it.
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
        queue.waiting.push_back(Mark {
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

    /// Retires what the device has passed, and tells of every measured span and of what the device
    /// was busy with. `is_all`: there is no work that a mark on another queue does not wait for.
    pub fn poll<B: Backend>(
        &self,
        gate: &Gate<'_>,
        events: &Events,
        now: u64,
        is_all: bool,
        told: &mut impl Told,
    ) {
        let mut queue = self.queue();
        let mut steady = true;
        let _question = (!queue.waiting.is_empty()).then(B::beside_recordings);
        while let Some(first) = queue.waiting.front() {
            // Anything but "pending" ends the waiting: an error is the application's to find.
            if B::event_progress(first.event) == Progress::Pending {
                if is_all {
                    gate.is_all(now);
                }
                let busy = Busy {
                    stretch: Stretch {
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
            // Read after the question: the host may have lost its processor before it or in it. An
            // earlier time would say that the device was done sooner, and charges would come back.
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
                    // Put on a queue that was done, to wait for tokens: nobody has looked when it
                    // was passed.
                    if charged > 0 {
                        told.busy(Busy {
                            stretch: Stretch {
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
            gate.retire(mark.marker, now);
            gate.emptied(mark.marker, mark.passed_by);
            queue.passed = Some(mark);
        }
        let Some(marker) = queue.passed.as_ref().map(|mark| mark.marker) else {
            return;
        };
        // What was charged between two polls against the time between them, if the device had work
        // all along.
        match queue.seen {
            Some(seen) if seen.marker == marker => {}
            seen => {
                if let Some(seen) = seen.filter(|_| steady) {
                    gate.observe(now.saturating_sub(seen.at), marker.since(seen.marker));
                }
                queue.seen = Some(Seen { marker, at: now });
            }
        }
    }

    /// Takes out the events of `context`, or all.
    pub fn take_out(&self, context: Option<usize>, gone: &mut Vec<usize>) {
        let mut queue = self.queue();
        let mut ends = |mark: &Mark| {
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

    /// Forgets the names of keys that `changed` says stand for something else from now on: what was
    /// launched is not to be taken for a launch of theirs.
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

    /// Whether the device has yet to pass a mark on the queue `on`.
    pub fn is_pending_on<B: Backend>(&self, on: usize) -> bool {
        let queue = self.queue();
        let _question = B::beside_recordings();
        let mut there = queue.waiting.iter().filter(|mark| mark.queue == on);
        there.any(|mark| B::event_progress(mark.event) == Progress::Pending)
    }
}

/// When the device has passed a mark at the latest that it passed `elapsed` ns after another, which
/// it had passed by `before`. Its clock and the host's differ by less than one in 20,000.
fn by_the_device(before: u64, elapsed: u64) -> u64 {
    before
        .saturating_add(elapsed)
        .saturating_add(elapsed / 20_000)
}

/// Whether a host that submitted `charged` ns of work in `elapsed` ns was faster than the device,
/// charges that are a quarter too high allowed for.
fn outran(charged: u64, elapsed: u64) -> bool {
    elapsed < charged / 4 * 3
}
