//! Everything that starts work on the device, and what waits for it.
//!
//! On an immediate list a launch runs when it is appended, so there it is charged. On a regular list it is recorded: the
//! list is charged as a whole each time it is executed, by what it was seen to cost.

use core::ffi::c_void;

use fcsp_hook::compute::Drains;
use fcsp_hook::launch::copies::{Kind, SMALL};
use fcsp_hook::launch::{admits_graph, admits_kernel, straight, waiting};

use crate::call_real;
use crate::driver::real;
use crate::ffi::ze::*;
use crate::process::{LevelZero, process, shielded};
use crate::queues;

/// One device's compute share.
type Compute = fcsp_hook::compute::Compute<LevelZero>;

/// The share of the device that a queue or list is on, if it has one to keep.
fn share(lane: queues::Lane) -> Option<&'static Compute> {
    process().compute_of(lane.ordinal)
}

/// Whether what is appended to a list runs at once.
#[inline]
fn is_immediate(list: ze_command_list_handle_t) -> bool {
    queues::lane(list as usize).is_some_and(|lane| lane.immediate)
}

/// The share that governs what is appended to a list; nothing for a regular one.
fn at_once(list: ze_command_list_handle_t) -> Option<&'static Compute> {
    process().governed()?;
    let lane = queues::lane(list as usize)?;
    if lane.immediate { share(lane) } else { None }
}

/// Groups of a launch; 0 where they are not to be known.
///
/// # Safety
/// `groups` is null or points to counts.
unsafe fn blocks(groups: *const ze_group_count_t) -> u64 {
    // SAFETY: by this function's contract.
    unsafe { groups.as_ref() }.map_or(0, |g| {
        u64::from(g.groupCountX) * u64::from(g.groupCountY) * u64::from(g.groupCountZ)
    })
}

/// Several lists, or several kernels, as one key.
///
/// # Safety
/// `handles` points to `count` of them.
unsafe fn together(handles: *const *mut c_void, count: u32) -> usize {
    if handles.is_null() {
        return 0;
    }
    // SAFETY: by this function's contract.
    let all = unsafe { core::slice::from_raw_parts(handles, count as usize) };
    match all {
        [one] => *one as usize,
        // Even, as handles are.
        _ => {
            all.iter().fold(count as usize, |mixed, &handle| {
                mixed.rotate_left(7).wrapping_mul(0x9e37_79b9) ^ handle as usize
            }) & !0xf
        }
    }
}

macro_rules! launches {
    ($($(#[$doc:meta])* fn $name:ident($list:ident, $kernel:ident, [$($arg:ident: $ty:ty),*]) blocks $blocks:expr;)*) => {$(
        $(#[$doc])*
        pub unsafe extern "C" fn $name(
            $list: ze_command_list_handle_t,
            $kernel: ze_kernel_handle_t,
            $($arg: $ty),*
        ) -> ze_result_t {
            if (straight::<LevelZero>()
                || is_immediate($list) && admits_kernel::<LevelZero>($kernel as usize, $blocks, $list as usize))
                && let Some(real) = real::$name.get()
            {
                // SAFETY: the caller's own arguments.
                return unsafe { real($list, $kernel, $($arg),*) };
            }
            shielded(ZE_RESULT_ERROR_UNKNOWN, || {
                let call = || call_real!($name($list, $kernel, $($arg),*));
                match at_once($list) {
                    Some(share) => share.kernel($kernel as usize, $blocks, $list as usize, call),
                    None => call(),
                }
            })
        }
    )*};
}

launches! {
    /// `zeCommandListAppendLaunchKernel`.
    fn zeCommandListAppendLaunchKernel(hCommandList, hKernel, [
        pLaunchFuncArgs: *const ze_group_count_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    ]) blocks {
        // SAFETY: the caller passes counts or null.
        unsafe { blocks(pLaunchFuncArgs) }
    };
    /// `zeCommandListAppendLaunchCooperativeKernel`.
    fn zeCommandListAppendLaunchCooperativeKernel(hCommandList, hKernel, [
        pLaunchFuncArgs: *const ze_group_count_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    ]) blocks {
        // SAFETY: as above.
        unsafe { blocks(pLaunchFuncArgs) }
    };
    /// `zeCommandListAppendLaunchKernelIndirect`: the device alone knows how many groups.
    fn zeCommandListAppendLaunchKernelIndirect(hCommandList, hKernel, [
        pLaunchArgumentsBuffer: *const ze_group_count_t, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    ]) blocks 0;
    /// `zeCommandListAppendLaunchKernelWithParameters`.
    fn zeCommandListAppendLaunchKernelWithParameters(hCommandList, hKernel, [
        pGroupCounts: *const ze_group_count_t, pNext: *const c_void, hSignalEvent: ze_event_handle_t,
        numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) blocks {
        // SAFETY: as above.
        unsafe { blocks(pGroupCounts) }
    };
    /// `zeCommandListAppendLaunchKernelWithArguments`.
    fn zeCommandListAppendLaunchKernelWithArguments(hCommandList, hKernel, [
        groupCounts: ze_group_count_t, groupSizes: ze_group_size_t, pArguments: *mut *mut c_void,
        pNext: *const c_void, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    ]) blocks {
        // SAFETY: a value of ours.
        unsafe { blocks(&groupCounts) }
    };
}

/// `zeCommandListAppendLaunchMultipleKernelsIndirect`: the same kernels together are one key.
pub unsafe extern "C" fn zeCommandListAppendLaunchMultipleKernelsIndirect(
    hCommandList: ze_command_list_handle_t,
    numKernels: u32,
    phKernels: *mut ze_kernel_handle_t,
    pCountBuffer: *const u32,
    pLaunchArgumentsBuffer: *const ze_group_count_t,
    hSignalEvent: ze_event_handle_t,
    numWaitEvents: u32,
    phWaitEvents: *mut ze_event_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeCommandListAppendLaunchMultipleKernelsIndirect(
                hCommandList,
                numKernels,
                phKernels,
                pCountBuffer,
                pLaunchArgumentsBuffer,
                hSignalEvent,
                numWaitEvents,
                phWaitEvents
            ))
        };
        match at_once(hCommandList) {
            // SAFETY: the caller's own list.
            Some(share) => share.graph(
                unsafe { together(phKernels, numKernels) },
                hCommandList as usize,
                call,
            ),
            None => call(),
        }
    })
}

