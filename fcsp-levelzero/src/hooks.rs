//! The list of wrapped functions: one line for each name. The wrapper has the C name and is in the
//! module of its role. The preload library gives it to the linker. [`fcsp_hook::lookup`] gives it
//! to callers that ask by name, and [`crate::loader`] to callers that ask for a table.

use fcsp_hook::lookup::{Group, Hooked, Lookup};
use fcsp_hook::table::Hook;

use crate::driver::ZE;
use crate::ffi::all as types;
use crate::vendor::LevelZero;

/// Hands the names of all wrapped functions to a macro: those of the core, the getters of every
/// dispatch table, those of management. Sorted by name.
#[macro_export]
macro_rules! for_each_hook {
    ($callback:ident) => {
        $callback! {
            zeCommandListAppendImageCopy, zeCommandListAppendImageCopyFromMemory,
            zeCommandListAppendImageCopyFromMemoryExt, zeCommandListAppendImageCopyRegion,
            zeCommandListAppendImageCopyToMemory, zeCommandListAppendImageCopyToMemoryExt,
            zeCommandListAppendLaunchCooperativeKernel, zeCommandListAppendLaunchKernel,
            zeCommandListAppendLaunchKernelIndirect, zeCommandListAppendLaunchKernelWithArguments,
            zeCommandListAppendLaunchKernelWithParameters, zeCommandListAppendLaunchMultipleKernelsIndirect,
            zeCommandListAppendMemoryCopy, zeCommandListAppendMemoryCopyFromContext,
            zeCommandListAppendMemoryCopyRegion, zeCommandListAppendMemoryFill, zeCommandListCreate,
            zeCommandListCreateImmediate, zeCommandListDestroy, zeCommandListHostSynchronize,
            zeCommandListImmediateAppendCommandListsExp, zeCommandListReset, zeCommandQueueCreate,
            zeCommandQueueDestroy, zeCommandQueueExecuteCommandLists, zeCommandQueueSynchronize,
            zeContextDestroy, zeDeviceGetMemoryProperties, zeDeviceGetProperties,
            zeDriverGetExtensionFunctionAddress, zeDriverGetProperties, zeEventHostSynchronize,
            zeFenceHostSynchronize, zeGetCommandListExpProcAddrTable, zeGetCommandListProcAddrTable,
            zeGetCommandQueueProcAddrTable, zeGetContextProcAddrTable, zeGetDeviceExpProcAddrTable,
            zeGetDeviceProcAddrTable, zeGetDriverExpProcAddrTable, zeGetDriverProcAddrTable,
            zeGetEventExpProcAddrTable, zeGetEventPoolProcAddrTable, zeGetEventProcAddrTable,
            zeGetFabricEdgeExpProcAddrTable, zeGetFabricVertexExpProcAddrTable, zeGetFenceProcAddrTable,
            zeGetGlobalProcAddrTable, zeGetImageExpProcAddrTable, zeGetImageProcAddrTable,
            zeGetKernelExpProcAddrTable, zeGetKernelProcAddrTable, zeGetMemExpProcAddrTable,
            zeGetMemProcAddrTable, zeGetModuleBuildLogProcAddrTable, zeGetModuleProcAddrTable,
            zeGetPhysicalMemProcAddrTable, zeGetRTASBuilderExpProcAddrTable,
            zeGetRTASParallelOperationExpProcAddrTable, zeGetSamplerProcAddrTable,
            zeGetVirtualMemProcAddrTable, zeImageCreate, zeImageDestroy, zeInit, zeInitDrivers,
            zeKernelDestroy, zeMemAllocDevice, zeMemAllocShared, zeMemFree, zeMemFreeExt, zeModuleCreate,
            zeModuleDestroy, zePhysicalMemCreate, zePhysicalMemDestroy, zeVirtualMemMap, zeVirtualMemUnmap,
            zesDeviceEnumMemoryModules, zesDeviceGetProperties, zesDeviceProcessesGetState,
            zesGetDeviceProcAddrTable, zesGetDiagnosticsProcAddrTable, zesGetDriverProcAddrTable,
            zesGetEngineProcAddrTable, zesGetFabricPortProcAddrTable, zesGetFanProcAddrTable,
            zesGetFirmwareProcAddrTable, zesGetFrequencyProcAddrTable, zesGetGlobalProcAddrTable,
            zesGetLedProcAddrTable, zesGetMemoryProcAddrTable, zesGetOverclockProcAddrTable,
            zesGetPerformanceFactorProcAddrTable, zesGetPowerProcAddrTable, zesGetPsuProcAddrTable,
            zesGetRasProcAddrTable, zesGetSchedulerProcAddrTable, zesGetStandbyProcAddrTable,
            zesGetTemperatureProcAddrTable, zesMemoryGetProperties, zesMemoryGetState,
            zetGetCommandListProcAddrTable, zetGetContextProcAddrTable, zetGetDebugProcAddrTable,
            zetGetDeviceProcAddrTable, zetGetKernelProcAddrTable, zetGetMetricGroupExpProcAddrTable,
            zetGetMetricGroupProcAddrTable, zetGetMetricProcAddrTable, zetGetMetricQueryPoolProcAddrTable,
            zetGetMetricQueryProcAddrTable, zetGetMetricStreamerProcAddrTable, zetGetModuleProcAddrTable,
            zetGetTracerExpProcAddrTable,
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
    pub use crate::launch::*;
    pub use crate::loader::*;
    pub use crate::memory::direct::*;
    pub use crate::memory::image::*;
    pub use crate::memory::vmm::*;
    pub use crate::queues::*;
}
for_each_hook!(gather);

macro_rules! table { ($($name:ident),* $(,)?) => { fcsp_hook::hooks!(types: $($name),*) }; }

static TABLE: &[Hook] = for_each_hook!(table);

/// Every wrapped function.
pub static HOOKS: Lookup = Lookup::new(&[Group::new(&ZE, TABLE)]);

impl Hooked for LevelZero {
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
            assert!(
                symbol.role != Role::Passes || name == "zesDeviceEnumMemoryModules",
                "{name}"
            );
        }
    }
}
