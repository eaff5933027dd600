//! A rate limiter for programs that submit device work themselves: the gate, the costs and the
//! neighbours in one, without a preload library and without a vendor.
//!
//! ```no_run
//! use fcsp_core::classify::Class;
//! use fcsp_core::config::Config;
//! use fcsp_core::device::DeviceUuid;
//! use fcsp_core::governor::{Governor, Markers};
//! use fcsp_core::limiter::{Marker, Work};
//! use fcsp_core::share::{cost, params::Params};
//! use fcsp_core::state::StateDir;
//! use fcsp_core::tenant::Tenant;
//! # struct Queue; impl Queue { fn launch(&self) {} }
//! # impl Markers for Queue { fn put(&mut self, _: Marker) {} fn passed(&mut self) -> Option<Marker> { None } }
//!
//! let mut config = Config::unlimited();
//! config.tenant = Some("serving".into());
//! // Joining makes the tenant visible to `fcsp ps`. Keep it for as long as work is submitted.
//! let tenant = Tenant::join(&StateDir::locate(), &config)?;
//! let page = tenant.share_page(&DeviceUuid([7; 16]))?;
//! let governor = Governor::new(&page, Params::balanced(250_000))?;
//! let mut queue = Queue;
//! let work = Work { key: cost::kernel_key(0x7f00, 128), blocks: 128, class: Class::Gemm };
//! governor.submit(&work, &mut queue, |queue| queue.launch());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::nap;
use crate::limiter::{Admission, Marker, RateLimiter, Work};
use crate::share::cost::CostTable;
use crate::share::files::{Neighbours, OwnPage};
use crate::share::gate::{Gate, Stretch, Verdict, progress};
use crate::share::page::{Counters, PageError};
use crate::share::params::{ParamError, Params};
use crate::share::wait::{self, now_ns};

/// Kernels whose costs are kept.
const KEYS: usize = 4_096;
/// The longest a thread waits for its queue to drain before it asks again, ns.
const DRAIN_NS: u64 = 2_000_000;
/// The longest time until a host sees that its work is done, ns. The device does no work in it.
const NOTICE_NS: u64 = 40_000;
/// The sleep between two questions for a marker, ns.
const NAP_NS: u64 = 20_000;

/// What a user of [`Governor::submit`] knows of its queue: how to learn what the device has done.
pub trait Markers {
    /// Puts a marker at the end of what has been submitted, and remembers the position with it.
    fn put(&mut self, at: Marker);

    /// The last position that the device has passed, if it has passed one since this was last
    /// asked.
    fn passed(&mut self) -> Option<Marker>;
}

/// One process's part of a tenant's share of one device. All methods may be called from any thread;
/// in a forked child it is the parent's, and the child makes its own.
#[derive(Debug)]
pub struct Governor<'p> {
    gate: Gate<'p>,
    costs: CostTable,
    neighbours: Mutex<Neighbours>,
    /// Whether anything was submitted since the last marker.
    unmarked: AtomicBool,
    /// Since when a thread stands waiting for work in flight, ns; 0 if none does.
    blocked_at: AtomicU64,
    /// The device time that neighbours had had by then, ns.
    others: AtomicU64,
}

/// The reason why there is no governor.
#[derive(Debug, thiserror::Error)]
pub enum GovernorError {
    /// The parameters contradict each other, or a share is not above 0 and up to 100 %.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// The page belongs to another version of this library.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl<'p> Governor<'p> {
    /// Makes a governor for the tenant of this page, among the neighbours of the same device.
    ///
    /// # Errors
    ///
    /// Parameters that are not valid, or a page of another version.
    pub fn new(page: &'p OwnPage, params: Params) -> Result<Self, GovernorError> {
        params.validate()?;
        let gate = Gate::new(page.page(), params, now_ns())?;
        // What is a collective says the program itself.
        gate.set_ranks(true);
        Ok(Self {
            gate,
            costs: CostTable::new(KEYS),
            neighbours: Mutex::new(page.neighbours()),
            unmarked: AtomicBool::new(false),
            blocked_at: AtomicU64::new(0),
            others: AtomicU64::new(0),
        })
    }

