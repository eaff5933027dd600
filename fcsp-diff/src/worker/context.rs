//! Operations on contexts, their limits, and the synchronisation of one.

use super::objects::{NOWHERE, Object, PROCESS};
use super::{Done, Thread, code};
use crate::program::PRIMARY;
use crate::record::{Outcome, Value};

/// Limits and values to set them to. A device's stacks grow by multiprocessors times threads times
/// the difference.
const LIMITS: [(u64, [u64; 3]); 7] = [
    (0, [1024, 1280, 2048]),
    (1, [1 << 20, 1 << 21, 3 << 20]),
    (2, [8 << 20, 16 << 20, 9 << 20]),
    (3, [2, 3, 2]),
    (4, [2048, 4096, 2048]),
    (5, [32, 64, 128]),
    (99, [0, 1, 2]),
];

impl Thread<'_> {
    pub(super) fn ctx_create(&mut self, id: u64, flags: u64) -> Done {
        let mut handle = 0u64;
        let flags = [0, 8, 4, 1][flags as usize % 4];
        let made = self.call(
            "cuCtxCreate_v2",
            &[&raw mut handle as u64, flags, self.device()],
        );
        if made == 0 {
            self.stack.push(id as u32);
        }
        let object = Object {
            kind: 'c',
            handle,
            context: PROCESS,
            ..Object::default()
        };
        self.keep(id, made, object)
    }

    pub(super) fn ctx_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'c')?;
        let id = id as u32;
        let (top, below) = match self.stack.split_last() {
            Some((&top, below)) => (top == id, below.contains(&id)),
            None => (false, false),
        };
        if below || !self.captures.is_empty() {
            return None;
        }
        self.end_dependants(id, &['x', 'g']);
        let ended = self.call("cuCtxDestroy_v2", &[object.handle]);
        if ended == 0 {
            if top {
                self.stack.pop();
            }
            self.context_ended(id);
        }
        let done = self.end(u64::from(id), ended)?;
        Some(done.exact(u64::from(self.current_is_as_expected())))
    }

    /// Destroys what may not outlive a context: executables, graphs, memory in stream order, and
    /// kinds that the caller names.
    fn end_dependants(&mut self, context: u32, kinds: &[char]) {
        let current = self.current();
        for id in self.world.objects.alive() {
            let object = self.world.objects.get(id);
            let ordered = object.kind == 'm' && object.form == super::objects::Form::Ordered;
            let within =
                object.context == context || context == PRIMARY && object.context == PROCESS;
            if within && object.owner == self.number && (kinds.contains(&object.kind) || ordered) {
                if ordered && object.pending != NOWHERE {
                    self.quiet_everywhere();
                }
                self.destroy(id);
            }
        }
        if self.current() != current {
            let handle = current.map_or(0, |id| self.context_handle(id));
            self.call("cuCtxSetCurrent", &[handle]);
            self.stack.pop();
            self.stack.extend(current);
        }
    }

    /// Returns true if the driver names the context that follows from this thread's history.
    fn current_is_as_expected(&self) -> bool {
        let mut handle = 0u64;
        self.call("cuCtxGetCurrent", &[&raw mut handle as u64]);
        handle == self.current().map_or(0, |id| self.context_handle(id))
    }

    /// Returns a context that can be made current.
    fn context(&self, id: u64) -> Option<(u32, u64)> {
        if id < u64::from(crate::program::FIRST_ID) {
            return Some((PRIMARY, self.context_handle(PRIMARY)));
        }
        self.usable(id, 'c')
            .map(|object| (id as u32, object.handle))
    }

    pub(super) fn ctx_push(&mut self, id: u64) -> Done {
        let (id, handle) = self.context(id)?;
        let pushed = self.call("cuCtxPushCurrent_v2", &[handle]);
        if pushed == 0 {
            self.stack.push(id);
        }
        Some(Outcome::new(pushed).exact(u64::from(self.current_is_as_expected())))
    }

    /// Pops; a thread without a context asks for memory, and gets the primary context back.
    pub(super) fn ctx_pop(&mut self) -> Done {
        let mut popped = 0u64;
        let result = self.call("cuCtxPopCurrent_v2", &[&raw mut popped as u64]);
        let expected = self.current().map_or(0, |id| self.context_handle(id));
        if result == 0 {
            self.stack.pop();
        }
        let mut outcome = Outcome::new(result)
            .exact(u64::from(popped == expected))
            .exact(u64::from(self.current_is_as_expected()));
        if self.stack.is_empty() {
            let (mut memory, mut free, mut total) = (0u64, 0u64, 0u64);
            outcome = outcome
                .and(self.call("cuMemAlloc_v2", &[&raw mut memory as u64, 4096]))
                .and(self.call(
                    "cuMemGetInfo_v2",
                    &[&raw mut free as u64, &raw mut total as u64],
                ))
                .and(self.call("cuStreamSynchronize", &[0]))
                .and(self.call("cuCtxSetCurrent", &[self.context_handle(PRIMARY)]));
            self.stack.push(PRIMARY);
        }
        Some(outcome)
    }

    pub(super) fn ctx_set(&mut self, id: u64) -> Done {
        let (id, handle) = self.context(id)?;
        let set = self.call("cuCtxSetCurrent", &[handle]);
        if set == 0 {
            self.stack.pop();
            self.stack.push(id);
        }
        Some(Outcome::new(set).exact(u64::from(self.current_is_as_expected())))
    }

    pub(super) fn ctx_sync(&mut self) -> Done {
        let done = self.call("cuCtxSynchronize", &[]);
        if done == 0 {
            self.all_ended();
        }
        code(done)
    }

    /// Notes that this thread's work in the current context has ended.
    pub(super) fn all_ended(&self) {
        let current = self.current().unwrap_or(PROCESS);
        self.world.objects.each(|_, object| {
            if object.owner == self.number
                && (object.context == current || object.context == PROCESS)
            {
                (object.pending, object.racing) = (NOWHERE, false);
            }
        });
    }

    pub(super) fn limit_get(&mut self, choice: u64) -> Done {
        let mut value = 0u64;
        let limit = LIMITS[choice as usize % LIMITS.len()].0;
        let got = self.call("cuCtxGetLimit", &[&raw mut value as u64, limit]);
        // Shared contexts have limits that other threads set.
        let value = if self.world.threads == 0 { value } else { 0 };
        Some(Outcome::new(got).exact(value))
    }

    pub(super) fn limit_set(&mut self, choice: u64, which: u64) -> Done {
        if self.world.threads > 0 || !self.captures.is_empty() {
            return None;
        }
        let (limit, values) = LIMITS[choice as usize % LIMITS.len()];
        let (mut old, mut new) = (0u64, 0u64);
        self.call("cuCtxGetLimit", &[&raw mut old as u64, limit]);
        let set = self.call("cuCtxSetLimit", &[limit, values[which as usize % 3]]);
        if set == 0
            && self.current() == Some(PRIMARY)
            && self.limits.iter().all(|kept| kept.0 != limit)
        {
            self.limits.push((limit, old));
        }
        self.call("cuCtxGetLimit", &[&raw mut new as u64, limit]);
        Some(Outcome::new(set).exact(new))
    }

    pub(super) fn primary_reset(&mut self) -> Done {
        if self.world.threads > 0 || !self.captures.is_empty() || self.stack != [PRIMARY] {
            return None;
        }
        // Pools are the device's: other contexts' memory from them would lose its pool.
        let others = |id: &u32| self.world.objects.lock(*id).kind == 'c';
        if self.world.objects.alive().iter().any(others) {
            return None;
        }
        self.end_dependants(PRIMARY, &['x', 'g', 'r', 'y', 'p']);
        let default = self.default_pool();
        let mut outcome = Outcome::new(self.call("cuDeviceSetMemPool", &[self.device(), default]))
            .and(self.call("cuDevicePrimaryCtxRelease_v2", &[self.device()]))
            .and(self.call("cuDevicePrimaryCtxReset_v2", &[self.device()]));
        self.context_ended(PRIMARY);
        self.was_reset = true;
        outcome = outcome.with(Value::Exact(u64::from(self.world.session.retain().is_ok())));
        Some(outcome)
    }

    pub(super) fn primary_retain(&mut self) -> Done {
        let (mut handle, mut flags, mut active) = (0u64, 0u32, 0i32);
        let retained = self.call(
            "cuDevicePrimaryCtxRetain",
            &[&raw mut handle as u64, self.device()],
        );
        let state = self.call(
            "cuDevicePrimaryCtxGetState",
            &[self.device(), &raw mut flags as u64, &raw mut active as u64],
        );
        let released = self.call("cuDevicePrimaryCtxRelease_v2", &[self.device()]);
        Some(
            Outcome::new(retained)
                .exact(u64::from(handle == self.context_handle(PRIMARY)))
                .and(state)
                .exact(flags)
                .exact(active as u64)
                .and(released),
        )
    }
}
