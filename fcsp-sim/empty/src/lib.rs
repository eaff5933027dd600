//! `libempty.so.1`: the driver that `empty.h` describes, over the machine that `FCSP_SIM`
//! describes.
//!
//! Only memory is shared with other processes. Kernels take their time one after the other in each
//! process, as if it had a device to itself.

#![allow(non_snake_case)]

use core::cell::Cell;
use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};

use fcsp_sim::clock::now;
use fcsp_sim::error::Error;
use fcsp_sim::host::Mapping;
use fcsp_sim::process::{Account, Process, holdings};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::Topology;

/// `emptyStatus`.
type Status = c_int;
const SUCCESS: Status = 0;
const NOT_INITIALIZED: Status = 1;
const OUT_OF_MEMORY: Status = 2;
const INVALID_VALUE: Status = 3;
const UNKNOWN: Status = 5;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// The use of the machine by this process.
struct Driver {
    process: Process,
    /// By device, whether this process has the driver's own state there.
    chosen: Mutex<Vec<bool>>,
    /// Device memory by address.
    memory: Mutex<HashMap<u64, (Mapping, usize)>>,
    /// Host memory by address.
    host: Mutex<HashMap<u64, Mapping>>,
    /// When the last kernel will be done.
    busy_until: AtomicU64,
}

/// Null before `emptyInit`, and in a forked child before its own. Leaked: threads may be using it
/// at exit.
static DRIVER: AtomicPtr<Driver> = AtomicPtr::new(core::ptr::null_mut());

std::thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

extern "C" fn in_child() {
    CURRENT.set(None);
    let parents = DRIVER.swap(core::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: leaked, never freed.
    if let Some(driver) = unsafe { parents.as_ref() } {
        driver.process.region.abandon_in_child();
    }
}

fn start() -> Result<(), Status> {
    static STARTING: Mutex<()> = Mutex::new(());
    static FORKS: Once = Once::new();
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if !DRIVER.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    let topology = Topology::from_env().map_err(|_| UNKNOWN)?;
    let region = Region::open(&path_from_env(&topology), &topology).map_err(|_| UNKNOWN)?;
    let driver = Driver {
        chosen: Mutex::new(vec![false; topology.devices.len()]),
        process: Process::join(topology, Arc::new(region)).map_err(|_| UNKNOWN)?,
        memory: Mutex::default(),
        host: Mutex::default(),
        busy_until: AtomicU64::new(0),
    };
    // SAFETY: a plain function; the library is never unloaded.
    FORKS.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
    // Release: whole before it shows.
    DRIVER.store(Box::into_raw(Box::new(driver)), Ordering::Release);
    Ok(())
}

fn driver() -> Result<&'static Driver, Status> {
    // SAFETY: leaked, never freed. Acquire pairs with the Release in `start`.
    unsafe { DRIVER.load(Ordering::Acquire).as_ref() }.ok_or(NOT_INITIALIZED)
}

fn device(driver: &Driver, ordinal: c_int) -> Result<usize, Status> {
    let index = usize::try_from(ordinal).map_err(|_| INVALID_VALUE)?;
    (index < driver.process.topology.devices.len())
        .then_some(index)
        .ok_or(INVALID_VALUE)
}

fn current() -> Result<usize, Status> {
    CURRENT.get().ok_or(INVALID_VALUE)
}

fn answer(work: impl FnOnce() -> Result<(), Status>) -> Status {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(status)) => status,
        Err(_) => UNKNOWN,
    }
}

fn code(error: Error) -> Status {
    match error {
        Error::OutOfMemory | Error::OperatingSystem => OUT_OF_MEMORY,
        _ => INVALID_VALUE,
    }
}

/// Writes a result.
///
/// # Safety
/// `place` is null or a place for a `T`, as the header asks for.
unsafe fn put<T>(place: *mut T, value: T) -> Result<(), Status> {
    // SAFETY: by this function's contract.
    let place = unsafe { place.as_mut() }.ok_or(INVALID_VALUE)?;
    *place = value;
    Ok(())
}

/// `emptyInit`.
#[unsafe(no_mangle)]
pub extern "C" fn emptyInit() -> Status {
    answer(start)
}

/// `emptyDeviceCount`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyDeviceCount(count: *mut c_int) -> Status {
    // SAFETY: the caller passes what the header asks for; likewise below.
    answer(|| unsafe { put(count, driver()?.process.topology.devices.len() as c_int) })
}

/// `emptyDeviceUuid`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyDeviceUuid(ordinal: c_int, uuid: *mut [u8; 16]) -> Status {
    answer(|| {
        let driver = driver()?;
        let spec = &driver.process.topology.devices[device(driver, ordinal)?];
        // SAFETY: as above.
        unsafe { put(uuid, spec.uuid()) }
    })
}

/// `emptySetDevice`.
#[unsafe(no_mangle)]
pub extern "C" fn emptySetDevice(ordinal: c_int) -> Status {
    answer(|| {
        let driver = driver()?;
        let device = device(driver, ordinal)?;
        let mut chosen = driver.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if !chosen[device] {
            let bytes = driver.process.topology.devices[device].context;
            driver
                .process
                .take(device, bytes, Account::Process)
                .map_err(code)?;
            chosen[device] = true;
        }
        CURRENT.set(Some(device));
        Ok(())
    })
}

