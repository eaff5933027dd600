//! Kernels that wait for other ranks under a name that no list has. The gate may delay them for a
//! bounded time, counted and visible.
//!
//! Two ranks are tenants with a device each. Each step launches `receive`, which ends when the
//! peer's `send` has run, and then `send` on another queue. A gate that delayed `send` until
//! `receive` has left the device would stop both ranks permanently.

use fcsp_core::classify::Class;
use fcsp_core::share::claim_page::ClaimPage;
use fcsp_core::share::gate::{Gate, GateAdmission, OVERDUE_NS, Position, STUCK_NS};
use fcsp_core::share::params::{Mode, Params};
use fcsp_core::share::token_bucket::{MAX_DEBT_NS, gpu_to_wall_ns};

const T0: u64 = 1 << 40;
/// The charge for one kernel, ns: long enough for two of them to pass the depth of a queue.
const COST_NS: u64 = 5_000_000;
const STEPS: usize = 40;

struct Rank<'p> {
    gate: Gate<'p>,
    now: u64,
    /// Launches so far: `receive` of step n is number 2n, `send` is 2n + 1.
    launched: usize,
    waiting_since: Option<u64>,
    longest_wait: u64,
    /// The position after each step's `receive`, not yet retired.
    receives: Vec<Position>,
    retired: usize,
}

impl<'p> Rank<'p> {
    fn new(page: &'p ClaimPage, params: Params) -> Self {
        Self {
            gate: Gate::new(page, params, T0).unwrap(),
            now: T0,
            launched: 0,
            waiting_since: None,
            longest_wait: 0,
            receives: Vec::new(),
            retired: 0,
        }
    }

    /// Asks the gate once for the next launch. Time moves on where the answer is to wait.
    fn ask(&mut self) {
        match self.gate.acquire(COST_NS, self.now, &[]) {
            GateAdmission::Go { .. } | GateAdmission::Forced => {
                if let Some(since) = self.waiting_since.take() {
                    self.longest_wait = self.longest_wait.max(self.now - since);
                }
                if self.launched.is_multiple_of(2) {
                    self.receives.push(self.gate.mark());
                }
                self.launched += 1;
                self.now += 10_000;
            }
            GateAdmission::Wait { until, .. } => {
                self.waiting_since.get_or_insert(self.now);
                self.now = until.max(self.now + 1);
            }
            GateAdmission::Drain { .. } => {
                self.waiting_since.get_or_insert(self.now);
                self.now += 2_000_000;
            }
        }
    }

    /// Retires the steps whose `receive` the peer's `send` has ended.
    fn retire(&mut self, sent_by_peer: usize, at: u64) {
        while self.retired < self.receives.len() && self.retired < sent_by_peer {
            self.now = self.now.max(at);
            self.gate.retire(self.receives[self.retired], self.now);
            self.retired += 1;
        }
    }
}

/// Runs all steps. Returns the longest wait of a launch of each rank, ns, and its number of forced
/// admissions.
fn run(first: Params, second: Params) -> [(u64, u64); 2] {
    let pages = [ClaimPage::new(), ClaimPage::new()];
    let mut ranks = [Rank::new(&pages[0], first), Rank::new(&pages[1], second)];
    for turn in 0.. {
        assert!(turn < 1_000_000, "the ranks wait for each other");
        // Of the ranks with steps left, the earlier one asks next.
        let Some(next) = (0..2)
            .filter(|&i| ranks[i].launched < 2 * STEPS)
            .min_by_key(|&i| ranks[i].now)
        else {
            break;
        };
        ranks[next].ask();
        let sent = ranks[next].launched / 2;
        let at = ranks[next].now;
        ranks[1 - next].retire(sent, at);
        let back = ranks[1 - next].launched / 2;
        ranks[next].retire(back, at);
    }
    [0, 1].map(|i| (ranks[i].longest_wait, pages[i].counters().forced_admissions))
}

