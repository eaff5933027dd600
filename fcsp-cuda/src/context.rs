//! Contexts, code and limits: memory that the driver takes for itself. It is measured (see
//! [`fcsp_hook::device`]); here the calls that take it are noticed, and refused after the fact
//! where the tenant is close to its quota.

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use fcsp_hook::backend::Driver;
use fcsp_hook::launch::queue_ends;
use fcsp_hook::memory::{self, pool};
use fcsp_hook::overhead::{
    self, context_died, context_ends, context_left, lowered_limit, makes_context, raises_limit,
    takes_memory,
};

use crate::call_real;
use crate::ffi::cuda::*;
use crate::memory::graph::GRAPHS;
use crate::vendor::{
    self, Cuda, Device, Reentry, SetupOnce, Target, catch_panic, target, target_of,
};

fn primary_is_active(device: CUdevice) -> bool {
    let (mut flags, mut active) = (0, 0);
    call_real!(cuDevicePrimaryCtxGetState(device, &mut flags, &mut active)) == CUDA_SUCCESS
        && active != 0
}

/// `cuDevicePrimaryCtxRetain`.
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(pctx: *mut CUcontext, dev: CUdevice) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuDevicePrimaryCtxRetain(pctx, dev));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        // SAFETY: read after the driver has written there with success.
        let made = || unsafe { *pctx } as usize;
        let target = target_of(dev);
        // One thread makes the context: who finds it there finds it counted.
        let turn = match &target {
            Target::Device(device, _) => Some(device.context_turn()),
            _ => None,
        };
        let result = if turn.is_some() && primary_is_active(dev) {
            call()
        } else {
            let undo = || {
                call_real!(cuDevicePrimaryCtxRelease_v2(dev));
            };
            let result = makes_context(target, call, made, undo);
            memory::or_wrong_argument::<Cuda>(result, || !pctx.is_null(), call, undo)
        };
        if result == CUDA_SUCCESS {
            books().primary.remember(dev, made());
        }
        result
    })
}

/// The handles of primary contexts by device: release and reset name only the device.
#[derive(Default)]
struct PrimaryContexts(Mutex<Vec<(CUdevice, usize)>>);

impl PrimaryContexts {
    fn with<R>(&self, work: impl FnOnce(&mut Vec<(CUdevice, usize)>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, device: CUdevice, context: usize) {
        self.with(|known| {
            known.retain(|&(d, _)| d != device);
            known.push((device, context));
        });
    }

    /// Returns the handle of an active primary context. The driver is asked for it if only unseen
    /// libraries have retained it.
    fn of(&self, device: CUdevice) -> Option<usize> {
        if !primary_is_active(device) {
            return None;
        }
        let known = self.with(|known| known.iter().find(|&&(d, _)| d == device).copied());
        if let Some((_, context)) = known {
            return Some(context);
        }
        let mut context: CUcontext = core::ptr::null_mut();
        if call_real!(cuDevicePrimaryCtxRetain(&mut context, device)) != CUDA_SUCCESS {
            return None;
        }
        call_real!(cuDevicePrimaryCtxRelease_v2(device));
        Some(context as usize)
    }
}

/// Number of attachments to each context beyond its creation: only the last detachment ends it. For
/// a context that is not here, the next one is the last.
#[derive(Default)]
struct Attached(Mutex<Vec<usize>>);

impl Attached {
    fn with<R>(&self, work: impl FnOnce(&mut Vec<usize>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn more(&self, context: usize) {
        self.with(|attached| attached.push(context));
    }

    /// Takes one out; whether there was one.
    fn less(&self, context: usize) -> bool {
        self.with(|attached| {
            let at = attached.iter().position(|&known| known == context);
            at.map(|at| attached.swap_remove(at)).is_some()
        })
    }

    fn forget(&self, context: usize) {
        self.with(|attached| attached.retain(|&known| known != context));
    }
}

/// Runs `call`, which ends a context of `device` if it succeeds. The library's events there are
/// destroyed first, and the records of its memory are set aside. Another thread may get the same
/// handle for a new context before the call returns.
fn surely_ends(
    context: usize,
    device: Option<&'static Device>,
    call: &dyn Fn() -> CUresult,
) -> CUresult {
    context_ends::<Cuda>(Some(context));
    let ending = memory::context_ends::<Cuda>(context);
    let recorded = GRAPHS.recordings().begun_in(context);
    let result = call();
    if result == CUDA_SUCCESS {
        for origin in recorded {
            GRAPHS.recordings_ended(|known| *known == origin);
        }
        books().attached.forget(context);
        ending.died::<Cuda>();
        context_left(context, device);
    } else {
        ending.survived::<Cuda>();
    }
    result
}

/// State of this process's contexts.
struct Books {
    /// Primary contexts by device.
    primary: PrimaryContexts,
    /// Attachments to contexts.
    attached: Attached,
}

static BOOKS: AtomicPtr<Books> = AtomicPtr::new(core::ptr::null_mut());

/// Returns this process's [`Books`], made on first use.
fn books() -> &'static Books {
    // Acquire: made before their address was published.
    let known = BOOKS.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: they are leaked, never freed.
        return unsafe { &*known };
    }
    SetupOnce::publish(&BOOKS, || Books {
        primary: PrimaryContexts::default(),
        attached: Attached::default(),
    })
}

/// Forgets it in a forked child. The old state may hold locks of threads that do not exist here.
pub(crate) fn forget_in_child() {
    BOOKS.store(core::ptr::null_mut(), Ordering::Release);
}

/// Runs `call`, which may end the primary context of `dev`; `surely` if it does whenever it
/// succeeds.
fn primary_ends(dev: CUdevice, surely: bool, call: &dyn Fn() -> CUresult) -> CUresult {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    let Some(governed) = vendor::governed() else {
        return call();
    };
    let device = governed.devices().find(|device| device.ordinal == dev);
    let _turn = device.map(Device::context_turn);
    let Some(context) = books().primary.of(dev) else {
        let result = call();
        // A reset takes what pools kept beyond the context's release, which was measured.
        device.into_iter().for_each(Device::overhead_moved);
        return result;
    };
    let pools = device.map(pool::device_ends);
    let (result, ended) = if surely {
        let result = surely_ends(context, governed.device(dev), call);
        (result, result == CUDA_SUCCESS)
    } else {
        context_ends::<Cuda>(Some(context));
        let result = call();
        (result, result == CUDA_SUCCESS && !primary_is_active(dev))
    };
    match pools {
        Some(pools) if ended => pools.left(),
        Some(pools) => pools.survived(),
        None => {}
    }
    if ended && !surely {
        GRAPHS.recordings_ended(|origin| origin.context == context);
        books().attached.forget(context);
        context_died(context, governed.device(dev));
    }
    result
}

macro_rules! primary_ends {
    ($($name:ident $surely:literal),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(dev: CUdevice) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || primary_ends(dev, $surely, &|| call_real!($name(dev))))
        }
    )*};
}
primary_ends!(
    cuDevicePrimaryCtxRelease false,
    cuDevicePrimaryCtxRelease_v2 false,
    cuDevicePrimaryCtxReset true,
    cuDevicePrimaryCtxReset_v2 true
);

