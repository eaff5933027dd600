//! Everything that starts work on the device, and everything that waits for it, in ACL and in the
//! runtime.
//!
//! A process that nobody governs passes through here on a few loads. Otherwise the outer call asks
//! the gate, and those of the runtime under it go straight through.

use core::ffi::{CStr, c_char, c_void};
use core::hash::{Hash, Hasher};
use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::sync::Mutex;

use fcsp_hook::compute::Drains;
use fcsp_hook::launch::{self as hook, is_unthrottled};
use fcsp_hook::setup::catch_panic;
use fcsp_hook::thread::Launching;

use crate::call_real;
use crate::driver::real;
use crate::ffi::acl::*;
use crate::ffi::rt::*;
use crate::vendor::Ascend;

/// Returns whether a call goes straight to the runtime: nobody governs this process, or an outer
/// wrapper on this thread has already asked.
#[inline(always)]
fn passes() -> bool {
    is_unthrottled::<Ascend>() || Launching::is_up()
}

/// Call that a wrapper makes in the end. A trait object: with a type for each of some sixty
/// wrappers the library would be twice as large, to save a nanosecond.
type Call<'a> = &'a dyn Fn() -> aclError;

/// Submits a kernel.
pub(crate) fn kernel(
    function: usize,
    blocks: u32,
    stream: aclrtStream,
    call: Call<'_>,
) -> aclError {
    let Some(_launching) = Launching::enter() else {
        return call();
    };
    let (blocks, queue) = (u64::from(blocks), stream as usize);
    hook::kernel::<Ascend>(function, blocks, queue, call)
}

/// Numbers that stand for what has no function handle are odd; handles are addresses of objects and
/// are not.
const ODD: usize = 1;

/// Returns the number of a function that is known by its stub on the host.
fn by_stub(stub: *const c_void) -> usize {
    (stub as usize) << 1 | ODD
}

/// Returns the number of a function that is known by its binary and a tiling key.
fn by_key(binary: *const c_void, key: u64) -> usize {
    let mixed = binary as u64 ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
    (mixed & 0x7fff_ffff_ffff) as usize | ODD
}

/// Returns the number of a function that is known by name, and remembers the name for the
/// classifier.
///
///  # Safety
/// `name` is null or a C string.
unsafe fn by_name(name: *const c_char) -> usize {
    if name.is_null() {
        return ODD;
    }
    // SAFETY: by this function's contract.
    let name = unsafe { CStr::from_ptr(name) };
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let number = (hasher.finish() & 0x7fff_ffff_ffff) as usize | ODD;
    remember(number, name, 0);
    number
}

/// Names of functions without a handle: the name, and the binary that a stub was registered with, 0
/// for others.
static NAMES: Mutex<Option<HashMap<usize, (String, usize)>>> = Mutex::new(None);

fn remember(number: usize, name: &CStr, binary: usize) {
    // Somebody else remembering something is no reason to wait, and a child may inherit the lock:
    // the name is then missed, and the function is of no class.
    if let Ok(mut names) = NAMES.try_lock() {
        let names = names.get_or_insert_default();
        if binary != 0 || !names.contains_key(&number) {
            names.insert(number, (name.to_string_lossy().into_owned(), binary));
        }
    }
}

/// Forgets the stubs of a binary that is about to be unregistered.
pub(crate) fn forget_names(binary: usize) {
    if binary != 0
        && let Ok(mut names) = NAMES.try_lock()
        && let Some(names) = names.as_mut()
    {
        names.retain(|_, (_, of)| *of != binary);
    }
}

/// Returns the name of a function.
pub fn name_of(function: usize) -> Option<String> {
    if function & ODD != 0 {
        let names = NAMES.try_lock().ok()?;
        return names.as_ref()?.get(&function).map(|(name, _)| name.clone());
    }
    let mut text = [0 as c_char; 256];
    let handle = function as aclrtFuncHandle;
    if call_real!(aclrtGetFunctionName(
        handle,
        text.len() as u32,
        text.as_mut_ptr()
    )) != ACL_SUCCESS
    {
        return None;
    }
    text[text.len() - 1] = 0;
    // SAFETY: ends with a zero byte at the latest where the line above put one.
    Some(
        unsafe { CStr::from_ptr(text.as_ptr()) }
            .to_string_lossy()
            .into_owned(),
    )
}

