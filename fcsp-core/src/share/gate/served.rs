//! A lower bound of the device time that this process's queue had beside others, which needs no
//! page to be true.
//!
//! A device with work of several contexts gives each a time slice in turn. A queue that never ran
//! empty therefore had a slice in each round. Beside `n` other contexts that is one part in `n + 1`
//! of the time. The first rounds after the queue was empty are left out, since others may have had
//! them. Charges far below the bound are too low. A neighbour cannot make right charges look too
//! low by what its page says of its use: its context takes its own slices and no more.
//!
//! The number of contexts comes from the pages: each says how many processes its tenant has. The
//! bound allows for one hidden context beside each ([`HIDDEN`], [`PLAIN`]). A neighbour that keeps
//! three or more processes on the device and writes over their number can raise the bound too far.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::Gate;
use crate::share::claim_page::{ClaimPage, ClaimView};
use crate::share::policy::SLICE_NS;
use crate::units::WHOLE;

/// Time looked at together, ns: long against what is charged ahead.
const WINDOW_NS: u64 = 100_000_000;
/// The same where the tenant has other processes.
const WINDOW_OF_SEVERAL_NS: u64 = 400_000_000;
/// The most that other processes of the tenant count as having queued, ns: the queue of a dead
/// process is never found done.
const SIBLINGS_NS: u64 = 50_000_000;
/// The longest time slice of another context, with the switch to it, ns.
const TURN_NS: u64 = SLICE_NS + SLICE_NS / 4;
/// Time slices before the queue's first one, for each context that pages tell of.
const HIDDEN: u64 = 2;
/// The part of a time slice that is left after switches, percent.
const KEPT: u64 = 90;
/// Charges are too low where the bound is more than this, percent of the charges.
const PLAIN: u64 = 150;
/// The longest gap between two looks that does not count as an empty queue, ns.
const UNSEEN_NS: u64 = 100_000;
/// The part of the time that switches and charges ahead may leave unaccounted for, one in so many.
const LOST: u64 = 4;
/// The most processes that a page is believed to have.
const MOST: u64 = 64;

/// A window of time in which the device had work of this process and of others.
///
/// All words are written by the threads of this process that look at the time, and read by them.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// Time looked at since the window began, ns.
    span: AtomicU64,
    /// Time for which the queue has not run empty, ns.
    period: AtomicU64,
    /// Set while no look has followed an empty queue.
    is_new: AtomicBool,
    /// Lower bound of the device time that the queue had in the window, ns.
    least: AtomicU64,
    /// The most contexts that neighbours may have had on the device at once.
    contexts: AtomicU64,
    /// Part of the window that no charge accounts for, ns.
    missing: AtomicI64,
    /// Charges for submitted work when the window began, less those of queued work, ns, wrapping.
    before: AtomicU64,
    /// Corrections of charges when the window began, ns, wrapping.
    corrected: AtomicU64,
    /// Least part of the last window that this process had without a charge, ppm.
    uncharged: AtomicU64,
}

/// One look at a part of the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Its length, ns.
    pub(super) length: u64,
    /// Time before it at which nobody looked, ns.
    pub(super) unseen: u64,
    /// Part of it that no charge accounts for, ns.
    pub(super) unaccounted: i64,
    /// Contexts of neighbours that may have had work on the device.
    pub(super) contexts: u64,
}

/// Returns the lower bound for `period` ns since a queue was empty, beside `contexts` others.
fn least_of(period: u64, contexts: u64) -> u64 {
    let before = HIDDEN * contexts * TURN_NS;
    period.saturating_sub(before) / (contexts + 1) * KEPT / 100
}

/// Returns the number of contexts that the tenant of a page may have on the device.
pub(super) fn contexts_of(view: &ClaimView) -> u64 {
    u64::from(view.processes).clamp(1, MOST)
}

impl Served {
    /// Begins the first window of a process.
    pub(super) fn new(page: &ClaimPage) -> Self {
        let queued = page.queued().min(SIBLINGS_NS);
        Self {
            before: AtomicU64::new(page.launched().wrapping_sub(queued)),
            corrected: AtomicU64::new(page.corrected()),
            ..Self::default()
        }
    }
}

