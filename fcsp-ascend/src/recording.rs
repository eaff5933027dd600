//! Recordings: captures of a stream, and streams that are bound to a model being built, as loading
//! an offline model does. Launches recorded there are charged when the model is executed.

use fcsp_hook::backend::{Capture, Driver};
use fcsp_hook::family::capture::{BesideCaptures, CaptureMode, beside};
use fcsp_hook::launch;
use fcsp_hook::recordings::{Origin, Question, Recordings};
use fcsp_hook::setup::catch_panic;
use fcsp_hook::thread::Launching;

use crate::call_real;
use crate::ffi::acl::*;
use crate::ffi::rt::{rtError_t, rtModel_t, rtStream_t};
use crate::vendor::Ascend;

/// Captures and bindings of this process that are open.
pub static RECORDINGS: Recordings = Recordings::new();

/// Returns true if this stream records. The driver is asked about captures: one may have spread to
/// streams that wait for its events, and a jump may have skipped the end of another.
fn on(stream: usize) -> bool {
    RECORDINGS.is_bound(stream) || captures(stream)
}

/// Asks the driver whether a stream is being captured.
fn captures(stream: usize) -> bool {
    let (mut status, mut model) = (ACL_MODEL_RI_CAPTURE_STATUS_NONE, core::ptr::null_mut());
    call_real!(aclmdlRICaptureGetInfo(
        stream as aclrtStream,
        &mut status,
        &mut model
    )) == ACL_SUCCESS
        && status != ACL_MODEL_RI_CAPTURE_STATUS_NONE
}

impl CaptureMode for Ascend {
    type Mode = aclmdlRICaptureMode;
    const RELAXED: aclmdlRICaptureMode = ACL_MODEL_RI_CAPTURE_MODE_RELAXED;

    fn exchange_capture_mode(mode: &mut aclmdlRICaptureMode) -> bool {
        call_real!(aclmdlRICaptureThreadExchangeMode(mode)) == ACL_SUCCESS
    }
}

impl Capture for Ascend {
    type Beside = Question<BesideCaptures<Self>>;

    #[inline]
    fn is_recording() -> bool {
        RECORDINGS.any()
    }

    fn records(queue: usize) -> bool {
        on(queue)
    }

    fn beside_recordings() -> Self::Beside {
        beside(&RECORDINGS)
    }
}

/// Runs `call`, which begins to record on `stream`, for `model` if that is known.
fn begins(stream: aclrtStream, model: usize, call: &dyn Fn() -> aclError) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        if Ascend::process().is_free() {
            return call();
        }
        let queue = stream as usize;
        // The call that ended the last capture there may have been left by a jump.
        if model == 0 && RECORDINGS.began_on(queue) && !on(queue) {
            RECORDINGS.ended_on(queue);
        }
        let began = |result| {
            let (context, device) = Ascend::process().current().unwrap_or((0, -1));
            (result == ACL_SUCCESS).then_some(Origin {
                queue,
                context,
                device,
                graph: model,
            })
        };
        RECORDINGS.begins(call, began)
    })
}

/// Runs an outer call with the ones inside it passing through; `None` if this is such a one. As
/// with launches, the runtime's call under ACL's must not count again.
fn outermost(call: impl FnOnce() -> aclError) -> Option<aclError> {
    let _outer = Launching::enter()?;
    Some(call())
}

macro_rules! begins {
    ($($name:ident($stream:ident: $stream_ty:ty $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: counts from before the call, so that no question of ours spoils it.")]
        pub unsafe extern "C" fn $name($stream: $stream_ty $(, $arg: $ty)*) -> aclError {
            let call = || call_real!($name($stream $(, $arg)*));
            outermost(|| begins($stream, 0, &call)).unwrap_or_else(call)
        }
    )*};
}
begins! {
    aclmdlRICaptureBegin(stream: aclrtStream, mode: aclmdlRICaptureMode);
    rtStreamBeginCapture(stm: rtStream_t, mode: i32);
}

/// Runs `call`, which ends a capture on `stream`, whether it succeeds or not, unless it came from
/// the wrong thread.
fn ends(stream: aclrtStream, call: &dyn Fn() -> aclError) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let queue = stream as usize;
        let was = RECORDINGS.began_on(queue);
        let result = call();
        if was && !captures(queue) {
            RECORDINGS.ended_on(queue);
        }
        result
    })
}

macro_rules! ends {
    ($($name:ident($stream:ident: $stream_ty:ty $(, $arg:ident: $ty:ty)*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($stream: $stream_ty $(, $arg: $ty)*) -> aclError {
            let call = || call_real!($name($stream $(, $arg)*));
            outermost(|| ends($stream, &call)).unwrap_or_else(call)
        }
    )*};
}
ends! {
    aclmdlRICaptureEnd(stream: aclrtStream, modelRI: *mut aclmdlRI);
    rtStreamEndCapture(stm: rtStream_t, captureMdl: *mut rtModel_t);
}

/// `rtModelBindStream`: what is launched on the stream is recorded from here on.
pub unsafe extern "C" fn rtModelBindStream(
    mdl: rtModel_t,
    stm: rtStream_t,
    flag: u32,
) -> rtError_t {
    begins(stm, mdl as usize, &|| {
        call_real!(rtModelBindStream(mdl, stm, flag))
    })
}

/// Runs `call`; if it succeeds, what `ended` names is recorded no more.
fn unbinds(ended: impl Fn(&Origin) -> bool, call: &dyn Fn() -> aclError) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let result = call();
        if result == ACL_SUCCESS {
            RECORDINGS.ended(ended);
        }
        result
    })
}

/// `rtModelUnbindStream`.
pub unsafe extern "C" fn rtModelUnbindStream(mdl: rtModel_t, stm: rtStream_t) -> rtError_t {
    let bound = (stm as usize, mdl as usize);
    unbinds(|origin| (origin.queue, origin.graph) == bound, &|| {
        call_real!(rtModelUnbindStream(mdl, stm))
    })
}

/// `rtModelLoadComplete`: the model is built.
pub unsafe extern "C" fn rtModelLoadComplete(mdl: rtModel_t) -> rtError_t {
    unbinds(|origin| origin.graph == mdl as usize, &|| {
        call_real!(rtModelLoadComplete(mdl))
    })
}

macro_rules! destroys {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: its handle may come again.")]
        pub unsafe extern "C" fn $name(model: rtModel_t) -> aclError {
            launch::graph_ends::<Ascend>(model as usize);
            unbinds(|origin| origin.graph == model as usize, &|| call_real!($name(model)))
        }
    )*};
}
destroys!(aclmdlRIDestroy, rtModelDestroy);
