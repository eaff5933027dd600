//! Nodes of graphs: adding them, and reading and changing what they do.

use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, NOT_SUPPORTED, Reply};
use crate::copy::Copy3;
use crate::driver::driver;
use crate::export::api;
use crate::graph::{node_handle, node_id};
use crate::launch::{Shape, build};
use crate::pool::Props;
use fcsp_sim::copy::Fill;
use fcsp_sim::graph::{HostCall, Work};
use std::sync::PoisonError;

/// A kernel node's parameters; the newer form, of which the older one is the front.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelParams {
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    params: u64,
    extra: u64,
    kernel: u64,
    context: u64,
}

/// The older form.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelParams1 {
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    params: u64,
    extra: u64,
}

/// A fill node's parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FillParams {
    at: u64,
    pitch: u64,
    value: u32,
    element: u32,
    width: u64,
    height: u64,
}

/// A host node's parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct HostParams {
    f: Option<extern "C" fn(usize)>,
    data: usize,
}

/// A memory node's parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AllocParams {
    pool: Props,
    access: u64,
    accesses: u64,
    size: u64,
    at: u64,
}

/// Parameters of any kind of node: its kind, then the parameters themselves.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AnyParams {
    kind: i32,
    _reserved: [i32; 3],
    body: [u64; 29],
    _end: u64,
}

impl From<KernelParams1> for KernelParams {
    fn from(p: KernelParams1) -> Self {
        let KernelParams1 {
            function,
            grid,
            block,
            shared,
            params,
            extra,
        } = p;
        Self {
            function,
            grid,
            block,
            shared,
            params,
            extra,
            kernel: 0,
            context: 0,
        }
    }
}

fn kernel(p: &KernelParams) -> Reply<Work> {
    let f = if p.function != 0 {
        p.function
    } else {
        p.kernel
    };
    let shape = Shape {
        grid: p.grid,
        block: p.block,
        shared: p.shared,
    };
    Ok(Work::Kernel(build(
        f,
        shape,
        In::from_raw(p.params as *const _),
        In::from_raw(p.extra as *const _),
    )?))
}

fn copy(p: &Copy3) -> Reply<Work> {
    Ok(Work::Copy(p.plan()?))
}

fn fill(p: &FillParams) -> Reply<Work> {
    let f = Fill {
        at: p.at,
        pitch: p.pitch,
        value: p.value,
        element: u64::from(p.element),
        width: p.width,
        height: p.height,
    };
    if !matches!(f.element, 1 | 2 | 4) || f.width == 0 || f.height == 0 {
        return Err(INVALID_VALUE);
    }
    Ok(Work::Fill(f))
}

fn host(p: &HostParams) -> Reply<Work> {
    Ok(Work::Host(HostCall {
        f: p.f.ok_or(INVALID_VALUE)?,
        data: p.data,
    }))
}

fn memory(p: &mut AllocParams) -> Reply<Work> {
    let d = driver()?;
    if p.pool.location.kind != 1 || p.size == 0 {
        return Err(INVALID_VALUE);
    }
    let node = d
        .graphs
        .pool
        .node(&d.memory, d.device(p.pool.location.id)?, p.size)?;
    p.at = node.address();
    Ok(Work::Alloc(node))
}

fn add(place: Out<u64>, graph: u64, after: In<u64>, n: u64, work: Work) -> Reply {
    place.need()?;
    let d = driver()?;
    let g = d.graphs.get(graph)?;
    let after: Vec<u64> = after
        .list(if after.is_null() { 0 } else { n as usize })?
        .into_iter()
        .map(node_id)
        .collect();
    let id = g.lock().add(work, &after)?;
    d.graphs.own(id, graph);
    place.put(node_handle(id))
}

/// Changes a node of a graph. It must stay the kind of node it is.
fn set(node: u64, work: Work) -> Reply {
    let (g, id) = driver()?.graphs.of(node)?;
    let mut g = g.lock();
    replace(g.work_mut(id)?, work)
}

/// Changes a node of a graph that is ready to be launched.
fn set_exec(exec: u64, node: u64, work: Work) -> Reply {
    let e = driver()?.graphs.exec(exec)?;
    let mut g = e.lock();
    replace(g.work_mut(node_id(node))?, work)
}

