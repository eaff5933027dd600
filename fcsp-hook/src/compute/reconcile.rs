//! What the device did against what was charged: at marks that it has passed, or has not, and where
//! the host has waited for it ([`fcsp_core::share::gate::Gate::reconcile`]).

use core::sync::atomic::Ordering;
use std::sync::PoisonError;

use fcsp_core::share::cost::Sample;
use fcsp_core::share::gate::{Stretch, may_have_run, progress};
use fcsp_core::share::page::View;
use fcsp_core::share::params::Mode;
use fcsp_core::share::wait::{self, Woken, now_ns};

use super::marks::{Busy, Span, Told};
use super::timing::Others;
use super::{Compute, Drains};
use crate::backend::Backend;

/// Least time between marks that are put at synchronisations, ns.
const MARK_NS: u64 = 1_000_000;
/// Least GPU time of a span that says something about scale, ns.
const LONG_SPAN_NS: u64 = 100_000;
/// What a host needs at most to submit work and to see that it is done, ns: no work of the
/// device's.
const NOTICE_NS: u64 = 40_000;
/// A host that stood longer than this without a mark may have been stopped meanwhile: no more is
/// believed, ns.
const STOOD_NS: u64 = 10_000_000_000;
/// For how long after it was charged a sibling's work may be on the device, beyond what was
/// charged, ns.
const SIBLING_NS: u64 = 100_000_000;
/// Less busy time than this that no charge accounts for is looked at again later, ns.
const LEAST_NS: u64 = 50_000;
/// Work that takes longer than this has slices of others in it, ns.
const SLICES_NS: u64 = 4_000_000;
/// The part of such a time that switches cost, one in so many.
const LOST: u64 = 16;
/// So many others are believed to have had slices of it at most.
const MOST_OTHERS: u64 = 3;
/// How often who waits for tokens looks at its marks while work is in flight, ns: after a quarter
/// of the time that it has been so, within these bounds. What is seen late is taken for busy time
/// where the device's clock does not say better.
const LOOK_NS: core::ops::Range<u64> = 20_000..1_000_000;

/// Takes in what a poll tells.
struct Poll<'c, B: Backend> {
    compute: &'c Compute<B>,
    now: u64,
    /// Whether the device's own clock has told of work submitted since then, ns.
    since: u64,
    timed: bool,
}

impl<B: Backend> Told for Poll<'_, B> {
    fn span(&mut self, span: Span) {
        self.compute.settle(span, self.now);
    }

    fn busy(&mut self, busy: Busy) -> u64 {
        self.timed |= busy.charged > 0 && busy.stretch.from >= self.since;
        self.compute.was_busy(busy, self.now)
    }
}

impl<B: Backend> Compute<B> {
    /// Retires what the device has passed and takes in what has been timed.
    pub(super) fn poll(&self) {
        self.poll_since(u64::MAX);
    }

    /// The same, and whether the device's own clock has told of work submitted since `since`.
    fn poll_since(&self, since: u64) -> bool {
        let now = now_ns();
        let mut told = Poll {
            compute: self,
            now,
            since,
            timed: false,
        };
        let is_all = !self.several_queues.load(Ordering::Relaxed);
        self.marks
            .poll::<B>(&self.gate, &self.events, now, is_all, &mut told);
        let timed = told.timed;
        self.timing
            .collect::<B>(&self.events, |key, blocks, sample, others| {
                let sample = match others {
                    Some(others) if others.at != 0 => self.without_others(sample, others, now),
                    _ => sample,
                };
                // A sample is read up to some milliseconds after it was taken.
                let contended = others.is_some() || self.disturbed(now.saturating_sub(50_000_000));
                self.prices.learn(key, blocks, sample, contended);
            });
        timed
    }

    /// Whether a neighbour, one that came since the last look included, has done anything since
    /// `since`: its slices are then in what was measured.
    fn disturbed(&self, since: u64) -> bool {
        let mut neighbours = self
            .neighbours
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.has_siblings_since(since) || neighbours.any_since(since)
    }