/// `rtFunctionRegister`: says what a stub is called.
pub unsafe extern "C" fn rtFunctionRegister(
    binHandle: *mut c_void,
    stubFunc: *const c_void,
    stubName: *const c_char,
    kernelInfoExt: *const c_void,
    funcMode: u32,
) -> rtError_t {
    let result = call_real!(rtFunctionRegister(
        binHandle,
        stubFunc,
        stubName,
        kernelInfoExt,
        funcMode
    ));
    if result == ACL_SUCCESS && !stubName.is_null() {
        // SAFETY: the driver has taken it for a C string.
        let name = unsafe { CStr::from_ptr(stubName) };
        remember(by_stub(stubFunc), name, binHandle as usize);
    }
    result
}

macro_rules! launches {
    ($($name:ident($($arg:ident: $ty:ty),*): $function:expr, $blocks:expr, $stream:ident;)*) => {$(
        fcsp_hook::staged! {
            #[doc = concat!("`", stringify!($name), "`.")]
            $name($($arg: $ty),*) -> aclError,
            real::$name,
            bypass is_unthrottled::<Ascend>(),
            // A layer under one that was asked.
            within Launching::is_up(),
            admitted {
                #[allow(unused_unsafe, reason = "handles are numbers already")]
                // SAFETY: names are C strings or null, as the driver requires.
                let function = unsafe { $function };
                hook::admits_kernel::<Ascend>(function, u64::from($blocks as u32), $stream as usize)
            },
            mark Launching::raise(),
            asking {
                #[allow(unused_unsafe, reason = "as above")]
                // SAFETY: as above.
                let function = unsafe { $function };
                kernel(function, $blocks, $stream, &|| call_real!($name($($arg),*)))
            }
        }
    )*};
}
launches! {
    aclrtLaunchKernel(
        funcHandle: aclrtFuncHandle, numBlocks: u32, argsData: *const c_void, argsSize: usize, stream: aclrtStream
    ): funcHandle as usize, numBlocks, stream;
    aclrtLaunchKernelV2(
        funcHandle: aclrtFuncHandle, numBlocks: u32, argsData: *const c_void, argsSize: usize,
        cfg: *mut aclrtLaunchKernelCfg, stream: aclrtStream
    ): funcHandle as usize, numBlocks, stream;
    aclrtLaunchKernelWithConfig(
        funcHandle: aclrtFuncHandle, numBlocks: u32, stream: aclrtStream, cfg: *mut aclrtLaunchKernelCfg,
        argsHandle: aclrtArgsHandle, reserve: *mut c_void
    ): funcHandle as usize, numBlocks, stream;
    aclrtLaunchKernelWithHostArgs(
        funcHandle: aclrtFuncHandle, numBlocks: u32, stream: aclrtStream, cfg: *mut aclrtLaunchKernelCfg,
        hostArgs: *mut c_void, argsSize: usize, placeHolderArray: *mut aclrtPlaceHolderInfo, placeHolderNum: usize
    ): funcHandle as usize, numBlocks, stream;
    // By a stub or a handle, nobody says which: only a number.
    aclrtLaunchKernelWithArgsArray(
        func: *mut c_void, numBlocks: u32, stream: aclrtStream, cfg: *mut aclrtLaunchKernelCfg,
        args: *mut *mut c_void
    ): by_stub(func), numBlocks, stream;

    rtKernelLaunch(
        stubFunc: *const c_void, numBlocks: u32, args: *mut c_void, argsSize: u32, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t
    ): by_stub(stubFunc), numBlocks, stm;
    rtKernelLaunchWithFlag(
        stubFunc: *const c_void, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t, stm: rtStream_t,
        flags: u32
    ): by_stub(stubFunc), numBlocks, stm;
    rtKernelLaunchWithFlagV2(
        stubFunc: *const c_void, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t, stm: rtStream_t,
        flags: u32, cfgInfo: *const rtTaskCfgInfo_t
    ): by_stub(stubFunc), numBlocks, stm;
    rtVectorCoreKernelLaunch(
        stubFunc: *const c_void, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t, stm: rtStream_t,
        flags: u32, cfgInfo: *const rtTaskCfgInfo_t
    ): by_stub(stubFunc), numBlocks, stm;
    rtKernelLaunchWithHandle(
        hdl: *mut c_void, tilingKey: u64, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t, cfgInfo: *const rtTaskCfgInfo_t
    ): by_key(hdl, tilingKey), numBlocks, stm;
    rtKernelLaunchWithHandleV2(
        hdl: *mut c_void, tilingKey: u64, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t, cfgInfo: *const rtTaskCfgInfo_t
    ): by_key(hdl, tilingKey), numBlocks, stm;
    rtVectorCoreKernelLaunchWithHandle(
        hdl: *mut c_void, tilingKey: u64, numBlocks: u32, argsInfo: *mut rtArgsEx_t, smDesc: *mut rtSmDesc_t,
        stm: rtStream_t, cfgInfo: *const rtTaskCfgInfo_t
    ): by_key(hdl, tilingKey), numBlocks, stm;
    rtKernelLaunchEx(args: *mut c_void, argsSize: u32, flags: u32, stm: rtStream_t):
        by_name(c"rtKernelLaunchEx".as_ptr()), 1, stm;
    rtKernelLaunchFwk(opName: *const c_char, args: *mut c_void, argsSize: u32, flags: u32, stm: rtStream_t):
        by_name(opName), 1, stm;
    rtCpuKernelLaunch(
        soName: *const c_void, kernelName: *const c_void, numBlocks: u32, args: *const c_void, argsSize: u32,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t
    ): by_name(kernelName.cast()), numBlocks, stm;
    rtCpuKernelLaunchWithFlag(
        soName: *const c_void, kernelName: *const c_void, numBlocks: u32, argsInfo: *const rtArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, flags: u32
    ): by_name(kernelName.cast()), numBlocks, stm;
    rtAicpuKernelLaunch(
        launchNames: *const rtKernelLaunchNames_t, numBlocks: u32, args: *const c_void, argsSize: u32,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t
    ): by_name(c"rtAicpuKernelLaunch".as_ptr()), numBlocks, stm;
    rtAicpuKernelLaunchWithFlag(
        launchNames: *const rtKernelLaunchNames_t, numBlocks: u32, argsInfo: *const rtArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, flags: u32
    ): by_name(c"rtAicpuKernelLaunch".as_ptr()), numBlocks, stm;
    rtAicpuKernelLaunchExWithArgs(
        kernelType: u32, opName: *const c_char, numBlocks: u32, argsInfo: *const rtAicpuArgsEx_t,
        smDesc: *mut rtSmDesc_t, stm: rtStream_t, flags: u32
    ): by_name(opName), numBlocks, stm;
    rtLaunchKernelByFuncHandle(
        funcHandle: rtFuncHandle, numBlocks: u32, argsHandle: rtLaunchArgsHandle, stm: rtStream_t
    ): funcHandle as usize, numBlocks, stm;
    rtLaunchKernelByFuncHandleV2(
        funcHandle: rtFuncHandle, numBlocks: u32, argsHandle: rtLaunchArgsHandle, stm: rtStream_t,
        cfgInfo: *const rtTaskCfgInfo_t
    ): funcHandle as usize, numBlocks, stm;
    rtLaunchKernelByFuncHandleV3(
        funcHandle: rtFuncHandle, numBlocks: u32, argsInfo: *const rtArgsEx_t, stm: rtStream_t,
        cfgInfo: *const rtTaskCfgInfo_t
    ): funcHandle as usize, numBlocks, stm;
    rtsLaunchKernelWithConfig(
        funcHandle: rtFuncHandle, numBlocks: u32, stm: rtStream_t, cfg: *mut rtKernelLaunchCfg_t,
        argsHandle: *mut c_void, reserve: *mut c_void
    ): funcHandle as usize, numBlocks, stm;
    rtsLaunchKernelWithDevArgs(
        funcHandle: rtFuncHandle, numBlocks: u32, stm: rtStream_t, cfg: *mut rtKernelLaunchCfg_t,
        args: *const c_void, argsSize: u32, reserve: *mut c_void
    ): funcHandle as usize, numBlocks, stm;
    rtsLaunchKernelWithHostArgs(
        funcHandle: rtFuncHandle, numBlocks: u32, stm: rtStream_t, cfg: *mut rtKernelLaunchCfg_t,
        hostArgs: *mut c_void, argsSize: u32, placeHolderArray: *mut rtPlaceHolderInfo_t, placeHolderNum: u32
    ): funcHandle as usize, numBlocks, stm;
    // Tasks that are described in memory: one number for all of a kind; spans between marks put the
    // charge right.
    rtFftsTaskLaunch(info: *mut rtFftsTaskInfo_t, stm: rtStream_t):
        by_name(c"rtFftsTaskLaunch".as_ptr()), 1, stm;
    rtFftsTaskLaunchWithFlag(info: *mut rtFftsTaskInfo_t, stm: rtStream_t, flag: u32):
        by_name(c"rtFftsTaskLaunch".as_ptr()), 1, stm;
    rtFftsPlusTaskLaunch(info: *mut rtFftsPlusTaskInfo_t, stm: rtStream_t):
        by_name(c"rtFftsPlusTaskLaunch".as_ptr()), 1, stm;
    rtFftsPlusTaskLaunchWithFlag(info: *mut rtFftsPlusTaskInfo_t, stm: rtStream_t, flag: u32):
        by_name(c"rtFftsPlusTaskLaunch".as_ptr()), 1, stm;
    rtStarsTaskLaunch(taskSqe: *const c_void, sqeLen: u32, stm: rtStream_t):
        by_name(c"rtStarsTaskLaunch".as_ptr()), 1, stm;
    rtStarsTaskLaunchWithFlag(taskSqe: *const c_void, sqeLen: u32, stm: rtStream_t, flag: u32):
        by_name(c"rtStarsTaskLaunch".as_ptr()), 1, stm;
    rtMultipleTaskInfoLaunch(taskInfo: *const c_void, stm: rtStream_t):
        by_name(c"rtMultipleTaskInfoLaunch".as_ptr()), 1, stm;
    rtMultipleTaskInfoLaunchWithFlag(taskInfo: *const c_void, stm: rtStream_t, flag: u32):
        by_name(c"rtMultipleTaskInfoLaunch".as_ptr()), 1, stm;
}