/// Returns true if the driver would accept the flags of a context: at most one way to wait, and
/// other flags that it knows.
fn are_known(flags: u32) -> bool {
    const KNOWN: u32 = 0xff;
    flags & !KNOWN == 0 && matches!(flags & 7, 0 | 1 | 2 | 4)
}

macro_rules! create {
    ($($name:ident($pctx:ident $(, $arg:ident: $ty:ty)*; $flags:ident, $dev:ident);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($pctx: *mut CUcontext $(, $arg: $ty)*, $flags: u32, $dev: CUdevice) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let call = || call_real!($name($pctx $(, $arg)*, $flags, $dev));
                let Some(_inside) = Reentry::enter() else { return call() };
                // SAFETY: read after the driver has written there with success.
                let made = || unsafe { *$pctx } as usize;
                let undo = || {
                    call_real!(cuCtxDestroy_v2(made() as CUcontext));
                };
                let result = makes_context(target_of($dev), call, made, undo);
                memory::or_wrong_argument::<Cuda>(result, || !$pctx.is_null() && are_known($flags), call, undo)
            })
        }
    )*};
}
create! {
    cuCtxCreate(pctx; flags, dev);
    cuCtxCreate_v2(pctx; flags, dev);
    cuCtxCreate_v3(pctx, params: *mut CUexecAffinityParam, count: i32; flags, dev);
    cuCtxCreate_v4(pctx, params: *mut CUctxCreateParams; flags, dev);
}

/// `cuGreenCtxCreate`.
pub unsafe extern "C" fn cuGreenCtxCreate(
    phCtx: *mut CUgreenCtx,
    desc: CUdevResourceDesc,
    dev: CUdevice,
    flags: u32,
) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuGreenCtxCreate(phCtx, desc, dev, flags));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        takes_memory(target_of(dev), call, || {
            // SAFETY: the driver has written there with success.
            let made = unsafe { *phCtx };
            call_real!(cuGreenCtxDestroy(made));
        })
    })
}

