//! Everything that starts work on the device, and everything that waits for it.
//!
//! A process that nobody governs passes through here on one load and one branch.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use fcsp_core::share::cost;

use crate::call_real;
use crate::compute::{Compute, Drains, Known, Work};
use crate::device::Device;
use crate::driver::real;
use crate::ffi::cuda::*;
use crate::memory::{graph, pool};
use crate::process::{self, Inside, Scope, Status, shielded};

pub mod copies;
pub mod legacy;

/// Nobody has asked yet.
const UNKNOWN: u32 = 0;
/// No tenant: launches are the driver's alone.
const FREE: u32 = 1;
/// A tenant's process.
const GOVERNED: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);
/// The device, if this process uses just one.
static ONLY: AtomicPtr<Device> = AtomicPtr::new(core::ptr::null_mut());

/// Says which devices this process uses; called when one is attached.
pub fn devices_changed(only: Option<&'static Device>) {
    let only = only.map_or(core::ptr::null_mut(), |device| {
        core::ptr::from_ref(device).cast_mut()
    });
    STRAIGHT.close();
    ONLY.store(only, Ordering::Release);
}

/// In a forked child: everything is asked anew.
pub fn forget_everything() {
    STATE.store(UNKNOWN, Ordering::Relaxed);
    STRAIGHT.close();
    ONLY.store(core::ptr::null_mut(), Ordering::Relaxed);
}

#[inline]
fn is_free() -> bool {
    STATE.load(Ordering::Relaxed) == FREE || !find_out()
}

#[inline]
fn find_out() -> bool {
    STATE.load(Ordering::Relaxed) == GOVERNED || find_out_slowly()
}

#[cold]
fn find_out_slowly() -> bool {
    match process::status() {
        Some(Status::Governed(_)) => {
            STATE.store(GOVERNED, Ordering::Relaxed);
            true
        }
        Some(_) => {
            STATE.store(FREE, Ordering::Relaxed);
            STRAIGHT.open(&STRAIGHT.free, 0);
            false
        }
        // The driver is not initialised: the launch will fail by itself.
        None => false,
    }
}

/// The compute share of the device that the calling thread's context is on, if it has one to keep.
#[inline]
fn compute() -> Option<&'static Compute> {
    let only = ONLY.load(Ordering::Acquire);
    if !only.is_null() {
        // SAFETY: devices are leaked, never freed.
        return unsafe { &*only }.compute();
    }
    match process::scope() {
        Scope::On(device, _) => device.compute(),
        _ => None,
    }
}

/// What a launch that has nothing to ask looks at: one line that is only read, and the word it points at.
#[repr(align(64))]
struct Straight {
    /// The generation of the tenant's control page while launches may go straight through; a word that never equals
    /// `seen` while they may not.
    now: AtomicPtr<AtomicU64>,
    /// What `now` must say.
    seen: AtomicU64,
    /// What `now` points at in a process that nobody governs.
    free: AtomicU64,
    /// What `now` points at where launches must ask.
    never: AtomicU64,
    /// The share of the only device, if there is one to keep; null otherwise.
    compute: AtomicPtr<Compute>,
    /// The generation of the tenant's control page, and what it must say for `compute` to hold.
    page: AtomicPtr<AtomicU64>,
    page_seen: AtomicU64,
}

static STRAIGHT: Straight = Straight {
    now: AtomicPtr::new((&raw const STRAIGHT.never).cast_mut()),
    seen: AtomicU64::new(0),
    free: AtomicU64::new(0),
    never: AtomicU64::new(u64::MAX),
    compute: AtomicPtr::new(core::ptr::null_mut()),
    page: AtomicPtr::new((&raw const STRAIGHT.never).cast_mut()),
    page_seen: AtomicU64::new(0),
};

