//! The end of handles: records of queues, contexts, code and graphs are forgotten here, before the
//! driver ends them. docs/handle-lifetimes.md lists every handle and what ends it.

use core::sync::atomic::Ordering;

use fcsp_core::limiter::RateLimiter;
use fcsp_core::share::cost;
use fcsp_core::share::gate::SEVERAL;
use fcsp_core::share::wait::now_ns;

use super::cost_model::kernel_keys;
use super::{Compute, NAP_NS, SPIN_NS};
use crate::backend::Backend;

/// Longest wait of a thread for the library's events on a queue before it destroys the queue, ns. A
/// device that hangs never reaches them.
const QUEUE_END_NS: u64 = 1_000_000_000;

impl<B: Backend> Compute<B> {
    /// Forgets `queue`, which is about to end. Its handle may be another object's next.
    pub fn queue_ends(&self, queue: usize) {
        if self.limiter.line().stream.load(Ordering::Relaxed) == queue {
            self.forget_queue(queue);
        }
        if B::QUEUES_END_IDLE {
            self.let_pass(queue);
        }
    }

    #[cold]
    fn forget_queue(&self, queue: usize) {
        let last = &self.limiter.line().stream;
        // Relaxed: a thread that gets the handle again learned of it after this.
        if last
            .compare_exchange(queue, 0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            // Its work may still run when the next queue is found empty.
            self.several_queues.store(true, Ordering::Relaxed);
            self.mixed_queues.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until the device has reached the library's events on `queue`. They are behind work
    /// that the program knows to be done; only work of other queues may come before them.
    fn let_pass(&self, queue: usize) {
        let since = now_ns();
        while self.fences.is_pending_on::<B>(queue) || self.timing.is_pending_on::<B>(queue) {
            match now_ns().saturating_sub(since) {
                waited if waited < SPIN_NS => std::thread::yield_now(),
                waited if waited < QUEUE_END_NS => {
                    std::thread::sleep(std::time::Duration::from_nanos(NAP_NS));
                }
                _ => return,
            }
        }
    }

    /// Forgets the cost of an executable graph that was updated.
    pub fn graph_changed(&self, executable: usize) {
        self.functions.graph_changed(executable);
        self.forget_graph(executable);
    }

    /// Forgets an executable graph that is about to end: its handle may be another one's next.
    pub fn graph_ends(&self, executable: usize) {
        self.functions.graph_ends(executable);
        self.forget_graph(executable);
    }

    /// Forgets the cost of a function: it was another one that was launched under this handle
    /// before.
    #[cold]
    pub(crate) fn forget_kernel_price(&self, function: usize) {
        self.costs.forget_kernel(function);
    }

    fn forget_graph(&self, executable: usize) {
        let changed = cost::graph_key(executable as u64);
        self.costs.forget(changed);
        self.forget_keys(|key| key == changed);
    }

    /// Marks a kernel that is about to end: its handle may be another one's next.
    pub fn function_ends(&self, function: usize) {
        self.functions.doubt(function);
        self.costs.doubt_kernel(function);
        let changed: Vec<u64> = kernel_keys(function).collect();
        self.forget_keys(|key| changed.contains(&key));
    }

    /// Marks all functions, since code is about to be unloaded: their handles may be used for
    /// others.
    pub fn code_ends(&self) {
        self.functions.doubt_all();
        self.costs.doubt_all();
        self.forget_keys(|_| true);
    }

    /// Separates work in flight under these keys from their new meaning.
    fn forget_keys(&self, changed: impl Fn(u64) -> bool) {
        let launched = &self.limiter.line().key;
        let key = launched.load(Ordering::Relaxed);
        if key != 0 && key != SEVERAL && changed(key) {
            // Relaxed: a key that another thread writes meanwhile is that of a later launch.
            let _ = launched.compare_exchange(key, SEVERAL, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.fences.forget_keys(&changed);
        self.timing.forget_keys(&changed);
    }

    /// Removes the library's events of `context`, or all of the device's, which is about to end.
    /// From here on no thread finds one. If it does not end after all, new events are made.
    pub fn context_ends(&self, context: Option<usize>) {
        let mut gone = Vec::new();
        // In this order: an event is given back under the lock of the list from which it is taken.
        self.fences.take_out(context, &mut gone);
        self.timing.take_out(context, &mut gone);
        self.events.take_out(context, &mut gone);
        if gone.is_empty() {
            return;
        }
        let _question = B::beside_recordings();
        gone.into_iter().for_each(B::destroy_event);
    }

    /// Forgets a context that is gone, with its queues and its code.
    pub fn context_died(&self) {
        self.code_ends();
        let line = self.limiter.line();
        line.stream.store(0, Ordering::Relaxed);
        line.unmarked.store(0, Ordering::Relaxed);
        self.several_queues.store(false, Ordering::Relaxed);
        self.mixed_queues.store(true, Ordering::Relaxed);
        self.interrupted.store(true, Ordering::Relaxed);
        self.limiter.drained(now_ns());
    }
}
