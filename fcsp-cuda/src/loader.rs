//! `dlsym` and `cuGetProcAddress`: ask the real one first, with the caller's own handle, version and flags; then swap
//! the address it gave if that is a function we wrap.
//!
//! On drivers seen so far both routes give the same addresses for every exported name (H100, driver 580: 671 of 671), so
//! wrapped functions are known by address, which cannot be fooled by versions and flags. A driver that gives another
//! address for a name we know is matched by name, version and stream flag instead.

use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::call_real;
use crate::driver::{CUDA, Library, NVML, real_dlsym};
use crate::ffi::cuda::*;
use crate::hooks::{HOOKS, Hook};
use crate::process::{SetupOnce, shielded};
use crate::symbols;

/// The wrapper of an exported name.
fn by_name(name: &CStr) -> Option<&'static Hook> {
    HOOKS
        .binary_search_by(|hook| hook.name.cmp(name))
        .ok()
        .map(|index| &HOOKS[index])
}

/// Wrapped functions by the driver's address, sorted.
type Addresses = Vec<(usize, &'static Hook)>;

static ADDRESSES: AtomicPtr<Addresses> = AtomicPtr::new(core::ptr::null_mut());

fn addresses() -> &'static Addresses {
    let known = ADDRESSES.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: leaked by `publish`, never freed.
        return unsafe { &*known };
    }
    SetupOnce::publish(&ADDRESSES, || {
        let mut found: Addresses = HOOKS
            .iter()
            .filter(|hook| hook.name.to_bytes().starts_with(b"cu"))
            .map(|hook| (CUDA.symbol(hook.name) as usize, hook))
            .filter(|&(address, _)| address != 0)
            .collect();
        found.sort_by_key(|&(address, _)| address);
        // Two names for one address: either wrapper would do for the driver, but not for us. Prefer the newer ABI,
        // which is what versions of the name point at.
        found.dedup_by(|later, earlier| {
            if later.0 == earlier.0 && later.1.name.count_bytes() > earlier.1.name.count_bytes() {
                earlier.1 = later.1;
            }
            later.0 == earlier.0
        });
        found
    })
}

fn by_address(address: usize) -> Option<&'static Hook> {
    let known = addresses();
    known
        .binary_search_by_key(&address, |&(at, _)| at)
        .ok()
        .map(|index| known[index].1)
}

/// Bounds of the driver library in memory, once known: calls from inside it are left alone.
static DRIVER_START: AtomicUsize = AtomicUsize::new(0);
static DRIVER_END: AtomicUsize = AtomicUsize::new(0);

fn is_driver(caller: usize) -> bool {
    let mut end = DRIVER_END.load(Ordering::Acquire);
    if end == 0 {
        let some_function = CUDA.symbol(c"cuInit") as usize;
        if some_function == 0 {
            return false;
        }
        let (start, found) = mapped_range(some_function).unwrap_or((1, 1));
        DRIVER_START.store(start, Ordering::Relaxed);
        // Release: the start is there before the end says so.
        DRIVER_END.store(found, Ordering::Release);
        end = found;
    }
    (DRIVER_START.load(Ordering::Relaxed)..end).contains(&caller)
}

