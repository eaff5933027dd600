//! The driver's figures for the card and for this process on it. A card has one process, which
//! therefore uses all memory that is not available.

use fcsp_core::device::DeviceIdentity;

use crate::call_real;
use crate::device;
use crate::ffi::synapse::*;
use crate::process::{DEVICE, acquired};

/// Returns the available and all bytes of this process's card, by Synapse.
pub fn of_card() -> Option<(u64, u64)> {
    let (mut free, mut total) = (0, 0);
    let result = call_real!(synDeviceGetMemoryInfo(DEVICE, &mut free, &mut total));
    (result == synSuccess).then_some((free, total))
}

/// Returns the bytes that the driver reports for this process on a card. Returns `None` if it is
/// not this process's card.
pub fn of_this_process(device: &DeviceIdentity) -> Option<u64> {
    let own = device::find(acquired()?)?;
    let (free, total) = of_card()?;
    (own.identity.uuid == device.uuid).then(|| total.saturating_sub(free))
}
