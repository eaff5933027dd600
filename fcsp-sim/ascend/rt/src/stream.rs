//! Streams. Each is on its own; no stream waits for another unless it is told to.

use crate::abi::Out;
use crate::codes::{
    PARAM_INVALID, Reply, STREAM_CAPTURED, STREAM_CONTEXT, STREAM_MODEL, STREAM_SYNC_TIMEOUT,
};
use crate::driver::{Driver, Open, current, driver};
use crate::event::find;
use crate::export::api;
use fcsp_sim::graph::{HostCall, Work};
use fcsp_sim::stream::Op;
use fcsp_sim::strict::{Rule, is_on};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Work being recorded on a stream.
#[derive(Debug, Default)]
pub struct Recording {
    /// The model that a capture fills; none while a stream is bound to a model that is being built
    /// by hand.
    pub model: u64,
    /// The work so far.
    pub work: Vec<Work>,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// Its handle. Another stream's once this one is destroyed.
    pub handle: u64,
    /// Its queue in the device's timeline, which no other stream ever has.
    pub queue: u64,
    /// A small number that no other stream has.
    pub id: i32,
    /// Its context's number.
    pub context: u64,
    /// The model that it is bound to; 0 for none.
    pub model: AtomicU64,
    open: Weak<Open>,
    /// Flags it was created with.
    pub flags: u32,
    /// From 0, the most urgent, to 7.
    pub priority: u32,
    recording: Mutex<Option<Recording>>,
}

impl Stream {
    /// Makes a stream of a context on a device.
    pub fn make(
        d: &Driver,
        open: &Arc<Open>,
        context: u64,
        priority: u32,
        flags: u32,
    ) -> Arc<Self> {
        let number = d.process.region.fresh_id();
        let queue = 1 << 40 | number;
        open.timeline.open(queue, false, priority.min(7) as i32);
        let make = |handle| Stream {
            handle,
            queue,
            id: number as i32,
            context,
            model: AtomicU64::new(0),
            open: Arc::downgrade(open),
            flags,
            priority,
            recording: Mutex::default(),
        };
        d.streams.add_with(make).1
    }

    /// What it records, if it does.
    pub fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        let ops = work.ops(
            &d.process.topology.devices[open.device],
            &d.memory,
            &d.graphs,
        )?;
        Ok(open.timeline.submit(self.queue, ops)?)
    }

    /// Runs operations that cannot be recorded.
    pub fn submit(&self, ops: Vec<Op>) -> Reply {
        if self.recording().is_some() {
            return Err(STREAM_CAPTURED);
        }
        Ok(self.open()?.timeline.submit(self.queue, ops)?)
    }

    /// Waits for its work.
    pub fn finish(&self) -> Reply {
        if self.recording().is_some() {
            return Err(STREAM_CAPTURED);
        }
        Ok(self.open()?.timeline.synchronise_stream(self.queue)?)
    }
}

/// Returns the stream of a handle, of whatever context; 0 is the current context's own.
pub fn named(handle: u64) -> Reply<Arc<Stream>> {
    if handle == 0 {
        return Ok(current()?.default.clone());
    }
    driver()?.streams.get(handle).map_err(|_| STREAM_CONTEXT)
}

/// Returns the stream of a handle, which must be of the current context: the runtime compares them
/// ("stream is not in current ctx") in all calls that put work on a stream or destroy it.
///
/// # Errors
/// `CONTEXT_NULL` without a context, `STREAM_CONTEXT` for a stream of another.
pub fn target(handle: u64) -> Reply<Arc<Stream>> {
    let s = named(handle)?;
    if is_on(Rule::Contexts) && current()?.id != s.context {
        return Err(STREAM_CONTEXT);
    }
    Ok(s)
}

fn create(place: Out<u64>, priority: i32, flags: u32) -> Reply {
    place.need()?;
    let priority = u32::try_from(priority).map_err(|_| PARAM_INVALID)?;
    let c = current()?;
    place.put(Stream::make(driver()?, &c.open, c.id, priority, flags).handle)
}

fn destroy(handle: u64) -> Reply {
    let s = target(handle)?;
    // Relaxed: a thread that binds a stream while another destroys it breaks a rule of its own.
    if handle == 0 || s.model.load(Relaxed) != 0 {
        return Err(if handle == 0 {
            PARAM_INVALID
        } else {
            STREAM_MODEL
        });
    }
    let s = driver()?
        .streams
        .remove(handle)
        .map_err(|_| STREAM_CONTEXT)?;
    if let Ok(open) = s.open() {
        open.timeline.close(s.queue);
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
        named(stream)?.finish()
    }
    fn rtStreamSynchronizeWithTimeout(stream: u64, timeout_ms: i32) {
        let s = named(stream)?;
        if timeout_ms < 0 {
            return s.finish();
        }
        let end = fcsp_sim::clock::now() + timeout_ms as u64 * 1_000_000;
        while !s.open()?.timeline.query(s.queue)? {
            if fcsp_sim::clock::now() > end {
                return Err(STREAM_SYNC_TIMEOUT);
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        Ok(())
    }
    fn rtStreamQuery(stream: u64) {
        let s = named(stream)?;
        if s.open()?.timeline.query(s.queue)? { Ok(()) } else { Err(NOT_COMPLETE) }
    }
    fn rtStreamWaitEvent(stream: u64, event: u64) {
        let e = find(event)?;
        let s = target(stream)?;
        if s.recording().is_some() {
            return s.run(Work::Wait(e.event.clone()));
        }
        s.submit(vec![Op::Wait(e.event.clone(), e.event.latest())])
    }
    fn rtGetStreamId(stream: u64, id: Out<i32>) {
        id.put(named(stream)?.id)
    }
    fn rtStreamGetPriority(stream: u64, priority: Out<u32>) {
        priority.put(named(stream)?.priority)
    }
    fn rtStreamGetFlags(stream: u64, flags: Out<u32>) {
        flags.put(named(stream)?.flags)
    }
    fn rtsLaunchHostFunc(stream: u64, f: Option<extern "C" fn(usize)>, data: usize) {
        target(stream)?.run(Work::Host(HostCall { f: f.ok_or(PARAM_INVALID)?, data }))
    }
}
