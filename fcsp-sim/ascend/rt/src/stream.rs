//! Streams. Each is on its own; no stream waits for another unless it is told to.

use crate::abi::Out;
use crate::codes::{PARAM_INVALID, Reply, STREAM_CAPTURED, STREAM_CONTEXT, STREAM_SYNC_TIMEOUT};
use crate::driver::{Driver, Open, current, driver};
use crate::export::api;
use fcsp_sim::graph::{HostCall, Work};
use fcsp_sim::stream::Op;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Work being recorded on a stream.
#[derive(Debug, Default)]
pub struct Recording {
    /// The model that a capture fills; none while a stream is bound to a model that is being built by hand.
    pub model: u64,
    /// The work so far.
    pub work: Vec<Work>,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// Its handle.
    pub handle: u64,
    /// A small number that no other stream has.
    pub id: i32,
    open: Weak<Open>,
    /// Flags it was created with.
    pub flags: u32,
    /// From 0, the most urgent, to 7.
    pub priority: u32,
    recording: Mutex<Option<Recording>>,
}

impl Stream {
    /// A stream on a device.
    pub fn make(d: &Driver, open: &Arc<Open>, priority: u32, flags: u32) -> Arc<Self> {
        let id = d.process.region.fresh_id() as i32;
        d.streams
            .add_with(|handle| {
                open.timeline.open(handle, false, priority.min(7) as i32);
                Stream {
                    handle,
                    id,
                    open: Arc::downgrade(open),
                    flags,
                    priority,
                    recording: Mutex::default(),
                }
            })
            .1
    }

    /// Whether it is on this device.
    pub fn is_of(&self, open: &Arc<Open>) -> bool {
        self.open.upgrade().is_some_and(|o| Arc::ptr_eq(&o, open))
    }

    /// What it records, if it does.
    pub fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its device.
    pub fn open(&self) -> Reply<Arc<Open>> {
        let open = self.open.upgrade().ok_or(STREAM_CONTEXT)?;
        open.usable()?;
        Ok(open)
    }

    /// Runs work, or records it.
    pub fn run(&self, work: Work) -> Reply {
        let open = self.open()?;
        if let Some(r) = self.recording().as_mut() {
            r.work.push(work);
            return Ok(());
        }
        let d = driver()?;
        let ops = work.ops(&d.process.topology.devices[open.device], &d.memory, &d.graphs)?;
        Ok(open.timeline.submit(self.handle, ops)?)
    }

    /// Runs operations that cannot be recorded.
    pub fn submit(&self, ops: Vec<Op>) -> Reply {
        if self.recording().is_some() {
            return Err(STREAM_CAPTURED);
        }
        Ok(self.open()?.timeline.submit(self.handle, ops)?)
    }

    /// Waits for its work.
    pub fn finish(&self) -> Reply {
        if self.recording().is_some() {
            return Err(STREAM_CAPTURED);
        }
        Ok(self.open()?.timeline.synchronise_stream(self.handle)?)
    }
}

/// The stream of a handle; 0 is the current context's own.
pub fn target(handle: u64) -> Reply<Arc<Stream>> {
    if handle == 0 {
        return Ok(current()?.default.clone());
    }
    driver()?.streams.get(handle).map_err(|_| STREAM_CONTEXT)
}

fn create(place: Out<u64>, priority: i32, flags: u32) -> Reply {
    place.need()?;
    let priority = u32::try_from(priority).map_err(|_| PARAM_INVALID)?;
    let c = current()?;
    place.put(Stream::make(driver()?, &c.open, priority, flags).handle)
}

fn destroy(handle: u64) -> Reply {
    let s = driver()?.streams.remove(handle).map_err(|_| STREAM_CONTEXT)?;
    if let Ok(open) = s.open() {
        open.timeline.close(handle);
    }
    Ok(())
}

/// `RT_ERROR_STREAM_NOT_COMPLETE` as the runtime answers a query.
const NOT_COMPLETE: crate::codes::Code = crate::codes::Code(0x0711_0007);

api! {
    fn rtStreamCreate(place: Out<u64>, priority: i32) {
        create(place, priority, 0)
    }
    fn rtStreamCreateWithFlags(place: Out<u64>, priority: i32, flags: u32) {
        create(place, priority, flags)
    }
    fn rtStreamDestroy, rtStreamDestroyForce(stream: u64) {
        destroy(stream)
    }
    fn rtStreamSynchronize(stream: u64) {
        target(stream)?.finish()
    }
    fn rtStreamSynchronizeWithTimeout(stream: u64, timeout_ms: i32) {
        let s = target(stream)?;
        if timeout_ms < 0 {
            return s.finish();
        }
        let end = fcsp_sim::clock::now() + timeout_ms as u64 * 1_000_000;
        while !s.open()?.timeline.query(s.handle)? {
            if fcsp_sim::clock::now() > end {
                return Err(STREAM_SYNC_TIMEOUT);
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        Ok(())
    }
    fn rtStreamQuery(stream: u64) {
        let s = target(stream)?;
        if s.open()?.timeline.query(s.handle)? { Ok(()) } else { Err(NOT_COMPLETE) }
    }
    fn rtStreamWaitEvent(stream: u64, event: u64) {
        let e = driver()?.events.get(event)?;
        let s = target(stream)?;
        if s.recording().is_some() {
            return s.run(Work::Wait(e.event.clone()));
        }
        s.submit(vec![Op::Wait(e.event.clone(), e.event.latest())])
    }
    fn rtGetStreamId(stream: u64, id: Out<i32>) {
        id.put(target(stream)?.id)
    }
    fn rtStreamGetPriority(stream: u64, priority: Out<u32>) {
        priority.put(target(stream)?.priority)
    }
    fn rtStreamGetFlags(stream: u64, flags: Out<u32>) {
        flags.put(target(stream)?.flags)
    }
    fn rtsLaunchHostFunc(stream: u64, f: Option<extern "C" fn(usize)>, data: usize) {
        target(stream)?.run(Work::Host(HostCall { f: f.ok_or(PARAM_INVALID)?, data }))
    }
}
