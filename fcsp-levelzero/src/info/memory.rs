//! Properties of devices and of the driver, as the core tells them.

use core::ffi::c_void;

use crate::call_real;
use crate::device::target_of;
use crate::ffi::ze::*;
use crate::vendor::{Reentry, Target, catch_panic};

/// `part` of `whole`, of `of` bytes: what each of several memories shows of one quota.
pub fn portion(of: u64, part: u64, whole: u64) -> u64 {
    if part >= whole {
        return of;
    }
    (u128::from(of) * u128::from(part) / u128::from(whole.max(1))) as u64
}

/// `zeDeviceGetMemoryProperties`: the quota as the size of the memory. Where a device has several,
/// each shows its portion.
pub unsafe extern "C" fn zeDeviceGetMemoryProperties(
    hDevice: ze_device_handle_t,
    pCount: *mut u32,
    pMemProperties: *mut ze_device_memory_properties_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeDeviceGetMemoryProperties(hDevice, pCount, pMemProperties));
        if result != ZE_RESULT_SUCCESS || pMemProperties.is_null() {
            return result;
        }
        let Some(_inside) = Reentry::enter() else {
            return result;
        };
        if let Target::Device(device, _) = target_of(hDevice) {
            let usage = device.usage_as_known();
            // SAFETY: the driver has written `*pCount` entries with success.
            let memories =
                unsafe { core::slice::from_raw_parts_mut(pMemProperties, *pCount as usize) };
            for memory in memories {
                memory.totalSize = portion(usage.visible_total(), memory.totalSize, usage.total)
                    .min(memory.totalSize);
            }
        }
        result
    })
}

/// Limits the largest allocation to the quota.
pub(super) fn bound(device: ze_device_handle_t, properties: &mut ze_device_properties_t) {
    if let Some(_inside) = Reentry::enter()
        && let Target::Device(device, _) = target_of(device)
    {
        let most = device.usage_as_known().visible_total();
        properties.maxMemAllocSize = properties.maxMemAllocSize.min(most);
    }
}

/// `zeDeviceGetProperties`: the largest allocation.
pub unsafe extern "C" fn zeDeviceGetProperties(
    hDevice: ze_device_handle_t,
    pDeviceProperties: *mut ze_device_properties_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeDeviceGetProperties(hDevice, pDeviceProperties));
        if result == ZE_RESULT_SUCCESS {
            // SAFETY: the driver has written there with success.
            bound(hDevice, unsafe { &mut *pDeviceProperties });
        }
        result
    })
}

/// Structure type of the extension by which a driver says that its handles lead to its functions,
/// and the flag that says so.
const DDI_HANDLES: ze_structure_type_t = 0x2_0027;
const DDI_HANDLES_SUPPORTED: u32 = 1;

/// That extension.
#[repr(C)]
struct DdiHandles {
    head: ze_base_properties_t,
    flags: u32,
}

/// `zeDriverGetProperties`: a static loader that is told that handles lead to the driver's
/// functions would take them from there and pass the wrappers by, so it is not told.
pub unsafe extern "C" fn zeDriverGetProperties(
    hDriver: ze_driver_handle_t,
    pDriverProperties: *mut ze_driver_properties_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeDriverGetProperties(hDriver, pDriverProperties));
        if result != ZE_RESULT_SUCCESS {
            return result;
        }
        // SAFETY: the driver has written there, and followed the caller's chain of extensions, with
        // success.
        unsafe {
            let mut next: *mut c_void = (*pDriverProperties).pNext;
            while let Some(part) = next.cast::<ze_base_properties_t>().as_mut() {
                if part.stype == DDI_HANDLES {
                    (*next.cast::<DdiHandles>()).flags &= !DDI_HANDLES_SUPPORTED;
                }
                next = part.pNext;
            }
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::portion;

    #[test]
    fn memories_share_a_quota_by_their_sizes() {
        assert_eq!(portion(1 << 30, 64 << 30, 64 << 30), 1 << 30);
        assert_eq!(portion(1 << 30, 32 << 30, 64 << 30), 1 << 29);
        assert_eq!(portion(u64::MAX, 1, 2), u64::MAX / 2);
        assert_eq!(portion(5, 0, 0), 5);
    }
}