impl Straight {
    /// Sends every launch the long way.
    fn close(&self) {
        self.now
            .store((&raw const self.never).cast_mut(), Ordering::Relaxed);
        self.compute.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Lets launches go straight through while `word` says `generation`.
    fn open(&self, word: &'static AtomicU64, generation: u64) {
        // A launch that reads the old pointer with the new generation compares two generations of one page: should they
        // be equal, the answer is the new one.
        self.close();
        self.seen.store(generation, Ordering::Relaxed);
        // Release: `seen` is there before the word that it belongs to.
        self.now
            .store(core::ptr::from_ref(word).cast_mut(), Ordering::Release);
    }
}

/// Says, for launches that need not ask, what the only device keeps at `generation`: no share, or this one.
pub fn keeps(device: &Device, generation: u64, word: &'static AtomicU64, compute: Option<&'static Compute>) {
    if !core::ptr::eq(ONLY.load(Ordering::Acquire), device) {
        return;
    }
    match compute {
        None => STRAIGHT.open(word, generation),
        Some(compute) => {
            STRAIGHT.close();
            STRAIGHT.page_seen.store(generation, Ordering::Relaxed);
            STRAIGHT
                .page
                .store(core::ptr::from_ref(word).cast_mut(), Ordering::Relaxed);
            // Release: what belongs to it is there before.
            STRAIGHT
                .compute
                .store(core::ptr::from_ref(compute).cast_mut(), Ordering::Release);
        }
    }
}

/// Whether launches have nothing to ask: no tenant, or no share to keep. A few loads of lines that are only read.
#[inline(always)]
fn straight() -> bool {
    // Acquire pairs with the Release in `open`.
    // SAFETY: points at a word of this static or of a mapping that is never unmapped.
    let now = unsafe { &*STRAIGHT.now.load(Ordering::Acquire) }.load(Ordering::Relaxed);
    now == STRAIGHT.seen.load(Ordering::Relaxed)
}

/// The share of the only device, as long as its limits are the ones known.
#[inline(always)]
fn settled() -> Option<&'static Compute> {
    // SAFETY: shares are leaked, never freed. Acquire pairs with the Release in `keeps`.
    let compute = unsafe { STRAIGHT.compute.load(Ordering::Acquire).as_ref() }?;
    // SAFETY: as in `straight`.
    let now = unsafe { &*STRAIGHT.page.load(Ordering::Relaxed) }.load(Ordering::Relaxed);
    (now == STRAIGHT.page_seen.load(Ordering::Relaxed) && !graph::capturing()).then_some(compute)
}

/// Whether a kernel that is known well goes on at once, charged: six cache lines and one atomic change.
#[inline(always)]
fn admitted(function: CUfunction, blocks: u64, stream: CUstream, per_thread: bool) -> bool {
    match settled() {
        Some(compute) => compute.admits(
            cost::kernel_key(function as u64, blocks),
            named(stream, per_thread),
        ),
        None => false,
    }
}

/// Stream 0 by its true name: entry points of the per-thread kind mean another one by it.
fn named(stream: CUstream, per_thread: bool) -> CUstream {
    match (stream.is_null(), per_thread) {
        (true, true) => CU_STREAM_PER_THREAD,
        (true, false) => CU_STREAM_LEGACY,
        _ => stream,
    }
}

/// Submits a kernel.
#[inline]
fn kernel(
    function: CUfunction,
    blocks: u64,
    stream: CUstream,
    per_thread: bool,
    call: impl Fn() -> CUresult,
) -> CUresult {
    if is_free() {
        return call();
    }
    let Some(compute) = compute() else { return call() };
    let stream = named(stream, per_thread);
    if graph::capturing() && graph::is_capturing(stream) {
        return call();
    }
    shielded(CUDA_ERROR_UNKNOWN, || {
        let _beside = beside_captures();
        let Known {
            class,
            sample,
            settled,
        } = compute.functions.kernel(function, compute.countdown());
        let work = Work {
            key: cost::kernel_key(function as u64, blocks),
            blocks,
            class,
            sample,
            settled,
        };
        compute.submit(work, stream, call)
    })
}

