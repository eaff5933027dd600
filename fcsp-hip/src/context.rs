//! Contexts, code and limits: memory that the runtime takes for itself. It is measured (see
//! [`fcsp_hook::device`]); here the calls that take it are noticed, and refused after the fact
//! where the tenant is close to its quota.
//!
//! A device's context comes with the first call that needs one, whatever that is
//! ([`crate::vendor`] sees to it); the calls that HIP has for contexts are shells around that.

use core::ffi::{c_char, c_void};
use core::sync::atomic::Ordering;

use fcsp_hook::launch::queue_ends;
use fcsp_hook::memory::{self, pool};
use fcsp_hook::overhead::{
    self, code_ends, context_ends, context_ends_on, context_left, lowered_limit, raises_limit,
    takes_memory,
};

use crate::call_real;
use crate::driver::real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::memory::graph::GRAPHS;
use crate::vendor::{self, Hip, Reentry, Target, catch_panic, context_of, target};

/// Runs `call`, which resets a device: its memory is gone then, ours and the runtime's own, and so
/// are its streams, events, pools and code. Another thread may use the device anew before the call
/// comes back; what it takes then is not forgotten.
fn resets(ordinal: Option<hipDevice_t>, call: &dyn Fn() -> hipError_t) -> hipError_t {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    let Some(governed) = vendor::governed() else {
        return call();
    };
    let device = governed
        .devices()
        .find(|device| Some(device.ordinal) == ordinal);
    let Some(device) = device else { return call() };
    let _turn = device.context_turn();
    let context = context_of(device.ordinal);
    context_ends_on(Some(context), device);
    let pools = pool::device_ends(device);
    let ending = memory::context_ends::<Hip>(context);
    let recorded = GRAPHS.recordings().begun_in(context);
    // A thread that finds the device unused waits for this lock, and then counts what the runtime
    // takes for it.
    let was_in_use = device.own.in_use.swap(false, Ordering::AcqRel);
    let result = call();
    if result == hipSuccess {
        pools.left();
        for origin in recorded {
            GRAPHS.recordings_ended(|known| *known == origin);
        }
        ending.died::<Hip>();
        context_left(context, Some(device));
    } else {
        device.own.in_use.store(was_in_use, Ordering::Release);
        pools.survived();
        ending.survived::<Hip>();
    }
    result
}

/// `hipDeviceReset`.
pub unsafe extern "C" fn hipDeviceReset() -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let mut ordinal = 0;
        let known = call_real!(hipGetDevice(&mut ordinal)) == hipSuccess;
        resets(known.then_some(ordinal), &|| call_real!(hipDeviceReset()))
    })
}

/// `hipDevicePrimaryCtxReset`.
pub unsafe extern "C" fn hipDevicePrimaryCtxReset(dev: hipDevice_t) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        resets(Some(dev), &|| call_real!(hipDevicePrimaryCtxReset(dev)))
    })
}

macro_rules! may_end {
    ($($name:ident($arg:ident: $ty:ty);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: a shell around the device's own context. Should a version of the runtime let that go, \
                         no event of ours is in it.")]
        pub unsafe extern "C" fn $name($arg: $ty) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                if let Some(_inside) = Reentry::enter() {
                    context_ends::<Hip>(None);
                }
                call_real!($name($arg))
            })
        }
    )*};
}
may_end! {
    hipCtxDestroy(ctx: hipCtx_t);
    hipDevicePrimaryCtxRelease(dev: hipDevice_t);
}

macro_rules! destroys_stream {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: its handle may be another stream's next. A capture ends with its stream.")]
        pub unsafe extern "C" fn $name(stream: hipStream_t) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                let call = || call_real!($name(stream));
                let Some(inside) = Reentry::enter() else { return call() };
                let queue = stream as usize;
                queue_ends::<Hip>(queue);
                let captures = GRAPHS.recordings().began_on(queue);
                let result = overhead::gives_back::<Hip>(&inside, call);
                if captures && result == hipSuccess {
                    GRAPHS.recordings_ended(|origin| origin.queue == queue);
                }
                result
            })
        }
    )*};
}
destroys_stream!(hipStreamDestroy);

macro_rules! begins {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: may be the first call that uses the device.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                let result = call_real!($name($($arg),*));
                let Some(_inside) = Reentry::enter() else { return result };
                if result == hipSuccess && matches!(target(), Target::Deny) {
                    return answered(hipErrorOutOfMemory);
                }
                result
            })
        }
    )*};
}
begins! {
    hipCtxCreate(ctx: *mut hipCtx_t, flags: u32, device: hipDevice_t);
}

