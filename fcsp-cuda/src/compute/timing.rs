//! Timing single launches on the device: an event before, an event after, read later.
//!
//! The span between two events is the launch's own time and what the events cost if the device was still busy with
//! earlier work when the launch reached it. If it was idle, the span also holds the host's time between submitting the
//! first event and the launch; that is measured on the host and subtracted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fcsp_core::share::wait::now_ns;

use super::events::Events;
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;

/// What two events around a launch add to its span while the device is busy: exactly what they show with nothing between
/// them (measured, H100, driver 580: 1 216 ns, the same for kernels of 1 to 200 us), ns.
const BUSY_BRACKET_NS: u64 = 1_200;
/// What is left of the launch's own latency when the device was idle and the host's time is taken off, against the same
/// kernel inside a graph (measured as above: 1 300 to 1 500 ns), ns.
const IDLE_BRACKET_NS: u64 = 1_400;

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
    /// Runs `call` between two events on `stream`.
    pub fn time(
        &self,
        events: &Events,
        key: u64,
        blocks: u64,
        stream: CUstream,
        contended: bool,
        call: impl Fn() -> CUresult,
    ) -> CUresult {
        if self.pending.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST {
            return call();
        }
        let Some(pair) = events.pair() else { return call() };
        if call_real!(cuEventRecord(pair.0 as CUevent, stream)) != CUDA_SUCCESS {
            events.give_back_pair(pair);
            return call();
        }
        let before = now_ns();
        let result = call();
        let after = now_ns();
        // Not reached yet although the launch is submitted: the device was busy, and the span is the launch's own.
        let busy = call_real!(cuEventQuery(pair.0 as CUevent)) == CUDA_ERROR_NOT_READY;
        let host_ns = after.saturating_sub(before);
        if (!busy && host_ns > HOST_MOST_NS)
            || result != CUDA_SUCCESS
            || call_real!(cuEventRecord(pair.1 as CUevent, stream)) != CUDA_SUCCESS
        {
            events.give_back_pair(pair);
            return result;
        }
        let off_ns = if busy {
            BUSY_BRACKET_NS
        } else {
            host_ns + IDLE_BRACKET_NS
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
    pub fn collect(&self, events: &Events, mut learn: impl FnMut(u64, u64, u64, bool)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = pending.front() {
            let state = call_real!(cuEventQuery(first.pair.1 as CUevent));
            if state == CUDA_ERROR_NOT_READY {
                return;
            }
            let Some(first) = pending.pop_front() else { return };
            if state == CUDA_SUCCESS
                && let Some(ns) = elapsed(first.pair.0, first.pair.1)
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

pub(super) fn elapsed(first: usize, second: usize) -> Option<u64> {
    let mut milliseconds = 0f32;
    let (first, second) = (first as CUevent, second as CUevent);
    let result = match real::cuEventElapsedTime_v2.get() {
        // SAFETY: both events were recorded with success and passed; writes one float that outlives the call.
        Some(call) => unsafe { call(&mut milliseconds, first, second) },
        // SAFETY: as above.
        None => unsafe { real::cuEventElapsedTime.get()?(&mut milliseconds, first, second) },
    };
    (result == CUDA_SUCCESS && milliseconds >= 0.0).then_some((f64::from(milliseconds) * 1e6) as u64)
}
