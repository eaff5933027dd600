//! Streams, events, and the thread that plays the device for one context.
//!
//! Operations of a stream run in order. The context's worker picks, among the streams whose first
//! operation may run, the one of highest priority and then the oldest; it runs one operation at a
//! time, so kernels of one context do not overlap each other. Host functions run on a second
//! thread, so that one that blocks holds up its own stream only. Both threads start with the first
//! operation that needs them: a process that only allocates has neither. An operation that takes no
//! time, on a stream with nothing before it, happens at once on the caller's thread.

use crate::clock;
use crate::engine::Lane;
use crate::error::{Error, Result};
use crate::process::Process;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The stream that waits for all blocking streams and that they wait for.
pub const LEGACY: u64 = 1;
/// Operations that may wait on a device; beyond it, submitting blocks. As a real driver's queues
/// are finite.
pub const DEPTH: usize = 1024;

/// Something that happens on the device. Takes the memory effect; an error ends the context.
pub type Effect = Box<dyn FnOnce() -> Result + Send>;

/// One operation of a stream.
pub enum Op {
    /// Device time on the engine, then an effect.
    Engine(u64, Effect),
    /// Device time as on the whole device, and the time that it takes on a part of it, then an
    /// effect. The rest of the device is others' meanwhile.
    Part(u64, u64, Effect),
    /// Time on a copy engine, which does not hold up other contexts, then an effect.
    Copy(u64, Effect),
    /// An effect that takes no device time.
    Instant(Effect),
    /// A host function.
    Host(Box<dyn FnOnce() + Send>),
    /// Marks an event as reached.
    Record(Arc<Event>, u64),
    /// Waits until an event is reached.
    Wait(Arc<Event>, u64),
    /// Waits until a condition holds; looked at every 50 us.
    Until(Box<dyn Fn() -> bool + Send>),
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Op::Engine(..) => "Engine",
            Op::Part(..) => "Part",
            Op::Copy(..) => "Copy",
            Op::Instant(_) => "Instant",
            Op::Host(_) => "Host",
            Op::Record(..) => "Record",
            Op::Wait(..) => "Wait",
            Op::Until(_) => "Until",
        })
    }
}

/// A point in a stream that others can wait for.
#[derive(Debug, Default)]
pub struct Event {
    state: Mutex<EventState>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct EventState {
    recorded: u64,
    reached: u64,
    at: u64,
}

impl Event {
    fn state(&self) -> MutexGuard<'_, EventState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new recording; its number.
    pub fn record(&self) -> u64 {
        let mut s = self.state();
        s.recorded += 1;
        s.recorded
    }

    fn reach(&self, version: u64, at: u64) {
        let mut s = self.state();
        if version > s.reached {
            (s.reached, s.at) = (version, at);
        }
        self.changed.notify_all();
    }

    /// Returns the latest recording's number.
    pub fn latest(&self) -> u64 {
        self.state().recorded
    }

    /// Returns true if a recording was reached.
    pub fn is_reached(&self, version: u64) -> bool {
        self.state().reached >= version
    }

    /// Returns true if the latest recording was reached, or if there is none.
    pub fn is_done(&self) -> bool {
        let s = self.state();
        s.reached >= s.recorded
    }

    /// Returns when the latest recording was reached, in nanoseconds of the shared clock.
    ///
    /// # Errors
    /// [`Error::InvalidHandle`] if it was never recorded, [`Error::NotReady`] if it was not reached
    /// yet.
    pub fn time(&self) -> Result<u64> {
        let s = *self.state();
        match s.recorded {
            0 => Err(Error::InvalidHandle),
            r if s.reached < r => Err(Error::NotReady),
            _ => Ok(s.at),
        }
    }

