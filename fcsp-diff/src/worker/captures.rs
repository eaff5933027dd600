//! Operations that capture the work of streams.

use super::objects::{Form, Object, PROCESS};
use super::{Capture, Done, Thread, code};
use crate::program::FIRST_ID;
use crate::record::Outcome;

impl Thread<'_> {
    /// Returns a stream's capture status: 0 none, 1 active, 2 invalidated.
    pub(super) fn status(&self, handle: u64) -> u32 {
        if self.captures.is_empty() {
            return 0;
        }
        let mut status = 0u32;
        self.call("cuStreamIsCapturing", &[handle, &raw mut status as u64]);
        status
    }

    /// Returns true if work put into a stream now is recorded.
    pub(super) fn recording(&self, stream: u64, handle: u64) -> bool {
        stream >= u64::from(FIRST_ID) && self.status(handle) == 1
    }

    /// Returns true if this thread has made the context.
    fn owns(&self, context: u32) -> bool {
        context >= FIRST_ID && context != PROCESS && {
            let object = self.world.objects.lock(context);
            object.live && object.owner == self.number
        }
    }

    pub(super) fn capture_begin(&mut self, id: u64, mode: u64) -> Done {
        let object = self
            .here(id, 's')
            .filter(|object| object.owner == self.number)?;
        // `cuCtxSynchronize` of any thread ends every capture in its context, whatever the mode
        // (driver 580). Other threads' calls end one of the global mode. With other threads, a
        // thread captures in a context of its own.
        let alone = self.world.threads == 0;
        if self.captures.len() > 2 || !(alone || self.owns(object.context)) {
            return None;
        }
        let mode = if alone { mode % 3 } else { 1 + mode % 2 };
        let begun = self.call("cuStreamBeginCapture_v2", &[object.handle, mode]);
        if begun == 0 {
            self.captures.push(Capture {
                stream: id as u32,
                parts: Vec::new(),
                allocated: Vec::new(),
            });
        }
        code(begun)
    }

    pub(super) fn capture_end(&mut self, id: u64) -> Done {
        let capture = self.captures.pop()?;
        let stream = self.world.objects.get(capture.stream);
        let mut graph = 0u64;
        let ended = self.call(
            "cuStreamEndCapture",
            &[stream.handle, &raw mut graph as u64],
        );
        for &memory in &capture.allocated {
            self.world.objects.lock(memory).live = false;
        }
        if graph == 0 {
            return Some(Outcome::new(ended).exact(0u64));
        }
        let mut parts: Vec<u32> = capture.parts.iter().map(|part| part.0).collect();
        parts.sort_unstable();
        parts.dedup();
        // Memory that two streams of the capture used is in no order.
        for &part in &parts {
            let mut streams = capture
                .parts
                .iter()
                .filter(|other| other.0 == part)
                .map(|other| other.1);
            let first = streams.next();
            if streams.any(|other| Some(other) != first) {
                parts.push(u32::MAX);
                break;
            }
        }
        let object = Object {
            form: if capture.allocated.is_empty() {
                Form::Plain
            } else {
                Form::Leaking
            },
            parts,
            ..self.of_here('g', graph)
        };
        self.keep(id, ended, object)
    }

    /// Ends captures that the program left open, and destroys their graphs.
    pub(super) fn finish_captures(&mut self) -> Done {
        let mut outcome = None;
        while let Some(capture) = self.captures.pop() {
            let stream = self.world.objects.get(capture.stream);
            let mut graph = 0u64;
            let ended = self.call(
                "cuStreamEndCapture",
                &[stream.handle, &raw mut graph as u64],
            );
            for &memory in &capture.allocated {
                self.world.objects.lock(memory).live = false;
            }
            let mut last = Outcome::new(ended);
            if graph != 0 {
                last = last.and(self.call("cuGraphDestroy", &[graph]));
            }
            outcome = Some(last);
        }
        outcome
    }

    pub(super) fn capture_ask(&mut self, id: u64) -> Done {
        let handle = self.stream(id)?;
        if self.foreign(id) {
            return None;
        }
        let (mut status, mut other, mut number) = (0u32, 0u32, 0u64);
        let asked = self.call("cuStreamIsCapturing", &[handle, &raw mut status as u64]);
        let got = self.call(
            "cuStreamGetCaptureInfo_v2",
            &[
                handle,
                &raw mut other as u64,
                &raw mut number as u64,
                0,
                0,
                0,
            ],
        );
        Some(Outcome::new(asked).exact(status).and(got).exact(other))
    }

    pub(super) fn capture_mode(&mut self, choice: u64) -> Done {
        let mut mode = (choice % 3) as u32;
        if self.world.threads > 0 {
            mode = mode.max(1);
        }
        let done = self.call("cuThreadExchangeStreamCaptureMode", &[&raw mut mode as u64]);
        Some(Outcome::new(done).exact(mode))
    }
}
