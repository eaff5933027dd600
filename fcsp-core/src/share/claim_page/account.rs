//! Words through which the processes of a tenant count as one: forced admissions, trials, and the
//! instant up to which charges account for the device's time.

use super::ClaimPage;
use crate::share::token_bucket::{MAX_DEBT_NS, TokenRate};
use crate::sync::Ordering;

impl ClaimPage {
    /// Charges `gpu` ns to the guarantee if there are tokens at `now`. Returns false if another
    /// process has taken the last tokens.
    pub fn charge_if_filled(&self, rate: TokenRate, gpu: u64, now: u64) -> bool {
        // One exchange: of many processes that wake at once and see the same token, one gets it.
        self.empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (rate.lag(at, now) > 0)
                    .then(|| rate.after(at, now, i64::try_from(gpu).unwrap_or(i64::MAX)))
            })
            .is_ok()
    }

    /// Takes the tenant's next forced admission; the one after it is due `wall` ns later. Fails
    /// with the instant at which it is due.
    pub fn take_forced_admission(&self, wall: u64, now: u64) -> Result<(), u64> {
        // Relaxed: the word guards no memory.
        let taken = self
            .let_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                // Further ahead than any wait: left by another clock or a fault.
                (at <= now || at - now > MAX_DEBT_NS)
                    .then(|| now.saturating_add(wall.min(MAX_DEBT_NS)))
            });
        taken.map(drop)
    }

    /// Accounts for `gpu` ns charged for work submitted by `now`.
    pub(crate) fn account_for(&self, gpu: u64, now: u64) {
        let _ = self
            .accounted_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                Some(at.max(now).saturating_add(gpu))
            });
    }

    /// Moves the instant up to which charges account for the device's time to `until`. Returns the
    /// part of the time since `from` that was not accounted for, ns. If several processes report
    /// the same time, the first one gets it.
    pub(crate) fn account(&self, from: u64, until: u64) -> u64 {
        let before = self
            .accounted_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at.max(from) < until).then_some(until)
            });
        before.map_or(0, |at| until - at.max(from))
    }

    /// Returns the GPU time charged so far, ns.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// Takes the tenant's trial for at most `ns`. Fails with the instant until which another
    /// process has it.
    pub(crate) fn take_trial(&self, ns: u64, now: u64) -> Result<(), u64> {
        let taken = self
            .trial_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
                // Further ahead than any trial: left by another clock or a fault.
                (until <= now || until - now > ns).then(|| now.saturating_add(ns))
            });
        taken.map(drop)
    }

    /// Ends the trial.
    pub(crate) fn end_trial(&self) {
        self.trial_until.store(0, Ordering::Relaxed);
    }

    /// Returns the instant up to which charges account for the device's time, ns.
    pub(crate) fn accounted_at(&self) -> u64 {
        self.accounted_at.load(Ordering::Relaxed)
    }

    /// Returns the sum of the corrections, ns, wrapping.
    pub(crate) fn corrected(&self) -> u64 {
        self.corrections.load(Ordering::Relaxed)
    }

    /// Moves that instant by `gpu` ns, after a charge was corrected.
    pub(crate) fn move_account(&self, gpu: i64) {
        let _ = self
            .accounted_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                Some(at.saturating_add_signed(gpu))
            });
    }

    /// Limits that instant to `now`: nothing is queued.
    pub(crate) fn account_at_most(&self, now: u64) {
        self.accounted_at.fetch_min(now, Ordering::Relaxed);
    }

    /// Publishes the part of the tenant's charges that may be wrong, ppm. Of several processes, the
    /// last writer wins.
    pub(crate) fn say_doubt(&self, doubt: u64) {
        // Read first: neighbours read the cache line.
        if self.doubt.load(Ordering::Relaxed) != doubt {
            self.doubt.store(doubt, Ordering::Relaxed);
        }
    }

    /// Returns true if no other process of the tenant is attached. Killed processes count as
    /// attached.
    pub(crate) fn is_alone(&self) -> bool {
        self.attached.load(Ordering::Relaxed) <= 1
    }
}