/// `cuGreenCtxDestroy`: what was launched in it left events of ours in the context that the driver
/// has for it.
pub unsafe extern "C" fn cuGreenCtxDestroy(hCtx: CUgreenCtx) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuGreenCtxDestroy(hCtx));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let mut context: CUcontext = core::ptr::null_mut();
        let known = vendor::governed().is_some()
            && call_real!(cuCtxFromGreenCtx(&mut context, hCtx)) == CUDA_SUCCESS;
        if known {
            context_ends::<Cuda>(Some(context as usize));
        }
        let result = call();
        if known && result == CUDA_SUCCESS {
            GRAPHS.recordings_ended(|origin| origin.context == context as usize);
        }
        Cuda::process().forget_context();
        result
    })
}

/// Runs `call`, which ends `ctx`.
fn context_goes(ctx: CUcontext, call: &dyn Fn() -> CUresult) -> CUresult {
    if vendor::governed().is_none() {
        return call();
    }
    let mut device = None;
    if call_real!(cuCtxPushCurrent_v2(ctx)) == CUDA_SUCCESS {
        if let Target::Device(found, _) = target() {
            device = Some(found);
        }
        let mut popped = core::ptr::null_mut();
        call_real!(cuCtxPopCurrent_v2(&mut popped));
    }
    surely_ends(ctx as usize, device, call)
}

macro_rules! destroy {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: its memory goes with it.")]
        pub unsafe extern "C" fn $name(ctx: CUcontext) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let call = || call_real!($name(ctx));
                let Some(_inside) = Reentry::enter() else { return call() };
                context_goes(ctx, &call)
            })
        }
    )*};
}
destroy!(cuCtxDestroy, cuCtxDestroy_v2);

/// `cuCtxAttach`: the next detachment is not the last.
pub unsafe extern "C" fn cuCtxAttach(pctx: *mut CUcontext, flags: u32) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuCtxAttach(pctx, flags));
        if result == CUDA_SUCCESS && vendor::governed().is_some() {
            // SAFETY: the driver has written there with success.
            books().attached.more(unsafe { *pctx } as usize);
        }
        result
    })
}

/// `cuCtxDetach`: the last ends the context.
pub unsafe extern "C" fn cuCtxDetach(ctx: CUcontext) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuCtxDetach(ctx));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        if !books().attached.less(ctx as usize) {
            return context_goes(ctx, &call);
        }
        let result = call();
        if result != CUDA_SUCCESS {
            books().attached.more(ctx as usize);
        }
        result
    })
}

/// The largest stack of a thread, in bytes, that the driver grants: local memory of a thread is at
/// most 512 KiB (CUDA C++ Programming Guide, table of technical specifications).
const LARGEST_STACK: u64 = 512 << 10;

/// `cuCtxSetLimit`. A larger stack costs its bytes for every thread that the device can run at
/// once. On an H100, 16 KiB instead of 1 KiB took 132 x 2048 x 15 KiB. It is therefore refused
/// before the driver is called; the heap is checked likewise.
pub unsafe extern "C" fn cuCtxSetLimit(limit: CUlimit, value: usize) -> CUresult {
    catch_panic(CUDA_ERROR_UNKNOWN, || {
        let call = || call_real!(cuCtxSetLimit(limit, value));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let device = match target() {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return CUDA_ERROR_OUT_OF_MEMORY,
        };
        let mut before = 0usize;
        call_real!(cuCtxGetLimit(&mut before, limit));
        let (value, before_bytes) = (value as u64, before as u64);
        let each = match limit {
            CU_LIMIT_STACK_SIZE => device.own.resident_threads,
            CU_LIMIT_MALLOC_HEAP_SIZE | CU_LIMIT_PRINTF_FIFO_SIZE => 1,
            _ => 0,
        };
        // The driver refuses a larger stack in its own words.
        let is_valid = limit != CU_LIMIT_STACK_SIZE || value <= LARGEST_STACK;
        let cost = value.saturating_sub(before_bytes).saturating_mul(each);
        if cost > 0 && is_valid {
            let undo = || {
                call_real!(cuCtxSetLimit(limit, before));
            };
            // A heap is taken by the driver later, when code that uses it is loaded, and shows
            // then.
            let now = limit == CU_LIMIT_STACK_SIZE;
            return raises_limit(device, "cuCtxSetLimit", cost, now, &call, &undo);
        }
        let result = call();
        if result == CUDA_SUCCESS {
            let freed = before_bytes.saturating_sub(value).saturating_mul(each);
            lowered_limit(
                device,
                if limit == CU_LIMIT_STACK_SIZE {
                    freed
                } else {
                    0
                },
            );
        }
        result
    })
}

