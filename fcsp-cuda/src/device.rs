//! Devices as the driver describes them, and the facts kept for each.

use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_hook::backend::Devices;

use crate::driver::real;
use crate::ffi::cuda::{
    CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
    CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID,
    CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, CUDA_SUCCESS, CUcontext, CUdevice, CUdevice_attribute,
    CUuuid,
};
use crate::vendor::Cuda;

/// Facts kept for a device.
#[derive(Debug)]
pub struct PerDevice {
    /// Threads the device runs at once: bytes of stack a thread times this is what a stack limit
    /// costs.
    pub resident_threads: u64,
}

fn attribute(device: CUdevice, which: CUdevice_attribute) -> Option<i32> {
    let mut value = 0;
    // SAFETY: writes one integer that outlives the call.
    (unsafe { real::cuDeviceGetAttribute.get()?(&mut value, which, device) } == 0).then_some(value)
}

/// Returns a device attribute as a count; 0 where the driver does not tell it.
fn count_attribute(device: CUdevice, which: CUdevice_attribute) -> u64 {
    attribute(device, which)
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(0)
}

impl Devices for Cuda {
    type PerDevice = PerDevice;
    /// More than the 518 MiB of an H100 (driver 580), the most that we have seen.
    const CONTEXT_ESTIMATE: u64 = 640 << 20;

    /// `None` before `cuInit`.
    fn device_count() -> Option<i32> {
        let mut count = 0;
        // SAFETY: writes one integer that outlives the call.
        (unsafe { real::cuDeviceGetCount.get()?(&mut count) } == 0).then_some(count)
    }

    fn identify(ordinal: CUdevice) -> Option<DeviceIdentity> {
        let mut uuid = CUuuid::zeroed();
        // The second version tells MIG instances apart; the first is all that drivers before 11.4
        // have.
        let result = match real::cuDeviceGetUuid_v2.get() {
            // SAFETY: writes 16 bytes that outlive the call.
            Some(real) => unsafe { real(&mut uuid, ordinal) },
            // SAFETY: as above.
            None => unsafe { real::cuDeviceGetUuid.get()?(&mut uuid, ordinal) },
        };
        if result != 0 {
            return None;
        }
        let byte = |which| attribute(ordinal, which).and_then(|value| u8::try_from(value).ok());
        let pci = match (
            attribute(ordinal, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID),
            byte(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID),
            byte(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID),
        ) {
            (Some(domain), Some(bus), Some(device)) => Some(PciAddress {
                domain: domain.cast_unsigned(),
                bus,
                device,
                function: 0,
            }),
            _ => None,
        };
        Some(DeviceIdentity {
            index: Some(ordinal.cast_unsigned()),
            uuid: DeviceUuid(uuid.bytes),
            pci,
        })
    }

    fn total_memory(ordinal: CUdevice) -> u64 {
        let mut total = 0usize;
        if let Some(real) = real::cuDeviceTotalMem_v2.get() {
            // SAFETY: writes one integer that outlives the call. On failure the total stays 0.
            unsafe { real(&mut total, ordinal) };
        }
        total as u64
    }

    fn per_device(ordinal: CUdevice) -> PerDevice {
        PerDevice {
            resident_threads: count_attribute(ordinal, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
                * count_attribute(ordinal, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR),
        }
    }

    #[inline]
    fn current_context() -> Option<usize> {
        let mut context: CUcontext = core::ptr::null_mut();
        // SAFETY: writes one pointer that outlives the call.
        let result = unsafe { real::cuCtxGetCurrent.get()?(&mut context) };
        (result == CUDA_SUCCESS && !context.is_null()).then_some(context as usize)
    }

    fn device_of_current(_context: usize) -> Option<i32> {
        let mut device = -1;
        // SAFETY: writes one integer that outlives the call.
        let result = unsafe { real::cuCtxGetDevice.get()?(&mut device) };
        (result == CUDA_SUCCESS).then_some(device)
    }
}
