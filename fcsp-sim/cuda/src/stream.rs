//! Streams.

use crate::abi::{In, Out};
use crate::capture::{Recording, forbid_by};
use crate::codes::{
    CAPTURE_IMPLICIT, CAPTURE_UNSUPPORTED, INVALID_HANDLE, INVALID_VALUE, NOT_PERMITTED, NOT_READY,
    Reply,
};
use crate::driver::{Context, Stream, current, driver};
use crate::export::{api, stream_api};
use fcsp_sim::graph::{HostCall, Work};
use fcsp_sim::stream::{LEGACY, Op};
use fcsp_sim::strict::Rule;
use std::cell::RefCell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::ThreadId;

/// The most urgent priority; 0 is the least.
pub const GREATEST: i32 = -5;
const NON_BLOCKING: u32 = 1;

/// A stream that a call names, with its context.
#[derive(Debug, Clone)]
pub struct Target {
    /// The context.
    pub context: Arc<Context>,
    /// The stream.
    pub stream: Arc<Stream>,
}

/// Contexts in which a thread has a default stream of its own. The streams end with it.
struct Own {
    thread: ThreadId,
    process: u32,
    contexts: Vec<Weak<Context>>,
}

thread_local! {
    static OWN: RefCell<Own> = RefCell::new(Own {
        thread: std::thread::current().id(),
        process: std::process::id(),
        contexts: Vec::new(),
    });
}

impl Drop for Own {
    fn drop(&mut self) {
        // In a forked child another thread may have held the locks.
        if std::process::id() != self.process {
            return;
        }
        for context in self.contexts.iter().filter_map(Weak::upgrade) {
            let mut all = context
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // One that records a graph is still counted as such.
            let records = |s: &Arc<Stream>| {
                s.capture
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .is_some()
            };
            if all.get(&self.thread).is_some_and(|stream| !records(stream))
                && let Some(stream) = all.remove(&self.thread)
            {
                drop(all);
                context.timeline.close(stream.queue);
            }
        }
    }
}

fn of_thread(c: &Arc<Context>) -> Reply<Arc<Stream>> {
    let d = driver()?;
    let mut all = c.threads.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stream) = all.get(&std::thread::current().id()) {
        return Ok(stream.clone());
    }
    let id = d.process.region.fresh_id();
    let queue = 2 << 40 | id;
    c.timeline.open(queue, true, 0);
    let context = Arc::downgrade(c);
    let stream = Arc::new(Stream {
        queue,
        context: context.clone(),
        flags: 0,
        priority: 0,
        id,
        units: AtomicU32::new(0),
        capture: Mutex::default(),
        attributes: Mutex::default(),
    });
    all.insert(std::thread::current().id(), stream.clone());
    // A thread that is ending already leaves its stream behind.
    let _ = OWN.try_with(|own| own.borrow_mut().contexts.push(context));
    Ok(stream)
}

/// Returns the stream of a handle. 0 is the legacy stream or the thread's own, by the variant
/// called; 1 and 2 are those two.
pub fn target(handle: u64, per_thread: bool) -> Reply<Target> {
    match handle {
        0..=2 => {
            let context = current()?;
            let own = handle == 2 || (handle == 0 && per_thread);
            let stream = if own {
                of_thread(&context)?
            } else {
                context.legacy.clone()
            };
            Ok(Target { context, stream })
        }
        _ => {
            let stream = driver()?.streams.get(handle)?;
            let context = stream.context.upgrade().ok_or(INVALID_HANDLE)?;
            context.usable()?;
            Ok(Target { context, stream })
        }
    }
}

impl Target {
    /// Returns the graph that the stream records, if it does.
    pub fn recording(&self) -> std::sync::MutexGuard<'_, Option<Recording>> {
        self.stream
            .capture
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if it orders itself with the legacy stream.
    pub fn is_blocking(&self) -> bool {
        self.stream.flags & NON_BLOCKING == 0
    }

    /// Refuses the legacy stream while a blocking stream records, since it would have to wait for
    /// that stream.
    pub fn implicit(&self) -> Reply {
        if self.stream.queue == LEGACY && self.context.captures.load(Relaxed) > 0 {
            return Err(CAPTURE_IMPLICIT);
        }
        Ok(())
    }

