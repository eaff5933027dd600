//! The driver's own state on a device: memory that no allocation asks for.

use core::ffi::c_int;
use core::sync::atomic::Ordering;

use fcsp_hook::backend::Driver;
use fcsp_hook::device::Device;
use fcsp_hook::overhead::{context_died, context_ends, makes_context};
use fcsp_hook::process::Target;
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::call_real;
use crate::ffi::*;
use crate::vendor::Empty;

/// Returns the number that stands for the state in the neutral crates' allocation table.
fn context(ordinal: c_int) -> usize {
    ordinal as usize + 1
}

/// `emptySetDevice`: the first in a process takes memory.
pub unsafe extern "C" fn emptySetDevice(ordinal: c_int) -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        let call = || call_real!(emptySetDevice(ordinal));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let target = Empty::process().target_of(ordinal);
        let Target::Device(device, _) = target else {
            return makes_context(target, call, || 0, || {});
        };
        // One thread makes or ends the state at a time: who finds it there finds it counted.
        let _turn = device.context_turn();
        // Relaxed: written in the device's turn.
        if device.own.swap(true, Ordering::Relaxed) {
            return call();
        }
        let undo = || {
            call_real!(emptyReleaseDevice(ordinal));
        };
        let result = makes_context(target, call, || context(ordinal), undo);
        if result != EMPTY_SUCCESS {
            device.own.store(false, Ordering::Relaxed);
        }
        result
    })
}

/// `emptyReleaseDevice`.
pub unsafe extern "C" fn emptyReleaseDevice(ordinal: c_int) -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        let call = || call_real!(emptyReleaseDevice(ordinal));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let governed = Empty::process().governed();
        let _turn = governed
            .and_then(|all| all.device(ordinal))
            .map(Device::context_turn);
        // Before the call: a thread that launches must not find an event of ours in what ends.
        context_ends::<Empty>(Some(context(ordinal)));
        let result = call();
        if result == EMPTY_SUCCESS
            && let Target::Device(device, _) = Empty::process().target_of(ordinal)
        {
            device.own.store(false, Ordering::Relaxed);
            context_died::<Empty>(context(ordinal), Some(device));
        }
        result
    })
}

/// `emptyInit`: fails where the limits cannot be kept.
pub unsafe extern "C" fn emptyInit() -> emptyStatus {
    catch_panic(EMPTY_UNKNOWN, || {
        let result = call_real!(emptyInit());
        if result == EMPTY_SUCCESS && Empty::process().is_broken() {
            return EMPTY_NOT_INITIALIZED;
        }
        result
    })
}
