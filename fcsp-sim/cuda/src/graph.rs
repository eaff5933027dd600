//! Graphs: making, changing, instantiating and launching them.

use crate::abi::{In, Out, Text};
use crate::capture::forbid_by;
use crate::codes::{
    GRAPH_EXEC_UPDATE_FAILURE, INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED, Reply,
};
use crate::driver::driver;
use crate::export::{LOOKS_UP_GRAPHS, api, stream_api};
use crate::stream::target;
use fcsp_sim::graph::{Difference, Graph, GraphPool, NodeId, Work};
use fcsp_sim::stream::Event;
use fcsp_sim::strict::{End, Rule, fatal, is_on};
use fcsp_sim::table::Table;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

/// A graph of the API.
#[derive(Debug)]
pub struct GraphObject {
    graph: Mutex<Graph>,
    origin: BTreeMap<NodeId, NodeId>,
    ended: AtomicBool,
    /// The latest executable made of it, while that lives.
    made: Mutex<Weak<()>>,
    /// Reached at the end of a launch that uses its memory nodes, by whatever executable.
    turn: Arc<Event>,
}

impl GraphObject {
    /// Returns the graph.
    pub fn lock(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if no session records it.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Notes whether a session records it.
    pub fn set_ended(&self, ended: bool) {
        self.ended.store(ended, Ordering::Relaxed);
    }
}

/// A graph ready to be launched. Its nodes keep the numbers of the graph it was made from, by which
/// callers name them.
#[derive(Debug)]
pub struct Exec {
    /// The graph as it was, with later changes of parameters.
    pub graph: Mutex<Graph>,
    flags: u64,
    /// Reached at the end of a launch: two launches of one executable never run at once.
    turn: Arc<Event>,
    _alive: Arc<()>,
}

impl Exec {
    /// Returns the graph.
    pub fn lock(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kernel node's parameters and the addresses of each of them.
type Shown = (Vec<u8>, Vec<u64>);

/// All graphs of the process.
#[derive(Debug)]
pub struct Graphs {
    graphs: Table<GraphObject>,
    execs: Table<Exec>,
    /// Memory of memory nodes.
    pub pool: Arc<GraphPool>,
    owners: RwLock<HashMap<NodeId, u64>>,
    /// How the nodes ended that are gone.
    ended: Mutex<HashMap<NodeId, End>>,
    /// Parameters that callers were pointed to, by node.
    pub shown: Mutex<HashMap<NodeId, Shown>>,
    /// Attributes of kernel nodes, by node and number. Kept for the application; nothing depends on
    /// them.
    pub attributes: Mutex<HashMap<(NodeId, i32), [u64; 8]>>,
}

const NODE: u64 = 0x2f << 40;

/// Returns a node's handle.
pub fn node_handle(id: NodeId) -> u64 {
    NODE | id << 4
}

/// Returns the node of a handle; of something else a number that no node has.
pub fn node_id(handle: u64) -> NodeId {
    if handle >> 40 == NODE >> 40 {
        (handle & 0xff_ffff_ffff) >> 4
    } else {
        0
    }
}

impl Graphs {
    /// No graphs.
    pub fn new() -> Self {
        Self {
            graphs: Table::new("graph", 0x20),
            execs: Table::new("executable graph", 0x21),
            pool: Arc::default(),
            owners: RwLock::default(),
            ended: Mutex::default(),
            shown: Mutex::default(),
            attributes: Mutex::default(),
        }
    }

    /// Adds a graph, and returns its handle.
    pub fn add(&self, graph: Graph) -> u64 {
        self.add_copy(graph, BTreeMap::new())
    }

    fn add_copy(&self, graph: Graph, origin: BTreeMap<NodeId, NodeId>) -> u64 {
        let ids = graph.nodes();
        let h = self.graphs.add(GraphObject {
            graph: Mutex::new(graph),
            origin,
            ended: AtomicBool::new(true),
            made: Mutex::default(),
            turn: Arc::default(),
        });
        ids.into_iter().for_each(|id| self.own(id, h));
        h
    }

    /// Returns the graph of a handle.
    pub fn get(&self, handle: u64) -> Reply<Arc<GraphObject>> {
        let graph = match LOOKS_UP_GRAPHS {
            true => self.graphs.look_up(handle),
            false => self.graphs.checked(handle),
        };
        graph.map_err(|_| INVALID_VALUE)
    }

    /// Returns the launchable graph of a handle.
    pub fn exec(&self, handle: u64) -> Reply<Arc<Exec>> {
        let exec = match LOOKS_UP_GRAPHS {
            true => self.execs.look_up(handle),
            false => self.execs.checked(handle),
        };
        exec.map_err(|_| INVALID_VALUE)
    }

    /// Forgets a graph.
    pub fn remove(&self, handle: u64) -> Reply {
        let g = match LOOKS_UP_GRAPHS {
            true => self.graphs.take(handle),
            false => self.graphs.take_checked(handle),
        };
        let g = g.map_err(|_| INVALID_VALUE)?;
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for id in g.lock().nodes() {
            owners.remove(&id);
            shown.remove(&id);
            self.note_end(id);
        }
        let mut attributes = self
            .attributes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        attributes.retain(|(id, _), _| owners.contains_key(id));
        Ok(())
    }

    /// Notes which graph a node is in.
    pub fn own(&self, id: NodeId, graph: u64) {
        self.owners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, graph);
    }

    fn note_end(&self, id: NodeId) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(id, End::now());
    }

