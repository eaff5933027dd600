//! Launches, by function handle and by host function.

use crate::abi::In;
use crate::codes::{Code, INVALID_VALUE, Reply};
use crate::driver::driver;
use crate::export::{cu, hip_api, same_api};
use crate::launch as driver_launch;
use std::cell::RefCell;

/// Blocks, or threads a block. Passed by value.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Dim3 {
    /// First.
    pub x: u32,
    /// Second.
    pub y: u32,
    /// Third.
    pub z: u32,
}

const INVALID_CONFIGURATION: Code = Code(9);
const MISSING_CONFIGURATION: Code = Code(52);

/// Returns the function handle that a host function stands for; a function handle stands for
/// itself.
pub fn host_function(f: u64) -> Reply<u64> {
    if let Some(handle) = super::registered::kernel(f)? {
        return Ok(handle);
    }
    let d = driver()?;
    // A host function that nobody registered is no handle at all.
    let known = d.functions.look_up(f).or_else(|_| d.kernels.look_up(f));
    known.map(|_| f).map_err(|_| Code(98))
}

/// One launch.
#[derive(Debug, Clone, Copy)]
struct Call {
    grid: Dim3,
    block: Dim3,
    shared: u64,
    stream: u64,
    cooperative: bool,
    spt: bool,
}

fn null<T: Copy>() -> In<T> {
    In::from_raw(std::ptr::null())
}

fn run(f: u64, c: Call, params: In<In<u8>>, extra: In<u64>) -> Reply {
    let shared = u32::try_from(c.shared).map_err(|_| INVALID_VALUE)?;
    let (g, b) = (c.grid, c.block);
    if [g.x, g.y, g.z, b.x, b.y, b.z].contains(&0) {
        return Err(INVALID_CONFIGURATION);
    }
    cu(match (c.cooperative, c.spt) {
        (false, false) => driver_launch::cuLaunchKernel(
            f, g.x, g.y, g.z, b.x, b.y, b.z, shared, c.stream, params, extra,
        ),
        (false, true) => driver_launch::cuLaunchKernel_ptsz(
            f, g.x, g.y, g.z, b.x, b.y, b.z, shared, c.stream, params, extra,
        ),
        (true, false) => driver_launch::cuLaunchCooperativeKernel(
            f, g.x, g.y, g.z, b.x, b.y, b.z, shared, c.stream, params,
        ),
        (true, true) => driver_launch::cuLaunchCooperativeKernel_ptsz(
            f, g.x, g.y, g.z, b.x, b.y, b.z, shared, c.stream, params,
        ),
    })
}

fn plain(grid: Dim3, block: Dim3, shared: u64, stream: u64) -> Call {
    Call {
        grid,
        block,
        shared,
        stream,
        cooperative: false,
        spt: false,
    }
}

/// HIP's extended launches count threads in all, not blocks.
fn blocks(threads: [u32; 3], block: [u32; 3]) -> Reply<Dim3> {
    let each = |i: usize| -> Reply<u32> {
        match block[i] {
            0 => Err(INVALID_CONFIGURATION),
            n => Ok(threads[i].div_ceil(n)),
        }
    };
    Ok(Dim3 {
        x: each(0)?,
        y: each(1)?,
        z: each(2)?,
    })
}

/// Launches with an event before and one after, where given.
fn bracketed(stream: u64, start: u64, stop: u64, launch: impl FnOnce() -> Reply) -> Reply {
    let record = |event: u64| match event {
        0 => Ok(()),
        _ => cu(crate::event::cuEventRecord(event, stream)),
    };
    record(start)?;
    launch()?;
    record(stop)
}

/// `hipLaunchConfig_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Config {
    grid: Dim3,
    block: Dim3,
    shared: u64,
    stream: u64,
    attributes: u64,
    count: u32,
}

/// `hipLaunchParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Params {
    f: u64,
    grid: Dim3,
    block: Dim3,
    params: u64,
    shared: u64,
    stream: u64,
}

/// `hipFunctionLaunchParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FunctionParams {
    f: u64,
    grid: Dim3,
    block: Dim3,
    shared: u32,
    stream: u64,
    params: u64,
}

const _: () = assert!(
    size_of::<Config>() == 56 && size_of::<Params>() == 56 && size_of::<FunctionParams>() == 56
);

fn each(list: In<Params>, n: i32, cooperative: bool) -> Reply {
    let n = usize::try_from(n).map_err(|_| INVALID_VALUE)?;
    for p in list.list(n)? {
        let call = Call {
            cooperative,
            ..plain(p.grid, p.block, p.shared, p.stream)
        };
        run(
            host_function(p.f)?,
            call,
            In::from_raw(p.params as *const _),
            null(),
        )?;
    }
    Ok(())
}