/// `zeCommandQueueExecuteCommandLists`: where regular lists are charged.
pub unsafe extern "C" fn zeCommandQueueExecuteCommandLists(
    hCommandQueue: ze_command_queue_handle_t,
    numCommandLists: u32,
    phCommandLists: *mut ze_command_list_handle_t,
    hFence: ze_fence_handle_t,
) -> ze_result_t {
    // SAFETY: the caller's own list.
    let key = unsafe { together(phCommandLists, numCommandLists) };
    if (straight::<LevelZero>() || admits_graph::<LevelZero>(key, hCommandQueue as usize))
        && let Some(real) = real::zeCommandQueueExecuteCommandLists.get()
    {
        // SAFETY: the caller's own arguments.
        return unsafe { real(hCommandQueue, numCommandLists, phCommandLists, hFence) };
    }
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeCommandQueueExecuteCommandLists(
                hCommandQueue,
                numCommandLists,
                phCommandLists,
                hFence
            ))
        };
        let lane = process()
            .governed()
            .and_then(|_| queues::lane(hCommandQueue as usize))
            .filter(|lane| !lane.copies);
        match lane.and_then(share) {
            Some(share) => share.graph(key, hCommandQueue as usize, call),
            None => call(),
        }
    })
}

/// `zeCommandListImmediateAppendCommandListsExp`: regular lists on an immediate one.
pub unsafe extern "C" fn zeCommandListImmediateAppendCommandListsExp(
    hCommandListImmediate: ze_command_list_handle_t,
    numCommandLists: u32,
    phCommandLists: *mut ze_command_list_handle_t,
    hSignalEvent: ze_event_handle_t,
    numWaitEvents: u32,
    phWaitEvents: *mut ze_event_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeCommandListImmediateAppendCommandListsExp(
                hCommandListImmediate,
                numCommandLists,
                phCommandLists,
                hSignalEvent,
                numWaitEvents,
                phWaitEvents
            ))
        };
        match at_once(hCommandListImmediate) {
            // SAFETY: the caller's own list.
            Some(share) => share.graph(
                unsafe { together(phCommandLists, numCommandLists) },
                hCommandListImmediate as usize,
                call,
            ),
            None => call(),
        }
    })
}

/// Whether an address is in the device's own memory, or in memory that may be.
fn on_device(context: usize, address: *const c_void) -> bool {
    let mut properties = ze_memory_allocation_properties_t::zeroed();
    properties.stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES;
    let result = call_real!(zeMemGetAllocProperties(
        context as ze_context_handle_t,
        address,
        &mut properties,
        core::ptr::null_mut()
    ));
    result == ZE_RESULT_SUCCESS && matches!(properties.type_, ZE_MEMORY_TYPE_DEVICE | ZE_MEMORY_TYPE_SHARED)
}

