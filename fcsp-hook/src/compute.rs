//! One device's compute share as this process keeps it: binds the core's gate to queues, events and
//! function handles.
//!
//! A launch asks the gate with its learned cost. Nearly all go on at once; about once in some
//! hundred microseconds of GPU time the slow path publishes, looks at the neighbours and may wait,
//! here, on the caller's thread: nothing is deferred to another thread, so no parameter is copied
//! and no order changes.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use fcsp_core::classify::Class;
use fcsp_core::clock::nap;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::share::cost;
use fcsp_core::share::files::{Neighbours, OwnPage};
use fcsp_core::share::gate::{Gate, SEVERAL, Verdict, progress};
use fcsp_core::share::page::{PageError, TenantPage};
use fcsp_core::share::params::{Mode, Params};
use fcsp_core::share::wait::now_ns;
use fcsp_core::tenant::Tenant;

use crate::backend::Backend;
use crate::ranks;
use crate::setup::complain;

mod ends;
mod events;
mod functions;
mod marks;
mod prices;
mod reconcile;
mod timing;

use events::Events;
pub use functions::{Functions, Known};
use marks::{Marks, Since};
use prices::{Key, Prices};
use timing::{Others, Timing};

/// How long a thread asks again and again for a marker, yielding its core, before it sleeps between
/// questions, ns: a kernel or two. A sleep ends 50 us late and more, for which a device that is
/// given one kernel at a time would stand idle.
const SPIN_NS: u64 = 250_000;
/// The sleep between two questions for a marker, ns.
const NAP_NS: u64 = 20_000;
/// The longest a thread waits for its queue to drain before it asks the gate again, ns.
const DRAIN_NS: u64 = 2_000_000;

/// A device's gate and what it needs.
#[derive(Debug)]
pub struct Compute<B: Backend> {
    gate: Gate<'static>,
    prices: Prices,
    /// What is known of function handles and executable graphs.
    pub functions: Functions,
    timing: Timing,
    events: Events,
    marks: Marks,
    neighbours: Mutex<Neighbours>,
    /// No neighbour can be seen, so nothing is known to be left over.
    blind: bool,
    /// Whether another tenant was active at the last look.
    contended: AtomicBool,
    /// The GPU time that neighbours had had by the last look, ns.
    others: AtomicU64,
    /// What other processes of the tenant had been charged when that was seen last, and until when
    /// their work may be on the device, ns.
    siblings: AtomicU64,
    siblings_until: AtomicU64,
    /// Whether queues other than that of the last launch have had work since the device was last
    /// known idle.
    several_queues: AtomicBool,
    /// Whether others have had work since the last mark.
    mixed_queues: AtomicBool,
    /// Whether a launch has waited for its turn since the last mark.
    interrupted: AtomicBool,
    marked_ns: AtomicU64,
    /// Whether work whose cost is not settled yet was launched since the last mark.
    unsettled: AtomicBool,
    vendor: PhantomData<B>,
}

/// GPU time between two timed launches, ns, if that is sooner than their number says: timing one
/// costs 3 us.
const SAMPLE_EVERY_NS: u64 = 4_000_000;

/// Work about to be submitted.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// What its cost is remembered under.
    pub key: u64,
    /// What the cost of all work like it is remembered under, whatever its handle; 0 if nobody can
    /// tell.
    pub content: u64,
    /// Thread blocks, 0 where that means nothing.
    pub blocks: u64,
    /// What kind of work it is.
    pub class: Class,
    /// Whether it is time to time this one.
    pub sample: bool,
    /// Whether enough of it was timed for its cost to be remembered as it is until a measurement
    /// changes it.
    pub settled: bool,
}

impl Work {
    fn costs(&self) -> Key {
        Key {
            handle: self.key,
            content: self.content,
        }
    }
}

