//! Dispatch tables, the vendor's own look-up, and this library as a driver.
//!
//! Programs reach Level Zero in three ways. Linked programs call the loader's exported functions,
//! and others ask `dlsym` by name: both are answered as for every vendor (see
//! [`fcsp_hook::lookup`]). The third way is a table of functions. A static loader, as SYCL's
//! adapters contain one, asks `libze_loader` for its tables once and calls their functions. With
//! one driver these are the driver's own functions, at other addresses than the loader's exported
//! ones. A wrapped function is therefore known by its place in the table. A table is as long as its
//! version; places beyond are not touched.
//!
//! The loader fills its own tables through the same getters, by exported name, and so meets the
//! wrapped ones. It gets the real functions: the wrappers call the loader, which would otherwise
//! call the wrappers.
//!
//! **As a driver.** Where preloading is not possible, `ZE_ENABLE_ALT_DRIVERS` names this library.
//! The loader then asks it for tables like a driver. They are the real driver's, with wrappers in
//! their places, and the real functions behind the wrappers are the driver's.
//! `FCSP_LEVELZERO_DRIVER` names the real driver; the default is Intel's.

use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicU32, Ordering};

use fcsp_hook::library::real_dlsym;
use fcsp_hook::lookup::Hooked;
use fcsp_hook::setup::{Reentry, catch_panic, log_refusal};
use fcsp_hook::table::c_name;

use crate::call_real;
use crate::device;
use crate::driver::{Real, ZE, real};
use crate::ffi::ddi;
use crate::ffi::ze::*;
use crate::vendor::LevelZero;

/// Wrapped functions of one table.
struct Table {
    getter: &'static Real<ddi::zeGetGlobalProcAddrTable>,
    /// Place, minor version since which the table has it, and name.
    entries: &'static [(usize, u32, &'static CStr)],
}

/// On which side of the loader this library is.
const UNKNOWN: u32 = 0;
/// Between programs and the loader.
const ABOVE: u32 = 1;
/// Between the loader and the driver.
const BELOW: u32 = 2;
/// A driver to the loader without a driver behind it.
const NOWHERE: u32 = 3;

static SIDE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Returns the side of the loader on which this library is. Below the loader, the real driver is
/// opened.
fn side() -> u32 {
    match SIDE.load(Ordering::Acquire) {
        UNKNOWN => find_side(),
        side => side,
    }
}

#[cold]
fn find_side() -> u32 {
    let side = if is_preloaded() {
        ABOVE
    } else {
        let driver = open_driver();
        if driver.is_null() {
            log_refusal(
                "no Level Zero driver to stand for: set FCSP_LEVELZERO_DRIVER to the real one's path",
            );
            NOWHERE
        } else {
            ZE.adopt(driver);
            BELOW
        }
    };
    // Release: the driver is in its place before anybody calls it. Two threads find the same.
    SIDE.store(side, Ordering::Release);
    side
}