/// Submits recorded work: one key each.
fn model(handle: *mut c_void, stream: aclrtStream, call: Call<'_>) -> aclError {
    let Some(_launching) = Launching::enter() else {
        return call();
    };
    let (executable, queue) = (handle as usize, stream as usize);
    if hook::admits_graph::<Ascend>(executable, queue) {
        return call();
    }
    hook::graph::<Ascend>(executable, queue, call)
}

macro_rules! executes {
    ($($name:ident($model:ident: $model_ty:ty $(, $arg:ident: $ty:ty)*): $stream:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($model: $model_ty $(, $arg: $ty)*) -> aclError {
            if passes() && let Some(real) = real::$name.get() {
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
                // driver.
                return unsafe { real($model $(, $arg)*) };
            }
            model($model, $stream, &|| call_real!($name($model $(, $arg)*)))
        }
    )*};
}
executes! {
    aclmdlRIExecuteAsync(modelRI: aclmdlRI, stream: aclrtStream): stream;
    aclmdlRIExecute(modelRI: aclmdlRI, timeout: i32): core::ptr::null_mut();
    rtModelExecute(mdl: rtModel_t, stm: rtStream_t, flag: u32): stm;
    rtModelExecuteSync(mdl: rtModel_t, stm: rtStream_t, flag: u32, timeout: i32): stm;
}

