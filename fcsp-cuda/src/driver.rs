//! The real functions: found once in the driver's own library, kept as plain addresses.

use fcsp_hook::library::Library;
pub use fcsp_hook::library::Real;
use fcsp_hook::reals;

use crate::ffi::cuda as cu;
use crate::ffi::nvml as nv;

/// The CUDA driver.
pub static CUDA: Library = Library::new(&[c"libcuda.so.1"]);
/// The management library.
pub static NVML: Library = Library::new(&[c"libnvidia-ml.so.1"]);

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    use super::{CUDA, NVML, cu, nv, reals};

    macro_rules! cuda_reals { ($($name:ident),* $(,)?) => { reals!(cu, CUDA: $($name),*); }; }
    macro_rules! nvml_reals { ($($name:ident),* $(,)?) => { reals!(nv, NVML: $($name),*); }; }
    crate::for_each_cuda_hook!(cuda_reals);
    crate::for_each_nvml_hook!(nvml_reals);

    // Asked by the wrappers, not wrapped themselves.
    reals!(cu, CUDA:
        cuCtxFromGreenCtx, cuCtxGetCurrent, cuCtxGetDevice, cuCtxPopCurrent_v2, cuCtxPushCurrent_v2, cuCtxGetLimit,
        cuDeviceGetCount, cuDeviceGetAttribute, cuDeviceGetUuid, cuDeviceGetUuid_v2, cuDeviceGetDefaultMemPool,
        cuDeviceGetMemPool, cuDeviceGetGraphMemAttribute, cuDevicePrimaryCtxGetState, cuDriverGetVersion,
        cuMemPoolGetAttribute, cuPointerGetAttribute, cuStreamGetCtx,
        cuStreamGetCaptureInfo_v2, cuStreamIsCapturing, cuThreadExchangeStreamCaptureMode,
        cuGraphGetNodes, cuGraphNodeGetType, cuGraphKernelNodeGetParams_v2,
        cuGetErrorName, cuFuncGetName, cuKernelGetName, cuEventCreate, cuEventRecord, cuEventQuery,
        cuEventElapsedTime, cuEventElapsedTime_v2, cuEventDestroy_v2,
    );
    reals!(nv, NVML:
        nvmlInit_v2, nvmlDeviceGetHandleByUUID, nvmlDeviceGetUUID, nvmlDeviceGetIndex,
    );
}

/// Calls a real function, or answers that the driver lacks it.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!(
            $crate::driver::real::$name,
            else $crate::ffi::cuda::CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND;
            $($arg),*
        )
    };
}
