//! Devices and contexts. A process's device opens with its first context and takes memory of its
//! own, which is measured. It closes with its last reset, and all allocations on it end.

use core::sync::atomic::{AtomicU64, Ordering};

use fcsp_hook::backend::Driver;
use fcsp_hook::device::Device;
use fcsp_hook::launch::queue_ends;
use fcsp_hook::overhead;
use fcsp_hook::process::{Managed, Target};
use fcsp_hook::setup::{Reentry, catch_panic};

use crate::ffi::acl::*;
use crate::ffi::rt::{rtContext_t, rtError_t};
use crate::vendor::Ascend;
use crate::{call_real, cores, launch, recording};

/// Returns the key of an open device among contexts: never 0.
pub fn key(ordinal: i32) -> usize {
    ordinal as usize + 1
}

/// Devices that this process has open, as far as is known: a bit each.
static OPEN: AtomicU64 = AtomicU64::new(0);

fn bit(ordinal: i32) -> u64 {
    u32::try_from(ordinal)
        .ok()
        .and_then(|n| 1u64.checked_shl(n))
        .unwrap_or(0)
}

/// Forgets all open devices in a forked child.
pub(crate) fn forget_in_child() {
    OPEN.store(0, Ordering::Relaxed);
}

/// Returns true if the driver has a device open for this process. If a version of ACL cannot report
/// it, the last state counts. Memory of the device then stays charged, which is the safe side.
fn is_open(ordinal: i32) -> bool {
    let (mut flags, mut active) = (0, 0);
    if call_real!(aclrtGetPrimaryCtxState(ordinal, &mut flags, &mut active)) == ACL_SUCCESS {
        active != 0
    } else {
        OPEN.load(Ordering::Relaxed) & bit(ordinal) != 0
    }
}

/// Runs `call`, which may open a device; where that passes the quota, `undo` and refuse.
fn opens(ordinal: i32, call: &dyn Fn() -> aclError, undo: &dyn Fn()) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let process = Ascend::process();
        if process.governed().is_none() && !process.is_broken() {
            return call();
        }
        let target = process.target_of(ordinal);
        // One thread opens a device: who finds it open finds it counted.
        let _turn = match &target {
            Target::Device(device, _) => Some(device.context_turn()),
            _ => None,
        };
        // Relaxed: read and written in the device's turn.
        if OPEN.load(Ordering::Relaxed) & bit(ordinal) != 0 && is_open(ordinal) {
            return call();
        }
        let result = overhead::makes_context(target, call, || key(ordinal), undo);
        if result == ACL_SUCCESS {
            OPEN.fetch_or(bit(ordinal), Ordering::Relaxed);
            cores::apply(ordinal);
        }
        result
    })
}

/// Runs `call`, which may close devices, and removes the devices that it has closed. `before` drops
/// the library's objects in the contexts that may end, and `after` forgets what has ended. A thread
/// that opens a device waits meanwhile. Otherwise new memory could be forgotten with the old, or a
/// new context could have the old one's handle in the records.
fn closes(before: &dyn Fn(), call: &dyn Fn() -> aclError, after: &dyn Fn()) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let governed = Ascend::process().governed();
        // Of every device, in their order: a context does not say which it is of.
        let all = governed.into_iter().flat_map(Managed::devices);
        let _turns: Vec<_> = all.map(Device::context_turn).collect();
        before();
        let result = call();
        if result == ACL_SUCCESS {
            after();
        }
        if result == ACL_SUCCESS
            && let Some(governed) = governed
        {
            for device in governed.devices() {
                let mask = bit(device.ordinal);
                if OPEN.load(Ordering::Relaxed) & mask != 0 && !is_open(device.ordinal) {
                    OPEN.fetch_and(!mask, Ordering::Relaxed);
                    recording::RECORDINGS.ended(|origin| origin.device == device.ordinal);
                    overhead::context_died(key(device.ordinal), Some(device));
                }
            }
            Ascend::process().forget_context();
        }
        result
    })
}

macro_rules! set_device {
    ($($name:ident: $undo:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: the first opens the device.")]
        pub unsafe extern "C" fn $name(device: i32) -> aclError {
            let undo = || { call_real!($undo(device)); };
            let result = opens(device, &|| call_real!($name(device)), &undo);
            // The calling thread's device may be another now, in a context that it has seen before.
            Ascend::process().forget_context();
            result
        }
    )*};
}
set_device!(aclrtSetDevice: aclrtResetDevice, rtSetDevice: rtDeviceReset);

