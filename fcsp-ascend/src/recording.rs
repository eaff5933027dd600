//! What is recorded now and launched later: captures of a stream, and streams that are bound to a model being built, as
//! loading an offline model does. Launches recorded there are charged when the model is executed.

use core::sync::atomic::{AtomicU32, Ordering};

use fcsp_hook::launch;

use crate::call_real;
use crate::ffi::acl::*;
use crate::ffi::rt::{rtError_t, rtModel_t, rtStream_t};
use crate::process::Ascend;

/// Recordings of this process that are open.
static OPEN: AtomicU32 = AtomicU32::new(0);

/// Whether anything is being recorded.
#[inline]
pub fn any() -> bool {
    // Relaxed: the thread that records has counted itself; another's launch may go either way at that moment.
    OPEN.load(Ordering::Relaxed) != 0
}

/// Whether this stream records. A capture may have spread to streams that wait for its events, so the driver is asked.
pub fn on(stream: usize) -> bool {
    if bound(|list| list.iter().any(|&(_, at)| at == stream)).unwrap_or(true) {
        return true;
    }
    let (mut status, mut model) = (ACL_MODEL_RI_CAPTURE_STATUS_NONE, core::ptr::null_mut());
    call_real!(aclmdlRICaptureGetInfo(
        stream as aclrtStream,
        &mut status,
        &mut model
    )) == ACL_SUCCESS
        && status != ACL_MODEL_RI_CAPTURE_STATUS_NONE
}

/// While it lives, this thread may ask events and make them although another thread is capturing. In the mode that
/// most captures use such a question breaks the capture, and a launch on a stream that is not captured must not be let
/// by for that: one capture left open would be a way around the share.
pub struct BesideCaptures(aclmdlRICaptureMode);

/// Asked for only while something is recorded.
pub fn beside_captures() -> Option<BesideCaptures> {
    if !any() {
        return None;
    }
    let mut mode = ACL_MODEL_RI_CAPTURE_MODE_RELAXED;
    // The driver exchanges the mode for the one that the thread had.
    (call_real!(aclmdlRICaptureThreadExchangeMode(&mut mode)) == ACL_SUCCESS).then_some(BesideCaptures(mode))
}

impl Drop for BesideCaptures {
    fn drop(&mut self) {
        call_real!(aclmdlRICaptureThreadExchangeMode(&mut self.0));
    }
}

/// In a forked child: nothing is.
pub fn forget_everything() {
    OPEN.store(0, Ordering::Relaxed);
}

fn opened(result: aclError) -> aclError {
    if result == ACL_SUCCESS {
        OPEN.fetch_add(1, Ordering::Relaxed);
    }
    result
}

fn closed(by: u32) {
    let _ = OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
        Some(open.saturating_sub(by))
    });
}

std::thread_local! {
    /// Raised while this thread is inside a recording call of ACL: the runtime's under it must not count again.
    static INSIDE: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}

/// Runs an outer call with the ones inside it passing through; `None` if this is such a one.
fn outermost(call: impl FnOnce() -> aclError) -> Option<aclError> {
    if INSIDE.replace(true) {
        return None;
    }
    let result = call();
    INSIDE.set(false);
    Some(result)
}

macro_rules! begins {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> aclError {
            let call = || call_real!($name($($arg),*));
            outermost(call).map_or_else(call, opened)
        }
    )*};
}
begins! {
    aclmdlRICaptureBegin(stream: aclrtStream, mode: aclmdlRICaptureMode);
    rtStreamBeginCapture(stm: rtStream_t, mode: i32);
}

macro_rules! ends {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: it ends whether it succeeds or not.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> aclError {
            let call = || call_real!($name($($arg),*));
            match outermost(call) {
                Some(result) => {
                    closed(1);
                    result
                }
                None => call(),
            }
        }
    )*};
}
ends! {
    aclmdlRICaptureEnd(stream: aclrtStream, modelRI: *mut aclmdlRI);
    rtStreamEndCapture(stm: rtStream_t, captureMdl: *mut rtModel_t);
}

/// Streams bound to models that are being built.
static BOUND: std::sync::Mutex<Vec<(usize, usize)>> = std::sync::Mutex::new(Vec::new());

fn bound<R>(work: impl FnOnce(&mut Vec<(usize, usize)>) -> R) -> Option<R> {
    // A thread that held this at a fork does not exist in the child: such a child goes without.
    match BOUND.try_lock() {
        Ok(mut list) => Some(work(&mut list)),
        Err(std::sync::TryLockError::Poisoned(poison)) => Some(work(&mut poison.into_inner())),
        Err(std::sync::TryLockError::WouldBlock) => {
            std::thread::sleep(std::time::Duration::from_micros(50));
            BOUND.try_lock().ok().map(|mut list| work(&mut list))
        }
    }
}

/// `rtModelBindStream`: what is launched on the stream is recorded from here on.
pub unsafe extern "C" fn rtModelBindStream(mdl: rtModel_t, stm: rtStream_t, flag: u32) -> rtError_t {
    let result = call_real!(rtModelBindStream(mdl, stm, flag));
    if result == ACL_SUCCESS && bound(|list| list.push((mdl as usize, stm as usize))).is_some() {
        opened(result);
    }
    result
}

/// `rtModelUnbindStream`.
pub unsafe extern "C" fn rtModelUnbindStream(mdl: rtModel_t, stm: rtStream_t) -> rtError_t {
    let result = call_real!(rtModelUnbindStream(mdl, stm));
    unbind(|&(model, stream)| (model, stream) == (mdl as usize, stm as usize));
    result
}

/// `rtModelLoadComplete`: the model is built.
pub unsafe extern "C" fn rtModelLoadComplete(mdl: rtModel_t) -> rtError_t {
    let result = call_real!(rtModelLoadComplete(mdl));
    unbind(|&(model, _)| model == mdl as usize);
    result
}

fn unbind(gone: impl Fn(&(usize, usize)) -> bool) {
    let ended = bound(|list| {
        let before = list.len();
        list.retain(|entry| !gone(entry));
        before - list.len()
    });
    closed(ended.unwrap_or(0) as u32);
}

macro_rules! destroys {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: its handle may come again.")]
        pub unsafe extern "C" fn $name(model: rtModel_t) -> aclError {
            let result = call_real!($name(model));
            unbind(|&(built, _)| built == model as usize);
            launch::graph_changed::<Ascend>(model as usize);
            result
        }
    )*};
}
destroys!(aclmdlRIDestroy, rtModelDestroy);
