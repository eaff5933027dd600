//! CUDA driver API: scalars, handles and constants; structs and function types are in the modules
//! below and re-exported here.

// Names are NVIDIA's and documented there; ours would only repeat them. What is not obvious is said
// in place.
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

pub type cuuint32_t = u32;
pub type cuuint64_t = u64;

/// Status of every driver call; 0 is success.
pub type CUresult = i32;
/// Device ordinal, after `CUDA_VISIBLE_DEVICES`: never an identity across processes.
pub type CUdevice = i32;
/// Device (or unified host) address, 64 bits.
pub type CUdeviceptr = u64;
/// Device address of the 32-bit ABI (`cuMemAlloc` and the other unversioned names).
pub type CUdeviceptr_v1 = u32;
pub type CUmemGenericAllocationHandle = u64;
pub type CUgraphConditionalHandle = u64;
/// Fabric-wide endpoint, from driver 13.3.
pub type CUlogicalEndpointId = u32;

pub type CUarray = *mut c_void;
pub type CUasyncCallbackHandle = *mut c_void;
pub type CUcheckpointOperationHandle = *mut c_void;
pub type CUcontext = *mut c_void;
pub type CUdevResourceDesc = *mut c_void;
pub type CUevent = *mut c_void;
pub type CUexternalMemory = *mut c_void;
pub type CUfunction = *mut c_void;
pub type CUgraph = *mut c_void;
pub type CUgraphExec = *mut c_void;
pub type CUgraphNode = *mut c_void;
pub type CUgraphicsResource = *mut c_void;
pub type CUgreenCtx = *mut c_void;
pub type CUkernel = *mut c_void;
pub type CUlibrary = *mut c_void;
pub type CUlinkState = *mut c_void;
pub type CUmemoryPool = *mut c_void;
pub type CUmipmappedArray = *mut c_void;
pub type CUmodule = *mut c_void;
pub type CUstream = *mut c_void;

/// The legacy default stream by name; a null stream means this one or [`CU_STREAM_PER_THREAD`], by
/// entry point.
pub const CU_STREAM_LEGACY: CUstream = 1 as CUstream;
pub const CU_STREAM_PER_THREAD: CUstream = 2 as CUstream;

// C enums.
pub type CUarray_format = u32;
pub type CUcigDataType = u32;
pub type CUdevResourceType = u32;
pub type CUdevice_P2PAttribute = u32;
pub type CUdevice_attribute = u32;
pub type CUdriverProcAddressQueryResult = u32;
pub type CUexecAffinityType = u32;
pub type CUexternalMemoryHandleType = u32;
pub type CUfunc_cache = u32;
pub type CUfunctionLoadingState = u32;
pub type CUfunction_attribute = u32;
pub type CUgraphChildGraphNodeOwnership = u32;
pub type CUgraphConditionalNodeType = u32;
pub type CUgraphExecUpdateResult = u32;
pub type CUgraphInstantiateResult = u32;
pub type CUgraphMem_attribute = u32;
pub type CUgraphNodeType = u32;
pub type CUjitInputType = u32;
pub type CUjit_option = u32;
pub type CUlaunchAttributeID = u32;
pub type CUlibraryOption = u32;
pub type CUlimit = u32;
pub type CUlogicalEndpointIpcHandleType = u32;
pub type CUmemAccess_flags = u32;
pub type CUmemAllocationGranularity_flags = u32;
pub type CUmemAllocationHandleType = u32;
pub type CUmemAllocationType = u32;
pub type CUmemLocationType = u32;
pub type CUmemOperationType = u32;
pub type CUmemPool_attribute = u32;
pub type CUmemRangeHandleType = u32;
pub type CUmem_advise = u32;
pub type CUmem_range_attribute = u32;
pub type CUmemcpy3DOperandType = u32;
pub type CUmemcpySrcAccessOrder = u32;
pub type CUmemorytype = u32;
pub type CUmoduleLoadingMode = u32;
pub type CUmulticastGranularity_flags = u32;
pub type CUpointer_attribute = u32;
pub type CUprocessState = u32;
pub type CUsharedconfig = u32;
pub type CUstreamCaptureMode = u32;
pub type CUstreamCaptureStatus = u32;

// Structs that an interposer only hands on: their contents belong to the application and the
// driver.
pub type CUDA_ARRAY_SPARSE_PROPERTIES = c_void;
pub type CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC = c_void;
pub type CUDA_MEMCPY2D_v1 = c_void;
pub type CUDA_MEMCPY3D_v1 = c_void;
pub type CU_DEV_SM_RESOURCE_GROUP_PARAMS = c_void;
pub type CUcheckpointCheckpointArgs = c_void;
pub type CUcheckpointLockArgs = c_void;
pub type CUcheckpointRestoreArgs = c_void;
pub type CUcheckpointUnlockArgs = c_void;
pub type CUdevResource = c_void;
pub type CUlogicalEndpointProp = c_void;

