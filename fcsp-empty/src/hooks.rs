//! The list of wrapped functions.

use fcsp_hook::lookup::{Group, Lookup};

use crate::driver::EMPTY;
use crate::ffi;

/// Hands the names of wrapped functions to a macro. Sorted by name.
#[macro_export]
macro_rules! for_each_empty_hook {
    ($callback:ident) => {
        $callback! {
            emptyAlloc, emptyDeviceMemory, emptyDeviceProcesses, emptyFree, emptyInit, emptyLaunch, emptyReleaseDevice,
            emptySetDevice, emptySynchronize,
        }
    };
}

mod rooms {
    pub use crate::context::*;
    pub use crate::info::*;
    pub use crate::launch::*;
    pub use crate::memory::*;
}

macro_rules! gather { ($($name:ident),* $(,)?) => { fcsp_hook::gather!(rooms: $($name),*); }; }
macro_rules! table { ($($name:ident),* $(,)?) => { fcsp_hook::hooks!(ffi: $($name),*) }; }
for_each_empty_hook!(gather);

/// Every wrapped function.
pub static HOOKS: Lookup = Lookup::new(&[Group::new(&EMPTY, for_each_empty_hook!(table))]);
