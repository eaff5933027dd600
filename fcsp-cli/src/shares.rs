//! A tenant's share of a device's time from outside: what it was promised, and what it had between
//! two looks at the page that it publishes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use fcsp_core::classify::Class;
use fcsp_core::device::DeviceUuid;
use fcsp_core::file::monotonic_ns;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::share::files::{self, Apart};
use fcsp_core::share::params::Params;
use fcsp_core::state::StateDir;
use serde::Serialize;

use super::rules::Promise;
use super::tenants::TenantView;

/// How far apart the two looks of a single listing are: some hundred slices of credit.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// What a live picture averages over: long enough to read, short enough to see a change.
const SPAN_NS: u64 = 1_000_000_000;

/// A tenant's share of one device. Parts are fractions of the time between two looks, `None` after
/// one look only.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Share {
    /// What was promised, where anything was. The tenant's page tells quota, mode, priority and
    /// weight only.
    #[serde(flatten)]
    pub promise: Promise,
    /// GPU time charged, per time passed.
    pub had: Option<f64>,
    /// The part of it that others left over.
    pub borrowed: Option<f64>,
    /// Time launches stood at the gate, per time passed; each process counts for itself, at most 1.
    pub throttled: Option<f64>,
    /// Time between the two looks, ns.
    pub interval_ns: Option<u64>,
    /// GPU time submitted and not known to be done, ns, as long as it would take on a device of its
    /// own.
    pub in_flight_ns: u64,
    /// GPU time charged since the tenant was set up, ns.
    pub consumed_ns: u64,
    /// Launches that stood at the gate.
    pub waits: u64,
    /// Launches that went because a deadline passed.
    pub let_through: u64,
    /// What GPU time went into, by class of work: parts of what was granted between two looks, or
    /// since the tenant was set up if there was nothing between them. A sample.
    pub mix: BTreeMap<&'static str, f64>,
    /// Which way the work leans, which the adaptive mode goes by: latency, throughput or none.
    pub leaning: Option<&'static str>,
    /// The reason why the share is kept without regard to the device's other tenants, if it is.
    pub not_coordinated: Option<&'static str>,
    /// Whether a launch stands at the gate now.
    #[serde(skip)]
    pub(super) standing: bool,
    #[serde(skip)]
    pub(super) look: Option<Look>,
    /// What part of the device the time is of: less than 1 for a tenant with compute units of its
    /// own.
    #[serde(skip)]
    pub part: f64,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            promise: Promise::default(),
            had: None,
            borrowed: None,
            throttled: None,
            interval_ns: None,
            in_flight_ns: 0,
            consumed_ns: 0,
            waits: 0,
            let_through: 0,
            mix: BTreeMap::new(),
            leaning: None,
            not_coordinated: None,
            standing: false,
            look: None,
            part: 1.0,
        }
    }
}

/// What the page's counters said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    at: u64,
    consumed: u64,
    surplus: u64,
    waited: u64,
    classes: [u64; Class::ALL.len()],
}

impl Share {
    /// Reads the tenant's page for the device, and puts beside it the share that its limits
    /// promise: `None` where the limits cannot say it from outside, `Some(None)` where they promise
    /// none. Nothing where there is neither.
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
                pool: None,
                burst: None,
                weight: Some(s.view.weight),
                ..Params::balanced(s.view.quota)
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
            share.let_through = counters.let_through;
            share.look = Some(Look {
                at: now,
                consumed: counters.consumed,
                surplus: counters.surplus,
                waited: counters.waited.saturating_add(standing),
                classes: counters.classes,
            });
            share.mix = mix(counters.classes);
            share.leaning = Some(view.leaning.name());
        }
        Some(share)
    }

    /// Whether there is a share to keep.
    fn is_kept(&self) -> bool {
        self.promise
            .mode
            .as_deref()
            .is_some_and(|mode| mode != "none")
    }

    /// Enters what happened since `before`; `living` is the number of processes, each of which can
    /// wait once at a time.
    fn compare(&mut self, before: Look, living: usize) {
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
        self.had = of_device(part(now.consumed, before.consumed));
        self.borrowed = of_device(part(now.surplus, before.surplus));
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

/// The tenant's page, and since when launches of its living processes stand at their gates, of one
/// moment: a wait that ends between the two would be counted twice or not at all.
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

/// Remembers looks, to say what happened between them.
#[derive(Debug, Default)]
pub struct Sampler {
    looks: HashMap<(String, String), VecDeque<Look>>,
}

impl Sampler {
    /// Enters what each share has had since the look about [`SPAN_NS`] ago, or since the first one
    /// if that is later.
    pub fn compare(&mut self, tenants: &mut [TenantView]) {
        let mut known = std::mem::take(&mut self.looks);
        for tenant in tenants {
            for device in &mut tenant.devices {
                let living = device.living;
                let Some(share) = &mut device.compute else {
                    continue;
                };
                let Some(look) = share.look.filter(|_| living > 0) else {
                    continue;
                };
                let key = (tenant.name.clone(), device.region.uuid.clone());
                let mut looks = known.remove(&key).unwrap_or_default();
                while looks
                    .get(1)
                    .is_some_and(|second| look.at.saturating_sub(second.at) >= SPAN_NS)
                {
                    looks.pop_front();
                }
                if let Some(&before) = looks.front() {
                    share.compare(before, living);
                }
                looks.push_back(look);
                self.looks.insert(key, looks);
            }
        }
    }
}

/// The parts of what was granted.
fn mix(granted: [u64; Class::ALL.len()]) -> BTreeMap<&'static str, f64> {
    let all: u64 = granted.iter().fold(0, |sum, ns| sum.saturating_add(*ns));
    Class::ALL
        .into_iter()
        .zip(granted)
        .filter(|&(_, ns)| ns > 0)
        .map(|(class, ns)| (class.name(), ns as f64 / all as f64))
        .collect()
}

