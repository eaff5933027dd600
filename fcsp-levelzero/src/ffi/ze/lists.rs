//! Command queues, command lists and fences.

use core::ffi::c_void;

use super::*;

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    LIST_FUNCTIONS -> ze_result_t;

    zeCommandQueueCreate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *const ze_command_queue_desc_t,
        phCommandQueue: *mut ze_command_queue_handle_t
    );
    zeCommandQueueDestroy(hCommandQueue: ze_command_queue_handle_t);
    zeCommandQueueExecuteCommandLists(
        hCommandQueue: ze_command_queue_handle_t, numCommandLists: u32,
        phCommandLists: *mut ze_command_list_handle_t, hFence: ze_fence_handle_t
    );
    zeCommandQueueSynchronize(hCommandQueue: ze_command_queue_handle_t, timeout: u64);
    zeCommandListCreate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t, desc: *const ze_command_list_desc_t,
        phCommandList: *mut ze_command_list_handle_t
    );
    zeCommandListCreateImmediate(
        hContext: ze_context_handle_t, hDevice: ze_device_handle_t,
        altdesc: *const ze_command_queue_desc_t, phCommandList: *mut ze_command_list_handle_t
    );
    zeCommandListDestroy(hCommandList: ze_command_list_handle_t);
    zeCommandListClose(hCommandList: ze_command_list_handle_t);
    zeCommandListReset(hCommandList: ze_command_list_handle_t);
    zeCommandListAppendWriteGlobalTimestamp(
        hCommandList: ze_command_list_handle_t, dstptr: *mut u64, hSignalEvent: ze_event_handle_t,
        numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendBarrier(
        hCommandList: ze_command_list_handle_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendMemoryRangesBarrier(
        hCommandList: ze_command_list_handle_t, numRanges: u32, pRangeSizes: *const usize,
        pRanges: *mut *const c_void, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendMemoryCopy(
        hCommandList: ze_command_list_handle_t, dstptr: *mut c_void, srcptr: *const c_void, size: usize,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendMemoryFill(
        hCommandList: ze_command_list_handle_t, ptr: *mut c_void, pattern: *const c_void,
        pattern_size: usize, size: usize, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendMemoryCopyRegion(
        hCommandList: ze_command_list_handle_t, dstptr: *mut c_void, dstRegion: *const ze_copy_region_t,
        dstPitch: u32, dstSlicePitch: u32, srcptr: *const c_void, srcRegion: *const ze_copy_region_t,
        srcPitch: u32, srcSlicePitch: u32, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendMemoryCopyFromContext(
        hCommandList: ze_command_list_handle_t, dstptr: *mut c_void, hContextSrc: ze_context_handle_t,
        srcptr: *const c_void, size: usize, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendImageCopy(
        hCommandList: ze_command_list_handle_t, hDstImage: ze_image_handle_t, hSrcImage: ze_image_handle_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendImageCopyRegion(
        hCommandList: ze_command_list_handle_t, hDstImage: ze_image_handle_t, hSrcImage: ze_image_handle_t,
        pDstRegion: *const ze_image_region_t, pSrcRegion: *const ze_image_region_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendImageCopyToMemory(
        hCommandList: ze_command_list_handle_t, dstptr: *mut c_void, hSrcImage: ze_image_handle_t,
        pSrcRegion: *const ze_image_region_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendImageCopyFromMemory(
        hCommandList: ze_command_list_handle_t, hDstImage: ze_image_handle_t, srcptr: *const c_void,
        pDstRegion: *const ze_image_region_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendMemoryPrefetch(
        hCommandList: ze_command_list_handle_t, ptr: *const c_void, size: usize
    );
    zeCommandListAppendMemAdvise(
        hCommandList: ze_command_list_handle_t, hDevice: ze_device_handle_t, ptr: *const c_void,
        size: usize, advice: ze_memory_advice_t
    );
    zeCommandListAppendSignalEvent(hCommandList: ze_command_list_handle_t, hEvent: ze_event_handle_t);
    zeCommandListAppendWaitOnEvents(
        hCommandList: ze_command_list_handle_t, numEvents: u32, phEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendEventReset(hCommandList: ze_command_list_handle_t, hEvent: ze_event_handle_t);
    zeCommandListAppendQueryKernelTimestamps(
        hCommandList: ze_command_list_handle_t, numEvents: u32, phEvents: *mut ze_event_handle_t,
        dstptr: *mut c_void, pOffsets: *const usize, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeFenceCreate(
        hCommandQueue: ze_command_queue_handle_t, desc: *const ze_fence_desc_t,
        phFence: *mut ze_fence_handle_t
    );
    zeFenceDestroy(hFence: ze_fence_handle_t);
    zeFenceHostSynchronize(hFence: ze_fence_handle_t, timeout: u64);
    zeFenceQueryStatus(hFence: ze_fence_handle_t);
    zeFenceReset(hFence: ze_fence_handle_t);
    zeCommandListAppendLaunchKernel(
        hCommandList: ze_command_list_handle_t, hKernel: ze_kernel_handle_t,
        pLaunchFuncArgs: *const ze_group_count_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendLaunchCooperativeKernel(
        hCommandList: ze_command_list_handle_t, hKernel: ze_kernel_handle_t,
        pLaunchFuncArgs: *const ze_group_count_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendLaunchKernelIndirect(
        hCommandList: ze_command_list_handle_t, hKernel: ze_kernel_handle_t,
        pLaunchArgumentsBuffer: *const ze_group_count_t, hSignalEvent: ze_event_handle_t,
        numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendLaunchMultipleKernelsIndirect(
        hCommandList: ze_command_list_handle_t, numKernels: u32, phKernels: *mut ze_kernel_handle_t,
        pCountBuffer: *const u32, pLaunchArgumentsBuffer: *const ze_group_count_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendImageCopyToMemoryExt(
        hCommandList: ze_command_list_handle_t, dstptr: *mut c_void, hSrcImage: ze_image_handle_t,
        pSrcRegion: *const ze_image_region_t, destRowPitch: u32, destSlicePitch: u32,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
    zeCommandListAppendImageCopyFromMemoryExt(
        hCommandList: ze_command_list_handle_t, hDstImage: ze_image_handle_t, srcptr: *const c_void,
        pDstRegion: *const ze_image_region_t, srcRowPitch: u32, srcSlicePitch: u32,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    );
}
