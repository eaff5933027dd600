//! A rate limiter for programs that submit device work themselves: the gate, the costs and the
//! neighbours in one, without a preload library and without a vendor.
//!
//! ```no_run
//! use fcsp_core::classify::Class;
//! use fcsp_core::config::Config;
//! use fcsp_core::device::{DeviceIdentity, DeviceUuid};
//! use fcsp_core::submitter::Markers;
//! use fcsp_core::limiter::{Position, Work};
//! use fcsp_core::membership::Membership;
//! use fcsp_core::share::cost;
//! use fcsp_core::state::StateDir;
//! use fcsp_core::tenant::Tenant;
//! # struct Queue; impl Queue { fn launch(&self) {} }
//! # impl Markers for Queue { fn put(&mut self, _: Position) {} fn passed(&mut self) -> Option<Position> { None } }
//!
//! let mut config = Config::unlimited();
//! config.tenant = Some("serving".into());
//! // Joining makes the tenant visible to `fcsp ps`. Keep it for as long as work is submitted.
//! let tenant = Tenant::join(&StateDir::locate(), &config)?;
//! let device = DeviceIdentity { index: Some(0), uuid: DeviceUuid([7; 16]), pci: None };
//! let member = Membership::join(tenant, &device, 80 << 30)?;
//! // Follows `fcsp limit` and `fcsp pause` by itself.
//! let submitter = member.submitter()?;
//! let mut queue = Queue;
//! let work = Work { key: cost::kernel_key(0x7f00, 128), blocks: 128, class: Class::Gemm };
//! submitter.submit(&work, &mut queue, |queue| queue.launch());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::nap;
use crate::device::DeviceIdentity;
use crate::limiter::{Admission, BusyInterval, GateAdmission, Position, RateLimiter, Work};
use crate::region::layout::SlotWords;
use crate::region::standstill::Standstill;
use crate::share::claim_page::{Counters, PageError};
use crate::share::cost::CostTable;
use crate::share::files::OwnPage;
use crate::share::limiter::ShareLimiter;
use crate::share::params::{ParamError, Params};
use crate::share::wait::{self, now_ns};
use crate::tenant::{Tenant, TenantError};

/// Kernels whose costs are kept.
const KEYS: usize = 4_096;
/// The longest a thread waits for its queue to drain before it asks again, ns.
const DRAIN_NS: u64 = 2_000_000;
/// The longest time until a host sees that its work is done, ns. The device does no work in it.
const NOTICE_NS: u64 = 40_000;
/// The sleep between two questions for a marker, ns.
const NAP_NS: u64 = 20_000;

/// A sum of generations that no look has found yet.
const UNREAD: u64 = u64::MAX;

/// Markers on the queue of a user of [`Submitter::submit`]. They tell what the device has done.
pub trait Markers {
    /// Puts a marker at the end of what has been submitted, and remembers the position with it.
    fn put(&mut self, at: Position);

    /// Returns the last position that the device has passed, if it has passed one since the last
    /// call.
    fn passed(&mut self) -> Option<Position>;
}

/// One process's part of a tenant's share of one device. All methods may be called from any thread;
/// in a forked child it is the parent's, and the child makes its own.
///
/// ```
/// use fcsp_core::classify::Class;
/// use fcsp_core::config::Config;
/// use fcsp_core::device::{DeviceIdentity, DeviceUuid};
/// use fcsp_core::limiter::{Admission, Work};
/// use fcsp_core::membership::Membership;
/// use fcsp_core::share::cost::kernel_key;
/// use fcsp_core::share::params::Params;
/// use fcsp_core::state::StateDir;
/// use fcsp_core::tenant::Tenant;
///
/// # let folder = std::env::temp_dir().join(format!("fcsp-doc-submitter-{}", std::process::id()));
/// # let state = StateDir::at(&folder);
/// # #[cfg(any())]
/// let state = StateDir::provide();
/// let config = Config::builder()
///     .tenant("serving")?
///     .compute(Params::balanced_percent(50)?)
///     .build();
/// let device = DeviceIdentity { index: Some(0), uuid: DeviceUuid([7; 16]), pci: None };
/// let member = Membership::join(Tenant::join(&state, &config)?, &device, 80 << 30)?;
/// let submitter = member.submitter()?;
/// let work = Work { key: kernel_key(0x7000, 64), blocks: 64, class: Class::Gemm };
/// if let Admission::Go { .. } = submitter.admit(&work) {
///     // The work is submitted here. Its end is told as soon as it is known.
///     submitter.passed(submitter.position());
/// }
/// # drop(submitter);
/// # drop(member);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Submitter<'p> {
    limiter: ShareLimiter<'p>,
    costs: CostTable,
    /// True if anything was submitted since the last marker.
    unmarked: AtomicBool,
    /// Instant since which a thread waits for work in flight, ns; 0 for none.
    blocked_at: AtomicU64,
    /// The device time that neighbours had had by then, ns.
    others: AtomicU64,
    /// The tenant whose limits it follows.
    followed: Option<Followed<'p>>,
}

