//! The number of blocks that fit a compute unit, by function handle and by host function.

use super::launch::host_function;
use crate::abi::Out;
use crate::export::{cu, hip_api};
use crate::occupancy as driver;

hip_api! {
    fn hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(n: Out<i32>, f: u64, threads: i32, shared: u64) {
        cu(driver::cuOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared))
    }
    fn hipModuleOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        n: Out<i32>, f: u64, threads: i32, shared: u64, _flags: u32,
    ) {
        cu(driver::cuOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared))
    }
    fn hipModuleOccupancyMaxPotentialBlockSize(grid: Out<i32>, block: Out<i32>, f: u64, shared: u64, limit: i32) {
        cu(driver::cuOccupancyMaxPotentialBlockSize(grid, block, f, None, shared, limit))
    }
    fn hipModuleOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, f: u64, shared: u64, limit: i32, _flags: u32,
    ) {
        cu(driver::cuOccupancyMaxPotentialBlockSize(grid, block, f, None, shared, limit))
    }
    fn hipOccupancyMaxActiveBlocksPerMultiprocessor(n: Out<i32>, f: u64, threads: i32, shared: u64) {
        cu(driver::cuOccupancyMaxActiveBlocksPerMultiprocessor(n, host_function(f)?, threads, shared))
    }
    fn hipOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        n: Out<i32>, f: u64, threads: i32, shared: u64, _flags: u32,
    ) {
        cu(driver::cuOccupancyMaxActiveBlocksPerMultiprocessor(n, host_function(f)?, threads, shared))
    }
    fn hipOccupancyMaxPotentialBlockSize(grid: Out<i32>, block: Out<i32>, f: u64, shared: u64, limit: i32) {
        cu(driver::cuOccupancyMaxPotentialBlockSize(grid, block, host_function(f)?, None, shared, limit))
    }
    fn hipOccupancyAvailableDynamicSMemPerBlock(bytes: Out<u64>, f: u64, n: i32, threads: i32) {
        cu(driver::cuOccupancyAvailableDynamicSMemPerBlock(bytes, host_function(f)?, n, threads))
    }
}
