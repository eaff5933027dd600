//! The simulation: hosts that run traces through the real gate and the real pages, over a simulated
//! device and clock.

mod host;
mod lies;
mod progress;
mod step;
mod tenant;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fcsp_core::share::claim_page::ClaimPage;
use fcsp_core::share::gate::{Gate, Position};
use fcsp_core::share::recent_average::RecentAverage;

use self::host::{Host, Parked};
pub use self::tenant::{Conduct, Outcome, Tenant};
use crate::device::{Device, Scheduling};
use crate::traces::Program;

pub const WINDOW: u64 = 10_000_000;

pub struct Sim<'p> {
    device: Device,
    hosts: Vec<Host<'p>>,
    events: BinaryHeap<Reverse<(u64, usize, u64)>>,
    pages: Vec<&'p ClaimPage>,
    now: u64,
    seed: u64,
    warm: u64,
}

/// The instant a simulation starts at: not zero, which pages take for "never".
pub const START: u64 = 1_000_000_000;

/// Runs `tenants` for `ns` (the first tenth unmeasured) and says what each got.
pub fn run(tenants: &[Tenant], scheduling: Scheduling, ns: u64) -> Vec<Outcome> {
    let own: Vec<ClaimPage> = tenants.iter().map(|_| ClaimPage::new()).collect();
    let shown: Vec<ClaimPage> = tenants.iter().map(|_| ClaimPage::new()).collect();
    let warm = START + ns / 10;
    let mut sim = Sim {
        device: Device::new(tenants.len(), scheduling),
        hosts: Vec::new(),
        events: BinaryHeap::new(),
        pages: Vec::new(),
        now: START,
        seed: 0x9e37_79b9_7f4a_7c15,
        warm,
    };
    // The device's clock starts with the simulation's.
    sim.device.advance(START);
    for (i, tenant) in tenants.iter().enumerate() {
        let page = &own[tenant.shares_page_of.unwrap_or(i)];
        let gate = Gate::new(page, tenant.params, START).unwrap();
        sim.pages.push(match tenant.conduct {
            Conduct::Honest | Conduct::DiesAt(_) | Conduct::Stopped(..) => page,
            Conduct::Hidden => &shown[i],
            _ => {
                shown[i].attach(&tenant.params, START).unwrap();
                &shown[i]
            }
        });
        sim.hosts.push(Host {
            gate,
            program: Program::new(tenant.trace),
            tenant: *tenant,
            pending: None,
            parked: Parked::Running,
            turn: 0,
            markers: VecDeque::new(),
            done: 0,
            blocked: 0,
            others: 0,
            retired: Position::default(),
            lately: RecentAverage::default(),
            known: (0, 0),
            submitted: 0,
            step_began: START,
            steps: Vec::new(),
            count: 0,
            launches: 0,
            tag: 0,
            slow: 0,
            corrected_busy: 0,
            corrected_mark: 0,
        });
        let jitter = sim.random(20_000);
        sim.wake_at(i, START + tenant.start + jitter);
    }
    sim.go(START + ns)
}

impl Sim<'_> {
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below.max(1)
    }

    fn wake_at(&mut self, i: usize, at: u64) {
        self.hosts[i].turn += 1;
        let turn = self.hosts[i].turn;
        self.events.push(Reverse((at.max(self.now), i, turn)));
    }

    fn go(&mut self, end: u64) -> Vec<Outcome> {
        let n = self.hosts.len();
        let mut windows: Vec<Vec<u64>> = vec![Vec::new(); n];
        let mut last = vec![0; n];
        let mut at_warm = vec![0; n];
        let mut warmed = false;
        let mut next_window = START + WINDOW;
        loop {
            let host_at = self.events.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let target = host_at.min(end).min(next_window);
            if let Some(finished) = self.device.advance(target) {
                self.now = finished.at;
                self.completed(finished.context, finished.tag);
                continue;
            }
            self.now = target;
            if target == next_window {
                for i in 0..n {
                    let busy = self.device.busy(i);
                    windows[i].push(busy - last[i]);
                    last[i] = busy;
                }
                if !warmed && self.now >= self.warm {
                    warmed = true;
                    self.warm = self.now;
                    for (i, at) in at_warm.iter_mut().enumerate() {
                        *at = self.device.busy(i);
                        self.hosts[i].steps.clear();
                        self.hosts[i].count = 0;
                    }
                }
                next_window += WINDOW;
                self.lies();
                continue;
            }
            if target >= end {
                break;
            }
            if let Some(Reverse((_, i, turn))) = self.events.pop()
                && self.hosts[i].turn == turn
            {
                self.step(i);
            }
        }
        let wall = (end - self.warm) as f64;
        (0..n)
            .map(|i| {
                let host = &mut self.hosts[i];
                host.steps.sort_unstable();
                Outcome {
                    share: (self.device.busy(i) - at_warm[i]) as f64 / wall,
                    rate: host.count as f64 / wall * 1e9,
                    steps: std::mem::take(&mut host.steps),
                    windows: std::mem::take(&mut windows[i]),
                    forced_admissions: host.gate.page().counters().forced_admissions,
                    slow: host.slow as f64 / host.launches.max(1) as f64,
                }
            })
            .collect()
    }
}
