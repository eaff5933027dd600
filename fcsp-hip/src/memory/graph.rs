//! Memory nodes of graphs. A device keeps one pool for them, reserved when a graph with such nodes is launched and kept
//! until trimmed; it is charged as a whole, like any pool. Nodes come from explicit calls or from allocations during
//! stream capture.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{books, pages};
use crate::call_real;
use crate::driver::real;
use crate::ffi::hip::*;
use crate::process::{Device, Hip, Inside, Scope, scope, shielded};

/// Bytes of memory nodes by graph and by executable graph, and what is charged for them by device.
#[derive(Default)]
pub struct Books {
    graphs: Mutex<HashMap<usize, u64>>,
    executables: Mutex<HashMap<usize, Executable>>,
    charged: Mutex<HashMap<hipDevice_t, u64>>,
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
pub(crate) fn is_capturing(stream: hipStream_t) -> bool {
    let mut status = hipStreamCaptureStatusNone;
    call_real!(hipStreamIsCapturing(stream, &mut status)) == hipSuccess
        && status != hipStreamCaptureStatusNone
}

fn add(map: &Mutex<HashMap<usize, u64>>, key: usize, bytes: u64) {
    *map.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key)
        .or_default() += bytes;
}

fn node_added(graph: hipGraph_t, bytes: u64) {
    let books = &books().graphs;
    ANY.store(true, Ordering::Release);
    add(&books.graphs, graph as usize, bytes.next_multiple_of(512));
}

/// A copy of `child` became a node of `graph`, and its memory nodes with it.
fn child_added(graph: hipGraph_t, child: hipGraph_t) {
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
pub(crate) fn captured(stream: hipStream_t, bytes: u64) {
    let (mut status, mut id, mut graph, mut count) =
        (hipStreamCaptureStatusNone, 0u64, core::ptr::null_mut(), 0usize);
    let mut dependencies = core::ptr::null();
    call_real!(hipStreamGetCaptureInfo_v2(
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
pub fn before_launch(executable: hipGraphExec_t) -> Result<Option<(&'static Device, u64)>, hipError_t> {
    let device = match scope() {
        Scope::On(device, _) => device,
        Scope::Pass => return Ok(None),
        Scope::Refuse => return Err(hipErrorOutOfMemory),
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
        device.refused("hipGraphLaunch", &denied);
        return Err(hipErrorOutOfMemory);
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
    let result = call_real!(hipDeviceGraphMemTrim(device.ordinal));
    nothing_is_reserved();
    let less = result == hipSuccess && settle(device, 0);
    drop(change);
    less
}

fn nothing_is_reserved() {
    for known in executables().values_mut() {
        known.reserved = false;
    }
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
            node_added(hGraph, unsafe { (*nodeParams).bytesize } as u64);
        }
        result
    })
}

fn generic_node(graph: hipGraph_t, params: *const hipGraphNodeParams) {
    // SAFETY: the driver accepted the parameters at this address; the union's member is the one its type names.
    unsafe {
        if (*params).type_ == hipGraphNodeTypeMemAlloc {
            node_added(graph, (*params).value.alloc.bytesize as u64);
        } else if (*params).type_ == hipGraphNodeTypeGraph {
            child_added(graph, (*params).value.graph);
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
            child_added(hGraph, childGraph);
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

fn instantiated(executable: *const hipGraphExec_t, graph: hipGraph_t) {
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
        pub unsafe extern "C" fn $name($exec: *mut hipGraphExec_t, $graph: hipGraph_t $(, $arg: $ty)*) -> hipError_t {
            shielded(hipErrorUnknown, || {
                let result = call_real!($name($exec, $graph $(, $arg)*));
                if result == hipSuccess {
                    instantiated($exec, $graph);
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
        let books = &books().graphs;
        if ANY.load(Ordering::Acquire) {
            books
                .graphs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(hGraph as usize));
        }
        call_real!(hipGraphDestroy(hGraph))
    })
}

/// `hipGraphExecDestroy`.
pub unsafe extern "C" fn hipGraphExecDestroy(hGraphExec: hipGraphExec_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        if ANY.load(Ordering::Acquire) {
            executables().remove(&(hGraphExec as usize));
        }
        fcsp_hook::launch::graph_changed::<Hip>(hGraphExec as usize);
        call_real!(hipGraphExecDestroy(hGraphExec))
    })
}

/// `hipDeviceGraphMemTrim`.
pub unsafe extern "C" fn hipDeviceGraphMemTrim(device: hipDevice_t) -> hipError_t {
    shielded(hipErrorUnknown, || {
        let result = call_real!(hipDeviceGraphMemTrim(device));
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
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> hipError_t {
            let result = call_real!($name($($arg),*));
            if result == hipSuccess {
                CAPTURES.fetch_add(1, Ordering::Relaxed);
            }
            result
        }
    )*};
}
begin_capture! {
    hipStreamBeginCapture(stream: hipStream_t, mode: hipStreamCaptureMode);
    hipStreamBeginCapture_spt(stream: hipStream_t, mode: hipStreamCaptureMode);
    hipStreamBeginCaptureToGraph(stream: hipStream_t, graph: hipGraph_t, dependencies: *const hipGraphNode_t,
        data: *const hipGraphEdgeData, count: usize, mode: hipStreamCaptureMode);
}

macro_rules! end_capture {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(hStream: hipStream_t, phGraph: *mut hipGraph_t) -> hipError_t {
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
end_capture!(hipStreamEndCapture, hipStreamEndCapture_spt);
