//! Memory. Sizes are padded and aligned as the published sources do it.

use crate::{INVALID_PARAM, forward, rt};

/// What ACL tells the runtime it is.
const APPLICATION: u16 = 33;
const ALIGN: u64 = 32;

/// Bytes asked of the runtime: aligned, and with room behind for reads beyond the end.
fn padded(size: u64, padding: bool) -> Option<u64> {
    let more = if padding { 2 * ALIGN } else { ALIGN };
    size.checked_add(more).map(|n| (n - 1) / ALIGN * ALIGN)
}

fn malloc(
    place: *mut u64,
    size: u64,
    padding: bool,
    call: unsafe extern "C" fn(*mut u64, u64, u32, u16) -> i32,
) -> i32 {
    match padded(size, padding) {
        // SAFETY: the place is the caller's, or null, which the runtime refuses.
        Some(n) if size > 0 && !place.is_null() => unsafe { call(place, n, 0, APPLICATION) },
        _ => INVALID_PARAM,
    }
}

const HUGE1G: [i32; 2] = [6, 7];

#[unsafe(no_mangle)]
pub extern "C" fn aclrtMalloc(place: *mut u64, size: u64, policy: i32) -> i32 {
    malloc(place, size, !HUGE1G.contains(&policy), rt::rtMalloc)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtMallocAlign32(place: *mut u64, size: u64, _policy: i32) -> i32 {
    malloc(place, size, false, rt::rtMalloc)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtMallocCached(place: *mut u64, size: u64, policy: i32) -> i32 {
    malloc(place, size, !HUGE1G.contains(&policy), rt::rtMallocCached)
}

forward! {
    fn aclrtMallocWithCfg(place: *mut u64, size: u64, policy: i32, config: u64) = rtsMalloc(place, size, policy, 0, config);
    fn aclrtMallocForTaskScheduler(place: *mut u64, size: u64, policy: i32, config: u64) = rtsMalloc(place, size, policy, 4, config);
    fn aclrtFree(at: u64) = rtFree(at);
    fn aclrtFreeWithDevSync(at: u64) = rtFreeWithDevSync(at);
    fn aclrtMallocHost(place: *mut u64, size: u64) = rtMallocHost(place, size, APPLICATION);
    fn aclrtMallocHostWithCfg(place: *mut u64, size: u64, config: u64) = rtsMallocHost(place, size, config);
    fn aclrtFreeHost(at: u64) = rtFreeHost(at);
    fn aclrtFreeHostWithDevSync(at: u64) = rtFreeHostWithDevSync(at);
    fn aclrtMemAllocManaged(place: *mut u64, size: u64, flag: u32) = rtMemAllocManaged(place, size, flag, APPLICATION);
    fn aclrtGetMemInfo(kind: i32, free: *mut u64, total: *mut u64) = rtMemGetInfoEx(kind, free, total);
    fn aclrtFreePhysical(handle: u64) = rtFreePhysical(handle);
    fn aclrtReserveMemAddress(place: *mut u64, size: u64, alignment: u64, hint: u64, flags: u64) = rtReserveMemAddress(place, size, alignment, hint, flags);
    fn aclrtReleaseMemAddress(at: u64) = rtReleaseMemAddress(at);
    fn aclrtMapMem(at: u64, size: u64, offset: u64, handle: u64, flags: u64) = rtMapMem(at, size, offset, handle, flags);
    fn aclrtUnmapMem(at: u64) = rtUnmapMem(at);
    fn aclrtMemGetAllocationGranularity(property: u64, option: i32, granularity: *mut u64) = rtMemGetAllocationGranularity(property, option, granularity);
}

/// `aclrtPhysicalMemProp`.
#[repr(C)]
#[derive(Debug)]
pub struct Property {
    handle: i32,
    allocation: i32,
    attribute: i32,
    location: u32,
    side: i32,
    reserve: u64,
}

/// `rtDrvMemProp_t`.
#[repr(C)]
#[derive(Debug)]
pub struct Physical {
    side: u32,
    device: u32,
    module: u32,
    page: u32,
    kind: u32,
    reserve: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtMallocPhysical(
    place: *mut u64,
    size: u64,
    property: *const Property,
    flags: u64,
) -> i32 {
    // SAFETY: null or, by the API's contract, one of these.
    let Some(p) = (unsafe { property.as_ref() }) else {
        return INVALID_PARAM;
    };
    if size == 0 || flags != 0 || p.handle != 0 || p.allocation != 0 || place.is_null() {
        return INVALID_PARAM;
    }
    let physical = Physical {
        side: p.side as u32,
        device: p.location,
        module: u32::from(APPLICATION),
        page: 1,
        kind: 0,
        reserve: 0,
    };
    // SAFETY: place and property outlive the call.
    unsafe { rt::rtMallocPhysical(place, size, &physical, 0) }
}
