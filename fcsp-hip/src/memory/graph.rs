//! Memory nodes of graphs, from explicit calls or from allocations during stream capture. How they
//! are charged is in [`fcsp_hook::memory::graph`].

use fcsp_hook::family::capture::{begins, ends};
use fcsp_hook::memory::graph::{GraphMemory, Graphs, trimmed_by_program};
use fcsp_hook::observed;

use super::pages;
use crate::call_real;
use crate::driver::real;
use crate::ffi::hip::*;
use crate::vendor::{Device, Hip, named};

/// The graphs of this process.
pub static GRAPHS: Graphs = Graphs::new();

impl GraphMemory for Hip {
    #[inline]
    fn graphs() -> &'static Graphs {
        &GRAPHS
    }

    fn reserved_for_graphs(device: &Device) -> Option<u64> {
        let mut value = 0u64;
        let call = real::hipDeviceGetGraphMemAttribute.get()?;
        // SAFETY: this attribute is a 64-bit integer, which outlives the call.
        let result = unsafe {
            call(
                device.ordinal,
                hipGraphMemAttrReservedMemCurrent,
                (&raw mut value).cast(),
            )
        };
        (result == hipSuccess).then_some(value)
    }

    fn trim_graphs(device: &Device) -> bool {
        call_real!(hipDeviceGraphMemTrim(device.ordinal)) == hipSuccess
    }

    fn pages(bytes: u64) -> u64 {
        pages(bytes)
    }

    fn graph_of_capture(stream: usize) -> usize {
        let (mut status, mut id) = (hipStreamCaptureStatusNone, 0u64);
        let (mut graph, mut dependencies) = (core::ptr::null_mut(), core::ptr::null());
        let mut count = 0usize;
        let result = call_real!(hipStreamGetCaptureInfo_v2(
            stream as hipStream_t,
            &mut status,
            &mut id,
            &mut graph,
            &mut dependencies,
            &mut count
        ));
        if result == hipSuccess && status == hipStreamCaptureStatusActive {
            graph as usize
        } else {
            0
        }
    }
}

/// Records a memory node of `bytes` that was added to `graph`.
fn memory_node(graph: hipGraph_t, bytes: usize) {
    GRAPHS.node_added::<Hip>(graph as usize, bytes as u64);
}

/// Records a node that was added to `graph`, if it is one with memory.
///
/// # Safety
///
/// `params` points to the parameters of the node.
unsafe fn generic_node(graph: hipGraph_t, params: *const hipGraphNodeParams) {
    // SAFETY: by this function's contract; the union's member is the one its type names.
    unsafe {
        if (*params).type_ == hipGraphNodeTypeMemAlloc {
            memory_node(graph, (*params).value.alloc.bytesize);
        } else if (*params).type_ == hipGraphNodeTypeGraph {
            GRAPHS.child_added(graph as usize, (*params).value.graph as usize);
        }
    }
}

/// Records an executable graph that was made from `graph`.
///
/// # Safety
///
/// `executable` points to its handle.
unsafe fn instantiated(executable: *const hipGraphExec_t, graph: hipGraph_t) {
    // SAFETY: by this function's contract.
    GRAPHS.instantiated(unsafe { *executable } as usize, graph as usize);
}

observed! {
    Hip, call_real;

    hipGraphAddMemAllocNode(phGraphNode: *mut hipGraphNode_t, hGraph: hipGraph_t,
        dependencies: *const hipGraphNode_t, numDependencies: usize, nodeParams: *mut hipMemAllocNodeParams)
        // SAFETY: the runtime accepted the parameters at this address.
        after memory_node(hGraph, unsafe { (*nodeParams).bytesize });
    hipGraphAddChildGraphNode(phGraphNode: *mut hipGraphNode_t, hGraph: hipGraph_t,
        dependencies: *const hipGraphNode_t, numDependencies: usize, childGraph: hipGraph_t)
        after GRAPHS.child_added(hGraph as usize, childGraph as usize);
    hipGraphAddNode(phGraphNode: *mut hipGraphNode_t, hGraph: hipGraph_t,
        dependencies: *const hipGraphNode_t, numDependencies: usize, nodeParams: *mut hipGraphNodeParams)
        // SAFETY: as above.
        after unsafe { generic_node(hGraph, nodeParams) };

    hipGraphInstantiate(exec: *mut hipGraphExec_t, graph: hipGraph_t, node: *mut hipGraphNode_t,
        log: *mut core::ffi::c_char, size: usize)
        // SAFETY: the runtime has written there with success.
        after unsafe { instantiated(exec, graph) };
    hipGraphInstantiateWithFlags(exec: *mut hipGraphExec_t, graph: hipGraph_t, flags: u64)
        // SAFETY: as above.
        after unsafe { instantiated(exec, graph) };
    hipGraphInstantiateWithParams(exec: *mut hipGraphExec_t, graph: hipGraph_t,
        params: *mut hipGraphInstantiateParams)
        // SAFETY: as above.
        after unsafe { instantiated(exec, graph) };

    /// Its address may name another graph later.
    hipGraphDestroy(hGraph: hipGraph_t)
        before GRAPHS.graph_gone(hGraph as usize);
    hipGraphExecDestroy(hGraphExec: hipGraphExec_t)
        before {
            GRAPHS.executable_gone(hGraphExec as usize);
            fcsp_hook::launch::graph_ends::<Hip>(hGraphExec as usize);
        };
    hipDeviceGraphMemTrim(device: hipDevice_t)
        always trimmed_by_program::<Hip>(device);

    hipStreamBeginCapture(stream: hipStream_t, mode: hipStreamCaptureMode)
        around |call| begins::<Hip>(named(stream, false), true, call);
    hipStreamBeginCapture_spt(stream: hipStream_t, mode: hipStreamCaptureMode)
        around |call| begins::<Hip>(named(stream, true), true, call);
    hipStreamBeginCaptureToGraph(stream: hipStream_t, graph: hipGraph_t, dependencies: *const hipGraphNode_t,
        data: *const hipGraphEdgeData, count: usize, mode: hipStreamCaptureMode)
        around |call| begins::<Hip>(named(stream, false), false, call);

    hipStreamEndCapture(hStream: hipStream_t, phGraph: *mut hipGraph_t)
        around |call| ends::<Hip>(named(hStream, false), call);
    hipStreamEndCapture_spt(hStream: hipStream_t, phGraph: *mut hipGraph_t)
        around |call| ends::<Hip>(named(hStream, true), call);
}