    /// Runs work on the stream, or records it.
    pub fn run(&self, work: Work) -> Reply {
        self.implicit()?;
        let mut recording = self.recording();
        if let Some(r) = recording.as_mut() {
            return r.record(work);
        }
        drop(recording);
        let d = driver()?;
        let spec = self.context.spec()?;
        let mut ops = work.ops(spec, &d.memory, &d.graphs.pool)?;
        let units = self.units()?;
        if (1..spec.sm).contains(&units) {
            // What it does to the device is the same; it takes the longer the fewer units do it.
            ops = ops
                .into_iter()
                .map(|op| match op {
                    Op::Engine(ns, effect) => {
                        let longer = u128::from(ns) * u128::from(spec.sm) / u128::from(units);
                        Op::Part(ns, longer as u64, effect)
                    }
                    other => other,
                })
                .collect();
        }
        Ok(self.context.timeline.submit(self.stream.queue, ops)?)
    }

    /// Compute units that its work runs on; 0 for all.
    fn units(&self) -> Reply<u32> {
        // Relaxed: whoever gave the stream its units did so before its first work.
        let own = self.stream.units.load(Relaxed);
        let all = driver()?.units.get(self.context.ordinal as usize);
        Ok(match own {
            0 if self.context.units > 0 => self.context.units,
            0 => all.map_or(0, |units| units.load(Relaxed)),
            own => own,
        })
    }

    /// Runs operations that cannot be recorded.
    pub fn submit(&self, ops: Vec<Op>) -> Reply {
        self.implicit()?;
        self.refuse_capture()?;
        Ok(self.context.timeline.submit(self.stream.queue, ops)?)
    }

    /// Fails, and spoils the recording, if the stream records.
    pub fn refuse_capture(&self) -> Reply {
        match self.recording().as_mut() {
            Some(r) => {
                r.spoil();
                Err(CAPTURE_UNSUPPORTED)
            }
            None => Ok(()),
        }
    }

    /// Waits for the stream's work.
    pub fn finish(&self) -> Reply {
        if fcsp_sim::stream::on_device_thread() {
            return Err(NOT_PERMITTED);
        }
        self.implicit()?;
        self.refuse_capture()?;
        self.context
            .timeline
            .synchronise_stream(self.stream.queue)?;
        driver()?.memory.pools_synchronised(self.context.device);
        Ok(())
    }
}

fn create(place: Out<u64>, flags: u32, priority: i32) -> Reply {
    place.need()?;
    if flags & !NON_BLOCKING != 0 {
        return Err(INVALID_VALUE);
    }
    let c = current()?;
    open(place, &c, flags, priority)
}

/// Makes a stream of a context.
pub fn open(place: Out<u64>, c: &Arc<Context>, flags: u32, priority: i32) -> Reply {
    let d = driver()?;
    c.count_stream(true)?;
    let priority = priority.clamp(GREATEST, 0);
    let id = d.process.region.fresh_id();
    // Not the handle, which a new stream can have while this one's last work still runs.
    let queue = 3 << 40 | id;
    c.timeline.open(queue, flags & NON_BLOCKING == 0, priority);
    place.put(d.streams.add(Stream {
        queue,
        context: Arc::downgrade(c),
        flags,
        priority,
        id,
        units: AtomicU32::new(0),
        capture: Mutex::default(),
        attributes: Mutex::default(),
    }))
}

api! {
    fn cuStreamCreate(place: Out<u64>, flags: u32) {
        create(place, flags, 0)
    }
    fn cuStreamCreateWithPriority(place: Out<u64>, flags: u32, priority: i32) {
        create(place, flags, priority)
    }
    fn cuStreamDestroy, cuStreamDestroy_v2(handle: u64) {
        let d = driver()?;
        if handle <= 2 {
            return Err(INVALID_HANDLE);
        }
        let s = d.streams.remove(handle)?;
        if let Some(c) = s.context.upgrade() {
            if let Some(r) = s.capture.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                r.spoil();
            }
            c.timeline.close(s.queue);
            c.count_stream(false)?;
        }
        Ok(())
    }
}

/// Access policy window, synchronisation policy, priority, synchronisation domains.
const ATTRIBUTES: [i32; 5] = [1, 3, PRIORITY, 9, 10];
const PRIORITY: i32 = 8;