    /// Whether work of another process of the tenant may have been on the device since `since`: its
    /// slices are in what was measured, and it pays for them itself.
    pub(super) fn has_siblings_since(&self, since: u64) -> bool {
        let charged = self.gate.siblings();
        // Relaxed: what one thread sees a moment late, it sees the next time.
        if self.siblings.swap(charged, Ordering::Relaxed) != charged {
            let until = self.gate.accounted_at().max(now_ns()) + SIBLING_NS;
            self.siblings_until.fetch_max(until, Ordering::Relaxed);
        }
        self.siblings_until.load(Ordering::Relaxed) >= since
    }

    pub(super) fn neighbours_now(&self) -> Vec<View> {
        let mut neighbours = self
            .neighbours
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        neighbours.refresh();
        neighbours.look(now_ns()).to_vec()
    }

    /// A sample of long work less what others had meanwhile.
    fn without_others(&self, sample: Sample, others: Others, now: u64) -> Sample {
        if sample.ns < SLICES_NS {
            return sample;
        }
        let views = self.neighbours_now();
        let about = views
            .iter()
            .filter(|view| may_have_run(view, others.at, now))
            .count() as u64;
        let had = progress(&views)
            .wrapping_sub(others.had)
            .cast_signed()
            .max(0);
        Sample {
            ns: own_part(
                sample.ns,
                had.cast_unsigned(),
                now.saturating_sub(others.at),
                about,
            ),
            ..sample
        }
    }

    /// Takes in what the work between two marks took: the bucket gets the difference, so that
    /// errors do not add up, and the costs get better.
    fn settle(&self, span: Span, now: u64) {
        // Marks put at the same place have nothing between them, and a neighbour's slices are not
        // ours to pay for.
        if span.charged == 0 || span.measured == 0 || self.disturbed(span.since) {
            return;
        }
        self.gate
            .true_up(span.measured, span.charged.saturating_add(span.late), now);
        if span.key != 0 && span.is_even() {
            // What one launch was charged, times what charges were wrong by.
            self.prices.fix(
                span.key,
                span.unit.saturating_mul(span.measured) / span.charged,
            );
        } else if span.settled && span.charged >= LONG_SPAN_NS {
            self.prices.rescale(span.measured, span.charged);
        }
    }

    /// Charges what the device was busy with and nobody was charged for; returns that, ns.
    fn was_busy(&self, busy: Busy, now: u64) -> u64 {
        let Busy {
            stretch,
            others,
            charged,
            launches,
        } = busy;
        let is_strict = self.gate.params().mode == Mode::Strict;
        let is_long = stretch.until.saturating_sub(stretch.from) >= LEAST_NS;
        let missing = if self.gate.unaccounted(stretch) >= LEAST_NS || (is_strict && is_long) {
            self.gate
                .reconcile(stretch, others, &self.neighbours_now(), now)
        } else {
            0
        };
        if charged > 0 {
            self.prices.took(charged.saturating_add(missing), launches);
            if !self.contended.load(Ordering::Relaxed) {
                self.gate.was_alone(charged);
            }
        }
        missing
    }

