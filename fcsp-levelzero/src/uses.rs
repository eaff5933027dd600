//! First uses of contexts.
//!
//! A context names no device when it is made. It takes memory of a device with its first use there,
//! so that is when it counts.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fcsp_hook::device::Making;
use fcsp_hook::setup::SetupOnce;

use crate::ffi::ze::*;
use crate::vendor::{Device, LevelZero};

type Uses = Mutex<HashSet<(usize, i32)>>;
/// Contexts, each with the ordinal of a device that was used in it. Leaked; null until the first.
static USES: AtomicPtr<Uses> = AtomicPtr::new(core::ptr::null_mut());
/// The use that was looked up last, mixed into a word: most programs have one.
static LAST: AtomicU64 = AtomicU64::new(0);

fn uses() -> MutexGuard<'static, HashSet<(usize, i32)>> {
    // Acquire: made before its address was published.
    let known = USES.load(Ordering::Acquire);
    let uses = if known.is_null() {
        SetupOnce::publish(&USES, Mutex::default)
    } else {
        // SAFETY: leaked, never freed.
        unsafe { &*known }
    };
    uses.lock().unwrap_or_else(PoisonError::into_inner)
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
    let known = uses();
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
        let mut known = uses();
        known.insert((context, device.ordinal))
    };
    if result == ZE_RESULT_SUCCESS && insert() {
        device.find_entry(context);
        making.made(context, None);
        LAST.store(word, Ordering::Relaxed);
    }
}

/// Takes out the uses of a context, and returns them.
pub fn forget(context: usize) -> Vec<(usize, i32)> {
    let mut known = uses();
    let gone = known.extract_if(|&(of, _)| of == context).collect();
    // Under the lock: a thread that finds a use here records it there.
    LAST.store(0, Ordering::Relaxed);
    gone
}

/// Records uses again that [`forget`] returned: their context lives on.
pub fn restore(used: Vec<(usize, i32)>) {
    uses().extend(used);
}
