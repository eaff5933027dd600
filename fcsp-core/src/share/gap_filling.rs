//! Gap filling: running one quantum when a host-bound neighbour begins a step, while its kernels
//! queue up, and yielding until the step has ended.
//!
//! A host-bound neighbour, such as an eager decode loop, submits small kernels for a while, waits
//! for the last of them, and begins the next step. Next to a tenant that always has work, the
//! device's own time slices lengthen each of its steps by a slice or more. Admitting one short
//! kernel of the other tenant at a time costs a context switch for every kernel, which took two
//! thirds of an H100.
//!
//! But a step needs its results only when it ends. So the device-bound tenant runs one contiguous
//! quantum when a step begins, while the neighbour's kernels queue up. It then yields until the
//! step has ended. Each step costs one switch there and one back.
//!
//! Figures of an H100 (docs/results/h100-2026-11-23-turns.json), next to a loop of 108 kernels of
//! 4.5 us in steps of 2.15 ms:
//!
//! | method | speed of the loop | part of the device for a matmul |
//! |---|---|---|
//! | the device's time slices | 0.73 | 0.74 |
//! | one kernel in flight | 0.88 | 0.32 |
//! | quanta of 1.2 ms | 1.00 | 0.57 |
//! | quanta of 1.6 ms | 0.92 | 0.68 |
//!
//! A quantum is as long as 1.05 times the neighbour's step, less the neighbour's own GPU time and
//! two context switches. Two more switches are subtracted beyond [`ONE_PIECE_NS`], where the
//! device's time slices divide the quantum. A quantum is never less than the tenant's share of the
//! time since the last one, less the margin once its tokens are spent. The neighbour's claims about
//! its steps decide nothing else. A false claim therefore costs this tenant no more of its
//! guarantee than the margin.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::share::claim_page::ClaimView;
use crate::units::{Ppm, WHOLE};

/// Two context switches, there and back, ns: the price of a quantum (the same record).
pub const SWITCHES_NS: u64 = 250_000;
/// Longest quantum that stays contiguous, ns.
///
/// In a longer one, the device's own time slices run the neighbour's kernels, for two switches more
/// (docs/results/h200-2026-11-29-turns.json). Six kernels of 0.17 ms leave the loop 1.00 of its
/// speed, eight leave 0.93.
pub const ONE_PIECE_NS: u64 = 1_200_000;
/// Least host time of a step whose gap is worth two switches, ns.
pub const SHORTEST_NS: u64 = 400_000;
/// Number of steps among which the shortest is sought.
const STEPS: u64 = 64;
/// Longest host time of a step for which a tenant yields, ns.
pub const LONGEST_NS: u64 = 20_000_000;
/// Part by which a step may be lengthened, percent.
const PATIENCE: u64 = 5;
/// Time for which a quantum that was too long is paid back, ns.
const DEBT_NS: u64 = 500_000_000;
/// Extra time after twice the expected step. The next quantum then begins whatever the neighbour
/// claims, ns.
const OVERTIME_NS: u64 = 2_000_000;

/// Step profile: host time and GPU time of a tenant's steps. A step lasts from the host's return
/// from one wait for the device to its return from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepProfile {
    /// Time in which the host did not wait for the device, ns.
    pub host: u64,
    /// GPU time charged, ns.
    pub gpu: u64,
}

impl StepProfile {
    /// Returns the profile as a word of a claim page: both times in 32 bits, which hold four
    /// seconds.
    pub fn word(self) -> u64 {
        let bits = |ns: u64| ns.min(u64::from(u32::MAX));
        bits(self.host) << 32 | bits(self.gpu)
    }

    /// Reads the profile from a word of a claim page.
    pub fn from_word(word: u64) -> Self {
        Self {
            host: word >> 32,
            gpu: word & u64::from(u32::MAX),
        }
    }

    /// Returns true if the tenant is host-bound, in steps whose gaps can be filled.
    pub fn is_host_bound(self) -> bool {
        (SHORTEST_NS..LONGEST_NS).contains(&self.host)
            && self.gpu > 0
            && self.gpu < self.host / 4 * 3
    }

    /// Returns the mean of this profile, seven parts, and one more step.
    fn with(self, step: Self) -> Self {
        if self == Self::default() {
            return step;
        }
        let mean = |old: u64, new: u64| (old * 7 + new) / 8;
        Self {
            host: mean(self.host, step.host),
            gpu: mean(self.gpu, step.gpu),
        }
    }
}