    /// Ends the program for a node that is gone, which the driver follows without a look.
    fn refuse(&self, node: u64) {
        if node == 0 || LOOKS_UP_GRAPHS || !is_on(Rule::Handles) {
            return;
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        fatal(&match ended.get(&node_id(node)) {
            Some(end) => format!("graph node {node:#x} was destroyed by {end}"),
            None => format!("{node:#x} never was a handle of a graph node in this process"),
        })
    }

    /// Returns the graph that a node is in.
    pub fn of(&self, node: u64) -> Reply<(Arc<GraphObject>, NodeId)> {
        let id = node_id(node);
        let graph = self
            .owners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .copied();
        let graph = graph
            .ok_or(INVALID_VALUE)
            .inspect_err(|_| self.refuse(node))?;
        Ok((self.get(graph)?, id))
    }
}

/// Fills a caller's array from a list, or tells how long it must be.
pub fn fill_list(list: &[u64], place: Out<u64>, n: Out<u64>) -> Reply {
    if place.is_null() {
        return n.put(list.len() as u64);
    }
    let room = n.get()? as usize;
    for i in 0..room {
        place.set_at(i, list.get(i).copied().unwrap_or(0));
    }
    n.put(list.len().min(room) as u64)
}

fn handles(ids: impl IntoIterator<Item = NodeId>) -> Vec<u64> {
    ids.into_iter().map(node_handle).collect()
}

fn edges(graph: u64, from: Out<u64>, to: Out<u64>, data: Out<u64>, n: Out<u64>) -> Reply {
    let all = driver()?.graphs.get(graph)?.lock().edges();
    if from.is_null() || to.is_null() {
        return n.put(all.len() as u64);
    }
    let room = n.get()? as usize;
    for (i, (a, b)) in all.iter().take(room).enumerate() {
        from.set_at(i, node_handle(*a));
        to.set_at(i, node_handle(*b));
        data.set_at(i, 0);
    }
    n.put(all.len().min(room) as u64)
}

fn change(graph: u64, from: In<u64>, to: In<u64>, n: u64, add: bool) -> Reply {
    let g = driver()?.graphs.get(graph)?;
    let mut g = g.lock();
    for i in 0..n as usize {
        g.edge(node_id(from.at(i)?), node_id(to.at(i)?), add)?;
    }
    Ok(())
}

fn neighbours(node: u64, before: bool, list: Out<u64>, data: Out<u64>, n: Out<u64>) -> Reply {
    let (g, id) = driver()?.graphs.of(node)?;
    let all = g.lock().edges();
    let hits: Vec<u64> = if before {
        handles(all.iter().filter(|(_, b)| *b == id).map(|(a, _)| *a))
    } else {
        handles(all.iter().filter(|(a, _)| *a == id).map(|(_, b)| *b))
    };
    if !list.is_null() {
        (0..hits.len()).for_each(|i| data.set_at(i, 0));
    }
    fill_list(&hits, list, n)
}

fn instantiate(place: Out<u64>, graph: u64, flags: u64) -> Reply {
    forbid_by(Rule::Captures)?;
    place.need()?;
    let d = driver()?;
    if flags & !0xf != 0 {
        return Err(INVALID_VALUE);
    }
    let object = d.graphs.get(graph)?;
    let copy = object.lock().clone();
    copy.order()?;
    let alive = Arc::new(());
    let mut made = object.made.lock().unwrap_or_else(PoisonError::into_inner);
    // Memory nodes have one address, and one executable at a time uses it.
    let has_memory = !copy.memories().is_empty();
    if has_memory && made.strong_count() > 0 {
        return Err(NOT_SUPPORTED);
    }
    let turn = if has_memory {
        object.turn.clone()
    } else {
        Arc::default()
    };
    *made = Arc::downgrade(&alive);
    place.put(d.graphs.execs.add(Exec {
        graph: Mutex::new(copy),
        flags,
        turn,
        _alive: alive,
    }))
}

/// Result of an update, in the API's newer form.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct UpdateResult {
    result: i32,
    node: u64,
    from: u64,
}

fn update(exec: u64, graph: u64) -> Reply<Result<(), (i32, u64)>> {
    let d = driver()?;
    let e = d.graphs.exec(exec)?;
    let new = d.graphs.get(graph)?.lock().clone();
    Ok(e.lock().update(&new).map_err(|why| match why {
        Difference::Topology => (2, 0),
        Difference::Kind(id) => (3, node_handle(id)),
    }))
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct InstantiateParams {
    flags: u64,
    upload: u64,
    node: u64,
    result: i32,
}

fn launch(exec: u64, stream: u64, pt: bool) -> Reply {
    let d = driver()?;
    let e = d.graphs.exec(exec)?;
    let t = target(stream, pt)?;
    t.implicit()?;
    let graph = e.lock().clone();
    if t.recording().is_some() {
        return t.run(Work::Graph(graph));
    }
    // Memory is what a launch may be refused; nothing of the graph has run then.
    d.graphs.pool.take(&graph.memories())?;
    let mut whole = Graph::default();
    let before = whole.add(Work::Wait(e.turn.clone()), &[])?;
    let inner = whole.add(Work::Graph(graph), &[before])?;
    whole.add(Work::Record(e.turn.clone()), &[inner])?;
    t.run(Work::Graph(whole))
}

api! {
    fn cuGraphCreate(place: Out<u64>, flags: u32) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        place.need()?;
        place.put(driver()?.graphs.add(Graph::default()))
    }
    fn cuGraphDestroy(graph: u64) {
        driver()?.graphs.remove(graph)
    }
    fn cuGraphClone(place: Out<u64>, graph: u64) {
        place.need()?;
        let d = driver()?;
        let object = d.graphs.get(graph)?;
        let original = object.lock();
        if !original.memories().is_empty() {
            return Err(NOT_SUPPORTED);
        }
        let (copy, origin) = original.copy();
        place.put(d.graphs.add_copy(copy, origin))
    }
    fn cuGraphNodeFindInClone(place: Out<u64>, node: u64, clone: u64) {
        let g = driver()?.graphs.get(clone)?;
        place.put(node_handle(*g.origin.get(&node_id(node)).ok_or(INVALID_VALUE)?))
    }
    fn cuGraphGetNodes(graph: u64, list: Out<u64>, n: Out<u64>) {
        let ids = driver()?.graphs.get(graph)?.lock().nodes();
        fill_list(&handles(ids), list, n)
    }
    fn cuGraphGetRootNodes(graph: u64, list: Out<u64>, n: Out<u64>) {
        let ids = driver()?.graphs.get(graph)?.lock().roots();
        fill_list(&handles(ids), list, n)
    }
    fn cuGraphGetEdges(graph: u64, from: Out<u64>, to: Out<u64>, n: Out<u64>) {
        edges(graph, from, to, Out::from_raw(std::ptr::null_mut()), n)
    }
    fn cuGraphGetEdges_v2(graph: u64, from: Out<u64>, to: Out<u64>, data: Out<u64>, n: Out<u64>) {
        edges(graph, from, to, data, n)
    }
    fn cuGraphAddDependencies(graph: u64, from: In<u64>, to: In<u64>, n: u64) {
        change(graph, from, to, n, true)
    }
    fn cuGraphAddDependencies_v2(graph: u64, from: In<u64>, to: In<u64>, _data: u64, n: u64) {
        change(graph, from, to, n, true)
    }
    fn cuGraphRemoveDependencies(graph: u64, from: In<u64>, to: In<u64>, n: u64) {
        change(graph, from, to, n, false)
    }
    fn cuGraphRemoveDependencies_v2(graph: u64, from: In<u64>, to: In<u64>, _data: u64, n: u64) {
        change(graph, from, to, n, false)
    }
    fn cuGraphNodeGetDependencies(node: u64, list: Out<u64>, n: Out<u64>) {
        neighbours(node, true, list, Out::from_raw(std::ptr::null_mut()), n)
    }
    fn cuGraphNodeGetDependencies_v2(node: u64, list: Out<u64>, data: Out<u64>, n: Out<u64>) {
        neighbours(node, true, list, data, n)
    }
    fn cuGraphNodeGetDependentNodes(node: u64, list: Out<u64>, n: Out<u64>) {
        neighbours(node, false, list, Out::from_raw(std::ptr::null_mut()), n)
    }
    fn cuGraphNodeGetDependentNodes_v2(node: u64, list: Out<u64>, data: Out<u64>, n: Out<u64>) {
        neighbours(node, false, list, data, n)
    }
    fn cuGraphDestroyNode(node: u64) {
        let d = driver()?;
        let (g, id) = d.graphs.of(node)?;
        g.lock().remove(id)?;
        d.graphs.owners.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        d.graphs.note_end(id);
        Ok(())
    }
    fn cuGraphInstantiate, cuGraphInstantiate_v2(place: Out<u64>, graph: u64, node: Out<u64>, _log: Text, _len: u64) {
        node.set(0);
        instantiate(place, graph, 0)
    }
    fn cuGraphInstantiateWithFlags(place: Out<u64>, graph: u64, flags: u64) {
        instantiate(place, graph, flags)
    }
    fn cuGraphExecGetFlags(exec: u64, flags: Out<u64>) {
        flags.put(driver()?.graphs.exec(exec)?.flags)
    }
    fn cuGraphExecDestroy(exec: u64) {
        forbid_by(Rule::Captures)?;
        let execs = &driver()?.graphs.execs;
        let exec = match LOOKS_UP_GRAPHS {
            true => execs.take(exec),
            false => execs.take_checked(exec),
        };
        exec.map(|_| ()).map_err(|_| INVALID_VALUE)
    }
    fn cuGraphExecUpdate(exec: u64, graph: u64, node: Out<u64>, result: Out<i32>) {
        let r = update(exec, graph)?;
        node.set(r.err().map_or(0, |(_, n)| n));
        result.put(r.err().map_or(0, |(code, _)| code))?;
        r.map_err(|_| GRAPH_EXEC_UPDATE_FAILURE)
    }
    fn cuGraphExecUpdate_v2(exec: u64, graph: u64, info: Out<UpdateResult>) {
        let r = update(exec, graph)?;
        let (result, node) = r.err().unwrap_or((0, 0));
        info.put(UpdateResult { result, node, from: 0 })?;
        r.map_err(|_| GRAPH_EXEC_UPDATE_FAILURE)
    }
    fn cuGraphNodeSetEnabled(exec: u64, node: u64, on: u32) {
        *driver()?.graphs.exec(exec)?.lock().enabled(node_id(node))? = on != 0;
        Ok(())
    }
    fn cuGraphNodeGetEnabled(exec: u64, node: u64, on: Out<u32>) {
        let v = *driver()?.graphs.exec(exec)?.lock().enabled(node_id(node))?;
        on.put(u32::from(v))
    }
    fn cuDeviceGraphMemTrim(device: i32) {
        let d = driver()?;
        d.graphs.pool.trim(d.device(device)?);
        Ok(())
    }
    fn cuDeviceGetGraphMemAttribute(device: i32, attribute: i32, value: Out<u64>) {
        let d = driver()?;
        let [used, reserved, used_high, reserved_high] = d.graphs.pool.sizes(d.device(device)?);
        value.put(match attribute {
            0 => used,
            1 => used_high,
            2 => reserved,
            3 => reserved_high,
            _ => return Err(INVALID_VALUE),
        })
    }
    fn cuDeviceSetGraphMemAttribute(device: i32, attribute: i32, value: In<u64>) {
        let d = driver()?;
        let device = d.device(device)?;
        if value.get()? != 0 || !matches!(attribute, 1 | 3) {
            return Err(INVALID_VALUE);
        }
        d.graphs.pool.reset_high(device, attribute == 3);
        Ok(())
    }
}

stream_api! {
    fn cuGraphLaunch, cuGraphLaunch_ptsz[pt](exec: u64, stream: u64) {
        launch(exec, stream, pt)
    }
    fn cuGraphUpload, cuGraphUpload_ptsz[pt](exec: u64, stream: u64) {
        driver()?.graphs.exec(exec)?;
        target(stream, pt).map(|_| ())
    }
    fn cuGraphInstantiateWithParams, cuGraphInstantiateWithParams_ptsz[pt](
        place: Out<u64>, graph: u64, params: Out<InstantiateParams>,
    ) {
        let mut p = params.get()?;
        target(p.upload, pt).map(|_| ()).or(if p.upload == 0 { Ok(()) } else { Err(INVALID_HANDLE) })?;
        instantiate(place, graph, p.flags)?;
        (p.node, p.result) = (0, 0);
        params.put(p)
    }
}
