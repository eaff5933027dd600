//! Launches of older APIs that drivers still export: the one of 2007, which sets a kernel's shape
//! and parameters beforehand, and the cooperative launch on several devices of 2017.

use fcsp_hook::backend::{Capture, Driver};
use fcsp_hook::compute::{Compute, Work};

use super::kernel;
use crate::call_real;
use crate::ffi::cuda::*;
use crate::vendor::{self, Cuda, catch_panic, named};

/// Blocks of a grid in the old API's signed numbers; what makes no sense is the driver's to refuse.
fn grid(width: i32, height: i32) -> u64 {
    u64::from(width.max(1).cast_unsigned()) * u64::from(height.max(1).cast_unsigned())
}

/// `cuLaunch`: one block, on the default stream.
pub unsafe extern "C" fn cuLaunch(f: CUfunction) -> CUresult {
    kernel(f, 1, core::ptr::null_mut(), false, || {
        call_real!(cuLaunch(f))
    })
}

/// `cuLaunchGrid`: on the default stream.
pub unsafe extern "C" fn cuLaunchGrid(
    f: CUfunction,
    grid_width: i32,
    grid_height: i32,
) -> CUresult {
    kernel(
        f,
        grid(grid_width, grid_height),
        core::ptr::null_mut(),
        false,
        || call_real!(cuLaunchGrid(f, grid_width, grid_height)),
    )
}

/// `cuLaunchGridAsync`.
pub unsafe extern "C" fn cuLaunchGridAsync(
    f: CUfunction,
    grid_width: i32,
    grid_height: i32,
    hStream: CUstream,
) -> CUresult {
    kernel(f, grid(grid_width, grid_height), hStream, false, || {
        call_real!(cuLaunchGridAsync(f, grid_width, grid_height, hStream))
    })
}

/// Returns the share that governs `stream`: that of the device which its context is on.
fn of_stream(stream: CUstream) -> Option<&'static Compute<Cuda>> {
    let mut context: CUcontext = core::ptr::null_mut();
    if stream.is_null()
        || stream == CU_STREAM_LEGACY
        || stream == CU_STREAM_PER_THREAD
        || call_real!(cuStreamGetCtx(stream, &mut context)) != CUDA_SUCCESS
        || call_real!(cuCtxPushCurrent_v2(context)) != CUDA_SUCCESS
    {
        return Cuda::process().compute();
    }
    let found = Cuda::process().compute();
    call_real!(cuCtxPopCurrent_v2(&mut context));
    found
}

/// Passes the gate of every device that takes part, one after the other, and then makes the one
/// call. None is held while the next is waited for: a gate is a decision, not a lock.
fn pass_all(launches: &[CUDA_LAUNCH_PARAMS], call: &dyn Fn() -> CUresult) -> CUresult {
    let Some((first, rest)) = launches.split_first() else {
        return call();
    };
    let Some(compute) = of_stream(first.hStream) else {
        return pass_all(rest, call);
    };
    let blocks = u64::from(first.gridDimX) * u64::from(first.gridDimY) * u64::from(first.gridDimZ);
    let work = Work {
        // Not to be remembered by what it is here. Timing it would put events around a call that
        // belongs to several contexts.
        settled: false,
        sample: false,
        ..compute.kernel_work(first.function as usize, blocks)
    };
    compute.submit(work, named(first.hStream, false), || pass_all(rest, call))
}

/// `cuLaunchCooperativeKernelMultiDevice`: each device's part is charged there.
pub unsafe extern "C" fn cuLaunchCooperativeKernelMultiDevice(
    launchParamsList: *mut CUDA_LAUNCH_PARAMS,
    numDevices: u32,
    flags: u32,
) -> CUresult {
    let call = || {
        call_real!(cuLaunchCooperativeKernelMultiDevice(
            launchParamsList,
            numDevices,
            flags
        ))
    };
    if vendor::governed().is_none() || launchParamsList.is_null() {
        return call();
    }
    // SAFETY: the caller passes as many entries as it says, as the driver requires.
    let launches = unsafe { core::slice::from_raw_parts(launchParamsList, numDevices as usize) };
    if Cuda::is_recording()
        && launches
            .iter()
            .any(|launch| Cuda::records(launch.hStream as usize))
    {
        return call();
    }
    catch_panic(CUDA_ERROR_UNKNOWN, || pass_all(launches, &call))
}
