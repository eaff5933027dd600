//! The real functions: found once in the runtime's own library, kept as plain addresses.

use fcsp_hook::library::Library;
pub use fcsp_hook::library::Real;
use fcsp_hook::reals;

use crate::ffi::amd_smi as amd;
use crate::ffi::hip as hp;
use crate::ffi::rocm_smi as smi;

/// The HIP runtime: of ROCm 7, 6 and 5.
pub static HIP: Library = Library::new(&[
    c"libamdhip64.so.7",
    c"libamdhip64.so.6",
    c"libamdhip64.so.5",
]);
/// The management library, whose number of major changes went another way than the runtime's.
pub static ROCM_SMI: Library = Library::new(&[
    c"librocm_smi64.so.1",
    c"librocm_smi64.so.7",
    c"librocm_smi64.so.6",
    c"librocm_smi64.so.5",
]);

/// The newer management library: of ROCm 7 and 6, and by the name that its Python bindings use.
pub static AMD_SMI: Library = Library::new(&[
    c"libamd_smi.so.26",
    c"libamd_smi.so.25",
    c"libamd_smi.so.24",
    c"libamd_smi.so",
]);

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    use super::{AMD_SMI, HIP, ROCM_SMI, amd, hp, reals, smi};

    macro_rules! hip_reals { ($($name:ident),* $(,)?) => { reals!(hp, HIP: $($name),*); }; }
    macro_rules! smi_reals { ($($name:ident),* $(,)?) => { reals!(smi, ROCM_SMI: $($name),*); }; }
    crate::for_each_hip_hook!(hip_reals);
    crate::for_each_hip_cpp_hook!(hip_reals);
    crate::for_each_rocm_smi_hook!(smi_reals);
    macro_rules! amd_reals { ($($name:ident),* $(,)?) => { reals!(amd, AMD_SMI: $($name),*); }; }
    crate::for_each_amd_smi_hook!(amd_reals);

    // Asked by the wrappers, not wrapped themselves.
    reals!(hp, HIP:
        hipGetDevice, hipGetDeviceCount, hipDeviceGetUuid, hipDeviceGetMemPool, hipMemPoolGetAttribute,
        hipDeviceGetGraphMemAttribute, hipDeviceGetLimit, hipPointerGetAttributes, hipStreamIsCapturing,
        hipStreamGetCaptureInfo_v2, hipThreadExchangeStreamCaptureMode, hipStreamGetDevice,
        hipEventCreateWithFlags, hipEventDestroy, hipEventRecord, hipEventQuery, hipEventElapsedTime, hipDriverGetVersion,
        hipKernelNameRef, hipKernelNameRefByPtr,
    );
    reals!(amd, AMD_SMI: amdsmi_get_gpu_device_bdf);
    reals!(smi, ROCM_SMI:
        rsmi_init, rsmi_num_monitor_devices, rsmi_dev_pci_id_get, rsmi_dev_unique_id_get,
    );
}

/// Calls a real function, or answers that the runtime lacks it.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!(
            $crate::driver::real::$name,
            else $crate::ffi::hip::hipErrorSharedObjectSymbolNotFound;
            $($arg),*
        )
    };
}