/// Returns true if programs find this library's functions before the loader's.
fn is_preloaded() -> bool {
    /// Returns the first address of the object that contains an address.
    fn object(address: *const c_void) -> usize {
        // SAFETY: all zeroes is a valid value of this plain struct.
        let mut info: libc::Dl_info = unsafe { core::mem::zeroed() };
        // SAFETY: any address may be asked about; the record outlives the call.
        let found = unsafe { libc::dladdr(address, &mut info) } != 0;
        if found { info.dli_fbase as usize } else { 0 }
    }
    // SAFETY: no file is opened: this is the program itself and what it was started with.
    let program = unsafe { libc::dlopen(core::ptr::null(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    let Some(dlsym) = real_dlsym() else {
        return true;
    };
    // SAFETY: an open handle and a C string.
    let first = unsafe { dlsym(program, c"zeGetGlobalProcAddrTable".as_ptr()) };
    !first.is_null() && object(first) == object(is_preloaded as *const c_void)
}

fn open_driver() -> *mut c_void {
    let given = std::env::var_os("FCSP_LEVELZERO_DRIVER")
        .and_then(|path| std::ffi::CString::new(path.into_encoded_bytes()).ok());
    let known = [c"libze_intel_gpu.so.1", c"libze_intel_gpu_legacy1.so.1"];
    let names: Vec<&CStr> = match &given {
        Some(path) => vec![path],
        None => known.to_vec(),
    };
    for name in names {
        // SAFETY: a C string and plain flags.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
        if !handle.is_null() {
            return handle;
        }
    }
    core::ptr::null_mut()
}

/// Fills a caller's table and puts wrappers in their places.
///
/// # Safety
/// As for the getter that `table` stands for.
unsafe extern "C" fn fill(
    version: ze_api_version_t,
    place: *mut c_void,
    caller: usize,
    table: &'static Table,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let side = side();
        if side == NOWHERE {
            return ZE_RESULT_ERROR_UNINITIALIZED;
        }
        let Some(getter) = table.getter.get() else {
            return ZE_RESULT_ERROR_UNSUPPORTED_VERSION;
        };
        // A getter inside a getter: preloaded and named as a driver, this library would stand
        // behind itself.
        let Some(_inside) = Reentry::enter() else {
            log_refusal("this library is preloaded and cannot be a driver as well");
            return ZE_RESULT_ERROR_UNINITIALIZED;
        };
        // SAFETY: the caller's own arguments.
        let result = unsafe { getter(version, place) };
        if result != ZE_RESULT_SUCCESS || (side == ABOVE && ZE.contains(caller)) {
            return result;
        }
        let minor = if version >> 16 > 1 {
            u32::MAX
        } else {
            version & 0xffff
        };
        for (index, since, name) in table.entries.iter().filter(|entry| entry.1 <= minor) {
            debug_assert!(*since <= minor);
            if let Some(hook) = LevelZero::hooks().by_name(name) {
                // SAFETY: a table of this version has this place, and the driver has filled it.
                unsafe {
                    let slot = place.cast::<*mut c_void>().add(*index);
                    if !(*slot).is_null() {
                        *slot = hook.address;
                    }
                }
            }
        }
        result
    })
}

/// Declares a getter for each table: `getter { place, minor version, function, ... }`. It hands its
/// caller's address on, which is how calls of the loader's own are told from a program's.
macro_rules! getters {
    ($($getter:ident { $($place:literal, $minor:literal, $name:ident,)* })*) => {
        /// Wrapped places in the tables: getter, place, the minor version that added it, and name.
        /// The header test uses it: a wrapper in another's place would be called with another's
        /// arguments.
        pub const PLACES: &[(&str, usize, u32, &str)] = &[
            $($((stringify!($getter), $place, $minor, stringify!($name)),)*)*
        ];
        $(getter!($getter { $($place, $minor, $name,)* });)*
    };
}

macro_rules! getter {
    ($getter:ident { $($place:literal, $minor:literal, $name:ident,)* }) => {
        #[doc = concat!("`", stringify!($getter), "`.")]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $getter(version: ze_api_version_t, table: *mut c_void) -> ze_result_t {
            static TABLE: Table = Table {
                getter: &real::$getter,
                entries: &[$(($place, $minor, c_name(concat!(stringify!($name), "\0")))),*],
            };
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "mov rdx, [rsp]",
                "lea rcx, [rip + {table}]",
                "jmp {fill}",
                table = sym TABLE,
                fill = sym fill,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "mov x2, x30",
                "adrp x3, {table}",
                "add x3, x3, :lo12:{table}",
                "b {fill}",
                table = sym TABLE,
                fill = sym fill,
            );
        }
    };
}