fn replace(old: &mut Work, new: Work) -> Reply {
    if !old.is_like(&new) {
        return Err(INVALID_VALUE);
    }
    *old = new;
    Ok(())
}

fn get(node: u64) -> Reply<Work> {
    let (g, id) = driver()?.graphs.of(node)?;
    Ok(g.lock().work(id)?.clone())
}

fn kind(w: &Work) -> i32 {
    match w {
        Work::Kernel(_) => 0,
        Work::Copy(_) => 1,
        Work::Fill(_) => 2,
        Work::Host(_) => 3,
        Work::Graph(_) => 4,
        Work::Empty => 5,
        Work::Wait(_) => 6,
        Work::Record(_) => 7,
        Work::Alloc(_) => 10,
        Work::Free(_) => 11,
        Work::Write(..) | Work::Await(..) => 12,
    }
}

fn kernel_params(node: u64) -> Reply<KernelParams> {
    let Work::Kernel(l) = get(node)? else {
        return Err(INVALID_VALUE);
    };
    let d = driver()?;
    // The caller gets pointers to the node's parameters; they stay where they are until it asks
    // again.
    let mut shown = d
        .graphs
        .shown
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let entry = shown.entry(node_id(node)).or_default();
    entry.0 = l.params.clone();
    let base = entry.0.as_ptr() as u64;
    entry.1 = l
        .kernel
        .params
        .iter()
        .flatten()
        .map(|(offset, _)| base + *offset as u64)
        .collect();
    Ok(KernelParams {
        function: l.tag,
        grid: l.grid,
        block: l.block,
        shared: l.shared,
        params: if entry.1.is_empty() {
            0
        } else {
            entry.1.as_ptr() as u64
        },
        extra: 0,
        kernel: 0,
        context: 0,
    })
}

/// Reads the body of any node's parameters as one kind's.
fn body<T: Copy>(p: &AnyParams) -> Reply<T> {
    In::<T>::from_raw(p.body.as_ptr().cast()).get()
}

fn any(p: &mut AnyParams) -> Reply<Work> {
    match p.kind {
        0 => kernel(&body(p)?),
        1 => {
            // Flags, a reserved word and a context come before the copy itself.
            copy(&In::<Copy3>::from_raw(p.body[2..].as_ptr().cast()).get()?)
        }
        2 => fill(&body(p)?),
        3 => host(&body(p)?),
        4 => Ok(Work::Graph(driver()?.graphs.get(p.body[0])?.lock().clone())),
        5 => Ok(Work::Empty),
        6 => Ok(Work::Wait(driver()?.events.get(p.body[0])?.event.clone())),
        7 => Ok(Work::Record(driver()?.events.get(p.body[0])?.event.clone())),
        10 => {
            let mut a: AllocParams = body(p)?;
            let w = memory(&mut a)?;
            Out::from_raw(p.body.as_mut_ptr().cast()).put(a)?;
            Ok(w)
        }
        11 => Ok(Work::Free(p.body[0])),
        _ => Err(NOT_SUPPORTED),
    }
}

fn add_any(place: Out<u64>, graph: u64, after: In<u64>, n: u64, params: Out<AnyParams>) -> Reply {
    place.need()?;
    let mut p = params.get()?;
    let work = any(&mut p)?;
    add(place, graph, after, n, work)?;
    params.put(p)
}

