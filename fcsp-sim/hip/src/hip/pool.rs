//! Memory pools and stream-ordered allocation.

use crate::abi::{In, Out};
use crate::export::same_api;
use crate::memory::Location;
use crate::pool::Props;

same_api! {
    fn hipMallocAsync = pool::cuMemAllocAsync(place: Out<u64>, size: u64, stream: u64);
    fn hipMallocFromPoolAsync = pool::cuMemAllocFromPoolAsync(place: Out<u64>, size: u64, pool: u64, stream: u64);
    fn hipFreeAsync = pool::cuMemFreeAsync(at: u64, stream: u64);
    fn hipMemPoolCreate = pool::cuMemPoolCreate(place: Out<u64>, props: In<Props>);
    fn hipMemPoolDestroy = pool::cuMemPoolDestroy(pool: u64);
    fn hipMemPoolTrimTo = pool::cuMemPoolTrimTo(pool: u64, keep: u64);
    fn hipMemPoolSetAttribute = pool::cuMemPoolSetAttribute(pool: u64, which: i32, value: In<u8>);
    fn hipMemPoolGetAttribute = pool::cuMemPoolGetAttribute(pool: u64, which: i32, value: Out<u8>);
    fn hipMemPoolSetAccess = pool::cuMemPoolSetAccess(pool: u64, map: u64, n: u64);
    fn hipMemPoolGetAccess = pool::cuMemPoolGetAccess(flags: Out<i32>, pool: u64, place: In<Location>);
    fn hipDeviceGetDefaultMemPool = pool::cuDeviceGetDefaultMemPool(place: Out<u64>, device: i32);
    fn hipDeviceGetMemPool = pool::cuDeviceGetMemPool(place: Out<u64>, device: i32);
    fn hipDeviceSetMemPool = pool::cuDeviceSetMemPool(device: i32, pool: u64);
}
