//! The driver's figures for the card and for this process on it. A card has one process, which
//! therefore uses all memory that is not available.

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::MemoryReport;

use crate::device;
use crate::vendor::{Device, Gaudi, acquired};

impl MemoryReport for Gaudi {
    /// `None` if it is not the card that this process has.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        let own = device::find(acquired()?)?;
        let (free, total) = device::of_card()?;
        (own.identity.uuid == device.uuid).then(|| total.saturating_sub(free))
    }

    fn has_management() -> bool {
        true
    }

    fn free_by_driver(_device: &Device) -> Option<u64> {
        None
    }
}
