//! Launches, streams, events, captures.

use core::ffi::{c_char, c_void};

use fcsp_hook::functions;

use super::*;

functions! {
    /// Launches, streams, events, captures.
    EXECUTION_FUNCTIONS -> hipError_t;
    hipCtxSynchronize();
    hipDeviceSynchronize();
    hipDrvLaunchKernelEx(config: *const HIP_LAUNCH_CONFIG, f: hipFunction_t, params: *mut *mut c_void, extra: *mut *mut c_void);
    hipEventCreate(event: *mut hipEvent_t);
    hipEventCreateWithFlags(event: *mut hipEvent_t, flags: u32);
    hipEventDestroy(event: hipEvent_t);
    hipEventElapsedTime(ms: *mut f32, start: hipEvent_t, stop: hipEvent_t);
    hipEventQuery(event: hipEvent_t);
    hipEventRecord, hipEventRecord_spt(event: hipEvent_t, stream: hipStream_t);
    hipEventRecordWithFlags(event: hipEvent_t, stream: hipStream_t, flags: u32);
    hipEventSynchronize(event: hipEvent_t);
    hipExtLaunchKernel(function_address: *const c_void, numBlocks: dim3, dimBlocks: dim3, args: *mut *mut c_void, sharedMemBytes: usize, stream: hipStream_t, startEvent: hipEvent_t, stopEvent: hipEvent_t, flags: i32);
    hipExtLaunchMultiKernelMultiDevice(launchParamsList: *mut hipLaunchParams, numDevices: i32, flags: u32);
    hipExtStreamCreateWithCUMask(stream: *mut hipStream_t, cuMaskSize: uint32_t, cuMask: *const uint32_t);
    hipExtStreamGetCUMask(stream: hipStream_t, cuMaskSize: uint32_t, cuMask: *mut uint32_t);
    hipGraphExecUpdate(hGraphExec: hipGraphExec_t, hGraph: hipGraph_t, hErrorNode_out: *mut hipGraphNode_t, updateResult_out: *mut hipGraphExecUpdateResult);
    hipGraphLaunch, hipGraphLaunch_spt(graphExec: hipGraphExec_t, stream: hipStream_t);
    hipLaunchByPtr(func: *const c_void);
    hipLaunchCooperativeKernel(f: *const c_void, gridDim: dim3, blockDimX: dim3, kernelParams: *mut *mut c_void, sharedMemBytes: u32, stream: hipStream_t);
    hipLaunchCooperativeKernelMultiDevice(launchParamsList: *mut hipLaunchParams, numDevices: i32, flags: u32);
    hipLaunchCooperativeKernel_spt(f: *const c_void, gridDim: dim3, blockDim: dim3, kernelParams: *mut *mut c_void, sharedMemBytes: uint32_t, hStream: hipStream_t);
    hipLaunchHostFunc, hipLaunchHostFunc_spt(stream: hipStream_t, fn_: hipHostFn_t, userData: *mut c_void);
    hipLaunchKernel, hipLaunchKernel_spt(function_address: *const c_void, numBlocks: dim3, dimBlocks: dim3, args: *mut *mut c_void, sharedMemBytes: usize, stream: hipStream_t);
    hipLaunchKernelExC(config: *const hipLaunchConfig_t, fPtr: *const c_void, args: *mut *mut c_void);
    hipModuleLaunchCooperativeKernel(f: hipFunction_t, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32, sharedMemBytes: u32, stream: hipStream_t, kernelParams: *mut *mut c_void);
    hipModuleLaunchCooperativeKernelMultiDevice(launchParamsList: *mut hipFunctionLaunchParams, numDevices: u32, flags: u32);
    hipModuleLaunchKernel(f: hipFunction_t, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32, sharedMemBytes: u32, stream: hipStream_t, kernelParams: *mut *mut c_void, extra: *mut *mut c_void);
    hipSignalExternalSemaphoresAsync(extSemArray: *const hipExternalSemaphore_t, paramsArray: *const hipExternalSemaphoreSignalParams, numExtSems: u32, stream: hipStream_t);
    hipStreamAddCallback, hipStreamAddCallback_spt(stream: hipStream_t, callback: hipStreamCallback_t, userData: *mut c_void, flags: u32);
    hipStreamAttachMemAsync(stream: hipStream_t, dev_ptr: *mut c_void, length: usize, flags: u32);
    hipStreamBatchMemOp(stream: hipStream_t, count: u32, paramArray: *mut hipStreamBatchMemOpParams, flags: u32);
    hipStreamBeginCapture, hipStreamBeginCapture_spt(stream: hipStream_t, mode: hipStreamCaptureMode);
    hipStreamBeginCaptureToGraph(stream: hipStream_t, graph: hipGraph_t, dependencies: *const hipGraphNode_t, dependencyData: *const hipGraphEdgeData, numDependencies: usize, mode: hipStreamCaptureMode);
    hipStreamCreate(stream: *mut hipStream_t);
    hipStreamCreateWithFlags(stream: *mut hipStream_t, flags: u32);
    hipStreamCreateWithPriority(stream: *mut hipStream_t, flags: u32, priority: i32);
    hipStreamDestroy(stream: hipStream_t);
    hipStreamEndCapture, hipStreamEndCapture_spt(stream: hipStream_t, pGraph: *mut hipGraph_t);
    hipStreamGetAttribute(stream: hipStream_t, attr: hipLaunchAttributeID, value_out: *mut hipLaunchAttributeValue);
    hipStreamGetCaptureInfo, hipStreamGetCaptureInfo_spt(stream: hipStream_t, pCaptureStatus: *mut hipStreamCaptureStatus, pId: *mut u64);
    hipStreamGetCaptureInfo_v2, hipStreamGetCaptureInfo_v2_spt(stream: hipStream_t, captureStatus_out: *mut hipStreamCaptureStatus, id_out: *mut u64, graph_out: *mut hipGraph_t, dependencies_out: *mut *const hipGraphNode_t, numDependencies_out: *mut usize);
    hipStreamGetDevice(stream: hipStream_t, device: *mut hipDevice_t);
    hipStreamGetFlags, hipStreamGetFlags_spt(stream: hipStream_t, flags: *mut u32);
    hipStreamGetId(stream: hipStream_t, streamId: *mut u64);
    hipStreamGetPriority, hipStreamGetPriority_spt(stream: hipStream_t, priority: *mut i32);
    hipStreamIsCapturing, hipStreamIsCapturing_spt(stream: hipStream_t, pCaptureStatus: *mut hipStreamCaptureStatus);
    hipStreamQuery, hipStreamQuery_spt(stream: hipStream_t);
    hipStreamSetAttribute(stream: hipStream_t, attr: hipLaunchAttributeID, value: *const hipLaunchAttributeValue);
    hipStreamSynchronize, hipStreamSynchronize_spt(stream: hipStream_t);
    hipStreamUpdateCaptureDependencies(stream: hipStream_t, dependencies: *mut hipGraphNode_t, numDependencies: usize, flags: u32);
    hipStreamWaitEvent, hipStreamWaitEvent_spt(stream: hipStream_t, event: hipEvent_t, flags: u32);
    hipStreamWaitValue32(stream: hipStream_t, ptr: *mut c_void, value: uint32_t, flags: u32, mask: uint32_t);
    hipStreamWaitValue64(stream: hipStream_t, ptr: *mut c_void, value: uint64_t, flags: u32, mask: uint64_t);
    hipStreamWriteValue32(stream: hipStream_t, ptr: *mut c_void, value: uint32_t, flags: u32);
    hipStreamWriteValue64(stream: hipStream_t, ptr: *mut c_void, value: uint64_t, flags: u32);
    hipThreadExchangeStreamCaptureMode(mode: *mut hipStreamCaptureMode);
    hipWaitExternalSemaphoresAsync(extSemArray: *const hipExternalSemaphore_t, paramsArray: *const hipExternalSemaphoreWaitParams, numExtSems: u32, stream: hipStream_t);
}

