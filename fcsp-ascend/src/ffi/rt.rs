//! The runtime under ACL, `libruntime.so`: what compiled operators, collectives and the model
//! executor call.
//!
//! Prototypes of the published sources of CANN. Enums travel as integers; structs that are only
//! handed on have no layout here. Names change between versions of CANN: each is looked for, and
//! one that is missing is not missed.

// Names are Huawei's; ours would only repeat them.
#![allow(missing_docs)]

use core::ffi::{c_char, c_void};

use super::acl::aclrtMallocConfig;
use super::{Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[RT_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;

/// Status of every call; 0 is success, the others are ACL's numbers.
pub type rtError_t = i32;
pub type rtStream_t = *mut c_void;
pub type rtEvent_t = *mut c_void;
pub type rtModel_t = *mut c_void;
pub type rtContext_t = *mut c_void;
pub type rtFuncHandle = *mut c_void;
pub type rtLaunchArgsHandle = *mut c_void;
pub type rtDrvMemHandle = *mut c_void;
pub type rtMemType_t = u32;

// Handed on as they are.
pub type rtArgsEx_t = c_void;
pub type rtAicpuArgsEx_t = c_void;
pub type rtSmDesc_t = c_void;
pub type rtTaskCfgInfo_t = c_void;
pub type rtKernelLaunchCfg_t = c_void;
pub type rtKernelLaunchNames_t = c_void;
pub type rtPlaceHolderInfo_t = c_void;
pub type rtFftsPlusTaskInfo_t = c_void;
pub type rtFftsTaskInfo_t = c_void;

fcsp_hook::layouts! {
    /// Sizes and offsets of the structs above.
    STRUCTS;
    /// Physical memory to be made: on the host or on a device.
    rtDrvMemProp_t { side: u32, devid: u32, module_id: u32, pg_type: u32, mem_type: u32, reserve: u64, }
}

/// `side` of memory on a device.
pub const MEM_DEV_SIDE: u32 = 1;

fcsp_hook::functions! {
    /// Signatures of this module.
    RT_FUNCTIONS -> rtError_t;

    rtSetDevice, rtDeviceReset, rtDeviceResetForce(device: i32);
    rtCtxCreateEx(ctx: *mut rtContext_t, flags: u32, device: i32);
    rtCtxDestroyEx(ctx: rtContext_t);

    rtMalloc, rtMallocCached(devPtr: *mut *mut c_void, size: u64, type_: rtMemType_t, moduleId: u16);
    rtDvppMalloc(devPtr: *mut *mut c_void, size: u64, moduleId: u16);
    rtDvppMallocWithFlag(devPtr: *mut *mut c_void, size: u64, flag: u32, moduleId: u16);
    rtsMalloc(
        devPtr: *mut *mut c_void, size: u64, policy: i32, advise: i32, cfg: *mut aclrtMallocConfig
    );
    rtMemAllocManaged(ptr: *mut *mut c_void, size: u64, flag: u32, moduleId: u16);
    rtFree, rtFreeWithDevSync, rtDvppFree, rtMemFreeManaged(devPtr: *mut c_void);
    rtMallocPhysical(
        handle: *mut rtDrvMemHandle, size: usize, prop: *mut rtDrvMemProp_t, flags: u64
    );
    rtFreePhysical(handle: rtDrvMemHandle);
    rtMapMem(devPtr: *mut c_void, size: usize, offset: usize, handle: rtDrvMemHandle, flags: u64);
    rtUnmapMem(devPtr: *mut c_void);
    rtMemGetInfo(free: *mut usize, total: *mut usize);
    rtMemGetInfoEx(memInfoType: i32, free: *mut usize, total: *mut usize);
    rtsDeviceGetInfo(deviceId: u32, attr: i32, val: *mut i64);

    rtDevBinaryUnRegister, rtBinaryUnLoad(hdl: *mut c_void);
    rtFunctionRegister(
        binHandle: *mut c_void, stubFunc: *const c_void, stubName: *const c_char,
        kernelInfoExt: *const c_void, funcMode: u32
    );
    rtsFuncGetName(funcHandle: rtFuncHandle, maxLen: u32, name: *mut c_char);

    rtKernelLaunch(
        stubFunc: *const c_void, numBlocks: u32, args: *mut c_void, argsSize: u32, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t
    );
    rtKernelLaunchWithFlag(
        stubFunc: *const c_void, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t, flags: u32
    );
    rtKernelLaunchWithFlagV2, rtVectorCoreKernelLaunch(
        stubFunc: *const c_void, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t, flags: u32, cfgInfo: *const rtTaskCfgInfo_t
    );
    rtKernelLaunchWithHandle, rtKernelLaunchWithHandleV2, rtVectorCoreKernelLaunchWithHandle(
        hdl: *mut c_void, tilingKey: u64, numBlocks: u32, argsInfo: *mut rtArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, cfgInfo: *const rtTaskCfgInfo_t
    );
    rtKernelLaunchEx(args: *mut c_void, argsSize: u32, flags: u32, stm: rtStream_t);
    rtKernelLaunchFwk(
        opName: *const c_char, args: *mut c_void, argsSize: u32, flags: u32, stm: rtStream_t
    );
    rtCpuKernelLaunch(
        soName: *const c_void, kernelName: *const c_void, numBlocks: u32, args: *const c_void, argsSize: u32,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t
    );
    rtCpuKernelLaunchWithFlag(
        soName: *const c_void, kernelName: *const c_void, numBlocks: u32, argsInfo: *const rtArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, flags: u32
    );
    rtAicpuKernelLaunch(
        launchNames: *const rtKernelLaunchNames_t, numBlocks: u32, args: *const c_void, argsSize: u32,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t
    );
    rtAicpuKernelLaunchWithFlag(
        launchNames: *const rtKernelLaunchNames_t, numBlocks: u32, argsInfo: *const rtArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, flags: u32
    );
    rtAicpuKernelLaunchExWithArgs(
        kernelType: u32, opName: *const c_char, numBlocks: u32, argsInfo: *const rtAicpuArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, flags: u32
    );
    rtLaunchKernelByFuncHandle(
        funcHandle: rtFuncHandle, numBlocks: u32, argsHandle: rtLaunchArgsHandle, stm: rtStream_t
    );
    rtLaunchKernelByFuncHandleV2(
        funcHandle: rtFuncHandle, numBlocks: u32, argsHandle: rtLaunchArgsHandle, stm: rtStream_t,
        cfgInfo: *const rtTaskCfgInfo_t
    );
    rtLaunchKernelByFuncHandleV3(
        funcHandle: rtFuncHandle, numBlocks: u32, argsInfo: *const rtArgsEx_t, stm: rtStream_t,
        cfgInfo: *const rtTaskCfgInfo_t
    );
    rtsLaunchKernelWithConfig(
        funcHandle: rtFuncHandle, numBlocks: u32, stm: rtStream_t, cfg: *mut rtKernelLaunchCfg_t,
        argsHandle: *mut c_void, reserve: *mut c_void
    );
    rtsLaunchKernelWithDevArgs(
        funcHandle: rtFuncHandle, numBlocks: u32, stm: rtStream_t, cfg: *mut rtKernelLaunchCfg_t,
        args: *const c_void, argsSize: u32, reserve: *mut c_void
    );
    rtsLaunchKernelWithHostArgs(
        funcHandle: rtFuncHandle, numBlocks: u32, stm: rtStream_t, cfg: *mut rtKernelLaunchCfg_t,
        hostArgs: *mut c_void, argsSize: u32, placeHolderArray: *mut rtPlaceHolderInfo_t,
        placeHolderNum: u32
    );
    rtFftsTaskLaunch(info: *mut rtFftsTaskInfo_t, stm: rtStream_t);
    rtFftsTaskLaunchWithFlag(info: *mut rtFftsTaskInfo_t, stm: rtStream_t, flag: u32);
    rtFftsPlusTaskLaunch(info: *mut rtFftsPlusTaskInfo_t, stm: rtStream_t);
    rtFftsPlusTaskLaunchWithFlag(info: *mut rtFftsPlusTaskInfo_t, stm: rtStream_t, flag: u32);
    rtStarsTaskLaunch(taskSqe: *const c_void, sqeLen: u32, stm: rtStream_t);
    rtStarsTaskLaunchWithFlag(taskSqe: *const c_void, sqeLen: u32, stm: rtStream_t, flag: u32);
    rtMultipleTaskInfoLaunch(taskInfo: *const c_void, stm: rtStream_t);
    rtMultipleTaskInfoLaunchWithFlag(taskInfo: *const c_void, stm: rtStream_t, flag: u32);

    rtModelExecute(mdl: rtModel_t, stm: rtStream_t, flag: u32);
    rtModelExecuteSync(mdl: rtModel_t, stm: rtStream_t, flag: u32, timeout: i32);
    rtModelDestroy, rtModelLoadComplete(mdl: rtModel_t);
    rtModelBindStream(mdl: rtModel_t, stm: rtStream_t, flag: u32);
    rtModelUnbindStream(mdl: rtModel_t, stm: rtStream_t);
    rtStreamBeginCapture(stm: rtStream_t, mode: i32);
    rtStreamEndCapture(stm: rtStream_t, captureMdl: *mut rtModel_t);

    rtStreamDestroy(stm: rtStream_t);
    rtStreamDestroyForce(stm: rtStream_t);
    rtStreamSynchronize(stm: rtStream_t);
    rtStreamSynchronizeWithTimeout(stm: rtStream_t, timeout: i32);
    rtDeviceSynchronize();
    rtDeviceSynchronizeWithTimeout(timeout: i32);
    rtEventSynchronize(evt: rtEvent_t);
}
