//! Copies and fills.
//!
//! Those inside device memory are work of the device, as kernels are, unless an engine that only
//! copies does them. They pass the gate on an immediate list; on a regular list they are noted as
//! part of its content.

use core::ffi::c_void;

use fcsp_hook::launch::copies::{Kind, SMALL};
use fcsp_hook::launch::is_unthrottled;

use super::{Managed, at_once};
use crate::call_real;
use crate::driver::real;
use crate::ffi::ze::*;
use crate::queues;
use crate::vendor::{LevelZero, catch_panic};

/// Memory or image that a call copies or fills.
#[derive(Clone, Copy)]
enum Moved {
    /// Bytes between two addresses; a fill names its one twice.
    Linear(Kind, usize, [*const c_void; 2]),
    /// An image and another, or an image and memory, and elements of the part of it that is meant,
    /// 0 for all. How many bytes an element has only the driver knows, so the images stand for the
    /// size.
    Image(ze_image_handle_t, ze_image_handle_t, u64, *const c_void),
}

impl Moved {
    /// Returns a number that is equal for equal moves, whatever their addresses.
    fn mixed(self) -> u64 {
        match self {
            Self::Linear(kind, bytes, _) => (bytes as u64) << 3 | kind as u64,
            Self::Image(one, other, elements, _) => {
                (one as u64).rotate_left(9)
                    ^ (other as u64).rotate_left(31)
                    ^ elements << 1
                    ^ 1 << 62
            }
        }
    }

    /// Returns whether both ends are in the device's own memory, or in memory that may be.
    fn is_inside(self, context: usize) -> bool {
        match self {
            Self::Linear(_, _, places) => places.iter().all(|place| on_device(context, *place)),
            Self::Image(_, _, _, memory) => memory.is_null() || on_device(context, memory),
        }
    }
}

fn on_device(context: usize, address: *const c_void) -> bool {
    let mut properties = ze_memory_allocation_properties_t::zeroed();
    properties.stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES;
    let result = call_real!(zeMemGetAllocProperties(
        context as ze_context_handle_t,
        address,
        &mut properties,
        core::ptr::null_mut()
    ));
    result == ZE_RESULT_SUCCESS
        && matches!(
            properties.type_,
            ZE_MEMORY_TYPE_DEVICE | ZE_MEMORY_TYPE_SHARED
        )
}

/// Returns the bytes of a region of memory.
fn copied(region: *const ze_copy_region_t) -> usize {
    // SAFETY: the caller passes a region or null.
    let Some(region) = (unsafe { region.as_ref() }) else {
        return 0;
    };
    (region.width as usize)
        .saturating_mul(region.height.max(1) as usize)
        .saturating_mul(region.depth.max(1) as usize)
}

/// Elements of a region of an image; 0 for the whole image.
fn elements(region: *const ze_image_region_t) -> u64 {
    // SAFETY: the caller passes a region or null.
    unsafe { region.as_ref() }.map_or(0, |region| {
        u64::from(region.width) * u64::from(region.height.max(1)) * u64::from(region.depth.max(1))
    })
}

/// Asks for a move, or notes it.
fn submit(
    list: ze_command_list_handle_t,
    moved: impl Fn() -> Moved,
    call: impl Fn() -> ze_result_t,
) -> ze_result_t {
    let share = match at_once(list) {
        Managed::AtOnce(share) => share,
        Managed::Later(_) => {
            queues::appended(list as usize, moved().mixed(), 0, false);
            return call();
        }
        Managed::Not => return call(),
    };
    let moved = moved();
    // What is small is not worth the question where it lies.
    let asks = !matches!(moved, Moved::Linear(_, bytes, _) if bytes < SMALL)
        && queues::lane(list as usize).is_some_and(|lane| !lane.copies)
        && queues::context_of(list as usize).is_some_and(|context| moved.is_inside(context));
    match moved {
        _ if !asks => call(),
        Moved::Linear(kind, bytes, _) => share.copy(kind, bytes, list as usize, call),
        Moved::Image(..) => share.graph(queues::key(moved.mixed()), list as usize, call),
    }
}

