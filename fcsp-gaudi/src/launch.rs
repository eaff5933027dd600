//! Launches of recipes. A process that acquires a card has all of its time, so launches are never
//! held back.
//!
//! Their device time is counted where `FCSP_ACCOUNT_TIME` asks for it; otherwise they go straight
//! to the driver.

use fcsp_hook::backend::Capture;
use fcsp_hook::launch::{self, admits_graph, is_unthrottled};
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::call_real;
use crate::driver::real;
use crate::ffi::synapse::*;
use crate::vendor::Gaudi;

impl Capture for Gaudi {
    type Beside = ();

    fn beside_recordings() {}
}

/// Wraps launches: a recipe is one key, as a graph is elsewhere.
macro_rules! launches {
    ($($name:ident($($arg:ident: $ty:ty),* $(,)?);)*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`.")]
            $name(
                streamHandle: synStreamHandle, tensors: *const synLaunchTensorInfo, count: u32, workspace: u64,
                recipe: synRecipeHandle, $($arg: $ty),*
            ) -> synStatus,
            real::$name,
            bypass is_unthrottled::<Gaudi>(),
            within Reentry::is_up(),
            admitted admits_graph::<Gaudi>(recipe as usize, streamHandle as usize),
            mark Reentry::raise(),
            asking {
                let call = || call_real!($name(streamHandle, tensors, count, workspace, recipe, $($arg),*));
                let Some(_inside) = Reentry::enter() else { return call() };
                launch::graph::<Gaudi>(recipe as usize, streamHandle as usize, call)
            }
        }
    )*};
}
launches! {
    synLaunch(flags: u32);
    synLaunchExt(flags: u32);
    synLaunchWithExternalEvents(events: *mut synEventHandle, eventCount: u32, flags: u32);
    synLaunchWithExternalEventsExt(events: *mut synEventHandle, eventCount: u32, flags: u32);
}

/// `synRecipeDestroy`: its handle may be another recipe's next, whose cost is its own.
pub unsafe extern "C" fn synRecipeDestroy(recipeHandle: synRecipeHandle) -> synStatus {
    catch_panic(synFail, || {
        launch::graph_ends::<Gaudi>(recipeHandle as usize);
        call_real!(synRecipeDestroy(recipeHandle))
    })
}
