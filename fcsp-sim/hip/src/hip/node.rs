//! Nodes of graphs. HIP's kernel and fill nodes have their fields in another order than the
//! driver's, and its copies come in four forms.

use super::copy::{Deep, Params, deep, params};
use super::launch::{Dim3, host_function};
use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, NOT_SUPPORTED, Reply};
use crate::driver::driver;
use crate::export::{cu, hip_api, same_api};
use crate::node as nodes;
use fcsp_sim::copy::Copy;
use fcsp_sim::graph::Work;

/// `hipKernelNodeParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelParams {
    block: Dim3,
    extra: u64,
    f: u64,
    grid: Dim3,
    params: u64,
    shared: u32,
}

/// The driver's.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct DriverKernel {
    f: u64,
    grid: Dim3,
    block: Dim3,
    shared: u32,
    params: u64,
    extra: u64,
}

/// `hipMemsetParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FillParams {
    at: u64,
    element: u32,
    height: u64,
    pitch: u64,
    value: u32,
    width: u64,
}

/// The driver's.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct DriverFill {
    at: u64,
    pitch: u64,
    value: u32,
    element: u32,
    width: u64,
    height: u64,
}

const _: () = assert!(
    size_of::<KernelParams>() == 64
        && size_of::<DriverKernel>() == size_of::<nodes::KernelParams1>()
);
const _: () = assert!(
    size_of::<FillParams>() == 48 && size_of::<DriverFill>() == size_of::<nodes::FillParams>()
);

fn kernel(p: In<KernelParams>) -> Reply<DriverKernel> {
    let KernelParams {
        block,
        extra,
        f,
        grid,
        params,
        shared,
    } = p.get()?;
    Ok(DriverKernel {
        f: host_function(f)?,
        grid,
        block,
        shared,
        params,
        extra,
    })
}

fn fill(p: In<FillParams>) -> Reply<DriverFill> {
    let FillParams {
        at,
        element,
        height,
        pitch,
        value,
        width,
    } = p.get()?;
    Ok(DriverFill {
        at,
        pitch,
        value,
        element,
        width,
        height,
    })
}

/// Returns the driver's view of one of its structures that is laid out here.
fn as_driver<T, U: std::marker::Copy>(own: &T) -> In<U> {
    In::from_raw((own as *const T).cast())
}

/// Makes a copy between two addresses.
fn line(to: u64, from: u64, n: u64) -> Reply<Work> {
    let d = driver()?;
    let side = |at: u64| (at, d.memory.find(at).is_some() || d.graphs.pool.holds(at));
    Ok(Work::Copy(Copy::linear(side(to), side(from), n)))
}

fn add(place: Out<u64>, graph: u64, after: In<u64>, n: u64, work: Work) -> Reply {
    place.need()?;
    let d = driver()?;
    let g = d.graphs.get(graph)?;
    let after = after.list(if after.is_null() { 0 } else { n as usize })?;
    let after: Vec<_> = after.into_iter().map(crate::graph::node_id).collect();
    let id = g.lock().add(work, &after)?;
    d.graphs.own(id, graph);
    place.put(crate::graph::node_handle(id))
}

fn replace(old: &mut Work, new: Work) -> Reply {
    if !old.is_like(&new) {
        return Err(INVALID_VALUE);
    }
    *old = new;
    Ok(())
}

fn set(node: u64, work: Work) -> Reply {
    let (g, id) = driver()?.graphs.of(node)?;
    let mut g = g.lock();
    replace(g.work_mut(id)?, work)
}

fn set_exec(exec: u64, node: u64, work: Work) -> Reply {
    let e = driver()?.graphs.exec(exec)?;
    let mut g = e.lock();
    replace(g.work_mut(crate::graph::node_id(node))?, work)
}

fn shaped(p: In<Params>) -> Reply<Work> {
    Ok(Work::Copy(params(&p.get()?)?.driver().get()?.plan()?))
}

