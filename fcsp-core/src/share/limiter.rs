//! The rate limiter that keeps shares: a gate, and the neighbours' pages beside it. Preload
//! libraries and embedders have the same one.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::binding::{OpenLimiter, ShareOf};
use crate::classify::Class;
use crate::limiter::{BusyInterval, GateAdmission, HotState, Others, Position, RateLimiter};
use crate::share::claim_page::{ClaimPage, Counters, PageError};
use crate::share::files::{Neighbours, OwnPage};
use crate::share::gate::{Gate, may_have_run, progress};
use crate::share::params::{Mode, Params};
use crate::share::wait::now_ns;

/// One process's part of a tenant's share of one device.
#[derive(Debug)]
pub struct ShareLimiter<'p> {
    gate: Gate<'p>,
    neighbours: Mutex<Neighbours>,
    /// True if no neighbour can be seen: nothing is then known to be left over.
    blind: bool,
    /// True if another tenant was active at the last look.
    contended: AtomicBool,
    /// Device time that neighbours had had by the last look, ns.
    others: AtomicU64,
}

impl<'p> ShareLimiter<'p> {
    /// Creates the limiter of a process of the tenant of this page, among the neighbours of the
    /// same device.
    ///
    /// # Errors
    ///
    /// A page of another version.
    pub fn new(page: &'p OwnPage, params: Params) -> Result<Self, PageError> {
        Self::on_page(page.page(), page.neighbours(), false, params, None)
    }

    pub(crate) fn on_page(
        page: &'p ClaimPage,
        neighbours: Neighbours,
        blind: bool,
        params: Params,
        wait_word: Option<&'p AtomicU64>,
    ) -> Result<Self, PageError> {
        let gate = Gate::new(page, seen_by(params, blind), now_ns())?;
        Ok(Self {
            gate: match wait_word {
                Some(word) => gate.telling(word),
                None => gate,
            },
            neighbours: Mutex::new(neighbours),
            blind,
            contended: AtomicBool::new(false),
            others: AtomicU64::new(0),
        })
    }

    /// Returns what the tenant has had so far, all its processes together.
    pub fn counters(&self) -> Counters {
        self.gate.page().counters()
    }

    fn neighbours(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenLimiter for ShareLimiter<'static> {
    /// Opens the limiter. Compute fails open: where no page can be shared, the tenant has a page in
    /// private memory and keeps its guarantee. It borrows nothing from neighbours that it cannot
    /// see: balanced is then strict.
    fn open(share: &ShareOf<'_>, told: &dyn Fn(&str)) -> Option<Box<Self>> {
        let (page, blind) = shared_page(share, told);
        match boxed(page, blind, share) {
            Ok(made) => Some(made),
            // Another version's, in use. The share is kept in an account of this process's own,
            // which sees nobody.
            Err(error) => {
                told(&format!(
                    "no usable page, so the share is kept as strict: {error}"
                ));
                boxed(private_page(), true, share).ok()
            }
        }
    }
}

impl RateLimiter for ShareLimiter<'_> {
    #[inline(always)]
    fn line(&self) -> &HotState {
        self.gate.line()
    }

    #[inline(always)]
    fn try_admit(&self, cost: u64) -> bool {
        self.gate.admit(cost)
    }

    fn ask(&self, class: Class, cost: u64, now: u64) -> GateAdmission {
        let mut neighbours = self.neighbours();
        let views = neighbours.look(now);
        // Relaxed: quantities that guard no memory.
        self.contended
            .store(views.iter().any(|view| view.active(now)), Ordering::Relaxed);
        self.others.store(progress(views), Ordering::Relaxed);
        self.gate.acquire_as(class, cost, now, views)
    }

    fn set_limits(&self, params: Params, paused: bool) {
        let params = seen_by(params, self.blind);
        if self.gate.params() != params {
            self.gate.set_params(params, now_ns());
        }
        self.gate.set_paused(paused);
    }

    fn params(&self) -> Params {
        self.gate.params()
    }

    fn event_word(&self) -> &AtomicU32 {
        self.gate.page().event_word()
    }

    fn position(&self) -> Position {
        self.gate.mark()
    }

    #[inline]
    fn in_flight(&self) -> u64 {
        self.gate.in_flight()
    }

    fn passed(&self, marker: Position, now: u64) {
        self.gate.retire(marker, now);
    }

    fn emptied(&self, marker: Position, at: u64) {
        self.gate.emptied(marker, at);
    }

    fn drained(&self, now: u64) {
        self.gate.drained(now);
    }

    fn is_all(&self, now: u64) {
        self.gate.is_all(now);
    }

    fn queue_changes(&self) {
        self.gate.queue_changes();
    }

