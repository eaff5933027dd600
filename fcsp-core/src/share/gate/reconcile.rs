//! Reconciliation: what the device did against what was charged.
//!
//! Costs are learned, so work that nobody has learned yet, and work whose time depends on its data,
//! is charged wrongly at first. But a host that waits for its own work, or finds a mark of its own
//! not passed, knows that the device has been busy with it. The tenant's page says up to when the
//! device's time is accounted for: each charge moves that instant on by what was charged. Busy time
//! beyond it has been charged to nobody, and is charged then. The other way round, when a process
//! finds all of its work done, it cannot have used more of the device than the time since the
//! device had nothing of its work: what was charged beyond that is given back.
//!
//! Costs that are a little too low are not put right here but by spans ([`Gate::true_up`]): each
//! charge accounts for [`LENIENCY`] more than was charged. That is what a device loses when it
//! switches between a tenant's processes, too.
//!
//! The instant is the tenant's: work of several queues and processes at once counts once.

use std::sync::atomic::Ordering;

use super::{Gate, Marker, may_have_run};
use crate::share::page::View;
use crate::share::params::Mode;
use crate::share::policy;

/// A time in which the device had work of this process, from when it was submitted until it was not
/// done yet, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub until: u64,
}

/// A charge accounts for one in so many more.
const LENIENCY: u64 = 32;

impl Gate<'_> {
    /// Work of this process kept the device busy for a `stretch`, and no other tenant's did.
    /// Charges what of it no charge of the tenant's accounts for, and returns that, ns.
    pub fn was_busy(&self, stretch: Stretch, now: u64) -> u64 {
        let missing = self.page.account(stretch.from, stretch.until);
        if missing > 0 {
            self.amend(i64::try_from(missing).unwrap_or(i64::MAX), now);
            self.doubt(0, missing);
        }
        missing
    }

    /// Work of this process was on the device for a `stretch`, alone or beside `neighbours`, who
    /// had had `before` ns ([`super::progress`]) when it began. Charges what of it is this tenant's
    /// and was not charged, and returns that, ns.
    pub fn reconcile(&self, stretch: Stretch, before: u64, neighbours: &[View], now: u64) -> u64 {
        if neighbours
            .iter()
            .any(|view| may_have_run(view, stretch.from, now))
        {
            self.was_busy_beside(stretch, before, neighbours, now)
        } else {
            self.was_busy(stretch, now)
        }
    }

    /// Work that was charged `charged` ns is done, and nobody else used the device meanwhile.
    pub fn was_alone(&self, charged: u64) {
        self.doubt(charged, 0);
    }

    /// At `now` everything of this process's that was not retired is all that is left: of a tenant
    /// with one process, no more time than that is accounted for.
    pub fn is_all(&self, now: u64) {
        if self.page.is_alone() {
            self.page
                .account_at_most(now.saturating_add(leniently(self.in_flight())));
        }
    }

    /// Accounts for the time that `charged` ns are to take, submitted by `now`.
    pub(super) fn account_for(&self, charged: u64, now: u64) {
        self.page.account_for(leniently(charged), now);
    }

    /// What of a `stretch` no charge of the tenant's accounts for, ns.
    pub fn unaccounted(&self, stretch: Stretch) -> u64 {
        stretch
            .until
            .saturating_sub(self.page.accounted_at().max(stretch.from))
    }

    /// Everything that was submitted up to `marker` was done by `at`, and nothing was submitted
    /// after it. Gives back what was charged beyond the time in which it can have been done.
    pub fn emptied(&self, marker: Marker, at: u64) {
        if self.mark() != marker {
            return;
        }
        // Relaxed: of two threads that find out at once, the second finds nothing charged.
        let since = self.period_at.swap(at, Ordering::Relaxed);
        let charged = marker.since(Marker(self.period_mark.swap(marker.0, Ordering::Relaxed)));
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

    /// What is submitted from now on goes to another queue than what was submitted before, and
    /// nobody knows when the device is done with that: nothing comes back of what was charged for
    /// it.
    pub fn queue_changes(&self) {
        self.period_at.store(0, Ordering::Relaxed);
        self.period_mark.store(self.launched(), Ordering::Relaxed);
        self.amended.store(0, Ordering::Relaxed);
    }

    /// GPU time that other processes of the tenant were charged so far, ns, wrapping.
    pub fn siblings(&self) -> u64 {
        self.page
            .consumed()
            .wrapping_sub(self.paid.load(Ordering::Relaxed))
    }

    /// Up to when the device's time is accounted for by charges of the tenant, ns.
    pub fn accounted_at(&self) -> u64 {
        self.page.accounted_at()
    }

    /// Counts `gpu` ns as used by this process.
    pub(super) fn count(&self, gpu: i64) {
        self.count_paid(gpu);
        self.page.count(gpu);
    }

    /// The same, where the page has counted it.
    pub(super) fn count_paid(&self, gpu: i64) {
        self.paid.fetch_add(gpu.cast_unsigned(), Ordering::Relaxed);
    }

    /// The device had nothing of this process's work until `now`, when more is submitted.
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

    /// The same for work already done.
    pub(super) fn amend_past(&self, gpu: i64, now: u64) {
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
            Mode::Balanced | Mode::Adaptive => self
                .page
                .view()
                .map_or(i64::MAX, |view| rate.tokens(view.empty_at, now).max(0)),
            // A ceiling: whatever was used is owed.
            Mode::Strict | Mode::None => i64::MAX,
        };
        let own = gpu.min(tokens);
        self.page.charge(rate, own, now);
        self.count(own);
        // What the tenant had no tokens for was surplus: it must not owe that later, when others
        // want their own.
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

    /// Takes up to `gpu` ns out of the credit, which is paid for: else work that is charged too
    /// little would go on with it for as long as the charges last.
    fn take_credit(&self, gpu: i64) -> i64 {
        let credit = self.line.credit.load(Ordering::Relaxed);
        let taken = gpu.min(credit).max(0);
        if taken > 0 {
            // In this order: whoever reads between the two finds less submitted than there was,
            // which is asked again, and not more. Credit that another thread uses meanwhile is owed
            // by the next slice.
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
