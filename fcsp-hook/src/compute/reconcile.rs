//! Reconciliation of charges with what the device did: at fences that are reached or not, and where
//! the host has waited for it ([`RateLimiter::reconcile`]).

use core::sync::atomic::Ordering;

use fcsp_core::limiter::{BusyInterval, RateLimiter};
use fcsp_core::share::cost::Sample;
use fcsp_core::share::params::Mode;
use fcsp_core::share::wait::{self, Woken, now_ns};

use super::fences::{Busy, Span, Told};
use super::timing::Others;
use super::{Compute, Drains};
use crate::backend::Backend;

/// Least time between fences that are recorded at synchronisations, ns.
const MARK_NS: u64 = 1_000_000;
/// Least GPU time of a span that counts for the scale, ns.
const LONG_SPAN_NS: u64 = 100_000;
/// Longest time that a host needs to submit work and to see that it is done, ns. It is no work of
/// the device.
const NOTICE_NS: u64 = 40_000;
/// Longest wait of a host without a fence that is believed, ns. Beyond it the host may have been
/// stopped meanwhile.
const STOOD_NS: u64 = 10_000_000_000;
/// Time after its charge for which a sibling's work may be on the device, beyond the charged time,
/// ns.
const SIBLING_NS: u64 = 100_000_000;
/// Least busy time without a charge that is considered now; less is considered again later, ns.
const LEAST_NS: u64 = 50_000;
/// Least duration of work that contains others' slices, ns.
const SLICES_NS: u64 = 4_000_000;
/// Part of such a time that switches cost: one part in this many.
const LOST: u64 = 16;
/// Most other tenants that are believed to have had slices of it.
const MOST_OTHERS: u64 = 3;
/// Interval at which a thread that waits for tokens checks its fences while work is in flight, ns.
/// It is a quarter of the time for which work has been in flight, within these bounds. A late
/// observation counts as busy time, unless the device's clock says better.
const LOOK_NS: core::ops::Range<u64> = 20_000..1_000_000;

