//! Everything that starts work on the device, and everything that waits for it.
//!
//! What a launch asks before it goes on is in [`fcsp_hook::launch`].

use fcsp_hook::backend::Capture;
use fcsp_hook::compute::Drains;
use fcsp_hook::family::capture::{BesideCaptures, CaptureMode, beside};
use fcsp_hook::launch::{self, admits_graph, admits_kernel, is_graph_unthrottled, is_unthrottled};
use fcsp_hook::memory;
use fcsp_hook::observed;
use fcsp_hook::recordings::Question;

use crate::call_real;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::memory::graph::GRAPHS;
use crate::vendor::{Cuda, catch_panic, named};

pub mod copies;
pub mod legacy;

/// Submits a kernel.
#[inline]
fn kernel(
    function: CUfunction,
    blocks: u64,
    stream: CUstream,
    per_thread: bool,
    call: impl Fn() -> CUresult,
) -> CUresult {
    launch::kernel::<Cuda>(function as usize, blocks, named(stream, per_thread), call)
}

impl CaptureMode for Cuda {
    type Mode = CUstreamCaptureMode;
    const RELAXED: CUstreamCaptureMode = CU_STREAM_CAPTURE_MODE_RELAXED;

    fn exchange_capture_mode(mode: &mut CUstreamCaptureMode) -> bool {
        call_real!(cuThreadExchangeStreamCaptureMode(mode)) == CUDA_SUCCESS
    }
}

impl Capture for Cuda {
    type Beside = Question<BesideCaptures<Self>>;

    #[inline]
    fn is_recording() -> bool {
        GRAPHS.recordings().any()
    }

    fn records(stream: usize) -> bool {
        let mut status = CU_STREAM_CAPTURE_STATUS_NONE;
        call_real!(cuStreamIsCapturing(stream as CUstream, &mut status)) == CUDA_SUCCESS
            && status != CU_STREAM_CAPTURE_STATUS_NONE
    }

    fn beside_recordings() -> Self::Beside {
        beside(GRAPHS.recordings())
    }
}

fn volume(x: u32, y: u32, z: u32) -> u64 {
    u64::from(x) * u64::from(y) * u64::from(z)
}

macro_rules! launch_kernel {
    ($($name:ident: $per_thread:literal),*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`.")]
            $name(
                f: CUfunction, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
                sharedMemBytes: u32, hStream: CUstream, kernelParams: *mut *mut core::ffi::c_void,
                extra: *mut *mut core::ffi::c_void
            ) -> CUresult,
            real::$name,
            bypass is_unthrottled::<Cuda>(),
            admitted admits_kernel::<Cuda>(
                f as usize, volume(gridDimX, gridDimY, gridDimZ), named(hStream, $per_thread)
            ),
            asking kernel(f, volume(gridDimX, gridDimY, gridDimZ), hStream, $per_thread, || call_real!($name(
                f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, hStream, kernelParams,
                extra
            )))
        }
    )*};
}
launch_kernel!(cuLaunchKernel: false, cuLaunchKernel_ptsz: true);

macro_rules! launch_cooperative {
    ($($name:ident: $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            f: CUfunction,
            gridDimX: u32,
            gridDimY: u32,
            gridDimZ: u32,
            blockDimX: u32,
            blockDimY: u32,
            blockDimZ: u32,
            sharedMemBytes: u32,
            hStream: CUstream,
            kernelParams: *mut *mut core::ffi::c_void,
        ) -> CUresult {
            kernel(
                f,
                volume(gridDimX, gridDimY, gridDimZ),
                hStream,
                $per_thread,
                || call_real!($name(
                    f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, hStream,
                    kernelParams
                )),
            )
        }
    )*};
}
launch_cooperative!(cuLaunchCooperativeKernel: false, cuLaunchCooperativeKernel_ptsz: true);

/// Blocks of a launch and its stream; `None` without a configuration, which is the driver's to
/// log_refusal of.
///
/// # Safety
/// `config` is null or points to a configuration.
#[inline]
unsafe fn shape(config: *const CUlaunchConfig) -> Option<(u64, CUstream)> {
    // SAFETY: by this function's contract.
    let shape = unsafe { config.as_ref() }?;
    Some((
        volume(shape.gridDimX, shape.gridDimY, shape.gridDimZ),
        shape.hStream,
    ))
}

macro_rules! launch_ex {
    ($($name:ident: $per_thread:literal),*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`.")]
            $name(
                config: *const CUlaunchConfig, f: CUfunction, kernelParams: *mut *mut core::ffi::c_void,
                extra: *mut *mut core::ffi::c_void
            ) -> CUresult,
            real::$name,
            bypass is_unthrottled::<Cuda>(),
            // SAFETY: the caller passes a configuration or null, as the driver requires.
            admitted unsafe { shape(config) }.is_none_or(|(blocks, stream)| {
                admits_kernel::<Cuda>(f as usize, blocks, named(stream, $per_thread))
            }),
            asking {
                let call = || call_real!($name(config, f, kernelParams, extra));
                // SAFETY: as above.
                match unsafe { shape(config) } {
                    Some((blocks, stream)) => kernel(f, blocks, stream, $per_thread, call),
                    None => call(),
                }
            }
        }
    )*};
}
launch_ex!(cuLaunchKernelEx: false, cuLaunchKernelEx_ptsz: true);