/// Returns the longest delay of such a launch under `quota`, ns: until its debt is paid or until
/// the device counts as stuck, and one more recheck.
fn bound(quota: u32) -> u64 {
    MAX_DEBT_NS + OVERDUE_NS + STUCK_NS + gpu_to_wall_ns(2 * COST_NS, quota) + 30_000_000
}

#[test]
fn ranks_that_wait_for_each_other_go_on_and_are_counted() {
    for (first, second) in [
        (Params::strict(50_000), Params::strict(50_000)),
        (Params::strict(50_000), Params::balanced(500_000)),
        (Params::strict(250_000), Params::strict(750_000)),
        (Params::balanced(100_000), Params::balanced(900_000)),
    ] {
        let outcome = run(first, second);
        for ((longest, _), params) in outcome.into_iter().zip([first, second]) {
            assert!(
                longest <= bound(params.guarantee),
                "{longest} ns with {params:?}"
            );
        }
        let late: u64 = outcome.iter().map(|&(_, late)| late).sum();
        assert!(
            late > 0,
            "nothing was counted with {first:?} and {second:?}"
        );
    }
}

/// Ranks in a ring, each with a device of its own. Every step launches work and then a collective,
/// which ends on every device when all ranks have launched theirs.
struct Ring<'p> {
    ranks: Vec<Member<'p>>,
}

struct Member<'p> {
    gate: Gate<'p>,
    now: u64,
    /// Launches so far: the work of step n is number 2n, its collective 2n + 1.
    launched: usize,
    /// Instant at which each collective was launched, and the position after it.
    collectives: Vec<(u64, Position)>,
    retired: usize,
    asked: Option<u64>,
    longest_wait: u64,
}

/// Manner in which the collectives are known.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    /// By name, in a process with signs of ranks.
    Ranks,
    /// By name alone.
    Named,
    /// Not at all.
    Unknown,
}

const WORK_NS: u64 = 400_000;
const RING_COST_NS: u64 = 300_000;
const RING_STEPS: usize = 200;

impl Member<'_> {
    fn ask(&mut self, known: Known) {
        let collective = self.launched % 2 == 1;
        let cost = if collective { RING_COST_NS } else { WORK_NS };
        let class = if collective && known != Known::Unknown {
            Class::Collective
        } else {
            Class::Other
        };
        let verdict = if self.gate.admit(cost) {
            GateAdmission::Go { marker: false }
        } else {
            self.gate.acquire_as(class, cost, self.now, &[])
        };
        match verdict {
            GateAdmission::Go { .. } | GateAdmission::Forced => {
                let since = self.asked.take().unwrap_or(self.now);
                self.longest_wait = self.longest_wait.max(self.now - since);
                self.launched += 1;
                self.now += 10_000;
                if collective {
                    self.collectives.push((self.now, self.gate.mark()));
                }
            }
            GateAdmission::Wait { until, .. } => {
                self.asked.get_or_insert(self.now);
                self.now = until.max(self.now + 1);
            }
            GateAdmission::Drain { .. } => {
                self.asked.get_or_insert(self.now);
                self.now += 200_000;
            }
        }
    }
}

impl Ring<'_> {
    /// Ends the collectives that all ranks have launched.
    fn retire(&mut self) {
        let done = self
            .ranks
            .iter()
            .map(|rank| rank.collectives.len())
            .min()
            .unwrap_or(0);
        for step in 0..done {
            let ends = self
                .ranks
                .iter()
                .map(|rank| rank.collectives[step].0)
                .max()
                .unwrap_or(0)
                + RING_COST_NS;
            for rank in &mut self.ranks {
                if rank.retired == step && rank.now >= ends {
                    rank.gate.retire(rank.collectives[step].1, rank.now);
                    rank.retired += 1;
                }
            }
        }
    }

    fn run(&mut self, known: Known) {
        for turn in 0.. {
            assert!(turn < 10_000_000, "the ring stands");
            let next = (0..self.ranks.len())
                .filter(|&i| self.ranks[i].launched < 2 * RING_STEPS)
                .min_by_key(|&i| self.ranks[i].now);
            let Some(next) = next else { return };
            self.ranks[next].ask(known);
            self.retire();
        }
    }
}

