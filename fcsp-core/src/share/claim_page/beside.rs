//! The cache line of the claim page that reconciliation next to other tenants uses. A tenant's
//! processes share it.

use super::ClaimPage;
use crate::sync::{AtomicU64, Ordering};

/// State of reconciliation next to other tenants ([`crate::share::gate`]).
#[repr(C)]
#[derive(Debug)]
pub(super) struct Beside {
    /// Instant up to which busy time was examined, ns.
    looked_until: AtomicU64,
    /// Busy time of the present window, ns.
    span: AtomicU64,
    /// Part of `span` for which no charge accounts, ns, signed.
    balance: AtomicU64,
    /// [`ClaimPage::consumed`] when the window began, ns. A carried charge is added.
    charged_before: AtomicU64,
    /// GPU time charged where charges could be judged, ns. Halved with `wrong` when the sum grows
    /// large.
    right: AtomicU64,
    /// GPU time that was missing there, ns.
    wrong: AtomicU64,
    /// GPU time charged for completed work, ns, wrapping. Neighbours read it.
    done: AtomicU64,
    /// GPU time charged for submitted work, ns, wrapping. Neighbours compare it with `done`.
    launched: AtomicU64,
}

/// A full window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Time in which the device had work of the tenant, ns.
    pub(crate) span: u64,
    /// Part of it for which no charge accounts, ns; negative if charges exceed the time.
    pub(crate) balance: i64,
    /// Charges to the tenant since the previous window, ns.
    pub(crate) charged: u64,
}

impl Default for Beside {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            looked_until: zero(),
            span: zero(),
            balance: zero(),
            charged_before: zero(),
            right: zero(),
            wrong: zero(),
            done: zero(),
            launched: zero(),
        }
    }
}

// Relaxed throughout: sums that guard no memory. Each is taken by one exchange, so that one of
// several processes gets it.
impl ClaimPage {
    /// Returns the word of [`ClaimPage::look_until`], which holds an instant.
    pub(super) fn looked_until(&self) -> &AtomicU64 {
        &self.beside.looked_until
    }

    /// Counts `gpu` ns of charges as done; a negative amount corrects an earlier count.
    pub(crate) fn add_done(&self, gpu: i64) {
        self.beside
            .done
            .fetch_add(gpu.cast_unsigned(), Ordering::Relaxed);
    }

    /// Counts `gpu` ns as charged for submitted work.
    pub(crate) fn add_launched(&self, gpu: i64) {
        self.beside
            .launched
            .fetch_add(gpu.cast_unsigned(), Ordering::Relaxed);
    }

    /// Returns true if some submitted work is not known to be done.
    pub(super) fn is_queued(&self) -> bool {
        self.queued() > 0
    }

    /// Returns the charges for submitted work that is not known to be done, ns. The queue of a dead
    /// process stays in it.
    pub(crate) fn queued(&self) -> u64 {
        let done = self.beside.done.load(Ordering::Relaxed);
        let left = self.launched().wrapping_sub(done).cast_signed();
        left.max(0).cast_unsigned()
    }

    /// Returns the GPU time charged for submitted work, ns, wrapping.
    pub(crate) fn launched(&self) -> u64 {
        self.beside.launched.load(Ordering::Relaxed)
    }

    /// Returns the GPU time charged for completed work, ns. Pages of older builds have none.
    pub(super) fn done(&self) -> Option<u64> {
        match self.beside.done.load(Ordering::Relaxed) {
            0 => None,
            done => Some(done),
        }
    }

    /// Takes the part of the time from `from` until `until` that no process of the tenant has
    /// examined, ns. Also returns the time before `from` that none has examined, ns.
    pub(crate) fn look_until(&self, from: u64, until: u64) -> (u64, u64) {
        let before = self.beside.looked_until.fetch_max(until, Ordering::Relaxed);
        (
            until.saturating_sub(from.max(before)),
            from.saturating_sub(before),
        )
    }

    /// Adds `length` ns to the window, of which no charge accounts for `unaccounted`. Returns the
    /// window once it is `full` ns long.
    pub(crate) fn fill_window(&self, length: u64, unaccounted: i64, full: u64) -> Option<Window> {
        let Beside {
            span,
            balance,
            charged_before,
            ..
        } = &self.beside;
        balance.fetch_add(unaccounted.cast_unsigned(), Ordering::Relaxed);
        if span
            .fetch_add(length, Ordering::Relaxed)
            .saturating_add(length)
            < full
        {
            return None;
        }
        let consumed = self.consumed();
        let before = charged_before.swap(consumed, Ordering::Relaxed);
        Some(Window {
            span: span.swap(0, Ordering::Relaxed),
            balance: balance.swap(0, Ordering::Relaxed).cast_signed(),
            // Refunds may exceed charges.
            charged: consumed
                .wrapping_sub(before)
                .cast_signed()
                .max(0)
                .cast_unsigned(),
        })
    }

    /// Carries `balance` ns to the next window. The `paid` ns that were charged for this window do
    /// not count in the next one.
    pub(crate) fn carry(&self, balance: i64, paid: i64) {
        self.beside
            .balance
            .fetch_add(balance.cast_unsigned(), Ordering::Relaxed);
        self.beside
            .charged_before
            .fetch_add(paid.cast_unsigned(), Ordering::Relaxed);
    }

    /// Records that `right` ns were charged where `wrong` ns more should have been. Remembers at
    /// most `kept` ns.
    pub(crate) fn judge(&self, right: u64, wrong: u64, kept: u64) {
        let parts = [(&self.beside.right, right), (&self.beside.wrong, wrong)];
        let sum = parts
            .iter()
            .map(|(part, more)| {
                part.fetch_add(*more, Ordering::Relaxed)
                    .saturating_add(*more)
            })
            .fold(0u64, u64::saturating_add);
        if sum > kept {
            for (part, _) in parts {
                part.store(part.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    /// Returns the charges recently found right and the time found missing, ns.
    pub(crate) fn judged(&self) -> (u64, u64) {
        (
            self.beside.right.load(Ordering::Relaxed),
            self.beside.wrong.load(Ordering::Relaxed),
        )
    }
}
