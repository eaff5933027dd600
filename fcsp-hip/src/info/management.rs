//! ROCm SMI as the tenant sees it: the quota is the device's memory, and only the tenant's own
//! processes run on it.
//!
//! A program that only looks (rocm-smi) never initialises the runtime, so nothing is attached for
//! it: it reads the tenant's region file from outside.

use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_hook::info::{View, names, own_processes, retain, visible_index};
use fcsp_hook::setup::{Reentry, catch_panic};

use super::process_memory::{address, unique};
use crate::driver::real;
use crate::ffi::rocm_smi::*;
use crate::vendor::Hip;

macro_rules! call_smi {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match real::$name.get() {
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to ROCm SMI.
            Some(real) => unsafe { real($($arg),*) },
            None => RSMI_STATUS_NOT_SUPPORTED,
        }
    };
}

/// Returns the runtime's identity of a device of ROCm SMI, as [`crate::device::identify`] finds it.
pub(super) fn identity(index: u32) -> Option<DeviceIdentity> {
    let pci = address(index).map(|(domain, bus, device)| PciAddress {
        domain,
        bus,
        device,
        function: 0,
    });
    let uuid = match unique(index) {
        Some(unique) => {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&unique.to_be_bytes());
            DeviceUuid(bytes)
        }
        None => crate::device::number_of(pci?),
    };
    Some(DeviceIdentity {
        uuid,
        index: visible_index("HIP_VISIBLE_DEVICES", index, |word| names(word, uuid)),
        pci,
    })
}

fn view(index: u32) -> Option<View> {
    let mut total = 0;
    if call_smi!(rsmi_dev_memory_total_get(
        index,
        RSMI_MEM_TYPE_VRAM,
        &mut total
    )) != RSMI_STATUS_SUCCESS
    {
        return None;
    }
    View::of(&identity(index)?, total)
}

/// Returns true if a kind of memory is the device's.
fn is_vram(kind: rsmi_memory_type_t) -> bool {
    matches!(kind, RSMI_MEM_TYPE_VRAM | RSMI_MEM_TYPE_VIS_VRAM)
}

macro_rules! memory {
    ($($name:ident: $field:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            dv_ind: uint32_t,
            mem_type: rsmi_memory_type_t,
            bytes: *mut uint64_t,
        ) -> rsmi_status_t {
            catch_panic(RSMI_STATUS_UNKNOWN_ERROR, || {
                let result = call_smi!($name(dv_ind, mem_type, bytes));
                if result == RSMI_STATUS_SUCCESS && is_vram(mem_type)
                    && let Some(_inside) = Reentry::enter()
                    && let Some(view) = view(dv_ind)
                {
                    // SAFETY: ROCm SMI has written there with success.
                    unsafe { *bytes = view.$field };
                }
                result
            })
        }
    )*};
}
memory! {
    rsmi_dev_memory_total_get: limit;
    rsmi_dev_memory_usage_get: used;
}

/// `rsmi_compute_process_info_get`: the tenant's own processes.
pub unsafe extern "C" fn rsmi_compute_process_info_get(
    procs: *mut rsmi_process_info_t,
    num_items: *mut uint32_t,
) -> rsmi_status_t {
    catch_panic(RSMI_STATUS_UNKNOWN_ERROR, || {
        let call = || call_smi!(rsmi_compute_process_info_get(procs, num_items));
        // A question for their number alone is answered with all there are: room for too many is no
        // harm.
        let result = call();
        if result == RSMI_STATUS_SUCCESS
            && !procs.is_null()
            && let Some(_inside) = Reentry::enter()
            && let Some(own) = own_processes::<Hip>()
        {
            // SAFETY: ROCm SMI has written `*num_items` entries with success.
            unsafe {
                *num_items = retain(procs, *num_items, |entry| own.keeps(&mut entry.process_id))
            };
        }
        result
    })
}

/// Returns the number under which the library lists a process. Returns `None` if the process is not
/// the tenant's.
pub(super) fn listed(pid: u32) -> Option<u32> {
    let own = Reentry::enter().and_then(|_inside| own_processes::<Hip>());
    own.map_or(Some(pid), |own| own.listed(pid))
}

macro_rules! by_process {
    ($($name:ident(pid $(, $arg:ident: $ty:ty)*) $(writes $place:ident)?;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: of the tenant's own processes.")]
        pub unsafe extern "C" fn $name(pid: uint32_t $(, $arg: $ty)*) -> rsmi_status_t {
            catch_panic(RSMI_STATUS_UNKNOWN_ERROR, || {
                let Some(listed) = listed(pid) else {
                    return RSMI_STATUS_NOT_FOUND;
                };
                let result = call_smi!($name(listed $(, $arg)*));
                $(
                    // SAFETY: with success ROCm SMI has filled the caller's structure.
                    if result == RSMI_STATUS_SUCCESS && let Some(info) = unsafe { $place.as_mut() } {
                        info.process_id = pid;
                    }
                )?
                result
            })
        }
    )*};
}
by_process! {
    rsmi_compute_process_info_by_pid_get(pid, proc_: *mut rsmi_process_info_t) writes proc_;
    rsmi_compute_process_info_by_device_get(pid, dv_ind: uint32_t, proc_: *mut rsmi_process_info_t) writes proc_;
    rsmi_compute_process_gpus_get(pid, dv_indices: *mut uint32_t, num_devices: *mut uint32_t);
}
