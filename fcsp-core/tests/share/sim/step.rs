//! Steps: a host runs its program until it has to wait.

use fcsp_core::share::gate::{GateAdmission, progress};

use super::host::{LOOK, Parked, QUEUE};
use super::{Conduct, START, Sim};
use crate::traces::Op;

impl Sim<'_> {
    pub(super) fn step(&mut self, i: usize) {
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
    pub(super) fn launch(&mut self, i: usize, gpu: u64, host_cost: u64) -> bool {
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
                GateAdmission::Go { marker } => marker,
                GateAdmission::Forced => true,
                GateAdmission::Drain { to } => {
                    let host = &mut self.hosts[i];
                    host.pending = Some((gpu, host_cost));
                    host.parked = Parked::Draining(to);
                    host.mark_tail(now);
                    // Never without a deadline: the gate says what to do when it passes.
                    self.wake_at(i, now + 10_000_000);
                    return false;
                }
                GateAdmission::Wait { until, .. } => {
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
