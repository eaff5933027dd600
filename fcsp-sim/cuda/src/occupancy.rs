//! The number of blocks that fit a multiprocessor, by threads and shared memory alone.

use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::{current, driver};
use crate::export::api;
use crate::launch::Config;

/// Bytes of shared memory that a block of a size needs, as the application computes it.
type SharedOf = extern "C" fn(i32) -> u64;

fn blocks(f: u64, threads: i32, shared: u64) -> Reply<i32> {
    let spec = current()?.spec()?;
    let f = driver()?.function(f)?;
    if threads <= 0 {
        return Err(INVALID_VALUE);
    }
    if threads > 1024 {
        return Ok(0);
    }
    let warps = (threads as u32).div_ceil(32) * 32;
    let by_threads = (spec.threads_sm / warps).min(32);
    // 1 KiB a block is the system's own.
    let each = shared + f.kernel.shared as u64 + 1024;
    let by_shared = u64::from(spec.shared_sm) / each;
    Ok(u64::from(by_threads).min(by_shared) as i32)
}

fn best(
    grid: Out<i32>,
    block: Out<i32>,
    f: u64,
    of: Option<SharedOf>,
    shared: u64,
    limit: i32,
) -> Reply {
    let spec = current()?.spec()?;
    let most = if limit <= 0 { 1024 } else { limit.min(1024) };
    let mut top = (0, 0, 0);
    for threads in (1..=most / 32)
        .map(|w| w * 32)
        .chain((most < 32).then_some(most))
    {
        let n = blocks(f, threads, of.map_or(shared, |g| g(threads)))?;
        if n * threads >= top.0 {
            top = (n * threads, threads, n);
        }
    }
    grid.put(top.2 * spec.sm as i32)?;
    block.put(top.1)
}

api! {
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(n: Out<i32>, f: u64, threads: i32, shared: u64) {
        n.put(blocks(f, threads, shared)?)
    }
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        n: Out<i32>, f: u64, threads: i32, shared: u64, _flags: u32,
    ) {
        n.put(blocks(f, threads, shared)?)
    }
    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, f: u64, of: Option<SharedOf>, shared: u64, limit: i32,
    ) {
        best(grid, block, f, of, shared, limit)
    }
    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, f: u64, of: Option<SharedOf>, shared: u64, limit: i32, _flags: u32,
    ) {
        best(grid, block, f, of, shared, limit)
    }
    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: Out<u64>, f: u64, n: i32, threads: i32) {
        let spec = current()?.spec()?;
        let k = driver()?.function(f)?.kernel.shared as u64;
        if n <= 0 || threads <= 0 {
            return Err(INVALID_VALUE);
        }
        bytes.put((u64::from(spec.shared_sm) / n as u64).saturating_sub(1024 + k))
    }
    fn cuOccupancyMaxPotentialClusterSize(size: Out<i32>, f: u64, config: In<Config>) {
        config.get()?;
        driver()?.function(f)?;
        size.put(8)
    }
    fn cuOccupancyMaxActiveClusters(n: Out<i32>, f: u64, config: In<Config>) {
        let c = config.get()?;
        let threads = c.block.iter().product::<u32>() as i32;
        n.put(blocks(f, threads, u64::from(c.shared))? * current()?.spec()?.sm as i32 / 8)
    }
}