    /// Around a call in which the host stands waiting for the device. `drains` says what is known
    /// to be empty afterwards.
    pub fn synchronise(&self, drains: Drains, call: &dyn Fn() -> B::Status) -> B::Status {
        let before = now_ns();
        let line = self.gate.line();
        if self.contended.load(Ordering::Relaxed) {
            self.others
                .store(progress(&self.neighbours_now()), Ordering::Relaxed);
        }
        // Only a queue that this call names is sure to be there and to be the caller's to use. The
        // queue of the last launch may be destroyed by now, or in the hands of another thread.
        if let Some(queue) = drains.named()
            && line.stream.load(Ordering::Relaxed) == queue
            && line.unmarked.load(Ordering::Relaxed) != 0
            && before.saturating_sub(self.marked_ns.load(Ordering::Relaxed)) > MARK_NS
            && B::marks_while_waiting(queue)
        {
            self.mark(queue, before);
        }
        self.gate.block(before);
        let submitted = self.gate.mark();
        let result = call();
        let now = now_ns();
        // The device may have run empty.
        self.interrupted.store(true, Ordering::Relaxed);
        let is_timed = self.poll_since(before);
        if !is_timed && result == B::SUCCESS && drains.is_work() {
            let busy = Busy {
                stretch: Stretch {
                    from: before,
                    until: now.saturating_sub(NOTICE_NS).min(before + STOOD_NS),
                },
                others: self.others.load(Ordering::Relaxed),
                charged: 0,
                launches: 0,
            };
            self.was_busy(busy, now);
        }
        let idle = match drains {
            Drains::Everything => true,
            Drains::Queue(queue) | Drains::Copied(queue) => {
                !self.several_queues.load(Ordering::Relaxed)
                    && line.stream.load(Ordering::Relaxed) == queue
            }
            Drains::PartOf(_) | Drains::Something => false,
        };
        // What was submitted to another queue is not among what may come back.
        let is_done = idle
            || matches!(drains, Drains::Queue(queue) | Drains::Copied(queue) if line.stream.load(Ordering::Relaxed) == queue);
        if is_done && result == B::SUCCESS {
            self.gate.emptied(submitted, now);
        }
        if idle && result == B::SUCCESS {
            self.gate.drained(now);
            self.several_queues.store(false, Ordering::Relaxed);
            line.unmarked.store(0, Ordering::Relaxed);
        }
        if self.gate.resume(now)
            && let Ok(neighbours) = self.neighbours.try_lock()
        {
            neighbours.wake_waiting(now);
        }
        result
    }

    /// The whole context is known to be idle, and nothing was in flight.
    pub fn idle(&self) {
        self.several_queues.store(false, Ordering::Relaxed);
    }

    /// Sleeps until `until`, or a wake-up, or all of this process's work is done: what was charged
    /// too much for it has then come back.
    pub(super) fn wait_for_turn(&self, event: u32, until: u64) {
        let word = self.gate.page().event_word();
        while self.gate.in_flight() > 0 && !self.marks.is_empty() {
            let now = now_ns();
            let since = now.saturating_sub(self.marked_ns.load(Ordering::Relaxed));
            let look = (since / 4).clamp(LOOK_NS.start, LOOK_NS.end);
            if now >= until || wait::wait(word, event, until.min(now + look)) == Woken::Event {
                return;
            }
            self.poll();
            if self.gate.in_flight() == 0 {
                return;
            }
        }
        wait::wait(word, event, until);
    }
}

/// The part of `ns` that work itself took beside `about` others, who had `had` ns in the `seen` ns
/// since it was submitted, and what it costs the device to switch taken off. The device gives each
/// tenant with work a slice in turn: no more than all parts but one are theirs.
fn own_part(ns: u64, had: u64, seen: u64, about: u64) -> u64 {
    let had = u128::from(had) * u128::from(ns) / u128::from(seen.max(ns).max(1));
    ns.saturating_sub(u64::try_from(had).unwrap_or(u64::MAX))
        .saturating_sub(ns / LOST)
        .max(ns / (1 + about.min(MOST_OTHERS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_work_is_charged_without_the_slices_of_others() {
        const MS: u64 = 1_000_000;
        // 10 ms beside one that had slice for slice, with switches of 1 ms together; it is read a
        // little later.
        let own = own_part(21 * MS, 10 * MS, 21 * MS, 1);
        assert!((10 * MS..=11 * MS).contains(&own), "{own}");
        let late = own_part(21 * MS, 20 * MS, 42 * MS, 1);
        assert!(late.abs_diff(own) < MS / 100, "{late} {own}");
        // Beside one that had little, and beside pages that say anything.
        assert_eq!(own_part(16 * MS, MS, 16 * MS, 1), 14 * MS);
        assert_eq!(own_part(16 * MS, u64::MAX, 16 * MS, 1), 8 * MS);
        assert_eq!(own_part(16 * MS, u64::MAX, 0, 1_000), 4 * MS);
        assert_eq!(own_part(0, 0, 0, 0), 0);
    }
}
