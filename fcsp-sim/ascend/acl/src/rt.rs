//! The runtime's functions that ACL is made of. Handles and addresses are integers here: this
//! library looks at none.

unsafe extern "C" {
    pub fn rtSetDevice(device: i32) -> i32;
    pub fn rtGetDevice(device: *mut i32) -> i32;
    pub fn rtDeviceReset(device: i32) -> i32;
    pub fn rtDeviceResetForce(device: i32) -> i32;
    pub fn rtGetDeviceCount(count: *mut i32) -> i32;
    pub fn rtDeviceSynchronize() -> i32;
    pub fn rtDeviceSynchronizeWithTimeout(timeout: i32) -> i32;
    pub fn rtGetSocVersion(text: *mut u8, len: u32) -> i32;
    pub fn rtGetDeviceInfo(device: u32, module: i32, info: i32, value: *mut i64) -> i32;
    pub fn rtsDeviceGetInfo(device: u32, attribute: i32, value: *mut i64) -> i32;
    pub fn rtGetDeviceUuid(device: i32, uuid: *mut u8) -> i32;
    pub fn rtGetDevicePhyIdByIndex(device: u32, physical: *mut u32) -> i32;
    pub fn rtGetAllUtilizations(device: i32, kind: i32, rate: *mut u8) -> i32;
    pub fn rtDeviceGetStreamPriorityRange(least: *mut i32, greatest: *mut i32) -> i32;
    pub fn rtCtxCreateEx(place: *mut u64, flags: u32, device: i32) -> i32;
    pub fn rtCtxDestroyEx(context: u64) -> i32;
    pub fn rtCtxSetCurrent(context: u64) -> i32;
    pub fn rtCtxGetCurrent(place: *mut u64) -> i32;
    pub fn rtsGetPrimaryCtxState(device: i32, flags: *mut u32, active: *mut i32) -> i32;
    pub fn rtsCtxGetCurrentDefaultStream(place: *mut u64) -> i32;
    pub fn rtGetRunMode(mode: *mut i32) -> i32;
    pub fn rtsGetDeviceResLimit(device: i32, kind: i32, value: *mut u32) -> i32;
    pub fn rtsSetDeviceResLimit(device: i32, kind: i32, value: u32) -> i32;
    pub fn rtsResetDeviceResLimit(device: i32) -> i32;

    pub fn rtMalloc(place: *mut u64, size: u64, kind: u32, module: u16) -> i32;
    pub fn rtMallocCached(place: *mut u64, size: u64, kind: u32, module: u16) -> i32;
    pub fn rtsMalloc(place: *mut u64, size: u64, policy: i32, advice: i32, config: u64) -> i32;
    pub fn rtFree(at: u64) -> i32;
    pub fn rtFreeWithDevSync(at: u64) -> i32;
    pub fn rtMallocHost(place: *mut u64, size: u64, module: u16) -> i32;
    pub fn rtsMallocHost(place: *mut u64, size: u64, config: u64) -> i32;
    pub fn rtFreeHost(at: u64) -> i32;
    pub fn rtFreeHostWithDevSync(at: u64) -> i32;
    pub fn rtMemAllocManaged(place: *mut u64, size: u64, flag: u32, module: u16) -> i32;
    pub fn rtMemGetInfoEx(kind: i32, free: *mut u64, total: *mut u64) -> i32;
    pub fn rtMallocPhysical(
        place: *mut u64,
        size: u64,
        property: *const super::memory::Physical,
        flags: u64,
    ) -> i32;
    pub fn rtFreePhysical(handle: u64) -> i32;
    pub fn rtReserveMemAddress(
        place: *mut u64,
        size: u64,
        alignment: u64,
        hint: u64,
        flags: u64,
    ) -> i32;
    pub fn rtReleaseMemAddress(at: u64) -> i32;
    pub fn rtMapMem(at: u64, size: u64, offset: u64, handle: u64, flags: u64) -> i32;
    pub fn rtUnmapMem(at: u64) -> i32;
    pub fn rtMemGetAllocationGranularity(property: u64, option: i32, granularity: *mut u64) -> i32;

    pub fn rtMemcpy(dst: u64, most: u64, src: u64, n: u64, kind: i32) -> i32;
    pub fn rtMemcpyAsync(dst: u64, most: u64, src: u64, n: u64, kind: i32, stream: u64) -> i32;
    pub fn rtMemset(at: u64, most: u64, value: u32, n: u64) -> i32;
    pub fn rtMemsetAsync(at: u64, most: u64, value: u32, n: u64, stream: u64) -> i32;
    pub fn rtReduceAsync(
        dst: u64,
        most: u64,
        src: u64,
        n: u64,
        kind: i32,
        data: i32,
        stream: u64,
    ) -> i32;

    pub fn rtStreamCreate(place: *mut u64, priority: i32) -> i32;
    pub fn rtStreamCreateWithFlags(place: *mut u64, priority: i32, flags: u32) -> i32;
    pub fn rtStreamDestroy(stream: u64) -> i32;
    pub fn rtStreamDestroyForce(stream: u64) -> i32;
    pub fn rtStreamSynchronize(stream: u64) -> i32;
    pub fn rtStreamSynchronizeWithTimeout(stream: u64, timeout: i32) -> i32;
    pub fn rtStreamQuery(stream: u64) -> i32;
    pub fn rtStreamWaitEvent(stream: u64, event: u64) -> i32;
    pub fn rtGetStreamId(stream: u64, id: *mut i32) -> i32;
    pub fn rtStreamGetPriority(stream: u64, priority: *mut u32) -> i32;
    pub fn rtStreamGetFlags(stream: u64, flags: *mut u32) -> i32;
    pub fn rtsLaunchHostFunc(stream: u64, f: u64, data: u64) -> i32;
    pub fn rtEventCreate(place: *mut u64) -> i32;
    pub fn rtEventCreateWithFlag(place: *mut u64, flags: u32) -> i32;
    pub fn rtEventCreateExWithFlag(place: *mut u64, flags: u32) -> i32;
    pub fn rtEventDestroy(event: u64) -> i32;
    pub fn rtEventRecord(event: u64, stream: u64) -> i32;
    pub fn rtEventReset(event: u64, stream: u64) -> i32;
    pub fn rtEventSynchronize(event: u64) -> i32;
    pub fn rtEventSynchronizeWithTimeout(event: u64, timeout: i32) -> i32;
    pub fn rtEventQueryStatus(event: u64, status: *mut i32) -> i32;
    pub fn rtEventElapsedTime(ms: *mut f32, start: u64, end: u64) -> i32;
    pub fn rtEventGetTimeStamp(stamp: *mut u64, event: u64) -> i32;
    pub fn rtGetEventID(event: u64, id: *mut u32) -> i32;

    pub fn rtBinaryLoadWithoutTilingKey(data: u64, length: u64, place: *mut u64) -> i32;
    pub fn rtBinaryUnLoad(binary: u64) -> i32;
    pub fn rtsBinaryLoadFromData(data: u64, length: u64, options: u64, place: *mut u64) -> i32;
    pub fn rtsBinaryLoadFromFile(path: u64, options: u64, place: *mut u64) -> i32;
    pub fn rtsFuncGetByName(binary: u64, name: u64, place: *mut u64) -> i32;
    pub fn rtsFuncGetName(function: u64, len: u32, text: *mut u8) -> i32;
    pub fn rtsKernelArgsInit(function: u64, place: *mut u64) -> i32;
    pub fn rtsKernelArgsAppend(args: u64, param: u64, size: u64, placed: *mut u64) -> i32;
    pub fn rtsKernelArgsFinalize(args: u64) -> i32;
    pub fn rtLaunchKernelByFuncHandleV3(
        f: u64,
        blocks: u32,
        args: *const super::module::Args,
        stream: u64,
        config: u64,
    ) -> i32;
    pub fn rtsLaunchKernelWithConfig(
        f: u64,
        blocks: u32,
        stream: u64,
        config: u64,
        args: u64,
        reserve: u64,
    ) -> i32;
    pub fn rtsLaunchKernelWithDevArgs(
        f: u64,
        blocks: u32,
        stream: u64,
        config: u64,
        args: u64,
        size: u32,
        reserve: u64,
    ) -> i32;
    pub fn rtsLaunchKernelWithHostArgs(
        f: u64,
        blocks: u32,
        stream: u64,
        config: u64,
        args: u64,
        size: u32,
        holders: u64,
        count: u64,
    ) -> i32;

    pub fn rtModelCreate(place: *mut u64, flags: u32) -> i32;
    pub fn rtModelDestroy(model: u64) -> i32;
    pub fn rtModelBindStream(model: u64, stream: u64, flags: u32) -> i32;
    pub fn rtModelUnbindStream(model: u64, stream: u64) -> i32;
    pub fn rtModelLoadComplete(model: u64) -> i32;
    pub fn rtModelExecute(model: u64, stream: u64, flags: u32) -> i32;
    pub fn rtModelExecuteSync(model: u64, stream: u64, flags: u32, timeout: i32) -> i32;
    pub fn rtStreamBeginCapture(stream: u64, mode: i32) -> i32;
    pub fn rtStreamEndCapture(stream: u64, place: *mut u64) -> i32;
    pub fn rtStreamGetCaptureInfo(stream: u64, status: *mut i32, model: *mut u64) -> i32;
}
