//! Launches of older APIs: the one whose shape and parameters are set beforehand, and those on
//! several devices at once.

use core::ffi::c_void;

use fcsp_hook::backend::{Capture, Driver};
use fcsp_hook::compute::{Compute, Work};

use super::{host, kernel, volume};
use crate::call_real;
use crate::ffi::hip::*;
use crate::vendor::{self, Hip, Reentry, catch_panic, named};

/// `hipLaunchByPtr`: its shape was set by `hipConfigureCall`, which is the runtime's to know; it
/// counts as one block on the default stream until it has been timed.
pub unsafe extern "C" fn hipLaunchByPtr(func: *const c_void) -> hipError_t {
    kernel(host(func), 1, core::ptr::null_mut(), false, || {
        call_real!(hipLaunchByPtr(func))
    })
}

/// Returns the share that governs `stream`: that of the device which it is on.
fn of_stream(stream: hipStream_t) -> Option<&'static Compute<Hip>> {
    let mut device = 0;
    if stream.is_null()
        || stream == STREAM_LEGACY
        || stream == STREAM_PER_THREAD
        || call_real!(hipStreamGetDevice(stream, &mut device)) != hipSuccess
    {
        return Hip::process().compute();
    }
    Hip::process().compute_of(device)
}

/// One device's part of a launch.
struct Part {
    function: usize,
    blocks: u64,
    stream: hipStream_t,
}

/// Passes the gate of every device that takes part, one after the other, and then makes the one
/// call. None is held while the next is waited for: a gate is a decision, not a lock.
fn pass_all(parts: &[Part], call: &dyn Fn() -> hipError_t) -> hipError_t {
    let Some((first, rest)) = parts.split_first() else {
        return call();
    };
    let Some(compute) = of_stream(first.stream) else {
        return pass_all(rest, call);
    };
    let work = Work {
        // Not to be remembered by what it is here. Timing it would put events around a call that
        // belongs to several devices.
        settled: false,
        sample: false,
        ..compute.kernel_work(first.function, first.blocks)
    };
    compute.submit(work, named(first.stream, false), || pass_all(rest, call))
}

fn several<T>(
    list: *const T,
    count: usize,
    part: impl Fn(&T) -> Part,
    call: &dyn Fn() -> hipError_t,
) -> hipError_t {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    if vendor::governed().is_none() || list.is_null() {
        return call();
    }
    // SAFETY: the caller passes as many entries as it says, as the runtime requires.
    let parts: Vec<Part> = unsafe { core::slice::from_raw_parts(list, count) }
        .iter()
        .map(part)
        .collect();
    if Hip::is_recording() && parts.iter().any(|part| Hip::records(part.stream as usize)) {
        return call();
    }
    catch_panic(hipErrorUnknown, || pass_all(&parts, call))
}

fn host_part(p: &hipLaunchParams) -> Part {
    Part {
        function: host(p.func),
        blocks: volume(p.gridDim),
        stream: p.stream,
    }
}

macro_rules! on_several {
    ($($name:ident($entry:ty, $count:ty) by $part:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: each device's part is charged there.")]
        pub unsafe extern "C" fn $name(list: *mut $entry, numDevices: $count, flags: u32) -> hipError_t {
            let count = usize::try_from(numDevices).unwrap_or(0);
            several(list.cast_const(), count, $part, &|| call_real!($name(list, numDevices, flags)))
        }
    )*};
}
on_several! {
    hipLaunchCooperativeKernelMultiDevice(hipLaunchParams, i32) by host_part;
    hipExtLaunchMultiKernelMultiDevice(hipLaunchParams, i32) by host_part;
    hipModuleLaunchCooperativeKernelMultiDevice(hipFunctionLaunchParams, u32) by |p: &hipFunctionLaunchParams| Part {
        function: p.function as usize,
        blocks: u64::from(p.gridDimX) * u64::from(p.gridDimY) * u64::from(p.gridDimZ),
        stream: p.hStream,
    };
}
