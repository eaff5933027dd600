//! Everything that starts work on the device, and everything that waits for it.
//!
//! What a launch asks before it goes on is in [`fcsp_hook::launch`].

use core::ffi::c_void;

use fcsp_hook::backend::Capture;
use fcsp_hook::compute::Drains;
use fcsp_hook::family::capture::{BesideCaptures, CaptureMode, beside};
use fcsp_hook::launch::{self, admits_graph, admits_kernel, is_graph_unthrottled, is_unthrottled};
use fcsp_hook::memory;
use fcsp_hook::observed;
use fcsp_hook::recordings::Question;

use crate::call_real;
use crate::driver::real;
use crate::errors::answered;
use crate::events::HOST_FUNCTION;
use crate::ffi::hip::*;
use crate::memory::graph::GRAPHS;
use crate::vendor::{Hip, Reentry, catch_panic, named};

pub mod copies;
pub mod legacy;

impl launch::Argument for dim3 {}

fn volume(d: dim3) -> u64 {
    u64::from(d.x) * u64::from(d.y) * u64::from(d.z)
}

/// Blocks of a launch that counts threads in all.
fn blocks_of(threads: [u32; 3], block: [u32; 3]) -> u64 {
    threads
        .into_iter()
        .zip(block)
        .map(|(all, each)| u64::from(all.div_ceil(each.max(1))))
        .fold(1, u64::saturating_mul)
}

/// Returns the number of a host function in launches, which differs from every function handle.
#[inline]
fn host(function: *const c_void) -> usize {
    function as usize | HOST_FUNCTION
}

/// Submits a kernel. What the runtime calls of itself while it serves this is part of it.
fn kernel(
    function: usize,
    blocks: u64,
    stream: hipStream_t,
    per_thread: bool,
    call: impl Fn() -> hipError_t,
) -> hipError_t {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    launch::kernel::<Hip>(function, blocks, named(stream, per_thread), call)
}

impl CaptureMode for Hip {
    type Mode = hipStreamCaptureMode;
    const RELAXED: hipStreamCaptureMode = hipStreamCaptureModeRelaxed;

    fn exchange_capture_mode(mode: &mut hipStreamCaptureMode) -> bool {
        call_real!(hipThreadExchangeStreamCaptureMode(mode)) == hipSuccess
    }
}

impl Capture for Hip {
    type Beside = Question<BesideCaptures<Self>>;

    #[inline]
    fn is_recording() -> bool {
        GRAPHS.recordings().any()
    }

    fn records(stream: usize) -> bool {
        let mut status = hipStreamCaptureStatusNone;
        call_real!(hipStreamIsCapturing(stream as hipStream_t, &mut status)) == hipSuccess
            && status != hipStreamCaptureStatusNone
    }

    fn beside_recordings() -> Self::Beside {
        beside(GRAPHS.recordings())
    }
}

