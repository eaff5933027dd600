//! How many cores operators may use. A count, not a place: limits of two processes may fall on the
//! same cores.

use crate::abi::Out;
use crate::codes::{CONTEXT_NULL, PARAM_INVALID, Reply};
use crate::driver::{Open, current, driver};
use crate::export::api;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const CUBE: i32 = 0;
const VECTOR: i32 = 1;

fn most(device: i32, kind: i32) -> Reply<u32> {
    let cores = driver()?.spec(device)?.sm;
    match kind {
        CUBE => Ok(cores),
        VECTOR => Ok(2 * cores),
        _ => Err(PARAM_INVALID),
    }
}

/// Returns the device if this thread's context is on it: limits are of a process's open device.
fn open(device: i32) -> Reply<Arc<Open>> {
    let c = current()?;
    if c.open.ordinal == device {
        Ok(c.open.clone())
    } else {
        Err(CONTEXT_NULL)
    }
}

api! {
    fn rtsGetDeviceResLimit(device: i32, kind: i32, value: Out<u32>) {
        let most = most(device, kind)?;
        let now = open(device)?.cores[kind as usize].load(Relaxed);
        value.put(if now == 0 { most } else { now })
    }
    fn rtsSetDeviceResLimit(device: i32, kind: i32, value: u32) {
        if value == 0 || value > most(device, kind)? {
            return Err(PARAM_INVALID);
        }
        open(device)?.cores[kind as usize].store(value, Relaxed);
        Ok(())
    }
    fn rtsResetDeviceResLimit(device: i32) {
        let open = open(device)?;
        open.cores.iter().for_each(|c| c.store(0, Relaxed));
        Ok(())
    }
}
