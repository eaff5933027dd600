//! A tenant's share of a device's time from outside: the promise, and the use of the device between
//! two readings of the claim page.

use std::collections::BTreeMap;
use std::path::Path;

use fcsp_core::classify::Class;
use fcsp_core::device::DeviceUuid;
use fcsp_core::file::monotonic_ns;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::share::files::{self, Apart};
use fcsp_core::share::params::Params;
use fcsp_core::state::StateDir;
use serde::Serialize;

use crate::rules::Promise;

/// A tenant's share of one device. Parts are fractions of the time between two looks, `None` after
/// one look only.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct ComputeUsage {
    /// The promise, where there is one. The claim page tells guarantee, mode, priority and weight
    /// only.
    #[serde(flatten)]
    pub promise: Promise,
    /// Device time charged, per time passed.
    pub utilization: Option<f64>,
    /// The part of it that was surplus.
    pub surplus: Option<f64>,
    /// Time that launches were throttled, per time passed; each process counts for itself, at most
    /// 1.
    pub throttled: Option<f64>,
    /// Time between the two looks, ns.
    pub interval_ns: Option<u64>,
    /// GPU time submitted and not known to be done, ns, as long as it would take on a device of its
    /// own.
    pub in_flight_ns: u64,
    /// GPU time charged since the tenant was set up, ns.
    pub consumed_ns: u64,
    /// Launches that were throttled.
    pub waits: u64,
    /// Launches that were admitted because their deadline passed.
    pub forced_admissions: u64,
    /// Device time by class of work: parts of what was granted between two looks, or
    /// since the tenant was set up if there was nothing between them. A sample.
    pub mix: BTreeMap<&'static str, f64>,
    /// Sensitivity of the work, which the adaptive mode uses: latency, throughput or none.
    pub sensitivity: Option<&'static str>,
    /// The reason why the share is kept without regard to the device's other tenants, if it is.
    pub not_coordinated: Option<&'static str>,
    /// True if a launch waits now.
    #[serde(skip)]
    pub(crate) standing: bool,
    #[serde(skip)]
    pub(crate) look: Option<Look>,
    /// Part of the device that the time is of: less than 1 for a tenant with compute units of its
    /// own.
    #[serde(skip)]
    pub part: f64,
}

impl Default for ComputeUsage {
    fn default() -> Self {
        Self {
            promise: Promise::default(),
            utilization: None,
            surplus: None,
            throttled: None,
            interval_ns: None,
            in_flight_ns: 0,
            consumed_ns: 0,
            waits: 0,
            forced_admissions: 0,
            mix: BTreeMap::new(),
            sensitivity: None,
            not_coordinated: None,
            standing: false,
            look: None,
            part: 1.0,
        }
    }
}

/// The counters of a claim page at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) at: u64,
    consumed: u64,
    surplus: u64,
    waited: u64,
    classes: [u64; Class::ALL.len()],
}

