//! Reconciliation beside other tenants: time in which the device was busy and nobody was charged for it.
//!
//! Each page says how much its tenant was charged. Over a while in which the device had this tenant's work all along, what it did is
//! the sum of all charges, but for what switches cost. If far more time has passed, somebody's costs are too low. Whose, nobody can
//! see from outside; but each tenant knows how wrong its own charges were found while it had the device to itself, and says so
//! in its page as its *doubt*. The time is paid for in proportion to the doubts, by those whose charges were found wrong. A tenant
//! that was found to be right, or never had the device to itself, pays for nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Gate, Stretch};
use crate::share::page::View;
use crate::units::WHOLE;

/// Time looked at together, ns: long against the slices that tenants are charged ahead.
const WINDOW_NS: u64 = 20_000_000;
/// The part of it that may be unaccounted for, one in so many: switches between contexts, and charges ahead.
const LOST: u64 = 4;
/// And so much for each neighbour, ns.
const AHEAD_NS: u64 = 1_000_000;
/// A doubt below this is none, ppm.
const SURE: u64 = 50_000;
/// GPU time without which a doubt means nothing, ns.
const FEW_NS: u64 = 20_000_000;
/// GPU time that a doubt remembers, ns.
const KEPT_NS: u64 = 1_000_000_000;

/// What of a window is not accounted for, and how much this process's charges are in doubt.
#[derive(Debug, Default)]
pub(super) struct Beside {
    span: AtomicU64,
    missing: AtomicU64,
    others: AtomicU64,
    /// Until when this process's time has been looked at, ns.
    until: AtomicU64,
    right: AtomicU64,
    wrong: AtomicU64,
}

/// Whether work of `n` may have been on the device since `since`, as far as its page says.
pub fn may_have_run(n: &View, since: u64, now: u64) -> bool {
    // One that waits for long work writes nothing meanwhile.
    n.seen >= since || n.finish_at >= since || n.active(now)
}

/// The GPU time that `neighbours` have been charged so far, ns.
pub fn consumed(neighbours: &[View]) -> u64 {
    neighbours.iter().fold(0, |sum, n| sum.wrapping_add(n.consumed))
}

impl Gate<'_> {
    /// Takes in that nobody else used the device while work that was charged `charged` ns took `missing` ns more.
    pub(super) fn doubt(&self, charged: u64, missing: u64) {
        let Beside { right, wrong, .. } = &self.beside;
        // Relaxed throughout: statistics, of which a piece may be lost.
        let sum = right.fetch_add(charged, Ordering::Relaxed)
            + charged
            + wrong.fetch_add(missing, Ordering::Relaxed)
            + missing;
        if sum > KEPT_NS {
            for part in [right, wrong] {
                part.store(part.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
        self.page.say_doubt(self.doubts());
    }

    /// How much of what this process is charged may be wrong, ppm.
    fn doubts(&self) -> u64 {
        let right = self.beside.right.load(Ordering::Relaxed);
        let wrong = self.beside.wrong.load(Ordering::Relaxed);
        // In steps of a hundredth, so that a page is not written for less.
        (u128::from(wrong) * 100 / u128::from(right + wrong + FEW_NS)) as u64 * (u64::from(WHOLE) / 100)
    }

    /// Work of this process was on the device for a `stretch` in which others may have used it, too; their pages say that they
    /// were charged `others` ns meanwhile. Charges this tenant's part of what nobody was charged for, and returns it, ns.
    pub fn was_busy_beside(&self, stretch: Stretch, others: u64, neighbours: &[View], now: u64) -> u64 {
        let Stretch { from, until } = stretch;
        let Beside {
            span,
            missing,
            others: had,
            ..
        } = &self.beside;
        let whole = until.saturating_sub(from);
        // A mark and a wait tell of the same time: it is looked at once.
        let length = until.saturating_sub(from.max(self.beside.until.fetch_max(until, Ordering::Relaxed)));
        if length == 0 {
            return 0;
        }
        let had_meanwhile = u128::from(others.min(whole)) * u128::from(length) / u128::from(whole);
        missing.fetch_add(self.page.account(until - length, until), Ordering::Relaxed);
        had.fetch_add(had_meanwhile as u64, Ordering::Relaxed);
        if span.fetch_add(length, Ordering::Relaxed) + length < WINDOW_NS {
            return 0;
        }
        let span = span.swap(0, Ordering::Relaxed);
        let nobodys = missing
            .swap(0, Ordering::Relaxed)
            .saturating_sub(had.swap(0, Ordering::Relaxed));
        let about = || neighbours.iter().filter(|n| may_have_run(n, from, now));
        let own = self.doubts();
        self.page.say_doubt(own);
        if own < SURE || nobodys < span / LOST + AHEAD_NS * about().count() as u64 {
            return 0;
        }
        let all = about()
            .map(|n| n.doubt)
            .filter(|&doubt| doubt >= SURE)
            .fold(own, |sum, doubt| sum.saturating_add(doubt.min(u64::from(WHOLE))));
        let part = (u128::from(nobodys) * u128::from(own) / u128::from(all)) as u64;
        self.amend(part.cast_signed(), now);
        part
    }
}
