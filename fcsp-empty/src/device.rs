//! Devices, and the state that is kept for each.

use core::sync::atomic::AtomicBool;

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::Devices;

use crate::call_real;
use crate::ffi::*;
use crate::vendor::Empty;

impl Devices for Empty {
    /// True once this process has chosen the device.
    type PerDevice = AtomicBool;
    const CONTEXT_ESTIMATE: u64 = 64 << 20;

    fn device_count() -> Option<i32> {
        let mut count = 0;
        (call_real!(emptyDeviceCount(&mut count)) == EMPTY_SUCCESS).then_some(count)
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        let mut uuid = [0; 16];
        (call_real!(emptyDeviceUuid(ordinal, &mut uuid)) == EMPTY_SUCCESS).then_some(
            DeviceIdentity {
                index: Some(ordinal.cast_unsigned()),
                uuid: DeviceUuid(uuid),
                pci: None,
            },
        )
    }

    fn total_memory(ordinal: i32) -> u64 {
        let (mut free, mut total) = (0, 0);
        call_real!(emptyDeviceMemory(ordinal, &mut free, &mut total));
        total as u64
    }

    fn per_device(_ordinal: i32) -> AtomicBool {
        AtomicBool::new(false)
    }

    // No contexts: the current device stands for one, and 0 is none.
    fn current_context() -> Option<usize> {
        let mut ordinal = 0;
        (call_real!(emptyGetDevice(&mut ordinal)) == EMPTY_SUCCESS).then_some(ordinal as usize + 1)
    }

    fn device_of_current(context: usize) -> Option<i32> {
        i32::try_from(context - 1).ok()
    }
}