impl Gate<'_> {
    /// Records that the queue of this process is empty.
    pub(super) fn ran_empty(&self) {
        // Relaxed, here and below: sums of one process that guard nothing.
        self.served.is_new.store(true, Ordering::Relaxed);
    }

    /// Records a look beside others. At the end of a window, returns the tenant's charges in it and
    /// the time that it must have had beyond them. That time is 0 where charges account for all.
    /// Returns `None` before that, and where neither is certain.
    pub(super) fn serve(&self, look: Look) -> Option<(u64, u64)> {
        let Served {
            span,
            period,
            is_new,
            least,
            contexts,
            missing,
            before,
            corrected,
            uncharged,
        } = &self.served;
        let Look {
            length,
            unseen,
            unaccounted,
            contexts: others,
        } = look;
        if unseen > UNSEEN_NS {
            self.ran_empty();
        }
        if is_new.swap(false, Ordering::Relaxed) {
            period.store(0, Ordering::Relaxed);
        }
        let was = period.fetch_add(length, Ordering::Relaxed);
        let more =
            least_of(was.saturating_add(length), others).saturating_sub(least_of(was, others));
        least.fetch_add(more, Ordering::Relaxed);
        contexts.fetch_max(others, Ordering::Relaxed);
        missing.fetch_add(unaccounted, Ordering::Relaxed);
        let full = if self.page.is_alone() {
            WINDOW_NS
        } else {
            WINDOW_OF_SEVERAL_NS
        };
        if span
            .fetch_add(length, Ordering::Relaxed)
            .saturating_add(length)
            < full
        {
            return None;
        }
        let span = span.swap(0, Ordering::Relaxed);
        let others = contexts.swap(0, Ordering::Relaxed);
        let had = least.swap(0, Ordering::Relaxed);
        let missing = missing.swap(0, Ordering::Relaxed);
        // Charges at the launch alone: those after the fact were made because it was too little.
        let own = self.in_flight();
        let siblings = self.page.queued().saturating_sub(own).min(SIBLINGS_NS);
        let unpublished = self
            .launched()
            .saturating_sub(self.flushed.load(Ordering::Relaxed));
        let launched = self.page.launched().wrapping_add(unpublished);
        let amended = self.page.corrected();
        let before = before.swap(
            launched.wrapping_sub(own).wrapping_sub(siblings),
            Ordering::Relaxed,
        );
        let amended_before = corrected.swap(amended, Ordering::Relaxed);
        let charged = launched
            .wrapping_sub(before)
            .wrapping_sub(amended.wrapping_sub(amended_before))
            .cast_signed();
        let charged = charged.max(0).cast_unsigned();
        let allowed = span / LOST + super::beside::AHEAD_NS * others;
        let beyond = missing.saturating_sub(allowed.cast_signed());
        let is_plain = beyond > 0 && had.saturating_mul(100) > charged.saturating_mul(PLAIN);
        let least = if is_plain {
            (had - charged).min(missing.cast_unsigned())
        } else {
            0
        };
        let part = u128::from(least) * u128::from(WHOLE) / u128::from(span.max(1));
        uncharged.store(part.min(u128::from(WHOLE)) as u64, Ordering::Relaxed);
        if beyond <= 0 {
            return Some((charged.min(span), 0));
        }
        is_plain.then(|| (charged, (had - charged).min(beyond.cast_unsigned())))
    }

    /// Returns the least device time that this process had without a charge in `span` ns, at the
    /// rate of the last window, ns.
    pub(super) fn had_uncharged(&self, span: u64) -> u64 {
        let part = self.served.uncharged.load(Ordering::Relaxed);
        (u128::from(span) * u128::from(part) / u128::from(WHOLE)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_queue_that_never_ran_empty_had_its_turns() {
        // Beside one other context half of the time, less one turn and the switches.
        assert_eq!(least_of(105 * MS, 1), 45 * MS);
        assert_eq!(least_of(100 * MS, 4), 80 * MS / 5 * 9 / 10);
        // A queue that runs empty all the time may have waited a round for each launch.
        assert_eq!(least_of(5 * MS, 1), 0);
        assert_eq!(least_of(100 * MS, MOST * 256), 0);
    }
}