/// First and last address of the loaded object that contains `address`.
fn mapped_range(address: usize) -> Option<(usize, usize)> {
    struct Search {
        address: usize,
        found: Option<(usize, usize)>,
    }
    unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> i32 {
        // SAFETY: the loader passes a valid record, and `data` is the Search below, which outlives the walk.
        let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
        let base = info.dlpi_addr as usize;
        let (mut start, mut end) = (usize::MAX, 0);
        for index in 0..usize::from(info.dlpi_phnum) {
            // SAFETY: the record holds `dlpi_phnum` headers.
            let header = unsafe { &*info.dlpi_phdr.add(index) };
            if header.p_type == libc::PT_LOAD {
                start = start.min(base + header.p_vaddr as usize);
                end = end.max(base + (header.p_vaddr + header.p_memsz) as usize);
            }
        }
        if (start..end).contains(&search.address) {
            search.found = Some((start, end));
            return 1;
        }
        0
    }
    let mut search = Search { address, found: None };
    // SAFETY: the callback matches its type, and `search` outlives the walk.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// Decides a `dlsym`: the address to answer with, or null to let the real one answer, with the caller's frame intact.
///
/// # Safety
/// `name` is a C string or null, as for `dlsym`.
pub unsafe extern "C" fn decide_dlsym(
    handle: *mut c_void,
    name: *const c_char,
    caller: usize,
) -> *mut c_void {
    const PASS: *mut c_void = core::ptr::null_mut();
    if name.is_null() {
        return PASS;
    }
    // SAFETY: a C string has at least its terminating zero, and each byte is read only if the one before was not it.
    let vendor = unsafe {
        match *name.cast::<u8>() {
            b'c' => *name.cast::<u8>().add(1) == b'u',
            b'n' => *name.cast::<u8>().add(1) == b'v' && *name.cast::<u8>().add(2) == b'm',
            _ => false,
        }
    };
    if !vendor {
        return PASS;
    }
    shielded(PASS, || {
        // SAFETY: by this function's contract.
        let Some(hook) = by_name(unsafe { CStr::from_ptr(name) }) else {
            return PASS;
        };
        let library: &Library = if hook.name.to_bytes().starts_with(b"nvml") {
            &NVML
        } else {
            &CUDA
        };
        if handle == libc::RTLD_DEFAULT || handle == libc::RTLD_NEXT {
            // The search order depends on who asks, which only the real dlsym sees. With the default order it finds
            // our own export. With "next" it would pass us by, so the answer is given here if there is a driver.
            if handle == libc::RTLD_NEXT && !library.loaded().is_null() && !is_driver(caller) {
                return hook.address;
            }
            return PASS;
        }
        let Some(dlsym) = real_dlsym() else { return PASS };
        // SAFETY: the caller's own arguments; an explicit handle does not depend on the calling frame.
        let answer = unsafe { dlsym(handle, name) };
        if answer.is_null() || is_driver(caller) {
            return PASS;
        }
        // Only the driver's own function is swapped: another library's function of that name is its own affair.
        if answer == library.symbol(hook.name) {
            hook.address
        } else {
            PASS
        }
    })
}

/// The highest driver API version whose ABIs the tables know.
const KNOWN_VERSION: i32 = 13_050;

fn swapped(base: &CStr, address: *mut c_void, version: i32, flags: u64) -> *mut c_void {
    if let Some(hook) = by_address(address as usize) {
        return hook.address;
    }
    // No exported function has this address. If the name is one we wrap, the driver keeps separate entry points.
    let per_thread = flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM != 0;
    let Ok(base) = base.to_str() else { return address };
    let best = symbols::cuda()
        .iter()
        .filter(|symbol| {
            symbol.base == base && symbol.since != 0 && symbol.since as i32 <= version.min(KNOWN_VERSION)
        })
        .filter(|symbol| !symbol.per_thread_stream() || per_thread)
        .max_by_key(|symbol| (symbol.since, symbol.per_thread_stream()));
    let hook = best.and_then(|symbol| {
        HOOKS
            .iter()
            .find(|hook| hook.name.to_bytes() == symbol.name.as_bytes())
    });
    match hook {
        // A program that asks for an ABI newer than the tables gets it as it is: a wrapper of another ABI would break it.
        Some(hook) if version <= KNOWN_VERSION => hook.address,
        _ => address,
    }
}

/// `cuGetProcAddress` since 12.0.
pub unsafe extern "C" fn cuGetProcAddress_v2(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    cudaVersion: i32,
    flags: cuuint64_t,
    symbolStatus: *mut CUdriverProcAddressQueryResult,
) -> CUresult {
    let result = call_real!(cuGetProcAddress_v2(symbol, pfn, cudaVersion, flags, symbolStatus));
    // SAFETY: the driver has accepted the arguments with success.
    unsafe { swap_result(result, symbol, pfn, cudaVersion, flags) }
}

/// `cuGetProcAddress` of 11.3 to 11.8.
pub unsafe extern "C" fn cuGetProcAddress(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    cudaVersion: i32,
    flags: cuuint64_t,
) -> CUresult {
    let result = call_real!(cuGetProcAddress(symbol, pfn, cudaVersion, flags));
    // SAFETY: as above.
    unsafe { swap_result(result, symbol, pfn, cudaVersion, flags) }
}

/// # Safety
/// If `result` is success, the driver has accepted `symbol` and written `*pfn`.
unsafe fn swap_result(
    result: CUresult,
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    version: i32,
    flags: u64,
) -> CUresult {
    shielded(result, || {
        if result == CUDA_SUCCESS && !symbol.is_null() && !pfn.is_null() {
            // SAFETY: by this function's contract.
            unsafe {
                if !(*pfn).is_null() {
                    *pfn = swapped(CStr::from_ptr(symbol), *pfn, version, flags);
                }
            }
        }
        result
    })
}

/// `cuInit`: where limits were asked for that cannot be kept, no device is to be had.
pub unsafe extern "C" fn cuInit(flags: u32) -> CUresult {
    shielded(CUDA_ERROR_UNKNOWN, || {
        let result = call_real!(cuInit(flags));
        if result == CUDA_SUCCESS
            && matches!(crate::process::status(), Some(crate::process::Status::Broken(_)))
        {
            return CUDA_ERROR_OPERATING_SYSTEM;
        }
        result
    })
}
