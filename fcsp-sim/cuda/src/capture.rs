//! Recording a stream's work as a graph.
//!
//! One session records one graph. It begins on one stream; other streams come in by waiting for an
//! event that was recorded in it, and must be joined again the same way before the first stream
//! ends it.

use crate::abi::{In, Out};
use crate::codes::{
    CAPTURE_INVALIDATED, CAPTURE_ISOLATION, CAPTURE_MERGE, CAPTURE_UNJOINED, CAPTURE_UNMATCHED,
    CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, Code, INVALID_VALUE, Reply,
};
use crate::driver::{Context, Stream, driver};
use crate::export::{api, stream_api};
use crate::graph::{GraphObject, node_handle, node_id};
use crate::stream::{Target, target};
use fcsp_sim::graph::{NodeId, Work};
use fcsp_sim::stream::LEGACY;
use fcsp_sim::strict::{Rule, is_on};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

const ILLEGAL_STATE: Code = Code(401);
const GLOBAL: i32 = 0;
/// The mode in which nothing is forbidden.
pub const RELAXED: i32 = 2;

/// All open sessions.
static SESSIONS: Mutex<Vec<Weak<Session>>> = Mutex::new(Vec::new());
/// How many there are, so that a call without any to mind takes no lock.
static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MODE: Cell<i32> = const { Cell::new(GLOBAL) };
}

/// One recording of a graph.
#[derive(Debug)]
pub struct Session {
    id: u64,
    mode: i32,
    graph: u64,
    object: Arc<GraphObject>,
    origin: u64,
    /// The number of the context of the stream that it began on.
    context_id: u64,
    thread: std::thread::ThreadId,
    spoiled: AtomicBool,
    branches: Mutex<Vec<Weak<Stream>>>,
}

/// A stream's part in a session.
#[derive(Debug)]
pub struct Recording {
    session: Arc<Session>,
    tail: Vec<NodeId>,
    context: Weak<Context>,
    blocking: bool,
}

/// A place in a session that an event marks.
#[derive(Debug)]
pub struct Point {
    session: Arc<Session>,
    tail: Vec<NodeId>,
}

/// Keeps the open sessions that pass. Those of destroyed streams are gone.
fn keep_sessions(mut keep: impl FnMut(&Arc<Session>) -> bool) {
    let mut all = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|weak| weak.upgrade().is_some_and(|s| keep(&s)));
    OPEN.store(all.len(), Ordering::Relaxed);
}

/// Runs `f` on every open session.
fn each_session(mut f: impl FnMut(&Session)) {
    keep_sessions(|s| {
        f(s);
        true
    });
}

/// Fails for calls that may not be made while some session forbids them to this thread, such as
/// allocations, and invalidates that session. The check comes before those of arguments; measured.
pub fn forbid() -> Reply {
    // Relaxed: a thread that must be kept out began after the session did, by whatever ordered the
    // two.
    let mode = MODE.with(Cell::get);
    if mode == RELAXED || OPEN.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let me = std::thread::current().id();
    let mut forbidden = false;
    each_session(|s| {
        let own = s.mode != RELAXED && s.thread == me;
        if own || (mode == GLOBAL && s.mode == GLOBAL) {
            forbidden = true;
            if is_on(Rule::Captures) {
                s.spoiled.store(true, Ordering::Relaxed);
            }
        }
    });
    if forbidden {
        Err(CAPTURE_UNSUPPORTED)
    } else {
        Ok(())
    }
}

/// [`forbid`] where a rule holds.
pub fn forbid_by(rule: Rule) -> Reply {
    if is_on(rule) { forbid() } else { Ok(()) }
}

/// Invalidates the sessions of a context, after a call that they may not stand beside in any mode.
pub fn spoil_context(c: &Context) {
    if is_on(Rule::Captures) {
        each_session(|s| {
            if s.context_id == c.id {
                s.spoiled.store(true, Ordering::Relaxed);
            }
        });
    }
}

impl Recording {
    /// Adds a node after the stream's last.
    pub fn record(&mut self, work: Work) -> Reply {
        self.usable()?;
        let id = self.session.object.lock().add(work, &self.tail)?;
        driver()?.graphs.own(id, self.session.graph);
        self.tail = vec![id];
        Ok(())
    }

    fn usable(&self) -> Reply {
        if self.session.spoiled.load(Ordering::Relaxed) {
            Err(CAPTURE_INVALIDATED)
        } else {
            Ok(())
        }
    }

    /// Returns the stream's place now.
    pub fn point(&self) -> Point {
        Point {
            session: self.session.clone(),
            tail: self.tail.clone(),
        }
    }

    /// Makes the session end in an error, after a call that it may not contain.
    pub fn spoil(&mut self) {
        self.session.spoiled.store(true, Ordering::Relaxed);
    }

