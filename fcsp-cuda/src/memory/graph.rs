//! Memory nodes of graphs, from explicit calls or from allocations during stream capture. How they
//! are charged is in [`fcsp_hook::memory::graph`].

use fcsp_hook::family::capture::{begins, ends};
use fcsp_hook::memory::graph::{GraphMemory, Graphs, trimmed_by_program};
use fcsp_hook::observed;

use super::pages;
use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::vendor::{Cuda, Device, named};

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

    fn graph_of_capture(stream: usize) -> usize {
        let (mut status, mut id) = (CU_STREAM_CAPTURE_STATUS_NONE, 0u64);
        let (mut graph, mut dependencies) = (core::ptr::null_mut(), core::ptr::null());
        let mut count = 0usize;
        let result = call_real!(cuStreamGetCaptureInfo_v2(
            stream as CUstream,
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
}

/// Records a memory node of `bytes` that was added to `graph`.
fn memory_node(graph: CUgraph, bytes: usize) {
    GRAPHS.node_added::<Cuda>(graph as usize, bytes as u64);
}

/// Records a node that was added to `graph`, if it is one with memory.
///
/// # Safety
///
/// `params` points to the parameters of the node.
unsafe fn generic_node(graph: CUgraph, params: *const CUgraphNodeParams) {
    // SAFETY: by this function's contract; the union's member is the one its type names.
    unsafe {
        if (*params).type_ == CU_GRAPH_NODE_TYPE_MEM_ALLOC {
            memory_node(graph, (*params).value.alloc.bytesize);
        } else if (*params).type_ == CU_GRAPH_NODE_TYPE_GRAPH {
            GRAPHS.child_added(graph as usize, (*params).value.graph.graph as usize);
        }
    }
}

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

/// Records an executable graph that was made from `graph`.
///
/// # Safety
///
/// `executable` points to its handle.
unsafe fn instantiated(executable: *const CUgraphExec, graph: CUgraph) {
    // SAFETY: by this function's contract.
    let executable = unsafe { *executable } as usize;
    GRAPHS.instantiated(executable, graph as usize);
    fcsp_hook::launch::graph_made::<Cuda>(executable, || kernels(graph));
}

observed! {
    Cuda, call_real;

    cuGraphAddMemAllocNode(phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *mut CUDA_MEM_ALLOC_NODE_PARAMS)
        // SAFETY: the driver accepted the parameters at this address.
        after memory_node(hGraph, unsafe { (*nodeParams).bytesize });
    cuGraphAddChildGraphNode(phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, childGraph: CUgraph)
        after GRAPHS.child_added(hGraph as usize, childGraph as usize);
    cuGraphAddNode(phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *mut CUgraphNodeParams)
        // SAFETY: as above.
        after unsafe { generic_node(hGraph, nodeParams) };
    cuGraphAddNode_v2(phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        dependencyData: *const CUgraphEdgeData, numDependencies: usize, nodeParams: *mut CUgraphNodeParams)
        // SAFETY: as above.
        after unsafe { generic_node(hGraph, nodeParams) };
    cuGraphAddNode_v3(phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        dependencyData: *const CUgraphEdgeData, numDependencies: usize, nodeParams: *mut CUgraphNodeParams)
        // SAFETY: as above.
        after unsafe { generic_node(hGraph, nodeParams) };

    cuGraphInstantiate(exec: *mut CUgraphExec, graph: CUgraph, node: *mut CUgraphNode,
        log: *mut core::ffi::c_char, size: usize)
        // SAFETY: the driver has written there with success.
        after unsafe { instantiated(exec, graph) };
    cuGraphInstantiate_v2(exec: *mut CUgraphExec, graph: CUgraph, node: *mut CUgraphNode,
        log: *mut core::ffi::c_char, size: usize)
        // SAFETY: as above.
        after unsafe { instantiated(exec, graph) };
    cuGraphInstantiateWithFlags(exec: *mut CUgraphExec, graph: CUgraph, flags: u64)
        // SAFETY: as above.
        after unsafe { instantiated(exec, graph) };
    cuGraphInstantiateWithParams(exec: *mut CUgraphExec, graph: CUgraph,
        params: *mut CUDA_GRAPH_INSTANTIATE_PARAMS)
        // SAFETY: as above.
        after unsafe { instantiated(exec, graph) };
    cuGraphInstantiateWithParams_ptsz(exec: *mut CUgraphExec, graph: CUgraph,
        params: *mut CUDA_GRAPH_INSTANTIATE_PARAMS)
        // SAFETY: as above.
        after unsafe { instantiated(exec, graph) };

    /// Its address may name another graph later.
    cuGraphDestroy(hGraph: CUgraph)
        before GRAPHS.graph_gone(hGraph as usize);
    cuGraphExecDestroy(hGraphExec: CUgraphExec)
        before {
            GRAPHS.executable_gone(hGraphExec as usize);
            fcsp_hook::launch::graph_ends::<Cuda>(hGraphExec as usize);
        };
    cuDeviceGraphMemTrim(device: CUdevice)
        always trimmed_by_program::<Cuda>(device);

    cuStreamBeginCapture(hStream: CUstream)
        around |call| begins::<Cuda>(named(hStream, false), true, call);
    cuStreamBeginCapture_ptsz(hStream: CUstream)
        around |call| begins::<Cuda>(named(hStream, true), true, call);
    cuStreamBeginCapture_v2(hStream: CUstream, mode: CUstreamCaptureMode)
        around |call| begins::<Cuda>(named(hStream, false), true, call);
    cuStreamBeginCapture_v2_ptsz(hStream: CUstream, mode: CUstreamCaptureMode)
        around |call| begins::<Cuda>(named(hStream, true), true, call);
    cuStreamBeginCaptureToGraph(hStream: CUstream, graph: CUgraph, dependencies: *const CUgraphNode,
        data: *const CUgraphEdgeData, count: usize, mode: CUstreamCaptureMode)
        around |call| begins::<Cuda>(named(hStream, false), false, call);
    cuStreamBeginCaptureToGraph_ptsz(hStream: CUstream, graph: CUgraph, dependencies: *const CUgraphNode,
        data: *const CUgraphEdgeData, count: usize, mode: CUstreamCaptureMode)
        around |call| begins::<Cuda>(named(hStream, true), false, call);
    cuStreamBeginRecaptureToGraph(hStream: CUstream, mode: CUstreamCaptureMode, graph: CUgraph,
        callback: CUgraphRecaptureCallback, data: *mut core::ffi::c_void)
        around |call| begins::<Cuda>(named(hStream, false), false, call);
    cuStreamBeginRecaptureToGraph_ptsz(hStream: CUstream, mode: CUstreamCaptureMode, graph: CUgraph,
        callback: CUgraphRecaptureCallback, data: *mut core::ffi::c_void)
        around |call| begins::<Cuda>(named(hStream, true), false, call);

    cuStreamEndCapture(hStream: CUstream, phGraph: *mut CUgraph)
        around |call| ends::<Cuda>(named(hStream, false), call);
    cuStreamEndCapture_ptsz(hStream: CUstream, phGraph: *mut CUgraph)
        around |call| ends::<Cuda>(named(hStream, true), call);
}
