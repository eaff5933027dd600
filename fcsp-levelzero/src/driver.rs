//! The real functions: found once in the loader's library, or in the driver's own where this
//! library is itself a driver to the loader; kept as plain addresses.

use fcsp_hook::library::Library;
pub use fcsp_hook::library::Real;
use fcsp_hook::reals;

use crate::ffi::all;

/// Library behind the wrappers: the loader, or the driver that [`crate::loader`] puts in its place.
pub static ZE: Library = Library::new(&[c"libze_loader.so.1"]);

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    use super::{ZE, all, reals};

    macro_rules! hooked { ($($name:ident),* $(,)?) => { reals!(all, ZE: $($name),*); }; }
    crate::for_each_hook!(hooked);

    // Asked by the wrappers, not wrapped themselves.
    reals!(all, ZE:
        zeDriverGet, zeDeviceGet, zeDeviceGetSubDevices, zeDevicePciGetPropertiesExt,
        zeDeviceGetCommandQueueGroupProperties, zeMemGetAllocProperties, zeKernelGetName, zeEventPoolCreate,
        zeEventPoolDestroy, zeEventCreate, zeEventDestroy, zeEventHostReset, zeEventQueryStatus,
        zeEventQueryKernelTimestamp, zeCommandListClose, zeCommandListAppendBarrier,
        zeImageGetMemoryPropertiesExp,
    );
}

/// Calls a real function, or answers that there is none.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!(
            $crate::driver::real::$name,
            else $crate::ffi::ze::ZE_RESULT_ERROR_UNSUPPORTED_FEATURE;
            $($arg),*
        )
    };
}