thread_local! {
    /// Configurations between `<<<` and the launch itself.
    static PENDING: RefCell<Vec<(Call, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
}

fn push(grid: Dim3, block: Dim3, shared: u64, stream: u64) {
    PENDING.with(|p| {
        p.borrow_mut()
            .push((plain(grid, block, shared, stream), Vec::new()))
    });
}

hip_api! {
    fn hipModuleLaunchKernel(
        f: u64, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: u64,
        params: In<In<u8>>, extra: In<u64>,
    ) {
        let call = plain(Dim3 { x: gx, y: gy, z: gz }, Dim3 { x: bx, y: by, z: bz }, u64::from(shared), stream);
        run(f, call, params, extra)
    }
    fn hipModuleLaunchCooperativeKernel(
        f: u64, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: u64, params: In<In<u8>>,
    ) {
        let call = plain(Dim3 { x: gx, y: gy, z: gz }, Dim3 { x: bx, y: by, z: bz }, u64::from(shared), stream);
        run(f, Call { cooperative: true, ..call }, params, null())
    }
    fn hipModuleLaunchCooperativeKernelMultiDevice(list: In<FunctionParams>, n: u32, _flags: u32) {
        for p in list.list(n as usize)? {
            let call = Call { cooperative: true, ..plain(p.grid, p.block, u64::from(p.shared), p.stream) };
            run(p.f, call, In::from_raw(p.params as *const _), null())?;
        }
        Ok(())
    }
    fn hipExtModuleLaunchKernel(
        f: u64, tx: u32, ty: u32, tz: u32, bx: u32, by: u32, bz: u32, shared: u64, stream: u64,
        params: In<In<u8>>, extra: In<u64>, start: u64, stop: u64, _flags: u32,
    ) {
        let grid = blocks([tx, ty, tz], [bx, by, bz])?;
        let call = plain(grid, Dim3 { x: bx, y: by, z: bz }, shared, stream);
        bracketed(stream, start, stop, || run(f, call, params, extra))
    }
    fn hipHccModuleLaunchKernel(
        f: u64, tx: u32, ty: u32, tz: u32, bx: u32, by: u32, bz: u32, shared: u64, stream: u64,
        params: In<In<u8>>, extra: In<u64>, start: u64, stop: u64,
    ) {
        let grid = blocks([tx, ty, tz], [bx, by, bz])?;
        let call = plain(grid, Dim3 { x: bx, y: by, z: bz }, shared, stream);
        bracketed(stream, start, stop, || run(f, call, params, extra))
    }
    fn hipLaunchKernel(f: u64, grid: Dim3, block: Dim3, params: In<In<u8>>, shared: u64, stream: u64) {
        run(host_function(f)?, plain(grid, block, shared, stream), params, null())
    }
    fn hipLaunchKernel_spt(f: u64, grid: Dim3, block: Dim3, params: In<In<u8>>, shared: u64, stream: u64) {
        run(host_function(f)?, Call { spt: true, ..plain(grid, block, shared, stream) }, params, null())
    }
    fn hipExtLaunchKernel(
        f: u64, grid: Dim3, block: Dim3, params: In<In<u8>>, shared: u64, stream: u64, start: u64, stop: u64, _flags: i32,
    ) {
        let f = host_function(f)?;
        bracketed(stream, start, stop, || run(f, plain(grid, block, shared, stream), params, null()))
    }
    fn hipLaunchCooperativeKernel(
        f: u64, grid: Dim3, block: Dim3, params: In<In<u8>>, shared: u32, stream: u64,
    ) {
        let call = Call { cooperative: true, ..plain(grid, block, u64::from(shared), stream) };
        run(host_function(f)?, call, params, null())
    }
    fn hipLaunchCooperativeKernel_spt(
        f: u64, grid: Dim3, block: Dim3, params: In<In<u8>>, shared: u32, stream: u64,
    ) {
        let call = Call { cooperative: true, spt: true, ..plain(grid, block, u64::from(shared), stream) };
        run(host_function(f)?, call, params, null())
    }
    fn hipLaunchCooperativeKernelMultiDevice(list: In<Params>, n: i32, _flags: u32) {
        each(list, n, true)
    }
    fn hipExtLaunchMultiKernelMultiDevice(list: In<Params>, n: i32, _flags: u32) {
        each(list, n, false)
    }
    fn hipLaunchKernelExC(config: In<Config>, f: u64, params: In<In<u8>>) {
        let c = config.get()?;
        run(host_function(f)?, plain(c.grid, c.block, c.shared, c.stream), params, null())
    }
    fn __hipPushCallConfiguration(grid: Dim3, block: Dim3, shared: u64, stream: u64) {
        push(grid, block, shared, stream);
        Ok(())
    }
    fn __hipPopCallConfiguration(
        grid: crate::abi::Out<Dim3>, block: crate::abi::Out<Dim3>, shared: crate::abi::Out<u64>, stream: crate::abi::Out<u64>,
    ) {
        let (c, _) = PENDING.with(|p| p.borrow_mut().pop()).ok_or(MISSING_CONFIGURATION)?;
        grid.put(c.grid)?;
        block.put(c.block)?;
        shared.put(c.shared)?;
        stream.put(c.stream)
    }
    fn hipConfigureCall(grid: Dim3, block: Dim3, shared: u64, stream: u64) {
        push(grid, block, shared, stream);
        Ok(())
    }
    fn hipSetupArgument(argument: In<u8>, size: u64, offset: u64) {
        PENDING.with(|p| {
            let mut all = p.borrow_mut();
            let (_, bytes) = all.last_mut().ok_or(MISSING_CONFIGURATION)?;
            let end = offset.checked_add(size).filter(|e| *e <= 4096).ok_or(INVALID_VALUE)? as usize;
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[offset as usize..end].copy_from_slice(&argument.list(size as usize)?);
            Ok(())
        })
    }
    fn hipLaunchByPtr(f: u64) {
        let (c, bytes) = PENDING.with(|p| p.borrow_mut().pop()).ok_or(MISSING_CONFIGURATION)?;
        let size = bytes.len() as u64;
        // A buffer and its size, as the driver takes packed arguments.
        let extra = [1, bytes.as_ptr() as u64, 2, &raw const size as u64, 0];
        run(host_function(f)?, c, null(), In::from_raw(extra.as_ptr()))
    }
}

same_api! {
    fn hipDrvLaunchKernelEx = launch::cuLaunchKernelEx(
        config: In<crate::launch::Config>, f: u64, params: In<In<u8>>, extra: In<u64>,
    );
}
