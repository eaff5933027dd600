//! The list of wrapped functions: one line for each name. The wrapper has the C name and is in the
//! module of its role. The preload library gives it to the linker, and [`crate::loader`] to callers
//! that ask by name.

use fcsp_hook::lookup::{Group, Hooked, Lookup};
use fcsp_hook::table::Hook;

use crate::driver::{AMD_SMI, HIP, ROCM_SMI};
use crate::vendor::Hip;

/// Hands the names of wrapped functions of the runtime to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_hip_hook {
    ($callback:ident) => {
        $callback! {

            hipArray3DCreate, hipArrayCreate, hipArrayDestroy, hipCtxCreate, hipCtxDestroy, hipCtxSynchronize,
            hipDeviceGetAttribute, hipDeviceGraphMemTrim, hipDevicePrimaryCtxRelease, hipDevicePrimaryCtxReset, hipDeviceReset,
            hipDeviceSetLimit, hipDeviceSetMemPool, hipDeviceSynchronize, hipDeviceTotalMem, hipDrvLaunchKernelEx,
            hipDrvMemcpy2DUnaligned, hipDrvMemcpy3D, hipDrvMemcpy3DAsync, hipEventSynchronize, hipExtGetLastError,
            hipExtLaunchKernel, hipExtLaunchMultiKernelMultiDevice, hipExtMallocWithFlags,
            hipExtStreamCreateWithCUMask, hipExtStreamGetCUMask, hipFree, hipFreeArray, hipFreeAsync, hipFreeMipmappedArray,
            hipGetDeviceProperties, hipGetDevicePropertiesR0000, hipGetDevicePropertiesR0600, hipGetDriverEntryPoint,
            hipGetDriverEntryPoint_spt, hipGetFuncBySymbol, hipGetLastError, hipGetProcAddress, hipGetSymbolAddress,
            hipGetSymbolSize, hipGraphAddChildGraphNode, hipGraphAddMemAllocNode, hipGraphAddNode, hipGraphDestroy,
            hipGraphExecDestroy, hipGraphExecUpdate, hipGraphInstantiate, hipGraphInstantiateWithFlags,
            hipGraphInstantiateWithParams, hipGraphLaunch, hipGraphLaunch_spt, hipGraphUpload, hipInit,
            hipLaunchByPtr, hipLaunchCooperativeKernel, hipLaunchCooperativeKernelMultiDevice,
            hipLaunchCooperativeKernel_spt, hipLaunchKernel, hipLaunchKernelExC, hipLaunchKernel_spt,
            hipLibraryGetKernel, hipLibraryLoadData, hipLibraryLoadFromFile, hipLibraryUnload, hipMalloc,
            hipMalloc3D, hipMalloc3DArray, hipMallocArray, hipMallocAsync, hipMallocFromPoolAsync, hipMallocManaged,
            hipMallocMipmappedArray, hipMallocPitch, hipMemAllocPitch, hipMemCreate, hipMemExportToShareableHandle,
            hipMemGetInfo, hipMemMap,
            hipMemPoolDestroy, hipMemPoolTrimTo, hipMemRelease, hipMemRetainAllocationHandle, hipMemUnmap, hipMemcpy,
            hipMemcpy2D, hipMemcpy2DArrayToArray, hipMemcpy2DAsync, hipMemcpy2DAsync_spt, hipMemcpy2DFromArray,
            hipMemcpy2DFromArrayAsync, hipMemcpy2DFromArrayAsync_spt, hipMemcpy2DFromArray_spt, hipMemcpy2DToArray,
            hipMemcpy2DToArrayAsync, hipMemcpy2DToArrayAsync_spt, hipMemcpy2DToArray_spt, hipMemcpy2D_spt,
            hipMemcpy3D, hipMemcpy3DAsync, hipMemcpy3DAsync_spt, hipMemcpy3DPeer, hipMemcpy3DPeerAsync,
            hipMemcpy3D_spt, hipMemcpyAsync, hipMemcpyAsync_spt, hipMemcpyAtoA, hipMemcpyAtoD, hipMemcpyAtoH,
            hipMemcpyAtoHAsync, hipMemcpyBatchAsync, hipMemcpyDtoA, hipMemcpyDtoD, hipMemcpyDtoDAsync, hipMemcpyDtoH,
            hipMemcpyDtoHAsync, hipMemcpyFromArray, hipMemcpyFromArray_spt, hipMemcpyFromSymbol,
            hipMemcpyFromSymbolAsync, hipMemcpyFromSymbolAsync_spt, hipMemcpyFromSymbol_spt, hipMemcpyHtoA,
            hipMemcpyHtoD, hipMemcpyParam2D, hipMemcpyParam2DAsync, hipMemcpyPeer, hipMemcpyPeerAsync,
            hipMemcpyToArray, hipMemcpyToSymbol, hipMemcpyToSymbolAsync, hipMemcpyToSymbolAsync_spt,
            hipMemcpyToSymbol_spt, hipMemcpyWithStream, hipMemcpy_spt, hipMemset, hipMemset2D, hipMemset2DAsync,
            hipMemset2DAsync_spt, hipMemset2D_spt, hipMemset3D, hipMemset3DAsync, hipMemset3DAsync_spt,
            hipMemset3D_spt, hipMemsetAsync, hipMemsetAsync_spt, hipMemsetD16, hipMemsetD16Async, hipMemsetD2D16,
            hipMemsetD2D16Async, hipMemsetD2D32, hipMemsetD2D32Async, hipMemsetD2D8, hipMemsetD2D8Async,
            hipMemsetD32, hipMemsetD32Async, hipMemsetD8, hipMemsetD8Async, hipMemset_spt, hipMipmappedArrayCreate,
            hipMipmappedArrayDestroy, hipModuleGetFunction, hipModuleGetGlobal, hipModuleLaunchCooperativeKernel,
            hipModuleLaunchCooperativeKernelMultiDevice, hipModuleLaunchKernel, hipModuleLoad, hipModuleLoadData,
            hipModuleLoadDataEx, hipModuleLoadFatBinary, hipModuleUnload, hipPeekAtLastError, hipStreamBeginCapture,
            hipStreamBeginCaptureToGraph, hipStreamBeginCapture_spt, hipStreamCreate, hipStreamCreateWithFlags,
            hipStreamCreateWithPriority, hipStreamDestroy, hipStreamEndCapture, hipStreamEndCapture_spt, hipStreamSynchronize,
            hipStreamSynchronize_spt,
        }
    };
}

