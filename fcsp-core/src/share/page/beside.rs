//! What a tenant's processes have found out together about the time in which others may have used
//! the device, too.

use super::TenantPage;
use crate::sync::{AtomicU64, Ordering};

/// The line of the page for [`crate::share::gate`]'s reconciliation beside others.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Beside {
    /// Up to when the time was looked at, ns.
    looked_until: AtomicU64,
    /// Time of the present window in which the device had work of the tenant's, ns.
    span: AtomicU64,
    /// What of it no charge accounts for, ns, signed.
    balance: AtomicU64,
    /// What the tenant had been charged when the window began, ns.
    charged_before: AtomicU64,
    /// GPU time that was charged where it could be judged, and what was missing there, ns.
    right: AtomicU64,
    wrong: AtomicU64,
    /// GPU time charged for work that is done, ns, wrapping.
    done: AtomicU64,
    /// GPU time charged for work that was submitted, ns, wrapping.
    launched: AtomicU64,
}

/// A window that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Time in which the device had work of the tenant's, ns.
    pub(crate) span: u64,
    /// What of it no charge accounts for, ns; negative where more was charged than there was time.
    pub(crate) balance: i64,
    /// What the tenant was charged since the window before, ns.
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

// Relaxed throughout: sums that guard nothing. Each is taken by one exchange, so that of several
// processes one has it.
impl TenantPage {
    /// The word of [`TenantPage::look_until`], which is a time.
    pub(super) fn looked_until(&self) -> &AtomicU64 {
        &self.beside.looked_until
    }

    /// Counts `gpu` ns of what was charged as done; negative where less was charged after all.
    pub(crate) fn add_done(&self, gpu: i64) {
        self.beside
            .done
            .fetch_add(gpu.cast_unsigned(), Ordering::Relaxed);
    }

    /// Counts `gpu` ns as charged for what was submitted.
    pub(crate) fn add_launched(&self, gpu: i64) {
        self.beside
            .launched
            .fetch_add(gpu.cast_unsigned(), Ordering::Relaxed);
    }

    /// Whether some of what was submitted is not known to be done.
    pub(super) fn is_queued(&self) -> bool {
        let done = self.beside.done.load(Ordering::Relaxed);
        self.beside
            .launched
            .load(Ordering::Relaxed)
            .wrapping_sub(done)
            .cast_signed()
            > 0
    }

    /// GPU time charged for work that is done, ns; none in pages of before.
    pub(super) fn done(&self) -> Option<u64> {
        match self.beside.done.load(Ordering::Relaxed) {
            0 => None,
            done => Some(done),
        }
    }

    /// Takes the part of the time from `from` until `until` that nobody of the tenant's has looked
    /// at, ns.
    pub(crate) fn look_until(&self, from: u64, until: u64) -> u64 {
        let before = self.beside.looked_until.fetch_max(until, Ordering::Relaxed);
        until.saturating_sub(from.max(before))
    }

    /// Adds `length` ns to the window, of which no charge accounts for `unaccounted`; the window,
    /// once it is `full` ns long.
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
            // What was given back may be more than was charged.
            charged: consumed
                .wrapping_sub(before)
                .cast_signed()
                .max(0)
                .cast_unsigned(),
        })
    }

    /// Leaves `balance` ns to the next window, and does not count there the `paid` ns that were
    /// charged for this one.
    pub(crate) fn carry(&self, balance: i64, paid: i64) {
        self.beside
            .balance
            .fetch_add(balance.cast_unsigned(), Ordering::Relaxed);
        self.beside
            .charged_before
            .fetch_add(paid.cast_unsigned(), Ordering::Relaxed);
    }

    /// Takes in that `right` ns were charged where `wrong` ns more should have been, and remembers
    /// no more than `kept` ns.
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

    /// What was found right and wrong lately, ns.
    pub(crate) fn judged(&self) -> (u64, u64) {
        (
            self.beside.right.load(Ordering::Relaxed),
            self.beside.wrong.load(Ordering::Relaxed),
        )
    }
}
