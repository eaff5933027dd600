//! The HIP runtime: scalars, handles and constants; structs and function types are in the modules
//! below and re-exported here.

// Names are AMD's and documented there; ours would only repeat them. What is not obvious is said in
// place.
#![allow(missing_docs)]

use core::ffi::c_void;

mod context;
mod copies;
mod execution;
mod memory;
mod structs;

pub use context::*;
pub use copies::*;
pub use execution::*;
pub use memory::*;
pub use structs::*;

use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[
    CONTEXT_FUNCTIONS,
    MEMORY_FUNCTIONS,
    COPY_FUNCTIONS,
    EXECUTION_FUNCTIONS,
];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = STRUCTS;
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

pub type uint32_t = u32;
pub type uint64_t = u64;

/// Status of every call; 0 is success.
pub type hipError_t = u32;
/// Device ordinal, after `HIP_VISIBLE_DEVICES` and `ROCR_VISIBLE_DEVICES`: never an identity across
/// processes.
pub type hipDevice_t = i32;
/// Device (or unified host) address.
pub type hipDeviceptr_t = *mut c_void;

pub type hipArray_const_t = *const c_void;
pub type hipArray_t = *mut c_void;
pub type hipCtx_t = *mut c_void;
pub type hipEvent_t = *mut c_void;
pub type hipExternalMemory_t = *mut c_void;
pub type hipExternalSemaphore_t = *mut c_void;
pub type hipFunction_t = *mut c_void;
pub type hipGraph_t = *mut c_void;
pub type hipGraphExec_t = *mut c_void;
pub type hipGraphNode_t = *mut c_void;
pub type hipGraphicsResource_t = *mut c_void;
pub type hipKernel_t = *mut c_void;
pub type hipLibrary_t = *mut c_void;
pub type hipMemGenericAllocationHandle_t = *mut c_void;
pub type hipMemPool_t = *mut c_void;
pub type hipMipmappedArray_t = *mut c_void;
pub type hipModule_t = *mut c_void;
pub type hipStream_t = *mut c_void;

pub type hipDeviceAttribute_t = u32;
pub type hipDriverEntryPointQueryResult = u32;
pub type hipDriverProcAddressQueryResult = u32;
pub type hipGraphExecUpdateResult = u32;
pub type hipGraphMemAttributeType = u32;
pub type hipGraphNodeType = u32;
pub type hipJitOption = u32;
pub type hipLaunchAttributeID = u32;
pub type hipLibraryOption = u32;
pub type hipMemAccessFlags = u32;
pub type hipMemAllocationHandleType = u32;
pub type hipMemAllocationType = u32;
pub type hipMemLocationType = u32;
pub type hipMemPoolAttr = u32;
pub type hipMemRangeHandleType = u32;
pub type hipMemcpyKind = u32;
pub type hipMemoryType = u32;
pub type hipPointer_attribute = u32;
pub type hipStreamCaptureMode = u32;
pub type hipStreamCaptureStatus = u32;

// Seen through pointers only; nothing here looks inside.
pub type hipArrayMapInfo = c_void;
pub type hipExternalMemoryBufferDesc = c_void;
pub type hipExternalMemoryHandleDesc = c_void;
pub type hipExternalMemoryMipmappedArrayDesc = c_void;
pub type hipExternalSemaphoreSignalParams = c_void;
pub type hipExternalSemaphoreWaitParams = c_void;
pub type hipGraphEdgeData = c_void;
pub type hipGraphInstantiateParams = c_void;
pub type hipGraphicsResource = c_void;
pub type hipLaunchAttribute = c_void;
pub type hipLaunchAttributeValue = c_void;
pub type hipMemPoolPtrExportData = c_void;
pub type hipMemcpy3DBatchOp = c_void;
pub type hipMemcpyAttributes = c_void;
pub type hipStreamBatchMemOpParams = c_void;

pub type hipHostFn_t = Option<unsafe extern "C" fn(userData: *mut c_void)>;
pub type hipStreamCallback_t =
    Option<unsafe extern "C" fn(stream: hipStream_t, status: hipError_t, userData: *mut c_void)>;

/// `hipLimit_t`, an enumeration without a type name.
pub type hipLimit_t = u32;

/// The default stream that orders itself with all others, by its true name; from HIP 7.
pub const STREAM_LEGACY: hipStream_t = core::ptr::without_provenance_mut(1);
/// The calling thread's default stream, by its true name.
pub const STREAM_PER_THREAD: hipStream_t = core::ptr::without_provenance_mut(2);

fcsp_hook::constants! {
    /// Values that the wrappers use.
    VALUES;
    hipError_t {
        hipSuccess = 0;
        hipErrorInvalidValue = 1;
        hipErrorOutOfMemory = 2;
        hipErrorOperatingSystem = 304;
        hipErrorSharedObjectSymbolNotFound = 302;
        hipErrorNotReady = 600;
        hipErrorStreamCaptureUnsupported = 900;
        hipErrorStreamCaptureImplicit = 906;
        hipErrorUnknown = 999;
    }
    hipDeviceAttribute_t {
        hipDeviceAttributeMultiprocessorCount = 63;
        hipDeviceAttributeMaxThreadsPerMultiProcessor = 57;
        hipDeviceAttributeTotalGlobalMem = 84;
        hipDeviceAttributePciBusId = 67;
        hipDeviceAttributePciDeviceId = 68;
        hipDeviceAttributePciDomainID = 69;
        hipDeviceAttributeComputeCapabilityMajor = 23;
        hipDeviceAttributeComputeCapabilityMinor = 61;
        hipDeviceAttributePhysicalMultiProcessorCount = 10_015;
        hipDeviceAttributeNumberOfXccs = 10_018;
    }
    hipGraphMemAttributeType { hipGraphMemAttrReservedMemCurrent = 2; }
    hipGraphNodeType {
        hipGraphNodeTypeGraph = 4;
        hipGraphNodeTypeMemAlloc = 10;
    }
    hipLimit_t {
        hipLimitStackSize = 0;
        hipLimitPrintfFifoSize = 1;
        hipLimitMallocHeapSize = 2;
    }
    hipMemLocationType { hipMemLocationTypeDevice = 1; }
    hipMemPoolAttr {
        hipMemPoolAttrReservedMemCurrent = 5;
        hipMemPoolAttrUsedMemCurrent = 7;
    }
    hipMemcpyKind {
        hipMemcpyHostToHost = 0;
        hipMemcpyHostToDevice = 1;
        hipMemcpyDeviceToHost = 2;
        hipMemcpyDeviceToDevice = 3;
    }
    hipMemoryType {
        hipMemoryTypeUnregistered = 0;
        hipMemoryTypeHost = 1;
        hipMemoryTypeDevice = 2;
        hipMemoryTypeArray = 10;
        hipMemoryTypeUnified = 11;
    }
    hipStreamCaptureMode { hipStreamCaptureModeRelaxed = 2; }
    hipStreamCaptureStatus { hipStreamCaptureStatusNone = 0; hipStreamCaptureStatusActive = 1; }
    u32 {
        hipEventDefault = 0;
        hipEventDisableTiming = 2;
    }
}