impl ComputeUsage {
    /// Reads the tenant's claim page for the device, next to the share that its limits promise.
    /// `promised` is `None` where the limits cannot say it from outside, `Some(None)` where they
    /// promise none. Returns `None` where there is neither page nor promise.
    pub fn read(
        state: &StateDir,
        device: &DeviceUuid,
        tenant: &str,
        region: &Path,
        promised: Option<Option<Params>>,
    ) -> Option<Self> {
        let (snapshot, waiting) = settled(state, device, tenant, region);
        let now = monotonic_ns();
        let promise = match promised {
            Some(params) => params.map(Promise::from),
            None => snapshot.map(|s| Promise {
                floor: None,
                shared_pool: None,
                burst: None,
                weight: Some(s.view.weight),
                ..Params::balanced(s.view.guarantee)
                    .with_mode(s.view.mode)
                    .with_priority(s.view.priority)
                    .into()
            }),
        };
        if promise.is_none() && snapshot.is_none() {
            return None;
        }
        let mut share = Self {
            promise: promise.unwrap_or_default(),
            ..Self::default()
        };
        if share.is_kept() {
            share.not_coordinated = files::apart(state, device, tenant).map(|apart| match apart {
                Apart::Version => "its page is of another version; restart its processes together",
                Apart::Private => "processes of it may not write the shared page",
            });
        }
        if let Some(files::Snapshot { view, counters }) = snapshot {
            // A wait is counted when it ends; what stands now is added. A process that does not
            // tell since when it waits leaves the page's word, which is one for all of them.
            let standing = match waiting.is_empty() {
                false => waiting.iter().fold(0, |sum: u64, since| {
                    sum.saturating_add(now.saturating_sub(*since))
                }),
                true if view.waits(now) => now.saturating_sub(view.waiting_at).max(1),
                true => 0,
            };
            share.standing = standing > 0;
            share.in_flight_ns = view.finish_at.saturating_sub(now);
            share.consumed_ns = counters.consumed;
            share.waits = counters.waits;
            share.forced_admissions = counters.forced_admissions;
            share.look = Some(Look {
                at: now,
                consumed: counters.consumed,
                surplus: counters.surplus,
                waited: counters.waited.saturating_add(standing),
                classes: counters.classes,
            });
            share.mix = mix(counters.classes);
            share.sensitivity = Some(view.sensitivity.name());
        }
        Some(share)
    }

    /// Returns whether there is a share to keep.
    fn is_kept(&self) -> bool {
        self.promise
            .mode
            .as_deref()
            .is_some_and(|mode| mode != "none")
    }

    /// Enters what happened since `before`; `living` is the number of processes, each of which can
    /// wait once at a time.
    pub(crate) fn compare(&mut self, before: Look, living: usize) {
        let Some(now) = self.look else { return };
        let interval = now.at.saturating_sub(before.at);
        if interval == 0 {
            return;
        }
        // Without a share nothing is counted unless it was asked for, and that is not the same as
        // none.
        let moved = now.consumed != before.consumed || now.waited != before.waited;
        if !self.is_kept() && !moved && !self.standing {
            return;
        }
        // Signed: corrections may take back more than was charged meanwhile, and a page that was
        // made anew starts at nothing. Neither is a share below zero.
        let part = |now: u64, before: u64| {
            Some((now.wrapping_sub(before).cast_signed().max(0)) as f64 / interval as f64)
        };
        let of_device = |time: Option<f64>| time.map(|time| time * self.part);
        self.utilization = of_device(part(now.consumed, before.consumed));
        self.surplus = of_device(part(now.surplus, before.surplus));
        self.throttled = part(now.waited, before.waited).map(|held| held.min(living as f64));
        self.interval_ns = Some(interval);
        // A page that was made anew counts from nothing.
        let lately = mix(std::array::from_fn(|index| {
            now.classes[index].saturating_sub(before.classes[index])
        }));
        if !lately.is_empty() {
            self.mix = lately;
        }
    }
}

/// Returns the tenant's claim page, and the times at which launches of its processes began to wait.
/// Both are of one moment: a wait that ends in between would be counted twice or not at all.
fn settled(
    state: &StateDir,
    device: &DeviceUuid,
    tenant: &str,
    region: &Path,
) -> (Option<files::Snapshot>, Vec<u64>) {
    const ATTEMPTS: usize = 5;
    let read = || files::read(state, device, tenant);
    let waits = |page: &Option<files::Snapshot>| page.map(|page| page.counters.waits);
    let mut page = read();
    let mut waiting = Vec::new();
    for _ in 0..ATTEMPTS {
        if page.is_none() {
            break;
        }
        let region = RegionSnapshot::read(region);
        waiting = region
            .iter()
            .flat_map(|region| &region.processes)
            .filter(|process| process.alive && process.waiting_since != 0)
            .map(|process| process.waiting_since)
            .collect();
        let before = waits(&page);
        page = read();
        if waits(&page) == before {
            break;
        }
    }
    (page, waiting)
}