/// `emptyReleaseDevice`.
#[unsafe(no_mangle)]
pub extern "C" fn emptyReleaseDevice(ordinal: c_int) -> Status {
    answer(|| {
        let driver = driver()?;
        let device = device(driver, ordinal)?;
        let mut chosen = driver.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if !core::mem::take(&mut chosen[device]) {
            return Err(INVALID_VALUE);
        }
        let bytes = driver.process.topology.devices[device].context;
        driver.process.give(device, bytes, Account::Process);
        Ok(())
    })
}

/// `emptyGetDevice`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyGetDevice(ordinal: *mut c_int) -> Status {
    answer(|| {
        driver()?;
        // SAFETY: as above.
        unsafe { put(ordinal, current()? as c_int) }
    })
}

/// `emptyAlloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyAlloc(address: *mut *mut c_void, bytes: usize) -> Status {
    answer(|| {
        let (driver, device) = (driver()?, current()?);
        let bytes = (bytes.max(1) as u64)
            .checked_next_multiple_of(PAGE)
            .ok_or(OUT_OF_MEMORY)?;
        driver
            .process
            .take(device, bytes, Account::Process)
            .map_err(code)?;
        let mapping = match Mapping::zeroed(bytes, PAGE) {
            Ok(mapping) => mapping,
            Err(error) => {
                driver.process.give(device, bytes, Account::Process);
                return Err(code(error));
            }
        };
        let base = mapping.base();
        let mut memory = driver.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(base, (mapping, device));
        // SAFETY: as above.
        unsafe { put(address, base as *mut c_void) }
    })
}

/// `emptyFree`.
#[unsafe(no_mangle)]
pub extern "C" fn emptyFree(address: *mut c_void) -> Status {
    answer(|| {
        let driver = driver()?;
        let mut memory = driver.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (mapping, device) = memory.remove(&(address as u64)).ok_or(INVALID_VALUE)?;
        driver
            .process
            .give(device, mapping.size(), Account::Process);
        Ok(())
    })
}

/// `emptyFill`.
#[unsafe(no_mangle)]
pub extern "C" fn emptyFill(address: *mut c_void, value: c_int, bytes: usize) -> Status {
    answer(|| {
        let memory = driver()?
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match memory.get(&(address as u64)) {
            Some((mapping, _)) if bytes as u64 <= mapping.size() => {
                // SAFETY: inside a mapping that the lock keeps alive.
                unsafe { core::ptr::write_bytes(address.cast::<u8>(), value as u8, bytes) };
                Ok(())
            }
            _ => Err(INVALID_VALUE),
        }
    })
}

/// `emptyAllocHost`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyAllocHost(address: *mut *mut c_void, bytes: usize) -> Status {
    answer(|| {
        let mapping = Mapping::zeroed(bytes.max(1) as u64, PAGE).map_err(code)?;
        let base = mapping.base();
        let mut host = driver()?
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        host.insert(base, mapping);
        // SAFETY: as above.
        unsafe { put(address, base as *mut c_void) }
    })
}

/// `emptyFreeHost`.
#[unsafe(no_mangle)]
pub extern "C" fn emptyFreeHost(address: *mut c_void) -> Status {
    answer(|| {
        let mut host = driver()?
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        host.remove(&(address as u64))
            .map(drop)
            .ok_or(INVALID_VALUE)
    })
}

/// `emptyDeviceMemory`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyDeviceMemory(
    ordinal: c_int,
    unused: *mut usize,
    total: *mut usize,
) -> Status {
    answer(|| {
        let driver = driver()?;
        let (free, all) = driver.process.memory(device(driver, ordinal)?);
        // SAFETY: as above.
        unsafe {
            put(unused, free as usize)?;
            put(total, all as usize)
        }
    })
}

/// `emptyDeviceProcesses`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn emptyDeviceProcesses(
    ordinal: c_int,
    pids: *mut u32,
    bytes: *mut usize,
    count: *mut c_int,
) -> Status {
    answer(|| {
        let driver = driver()?;
        let mut found = holdings(&driver.process.region, device(driver, ordinal)?);
        found.retain(|holding| holding.bytes > 0);
        // SAFETY: as above.
        let room = unsafe { count.as_ref() }.copied().ok_or(INVALID_VALUE)?;
        for (index, holding) in found
            .iter()
            .take(usize::try_from(room).unwrap_or(0))
            .enumerate()
        {
            // SAFETY: the caller's lists have room for as many entries.
            unsafe {
                put(pids.add(index), holding.pid)?;
                put(bytes.add(index), holding.bytes as usize)?;
            }
        }
        // SAFETY: as above.
        unsafe { put(count, found.len() as c_int) }
    })
}

/// `emptyLaunch`.
#[unsafe(no_mangle)]
pub extern "C" fn emptyLaunch(kernel: *const c_char, ns: u64) -> Status {
    answer(|| {
        let driver = driver()?;
        if kernel.is_null() {
            return Err(INVALID_VALUE);
        }
        let start = now();
        // Relaxed: one number, which each launch moves on from whatever it is.
        let later = |until: u64| Some(until.max(start).saturating_add(ns));
        let _ = driver
            .busy_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        Ok(())
    })
}

/// `emptySynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn emptySynchronize() -> Status {
    answer(|| {
        let left = driver()?
            .busy_until
            .load(Ordering::Relaxed)
            .saturating_sub(now());
        std::thread::sleep(std::time::Duration::from_nanos(left));
        Ok(())
    })
}
