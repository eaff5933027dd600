//! Memory nodes of graphs, from explicit calls or from allocations during stream capture. How they
//! are charged is in [`fcsp_hook::memory::graph`].

use fcsp_hook::backend::{Devices, Driver};
use fcsp_hook::memory::graph::{GraphMemory, Graphs, trimmed_by_program};
use fcsp_hook::recordings::Origin;

use super::pages;
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::vendor::{Cuda, Device, named, shielded};

/// The graphs of this process.
pub static GRAPHS: Graphs = Graphs::new();

impl GraphMemory for Cuda {
    #[inline]
    fn graphs() -> &'static Graphs {
        &GRAPHS
    }

    fn reserved_for_graphs(device: &Device) -> Option<u64> {
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

    fn trim_graphs(device: &Device) -> bool {
        call_real!(cuDeviceGraphMemTrim(device.ordinal)) == CUDA_SUCCESS
    }

    fn pages(bytes: u64) -> u64 {
        pages(bytes)
    }
}

/// Returns true if any stream may be capturing.
#[inline]
pub fn capturing() -> bool {
    GRAPHS.recordings().any()
}

/// Returns true if `stream` is capturing.
pub(crate) fn is_capturing(stream: CUstream) -> bool {
    let mut status = CU_STREAM_CAPTURE_STATUS_NONE;
    call_real!(cuStreamIsCapturing(stream, &mut status)) == CUDA_SUCCESS
        && status != CU_STREAM_CAPTURE_STATUS_NONE
}

/// Records that an allocation of `bytes` was captured on `stream` and became a node of its graph.
pub(crate) fn captured(stream: CUstream, bytes: u64) {
    // A graph that could not be asked for is found out after its launch.
    GRAPHS.node_added::<Cuda>(graph_of_capture(stream), bytes);
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
            GRAPHS.node_added::<Cuda>(hGraph as usize, unsafe { (*nodeParams).bytesize } as u64);
        }
        result
    })
}

fn generic_node(graph: CUgraph, params: *const CUgraphNodeParams) {
    // SAFETY: the driver accepted the parameters at this address; the union's member is the one its
    // type names.
    unsafe {
        if (*params).type_ == CU_GRAPH_NODE_TYPE_MEM_ALLOC {
            GRAPHS.node_added::<Cuda>(graph as usize, (*params).value.alloc.bytesize as u64);
        } else if (*params).type_ == CU_GRAPH_NODE_TYPE_GRAPH {
            GRAPHS.child_added(graph as usize, (*params).value.graph.graph as usize);
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
            GRAPHS.child_added(hGraph as usize, childGraph as usize);
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

/// Kernel nodes looked at in a graph: of larger ones every second, every third.
const MOST_NODES: usize = 4_096;

/// Returns the kernels of a graph, with their thread blocks.
fn kernels(graph: CUgraph) -> Vec<(usize, u64)> {
    let mut count = 0usize;
    if call_real!(cuGraphGetNodes(graph, core::ptr::null_mut(), &mut count)) != CUDA_SUCCESS {
        return Vec::new();
    }
    let mut nodes: Vec<CUgraphNode> = vec![core::ptr::null_mut(); count];
    if count == 0
        || call_real!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count)) != CUDA_SUCCESS
    {
        return Vec::new();
    }
    nodes.truncate(count);
    let step = count / MOST_NODES + 1;
    nodes.into_iter().step_by(step).filter_map(kernel).collect()
}

/// Returns the kernel of a node, if it is one.
fn kernel(node: CUgraphNode) -> Option<(usize, u64)> {
    let mut kind: CUgraphNodeType = CU_GRAPH_NODE_TYPE_EMPTY;
    if call_real!(cuGraphNodeGetType(node, &mut kind)) != CUDA_SUCCESS
        || kind != CU_GRAPH_NODE_TYPE_KERNEL
    {
        return None;
    }
    let mut params = CUDA_KERNEL_NODE_PARAMS::zeroed();
    if call_real!(cuGraphKernelNodeGetParams_v2(node, &mut params)) != CUDA_SUCCESS {
        return None;
    }
    let function = if params.func.is_null() {
        params.kern as usize
    } else {
        params.func as usize
    };
    let blocks =
        u64::from(params.gridDimX) * u64::from(params.gridDimY) * u64::from(params.gridDimZ);
    (function != 0).then_some((function, blocks))
}

macro_rules! instantiate {
    ($($name:ident($exec:ident, $graph:ident $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($exec: *mut CUgraphExec, $graph: CUgraph $(, $arg: $ty)*) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                let result = call_real!($name($exec, $graph $(, $arg)*));
                if result == CUDA_SUCCESS {
                    // SAFETY: the driver has written there with success.
                    let executable = unsafe { *$exec } as usize;
                    GRAPHS.instantiated(executable, $graph as usize);
                    fcsp_hook::launch::graph_made::<Cuda>(executable, || kernels($graph));
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
        GRAPHS.graph_gone(hGraph as usize);
        call_real!(cuGraphDestroy(hGraph))
    })
}

/// `cuGraphExecDestroy`.
pub unsafe extern "C" fn cuGraphExecDestroy(hGraphExec: CUgraphExec) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        GRAPHS.executable_gone(hGraphExec as usize);
        fcsp_hook::launch::graph_ends::<Cuda>(hGraphExec as usize);
        call_real!(cuGraphExecDestroy(hGraphExec))
    })
}

