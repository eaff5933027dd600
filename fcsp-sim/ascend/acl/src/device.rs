//! Devices, contexts, core limits.

use crate::{INVALID_PARAM, forward, rt};

forward! {
    fn aclrtSetDevice(device: i32) = rtSetDevice(device);
    fn aclrtResetDevice(device: i32) = rtDeviceReset(device);
    fn aclrtResetDeviceForce(device: i32) = rtDeviceResetForce(device);
    fn aclrtGetDevice(device: *mut i32) = rtGetDevice(device);
    fn aclrtSynchronizeDevice() = rtDeviceSynchronize();
    fn aclrtSynchronizeDeviceWithTimeout(timeout: i32) = rtDeviceSynchronizeWithTimeout(timeout);
    fn aclrtGetDeviceCount(count: *mut i32) = rtGetDeviceCount(count);
    fn aclrtCreateContext(place: *mut u64, device: i32) = rtCtxCreateEx(place, 0, device);
    fn aclrtDestroyContext(context: u64) = rtCtxDestroyEx(context);
    fn aclrtSetCurrentContext(context: u64) = rtCtxSetCurrent(context);
    fn aclrtGetCurrentContext(place: *mut u64) = rtCtxGetCurrent(place);
    fn aclrtGetPrimaryCtxState(device: i32, flags: *mut u32, active: *mut i32) = rtsGetPrimaryCtxState(device, flags, active);
    fn aclrtCtxGetCurrentDefaultStream(place: *mut u64) = rtsCtxGetCurrentDefaultStream(place);
    fn aclrtGetRunMode(mode: *mut i32) = rtGetRunMode(mode);
    fn aclrtDeviceGetUuid(device: i32, uuid: *mut u8) = rtGetDeviceUuid(device, uuid);
    fn aclrtGetDeviceInfo(device: u32, attribute: i32, value: *mut i64) = rtsDeviceGetInfo(device, attribute, value);
    fn aclrtDeviceGetStreamPriorityRange(least: *mut i32, greatest: *mut i32) = rtDeviceGetStreamPriorityRange(least, greatest);
    fn aclrtGetDeviceResLimit(device: i32, kind: i32, value: *mut u32) = rtsGetDeviceResLimit(device, kind, value);
    fn aclrtSetDeviceResLimit(device: i32, kind: i32, value: u32) = rtsSetDeviceResLimit(device, kind, value);
    fn aclrtResetDeviceResLimit(device: i32) = rtsResetDeviceResLimit(device);
    fn aclrtGetPhyDevIdByLogicDevId(device: i32, physical: *mut u32) = rtGetDevicePhyIdByIndex(device as u32, physical);
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetDeviceCapability(device: u32, info: i32, value: *mut i64) -> i32 {
    let module = match info {
        0 => 4,
        1 => 7,
        _ => return INVALID_PARAM,
    };
    // SAFETY: the place is the caller's, or null, which the runtime refuses.
    unsafe { rt::rtGetDeviceInfo(device, module, 3, value) }
}

/// `aclrtUtilizationInfo`.
#[repr(C)]
#[derive(Debug)]
pub struct Utilisation {
    cube: i32,
    vector: i32,
    aicpu: i32,
    memory: i32,
    extend: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtGetDeviceUtilizationRate(device: i32, info: *mut Utilisation) -> i32 {
    // SAFETY: null or, by the API's contract, a place for one.
    let Some(info) = (unsafe { info.as_mut() }) else {
        return INVALID_PARAM;
    };
    let mut rate = 0;
    // SAFETY: writes one byte that outlives the call.
    let code = unsafe { rt::rtGetAllUtilizations(device, 0, &mut rate) };
    let rate = i32::from(rate);
    (info.cube, info.vector, info.aicpu, info.memory) = (rate, rate, 0, rate);
    code
}
