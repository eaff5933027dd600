//! Contexts and code: memory that the driver takes for itself.
//!
//! A context names no device when it is made. What it takes of one it takes with its first use
//! there, so that is when it counts.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use fcsp_hook::device::Making;
use fcsp_hook::setup::SetupOnce;
use fcsp_hook::{memory, overhead};

use crate::call_real;
use crate::device::scope_of;
use crate::ffi::ze::*;
use crate::vendor::{Device, Inside, LevelZero, Scope, process, shielded};
use crate::{memory::vmm, queues};

type Uses = Mutex<HashSet<(usize, i32)>>;
static USES: AtomicPtr<Uses> = AtomicPtr::new(core::ptr::null_mut());
/// The use that was looked up last, mixed into a word: most programs have one.
static LAST: AtomicU64 = AtomicU64::new(0);

fn uses() -> &'static Uses {
    // Acquire: made before its address was published.
    let known = USES.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: leaked, never freed.
        return unsafe { &*known };
    }
    SetupOnce::publish(&USES, Mutex::default)
}

/// Forgets all contexts in a forked child: they do not survive, and a thread that held the lock
/// does not exist.
pub fn forget_in_child() {
    USES.store(core::ptr::null_mut(), Ordering::Release);
    LAST.store(0, Ordering::Relaxed);
}

/// Runs a call that takes something of a device in a context. The first in a context must leave
/// room for what the context itself takes: that cannot be taken back, since only the program may
/// destroy its context.
#[inline(always)]
pub fn using(
    context: ze_context_handle_t,
    device: &'static Device,
    call: impl FnOnce() -> ze_result_t,
) -> ze_result_t {
    // Ordinals fit 16 bits with room to spare, and addresses 48.
    let word = (context as u64) << 16 | u64::from(device.ordinal as u16);
    // Relaxed: the word is complete in itself.
    let unknown = LAST.load(Ordering::Relaxed) != word && !is_used(context as usize, device, word);
    // One thread makes the first use: the others find it counted, and hold nothing for it.
    let _turn = unknown.then(|| device.context_turn());
    let first = unknown && !is_used(context as usize, device, word);
    if !first {
        return call();
    }
    let making = match device.make_context(false) {
        Ok(making) => making,
        Err(denied) => {
            device.refused("a context's first use", &denied);
            return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
        }
    };
    let result = call();
    used_first(context as usize, device, word, result, making);
    result
}

/// Returns true if the device is known to have been used in the context.
#[cold]
fn is_used(context: usize, device: &'static Device, word: u64) -> bool {
    let known = uses().lock().unwrap_or_else(PoisonError::into_inner);
    let used = known.contains(&(context, device.ordinal));
    if used {
        LAST.store(word, Ordering::Relaxed);
    }
    used
}

/// Records the first use; `making` is the reservation for it.
#[cold]
fn used_first(
    context: usize,
    device: &'static Device,
    word: u64,
    result: ze_result_t,
    making: Making<'_, LevelZero>,
) {
    let insert = || {
        let mut known = uses().lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((context, device.ordinal))
    };
    if result == ZE_RESULT_SUCCESS && insert() {
        device.find_entry(context);
        making.made(context, None);
        LAST.store(word, Ordering::Relaxed);
    }
}

/// `zeContextDestroy`: the driver frees all that was allocated in it. What is known of it goes
/// before the call or is set aside meanwhile: another thread may be given the handle for a new
/// context before the call comes back.
pub unsafe extern "C" fn zeContextDestroy(hContext: ze_context_handle_t) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zeContextDestroy(hContext));
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let Some(governed) = process().governed() else {
            return call();
        };
        let context = hContext as usize;
        // The API wants everything in a context destroyed before it, our own events included.
        overhead::context_ends::<LevelZero>(Some(context));
        let queues = queues::context_ends(context);
        let used = forget_uses(context);
        let ending = memory::context_ends::<LevelZero>(context);
        let result = call();
        if result == ZE_RESULT_SUCCESS {
            vmm::PHYSICAL.context_died(context);
            ending.died::<LevelZero>();
            for device in governed.devices() {
                if used.contains(&(context, device.ordinal)) {
                    overhead::context_left::<LevelZero>(context, Some(device));
                }
            }
        } else {
            ending.survived::<LevelZero>();
            uses()
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(used);
            queues::put_back(queues);
        }
        result
    })
}

/// Takes out the uses of a context; returns them.
fn forget_uses(context: usize) -> Vec<(usize, i32)> {
    let mut known = uses().lock().unwrap_or_else(PoisonError::into_inner);
    let gone = known.extract_if(|&(of, _)| of == context).collect();
    // Under the lock: a thread that finds a use here records it there.
    LAST.store(0, Ordering::Relaxed);
    gone
}

/// `zeModuleCreate`: code lives in device memory.
pub unsafe extern "C" fn zeModuleCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *const ze_module_desc_t,
    phModule: *mut ze_module_handle_t,
    phBuildLog: *mut ze_module_build_log_handle_t,
) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeModuleCreate(
                hContext, hDevice, desc, phModule, phBuildLog
            ))
        };
        let Some(_inside) = Inside::enter() else {
            return call();
        };
        let scope = scope_of(hDevice);
        let undo = || {
            // SAFETY: the driver has written there with success.
            let module = unsafe { *phModule };
            call_real!(zeModuleDestroy(module));
        };
        match scope {
            Scope::On(device, _) => using(hContext, device, || {
                overhead::takes_memory::<LevelZero>(Scope::On(device, 0), call, undo)
            }),
            Scope::Pass => call(),
            Scope::Refuse => ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
        }
    })
}

/// `zeModuleDestroy`: what the code took is free, and handles of its kernels may come again.
pub unsafe extern "C" fn zeModuleDestroy(hModule: ze_module_handle_t) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        overhead::unloads::<LevelZero>(|| call_real!(zeModuleDestroy(hModule)))
    })
}

/// `zeKernelDestroy`: its handle may come again for another kernel, which is then a stranger.
pub unsafe extern "C" fn zeKernelDestroy(hKernel: ze_kernel_handle_t) -> ze_result_t {
    shielded(ZE_RESULT_ERROR_UNKNOWN, || {
        fcsp_hook::launch::function_ends::<LevelZero>(hKernel as usize);
        call_real!(zeKernelDestroy(hKernel))
    })
}