/// One of a batch of memory operations.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct MemOp {
    kind: u32,
    at: u64,
    value: u64,
    flags: u32,
    _rest: [u64; 2],
}

fn batch(stream: u64, pt: bool, n: u32, list: In<MemOp>, flags: u32) -> Reply {
    let t = target(stream, pt)?;
    if flags != 0 || n > 256 {
        return Err(INVALID_VALUE);
    }
    // Read and checked as a whole first: a batch is refused whole or not at all.
    let mut work = Vec::new();
    for op in list.list(n as usize)? {
        let wide = matches!(op.kind, 4 | 5);
        let value = if wide {
            op.value
        } else {
            op.value & u64::from(u32::MAX)
        };
        let w = match op.kind {
            1 | 4 => Work::Await(op.at, value, wide, op.flags),
            2 | 5 => Work::Write(op.at, value, wide),
            // Flushes and barriers: memory here is always in order.
            3 | 6 => continue,
            _ => return Err(INVALID_VALUE),
        };
        if !driver()?.memory.covers(op.at, if wide { 8 } else { 4 }) {
            return Err(INVALID_VALUE);
        }
        work.push(w);
    }
    work.into_iter().try_for_each(|w| t.run(w))
}

/// A callback of the older kind: stream, status, argument.
type Callback = extern "C" fn(u64, i32, usize);

