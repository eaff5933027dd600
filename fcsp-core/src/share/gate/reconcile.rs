//! Reconciliation of charges with the time for which the device was busy.
//!
//! Costs are learned. Work without a learned cost, and work whose time depends on its data, is
//! charged wrongly at first. But a host that waits for its own work, or finds a fence not reached,
//! knows that the device has been busy with it.
//!
//! The claim page holds the instant up to which charges account for the device's time; each charge
//! moves it on. Busy time beyond it was charged to no tenant, and is charged then. Conversely, a
//! process whose work is all done cannot have used more of the device than the time since it last
//! had no work there. A charge beyond that is refunded.
//!
//! Costs that are slightly too low are corrected by spans ([`Gate::true_up`]) and not here: each
//! charge accounts for one part in [`LENIENCY`] more than was charged. That also covers what a
//! device loses when it switches between a tenant's processes.
//!
//! The instant belongs to the tenant: work of several queues and processes at the same time counts
//! once.

use std::sync::atomic::Ordering;

use super::{Gate, Position, may_have_run};
use crate::share::claim_page::ClaimView;
use crate::share::params::Mode;
use crate::share::policy;

/// Busy interval: a time in which the device had work of this process, from its submission until an
/// instant at which it was not done yet, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyInterval {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub until: u64,
}

/// Fraction by which a charge accounts for more than was charged: one part in this many.
const LENIENCY: u64 = 32;

