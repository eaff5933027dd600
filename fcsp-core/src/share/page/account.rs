//! What a tenant's processes tell each other in their page, so that they count as one: who may be
//! let through next, and up to when the device's time is charged.

use super::TenantPage;
use crate::share::bucket::{MAX_DEBT_NS, Rate};
use crate::sync::Ordering;

impl TenantPage {
    /// Charges `gpu` ns to the guarantee if there are tokens at `now`; false if another process has
    /// taken the last ones.
    pub fn charge_if_filled(&self, rate: Rate, gpu: u64, now: u64) -> bool {
        // One exchange: of many processes that wake at once and see the same token, one has it.
        self.empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (rate.lag(at, now) > 0)
                    .then(|| rate.after(at, now, i64::try_from(gpu).unwrap_or(i64::MAX)))
            })
            .is_ok()
    }

    /// Takes the tenant's next turn to be let through by a deadline, after which there is none for
    /// `wall` ns. If it has not come yet: when it does.
    pub fn take_let_through(&self, wall: u64, now: u64) -> Result<(), u64> {
        // Relaxed: the word guards nothing but itself.
        let taken = self
            .let_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                // Farther ahead than any wait: a word that another clock or a fault has left.
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

    /// Moves the instant up to when the device's time is accounted for to `until`, and returns how
    /// much of the time since `from` had not been accounted for, ns. Of several processes that say
    /// the same, the first is told.
    pub(crate) fn account(&self, from: u64, until: u64) -> u64 {
        let before = self
            .accounted_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at.max(from) < until).then_some(until)
            });
        before.map_or(0, |at| until - at.max(from))
    }

    /// GPU time charged so far, ns.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// Takes the tenant's turn to try what its work takes, for `ns` at most; until when another
    /// process has it otherwise.
    pub(crate) fn take_trial(&self, ns: u64, now: u64) -> Result<(), u64> {
        let taken = self
            .trial_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
                // Farther ahead than any trial: a word that another clock or a fault has left.
                (until <= now || until - now > ns).then(|| now.saturating_add(ns))
            });
        taken.map(drop)
    }

    /// Ends the trial.
    pub(crate) fn end_trial(&self) {
        self.trial_until.store(0, Ordering::Relaxed);
    }

    /// Up to when the device's time is accounted for.
    pub(crate) fn accounted_at(&self) -> u64 {
        self.accounted_at.load(Ordering::Relaxed)
    }

    /// `gpu` ns more, or less, were charged than was said.
    pub(crate) fn move_account(&self, gpu: i64) {
        let _ = self
            .accounted_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                Some(at.saturating_add_signed(gpu))
            });
    }

    /// Nothing is queued at `now`, so nothing accounts for time after it.
    pub(crate) fn account_at_most(&self, now: u64) {
        self.accounted_at.fetch_min(now, Ordering::Relaxed);
    }

    /// Says how much of what the tenant is charged may be wrong, ppm. Of several processes the last
    /// one to say so is heard.
    pub(crate) fn say_doubt(&self, doubt: u64) {
        // Read first: neighbours read the line.
        if self.doubt.load(Ordering::Relaxed) != doubt {
            self.doubt.store(doubt, Ordering::Relaxed);
        }
    }

    /// Whether no other process of the tenant is attached. Those that were killed count as well.
    pub(crate) fn is_alone(&self) -> bool {
        self.attached.load(Ordering::Relaxed) <= 1
    }
}