/// Profiler of this process's own steps. Threads that wait for the device at the same time blur it
/// and do no other harm. All words belong to the process, and any thread may change them.
///
/// Contention slows a host and lengthens the steps observed. Quanta sized by observed steps would
/// feed back on themselves: longer quanta would make longer quanta. The published host time is
/// therefore at most the least of the last 64 to 128 steps.
#[derive(Debug, Default)]
pub struct StepProfiler {
    /// Instant since which the host runs, ns; 0 while it waits.
    since: AtomicU64,
    /// Host time of the present step so far, ns.
    host: AtomicU64,
    /// GPU time submitted when the last step ended, ns.
    launched: AtomicU64,
    /// True if the host has waited for the device, so that the next launch ends the step.
    ends: AtomicBool,
    /// Mean of the steps as measured ([`StepProfile::word`]).
    pace: AtomicU64,
    /// Number of steps.
    steps: AtomicU64,
    /// Least host time of a step worth a quantum, ns; 0 for none. This is the least of the last
    /// [`STEPS`] that were counted.
    least: AtomicU64,
    /// The same for the steps counted since then.
    least_now: AtomicU64,
}

fn lesser(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, x) | (x, 0) => x,
        (a, b) => a.min(b),
    }
}

impl StepProfiler {
    /// Records that the host waits from `now` on. `ends` says that the program waits for the
    /// device, so that a step ends with it.
    pub fn stands(&self, now: u64, ends: bool) {
        // Relaxed throughout: numbers of one process, which guard no memory.
        let since = self.since.swap(0, Ordering::Relaxed);
        if since != 0 {
            self.host
                .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        }
        if ends {
            self.ends.store(true, Ordering::Relaxed);
        }
    }

    /// Records that a launch goes on after it waited at the gate for `ns`. That was no work of the
    /// host.
    pub fn waited(&self, ns: u64) {
        let since = self.since.load(Ordering::Relaxed);
        if since != 0 {
            // As if the host had gone on that much later.
            self.since.store(since + ns, Ordering::Relaxed);
        }
    }

    /// Records that the host runs at `now`, with `launched` ns of GPU time submitted so far. If a
    /// step has ended, returns the profile to publish.
    pub fn goes_on(&self, now: u64, launched: u64) -> Option<StepProfile> {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(now, Ordering::Relaxed);
        }
        if !self.ends.load(Ordering::Relaxed) || !self.ends.swap(false, Ordering::Relaxed) {
            return None;
        }
        let gpu = launched.saturating_sub(self.launched.load(Ordering::Relaxed));
        if gpu == 0 {
            // A second wait for the same work.
            return None;
        }
        self.launched.store(launched, Ordering::Relaxed);
        let host = self.host.swap(0, Ordering::Relaxed);
        let pace = self.pace().with(StepProfile { host, gpu });
        self.pace.store(pace.word(), Ordering::Relaxed);
        Some(self.bounded(pace, host))
    }

    /// Limits the host time of `pace` to the least host time of the last steps. `host` is the host
    /// time of the step that has just ended.
    fn bounded(&self, pace: StepProfile, host: u64) -> StepProfile {
        let mut now = self.least_now.load(Ordering::Relaxed);
        if host >= SHORTEST_NS {
            now = lesser(now, host);
        }
        if (self.steps.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(STEPS) {
            self.least.store(now, Ordering::Relaxed);
            self.least_now.store(0, Ordering::Relaxed);
        } else {
            self.least_now.store(now, Ordering::Relaxed);
        }
        match lesser(self.least.load(Ordering::Relaxed), now) {
            0 => pace,
            least => StepProfile {
                host: pace.host.min(least),
                ..pace
            },
        }
    }

    /// Returns the mean of the steps as measured.
    pub fn pace(&self) -> StepProfile {
        StepProfile::from_word(self.pace.load(Ordering::Relaxed))
    }
}

/// A quantum of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantum {
    /// Begin of the neighbour's step in which it was started, ns; 0 for none.
    pub step: u64,
    /// Begin of the quantum, ns.
    pub began: u64,
    /// GPU time left of it, ns. Negative after a quantum that was too long.
    pub left: i64,
}

/// The present [`Quantum`], shared by a process's threads. Each word is independent, and a mixture
/// of two quanta is a quantum.
#[derive(Debug, Default)]
pub struct Quanta {
    /// [`Quantum::step`].
    step: AtomicU64,
    /// [`Quantum::began`].
    began: AtomicU64,
    /// [`Quantum::left`].
    left: AtomicI64,
}

