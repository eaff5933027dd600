//! Memory nodes of graphs, from explicit calls or from allocations during stream capture. How they
//! are charged is in [`fcsp_hook::memory::graph`].

use fcsp_hook::backend::{Devices, Driver};
use fcsp_hook::memory::graph::{GraphMemory, Graphs, trimmed_by_program};
use fcsp_hook::recordings::Origin;

use super::pages;
use crate::call_real;
use crate::driver::real;
use crate::ffi::hip::*;
use crate::vendor::{Device, Hip, named, shielded};

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
}

/// Returns true if any stream may be capturing.
#[inline]
pub fn capturing() -> bool {
    GRAPHS.recordings().any()
}

/// Returns true if `stream` is capturing.
pub(crate) fn is_capturing(stream: hipStream_t) -> bool {
    let mut status = hipStreamCaptureStatusNone;
    call_real!(hipStreamIsCapturing(stream, &mut status)) == hipSuccess
        && status != hipStreamCaptureStatusNone
}

/// Records that an allocation of `bytes` was captured on `stream` and became a node of its graph.
pub(crate) fn captured(stream: hipStream_t, bytes: u64) {
    // A graph that could not be asked for is found out after its launch.
    GRAPHS.node_added::<Hip>(graph_of_capture(stream), bytes);
}

/// `hipGraphAddMemAllocNode`.
pub unsafe extern "C" fn hipGraphAddMemAllocNode(
    phGraphNode: *mut hipGraphNode_t,
    hGraph: hipGraph_t,
    dependencies: *const hipGraphNode_t,
    numDependencies: usize,
    nodeParams: *mut hipMemAllocNodeParams,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipGraphAddMemAllocNode(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            nodeParams
        ));
        if result == hipSuccess {
            // SAFETY: the driver accepted the parameters at this address.
            GRAPHS.node_added::<Hip>(hGraph as usize, unsafe { (*nodeParams).bytesize } as u64);
        }
        result
    })
}

fn generic_node(graph: hipGraph_t, params: *const hipGraphNodeParams) {
    // SAFETY: the driver accepted the parameters at this address; the union's member is the one its
    // type names.
    unsafe {
        if (*params).type_ == hipGraphNodeTypeMemAlloc {
            GRAPHS.node_added::<Hip>(graph as usize, (*params).value.alloc.bytesize as u64);
        } else if (*params).type_ == hipGraphNodeTypeGraph {
            GRAPHS.child_added(graph as usize, (*params).value.graph as usize);
        }
    }
}

/// `hipGraphAddChildGraphNode`.
pub unsafe extern "C" fn hipGraphAddChildGraphNode(
    phGraphNode: *mut hipGraphNode_t,
    hGraph: hipGraph_t,
    dependencies: *const hipGraphNode_t,
    numDependencies: usize,
    childGraph: hipGraph_t,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipGraphAddChildGraphNode(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            childGraph
        ));
        if result == hipSuccess {
            GRAPHS.child_added(hGraph as usize, childGraph as usize);
        }
        result
    })
}

/// `hipGraphAddNode`.
pub unsafe extern "C" fn hipGraphAddNode(
    phGraphNode: *mut hipGraphNode_t,
    hGraph: hipGraph_t,
    dependencies: *const hipGraphNode_t,
    numDependencies: usize,
    nodeParams: *mut hipGraphNodeParams,
) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipGraphAddNode(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            nodeParams
        ));
        if result == hipSuccess {
            generic_node(hGraph, nodeParams);
        }
        result
    })
}

macro_rules! instantiate {
    ($($name:ident($exec:ident, $graph:ident $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($exec: *mut hipGraphExec_t, $graph: hipGraph_t $(, $arg: $ty)*) -> hipError_t {
            shielded(hipErrorUnknown, || {
                let result = call_real!($name($exec, $graph $(, $arg)*));
                if result == hipSuccess {
                    // SAFETY: the driver has written there with success.
                    GRAPHS.instantiated(unsafe { *$exec } as usize, $graph as usize);
                }
                result
            })
        }
    )*};
}
instantiate! {
    hipGraphInstantiate(exec, graph, node: *mut hipGraphNode_t, log: *mut core::ffi::c_char, size: usize);
    hipGraphInstantiateWithFlags(exec, graph, flags: u64);
    hipGraphInstantiateWithParams(exec, graph, params: *mut hipGraphInstantiateParams);
}

/// `hipGraphDestroy`: its address may name another graph later.
pub unsafe extern "C" fn hipGraphDestroy(hGraph: hipGraph_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        GRAPHS.graph_gone(hGraph as usize);
        call_real!(hipGraphDestroy(hGraph))
    })
}

