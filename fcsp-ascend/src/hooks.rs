//! The list of wrapped functions: one line for each name. The wrapper has the C name and is in the
//! module of its role. The preload library gives it to the linker, and [`HOOKS`] to callers that
//! ask `dlsym` by name.

use fcsp_hook::lookup::{Group, Hooked, Lookup};
use fcsp_hook::table::Hook;

use crate::driver::{ACL, DCMI, HCCL, RT};
use crate::vendor::Ascend;

/// Hands the names of wrapped ACL functions to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_acl_hook {
    ($callback:ident) => {
        $callback! {
            aclFinalize, aclFinalizeReference, aclInit, aclmdlBundleUnload, aclmdlBundleUnloadModel, aclmdlRICaptureBegin, aclmdlRICaptureEnd, aclmdlRIDestroy, aclmdlRIExecute,
            aclmdlRIExecuteAsync, aclmdlUnload, aclrtBinaryUnLoad, aclrtCreateContext, aclrtDestroyContext, aclrtDestroyStream, aclrtDestroyStreamForce, aclrtFree,
            aclrtFreePhysical, aclrtFreeWithDevSync, aclrtGetDeviceInfo, aclrtGetMemInfo, aclrtLaunchKernel,
            aclrtLaunchKernelV2, aclrtLaunchKernelWithArgsArray, aclrtLaunchKernelWithConfig,
            aclrtLaunchKernelWithHostArgs, aclrtMalloc, aclrtMallocAlign32, aclrtMallocCached,
            aclrtMallocForTaskScheduler, aclrtMallocPhysical, aclrtMallocWithCfg, aclrtMapMem,
            aclrtMemAllocManaged, aclrtMemPoolCreate, aclrtMemPoolMallocAsync, aclrtMemRetainAllocationHandle,
            aclrtResetDevice, aclrtResetDeviceForce, aclrtSetDevice, aclrtSynchronizeDevice,
            aclrtSynchronizeDeviceWithTimeout, aclrtSynchronizeEvent, aclrtSynchronizeEventWithTimeout,
            aclrtSynchronizeStream, aclrtSynchronizeStreamWithTimeout, aclrtUnmapMem,
        }
    };
}

/// Hands the names of wrapped functions of the runtime to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_rt_hook {
    ($callback:ident) => {
        $callback! {
            rtAicpuKernelLaunch, rtAicpuKernelLaunchExWithArgs, rtAicpuKernelLaunchWithFlag, rtBinaryUnLoad,
            rtCpuKernelLaunch, rtCpuKernelLaunchWithFlag, rtCtxCreateEx, rtCtxDestroyEx, rtDevBinaryUnRegister,
            rtDeviceReset, rtDeviceResetForce, rtDeviceSynchronize, rtDeviceSynchronizeWithTimeout, rtDvppFree,
            rtDvppMalloc, rtDvppMallocWithFlag, rtEventSynchronize, rtFftsPlusTaskLaunch,
            rtFftsPlusTaskLaunchWithFlag, rtFftsTaskLaunch, rtFftsTaskLaunchWithFlag, rtFree, rtFreePhysical, rtFreeWithDevSync, rtFunctionRegister,
            rtKernelLaunch, rtKernelLaunchEx, rtKernelLaunchFwk, rtKernelLaunchWithFlag,
            rtKernelLaunchWithFlagV2, rtKernelLaunchWithHandle, rtKernelLaunchWithHandleV2,
            rtLaunchKernelByFuncHandle, rtLaunchKernelByFuncHandleV2, rtLaunchKernelByFuncHandleV3, rtMalloc,
            rtMallocCached, rtMallocPhysical, rtMapMem, rtMemAllocManaged, rtMemFreeManaged, rtMemGetInfo,
            rtMemGetInfoEx, rtModelBindStream, rtModelDestroy, rtModelExecute, rtModelExecuteSync,
            rtModelLoadComplete, rtModelUnbindStream, rtMultipleTaskInfoLaunch,
            rtMultipleTaskInfoLaunchWithFlag, rtSetDevice, rtStarsTaskLaunch, rtStarsTaskLaunchWithFlag,
            rtStreamBeginCapture, rtStreamDestroy, rtStreamDestroyForce, rtStreamEndCapture, rtStreamSynchronize, rtStreamSynchronizeWithTimeout,
            rtUnmapMem, rtVectorCoreKernelLaunch, rtVectorCoreKernelLaunchWithHandle, rtsDeviceGetInfo,
            rtsLaunchKernelWithConfig, rtsLaunchKernelWithDevArgs, rtsLaunchKernelWithHostArgs, rtsMalloc,
        }
    };
}

/// Hands the names of wrapped HCCL functions to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_hccl_hook {
    ($callback:ident) => {
        $callback! {
            HcclAllGather, HcclAllGatherV, HcclAllReduce, HcclAlltoAll, HcclAlltoAllV, HcclAlltoAllVC, HcclBarrier,
            HcclBatchSendRecv, HcclBroadcast, HcclRecv, HcclReduce, HcclReduceScatter, HcclReduceScatterV,
            HcclScatter, HcclSend,
        }
    };
}

/// Hands the names of wrapped DCMI functions to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_dcmi_hook {
    ($callback:ident) => {
        $callback! {
            dcmi_get_device_hbm_info, dcmi_get_device_memory_info_v2, dcmi_get_device_memory_info_v3,
            dcmi_get_device_resource_info,
        }
    };
}

/// Gathers the wrappers under their C names from their modules.
macro_rules! gather { ($($name:ident),* $(,)?) => { fcsp_hook::gather!(rooms: $($name),*); }; }

mod rooms {
    #![allow(ambiguous_glob_reexports)]
    pub use crate::collective::*;
    pub use crate::context::*;
    pub use crate::info::management::*;
    pub use crate::info::memory::*;
    pub use crate::launch::*;
    pub use crate::memory::direct::*;
    pub use crate::memory::vmm::*;
    pub use crate::recording::*;
}
for_each_acl_hook!(gather);
for_each_rt_hook!(gather);
for_each_hccl_hook!(gather);
for_each_dcmi_hook!(gather);

/// The function pointer types of all libraries under one roof, for the table.
mod types {
    pub use crate::ffi::acl::*;
    pub use crate::ffi::dcmi::*;
    pub use crate::ffi::hccl::*;
    pub use crate::ffi::rt::*;
}

macro_rules! table { ($($name:ident),* $(,)?) => { fcsp_hook::hooks!(types: $($name),*) }; }

static ACL_HOOKS: &[Hook] = for_each_acl_hook!(table);
static RT_HOOKS: &[Hook] = for_each_rt_hook!(table);
static HCCL_HOOKS: &[Hook] = for_each_hccl_hook!(table);
static DCMI_HOOKS: &[Hook] = for_each_dcmi_hook!(table);

/// Every wrapped function, by library.
pub static HOOKS: Lookup = Lookup::new(&[
    Group::new(&ACL, ACL_HOOKS),
    Group::new(&RT, RT_HOOKS),
    Group::new(&HCCL, HCCL_HOOKS),
    Group::new(&DCMI, DCMI_HOOKS),
]);

impl Hooked for Ascend {
    fn hooks() -> &'static Lookup {
        &HOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::HOOKS;
    use crate::symbols::{self, Role};

    #[test]
    fn every_wrapped_function_is_known_and_is_more_than_passed_through() {
        for hook in HOOKS.hooks() {
            let name = hook.name.to_str().unwrap();
            let symbol =
                symbols::find(name).unwrap_or_else(|| panic!("{name} is not in the tables"));
            assert!(symbol.role != Role::Passes, "{name}");
        }
    }
}