fn shaped_deep(p: In<Deep>) -> Reply<Work> {
    Ok(Work::Copy(deep(p)?.driver().get()?.plan()?))
}

fn kernel_of(node: u64, place: Out<KernelParams>) -> Reply {
    let none = Dim3 { x: 0, y: 0, z: 0 };
    let mut k = DriverKernel {
        f: 0,
        grid: none,
        block: none,
        shared: 0,
        params: 0,
        extra: 0,
    };
    cu(nodes::cuGraphKernelNodeGetParams(
        node,
        Out::from_raw((&raw mut k).cast()),
    ))?;
    let DriverKernel {
        f,
        grid,
        block,
        shared,
        params,
        extra,
    } = k;
    place.put(KernelParams {
        block,
        extra,
        f,
        grid,
        params,
        shared,
    })
}

fn fill_of(node: u64, place: Out<FillParams>) -> Reply {
    let mut f = DriverFill {
        at: 0,
        pitch: 0,
        value: 0,
        element: 0,
        width: 0,
        height: 0,
    };
    cu(nodes::cuGraphMemsetNodeGetParams(
        node,
        Out::from_raw((&raw mut f).cast()),
    ))?;
    let DriverFill {
        at,
        pitch,
        value,
        element,
        width,
        height,
    } = f;
    place.put(FillParams {
        at,
        element,
        height,
        pitch,
        value,
        width,
    })
}

/// `hipGraphNodeParams`: a kind, then the parameters.
#[repr(C)]
#[derive(Debug, Clone, std::marker::Copy)]
pub struct AnyParams {
    kind: i32,
    _reserved: [i32; 3],
    body: [u64; 29],
    _end: u64,
}

const _: () = assert!(size_of::<AnyParams>() == 256);

fn add_any(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: Out<AnyParams>) -> Reply {
    let mut any = p.get()?;
    let body = any.body.as_mut_ptr();
    let first = any.body[0];
    match any.kind {
        0 => {
            let k = kernel(In::from_raw(body.cast_const().cast()))?;
            cu(nodes::cuGraphAddKernelNode(
                place,
                graph,
                after,
                n,
                as_driver(&k),
            ))
        }
        // Flags and three reserved words come before the copy itself.
        1 => add(
            place,
            graph,
            after,
            n,
            shaped(In::from_raw(any.body[2..].as_ptr().cast()))?,
        ),
        2 => {
            let f = fill(In::from_raw(body.cast_const().cast()))?;
            cu(nodes::cuGraphAddMemsetNode(
                place,
                graph,
                after,
                n,
                as_driver(&f),
                0,
            ))
        }
        3 => cu(nodes::cuGraphAddHostNode(
            place,
            graph,
            after,
            n,
            In::from_raw(body.cast_const().cast()),
        )),
        4 => cu(nodes::cuGraphAddChildGraphNode(
            place, graph, after, n, first,
        )),
        5 => cu(nodes::cuGraphAddEmptyNode(place, graph, after, n)),
        6 => cu(nodes::cuGraphAddEventWaitNode(
            place, graph, after, n, first,
        )),
        7 => cu(nodes::cuGraphAddEventRecordNode(
            place, graph, after, n, first,
        )),
        10 => {
            cu(nodes::cuGraphAddMemAllocNode(
                place,
                graph,
                after,
                n,
                Out::from_raw(body.cast()),
            ))?;
            p.put(any)
        }
        11 => cu(nodes::cuGraphAddMemFreeNode(place, graph, after, n, first)),
        _ => Err(NOT_SUPPORTED),
    }
}