impl Gate<'_> {
    /// Charges the part of a busy interval that no charge of the tenant accounts for, and returns
    /// it, ns. No other tenant may have used the device in it.
    pub fn was_busy(&self, busy: BusyInterval, now: u64) -> u64 {
        let missing = self.page.account(busy.from, busy.until);
        if missing > 0 {
            self.amend(i64::try_from(missing).unwrap_or(i64::MAX), now);
            self.doubt(0, missing);
        }
        missing
    }

    /// Charges this tenant's part of a busy interval that was not charged, and returns it, ns.
    /// `neighbours` may have used the device too; their [`super::progress`] was `before` ns when it
    /// began.
    pub fn reconcile(
        &self,
        busy: BusyInterval,
        before: u64,
        neighbours: &[ClaimView],
        now: u64,
    ) -> u64 {
        if neighbours
            .iter()
            .any(|view| may_have_run(view, busy.from, now))
        {
            self.was_busy_beside(busy, before, neighbours, now)
        } else {
            self.was_busy(busy, now)
        }
    }

    /// Records that work charged `charged` ns is done and that no other tenant used the device
    /// meanwhile.
    pub fn was_alone(&self, charged: u64) {
        self.doubt(charged, 0);
    }

    /// Records that at `now` only the work that is not retired is left. If the tenant has one
    /// process, charges then account for no more time than that.
    pub fn is_all(&self, now: u64) {
        if self.page.is_alone() {
            self.page
                .account_at_most(now.saturating_add(leniently(self.in_flight())));
        }
    }

    /// Accounts for the time of work charged `charged` ns and submitted by `now`.
    pub(super) fn account_for(&self, charged: u64, now: u64) {
        self.page.account_for(leniently(charged), now);
    }

    /// Returns the part of a busy interval that no charge of the tenant accounts for, ns.
    pub fn unaccounted(&self, busy: BusyInterval) -> u64 {
        busy.until
            .saturating_sub(self.page.accounted_at().max(busy.from))
    }

    /// Refunds what was charged beyond the possible device time. All work up to `marker` was done
    /// by `at`, and nothing was submitted after it.
    pub fn emptied(&self, marker: Position, at: u64) {
        if self.mark() != marker {
            return;
        }
        // Relaxed: if two threads find this at once, the second one finds nothing charged.
        let since = self.period_at.swap(at, Ordering::Relaxed);
        let charged = marker.since(Position(self.period_mark.swap(marker.0, Ordering::Relaxed)));
        let amended = self.amended.swap(0, Ordering::Relaxed);
        let charged = i64::try_from(charged)
            .unwrap_or(i64::MAX)
            .saturating_add(amended);
        let most = i64::try_from(at.saturating_sub(since)).unwrap_or(i64::MAX);
        if charged > most {
            let back = most - charged;
            self.page.charge(self.own_rate(), back, at);
            self.count(back);
            self.page.add_launched(back);
            self.page.add_done(back);
            self.page.note_correction(back);
            self.page.move_account(back);
        }
        if self.page.is_alone() {
            self.page.account_at_most(at);
        }
    }

    /// Records that later work goes to another queue than earlier work. No refund is made for the
    /// earlier work, since the instant at which it is done is unknown.
    pub fn queue_changes(&self) {
        self.period_at.store(0, Ordering::Relaxed);
        self.period_mark.store(self.launched(), Ordering::Relaxed);
        self.amended.store(0, Ordering::Relaxed);
    }

    /// Returns the GPU time charged to other processes of the tenant so far, ns, wrapping.
    pub fn siblings(&self) -> u64 {
        self.page
            .consumed()
            .wrapping_sub(self.paid.load(Ordering::Relaxed))
    }

    /// Returns the instant up to which charges of the tenant account for the device's time, ns.
    pub fn accounted_at(&self) -> u64 {
        self.page.accounted_at()
    }

    /// Counts `gpu` ns as used by this process.
    pub(super) fn count(&self, gpu: i64) {
        self.count_paid(gpu);
        self.page.count(gpu);
    }

    /// Counts `gpu` ns as used by this process, where the page has counted it already.
    pub(super) fn count_paid(&self, gpu: i64) {
        self.paid.fetch_add(gpu.cast_unsigned(), Ordering::Relaxed);
    }

    /// Records that the device had no work of this process until `now`, when more is submitted.
    pub(super) fn period_begins(&self, now: u64) {
        self.period_at.store(now, Ordering::Relaxed);
        // Nothing is in flight but the launch that is about to go.
        self.period_mark
            .store(self.retired.load(Ordering::Relaxed), Ordering::Relaxed);
        self.amended.store(0, Ordering::Relaxed);
    }

    /// Charges `gpu` ns more, or less, than was charged for work of the present period.
    pub(super) fn amend(&self, gpu: i64, now: u64) {
        self.amended.fetch_add(gpu, Ordering::Relaxed);
        self.amend_past(gpu, now);
    }

    /// Charges `gpu` ns more, or less, for work already done.
    pub(super) fn amend_past(&self, gpu: i64, now: u64) {
        self.amend_past_owing(gpu, 0, now);
    }

    /// Charges `gpu` ns more, or less, for work already done. A tenant without a ceiling goes into
    /// debt by `debt` ns at most: that time was withheld from a neighbour's guarantee.
    pub(super) fn amend_past_owing(&self, gpu: i64, debt: u64, now: u64) {
        self.page.note_correction(gpu);
        self.page.add_launched(gpu);
        self.page.add_done(gpu);
        let gpu = gpu - self.take_credit(gpu);
        if gpu == 0 {
            return;
        }
        let params = self.params();
        let rate = self.own_rate();
        let tokens = match params.mode {
            Mode::Balanced | Mode::Adaptive => self.page.view().map_or(i64::MAX, |view| {
                rate.tokens(view.empty_at, now)
                    .max(0)
                    .saturating_add_unsigned(debt)
            }),
            // Strict mode is a ceiling: all use is owed.
            Mode::Strict | Mode::None => i64::MAX,
        };
        let own = gpu.min(tokens);
        self.page.charge(rate, own, now);
        self.count(own);
        // Use beyond the tokens was surplus. The tenant must not owe it later, when other tenants
        // want their guarantees.
        if let Ok(rest @ 1..) = u64::try_from(gpu - own) {
            self.count_paid(rest.cast_signed());
            self.page
                .charge_surplus(params.weight, policy::pool_rate(&params), rest, now);
        }
        if let Ok(more @ 1..) = u64::try_from(gpu)
            && params.floor > 0
        {
            self.page
                .charge_floor(policy::floor_rate(&params), more, false, now);
        }
    }

    /// Takes up to `gpu` ns from the credit, which is already charged. Otherwise work with too low
    /// a cost would continue for as long as the credit lasts.
    fn take_credit(&self, gpu: i64) -> i64 {
        let credit = self.line.credit.load(Ordering::Relaxed);
        let taken = gpu.min(credit).max(0);
        if taken > 0 {
            // In this order: a reader between the two changes sees less submitted than there was,
            // which makes it ask again, and never more. Credit that another thread uses meanwhile
            // is owed by the next slice.
            self.granted
                .fetch_sub(taken.cast_unsigned(), Ordering::Relaxed);
            self.line.credit.fetch_sub(taken, Ordering::Relaxed);
        }
        taken
    }
}

fn leniently(charged: u64) -> u64 {
    charged.saturating_add(charged / LENIENCY)
}