/// `hipExtModuleLaunchKernel` as C++ exports it: the grid counts threads in all.
pub type _Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j =
    unsafe extern "C" fn(
        f: hipFunction_t,
        globalWorkSizeX: u32,
        globalWorkSizeY: u32,
        globalWorkSizeZ: u32,
        localWorkSizeX: u32,
        localWorkSizeY: u32,
        localWorkSizeZ: u32,
        sharedMemBytes: usize,
        hStream: hipStream_t,
        kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void,
        startEvent: hipEvent_t,
        stopEvent: hipEvent_t,
        flags: u32,
    ) -> hipError_t;

/// `hipHccModuleLaunchKernel`, its older name without flags.
pub type _Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_ =
    unsafe extern "C" fn(
        hipFunction_t,
        u32,
        u32,
        u32,
        u32,
        u32,
        u32,
        usize,
        hipStream_t,
        *mut *mut c_void,
        *mut *mut c_void,
        hipEvent_t,
        hipEvent_t,
    ) -> hipError_t;

/// Called by compiled code when a library with device code is unloaded; in no header.
pub type __hipUnregisterFatBinary = unsafe extern "C" fn(modules: *mut *mut c_void);

/// The name of a function handle's kernel.
pub type hipKernelNameRef = unsafe extern "C" fn(f: hipFunction_t) -> *const c_char;
/// The name of a host function's kernel.
pub type hipKernelNameRefByPtr =
    unsafe extern "C" fn(hostFunction: *const c_void, stream: hipStream_t) -> *const c_char;
