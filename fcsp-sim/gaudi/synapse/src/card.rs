//! The machine's cards, and the one that this process holds.

use crate::{
    Card, DEVICE, DEVICE_ALREADY_ACQUIRED, DEVICE_TYPE_MISMATCH, DRIVER, Driver, FAIL,
    INVALID_ARGUMENT, NO_DEVICE_FOUND, Reply, api, driver, lock, put, put_text, start, text,
};
use fcsp_sim::process::Account;
use fcsp_sim::region::path_from_env;
use fcsp_sim::spec::DeviceSpec;
use fcsp_sim::stream::Timeline;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering;

/// `synDeviceTypeInvalid`: of whatever type.
const ANY_TYPE: i32 = 7;

/// `synDeviceType` of a model.
pub fn type_of(spec: &DeviceSpec) -> i32 {
    match spec.name.as_str() {
        "HL-325L" => 5,
        _ => 4,
    }
}

/// Opens the card's file if nobody else has it open.
fn open(driver: &Driver, index: usize) -> Option<File> {
    let mut path = path_from_env(&driver.process.topology).into_os_string();
    path.push(format!(".accel{index}"));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .custom_flags(libc::O_CLOEXEC)
        .open(path)
        .ok()?;
    // SAFETY: plain data; zeroes are the whole file and no process number, as these locks ask for.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the kernel reads the request, which outlives the call.
    (unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &request) } == 0).then_some(file)
}

/// Takes the first of these cards that is free; `busy` is the answer if there is none.
fn acquire(id: *mut u32, wanted: impl Fn(&DeviceSpec) -> bool, kind: i32, busy: i32) -> Reply {
    let driver = driver()?;
    if id.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    let mut held = lock(&driver.card);
    if held.is_some() {
        return Err(DEVICE_ALREADY_ACQUIRED);
    }
    let mut answer = NO_DEVICE_FOUND;
    for spec in driver
        .process
        .topology
        .devices
        .iter()
        .filter(|spec| wanted(spec))
    {
        if kind != ANY_TYPE && type_of(spec) != kind {
            return Err(DEVICE_TYPE_MISMATCH);
        }
        let Some(file) = open(driver, spec.index) else {
            answer = busy;
            continue;
        };
        // What the runtime takes for itself.
        if driver
            .process
            .take(spec.index, spec.context, Account::Process)
            .is_err()
        {
            return Err(FAIL);
        }
        *held = Some(Card {
            index: spec.index,
            file,
            memory: HashMap::new(),
            timeline: Timeline::new(driver.process.clone(), spec.index),
        });
        return put(id, DEVICE);
    }
    Err(answer)
}

/// Releases the card, with everything in its memory, its streams and its events. The next card's
/// have the same handles.
fn release(driver: &Driver) -> Reply {
    // What is queued is done first, while its memory is there.
    driver.timeline(DEVICE)?.shut();
    let card = lock(&driver.card).take().ok_or(FAIL)?;
    driver.streams.drain(|_| true);
    driver.events.drain(|_| true);
    let memory: u64 = card.memory.values().map(|(_, bytes)| bytes).sum();
    let bytes = memory + driver.spec(card.index).context;
    driver.process.give(card.index, bytes, Account::Process);
    Ok(())
}

api! {
    fn synInitialize() {
        start()
    }

    fn synDestroy() {
        let driver = driver()?;
        let _ = release(driver);
        // It keeps its place on the machine; the next initialisation takes another.
        DRIVER.store(core::ptr::null_mut(), Ordering::Release);
        Ok(())
    }

    fn synDriverGetVersion(version: *mut u8, len: i32) {
        put_text(version, len, "1.24.0-fcsp-sim")
    }

    fn synDeviceGetCount(count: *mut u32) {
        put(count, driver()?.process.topology.devices.len() as u32)
    }

    fn synDeviceGetCountByDeviceType(count: *mut u32, kind: i32) {
        let devices = &driver()?.process.topology.devices;
        put(count, devices.iter().filter(|spec| type_of(spec) == kind).count() as u32)
    }

    fn synDeviceGetModuleIDs(modules: *mut u32, size: *mut u32) {
        let count = driver()?.process.topology.devices.len();
        // SAFETY: the caller says here how many it has room for; null is refused.
        let room = unsafe { size.as_ref() }.copied().ok_or(INVALID_ARGUMENT)?;
        let count = count.min(room as usize);
        for index in 0..count {
            put(modules.wrapping_add(index), index as u32)?;
        }
        put(size, count as u32)
    }

    fn synDeviceAcquireByDeviceType(id: *mut u32, kind: i32) {
        acquire(id, |_| true, kind, NO_DEVICE_FOUND)
    }

    fn synDeviceAcquireByModuleId(id: *mut u32, module: u32) {
        acquire(id, |spec| spec.index == module as usize, ANY_TYPE, NO_DEVICE_FOUND)
    }

    fn synDeviceAcquire(id: *mut u32, pci: *const core::ffi::c_char) {
        match text(pci).filter(|pci| !pci.is_empty()) {
            Some(pci) => acquire(id, |spec| spec.pci_text().eq_ignore_ascii_case(&pci), ANY_TYPE, FAIL),
            None => acquire(id, |_| true, ANY_TYPE, NO_DEVICE_FOUND),
        }
    }

    fn synDeviceRelease(device: u32) {
        if device != DEVICE {
            return Err(INVALID_ARGUMENT);
        }
        release(driver()?)
    }

    fn synDeviceSynchronize(device: u32) {
        driver()?.timeline(device)?.synchronise().map_err(|_| FAIL)
    }
}
