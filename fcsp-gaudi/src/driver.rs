//! The real functions: found once in Gaudi's own libraries, kept as plain addresses.

use fcsp_hook::library::Library;

use crate::ffi::{hlml, synapse};

/// The runtime. The vendor's packages put it into a folder of their own, which the dynamic linker
/// need not know.
pub static SYNAPSE: Library =
    Library::new(&[c"libSynapse.so", c"/usr/lib/habanalabs/libSynapse.so"]);
/// The management library.
pub static HLML: Library = Library::new(&[c"libhlml.so", c"/usr/lib/habanalabs/libhlml.so"]);

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    use super::{HLML, SYNAPSE, hlml, synapse};

    macro_rules! synapse_reals { ($($name:ident),* $(,)?) => { fcsp_hook::reals!(synapse, SYNAPSE: $($name),*); }; }
    macro_rules! hlml_reals { ($($name:ident),* $(,)?) => { fcsp_hook::reals!(hlml, HLML: $($name),*); }; }
    crate::for_each_synapse_hook!(synapse_reals);
    crate::for_each_hlml_hook!(hlml_reals);
    // Asked by the wrappers, not wrapped themselves.
    synapse_reals!(
        synDeviceGetCount,
        synDeviceGetModuleIDs,
        synDeviceGetPCIBusId,
        synEventCreate,
        synEventDestroy,
        synEventRecord,
        synEventQuery,
        synEventElapsedTime,
    );
    hlml_reals!(
        hlml_init,
        hlml_shutdown,
        hlml_device_get_count,
        hlml_device_get_handle_by_index,
        hlml_device_get_uuid,
        hlml_device_get_pci_info,
        hlml_device_get_module_id,
    );
}

/// Calls a real function of Synapse, or answers that the library lacks it.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!($crate::driver::real::$name, else $crate::ffi::synapse::synUnsupported; $($arg),*)
    };
}

/// Calls a real function of HLML, or answers that the library lacks it.
#[macro_export]
macro_rules! call_hlml {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!($crate::driver::real::$name, else $crate::ffi::hlml::HLML_ERROR_NOT_SUPPORTED; $($arg),*)
    };
}
