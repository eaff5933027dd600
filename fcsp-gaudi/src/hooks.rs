//! The list of wrapped functions.

use fcsp_hook::lookup::{Group, Lookup};

use crate::driver::{HLML, SYNAPSE};

/// Hands the names of wrapped functions of Synapse to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_synapse_hook {
    ($callback:ident) => {
        $callback! {
            synDestroy, synDeviceAcquire, synDeviceAcquireByDeviceType, synDeviceAcquireByModuleId, synDeviceFree,
            synDeviceGetAttribute, synDeviceGetAttributeByModuleId, synDeviceGetInfo, synDeviceGetInfoV2,
            synDeviceGetMemoryInfo, synDeviceMalloc, synDeviceRelease, synLaunch, synLaunchExt,
            synLaunchWithExternalEvents, synLaunchWithExternalEventsExt, synRecipeDestroy,
        }
    };
}

/// Hands the names of wrapped functions of HLML to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_hlml_hook {
    ($callback:ident) => {
        $callback! { hlml_device_get_memory_info }
    };
}

mod rooms {
    pub use crate::context::*;
    pub use crate::info::management::*;
    pub use crate::info::memory::*;
    pub use crate::launch::*;
    pub use crate::memory::direct::*;
}

/// The function pointer types of both libraries under one roof, for the table.
mod types {
    pub use crate::ffi::hlml::*;
    pub use crate::ffi::synapse::*;
}

macro_rules! gather { ($($name:ident),* $(,)?) => { fcsp_hook::gather!(rooms: $($name),*); }; }
macro_rules! table { ($($name:ident),* $(,)?) => { fcsp_hook::hooks!(types: $($name),*) }; }
for_each_synapse_hook!(gather);
for_each_hlml_hook!(gather);

/// Every wrapped function.
pub static HOOKS: Lookup = Lookup::new(&[
    Group::new(&SYNAPSE, for_each_synapse_hook!(table)),
    Group::new(&HLML, for_each_hlml_hook!(table)),
]);