/// Returns the parts of what was granted.
fn mix(granted: [u64; Class::ALL.len()]) -> BTreeMap<&'static str, f64> {
    let all: u64 = granted.iter().fold(0, |sum, ns| sum.saturating_add(*ns));
    Class::ALL
        .into_iter()
        .zip(granted)
        .filter(|&(_, ns)| ns > 0)
        .map(|(class, ns)| (class.name(), ns as f64 / all as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcsp_core::share::files::OwnPage;
    use fcsp_core::share::params::{Mode, Priority};

    fn share(at: u64, consumed: u64, waited: u64) -> ComputeUsage {
        ComputeUsage {
            look: Some(Look {
                at,
                consumed,
                surplus: 0,
                waited,
                classes: [0, consumed, 0, 100, 0, 0],
            }),
            ..ComputeUsage::default()
        }
    }

    #[test]
    fn parts_are_of_the_time_between_looks() {
        let mut later = share(3_000, 700, 900);
        later.compare(share(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(
            (later.utilization, later.throttled, later.interval_ns),
            (Some(0.25), Some(0.5), Some(1_000))
        );
        assert_eq!(later.mix, BTreeMap::from([("attention", 1.0)]));
        let mut corrected = share(3_000, 400, 400);
        corrected.compare(share(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(corrected.utilization, Some(0.0));
        // One process cannot wait longer than the time that passed.
        let mut long = share(3_000, 700, 4_000);
        long.compare(share(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(long.throttled, Some(1.0));
    }

    #[test]
    fn what_is_not_counted_is_not_none() {
        let without = |at, consumed, waited| ComputeUsage {
            promise: Params::default().into(),
            ..share(at, consumed, waited)
        };
        let mut idle = without(3_000, 450, 400);
        idle.compare(without(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(
            (idle.utilization, idle.throttled, idle.surplus),
            (None, None, None)
        );
        let mut counted = without(3_000, 700, 400);
        counted.compare(without(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(
            (counted.utilization, counted.throttled),
            (Some(0.25), Some(0.0))
        );
    }

    #[test]
    fn a_page_is_read_with_what_the_limits_say() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let device = DeviceUuid([3; 16]);
        let none = Path::new("/nonexistent");
        assert_eq!(
            ComputeUsage::read(&state, &device, "a", none, Some(None)),
            None
        );
        let page = OwnPage::open(&state, &device, "a").unwrap();
        let now = monotonic_ns();
        let params = Params::strict(250_000).with_priority(Priority::Low);
        page.page().attach(&params, now).unwrap();
        page.page().count(5_000_000);
        page.page().count_class(Class::Gemm, 4_000_000);
        page.page().count_class(Class::Collective, 1_000_000);
        page.page()
            .lean(fcsp_core::share::mix::Sensitivity::Throughput);
        page.page().submitted(60_000_000_000, now);
        page.page().waits(now - 1_000);
        let read = ComputeUsage::read(&state, &device, "a", none, None).unwrap();
        assert_eq!(
            (
                read.promise.guarantee,
                read.promise.mode.as_deref(),
                read.promise.priority.as_deref()
            ),
            (Some(0.25), Some("strict"), Some("low"))
        );
        assert_eq!(read.consumed_ns, 5_000_000);
        assert_eq!(
            read.mix,
            BTreeMap::from([("collective", 0.2), ("gemm", 0.8)])
        );
        assert_eq!(read.sensitivity, Some("throughput"));
        assert!(read.in_flight_ns > 1_000_000_000);
        assert!(
            read.look.unwrap().waited >= 1_000,
            "a wait that has not ended counts"
        );
        let changed = Params::balanced(500_000).with_mode(Mode::Adaptive);
        let read = ComputeUsage::read(&state, &device, "a", none, Some(Some(changed))).unwrap();
        assert_eq!(
            (read.promise.guarantee, read.promise.mode.as_deref()),
            (Some(0.5), Some("adaptive"))
        );
        assert_eq!(
            ComputeUsage::read(&state, &device, "a", none, Some(None))
                .unwrap()
                .promise
                .guarantee,
            None
        );
    }
}