/// While it lives, this thread may ask events and make them although another thread is capturing. In the mode that
/// most captures use such a question breaks the capture, and a launch on a stream that is not captured must not be let
/// by for that: one capture left open would be a way around the share.
struct BesideCaptures(CUstreamCaptureMode);

#[inline]
fn beside_captures() -> Option<BesideCaptures> {
    if graph::capturing() {
        allow_questions()
    } else {
        None
    }
}

#[cold]
fn allow_questions() -> Option<BesideCaptures> {
    let mut mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    // The driver exchanges the mode for the one that the thread had.
    (call_real!(cuThreadExchangeStreamCaptureMode(&mut mode)) == CUDA_SUCCESS).then_some(BesideCaptures(mode))
}

impl Drop for BesideCaptures {
    fn drop(&mut self) {
        call_real!(cuThreadExchangeStreamCaptureMode(&mut self.0));
    }
}

macro_rules! launch_kernel {
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
            extra: *mut *mut core::ffi::c_void,
        ) -> CUresult {
            let blocks = u64::from(gridDimX) * u64::from(gridDimY) * u64::from(gridDimZ);
            if (straight() || admitted(f, blocks, hStream, $per_thread))
                && let Some(real) = real::$name.get()
            {
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the driver.
                return unsafe {
                    real(
                        f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, hStream,
                        kernelParams, extra,
                    )
                };
            }
            kernel(
                f,
                u64::from(gridDimX) * u64::from(gridDimY) * u64::from(gridDimZ),
                hStream,
                $per_thread,
                || call_real!($name(
                    f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, hStream,
                    kernelParams, extra
                )),
            )
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
                u64::from(gridDimX) * u64::from(gridDimY) * u64::from(gridDimZ),
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

macro_rules! launch_ex {
    ($($name:ident: $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            config: *const CUlaunchConfig,
            f: CUfunction,
            kernelParams: *mut *mut core::ffi::c_void,
            extra: *mut *mut core::ffi::c_void,
        ) -> CUresult {
            if straight() && let Some(real) = real::$name.get() {
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the driver.
                return unsafe { real(config, f, kernelParams, extra) };
            }
            let call = || call_real!($name(config, f, kernelParams, extra));
            // SAFETY: the caller passes a configuration or null, as the driver requires.
            let Some(shape) = (unsafe { config.as_ref() }) else { return call() };
            let blocks = u64::from(shape.gridDimX) * u64::from(shape.gridDimY) * u64::from(shape.gridDimZ);
            if admitted(f, blocks, shape.hStream, $per_thread) {
                return call();
            }
            kernel(f, blocks, shape.hStream, $per_thread, call)
        }
    )*};
}
launch_ex!(cuLaunchKernelEx: false, cuLaunchKernelEx_ptsz: true);

macro_rules! graph_launch {
    ($($name:ident: $per_thread:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: one key each graph; memory nodes take their memory here.")]
        pub unsafe extern "C" fn $name(hGraph: CUgraphExec, hStream: CUstream) -> CUresult {
            let key = cost::graph_key(hGraph as u64);
            if !graph::any()
                && (straight()
                    || settled().is_some_and(|compute| compute.admits(key, named(hStream, $per_thread))))
                && let Some(real) = real::$name.get()
            {
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the driver.
                return unsafe { real(hGraph, hStream) };
            }
            if is_free() {
                return call_real!($name(hGraph, hStream));
            }
            let launch = || {
                if graph::any() {
                    shielded(CUDA_ERROR_UNKNOWN, || with_memory(hGraph, || call_real!($name(hGraph, hStream))))
                } else {
                    call_real!($name(hGraph, hStream))
                }
            };
            let Some(compute) = compute() else { return launch() };
            let stream = named(hStream, $per_thread);
            if graph::capturing() && graph::is_capturing(stream) {
                return launch();
            }
            shielded(CUDA_ERROR_UNKNOWN, || {
                let _beside = beside_captures();
                let Known { class, sample, settled } = compute.functions.graph(hGraph, compute.countdown());
                let work = Work { key, blocks: 0, class, sample, settled };
                compute.submit(work, stream, launch)
            })
        }
    )*};
}
graph_launch!(cuGraphLaunch: false, cuGraphLaunch_ptsz: true);