hip_api! {
    fn hipGraphAddKernelNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<KernelParams>) {
        let k = kernel(p)?;
        cu(nodes::cuGraphAddKernelNode(place, graph, after, n, as_driver(&k)))
    }
    fn hipGraphKernelNodeGetParams(node: u64, p: Out<KernelParams>) {
        kernel_of(node, p)
    }
    fn hipGraphKernelNodeSetParams(node: u64, p: In<KernelParams>) {
        let k = kernel(p)?;
        cu(nodes::cuGraphKernelNodeSetParams(node, as_driver(&k)))
    }
    fn hipGraphExecKernelNodeSetParams(exec: u64, node: u64, p: In<KernelParams>) {
        let k = kernel(p)?;
        cu(nodes::cuGraphExecKernelNodeSetParams(exec, node, as_driver(&k)))
    }
    fn hipGraphKernelNodeCopyAttributes(from: u64, to: u64) {
        // The other way round than the driver's.
        cu(nodes::cuGraphKernelNodeCopyAttributes(to, from))
    }
    fn hipGraphAddMemsetNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<FillParams>) {
        let f = fill(p)?;
        cu(nodes::cuGraphAddMemsetNode(place, graph, after, n, as_driver(&f), 0))
    }
    fn hipDrvGraphAddMemsetNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<FillParams>, context: u64) {
        let f = fill(p)?;
        cu(nodes::cuGraphAddMemsetNode(place, graph, after, n, as_driver(&f), context))
    }
    fn hipGraphMemsetNodeGetParams(node: u64, p: Out<FillParams>) {
        fill_of(node, p)
    }
    fn hipGraphMemsetNodeSetParams(node: u64, p: In<FillParams>) {
        let f = fill(p)?;
        cu(nodes::cuGraphMemsetNodeSetParams(node, as_driver(&f)))
    }
    fn hipGraphExecMemsetNodeSetParams(exec: u64, node: u64, p: In<FillParams>) {
        let f = fill(p)?;
        cu(nodes::cuGraphExecMemsetNodeSetParams(exec, node, as_driver(&f), 0))
    }
    fn hipDrvGraphExecMemsetNodeSetParams(exec: u64, node: u64, p: In<FillParams>, context: u64) {
        let f = fill(p)?;
        cu(nodes::cuGraphExecMemsetNodeSetParams(exec, node, as_driver(&f), context))
    }
    fn hipGraphAddMemcpyNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<Params>) {
        add(place, graph, after, n, shaped(p)?)
    }
    fn hipDrvGraphAddMemcpyNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<Deep>, _context: u64) {
        add(place, graph, after, n, shaped_deep(p)?)
    }
    fn hipGraphMemcpyNodeSetParams(node: u64, p: In<Params>) {
        set(node, shaped(p)?)
    }
    fn hipDrvGraphMemcpyNodeSetParams(node: u64, p: In<Deep>) {
        set(node, shaped_deep(p)?)
    }
    fn hipGraphExecMemcpyNodeSetParams(exec: u64, node: u64, p: In<Params>) {
        set_exec(exec, node, shaped(p)?)
    }
    fn hipDrvGraphExecMemcpyNodeSetParams(exec: u64, node: u64, p: In<Deep>, _context: u64) {
        set_exec(exec, node, shaped_deep(p)?)
    }
    fn hipGraphAddMemcpyNode1D(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, to: u64, from: u64, count: u64, _kind: i32,
    ) {
        add(place, graph, after, n, line(to, from, count)?)
    }
    fn hipGraphMemcpyNodeSetParams1D(node: u64, to: u64, from: u64, count: u64, _kind: i32) {
        set(node, line(to, from, count)?)
    }
    fn hipGraphExecMemcpyNodeSetParams1D(exec: u64, node: u64, to: u64, from: u64, count: u64, _kind: i32) {
        set_exec(exec, node, line(to, from, count)?)
    }
    fn hipGraphAddMemcpyNodeToSymbol(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, symbol: u64, from: u64, count: u64, offset: u64, _kind: i32,
    ) {
        add(place, graph, after, n, line(super::symbol::place(symbol, offset, count)?, from, count)?)
    }
    fn hipGraphAddMemcpyNodeFromSymbol(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, to: u64, symbol: u64, count: u64, offset: u64, _kind: i32,
    ) {
        add(place, graph, after, n, line(to, super::symbol::place(symbol, offset, count)?, count)?)
    }
    fn hipGraphAddNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: Out<AnyParams>) {
        add_any(place, graph, after, n, p)
    }
    fn hipDrvGraphAddMemFreeNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64, at: u64) {
        cu(nodes::cuGraphAddMemFreeNode(place, graph, after, n, at))
    }
    fn hipGraphEventRecordNodeGetEvent(node: u64, place: Out<u64>) {
        event_of(node, place)
    }
    fn hipGraphEventWaitNodeGetEvent(node: u64, place: Out<u64>) {
        event_of(node, place)
    }
}