/// `hipGraphExecDestroy`.
pub unsafe extern "C" fn hipGraphExecDestroy(hGraphExec: hipGraphExec_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        GRAPHS.executable_gone(hGraphExec as usize);
        fcsp_hook::launch::graph_ends::<Hip>(hGraphExec as usize);
        call_real!(hipGraphExecDestroy(hGraphExec))
    })
}

/// `hipDeviceGraphMemTrim`.
pub unsafe extern "C" fn hipDeviceGraphMemTrim(device: hipDevice_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipDeviceGraphMemTrim(device));
        trimmed_by_program::<Hip>(device);
        result
    })
}

/// Returns the graph of a capture on `stream`; 0 if it cannot be queried.
fn graph_of_capture(stream: hipStream_t) -> usize {
    let (mut status, mut id, mut graph, mut count) = (
        hipStreamCaptureStatusNone,
        0u64,
        core::ptr::null_mut(),
        0usize,
    );
    let mut dependencies = core::ptr::null();
    let result = call_real!(hipStreamGetCaptureInfo_v2(
        stream,
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

/// Runs `call`, which begins a capture on `stream`, of a graph of its own if `fresh`.
fn begins(
    stream: hipStream_t,
    per_thread: bool,
    fresh: bool,
    call: &dyn Fn() -> hipError_t,
) -> hipError_t {
    if Hip::process().is_free() {
        return call();
    }
    let began = |result| {
        if result != hipSuccess {
            return None;
        }
        let queue = named(stream, per_thread);
        let graph = if fresh {
            graph_of_capture(queue as hipStream_t)
        } else {
            0
        };
        // A capture that failed frees its graph without a call.
        GRAPHS.graph_gone(graph);
        Some(Origin {
            queue,
            context: Hip::current_context().unwrap_or(0),
            device: -1,
            graph,
        })
    };
    GRAPHS.recordings().begins(call, began)
}

macro_rules! begin_capture {
    ($($name:ident($stream:ident: hipStream_t $(, $arg:ident: $ty:ty)*) $per_thread:literal $fresh:literal;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: counts from before the call, so that no question of ours spoils it.")]
        pub unsafe extern "C" fn $name($stream: hipStream_t $(, $arg: $ty)*) -> hipError_t {
            shielded(hipErrorUnknown, || {
                begins($stream, $per_thread, $fresh, &|| call_real!($name($stream $(, $arg)*)))
            })
        }
    )*};
}
begin_capture! {
    hipStreamBeginCapture(stream: hipStream_t, mode: hipStreamCaptureMode) false true;
    hipStreamBeginCapture_spt(stream: hipStream_t, mode: hipStreamCaptureMode) true true;
    hipStreamBeginCaptureToGraph(stream: hipStream_t, graph: hipGraph_t, dependencies: *const hipGraphNode_t,
        data: *const hipGraphEdgeData, count: usize, mode: hipStreamCaptureMode) false false;
}

/// Runs `call`, which ends a capture on `stream`. Whatever the result, a capture that was begun on
/// this stream is over, unless the call came from the wrong thread: then it is still capturing.
fn ends(stream: hipStream_t, per_thread: bool, call: &dyn Fn() -> hipError_t) -> hipError_t {
    let queue = named(stream, per_thread);
    let was = GRAPHS.recordings().began_on(queue) && is_capturing(queue as hipStream_t);
    let result = call();
    if was
        && !is_capturing(queue as hipStream_t)
        && let Some(origin) = GRAPHS.recordings().ended_on(queue)
        && result != hipSuccess
    {
        GRAPHS.graph_gone(origin.graph);
    }
    result
}

macro_rules! end_capture {
    ($($name:ident $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(hStream: hipStream_t, phGraph: *mut hipGraph_t) -> hipError_t {
            shielded(hipErrorUnknown, || {
                ends(hStream, $per_thread, &|| call_real!($name(hStream, phGraph)))
            })
        }
    )*};
}
end_capture!(hipStreamEndCapture false, hipStreamEndCapture_spt true);
