//! The list of wrapped functions: one line for each name. The wrapper has the C name and is in the
//! module of its role. The preload library gives it to the linker, and [`crate::loader`] to callers
//! that ask by name.

use fcsp_hook::lookup::{Group, Hooked, Lookup};
use fcsp_hook::table::Hook;

use crate::driver::{CUDA, NVML};
use crate::vendor::Cuda;

/// Hands the names of wrapped driver functions to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_cuda_hook {
    ($callback:ident) => {
        $callback! {
            cuArray3DCreate, cuArray3DCreate_v2, cuArrayCreate, cuArrayCreate_v2, cuArrayDestroy,
            cuCtxAttach, cuCtxCreate, cuCtxCreate_v2, cuCtxCreate_v3, cuCtxCreate_v4, cuCtxDestroy, cuCtxDestroy_v2,
            cuCtxDetach, cuCtxSetLimit, cuCtxSynchronize, cuCtxSynchronize_v2, cuDeviceGraphMemTrim,
            cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxReset,
            cuDevicePrimaryCtxReset_v2, cuDevicePrimaryCtxRetain, cuDeviceSetMemPool, cuDeviceTotalMem,
            cuDeviceTotalMem_v2, cuEventSynchronize, cuFuncLoad, cuGetProcAddress, cuGetProcAddress_v2,
            cuGraphAddChildGraphNode, cuGraphAddMemAllocNode, cuGraphAddNode, cuGraphAddNode_v2, cuGraphAddNode_v3, cuGraphDestroy,
            cuGraphExecDestroy, cuGraphExecUpdate, cuGraphExecUpdate_v2, cuGraphInstantiate,
            cuGraphInstantiateWithFlags, cuGraphInstantiateWithParams, cuGraphInstantiateWithParams_ptsz,
            cuGraphInstantiate_v2, cuGraphLaunch, cuGraphLaunch_ptsz, cuGraphUpload, cuGraphUpload_ptsz,
            cuGreenCtxCreate, cuGreenCtxDestroy, cuGreenCtxStreamCreate, cuInit, cuKernelGetFunction,
            cuLaunch, cuLaunchCooperativeKernel, cuLaunchCooperativeKernelMultiDevice,
            cuLaunchCooperativeKernel_ptsz, cuLaunchGrid, cuLaunchGridAsync, cuLaunchKernel,
            cuLaunchKernelEx, cuLaunchKernelEx_ptsz, cuLaunchKernel_ptsz, cuLibraryGetGlobal,
            cuLibraryGetManaged, cuLibraryGetModule, cuLibraryGetUnifiedFunction, cuLibraryLoadData,
            cuLibraryLoadFromFile, cuLibraryUnload, cuMemAlloc, cuMemAllocAsync, cuMemAllocAsync_ptsz,
            cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz, cuMemAllocManaged, cuMemAllocPitch,
            cuMemAllocPitch_v2, cuMemAlloc_v2, cuMemCreate, cuMemExportToShareableHandle, cuMemFree, cuMemFreeAsync, cuMemFreeAsync_ptsz,
            cuMemFree_v2, cuMemGetInfo, cuMemGetInfo_v2, cuMemMap, cuMemMapArrayAsync,
            cuMemMapArrayAsync_ptsz, cuMemPoolDestroy, cuMemPoolTrimTo, cuMemRelease,
            cuMemRetainAllocationHandle, cuMemSetMemPool, cuMemUnmap, cuMemcpy, cuMemcpy2DAsync_v2,
            cuMemcpy2DAsync_v2_ptsz, cuMemcpy2DUnaligned_v2, cuMemcpy2DUnaligned_v2_ptds, cuMemcpy2D_v2,
            cuMemcpy2D_v2_ptds, cuMemcpy3DAsync_v2, cuMemcpy3DAsync_v2_ptsz, cuMemcpy3DBatchAsync,
            cuMemcpy3DBatchAsync_ptsz, cuMemcpy3DBatchAsync_v2, cuMemcpy3DBatchAsync_v2_ptsz,
            cuMemcpy3DPeer, cuMemcpy3DPeerAsync, cuMemcpy3DPeerAsync_ptsz, cuMemcpy3DPeer_ptds,
            cuMemcpy3DWithAttributesAsync, cuMemcpy3DWithAttributesAsync_ptsz, cuMemcpy3D_v2,
            cuMemcpy3D_v2_ptds, cuMemcpyAsync, cuMemcpyAsync_ptsz, cuMemcpyAtoA_v2, cuMemcpyAtoA_v2_ptds,
            cuMemcpyAtoD_v2, cuMemcpyAtoD_v2_ptds, cuMemcpyAtoHAsync_v2, cuMemcpyAtoHAsync_v2_ptsz,
            cuMemcpyAtoH_v2, cuMemcpyAtoH_v2_ptds, cuMemcpyBatchAsync, cuMemcpyBatchAsync_ptsz,
            cuMemcpyBatchAsync_v2, cuMemcpyBatchAsync_v2_ptsz, cuMemcpyDtoA_v2, cuMemcpyDtoA_v2_ptds,
            cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync_v2_ptsz, cuMemcpyDtoD_v2, cuMemcpyDtoD_v2_ptds,
            cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2_ptsz, cuMemcpyDtoH_v2, cuMemcpyDtoH_v2_ptds,
            cuMemcpyHtoA_v2, cuMemcpyHtoA_v2_ptds, cuMemcpyHtoD_v2, cuMemcpyHtoD_v2_ptds, cuMemcpyPeer,
            cuMemcpyPeerAsync, cuMemcpyPeerAsync_ptsz, cuMemcpyPeer_ptds, cuMemcpyWithAttributesAsync,
            cuMemcpyWithAttributesAsync_ptsz, cuMemcpy_ptds, cuMemsetD16Async, cuMemsetD16Async_ptsz,
            cuMemsetD16_v2, cuMemsetD16_v2_ptds, cuMemsetD2D16Async, cuMemsetD2D16Async_ptsz,
            cuMemsetD2D16_v2, cuMemsetD2D16_v2_ptds, cuMemsetD2D32Async, cuMemsetD2D32Async_ptsz,
            cuMemsetD2D32_v2, cuMemsetD2D32_v2_ptds, cuMemsetD2D8Async, cuMemsetD2D8Async_ptsz,
            cuMemsetD2D8_v2, cuMemsetD2D8_v2_ptds, cuMemsetD32Async, cuMemsetD32Async_ptsz, cuMemsetD32_v2,
            cuMemsetD32_v2_ptds, cuMemsetD8Async, cuMemsetD8Async_ptsz, cuMemsetD8_v2, cuMemsetD8_v2_ptds,
            cuMipmappedArrayCreate, cuMipmappedArrayDestroy, cuModuleGetFunction, cuModuleGetGlobal,
            cuModuleGetGlobal_v2, cuModuleLoad, cuModuleLoadData, cuModuleLoadDataEx, cuModuleLoadFatBinary,
            cuModuleUnload, cuStreamBeginCapture, cuStreamBeginCaptureToGraph,
            cuStreamBeginCaptureToGraph_ptsz, cuStreamBeginCapture_ptsz, cuStreamBeginCapture_v2,
            cuStreamBeginCapture_v2_ptsz, cuStreamBeginRecaptureToGraph, cuStreamBeginRecaptureToGraph_ptsz,
            cuStreamCreate, cuStreamCreateWithPriority, cuStreamDestroy, cuStreamDestroy_v2, cuStreamEndCapture, cuStreamEndCapture_ptsz,
            cuStreamSynchronize, cuStreamSynchronize_ptsz,
        }
    };
}

