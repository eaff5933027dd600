//! Launches.

use crate::abi::{In, Out};
use crate::codes::{Code, INVALID_HANDLE, INVALID_VALUE, Reply};
use crate::driver::driver;
use crate::export::{api, stream_api};
use crate::stream::target;
use fcsp_sim::graph::Work;
use fcsp_sim::launch::Launch;

/// Grid, block, dynamic shared memory.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Bytes.
    pub shared: u32,
}

const END: u64 = 0;
const BUFFER: u64 = 1;
const SIZE: u64 = 2;

/// Returns a launch as the API describes it: parameters one by one, or packed in a buffer named in
/// `extra`.
pub fn build(function: u64, shape: Shape, params: In<In<u8>>, extra: In<u64>) -> Reply<Launch> {
    let f = driver()?.function(function)?;
    let threads: u64 = shape.block.iter().map(|n| u64::from(*n)).product();
    if shape.grid.contains(&0) || threads == 0 || shape.grid[1] > 65_535 || shape.grid[2] > 65_535 {
        return Err(INVALID_VALUE);
    }
    if threads > 1024 || shape.block[2] > 64 {
        return Err(INVALID_VALUE);
    }
    let limit = f
        .shared
        .load(std::sync::atomic::Ordering::Relaxed)
        .max(49_152 - f.kernel.shared as i32);
    if i64::from(shape.shared) > i64::from(limit) {
        return Err(INVALID_VALUE);
    }
    let mut bytes = Vec::new();
    if !extra.is_null() {
        let (mut at, mut size) = (In::<u8>::from_raw(std::ptr::null()), 0usize);
        for i in (0..16).step_by(2) {
            match extra.at(i)? {
                END => break,
                BUFFER => at = In::from_raw(extra.at(i + 1)? as *const u8),
                SIZE => size = In::from_raw(extra.at(i + 1)? as *const u64).get()? as usize,
                _ => return Err(INVALID_VALUE),
            }
        }
        bytes = at.list(if at.is_null() { 0 } else { size })?;
    } else if let Some(layout) = &f.kernel.params {
        if params.is_null() && !layout.is_empty() {
            return Err(INVALID_VALUE);
        }
        for (i, (offset, size)) in layout.iter().enumerate() {
            bytes.resize(*offset, 0);
            bytes.extend(params.at(i)?.list(*size)?);
        }
    }
    let (tag, kernel) = (function, f.kernel.clone());
    Ok(Launch {
        tag,
        kernel,
        grid: shape.grid,
        block: shape.block,
        shared: shape.shared,
        params: bytes,
    })
}

/// The configuration of an extended launch.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Dynamic shared memory.
    pub shared: u32,
    /// The stream.
    pub stream: u64,
    attributes: u64,
    count: u32,
}

fn launch(
    f: u64,
    shape: Shape,
    stream: u64,
    pt: bool,
    params: In<In<u8>>,
    extra: In<u64>,
) -> Reply {
    let t = target(stream, pt)?;
    let owner = driver()?.function(f)?.context;
    if owner != 0 && owner != t.context.tag() {
        return Err(INVALID_HANDLE);
    }
    t.run(Work::Kernel(build(f, shape, params, extra)?))
}

stream_api! {
    fn cuLaunchKernel, cuLaunchKernel_ptsz[pt](
        f: u64, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: u64,
        params: In<In<u8>>, extra: In<u64>,
    ) {
        launch(f, Shape { grid: [gx, gy, gz], block: [bx, by, bz], shared }, stream, pt, params, extra)
    }
    fn cuLaunchKernelEx, cuLaunchKernelEx_ptsz[pt](config: In<Config>, f: u64, params: In<In<u8>>, extra: In<u64>) {
        let c = config.get()?;
        launch(f, Shape { grid: c.grid, block: c.block, shared: c.shared }, c.stream, pt, params, extra)
    }
    fn cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz[pt](
        f: u64, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: u64, params: In<In<u8>>,
    ) {
        let t = target(stream, pt)?;
        let spec = t.context.spec()?;
        let threads = u64::from(bx) * u64::from(by) * u64::from(bz);
        let resident = u64::from(spec.sm) * (u64::from(spec.threads_sm) / threads.max(1)).min(32);
        // All blocks must fit on the device at once, or waiting for each other they would wait for
        // ever.
        if u64::from(gx) * u64::from(gy) * u64::from(gz) > resident {
            return Err(Code(720));
        }
        let extra = In::from_raw(std::ptr::null());
        launch(f, Shape { grid: [gx, gy, gz], block: [bx, by, bz], shared }, stream, pt, params, extra)
    }
}

api! {
    fn cuFuncIsLoaded(state: Out<i32>, f: u64) {
        driver()?.function(f)?;
        state.put(1)
    }
    fn cuFuncLoad(f: u64) {
        driver()?.function(f)?;
        Ok(())
    }
}