    /// Sets new limits; the next launch feels them.
    ///
    /// # Errors
    ///
    /// Parameters that are not valid. The limits then stay as they were.
    pub fn set(&self, params: Params, paused: bool) -> Result<(), GovernorError> {
        params.validate()?;
        if self.gate.params() != params {
            self.gate.set_params(params, now_ns());
        }
        self.gate.set_paused(paused);
        Ok(())
    }

    /// What the tenant has had so far, all its processes together.
    pub fn counters(&self) -> Counters {
        self.gate.page().counters()
    }

    /// Device time submitted by this process and not known to be done.
    pub fn in_flight(&self) -> Duration {
        Duration::from_nanos(self.gate.in_flight())
    }

    /// Runs `submit` when it is this tenant's turn: waits on the calling thread until then. `queue`
    /// is where the work goes.
    pub fn submit<Q: Markers, R>(
        &self,
        work: &Work,
        queue: &mut Q,
        submit: impl FnOnce(&mut Q) -> R,
    ) -> R {
        let cost = self.costs.cost(work.key, work.blocks);
        let mut marker = false;
        if !self.gate.admit(cost) {
            marker = self.stand(work, cost, queue);
        }
        let result = submit(queue);
        // Relaxed: at worst one marker more or less.
        self.unmarked.store(true, Ordering::Relaxed);
        if marker {
            self.mark(queue);
        }
        result
    }

    /// Stands at the gate until the work may go; says whether to put a marker behind it.
    #[cold]
    fn stand<Q: Markers>(&self, work: &Work, cost: u64, queue: &mut Q) -> bool {
        loop {
            self.poll(queue);
            // Read before the page is asked, so that a wake-up in between is not slept through.
            let event = self.gate.page().event_word().load(Ordering::Acquire);
            let now = now_ns();
            match self.ask(work, cost, now) {
                Verdict::Go { marker } => return marker,
                Verdict::LetOne => return true,
                Verdict::Drain { to } => {
                    self.mark(queue);
                    while self.gate.in_flight() > to && now_ns() < now + DRAIN_NS {
                        nap(NAP_NS);
                        self.poll(queue);
                    }
                }
                Verdict::Wait { until, .. } => {
                    self.mark(queue);
                    wait::wait(self.gate.page().event_word(), event, until);
                }
            }
        }
    }

    /// Waits for everything submitted by `finish`, which comes back when the device is done with
    /// it.
    pub fn synchronise<R>(&self, finish: impl FnOnce() -> R) -> R {
        self.blocks();
        let result = finish();
        self.goes_on(true);
        result
    }

    fn mark<Q: Markers>(&self, queue: &mut Q) {
        if self.unmarked.swap(false, Ordering::Relaxed) {
            queue.put(self.gate.mark());
        }
    }

    fn poll<Q: Markers>(&self, queue: &mut Q) {
        if let Some(marker) = queue.passed() {
            self.passed(marker);
        }
    }

    fn ask(&self, work: &Work, cost: u64, now: u64) -> Verdict {
        let mut neighbours = self
            .neighbours
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.gate
            .acquire_as(work.class, cost, now, neighbours.look(now))
    }

    fn admit_at(&self, work: &Work, now: u64) -> Admission {
        let cost = self.costs.cost(work.key, work.blocks);
        if self.gate.admit(cost) {
            return Admission::Go { marker: false };
        }
        match self.ask(work, cost, now) {
            Verdict::Go { marker } => Admission::Go { marker },
            Verdict::LetOne => Admission::Go { marker: true },
            Verdict::Drain { to } => Admission::Drain {
                to: Duration::from_nanos(to),
            },
            Verdict::Wait { until, .. } => {
                Admission::Wait(Duration::from_nanos(until.saturating_sub(now)))
            }
        }
    }
}

