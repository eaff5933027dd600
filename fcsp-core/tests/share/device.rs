//! A device that time-slices between contexts: in-order queues, round-robin slices between those
//! with work, a cost for switching. What it leaves out: spatial overlap within a slice, clocks,
//! memory contention.

use std::collections::VecDeque;

#[derive(Debug, Clone, Copy)]
struct Kernel {
    left: u64,
    tag: u64,
}

#[derive(Debug, Default)]
struct Context {
    queue: VecDeque<Kernel>,
    busy: u64,
}

/// Scheduling of the device.
#[derive(Debug, Clone, Copy)]
pub struct Scheduling {
    /// The longest a context runs while another has work, ns.
    pub slice: u64,
    /// Cost of a switch to another context in the middle of a kernel, ns.
    pub switch: u64,
    /// Cost of a switch if the context has nothing left, ns.
    pub idle_switch: u64,
}

/// A finished kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    pub context: usize,
    pub tag: u64,
    pub at: u64,
}

pub struct Device {
    scheduling: Scheduling,
    contexts: Vec<Context>,
    current: usize,
    now: u64,
    slice_end: u64,
    switching: u64,
}

impl Device {
    pub fn new(contexts: usize, scheduling: Scheduling) -> Self {
        Self {
            scheduling,
            contexts: (0..contexts).map(|_| Context::default()).collect(),
            current: 0,
            now: 0,
            slice_end: 0,
            switching: 0,
        }
    }

    /// Queues a kernel of `ns` at the present.
    pub fn submit(&mut self, context: usize, ns: u64, tag: u64) {
        self.contexts[context]
            .queue
            .push_back(Kernel { left: ns, tag });
    }

    /// Returns true if a context has no work left.
    pub fn is_empty(&self, context: usize) -> bool {
        self.contexts[context].queue.is_empty()
    }

    /// Drops what a dead context had queued.
    pub fn kill(&mut self, context: usize) {
        self.contexts[context].queue.clear();
    }

    /// Returns the GPU time of kernels that a context has run, ns, with the part of the running
    /// one.
    pub fn busy(&self, context: usize) -> u64 {
        self.contexts[context].busy
    }

    fn next_busy(&self) -> Option<usize> {
        let n = self.contexts.len();
        (1..=n)
            .map(|i| (self.current + i) % n)
            .find(|&i| !self.contexts[i].queue.is_empty())
    }

    /// Runs up to `until` or the next finished kernel, whichever is first.
    pub fn advance(&mut self, until: u64) -> Option<Finished> {
        loop {
            let Some(next) = self.next_busy() else {
                self.now = until;
                return None;
            };
            if self.switching > 0 {
                let step = self.switching.min(until - self.now);
                self.switching -= step;
                self.now += step;
                if self.switching > 0 {
                    return None;
                }
                self.slice_end = self.now + self.scheduling.slice;
                continue;
            }
            let empty = self.contexts[self.current].queue.is_empty();
            if next != self.current && (empty || self.now >= self.slice_end) {
                self.current = next;
                self.switching = if empty {
                    self.scheduling.idle_switch
                } else {
                    self.scheduling.switch
                };
                if self.switching == 0 {
                    self.slice_end = self.now + self.scheduling.slice;
                }
                continue;
            }
            if next == self.current && self.now >= self.slice_end {
                self.slice_end = self.now + self.scheduling.slice;
            }
            if self.now >= until {
                return None;
            }
            let context = &mut self.contexts[self.current];
            let Some(kernel) = context.queue.front_mut() else {
                continue;
            };
            let mut step = kernel.left.min(until - self.now);
            if next != self.current {
                step = step.min(self.slice_end - self.now);
            }
            kernel.left -= step;
            context.busy += step;
            self.now += step;
            if kernel.left == 0 {
                let tag = kernel.tag;
                context.queue.pop_front();
                return Some(Finished {
                    context: self.current,
                    tag,
                    at: self.now,
                });
            }
        }
    }

    /// Returns the number of kernels queued and not done.
    pub fn queued(&self, context: usize) -> usize {
        self.contexts[context].queue.len()
    }
}