macro_rules! graph_launch {
    ($($name:ident: $per_thread:literal),*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`: one key each graph; memory nodes take their memory here.")]
            $name(hGraph: CUgraphExec, hStream: CUstream) -> CUresult,
            real::$name,
            bypass is_graph_unthrottled::<Cuda>(),
            admitted admits_graph::<Cuda>(hGraph as usize, named(hStream, $per_thread)),
            asking launch::graph::<Cuda>(hGraph as usize, named(hStream, $per_thread), || {
                if GRAPHS.any() {
                    catch_panic(CUDA_ERROR_UNKNOWN, || with_memory(hGraph, || call_real!($name(hGraph, hStream))))
                } else {
                    call_real!($name(hGraph, hStream))
                }
            })
        }
    )*};
}
graph_launch!(cuGraphLaunch: false, cuGraphLaunch_ptsz: true);

macro_rules! graph_upload {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: memory nodes may take their memory here.")]
        pub unsafe extern "C" fn $name(hGraph: CUgraphExec, hStream: CUstream) -> CUresult {
            if !GRAPHS.any() {
                return call_real!($name(hGraph, hStream));
            }
            catch_panic(CUDA_ERROR_UNKNOWN, || with_memory(hGraph, || call_real!($name(hGraph, hStream))))
        }
    )*};
}
graph_upload!(cuGraphUpload, cuGraphUpload_ptsz);

fn with_memory(executable: CUgraphExec, call: impl Fn() -> CUresult) -> CUresult {
    memory::graph::with_memory::<Cuda>(executable as usize, "cuGraphLaunch", call)
}

observed! {
    Cuda, call_real;

    /// The form of today.
    cuGraphExecUpdate_v2(hGraphExec: CUgraphExec, hGraph: CUgraph, resultInfo: *mut CUgraphExecUpdateResultInfo)
        always launch::graph_changed::<Cuda>(hGraphExec as usize);
    /// The form of 10.2 to 11.8.
    cuGraphExecUpdate(hGraphExec: CUgraphExec, hGraph: CUgraph, hErrorNode_out: *mut CUgraphNode,
        updateResult_out: *mut CUgraphExecUpdateResult)
        always launch::graph_changed::<Cuda>(hGraphExec as usize);

    cuStreamSynchronize(hStream: CUstream)
        around |call| launch::waiting::<Cuda>(Drains::Queue(named(hStream, false)), call);
    cuStreamSynchronize_ptsz(hStream: CUstream)
        around |call| launch::waiting::<Cuda>(Drains::Queue(named(hStream, true)), call);
    cuEventSynchronize(hEvent: CUevent)
        around |call| launch::waiting::<Cuda>(Drains::Something, call);
    cuCtxSynchronize()
        around |call| launch::waiting::<Cuda>(Drains::Everything, call);
    cuCtxSynchronize_v2(ctx: CUcontext)
        around |call| launch::waiting::<Cuda>(Drains::Something, call);
}