macro_rules! reset_device {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: the last closes the device.")]
        pub unsafe extern "C" fn $name(device: i32) -> aclError {
            // Events are kept by the context that they were made in, and all of the device's
            // contexts may end.
            let before = || {
                let governed = Ascend::process().governed();
                let found = governed.and_then(|all| all.devices().find(|one| one.ordinal == device));
                if let Some(device) = found {
                    overhead::context_ends_on(None, device);
                }
            };
            closes(&before, &|| call_real!($name(device)), &|| {})
        }
    )*};
}
reset_device!(
    aclrtResetDevice,
    aclrtResetDeviceForce,
    rtDeviceReset,
    rtDeviceResetForce
);

/// `aclrtCreateContext`.
pub unsafe extern "C" fn aclrtCreateContext(context: *mut aclrtContext, deviceId: i32) -> aclError {
    opens(
        deviceId,
        &|| call_real!(aclrtCreateContext(context, deviceId)),
        &|| {
            // SAFETY: the driver has written there with success.
            let made = unsafe { *context };
            call_real!(aclrtDestroyContext(made));
        },
    )
}

/// `rtCtxCreateEx`.
pub unsafe extern "C" fn rtCtxCreateEx(
    ctx: *mut rtContext_t,
    flags: u32,
    device: i32,
) -> rtError_t {
    opens(
        device,
        &|| call_real!(rtCtxCreateEx(ctx, flags, device)),
        &|| {
            // SAFETY: as in `aclrtCreateContext`.
            let made = unsafe { *ctx };
            call_real!(rtCtxDestroyEx(made));
        },
    )
}

macro_rules! destroy_context {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name(context: aclrtContext) -> aclError {
            let before = || overhead::context_ends::<Ascend>(Some(context as usize));
            let after = || {
                recording::RECORDINGS.ended(|origin| origin.context == context as usize);
            };
            closes(&before, &|| call_real!($name(context)), &after)
        }
    )*};
}
destroy_context!(aclrtDestroyContext, rtCtxDestroyEx);

/// `aclInit`: without limits that can be enforced, it returns no device.
pub unsafe extern "C" fn aclInit(configPath: *const core::ffi::c_char) -> aclError {
    catch_panic(ACL_ERROR_FAILURE, || {
        let result = call_real!(aclInit(configPath));
        if result == ACL_SUCCESS && Ascend::process().is_broken() {
            return ACL_ERROR_FAILURE;
        }
        result
    })
}

macro_rules! finalizes {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: may end contexts. What it frees by the runtime is counted there.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || {
                overhead::context_ends::<Ascend>(None);
                call_real!($name($($arg),*))
            })
        }
    )*};
}
finalizes! {
    aclFinalize();
    aclFinalizeReference(refCount: *mut u64);
}

macro_rules! unloads {
    ($($name:ident($arg:ident: $ty:ty);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: handles of its functions may come again.")]
        pub unsafe extern "C" fn $name($arg: $ty) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || overhead::unloads::<Ascend>(|| call_real!($name($arg))))
        }
    )*};
}
unloads! {
    aclrtBinaryUnLoad(binHandle: aclrtBinHandle);
    rtBinaryUnLoad(hdl: *mut core::ffi::c_void);
}

/// `rtDevBinaryUnRegister`: stubs of its functions may be registered for others.
pub unsafe extern "C" fn rtDevBinaryUnRegister(hdl: *mut core::ffi::c_void) -> rtError_t {
    catch_panic(ACL_ERROR_FAILURE, || {
        launch::forget_names(hdl as usize);
        overhead::unloads::<Ascend>(|| call_real!(rtDevBinaryUnRegister(hdl)))
    })
}

macro_rules! unloads_models {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: handles of its functions may come again. What it frees by the runtime is counted there.")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || {
                overhead::code_ends::<Ascend>();
                call_real!($name($($arg),*))
            })
        }
    )*};
}
unloads_models! {
    aclmdlUnload(modelId: u32);
    aclmdlBundleUnload(bundleId: u32);
    aclmdlBundleUnloadModel(bundleId: u32, modelId: u32);
}

macro_rules! destroys_stream {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: its handle may be another stream's next. What was being recorded on it, by a capture \
                         or for a model that is not complete, is recorded no more.")]
        pub unsafe extern "C" fn $name(stream: aclrtStream) -> aclError {
            catch_panic(ACL_ERROR_FAILURE, || {
                let queue = stream as usize;
                queue_ends::<Ascend>(queue);
                let records = recording::RECORDINGS.began_on(queue);
                let result = call_real!($name(stream));
                if records && result == ACL_SUCCESS {
                    recording::RECORDINGS.ended(|origin| origin.queue == queue);
                }
                result
            })
        }
    )*};
}
destroys_stream!(
    aclrtDestroyStream,
    aclrtDestroyStreamForce,
    rtStreamDestroy,
    rtStreamDestroyForce
);