pub type CUhostFn = Option<unsafe extern "C" fn(userData: *mut c_void)>;
pub type CUstreamCallback =
    Option<unsafe extern "C" fn(hStream: CUstream, status: CUresult, userData: *mut c_void)>;
/// Called by the driver on its own notices; handed on as it is.
pub type CUasyncCallback = *const c_void;
/// Called by the driver while a graph is recaptured; handed on as it is.
pub type CUgraphRecaptureCallback = *const c_void;

fcsp_hook::constants! {
    /// Values of the constants above, for the header test.
    VALUES;
    CUresult {
        CUDA_SUCCESS = 0;
        CUDA_ERROR_INVALID_VALUE = 1;
        CUDA_ERROR_OUT_OF_MEMORY = 2;
        CUDA_ERROR_NOT_INITIALIZED = 3;
        CUDA_ERROR_DEINITIALIZED = 4;
        CUDA_ERROR_STUB_LIBRARY = 34;
        CUDA_ERROR_DEVICE_UNAVAILABLE = 46;
        CUDA_ERROR_NO_DEVICE = 100;
        CUDA_ERROR_INVALID_DEVICE = 101;
        CUDA_ERROR_INVALID_IMAGE = 200;
        CUDA_ERROR_INVALID_CONTEXT = 201;
        CUDA_ERROR_MAP_FAILED = 205;
        CUDA_ERROR_UNMAP_FAILED = 206;
        CUDA_ERROR_ALREADY_MAPPED = 208;
        CUDA_ERROR_NO_BINARY_FOR_GPU = 209;
        CUDA_ERROR_NOT_MAPPED = 211;
        CUDA_ERROR_UNSUPPORTED_LIMIT = 215;
        CUDA_ERROR_PEER_ACCESS_UNSUPPORTED = 217;
        CUDA_ERROR_INVALID_PTX = 218;
        CUDA_ERROR_INVALID_SOURCE = 300;
        CUDA_ERROR_FILE_NOT_FOUND = 301;
        CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND = 302;
        CUDA_ERROR_SHARED_OBJECT_INIT_FAILED = 303;
        CUDA_ERROR_OPERATING_SYSTEM = 304;
        CUDA_ERROR_INVALID_HANDLE = 400;
        CUDA_ERROR_ILLEGAL_STATE = 401;
        CUDA_ERROR_NOT_FOUND = 500;
        CUDA_ERROR_NOT_READY = 600;
        CUDA_ERROR_ILLEGAL_ADDRESS = 700;
        CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701;
        CUDA_ERROR_LAUNCH_TIMEOUT = 702;
        CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704;
        CUDA_ERROR_PEER_ACCESS_NOT_ENABLED = 705;
        CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708;
        CUDA_ERROR_CONTEXT_IS_DESTROYED = 709;
        CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712;
        CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = 713;
        CUDA_ERROR_LAUNCH_FAILED = 719;
        CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720;
        CUDA_ERROR_NOT_PERMITTED = 800;
        CUDA_ERROR_NOT_SUPPORTED = 801;
        CUDA_ERROR_SYSTEM_NOT_READY = 802;
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803;
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900;
        CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901;
        CUDA_ERROR_STREAM_CAPTURE_MERGE = 902;
        CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903;
        CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904;
        CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905;
        CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906;
        CUDA_ERROR_CAPTURED_EVENT = 907;
        CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908;
        CUDA_ERROR_TIMEOUT = 909;
        CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE = 910;
        CUDA_ERROR_UNKNOWN = 999;
    }
    CUdevice {
        CU_DEVICE_CPU = -1;
        CU_DEVICE_INVALID = -2;
    }
    CUdevice_attribute {
        CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1;
        CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10;
        CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13;
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
        CU_DEVICE_ATTRIBUTE_COMPUTE_MODE = 20;
        CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS = 31;
        CU_DEVICE_ATTRIBUTE_PCI_BUS_ID = 33;
        CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID = 34;
        CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE = 36;
        CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37;
        CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38;
        CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39;
        CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING = 41;
        CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID = 50;
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
        CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY = 83;
        CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS = 89;
        CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED = 102;
        CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED = 103;
        CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR = 106;
        CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115;
        CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES = 119;
        CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED = 128;
        CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED = 132;
    }
    CUlimit {
        CU_LIMIT_STACK_SIZE = 0;
        CU_LIMIT_PRINTF_FIFO_SIZE = 1;
        CU_LIMIT_MALLOC_HEAP_SIZE = 2;
        CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH = 3;
        CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT = 4;
        CU_LIMIT_MAX_L2_FETCH_GRANULARITY = 5;
        CU_LIMIT_PERSISTING_L2_CACHE_SIZE = 6;
    }
    CUmemLocationType {
        CU_MEM_LOCATION_TYPE_INVALID = 0;
        CU_MEM_LOCATION_TYPE_DEVICE = 1;
        CU_MEM_LOCATION_TYPE_HOST = 2;
        CU_MEM_LOCATION_TYPE_HOST_NUMA = 3;
        CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT = 4;
        CU_MEM_LOCATION_TYPE_INVISIBLE = 5;
        CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN = 6;
    }
    CUmemAllocationType {
        CU_MEM_ALLOCATION_TYPE_INVALID = 0;
        CU_MEM_ALLOCATION_TYPE_PINNED = 1;
        CU_MEM_ALLOCATION_TYPE_MANAGED = 2;
    }
    CUmemAllocationHandleType {
        CU_MEM_HANDLE_TYPE_NONE = 0;
        CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR = 1;
        CU_MEM_HANDLE_TYPE_WIN32 = 2;
        CU_MEM_HANDLE_TYPE_WIN32_KMT = 4;
        CU_MEM_HANDLE_TYPE_FABRIC = 8;
    }
    CUmemAllocationGranularity_flags {
        CU_MEM_ALLOC_GRANULARITY_MINIMUM = 0;
        CU_MEM_ALLOC_GRANULARITY_RECOMMENDED = 1;
    }
    CUmemAccess_flags {
        CU_MEM_ACCESS_FLAGS_PROT_NONE = 0;
        CU_MEM_ACCESS_FLAGS_PROT_READ = 1;
        CU_MEM_ACCESS_FLAGS_PROT_READWRITE = 3;
    }
    CUmemOperationType {
        CU_MEM_OPERATION_TYPE_MAP = 1;
        CU_MEM_OPERATION_TYPE_UNMAP = 2;
    }
    // Release threshold, and the *_MEM_* attributes, are u64 bytes; the REUSE switches are i32.
    CUmemPool_attribute {
        CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES = 1;
        CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC = 2;
        CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES = 3;
        CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4;
        CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT = 5;
        CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH = 6;
        CU_MEMPOOL_ATTR_USED_MEM_CURRENT = 7;
        CU_MEMPOOL_ATTR_USED_MEM_HIGH = 8;
    }
    // All four are u64 bytes.
    CUgraphMem_attribute {
        CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT = 0;
        CU_GRAPH_MEM_ATTR_USED_MEM_HIGH = 1;
        CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT = 2;
        CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH = 3;
    }
    CUgraphNodeType {
        CU_GRAPH_NODE_TYPE_KERNEL = 0;
        CU_GRAPH_NODE_TYPE_MEMCPY = 1;
        CU_GRAPH_NODE_TYPE_MEMSET = 2;
        CU_GRAPH_NODE_TYPE_HOST = 3;
        CU_GRAPH_NODE_TYPE_GRAPH = 4;
        CU_GRAPH_NODE_TYPE_EMPTY = 5;
        CU_GRAPH_NODE_TYPE_WAIT_EVENT = 6;
        CU_GRAPH_NODE_TYPE_EVENT_RECORD = 7;
        CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL = 8;
        CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT = 9;
        CU_GRAPH_NODE_TYPE_MEM_ALLOC = 10;
        CU_GRAPH_NODE_TYPE_MEM_FREE = 11;
        CU_GRAPH_NODE_TYPE_BATCH_MEM_OP = 12;
        CU_GRAPH_NODE_TYPE_CONDITIONAL = 13;
    }
    CUpointer_attribute {
        CU_POINTER_ATTRIBUTE_CONTEXT = 1;
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2;
        CU_POINTER_ATTRIBUTE_DEVICE_POINTER = 3;
        CU_POINTER_ATTRIBUTE_HOST_POINTER = 4;
        CU_POINTER_ATTRIBUTE_BUFFER_ID = 7;
        CU_POINTER_ATTRIBUTE_IS_MANAGED = 8;
        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9;
        CU_POINTER_ATTRIBUTE_RANGE_START_ADDR = 11;
        CU_POINTER_ATTRIBUTE_RANGE_SIZE = 12;
        CU_POINTER_ATTRIBUTE_MAPPED = 13;
        CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES = 14;
        CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE = 17;
        CU_POINTER_ATTRIBUTE_MAPPING_SIZE = 18;
        CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR = 19;
    }
    CUfunction_attribute {
        CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0;
        CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1;
        CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3;
        CU_FUNC_ATTRIBUTE_NUM_REGS = 4;
    }
    CUstreamCaptureStatus {
        CU_STREAM_CAPTURE_STATUS_NONE = 0;
        CU_STREAM_CAPTURE_STATUS_ACTIVE = 1;
        CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2;
    }
    CUstreamCaptureMode {
        CU_STREAM_CAPTURE_MODE_GLOBAL = 0;
        CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1;
        CU_STREAM_CAPTURE_MODE_RELAXED = 2;
    }
    CUdriverProcAddressQueryResult {
        CU_GET_PROC_ADDRESS_SUCCESS = 0;
        CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND = 1;
        CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT = 2;
    }
    cuuint64_t {
        CU_GET_PROC_ADDRESS_DEFAULT = 0;
        CU_GET_PROC_ADDRESS_LEGACY_STREAM = 1;
        CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM = 2;
        CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH = 1;
        CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD = 2;
        CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH = 4;
        CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY = 8;
    }
    CUmemorytype {
        CU_MEMORYTYPE_HOST = 1;
        CU_MEMORYTYPE_DEVICE = 2;
        CU_MEMORYTYPE_ARRAY = 3;
        CU_MEMORYTYPE_UNIFIED = 4;
    }
    CUexternalMemoryHandleType {
        CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD = 1;
        CU_EXTERNAL_MEMORY_HANDLE_TYPE_NVSCIBUF = 8;
        CU_EXTERNAL_MEMORY_HANDLE_TYPE_DMABUF_FD = 9;
    }
    CUexecAffinityType {
        CU_EXEC_AFFINITY_TYPE_SM_COUNT = 0;
    }
    CUarray_format {
        CU_AD_FORMAT_UNSIGNED_INT8 = 0x01;
        CU_AD_FORMAT_UNSIGNED_INT16 = 0x02;
        CU_AD_FORMAT_UNSIGNED_INT32 = 0x03;
        CU_AD_FORMAT_SIGNED_INT8 = 0x08;
        CU_AD_FORMAT_SIGNED_INT16 = 0x09;
        CU_AD_FORMAT_SIGNED_INT32 = 0x0a;
        CU_AD_FORMAT_HALF = 0x10;
        CU_AD_FORMAT_FLOAT = 0x20;
        CU_AD_FORMAT_NV12 = 0xb0;
    }
    CUlaunchAttributeID {
        CU_LAUNCH_ATTRIBUTE_COOPERATIVE = 2;
        CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4;
        CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6;
        CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT = 7;
        CU_LAUNCH_ATTRIBUTE_PRIORITY = 8;
    }
    u32 {
        CU_CTX_SCHED_AUTO = 0;
        CU_CTX_SCHED_SPIN = 1;
        CU_CTX_SCHED_YIELD = 2;
        CU_CTX_SCHED_BLOCKING_SYNC = 4;
        CU_CTX_MAP_HOST = 8;
        CU_CTX_LMEM_RESIZE_TO_MAX = 0x10;
        CU_STREAM_DEFAULT = 0;
        CU_STREAM_NON_BLOCKING = 1;
        CU_EVENT_DEFAULT = 0;
        CU_EVENT_BLOCKING_SYNC = 1;
        CU_EVENT_DISABLE_TIMING = 2;
        CU_EVENT_INTERPROCESS = 4;
        CU_MEM_ATTACH_GLOBAL = 1;
        CU_MEM_ATTACH_HOST = 2;
        CU_MEM_ATTACH_SINGLE = 4;
        CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS = 1;
        CU_MEMHOSTALLOC_PORTABLE = 1;
        CU_MEMHOSTALLOC_DEVICEMAP = 2;
        CU_MEMHOSTALLOC_WRITECOMBINED = 4;
        CUDA_ARRAY3D_LAYERED = 0x01;
        CUDA_ARRAY3D_SURFACE_LDST = 0x02;
        CUDA_ARRAY3D_CUBEMAP = 0x04;
        CUDA_ARRAY3D_TEXTURE_GATHER = 0x08;
        CUDA_ARRAY3D_DEPTH_TEXTURE = 0x10;
        CUDA_ARRAY3D_SPARSE = 0x40;
        CUDA_ARRAY3D_DEFERRED_MAPPING = 0x80;
    }
}
