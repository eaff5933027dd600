//! Memory nodes of graphs. A device keeps one pool for them, reserved when a graph with such nodes is launched and kept
//! until trimmed; it is charged as a whole, like any pool. Nodes come from explicit calls or from allocations during
//! stream capture.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{books, pages};
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::process::{Cuda, Device, Inside, Scope, scope, shielded};

/// Bytes of memory nodes by graph and by executable graph, and what is charged for them by device.
#[derive(Default)]
pub struct Books {
    graphs: Mutex<HashMap<usize, u64>>,
    executables: Mutex<HashMap<usize, Executable>>,
    charged: Mutex<HashMap<CUdevice, u64>>,
}

/// An executable graph with memory nodes.
#[derive(Clone, Copy)]
struct Executable {
    bytes: u64,
    /// Launched since the device's graph memory was last trimmed: what it takes is reserved already.
    reserved: bool,
}

/// Set once any graph of this process has a memory node; until then launches ask nothing.
static ANY: AtomicBool = AtomicBool::new(false);

/// Streams being captured, in all threads.
static CAPTURES: AtomicU32 = AtomicU32::new(0);

/// Whether any stream may be capturing.
#[inline]
pub fn capturing() -> bool {
    CAPTURES.load(Ordering::Relaxed) != 0
}

/// Whether `stream` is capturing.
pub(crate) fn is_capturing(stream: CUstream) -> bool {
    let mut status = CU_STREAM_CAPTURE_STATUS_NONE;
    call_real!(cuStreamIsCapturing(stream, &mut status)) == CUDA_SUCCESS
        && status != CU_STREAM_CAPTURE_STATUS_NONE
}

fn add(map: &Mutex<HashMap<usize, u64>>, key: usize, bytes: u64) {
    *map.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key)
        .or_default() += bytes;
}

fn node_added(graph: CUgraph, bytes: u64) {
    let books = &books().graphs;
    ANY.store(true, Ordering::Release);
    add(&books.graphs, graph as usize, bytes.next_multiple_of(512));
}

/// A copy of `child` became a node of `graph`, and its memory nodes with it.
fn child_added(graph: CUgraph, child: CUgraph) {
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    let graphs = &books().graphs.graphs;
    let bytes = graphs
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&(child as usize))
        .copied();
    if let Some(bytes) = bytes {
        add(graphs, graph as usize, bytes);
    }
}

/// An allocation of `bytes` was captured on `stream`: it became a node of the graph being made.
pub(crate) fn captured(stream: CUstream, bytes: u64) {
    let (mut status, mut id, mut graph, mut count) =
        (CU_STREAM_CAPTURE_STATUS_NONE, 0u64, core::ptr::null_mut(), 0usize);
    let mut dependencies = core::ptr::null();
    call_real!(cuStreamGetCaptureInfo_v2(
        stream,
        &mut status,
        &mut id,
        &mut graph,
        &mut dependencies,
        &mut count
    ));
    // A graph that could not be asked for is found out after its launch.
    node_added(graph, bytes);
}

fn reserved(device: &Device) -> Option<u64> {
    let mut value = 0u64;
    let call = real::cuDeviceGetGraphMemAttribute.get()?;
    // SAFETY: this attribute is a 64-bit integer, which outlives the call.
    let result = unsafe {
        call(
            device.ordinal,
            CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT,
            (&raw mut value).cast(),
        )
    };
    (result == CUDA_SUCCESS).then_some(value)
}

/// Makes the charge for the device's graph memory equal to what is reserved; `ahead` bytes were held for growth.
/// Returns whether anything was given back. Within a [`Device::change`].
pub fn settle(device: &Device, ahead: u64) -> bool {
    let books = &books().graphs;
    if !ANY.load(Ordering::Acquire) {
        device.release(ahead);
        return false;
    }
    let mut charged = books.charged.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(now) = reserved(device) else {
        device.release(ahead);
        return false;
    };
    let before = charged.insert(device.ordinal, now).unwrap_or(0);
    let held = before + ahead;
    if now > before {
        device.gained(now - before);
    } else if now < before {
        device.lost(before - now);
    }
    if now > held {
        device.charge(now - held);
    } else {
        device.release(held - now);
    }
    held > now
}

/// Whether any graph of this process has a memory node.
#[inline]
pub fn any() -> bool {
    ANY.load(Ordering::Acquire)
}