/// Hands the names of wrapped NVML functions to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_nvml_hook {
    ($callback:ident) => {
        $callback! {
            nvmlDeviceGetComputeRunningProcesses, nvmlDeviceGetComputeRunningProcesses_v2,
            nvmlDeviceGetComputeRunningProcesses_v3,
            nvmlDeviceGetGraphicsRunningProcesses, nvmlDeviceGetGraphicsRunningProcesses_v2,
            nvmlDeviceGetGraphicsRunningProcesses_v3,
            nvmlDeviceGetMPSComputeRunningProcesses, nvmlDeviceGetMPSComputeRunningProcesses_v2,
            nvmlDeviceGetMPSComputeRunningProcesses_v3,
            nvmlDeviceGetMemoryInfo, nvmlDeviceGetMemoryInfo_v2, nvmlDeviceGetProcessUtilization,
            nvmlDeviceGetProcessesUtilizationInfo, nvmlDeviceGetRunningProcessDetailList,
        }
    };
}

/// Gathers the wrappers under their C names from their modules.
macro_rules! gather { ($($name:ident),* $(,)?) => { fcsp_hook::gather!(rooms: $($name),*); }; }

mod rooms {
    #![allow(ambiguous_glob_reexports)]
    pub use crate::context::*;
    pub use crate::info::management::*;
    pub use crate::info::memory::*;
    pub use crate::launch::copies::*;
    pub use crate::launch::legacy::*;
    pub use crate::launch::*;
    pub use crate::loader::*;
    pub use crate::memory::array::*;
    pub use crate::memory::direct::*;
    pub use crate::memory::graph::*;
    pub use crate::memory::pool::*;
    pub use crate::memory::vmm::*;
}
for_each_cuda_hook!(gather);
for_each_nvml_hook!(gather);

/// The function pointer types of driver and management library under one roof, for the table.
mod types {
    pub use crate::ffi::cuda::*;
    pub use crate::ffi::nvml::*;
}

macro_rules! table { ($($name:ident),* $(,)?) => { fcsp_hook::hooks!(types: $($name),*) }; }

static CUDA_HOOKS: &[Hook] = for_each_cuda_hook!(table);
static NVML_HOOKS: &[Hook] = for_each_nvml_hook!(table);

/// Every wrapped function, by library.
pub static HOOKS: Lookup =
    Lookup::new(&[Group::new(&CUDA, CUDA_HOOKS), Group::new(&NVML, NVML_HOOKS)]);

impl Hooked for Cuda {
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