/// `hipDeviceSetLimit`: a larger stack costs its bytes for every thread the device can hold at
/// once, so it is refused before it is asked for; the heap is checked likewise.
pub unsafe extern "C" fn hipDeviceSetLimit(limit: hipLimit_t, value: usize) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let call = || call_real!(hipDeviceSetLimit(limit, value));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let device = match target() {
            Target::Device(device, _) => device,
            Target::PassThrough => return call(),
            Target::Deny => return answered(hipErrorOutOfMemory),
        };
        let mut before = 0usize;
        call_real!(hipDeviceGetLimit(&mut before, limit));
        let (value, before_bytes) = (value as u64, before as u64);
        let each = match limit {
            hipLimitStackSize => device.own.resident_threads,
            hipLimitMallocHeapSize | hipLimitPrintfFifoSize => 1,
            _ => 0,
        };
        let cost = value.saturating_sub(before_bytes).saturating_mul(each);
        if cost > 0 {
            let undo = || {
                call_real!(hipDeviceSetLimit(limit, before));
            };
            // A heap is taken by the runtime later, when code that uses it is loaded, and shows
            // then.
            let now = limit == hipLimitStackSize;
            return answered(raises_limit(
                device,
                "hipDeviceSetLimit",
                cost,
                now,
                &call,
                &undo,
            ));
        }
        let result = call();
        if result == hipSuccess {
            let freed = before_bytes.saturating_sub(value).saturating_mul(each);
            lowered_limit(device, if limit == hipLimitStackSize { freed } else { 0 });
        }
        result
    })
}

// `hipExtStreamCreateWithCUMask` is in [`crate::units`].
macro_rules! loads {
    ($($name:ident($place:ident: $handle:ty $(, $arg:ident: $ty:ty)*) undone by $undo:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: takes memory of the runtime's own.")]
        pub unsafe extern "C" fn $name($place: *mut $handle $(, $arg: $ty)*) -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                let call = || call_real!($name($place $(, $arg)*));
                let Some(_inside) = Reentry::enter() else { return call() };
                answered(takes_memory(target(), call, || {
                    // SAFETY: the runtime has written there with success.
                    let made = unsafe { *$place };
                    call_real!($undo(made));
                }))
            })
        }
    )*};
}
loads! {
    hipModuleLoad(module: hipModule_t, name: *const c_char) undone by hipModuleUnload;
    hipModuleLoadData(module: hipModule_t, image: *const c_void) undone by hipModuleUnload;
    hipModuleLoadDataEx(
        module: hipModule_t, image: *const c_void, count: u32, options: *mut hipJitOption, values: *mut *mut c_void
    ) undone by hipModuleUnload;
    hipModuleLoadFatBinary(module: hipModule_t, image: *const c_void) undone by hipModuleUnload;
    hipLibraryLoadData(
        library: hipLibrary_t, code: *const c_void, jit: *mut *mut hipJitOption, jit_values: *mut *mut c_void,
        jit_count: u32, options: *mut *mut hipLibraryOption, values: *mut *mut c_void, count: u32
    ) undone by hipLibraryUnload;
    hipLibraryLoadFromFile(
        library: hipLibrary_t, name: *const c_char, jit: *mut *mut hipJitOption, jit_values: *mut *mut c_void,
        jit_count: u32, options: *mut *mut hipLibraryOption, values: *mut *mut c_void, count: u32
    ) undone by hipLibraryUnload;
    hipStreamCreate(stream: hipStream_t) undone by hipStreamDestroy;
    hipStreamCreateWithFlags(stream: hipStream_t, flags: u32) undone by hipStreamDestroy;
    hipStreamCreateWithPriority(stream: hipStream_t, flags: u32, priority: i32) undone by hipStreamDestroy;
}

macro_rules! unloads {
    ($($name:ident($code:ident: $ty:ty);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: what the code took is given back.")]
        pub unsafe extern "C" fn $name($code: $ty) -> hipError_t {
            catch_panic(hipErrorUnknown, || overhead::unloads::<Hip>(|| call_real!($name($code))))
        }
    )*};
}
unloads! {
    hipModuleUnload(module: hipModule_t);
    hipLibraryUnload(library: hipLibrary_t);
}

/// `__hipUnregisterFatBinary`: a library is unloaded, and the addresses of its host functions may
/// be another's next.
pub unsafe extern "C" fn __hipUnregisterFatBinary(modules: *mut *mut c_void) {
    catch_panic((), || {
        code_ends::<Hip>();
        if let Some(real) = real::__hipUnregisterFatBinary.get() {
            // SAFETY: the caller vouches for the argument, as it would to the runtime.
            unsafe { real(modules) };
        }
    });
}

macro_rules! loads_lazily {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: loads code that was put off.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> hipError_t {
            catch_panic(hipErrorUnknown, || answered(overhead::loads_lazily::<Hip>(|| call_real!($name($($arg),*)))))
        }
    )*};
}
loads_lazily! {
    hipLibraryGetKernel(kernel: *mut hipKernel_t, library: hipLibrary_t, name: *const c_char);
    hipModuleGetFunction(function: *mut hipFunction_t, module: hipModule_t, name: *const c_char);
    hipModuleGetGlobal(dptr: *mut hipDeviceptr_t, bytes: *mut usize, module: hipModule_t, name: *const c_char);
    hipGetFuncBySymbol(function: *mut hipFunction_t, symbol: *const c_void);
    hipGetSymbolAddress(address: *mut *mut c_void, symbol: *const c_void);
    hipGetSymbolSize(size: *mut usize, symbol: *const c_void);
}