    fn block(&self, now: u64) {
        self.gate.block(now);
    }

    fn resume(&self, now: u64) {
        if self.gate.resume(now)
            && let Ok(neighbours) = self.neighbours.try_lock()
        {
            neighbours.wake_waiting(now);
        }
    }

    fn observe(&self, elapsed: u64, charged: u64) {
        self.gate.observe(elapsed, charged);
    }

    fn true_up(&self, measured: u64, charged: u64, now: u64) {
        self.gate.true_up(measured, charged, now);
    }

    fn unaccounted(&self, busy: BusyInterval) -> u64 {
        self.gate.unaccounted(busy)
    }

    fn reconcile(&self, busy: BusyInterval, before: u64, now: u64) -> u64 {
        let mut neighbours = self.neighbours();
        neighbours.refresh();
        self.gate.reconcile(busy, before, neighbours.look(now), now)
    }

    fn was_alone(&self, charged: u64) {
        self.gate.was_alone(charged);
    }

    fn siblings(&self) -> u64 {
        self.gate.siblings()
    }

    fn accounted_at(&self) -> u64 {
        self.gate.accounted_at()
    }

    #[inline]
    fn is_contended(&self) -> bool {
        self.contended.load(Ordering::Relaxed)
    }

    fn others_seen(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }

    fn see_others(&self, now: u64) {
        self.others.store(self.others_now(now), Ordering::Relaxed);
    }

    fn others_now(&self, now: u64) -> u64 {
        let mut neighbours = self.neighbours();
        neighbours.refresh();
        progress(neighbours.look(now))
    }

    fn others_since(&self, before: u64, at: u64, now: u64) -> Others {
        let mut neighbours = self.neighbours();
        neighbours.refresh();
        let views = neighbours.look(now);
        let ran = views.iter().filter(|view| may_have_run(view, at, now));
        Others {
            tenants: ran.count() as u64,
            ns: progress(views)
                .wrapping_sub(before)
                .cast_signed()
                .max(0)
                .cast_unsigned(),
        }
    }

    fn others_ran_since(&self, since: u64) -> bool {
        self.neighbours().any_since(since)
    }

    fn set_ranks(&self, several: bool) {
        self.gate.set_ranks(several);
    }
}

/// Makes the limiter on the heap, in a frame of its own that is gone when this returns.
#[inline(never)]
fn boxed(
    page: &'static ClaimPage,
    blind: bool,
    share: &ShareOf<'_>,
) -> Result<Box<ShareLimiter<'static>>, PageError> {
    let ShareOf { tenant, device, .. } = share;
    let neighbours = Neighbours::new(tenant.state(), &device.uuid, tenant.name());
    let made = ShareLimiter::on_page(page, neighbours, blind, share.params, Some(share.wait_word))?;
    Ok(Box::new(made))
}

/// Returns the tenant's page on the device, and true if that page shows no neighbours.
#[inline(never)]
fn shared_page(share: &ShareOf<'_>, told: &dyn Fn(&str)) -> (&'static ClaimPage, bool) {
    let ShareOf { tenant, device, .. } = share;
    let error = match OwnPage::open(tenant.state(), &device.uuid, tenant.name()) {
        Ok(page) => return (leaked(page), false),
        Err(error) => error,
    };
    told(&format!(
        "no shared page, so the share is kept as strict: {error}"
    ));
    // One account for the tenant's processes that cannot have the shared one, else one for this
    // process.
    match OwnPage::open_apart(tenant.state(), &device.uuid, tenant.name()) {
        Ok(page) => (leaked(page), true),
        Err(_) => (private_page(), true),
    }
}

fn leaked(page: OwnPage) -> &'static ClaimPage {
    let page: &'static OwnPage = Box::leak(Box::new(page));
    page.page()
}

/// Creates a page of this process's own.
#[inline(never)]
fn private_page() -> &'static ClaimPage {
    Box::leak(Box::default())
}

/// Returns the parameters as they can be kept: a tenant that sees no neighbour cannot tell what
/// they leave over.
fn seen_by(params: Params, blind: bool) -> Params {
    match params.mode {
        Mode::Balanced | Mode::Adaptive if blind => params.with_mode(Mode::Strict),
        _ => params,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_no_neighbour_borrows_nothing() {
        let balanced = Params::balanced(250_000);
        assert_eq!(seen_by(balanced, true), Params::strict(250_000));
        assert_eq!(
            seen_by(balanced.with_mode(Mode::Adaptive), true).mode,
            Mode::Strict
        );
        assert_eq!(seen_by(balanced, false), balanced);
        assert_eq!(seen_by(Params::default(), true), Params::default());
    }
}
