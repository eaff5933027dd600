//! Pages that another boot of the machine has left: their times are of a clock that is gone.

use super::TenantPage;
use crate::sync::Ordering;

/// How far a time in a page may lie ahead: the longest kernel, and a bucket's deepest debt, ns.
const FUTURE_NS: u64 = 120_000_000_000;

impl TenantPage {
    /// Sets the times anew in a page that another boot of the machine has left: its clock was another one. What was
    /// consumed stays counted.
    pub(super) fn renew(&self, boot: u64, now: u64) {
        let before = self.boot.load(Ordering::Relaxed);
        if boot == 0 || before == boot {
            return;
        }
        // One process of the tenant does it. What another writes at the same moment may be lost, once.
        if self
            .boot
            .compare_exchange(before, boot, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        // A page that did not say its boot may be in use by an older build: only what cannot be of this one is reset.
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
            &self.waiting_since,
            &self.seen,
            &self.floor_empty_at,
            &self.pool_empty_at,
            &self.expected_at,
        ] {
            let _ = time.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at > latest).then_some(0)
            });
        }
        if before != 0 {
            self.vtime.store(0, Ordering::Relaxed);
        }
    }
}
