//! Kernels that wait for other ranks under a name that no list has: the gate may hold them back,
//! for a bounded time, counted and visible.
//!
//! Two ranks, each a tenant with a device of its own. Each step launches `receive`, which ends
//! when the peer's `send` has run, and then `send` on another queue. A gate that kept `send` back
//! until `receive` has left the device would stop both ranks for good.

use fcsp_core::share::bucket::{MAX_DEBT_NS, wall_of};
use fcsp_core::share::gate::{Gate, Marker, OVERDUE_NS, STUCK_NS, Verdict};
use fcsp_core::share::page::TenantPage;
use fcsp_core::share::params::Params;

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
    receives: Vec<Marker>,
    retired: usize,
}

impl<'p> Rank<'p> {
    fn new(page: &'p TenantPage, params: Params) -> Self {
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
            Verdict::Go { .. } | Verdict::LetOne => {
                if let Some(since) = self.waiting_since.take() {
                    self.longest_wait = self.longest_wait.max(self.now - since);
                }
                if self.launched.is_multiple_of(2) {
                    self.receives.push(self.gate.mark());
                }
                self.launched += 1;
                self.now += 10_000;
            }
            Verdict::Wait { until, .. } => {
                self.waiting_since.get_or_insert(self.now);
                self.now = until.max(self.now + 1);
            }
            Verdict::Drain { .. } => {
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

/// Runs all steps; returns the longest wait of a launch of each rank, ns, and its count of
/// launches that a deadline let through.
fn run(first: Params, second: Params) -> [(u64, u64); 2] {
    let pages = [TenantPage::new(), TenantPage::new()];
    let mut ranks = [Rank::new(&pages[0], first), Rank::new(&pages[1], second)];
    for turn in 0.. {
        assert!(turn < 1_000_000, "the ranks wait for each other");
        // The earlier of those that are not done asks next.
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
    [0, 1].map(|i| (ranks[i].longest_wait, pages[i].counters().let_through))
}

/// The longest that the gate may hold such a launch back under `quota`, ns: until its debt is
/// paid or until the device counts as stuck, and one more recheck.
fn bound(quota: u32) -> u64 {
    MAX_DEBT_NS + OVERDUE_NS + STUCK_NS + wall_of(2 * COST_NS, quota) + 30_000_000
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
            assert!(longest <= bound(params.quota), "{longest} ns with {params:?}");
        }
        let late: u64 = outcome.iter().map(|&(_, late)| late).sum();
        assert!(late > 0, "nothing was counted with {first:?} and {second:?}");
    }
}
