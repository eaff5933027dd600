//! Operations on streams and events.

use super::objects::{Form, NOWHERE};
use super::{Done, Thread, code};
use crate::driver::Route;
use crate::program::{FIRST_ID, LEGACY_STREAM, NULL_STREAM};
use crate::record::Outcome;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `CUDA_ERROR_NOT_READY`.
const NOT_READY: i32 = 600;

/// An event that no stream has recorded outside a capture.
const UNRECORDED: u64 = 0;
/// An event whose last record is outside captures.
const RECORDED: u64 = 1;
/// An event that was recorded, and then in a capture.
const CAPTURED_LATER: u64 = 2;

/// Host functions that ran, for the record of what a stream did.
static CALLED: AtomicU64 = AtomicU64::new(0);

pub(super) unsafe extern "C" fn count(_: *mut c_void) {
    CALLED.fetch_add(1, Relaxed);
}

/// Returns the outcome of a query for completed work. It depends on time, so both answers are made
/// one.
fn ready(code: i32) -> Done {
    Some(Outcome::new(if code == NOT_READY { 0 } else { code }))
}

impl Thread<'_> {
    /// Returns true if a stream is the legacy stream by this route.
    fn legacy(&self, stream: u32) -> bool {
        stream == LEGACY_STREAM
            || stream == NULL_STREAM && self.world.session.driver.route != Route::AddressesPerThread
    }

    /// Returns true if work on `next` always comes after all work on `last`.
    pub(super) fn in_order(&self, last: u32, next: u32) -> bool {
        let blocking = |stream: u32| {
            stream >= FIRST_ID && self.world.objects.lock(stream).form != Form::NonBlocking
        };
        last == NOWHERE
            || last == next
            || self.legacy(last) && (self.legacy(next) || blocking(next))
            || self.legacy(next) && blocking(last)
    }

    pub(super) fn stream_create(&mut self, id: u64, flags: u64, priority: Option<u64>) -> Done {
        let flags = [0, 1, 1, 5][flags as usize % 4];
        let mut handle = 0u64;
        let at = &raw mut handle as u64;
        let made = match priority {
            None => self.call("cuStreamCreate", &[at, flags]),
            Some(choice) => {
                let priority = [0i32, -1, -5, 3, -100][choice as usize % 5];
                self.call("cuStreamCreateWithPriority", &[at, flags, priority as u64])
            }
        };
        let mut object = self.of_here('s', handle);
        if flags == 1 {
            object.form = Form::NonBlocking;
        }
        self.keep(id, made, object)
    }

    pub(super) fn stream_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 's')?;
        if self.status(object.handle) != 0 {
            return None;
        }
        let ended = self.call("cuStreamDestroy_v2", &[object.handle]);
        self.end(id, ended)
    }

    pub(super) fn stream_sync(&mut self, id: u64) -> Done {
        let handle = self.stream(id)?;
        let done = self.call("cuStreamSynchronize", &[handle]);
        if done == 0 {
            self.world.objects.each(|_, object| {
                if object.owner == self.number && object.pending == id as u32 {
                    object.pending = NOWHERE;
                }
            });
        }
        code(done)
    }

    pub(super) fn stream_query(&mut self, id: u64) -> Done {
        let handle = self.stream(id)?;
        ready(self.call("cuStreamQuery", &[handle]))
    }

    pub(super) fn stream_ask(&mut self, id: u64, choice: u64) -> Done {
        let handle = self.stream(id)?;
        let mut word = 0u64;
        let at = &raw mut word as u64;
        Some(match choice % 4 {
            0 => Outcome::new(self.call("cuStreamGetFlags", &[handle, at])).exact(word),
            1 => Outcome::new(self.call("cuStreamGetPriority", &[handle, at])).exact(word as u32),
            2 => {
                let got = self.call("cuStreamGetCtx", &[handle, at]);
                let current = self.current().map_or(0, |id| self.context_handle(id));
                Outcome::new(got).exact(word == current)
            }
            _ => Outcome::new(self.call("cuStreamGetId", &[handle, at])),
        })
    }

    pub(super) fn stream_wait(&mut self, stream: u64, event: u64) -> Done {
        let handle = self.stream(stream)?;
        let object = self.here(event, 'e')?;
        if self.foreign(stream) || object.owner != self.number {
            return None;
        }
        code(self.call("cuStreamWaitEvent", &[handle, object.handle, 0]))
    }

    /// Returns true if a capture of this thread must not reach a stream, since others use it.
    pub(super) fn foreign(&self, stream: u64) -> bool {
        !self.captures.is_empty()
            && self.world.threads > 0
            && (stream < u64::from(FIRST_ID)
                || self.world.objects.lock(stream as u32).owner != self.number)
    }

    pub(super) fn host_function(&mut self, stream: u64) -> Done {
        let handle = self.stream(stream)?;
        code(self.call("cuLaunchHostFunc", &[handle, count as *const () as u64, 0]))
    }

    pub(super) fn event_create(&mut self, id: u64, flags: u64) -> Done {
        let flags = [0, 2, 1, 3, 8][flags as usize % 5];
        let mut handle = 0u64;
        let made = self.call("cuEventCreate", &[&raw mut handle as u64, flags]);
        let mut object = self.of_here('e', handle);
        if flags & 2 != 0 {
            object.form = Form::Untimed;
        }
        self.keep(id, made, object)
    }

    pub(super) fn event_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'e').filter(|_| !self.in_graph(id))?;
        let ended = self.call("cuEventDestroy_v2", &[object.handle]);
        self.end(id, ended)
    }

    pub(super) fn event_record(&mut self, id: u64, stream: u64) -> Done {
        let object = self.here(id, 'e')?;
        let handle = self.stream(stream)?;
        if self.foreign(stream) || object.owner != self.number {
            return None;
        }
        // A capture that is invalid takes a record as well, and nothing comes of it.
        let captured = stream >= u64::from(FIRST_ID) && self.status(handle) != 0;
        let done = self.call("cuEventRecord", &[object.handle, handle]);
        if done == 0 {
            self.world.objects.lock(id as u32).more = match (captured, object.more) {
                (false, _) => RECORDED,
                (true, UNRECORDED) => UNRECORDED,
                (true, _) => CAPTURED_LATER,
            };
        }
        code(done)
    }

    pub(super) fn event_query(&mut self, id: u64) -> Done {
        let object = self.here(id, 'e')?;
        ready(self.call("cuEventQuery", &[object.handle]))
    }

    pub(super) fn event_sync(&mut self, id: u64) -> Done {
        let object = self.here(id, 'e')?;
        code(self.call("cuEventSynchronize", &[object.handle]))
    }

    pub(super) fn event_elapsed(&mut self, from: u64, to: u64) -> Done {
        let (from, to) = (self.here(from, 'e')?, self.here(to, 'e')?);
        // Where one event is unfinished and the other never recorded or untimed, time decides which
        // of the two is complained of. The record before a capture may be unfinished, too.
        if from.more != to.more || from.more == CAPTURED_LATER || from.form != to.form {
            return None;
        }
        let mut milliseconds = 0f32;
        ready(self.call(
            "cuEventElapsedTime",
            &[&raw mut milliseconds as u64, from.handle, to.handle],
        ))
    }
}