macro_rules! load_module {
    ($($name:ident($module:ident $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($module: *mut CUmodule $(, $arg: $ty)*) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let call = || call_real!($name($module $(, $arg)*));
                let Some(_inside) = Reentry::enter() else { return call() };
                takes_memory(target(), call, || {
                    // SAFETY: the driver has written there with success.
                    let made = unsafe { *$module };
                    call_real!(cuModuleUnload(made));
                })
            })
        }
    )*};
}
load_module! {
    cuModuleLoad(module, name: *const c_char);
    cuModuleLoadData(module, image: *const c_void);
    cuModuleLoadDataEx(module, image: *const c_void, count: u32, options: *mut CUjit_option, values: *mut *mut c_void);
    cuModuleLoadFatBinary(module, image: *const c_void);
}

macro_rules! load_library {
    ($($name:ident($code:ident: $ty:ty);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(
            library: *mut CUlibrary,
            $code: $ty,
            jitOptions: *mut CUjit_option,
            jitOptionsValues: *mut *mut c_void,
            numJitOptions: u32,
            libraryOptions: *mut CUlibraryOption,
            libraryOptionValues: *mut *mut c_void,
            numLibraryOptions: u32,
        ) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let call = || call_real!($name(
                    library, $code, jitOptions, jitOptionsValues, numJitOptions, libraryOptions, libraryOptionValues,
                    numLibraryOptions
                ));
                let Some(_inside) = Reentry::enter() else { return call() };
                takes_memory(target(), call, || {
                    // SAFETY: the driver has written there with success.
                    let made = unsafe { *library };
                    call_real!(cuLibraryUnload(made));
                })
            })
        }
    )*};
}
load_library! {
    cuLibraryLoadData(code: *const c_void);
    cuLibraryLoadFromFile(name: *const c_char);
}

macro_rules! makes_stream {
    ($($name:ident($stream:ident $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: every few streams the driver takes memory for them.")]
        pub unsafe extern "C" fn $name($stream: *mut CUstream $(, $arg: $ty)*) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let call = || call_real!($name($stream $(, $arg)*));
                let Some(_inside) = Reentry::enter() else { return call() };
                takes_memory(target(), call, || {
                    // SAFETY: the driver has written there with success.
                    let made = unsafe { *$stream };
                    call_real!(cuStreamDestroy_v2(made));
                })
            })
        }
    )*};
}
makes_stream! {
    cuStreamCreate(phStream, Flags: u32);
    cuStreamCreateWithPriority(phStream, flags: u32, priority: i32);
    cuGreenCtxStreamCreate(phStream, greenCtx: CUgreenCtx, flags: u32, priority: i32);
}

macro_rules! destroys_stream {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: its handle may be another stream's next. A capture ends with its stream.")]
        pub unsafe extern "C" fn $name(hStream: CUstream) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || {
                let call = || call_real!($name(hStream));
                let Some(inside) = Reentry::enter() else { return call() };
                let queue = hStream as usize;
                queue_ends::<Cuda>(queue);
                let captures = GRAPHS.recordings().began_on(queue);
                let result = overhead::gives_back::<Cuda>(&inside, call);
                if captures && result == CUDA_SUCCESS {
                    GRAPHS.recordings_ended(|origin| origin.queue == queue);
                }
                result
            })
        }
    )*};
}
destroys_stream!(cuStreamDestroy, cuStreamDestroy_v2);

macro_rules! unloads {
    ($($name:ident($code:ident: $ty:ty);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: what the code took is given back.")]
        pub unsafe extern "C" fn $name($code: $ty) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || overhead::unloads::<Cuda>(|| call_real!($name($code))))
        }
    )*};
}
unloads! {
    cuModuleUnload(hmod: CUmodule);
    cuLibraryUnload(library: CUlibrary);
}

macro_rules! loads_lazily {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: loads code that was put off.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> CUresult {
            catch_panic(CUDA_ERROR_UNKNOWN, || overhead::loads_lazily::<Cuda>(|| call_real!($name($($arg),*))))
        }
    )*};
}
loads_lazily! {
    cuLibraryGetModule(pMod: *mut CUmodule, library: CUlibrary);
    cuFuncLoad(function: CUfunction);
    cuModuleGetFunction(hfunc: *mut CUfunction, hmod: CUmodule, name: *const c_char);
    cuKernelGetFunction(pFunc: *mut CUfunction, kernel: CUkernel);
    cuModuleGetGlobal(dptr: *mut CUdeviceptr_v1, bytes: *mut u32, hmod: CUmodule, name: *const c_char);
    cuModuleGetGlobal_v2(dptr: *mut CUdeviceptr, bytes: *mut usize, hmod: CUmodule, name: *const c_char);
    cuLibraryGetGlobal(dptr: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    cuLibraryGetManaged(dptr: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    cuLibraryGetUnifiedFunction(fptr: *mut *mut c_void, library: CUlibrary, symbol: *const c_char);
}
