//! What the driver says of the card and of this process on it. A card has one process: whatever is
//! missing of its memory is that process's.

use fcsp_core::device::DeviceIdentity;

use crate::call_real;
use crate::device;
use crate::ffi::synapse::*;
use crate::process::{DEVICE, acquired};

/// Free and all bytes of the card that this process has, as Synapse says.
pub fn of_card() -> Option<(u64, u64)> {
    let (mut free, mut total) = (0, 0);
    let result = call_real!(synDeviceGetMemoryInfo(DEVICE, &mut free, &mut total));
    (result == synSuccess).then_some((free, total))
}

/// Bytes the driver holds for this process on a card; `None` if it is not the card that this
/// process has.
pub fn of_this_process(device: &DeviceIdentity) -> Option<u64> {
    let own = device::find(acquired()?)?;
    let (free, total) = of_card()?;
    (own.identity.uuid == device.uuid).then(|| total.saturating_sub(free))
}
