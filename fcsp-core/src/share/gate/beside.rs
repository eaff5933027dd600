//! Reconciliation next to other tenants: time in which the device was busy and no tenant was
//! charged.
//!
//! Each claim page says how much of its tenant's charges belongs to work that is done. While the
//! device always has work of this tenant, the time that passes is the sum of all charges and the
//! cost of switches. If more time has passed, some tenant's costs are too low. It cannot be seen
//! from outside which tenant's. But each tenant knows how wrong its own charges were found where
//! only they could be wrong, and publishes that ratio as its *doubt*. Tenants in doubt pay for the
//! time, in proportion to doubt and share.
//!
//! A strict share is a ceiling, so a strict tenant is in doubt until it was found right. It is
//! judged while it has the device to itself, and next to neighbours in no doubt: there the time
//! less their charges is its own. Neighbours are charged ahead, so one window may miss time that
//! another one has too much of. The balance is carried on and evens out.
//!
//! Any other tenant pays only after it was found wrong, and only for a large gap. It is judged
//! while it has the device to itself, and by the lower bound of its time ([`super::served`]). Time
//! that the bound proves is its own, and only the rest is divided by doubt. It then owes the time
//! that it had beyond its share, as far as the guarantee of a neighbour is withheld meanwhile.
//!
//! The account is the tenant's and lies in its claim page: processes that come and go share it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::served::{Look, contexts_of};
use super::{BusyInterval, Gate};
use crate::share::claim_page::ClaimView;
use crate::share::params::{DEFAULT_CAP_NS, Mode};
use crate::share::token_bucket::{TokenRate, wall_to_gpu_ns};
use crate::units::WHOLE;

/// Window in which time is summed up, ns. It is long compared with the slices that tenants are
/// charged ahead.
const WINDOW_NS: u64 = 20_000_000;
/// Fraction of the window that may be unaccounted for (one part in this many): context switches,
/// and charges ahead.
const LOST: u64 = 4;
/// The same for a strict tenant: only context switches, since charges ahead even out.
const LOST_STRICT: u64 = 16;
/// Unaccounted time allowed for each neighbour in addition, ns.
pub(super) const AHEAD_NS: u64 = 1_000_000;
/// Longest delay with which neighbours report work as done, ns.
const LATE_NS: u64 = 16_000_000;
/// Least doubt that counts, ppm.
const SURE: u64 = 50_000;
/// Doubt of a strict tenant that was not judged yet, ppm.
const UNPROVEN: u64 = 60_000;
/// Least content of a neighbour's bucket with which its guarantee counts as withheld, ns of GPU
/// time.
const WITHHELD_NS: u64 = 1_000_000;
/// GPU time below which a doubt means nothing, ns.
const FEW_NS: u64 = 20_000_000;
/// GPU time that a doubt remembers, ns.
const KEPT_NS: u64 = 1_000_000_000;

/// The last look of this process at the other tenants. Relaxed throughout: these words guard no
/// memory.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// End of the interval of this process's own time at that look, ns.
    until: AtomicU64,
    /// Instant of that look, ns.
    at: AtomicU64,
    /// GPU time of all neighbours at that look, ns.
    others: AtomicU64,
    /// Sum of doubt times share of the neighbours that may have used the device since the window
    /// began.
    doubtful: AtomicU64,
    /// Time in which no neighbour was in doubt, ns, in the present window.
    span: AtomicU64,
    /// Part of `span` for which own charges account, ns.
    right: AtomicU64,
    /// Part of `span` for which no charge accounts, ns; negative if charges exceed the time.
    balance: AtomicI64,
}

/// Returns true if work of `n` may have been on the device since `since`, by its claims.
pub fn may_have_run(n: &ClaimView, since: u64, now: u64) -> bool {
    if n.finish_at >= since
        || n.accounted_at >= since
        || (n.is_queued && n.was_active_recently(now))
    {
        return true;
    }
    // A strict tenant that waits at its gate with nothing queued does not run. A tenant that waits
    // for long work publishes nothing.
    let stands = n.mode == Mode::Strict && n.waits(now);
    !stands && (n.seen >= since || n.active(now))
}