/// Wraps launches: what they launch, how many blocks, on which stream, and whether stream 0 is the
/// thread's own.
macro_rules! launches {
    ($($name:ident($($arg:ident: $ty:ty),* $(,)?) = $function:expr, $blocks:expr, $stream:expr, $per_thread:literal;)*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`.")]
            $name($($arg: $ty),*) -> hipError_t,
            real::$name,
            bypass is_unthrottled::<Hip>(),
            // What the runtime calls of itself.
            within Reentry::is_up(),
            admitted admits_kernel::<Hip>($function, $blocks, named($stream, $per_thread)),
            mark Reentry::raise(),
            asking kernel($function, $blocks, $stream, $per_thread, || call_real!($name($($arg),*)))
        }
    )*};
}
launches! {
    hipModuleLaunchKernel(
        f: hipFunction_t, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
        sharedMemBytes: u32, stream: hipStream_t, kernelParams: *mut *mut c_void, extra: *mut *mut c_void
    ) = f as usize, u64::from(gridDimX) * u64::from(gridDimY) * u64::from(gridDimZ), stream, false;
    hipModuleLaunchCooperativeKernel(
        f: hipFunction_t, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
        sharedMemBytes: u32, stream: hipStream_t, kernelParams: *mut *mut c_void
    ) = f as usize, u64::from(gridDimX) * u64::from(gridDimY) * u64::from(gridDimZ), stream, false;
    _Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j(
        f: hipFunction_t, threadsX: u32, threadsY: u32, threadsZ: u32, blockX: u32, blockY: u32, blockZ: u32,
        sharedMemBytes: usize, stream: hipStream_t, kernelParams: *mut *mut c_void, extra: *mut *mut c_void,
        startEvent: hipEvent_t, stopEvent: hipEvent_t, flags: u32
    ) = f as usize, blocks_of([threadsX, threadsY, threadsZ], [blockX, blockY, blockZ]), stream, false;
    _Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_(
        f: hipFunction_t, threadsX: u32, threadsY: u32, threadsZ: u32, blockX: u32, blockY: u32, blockZ: u32,
        sharedMemBytes: usize, stream: hipStream_t, kernelParams: *mut *mut c_void, extra: *mut *mut c_void,
        startEvent: hipEvent_t, stopEvent: hipEvent_t
    ) = f as usize, blocks_of([threadsX, threadsY, threadsZ], [blockX, blockY, blockZ]), stream, false;
    hipLaunchKernel(
        function: *const c_void, numBlocks: dim3, dimBlocks: dim3, args: *mut *mut c_void, sharedMemBytes: usize,
        stream: hipStream_t
    ) = host(function), volume(numBlocks), stream, false;
    hipLaunchKernel_spt(
        function: *const c_void, numBlocks: dim3, dimBlocks: dim3, args: *mut *mut c_void, sharedMemBytes: usize,
        stream: hipStream_t
    ) = host(function), volume(numBlocks), stream, true;
    hipExtLaunchKernel(
        function: *const c_void, numBlocks: dim3, dimBlocks: dim3, args: *mut *mut c_void, sharedMemBytes: usize,
        stream: hipStream_t, startEvent: hipEvent_t, stopEvent: hipEvent_t, flags: i32
    ) = host(function), volume(numBlocks), stream, false;
    hipLaunchCooperativeKernel(
        function: *const c_void, gridDim: dim3, blockDim: dim3, kernelParams: *mut *mut c_void, sharedMemBytes: u32,
        stream: hipStream_t
    ) = host(function), volume(gridDim), stream, false;
    hipLaunchCooperativeKernel_spt(
        function: *const c_void, gridDim: dim3, blockDim: dim3, kernelParams: *mut *mut c_void, sharedMemBytes: u32,
        stream: hipStream_t
    ) = host(function), volume(gridDim), stream, true;
}

/// Wraps launches whose shape is in a structure.
macro_rules! launches_by {
    ($($name:ident($config:ident: $ty:ty, $($arg:ident: $arg_ty:ty),*) = $function:expr, |$shape:ident| $blocks:expr, $stream:ident;)*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`.")]
            $name($config: *const $ty, $($arg: $arg_ty),*) -> hipError_t,
            real::$name,
            bypass is_unthrottled::<Hip>(),
            within Reentry::is_up(),
            // SAFETY: the caller passes a configuration or null, as the runtime requires.
            admitted unsafe { $config.as_ref() }
                .is_some_and(|$shape| admits_kernel::<Hip>($function, $blocks, named($shape.$stream, false))),
            mark Reentry::raise(),
            asking {
                let call = || call_real!($name($config, $($arg),*));
                // SAFETY: as above.
                let Some($shape) = (unsafe { $config.as_ref() }) else { return call() };
                kernel($function, $blocks, $shape.$stream, false, call)
            }
        }
    )*};
}
launches_by! {
    hipLaunchKernelExC(config: hipLaunchConfig_t, fPtr: *const c_void, args: *mut *mut c_void)
        = host(fPtr), |shape| volume(shape.gridDim), stream;
    hipDrvLaunchKernelEx(config: HIP_LAUNCH_CONFIG, f: hipFunction_t, params: *mut *mut c_void, extra: *mut *mut c_void)
        = f as usize,
          |shape| u64::from(shape.gridDimX) * u64::from(shape.gridDimY) * u64::from(shape.gridDimZ),
          hStream;
}

