//! DCMI as the tenant sees it: the quota is the chip's memory, and only the tenant's own processes
//! run on it.
//!
//! A program that only looks (`npu-smi`) never uses a device, so nothing is attached for it: it
//! reads the tenant's region file from outside. Which device a chip is, ACL is asked; where there
//! is no ACL, figures stay the chip's own.

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::Devices;
use fcsp_hook::info::{View, own_processes, retain, visible_index};
use fcsp_hook::setup::catch_panic;

use super::process_memory::VISIBLE;
use crate::call_dcmi;
use crate::ffi::dcmi::*;
use crate::vendor::Ascend;

const MEBIBYTE: u64 = 1 << 20;

/// Returns the device that a chip is to programs of this environment.
fn device(card: i32, chip: i32) -> Option<DeviceIdentity> {
    let mut number = -1;
    if call_dcmi!(dcmi_get_device_logic_id(&mut number, card, chip)) != DCMI_OK {
        return None;
    }
    let index = visible_index(VISIBLE, u32::try_from(number).ok()?, |_| false)?;
    Ascend::identify(i32::try_from(index).ok()?)
}

/// Returns the tenant's view of a chip of `size` MiB, in MiB: all, used.
fn view(card: i32, chip: i32, size: u64) -> Option<(u64, u64)> {
    let view = View::of(&device(card, chip)?, size * MEBIBYTE)?;
    Some((view.limit / MEBIBYTE, view.used.div_ceil(MEBIBYTE)))
}

/// `dcmi_get_device_hbm_info`.
pub unsafe extern "C" fn dcmi_get_device_hbm_info(
    card_id: i32,
    device_id: i32,
    hbm_info: *mut dcmi_hbm_info,
) -> dcmi_result {
    catch_panic(DCMI_ERR_CODE_INNER_ERR, || {
        let result = call_dcmi!(dcmi_get_device_hbm_info(card_id, device_id, hbm_info));
        if result == DCMI_OK {
            // SAFETY: DCMI has written there with success.
            let info = unsafe { &mut *hbm_info };
            if let Some((size, used)) = view(card_id, device_id, info.memory_size) {
                info.memory_size = size;
                info.memory_usage = used.min(size);
            }
        }
        result
    })
}

/// `dcmi_get_device_memory_info_v2`.
pub unsafe extern "C" fn dcmi_get_device_memory_info_v2(
    card_id: i32,
    device_id: i32,
    memory_info: *mut dcmi_memory_info,
) -> dcmi_result {
    catch_panic(DCMI_ERR_CODE_INNER_ERR, || {
        let result = call_dcmi!(dcmi_get_device_memory_info_v2(
            card_id,
            device_id,
            memory_info
        ));
        if result == DCMI_OK {
            // SAFETY: DCMI has written there with success.
            let info = unsafe { &mut *memory_info };
            if let Some((size, used)) = view(card_id, device_id, info.memory_size) {
                info.memory_size = size;
                info.utiliza = (100 * used.min(size) / size.max(1)) as u32;
            }
        }
        result
    })
}

/// `dcmi_get_device_memory_info_v3`.
pub unsafe extern "C" fn dcmi_get_device_memory_info_v3(
    card_id: i32,
    device_id: i32,
    memory_info: *mut dcmi_get_memory_info_stru,
) -> dcmi_result {
    catch_panic(DCMI_ERR_CODE_INNER_ERR, || {
        let result = call_dcmi!(dcmi_get_device_memory_info_v3(
            card_id,
            device_id,
            memory_info
        ));
        if result == DCMI_OK {
            // SAFETY: DCMI has written there with success.
            let info = unsafe { &mut *memory_info };
            if let Some((size, used)) = view(card_id, device_id, info.memory_size) {
                let pages = |mebibytes: u64| mebibytes * 1024 / info.hugepagesize.max(1);
                info.memory_size = size;
                info.memory_available = (size - used.min(size)).min(info.memory_available);
                info.hugepages_total = info.hugepages_total.min(pages(size));
                info.hugepages_free = info.hugepages_free.min(pages(info.memory_available));
                info.utiliza = (100 * used.min(size) / size.max(1)) as u32;
            }
        }
        result
    })
}

/// `dcmi_get_device_resource_info`: the tenant's own processes.
pub unsafe extern "C" fn dcmi_get_device_resource_info(
    card_id: i32,
    device_id: i32,
    proc_info: *mut dcmi_proc_mem_info,
    proc_num: *mut i32,
) -> dcmi_result {
    catch_panic(DCMI_ERR_CODE_INNER_ERR, || {
        let result = call_dcmi!(dcmi_get_device_resource_info(
            card_id, device_id, proc_info, proc_num
        ));
        if result == DCMI_OK
            && !proc_info.is_null()
            && let Some(own) = own_processes::<Ascend>()
        {
            // SAFETY: DCMI has written `*proc_num` entries with success.
            unsafe {
                let count = u32::try_from(*proc_num).unwrap_or(0);
                let kept = retain(proc_info, count, |entry| {
                    let mut pid = entry.proc_id.cast_unsigned();
                    let keeps = own.keeps(&mut pid);
                    entry.proc_id = pid.cast_signed();
                    keeps
                });
                *proc_num = kept as i32;
            }
        }
        result
    })
}