    /// Blocks until the recording that is the latest now is reached.
    pub fn wait(&self) {
        let mut s = self.state();
        let version = s.recorded;
        while s.reached < version {
            s = self.changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    ready: u64,
    op: Option<Op>,
}

#[derive(Debug)]
struct Queue {
    entries: VecDeque<Entry>,
    blocking: bool,
    priority: i32,
    dying: bool,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<u64, Queue>,
    seq: u64,
    worker: bool,
    host: Option<std::sync::mpsc::Sender<HostJob>>,
    stop: bool,
    stopped: bool,
    /// The device's time of the last operation that ended.
    ended: u64,
}

type HostJob = (u64, u64, Box<dyn FnOnce() + Send>);

/// The work of one context.
#[derive(Debug)]
pub struct Timeline {
    process: Arc<Process>,
    device: usize,
    state: Mutex<State>,
    /// For the worker: something to do.
    work: Condvar,
    /// For everybody else: something is done.
    done: Condvar,
    lost: AtomicI32,
    has_lost: AtomicBool,
}

thread_local! {
    /// Set on the threads that play the device: they must never wait for themselves.
    static DEVICE_SIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Returns true if the caller is a host function run by the device.
pub fn on_device_thread() -> bool {
    DEVICE_SIDE.with(std::cell::Cell::get)
}

impl Timeline {
    /// Makes an order with the legacy stream only, and without threads.
    pub fn new(process: Arc<Process>, device: usize) -> Arc<Self> {
        let t = Self {
            process,
            device,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            lost: AtomicI32::new(0),
            has_lost: AtomicBool::new(false),
        };
        t.open(LEGACY, true, 0);
        Arc::new(t)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stream. Blocking ones order themselves with the legacy stream; a lower priority
    /// number goes first.
    pub fn open(&self, stream: u64, blocking: bool, priority: i32) {
        let queue = Queue {
            entries: VecDeque::new(),
            blocking,
            priority,
            dying: false,
        };
        self.lock().queues.entry(stream).or_insert(queue);
    }

    /// Removes a stream once its work is done.
    pub fn close(&self, stream: u64) {
        let mut s = self.lock();
        if let Some(q) = s.queues.get_mut(&stream) {
            q.dying = true;
            if q.entries.is_empty() {
                s.queues.remove(&stream);
            }
        }
    }

    /// Returns the error that ended the context, if one did.
    pub fn check(&self) -> Result {
        // Acquire: pairs with the release in `lose`; who sees the flag sees the reason.
        if self.has_lost.load(Ordering::Acquire) {
            Err(Error::IllegalAddress)
        } else {
            Ok(())
        }
    }

    fn lose(&self, s: &mut State) {
        self.lost.store(1, Ordering::Relaxed);
        self.has_lost.store(true, Ordering::Release);
        let at = clock::now();
        for q in s.queues.values_mut() {
            for e in q.entries.drain(..) {
                // Nobody may wait for ever for an event that a lost context will not reach.
                if let Some(Op::Record(event, version)) = e.op {
                    event.reach(version, at);
                }
            }
        }
    }

    /// Returns true if the first operation of a stream may start.
    fn may_run(s: &State, stream: u64) -> bool {
        let Some(q) = s.queues.get(&stream) else {
            return false;
        };
        let Some(head) = q.entries.front() else {
            return false;
        };
        let oldest = |q: &Queue| q.entries.front().map_or(u64::MAX, |e| e.seq);
        let ordered = if stream == LEGACY {
            s.queues
                .iter()
                .all(|(id, q)| *id == LEGACY || !q.blocking || oldest(q) > head.seq)
        } else {
            !q.blocking || s.queues.get(&LEGACY).is_none_or(|l| oldest(l) > head.seq)
        };
        ordered
            && match &head.op {
                None => false,
                Some(Op::Wait(event, version)) => event.is_reached(*version),
                Some(Op::Until(condition)) => condition(),
                Some(_) => true,
            }
    }

    /// Returns true if a stream has nothing unfinished that a new operation would come after.
    fn is_clear(s: &State, stream: u64) -> bool {
        let empty = |id: &u64| s.queues.get(id).is_none_or(|q| q.entries.is_empty());
        match s.queues.get(&stream) {
            Some(q) if stream == LEGACY => {
                q.entries.is_empty()
                    && s.queues
                        .values()
                        .all(|q| !q.blocking || q.entries.is_empty())
            }
            Some(q) if q.blocking => q.entries.is_empty() && empty(&LEGACY),
            _ => empty(&stream),
        }
    }

    /// Puts operations at the end of a stream, all together.
    ///
    /// # Errors
    /// The error that ended the context; [`Error::InvalidHandle`] for a stream that is not there.
    pub fn submit(self: &Arc<Self>, stream: u64, ops: Vec<Op>) -> Result {
        self.check()?;
        let mut s = self.lock();
        let pending = |s: &State| s.queues.values().map(|q| q.entries.len()).sum::<usize>();
        while pending(&s) > DEPTH && !on_device_thread() && !s.stop {
            s = self.done.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        if s.stop {
            return Err(Error::ContextDestroyed);
        }
        if !s.queues.contains_key(&stream) {
            return Err(Error::InvalidHandle);
        }
        let now = clock::now();
        let mut ops: VecDeque<Op> = ops.into();
        if Self::is_clear(&s, stream) {
            let at = now.max(s.ended.min(now + 1_000_000));
            while let Some(op) = ops.pop_front() {
                match op {
                    Op::Record(event, version) => event.reach(version, at),
                    Op::Wait(event, version) if event.is_reached(version) => {}
                    Op::Instant(effect) => {
                        // With the lock held: nothing can come between this operation and the ones
                        // before it.
                        if effect().is_err() {
                            self.lose(&mut s);
                            return Ok(());
                        }
                    }
                    other => {
                        ops.push_front(other);
                        break;
                    }
                }
            }
        }
        if ops.is_empty() {
            return Ok(());
        }
        for op in ops {
            s.seq += 1;
            let entry = Entry {
                seq: s.seq,
                ready: now,
                op: Some(op),
            };
            if let Some(q) = s.queues.get_mut(&stream) {
                q.entries.push_back(entry);
            }
        }
        if !std::mem::replace(&mut s.worker, true) {
            let me = self.clone();
            std::thread::Builder::new()
                .name("fcsp-sim-device".into())
                .spawn(move || me.play())
                .map_err(|_| Error::OperatingSystem)?;
        }
        drop(s);
        self.work.notify_one();
        Ok(())
    }

    fn pick(s: &State) -> Option<u64> {
        let ready = s.queues.iter().filter(|(id, _)| Self::may_run(s, **id));
        ready
            .min_by_key(|(_, q)| (q.priority, q.entries.front().map_or(u64::MAX, |e| e.seq)))
            .map(|(id, _)| *id)
    }

    fn finish(&self, s: &mut State, stream: u64, seq: u64, ended: u64) {
        s.ended = s.ended.max(ended);
        if let Some(q) = s.queues.get_mut(&stream) {
            if q.entries.front().is_some_and(|e| e.seq == seq) {
                q.entries.pop_front();
            }
            if q.dying && q.entries.is_empty() {
                s.queues.remove(&stream);
            }
        }
        self.done.notify_all();
    }

    /// Runs the worker.
    fn play(self: Arc<Self>) {
        DEVICE_SIDE.with(|d| d.set(true));
        clock::exact_sleeps();
        // Without a place in the rota the work is done out of turn rather than never.
        let mut lane = Lane::open(self.process.clone(), self.device).ok();
        let mut s = self.lock();
        loop {
            if s.stop {
                break;
            }
            let Some(stream) = Self::pick(&s) else {
                if let Some(lane) = &mut lane {
                    lane.idle();
                }
                let watching = s.queues.values().any(|q| {
                    matches!(
                        q.entries.front().and_then(|e| e.op.as_ref()),
                        Some(Op::Wait(..) | Op::Until(_))
                    )
                });
                // Conditions and other contexts' events change without telling this worker.
                s = if watching {
                    let patience = Duration::from_micros(50);
                    self.work
                        .wait_timeout(s, patience)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                } else {
                    self.work.wait(s).unwrap_or_else(PoisonError::into_inner)
                };
                continue;
            };
            let Some(entry) = s
                .queues
                .get_mut(&stream)
                .and_then(|q| q.entries.front_mut())
            else {
                continue;
            };
            let (seq, ready) = (entry.seq, entry.ready);
            let Some(op) = entry.op.take() else { continue };
            let before = s.ended;
            let (ended, result) = match op {
                Op::Engine(ns, effect) => {
                    drop(s);
                    let end = match &mut lane {
                        Some(lane) => lane.run(ready, ns),
                        None => {
                            clock::wait_until(clock::now() + ns);
                            clock::now()
                        }
                    };
                    let r = effect();
                    s = self.lock();
                    (end, r)
                }
                Op::Part(ns, whole, effect) => {
                    drop(s);
                    let now = clock::now();
                    let start = ready
                        .max(before)
                        .max(now.saturating_sub(crate::engine::LAG_NS));
                    let mut end = start + whole;
                    if let Some(lane) = &mut lane {
                        end = end.max(lane.run(ready, ns));
                        lane.idle();
                    }
                    clock::wait_until(end);
                    let r = effect();
                    s = self.lock();
                    (end, r)
                }
                Op::Copy(ns, effect) => {
                    drop(s);
                    let now = clock::now();
                    let start = ready
                        .max(before)
                        .max(now.saturating_sub(crate::engine::LAG_NS));
                    let r = effect();
                    clock::wait_until(start + ns);
                    s = self.lock();
                    (start + ns, r)
                }
                Op::Instant(effect) => {
                    drop(s);
                    let r = effect();
                    s = self.lock();
                    (before, r)
                }
                Op::Record(event, version) => {
                    event.reach(version, before.max(ready));
                    (before, Ok(()))
                }
                Op::Wait(..) | Op::Until(_) => (before, Ok(())),
                Op::Host(f) => {
                    let sent = self
                        .host_thread(&mut s)
                        .is_some_and(|t| t.send((stream, seq, f)).is_ok());
                    if sent {
                        continue; // Finished by the host thread.
                    }
                    (before, Err(Error::OperatingSystem))
                }
            };
            if result.is_err() {
                self.lose(&mut s);
                self.done.notify_all();
            } else {
                self.finish(&mut s, stream, seq, ended);
            }
        }
        s.stopped = true;
        drop(s);
        drop(lane);
        self.done.notify_all();
    }

    fn host_thread<'a>(
        self: &Arc<Self>,
        s: &'a mut State,
    ) -> Option<&'a std::sync::mpsc::Sender<HostJob>> {
        if s.host.is_none() {
            let (tx, rx) = std::sync::mpsc::channel::<HostJob>();
            // Weak: the sender lives in the timeline, and a strong reference here would keep both
            // alive for ever.
            let me = Arc::downgrade(self);
            let run = move || {
                DEVICE_SIDE.with(|d| d.set(true));
                while let Ok((stream, seq, f)) = rx.recv() {
                    f();
                    let Some(me) = me.upgrade() else { return };
                    let mut s = me.lock();
                    me.finish(&mut s, stream, seq, clock::now());
                    drop(s);
                    me.work.notify_one();
                }
            };
            std::thread::Builder::new()
                .name("fcsp-sim-host".into())
                .spawn(run)
                .ok()?;
            s.host = Some(tx);
        }
        s.host.as_ref()
    }

    fn wait(&self, mut unfinished: impl FnMut(&State) -> bool) -> Result {
        let mut s = self.lock();
        while !self.has_lost.load(Ordering::Acquire) && !s.stop && unfinished(&s) {
            s = self.done.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        drop(s);
        self.check()
    }

    /// Whether a stream's work so far is done. The legacy stream's includes that of all blocking
    /// streams.
    pub fn query(&self, stream: u64) -> Result<bool> {
        self.check()?;
        let s = self.lock();
        if !s.queues.contains_key(&stream) {
            return Err(Error::InvalidHandle);
        }
        let done = s.queues.get(&stream).is_some_and(|q| q.entries.is_empty());
        Ok(done && (stream != LEGACY || Self::is_clear(&s, LEGACY)))
    }

    /// Blocks until the work that a stream has now is done.
    pub fn synchronise_stream(&self, stream: u64) -> Result {
        let upto = self.lock().seq;
        self.wait(|s| {
            let open = |q: &Queue| q.entries.front().is_some_and(|e| e.seq <= upto);
            s.queues
                .iter()
                .any(|(id, q)| (*id == stream || (stream == LEGACY && q.blocking)) && open(q))
        })
    }

    /// Blocks until all work that the context has now is done.
    pub fn synchronise(&self) -> Result {
        let upto = self.lock().seq;
        self.wait(|s| {
            s.queues
                .values()
                .any(|q| q.entries.front().is_some_and(|e| e.seq <= upto))
        })
    }

    /// Finishes the context's work and ends its threads.
    pub fn shut(&self) {
        let _ = self.synchronise();
        let mut s = self.lock();
        s.stop = true;
        s.host = None;
        self.work.notify_all();
        // The worker gives its place in the rota back before the context's memory goes; a context
        // destroyed by a host function cannot wait for the thread it runs on.
        while s.worker && !s.stopped && !on_device_thread() {
            s = self.done.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        self.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Region;
    use crate::spec::Topology;
    use std::sync::atomic::AtomicU32;

    fn timeline(name: &str) -> (Arc<Timeline>, std::path::PathBuf) {
        let path =
            std::env::temp_dir().join(format!("fcsp-sim-stream-{}-{name}", std::process::id()));
        let t: Topology = "tiny".parse().unwrap();
        let p = Process::join(t.clone(), Arc::new(Region::open(&path, &t).unwrap())).unwrap();
        (Timeline::new(Arc::new(p), 0), path)
    }

    fn note(log: &Arc<Mutex<Vec<u32>>>, n: u32) -> Effect {
        let log = log.clone();
        Box::new(move || {
            log.lock().unwrap().push(n);
            Ok(())
        })
    }

    #[test]
    fn streams_keep_order_and_events_order_streams() {
        let (t, path) = timeline("order");
        let log = Arc::new(Mutex::new(Vec::new()));
        t.open(10, false, 0);
        t.open(11, false, 0);
        let e = Arc::new(Event::default());
        let v = e.record();
        t.submit(
            11,
            vec![
                Op::Engine(10_000_000, note(&log, 1)),
                Op::Record(e.clone(), v),
            ],
        )
        .unwrap();
        t.submit(
            10,
            vec![Op::Wait(e.clone(), v), Op::Engine(1_000, note(&log, 2))],
        )
        .unwrap();
        assert!(!e.is_done() && !t.query(11).unwrap());
        t.synchronise().unwrap();
        assert_eq!(*log.lock().unwrap(), [1, 2]);
        assert!(e.time().is_ok() && t.query(10).unwrap());
        t.shut();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn work_on_a_part_takes_longer_and_leaves_the_rest() {
        let (t, path) = timeline("part");
        let times: Vec<Arc<Event>> = (0..2).map(|_| Arc::default()).collect();
        let record = |n: usize| Op::Record(times[n].clone(), times[n].record());
        t.open(10, false, 0);
        // With something before it, so that the first time is the device's as well.
        let work: Vec<Op> = vec![
            Op::Engine(1_000, Box::new(|| Ok(()))),
            record(0),
            Op::Part(1_000_000, 4_000_000, Box::new(|| Ok(()))),
            record(1),
        ];
        t.submit(10, work).unwrap();
        t.synchronise().unwrap();
        let took = times[1].time().unwrap() - times[0].time().unwrap();
        assert!(took >= 4_000_000, "{took}");
        let busy = t.process.usage(0).busy_ns.load(Ordering::Relaxed);
        assert_eq!(busy, 1_001_000, "of the device it had as much as ever");
        t.shut();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_legacy_stream_orders_blocking_streams_only() {
        let (t, path) = timeline("legacy");
        let log = Arc::new(Mutex::new(Vec::new()));
        t.open(10, true, 0);
        t.open(11, false, 0);
        let gate = Arc::new(AtomicBool::new(false));
        let g = gate.clone();
        t.submit(
            10,
            vec![
                Op::Until(Box::new(move || g.load(Ordering::SeqCst))),
                Op::Instant(note(&log, 1)),
            ],
        )
        .unwrap();
        t.submit(LEGACY, vec![Op::Instant(note(&log, 2))]).unwrap();
        t.submit(10, vec![Op::Instant(note(&log, 3))]).unwrap();
        t.submit(11, vec![Op::Engine(1_000, note(&log, 4))])
            .unwrap();
        t.synchronise_stream(11).unwrap();
        assert_eq!(
            *log.lock().unwrap(),
            [4],
            "the non-blocking stream went ahead, the others waited"
        );
        gate.store(true, Ordering::SeqCst);
        t.synchronise_stream(LEGACY).unwrap();
        t.synchronise().unwrap();
        assert_eq!(*log.lock().unwrap(), [4, 1, 2, 3]);
        t.shut();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn events_measure_device_time() {
        let (t, path) = timeline("elapsed");
        let (a, b) = (Arc::new(Event::default()), Arc::new(Event::default()));
        let ops = |e: &Arc<Event>| Op::Record(e.clone(), e.record());
        t.submit(
            LEGACY,
            vec![Op::Engine(1_000, Box::new(|| Ok(()))), ops(&a)],
        )
        .unwrap();
        t.submit(
            LEGACY,
            (0..50)
                .map(|_| Op::Engine(100_000, Box::new(|| Ok(()))))
                .chain([ops(&b)])
                .collect(),
        )
        .unwrap();
        b.wait();
        let ns = b.time().unwrap() - a.time().unwrap();
        assert!(ns >= 5_000_000, "{ns}");
        t.shut();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_fault_ends_the_context_and_nobody_waits_for_ever() {
        let (t, path) = timeline("fault");
        let e = Arc::new(Event::default());
        let ran = Arc::new(AtomicU32::new(0));
        let r = ran.clone();
        t.submit(
            LEGACY,
            vec![
                Op::Engine(1_000, Box::new(|| Err(Error::IllegalAddress))),
                Op::Engine(
                    1_000,
                    Box::new(move || {
                        r.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    }),
                ),
                Op::Record(e.clone(), e.record()),
            ],
        )
        .unwrap();
        assert_eq!(t.synchronise(), Err(Error::IllegalAddress));
        e.wait();
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert_eq!(t.submit(LEGACY, vec![]), Err(Error::IllegalAddress));
        t.shut();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nothing_that_takes_no_time_starts_a_thread() {
        let (t, path) = timeline("lazy");
        let e = Arc::new(Event::default());
        t.submit(
            LEGACY,
            vec![
                Op::Record(e.clone(), e.record()),
                Op::Instant(Box::new(|| Ok(()))),
            ],
        )
        .unwrap();
        assert!(e.is_done() && !t.lock().worker);
        t.submit(LEGACY, vec![Op::Engine(1, Box::new(|| Ok(())))])
            .unwrap();
        assert!(t.lock().worker);
        t.synchronise().unwrap();
        t.shut();
        std::fs::remove_file(path).unwrap();
    }
}
