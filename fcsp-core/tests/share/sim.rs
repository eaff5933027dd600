//! The simulation: hosts that run traces through the real gate and the real pages, over a simulated
//! device and clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fcsp_core::classify::Class;
use fcsp_core::share::arrivals::Expected;
use fcsp_core::share::authority::Authority;
use fcsp_core::share::gate::{Gate, Marker, Stretch, Verdict, may_have_run, progress};
use fcsp_core::share::lately::Lately;
use fcsp_core::share::mix::Leaning;
use fcsp_core::share::page::{TenantPage, View};
use fcsp_core::share::params::{Params, Priority};

use crate::device::{Device, Scheduling};
use crate::traces::{Op, Program, Trace};

/// Conduct of a tenant besides its program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Conduct {
    /// Behaves.
    Honest,
    /// Dies at this instant, its page as it was.
    DiesAt(u64),
    /// Is stopped between these instants; its queued work still runs.
    Stopped(u64, u64),
    /// Always claims to be device-bound and owed everything.
    ClaimsHeldUp,
    /// Always claims to have never had any surplus and to wait.
    ClaimsWaiting,
    /// Claims a huge virtual time and huge instants.
    ClaimsHuge,
    /// Fills its page with noise.
    Noise,
    /// Says that its next step begins in a moment, always.
    ClaimsToBegin,
    /// Always claims high priority, to be device-bound and owed everything.
    ClaimsHigh,
    /// Says that it waits for the device, has a share of half and was never served. It is served.
    DeniesUse,
    /// Has no page.
    Hidden,
}

/// A tenant of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    pub trace: Trace,
    pub params: Params,
    pub conduct: Conduct,
    /// The gate charges this times the true cost, in ppm.
    pub bias: u64,
    /// The gate charges this whatever the cost, ns.
    pub flat: Option<u64>,
    /// True if each launch is a stranger, of which nothing else is known.
    pub strange: bool,
    /// True if fences correct the charges.
    pub correct: bool,
    /// Another process of the tenant at this index.
    pub shares_page_of: Option<usize>,
    /// Class of its kernels, by name.
    pub class: Class,
    /// The user that it runs as. Between users no priority counts for the guarantee.
    pub user: u32,
    /// Instant at which its program begins, ns.
    pub start: u64,
}

impl Tenant {
    pub fn new(trace: Trace, params: Params) -> Self {
        Self {
            trace,
            params,
            conduct: Conduct::Honest,
            bias: 1_000_000,
            flat: None,
            strange: false,
            correct: false,
            shares_page_of: None,
            class: Class::Other,
            user: 0,
            start: 0,
        }
    }

    pub fn user(mut self, user: u32) -> Self {
        self.user = user;
        self
    }

    /// Sets a fixed charge for each launch, ns.
    pub fn flat(mut self, ns: u64) -> Self {
        self.flat = Some(ns);
        self
    }

    /// Makes each launch a stranger, guessed at 3 us.
    pub fn strange(mut self) -> Self {
        (self.flat, self.strange) = (Some(3_000), true);
        self
    }

    pub fn bias(mut self, bias: u64, correct: bool) -> Self {
        (self.bias, self.correct) = (bias, correct);
        self
    }
}

/// Result of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// GPU time over the whole measured time.
    pub share: f64,
    /// Steps a second.
    pub rate: f64,
    /// Step times, ns, sorted.
    pub steps: Vec<u64>,
    /// GPU time by window of 10 ms, ns, from the start of the simulation.
    pub windows: Vec<u64>,
    /// Forced admissions.
    pub let_through: u64,
    /// Launches through the slow path, over all.
    pub slow: f64,
}

impl Outcome {
    pub fn percentile(&self, p: f64) -> f64 {
        let last = self.steps.len().saturating_sub(1);
        self.steps
            .get((last as f64 * p) as usize)
            .map_or(f64::NAN, |&ns| ns as f64 / 1e6)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Parked {
    Running,
    Draining(u64),
    Syncing,
    /// Until no more than so many kernels are left.
    Within(usize),
    /// The driver's own queue is full.
    Full,
    Waiting,
    Dead,
}

#[derive(Clone, Copy)]
struct Mark {
    tag: u64,
    marker: Marker,
    recorded: u64,
    passed: Option<u64>,
    /// Charges of neighbours by then.
    others: u64,
}

struct Host<'p> {
    gate: Gate<'p>,
    program: Program,
    tenant: Tenant,
    pending: Option<(u64, u64)>,
    parked: Parked,
    /// Bumped to cancel events that were scheduled for it.
    turn: u64,
    markers: VecDeque<Mark>,
    done: u64,
    /// Instant at which the host began to wait for all of its work.
    blocked: u64,
    /// Charges of neighbours when the host last looked.
    others: u64,
    retired: Marker,
    lately: Lately,
    /// The last launch that ended, and the device's time that this host had then.
    known: (u64, u64),
    submitted: u64,
    step_began: u64,
    steps: Vec<u64>,
    count: u64,
    launches: u64,
    /// The last kernel's number, from 1.
    tag: u64,
    slow: u64,
    corrected_busy: u64,
    corrected_mark: u64,
}

/// Launches a driver queues before it holds the host back.
const QUEUE: usize = 1024;

/// Interval at which a host that waits for tokens checks its fences, ns.
const LOOK: u64 = 1_000_000;

/// Longest time that the library expects a host to need to see that its work is done, ns.
const NOTICE: u64 = 40_000;

pub const WINDOW: u64 = 10_000_000;

pub struct Sim<'p> {
    device: Device,
    hosts: Vec<Host<'p>>,
    events: BinaryHeap<Reverse<(u64, usize, u64)>>,
    pages: Vec<&'p TenantPage>,
    now: u64,
    seed: u64,
    warm: u64,
}