/// The share that a copy or fill of `bytes` inside device memory has to ask. Engines that only copy hold nobody up.
fn asks(list: ze_command_list_handle_t, bytes: usize, places: &[*const c_void]) -> Option<&'static Compute> {
    if bytes < SMALL {
        return None;
    }
    let share = at_once(list)?;
    let lane = queues::lane(list as usize).filter(|lane| !lane.copies)?;
    debug_assert!(lane.immediate);
    let context = queues::context_of(list as usize)?;
    places
        .iter()
        .all(|place| on_device(context, *place))
        .then_some(share)
}

/// `zeCommandListAppendMemoryCopy`.
pub unsafe extern "C" fn zeCommandListAppendMemoryCopy(
    hCommandList: ze_command_list_handle_t,
    dstptr: *mut c_void,
    srcptr: *const c_void,
    size: usize,
    hSignalEvent: ze_event_handle_t,
    numWaitEvents: u32,
    phWaitEvents: *mut ze_event_handle_t,
) -> ze_result_t {
    if straight::<LevelZero>()
        && let Some(real) = real::zeCommandListAppendMemoryCopy.get()
    {
        // SAFETY: the caller's own arguments.
        return unsafe {
            real(
                hCommandList,
                dstptr,
                srcptr,
                size,
                hSignalEvent,
                numWaitEvents,
                phWaitEvents,
            )
        };
    }
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeCommandListAppendMemoryCopy(
                hCommandList,
                dstptr,
                srcptr,
                size,
                hSignalEvent,
                numWaitEvents,
                phWaitEvents
            ))
        };
        match asks(hCommandList, size, &[dstptr, srcptr]) {
            Some(share) => share.copy(Kind::Copy, size, hCommandList as usize, call),
            None => call(),
        }
    })
}

/// `zeCommandListAppendMemoryFill`.
pub unsafe extern "C" fn zeCommandListAppendMemoryFill(
    hCommandList: ze_command_list_handle_t,
    ptr: *mut c_void,
    pattern: *const c_void,
    pattern_size: usize,
    size: usize,
    hSignalEvent: ze_event_handle_t,
    numWaitEvents: u32,
    phWaitEvents: *mut ze_event_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeCommandListAppendMemoryFill(
                hCommandList,
                ptr,
                pattern,
                pattern_size,
                size,
                hSignalEvent,
                numWaitEvents,
                phWaitEvents
            ))
        };
        match asks(hCommandList, size, &[ptr]) {
            Some(share) => share.copy(Kind::Fill, size, hCommandList as usize, call),
            None => call(),
        }
    })
}

/// Around a call that waits for one queue or immediate list.
fn waits_for(queue: *mut c_void, call: impl Fn() -> ze_result_t) -> ze_result_t {
    let lane = process().governed().and_then(|_| queues::lane(queue as usize));
    match lane.and_then(share) {
        Some(share) => share.waiting(Drains::Queue(queue as usize), call),
        None => call(),
    }
}

/// `zeCommandQueueSynchronize`.
pub unsafe extern "C" fn zeCommandQueueSynchronize(
    hCommandQueue: ze_command_queue_handle_t,
    timeout: u64,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        waits_for(hCommandQueue, || {
            call_real!(zeCommandQueueSynchronize(hCommandQueue, timeout))
        })
    })
}

/// `zeCommandListHostSynchronize`.
pub unsafe extern "C" fn zeCommandListHostSynchronize(
    hCommandList: ze_command_list_handle_t,
    timeout: u64,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        waits_for(hCommandList, || {
            call_real!(zeCommandListHostSynchronize(hCommandList, timeout))
        })
    })
}

/// `zeFenceHostSynchronize`: some work is done, nobody can say which.
pub unsafe extern "C" fn zeFenceHostSynchronize(hFence: ze_fence_handle_t, timeout: u64) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        waiting::<LevelZero>(Drains::Something, || {
            call_real!(zeFenceHostSynchronize(hFence, timeout))
        })
    })
}

/// `zeEventHostSynchronize`.
pub unsafe extern "C" fn zeEventHostSynchronize(hEvent: ze_event_handle_t, timeout: u64) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        waiting::<LevelZero>(Drains::Something, || {
            call_real!(zeEventHostSynchronize(hEvent, timeout))
        })
    })
}
