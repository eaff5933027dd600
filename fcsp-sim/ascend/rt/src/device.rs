//! Devices and contexts.

use crate::abi::{Out, put_text};
use crate::codes::{CONTEXT_NULL, FEATURE_NOT_SUPPORT, PARAM_INVALID};
use crate::driver::{current, driver, set_current};
use crate::export::api;
use fcsp_sim::process::holdings;

/// Kinds of unit that `rtGetDeviceInfo` is asked about.
const MODULE_AICORE: i32 = 4;
const MODULE_VECTOR: i32 = 7;
const INFO_CORE_NUM: i32 = 3;

// Numbers of `aclrtDevAttr`, which `rtsDeviceGetInfo` takes as they are.
const ATTR_AICORE_NUM: i32 = 101;
const ATTR_CUBE_NUM: i32 = 102;
const ATTR_VECTOR_NUM: i32 = 201;
const ATTR_TOTAL_MEMORY: i32 = 301;
const ATTR_L2: i32 = 302;
const ATTR_PHY_CHIP: i32 = 402;
const ATTR_VIRTUAL: i32 = 501;

api! {
    fn rtSetDevice(device: i32) {
        let c = driver()?.set_device(device)?;
        set_current(Some(c));
        Ok(())
    }
    fn rtGetDevice(device: Out<i32>) {
        device.put(current()?.open.ordinal)
    }
    fn rtDeviceReset(device: i32) {
        driver()?.reset_device(device, false)
    }
    fn rtDeviceResetForce(device: i32) {
        driver()?.reset_device(device, true)
    }
    fn rtGetDeviceCount(count: Out<i32>) {
        count.put(driver()?.visible.len() as i32)
    }
    fn rtDeviceSynchronize() {
        Ok(current()?.open.timeline.synchronise()?)
    }
    fn rtDeviceSynchronizeWithTimeout(_timeout: i32) {
        Ok(current()?.open.timeline.synchronise()?)
    }
    fn rtGetSocVersion(text: Out<u8>, len: u32) {
        put_text(text, len as usize, &driver()?.spec(0)?.name)
    }
    fn rtGetAiCoreCount(count: Out<u32>) {
        count.put(driver()?.spec(0)?.sm)
    }
    fn rtGetDeviceInfo(device: u32, module: i32, info: i32, value: Out<i64>) {
        let spec = driver()?.spec(device as i32)?;
        match (module, info) {
            (MODULE_AICORE, INFO_CORE_NUM) => value.put(i64::from(spec.sm)),
            (MODULE_VECTOR, INFO_CORE_NUM) => value.put(2 * i64::from(spec.sm)),
            _ => Err(FEATURE_NOT_SUPPORT),
        }
    }
    fn rtsDeviceGetInfo(device: u32, attribute: i32, value: Out<i64>) {
        let spec = driver()?.spec(device as i32)?;
        value.put(match attribute {
            ATTR_AICORE_NUM | ATTR_CUBE_NUM => i64::from(spec.sm),
            ATTR_VECTOR_NUM => 2 * i64::from(spec.sm),
            ATTR_TOTAL_MEMORY => spec.memory as i64,
            ATTR_L2 => spec.l2 as i64,
            ATTR_PHY_CHIP => spec.index as i64,
            ATTR_VIRTUAL => 0,
            _ => return Err(FEATURE_NOT_SUPPORT),
        })
    }
    fn rtGetDeviceUuid(device: i32, uuid: Out<[u8; 16]>) {
        uuid.put(driver()?.spec(device)?.uuid())
    }
    fn rtGetDevicePhyIdByIndex(device: u32, physical: Out<u32>) {
        physical.put(driver()?.device(device as i32)? as u32)
    }
    /// Share of the last half second that all processes had of the cores, in per cent.
    fn rtGetAllUtilizations(device: i32, _kind: i32, rate: Out<u8>) {
        let d = driver()?;
        let all = holdings(&d.process.region, d.device(device)?);
        rate.put(all.iter().map(|h| h.utilisation).sum::<u32>().min(100) as u8)
    }
    fn rtDeviceGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        least.put(7)?;
        greatest.put(0)
    }
    fn rtCtxCreateEx(place: Out<u64>, _flags: u32, device: i32) {
        place.need()?;
        let c = driver()?.create_context(device)?;
        place.put(c.handle)?;
        set_current(Some(c));
        Ok(())
    }
    fn rtCtxDestroyEx(handle: u64) {
        let own = current().is_ok_and(|now| now.handle == handle);
        driver()?.destroy_context(handle)?;
        if own {
            set_current(None);
        }
        Ok(())
    }
    fn rtCtxSetCurrent(handle: u64) {
        let c = driver()?.contexts.look_up(handle).map_err(|_| CONTEXT_NULL)?;
        set_current(Some(c));
        Ok(())
    }
    fn rtCtxGetCurrent(place: Out<u64>) {
        place.put(current()?.handle)
    }
    fn rtsGetPrimaryCtxState(device: i32, flags: Out<u32>, active: Out<i32>) {
        flags.set(0);
        active.put(i32::from(driver()?.is_active(device)?))
    }
    fn rtsCtxGetCurrentDefaultStream(place: Out<u64>) {
        place.put(current()?.default.handle)
    }
    fn rtGetRunMode(mode: Out<i32>) {
        driver()?;
        // Offline, on the host: the only one where a host drives the device.
        mode.put(1)
    }
    fn rtSetTSDevice(kind: u32) {
        if kind > 1 { Err(PARAM_INVALID) } else { Ok(()) }
    }
}
