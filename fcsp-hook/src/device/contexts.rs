//! Contexts: the known size of a context is held before the driver makes it, and is reconciled by a
//! measurement afterwards.
//!
//! The smallest size that the tenant's processes have seen stands in its region
//! ([`fcsp_core::region::contexts`]). A process that finds no figure there holds
//! [`crate::backend::Devices::CONTEXT_ESTIMATE`], or else all that is left of the quota, and
//! measures what the context took. Nobody is refused while another process of the tenant is making
//! a context: what that process holds may be more than it will take.

use core::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use fcsp_core::memory::{Denied, MemoryTracker};
use fcsp_core::region::contexts::ContextKind;
use fcsp_core::region::ledger::UNIT;

use super::listed::LARGEST_BLOCK;
use super::{Device, Free, Hold, NEAR};
use crate::backend::Backend;
use crate::setup::Undisturbed;

/// A context that the driver is about to make, and what is held for it: released when dropped.
pub struct Making<'a, B: Backend> {
    device: &'a Device<B>,
    kind: ContextKind,
    held: u64,
    /// The request, under way until the context's size is known.
    hold: Option<Hold<'a>>,
    /// True if the context's size is yet to be learned.
    learns: bool,
    /// The overhead without it.
    before: u64,
}

impl<B: Backend> Device<B> {
    /// Holds what a context takes, before the driver is asked for one. `undoes` says that a context
    /// which turns out to pass the quota can be taken back; where it cannot, the estimate must fit
    /// while no figure is known.
    ///
    /// # Errors
    /// The quota has no room for a context. The refusal is counted.
    pub fn make_context(&self, undoes: bool) -> Result<Making<'_, B>, Denied> {
        let mut making = self.make_context_held();
        if self.limit() == u64::MAX {
            return Ok(making);
        }
        let figure = self.context_figure(making.kind);
        making.learns = figure.is_none();
        if making.learns && making.kind == ContextKind::Further {
            // What other things have taken since is not the context's.
            self.measure_now();
            making.before = self.overhead();
        }
        let kind = making.kind;
        let attempt = || {
            self.place().begins_context();
            let figure = figure.or_else(|| self.context_figure(kind));
            // One that waits holds nothing, and nobody need wait for it.
            self.hold_context(figure, undoes)
                .inspect_err(|_| self.place().ends_context())
        };
        let (hold, held) = self
            .hold_after_others(attempt)
            .inspect_err(|denied| self.memory.count_refusal(denied.wanted))?;
        making.hold = Some(hold);
        making.held = held;
        // Relaxed: see `without_those_under_way`.
        self.under_way.fetch_add(held, Ordering::Relaxed);
        Ok(making)
    }

    /// Returns the state for a context that the driver has made already: nothing is held.
    pub fn make_context_held(&self) -> Making<'_, B> {
        let kind = match self.known_contexts().is_empty() {
            true => ContextKind::First,
            false => ContextKind::Further,
        };
        Making {
            device: self,
            kind,
            held: 0,
            hold: None,
            learns: false,
            before: self.overhead(),
        }
    }

    fn overhead(&self) -> u64 {
        // Relaxed: written with `measure` held.
        self.place().slot().overhead.load(Ordering::Relaxed)
    }

    /// Returns the least known size of a context, or its permanent figure where none is measured.
    fn context_figure(&self, kind: ContextKind) -> Option<u64> {
        match self.place().context_bytes(kind) {
            None if !B::has_management() => Some(B::CONTEXT_ESTIMATE),
            known => known,
        }
    }

    /// Holds a context's size; where that is not known, the estimate or what is left of the quota.
    fn hold_context(&self, figure: Option<u64>, undoes: bool) -> Result<(Hold<'_>, u64), Denied> {
        let wanted = figure.unwrap_or(B::CONTEXT_ESTIMATE);
        let denied = match self.try_hold(wanted) {
            Ok(hold) => return Ok((hold, wanted)),
            Err(denied) => denied,
        };
        if figure.is_some() || !undoes || self.place().others_make_contexts() {
            return Err(denied);
        }
        // The block by which this process finds itself in the library's list counts beside the
        // context.
        let block = if self.own_numbers { 0 } else { LARGEST_BLOCK };
        let left = self.memory.room_under(self.limit()).saturating_sub(block);
        let left = left - left % UNIT;
        if left == 0 {
            return Err(denied);
        }
        self.try_hold(left).map(|hold| (hold, left))
    }

    /// Takes a context out again that is gone.
    pub fn context_gone(&self, context: usize) {
        let mut known = self.known_contexts();
        if let Some(at) = known.iter().position(|&(handle, _)| handle == context) {
            let (_, bytes) = known.swap_remove(at);
            self.saw_less(bytes);
        }
    }

    pub(super) fn known_contexts(&self) -> MutexGuard<'_, Vec<(usize, u64)>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a measured overhead without the contexts that are under way. Their reserved bytes
    /// count already, and the driver may have any part of them. Their own reconciliation corrects
    /// what this subtracts too much.
    pub(super) fn without_those_under_way(&self, measured: u64) -> u64 {
        // Relaxed: as said there.
        match self.under_way.load(Ordering::Relaxed) {
            0 => measured,
            held => measured
                .saturating_sub(held)
                .max(measured.min(self.overhead())),
        }
    }

    /// Returns the device's free bytes around a call that makes a context. `None` where the context
    /// will be measured, or counts by its estimate.
    pub(crate) fn free_around_context(&self) -> Option<Free> {
        if self.limit() == u64::MAX || self.own_numbers || !self.is_unknown() {
            return None;
        }
        Some(self.free(B::free(&self.identity)?))
    }
}

impl<B: Backend> Making<'_, B> {
    /// Enters the context that was made. Near the quota it is measured, and where its size is to be
    /// learned. Elsewhere it counts by the size that was `seen`, or by an estimate. Otherwise a
    /// process that then idles would hold it unknown to the tenant's others.
    pub fn made(mut self, context: usize, seen: Option<u64>) {
        let (device, held) = (self.device, core::mem::take(&mut self.held));
        let seen = seen.filter(|&bytes| bytes > 0 && bytes <= B::CONTEXT_ESTIMATE);
        let bytes = seen.unwrap_or(B::CONTEXT_ESTIMATE);
        device.known_contexts().push((context, bytes));
        device.unseen.fetch_add(bytes, Ordering::Relaxed);
        let limit = device.limit();
        let room = device.memory.room_under(limit).saturating_add(held);
        let is_far = limit == u64::MAX || room >= bytes.saturating_add(NEAR);
        if is_far && !self.learns {
            let _undisturbed = Undisturbed::begin();
            let _only = device
                .measure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            device.under_way.fetch_sub(held, Ordering::Relaxed);
            device.set_overhead(device.overhead() + bytes, held);
            device.overhead_moved();
        } else {
            device.measure_settling(held, held);
            self.learn();
        }
    }

    /// Leaves the measured or permanent size to the tenant's next process.
    fn learn(&self) {
        let device = self.device;
        // The overhead before is fresh then. What the free memory fell by may be a neighbour's.
        let fresh = self.learns || self.kind == ContextKind::First;
        if fresh && (device.own_numbers || !device.is_unknown()) {
            let took = device.overhead().saturating_sub(self.before);
            device
                .place()
                .saw_context(self.kind, took.min(B::CONTEXT_ESTIMATE));
        }
    }
}

impl<B: Backend> Drop for Making<'_, B> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.device
                .under_way
                .fetch_sub(self.held, Ordering::Relaxed);
            self.device.release(self.held);
        }
        self.device.place().ends_context();
    }
}