impl<B: Backend> Compute<B> {
    /// A gate for `tenant` on `device`. Compute fails open: where no page can be shared the tenant
    /// has one in private memory, keeps its guarantee, and borrows nothing from neighbours that it
    /// cannot see: balanced is then strict. `wait_word` is where this process says since when a
    /// launch waits.
    ///
    /// The thread that needs it first may have a small stack: each step has a frame of its own,
    /// which is gone when the next begins.
    pub fn open(
        tenant: &Tenant,
        device: &DeviceIdentity,
        params: Params,
        paused: bool,
        wait_word: &'static AtomicU64,
    ) -> Option<Box<Self>> {
        let (page, blind) = shared_page(tenant, device);
        let with_page =
            |page, blind| Self::with_page(page, blind, tenant, device, params, wait_word);
        let made = match with_page(page, blind) {
            Ok(made) => made,
            // Another version's, in use. The share is kept in an account of this process's own,
            // which sees nobody.
            Err(error) => {
                complain(&format!(
                    "no usable page, so the share is kept as strict: {error}"
                ));
                with_page(private_page(), true).ok()?
            }
        };
        ranks::device_opened();
        made.gate.set_paused(paused);
        Some(made)
    }

    #[inline(never)]
    fn with_page(
        page: &'static TenantPage,
        blind: bool,
        tenant: &Tenant,
        device: &DeviceIdentity,
        params: Params,
        wait_word: &'static AtomicU64,
    ) -> Result<Box<Self>, PageError> {
        let gate = Gate::new(page, seen_by(params, blind), now_ns())?;
        Ok(Box::new(Self {
            gate: gate.telling(wait_word),
            prices: Prices::default(),
            functions: Functions::default(),
            timing: Timing::default(),
            events: Events::default(),
            marks: Marks::default(),
            neighbours: Mutex::new(Neighbours::new(tenant.state(), &device.uuid, tenant.name())),
            blind,
            contended: AtomicBool::new(false),
            others: AtomicU64::new(0),
            siblings: AtomicU64::new(0),
            siblings_until: AtomicU64::new(0),
            several_queues: AtomicBool::new(false),
            mixed_queues: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            marked_ns: AtomicU64::new(0),
            unsettled: AtomicBool::new(false),
            vendor: PhantomData,
        }))
    }

    /// New limits; felt at the next launch.
    pub fn set(&self, params: Params, paused: bool) {
        let params = seen_by(params, self.blind);
        if self.gate.params() != params {
            self.gate.set_params(params, now_ns());
        }
        self.gate.set_paused(paused);
    }

    /// Admits a launch of `key` on `queue` if there is nothing to think about: its cost and class
    /// are settled, it is the queue of the last launch, nothing is to be timed, and there is
    /// credit. False: [`Compute::submit`] it.
    #[inline(always)]
    pub fn admits(&self, key: u64, queue: usize) -> bool {
        let Some((cost, _)) = self.prices.told(key) else {
            return false;
        };
        let line = self.gate.line();
        if !line.is_plain(queue) || !self.gate.admit(cost) {
            return false;
        }
        line.launched(key, cost);
        true
    }

    /// Submits `work` on `queue` through `call`, when the gate says so.
    #[inline]
    pub fn submit(&self, work: Work, queue: usize, call: impl Fn() -> B::Status) -> B::Status {
        let cost = self.prices.price(work.costs(), work.blocks);
        let line = self.gate.line();
        if line.stream.load(Ordering::Relaxed) != queue {
            self.other_queue(queue);
        }
        if work.settled {
            self.prices.tell(work.key, work.class, cost);
        } else if !self.unsettled.load(Ordering::Relaxed) {
            self.unsettled.store(true, Ordering::Relaxed);
        }
        line.launched(work.key, cost);
        if !self.gate.admit(cost) {
            return self.submit_slowly(work, cost, queue, &call);
        }
        if work.sample {
            return self.submit_timed(work, queue, &call);
        }
        call()
    }

    /// Long work may be timed more often: what that costs is small against it.
    fn sample_sooner(&self, cost: u64) {
        let countdown = self.countdown();
        let left = countdown.load(Ordering::Relaxed);
        let enough = (SAMPLE_EVERY_NS / cost.max(1)).clamp(16, 1 << 20) as u32;
        if left > enough {
            // An uneven distance, so that a loop of launches does not always show the same one.
            countdown.store(enough + left % 7, Ordering::Relaxed);
        }
    }

    #[cold]
    fn other_queue(&self, queue: usize) {
        if self.gate.line().stream.swap(queue, Ordering::Relaxed) != 0 {
            self.several_queues.store(true, Ordering::Relaxed);
            self.mixed_queues.store(true, Ordering::Relaxed);
            self.gate.queue_changes();
        }
    }

