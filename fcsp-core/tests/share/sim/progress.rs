//! Progress: what hosts learn of finished work and of their neighbours.

use fcsp_core::share::authority::Authority;
use fcsp_core::share::claim_page::{ClaimPage, ClaimView};
use fcsp_core::share::gate::{BusyInterval, may_have_run};
use fcsp_core::share::params::Priority;

use super::Sim;
use super::host::{NOTICE, Parked, QUEUE};

impl Sim<'_> {
    /// Completes a kernel: a host that waits for it goes on, after the time that it takes to see
    /// it.
    pub(super) fn completed(&mut self, i: usize, tag: u64) {
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

    pub(super) fn retire(&mut self, i: usize) {
        let busy = self.device.busy(i);
        let now = self.now;
        let views = self.views(i);
        let host = &mut self.hosts[i];
        let mut reached = None;
        while let Some(&mark) = host.markers.front() {
            let until = mark.passed.unwrap_or(now);
            let stretch = BusyInterval {
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
    pub(super) fn drained(&mut self, i: usize) {
        let now = self.now;
        self.retire(i);
        let views = self.views(i);
        let host = &mut self.hosts[i];
        host.markers.clear();
        let stretch = BusyInterval {
            from: host.blocked,
            until: now.saturating_sub(NOTICE),
        };
        host.was_busy(stretch, host.others, &views, now);
        if !host.tenant.correct {
            host.gate.emptied(host.gate.mark(), now);
        }
        host.gate.drained(now);
    }

    pub(super) fn views(&self, i: usize) -> Vec<ClaimView> {
        let own = self.hosts[i].gate.page();
        let mut seen: Vec<*const ClaimPage> = vec![own];
        let mut views = Vec::new();
        for (page, host) in self.pages.iter().zip(&self.hosts) {
            let address: *const ClaimPage = *page;
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

    pub(super) fn wake_waiters(&mut self, by: usize) {
        for i in 0..self.hosts.len() {
            if i != by && self.hosts[i].parked == Parked::Waiting {
                let at = self.now + 8_000 + self.random(4_000);
                self.wake_at(i, at);
            }
        }
    }
}
