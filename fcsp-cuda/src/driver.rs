//! The real functions: found once in the driver's own library, kept as plain addresses.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::ffi::cuda as cu;
use crate::ffi::nvml as nv;

/// `dlsym` as the C library has it.
pub type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

static REAL_DLSYM: AtomicUsize = AtomicUsize::new(0);

/// The C library's own `dlsym`. Ours bears the same name, so it is asked for by version, of which there are two on
/// x86-64 (it moved into libc in 2.34) and two on aarch64.
pub fn real_dlsym() -> Option<Dlsym> {
    let known = REAL_DLSYM.load(Ordering::Relaxed);
    if known != 0 {
        // SAFETY: only ever set below, to the address of the C library's dlsym.
        return Some(unsafe { core::mem::transmute::<usize, Dlsym>(known) });
    }
    for version in [c"GLIBC_2.34", c"GLIBC_2.2.5", c"GLIBC_2.17"] {
        // SAFETY: plain C strings; RTLD_NEXT looks past this library, so never finds our own.
        let found = unsafe { libc::dlvsym(libc::RTLD_NEXT, c"dlsym".as_ptr(), version.as_ptr()) };
        if !found.is_null() {
            // Relaxed: one word, the same whoever finds it first.
            REAL_DLSYM.store(found as usize, Ordering::Relaxed);
            // SAFETY: dlvsym found a function of this signature.
            return Some(unsafe { core::mem::transmute::<*mut c_void, Dlsym>(found) });
        }
    }
    None
}

/// A library that is opened once and never closed.
#[derive(Debug)]
pub struct Library {
    name: &'static CStr,
    handle: AtomicPtr<c_void>,
}

/// The CUDA driver.
pub static CUDA: Library = Library::new(c"libcuda.so.1");
/// The management library.
pub static NVML: Library = Library::new(c"libnvidia-ml.so.1");

impl Library {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            handle: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    fn open(&self, flags: c_int) -> *mut c_void {
        let known = self.handle.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        // SAFETY: a C string and plain flags. The loader finds by soname what the program has loaded already.
        let handle = unsafe { libc::dlopen(self.name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL | flags) };
        if !handle.is_null() {
            self.handle.store(handle, Ordering::Release);
        }
        handle
    }

    /// The handle if the program has loaded the library; null otherwise.
    pub fn loaded(&self) -> *mut c_void {
        self.open(libc::RTLD_NOLOAD)
    }

    /// An exported function's address; null if there is no such library or function.
    pub fn symbol(&self, name: &CStr) -> *mut c_void {
        let handle = self.open(0);
        match real_dlsym() {
            // SAFETY: an open handle and a C string.
            Some(dlsym) if !handle.is_null() => unsafe { dlsym(handle, name.as_ptr()) },
            _ => core::ptr::null_mut(),
        }
    }
}

/// One real function of type `F`, a function pointer.
#[derive(Debug)]
pub struct Real<F> {
    name: &'static CStr,
    library: &'static Library,
    address: AtomicPtr<c_void>,
    kind: PhantomData<F>,
}

/// Stands for "looked for and not there".
const ABSENT: *mut c_void = usize::MAX as *mut c_void;

impl<F: Copy> Real<F> {
    const fn new(name: &'static CStr, library: &'static Library) -> Self {
        Self {
            name,
            library,
            address: AtomicPtr::new(core::ptr::null_mut()),
            kind: PhantomData,
        }
    }

    /// The function, or `None` if this driver has none of that name.
    #[inline]
    pub fn get(&self) -> Option<F> {
        // Acquire: whatever the loader wrote before the address was published.
        let mut address = self.address.load(Ordering::Acquire);
        if address.is_null() {
            address = self.find();
        }
        if address == ABSENT {
            return None;
        }
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: `F` is a function pointer type (checked to be of pointer size), and the address was found under
        // the exported name whose signature `F` is, which the header test checks.
        Some(unsafe { core::mem::transmute_copy::<*mut c_void, F>(&address) })
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        let found = self.library.symbol(self.name);
        let known = if found.is_null() { ABSENT } else { found };
        // A library that is not there yet may come later; a function missing from one that is there will not.
        if known != ABSENT || !self.library.loaded().is_null() {
            self.address.store(known, Ordering::Release);
        }
        known
    }

    /// The exported name.
    pub fn name(&self) -> &'static CStr {
        self.name
    }
}

macro_rules! reals {
    ($module:ident, $library:ident: $($name:ident),* $(,)?) => {
        $(
            #[doc = concat!("The driver's `", stringify!($name), "`.")]
            pub static $name: super::Real<super::$module::$name> = super::Real::new(
                // SAFETY: concat! ends the text with the only zero byte in it.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
                &super::$library,
            );
        )*
    };
}

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    macro_rules! cuda_reals { ($($name:ident),* $(,)?) => { reals!(cu, CUDA: $($name),*); }; }
    macro_rules! nvml_reals { ($($name:ident),* $(,)?) => { reals!(nv, NVML: $($name),*); }; }
    crate::for_each_cuda_hook!(cuda_reals);
    crate::for_each_nvml_hook!(nvml_reals);

    // Asked by the wrappers, not wrapped themselves.
    reals!(cu, CUDA:
        cuCtxGetCurrent, cuCtxGetDevice, cuCtxPopCurrent_v2, cuCtxPushCurrent_v2, cuCtxGetLimit,
        cuDeviceGetCount, cuDeviceGetAttribute, cuDeviceGetUuid, cuDeviceGetUuid_v2, cuDeviceGetDefaultMemPool,
        cuDeviceGetMemPool, cuDeviceGetGraphMemAttribute, cuDevicePrimaryCtxGetState, cuDriverGetVersion,
        cuMemPoolGetAttribute, cuPointerGetAttribute, cuStreamDestroy_v2, cuStreamGetCtx,
        cuStreamGetCaptureInfo_v2, cuStreamIsCapturing,
        cuGetErrorName, cuFuncGetName, cuKernelGetName, cuEventCreate, cuEventRecord, cuEventQuery,
        cuEventElapsedTime, cuEventElapsedTime_v2, cuEventDestroy_v2,
    );
    reals!(nv, NVML:
        nvmlInit_v2, nvmlDeviceGetHandleByUUID, nvmlDeviceGetUUID, nvmlDeviceGetIndex,
    );
}

/// Calls a real function, or answers that the driver lacks it.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match $crate::driver::real::$name.get() {
            // The arguments may themselves be computed; nothing in them needs the block's permission.
            #[allow(clippy::macro_metavars_in_unsafe)]
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the driver.
            Some(real) => unsafe { real($($arg),*) },
            None => $crate::ffi::cuda::CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND,
        }
    };
}
