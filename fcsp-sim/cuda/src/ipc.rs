//! Memory handles between processes.

use crate::abi::Out;
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::{current, driver};
use crate::export::api;

/// A handle as it travels.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Handle([u8; 64]);

fn open(place: Out<u64>, handle: &Handle, flags: u32) -> Reply {
    place.need()?;
    let c = current()?;
    if flags > 1 {
        return Err(INVALID_VALUE);
    }
    place.put(driver()?.memory.ipc_open(&handle.0, c.tag())?)
}

api! {
    fn cuIpcGetMemHandle(handle: Out<Handle>, at: u64) {
        handle.need()?;
        current()?;
        crate::memory::settle(at)?;
        handle.put(Handle(driver()?.memory.ipc_export(at)?))
    }
    fn cuIpcOpenMemHandle, cuIpcOpenMemHandle_v2(place: Out<u64>, handle: Handle, flags: u32) {
        open(place, &handle, flags)
    }
    fn cuIpcCloseMemHandle(at: u64) {
        current()?;
        crate::memory::settle(at)?;
        Ok(driver()?.memory.ipc_close(at)?)
    }
}
