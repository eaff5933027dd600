//! Ends of contexts, and code: memory that the driver takes for itself. First uses of contexts are
//! in [`crate::uses`].

use fcsp_hook::{memory, overhead};

use crate::call_real;
use crate::device::target_of;
use crate::ffi::ze::*;
use crate::uses::{self, using};
use crate::vendor::{LevelZero, Reentry, Target, catch_panic, process};
use crate::{memory::vmm, queues};

/// `zeContextDestroy`: the driver frees all that was allocated in it. What is known of it goes
/// before the call or is set aside meanwhile: another thread may be given the handle for a new
/// context before the call comes back.
pub unsafe extern "C" fn zeContextDestroy(hContext: ze_context_handle_t) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || call_real!(zeContextDestroy(hContext));
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let Some(governed) = process().governed() else {
            return call();
        };
        let context = hContext as usize;
        // The API wants everything in a context destroyed before it, our own events included.
        overhead::context_ends::<LevelZero>(Some(context));
        let queues = queues::context_ends(context);
        let used = uses::forget(context);
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
            uses::restore(used);
            queues::put_back(queues);
        }
        result
    })
}

/// `zeModuleCreate`: code lives in device memory.
pub unsafe extern "C" fn zeModuleCreate(
    hContext: ze_context_handle_t,
    hDevice: ze_device_handle_t,
    desc: *const ze_module_desc_t,
    phModule: *mut ze_module_handle_t,
    phBuildLog: *mut ze_module_build_log_handle_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let call = || {
            call_real!(zeModuleCreate(
                hContext, hDevice, desc, phModule, phBuildLog
            ))
        };
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let target = target_of(hDevice);
        let undo = || {
            // SAFETY: the driver has written there with success.
            let module = unsafe { *phModule };
            call_real!(zeModuleDestroy(module));
        };
        match target {
            Target::Device(device, _) => using(hContext, device, || {
                overhead::takes_memory::<LevelZero>(Target::Device(device, 0), call, undo)
            }),
            Target::PassThrough => call(),
            Target::Deny => ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY,
        }
    })
}

/// `zeModuleDestroy`: what the code took is free, and handles of its kernels may come again.
pub unsafe extern "C" fn zeModuleDestroy(hModule: ze_module_handle_t) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        overhead::unloads::<LevelZero>(|| call_real!(zeModuleDestroy(hModule)))
    })
}

/// `zeKernelDestroy`: its handle may come again for another kernel, which is then a stranger.
pub unsafe extern "C" fn zeKernelDestroy(hKernel: ze_kernel_handle_t) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        fcsp_hook::launch::function_ends::<LevelZero>(hKernel as usize);
        call_real!(zeKernelDestroy(hKernel))
    })
}