/// The largest parts of a mix for people, the greatest first, in at most `most` words.
pub fn mostly(mix: &BTreeMap<&'static str, f64>, most: usize) -> String {
    let mut parts: Vec<_> = mix.iter().filter(|&(_, &part)| part >= 0.01).collect();
    parts.sort_by(|a, b| b.1.total_cmp(a.1));
    let words: Vec<String> = parts
        .into_iter()
        .take(most)
        .map(|(name, part)| format!("{} {:.0}%", name.replace('_', "-"), part * 100.0))
        .collect();
    if words.is_empty() {
        "-".into()
    } else {
        words.join(" ")
    }
}

/// A part of the time for people; "-" of nothing.
pub fn percent(part: Option<f64>) -> String {
    part.map_or("-".into(), |part| format!("{:.0}%", part * 100.0))
}

/// A length of GPU time for people, in at most six characters.
pub fn time(ns: u64) -> String {
    match ns {
        0 => "-".into(),
        1..1_000 => "<1us".into(),
        1_000..1_000_000 => format!("{}us", ns / 1_000),
        1_000_000..100_000_000 => format!("{:.1}ms", ns as f64 / 1e6),
        100_000_000..10_000_000_000 => format!("{}ms", ns / 1_000_000),
        _ => format!("{}s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcsp_core::share::files::OwnPage;
    use fcsp_core::share::params::{Mode, Priority};

    fn share(at: u64, consumed: u64, waited: u64) -> Share {
        Share {
            look: Some(Look {
                at,
                consumed,
                surplus: 0,
                waited,
                classes: [0, consumed, 0, 100, 0, 0],
            }),
            ..Share::default()
        }
    }

    #[test]
    fn parts_are_of_the_time_between_looks() {
        let mut later = share(3_000, 700, 900);
        later.compare(share(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(
            (later.had, later.throttled, later.interval_ns),
            (Some(0.25), Some(0.5), Some(1_000))
        );
        assert_eq!(later.mix, BTreeMap::from([("attention", 1.0)]));
        assert_eq!(mostly(&later.mix, 2), "attention 100%");
        assert_eq!(mostly(&BTreeMap::new(), 2), "-");
        let three = BTreeMap::from([("gemm", 0.6), ("memory_bound", 0.3), ("copy", 0.1)]);
        assert_eq!(mostly(&three, 2), "gemm 60% memory-bound 30%");
        let mut corrected = share(3_000, 400, 400);
        corrected.compare(share(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(corrected.had, Some(0.0));
        // One process cannot wait longer than the time that passed.
        let mut long = share(3_000, 700, 4_000);
        long.compare(share(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(long.throttled, Some(1.0));
    }

    #[test]
    fn what_is_not_counted_is_not_none() {
        let without = |at, consumed, waited| Share {
            promise: Params::default().into(),
            ..share(at, consumed, waited)
        };
        let mut idle = without(3_000, 450, 400);
        idle.compare(without(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!(
            (idle.had, idle.throttled, idle.borrowed),
            (None, None, None)
        );
        let mut counted = without(3_000, 700, 400);
        counted.compare(without(2_000, 450, 400).look.unwrap(), 1);
        assert_eq!((counted.had, counted.throttled), (Some(0.25), Some(0.0)));
    }

    #[test]
    fn a_page_is_read_with_what_the_limits_say() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let device = DeviceUuid([3; 16]);
        let none = Path::new("/nonexistent");
        assert_eq!(Share::read(&state, &device, "a", none, Some(None)), None);
        let page = OwnPage::open(&state, &device, "a").unwrap();
        let now = monotonic_ns();
        let params = Params::strict(250_000).with_priority(Priority::Low);
        page.page().attach(&params, now).unwrap();
        page.page().count(5_000_000);
        page.page().count_class(Class::Gemm, 4_000_000);
        page.page().count_class(Class::Collective, 1_000_000);
        page.page().lean(fcsp_core::share::mix::Leaning::Throughput);
        page.page().submitted(60_000_000_000, now);
        page.page().waits(now - 1_000);
        let read = Share::read(&state, &device, "a", none, None).unwrap();
        assert_eq!(
            (
                read.promise.quota,
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
        assert_eq!(read.leaning, Some("throughput"));
        assert!(read.in_flight_ns > 1_000_000_000);
        assert!(
            read.look.unwrap().waited >= 1_000,
            "a wait that has not ended counts"
        );
        let changed = Params::balanced(500_000).with_mode(Mode::Adaptive);
        let read = Share::read(&state, &device, "a", none, Some(Some(changed))).unwrap();
        assert_eq!(
            (read.promise.quota, read.promise.mode.as_deref()),
            (Some(0.5), Some("adaptive"))
        );
        assert_eq!(
            Share::read(&state, &device, "a", none, Some(None))
                .unwrap()
                .promise
                .quota,
            None
        );
    }

    #[test]
    fn times_are_short() {
        for (ns, text) in [
            (0, "-"),
            (900, "<1us"),
            (42_000, "42us"),
            (1_500_000, "1.5ms"),
            (250_000_000, "250ms"),
            (9_999_000_000, "9999ms"),
            (61_000_000_000, "61s"),
        ] {
            assert_eq!(time(ns), text);
            assert!(text.len() <= 6);
        }
    }
}
