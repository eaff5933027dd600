//! Launches, graphs, streams and events.

use core::ffi::{c_char, c_void};

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    EXECUTION_FUNCTIONS -> CUresult;

    cuStreamCreate(phStream: *mut CUstream, Flags: u32);
    cuStreamCreateWithPriority(phStream: *mut CUstream, flags: u32, priority: i32);
    cuThreadExchangeStreamCaptureMode(mode: *mut CUstreamCaptureMode);
    cuStreamDestroy_v2(hStream: CUstream);
    cuEventCreate(phEvent: *mut CUevent, Flags: u32);
    cuEventQuery(hEvent: CUevent);
    cuEventSynchronize(hEvent: CUevent);
    cuEventDestroy_v2(hEvent: CUevent);
    cuEventElapsedTime_v2(pMilliseconds: *mut f32, hStart: CUevent, hEnd: CUevent);
    cuFuncSetBlockShape(hfunc: CUfunction, x: i32, y: i32, z: i32);
    cuFuncSetSharedSize(hfunc: CUfunction, bytes: u32);
    cuParamSetSize(hfunc: CUfunction, numbytes: u32);
    cuParamSeti(hfunc: CUfunction, offset: i32, value: u32);
    cuParamSetf(hfunc: CUfunction, offset: i32, value: f32);
    cuParamSetv(hfunc: CUfunction, offset: i32, ptr: *mut c_void, numbytes: u32);
    cuLaunch(f: CUfunction);
    cuLaunchGrid(f: CUfunction, grid_width: i32, grid_height: i32);
    cuLaunchGridAsync(f: CUfunction, grid_width: i32, grid_height: i32, hStream: CUstream);
    cuLaunchCooperativeKernelMultiDevice(
        launchParamsList: *mut CUDA_LAUNCH_PARAMS, numDevices: u32, flags: u32
    );
    cuGraphCreate(phGraph: *mut CUgraph, flags: u32);
    cuGraphAddKernelNode_v2(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *const CUDA_KERNEL_NODE_PARAMS
    );
    cuGraphKernelNodeGetParams_v2(hNode: CUgraphNode, nodeParams: *mut CUDA_KERNEL_NODE_PARAMS);
    cuGraphKernelNodeSetParams_v2(hNode: CUgraphNode, nodeParams: *const CUDA_KERNEL_NODE_PARAMS);
    cuGraphAddMemcpyNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, copyParams: *const CUDA_MEMCPY3D, ctx: CUcontext
    );
    cuGraphMemcpyNodeGetParams(hNode: CUgraphNode, nodeParams: *mut CUDA_MEMCPY3D);
    cuGraphMemcpyNodeSetParams(hNode: CUgraphNode, nodeParams: *const CUDA_MEMCPY3D);
    cuGraphAddMemsetNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, memsetParams: *const CUDA_MEMSET_NODE_PARAMS, ctx: CUcontext
    );
    cuGraphMemsetNodeGetParams(hNode: CUgraphNode, nodeParams: *mut CUDA_MEMSET_NODE_PARAMS);
    cuGraphMemsetNodeSetParams(hNode: CUgraphNode, nodeParams: *const CUDA_MEMSET_NODE_PARAMS);
    cuGraphAddHostNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *const CUDA_HOST_NODE_PARAMS
    );
    cuGraphHostNodeGetParams(hNode: CUgraphNode, nodeParams: *mut CUDA_HOST_NODE_PARAMS);
    cuGraphHostNodeSetParams(hNode: CUgraphNode, nodeParams: *const CUDA_HOST_NODE_PARAMS);
    cuGraphAddChildGraphNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, childGraph: CUgraph
    );
    cuGraphChildGraphNodeGetGraph(hNode: CUgraphNode, phGraph: *mut CUgraph);
    cuGraphAddEmptyNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize
    );
    cuGraphAddEventRecordNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, event: CUevent
    );
    cuGraphEventRecordNodeGetEvent(hNode: CUgraphNode, event_out: *mut CUevent);
    cuGraphEventRecordNodeSetEvent(hNode: CUgraphNode, event: CUevent);
    cuGraphAddEventWaitNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, event: CUevent
    );
    cuGraphEventWaitNodeGetEvent(hNode: CUgraphNode, event_out: *mut CUevent);
    cuGraphEventWaitNodeSetEvent(hNode: CUgraphNode, event: CUevent);
    cuGraphAddMemAllocNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *mut CUDA_MEM_ALLOC_NODE_PARAMS
    );
    cuGraphMemAllocNodeGetParams(hNode: CUgraphNode, params_out: *mut CUDA_MEM_ALLOC_NODE_PARAMS);
    cuGraphAddMemFreeNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, dptr: CUdeviceptr
    );
    cuGraphMemFreeNodeGetParams(hNode: CUgraphNode, dptr_out: *mut CUdeviceptr);
    cuGraphClone(phGraphClone: *mut CUgraph, originalGraph: CUgraph);
    cuGraphNodeFindInClone(phNode: *mut CUgraphNode, hOriginalNode: CUgraphNode, hClonedGraph: CUgraph);
    cuGraphNodeGetType(hNode: CUgraphNode, kind: *mut CUgraphNodeType);
    cuGraphNodeGetContainingGraph(hNode: CUgraphNode, phGraph: *mut CUgraph);
    cuGraphNodeGetLocalId(hNode: CUgraphNode, nodeId: *mut u32);
    cuGraphNodeGetToolsId(hNode: CUgraphNode, toolsNodeId: *mut u64);
    cuGraphGetId(hGraph: CUgraph, graphId: *mut u32);
    cuGraphExecGetId(hGraphExec: CUgraphExec, graphId: *mut u32);
    cuGraphGetNodes(hGraph: CUgraph, nodes: *mut CUgraphNode, numNodes: *mut usize);
    cuGraphGetRootNodes(hGraph: CUgraph, rootNodes: *mut CUgraphNode, numRootNodes: *mut usize);
    cuGraphGetEdges_v2(
        hGraph: CUgraph, from: *mut CUgraphNode, to: *mut CUgraphNode, edgeData: *mut CUgraphEdgeData,
        numEdges: *mut usize
    );
    cuGraphNodeGetDependencies_v2(
        hNode: CUgraphNode, dependencies: *mut CUgraphNode, edgeData: *mut CUgraphEdgeData,
        numDependencies: *mut usize
    );
    cuGraphNodeGetDependentNodes_v2(
        hNode: CUgraphNode, dependentNodes: *mut CUgraphNode, edgeData: *mut CUgraphEdgeData,
        numDependentNodes: *mut usize
    );
    cuGraphAddDependencies_v2(
        hGraph: CUgraph, from: *const CUgraphNode, to: *const CUgraphNode,
        edgeData: *const CUgraphEdgeData, numDependencies: usize
    );
    cuGraphRemoveDependencies_v2(
        hGraph: CUgraph, from: *const CUgraphNode, to: *const CUgraphNode,
        edgeData: *const CUgraphEdgeData, numDependencies: usize
    );
    cuGraphDestroyNode(hNode: CUgraphNode);
    cuGraphInstantiateWithFlags(phGraphExec: *mut CUgraphExec, hGraph: CUgraph, flags: u64);
    cuGraphExecGetFlags(hGraphExec: CUgraphExec, flags: *mut cuuint64_t);
    cuGraphExecKernelNodeSetParams_v2(
        hGraphExec: CUgraphExec, hNode: CUgraphNode, nodeParams: *const CUDA_KERNEL_NODE_PARAMS
    );
    cuGraphExecMemcpyNodeSetParams(
        hGraphExec: CUgraphExec, hNode: CUgraphNode, copyParams: *const CUDA_MEMCPY3D, ctx: CUcontext
    );
    cuGraphExecMemsetNodeSetParams(
        hGraphExec: CUgraphExec, hNode: CUgraphNode, memsetParams: *const CUDA_MEMSET_NODE_PARAMS,
        ctx: CUcontext
    );
    cuGraphExecHostNodeSetParams(
        hGraphExec: CUgraphExec, hNode: CUgraphNode, nodeParams: *const CUDA_HOST_NODE_PARAMS
    );
    cuGraphExecChildGraphNodeSetParams(hGraphExec: CUgraphExec, hNode: CUgraphNode, childGraph: CUgraph);
    cuGraphExecEventRecordNodeSetEvent(hGraphExec: CUgraphExec, hNode: CUgraphNode, event: CUevent);
    cuGraphExecEventWaitNodeSetEvent(hGraphExec: CUgraphExec, hNode: CUgraphNode, event: CUevent);
    cuGraphNodeSetEnabled(hGraphExec: CUgraphExec, hNode: CUgraphNode, isEnabled: u32);
    cuGraphNodeGetEnabled(hGraphExec: CUgraphExec, hNode: CUgraphNode, isEnabled: *mut u32);
    cuGraphExecDestroy(hGraphExec: CUgraphExec);
    cuGraphDestroy(hGraph: CUgraph);
    cuGraphExecUpdate_v2(
        hGraphExec: CUgraphExec, hGraph: CUgraph, resultInfo: *mut CUgraphExecUpdateResultInfo
    );
    cuGraphKernelNodeCopyAttributes(dst: CUgraphNode, src: CUgraphNode);
    cuGraphAddNode_v2(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        dependencyData: *const CUgraphEdgeData, numDependencies: usize, nodeParams: *mut CUgraphNodeParams
    );
    cuGraphAddNode_v3(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        dependencyData: *const CUgraphEdgeData, numDependencies: usize, nodeParams: *mut CUgraphNodeParams
    );
    cuGraphNodeSetParams(hNode: CUgraphNode, nodeParams: *mut CUgraphNodeParams);
    cuGraphNodeSetParams_v2(hNode: CUgraphNode, nodeParams: *mut CUgraphNodeParams);
    cuGraphNodeGetParams(hNode: CUgraphNode, nodeParams: *mut CUgraphNodeParams);
    cuGraphExecNodeSetParams(
        hGraphExec: CUgraphExec, hNode: CUgraphNode, nodeParams: *mut CUgraphNodeParams
    );
    cuGraphConditionalHandleCreate(
        pHandle_out: *mut CUgraphConditionalHandle, hGraph: CUgraph, ctx: CUcontext,
        defaultLaunchValue: u32, flags: u32
    );
    cuStreamGetGreenCtx(hStream: CUstream, phCtx: *mut CUgreenCtx);
    cuStreamDestroy(hStream: CUstream);
    cuEventDestroy(hEvent: CUevent);
    cuEventElapsedTime(pMilliseconds: *mut f32, hStart: CUevent, hEnd: CUevent);
    cuStreamGetPriority, cuStreamGetPriority_ptsz(hStream: CUstream, priority: *mut i32);
    cuStreamGetId, cuStreamGetId_ptsz(hStream: CUstream, streamId: *mut u64);
    cuStreamGetFlags, cuStreamGetFlags_ptsz(hStream: CUstream, flags: *mut u32);
    cuStreamGetDevice, cuStreamGetDevice_ptsz(hStream: CUstream, device: *mut CUdevice);
    cuStreamGetDevResource, cuStreamGetDevResource_ptsz(
        hStream: CUstream, resource: *mut CUdevResource, kind: CUdevResourceType
    );
    cuStreamGetCtx, cuStreamGetCtx_ptsz(hStream: CUstream, pctx: *mut CUcontext);
    cuStreamGetCtx_v2, cuStreamGetCtx_v2_ptsz(
        hStream: CUstream, pCtx: *mut CUcontext, pGreenCtx: *mut CUgreenCtx
    );
    cuStreamWaitEvent, cuStreamWaitEvent_ptsz(hStream: CUstream, hEvent: CUevent, Flags: u32);
    cuStreamAddCallback, cuStreamAddCallback_ptsz(
        hStream: CUstream, callback: CUstreamCallback, userData: *mut c_void, flags: u32
    );
    cuStreamAttachMemAsync, cuStreamAttachMemAsync_ptsz(
        hStream: CUstream, dptr: CUdeviceptr, length: usize, flags: u32
    );
    cuStreamQuery, cuStreamQuery_ptsz(hStream: CUstream);
    cuStreamSynchronize, cuStreamSynchronize_ptsz(hStream: CUstream);
    cuEventRecord, cuEventRecord_ptsz(hEvent: CUevent, hStream: CUstream);
    cuEventRecordWithFlags, cuEventRecordWithFlags_ptsz(hEvent: CUevent, hStream: CUstream, flags: u32);
    cuLaunchKernel, cuLaunchKernel_ptsz(
        f: CUfunction, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32,
        blockDimZ: u32, sharedMemBytes: u32, hStream: CUstream, kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void
    );
    cuLaunchKernelEx, cuLaunchKernelEx_ptsz(
        config: *const CUlaunchConfig, f: CUfunction, kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void
    );
    cuLaunchHostFunc, cuLaunchHostFunc_ptsz(hStream: CUstream, func: CUhostFn, userData: *mut c_void);
    cuLaunchHostFunc_v2, cuLaunchHostFunc_v2_ptsz(
        hStream: CUstream, func: CUhostFn, userData: *mut c_void, syncMode: u32
    );
    cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz(
        f: CUfunction, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32,
        blockDimZ: u32, sharedMemBytes: u32, hStream: CUstream, kernelParams: *mut *mut c_void
    );
    cuStreamBeginCapture, cuStreamBeginCapture_ptsz(hStream: CUstream);
    cuStreamBeginCapture_v2, cuStreamBeginCapture_v2_ptsz(hStream: CUstream, mode: CUstreamCaptureMode);
    cuStreamBeginCaptureToGraph, cuStreamBeginCaptureToGraph_ptsz(
        hStream: CUstream, hGraph: CUgraph, dependencies: *const CUgraphNode,
        dependencyData: *const CUgraphEdgeData, numDependencies: usize, mode: CUstreamCaptureMode
    );
    cuStreamBeginRecaptureToGraph, cuStreamBeginRecaptureToGraph_ptsz(
        hStream: CUstream, mode: CUstreamCaptureMode, hGraph: CUgraph,
        callbackFunc: CUgraphRecaptureCallback, userData: *mut c_void
    );
    cuStreamEndCapture, cuStreamEndCapture_ptsz(hStream: CUstream, phGraph: *mut CUgraph);
    cuStreamIsCapturing, cuStreamIsCapturing_ptsz(
        hStream: CUstream, captureStatus: *mut CUstreamCaptureStatus
    );
    cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_ptsz(
        hStream: CUstream, captureStatus_out: *mut CUstreamCaptureStatus, id_out: *mut cuuint64_t
    );
    cuStreamGetCaptureInfo_v2, cuStreamGetCaptureInfo_v2_ptsz(
        hStream: CUstream, captureStatus_out: *mut CUstreamCaptureStatus, id_out: *mut cuuint64_t,
        graph_out: *mut CUgraph, dependencies_out: *mut *const CUgraphNode,
        numDependencies_out: *mut usize
    );
    cuStreamGetCaptureInfo_v3, cuStreamGetCaptureInfo_v3_ptsz(
        hStream: CUstream, captureStatus_out: *mut CUstreamCaptureStatus, id_out: *mut cuuint64_t,
        graph_out: *mut CUgraph, dependencies_out: *mut *const CUgraphNode,
        edgeData_out: *mut *const CUgraphEdgeData, numDependencies_out: *mut usize
    );
    cuGraphAddKernelNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *const CUDA_KERNEL_NODE_PARAMS_v1
    );
    cuGraphKernelNodeGetParams(hNode: CUgraphNode, nodeParams: *mut CUDA_KERNEL_NODE_PARAMS_v1);
    cuGraphKernelNodeSetParams(hNode: CUgraphNode, nodeParams: *const CUDA_KERNEL_NODE_PARAMS_v1);
    cuGraphExecKernelNodeSetParams(
        hGraphExec: CUgraphExec, hNode: CUgraphNode, nodeParams: *const CUDA_KERNEL_NODE_PARAMS_v1
    );
    cuGraphInstantiateWithParams, cuGraphInstantiateWithParams_ptsz(
        phGraphExec: *mut CUgraphExec, hGraph: CUgraph,
        instantiateParams: *mut CUDA_GRAPH_INSTANTIATE_PARAMS
    );
    cuGraphExecUpdate(
        hGraphExec: CUgraphExec, hGraph: CUgraph, hErrorNode_out: *mut CUgraphNode,
        updateResult_out: *mut CUgraphExecUpdateResult
    );
    cuGraphUpload, cuGraphUpload_ptsz(hGraph: CUgraphExec, hStream: CUstream);
    cuGraphLaunch, cuGraphLaunch_ptsz(hGraph: CUgraphExec, hStream: CUstream);
    cuGraphGetEdges(hGraph: CUgraph, from: *mut CUgraphNode, to: *mut CUgraphNode, numEdges: *mut usize);
    cuGraphNodeGetDependencies(
        hNode: CUgraphNode, dependencies: *mut CUgraphNode, numDependencies: *mut usize
    );
    cuGraphNodeGetDependentNodes(
        hNode: CUgraphNode, dependentNodes: *mut CUgraphNode, numDependentNodes: *mut usize
    );
    cuGraphAddDependencies(
        hGraph: CUgraph, from: *const CUgraphNode, to: *const CUgraphNode, numDependencies: usize
    );
    cuGraphRemoveDependencies(
        hGraph: CUgraph, from: *const CUgraphNode, to: *const CUgraphNode, numDependencies: usize
    );
    cuGraphAddNode(
        phGraphNode: *mut CUgraphNode, hGraph: CUgraph, dependencies: *const CUgraphNode,
        numDependencies: usize, nodeParams: *mut CUgraphNodeParams
    );
    cuStreamCopyAttributes, cuStreamCopyAttributes_ptsz(dstStream: CUstream, srcStream: CUstream);
    cuGraphInstantiate(
        phGraphExec: *mut CUgraphExec, hGraph: CUgraph, phErrorNode: *mut CUgraphNode,
        logBuffer: *mut c_char, bufferSize: usize
    );
    cuGraphInstantiate_v2(
        phGraphExec: *mut CUgraphExec, hGraph: CUgraph, phErrorNode: *mut CUgraphNode,
        logBuffer: *mut c_char, bufferSize: usize
    );
    cuStreamUpdateCaptureDependencies, cuStreamUpdateCaptureDependencies_ptsz(
        hStream: CUstream, dependencies: *mut CUgraphNode, numDependencies: usize, flags: u32
    );
    cuStreamUpdateCaptureDependencies_v2, cuStreamUpdateCaptureDependencies_v2_ptsz(
        hStream: CUstream, dependencies: *mut CUgraphNode, dependencyData: *const CUgraphEdgeData,
        numDependencies: usize, flags: u32
    );
}
