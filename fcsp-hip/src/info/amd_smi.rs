//! AMD SMI as the tenant sees it: as [`super::management`] for ROCm SMI, whose successor it is.

use fcsp_core::device::{DeviceIdentity, PciAddress};
use fcsp_hook::info::{View, own_processes, retain};
use fcsp_hook::setup::{Reentry, catch_panic};

use super::{management, process_memory};
use crate::driver::real;
use crate::ffi::amd_smi::*;
use crate::vendor::Hip;

const MIB: u64 = 1 << 20;

macro_rules! call_smi {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match real::$name.get() {
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to AMD SMI.
            Some(real) => unsafe { real($($arg),*) },
            None => AMDSMI_STATUS_NOT_SUPPORTED,
        }
    };
}

/// Returns the PCI address of a device.
fn place(processor: amdsmi_processor_handle) -> Option<PciAddress> {
    let mut packed = 0;
    let result = call_smi!(amdsmi_get_gpu_device_bdf(processor, &mut packed));
    (result == AMDSMI_STATUS_SUCCESS).then_some(PciAddress {
        domain: (packed >> 16) as u32,
        bus: (packed >> 8) as u8,
        device: (packed >> 3 & 0x1f) as u8,
        function: (packed & 7) as u8,
    })
}

/// Returns the identity of a device. By its PCI address it is a device of ROCm SMI; without that
/// library, the address alone identifies it.
fn identity(processor: amdsmi_processor_handle) -> Option<DeviceIdentity> {
    let pci = place(processor)?;
    let same =
        |index: &u32| process_memory::address(*index) == Some((pci.domain, pci.bus, pci.device));
    (0..process_memory::count())
        .find(same)
        .and_then(management::identity)
        .or_else(|| {
            Some(DeviceIdentity {
                uuid: crate::device::number_of(pci),
                index: None,
                pci: Some(pci),
            })
        })
}

fn view(processor: amdsmi_processor_handle) -> Option<View> {
    let mut total = 0;
    let result = call_smi!(amdsmi_get_gpu_memory_total(
        processor,
        AMDSMI_MEM_TYPE_VRAM,
        &mut total
    ));
    if result != AMDSMI_STATUS_SUCCESS {
        return None;
    }
    View::of(&identity(processor)?, total)
}

/// Returns a size in MiB, rounded up.
fn mebibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX)
}

macro_rules! memory {
    ($($name:ident: $field:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            processor_handle: amdsmi_processor_handle,
            mem_type: amdsmi_memory_type_t,
            bytes: *mut u64,
        ) -> amdsmi_status_t {
            catch_panic(AMDSMI_STATUS_UNKNOWN_ERROR, || {
                let result = call_smi!($name(processor_handle, mem_type, bytes));
                if result == AMDSMI_STATUS_SUCCESS
                    && matches!(mem_type, AMDSMI_MEM_TYPE_VRAM | AMDSMI_MEM_TYPE_VIS_VRAM)
                    && let Some(_inside) = Reentry::enter()
                    && let Some(view) = view(processor_handle)
                {
                    // SAFETY: AMD SMI has written there with success.
                    unsafe { *bytes = view.$field };
                }
                result
            })
        }
    )*};
}
memory! {
    amdsmi_get_gpu_memory_total: limit;
    amdsmi_get_gpu_memory_usage: used;
}

macro_rules! structures {
    ($($name:ident($form:ty) |$info:ident, $view:ident| $change:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(processor_handle: amdsmi_processor_handle, info: *mut $form) -> amdsmi_status_t {
            catch_panic(AMDSMI_STATUS_UNKNOWN_ERROR, || {
                let result = call_smi!($name(processor_handle, info));
                if result == AMDSMI_STATUS_SUCCESS
                    && let Some(_inside) = Reentry::enter()
                    && let Some($view) = view(processor_handle)
                {
                    // SAFETY: AMD SMI has filled the caller's structure with success.
                    let $info = unsafe { &mut *info };
                    $change;
                }
                result
            })
        }
    )*};
}
structures! {
    amdsmi_get_gpu_vram_usage(amdsmi_vram_usage_t) |info, view| {
        info.vram_total = mebibytes(view.limit);
        info.vram_used = mebibytes(view.used);
    };
    amdsmi_get_gpu_vram_info(amdsmi_vram_info_t) |info, view| {
        info.vram_size = u64::from(mebibytes(view.limit));
    };
}

/// `amdsmi_get_gpu_process_list`: the tenant's own processes.
pub unsafe extern "C" fn amdsmi_get_gpu_process_list(
    processor_handle: amdsmi_processor_handle,
    max_processes: *mut u32,
    list: *mut amdsmi_proc_info_t,
) -> amdsmi_status_t {
    catch_panic(AMDSMI_STATUS_UNKNOWN_ERROR, || {
        let result = call_smi!(amdsmi_get_gpu_process_list(
            processor_handle,
            max_processes,
            list
        ));
        if result == AMDSMI_STATUS_SUCCESS
            && !list.is_null()
            && let Some(_inside) = Reentry::enter()
            && let Some(own) = own_processes::<Hip>()
        {
            // SAFETY: AMD SMI has written `*max_processes` entries with success.
            unsafe {
                *max_processes = retain(list, *max_processes, |entry| own.keeps(&mut entry.pid))
            };
        }
        result
    })
}

/// `amdsmi_get_gpu_compute_process_info`: the tenant's own processes.
pub unsafe extern "C" fn amdsmi_get_gpu_compute_process_info(
    procs: *mut amdsmi_process_info_t,
    num_items: *mut u32,
) -> amdsmi_status_t {
    catch_panic(AMDSMI_STATUS_UNKNOWN_ERROR, || {
        let result = call_smi!(amdsmi_get_gpu_compute_process_info(procs, num_items));
        if result == AMDSMI_STATUS_SUCCESS
            && !procs.is_null()
            && let Some(_inside) = Reentry::enter()
            && let Some(own) = own_processes::<Hip>()
        {
            // SAFETY: AMD SMI has written `*num_items` entries with success.
            unsafe {
                *num_items = retain(procs, *num_items, |entry| own.keeps(&mut entry.process_id))
            };
        }
        result
    })
}

macro_rules! by_process {
    ($($name:ident(pid $(, $arg:ident: $ty:ty)*) $(writes $place:ident)?;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: of the tenant's own processes.")]
        pub unsafe extern "C" fn $name(pid: u32 $(, $arg: $ty)*) -> amdsmi_status_t {
            catch_panic(AMDSMI_STATUS_UNKNOWN_ERROR, || {
                let Some(listed) = management::listed(pid) else {
                    return AMDSMI_STATUS_NOT_FOUND;
                };
                let result = call_smi!($name(listed $(, $arg)*));
                $(
                    // SAFETY: with success AMD SMI has filled the caller's structure.
                    if result == AMDSMI_STATUS_SUCCESS && let Some(info) = unsafe { $place.as_mut() } {
                        info.process_id = pid;
                    }
                )?
                result
            })
        }
    )*};
}
by_process! {
    amdsmi_get_gpu_compute_process_info_by_pid(pid, info: *mut amdsmi_process_info_t) writes info;
    amdsmi_get_gpu_compute_process_gpus(pid, dv_indices: *mut u32, num_devices: *mut u32);
}
