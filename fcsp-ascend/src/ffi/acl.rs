//! ACL, the compute language: handles, constants, structs and functions that matter to a quota or a
//! share.

// Names are Huawei's and documented there; ours would only repeat them. What is not obvious is said
// in place.
#![allow(missing_docs)]

use core::ffi::{c_char, c_void};

use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[ACL_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

/// Status of every call; 0 is success. The runtime's codes come through as they are.
pub type aclError = i32;
pub type aclFloat16 = u16;
pub type int8_t = i8;

pub type aclmdlRI = *mut c_void;
pub type aclrtArgsHandle = *mut c_void;
pub type aclrtBinHandle = *mut c_void;
pub type aclrtBinary = *mut c_void;
pub type aclrtContext = *mut c_void;
pub type aclrtDrvMemHandle = *mut c_void;
pub type aclrtEvent = *mut c_void;
pub type aclrtFuncHandle = *mut c_void;
pub type aclrtMemPool = *mut c_void;
pub type aclrtStream = *mut c_void;

pub type aclComputeType = i32;
pub type aclDataType = i32;
pub type aclDeviceInfo = i32;
pub type aclTransType = i32;
pub type aclmdlRICaptureMode = i32;
pub type aclmdlRICaptureStatus = i32;
pub type aclopCompileType = i32;
pub type aclopEngineType = i32;
pub type aclrtDevAttr = i32;
pub type aclrtDevResLimitType = i32;
pub type aclrtEventRecordedStatus = i32;
pub type aclrtIpcMemAttrType = i32;
pub type aclrtMemAttr = i32;
pub type aclrtMemHandleType = i32;
pub type aclrtMemMallocPolicy = i32;
pub type aclrtMemPoolAttr = i32;
pub type aclrtMemSharedHandleType = i32;

// Handed on as they are.
pub type aclDataBuffer = c_void;
pub type aclTensorDesc = c_void;
pub type aclmdlConfigHandle = c_void;
pub type aclmdlDataset = c_void;
pub type aclmdlExecConfigHandle = c_void;
pub type aclopAttr = c_void;
pub type aclopHandle = c_void;
pub type aclrtBinaryLoadOptions = c_void;
pub type aclrtLaunchKernelCfg = c_void;
pub type aclrtMemPoolProps = c_void;
pub type aclrtMemUsageInfo = c_void;
pub type aclrtPlaceHolderInfo = c_void;
pub type aclrtRandomNumTaskInfo = c_void;
pub type aclrtServerPid = c_void;
pub type aclrtSnapShotBackupArgs = c_void;
pub type aclrtSnapShotRestoreArgs = c_void;
pub type aclrtUtilizationInfo = c_void;
/// Frees what an operator's code was given in.
pub type aclDataDeallocator = Option<unsafe extern "C" fn(data: *mut c_void, length: usize)>;

fcsp_hook::constants! {
    /// Values of the constants above, for the header test.
    VALUES;
    aclError {
        ACL_SUCCESS = 0;
        ACL_ERROR_INVALID_PARAM = 100_000;
        ACL_ERROR_UNINITIALIZE = 100_001;
        ACL_ERROR_API_NOT_SUPPORT = 200_001;
        ACL_ERROR_FAILURE = 500_001;
        ACL_ERROR_RT_FEATURE_NOT_SUPPORT = 207_000;
        ACL_ERROR_RT_MEMORY_ALLOCATION = 207_001;
    }
    i32 {
        ACL_MEM_MALLOC_HUGE_FIRST = 0;
        ACL_MEM_MALLOC_NORMAL_ONLY = 2;
        ACL_MEM_MALLOC_NORMAL_ONLY_P2P = 5;
        ACL_MEM_MALLOC_HUGE1G_ONLY = 6;
        ACL_MEM_MALLOC_HUGE1G_ONLY_P2P = 7;
        ACL_RT_MEM_ATTR_DEVICE_ID = 2;
        ACL_MEM_LOCATION_TYPE_DEVICE = 1;
        ACL_DEVICE_INFO_AI_CORE_NUM = 0;
        ACL_DEVICE_INFO_VECTOR_CORE_NUM = 1;
        ACL_RT_DEV_RES_CUBE_CORE = 0;
        ACL_RT_DEV_RES_VECTOR_CORE = 1;
        ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE = 301;
        ACL_DDR_MEM = 0;
        ACL_HBM_MEM = 1;
        ACL_EVENT_RECORDED_STATUS_COMPLETE = 1;
        ACL_MODEL_RI_CAPTURE_MODE_RELAXED = 2;
        ACL_MODEL_RI_CAPTURE_STATUS_NONE = 0;
    }
    u32 {
        ACL_EVENT_CAPTURE_STREAM_PROGRESS = 2;
        ACL_EVENT_TIME_LINE = 8;
    }
}

fcsp_hook::layouts! {
    /// Sizes and offsets of the structs above, for the header test.
    STRUCTS;
    aclrtUuid { bytes: [c_char; 16], }
    aclrtMemLocation { id: u32, type_: i32 = "type", }
    aclrtPhysicalMemProp {
        handleType: i32,
        allocationType: i32,
        memAttr: i32,
        location: aclrtMemLocation,
        reserve: u64,
    }
    /// `value` is a union of integers of up to eight bytes.
    aclrtMallocAttribute { attr: i32, value: [u32; 2], }
    aclrtMallocConfig { attrs: *mut aclrtMallocAttribute, numAttrs: usize, }
}

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    ACL_FUNCTIONS -> aclError;

    aclFinalize();
    aclFinalizeReference(refCount: *mut u64);
    aclGetDeviceCapability(deviceId: u32, deviceInfo: aclDeviceInfo, value: *mut i64);
    aclInit(configPath: *const c_char);
    aclblasCreateHandleForGemmEx(
        transA: aclTransType, transB: aclTransType, transC: aclTransType, m: i32, n: i32, k: i32, dataTypeA:
        aclDataType, dataTypeB: aclDataType, dataTypeC: aclDataType, type_: aclComputeType, handle: *mut *mut
        aclopHandle
    );
    aclblasCreateHandleForGemvEx(
        transA: aclTransType, m: i32, n: i32, dataTypeA: aclDataType, dataTypeX: aclDataType, dataTypeY:
        aclDataType, type_: aclComputeType, handle: *mut *mut aclopHandle
    );
    aclblasCreateHandleForHgemm(
        transA: aclTransType, transB: aclTransType, transC: aclTransType, m: i32, n: i32, k: i32, type_:
        aclComputeType, handle: *mut *mut aclopHandle
    );
    aclblasCreateHandleForHgemv(
        transA: aclTransType, m: i32, n: i32, type_: aclComputeType, handle: *mut *mut aclopHandle
    );
    aclblasCreateHandleForS8gemm(
        transA: aclTransType, transB: aclTransType, transC: aclTransType, m: i32, n: i32, k: i32, type_:
        aclComputeType, handle: *mut *mut aclopHandle
    );
    aclblasCreateHandleForS8gemv(
        transA: aclTransType, m: i32, n: i32, type_: aclComputeType, handle: *mut *mut aclopHandle
    );
    aclblasGemmEx(
        transA: aclTransType, transB: aclTransType, transC: aclTransType, m: i32, n: i32, k: i32, alpha:
        *const c_void, matrixA: *const c_void, lda: i32, dataTypeA: aclDataType, matrixB: *const c_void, ldb:
        i32, dataTypeB: aclDataType, beta: *const c_void, matrixC: *mut c_void, ldc: i32, dataTypeC:
        aclDataType, type_: aclComputeType, stream: aclrtStream
    );
    aclblasGemvEx(
        transA: aclTransType, m: i32, n: i32, alpha: *const c_void, a: *const c_void, lda: i32, dataTypeA:
        aclDataType, x: *const c_void, incx: i32, dataTypeX: aclDataType, beta: *const c_void, y: *mut c_void,
        incy: i32, dataTypeY: aclDataType, type_: aclComputeType, stream: aclrtStream
    );
    aclblasHgemm(
        transA: aclTransType, transB: aclTransType, transC: aclTransType, m: i32, n: i32, k: i32, alpha:
        *const aclFloat16, matrixA: *const aclFloat16, lda: i32, matrixB: *const aclFloat16, ldb: i32, beta:
        *const aclFloat16, matrixC: *mut aclFloat16, ldc: i32, type_: aclComputeType, stream: aclrtStream
    );
    aclblasHgemv(
        transA: aclTransType, m: i32, n: i32, alpha: *const aclFloat16, a: *const aclFloat16, lda: i32, x:
        *const aclFloat16, incx: i32, beta: *const aclFloat16, y: *mut aclFloat16, incy: i32, type_:
        aclComputeType, stream: aclrtStream
    );
    aclblasS8gemm(
        transA: aclTransType, transB: aclTransType, transC: aclTransType, m: i32, n: i32, k: i32, alpha:
        *const i32, matrixA: *const int8_t, lda: i32, matrixB: *const int8_t, ldb: i32, beta: *const i32,
        matrixC: *mut i32, ldc: i32, type_: aclComputeType, stream: aclrtStream
    );
    aclblasS8gemv(
        transA: aclTransType, m: i32, n: i32, alpha: *const i32, a: *const int8_t, lda: i32, x: *const int8_t,
        incx: i32, beta: *const i32, y: *mut i32, incy: i32, type_: aclComputeType, stream: aclrtStream
    );
    aclmdlBundleInitFromFile(
        modelPath: *const c_char, varWeightPtr: *mut c_void, varWeightSize: usize, bundleId: *mut u32
    );
    aclmdlBundleInitFromMem(
        model: *const c_void, modelSize: usize, varWeightPtr: *mut c_void, varWeightSize: usize, bundleId:
        *mut u32
    );
    aclmdlBundleLoadFromFile(modelPath: *const c_char, bundleId: *mut u32);
    aclmdlBundleLoadFromMem(model: *const c_void, modelSize: usize, bundleId: *mut u32);
    aclmdlBundleLoadModel(bundleId: u32, index: usize, modelId: *mut u32);
    aclmdlBundleLoadModelWithConfig(
        bundleId: u32, index: usize, handle: *mut aclmdlConfigHandle, modelId: *mut u32
    );
    aclmdlBundleLoadModelWithMem(
        bundleId: u32, index: usize, workPtr: *mut c_void, workSize: usize, weightPtr: *mut c_void,
        weightSize: usize, modelId: *mut u32
    );
    aclmdlBundleUnload(bundleId: u32);
    aclmdlBundleUnloadModel(bundleId: u32, modelId: u32);
    aclmdlExecute(modelId: u32, input: *const aclmdlDataset, output: *mut aclmdlDataset);
    aclmdlExecuteAsync(
        modelId: u32, input: *const aclmdlDataset, output: *mut aclmdlDataset, stream: aclrtStream
    );
    aclmdlExecuteAsyncV2(
        modelId: u32, input: *const aclmdlDataset, output: *mut aclmdlDataset, stream: aclrtStream, handle:
        *const aclmdlExecConfigHandle
    );
    aclmdlExecuteV2(
        modelId: u32, input: *const aclmdlDataset, output: *mut aclmdlDataset, stream: aclrtStream, handle:
        *const aclmdlExecConfigHandle
    );
    aclmdlLoadFromFile(modelPath: *const c_char, modelId: *mut u32);
    aclmdlLoadFromFileWithMem(
        modelPath: *const c_char, modelId: *mut u32, workPtr: *mut c_void, workSize: usize, weightPtr: *mut
        c_void, weightSize: usize
    );
    aclmdlLoadFromFileWithQ(
        modelPath: *const c_char, modelId: *mut u32, inputQ: *const u32, inputQNum: usize, outputQ: *const
        u32, outputQNum: usize
    );
    aclmdlLoadFromMem(model: *const c_void, modelSize: usize, modelId: *mut u32);
    aclmdlLoadFromMemWithMem(
        model: *const c_void, modelSize: usize, modelId: *mut u32, workPtr: *mut c_void, workSize: usize,
        weightPtr: *mut c_void, weightSize: usize
    );
    aclmdlLoadFromMemWithQ(
        model: *const c_void, modelSize: usize, modelId: *mut u32, inputQ: *const u32, inputQNum: usize,
        outputQ: *const u32, outputQNum: usize
    );
    aclmdlLoadWithConfig(handle: *const aclmdlConfigHandle, modelId: *mut u32);
    aclmdlRICaptureBegin(stream: aclrtStream, mode: aclmdlRICaptureMode);
    aclmdlRICaptureGetInfo(stream: aclrtStream, status: *mut aclmdlRICaptureStatus, modelRI: *mut aclmdlRI);
    aclmdlRICaptureThreadExchangeMode(mode: *mut aclmdlRICaptureMode);
    aclmdlRICaptureEnd(stream: aclrtStream, modelRI: *mut aclmdlRI);
    aclmdlRIDestroy(modelRI: aclmdlRI);
    aclmdlRIExecute(modelRI: aclmdlRI, timeout: i32);
    aclmdlRIExecuteAsync(modelRI: aclmdlRI, stream: aclrtStream);
    aclmdlUnload(modelId: u32);
    aclopCast(
        srcDesc: *const aclTensorDesc, srcBuffer: *const aclDataBuffer, dstDesc: *const aclTensorDesc,
        dstBuffer: *mut aclDataBuffer, truncate: u8, stream: aclrtStream
    );
    aclopCompile(
        opType: *const c_char, numInputs: i32, inputDesc: *const *const aclTensorDesc, numOutputs: i32,
        outputDesc: *const *const aclTensorDesc, attr: *const aclopAttr, engineType: aclopEngineType,
        compileFlag: aclopCompileType, opPath: *const c_char
    );
    aclopCompileAndExecute(
        opType: *const c_char, numInputs: i32, inputDesc: *const *const aclTensorDesc, inputs: *const *const
        aclDataBuffer, numOutputs: i32, outputDesc: *const *const aclTensorDesc, outputs: *const *mut
        aclDataBuffer, attr: *const aclopAttr, engineType: aclopEngineType, compileFlag: aclopCompileType,
        opPath: *const c_char, stream: aclrtStream
    );
    aclopCompileAndExecuteV2(
        opType: *const c_char, numInputs: i32, inputDesc: *mut *mut aclTensorDesc, inputs: *mut *mut
        aclDataBuffer, numOutputs: i32, outputDesc: *mut *mut aclTensorDesc, outputs: *mut *mut aclDataBuffer,
        attr: *mut aclopAttr, engineType: aclopEngineType, compileFlag: aclopCompileType, opPath: *const
        c_char, stream: aclrtStream
    );
    aclopCreateHandle(
        opType: *const c_char, numInputs: i32, inputDesc: *const *const aclTensorDesc, numOutputs: i32,
        outputDesc: *const *const aclTensorDesc, opAttr: *const aclopAttr, handle: *mut *mut aclopHandle
    );
    aclopCreateHandleForCast(
        srcDesc: *mut aclTensorDesc, dstDesc: *mut aclTensorDesc, truncate: u8, handle: *mut *mut aclopHandle
    );
    aclopCreateKernel(
        opType: *const c_char, kernelId: *const c_char, kernelName: *const c_char, binData: *mut c_void,
        binSize: i32, enginetype: aclopEngineType, deallocator: aclDataDeallocator
    );
    aclopExecWithHandle(
        handle: *mut aclopHandle, numInputs: i32, inputs: *const *const aclDataBuffer, numOutputs: i32,
        outputs: *const *mut aclDataBuffer, stream: aclrtStream
    );
    aclopExecute(
        opType: *const c_char, numInputs: i32, inputDesc: *const *const aclTensorDesc, inputs: *const *const
        aclDataBuffer, numOutputs: i32, outputDesc: *const *const aclTensorDesc, outputs: *const *mut
        aclDataBuffer, attr: *const aclopAttr, stream: aclrtStream
    );
    aclopExecuteV2(
        opType: *const c_char, numInputs: i32, inputDesc: *mut *mut aclTensorDesc, inputs: *mut *mut
        aclDataBuffer, numOutputs: i32, outputDesc: *mut *mut aclTensorDesc, outputs: *mut *mut aclDataBuffer,
        attr: *mut aclopAttr, stream: aclrtStream
    );
    aclopLoad(model: *const c_void, modelSize: usize);
    aclopSetModelDir(modelDir: *const c_char);
    aclopUpdateParams(
        opType: *const c_char, numInputs: i32, inputDesc: *const *const aclTensorDesc, numOutputs: i32,
        outputDesc: *const *const aclTensorDesc, attr: *const aclopAttr
    );
    aclrtBinaryLoad(binary: aclrtBinary, binHandle: *mut aclrtBinHandle);
    aclrtBinaryLoadFromData(
        data: *const c_void, length: usize, options: *const aclrtBinaryLoadOptions, binHandle: *mut
        aclrtBinHandle
    );
    aclrtBinaryLoadFromFile(
        binPath: *const c_char, options: *mut aclrtBinaryLoadOptions, binHandle: *mut aclrtBinHandle
    );
    aclrtBinaryUnLoad(binHandle: aclrtBinHandle);
    aclrtCreateContext(context: *mut aclrtContext, deviceId: i32);
    aclrtCreateEventExWithFlag(event: *mut aclrtEvent, flag: u32);
    aclrtDestroyContext(context: aclrtContext);
    aclrtDestroyEvent(event: aclrtEvent);
    aclrtDestroyStream(stream: aclrtStream);
    aclrtDestroyStreamForce(stream: aclrtStream);
    aclrtDeviceGetUuid(deviceId: i32, uuid: *mut aclrtUuid);
    aclrtEventElapsedTime(ms: *mut f32, startEvent: aclrtEvent, endEvent: aclrtEvent);
    aclrtFree(devPtr: *mut c_void);
    aclrtFreePhysical(handle: aclrtDrvMemHandle);
    aclrtFreeWithDevSync(devPtr: *mut c_void);
    aclrtGetCurrentContext(context: *mut aclrtContext);
    aclrtGetDevice(deviceId: *mut i32);
    aclrtGetDeviceCount(count: *mut u32);
    aclrtGetDeviceInfo(deviceId: u32, attr: aclrtDevAttr, value: *mut i64);
    aclrtGetDeviceResLimit(deviceId: i32, type_: aclrtDevResLimitType, value: *mut u32);
    aclrtGetDeviceUtilizationRate(deviceId: i32, utilizationInfo: *mut aclrtUtilizationInfo);
    aclrtGetFunctionName(funcHandle: aclrtFuncHandle, maxLen: u32, name: *mut c_char);
    aclrtGetMemInfo(attr: aclrtMemAttr, free: *mut usize, total: *mut usize);
    aclrtGetMemUsageInfo(
        deviceId: i32, memUsageInfo: *mut aclrtMemUsageInfo, inputNum: usize, outputNum: *mut usize
    );
    aclrtGetPrimaryCtxState(deviceId: i32, flags: *mut u32, active: *mut i32);
    aclrtGetResInCurrentThread(type_: aclrtDevResLimitType, value: *mut u32);
    aclrtGetStreamResLimit(stream: aclrtStream, type_: aclrtDevResLimitType, value: *mut u32);
    aclrtIpcMemClose(key: *const c_char);
    aclrtIpcMemGetExportKey(devPtr: *mut c_void, size: usize, key: *mut c_char, len: usize, flags: u64);
    aclrtIpcMemImportByKey(devPtr: *mut *mut c_void, key: *const c_char, flags: u64);
    aclrtIpcMemImportPidInterServer(key: *const c_char, serverPids: *mut aclrtServerPid, num: usize);
    aclrtIpcMemSetAttr(key: *const c_char, type_: aclrtIpcMemAttrType, attr: u64);
    aclrtIpcMemSetImportPid(key: *const c_char, pid: *mut i32, num: usize);
    aclrtLaunchKernel(
        funcHandle: aclrtFuncHandle, numBlocks: u32, argsData: *const c_void, argsSize: usize, stream:
        aclrtStream
    );
    aclrtLaunchKernelV2(
        funcHandle: aclrtFuncHandle, numBlocks: u32, argsData: *const c_void, argsSize: usize, cfg: *mut
        aclrtLaunchKernelCfg, stream: aclrtStream
    );
    aclrtLaunchKernelWithArgsArray(
        func: *mut c_void, numBlocks: u32, stream: aclrtStream, cfg: *mut aclrtLaunchKernelCfg, args: *mut
        *mut c_void
    );
    aclrtLaunchKernelWithConfig(
        funcHandle: aclrtFuncHandle, numBlocks: u32, stream: aclrtStream, cfg: *mut aclrtLaunchKernelCfg,
        argsHandle: aclrtArgsHandle, reserve: *mut c_void
    );
    aclrtLaunchKernelWithHostArgs(
        funcHandle: aclrtFuncHandle, numBlocks: u32, stream: aclrtStream, cfg: *mut aclrtLaunchKernelCfg,
        hostArgs: *mut c_void, argsSize: usize, placeHolderArray: *mut aclrtPlaceHolderInfo, placeHolderNum:
        usize
    );
    aclrtMalloc(devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy);
    aclrtMallocAlign32(devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy);
    aclrtMallocCached(devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy);
    aclrtMallocForTaskScheduler(
        devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy, cfg: *mut aclrtMallocConfig
    );
    aclrtMallocPhysical(
        handle: *mut aclrtDrvMemHandle, size: usize, prop: *const aclrtPhysicalMemProp, flags: u64
    );
    aclrtMallocWithCfg(
        devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy, cfg: *mut aclrtMallocConfig
    );
    aclrtMapMem(virPtr: *mut c_void, size: usize, offset: usize, handle: aclrtDrvMemHandle, flags: u64);
    aclrtMemAllocManaged(ptr: *mut *mut c_void, size: u64, flag: u32);
    aclrtMemExportToShareableHandle(
        handle: aclrtDrvMemHandle, handleType: aclrtMemHandleType, flags: u64, shareableHandle: *mut u64
    );
    aclrtMemExportToShareableHandleV2(
        handle: aclrtDrvMemHandle, flags: u64, shareType: aclrtMemSharedHandleType, shareableHandle: *mut
        c_void
    );
    aclrtMemImportFromShareableHandle(shareableHandle: u64, deviceId: i32, handle: *mut aclrtDrvMemHandle);
    aclrtMemImportFromShareableHandleV2(
        shareableHandle: *mut c_void, shareType: aclrtMemSharedHandleType, flags: u64, handle: *mut
        aclrtDrvMemHandle
    );
    aclrtMemP2PMap(devPtr: *mut c_void, size: usize, dstDevId: i32, flags: u64);
    aclrtMemPoolCreate(memPool: *mut aclrtMemPool, poolProps: *const aclrtMemPoolProps);
    aclrtMemPoolDestroy(memPool: aclrtMemPool);
    aclrtMemPoolFreeAsync(ptr: *mut c_void, stream: aclrtStream);
    aclrtMemPoolGetAttr(memPool: aclrtMemPool, attr: aclrtMemPoolAttr, value: *mut c_void);
    aclrtMemPoolMallocAsync(ptr: *mut *mut c_void, size: usize, memPool: aclrtMemPool, stream: aclrtStream);
    aclrtMemPoolTrimTo(memPool: aclrtMemPool, minBytesToKeep: usize);
    aclrtMemRetainAllocationHandle(virPtr: *mut c_void, handle: *mut aclrtDrvMemHandle);
    aclrtMemSetPidToShareableHandle(shareableHandle: u64, pid: *mut i32, pidNum: usize);
    aclrtMemSetPidToShareableHandleV2(
        shareableHandle: *mut c_void, shareType: aclrtMemSharedHandleType, pid: *mut i32, pidNum: usize
    );
    aclrtQueryEventStatus(event: aclrtEvent, status: *mut aclrtEventRecordedStatus);
    aclrtRandomNumAsync(taskInfo: *const aclrtRandomNumTaskInfo, stream: aclrtStream, reserve: *mut c_void);
    aclrtRecordEvent(event: aclrtEvent, stream: aclrtStream);
    aclrtResetDevice(deviceId: i32);
    aclrtResetDeviceForce(deviceId: i32);
    aclrtResetDeviceResLimit(deviceId: i32);
    aclrtResetStreamResLimit(stream: aclrtStream);
    aclrtSetDevice(deviceId: i32);
    aclrtSetDeviceResLimit(deviceId: i32, type_: aclrtDevResLimitType, value: u32);
    aclrtSetStreamResLimit(stream: aclrtStream, type_: aclrtDevResLimitType, value: u32);
    aclrtSnapShotProcessBackup(pid: i32, args: *mut aclrtSnapShotBackupArgs);
    aclrtSnapShotProcessLock(pid: i32, reserve: *mut c_void);
    aclrtSnapShotProcessRestore(pid: i32, args: *mut aclrtSnapShotRestoreArgs);
    aclrtSnapShotProcessUnlock(pid: i32, reserve: *mut c_void);
    aclrtSynchronizeDevice();
    aclrtSynchronizeDeviceWithTimeout(timeout: i32);
    aclrtSynchronizeEvent(event: aclrtEvent);
    aclrtSynchronizeEventWithTimeout(event: aclrtEvent, timeout: i32);
    aclrtSynchronizeStream(stream: aclrtStream);
    aclrtSynchronizeStreamWithTimeout(stream: aclrtStream, timeout: i32);
    aclrtUnmapMem(virPtr: *mut c_void);
    aclrtUnuseStreamResInCurrentThread(stream: aclrtStream);
    aclrtUseStreamResInCurrentThread(stream: aclrtStream);
}
