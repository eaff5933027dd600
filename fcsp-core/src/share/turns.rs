//! Taking turns with a neighbour whose host does most of the work.
//!
//! Such a neighbour (an eager decode loop, say) submits small kernels for a while, waits for the
//! last of them, and begins the next step. Beside a tenant that always has work, the device's own
//! slices make each of its steps as long as a slice of the other and more; and giving the other one
//! short kernel at a time costs a switch of contexts for every one of them, which took two thirds
//! of an H100. But a step needs its results only when it ends. So the other takes a turn in one
//! piece when a step begins, while what the neighbour submits queues up, and stands back until the
//! step has ended: one switch there and one back for each step. On an H100
//! (docs/results/h100-2026-11-23-turns.json), beside a loop of 108 kernels of 4.5 us in steps of
//! 2.15 ms: slices give the loop 0.73 of its speed and a matmul 0.74 of the device; one kernel in
//! flight 0.88 and 0.32; turns of 1.2 ms 1.00 and 0.57, turns of 1.6 ms 0.92 and 0.68.
//!
//! A turn is as long as fits beside the neighbour's own work into a twentieth more than its step
//! takes anyway, counting two switches more where the device cannot be had in one piece for so
//! long, and at least the tenant's quota of the time from turn to turn, less the margin once its
//! tokens are spent. What the neighbour says of its steps decides nothing else, so a lie costs this
//! tenant no more of its guarantee than the margin.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::share::page::View;
use crate::units::{Ppm, WHOLE};

/// Two switches between contexts, there and back, ns: what a turn costs (the same record).
pub const SWITCHES_NS: u64 = 250_000;
/// A turn longer than this does not stay in one piece, ns: the device's own slices give the
/// neighbour's kernels a place in it, for two switches more
/// (docs/results/h200-2026-11-29-turns.json: six kernels of 0.17 ms leave the loop 1.00 of its
/// speed, eight 0.93).
pub const ONE_PIECE_NS: u64 = 1_200_000;
/// Steps of less host time than this are not worth two switches, ns.
pub const SHORTEST_NS: u64 = 400_000;
/// Steps among which the shortest is looked for.
const STEPS: u64 = 64;
/// Nobody stands back for steps longer than this, ns.
pub const LONGEST_NS: u64 = 20_000_000;
/// What a step may be lengthened by, percent.
const PATIENCE: u64 = 5;
/// For how long a turn that was longer than it should have been is made up for, ns.
const DEBT_NS: u64 = 500_000_000;
/// Beyond twice the time that a step should take, this much later the next turn begins whatever the
/// neighbour says, ns.
const OVERTIME_NS: u64 = 2_000_000;

/// How a tenant's steps divide: from the host's return from one wait for the device to its return
/// from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Time in which the host did not wait for the device, ns.
    pub host: u64,
    /// GPU time charged, ns.
    pub gpu: u64,
}

impl Pace {
    /// As a word of a page: both in 32 bits, which holds four seconds.
    pub fn word(self) -> u64 {
        let bits = |ns: u64| ns.min(u64::from(u32::MAX));
        bits(self.host) << 32 | bits(self.gpu)
    }

    /// Of a word of a page.
    pub fn from_word(word: u64) -> Self {
        Self {
            host: word >> 32,
            gpu: word & u64::from(u32::MAX),
        }
    }

    /// Whether the host does most of the work, in steps that turns can be taken with.
    pub fn is_hosts(self) -> bool {
        (SHORTEST_NS..LONGEST_NS).contains(&self.host)
            && self.gpu > 0
            && self.gpu < self.host / 4 * 3
    }

    /// The mean of this, seven parts, and one more step.
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

/// Measures this process's own steps. Threads that wait for the device at once blur it, and harm
/// nothing else.
///
/// A host is slower beside others that make its steps longer: were turns as long as there is room
/// for in the steps seen beside them, longer turns would make longer turns. So no step counts for
/// more than the shortest of the last 64 to 128.
#[derive(Debug, Default)]
pub struct Meter {
    /// Since when the host has worked; 0 while it stands.
    since: AtomicU64,
    host: AtomicU64,
    launched: AtomicU64,
    ends: AtomicBool,
    pace: AtomicU64,
    steps: AtomicU64,
    /// The host's part of the shortest step worth a turn, ns: of the last [`STEPS`] counted, and
    /// since; 0 for none.
    least: AtomicU64,
    least_now: AtomicU64,
}

fn lesser(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, x) | (x, 0) => x,
        (a, b) => a.min(b),
    }
}

impl Meter {
    /// The host stands from `now` on; because the program waits for the device, if `ends`: then a
    /// step ends with it.
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

    /// A launch that has stood at the gate for `ns` goes on: that was no work of the host's.
    pub fn waited(&self, ns: u64) {
        let since = self.since.load(Ordering::Relaxed);
        if since != 0 {
            // As if the host had gone on that much later.
            self.since.store(since + ns, Ordering::Relaxed);
        }
    }

    /// The host works at `now`, with `launched` ns of GPU time submitted so far; what to say of the
    /// pace from now on, if a step has ended.
    pub fn goes_on(&self, now: u64, launched: u64) -> Option<Pace> {
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
        let pace = self.pace().with(Pace { host, gpu });
        self.pace.store(pace.word(), Ordering::Relaxed);
        Some(self.bounded(pace, host))
    }