/// Before a launch of `executable`: holds the growth its memory nodes may cause. Returns what was held, or the answer
/// to give instead of launching.
pub fn before_launch(executable: CUgraphExec) -> Result<Option<(&'static Device, u64)>, CUresult> {
    let device = match scope() {
        Scope::On(device, _) => device,
        Scope::Pass => return Ok(None),
        Scope::Refuse => return Err(CUDA_ERROR_OUT_OF_MEMORY),
    };
    let bytes = match executables().get(&(executable as usize)) {
        Some(known) if !known.reserved => pages(known.bytes),
        _ => 0,
    };
    // The driver may serve it from what other graphs have left, and may not: the truth is settled afterwards. Where the
    // quota has no room for both, what they have left is given back first.
    if let Err(denied) = device.hold(bytes)
        && (!trimmed(device) || device.hold(bytes).is_err())
    {
        device.refused("cuGraphLaunch", &denied);
        return Err(CUDA_ERROR_OUT_OF_MEMORY);
    }
    if let Some(known) = executables().get_mut(&(executable as usize)) {
        known.reserved = true;
    }
    Ok(Some((device, bytes)))
}

fn executables() -> MutexGuard<'static, HashMap<usize, Executable>> {
    books()
        .graphs
        .executables
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Gives graph memory that no graph uses back to the driver; returns whether there was any.
fn trimmed(device: &Device) -> bool {
    let change = device.change();
    let result = call_real!(cuDeviceGraphMemTrim(device.ordinal));
    nothing_is_reserved();
    let less = result == CUDA_SUCCESS && settle(device, 0);
    drop(change);
    less
}

fn nothing_is_reserved() {
    for known in executables().values_mut() {
        known.reserved = false;
    }
}

/// `cuGraphAddMemAllocNode`.
pub unsafe extern "C" fn cuGraphAddMemAllocNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *mut CUDA_MEM_ALLOC_NODE_PARAMS,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuGraphAddMemAllocNode(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            nodeParams
        ));
        if result == CUDA_SUCCESS {
            // SAFETY: the driver accepted the parameters at this address.
            node_added(hGraph, unsafe { (*nodeParams).bytesize } as u64);
        }
        result
    })
}

fn generic_node(graph: CUgraph, params: *const CUgraphNodeParams) {
    // SAFETY: the driver accepted the parameters at this address; the union's member is the one its type names.
    unsafe {
        if (*params).type_ == CU_GRAPH_NODE_TYPE_MEM_ALLOC {
            node_added(graph, (*params).value.alloc.bytesize as u64);
        } else if (*params).type_ == CU_GRAPH_NODE_TYPE_GRAPH {
            child_added(graph, (*params).value.graph.graph);
        }
    }
}

/// `cuGraphAddChildGraphNode`.
pub unsafe extern "C" fn cuGraphAddChildGraphNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    childGraph: CUgraph,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuGraphAddChildGraphNode(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            childGraph
        ));
        if result == CUDA_SUCCESS {
            child_added(hGraph, childGraph);
        }
        result
    })
}

/// `cuGraphAddNode`.
pub unsafe extern "C" fn cuGraphAddNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *mut CUgraphNodeParams,
) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuGraphAddNode(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            nodeParams
        ));
        if result == CUDA_SUCCESS {
            generic_node(hGraph, nodeParams);
        }
        result
    })
}

macro_rules! add_node {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            phGraphNode: *mut CUgraphNode,
            hGraph: CUgraph,
            dependencies: *const CUgraphNode,
            dependencyData: *const CUgraphEdgeData,
            numDependencies: usize,
            nodeParams: *mut CUgraphNodeParams,
        ) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                let result = call_real!(
                    $name(phGraphNode, hGraph, dependencies, dependencyData, numDependencies, nodeParams)
                );
                if result == CUDA_SUCCESS {
                    generic_node(hGraph, nodeParams);
                }
                result
            })
        }
    )*};
}
add_node!(cuGraphAddNode_v2, cuGraphAddNode_v3);

fn instantiated(executable: *const CUgraphExec, graph: CUgraph) {
    let books = &books().graphs;
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    let bytes = books
        .graphs
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&(graph as usize))
        .copied();
    if let Some(bytes) = bytes {
        // SAFETY: read after the driver has written there with success.
        let key = unsafe { *executable } as usize;
        let reserved = false;
        executables().insert(key, Executable { bytes, reserved });
    }
}

