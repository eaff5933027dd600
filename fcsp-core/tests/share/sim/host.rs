//! Hosts: the state of a process that submits its program through the gate.

use std::collections::VecDeque;

use fcsp_core::share::claim_page::ClaimView;
use fcsp_core::share::gate::{BusyInterval, Gate, Position};
use fcsp_core::share::recent_average::RecentAverage;

use super::Tenant;
use crate::traces::Program;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Parked {
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
pub(super) struct Mark {
    pub(super) tag: u64,
    pub(super) marker: Position,
    pub(super) recorded: u64,
    pub(super) passed: Option<u64>,
    /// Charges of neighbours by then.
    pub(super) others: u64,
}

pub(super) struct Host<'p> {
    pub(super) gate: Gate<'p>,
    pub(super) program: Program,
    pub(super) tenant: Tenant,
    pub(super) pending: Option<(u64, u64)>,
    pub(super) parked: Parked,
    /// Bumped to cancel events that were scheduled for it.
    pub(super) turn: u64,
    pub(super) markers: VecDeque<Mark>,
    pub(super) done: u64,
    /// Instant at which the host began to wait for all of its work.
    pub(super) blocked: u64,
    /// Charges of neighbours when the host last looked.
    pub(super) others: u64,
    pub(super) retired: Position,
    pub(super) lately: RecentAverage,
    /// The last launch that ended, and the device's time that this host had then.
    pub(super) known: (u64, u64),
    pub(super) submitted: u64,
    pub(super) step_began: u64,
    pub(super) steps: Vec<u64>,
    pub(super) count: u64,
    pub(super) launches: u64,
    /// The last kernel's number, from 1.
    pub(super) tag: u64,
    pub(super) slow: u64,
    pub(super) corrected_busy: u64,
    pub(super) corrected_mark: u64,
}

/// Launches a driver queues before it holds the host back.
pub(super) const QUEUE: usize = 1024;

/// Interval at which a host that waits for tokens checks its fences, ns.
pub(super) const LOOK: u64 = 1_000_000;

/// Longest time that the library expects a host to need to see that its work is done, ns.
pub(super) const NOTICE: u64 = 40_000;

impl Host<'_> {
    pub(super) fn was_busy(
        &self,
        stretch: BusyInterval,
        others: u64,
        views: &[ClaimView],
        now: u64,
    ) {
        if self.tenant.correct || stretch.until <= stretch.from {
            return;
        }
        self.gate.reconcile(stretch, others, views, now);
    }

    pub(super) fn mark(&mut self, now: u64) {
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
    pub(super) fn mark_tail(&mut self, now: u64) {
        let last = self.markers.back().map(|mark| (mark.tag, mark.marker));
        if self.gate.in_flight() > 0 && last != Some((self.tag, self.gate.mark())) {
            self.mark(now);
        }
    }
}