macro_rules! moves {
    ($($(#[$doc:meta])* fn $name:ident($list:ident, [$($arg:ident: $ty:ty),*]) is $moved:expr;)*) => {$(
        $(#[$doc])*
        pub unsafe extern "C" fn $name($list: ze_command_list_handle_t, $($arg: $ty),*) -> ze_result_t {
            if is_unthrottled::<LevelZero>() && let Some(real) = real::$name.get() {
                // SAFETY: the caller's own arguments.
                return unsafe { real($list, $($arg),*) };
            }
            catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
                submit($list, || $moved, || call_real!($name($list, $($arg),*)))
            })
        }
    )*};
}

moves! {
    /// `zeCommandListAppendMemoryCopy`.
    fn zeCommandListAppendMemoryCopy(hCommandList, [
        dstptr: *mut c_void, srcptr: *const c_void, size: usize, hSignalEvent: ze_event_handle_t,
        numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Linear(Kind::Copy, size, [dstptr, srcptr]);
    /// `zeCommandListAppendMemoryCopyFromContext`.
    fn zeCommandListAppendMemoryCopyFromContext(hCommandList, [
        dstptr: *mut c_void, hContextSrc: ze_context_handle_t, srcptr: *const c_void, size: usize,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Linear(Kind::Copy, size, [dstptr, srcptr]);
    /// `zeCommandListAppendMemoryFill`.
    fn zeCommandListAppendMemoryFill(hCommandList, [
        ptr: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Linear(Kind::Fill, size, [ptr, ptr]);
    /// `zeCommandListAppendMemoryCopyRegion`.
    fn zeCommandListAppendMemoryCopyRegion(hCommandList, [
        dstptr: *mut c_void, dstRegion: *const ze_copy_region_t, dstPitch: u32, dstSlicePitch: u32,
        srcptr: *const c_void, srcRegion: *const ze_copy_region_t, srcPitch: u32, srcSlicePitch: u32,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Linear(Kind::Rows, copied(dstRegion), [dstptr, srcptr]);
    /// `zeCommandListAppendImageCopy`.
    fn zeCommandListAppendImageCopy(hCommandList, [
        hDstImage: ze_image_handle_t, hSrcImage: ze_image_handle_t, hSignalEvent: ze_event_handle_t,
        numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Image(hDstImage, hSrcImage, 0, core::ptr::null());
    /// `zeCommandListAppendImageCopyRegion`.
    fn zeCommandListAppendImageCopyRegion(hCommandList, [
        hDstImage: ze_image_handle_t, hSrcImage: ze_image_handle_t,
        pDstRegion: *const ze_image_region_t, pSrcRegion: *const ze_image_region_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Image(hDstImage, hSrcImage, elements(pDstRegion), core::ptr::null());
    /// `zeCommandListAppendImageCopyToMemory`.
    fn zeCommandListAppendImageCopyToMemory(hCommandList, [
        dstptr: *mut c_void, hSrcImage: ze_image_handle_t, pSrcRegion: *const ze_image_region_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Image(hSrcImage, core::ptr::null_mut(), elements(pSrcRegion), dstptr);
    /// `zeCommandListAppendImageCopyToMemoryExt`.
    fn zeCommandListAppendImageCopyToMemoryExt(hCommandList, [
        dstptr: *mut c_void, hSrcImage: ze_image_handle_t, pSrcRegion: *const ze_image_region_t,
        destRowPitch: u32, destSlicePitch: u32, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Image(hSrcImage, core::ptr::null_mut(), elements(pSrcRegion), dstptr);
    /// `zeCommandListAppendImageCopyFromMemory`.
    fn zeCommandListAppendImageCopyFromMemory(hCommandList, [
        hDstImage: ze_image_handle_t, srcptr: *const c_void, pDstRegion: *const ze_image_region_t,
        hSignalEvent: ze_event_handle_t, numWaitEvents: u32, phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Image(hDstImage, core::ptr::null_mut(), elements(pDstRegion), srcptr);
    /// `zeCommandListAppendImageCopyFromMemoryExt`.
    fn zeCommandListAppendImageCopyFromMemoryExt(hCommandList, [
        hDstImage: ze_image_handle_t, srcptr: *const c_void, pDstRegion: *const ze_image_region_t,
        srcRowPitch: u32, srcSlicePitch: u32, hSignalEvent: ze_event_handle_t, numWaitEvents: u32,
        phWaitEvents: *mut ze_event_handle_t
    ]) is Moved::Image(hDstImage, core::ptr::null_mut(), elements(pDstRegion), srcptr);
}