/// The instant a simulation starts at: not zero, which pages take for "never".
pub const START: u64 = 1_000_000_000;

/// Runs `tenants` for `ns` (the first tenth unmeasured) and says what each got.
pub fn run(tenants: &[Tenant], scheduling: Scheduling, ns: u64) -> Vec<Outcome> {
    let own: Vec<TenantPage> = tenants.iter().map(|_| TenantPage::new()).collect();
    let shown: Vec<TenantPage> = tenants.iter().map(|_| TenantPage::new()).collect();
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
            retired: Marker::default(),
            lately: Lately::default(),
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
                    let_through: host.gate.page().counters().let_through,
                    slow: host.slow as f64 / host.launches.max(1) as f64,
                }
            })
            .collect()
    }

    /// Completes a kernel: a host that waits for it goes on, after the time that it takes to see
    /// it.
    fn completed(&mut self, i: usize, tag: u64) {
        let now = self.now;
        let busy = self.device.busy(i);
        let host = &mut self.hosts[i];
        host.done = tag + 1;
        // As a pair of events around it says.
        host.lately
            .took(busy - host.known.1, (tag - host.known.0) as u32);
        host.known = (tag, busy);
        for mark in host.markers.iter_mut().filter(|mark| mark.tag <= tag) {
            mark.passed.get_or_insert(now);
        }
        match self.hosts[i].parked {
            Parked::Draining(to) => {
                self.retire(i);
                if self.hosts[i].gate.in_flight() <= to || self.device.is_empty(i) {
                    let at = self.now + 6_000;
                    self.wake_at(i, at);
                }
            }
            Parked::Syncing if self.device.is_empty(i) => {
                let at = self.now + 6_000;
                self.wake_at(i, at);
            }
            Parked::Within(left) if self.device.queued(i) <= left => {
                let at = self.now + 6_000;
                self.wake_at(i, at);
            }
            // Who waits for tokens looks at its marks now and then: what was charged too much comes
            // back.
            Parked::Waiting if self.device.is_empty(i) => {
                let late = self.random(1_000_000);
                self.wake_at(i, now + late);
            }
            Parked::Full if self.device.queued(i) < QUEUE / 2 => {
                let at = self.now + 6_000;
                self.wake_at(i, at);
            }
            _ => {}
        }
    }

    fn retire(&mut self, i: usize) {
        let busy = self.device.busy(i);
        let now = self.now;
        let views = self.views(i);
        let host = &mut self.hosts[i];
        let mut reached = None;
        while let Some(&mark) = host.markers.front() {
            let until = mark.passed.unwrap_or(now);
            let stretch = Stretch {
                from: mark.recorded,
                until,
            };
            if mark.tag >= host.done {
                host.was_busy(stretch, mark.others, &views, now);
                break;
            }
            // Nobody has looked when it was passed; where there are no others the device's clock
            // says it.
            if !views
                .iter()
                .any(|view| may_have_run(view, mark.recorded, now))
            {
                host.was_busy(stretch, mark.others, &views, now);
                host.gate.was_alone(mark.marker.since(host.retired));
            }
            host.retired = mark.marker;
            host.gate.retire(mark.marker, now);
            if !host.tenant.correct {
                host.gate.emptied(mark.marker, until);
            }
            reached = Some(mark.marker);
            host.markers.pop_front();
        }
        host.gate.is_all(now);
        if reached.is_some() && host.tenant.correct && host.markers.is_empty() {
            // Everything submitted is done, so busy time and charges cover the same kernels.
            let charged = host.submitted;
            host.gate.true_up(
                busy - host.corrected_busy,
                charged - host.corrected_mark,
                now,
            );
            (host.corrected_busy, host.corrected_mark) = (busy, charged);
        }
    }

    /// Records that the host has seen that all of its work is done.
    fn drained(&mut self, i: usize) {
        let now = self.now;
        self.retire(i);
        let views = self.views(i);
        let host = &mut self.hosts[i];
        host.markers.clear();
        let stretch = Stretch {
            from: host.blocked,
            until: now.saturating_sub(NOTICE),
        };
        host.was_busy(stretch, host.others, &views, now);
        if !host.tenant.correct {
            host.gate.emptied(host.gate.mark(), now);
        }
        host.gate.drained(now);
    }

    fn views(&self, i: usize) -> Vec<View> {
        let own = self.hosts[i].gate.page();
        let mut seen: Vec<*const TenantPage> = vec![own];
        let mut views = Vec::new();
        for (page, host) in self.pages.iter().zip(&self.hosts) {
            let address: *const TenantPage = *page;
            if seen.contains(&address) || std::ptr::eq(own, *page) {
                continue;
            }
            seen.push(address);
            let Some(mut view) = page.view() else {
                continue;
            };
            if host.tenant.user != self.hosts[i].tenant.user {
                view.authority = Authority::Apart {
                    theirs: Some(Priority::Normal),
                    ours: Some(Priority::Normal),
                };
            }
            views.push(view);
        }
        views
    }

    fn wake_waiters(&mut self, by: usize) {
        for i in 0..self.hosts.len() {
            if i != by && self.hosts[i].parked == Parked::Waiting {
                let at = self.now + 8_000 + self.random(4_000);
                self.wake_at(i, at);
            }
        }
    }

    fn lies(&mut self) {
        for i in 0..self.hosts.len() {
            self.lie(i);
        }
    }

    /// Rewrites a hostile tenant's page, so often that no claim of it is ever stale.
    fn lie(&mut self, i: usize) {
        let now = self.now;
        let page = self.pages[i];
        match self.hosts[i].tenant.conduct {
            Conduct::ClaimsHeldUp => {
                page.block(now);
                page.submitted(5_000_000, now);
                page.lean(Leaning::Latency);
                page.publish(now);
            }
            Conduct::ClaimsWaiting => {
                page.lean(Leaning::Latency);
                page.waits(now);
            }
            Conduct::ClaimsHuge => {
                page.raise_vtime(u64::MAX / 2);
                page.submitted(u64::MAX / 4, now);
                page.block(now + 1_000_000_000_000);
                page.publish(now + 1_000_000_000_000);
            }
            Conduct::ClaimsHigh => {
                let high = self.hosts[i].tenant.params.with_priority(Priority::High);
                page.set_params(&high, now);
                page.submitted(5_000_000, now);
                page.count(1_000_000);
                page.block(now);
                page.waits(now);
                page.expect(Expected {
                    at: now + 1_000_000,
                    spread: 1,
                });
            }
            Conduct::DeniesUse => {
                page.set_params(&Params::balanced(500_000), now);
                page.submitted(5_000_000, now);
                page.block(now);
                page.waits(now);
            }
            Conduct::ClaimsToBegin => {
                page.expect(Expected {
                    at: now + 30_000,
                    spread: 1_000,
                });
                page.publish(now);
            }
            Conduct::Noise => {
                let (a, b) = (self.random(u64::MAX), self.random(u64::MAX));
                page.raise_vtime(a);
                page.submitted(b, a);
                page.expect(Expected { at: b, spread: a });
                page.block(b);
                page.publish(now);
            }
            _ => {}
        }
    }

    fn step(&mut self, i: usize) {
        let now = self.now;
        match self.hosts[i].tenant.conduct {
            Conduct::DiesAt(at) if now >= at => {
                self.hosts[i].parked = Parked::Dead;
                self.device.kill(i);
                return;
            }
            Conduct::Stopped(from, to) if (from..to).contains(&now) => {
                self.wake_at(i, to);
                return;
            }
            _ => {}
        }
        for other in 0..self.hosts.len() {
            self.lie(other);
        }
        match self.hosts[i].parked {
            Parked::Dead => return,
            Parked::Syncing => {
                if !self.device.is_empty(i) {
                    return;
                }
                self.hosts[i].parked = Parked::Running;
                self.drained(i);
                if self.hosts[i].gate.resume(now) {
                    self.wake_waiters(i);
                }
            }
            Parked::Within(left) => {
                if self.device.queued(i) > left {
                    return;
                }
                self.hosts[i].parked = Parked::Running;
                self.retire(i);
                if self.hosts[i].gate.resume(now) {
                    self.wake_waiters(i);
                }
            }
            _ => self.hosts[i].parked = Parked::Running,
        }
        loop {
            let (gpu, host_cost) = match self.hosts[i].pending.take() {
                Some(launch) => launch,
                None => match self.hosts[i].program.next(now - START) {
                    Op::Launch { gpu, host } => (gpu, host),
                    Op::Host(ns) => {
                        self.wake_at(i, now + ns);
                        return;
                    }
                    Op::Sync => {
                        self.hosts[i].gate.block(now);
                        self.hosts[i].blocked = now;
                        self.hosts[i].others = progress(&self.views(i));
                        if self.device.is_empty(i) {
                            self.drained(i);
                            if self.hosts[i].gate.resume(now) {
                                self.wake_waiters(i);
                            }
                            continue;
                        }
                        self.hosts[i].parked = Parked::Syncing;
                        return;
                    }
                    Op::Within(left) => {
                        self.hosts[i].gate.block(now);
                        if self.device.queued(i) <= left {
                            self.retire(i);
                            if self.hosts[i].gate.resume(now) {
                                self.wake_waiters(i);
                            }
                            continue;
                        }
                        self.hosts[i].parked = Parked::Within(left);
                        return;
                    }
                    Op::Step => {
                        let host = &mut self.hosts[i];
                        host.count += 1;
                        host.steps.push(now - host.step_began);
                        host.step_began = now;
                        continue;
                    }
                    Op::Due => {
                        self.hosts[i].step_began = now;
                        continue;
                    }
                    Op::SleepUntil(at) => {
                        if at != u64::MAX {
                            self.wake_at(i, START + at);
                        }
                        return;
                    }
                },
            };
            if self.device.queued(i) >= QUEUE {
                self.hosts[i].pending = Some((gpu, host_cost));
                self.hosts[i].parked = Parked::Full;
                return;
            }
            if self.launch(i, gpu, host_cost) {
                let jitter = self.random(host_cost / 10 + 1);
                self.wake_at(i, now + host_cost + jitter);
            }
            return;
        }
    }

    /// Takes a launch through the gate; false if the host now waits.
    fn launch(&mut self, i: usize, gpu: u64, host_cost: u64) -> bool {
        let now = self.now;
        let tenant = &self.hosts[i].tenant;
        let cost = match tenant.flat {
            Some(flat) if tenant.strange => self.hosts[i].lately.price(flat),
            Some(flat) => flat,
            None => gpu * tenant.bias / 1_000_000,
        };
        let marked = if self.hosts[i].gate.admit(cost) {
            false
        } else {
            self.hosts[i].slow += 1;
            self.retire(i);
            let views = self.views(i);
            self.hosts[i].others = progress(&views);
            let class = self.hosts[i].tenant.class;
            match self.hosts[i].gate.acquire_as(class, cost, now, &views) {
                Verdict::Go { marker } => marker,
                Verdict::LetOne => true,
                Verdict::Drain { to } => {
                    let host = &mut self.hosts[i];
                    host.pending = Some((gpu, host_cost));
                    host.parked = Parked::Draining(to);
                    host.mark_tail(now);
                    // Never without a deadline: the gate says what to do when it passes.
                    self.wake_at(i, now + 10_000_000);
                    return false;
                }
                Verdict::Wait { until, .. } => {
                    let host = &mut self.hosts[i];
                    host.pending = Some((gpu, host_cost));
                    host.parked = Parked::Waiting;
                    host.mark_tail(now);
                    let late = 5_000 + self.random(55_000);
                    // As long as something is in flight it looks at its marks.
                    let is_queued = self.hosts[i].gate.in_flight() > 0;
                    let until = if is_queued {
                        until.min(now + LOOK)
                    } else {
                        until
                    };
                    self.wake_at(i, until + late);
                    return false;
                }
            }
        };
        self.hosts[i].launches += 1;
        self.hosts[i].tag += 1;
        let tag = self.hosts[i].tag;
        self.hosts[i].submitted += cost;
        self.device.submit(i, gpu, tag);
        if marked {
            self.hosts[i].mark(now);
        }
        true
    }
}

impl Host<'_> {
    fn was_busy(&self, stretch: Stretch, others: u64, views: &[View], now: u64) {
        if self.tenant.correct || stretch.until <= stretch.from {
            return;
        }
        self.gate.reconcile(stretch, others, views, now);
    }

    fn mark(&mut self, now: u64) {
        self.markers.push_back(Mark {
            tag: self.tag,
            marker: self.gate.mark(),
            recorded: now,
            passed: None,
            others: self.others,
        });
    }

    /// Records a fence at the end of the queue, unless there is one: a host that waits must learn
    /// when the queue is done.
    fn mark_tail(&mut self, now: u64) {
        let last = self.markers.back().map(|mark| (mark.tag, mark.marker));
        if self.gate.in_flight() > 0 && last != Some((self.tag, self.gate.mark())) {
            self.mark(now);
        }
    }
}