macro_rules! instantiate {
    ($($name:ident($exec:ident, $graph:ident $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($exec: *mut CUgraphExec, $graph: CUgraph $(, $arg: $ty)*) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                let result = call_real!($name($exec, $graph $(, $arg)*));
                if result == CUDA_SUCCESS {
                    instantiated($exec, $graph);
                }
                result
            })
        }
    )*};
}
instantiate! {
    cuGraphInstantiate(exec, graph, node: *mut CUgraphNode, log: *mut core::ffi::c_char, size: usize);
    cuGraphInstantiate_v2(exec, graph, node: *mut CUgraphNode, log: *mut core::ffi::c_char, size: usize);
    cuGraphInstantiateWithFlags(exec, graph, flags: u64);
    cuGraphInstantiateWithParams(exec, graph, params: *mut CUDA_GRAPH_INSTANTIATE_PARAMS);
    cuGraphInstantiateWithParams_ptsz(exec, graph, params: *mut CUDA_GRAPH_INSTANTIATE_PARAMS);
}

/// `cuGraphDestroy`: its address may name another graph later.
pub unsafe extern "C" fn cuGraphDestroy(hGraph: CUgraph) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let books = &books().graphs;
        if ANY.load(Ordering::Acquire) {
            books
                .graphs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(hGraph as usize));
        }
        call_real!(cuGraphDestroy(hGraph))
    })
}

/// `cuGraphExecDestroy`.
pub unsafe extern "C" fn cuGraphExecDestroy(hGraphExec: CUgraphExec) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        if ANY.load(Ordering::Acquire) {
            executables().remove(&(hGraphExec as usize));
        }
        fcsp_hook::launch::graph_changed::<Cuda>(hGraphExec as usize);
        call_real!(cuGraphExecDestroy(hGraphExec))
    })
}

/// `cuDeviceGraphMemTrim`.
pub unsafe extern "C" fn cuDeviceGraphMemTrim(device: CUdevice) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuDeviceGraphMemTrim(device));
        if let Some(_inside) = Inside::enter()
            && let Scope::On(device, _) = crate::process::scope_of(device)
        {
            nothing_is_reserved();
            let change = device.change();
            settle(device, 0);
            drop(change);
        }
        result
    })
}

macro_rules! begin_capture {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> CUresult {
            let result = call_real!($name($($arg),*));
            if result == CUDA_SUCCESS {
                CAPTURES.fetch_add(1, Ordering::Relaxed);
            }
            result
        }
    )*};
}
begin_capture! {
    cuStreamBeginCapture(hStream: CUstream);
    cuStreamBeginCapture_ptsz(hStream: CUstream);
    cuStreamBeginCapture_v2(hStream: CUstream, mode: CUstreamCaptureMode);
    cuStreamBeginCapture_v2_ptsz(hStream: CUstream, mode: CUstreamCaptureMode);
    cuStreamBeginCaptureToGraph(hStream: CUstream, graph: CUgraph, dependencies: *const CUgraphNode,
        data: *const CUgraphEdgeData, count: usize, mode: CUstreamCaptureMode);
    cuStreamBeginCaptureToGraph_ptsz(hStream: CUstream, graph: CUgraph, dependencies: *const CUgraphNode,
        data: *const CUgraphEdgeData, count: usize, mode: CUstreamCaptureMode);
    cuStreamBeginRecaptureToGraph(hStream: CUstream, mode: CUstreamCaptureMode, graph: CUgraph,
        callback: CUgraphRecaptureCallback, data: *mut core::ffi::c_void);
    cuStreamBeginRecaptureToGraph_ptsz(hStream: CUstream, mode: CUstreamCaptureMode, graph: CUgraph,
        callback: CUgraphRecaptureCallback, data: *mut core::ffi::c_void);
}

macro_rules! end_capture {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(hStream: CUstream, phGraph: *mut CUgraph) -> CUresult {
            // Whatever the result, a capture that was begun on this stream is over, unless the stream was not the
            // capture's origin: then it is still capturing.
            let was = capturing() && is_capturing(hStream);
            let result = call_real!($name(hStream, phGraph));
            if was && !is_capturing(hStream) {
                let _ = CAPTURES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(1)));
            }
            result
        }
    )*};
}
end_capture!(cuStreamEndCapture, cuStreamEndCapture_ptsz);
