//! Memory pools and stream-ordered allocation.

use crate::abi::{In, Out};
use crate::codes::{CAPTURE_UNSUPPORTED, Reply};
use crate::export::{cu, handle_api, hip_api, same_api};
use crate::memory::Location;
use crate::pool::{Props, cuMemAllocAsync, cuMemFreeAsync};
use crate::stream::target;
use std::sync::atomic::Ordering::Relaxed;

/// Refuses a stream that is not captured while a blocking one of its device is
/// (`hip::Device::StreamCaptureBlocking`).
fn beside_captures(stream: u64) -> Reply {
    let t = target(stream, false)?;
    // Relaxed: a thread that must be kept out began after the capture did, by whatever ordered the
    // two.
    let refused = t.context.captures.load(Relaxed) > 0 && t.recording().is_none();
    if refused {
        Err(CAPTURE_UNSUPPORTED)
    } else {
        Ok(())
    }
}

hip_api! {
    fn hipMallocAsync(place: Out<u64>, size: u64, stream: u64) {
        place.need()?;
        if size == 0 {
            return place.put(0);
        }
        beside_captures(stream)?;
        cu(cuMemAllocAsync(place, size, stream))
    }
    fn hipFreeAsync(at: u64, stream: u64) {
        beside_captures(stream)?;
        cu(cuMemFreeAsync(at, stream))
    }
}

same_api! {
    fn hipMemPoolCreate = pool::cuMemPoolCreate(place: Out<u64>, props: In<Props>);
    fn hipDeviceGetDefaultMemPool = pool::cuDeviceGetDefaultMemPool(place: Out<u64>, device: i32);
    fn hipDeviceGetMemPool = pool::cuDeviceGetMemPool(place: Out<u64>, device: i32);
}

handle_api! {
    fn hipMallocFromPoolAsync[pool pool] = pool::cuMemAllocFromPoolAsync(
        place: Out<u64>, size: u64, pool: u64, stream: u64,
    );
    fn hipMemPoolDestroy[pool_to_destroy pool] = pool::cuMemPoolDestroy(pool: u64);
    fn hipMemPoolTrimTo[pool pool] = pool::cuMemPoolTrimTo(pool: u64, keep: u64);
    fn hipMemPoolSetAttribute[pool pool] = pool::cuMemPoolSetAttribute(pool: u64, which: i32, value: In<u8>);
    fn hipMemPoolGetAttribute[pool pool] = pool::cuMemPoolGetAttribute(pool: u64, which: i32, value: Out<u8>);
    fn hipMemPoolSetAccess[pool pool] = pool::cuMemPoolSetAccess(pool: u64, map: u64, n: u64);
    fn hipMemPoolGetAccess[pool pool] = pool::cuMemPoolGetAccess(flags: Out<i32>, pool: u64, place: In<Location>);
    fn hipDeviceSetMemPool[pool pool] = pool::cuDeviceSetMemPool(device: i32, pool: u64);
}
