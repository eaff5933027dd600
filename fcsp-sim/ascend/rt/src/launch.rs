//! Launches, of which the runtime has many: by stub, by binary and tiling key, by function handle,
//! with arguments on the host, on the device or put together.

use crate::abi::{In, Text};
use crate::codes::{PARAM_INVALID, Reply};
use crate::driver::driver;
use crate::export::api;
use crate::module::{stub, tiled};
use crate::stream::{Stream, target};
use fcsp_sim::graph::Work;
use fcsp_sim::launch::Launch;
use fcsp_sim::program::{Kernel, Program};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The head of `rtArgsEx_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Args {
    args: In<u8>,
    _inputs: u64,
    size: u32,
}

impl Args {
    fn bytes(self) -> Reply<Vec<u8>> {
        self.args.list(self.size as usize)
    }
}

fn run(kernel: Arc<Kernel>, blocks: u32, params: Vec<u8>, stream: &Stream) -> Reply {
    if blocks == 0 {
        return Err(PARAM_INVALID);
    }
    // An operator that may use fewer cores puts as many more blocks on each.
    let d = driver()?;
    let open = stream.open()?;
    let limit = open.cores[0].load(Relaxed);
    let cores = d.process.topology.devices[open.device].sm;
    let blocks = if limit > 0 && limit < cores {
        (u64::from(blocks) * u64::from(cores)).div_ceil(u64::from(limit)) as u32
    } else {
        blocks
    };
    stream.run(Work::Kernel(Launch {
        tag: 0,
        kernel,
        grid: [blocks, 1, 1],
        block: [1, 1, 1],
        shared: 0,
        params,
    }))
}

fn by_handle(f: u64, blocks: u32, params: Vec<u8>, stream: u64) -> Reply {
    let f = driver()?.functions.get(f)?;
    run(f.kernel.clone(), blocks, params, &*target(stream)?)
}

fn by_name(name: &str, blocks: u32, params: Vec<u8>, stream: u64) -> Reply {
    run(
        Arc::new(Program::binary().kernel(name)?),
        blocks,
        params,
        &*target(stream)?,
    )
}

api! {
    fn rtKernelLaunch(f: u64, blocks: u32, args: In<u8>, size: u32, _shared: u64, stream: u64) {
        run(stub(f)?.kernel.clone(), blocks, args.list(size as usize)?, &*target(stream)?)
    }
    fn rtKernelLaunchWithFlag(f: u64, blocks: u32, args: In<Args>, _shared: u64, stream: u64, _flags: u32) {
        run(stub(f)?.kernel.clone(), blocks, args.get()?.bytes()?, &*target(stream)?)
    }
    fn rtKernelLaunchWithFlagV2(
        f: u64, blocks: u32, args: In<Args>, _shared: u64, stream: u64, _flags: u32, _config: u64,
    ) {
        run(stub(f)?.kernel.clone(), blocks, args.get()?.bytes()?, &*target(stream)?)
    }
    fn rtVectorCoreKernelLaunch(
        f: u64, blocks: u32, args: In<Args>, _shared: u64, stream: u64, _flags: u32, _config: u64,
    ) {
        run(stub(f)?.kernel.clone(), blocks, args.get()?.bytes()?, &*target(stream)?)
    }
    fn rtKernelLaunchWithHandle, rtKernelLaunchWithHandleV2, rtVectorCoreKernelLaunchWithHandle(
        binary: u64, key: u64, blocks: u32, args: In<Args>, _shared: u64, stream: u64, _config: u64,
    ) {
        run(tiled(binary, key)?, blocks, args.get()?.bytes()?, &*target(stream)?)
    }
    fn rtLaunchKernelByFuncHandleV3(f: u64, blocks: u32, args: In<Args>, stream: u64, _config: u64) {
        by_handle(f, blocks, args.get()?.bytes()?, stream)
    }
    fn rtsLaunchKernelWithConfig(f: u64, blocks: u32, stream: u64, _config: u64, args: u64, _reserve: u64) {
        let bytes = driver()?.arguments.get(args)?.bytes();
        by_handle(f, blocks, bytes, stream)
    }
    fn rtsLaunchKernelWithDevArgs(
        f: u64, blocks: u32, stream: u64, _config: u64, args: In<u8>, size: u32, _reserve: u64,
    ) {
        by_handle(f, blocks, args.list(size as usize)?, stream)
    }
    fn rtsLaunchKernelWithHostArgs(
        f: u64, blocks: u32, stream: u64, _config: u64, args: In<u8>, size: u32, _holders: u64, _count: u64,
    ) {
        by_handle(f, blocks, args.list(size as usize)?, stream)
    }
    fn rtCpuKernelLaunch(
        _library: Text, kernel: Text, blocks: u32, args: In<u8>, size: u32, _shared: u64, stream: u64,
    ) {
        by_name(&kernel.get()?, blocks, args.list(size as usize)?, stream)
    }
    fn rtAicpuKernelLaunchExWithArgs(
        _kind: u32, name: Text, blocks: u32, args: In<Args>, _shared: u64, stream: u64, _flags: u32,
    ) {
        by_name(&name.get()?, blocks, args.get()?.bytes()?, stream)
    }
}