/// Makes a call in which the host waits for the device, and tells the share so.
fn waiting(drains: Drains, call: Call<'_>) -> aclError {
    let Some(_launching) = Launching::enter() else {
        return call();
    };
    catch_panic(ACL_ERROR_FAILURE, || hook::waiting::<Ascend>(drains, call))
}

macro_rules! waits {
    ($($name:ident($($arg:ident: $ty:ty),*): $drains:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> aclError {
            if passes() && let Some(real) = real::$name.get() {
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
                // driver.
                return unsafe { real($($arg),*) };
            }
            waiting($drains, &|| call_real!($name($($arg),*)))
        }
    )*};
}
waits! {
    aclrtSynchronizeDevice(): Drains::Everything;
    aclrtSynchronizeDeviceWithTimeout(timeout: i32): Drains::Everything;
    aclrtSynchronizeStream(stream: aclrtStream): Drains::Queue(stream as usize);
    aclrtSynchronizeStreamWithTimeout(stream: aclrtStream, timeout: i32): Drains::Queue(stream as usize);
    aclrtSynchronizeEvent(event: aclrtEvent): Drains::Something;
    aclrtSynchronizeEventWithTimeout(event: aclrtEvent, timeout: i32): Drains::Something;
    rtDeviceSynchronize(): Drains::Everything;
    rtDeviceSynchronizeWithTimeout(timeout: i32): Drains::Everything;
    rtStreamSynchronize(stm: rtStream_t): Drains::Queue(stm as usize);
    rtStreamSynchronizeWithTimeout(stm: rtStream_t, timeout: i32): Drains::Queue(stm as usize);
    rtEventSynchronize(evt: rtEvent_t): Drains::Something;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_handle_are_odd() {
        let stub = 0x7f00_0000_1230 as *const c_void;
        assert_eq!(by_stub(stub) & ODD, ODD);
        assert_eq!(by_key(stub, 3) & ODD, ODD);
        assert_ne!(by_key(stub, 3), by_key(stub, 4));
        // SAFETY: C strings.
        let (one, same) = unsafe { (by_name(c"one".as_ptr()), by_name(c"one".as_ptr())) };
        assert_eq!((one, one & ODD), (same, ODD));
        assert_eq!(name_of(one).as_deref(), Some("one"));
    }
}