/// Hands the names of wrapped functions of the runtime that begin with an underscore to a macro:
/// C++ has mangled them, or only compiled code calls them. Sorted by name.
#[macro_export]
macro_rules! for_each_hip_cpp_hook {
    ($callback:ident) => {
        $callback! {
            _Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j,
            _Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_,
            __hipUnregisterFatBinary,
        }
    };
}

/// Hands the names of wrapped functions of ROCm SMI to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_rocm_smi_hook {
    ($callback:ident) => {
        $callback! {
            rsmi_compute_process_gpus_get, rsmi_compute_process_info_by_device_get,
            rsmi_compute_process_info_by_pid_get, rsmi_compute_process_info_get, rsmi_dev_memory_total_get,
            rsmi_dev_memory_usage_get,
        }
    };
}

/// Hands the names of wrapped functions of AMD SMI to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_amd_smi_hook {
    ($callback:ident) => {
        $callback! {
            amdsmi_get_gpu_compute_process_gpus, amdsmi_get_gpu_compute_process_info,
            amdsmi_get_gpu_compute_process_info_by_pid, amdsmi_get_gpu_memory_total, amdsmi_get_gpu_memory_usage,
            amdsmi_get_gpu_process_list, amdsmi_get_gpu_vram_info, amdsmi_get_gpu_vram_usage,
        }
    };
}

/// Gathers the wrappers under their C names from their modules.
macro_rules! gather { ($($name:ident),* $(,)?) => { fcsp_hook::gather!(rooms: $($name),*); }; }

mod rooms {
    #![allow(ambiguous_glob_reexports)]
    pub use crate::context::*;
    pub use crate::errors::*;
    pub use crate::info::amd_smi::*;
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
    pub use crate::units::*;
}
for_each_hip_hook!(gather);
for_each_hip_cpp_hook!(gather);
for_each_rocm_smi_hook!(gather);
for_each_amd_smi_hook!(gather);

/// The function pointer types of runtime and management library under one roof, for the table.
mod types {
    #![allow(ambiguous_glob_reexports)]
    pub use crate::ffi::amd_smi::*;
    pub use crate::ffi::hip::*;
    pub use crate::ffi::rocm_smi::*;
}

macro_rules! table { ($($name:ident),* $(,)?) => { fcsp_hook::hooks!(types: $($name),*) }; }

static HIP_HOOKS: &[Hook] = for_each_hip_hook!(table);
static HIP_CPP_HOOKS: &[Hook] = for_each_hip_cpp_hook!(table);
static AMD_SMI_HOOKS: &[Hook] = for_each_amd_smi_hook!(table);
static ROCM_SMI_HOOKS: &[Hook] = for_each_rocm_smi_hook!(table);

/// Every wrapped function, by library.
pub static HOOKS: Lookup = Lookup::new(&[
    Group::new(&HIP, HIP_HOOKS),
    Group::new(&HIP, HIP_CPP_HOOKS),
    Group::new(&ROCM_SMI, ROCM_SMI_HOOKS),
    Group::new(&AMD_SMI, AMD_SMI_HOOKS),
]);

impl Hooked for Hip {
    fn hooks() -> &'static Lookup {
        &HOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::HOOKS;
    use crate::symbols::{self, Role};

    #[test]
    fn every_wrapped_function_is_known() {
        for hook in HOOKS.hooks() {
            let name = hook.name.to_str().unwrap();
            assert!(symbols::find(name).is_some(), "{name} is not in the tables");
        }
    }

    /// Checks that a name with a role is wrapped, or that the table's note gives the reason.
    #[test]
    fn what_matters_is_wrapped_or_says_why_not() {
        let wrapped: Vec<&str> = HOOKS
            .hooks()
            .map(|hook| hook.name.to_str().unwrap())
            .collect();
        for symbol in symbols::hip()
            .iter()
            .chain(symbols::rocm_smi())
            .chain(symbols::amd_smi())
        {
            let excused = matches!(symbol.role, Role::Passes | Role::Streams | Role::Exports)
                || !symbol.note.is_empty();
            assert!(
                excused || wrapped.contains(&symbol.name),
                "{} {} is not wrapped",
                symbol.name,
                symbol.role
            );
        }
    }
}
