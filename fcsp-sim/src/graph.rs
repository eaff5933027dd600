//! Graphs of work: recorded once, launched many times.
//!
//! A launch puts the nodes on its stream one after the other in an order that respects the edges;
//! nodes that could run side by side do not. Memory nodes get their address when they are added and
//! their memory at the first launch; it stays the device's until it is trimmed.

use crate::copy::{Copy, Fill};
use crate::error::{Error, Result};
use crate::host::{Mapping, PAGE};
use crate::launch::Launch;
use crate::memory::{Kind, Memory};
use crate::process::{Account, Process};
use crate::spec::DeviceSpec;
use crate::stream::{Event, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A host function and its argument, as the application gave them.
#[derive(Debug, Clone, Copy)]
pub struct HostCall {
    /// The function.
    pub f: extern "C" fn(usize),
    /// Its argument.
    pub data: usize,
}

/// The work of a node.
#[derive(Debug, Clone)]
pub enum Work {
    /// Nothing.
    Empty,
    /// A kernel.
    Kernel(Launch),
    /// A copy.
    Copy(Copy),
    /// A fill.
    Fill(Fill),
    /// A host function.
    Host(HostCall),
    /// Another graph.
    Graph(Graph),
    /// Records an event.
    Record(Arc<Event>),
    /// Waits for an event.
    Wait(Arc<Event>),
    /// Makes memory available at its address.
    Alloc(Arc<GraphMemory>),
    /// Ends the availability of memory at an address.
    Free(u64),
    /// Writes a word of 4 or 8 bytes.
    Write(u64, u64, bool),
    /// Waits until a word of 4 or 8 bytes compares: address, value, whether 8 bytes, how.
    Await(u64, u64, bool, u32),
}

impl Work {
    /// Returns true if both are of one kind, whatever their parameters.
    pub fn is_like(&self, other: &Work) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Memory of a graph's node.
#[derive(Debug)]
pub struct GraphMemory {
    /// The device.
    pub device: usize,
    /// Bytes asked for.
    pub size: u64,
    mapping: Mapping,
    process: Arc<Process>,
    state: Mutex<NodeState>,
}

/// The state of a node's memory.
#[derive(Debug, Default, Clone, Copy)]
struct NodeState {
    /// It takes room on the device.
    resident: bool,
    /// A launch has got to the node, and none to the end of its use.
    live: bool,
    /// Launches that have yet to get to the node.
    coming: u32,
}

impl GraphMemory {
    fn bytes(&self) -> u64 {
        self.mapping.size()
    }

    /// Its address, the same in every launch.
    pub fn address(&self) -> u64 {
        self.mapping.base()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        if self.state().resident {
            self.process
                .give(self.device, self.bytes(), Account::Process);
        }
    }
}

/// The graph memory of all devices of a process.
#[derive(Debug, Default)]
pub struct GraphPool {
    all: Mutex<Vec<Weak<GraphMemory>>>,
    /// Memory that a launch has got to and none has ended: it outlives its graph, by address.
    live: Mutex<BTreeMap<u64, Arc<GraphMemory>>>,
    high: Mutex<BTreeMap<usize, (u64, u64)>>,
}

impl GraphPool {
    /// Reserves an address for a memory node.
    pub fn node(&self, memory: &Memory, device: usize, size: u64) -> Result<Arc<GraphMemory>> {
        let bytes = size
            .max(1)
            .checked_next_multiple_of(PAGE)
            .ok_or(Error::OutOfMemory)?;
        let mapping = Mapping::zeroed(bytes, PAGE).map_err(|_| Error::OutOfMemory)?;
        let process = memory.process.clone();
        let m = Arc::new(GraphMemory {
            device,
            size,
            mapping,
            process,
            state: Mutex::default(),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|w| w.strong_count() > 0);
        all.push(Arc::downgrade(&m));
        Ok(m)
    }

    fn of(&self, device: usize) -> Vec<Arc<GraphMemory>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter_map(Weak::upgrade)
            .filter(|m| m.device == device)
            .collect()
    }

    /// Returns bytes on a device: used now, reserved now, and the most of each.
    pub fn sizes(&self, device: usize) -> [u64; 4] {
        let (mut used, mut reserved) = (0, 0);
        for m in self.of(device) {
            let NodeState { resident, live, .. } = *m.state();
            reserved += if resident { m.bytes() } else { 0 };
            used += if live { m.size } else { 0 };
        }
        let mut high = self.high.lock().unwrap_or_else(PoisonError::into_inner);
        let h = high.entry(device).or_default();
        *h = (h.0.max(used), h.1.max(reserved));
        [used, reserved, h.0, h.1]
    }

    /// Forgets the most used or the most reserved so far.
    pub fn reset_high(&self, device: usize, reserved: bool) {
        let now = self.sizes(device);
        let mut high = self.high.lock().unwrap_or_else(PoisonError::into_inner);
        let h = high.entry(device).or_default();
        if reserved { h.1 = now[1] } else { h.0 = now[0] }
    }

    /// Gives memory that is not in use back to the device.
    pub fn trim(&self, device: usize) {
        for m in self.of(device) {
            let mut s = m.state();
            if s.resident && !s.live && s.coming == 0 {
                s.resident = false;
                m.mapping.forget(0, m.bytes());
                m.process.give(device, m.bytes(), Account::Process);
            }
        }
    }

    /// Finds the live memory node at an address.
    pub fn find(&self, address: u64) -> Option<Arc<GraphMemory>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter_map(Weak::upgrade)
            .find(|m| m.address() == address)
    }

    /// Returns true if an address lies in the memory of a node, whatever its state.
    pub fn holds(&self, address: u64) -> bool {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let inside =
            |m: Arc<GraphMemory>| (m.address()..m.address() + m.bytes()).contains(&address);
        all.iter().filter_map(Weak::upgrade).any(inside)
    }

    /// Takes room for the nodes of a launch before any of them runs, as the launch is what may be
    /// refused.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device has not room for all; nothing has changed then.
    pub fn take(&self, nodes: &[Arc<GraphMemory>]) -> Result {
        let mut taken: Vec<&Arc<GraphMemory>> = Vec::new();
        for m in nodes {
            let mut s = m.state();
            if !s.resident {
                if let Err(e) = m.process.take(m.device, m.bytes(), Account::Process) {
                    drop(s);
                    for t in taken {
                        t.state().resident = false;
                        t.process.give(t.device, t.bytes(), Account::Process);
                    }
                    return Err(e);
                }
                s.resident = true;
                taken.push(m);
            }
        }
        for m in nodes {
            m.state().coming += 1;
            self.sizes(m.device);
        }
        Ok(())
    }

    /// Marks a node that a launch has got to.
    fn start(&self, memory: &Memory, m: &Arc<GraphMemory>) {
        let mut s = m.state();
        s.coming = s.coming.saturating_sub(1);
        if !std::mem::replace(&mut s.live, true) {
            drop(s);
            self.live().insert(m.address(), m.clone());
            let mut inner = memory.lock();
            memory.add(&mut inner, m.address(), m.size, Kind::Graph, m.device, 0);
            drop(inner);
            self.sizes(m.device);
        }
    }

    /// Ends the use of a node's memory; whether there was any.
    pub fn end(&self, memory: &Memory, address: u64) -> bool {
        let Some(m) = self.find(address) else {
            return false;
        };
        let was = std::mem::take(&mut m.state().live);
        if was {
            memory.lock().ranges.remove(&address);
            self.live().remove(&address);
        }
        was
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<GraphMemory>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a node; unique in the process.
pub type NodeId = u64;

#[derive(Debug, Clone)]
struct Node {
    work: Work,
    after: BTreeSet<NodeId>,
    enabled: bool,
}

/// Nodes and the edges between them.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: BTreeMap<NodeId, Node>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The difference between an update and the updated graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Other nodes or edges.
    Topology,
    /// Another kind of node; the node in the new graph.
    Kind(NodeId),
}

impl Graph {
    /// Adds a node after others.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if one of those is not in the graph.
    pub fn add(&mut self, work: Work, after: &[NodeId]) -> Result<NodeId> {
        if after.iter().any(|d| !self.nodes.contains_key(d)) {
            return Err(Error::InvalidValue);
        }
        // Relaxed: uniqueness is all it needs. Growing numbers also make a node's number its age.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.nodes.insert(
            id,
            Node {
                work,
                after: after.iter().copied().collect(),
                enabled: true,
            },
        );
        Ok(id)
    }

    /// Removes a node and its edges.
    pub fn remove(&mut self, id: NodeId) -> Result {
        self.nodes.remove(&id).ok_or(Error::InvalidValue)?;
        self.nodes.values_mut().for_each(|n| {
            n.after.remove(&id);
        });
        Ok(())
    }

    /// Lists all nodes, oldest first.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Nodes that come after nothing.
    pub fn roots(&self) -> Vec<NodeId> {
        self.nodes
            .iter()
            .filter(|(_, n)| n.after.is_empty())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Lists all edges, from and to.
    pub fn edges(&self) -> Vec<(NodeId, NodeId)> {
        self.nodes
            .iter()
            .flat_map(|(to, n)| n.after.iter().map(move |from| (*from, *to)))
            .collect()
    }

    /// Adds or removes an edge.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if a node is missing, the edge is there (or is not), or it would
    /// close a circle.
    pub fn edge(&mut self, from: NodeId, to: NodeId, add: bool) -> Result {
        if !self.nodes.contains_key(&from) || from == to {
            return Err(Error::InvalidValue);
        }
        let n = self.nodes.get_mut(&to).ok_or(Error::InvalidValue)?;
        let changed = if add {
            n.after.insert(from)
        } else {
            n.after.remove(&from)
        };
        if !changed {
            return Err(Error::InvalidValue);
        }
        if add && self.order().is_err() {
            self.nodes
                .get_mut(&to)
                .ok_or(Error::InvalidValue)?
                .after
                .remove(&from);
            return Err(Error::InvalidValue);
        }
        Ok(())
    }

    /// Returns a node's work.
    pub fn work(&self, id: NodeId) -> Result<&Work> {
        self.nodes
            .get(&id)
            .map(|n| &n.work)
            .ok_or(Error::InvalidValue)
    }

    /// Returns a node's work, to be changed.
    pub fn work_mut(&mut self, id: NodeId) -> Result<&mut Work> {
        self.nodes
            .get_mut(&id)
            .map(|n| &mut n.work)
            .ok_or(Error::InvalidValue)
    }

    /// Returns the flag that enables a node. A disabled node only keeps the order.
    pub fn enabled(&mut self, id: NodeId) -> Result<&mut bool> {
        self.nodes
            .get_mut(&id)
            .map(|n| &mut n.enabled)
            .ok_or(Error::InvalidValue)
    }

    /// Sorts the nodes by an order that respects the edges.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if the edges close a circle.
    pub fn order(&self) -> Result<Vec<NodeId>> {
        let mut done = BTreeSet::new();
        let mut out = Vec::with_capacity(self.nodes.len());
        while out.len() < self.nodes.len() {
            let before = out.len();
            for (id, n) in &self.nodes {
                if !done.contains(id) && n.after.iter().all(|d| done.contains(d)) {
                    done.insert(*id);
                    out.push(*id);
                }
            }
            if out.len() == before {
                return Err(Error::InvalidValue);
            }
        }
        Ok(out)
    }

    /// Copies the graph with nodes of its own. Returns the new node of each old one, too.
    pub fn copy(&self) -> (Graph, BTreeMap<NodeId, NodeId>) {
        let map: BTreeMap<NodeId, NodeId> = self
            .nodes
            .keys()
            .map(|id| (*id, NEXT.fetch_add(1, Ordering::Relaxed)))
            .collect();
        let nodes = self.nodes.iter().map(|(id, n)| {
            let work = match &n.work {
                Work::Graph(g) => Work::Graph(g.copy().0),
                w => w.clone(),
            };
            (
                map[id],
                Node {
                    work,
                    after: n.after.iter().map(|d| map[d]).collect(),
                    enabled: n.enabled,
                },
            )
        });
        (
            Graph {
                nodes: nodes.collect(),
            },
            map,
        )
    }

    /// Takes over another graph's parameters if it has the same shape, node by node in order of
    /// age.
    pub fn update(&mut self, other: &Graph) -> std::result::Result<(), Difference> {
        if self.nodes.len() != other.nodes.len() {
            return Err(Difference::Topology);
        }
        let place = |g: &Graph, id: NodeId| g.nodes.range(..id).count();
        for ((_, a), (id, b)) in self.nodes.iter().zip(&other.nodes) {
            let old: BTreeSet<usize> = a.after.iter().map(|d| place(self, *d)).collect();
            let new: BTreeSet<usize> = b.after.iter().map(|d| place(other, *d)).collect();
            if old != new {
                return Err(Difference::Topology);
            }
            if !a.work.is_like(&b.work) {
                return Err(Difference::Kind(*id));
            }
        }
        for (a, b) in self.nodes.values_mut().zip(other.nodes.values()) {
            a.work = b.work.clone();
        }
        Ok(())
    }

    /// Lists the memory nodes of a launch, in order.
    pub fn memories(&self) -> Vec<Arc<GraphMemory>> {
        let mut out = Vec::new();
        for n in self.nodes.values() {
            match &n.work {
                Work::Alloc(m) => out.push(m.clone()),
                Work::Graph(g) => out.extend(g.memories()),
                _ => {}
            }
        }
        out
    }

    /// Makes the whole graph operations of one stream.
    pub fn ops(
        &self,
        device: &DeviceSpec,
        memory: &Arc<Memory>,
        pool: &Arc<GraphPool>,
    ) -> Result<Vec<Op>> {
        let mut out = Vec::new();
        for id in self.order()? {
            let n = &self.nodes[&id];
            if n.enabled {
                out.extend(n.work.ops(device, memory, pool)?);
            }
        }
        Ok(out)
    }
}

fn word(address: u64, wide: bool) -> u64 {
    // SAFETY: the caller checked that the word is in memory the device can reach. Other threads
    // write it, so it is read as a whole and afresh every time.
    unsafe {
        if wide {
            (address as *const u64).read_volatile()
        } else {
            u64::from((address as *const u32).read_volatile())
        }
    }
}

fn compares(now: u64, value: u64, wide: bool, how: u32) -> bool {
    match how & 3 {
        0 if wide => (now as i64).wrapping_sub(value as i64) >= 0,
        0 => (now as i32).wrapping_sub(value as i32) >= 0,
        1 => now == value,
        2 => now & value != 0,
        _ => !(now | value) & if wide { u64::MAX } else { u64::from(u32::MAX) } != 0,
    }
}

impl Work {
    /// Makes it operations of a stream. Memory of memory nodes must have been taken.
    pub fn ops(
        &self,
        device: &DeviceSpec,
        memory: &Arc<Memory>,
        pool: &Arc<GraphPool>,
    ) -> Result<Vec<Op>> {
        Ok(vec![match self {
            Work::Empty => return Ok(Vec::new()),
            Work::Alloc(m) => {
                let (m, memory, pool) = (m.clone(), memory.clone(), pool.clone());
                Op::Instant(Box::new(move || {
                    pool.start(&memory, &m);
                    Ok(())
                }))
            }
            Work::Kernel(l) => l.op(device, memory),
            Work::Copy(c) => c.op(device, memory),
            Work::Fill(f) => f.op(device, memory),
            Work::Host(h) => {
                let h = *h;
                Op::Host(Box::new(move || (h.f)(h.data)))
            }
            Work::Graph(g) => return g.ops(device, memory, pool),
            Work::Record(e) => Op::Record(e.clone(), e.record()),
            Work::Wait(e) => Op::Wait(e.clone(), e.latest()),
            Work::Free(at) => {
                let (at, memory, pool) = (*at, memory.clone(), pool.clone());
                Op::Instant(Box::new(move || {
                    pool.end(&memory, at);
                    Ok(())
                }))
            }
            Work::Write(at, value, wide) => {
                let (at, value, wide, memory) = (*at, *value, *wide, memory.clone());
                Op::Instant(Box::new(move || {
                    if !memory.covers(at, if wide { 8 } else { 4 }) {
                        return Err(Error::IllegalAddress);
                    }
                    // SAFETY: in memory the device can reach, checked above.
                    unsafe {
                        if wide {
                            (at as *mut u64).write_volatile(value);
                        } else {
                            (at as *mut u32).write_volatile(value as u32);
                        }
                    }
                    Ok(())
                }))
            }
            Work::Await(at, value, wide, how) => {
                let (at, value, wide, how) = (*at, *value, *wide, *how);
                if !memory.covers(at, if wide { 8 } else { 4 }) {
                    return Err(Error::InvalidValue);
                }
                Op::Until(Box::new(move || compares(word(at, wide), value, wide, how)))
            }
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_respects_edges_and_circles_are_refused() {
        let mut g = Graph::default();
        let a = g.add(Work::Empty, &[]).unwrap();
        let b = g.add(Work::Empty, &[a]).unwrap();
        let c = g.add(Work::Empty, &[]).unwrap();
        g.edge(c, a, true).unwrap();
        assert_eq!(g.order().unwrap(), [c, a, b]);
        assert_eq!(g.edge(b, c, true), Err(Error::InvalidValue));
        assert_eq!((g.roots(), g.edges()), (vec![c], vec![(c, a), (a, b)]));
        g.remove(a).unwrap();
        assert_eq!(g.edges(), []);
        assert_eq!(g.add(Work::Empty, &[a]), Err(Error::InvalidValue));
    }

    #[test]
    fn memory_in_use_outlives_its_graph() {
        let path =
            std::env::temp_dir().join(format!("fcsp-sim-graph-{}-outlives", std::process::id()));
        let t: crate::spec::Topology = "tiny".parse().unwrap();
        let region = crate::region::Region::open(&path, &t).unwrap();
        let memory = Memory::new(Arc::new(Process::join(t, Arc::new(region)).unwrap()));
        let pool = GraphPool::default();
        let node = pool.node(&memory, 0, 4096).unwrap();
        let at = node.address();
        pool.take(std::slice::from_ref(&node)).unwrap();
        pool.start(&memory, &node);
        drop(node); // As when the executable is destroyed behind a launch.
        assert!(memory.covers(at, 4096));
        assert_eq!(pool.sizes(0)[0], 4096);
        assert!(pool.end(&memory, at));
        assert!(!memory.covers(at, 1) && !pool.end(&memory, at));
        assert_eq!(pool.sizes(0)[..2], [0, 0]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn updates_need_the_same_shape() {
        let fill = |v| {
            Work::Fill(Fill {
                at: 0,
                pitch: 0,
                value: v,
                element: 4,
                width: 1,
                height: 1,
            })
        };
        let mut g = Graph::default();
        let a = g.add(fill(1), &[]).unwrap();
        g.add(Work::Empty, &[a]).unwrap();
        let (mut other, map) = g.copy();
        *other.work_mut(map[&a]).unwrap() = fill(2);
        g.update(&other).unwrap();
        assert!(matches!(g.work(a).unwrap(), Work::Fill(f) if f.value == 2));
        *other.work_mut(map[&a]).unwrap() = Work::Empty;
        assert_eq!(g.update(&other), Err(Difference::Kind(map[&a])));
        other.remove(map[&a]).unwrap();
        assert_eq!(g.update(&other), Err(Difference::Topology));
    }

    #[test]
    fn words_compare_as_the_api_says() {
        assert!(
            compares(5, 3, false, 0) && !compares(2, 3, false, 0),
            "at least, cyclically"
        );
        assert!(compares(1, u64::from(u32::MAX), false, 0));
        assert!(compares(3, 3, true, 1) && !compares(4, 3, true, 1));
        assert!(compares(6, 2, false, 2) && !compares(4, 2, false, 2));
        assert!(compares(1, 2, false, 3) && !compares(u64::from(u32::MAX), 0, false, 3));
    }
}
