//! The real functions: found once in Ascend's own libraries, kept as plain addresses.

use fcsp_hook::library::Library;
use fcsp_hook::reals;

use crate::ffi::{acl, dcmi, hccl, rt};

/// ACL, the compute language.
pub static ACL: Library = Library::new(&[c"libascendcl.so"]);
/// The runtime under it.
pub static RT: Library = Library::new(&[c"libruntime.so"]);
/// The collective library.
pub static HCCL: Library = Library::new(&[c"libhccl.so"]);
/// The management library.
pub static DCMI: Library = Library::new(&[c"libdcmi.so"]);

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    use super::{ACL, DCMI, HCCL, RT, acl, dcmi, hccl, reals, rt};

    macro_rules! acl_reals { ($($name:ident),* $(,)?) => { reals!(acl, ACL: $($name),*); }; }
    macro_rules! rt_reals { ($($name:ident),* $(,)?) => { reals!(rt, RT: $($name),*); }; }
    macro_rules! hccl_reals { ($($name:ident),* $(,)?) => { reals!(hccl, HCCL: $($name),*); }; }
    macro_rules! dcmi_reals { ($($name:ident),* $(,)?) => { reals!(dcmi, DCMI: $($name),*); }; }
    crate::for_each_acl_hook!(acl_reals);
    crate::for_each_rt_hook!(rt_reals);
    crate::for_each_hccl_hook!(hccl_reals);
    crate::for_each_dcmi_hook!(dcmi_reals);

    // Asked by the wrappers, not wrapped themselves.
    reals!(acl, ACL:
        aclrtGetDevice, aclrtGetDeviceCount, aclrtDeviceGetUuid, aclrtGetCurrentContext, aclGetDeviceCapability,
        aclrtCreateEventExWithFlag, aclrtRecordEvent, aclrtQueryEventStatus, aclrtEventElapsedTime,
        aclrtDestroyEvent, aclrtGetFunctionName, aclrtGetPrimaryCtxState, aclrtSetDeviceResLimit,
        aclrtResetDeviceResLimit, aclmdlRICaptureGetInfo, aclmdlRICaptureThreadExchangeMode,
    );
    reals!(dcmi, DCMI:
        dcmi_init, dcmi_get_card_list, dcmi_get_device_num_in_card, dcmi_get_device_logic_id,
        dcmi_get_device_die_v2,
    );
}

/// Calls a real function of ACL or the runtime, or answers that the library lacks it.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!(
            $crate::driver::real::$name,
            else $crate::ffi::acl::ACL_ERROR_API_NOT_SUPPORT;
            $($arg),*
        )
    };
}
