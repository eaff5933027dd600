//! Timing single launches on the device: an event before, an event after, read later.
//!
//! The span between two events is the launch's own time and what the events cost if the device was still busy with
//! earlier work when the launch reached it. If it was idle, the span also holds the host's time between submitting the
//! first event and the launch; that is measured on the host and subtracted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fcsp_core::share::wait::now_ns;

use super::events::Events;
use crate::backend::{Backend, Progress};

/// A host that took longer than this to submit the launch was interrupted: what the span shows is then mostly the
/// interruption, ns.
const HOST_MOST_NS: u64 = 15_000;

/// Launches being timed at once; more are not timed.
const MOST: usize = 32;

#[derive(Debug)]
struct Timed {
    pair: (usize, usize, usize),
    key: u64,
    blocks: u64,
    contended: bool,
    /// What to take off the span, ns.
    off_ns: u64,
}

/// Launches whose times are not known yet.
#[derive(Debug, Default)]
pub struct Timing {
    pending: Mutex<VecDeque<Timed>>,
}

impl Timing {
    /// Runs `call` between two events on `queue`.
    pub fn time<B: Backend>(
        &self,
        events: &Events,
        key: u64,
        blocks: u64,
        queue: usize,
        contended: bool,
        call: impl Fn() -> B::Status,
    ) -> B::Status {
        if self.pending.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST {
            return call();
        }
        let Some(pair) = events.pair::<B>(queue) else {
            return call();
        };
        if !B::record_event(pair.0, queue) {
            events.give_back_pair(pair);
            return call();
        }
        let before = now_ns();
        let result = call();
        let after = now_ns();
        // Not reached yet although the launch is submitted: the device was busy, and the span is the launch's own.
        let busy = B::event_progress(pair.0) == Progress::Pending;
        let host_ns = after.saturating_sub(before);
        if (!busy && host_ns > HOST_MOST_NS) || result != B::SUCCESS || !B::record_event(pair.1, queue) {
            events.give_back_pair(pair);
            return result;
        }
        let off_ns = if busy {
            B::BUSY_BRACKET_NS
        } else {
            host_ns + B::IDLE_BRACKET_NS
        };
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Timed {
                pair,
                key,
                blocks,
                contended,
                off_ns,
            });
        result
    }

    /// Hands over the times that are known by now.
    pub fn collect<B: Backend>(&self, events: &Events, mut learn: impl FnMut(u64, u64, u64, bool)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = pending.front() {
            let progress = B::event_progress(first.pair.1);
            if progress == Progress::Pending {
                return;
            }
            let Some(first) = pending.pop_front() else { return };
            if progress == Progress::Done
                && let Some(ns) = B::elapsed_ns(first.pair.0, first.pair.1)
            {
                learn(
                    first.key,
                    first.blocks,
                    ns.saturating_sub(first.off_ns),
                    first.contended,
                );
            }
            events.give_back_pair(first.pair);
        }
    }

    /// The context is gone, and its events with it.
    pub fn forget(&self, context: usize) {
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|timed| timed.pair.2 != context);
    }
}