/// `cuDeviceGraphMemTrim`.
pub unsafe extern "C" fn cuDeviceGraphMemTrim(device: CUdevice) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuDeviceGraphMemTrim(device));
        trimmed_by_program::<Cuda>(device);
        result
    })
}

/// Returns the graph of a capture on `stream`; 0 if it cannot be queried.
fn graph_of_capture(stream: CUstream) -> usize {
    let (mut status, mut id, mut graph, mut count) = (
        CU_STREAM_CAPTURE_STATUS_NONE,
        0u64,
        core::ptr::null_mut(),
        0usize,
    );
    let mut dependencies = core::ptr::null();
    let result = call_real!(cuStreamGetCaptureInfo_v2(
        stream,
        &mut status,
        &mut id,
        &mut graph,
        &mut dependencies,
        &mut count
    ));
    if result == CUDA_SUCCESS && status == CU_STREAM_CAPTURE_STATUS_ACTIVE {
        graph as usize
    } else {
        0
    }
}

/// Runs `call`, which begins a capture on `stream`, of a graph of its own if `fresh`.
fn begins(
    stream: CUstream,
    per_thread: bool,
    fresh: bool,
    call: &dyn Fn() -> CUresult,
) -> CUresult {
    if Cuda::process().is_free() {
        return call();
    }
    let began = |result| {
        if result != CUDA_SUCCESS {
            return None;
        }
        let queue = named(stream, per_thread);
        let graph = if fresh {
            graph_of_capture(queue as CUstream)
        } else {
            0
        };
        // A capture that failed frees its graph without a call.
        GRAPHS.graph_gone(graph);
        Some(Origin {
            queue,
            context: Cuda::current_context().unwrap_or(0),
            device: -1,
            graph,
        })
    };
    GRAPHS.recordings().begins(call, began)
}

macro_rules! begin_capture {
    ($($name:ident($stream:ident: CUstream $(, $arg:ident: $ty:ty)*) $per_thread:literal $fresh:literal;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: counts from before the call, so that no question of ours spoils it.")]
        pub unsafe extern "C" fn $name($stream: CUstream $(, $arg: $ty)*) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                begins($stream, $per_thread, $fresh, &|| call_real!($name($stream $(, $arg)*)))
            })
        }
    )*};
}
begin_capture! {
    cuStreamBeginCapture(hStream: CUstream) false true;
    cuStreamBeginCapture_ptsz(hStream: CUstream) true true;
    cuStreamBeginCapture_v2(hStream: CUstream, mode: CUstreamCaptureMode) false true;
    cuStreamBeginCapture_v2_ptsz(hStream: CUstream, mode: CUstreamCaptureMode) true true;
    cuStreamBeginCaptureToGraph(hStream: CUstream, graph: CUgraph, dependencies: *const CUgraphNode,
        data: *const CUgraphEdgeData, count: usize, mode: CUstreamCaptureMode) false false;
    cuStreamBeginCaptureToGraph_ptsz(hStream: CUstream, graph: CUgraph, dependencies: *const CUgraphNode,
        data: *const CUgraphEdgeData, count: usize, mode: CUstreamCaptureMode) true false;
    cuStreamBeginRecaptureToGraph(hStream: CUstream, mode: CUstreamCaptureMode, graph: CUgraph,
        callback: CUgraphRecaptureCallback, data: *mut core::ffi::c_void) false false;
    cuStreamBeginRecaptureToGraph_ptsz(hStream: CUstream, mode: CUstreamCaptureMode, graph: CUgraph,
        callback: CUgraphRecaptureCallback, data: *mut core::ffi::c_void) true false;
}

/// Runs `call`, which ends a capture on `stream`. Whatever the result, a capture that was begun on
/// this stream is over, unless the call came from the wrong thread: then it is still capturing.
fn ends(stream: CUstream, per_thread: bool, call: &dyn Fn() -> CUresult) -> CUresult {
    let queue = named(stream, per_thread);
    let was = GRAPHS.recordings().began_on(queue) && is_capturing(queue as CUstream);
    let result = call();
    if was
        && !is_capturing(queue as CUstream)
        && let Some(origin) = GRAPHS.recordings().ended_on(queue)
        && result != CUDA_SUCCESS
    {
        GRAPHS.graph_gone(origin.graph);
    }
    result
}

macro_rules! end_capture {
    ($($name:ident $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(hStream: CUstream, phGraph: *mut CUgraph) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || {
                ends(hStream, $per_thread, &|| call_real!($name(hStream, phGraph)))
            })
        }
    )*};
}
end_capture!(cuStreamEndCapture false, cuStreamEndCapture_ptsz true);
