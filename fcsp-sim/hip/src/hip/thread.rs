//! Which device a thread works on. As with the real runtime a context is made by the first call
//! that needs one.

use crate::codes::{CONTEXT_IS_DESTROYED, INVALID_DEVICE, Reply};
use crate::driver::{current_or_none, driver, init, set_current};
use std::cell::Cell;

thread_local! {
    static DEVICE: Cell<i32> = const { Cell::new(0) };
}

/// Starts the runtime and gives the thread a context, anew if its own was reset.
pub fn ready() -> Reply {
    init()?;
    if let Some(c) = current_or_none()
        && c.usable() != Err(CONTEXT_IS_DESTROYED)
    {
        return Ok(());
    }
    // Never given back: a device's context lives until it is reset, whatever becomes of the
    // threads.
    let context = driver()?.primary_retain(DEVICE.with(Cell::get))?;
    crate::masks::of_process(context.ordinal);
    set_current(Some(context));
    Ok(())
}

/// `hipSetDevice`: takes effect with the next call that needs a context.
pub fn choose(device: i32) -> Reply {
    driver()?.device(device).map_err(|_| INVALID_DEVICE)?;
    DEVICE.with(|d| d.set(device));
    if current_or_none().is_some_and(|c| c.ordinal != device) {
        set_current(None);
    }
    Ok(())
}

/// Returns the thread's device.
pub fn chosen() -> i32 {
    current_or_none().map_or_else(|| DEVICE.with(Cell::get), |c| c.ordinal)
}