getters! {
    zeGetCommandListExpProcAddrTable {
        1, 9, zeCommandListImmediateAppendCommandListsExp,
    }
    zeGetCommandListProcAddrTable {
        0, 0, zeCommandListCreate,
        1, 0, zeCommandListCreateImmediate,
        2, 0, zeCommandListDestroy,
        4, 0, zeCommandListReset,
        8, 0, zeCommandListAppendMemoryCopy,
        9, 0, zeCommandListAppendMemoryFill,
        10, 0, zeCommandListAppendMemoryCopyRegion,
        11, 0, zeCommandListAppendMemoryCopyFromContext,
        12, 0, zeCommandListAppendImageCopy,
        13, 0, zeCommandListAppendImageCopyRegion,
        14, 0, zeCommandListAppendImageCopyToMemory,
        15, 0, zeCommandListAppendImageCopyFromMemory,
        22, 0, zeCommandListAppendLaunchKernel,
        23, 0, zeCommandListAppendLaunchCooperativeKernel,
        24, 0, zeCommandListAppendLaunchKernelIndirect,
        25, 0, zeCommandListAppendLaunchMultipleKernelsIndirect,
        26, 3, zeCommandListAppendImageCopyToMemoryExt,
        27, 3, zeCommandListAppendImageCopyFromMemoryExt,
        28, 6, zeCommandListHostSynchronize,
    }
    zeGetCommandQueueProcAddrTable {
        0, 0, zeCommandQueueCreate,
        1, 0, zeCommandQueueDestroy,
        2, 0, zeCommandQueueExecuteCommandLists,
        3, 0, zeCommandQueueSynchronize,
    }
    zeGetContextProcAddrTable {
        1, 0, zeContextDestroy,
    }
    zeGetDeviceExpProcAddrTable {}
    zeGetDeviceProcAddrTable {
        2, 0, zeDeviceGetProperties,
        6, 0, zeDeviceGetMemoryProperties,
    }
    zeGetDriverExpProcAddrTable {}
    zeGetDriverProcAddrTable {
        2, 0, zeDriverGetProperties,
        5, 1, zeDriverGetExtensionFunctionAddress,
    }
    zeGetEventExpProcAddrTable {}
    zeGetEventPoolProcAddrTable {}
    zeGetEventProcAddrTable {
        3, 0, zeEventHostSynchronize,
    }
    zeGetFabricEdgeExpProcAddrTable {}
    zeGetFabricVertexExpProcAddrTable {}
    zeGetFenceProcAddrTable {
        2, 0, zeFenceHostSynchronize,
    }
    zeGetGlobalProcAddrTable {
        0, 0, zeInit,
        1, 10, zeInitDrivers,
    }
    zeGetImageExpProcAddrTable {}
    zeGetImageProcAddrTable {
        1, 0, zeImageCreate,
        2, 0, zeImageDestroy,
    }
    zeGetKernelExpProcAddrTable {}
    zeGetKernelProcAddrTable {
        1, 0, zeKernelDestroy,
    }
    zeGetMemExpProcAddrTable {}
    zeGetMemProcAddrTable {
        0, 0, zeMemAllocShared,
        1, 0, zeMemAllocDevice,
        3, 0, zeMemFree,
        9, 3, zeMemFreeExt,
    }
    zeGetModuleBuildLogProcAddrTable {}
    zeGetModuleProcAddrTable {
        0, 0, zeModuleCreate,
        1, 0, zeModuleDestroy,
    }
    zeGetPhysicalMemProcAddrTable {
        0, 0, zePhysicalMemCreate,
        1, 0, zePhysicalMemDestroy,
    }
    zeGetRTASBuilderExpProcAddrTable {}
    zeGetRTASParallelOperationExpProcAddrTable {}
    zeGetSamplerProcAddrTable {}
    zeGetVirtualMemProcAddrTable {
        3, 0, zeVirtualMemMap,
        4, 0, zeVirtualMemUnmap,
    }
    zesGetDeviceProcAddrTable {
        0, 0, zesDeviceGetProperties,
        3, 0, zesDeviceProcessesGetState,
        16, 0, zesDeviceEnumMemoryModules,
    }
    zesGetDiagnosticsProcAddrTable {}
    zesGetDriverProcAddrTable {}
    zesGetEngineProcAddrTable {}
    zesGetFabricPortProcAddrTable {}
    zesGetFanProcAddrTable {}
    zesGetFirmwareProcAddrTable {}
    zesGetFrequencyProcAddrTable {}
    zesGetGlobalProcAddrTable {}
    zesGetLedProcAddrTable {}
    zesGetMemoryProcAddrTable {
        0, 0, zesMemoryGetProperties,
        1, 0, zesMemoryGetState,
    }
    zesGetOverclockProcAddrTable {}
    zesGetPerformanceFactorProcAddrTable {}
    zesGetPowerProcAddrTable {}
    zesGetPsuProcAddrTable {}
    zesGetRasProcAddrTable {}
    zesGetSchedulerProcAddrTable {}
    zesGetStandbyProcAddrTable {}
    zesGetTemperatureProcAddrTable {}
    zetGetCommandListProcAddrTable {}
    zetGetContextProcAddrTable {}
    zetGetDebugProcAddrTable {}
    zetGetDeviceProcAddrTable {}
    zetGetKernelProcAddrTable {}
    zetGetMetricGroupExpProcAddrTable {}
    zetGetMetricGroupProcAddrTable {}
    zetGetMetricProcAddrTable {}
    zetGetMetricQueryPoolProcAddrTable {}
    zetGetMetricQueryProcAddrTable {}
    zetGetMetricStreamerProcAddrTable {}
    zetGetModuleProcAddrTable {}
    zetGetTracerExpProcAddrTable {}
}

/// `zeDriverGetExtensionFunctionAddress`: a function that is wrapped is answered with its wrapper.
pub unsafe extern "C" fn zeDriverGetExtensionFunctionAddress(
    hDriver: ze_driver_handle_t,
    name: *const c_char,
    ppFunctionAddress: *mut *mut c_void,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeDriverGetExtensionFunctionAddress(
            hDriver,
            name,
            ppFunctionAddress
        ));
        if result == ZE_RESULT_SUCCESS && !name.is_null() {
            // SAFETY: the driver has read a C string there and written an address here, with
            // success.
            unsafe {
                if let Some(hook) = LevelZero::hooks().by_name(CStr::from_ptr(name))
                    && !(*ppFunctionAddress).is_null()
                {
                    *ppFunctionAddress = hook.address;
                }
            }
        }
        result
    })
}

/// Passes `result` on. If limits cannot be enforced, no device is available.
fn unless_broken(result: ze_result_t) -> ze_result_t {
    if result == ZE_RESULT_SUCCESS && crate::vendor::process().is_broken() {
        return ZE_RESULT_ERROR_UNINITIALIZED;
    }
    result
}

/// `zeInit`.
pub unsafe extern "C" fn zeInit(flags: ze_init_flags_t) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        unless_broken(call_real!(zeInit(flags)))
    })
}

/// `zeInitDrivers`.
pub unsafe extern "C" fn zeInitDrivers(
    pCount: *mut u32,
    phDrivers: *mut ze_driver_handle_t,
    desc: *mut ze_init_driver_type_desc_t,
) -> ze_result_t {
    catch_panic(ZE_RESULT_ERROR_UNKNOWN, || {
        let result = call_real!(zeInitDrivers(pCount, phDrivers, desc));
        if result == ZE_RESULT_SUCCESS && !phDrivers.is_null() {
            // SAFETY: the driver has written `*pCount` handles with success.
            for driver in unsafe { core::slice::from_raw_parts(phDrivers, *pCount as usize) } {
                device::given(*driver);
            }
        }
        unless_broken(result)
    })
}
