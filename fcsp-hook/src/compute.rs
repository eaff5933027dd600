//! One device's compute share as this process keeps it: binds the core's gate to queues, events and
//! function handles.
//!
//! A launch asks the gate with its learned cost. Nearly all launches go on at once. About once in
//! some hundred microseconds of GPU time the slow path publishes, reads the neighbours' pages and
//! may wait. It waits on the caller's thread: no parameter is copied, and no order changes.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use fcsp_core::binding::{OpenLimiter, ShareOf};
use fcsp_core::classify::Class;
use fcsp_core::clock::nap;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::limiter::{GateAdmission, RateLimiter};
use fcsp_core::region::layout::SlotWords;
use fcsp_core::region::standstill::Standstill;
use fcsp_core::share::cost;
use fcsp_core::share::gate::SEVERAL;
use fcsp_core::share::params::{Mode, Params};
use fcsp_core::share::wait::now_ns;
use fcsp_core::tenant::Tenant;

use crate::backend::Backend;
use crate::ranks;
use crate::setup::log_refusal;

mod cost_model;
mod ends;
mod events;
mod fences;
mod functions;
mod reconcile;
mod timing;

use cost_model::{CostModel, Key};
use events::Events;
use fences::{Fences, Since};
pub use functions::{Functions, LaunchInfo};
use timing::{Others, Timing};

/// Time for which a thread polls a marker and yields its core before it sleeps between questions,
/// ns: a kernel or two. A sleep ends 50 us late and more, for which a device that is given one
/// kernel at a time would be idle.
const SPIN_NS: u64 = 250_000;
/// The sleep between two questions for a marker, ns.
const NAP_NS: u64 = 20_000;
/// The longest a thread waits for its queue to drain before it asks the gate again, ns.
const DRAIN_NS: u64 = 2_000_000;

/// A device's gate and what it needs.
#[derive(Debug)]
pub struct Compute<B: Backend> {
    limiter: B::Limiter,
    costs: CostModel,
    /// Classes and names of function handles and executable graphs.
    pub functions: Functions<B::Classifier>,
    timing: Timing,
    events: Events,
    fences: Fences,
    /// Charges of the tenant's other processes at the last look, and the instant until which their
    /// work may be on the device, ns.
    siblings: AtomicU64,
    siblings_until: AtomicU64,
    /// True if queues beside that of the last launch have had work since the device was last known
    /// idle.
    several_queues: AtomicBool,
    /// True if other queues have had work since the last mark.
    mixed_queues: AtomicBool,
    /// True if a launch has waited for its turn since the last mark.
    interrupted: AtomicBool,
    marked_ns: AtomicU64,
    /// True if work whose cost has not converged was launched since the last mark.
    unsettled: AtomicBool,
    /// Answers to pauses of the tenant.
    standstill: Standstill<'static>,
    vendor: PhantomData<B>,
}

/// GPU time between two timed launches, ns, if that is sooner than their number says: timing one
/// costs 3 us.
const SAMPLE_EVERY_NS: u64 = 4_000_000;