/// Returns the GPU time that `neighbours` were charged for completed work so far, ns, wrapping.
pub fn progress(neighbours: &[ClaimView]) -> u64 {
    neighbours.iter().fold(0, |sum, n| sum.wrapping_add(n.done))
}

/// Returns the GPU time that a device-bound neighbour is owed of its guarantee, ns.
fn withheld_from(n: &ClaimView, now: u64) -> u64 {
    if n.mode == Mode::None || !(n.is_device_bound(now) || n.is_queued) {
        return 0;
    }
    let rate = TokenRate {
        part: n.guarantee,
        cap: DEFAULT_CAP_NS,
    };
    let tokens = rate.tokens(n.empty_at, now).max(0).cast_unsigned();
    if tokens < WITHHELD_NS { 0 } else { tokens }
}

impl Gate<'_> {
    /// Records that work charged `charged` ns took `missing` ns more while no other tenant used the
    /// device.
    pub(super) fn doubt(&self, charged: u64, missing: u64) {
        self.page.judge(charged, missing, KEPT_NS);
        self.page.say_doubt(self.doubts());
    }

    /// Returns the part of this tenant's charges that may be wrong, ppm.
    fn doubts(&self) -> u64 {
        let (right, wrong) = self.page.judged();
        if self.params().mode == Mode::Strict && right + wrong < FEW_NS {
            return UNPROVEN;
        }
        // In steps of a hundredth, so that a page is not written for less.
        (u128::from(wrong) * 100 / u128::from(right + wrong + FEW_NS)) as u64
            * (u64::from(WHOLE) / 100)
    }

    /// Returns the neighbours' device time in the last `length` ns of a busy interval, ns. Their
    /// progress was `before` ns when it began and is `after` ns at `now`.
    fn others_had(
        &self,
        busy: BusyInterval,
        length: u64,
        before: u64,
        after: u64,
        now: u64,
    ) -> i64 {
        let Looked {
            until, at, others, ..
        } = &self.looked;
        // Relaxed: if two threads look at once, one may use the other's figures, which are of the
        // same moment.
        let last = (
            until.swap(busy.until, Ordering::Relaxed),
            at.swap(now, Ordering::Relaxed),
            others.swap(after, Ordering::Relaxed),
        );
        let (since, before) = if last.0 == busy.until - length && last.1 < now {
            (last.1, last.2)
        } else {
            (busy.from, before)
        };
        let had = after.wrapping_sub(before).cast_signed();
        // The two observations may be further apart than the interval is long.
        let seen = now.saturating_sub(since).max(length).max(1);
        let had = (i128::from(had) * i128::from(length) / i128::from(seen)) as i64;
        // A page may claim anything. Work that is reported late may have been done before.
        had.clamp(0, length.saturating_add(LATE_NS).cast_signed())
    }

    /// Records an interval of `length` ns next to neighbours in no doubt: own charges account for
    /// `charged`, and no charges for `unaccounted`.
    fn judge(&self, length: u64, charged: u64, unaccounted: i64) {
        let Looked {
            span,
            right,
            balance,
            ..
        } = &self.looked;
        right.fetch_add(charged, Ordering::Relaxed);
        balance.fetch_add(unaccounted, Ordering::Relaxed);
        if span
            .fetch_add(length, Ordering::Relaxed)
            .saturating_add(length)
            < WINDOW_NS
        {
            return;
        }
        let span = span.swap(0, Ordering::Relaxed);
        let wrong = balance
            .swap(0, Ordering::Relaxed)
            .saturating_sub((span / LOST_STRICT).cast_signed())
            .clamp(0, span.cast_signed());
        self.page.judge(
            right.swap(0, Ordering::Relaxed),
            wrong.cast_unsigned(),
            KEPT_NS,
        );
    }

    /// Charges this tenant's part of the unaccounted time of a busy interval, and returns it, ns.
    /// Other tenants may have used the device in it; their [`progress`] was `before` ns when it
    /// began.
    pub fn was_busy_beside(
        &self,
        busy: BusyInterval,
        before: u64,
        neighbours: &[ClaimView],
        now: u64,
    ) -> u64 {
        let BusyInterval { from, until } = busy;
        // A fence and a wait report the same time; it is counted once.
        let (length, unseen) = self.page.look_until(from, until);
        if length == 0 {
            return 0;
        }
        let had = self.others_had(busy, length, before, progress(neighbours), now);
        let missing = self.page.account(until - length, until).cast_signed();
        let unaccounted = missing.saturating_sub(had);
        let (mut about, mut doubtful, mut is_judge) = (0, 0u64, true);
        let (mut contexts, mut withheld) = (0, 0u64);
        for n in neighbours.iter().filter(|n| may_have_run(n, from, now)) {
            about += 1;
            contexts += contexts_of(n);
            withheld = withheld.saturating_add(withheld_from(n, now));
            if n.doubt >= SURE && (n.is_queued || n.accounted_at >= from) {
                is_judge = false;
                // Two tenants that were not judged yet both pay in full: a ceiling holds in doubt.
                if n.doubt > UNPROVEN {
                    doubtful = doubtful
                        .saturating_add(n.doubt.min(u64::from(WHOLE)) * u64::from(n.guarantee));
                }
            }
        }
        let params = self.params();
        let is_strict = params.mode == Mode::Strict;
        if is_strict && is_judge {
            self.judge(
                length,
                length.saturating_sub(missing.cast_unsigned()),
                unaccounted,
            );
        }
        if !is_strict
            && let Some((charged, wrong)) = self.serve(Look {
                length,
                unseen,
                unaccounted,
                contexts,
            })
        {
            self.page.judge(charged, wrong, KEPT_NS);
        }
        // Relaxed, here and below: of two threads, one takes what both have observed.
        self.looked.doubtful.fetch_max(doubtful, Ordering::Relaxed);
        let Some(window) = self.page.fill_window(length, unaccounted, WINDOW_NS) else {
            return 0;
        };
        let others = self.looked.doubtful.swap(0, Ordering::Relaxed);
        let allowed = if is_strict {
            window.span / LOST_STRICT
        } else {
            window.span / LOST + AHEAD_NS * about
        };
        // Whatever the pages claim, the tenant cannot have used more of the device than the time
        // that passed.
        let most = window.span.saturating_sub(window.charged).cast_signed();
        let missing = window
            .balance
            .saturating_sub(allowed.cast_signed())
            .clamp(0, most);
        let ahead = (AHEAD_NS * about).cast_signed();
        let own = self.doubts();
        self.page.say_doubt(own);
        if own < SURE {
            return 0;
        }
        let weight = own * u64::from(params.guarantee);
        let part =
            |of: u64| (u128::from(of) * u128::from(weight) / u128::from(weight + others)) as u64;
        if missing > 0 {
            let all = if is_strict { missing } else { window.balance };
            // Time that this process certainly had is not divided by doubt. On a loaded host, late
            // observations put a neighbour with right charges in doubt.
            let certain = self.had_uncharged(window.span).min(all.cast_unsigned());
            let rest = all.cast_unsigned() - certain;
            let pays = certain + part(rest);
            self.page.carry(0, pays.cast_signed());
            let debt = if is_strict {
                0
            } else {
                let had = window.charged.saturating_add(pays).min(window.span);
                had.saturating_sub(wall_to_gpu_ns(window.span, params.guarantee))
                    .min(withheld)
            };
            self.amend_past_owing(pays.cast_signed(), debt, now);
            return pays;
        }
        if is_strict {
            self.page.carry(window.balance.min(0).max(-ahead), 0);
        }
        0
    }
}
