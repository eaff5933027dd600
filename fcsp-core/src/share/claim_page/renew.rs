//! Pages of an earlier boot of the machine: their times belong to another clock.

use super::ClaimPage;
use crate::sync::Ordering;

/// Largest plausible distance of an instant in a page from now, ns: the longest kernel, and a
/// bucket's deepest debt.
const FUTURE_NS: u64 = 120_000_000_000;

impl ClaimPage {
    /// Takes over from the page `before`, whose processes have ended. The tenant's counters and
    /// debts stay; its claims end. Nothing is taken from a page of another version.
    pub(in crate::share) fn succeed(&self, before: &Self, now: u64) {
        if !before.is_valid() {
            self.seen.store(now, Ordering::Relaxed);
            return;
        }
        for (word, old) in [
            (&self.promise, &before.promise),
            (&self.generation, &before.generation),
            (&self.boot, &before.boot),
            (&self.empty_at, &before.empty_at),
            (&self.virtual_time, &before.virtual_time),
            (&self.consumed, &before.consumed),
            (&self.floor_empty_at, &before.floor_empty_at),
            (&self.pool_empty_at, &before.pool_empty_at),
            (&self.cap, &before.cap),
            (&self.surplus, &before.surplus),
            (&self.waited, &before.waited),
            (&self.waits, &before.waits),
            (&self.forced_admissions, &before.forced_admissions),
            (&self.corrections, &before.corrections),
            (&self.sensitivity, &before.sensitivity),
        ]
        .into_iter()
        .chain(self.classes.iter().zip(&before.classes))
        {
            // Relaxed: this page is not visible yet. Its file gets its name afterwards.
            word.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // A neighbour that looks before the new file is locked finds it in use.
        self.seen.store(now, Ordering::Relaxed);
        self.magic.store(super::MAGIC, Ordering::Release);
    }

    /// Resets the instants in a page of an earlier boot, whose clock was another one. Counted use
    /// stays.
    pub(super) fn renew(&self, boot: u64, now: u64) {
        let before = self.boot.load(Ordering::Relaxed);
        if boot == 0 || before == boot {
            return;
        }
        // One process of the tenant does it. A concurrent write by another one may be lost, once.
        if self
            .boot
            .compare_exchange(before, boot, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        // A page without a boot may be in use by an older build. Only instants that cannot belong
        // to this boot are reset.
        let latest = if before == 0 {
            now.saturating_add(FUTURE_NS)
        } else {
            0
        };
        for time in [
            &self.empty_at,
            &self.finish_at,
            &self.blocked_since,
            &self.pressed_at,
            &self.waiting_at,
            &self.seen,
            &self.floor_empty_at,
            &self.pool_empty_at,
            &self.expected_at,
            &self.let_at,
            &self.accounted_at,
            &self.trial_until,
            self.looked_until(),
        ] {
            let _ = time.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at > latest).then_some(0)
            });
        }
        if before != 0 {
            self.virtual_time.store(0, Ordering::Relaxed);
        }
    }
}