/// A tenant whose limits are followed.
#[derive(Debug)]
struct Followed<'p> {
    tenant: &'p Tenant,
    device: &'p DeviceIdentity,
    /// Sum of the generations of the control pages that were read last: each only grows.
    seen: AtomicU64,
    /// Answers to pauses of the tenant.
    standstill: Standstill<'p>,
}

impl Followed<'_> {
    /// Returns the sum of the generations of the tenant's control pages.
    fn generations(&self) -> u64 {
        // Relaxed: a change is noticed by this look or by the next.
        let of = |tenant: &Tenant| tenant.control().generation_word().load(Ordering::Relaxed);
        self.tenant
            .outers()
            .fold(of(self.tenant), |sum, outer| sum.wrapping_add(of(outer)))
    }
}

/// The reason why no rate limiter can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitterError {
    /// The parameters contradict each other, or a share is not above 0 and up to 100 %.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// The page belongs to another version of this library.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The page cannot be made or mapped.
    #[error("no page for the tenant's share: {0}")]
    File(#[from] std::io::Error),
    /// The tenant's limits cannot be read.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

impl<'p> Submitter<'p> {
    /// Makes a rate limiter for the tenant of this page, among the neighbours of the same device.
    ///
    /// # Errors
    ///
    /// Parameters that are not valid, or a page of another version.
    pub fn new(page: &'p OwnPage, params: Params) -> Result<Self, SubmitterError> {
        params.validate()?;
        Ok(Self::of(ShareLimiter::new(page, params)?, None))
    }

    /// Makes the limiter of a membership: its limits and pauses are what the tenant's control pages
    /// say at each launch.
    pub(crate) fn following(
        page: &'p OwnPage,
        tenant: &'p Tenant,
        device: &'p DeviceIdentity,
        slot: &'p SlotWords,
    ) -> Result<Self, SubmitterError> {
        let limiter = ShareLimiter::on_page(
            page.page(),
            page.neighbours(),
            false,
            Params::default(),
            Some(&slot.waiting_since),
        )?;
        let followed = Followed {
            tenant,
            device,
            seen: AtomicU64::new(UNREAD),
            standstill: Standstill::new(&slot.stopped),
        };
        tenant.limits_when_settled()?;
        let submitter = Self::of(limiter, Some(followed));
        submitter.follow();
        Ok(submitter)
    }

    fn of(limiter: ShareLimiter<'p>, followed: Option<Followed<'p>>) -> Self {
        // What is a collective says the program itself.
        limiter.set_ranks(true);
        Self {
            limiter,
            followed,
            costs: CostTable::new(KEYS),
            unmarked: AtomicBool::new(false),
            blocked_at: AtomicU64::new(0),
            others: AtomicU64::new(0),
        }
    }

    /// Takes in changed limits: one load for each control page while nothing changes.
    #[inline]
    fn follow(&self) {
        if let Some(followed) = &self.followed
            && followed.generations() != followed.seen.load(Ordering::Relaxed)
        {
            self.reload(followed);
        }
    }

    /// Takes in what the control pages say now. A page that is damaged, or half-written by a
    /// process that died, leaves the last known limits.
    #[cold]
    fn reload(&self, followed: &Followed<'_>) {
        // Before the limits are read: a change meanwhile is for the next look.
        let generations = followed.generations();
        let generation = followed.tenant.outermost().control().generation();
        if let Ok((_, limits)) = followed.tenant.limits() {
            let params = limits
                .compute
                .for_device(followed.device)
                .unwrap_or_default();
            let paused = limits.run_state.is_paused();
            if !paused {
                followed.standstill.opens();
            }
            self.limiter.set_limits(params, paused);
            if paused {
                followed.standstill.closed(generation);
            }
        }
        followed.seen.store(generations, Ordering::Relaxed);
    }

    /// Sets new limits; the next launch feels them.
    ///
    /// # Errors
    ///
    /// Parameters that are not valid. The limits then stay as they were.
    pub fn set(&self, params: Params, paused: bool) -> Result<(), SubmitterError> {
        params.validate()?;
        self.limiter.set_limits(params, paused);
        Ok(())
    }

    /// Returns the limits in force.
    pub fn params(&self) -> Params {
        self.limiter.params()
    }

    /// Returns the counters of the tenant, all its processes together.
    pub fn counters(&self) -> Counters {
        self.limiter.counters()
    }

    /// Returns the device time submitted by this process and not known to be complete.
    pub fn in_flight(&self) -> Duration {
        Duration::from_nanos(self.limiter.in_flight())
    }

    /// Runs `submit` when it is this tenant's turn: waits on the calling thread until then. `queue`
    /// is where the work goes.
    pub fn submit<Q: Markers, R>(
        &self,
        work: &Work,
        queue: &mut Q,
        submit: impl FnOnce(&mut Q) -> R,
    ) -> R {
        self.follow();
        let cost = self.costs.cost(work.key, work.blocks);
        let mut marker = false;
        if !self.limiter.try_admit(cost) {
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

    /// Waits until the work may go. Returns true if a marker is wanted behind it.
    #[cold]
    fn stand<Q: Markers>(&self, work: &Work, cost: u64, queue: &mut Q) -> bool {
        loop {
            self.follow();
            self.poll(queue);
            // Read before the page is asked, so that a wake-up in between is not slept through.
            let event = self.limiter.event_word().load(Ordering::Acquire);
            let now = now_ns();
            match self.limiter.ask(work.class, cost, now) {
                GateAdmission::Go { marker } => return marker,
                GateAdmission::Forced => return true,
                GateAdmission::Drain { to } => {
                    self.mark(queue);
                    while self.limiter.in_flight() > to && now_ns() < now + DRAIN_NS {
                        nap(NAP_NS);
                        self.poll(queue);
                    }
                }
                GateAdmission::Wait { until, .. } => {
                    self.mark(queue);
                    self.answer();
                    wait::wait(self.limiter.event_word(), event, until);
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

    /// Answers a pause, if the tenant is paused.
    fn answer(&self) {
        if let Some(followed) = &self.followed {
            followed.standstill.answer(|| self.limiter.in_flight() == 0);
        }
    }

    fn mark<Q: Markers>(&self, queue: &mut Q) {
        if self.unmarked.swap(false, Ordering::Relaxed) {
            queue.put(self.limiter.position());
        }
    }

    fn poll<Q: Markers>(&self, queue: &mut Q) {
        if let Some(marker) = queue.passed() {
            self.passed(marker);
        }
    }

    fn admit_at(&self, work: &Work, now: u64) -> Admission {
        self.follow();
        let cost = self.costs.cost(work.key, work.blocks);
        if self.limiter.try_admit(cost) {
            return Admission::Go { marker: false };
        }
        match self.limiter.ask(work.class, cost, now) {
            GateAdmission::Go { marker } => Admission::Go { marker },
            GateAdmission::Forced => Admission::Go { marker: true },
            GateAdmission::Drain { to } => Admission::Drain {
                to: Duration::from_nanos(to),
            },
            GateAdmission::Wait { until, .. } => {
                self.answer();
                Admission::Wait(Duration::from_nanos(until.saturating_sub(now)))
            }
        }
    }
}

/// The steps of [`crate::limiter`] one by one, for a program that waits by itself.
impl Submitter<'_> {
    /// Says whether `work` may start. Never blocks.
    pub fn admit(&self, work: &Work) -> Admission {
        self.admit_at(work, now_ns())
    }

    /// Returns the position after everything admitted so far, to remember with a marker.
    pub fn position(&self) -> Position {
        self.limiter.position()
    }

    /// Records that everything up to `marker` is done.
    pub fn passed(&self, marker: Position) {
        self.limiter.passed(marker, now_ns());
    }

    /// Records that one run of `work`, timed on the device, took `device_time`. `contended` says
    /// whether other tenants' work may be contained in it.
    pub fn measured(&self, work: &Work, device_time: Duration, contended: bool) {
        let ns = u64::try_from(device_time.as_nanos()).unwrap_or(u64::MAX);
        self.costs.learn(work.key, work.blocks, ns, contended);
    }

    /// Records that the host is about to wait for the device.
    pub fn blocks(&self) {
        self.blocks_at(now_ns());
    }

    /// Records that the host goes on; `idle` says whether nothing of this process is in flight any
    /// more. The device has then been busy with it since [`Submitter::blocks`]: device time in that
    /// which was not charged is charged.
    pub fn goes_on(&self, idle: bool) {
        self.goes_on_at(idle, now_ns());
    }
}

impl Submitter<'_> {
    fn blocks_at(&self, now: u64) {
        self.limiter.block(now);
        // Relaxed: of several threads that wait at once, the first tells since when.
        if self.limiter.in_flight() > 0 && self.blocked_at.load(Ordering::Relaxed) == 0 {
            self.others
                .store(self.limiter.others_now(now), Ordering::Relaxed);
            self.blocked_at.store(now, Ordering::Relaxed);
        }
    }

    fn goes_on_at(&self, idle: bool, now: u64) {
        let from = self.blocked_at.swap(0, Ordering::Relaxed);
        if idle {
            // The device had this process's work until now.
            let until = now.saturating_sub(NOTICE_NS);
            if from != 0 && from < until {
                let before = self.others.load(Ordering::Relaxed);
                self.limiter
                    .reconcile(BusyInterval { from, until }, before, now);
            }
            self.limiter.drained(now);
        }
        self.limiter.resume(now);
        self.answer();
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
                Submitter::new(&page, params),
                Err(SubmitterError::Params(_))
            ));
        }
        let submitter = Submitter::new(&page, Params::strict(100_000)).unwrap();
        assert!(submitter.set(Params::balanced(0), false).is_err());
        assert_eq!(submitter.limiter.params(), Params::strict(100_000));
    }

    /// Returns the device time that a lone tenant is admitted in one second of a test's own clock.
    fn admitted(params: Params) -> f64 {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let submitter = Submitter::new(&page, params).unwrap();
        let work = work(Class::Gemm);
        for _ in 0..32 {
            submitter.measured(&work, COST, false);
        }
        let start = now_ns();
        let (mut now, mut submitted) = (start, 0u32);
        while now < start + 1_000_000_000 {
            match submitter.admit_at(&work, now) {
                Admission::Go { .. } => {
                    submitted += 1;
                    // A device that has done it at once.
                    submitter.limiter.passed(submitter.position(), now);
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

    /// Checks that waits reconcile: work that is charged 3 us takes 5 ms, and is waited for.
    #[test]
    fn what_the_device_did_is_charged_where_the_host_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let submitter = Submitter::new(&page, Params::strict(200_000)).unwrap();
        let work = work(Class::Gemm);
        let start = now_ns();
        let (mut now, mut had) = (start, 0u64);
        while now < start + 2_000_000_000 {
            match submitter.admit_at(&work, now) {
                Admission::Go { .. } => {
                    submitter.blocks_at(now);
                    now += 5_000_000;
                    submitter.goes_on_at(true, now);
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
        let submitter = Submitter::new(&page, Params::balanced(500_000)).unwrap();
        let work = work(Class::Other);
        submitter.measured(&work, COST, false);
        let now = now_ns();
        let mut submitted = 0;
        let to = loop {
            match submitter.admit_at(&work, now) {
                Admission::Go { .. } => submitted += 1,
                Admission::Drain { to } => break to,
                Admission::Wait(_) => panic!("nobody to wait for"),
            }
            assert!(submitted < 1_000);
        };
        assert!(submitter.in_flight() > to);
        submitter.passed(submitter.position());
        assert_eq!(submitter.in_flight(), Duration::ZERO);
        assert!(matches!(
            submitter.admit_at(&work, now + 1),
            Admission::Go { .. }
        ));
    }

    #[test]
    fn a_pause_holds_everything_but_collectives() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let params = Params::balanced(500_000);
        let submitter = Submitter::new(&page, params).unwrap();
        submitter.set(params, true).unwrap();
        assert!(matches!(
            submitter.admit(&work(Class::Gemm)),
            Admission::Wait(_)
        ));
        assert!(matches!(
            submitter.admit(&work(Class::Collective)),
            Admission::Go { .. }
        ));
        submitter.set(params, false).unwrap();
        assert!(matches!(
            submitter.admit(&work(Class::Gemm)),
            Admission::Go { .. }
        ));
    }

    /// A queue whose device is done at once.
    #[derive(Default)]
    struct AtOnce {
        marker: Option<Position>,
        put: u32,
        submitted: u32,
    }

    impl Markers for AtOnce {
        fn put(&mut self, at: Position) {
            self.marker = Some(at);
            self.put += 1;
        }

        fn passed(&mut self) -> Option<Position> {
            self.marker.take()
        }
    }

    #[test]
    fn submitting_waits_puts_markers_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let page = page(&dir, "a");
        let submitter = Submitter::new(&page, Params::balanced(900_000)).unwrap();
        let work = work(Class::Attention);
        submitter.measured(&work, COST, false);
        let mut queue = AtOnce::default();
        for _ in 0..50 {
            submitter.submit(&work, &mut queue, |queue| queue.submitted += 1);
        }
        submitter.synchronise(|| ());
        assert_eq!(queue.submitted, 50);
        assert!(queue.put > 0);
        assert_eq!(submitter.in_flight(), Duration::ZERO);
        let counters = submitter.counters();
        assert!(counters.consumed >= 10_000_000, "{counters:?}");
        assert_eq!(
            counters.classes.iter().sum::<u64>(),
            counters.classes[usize::from(Class::Attention.code())]
        );
    }

    #[test]
    fn unlimited_is_a_limiter() {
        let limiter: &dyn RateLimiter = &Unlimited::default();
        assert!(limiter.try_admit(1));
        assert_eq!(
            limiter.ask(Class::Gemm, 1, 1),
            GateAdmission::Go { marker: false }
        );
        limiter.passed(limiter.position(), 2);
        limiter.block(3);
        limiter.resume(4);
    }
}