/// Work about to be submitted.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Key of its cost.
    pub key: u64,
    /// Key of the cost of all work like it, whatever its handle; 0 if unknown.
    pub content: u64,
    /// Thread blocks, 0 where that means nothing.
    pub blocks: u64,
    /// Class of the work.
    pub class: Class,
    /// True if this launch is to be timed.
    pub sample: bool,
    /// True if its cost has converged: it is kept until a measurement changes it.
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
    /// Opens the limiter for `tenant` on `device`. In `slot` this process publishes since when a
    /// launch waits, and answers pauses. [`Compute::set`] sets whether the tenant is paused.
    ///
    /// The thread that needs it first may have a small stack: each step has a frame of its own,
    /// which is gone when the next begins.
    pub fn open(
        tenant: &Tenant,
        device: &DeviceIdentity,
        params: Params,
        slot: &'static SlotWords,
    ) -> Option<Box<Self>> {
        let limiter = B::Limiter::open(
            &ShareOf {
                tenant,
                device,
                params,
                wait_word: &slot.waiting_since,
            },
            &log_refusal,
        )?;
        let made = Self::with_limiter(limiter, &slot.stopped);
        ranks::device_opened();
        Some(made)
    }

    #[inline(never)]
    #[expect(
        clippy::boxed_local,
        reason = "moved from heap to heap: the thread's stack may be small"
    )]
    fn with_limiter(limiter: Box<B::Limiter>, stopped: &'static AtomicU64) -> Box<Self> {
        Box::new(Self {
            limiter: *limiter,
            costs: CostModel::default(),
            functions: Functions::default(),
            timing: Timing::default(),
            events: Events::default(),
            fences: Fences::default(),
            siblings: AtomicU64::new(0),
            siblings_until: AtomicU64::new(0),
            several_queues: AtomicBool::new(false),
            mixed_queues: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            marked_ns: AtomicU64::new(0),
            unsettled: AtomicBool::new(false),
            standstill: Standstill::new(stopped),
            vendor: PhantomData,
        })
    }

    /// Sets new limits, in force from the next launch. `pause` is the generation of the control
    /// page that pauses the tenant.
    pub fn set(&self, params: Params, pause: Option<u64>) {
        if pause.is_none() {
            self.standstill.opens();
        }
        self.limiter.set_limits(params, pause.is_some());
        if let Some(generation) = pause {
            self.standstill.closed(generation);
        }
    }

    /// Records that launches go to the driver without this gate.
    pub fn is_passed_by(&self) {
        self.standstill.passes_uncounted();
    }

    /// Answers a pause, if the tenant is paused. Work on several queues is known to be done only
    /// after a synchronisation of the context.
    fn answer(&self) {
        self.standstill.answer(|| {
            self.limiter.in_flight() == 0 && !self.several_queues.load(Ordering::Relaxed)
        });
    }

    /// Admits a launch of `key` on `queue` where the fast path can. Its cost and class have
    /// converged, it is the queue of the last launch, nothing is to be timed, and there is credit.
    /// Otherwise returns false: [`Compute::submit`] it.
    #[inline(always)]
    pub fn admits(&self, key: u64, queue: usize) -> bool {
        let Some((cost, _)) = self.costs.told(key) else {
            return false;
        };
        let line = self.limiter.line();
        if !line.is_plain(queue) || !self.limiter.try_admit(cost) {
            return false;
        }
        line.launched(key, cost);
        true
    }

    /// Submits `work` on `queue` through `call`, when the gate says so.
    #[inline]
    pub fn submit(&self, work: Work, queue: usize, call: impl Fn() -> B::Status) -> B::Status {
        let cost = self.costs.price(work.costs(), work.blocks);
        let line = self.limiter.line();
        if line.stream.load(Ordering::Relaxed) != queue {
            self.other_queue(queue);
        }
        if work.settled {
            self.costs.tell(work.key, work.class, cost);
        } else if !self.unsettled.load(Ordering::Relaxed) {
            self.unsettled.store(true, Ordering::Relaxed);
        }
        line.launched(work.key, cost);
        if !self.limiter.try_admit(cost) {
            return self.submit_slowly(work, cost, queue, &call);
        }
        if work.sample {
            return self.submit_timed(work, queue, &call);
        }
        call()
    }

    /// Times long work more often: the cost of timing is small compared with it.
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
        if self.limiter.line().stream.swap(queue, Ordering::Relaxed) != 0 {
            self.several_queues.store(true, Ordering::Relaxed);
            self.mixed_queues.store(true, Ordering::Relaxed);
            self.limiter.queue_changes();
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
            let event = self.limiter.event_word().load(Ordering::Acquire);
            let now = now_ns();
            match self.ask(work.class, cost, now) {
                GateAdmission::Go { .. } | GateAdmission::Forced => break,
                GateAdmission::Drain { to } => {
                    self.mark_tail(queue, now);
                    self.interrupted.store(true, Ordering::Relaxed);
                    self.drain(to, now);
                }
                GateAdmission::Wait { until, .. } => {
                    self.mark_tail(queue, now);
                    self.interrupted.store(true, Ordering::Relaxed);
                    self.answer();
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
        let _ = self.limiter.line().key.compare_exchange(
            0,
            work.key,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.mark(queue, now_ns());
        result
    }

    /// Asks the limiter.
    fn ask(&self, class: Class, cost: u64, now: u64) -> GateAdmission {
        if class.bypasses_gate() {
            self.limiter.set_ranks(ranks::are_several());
        }
        self.limiter.ask(class, cost, now)
    }

    /// Puts a mark at the end of what is queued on `queue`.
    fn mark(&self, queue: usize, now: u64) {
        let line = self.limiter.line();
        let launches = line.unmarked.swap(0, Ordering::Relaxed);
        self.marked_ns.store(now, Ordering::Relaxed);
        let key = line.key.swap(0, Ordering::Relaxed);
        let since = Since {
            key: if key == SEVERAL { 0 } else { key },
            unit: line.last_cost.load(Ordering::Relaxed),
            interrupted: self.interrupted.swap(false, Ordering::Relaxed),
            settled: !self.unsettled.swap(false, Ordering::Relaxed),
            timed: !self.limiter.is_contended()
                && !self.mixed_queues.swap(false, Ordering::Relaxed),
            launches,
            others: self.limiter.others_seen(),
            watched: self.limiter.is_contended() && self.limiter.params().mode == Mode::Adaptive,
        };
        self.fences
            .record::<B>(&self.limiter, &self.events, queue, since, now);
    }

    /// Marks the tail of a queue, unless there is a mark already.
    fn mark_tail(&self, queue: usize, now: u64) {
        if self.limiter.line().unmarked.load(Ordering::Relaxed) != 0 || self.fences.is_empty() {
            self.mark(queue, now);
        }
    }

    /// Waits until at most `to` ns of GPU time are in flight, or nothing is left to wait for, or
    /// for a while.
    fn drain(&self, to: u64, since: u64) {
        if self.fences.is_empty() {
            // No event is available: nothing tells when, and the gate would answer the same at
            // once.
            nap(NAP_NS);
        }
        loop {
            self.poll();
            let now = now_ns();
            if self.limiter.in_flight() <= to || self.fences.is_empty() || now > since + DRAIN_NS {
                return;
            }
            if now < since + SPIN_NS {
                // Another thread may use this core: on a full machine it may be the work that is
                // waited for.
                std::thread::yield_now();
            } else {
                nap(NAP_NS);
            }
        }
    }

    #[cold]
    fn submit_timed(&self, work: Work, queue: usize, call: &dyn Fn() -> B::Status) -> B::Status {
        self.sample_sooner(self.costs.price(work.costs(), work.blocks));
        let now = now_ns();
        let others = if self.limiter.is_contended() {
            Some(Others {
                had: self.limiter.others_now(now),
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
        &self.limiter.line().countdown
    }

    /// Records an executable graph of these kernels, each with its thread blocks. Its class is that
    /// of most of their time, but never a collective: no estimate may let work through for free.
    pub fn graph_made(&self, executable: usize, kernels: &[(usize, u64)]) {
        let mut time = [0u64; Class::ALL.len()];
        let mut content = kernels.len() as u64;
        for &(function, blocks) in kernels {
            let (class, stranger) = self.functions.class_of(function, B::kernel_name);
            if stranger {
                self.costs.forget_kernel(function);
            }
            content =
                cost::kernel_key(content ^ self.functions.name_or_handle(function), 1) ^ blocks;
            let cost = self
                .costs
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

    /// Returns true if work of this process is in flight: the host would have to wait.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.limiter.in_flight() > 0
    }
}

/// Queues that a synchronisation leaves empty.
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
    /// Returns true if the call waits for the device's work and does none of its own.
    fn is_work(self) -> bool {
        matches!(self, Self::Everything | Self::Queue(_) | Self::Something)
    }

    /// Returns the queue that the call names: it exists, and the caller may use it.
    fn named(self) -> Option<usize> {
        match self {
            Self::Queue(queue) | Self::Copied(queue) | Self::PartOf(queue) => Some(queue),
            Self::Everything | Self::Something => None,
        }
    }
}