fn event_of(node: u64, place: Out<u64>) -> Reply {
    place.need()?;
    let d = driver()?;
    let (g, id) = d.graphs.of(node)?;
    let work = g.lock().work(id)?.clone();
    let (Work::Record(e) | Work::Wait(e)) = work else {
        return Err(INVALID_VALUE);
    };
    place.put(
        d.events
            .handle_of(|o| std::sync::Arc::ptr_eq(&o.event, &e))
            .ok_or(INVALID_VALUE)?,
    )
}

same_api! {
    fn hipGraphNodeGetType = node::cuGraphNodeGetType(node: u64, place: Out<i32>);
    fn hipGraphKernelNodeGetAttribute = node::cuGraphKernelNodeGetAttribute(node: u64, which: i32, value: Out<[u64; 8]>);
    fn hipGraphKernelNodeSetAttribute = node::cuGraphKernelNodeSetAttribute(node: u64, which: i32, value: In<[u64; 8]>);
    fn hipGraphAddHostNode = node::cuGraphAddHostNode(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: In<crate::node::HostParams>,
    );
    fn hipGraphHostNodeGetParams = node::cuGraphHostNodeGetParams(node: u64, p: Out<crate::node::HostParams>);
    fn hipGraphHostNodeSetParams = node::cuGraphHostNodeSetParams(node: u64, p: In<crate::node::HostParams>);
    fn hipGraphExecHostNodeSetParams = node::cuGraphExecHostNodeSetParams(
        exec: u64, node: u64, p: In<crate::node::HostParams>,
    );
    fn hipGraphAddChildGraphNode = node::cuGraphAddChildGraphNode(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, child: u64,
    );
    fn hipGraphExecChildGraphNodeSetParams = node::cuGraphExecChildGraphNodeSetParams(exec: u64, node: u64, child: u64);
    fn hipGraphAddEmptyNode = node::cuGraphAddEmptyNode(place: Out<u64>, graph: u64, after: In<u64>, n: u64);
    fn hipGraphAddEventRecordNode = node::cuGraphAddEventRecordNode(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, event: u64,
    );
    fn hipGraphAddEventWaitNode = node::cuGraphAddEventWaitNode(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, event: u64,
    );
    fn hipGraphEventRecordNodeSetEvent = node::cuGraphEventRecordNodeSetEvent(node: u64, event: u64);
    fn hipGraphEventWaitNodeSetEvent = node::cuGraphEventWaitNodeSetEvent(node: u64, event: u64);
    fn hipGraphExecEventRecordNodeSetEvent = node::cuGraphExecEventRecordNodeSetEvent(exec: u64, node: u64, event: u64);
    fn hipGraphExecEventWaitNodeSetEvent = node::cuGraphExecEventWaitNodeSetEvent(exec: u64, node: u64, event: u64);
    fn hipGraphAddMemAllocNode = node::cuGraphAddMemAllocNode(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, p: Out<crate::node::AllocParams>,
    );
    fn hipGraphMemAllocNodeGetParams = node::cuGraphMemAllocNodeGetParams(node: u64, p: Out<crate::node::AllocParams>);
    fn hipGraphAddMemFreeNode = node::cuGraphAddMemFreeNode(
        place: Out<u64>, graph: u64, after: In<u64>, n: u64, at: u64,
    );
    fn hipGraphMemFreeNodeGetParams = node::cuGraphMemFreeNodeGetParams(node: u64, at: Out<u64>);
}
