//! Calls that start work on the device, and calls that wait for it.
//!
//! A launch on an immediate list runs when it is appended, and is charged there. A launch on a
//! regular list is recorded. Each execution charges the list as a whole, by the measured cost of a
//! list with the same content.

use core::ffi::c_void;

use fcsp_core::classify::Class;
use fcsp_core::share::cost;
use fcsp_hook::backend::Capture;
use fcsp_hook::compute::{Drains, Work};
use fcsp_hook::launch::{admits_graph, admits_kernel, is_unthrottled, waiting};

use crate::call_real;
use crate::driver::real;
use crate::ffi::ze::*;
use crate::queues;
use crate::vendor::{LevelZero, catch_panic, process};

pub mod copies;

impl Capture for LevelZero {
    /// Lists are recorded without the driver's minding anything.
    type Beside = ();

    fn beside_recordings() {}
}

/// One device's compute share.
type Compute = fcsp_hook::compute::Compute<LevelZero>;

/// Returns the compute share of the device that a queue or list is on, if it has one to keep.
fn share(lane: queues::Lane) -> Option<&'static Compute> {
    process().compute_of(lane.ordinal)
}

/// Way in which an appended command is charged.
enum Managed {
    /// It runs now, and this share is to be asked.
    AtOnce(&'static Compute),
    /// It is recorded; the share that will be asked when the list is executed.
    Later(Option<&'static Compute>),
    /// Nothing.
    Not,
}

fn at_once(list: ze_command_list_handle_t) -> Managed {
    // Found out once: launches go straight through from then on.
    if process().is_free() {
        return Managed::Not;
    }
    match queues::lane(list as usize) {
        Some(lane) if !lane.immediate => Managed::Later(share(lane)),
        Some(lane) => share(lane).map_or(Managed::Not, Managed::AtOnce),
        None => Managed::Not,
    }
}

/// Submits lists by what is in them.
fn lists(
    share: &'static Compute,
    content: queues::Content,
    queue: *mut c_void,
    call: impl Fn() -> ze_result_t,
) -> ze_result_t {
    let known = share.functions.graph(content.key, share.countdown());
    let work = Work {
        // By what is in them.
        key: cost::graph_key(content.key as u64),
        content: 0,
        // What is not known yet is guessed by the groups of its kernels.
        blocks: content.blocks,
        class: if content.collective {
            Class::Collective
        } else {
            known.class
        },
        sample: known.sample,
        settled: known.settled,
    };
    share.submit(work, queue as usize, call)
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

/// Returns the handles of a call as a slice.
///
///  # Safety
/// `handles` is null or points to `count` of them.
unsafe fn all<'a>(handles: *const *mut c_void, count: u32) -> &'a [*mut c_void] {
    if handles.is_null() {
        return &[];
    }
    // SAFETY: by this function's contract.
    unsafe { core::slice::from_raw_parts(handles, count as usize) }
}

macro_rules! launches {
    ($($(#[$doc:meta])* fn $name:ident($list:ident, $kernel:ident, [$($arg:ident: $ty:ty),*]) blocks $blocks:expr;)*) => {$(
        fcsp_hook::staged! {
            $(#[$doc])*
            $name($list: ze_command_list_handle_t, $kernel: ze_kernel_handle_t, $($arg: $ty),*) -> ze_result_t,
            real::$name,
            bypass is_unthrottled::<LevelZero>(),
            // Of lists, only immediate ones are queues that a share has seen, and it is told when
            // one is gone.
            admitted admits_kernel::<LevelZero>($kernel as usize, $blocks, $list as usize),
            asking catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
                let call = || call_real!($name($list, $kernel, $($arg),*));
                let blocks = $blocks;
                match at_once($list) {
                    Managed::AtOnce(share) => share.kernel($kernel as usize, blocks, $list as usize, call),
                    Managed::Later(share) => {
                        // One that other ranks wait for must not be held back with its list.
                        let collective = share.is_some_and(|share| {
                            share.kernel_work($kernel as usize, blocks).class.bypasses_gate()
                        });
                        // With its name: the handle may be another kernel's next.
                        let kernel = share.map_or($kernel as u64, |share| {
                            share.functions.identity($kernel as usize)
                        });
                        queues::appended($list as usize, kernel, blocks, collective);
                        call()
                    }
                    Managed::Not => call(),
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
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
        // SAFETY: the caller's own list.
        let kernels = unsafe { all(phKernels, numKernels) };
        let mixed = kernels
            .iter()
            .fold(u64::from(numKernels), |mixed, &kernel| {
                mixed.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ kernel as u64
            });
        match at_once(hCommandList) {
            Managed::AtOnce(share) => share.graph(queues::key(mixed), hCommandList as usize, call),
            Managed::Later(_) => {
                queues::appended(hCommandList as usize, mixed, 0, false);
                call()
            }
            Managed::Not => call(),
        }
    })
}

fcsp_hook::staged! {
    /// `zeCommandQueueExecuteCommandLists`: where regular lists are charged.
    zeCommandQueueExecuteCommandLists(
        hCommandQueue: ze_command_queue_handle_t, numCommandLists: u32, phCommandLists: *mut ze_command_list_handle_t,
        hFence: ze_fence_handle_t
    ) -> ze_result_t,
    real::zeCommandQueueExecuteCommandLists,
    bypass is_unthrottled::<LevelZero>(),
    admitted {
        // SAFETY: the caller's own list.
        let content = queues::content(unsafe { all(phCommandLists, numCommandLists) });
        admits_graph::<LevelZero>(content.key, hCommandQueue as usize)
    },
    asking catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeCommandQueueExecuteCommandLists(
                hCommandQueue,
                numCommandLists,
                phCommandLists,
                hFence
            ))
        };
        if process().is_free() {
            return call();
        }
        let lane = queues::lane(hCommandQueue as usize).filter(|lane| !lane.copies);
        match lane.and_then(share) {
            Some(share) => {
                // SAFETY: as above.
                let content = queues::content(unsafe { all(phCommandLists, numCommandLists) });
                lists(share, content, hCommandQueue, call)
            }
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
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
        // SAFETY: the caller's own list.
        let content = || queues::content(unsafe { all(phCommandLists, numCommandLists) });
        match at_once(hCommandListImmediate) {
            Managed::AtOnce(share) => lists(share, content(), hCommandListImmediate, call),
            Managed::Later(_) | Managed::Not => call(),
        }
    })
}

/// Makes a call that waits for one queue or immediate list, and tells the share so.
fn waits_for(queue: *mut c_void, call: impl Fn() -> ze_result_t) -> ze_result_t {
    let lane = process()
        .governed()
        .and_then(|_| queues::lane(queue as usize));
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
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
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        waits_for(hCommandList, || {
            call_real!(zeCommandListHostSynchronize(hCommandList, timeout))
        })
    })
}

/// `zeFenceHostSynchronize`: some work is done, nobody can say which.
pub unsafe extern "C" fn zeFenceHostSynchronize(
    hFence: ze_fence_handle_t,
    timeout: u64,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        waiting::<LevelZero>(Drains::Something, || {
            call_real!(zeFenceHostSynchronize(hFence, timeout))
        })
    })
}

/// `zeEventHostSynchronize`.
pub unsafe extern "C" fn zeEventHostSynchronize(
    hEvent: ze_event_handle_t,
    timeout: u64,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        waiting::<LevelZero>(Drains::Something, || {
            call_real!(zeEventHostSynchronize(hEvent, timeout))
        })
    })
}
