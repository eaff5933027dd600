//! Devices as the driver describes them.

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_hook::backend::Devices;

use crate::ffi::acl::*;
use crate::info::process_memory;
use crate::vendor::Ascend;
use crate::{call_real, cores};

impl Devices for Ascend {
    type PerDevice = ();
    /// Not measured yet, for want of a device (docs/assumptions.md). What HCCL and operators take
    /// besides comes by calls that are counted.
    const CONTEXT_ESTIMATE: u64 = 256 << 20;

    fn check_settings() -> Result<(), String> {
        cores::setting().map(drop)
    }

    /// `None` before `aclInit`.
    fn device_count() -> Option<i32> {
        let mut count = 0;
        if call_real!(aclrtGetDeviceCount(&mut count)) != ACL_SUCCESS {
            return None;
        }
        i32::try_from(count).ok()
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
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

    fn total_memory(ordinal: i32) -> u64 {
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

    fn per_device(_ordinal: i32) {}

    fn current_context() -> Option<usize> {
        let mut context = core::ptr::null_mut();
        (call_real!(aclrtGetCurrentContext(&mut context)) == ACL_SUCCESS && !context.is_null())
            .then_some(context as usize)
    }

    fn device_of_current(_context: usize) -> Option<i32> {
        let mut device = -1;
        (call_real!(aclrtGetDevice(&mut device)) == ACL_SUCCESS).then_some(device)
    }
}
