//! Memory pools and stream-ordered allocation.

use crate::abi::{In, Out};
use crate::export::{handle_api, same_api};
use crate::memory::Location;
use crate::pool::Props;

same_api! {
    fn hipMallocAsync = pool::cuMemAllocAsync(place: Out<u64>, size: u64, stream: u64);
    fn hipFreeAsync = pool::cuMemFreeAsync(at: u64, stream: u64);
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
