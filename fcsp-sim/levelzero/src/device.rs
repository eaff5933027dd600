//! Devices: which there are, whether they work, what time it is on them.

use crate::abi::{Out, put_list};
use crate::codes::Reply;
use crate::driver::{device, device_handle, named};
use crate::export::api;

/// Ticks of a device's timer in a second: 19.2 MHz, as on Intel's devices.
pub const TICKS_A_SECOND: u64 = 19_200_000;
/// Nanoseconds a tick, rounded, as the API's first version gives them.
pub const NS_A_TICK: u64 = 52;
/// Bits of a timestamp that count.
pub const TIMESTAMP_BITS: u32 = 36;
/// Bits of an event's timestamps that count: they wrap after 223 seconds.
pub const KERNEL_TIMESTAMP_BITS: u32 = 32;

/// Nanoseconds of the shared clock as ticks of a device.
pub fn ticks(ns: u64) -> u64 {
    // 19.2 ticks a microsecond.
    (u128::from(ns) * 12 / 625) as u64
}

api! {
    fn zeDeviceGet(handle: u64, count: Out<u32>, place: Out<u64>) {
        let d = named(handle)?;
        let all: Vec<u64> = d.visible.iter().map(|i| device_handle(*i)).collect();
        put_list(count, place, &all)
    }
    /// Devices of one tile have none below them.
    fn zeDeviceGetSubDevices(handle: u64, count: Out<u32>, place: Out<u64>) {
        device(handle)?;
        put_list(count, place, &[])
    }
    fn zeDeviceCanAccessPeer(handle: u64, peer: u64, value: Out<u8>) {
        device(handle)?;
        device(peer)?;
        value.put(1)
    }
    fn zeDeviceGetStatus(handle: u64) {
        device(handle).map(|_| ())
    }
    fn zeDeviceGetGlobalTimestamps(handle: u64, host: Out<u64>, on_device: Out<u64>) {
        device(handle)?;
        let now = fcsp_sim::clock::now();
        host.put(now)?;
        on_device.put(ticks(now) & ((1 << TIMESTAMP_BITS) - 1))
    }
    fn zeDeviceReserveCacheExt(handle: u64, _level: u64, _size: u64) {
        device(handle)?;
        let unsupported: Reply = Err(crate::codes::UNSUPPORTED_FEATURE);
        unsupported
    }
}