impl RateLimiter for Governor<'_> {
    fn admit(&self, work: &Work) -> Admission {
        self.admit_at(work, now_ns())
    }

    fn position(&self) -> Marker {
        self.gate.mark()
    }

    fn passed(&self, marker: Marker) {
        self.gate.retire(marker, now_ns());
    }

    fn measured(&self, work: &Work, device_time: Duration, contended: bool) {
        let ns = u64::try_from(device_time.as_nanos()).unwrap_or(u64::MAX);
        self.costs.learn(work.key, work.blocks, ns, contended);
    }

    fn blocks(&self) {
        self.blocks_at(now_ns());
    }

    fn goes_on(&self, idle: bool) {
        self.goes_on_at(idle, now_ns());
    }
}

impl Governor<'_> {
    fn blocks_at(&self, now: u64) {
        self.gate.block(now);
        // Relaxed: of several threads that wait at once, the first tells since when.
        if self.gate.in_flight() > 0 && self.blocked_at.load(Ordering::Relaxed) == 0 {
            let mut neighbours = self
                .neighbours
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.others
                .store(progress(neighbours.look(now)), Ordering::Relaxed);
            self.blocked_at.store(now, Ordering::Relaxed);
        }
    }

    fn goes_on_at(&self, idle: bool, now: u64) {
        let from = self.blocked_at.swap(0, Ordering::Relaxed);
        if idle {
            // The device had this process's work until now.
            let until = now.saturating_sub(NOTICE_NS);
            if from != 0 && from < until {
                let mut neighbours = self
                    .neighbours
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let before = self.others.load(Ordering::Relaxed);
                self.gate
                    .reconcile(Stretch { from, until }, before, neighbours.look(now), now);
            }
            self.gate.drained(now);
        }
        if self.gate.resume(now)
            && let Ok(neighbours) = self.neighbours.try_lock()
        {
            neighbours.wake_waiting(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Class;
    use crate::device::DeviceUuid;
    use crate::limiter::Unlimited;
    use crate::state::StateDir;

    const DEVICE: DeviceUuid = DeviceUuid([9; 16]);
    const COST: Duration = Duration::from_micros(200);

    fn work(class: Class) -> Work {
        Work {
            key: crate::share::cost::kernel_key(0x7000, 64),
            blocks: 64,
            class,
        }
    }

    fn page(dir: &tempfile::TempDir, tenant: &str) -> OwnPage {
        OwnPage::open(&StateDir::at(dir.path()), &DEVICE, tenant).unwrap()
    }

    #[test]
    fn parameters_that_cannot_be_kept_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        for params in [Params::balanced(0), Params::strict(2_000_000)] {
            assert!(matches!(
                Governor::new(&page, params),
                Err(GovernorError::Params(_))
            ));
        }
        let governor = Governor::new(&page, Params::strict(100_000)).unwrap();
        assert!(governor.set(Params::balanced(0), false).is_err());
        assert_eq!(governor.gate.params(), Params::strict(100_000));
    }

    /// Device time that a lone tenant is let have within a second of a clock that only this moves.
    fn admitted(params: Params) -> f64 {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let governor = Governor::new(&page, params).unwrap();
        let work = work(Class::Gemm);
        for _ in 0..32 {
            governor.measured(&work, COST, false);
        }
        let start = now_ns();
        let (mut now, mut submitted) = (start, 0u32);
        while now < start + 1_000_000_000 {
            match governor.admit_at(&work, now) {
                Admission::Go { .. } => {
                    submitted += 1;
                    // A device that has done it at once.
                    governor.gate.retire(governor.position(), now);
                    now += 200_000;
                }
                Admission::Drain { .. } => panic!("nothing is in flight"),
                Admission::Wait(time) => now += time.as_nanos() as u64,
            }
        }
        f64::from(submitted) * COST.as_secs_f64()
    }

    #[test]
    fn a_strict_share_is_kept_and_a_balanced_one_takes_what_is_left() {
        for quota in [100_000, 250_000, 500_000] {
            let had = admitted(Params::strict(quota));
            let promised = f64::from(quota) / 1e6;
            // The bucket is full at the start: ten milliseconds more.
            assert!((had - promised).abs() < 0.013, "{had} of {promised}");
        }
        assert!(admitted(Params::balanced(250_000)) > 0.99);
    }

    /// Work that is charged 3 us and takes 5 ms, waited for each time: what a wait shows is
    /// charged.
    #[test]
    fn what_the_device_did_is_charged_where_the_host_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let governor = Governor::new(&page, Params::strict(200_000)).unwrap();
        let work = work(Class::Gemm);
        let start = now_ns();
        let (mut now, mut had) = (start, 0u64);
        while now < start + 2_000_000_000 {
            match governor.admit_at(&work, now) {
                Admission::Go { .. } => {
                    governor.blocks_at(now);
                    now += 5_000_000;
                    governor.goes_on_at(true, now);
                    had += 5_000_000;
                }
                Admission::Drain { .. } => panic!("nothing is in flight"),
                Admission::Wait(time) => now += time.as_nanos() as u64,
            }
        }
        let part = had as f64 / (now - start) as f64;
        assert!((0.18..=0.22).contains(&part), "{part}");
    }

    #[test]
    fn work_in_flight_is_bounded_until_markers_pass() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let governor = Governor::new(&page, Params::balanced(500_000)).unwrap();
        let work = work(Class::Other);
        governor.measured(&work, COST, false);
        let now = now_ns();
        let mut submitted = 0;
        let to = loop {
            match governor.admit_at(&work, now) {
                Admission::Go { .. } => submitted += 1,
                Admission::Drain { to } => break to,
                Admission::Wait(_) => panic!("nobody to wait for"),
            }
            assert!(submitted < 1_000);
        };
        assert!(governor.in_flight() > to);
        governor.passed(governor.position());
        assert_eq!(governor.in_flight(), Duration::ZERO);
        assert!(matches!(
            governor.admit_at(&work, now + 1),
            Admission::Go { .. }
        ));
    }

    #[test]
    fn a_pause_holds_everything_but_collectives() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let params = Params::balanced(500_000);
        let governor = Governor::new(&page, params).unwrap();
        governor.set(params, true).unwrap();
        assert!(matches!(
            governor.admit(&work(Class::Gemm)),
            Admission::Wait(_)
        ));
        assert!(matches!(
            governor.admit(&work(Class::Collective)),
            Admission::Go { .. }
        ));
        governor.set(params, false).unwrap();
        assert!(matches!(
            governor.admit(&work(Class::Gemm)),
            Admission::Go { .. }
        ));
    }

    /// A queue whose device is done at once.
    #[derive(Default)]
    struct AtOnce {
        marker: Option<Marker>,
        put: u32,
        submitted: u32,
    }

    impl Markers for AtOnce {
        fn put(&mut self, at: Marker) {
            self.marker = Some(at);
            self.put += 1;
        }

        fn passed(&mut self) -> Option<Marker> {
            self.marker.take()
        }
    }

    #[test]
    fn submitting_waits_puts_markers_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let governor = Governor::new(&page, Params::balanced(900_000)).unwrap();
        let work = work(Class::Attention);
        governor.measured(&work, COST, false);
        let mut queue = AtOnce::default();
        for _ in 0..50 {
            governor.submit(&work, &mut queue, |queue| queue.submitted += 1);
        }
        governor.synchronise(|| ());
        assert_eq!(queue.submitted, 50);
        assert!(queue.put > 0);
        assert_eq!(governor.in_flight(), Duration::ZERO);
        let counters = governor.counters();
        assert!(counters.consumed >= 10_000_000, "{counters:?}");
        assert_eq!(
            counters.classes.iter().sum::<u64>(),
            counters.classes[usize::from(Class::Attention.code())]
        );
    }

    #[test]
    fn unlimited_is_a_limiter() {
        let limiter: &dyn RateLimiter = &Unlimited;
        assert_eq!(
            limiter.admit(&work(Class::Gemm)),
            Admission::Go { marker: false }
        );
        limiter.passed(limiter.position());
        limiter.blocks();
        limiter.goes_on(true);
    }
}