impl Quanta {
    /// Returns the present quantum.
    pub fn now(&self) -> Quantum {
        Quantum {
            step: self.step.load(Ordering::Relaxed),
            began: self.began.load(Ordering::Relaxed),
            left: self.left.load(Ordering::Relaxed),
        }
    }

    /// Continues `turn`, after a grant of `granted` ns.
    pub fn take(&self, turn: Quantum, granted: u64) {
        self.step.store(turn.step, Ordering::Relaxed);
        self.began.store(turn.began, Ordering::Relaxed);
        self.left.store(
            turn.left
                .saturating_sub_unsigned(granted.min(i64::MAX as u64)),
            Ordering::Relaxed,
        );
    }
}

/// Host-bound neighbours whose gaps can be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostBoundNeighbours {
    /// Begin of the last step, ns.
    began: u64,
    /// Common profile: the shortest host time of all, and the sum of their GPU times.
    pace: StepProfile,
    /// Number of other tenants that fill the same gaps.
    others: u64,
}

impl HostBoundNeighbours {
    /// Collects the steps of the `neighbours` for which `partner` holds. Returns `None` if there
    /// are none.
    pub fn of<'v>(
        neighbours: impl Iterator<Item = &'v ClaimView>,
        partner: impl Fn(&ClaimView) -> bool,
        now: u64,
    ) -> Option<Self> {
        let mut steps: Option<Self> = None;
        let mut others = 0;
        for n in neighbours {
            if !partner(n) {
                others += u64::from(n.active(now));
                continue;
            }
            let so_far = steps.unwrap_or(Self {
                began: 0,
                pace: StepProfile {
                    host: u64::MAX,
                    gpu: 0,
                },
                others: 0,
            });
            steps = Some(Self {
                began: so_far.began.max(n.pressed_at),
                pace: StepProfile {
                    host: so_far.pace.host.min(n.pace.host),
                    gpu: so_far.pace.gpu + n.pace.gpu,
                },
                others: 0,
            });
        }
        steps.map(|steps| Self { others, ..steps })
    }

    /// Returns the quantum to continue at `now`: the last one while time is left of it, or a new
    /// one if a step has begun since. Returns `None` if this tenant must wait. `least` is the part
    /// of the time that this tenant takes whatever the steps are.
    pub fn turn(&self, last: Quantum, least: Ppm, now: u64) -> Option<Quantum> {
        let step = self.pace.host + self.pace.gpu;
        let late = 2 * step + OVERTIME_NS;
        if last.step == self.began && now < last.began + late {
            return (last.left > 0).then_some(last);
        }
        // A tenant that returns from other work has had no quantum recently. A tenant in debt pays
        // it back, however long that takes.
        let since = now.saturating_sub(last.began);
        let in_debt = last.left < 0;
        let stretched = self.pace.host + self.pace.host * PATIENCE / 100;
        let room = stretched.saturating_sub(self.pace.gpu + SWITCHES_NS);
        let room = room.min(ONE_PIECE_NS.max(room.saturating_sub(SWITCHES_NS))) / (self.others + 1);
        let part = |since: u64, of: u64, whole: u64| {
            let since = since.min(if in_debt { DEBT_NS } else { late });
            (u128::from(since) * u128::from(of) / u128::from(whole)) as i64
        };
        // The gap of one step, however long that step has become: longer quanta would lengthen it
        // further.
        let steps = if in_debt { since } else { since.min(stretched) };
        let earned =
            part(steps, room, stretched.max(1)).max(part(since, least.into(), WHOLE.into()));
        let left = earned.saturating_add(last.left.min(0));
        (left > 0).then_some(Quantum {
            step: self.began,
            began: now,
            left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOP: StepProfile = StepProfile {
        host: 2_150_000,
        gpu: 486_000,
    };

    fn steps(began: u64) -> HostBoundNeighbours {
        HostBoundNeighbours {
            began,
            pace: LOOP,
            others: 0,
        }
    }

    #[test]
    fn a_word_holds_a_pace() {
        assert_eq!(StepProfile::from_word(LOOP.word()), LOOP);
        assert_eq!(StepProfile::from_word(0), StepProfile::default());
        assert!(LOOP.is_host_bound() && !StepProfile::default().is_host_bound());
        let graph = StepProfile {
            host: 20_000,
            gpu: 480_000,
        };
        assert!(!graph.is_host_bound(), "the device does it");
    }

    #[test]
    fn a_step_is_measured_from_return_to_return() {
        let meter = StepProfiler::default();
        assert_eq!(meter.goes_on(500_000, 10), None, "no step has ended");
        meter.stands(1_000_000, true);
        meter.goes_on(1_000_000, 10);
        for step in 1..=40u64 {
            // Half a millisecond of it at the gate, and as much for the gate.
            meter.waited(500_000);
            meter.stands(step * 3_000_000 - 500_000, false);
            assert_eq!(meter.goes_on(step * 3_000_000, 5), None);
            meter.stands(step * 3_000_000, true);
            assert!(
                meter
                    .goes_on(step * 3_000_000 + 1_000_000, 10 + step * 486_000)
                    .is_some()
            );
        }
        let StepProfile { host, gpu } = meter.pace();
        assert!((950_000..1_050_000).contains(&host), "{host}");
        assert!((480_000..490_000).contains(&gpu), "{gpu}");
        meter.stands(200_000_000, true);
        assert_eq!(
            meter.goes_on(201_000_000, 10 + 40 * 486_000),
            None,
            "nothing was submitted"
        );
    }

    #[test]
    fn steps_that_others_make_longer_count_as_the_shortest() {
        let (meter, mut now, mut launched) = (StepProfiler::default(), 1_000_000_000, 0);
        let mut said = StepProfile::default();
        meter.goes_on(now, 0);
        for step in 0..400u64 {
            // Alone at first, then beside another that makes all but a few of its steps half as
            // long again.
            now += if step < 100 || step % 50 == 0 {
                2_000_000
            } else {
                3_000_000
            };
            launched += 400_000;
            meter.stands(now, true);
            if let Some(pace) = meter.goes_on(now + 10_000, launched) {
                said = pace;
            }
            now += 10_000;
        }
        assert!((1_900_000..=2_100_000).contains(&said.host), "{said:?}");
        assert!(meter.pace().host > 2_800_000, "{:?}", meter.pace());
        // It really takes longer now.
        for _ in 0..130 {
            now += 3_000_000;
            launched += 400_000;
            meter.stands(now, true);
            if let Some(pace) = meter.goes_on(now + 10_000, launched) {
                said = pace;
            }
            now += 10_000;
        }
        assert!((2_900_000..=3_050_000).contains(&said.host), "{said:?}");
    }

    #[test]
    fn one_turn_a_step() {
        let turns = Quanta::default();
        let last = Quantum {
            step: 1,
            began: 2_752_500,
            left: 0,
        };
        let turn = steps(5_000_000).turn(last, 0, 5_010_000).unwrap();
        // Of 1.05 x 2.15 - 0.486 - 0.25 ms, and two switches more, in each 1.05 x 2.15 ms.
        assert_eq!(turn.left, 1_271_500);
        turns.take(turn, 1_000_000);
        let turn = steps(5_000_000).turn(turns.now(), 0, 5_100_000).unwrap();
        assert_eq!(turn.left, 271_500);
        turns.take(turn, 600_000);
        assert_eq!(steps(5_000_000).turn(turns.now(), 0, 6_000_000), None);
        let next = steps(7_267_500).turn(turns.now(), 0, 7_267_500).unwrap();
        assert_eq!(
            next.left,
            1_271_500 - 328_500,
            "less what the last one was too long"
        );
    }

    #[test]
    fn what_is_guaranteed_is_taken_whatever_the_steps_are() {
        // Steps that never end, and leave no room.
        let liar = HostBoundNeighbours {
            began: 1,
            pace: StepProfile {
                host: 500_000,
                gpu: 370_000,
            },
            others: 0,
        };
        let turns = Quanta::default();
        let (mut now, mut had) = (1_000_000_000, 0);
        let end = now + 1_000_000_000;
        while now < end {
            if let Some(turn) = liar.turn(turns.now(), 250_000, now) {
                had += 100_000;
                turns.take(turn, 100_000);
            }
            now += 100_000;
        }
        assert!(had >= 245_000_000, "{had}");
    }

    #[test]
    fn those_who_take_turns_at_once_share_the_room() {
        let two = HostBoundNeighbours {
            others: 1,
            ..steps(5_000_000)
        };
        let last = Quantum {
            step: 1,
            began: 2_752_500,
            left: 0,
        };
        let turn = two.turn(last, 0, 5_010_000).unwrap();
        assert_eq!(turn.left, 1_271_500 / 2);
    }
}