/// Receiver of a poll's results for the compute share.
struct Poll<'c, B: Backend> {
    compute: &'c Compute<B>,
    now: u64,
    /// Least instant of submission, ns: `timed` is set if the device's own clock reports later
    /// work.
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
    /// Retires the work that the device has done, and takes in measured times.
    pub(super) fn poll(&self) {
        self.poll_since(u64::MAX);
    }

    /// Polls likewise. Returns true if the device's own clock has reported work submitted since
    /// `since`.
    fn poll_since(&self, since: u64) -> bool {
        let now = now_ns();
        let mut told = Poll {
            compute: self,
            now,
            since,
            timed: false,
        };
        let is_all = !self.several_queues.load(Ordering::Relaxed);
        self.fences
            .poll::<B>(&self.limiter, &self.events, now, is_all, &mut told);
        let timed = told.timed;
        self.timing
            .collect::<B>(&self.events, |key, blocks, sample, others| {
                let sample = match others {
                    Some(others) if others.at != 0 => self.without_others(sample, others, now),
                    _ => sample,
                };
                // A sample is read up to some milliseconds after it was taken.
                let contended = others.is_some() || self.disturbed(now.saturating_sub(50_000_000));
                self.costs.learn(key, blocks, sample, contended);
            });
        timed
    }

    /// Returns true if a neighbour, including a new one, was active since `since`: its slices are
    /// then in the measurement.
    fn disturbed(&self, since: u64) -> bool {
        self.has_siblings_since(since) || self.limiter.others_ran_since(since)
    }

    /// Returns true if work of another process of the tenant may have been on the device since
    /// `since`. Its slices are in the measurement, and it pays for them itself.
    pub(super) fn has_siblings_since(&self, since: u64) -> bool {
        let charged = self.limiter.siblings();
        // Relaxed: what one thread sees a moment late, it sees the next time.
        if self.siblings.swap(charged, Ordering::Relaxed) != charged {
            let until = self.limiter.accounted_at().max(now_ns()) + SIBLING_NS;
            self.siblings_until.fetch_max(until, Ordering::Relaxed);
        }
        self.siblings_until.load(Ordering::Relaxed) >= since
    }

    /// Returns a sample of long work less what others had meanwhile.
    fn without_others(&self, sample: Sample, others: Others, now: u64) -> Sample {
        if sample.ns < SLICES_NS {
            return sample;
        }
        let meanwhile = self.limiter.others_since(others.had, others.at, now);
        Sample {
            ns: own_part(
                sample.ns,
                meanwhile.ns,
                now.saturating_sub(others.at),
                meanwhile.tenants,
            ),
            ..sample
        }
    }

    /// Records the time of the work between two fences. The bucket gets the difference, so that
    /// errors do not add up, and the costs improve.
    fn settle(&self, span: Span, now: u64) {
        // Fences at the same place have nothing between them, and this tenant does not pay for a
        // neighbour's slices.
        if span.charged == 0 || span.measured == 0 || self.disturbed(span.since) {
            return;
        }
        self.limiter
            .true_up(span.measured, span.charged.saturating_add(span.late), now);
        if span.key != 0 && span.is_even() {
            // The charge of one launch, times the error of the charges.
            self.costs.fix(
                span.key,
                span.unit.saturating_mul(span.measured) / span.charged,
            );
        } else if span.settled && span.charged >= LONG_SPAN_NS {
            self.costs.rescale(span.measured, span.charged);
        }
    }

    /// Charges busy time that was charged to no tenant, and returns it, ns.
    fn was_busy(&self, busy: Busy, now: u64) -> u64 {
        let Busy {
            stretch,
            others,
            charged,
            launches,
        } = busy;
        let is_strict = self.limiter.params().mode == Mode::Strict;
        let is_long = stretch.until.saturating_sub(stretch.from) >= LEAST_NS;
        let missing = if self.limiter.unaccounted(stretch) >= LEAST_NS || (is_strict && is_long) {
            self.limiter.reconcile(stretch, others, now)
        } else {
            0
        };
        if charged > 0 {
            self.costs.took(charged.saturating_add(missing), launches);
            if !self.limiter.is_contended() {
                self.limiter.was_alone(charged);
            }
        }
        missing
    }

    /// Runs a call in which the host waits for the device. `drains` says what is known to be empty
    /// afterwards.
    pub fn synchronise(&self, drains: Drains, call: &dyn Fn() -> B::Status) -> B::Status {
        let before = now_ns();
        let line = self.limiter.line();
        if self.limiter.is_contended() {
            self.limiter.see_others(before);
        }
        // Only a queue that this call names surely exists and is the caller's to use. The queue of
        // the last launch may be destroyed by now, or used by another thread.
        if let Some(queue) = drains.named()
            && line.stream.load(Ordering::Relaxed) == queue
            && line.unmarked.load(Ordering::Relaxed) != 0
            && before.saturating_sub(self.marked_ns.load(Ordering::Relaxed)) > MARK_NS
            && B::marks_while_waiting(queue)
        {
            self.mark(queue, before);
        }
        self.limiter.block(before);
        let submitted = self.limiter.position();
        let result = call();
        let now = now_ns();
        // The device may have been idle.
        self.interrupted.store(true, Ordering::Relaxed);
        let is_timed = self.poll_since(before);
        if !is_timed && result == B::SUCCESS && drains.is_work() {
            let busy = Busy {
                stretch: BusyInterval {
                    from: before,
                    until: now.saturating_sub(NOTICE_NS).min(before + STOOD_NS),
                },
                others: self.limiter.others_seen(),
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
        // Work submitted to another queue is not refunded.
        let is_done = idle
            || matches!(drains, Drains::Queue(queue) | Drains::Copied(queue) if line.stream.load(Ordering::Relaxed) == queue);
        if is_done && result == B::SUCCESS {
            self.limiter.emptied(submitted, now);
        }
        if idle && result == B::SUCCESS {
            self.limiter.drained(now);
            self.several_queues.store(false, Ordering::Relaxed);
            line.unmarked.store(0, Ordering::Relaxed);
        }
        if matches!(drains, Drains::Everything) && result == B::SUCCESS {
            self.standstill.is_idle();
        }
        self.limiter.resume(now);
        self.answer();
        result
    }

    /// Records that the whole context is known to be idle, with nothing in flight.
    pub fn idle(&self) {
        self.several_queues.store(false, Ordering::Relaxed);
        self.standstill.is_idle();
    }

    /// Answers a pause after a call in which the host waited for the device.
    pub fn has_waited(&self) {
        self.answer();
    }

    /// Sleeps until `until`, a wake-up, or the end of all of this process's work: excessive charges
    /// for it have then been refunded.
    pub(super) fn wait_for_turn(&self, event: u32, until: u64) {
        let word = self.limiter.event_word();
        while self.limiter.in_flight() > 0 && !self.fences.is_empty() {
            let now = now_ns();
            let since = now.saturating_sub(self.marked_ns.load(Ordering::Relaxed));
            let look = (since / 4).clamp(LOOK_NS.start, LOOK_NS.end);
            if now >= until || wait::wait(word, event, until.min(now + look)) == Woken::Event {
                return;
            }
            self.poll();
            if self.limiter.in_flight() == 0 {
                return;
            }
        }
        wait::wait(word, event, until);
    }
}

/// Returns the part of `ns` that work itself took next to `about` others, without the cost of
/// switches. The others had `had` ns in the `seen` ns since its submission. The device gives each
/// tenant with work a slice in turn, so at most all parts but one are theirs.
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
        // 10 ms next to a tenant that had slice for slice, with switches of 1 ms together; it is
        // read a little later.
        let own = own_part(21 * MS, 10 * MS, 21 * MS, 1);
        assert!((10 * MS..=11 * MS).contains(&own), "{own}");
        let late = own_part(21 * MS, 20 * MS, 42 * MS, 1);
        assert!(late.abs_diff(own) < MS / 100, "{late} {own}");
        // Next to a tenant that had little, and next to pages that claim anything.
        assert_eq!(own_part(16 * MS, MS, 16 * MS, 1), 14 * MS);
        assert_eq!(own_part(16 * MS, u64::MAX, 16 * MS, 1), 8 * MS);
        assert_eq!(own_part(16 * MS, u64::MAX, 0, 1_000), 4 * MS);
        assert_eq!(own_part(0, 0, 0, 0), 0);
    }
}
