//! Operations that allocate and free memory.

use super::objects::{Form, NOWHERE, Object};
use super::{Done, Thread, code};
use crate::program::{FIRST_ID, PRIMARY};
use crate::record::{Outcome, Value};

/// Attributes for `cuPointerGetAttribute`. True if the answer is an address or the like, and only
/// compared with 0.
const ATTRIBUTES: [(u64, bool); 10] = [
    (2, false),
    (1, true),
    (3, true),
    (8, false),
    (9, false),
    (12, false),
    (13, false),
    (14, false),
    (17, true),
    (99, false),
];

impl Thread<'_> {
    pub(super) fn mem_alloc(&mut self, id: u64, bytes: u64) -> Done {
        let mut handle = 0u64;
        let made = self.call("cuMemAlloc_v2", &[&raw mut handle as u64, bytes]);
        let object = self.of_here('m', handle);
        self.keep(id, made, Object { bytes, ..object })
    }

    pub(super) fn mem_pitch(&mut self, id: u64, width: u64, height: u64, choice: u64) -> Done {
        let (mut handle, mut pitch) = (0u64, 0u64);
        let element = [4, 8, 16, 4, 4, 3][choice as usize % 6];
        let at = &raw mut handle as u64;
        let made = self.call(
            "cuMemAllocPitch_v2",
            &[at, &raw mut pitch as u64, width, height, element],
        );
        let object = self.of_here('m', handle);
        let bytes = pitch.saturating_mul(height);
        let outcome = self.keep(id, made, Object { bytes, ..object })?;
        Some(outcome.exact(if made == 0 { pitch } else { 0 }))
    }

    pub(super) fn mem_managed(&mut self, id: u64, bytes: u64, flags: u64) -> Done {
        let mut handle = 0u64;
        // Small amounts: a card that runs out of managed memory can hang.
        let bytes = bytes.min(4 << 20);
        let flags = [1, 1, 2, 7][flags as usize % 4];
        let made = self.call("cuMemAllocManaged", &[&raw mut handle as u64, bytes, flags]);
        let object = self.of_here('m', handle);
        let form = Form::Managed;
        self.keep(
            id,
            made,
            Object {
                bytes,
                form,
                ..object
            },
        )
    }

    pub(super) fn mem_host(&mut self, id: u64, bytes: u64, choice: u64) -> Done {
        let mut handle = 0u64;
        let at = &raw mut handle as u64;
        let bytes = bytes.min(1 << 20);
        let made = match choice % 4 {
            0 => self.call("cuMemAllocHost_v2", &[at, bytes]),
            flags => self.call("cuMemHostAlloc", &[at, bytes, flags - 1]),
        };
        let object = self.of_here('h', handle);
        self.keep(id, made, Object { bytes, ..object })
    }

    pub(super) fn host_free(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'h')?;
        if !self.captures.is_empty()
            || ((object.pending != NOWHERE || object.racing) && self.quiet() != 0)
        {
            return None;
        }
        let ended = self.call("cuMemFreeHost", &[object.handle]);
        self.end(id, ended)
    }

    /// Allocates in stream order, from the current pool or a named one. In a capture that is a node
    /// of its graph.
    pub(super) fn mem_async(
        &mut self,
        id: u64,
        bytes: u64,
        pool: Option<u64>,
        stream: u64,
    ) -> Done {
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        let mut address = 0u64;
        let at = &raw mut address as u64;
        let made = match pool {
            None => self.call("cuMemAllocAsync", &[at, bytes, handle]),
            Some(pool) => {
                let pool = self.pool(pool)?;
                self.call("cuMemAllocFromPoolAsync", &[at, bytes, pool, handle])
            }
        };
        let object = self.of_here('m', address);
        let form = if recorded {
            Form::Recorded
        } else {
            Form::Ordered
        };
        let outcome = self.keep(
            id,
            made,
            Object {
                bytes,
                form,
                ..object
            },
        );
        if made == 0 {
            let mut object = self.world.objects.lock(id as u32);
            object.pending = stream as u32;
            // A pool of the program must outlive what is allocated from it.
            let pool = pool.map_or(self.current_pool, |pool| pool as u32);
            object.parts.extend((pool >= FIRST_ID).then_some(pool));
            if recorded {
                for capture in &mut self.captures {
                    capture.allocated.push(id as u32);
                }
            }
        }
        outcome
    }

    pub(super) fn mem_free(&mut self, id: u64) -> Done {
        let object = self
            .usable(id, 'm')
            .filter(|object| object.owner == self.number)?;
        // What was allocated in stream order is freed at once, without waiting for work that uses
        // it.
        let waits = object.form == Form::Ordered && object.pending != NOWHERE;
        if object.form == Form::Recorded
            || waits
                && (Some(object.context) != self.current()
                    || !self.captures.is_empty()
                    || self.quiet() != 0)
        {
            return None;
        }
        let ended = self.call("cuMemFree_v2", &[object.handle]);
        self.end(id, ended)
    }

    pub(super) fn mem_free_async(&mut self, id: u64, stream: u64) -> Done {
        let object = self.ending(id, 'm')?;
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        let right = if recorded {
            Form::Recorded
        } else {
            Form::Ordered
        };
        if object.form != right || !self.in_order(object.pending, stream as u32) {
            return None;
        }
        let ended = self.call("cuMemFreeAsync", &[object.handle, handle]);
        if ended == 0 {
            // It is free once the stream's work has ended.
            self.world.objects.lock(id as u32).pending = stream as u32;
            for capture in &mut self.captures {
                capture.allocated.retain(|&other| u64::from(other) != id);
            }
        }
        self.end(id, ended)
    }

    pub(super) fn mem_range(&mut self, id: u64) -> Done {
        let object = self
            .here(id, 'm')
            .filter(|object| object.form != Form::Recorded)?;
        let (mut base, mut bytes) = (0u64, 0u64);
        let inside = object.handle + object.bytes / 2;
        let got = self.call(
            "cuMemGetAddressRange_v2",
            &[&raw mut base as u64, &raw mut bytes as u64, inside],
        );
        Some(Outcome::new(got).exact(base == object.handle).exact(bytes))
    }

    pub(super) fn pointer_ask(&mut self, id: u64, choice: u64) -> Done {
        let object = self
            .here(id, 'm')
            .filter(|object| object.form != Form::Recorded)?;
        let (attribute, address) = ATTRIBUTES[choice as usize % ATTRIBUTES.len()];
        let mut word = 0u64;
        let got = self.call(
            "cuPointerGetAttribute",
            &[&raw mut word as u64, attribute, object.handle],
        );
        let outcome = Outcome::new(got);
        Some(if address {
            outcome.exact(word != 0).with(Value::Shown(word))
        } else {
            outcome.exact(word)
        })
    }

    /// Waits for this thread's work in the current context, for calls that must not meet any.
    pub(super) fn quiet(&self) -> i32 {
        let done = self.call("cuCtxSynchronize", &[]);
        if done == 0 {
            self.all_ended();
        }
        done
    }

    /// Waits for this thread's work in every context; whether it all ended well.
    pub(super) fn quiet_everywhere(&mut self) -> bool {
        let mut good = true;
        let others: Vec<u32> = self
            .world
            .objects
            .alive()
            .into_iter()
            .filter(|&id| {
                let object = self.world.objects.lock(id);
                object.kind == 'c' && object.owner == self.number
            })
            .chain([PRIMARY])
            .collect();
        for context in others {
            good &= self.call("cuCtxPushCurrent_v2", &[self.context_handle(context)]) == 0;
            self.stack.push(context);
            good &= self.quiet() == 0;
            let mut popped = 0u64;
            good &= self.call("cuCtxPopCurrent_v2", &[&raw mut popped as u64]) == 0;
            self.stack.pop();
        }
        good
    }

    /// Ends an object after its work has ended.
    pub(super) fn end_quietly(&mut self, id: u64, name: &'static str, handle: u64) -> Done {
        if !self.captures.is_empty() {
            return None;
        }
        match self.quiet() {
            0 => {
                let ended = self.call(name, &[handle]);
                self.end(id, ended)
            }
            other => code(other),
        }
    }
}