api! {
    fn cuGraphAddKernelNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<KernelParams1>) {
        add(place, graph, after, n, kernel(&p.get()?.into())?)
    }
    fn cuGraphAddKernelNode_v2(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<KernelParams>) {
        add(place, graph, after, n, kernel(&p.get()?)?)
    }
    fn cuGraphAddMemcpyNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<Copy3>, _context: u64) {
        add(place, graph, after, n, copy(&p.get()?)?)
    }
    fn cuGraphAddMemsetNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<FillParams>, _context: u64) {
        add(place, graph, after, n, fill(&p.get()?)?)
    }
    fn cuGraphAddHostNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<HostParams>) {
        add(place, graph, after, n, host(&p.get()?)?)
    }
    fn cuGraphAddChildGraphNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, child: u64) {
        let child = driver()?.graphs.get(child)?.lock().copy().0;
        if !child.memories().is_empty() {
            return Err(NOT_SUPPORTED);
        }
        add(place, graph, after, n, Work::Graph(child))
    }
    fn cuGraphAddEmptyNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64) {
        add(place, graph, after, n, Work::Empty)
    }
    fn cuGraphAddEventRecordNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, event: u64) {
        add(place, graph, after, n, Work::Record(driver()?.events.get(event)?.event.clone()))
    }
    fn cuGraphAddEventWaitNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, event: u64) {
        add(place, graph, after, n, Work::Wait(driver()?.events.get(event)?.event.clone()))
    }
    fn cuGraphAddMemAllocNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: Out<AllocParams>) {
        place.need()?;
        let mut a = p.get()?;
        let w = memory(&mut a)?;
        add(place, graph, after, n, w)?;
        p.put(a)
    }
    fn cuGraphAddMemFreeNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, at: u64) {
        driver()?.graphs.pool.find(at).ok_or(INVALID_VALUE)?;
        add(place, graph, after, n, Work::Free(at))
    }
    fn cuGraphAddNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: Out<AnyParams>) {
        add_any(place, graph, after, n, p)
    }
    fn cuGraphAddNode_v2(place: Out<u64>, graph: u64, after: In<u64>, _data: u64, n: u64, p: Out<AnyParams>) {
        add_any(place, graph, after, n, p)
    }
    fn cuGraphNodeGetType(node: u64, place: Out<i32>) {
        place.put(kind(&get(node)?))
    }
    fn cuGraphNodeSetParams(node: u64, p: Out<AnyParams>) {
        let mut p = p.get()?;
        if p.kind == 10 || p.kind == 11 {
            return Err(INVALID_VALUE);
        }
        set(node, any(&mut p)?)
    }
    fn cuGraphExecNodeSetParams(exec: u64, node: u64, p: Out<AnyParams>) {
        let mut p = p.get()?;
        if p.kind == 10 || p.kind == 11 {
            return Err(INVALID_VALUE);
        }
        set_exec(exec, node, any(&mut p)?)
    }
    fn cuGraphKernelNodeGetParams(node: u64, p: Out<KernelParams1>) {
        let KernelParams { function, grid, block, shared, params, extra, .. } = kernel_params(node)?;
        p.put(KernelParams1 { function, grid, block, shared, params, extra })
    }
    fn cuGraphKernelNodeGetParams_v2(node: u64, p: Out<KernelParams>) {
        p.put(kernel_params(node)?)
    }
    fn cuGraphKernelNodeSetParams(node: u64, p: In<KernelParams1>) {
        set(node, kernel(&p.get()?.into())?)
    }
    fn cuGraphKernelNodeSetParams_v2(node: u64, p: In<KernelParams>) {
        set(node, kernel(&p.get()?)?)
    }
    fn cuGraphExecKernelNodeSetParams(exec: u64, node: u64, p: In<KernelParams1>) {
        set_exec(exec, node, kernel(&p.get()?.into())?)
    }
    fn cuGraphExecKernelNodeSetParams_v2(exec: u64, node: u64, p: In<KernelParams>) {
        set_exec(exec, node, kernel(&p.get()?)?)
    }
    fn cuGraphKernelNodeGetAttribute(node: u64, which: i32, value: Out<[u64; 8]>) {
        let Work::Kernel(_) = get(node)? else { return Err(INVALID_VALUE) };
        let all = driver()?.graphs.attributes.lock().unwrap_or_else(PoisonError::into_inner);
        value.put(all.get(&(node_id(node), which)).copied().unwrap_or_default())
    }
    fn cuGraphKernelNodeSetAttribute(node: u64, which: i32, value: In<[u64; 8]>) {
        let Work::Kernel(_) = get(node)? else { return Err(INVALID_VALUE) };
        let mut all = driver()?.graphs.attributes.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((node_id(node), which), value.get()?);
        Ok(())
    }
    fn cuGraphKernelNodeCopyAttributes(to: u64, from: u64) {
        let (Work::Kernel(_), Work::Kernel(_)) = (get(to)?, get(from)?) else { return Err(INVALID_VALUE) };
        let (to, from) = (node_id(to), node_id(from));
        let mut all = driver()?.graphs.attributes.lock().unwrap_or_else(PoisonError::into_inner);
        let copies: Vec<_> = all.iter().filter(|((n, _), _)| *n == from).map(|((_, w), v)| ((to, *w), *v)).collect();
        all.extend(copies);
        Ok(())
    }
    /// Sides that were arrays are shown as the memory they are.
    fn cuGraphMemcpyNodeGetParams(node: u64, p: Out<Copy3>) {
        let Work::Copy(c) = get(node)? else { return Err(INVALID_VALUE) };
        p.put(Copy3::describe(&c))
    }
    fn cuGraphMemcpyNodeSetParams(node: u64, p: In<Copy3>) {
        set(node, copy(&p.get()?)?)
    }
    fn cuGraphExecMemcpyNodeSetParams(exec: u64, node: u64, p: In<Copy3>, _context: u64) {
        set_exec(exec, node, copy(&p.get()?)?)
    }
    fn cuGraphMemsetNodeGetParams(node: u64, p: Out<FillParams>) {
        let Work::Fill(f) = get(node)? else { return Err(INVALID_VALUE) };
        let element = f.element as u32;
        p.put(FillParams { at: f.at, pitch: f.pitch, value: f.value, element, width: f.width, height: f.height })
    }
    fn cuGraphMemsetNodeSetParams(node: u64, p: In<FillParams>) {
        set(node, fill(&p.get()?)?)
    }
    fn cuGraphExecMemsetNodeSetParams(exec: u64, node: u64, p: In<FillParams>, _context: u64) {
        set_exec(exec, node, fill(&p.get()?)?)
    }
    fn cuGraphHostNodeGetParams(node: u64, p: Out<HostParams>) {
        let Work::Host(h) = get(node)? else { return Err(INVALID_VALUE) };
        p.put(HostParams { f: Some(h.f), data: h.data })
    }
    fn cuGraphHostNodeSetParams(node: u64, p: In<HostParams>) {
        set(node, host(&p.get()?)?)
    }
    fn cuGraphExecHostNodeSetParams(exec: u64, node: u64, p: In<HostParams>) {
        set_exec(exec, node, host(&p.get()?)?)
    }
    fn cuGraphExecChildGraphNodeSetParams(exec: u64, node: u64, child: u64) {
        let child = driver()?.graphs.get(child)?.lock().copy().0;
        set_exec(exec, node, Work::Graph(child))
    }
    fn cuGraphEventRecordNodeSetEvent(node: u64, event: u64) {
        set(node, Work::Record(driver()?.events.get(event)?.event.clone()))
    }
    fn cuGraphEventWaitNodeSetEvent(node: u64, event: u64) {
        set(node, Work::Wait(driver()?.events.get(event)?.event.clone()))
    }
    fn cuGraphExecEventRecordNodeSetEvent(exec: u64, node: u64, event: u64) {
        set_exec(exec, node, Work::Record(driver()?.events.get(event)?.event.clone()))
    }
    fn cuGraphExecEventWaitNodeSetEvent(exec: u64, node: u64, event: u64) {
        set_exec(exec, node, Work::Wait(driver()?.events.get(event)?.event.clone()))
    }
    fn cuGraphMemAllocNodeGetParams(node: u64, p: Out<AllocParams>) {
        let Work::Alloc(m) = get(node)? else { return Err(INVALID_VALUE) };
        let d = driver()?;
        // Zeroes are a valid value of every field; the pool's description is the device's default
        // one.
        let mut a = p.get()?;
        (a.pool.kind, a.pool.handles, a.pool.max) = (1, 0, 0);
        a.pool.location = crate::memory::Location { kind: 1, id: d.ordinal(m.device) };
        (a.access, a.accesses, a.size, a.at) = (0, 0, m.size, m.address());
        p.put(a)
    }
    fn cuGraphMemFreeNodeGetParams(node: u64, at: Out<u64>) {
        let Work::Free(a) = get(node)? else { return Err(INVALID_VALUE) };
        at.put(a)
    }
}