macro_rules! graph_upload {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: memory nodes may take their memory here.")]
        pub unsafe extern "C" fn $name(hGraph: CUgraphExec, hStream: CUstream) -> CUresult {
            if !graph::any() {
                return call_real!($name(hGraph, hStream));
            }
            shielded(CUDA_ERROR_UNKNOWN, || with_memory(hGraph, || call_real!($name(hGraph, hStream))))
        }
    )*};
}
graph_upload!(cuGraphUpload, cuGraphUpload_ptsz);

fn with_memory(executable: CUgraphExec, call: impl Fn() -> CUresult) -> CUresult {
    match graph::before_launch(executable) {
        Err(refusal) => refusal,
        Ok(None) => call(),
        Ok(Some((device, ahead))) => {
            let _inside = Inside::enter();
            let change = device.change();
            let result = call();
            graph::settle(device, ahead);
            drop(change);
            result
        }
    }
}

/// An executable graph was updated or is gone.
pub(crate) fn graph_changed(executable: CUgraphExec) {
    if let Some(governed) = process::governed() {
        for device in governed.devices() {
            if let Some(compute) = device.compute() {
                compute.graph_changed(executable);
            }
        }
    }
}

/// `cuGraphExecUpdate` of today.
pub unsafe extern "C" fn cuGraphExecUpdate_v2(
    hGraphExec: CUgraphExec,
    hGraph: CUgraph,
    resultInfo: *mut CUgraphExecUpdateResultInfo,
) -> CUresult {
    let result = call_real!(cuGraphExecUpdate_v2(hGraphExec, hGraph, resultInfo));
    graph_changed(hGraphExec);
    result
}

/// `cuGraphExecUpdate` of 10.2 to 11.8.
pub unsafe extern "C" fn cuGraphExecUpdate(
    hGraphExec: CUgraphExec,
    hGraph: CUgraph,
    hErrorNode_out: *mut CUgraphNode,
    updateResult_out: *mut CUgraphExecUpdateResult,
) -> CUresult {
    let result = call_real!(cuGraphExecUpdate(
        hGraphExec,
        hGraph,
        hErrorNode_out,
        updateResult_out
    ));
    graph_changed(hGraphExec);
    result
}

/// Around a call in which the host waits for the device.
#[inline]
fn waiting(drains: Drains, call: impl Fn() -> CUresult) -> CUresult {
    let result = match (is_free(), graph::capturing()) {
        (false, false) => match compute() {
            Some(compute) if compute.is_busy() => compute.synchronise(drains, call),
            Some(compute) => {
                let result = call();
                if matches!(drains, Drains::Everything) {
                    compute.idle();
                }
                result
            }
            None => call(),
        },
        _ => call(),
    };
    pool::after_synchronisation();
    result
}

macro_rules! synchronise {
    ($($name:ident($($arg:ident: $ty:ty),*) $drains:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: the host waits; afterwards pools may hold less.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> CUresult {
            shielded(CUDA_ERROR_UNKNOWN, || waiting($drains, || call_real!($name($($arg),*))))
        }
    )*};
}
synchronise! {
    cuStreamSynchronize(hStream: CUstream) Drains::Stream(named(hStream, false));
    cuStreamSynchronize_ptsz(hStream: CUstream) Drains::Stream(named(hStream, true));
    cuEventSynchronize(hEvent: CUevent) Drains::Something;
    cuCtxSynchronize() Drains::Everything;
    cuCtxSynchronize_v2(ctx: CUcontext) Drains::Something;
}