    #[cold]
    fn submit_slowly(
        &self,
        work: Work,
        cost: u64,
        queue: usize,
        call: &dyn Fn() -> B::Status,
    ) -> B::Status {
        loop {
            self.poll();
            // Read before the page is asked, so that a wake-up in between is not slept through.
            let event = self.gate.page().event_word().load(Ordering::Acquire);
            let now = now_ns();
            match self.ask(work.class, cost, now) {
                Verdict::Go { .. } | Verdict::LetOne => break,
                Verdict::Drain { to } => {
                    self.mark_tail(queue, now);
                    self.interrupted.store(true, Ordering::Relaxed);
                    self.drain(to, now);
                }
                Verdict::Wait { until, .. } => {
                    self.mark_tail(queue, now);
                    self.interrupted.store(true, Ordering::Relaxed);
                    self.wait_for_turn(event, until);
                    B::process().notice_new_limits();
                }
            }
        }
        if B::is_recording() && B::records(queue) {
            // Another thread has begun to record here meanwhile: no event of ours may get into
            // that.
            return call();
        }
        let result = if work.sample {
            self.submit_timed(work, queue, call)
        } else {
            call()
        };
        // A mark put before a wait has taken the key with it; the span from that mark to the next
        // has this launch in it.
        let _ = self.gate.line().key.compare_exchange(
            0,
            work.key,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.mark(queue, now_ns());
        result
    }

    /// Asks the gate, beside what the neighbours say.
    fn ask(&self, class: Class, cost: u64, now: u64) -> Verdict {
        if class.bypasses_gate() {
            self.gate.set_ranks(ranks::are_several());
        }
        let mut neighbours = self
            .neighbours
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let views = neighbours.look(now);
        self.contended
            .store(views.iter().any(|view| view.active(now)), Ordering::Relaxed);
        self.others.store(progress(views), Ordering::Relaxed);
        self.gate.acquire_as(class, cost, now, views)
    }

    /// Puts a mark at the end of what is queued on `queue`.
    fn mark(&self, queue: usize, now: u64) {
        let line = self.gate.line();
        let launches = line.unmarked.swap(0, Ordering::Relaxed);
        self.marked_ns.store(now, Ordering::Relaxed);
        let key = line.key.swap(0, Ordering::Relaxed);
        let since = Since {
            key: if key == SEVERAL { 0 } else { key },
            unit: line.last_cost.load(Ordering::Relaxed),
            interrupted: self.interrupted.swap(false, Ordering::Relaxed),
            settled: !self.unsettled.swap(false, Ordering::Relaxed),
            timed: !self.contended.load(Ordering::Relaxed)
                && !self.mixed_queues.swap(false, Ordering::Relaxed),
            launches,
            others: self.others.load(Ordering::Relaxed),
            watched: self.contended.load(Ordering::Relaxed)
                && self.gate.params().mode == Mode::Adaptive,
        };
        self.marks
            .record::<B>(&self.gate, &self.events, queue, since, now);
    }

    /// The same, unless there is one already.
    fn mark_tail(&self, queue: usize, now: u64) {
        if self.gate.line().unmarked.load(Ordering::Relaxed) != 0 || self.marks.is_empty() {
            self.mark(queue, now);
        }
    }

    /// Waits until at most `to` ns of GPU time are in flight, or nothing is left to wait for, or
    /// for a while.
    fn drain(&self, to: u64, since: u64) {
        if self.marks.is_empty() {
            // No event was to be had: nobody says when, and the gate asked at once would answer the
            // same.
            nap(NAP_NS);
        }
        loop {
            self.poll();
            let now = now_ns();
            if self.gate.in_flight() <= to || self.marks.is_empty() || now > since + DRAIN_NS {
                return;
            }
            if now < since + SPIN_NS {
                // Whoever else wants this core has it: on a full machine it may be the work that is
                // waited for.
                std::thread::yield_now();
            } else {
                nap(NAP_NS);
            }
        }
    }

    #[cold]
    fn submit_timed(&self, work: Work, queue: usize, call: &dyn Fn() -> B::Status) -> B::Status {
        self.sample_sooner(self.prices.price(work.costs(), work.blocks));
        let now = now_ns();
        let others = if self.contended.load(Ordering::Relaxed) {
            Some(Others {
                had: progress(&self.neighbours_now()),
                at: now,
            })
        } else {
            self.has_siblings_since(now).then(Others::default)
        };
        let result =
            self.timing
                .time::<B>(&self.events, work.costs(), work.blocks, queue, others, call);
        self.poll();
        result
    }

    /// Launches until one is timed.
    pub fn countdown(&self) -> &AtomicU32 {
        &self.gate.line().countdown
    }

    /// An executable graph was made of these kernels, each with its thread blocks: its class is the
    /// one that most of their time goes into. Never a collective's: no guess lets work through for
    /// free.
    pub fn graph_made(&self, executable: usize, kernels: &[(usize, u64)]) {
        let mut time = [0u64; Class::ALL.len()];
        let mut content = kernels.len() as u64;
        for &(function, blocks) in kernels {
            let (class, stranger) = self.functions.class_of(function, B::kernel_name);
            if stranger {
                self.prices.forget_kernel(function);
            }
            content =
                cost::kernel_key(content ^ self.functions.name_or_handle(function), 1) ^ blocks;
            let cost = self
                .prices
                .cost(cost::kernel_key(function as u64, blocks), blocks);
            let sum = &mut time[usize::from(class.code())];
            *sum = sum.saturating_add(cost);
        }
        let most = Class::ALL
            .into_iter()
            .filter(|class| !class.bypasses_gate())
            .max_by_key(|class| (time[usize::from(class.code())], *class == Class::Other));
        // Nothing is known of what is in a graph without kernels: memory nodes, say, or graphs
        // within it.
        let content = if kernels.is_empty() {
            0
        } else {
            (cost::kernel_key(content, 1) >> 32) as u32
        };
        self.functions
            .graph_made(executable, most.unwrap_or(Class::Other), content);
    }

    /// Whether the host would have to wait: nothing of this process is in flight otherwise.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.gate.in_flight() > 0
    }
}