    /// `pace` with no more of the host's time than the shortest steps have, of which `host` may be
    /// one.
    fn bounded(&self, pace: Pace, host: u64) -> Pace {
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
            least => Pace {
                host: pace.host.min(least),
                ..pace
            },
        }
    }

    /// The mean of the steps as measured.
    pub fn pace(&self) -> Pace {
        Pace::from_word(self.pace.load(Ordering::Relaxed))
    }
}

/// A turn of this process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// When the neighbour's step began that it was taken in; 0 for none.
    pub step: u64,
    /// When it began.
    pub began: u64,
    /// GPU time left of it, ns.
    pub left: i64,
}

/// [`Turn`], shared by a process's threads. Each word stands alone; a mixture of two turns is a
/// turn.
#[derive(Debug, Default)]
pub struct Turns {
    step: AtomicU64,
    began: AtomicU64,
    left: AtomicI64,
}

impl Turns {
    /// As it stands.
    pub fn now(&self) -> Turn {
        Turn {
            step: self.step.load(Ordering::Relaxed),
            began: self.began.load(Ordering::Relaxed),
            left: self.left.load(Ordering::Relaxed),
        }
    }

    /// Goes on with `turn`, of which `granted` ns are used.
    pub fn take(&self, turn: Turn, granted: u64) {
        self.step.store(turn.step, Ordering::Relaxed);
        self.began.store(turn.began, Ordering::Relaxed);
        self.left.store(
            turn.left
                .saturating_sub_unsigned(granted.min(i64::MAX as u64)),
            Ordering::Relaxed,
        );
    }
}

/// What there is to take turns with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// When the last step began.
    began: u64,
    /// The pace: of several neighbours the shortest steps, and the work of all.
    pace: Pace,
    /// How many others take turns as well.
    others: u64,
}

impl Steps {
    /// The steps of those among the `neighbours` that are `partner`s.
    pub fn of<'v>(
        neighbours: impl Iterator<Item = &'v View>,
        partner: impl Fn(&View) -> bool,
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
                pace: Pace {
                    host: u64::MAX,
                    gpu: 0,
                },
                others: 0,
            });
            steps = Some(Self {
                began: so_far.began.max(n.pressed_at),
                pace: Pace {
                    host: so_far.pace.host.min(n.pace.host),
                    gpu: so_far.pace.gpu + n.pace.gpu,
                },
                others: 0,
            });
        }
        steps.map(|steps| Self { others, ..steps })
    }

    /// The turn to go on with at `now`: the last one while something is left of it, a new one if a
    /// step has begun since; `None` if there is nothing but to wait. `least` is the part of the
    /// time that this tenant takes whatever the steps are.
    pub fn turn(&self, last: Turn, least: Ppm, now: u64) -> Option<Turn> {
        let step = self.pace.host + self.pace.gpu;
        let late = 2 * step + OVERTIME_NS;
        if last.step == self.began && now < last.began + late {
            return (last.left > 0).then_some(last);
        }
        // A tenant back from something else has taken no turn lately; one in debt works it off
        // however long that takes.
        let since = now.saturating_sub(last.began);
        let in_debt = last.left < 0;
        let stretched = self.pace.host + self.pace.host * PATIENCE / 100;
        let room = stretched.saturating_sub(self.pace.gpu + SWITCHES_NS);
        let room = room.min(ONE_PIECE_NS.max(room.saturating_sub(SWITCHES_NS))) / (self.others + 1);
        let part = |since: u64, of: u64, whole: u64| {
            let since = since.min(if in_debt { DEBT_NS } else { late });
            (u128::from(since) * u128::from(of) / u128::from(whole)) as i64
        };
        // The room of one step, however long that has become: longer turns would make it longer
        // still.
        let steps = if in_debt { since } else { since.min(stretched) };
        let earned =
            part(steps, room, stretched.max(1)).max(part(since, least.into(), WHOLE.into()));
        let left = earned.saturating_add(last.left.min(0));
        (left > 0).then_some(Turn {
            step: self.began,
            began: now,
            left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOP: Pace = Pace {
        host: 2_150_000,
        gpu: 486_000,
    };

    fn steps(began: u64) -> Steps {
        Steps {
            began,
            pace: LOOP,
            others: 0,
        }
    }

    #[test]
    fn a_word_holds_a_pace() {
        assert_eq!(Pace::from_word(LOOP.word()), LOOP);
        assert_eq!(Pace::from_word(0), Pace::default());
        assert!(LOOP.is_hosts() && !Pace::default().is_hosts());
        let graph = Pace {
            host: 20_000,
            gpu: 480_000,
        };
        assert!(!graph.is_hosts(), "the device does it");
    }

    #[test]
    fn a_step_is_measured_from_return_to_return() {
        let meter = Meter::default();
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
        let Pace { host, gpu } = meter.pace();
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
        let (meter, mut now, mut launched) = (Meter::default(), 1_000_000_000, 0);
        let mut said = Pace::default();
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
        let turns = Turns::default();
        let last = Turn {
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
        let liar = Steps {
            began: 1,
            pace: Pace {
                host: 500_000,
                gpu: 370_000,
            },
            others: 0,
        };
        let turns = Turns::default();
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
        let two = Steps {
            others: 1,
            ..steps(5_000_000)
        };
        let last = Turn {
            step: 1,
            began: 2_752_500,
            left: 0,
        };
        let turn = two.turn(last, 0, 5_010_000).unwrap();
        assert_eq!(turn.left, 1_271_500 / 2);
    }
}