macro_rules! graph_launch {
    ($($name:ident: $per_thread:literal),*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`: one key each graph; memory nodes take their memory here.")]
            $name(graphExec: hipGraphExec_t, hStream: hipStream_t) -> hipError_t,
            real::$name,
            bypass is_graph_unthrottled::<Hip>(),
            within Reentry::is_up(),
            admitted admits_graph::<Hip>(graphExec as usize, named(hStream, $per_thread)),
            mark Reentry::raise(),
            asking {
                let call = || call_real!($name(graphExec, hStream));
                let Some(_inside) = Reentry::enter() else { return call() };
                launch::graph::<Hip>(graphExec as usize, named(hStream, $per_thread), || {
                    if GRAPHS.any() {
                        answered(catch_panic(hipErrorUnknown, || with_memory(graphExec, call)))
                    } else {
                        call()
                    }
                })
            }
        }
    )*};
}
graph_launch!(hipGraphLaunch: false, hipGraphLaunch_spt: true);

/// `hipGraphUpload`: memory nodes may take their memory here.
pub unsafe extern "C" fn hipGraphUpload(
    graphExec: hipGraphExec_t,
    stream: hipStream_t,
) -> hipError_t {
    let call = || call_real!(hipGraphUpload(graphExec, stream));
    if !GRAPHS.any() {
        return call();
    }
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    answered(catch_panic(hipErrorUnknown, || {
        with_memory(graphExec, call)
    }))
}

fn with_memory(executable: hipGraphExec_t, call: impl Fn() -> hipError_t) -> hipError_t {
    memory::graph::with_memory::<Hip>(executable as usize, "hipGraphLaunch", call)
}

observed! {
    Hip, call_real;

    hipGraphExecUpdate(hGraphExec: hipGraphExec_t, hGraph: hipGraph_t, hErrorNode_out: *mut hipGraphNode_t,
        updateResult_out: *mut hipGraphExecUpdateResult)
        always launch::graph_changed::<Hip>(hGraphExec as usize);

    hipStreamSynchronize(stream: hipStream_t)
        around |call| launch::waiting::<Hip>(Drains::Queue(named(stream, false)), call);
    hipStreamSynchronize_spt(stream: hipStream_t)
        around |call| launch::waiting::<Hip>(Drains::Queue(named(stream, true)), call);
    hipEventSynchronize(event: hipEvent_t)
        around |call| launch::waiting::<Hip>(Drains::Something, call);
    hipCtxSynchronize()
        around |call| launch::waiting::<Hip>(Drains::Everything, call);
}

/// `hipDeviceSynchronize`: the host waits. Also how programs make the runtime start, which then
/// takes memory for itself.
pub unsafe extern "C" fn hipDeviceSynchronize() -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        if let Some(_inside) = Reentry::enter()
            && matches!(crate::vendor::target(), crate::vendor::Target::Deny)
        {
            return answered(hipErrorOutOfMemory);
        }
        launch::waiting::<Hip>(Drains::Everything, || call_real!(hipDeviceSynchronize()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_in_all_are_whole_blocks() {
        assert_eq!(blocks_of([1024, 3, 1], [256, 2, 1]), 4 * 2);
        assert_eq!(blocks_of([1, 1, 1], [0, 0, 0]), 1);
        assert_eq!(blocks_of([u32::MAX; 3], [1; 3]), u64::MAX);
    }

    #[test]
    fn default_streams_have_names_of_their_own() {
        let own = core::ptr::without_provenance_mut(4096);
        assert_eq!(named(own, true), 4096);
        assert_ne!(
            named(core::ptr::null_mut(), true),
            named(core::ptr::null_mut(), false)
        );
    }
}