stream_api! {
    fn cuStreamSynchronize, cuStreamSynchronize_ptsz[pt](stream: u64) {
        let t = target(stream, pt)?;
        t.refuse_capture()?;
        forbid_by(Rule::Captures)?;
        t.finish()
    }
    fn cuStreamQuery, cuStreamQuery_ptsz[pt](stream: u64) {
        let t = target(stream, pt)?;
        t.implicit()?;
        t.refuse_capture()?;
        forbid_by(Rule::Captures)?;
        if !t.context.timeline.query(t.stream.queue)? {
            return Err(NOT_READY);
        }
        driver()?.memory.pools_synchronised(t.context.device);
        Ok(())
    }
    fn cuStreamWaitEvent, cuStreamWaitEvent_ptsz[pt](stream: u64, event: u64, flags: u32) {
        if flags > 1 {
            return Err(INVALID_VALUE);
        }
        crate::event::wait(&target(stream, pt)?, event)
    }
    fn cuStreamGetPriority, cuStreamGetPriority_ptsz[pt](stream: u64, priority: Out<i32>) {
        priority.put(target(stream, pt)?.stream.priority)
    }
    fn cuStreamGetFlags, cuStreamGetFlags_ptsz[pt](stream: u64, flags: Out<u32>) {
        flags.put(target(stream, pt)?.stream.flags)
    }
    fn cuStreamGetId, cuStreamGetId_ptsz[pt](stream: u64, id: Out<u64>) {
        id.put(target(stream, pt)?.stream.id)
    }
    fn cuStreamGetCtx, cuStreamGetCtx_ptsz[pt](stream: u64, context: Out<u64>) {
        context.put(target(stream, pt)?.context.handle)
    }
    fn cuStreamGetCtx_v2, cuStreamGetCtx_v2_ptsz[pt](stream: u64, context: Out<u64>, green: Out<u64>) {
        let c = target(stream, pt)?.context;
        // One of the two is told, the other is null.
        let of_green = driver()?.greens.handle_of(|g| Arc::ptr_eq(g, &c));
        context.put(if of_green.is_some() { 0 } else { c.handle })?;
        green.set(of_green.unwrap_or(0));
        Ok(())
    }
    fn cuStreamGetDevice, cuStreamGetDevice_ptsz[pt](stream: u64, device: Out<i32>) {
        device.put(target(stream, pt)?.context.ordinal)
    }
    fn cuStreamAttachMemAsync, cuStreamAttachMemAsync_ptsz[pt](stream: u64, address: u64, _len: u64, flags: u32) {
        let t = target(stream, pt)?;
        driver()?.memory.find(address).ok_or(INVALID_VALUE)?;
        if !matches!(flags, 1 | 2 | 4) {
            return Err(INVALID_VALUE);
        }
        t.run(Work::Empty)
    }
    fn cuStreamCopyAttributes, cuStreamCopyAttributes_ptsz[pt](to: u64, from: u64) {
        let (to, from) = (target(to, pt)?.stream, target(from, pt)?.stream);
        let all = from.attributes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        *to.attributes.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }
    fn cuStreamGetAttribute, cuStreamGetAttribute_ptsz[pt](stream: u64, which: i32, value: Out<[u64; 8]>) {
        let s = target(stream, pt)?.stream;
        if !ATTRIBUTES.contains(&which) {
            return Err(INVALID_VALUE);
        }
        let set = s.attributes.lock().unwrap_or_else(PoisonError::into_inner).get(&which).copied();
        let default = if which == PRIORITY { u64::from(s.priority as u32) } else { 0 };
        value.put(set.unwrap_or([default, 0, 0, 0, 0, 0, 0, 0]))
    }
    fn cuStreamSetAttribute, cuStreamSetAttribute_ptsz[pt](stream: u64, which: i32, value: In<[u64; 8]>) {
        let s = target(stream, pt)?.stream;
        if !ATTRIBUTES.contains(&which) || which == PRIORITY {
            return Err(INVALID_VALUE);
        }
        s.attributes.lock().unwrap_or_else(PoisonError::into_inner).insert(which, value.get()?);
        Ok(())
    }
    fn cuStreamBatchMemOp, cuStreamBatchMemOp_ptsz[pt](stream: u64, n: u32, list: In<MemOp>, flags: u32) {
        batch(stream, pt, n, list, flags)
    }
    fn cuStreamBatchMemOp_v2, cuStreamBatchMemOp_v2_ptsz[pt](stream: u64, n: u32, list: In<MemOp>, flags: u32) {
        batch(stream, pt, n, list, flags)
    }
    fn cuLaunchHostFunc, cuLaunchHostFunc_ptsz[pt](stream: u64, f: Option<extern "C" fn(usize)>, data: usize) {
        target(stream, pt)?.run(Work::Host(HostCall { f: f.ok_or(INVALID_VALUE)?, data }))
    }
    fn cuStreamAddCallback, cuStreamAddCallback_ptsz[pt](stream: u64, f: Option<Callback>, data: usize, flags: u32) {
        let f = f.ok_or(INVALID_VALUE)?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        target(stream, pt)?.submit(vec![Op::Host(Box::new(move || f(stream, 0, data)))])
    }
    fn cuStreamWriteValue32, cuStreamWriteValue32_ptsz[pt](stream: u64, at: u64, value: u32, _flags: u32) {
        write(stream, pt, at, u64::from(value), false)
    }
    fn cuStreamWriteValue32_v2, cuStreamWriteValue32_v2_ptsz[pt](stream: u64, at: u64, value: u32, _flags: u32) {
        write(stream, pt, at, u64::from(value), false)
    }
    fn cuStreamWriteValue64, cuStreamWriteValue64_ptsz[pt](stream: u64, at: u64, value: u64, _flags: u32) {
        write(stream, pt, at, value, true)
    }
    fn cuStreamWriteValue64_v2, cuStreamWriteValue64_v2_ptsz[pt](stream: u64, at: u64, value: u64, _flags: u32) {
        write(stream, pt, at, value, true)
    }
    fn cuStreamWaitValue32, cuStreamWaitValue32_ptsz[pt](stream: u64, at: u64, value: u32, flags: u32) {
        target(stream, pt)?.run(Work::Await(at, u64::from(value), false, flags))
    }
    fn cuStreamWaitValue32_v2, cuStreamWaitValue32_v2_ptsz[pt](stream: u64, at: u64, value: u32, flags: u32) {
        target(stream, pt)?.run(Work::Await(at, u64::from(value), false, flags))
    }
    fn cuStreamWaitValue64, cuStreamWaitValue64_ptsz[pt](stream: u64, at: u64, value: u64, flags: u32) {
        target(stream, pt)?.run(Work::Await(at, value, true, flags))
    }
    fn cuStreamWaitValue64_v2, cuStreamWaitValue64_v2_ptsz[pt](stream: u64, at: u64, value: u64, flags: u32) {
        target(stream, pt)?.run(Work::Await(at, value, true, flags))
    }
}

fn write(stream: u64, pt: bool, at: u64, value: u64, wide: bool) -> Reply {
    let t = target(stream, pt)?;
    if !driver()?.memory.covers(at, if wide { 8 } else { 4 }) {
        return Err(INVALID_VALUE);
    }
    t.run(Work::Write(at, value, wide))
}
