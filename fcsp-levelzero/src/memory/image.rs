//! Images: device memory with a shape, of which the driver alone knows the layout. What it may take
//! at most is held before it is asked; what it took is asked of it after, where it can tell.

use fcsp_hook::memory::{Request, allocate, free, or_wrong_argument};

use super::{is_import, pages};
use crate::call_real;
use crate::device::target_of;
use crate::ffi::ze::*;
use crate::uses::using;
use crate::vendor::{LevelZero, Reentry, Target, catch_panic};

/// Returns the bytes of an element of a layout; 16, the most there is, for an unknown one.
fn element(layout: ze_image_format_layout_t) -> u64 {
    match layout {
        0 | 14 => 1,
        1 | 3 | 11..=13 | 15..=18 | 24 | 27 | 28 | 30..=32 => 2,
        2 | 4 | 5 | 9 | 10 | 19 | 20 | 21 | 22 | 23 | 25 | 26 => 4,
        6 | 7 => 8,
        _ => 16,
    }
}

/// Returns the most bytes of an image: rows and heights of tiles, and half as much again for the
/// smaller levels of a mipmap.
fn at_most(desc: &ze_image_desc_t) -> u64 {
    let width = desc
        .width
        .checked_mul(element(desc.format.layout))
        .and_then(|row| row.checked_next_multiple_of(128));
    let height = u64::from(desc.height.max(1)).next_multiple_of(32);
    let slices = u64::from(desc.depth.max(1)) * u64::from(desc.arraylevels.max(1));
    let flat = width
        .and_then(|row| row.checked_mul(height))
        .and_then(|n| n.checked_mul(slices));
    match flat {
        Some(bytes) if desc.miplevels > 1 => pages(bytes.saturating_add(bytes / 2)),
        Some(bytes) => pages(bytes),
        None => u64::MAX,
    }
}

/// Returns the bytes that an image took, by the driver; `None` if it does not report them.
fn taken(image: ze_image_handle_t) -> Option<u64> {
    let mut memory = ze_image_memory_properties_exp_t::zeroed();
    memory.stype = ZE_STRUCTURE_TYPE_IMAGE_MEMORY_EXP_PROPERTIES;
    let result = call_real!(zeImageGetMemoryPropertiesExp(image, &mut memory));
    (result == ZE_RESULT_SUCCESS && memory.size > 0).then(|| pages(memory.size))
}

/// `zeImageCreate`.
pub unsafe extern "C" fn zeImageCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *const ze_image_desc_t,
    phImage: *mut ze_image_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zeImageCreate(hContext, hDevice, desc, phImage));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        // SAFETY: the caller passes a description or null.
        let Some(shape) = (unsafe { desc.as_ref() }) else {
            return call();
        };
        // SAFETY: the chain is the caller's, for the driver.
        if phImage.is_null() || unsafe { is_import(shape.pNext) } {
            return call();
        }
        let device = match target_of(hDevice) {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
        };
        let request = Request {
            what: "zeImageCreate",
            bytes: at_most(shape),
            counted: true,
        };
        // SAFETY: asked after the driver has written there with success.
        let image = || unsafe { *phImage };
        let result = using(hContext, device, || {
            allocate::<LevelZero>(
                device,
                hContext as usize,
                request,
                call,
                || image() as u64,
                || taken(image()).unwrap_or(request.bytes),
                |handle| call_real!(zeImageDestroy(handle as ze_image_handle_t)),
            )
        });
        let usable = || !hContext.is_null() && shape.width > 0;
        or_wrong_argument::<LevelZero>(result, usable, call, || {
            call_real!(zeImageDestroy(image()));
        })
    })
}

/// `zeImageDestroy`. A view of an image is in no record and gives nothing back.
pub unsafe extern "C" fn zeImageDestroy(hImage: ze_image_handle_t) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        free::<LevelZero>(hImage as u64, || call_real!(zeImageDestroy(hImage)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_cover_the_padding() {
        let mut desc = ze_image_desc_t::zeroed();
        desc.format.layout = 2;
        (desc.width, desc.height) = (4097, 4097);
        assert!(at_most(&desc) >= 4097 * 4097 * 4);
        assert!(at_most(&desc) < 4097 * 4097 * 4 * 11 / 10);
        desc.miplevels = 4;
        assert!(at_most(&desc) > 4097 * 4097 * 5);
        desc.width = u64::MAX / 2;
        assert_eq!(at_most(&desc), u64::MAX);
    }
}