/// The tenant's page on `device`, and whether that is one which shows no neighbours.
#[inline(never)]
fn shared_page(tenant: &Tenant, device: &DeviceIdentity) -> (&'static TenantPage, bool) {
    let error = match OwnPage::open(tenant.state(), &device.uuid, tenant.name()) {
        Ok(page) => return (leaked(page), false),
        Err(error) => error,
    };
    complain(&format!(
        "no shared page, so the share is kept as strict: {error}"
    ));
    // One account for the tenant's processes that cannot have the shared one, else one for this
    // process.
    match OwnPage::open_apart(tenant.state(), &device.uuid, tenant.name()) {
        Ok(page) => (leaked(page), true),
        Err(_) => (private_page(), true),
    }
}

fn leaked(page: OwnPage) -> &'static TenantPage {
    let page: &'static OwnPage = Box::leak(Box::new(page));
    page.page()
}

/// A page of this process's own.
#[inline(never)]
fn private_page() -> &'static TenantPage {
    Box::leak(Box::default())
}

/// The parameters as they can be kept: a tenant that sees no neighbour cannot tell what they leave
/// over.
fn seen_by(params: Params, blind: bool) -> Params {
    match params.mode {
        Mode::Balanced | Mode::Adaptive if blind => params.with_mode(Mode::Strict),
        _ => params,
    }
}

/// What is empty after a synchronisation.
#[derive(Debug, Clone, Copy)]
pub enum Drains {
    /// The whole context.
    Everything,
    /// One queue, which the call names.
    Queue(usize),
    /// One queue, which the call names: a copy there came last, and not all of the time was the
    /// device's.
    Copied(usize),
    /// Some of the work on a queue, which the call names.
    PartOf(usize),
    /// Some work, nobody can say which.
    Something,
}

impl Drains {
    /// Whether the call waits for the device's work and does none of its own.
    fn is_work(self) -> bool {
        matches!(self, Self::Everything | Self::Queue(_) | Self::Something)
    }

    /// The queue that the call names: it is there, and the caller may use it.
    fn named(self) -> Option<usize> {
        match self {
            Self::Queue(queue) | Self::Copied(queue) | Self::PartOf(queue) => Some(queue),
            Self::Everything | Self::Something => None,
        }
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
