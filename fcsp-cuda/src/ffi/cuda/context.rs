//! Loader, devices, contexts, modules, libraries and kernels: what a process does before it
//! allocates.

use core::ffi::{c_char, c_void};

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    CONTEXT_FUNCTIONS -> CUresult;

    cuGetErrorString(error: CUresult, pStr: *mut *const c_char);
    cuGetErrorName(error: CUresult, pStr: *mut *const c_char);
    cuInit(Flags: u32);
    cuDriverGetVersion(driverVersion: *mut i32);
    cuDeviceGet(device: *mut CUdevice, ordinal: i32);
    cuDeviceGetCount(count: *mut i32);
    cuDeviceGetName(name: *mut c_char, len: i32, dev: CUdevice);
    cuDeviceGetUuid_v2(uuid: *mut CUuuid, dev: CUdevice);
    cuDeviceGetLuid(luid: *mut c_char, deviceNodeMask: *mut u32, dev: CUdevice);
    cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice);
    cuDeviceGetAttribute(pi: *mut i32, attrib: CUdevice_attribute, dev: CUdevice);
    cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool);
    cuDeviceGetMemPool(pool: *mut CUmemoryPool, dev: CUdevice);
    cuDeviceGetDefaultMemPool(pool_out: *mut CUmemoryPool, dev: CUdevice);
    cuDeviceGetProperties(prop: *mut CUdevprop, dev: CUdevice);
    cuDeviceComputeCapability(major: *mut i32, minor: *mut i32, dev: CUdevice);
    cuDevicePrimaryCtxRetain(pctx: *mut CUcontext, dev: CUdevice);
    cuDevicePrimaryCtxRelease_v2(dev: CUdevice);
    cuDevicePrimaryCtxSetFlags_v2(dev: CUdevice, flags: u32);
    cuDevicePrimaryCtxGetState(dev: CUdevice, flags: *mut u32, active: *mut i32);
    cuDevicePrimaryCtxReset_v2(dev: CUdevice);
    cuCtxCreate_v4(
        pctx: *mut CUcontext, ctxCreateParams: *mut CUctxCreateParams, flags: u32, dev: CUdevice
    );
    cuCtxDestroy_v2(ctx: CUcontext);
    cuCtxPushCurrent_v2(ctx: CUcontext);
    cuCtxPopCurrent_v2(pctx: *mut CUcontext);
    cuCtxSetCurrent(ctx: CUcontext);
    cuCtxGetCurrent(pctx: *mut CUcontext);
    cuCtxGetDevice(device: *mut CUdevice);
    cuCtxGetDevice_v2(device: *mut CUdevice, ctx: CUcontext);
    cuCtxGetFlags(flags: *mut u32);
    cuCtxSetFlags(flags: u32);
    cuCtxGetId(ctx: CUcontext, ctxId: *mut u64);
    cuCtxSynchronize();
    cuCtxSynchronize_v2(ctx: CUcontext);
    cuCtxSetLimit(limit: CUlimit, value: usize);
    cuCtxGetLimit(pvalue: *mut usize, limit: CUlimit);
    cuCtxGetCacheConfig(pconfig: *mut CUfunc_cache);
    cuCtxSetCacheConfig(config: CUfunc_cache);
    cuCtxGetApiVersion(ctx: CUcontext, version: *mut u32);
    cuCtxGetStreamPriorityRange(leastPriority: *mut i32, greatestPriority: *mut i32);
    cuCtxResetPersistingL2Cache();
    cuCtxRecordEvent(hCtx: CUcontext, hEvent: CUevent);
    cuCtxWaitEvent(hCtx: CUcontext, hEvent: CUevent);
    cuCtxAttach(pctx: *mut CUcontext, flags: u32);
    cuCtxDetach(ctx: CUcontext);
    cuCtxGetSharedMemConfig(pConfig: *mut CUsharedconfig);
    cuCtxSetSharedMemConfig(config: CUsharedconfig);
    cuModuleLoad(module: *mut CUmodule, fname: *const c_char);
    cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
    cuModuleLoadDataEx(
        module: *mut CUmodule, image: *const c_void, numOptions: u32, options: *mut CUjit_option,
        optionValues: *mut *mut c_void
    );
    cuModuleLoadFatBinary(module: *mut CUmodule, fatCubin: *const c_void);
    cuModuleUnload(hmod: CUmodule);
    cuModuleGetLoadingMode(mode: *mut CUmoduleLoadingMode);
    cuModuleGetFunction(hfunc: *mut CUfunction, hmod: CUmodule, name: *const c_char);
    cuModuleGetFunctionCount(count: *mut u32, module: CUmodule);
    cuModuleEnumerateFunctions(functions: *mut CUfunction, numFunctions: u32, module: CUmodule);
    cuModuleGetGlobal_v2(dptr: *mut CUdeviceptr, bytes: *mut usize, hmod: CUmodule, name: *const c_char);
    cuLinkCreate_v2(
        numOptions: u32, options: *mut CUjit_option, optionValues: *mut *mut c_void,
        stateOut: *mut CUlinkState
    );
    cuLinkAddData_v2(
        state: CUlinkState, kind: CUjitInputType, data: *mut c_void, size: usize, name: *const c_char,
        numOptions: u32, options: *mut CUjit_option, optionValues: *mut *mut c_void
    );
    cuLinkAddFile_v2(
        state: CUlinkState, kind: CUjitInputType, path: *const c_char, numOptions: u32,
        options: *mut CUjit_option, optionValues: *mut *mut c_void
    );
    cuLinkComplete(state: CUlinkState, cubinOut: *mut *mut c_void, sizeOut: *mut usize);
    cuLinkDestroy(state: CUlinkState);
    cuLibraryLoadData(
        library: *mut CUlibrary, code: *const c_void, jitOptions: *mut CUjit_option,
        jitOptionsValues: *mut *mut c_void, numJitOptions: u32, libraryOptions: *mut CUlibraryOption,
        libraryOptionValues: *mut *mut c_void, numLibraryOptions: u32
    );
    cuLibraryLoadFromFile(
        library: *mut CUlibrary, fileName: *const c_char, jitOptions: *mut CUjit_option,
        jitOptionsValues: *mut *mut c_void, numJitOptions: u32, libraryOptions: *mut CUlibraryOption,
        libraryOptionValues: *mut *mut c_void, numLibraryOptions: u32
    );
    cuLibraryUnload(library: CUlibrary);
    cuLibraryGetKernel(pKernel: *mut CUkernel, library: CUlibrary, name: *const c_char);
    cuLibraryGetKernelCount(count: *mut u32, lib: CUlibrary);
    cuLibraryEnumerateKernels(kernels: *mut CUkernel, numKernels: u32, lib: CUlibrary);
    cuLibraryGetModule(pMod: *mut CUmodule, library: CUlibrary);
    cuKernelGetFunction(pFunc: *mut CUfunction, kernel: CUkernel);
    cuKernelGetLibrary(pLib: *mut CUlibrary, kernel: CUkernel);
    cuLibraryGetGlobal(dptr: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    cuLibraryGetManaged(dptr: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    cuLibraryGetUnifiedFunction(fptr: *mut *mut c_void, library: CUlibrary, symbol: *const c_char);
    cuKernelGetAttribute(pi: *mut i32, attrib: CUfunction_attribute, kernel: CUkernel, dev: CUdevice);
    cuKernelSetAttribute(attrib: CUfunction_attribute, val: i32, kernel: CUkernel, dev: CUdevice);
    cuKernelSetCacheConfig(kernel: CUkernel, config: CUfunc_cache, dev: CUdevice);
    cuKernelGetName(name: *mut *const c_char, hfunc: CUkernel);
    cuKernelGetParamInfo(
        kernel: CUkernel, paramIndex: usize, paramOffset: *mut usize, paramSize: *mut usize
    );
    cuKernelGetParamCount(kernel: CUkernel, paramCount: *mut usize);
    cuDeviceGetByPCIBusId(dev: *mut CUdevice, pciBusId: *const c_char);
    cuDeviceGetPCIBusId(pciBusId: *mut c_char, len: i32, dev: CUdevice);
    cuFuncGetAttribute(pi: *mut i32, attrib: CUfunction_attribute, hfunc: CUfunction);
    cuFuncSetAttribute(hfunc: CUfunction, attrib: CUfunction_attribute, value: i32);
    cuFuncSetCacheConfig(hfunc: CUfunction, config: CUfunc_cache);
    cuFuncGetModule(hmod: *mut CUmodule, hfunc: CUfunction);
    cuFuncGetName(name: *mut *const c_char, hfunc: CUfunction);
    cuFuncGetParamInfo(func: CUfunction, paramIndex: usize, paramOffset: *mut usize, paramSize: *mut usize);
    cuFuncGetParamCount(func: CUfunction, paramCount: *mut usize);
    cuFuncIsLoaded(state: *mut CUfunctionLoadingState, function: CUfunction);
    cuFuncLoad(function: CUfunction);
    cuFuncSetSharedMemConfig(hfunc: CUfunction, config: CUsharedconfig);
    cuDeviceGraphMemTrim(device: CUdevice);
    cuDeviceGetGraphMemAttribute(device: CUdevice, attr: CUgraphMem_attribute, value: *mut c_void);
    cuDeviceSetGraphMemAttribute(device: CUdevice, attr: CUgraphMem_attribute, value: *mut c_void);
    cuDeviceCanAccessPeer(canAccessPeer: *mut i32, dev: CUdevice, peerDev: CUdevice);
    cuCtxEnablePeerAccess(peerContext: CUcontext, Flags: u32);
    cuCtxDisablePeerAccess(peerContext: CUcontext);
    cuDeviceGetP2PAttribute(
        value: *mut i32, attrib: CUdevice_P2PAttribute, srcDevice: CUdevice, dstDevice: CUdevice
    );
    cuGetProcAddress_v2(
        symbol: *const c_char, pfn: *mut *mut c_void, cudaVersion: i32, flags: cuuint64_t,
        symbolStatus: *mut CUdriverProcAddressQueryResult
    );
    cuGetExportTable(ppExportTable: *mut *const c_void, pExportTableId: *const CUuuid);
    cuGreenCtxCreate(phCtx: *mut CUgreenCtx, desc: CUdevResourceDesc, dev: CUdevice, flags: u32);
    cuGreenCtxDestroy(hCtx: CUgreenCtx);
    cuCtxFromGreenCtx(pContext: *mut CUcontext, hCtx: CUgreenCtx);
    cuDeviceGetDevResource(device: CUdevice, resource: *mut CUdevResource, kind: CUdevResourceType);
    cuCtxGetDevResource(hCtx: CUcontext, resource: *mut CUdevResource, kind: CUdevResourceType);
    cuGreenCtxGetDevResource(hCtx: CUgreenCtx, resource: *mut CUdevResource, kind: CUdevResourceType);
    cuDevSmResourceSplitByCount(
        result: *mut CUdevResource, nbGroups: *mut u32, input: *const CUdevResource,
        remainder: *mut CUdevResource, flags: u32, minCount: u32
    );
    cuDevSmResourceSplit(
        result: *mut CUdevResource, nbGroups: u32, input: *const CUdevResource,
        remainder: *mut CUdevResource, flags: u32, groupParams: *mut CU_DEV_SM_RESOURCE_GROUP_PARAMS
    );
    cuDevResourceGenerateDesc(
        phDesc: *mut CUdevResourceDesc, resources: *mut CUdevResource, nbResources: u32
    );
    cuGreenCtxRecordEvent(hCtx: CUgreenCtx, hEvent: CUevent);
    cuGreenCtxWaitEvent(hCtx: CUgreenCtx, hEvent: CUevent);
    cuGreenCtxStreamCreate(phStream: *mut CUstream, greenCtx: CUgreenCtx, flags: u32, priority: i32);
    cuGreenCtxGetId(greenCtx: CUgreenCtx, greenCtxId: *mut u64);
    cuLinkCreate(
        numOptions: u32, options: *mut CUjit_option, optionValues: *mut *mut c_void,
        stateOut: *mut CUlinkState
    );
    cuLinkAddData(
        state: CUlinkState, kind: CUjitInputType, data: *mut c_void, size: usize, name: *const c_char,
        numOptions: u32, options: *mut CUjit_option, optionValues: *mut *mut c_void
    );
    cuLinkAddFile(
        state: CUlinkState, kind: CUjitInputType, path: *const c_char, numOptions: u32,
        options: *mut CUjit_option, optionValues: *mut *mut c_void
    );
    cuDeviceTotalMem(bytes: *mut u32, dev: CUdevice);
    cuCtxCreate(pctx: *mut CUcontext, flags: u32, dev: CUdevice);
    cuCtxCreate_v2(pctx: *mut CUcontext, flags: u32, dev: CUdevice);
    cuCtxCreate_v3(
        pctx: *mut CUcontext, paramsArray: *mut CUexecAffinityParam, numParams: i32, flags: u32,
        dev: CUdevice
    );
    cuModuleGetGlobal(dptr: *mut CUdeviceptr_v1, bytes: *mut u32, hmod: CUmodule, name: *const c_char);
    cuCtxDestroy(ctx: CUcontext);
    cuCtxPopCurrent(pctx: *mut CUcontext);
    cuCtxPushCurrent(ctx: CUcontext);
    cuDevicePrimaryCtxRelease(dev: CUdevice);
    cuDevicePrimaryCtxReset(dev: CUdevice);
    cuDevicePrimaryCtxSetFlags(dev: CUdevice, flags: u32);
    cuDeviceGetUuid(uuid: *mut CUuuid, dev: CUdevice);
    cuGetProcAddress(symbol: *const c_char, pfn: *mut *mut c_void, cudaVersion: i32, flags: cuuint64_t);
    cuCheckpointProcessGetRestoreThreadId(pid: i32, tid: *mut i32);
    cuCheckpointProcessGetState(pid: i32, state: *mut CUprocessState);
    cuCheckpointProcessLock(pid: i32, args: *mut CUcheckpointLockArgs);
    cuCheckpointProcessCheckpoint(pid: i32, args: *mut CUcheckpointCheckpointArgs);
    cuCheckpointProcessRestore(pid: i32, args: *mut CUcheckpointRestoreArgs);
    cuCheckpointOperationComplete(handle: CUcheckpointOperationHandle);
    cuCheckpointProcessUnlock(pid: i32, args: *mut CUcheckpointUnlockArgs);
    cuDeviceRegisterAsyncNotification(
        device: CUdevice, callbackFunc: CUasyncCallback, userData: *mut c_void,
        callback: *mut CUasyncCallbackHandle
    );
    cuDeviceUnregisterAsyncNotification(device: CUdevice, callback: CUasyncCallbackHandle);
}