    fn leave(&self) {
        if let Some(c) = self.context.upgrade() {
            if self.session.mode != RELAXED {
                c.recordings.fetch_sub(1, Ordering::Relaxed);
            }
            if self.blocking {
                c.captures.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

fn enter(t: &Target, session: &Arc<Session>, tail: Vec<NodeId>) -> Recording {
    if session.mode != RELAXED {
        t.context.recordings.fetch_add(1, Ordering::Relaxed);
    }
    if t.is_blocking() {
        t.context.captures.fetch_add(1, Ordering::Relaxed);
    }
    Recording {
        session: session.clone(),
        tail,
        context: Arc::downgrade(&t.context),
        blocking: t.is_blocking(),
    }
}

/// Makes a stream wait for a point of a session: it joins the session, or its own part gets one
/// more predecessor.
pub fn join(t: &Target, point: &Point) -> Reply {
    if t.stream.queue == LEGACY {
        return Err(CAPTURE_UNSUPPORTED);
    }
    let mut recording = t.recording();
    match recording.as_mut() {
        Some(r) if !Arc::ptr_eq(&r.session, &point.session) => Err(CAPTURE_MERGE),
        Some(r) => {
            r.usable()?;
            let all: BTreeSet<NodeId> = r.tail.iter().chain(&point.tail).copied().collect();
            r.tail = all.into_iter().collect();
            Ok(())
        }
        None => {
            if point.session.object.is_ended() {
                return Err(CAPTURE_ISOLATION);
            }
            *recording = Some(enter(t, &point.session, point.tail.clone()));
            let mut branches = point
                .session
                .branches
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            branches.push(Arc::downgrade(&t.stream));
            Ok(())
        }
    }
}

fn begin(t: &Target, mode: i32, graph: Option<(u64, Vec<NodeId>)>) -> Reply {
    if !(GLOBAL..=RELAXED).contains(&mode) {
        return Err(INVALID_VALUE);
    }
    if t.stream.queue == LEGACY {
        return Err(CAPTURE_UNSUPPORTED);
    }
    let d = driver()?;
    let mut recording = t.recording();
    if recording.is_some() {
        return Err(ILLEGAL_STATE);
    }
    let (graph, tail) = match graph {
        Some(g) => g,
        None => (d.graphs.add(Default::default()), Vec::new()),
    };
    let object = d.graphs.get(graph)?;
    object.set_ended(false);
    let session = Arc::new(Session {
        id: d.process.region.fresh_id(),
        mode,
        graph,
        object,
        origin: t.stream.queue,
        context_id: t.context.id,
        thread: std::thread::current().id(),
        spoiled: AtomicBool::new(false),
        branches: Mutex::default(),
    });
    let mut open = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    open.push(Arc::downgrade(&session));
    OPEN.store(open.len(), Ordering::Relaxed);
    drop(open);
    *recording = Some(enter(t, &session, tail));
    Ok(())
}

fn end(t: &Target, place: Out<u64>) -> Reply {
    let mut recording = t.recording();
    let r = recording.as_ref().ok_or(ILLEGAL_STATE)?;
    let session = r.session.clone();
    if session.origin != t.stream.queue {
        return Err(CAPTURE_UNMATCHED);
    }
    if session.mode != RELAXED && session.thread != std::thread::current().id() {
        return Err(CAPTURE_WRONG_THREAD);
    }
    let Some(r) = recording.take() else {
        return Err(ILLEGAL_STATE);
    };
    drop(recording);
    r.leave();
    // Out of the list: events can keep a session that has ended.
    keep_sessions(|s| !Arc::ptr_eq(s, &session));
    let mut loose = false;
    let reached = ancestors(&session, &r.tail);
    for s in session
        .branches
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
    {
        let Some(s) = s.upgrade() else { continue };
        if let Some(b) = s
            .capture
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            b.leave();
            loose |= b.tail.iter().any(|n| !reached.contains(n));
        }
    }
    session.object.set_ended(true);
    let bad = if session.spoiled.load(Ordering::Relaxed) {
        Some(CAPTURE_INVALIDATED)
    } else if loose {
        Some(CAPTURE_UNJOINED)
    } else {
        None
    };
    if let Some(code) = bad {
        let _ = driver()?.graphs.remove(session.graph);
        place.set(0);
        return Err(code);
    }
    place.put(session.graph)
}

fn ancestors(session: &Session, tail: &[NodeId]) -> BTreeSet<NodeId> {
    let edges = session.object.lock().edges();
    let mut all: BTreeSet<NodeId> = tail.iter().copied().collect();
    loop {
        let more: Vec<NodeId> = edges
            .iter()
            .filter(|(a, b)| all.contains(b) && !all.contains(a))
            .map(|(a, _)| *a)
            .collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// What `cuStreamGetCaptureInfo` and its successors tell.
#[derive(Debug)]
struct Info {
    status: i32,
    id: u64,
    graph: u64,
    tail: Vec<NodeId>,
}

fn info(t: &Target) -> Reply<Info> {
    t.implicit()?;
    Ok(match t.recording().as_ref() {
        None => Info {
            status: 0,
            id: 0,
            graph: 0,
            tail: Vec::new(),
        },
        Some(r) => Info {
            status: if r.usable().is_ok() { 1 } else { 2 },
            id: r.session.id,
            graph: r.session.graph,
            tail: r.tail.clone(),
        },
    })
}

thread_local! {
    /// What the last call on this thread pointed its caller to: node handles and edge data.
    static TOLD: std::cell::RefCell<(Vec<u64>, Vec<u64>)> = const { std::cell::RefCell::new((Vec::new(), Vec::new())) };
}

fn tell(
    t: &Target,
    status: Out<i32>,
    id: Out<u64>,
    graph: Out<u64>,
    nodes: Out<u64>,
    edges: Out<u64>,
    n: Out<u64>,
) -> Reply {
    let i = info(t)?;
    status.put(i.status)?;
    id.set(i.id);
    graph.set(i.graph);
    TOLD.with(|told| {
        let mut told = told.borrow_mut();
        told.0 = i.tail.iter().map(|n| node_handle(*n)).collect();
        told.1 = vec![0; i.tail.len()];
        nodes.set(told.0.as_ptr() as u64);
        edges.set(told.1.as_ptr() as u64);
    });
    n.set(i.tail.len() as u64);
    Ok(())
}

fn replace(t: &Target, nodes: In<u64>, n: u64, flags: u32) -> Reply {
    let list: Vec<NodeId> = nodes
        .list(if nodes.is_null() { 0 } else { n as usize })?
        .into_iter()
        .map(node_id)
        .collect();
    let mut recording = t.recording();
    let r = recording.as_mut().ok_or(ILLEGAL_STATE)?;
    r.usable()?;
    let known = r.session.object.lock().nodes();
    if flags > 1 || list.iter().any(|n| !known.contains(n)) {
        return Err(INVALID_VALUE);
    }
    if flags == 1 {
        r.tail.clear();
    }
    let all: BTreeSet<NodeId> = r.tail.iter().copied().chain(list).collect();
    r.tail = all.into_iter().collect();
    Ok(())
}

stream_api! {
    fn cuStreamBeginCapture, cuStreamBeginCapture_ptsz[pt](stream: u64) {
        begin(&target(stream, pt)?, GLOBAL, None)
    }
    fn cuStreamBeginCapture_v2, cuStreamBeginCapture_v2_ptsz[pt](stream: u64, mode: i32) {
        begin(&target(stream, pt)?, mode, None)
    }
    fn cuStreamBeginCaptureToGraph, cuStreamBeginCaptureToGraph_ptsz[pt](
        stream: u64, graph: u64, after: In<u64>, _edges: u64, n: u64, mode: i32,
    ) {
        let t = target(stream, pt)?;
        driver()?.graphs.get(graph)?;
        let after = after.list(if after.is_null() { 0 } else { n as usize })?.into_iter().map(node_id).collect();
        begin(&t, mode, Some((graph, after)))
    }
    fn cuStreamEndCapture, cuStreamEndCapture_ptsz[pt](stream: u64, graph: Out<u64>) {
        graph.need()?;
        end(&target(stream, pt)?, graph)
    }
    fn cuStreamIsCapturing, cuStreamIsCapturing_ptsz[pt](stream: u64, status: Out<i32>) {
        status.put(info(&target(stream, pt)?)?.status)
    }
    fn cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_ptsz[pt](stream: u64, status: Out<i32>, id: Out<u64>) {
        let i = info(&target(stream, pt)?)?;
        status.put(i.status)?;
        id.set(i.id);
        Ok(())
    }
    fn cuStreamGetCaptureInfo_v2, cuStreamGetCaptureInfo_v2_ptsz[pt](
        stream: u64, status: Out<i32>, id: Out<u64>, graph: Out<u64>, nodes: Out<u64>, n: Out<u64>,
    ) {
        tell(&target(stream, pt)?, status, id, graph, nodes, Out::from_raw(std::ptr::null_mut()), n)
    }
    fn cuStreamGetCaptureInfo_v3, cuStreamGetCaptureInfo_v3_ptsz[pt](
        stream: u64, status: Out<i32>, id: Out<u64>, graph: Out<u64>, nodes: Out<u64>, edges: Out<u64>, n: Out<u64>,
    ) {
        tell(&target(stream, pt)?, status, id, graph, nodes, edges, n)
    }
    fn cuStreamUpdateCaptureDependencies, cuStreamUpdateCaptureDependencies_ptsz[pt](
        stream: u64, nodes: In<u64>, n: u64, flags: u32,
    ) {
        replace(&target(stream, pt)?, nodes, n, flags)
    }
    fn cuStreamUpdateCaptureDependencies_v2, cuStreamUpdateCaptureDependencies_v2_ptsz[pt](
        stream: u64, nodes: In<u64>, _edges: u64, n: u64, flags: u32,
    ) {
        replace(&target(stream, pt)?, nodes, n, flags)
    }
}

api! {
    fn cuThreadExchangeStreamCaptureMode(mode: Out<i32>) {
        let new = mode.get()?;
        if !(GLOBAL..=RELAXED).contains(&new) {
            return Err(INVALID_VALUE);
        }
        mode.put(MODE.with(|m| m.replace(new)))
    }
}
