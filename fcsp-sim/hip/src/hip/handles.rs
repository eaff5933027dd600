//! Which handles HIP's runtime looks up, with which code it refuses one that is none, and which it
//! follows as pointers.
//!
//! After the published sources of the runtime of HIP 7 (`projects/clr/hipamd/src` of ROCm's
//! systems), where CUDA's driver was seen to do otherwise. Streams are followed since HIP 7.0 ("HIP
//! APIs with streams passed as input parameters no longer check the stream validity"), and so are
//! events but for their destruction, pools but for theirs, functions and physical memory. Modules,
//! arrays, graphs, their nodes and executables are looked up.

use crate::codes::{CONTEXT_IS_DESTROYED, Code, INVALID_HANDLE, INVALID_VALUE, NOT_FOUND, Reply};
use crate::driver::driver;
use fcsp_sim::table::Table;

/// Refuses a handle that names nothing in a table. The null handle is left to the driver's
/// function.
fn known<T>(table: &Table<T>, handle: u64, refusal: Code) -> Reply {
    if handle == 0 || table.look_up(handle).is_ok() {
        return Ok(());
    }
    Err(refusal)
}

/// `hipEventDestroy` takes the event out of a set: `hipErrorContextIsDestroyed` if it is not there.
pub fn event_to_destroy(event: u64) -> Reply {
    known(&driver()?.events, event, CONTEXT_IS_DESTROYED)
}

/// Calls on a pool follow it.
pub fn pool(pool: u64) -> Reply {
    if pool != 0 {
        driver()?
            .pool_handles
            .get(pool)
            .map_err(|_| INVALID_VALUE)?;
    }
    Ok(())
}

/// `hipMemPoolDestroy` asks every device (`IsMemPoolValid`): `hipErrorInvalidValue`.
pub fn pool_to_destroy(pool: u64) -> Reply {
    known(&driver()?.pool_handles, pool, INVALID_VALUE)
}

/// Modules are found in a map (`PlatformState`): `hipErrorNotFound`.
pub fn module(module: u64) -> Reply {
    known(&driver()?.modules, module, NOT_FOUND)
}

/// Descriptions of arrays are refused by `hipErrorInvalidHandle` (`ihipArray3DGetDescriptor`).
pub fn array(array: u64) -> Reply {
    known(&driver()?.arrays, array, INVALID_HANDLE)
}

/// `ihipArrayDestroy` takes the array out of a set: `hipErrorContextIsDestroyed`.
pub fn array_to_destroy(array: u64) -> Reply {
    known(&driver()?.arrays, array, CONTEXT_IS_DESTROYED)
}

/// Physical memory is followed, released or not (`hip::GenericAllocation`).
pub fn physical(handle: u64) -> Reply {
    if handle != 0 {
        driver()?.physical.get(handle).map_err(|_| INVALID_VALUE)?;
    }
    Ok(())
}
