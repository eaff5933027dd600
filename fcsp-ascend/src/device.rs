//! What the driver says of its devices.

use fcsp_core::device::{DeviceIdentity, DeviceUuid};

use crate::call_real;
use crate::ffi::acl::*;
use crate::info::process_memory;

/// What a context is taken to hold, in bytes, until it is measured. Not measured yet, for want of a
/// device (docs/assumptions.md). What HCCL and operators take besides comes by calls that are
/// counted.
pub const CONTEXT_ESTIMATE: u64 = 256 << 20;

/// How many devices this process has; `None` before `aclInit`.
pub fn count() -> Option<i32> {
    let mut count = 0;
    if call_real!(aclrtGetDeviceCount(&mut count)) != ACL_SUCCESS {
        return None;
    }
    i32::try_from(count).ok()
}

/// Who the device is everywhere.
pub fn identify(ordinal: i32) -> Option<DeviceIdentity> {
    let mut uuid = aclrtUuid::zeroed();
    let bytes = if call_real!(aclrtDeviceGetUuid(ordinal, &mut uuid)) == ACL_SUCCESS {
        // `c_char` has a sign on x86-64 and none on aarch64.
        uuid.bytes.map(|byte| u8::from_ne_bytes(byte.to_ne_bytes()))
    } else {
        // Versions of CANN that cannot say: the virtual die's number is as good.
        process_memory::die(ordinal)?
    };
    Some(DeviceIdentity {
        index: Some(u32::try_from(ordinal).ok()?),
        uuid: DeviceUuid(bytes),
        pci: None,
    })
}

/// Bytes of the device's memory; 0 if it cannot be asked.
pub fn total_memory(ordinal: i32) -> u64 {
    let mut total = 0i64;
    let asked = u32::try_from(ordinal).unwrap_or(u32::MAX);
    if call_real!(aclrtGetDeviceInfo(
        asked,
        ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE,
        &mut total
    )) == ACL_SUCCESS
    {
        return u64::try_from(total).unwrap_or(0);
    }
    process_memory::of_chip(ordinal).map_or(0, |(total, _)| total)
}

/// The number in this process of a device that it has identified.
pub fn ordinal(device: &DeviceIdentity) -> Option<i32> {
    device.index.and_then(|index| i32::try_from(index).ok())
}