/// Returns each rank's longest wait, its GPU time, the time it took, and its forced admissions.
fn ring(params: &[Params], known: Known) -> Vec<(u64, u64, u64, u64)> {
    let pages: Vec<ClaimPage> = params.iter().map(|_| ClaimPage::new()).collect();
    let ranks = pages
        .iter()
        .zip(params)
        .map(|(page, &params)| {
            let gate = Gate::new(page, params, T0).unwrap();
            gate.set_ranks(known == Known::Ranks);
            Member {
                gate,
                now: T0,
                launched: 0,
                collectives: Vec::new(),
                retired: 0,
                asked: None,
                longest_wait: 0,
            }
        })
        .collect();
    let mut ring = Ring { ranks };
    ring.run(known);
    ring.ranks
        .iter()
        .zip(&pages)
        .map(|(rank, page)| {
            let counters = page.counters();
            (
                rank.longest_wait,
                counters.consumed,
                rank.now - T0,
                counters.forced_admissions,
            )
        })
        .collect()
}

/// Checks that no ring stops, however its collectives are known, and that a strict rank has its
/// share.
#[test]
fn rings_go_on_and_a_strict_rank_has_its_share() {
    let mixed = [
        Params::strict(50_000),
        Params::balanced(500_000),
        Params::strict(250_000),
        Params::balanced(100_000),
    ];
    for known in [Known::Ranks, Known::Named, Known::Unknown] {
        for params in [&mixed[..2], &mixed[..], &[Params::strict(50_000); 8]] {
            let got = ring(params, known);
            for (rank, params) in got.iter().zip(params) {
                let (longest, consumed, took, _) = *rank;
                assert!(
                    longest <= bound(params.guarantee),
                    "{longest} ns with {params:?}"
                );
                let share = consumed as f64 / took as f64;
                if params.mode == Mode::Strict {
                    let quota = f64::from(params.guarantee) / 1e6;
                    // The first bucket full, and what may be owed, over the time.
                    assert!(
                        share <= quota + 0.02,
                        "{share:.3} of {params:?} in {took} ns"
                    );
                }
            }
        }
    }
}

/// Checks that a name alone lifts no share: the debt of work that goes first is bounded.
#[test]
fn kernels_named_as_collectives_have_the_share_and_no_more() {
    for ranks in [false, true] {
        for quota in [50_000, 100_000, 500_000] {
            let page = ClaimPage::new();
            let gate = Gate::new(&page, Params::strict(quota), T0).unwrap();
            gate.set_ranks(ranks);
            let (mut now, mut second, mut had) = (T0, 0u64, 0u64);
            while now < T0 + 6_000_000_000 {
                let go = gate.admit(102_000)
                    || match gate.acquire_as(Class::Collective, 102_000, now, &[]) {
                        GateAdmission::Go { .. } | GateAdmission::Forced => true,
                        GateAdmission::Wait { until, .. } => {
                            now = until.max(now + 1);
                            false
                        }
                        GateAdmission::Drain { .. } => {
                            now += 20_000;
                            false
                        }
                    };
                if go {
                    had += 102_000;
                    now += 102_000;
                    gate.drained(now);
                }
                if now >= T0 + (second + 1) * 1_000_000_000 {
                    let share = had as f64 / 1e9;
                    let expected = f64::from(quota) / 1e6;
                    assert!(
                        second == 0 || (share - expected).abs() <= 0.02,
                        "{share} of {expected}"
                    );
                    (second, had) = (second + 1, 0);
                }
            }
        }
    }
}
