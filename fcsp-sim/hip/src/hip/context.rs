//! Contexts, which HIP calls deprecated and still has, and what belongs to a device as a whole.

use crate::abi::Out;
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::driver;
use crate::export::{cu, early_api, hip_api, same_api};

/// "Calling this function deletes all streams created, memory allocated, kernels running, events
/// created" (its documentation). Pools go as well, default ones not excepted, with all that was
/// allocated from them (`Device::Reset`). Modules stay in the runtime, but their memory on the
/// device goes (`MemObjMap::Purge`); here they go.
fn reset(device: i32) -> Reply {
    let d = driver()?;
    d.primary_reset(device)?;
    d.end_pools(device)
}

early_api! {
    fn hipSetDevice(device: i32) {
        super::thread::choose(device)
    }
    fn hipGetDevice(place: Out<i32>) {
        place.put(super::thread::chosen())
    }
    fn hipGetDeviceCount(place: Out<i32>) {
        place.put(driver()?.visible.len() as i32)
    }
    fn hipSetValidDevices(_list: u64, _n: i32) {
        Ok(())
    }
    /// Ends the device's context with all it holds; the next call makes a new one.
    fn hipDeviceReset() {
        reset(super::thread::chosen())
    }
    fn hipCtxCreate(place: Out<u64>, flags: u32, device: i32) {
        cu(crate::context::cuCtxCreate_v2(place, flags, device))
    }
    fn hipCtxDestroy(context: u64) {
        cu(crate::context::cuCtxDestroy_v2(context))
    }
    fn hipCtxPushCurrent(context: u64) {
        cu(crate::context::cuCtxPushCurrent_v2(context))
    }
    fn hipCtxPopCurrent(place: Out<u64>) {
        cu(crate::context::cuCtxPopCurrent_v2(place))
    }
    fn hipCtxSetCurrent(context: u64) {
        cu(crate::context::cuCtxSetCurrent(context))
    }
    fn hipDevicePrimaryCtxRetain(place: Out<u64>, device: i32) {
        cu(crate::context::cuDevicePrimaryCtxRetain(place, device))
    }
    /// Threads of the runtime keep a primary context as well, so a release alone never ends it.
    fn hipDevicePrimaryCtxRelease(device: i32) {
        driver()?.device(device).map(|_| ())
    }
    fn hipDevicePrimaryCtxReset(device: i32) {
        reset(device)
    }
    fn hipDevicePrimaryCtxSetFlags(device: i32, flags: u32) {
        cu(crate::context::cuDevicePrimaryCtxSetFlags_v2(device, flags))
    }
    fn hipDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
        cu(crate::context::cuDevicePrimaryCtxGetState(device, flags, active))
    }
    fn hipSetDeviceFlags(flags: u32) {
        driver()?.primary_flags(super::thread::chosen(), flags)
    }
    fn hipGetDeviceFlags(flags: Out<u32>) {
        flags.put(driver()?.primary_state(super::thread::chosen())?.0)
    }
}

same_api! {
    fn hipCtxGetCurrent = context::cuCtxGetCurrent(place: Out<u64>);
    fn hipCtxGetDevice = context::cuCtxGetDevice(device: Out<i32>);
    fn hipCtxGetFlags = context::cuCtxGetFlags(flags: Out<u32>);
    fn hipCtxGetApiVersion = context::cuCtxGetApiVersion(context: u64, version: Out<u32>);
    fn hipCtxGetCacheConfig = context::cuCtxGetCacheConfig(config: Out<i32>);
    fn hipCtxSetCacheConfig = context::cuCtxSetCacheConfig(config: i32);
    fn hipCtxGetSharedMemConfig = context::cuCtxGetSharedMemConfig(config: Out<i32>);
    fn hipCtxSetSharedMemConfig = context::cuCtxSetSharedMemConfig(config: i32);
    fn hipCtxSynchronize = context::cuCtxSynchronize();
    fn hipCtxEnablePeerAccess = context::cuCtxEnablePeerAccess(peer: u64, flags: u32);
    fn hipCtxDisablePeerAccess = context::cuCtxDisablePeerAccess(peer: u64);
    fn hipDeviceSynchronize = context::cuCtxSynchronize();
    fn hipDeviceGetCacheConfig = context::cuCtxGetCacheConfig(config: Out<i32>);
    fn hipDeviceSetCacheConfig = context::cuCtxSetCacheConfig(config: i32);
    fn hipDeviceGetSharedMemConfig = context::cuCtxGetSharedMemConfig(config: Out<i32>);
    fn hipDeviceSetSharedMemConfig = context::cuCtxSetSharedMemConfig(config: i32);
    fn hipDeviceGetStreamPriorityRange = context::cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>);
    fn hipDeviceGetLimit = context::cuCtxGetLimit(value: Out<u64>, limit: i32);
    fn hipDeviceSetLimit = context::cuCtxSetLimit(limit: i32, value: u64);
    fn hipDeviceGraphMemTrim = graph::cuDeviceGraphMemTrim(device: i32);
    fn hipDeviceGetGraphMemAttribute = graph::cuDeviceGetGraphMemAttribute(device: i32, which: i32, value: Out<u64>);
    fn hipDeviceSetGraphMemAttribute = graph::cuDeviceSetGraphMemAttribute(device: i32, which: i32, value: crate::abi::In<u64>);
}

/// Returns the primary context of another device, as peers are named by device here.
fn peer(device: i32) -> Reply<u64> {
    let d = driver()?;
    if device == super::thread::chosen() {
        return Err(INVALID_VALUE);
    }
    Ok(d.primary_retain(device)?.handle)
}

hip_api! {
    fn hipDeviceEnablePeerAccess(device: i32, flags: u32) {
        cu(crate::context::cuCtxEnablePeerAccess(peer(device)?, flags))
    }
    fn hipDeviceDisablePeerAccess(device: i32) {
        cu(crate::context::cuCtxDisablePeerAccess(peer(device)?))
    }
}
