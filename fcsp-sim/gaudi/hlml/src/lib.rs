//! The simulated accelerator as `libhlml.so`, Gaudi's management library.
//!
//! It reads the machine's state file and changes nothing in it. All cards are listed; a card's
//! index, minor number and module are the same number.

// Exported functions bear the names of the vendor's documentation.
#![allow(non_snake_case, missing_docs)]

use core::ffi::{CStr, c_char, c_void};
use fcsp_sim::faults::{around, check_environment};
use fcsp_sim::process::{holdings, used};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The result of an exported function's body.
type Reply<T = ()> = Result<T, i32>;

const UNINITIALIZED: i32 = 1;
const INVALID_ARGUMENT: i32 = 2;
const ALREADY_INITIALIZED: i32 = 5;
const NOT_FOUND: i32 = 6;
const INSUFFICIENT_SIZE: i32 = 7;
const DRIVER_NOT_LOADED: i32 = 9;

/// The devices and the shared state.
#[derive(Debug)]
struct Machine {
    topology: Topology,
    region: Region,
}

static MACHINE: OnceLock<Option<Machine>> = OnceLock::new();
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// `hlml_memory`.
#[repr(C)]
#[derive(Debug)]
pub struct Memory {
    free: u64,
    total: u64,
    used: u64,
}

/// `hlml_utilization`.
#[repr(C)]
#[derive(Debug)]
pub struct Utilization {
    aip: u32,
    memory: u32,
}

/// `hlml_pci_info`.
#[repr(C)]
#[derive(Debug)]
pub struct PciInfo {
    bus: u32,
    bus_id: [u8; 19],
    device: u32,
    domain: u32,
    pci_device: u32,
    caps: [[u8; 10]; 4],
    revision: u32,
    subsystem: u32,
}

fn open() -> Option<Machine> {
    // There is no list of this library's names to compare with.
    check_environment(&["hlml_"], |_| true).ok()?;
    let topology = Topology::from_env().ok()?;
    let region = Region::open(&path_from_env(&topology), &topology).ok()?;
    Some(Machine { topology, region })
}

fn init() -> Reply {
    if MACHINE.get_or_init(open).is_none() {
        return Err(DRIVER_NOT_LOADED);
    }
    match INITIALIZED.swap(true, Ordering::AcqRel) {
        false => Ok(()),
        true => Err(ALREADY_INITIALIZED),
    }
}

fn machine() -> Reply<&'static Machine> {
    if !INITIALIZED.load(Ordering::Acquire) {
        return Err(UNINITIALIZED);
    }
    MACHINE.get().and_then(Option::as_ref).ok_or(UNINITIALIZED)
}

/// Returns a card by its handle, which is its number and one.
fn card(handle: *mut c_void) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    let machine = machine()?;
    let index = (handle as usize).checked_sub(1).ok_or(INVALID_ARGUMENT)?;
    let spec = machine
        .topology
        .devices
        .get(index)
        .ok_or(INVALID_ARGUMENT)?;
    Ok((machine, spec))
}

fn serial(spec: &DeviceSpec) -> String {
    let [a, b, c, ..] = spec.uuid();
    format!(
        "01P0-HL2080A0-15-FC{a:02X}{b:02X}{c:02X}-06-07-{:02}",
        spec.index
    )
}

fn find(wanted: impl Fn(&DeviceSpec) -> bool, handle: *mut *mut c_void) -> Reply {
    let found = machine()?
        .topology
        .devices
        .iter()
        .find(|spec| wanted(spec))
        .ok_or(NOT_FOUND)?;
    put(handle, (found.index + 1) as *mut c_void)
}

fn text_of(text: *const c_char) -> Reply<String> {
    if text.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: a C string, by the API's contract.
    Ok(unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned())
}

/// Runs an exported function's body, with the faults asked for before and after it.
fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    around(name, || body().err().unwrap_or(0))
}

/// Stores a result in a caller's place.
fn put<T>(place: *mut T, value: T) -> Reply {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so by the API's contract a place for a value of this type.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

fn put_text(place: *mut u8, len: u32, text: &str) -> Reply {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= len as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: by the API's contract `len` bytes, of which as many as the text has and one are
    // written.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), place, text.len());
        place.add(text.len()).write(0);
    }
    Ok(())
}

/// Exports functions. Each body is a closure that may use `?`.
macro_rules! api {
    ($( $(#[$m:meta])* fn $name:ident ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $(#[$m])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            call(stringify!($name), || -> Reply { $body })
        }
    )* };
}

api! {
    fn hlml_init() {
        init()
    }

    fn hlml_init_with_flags(_flags: u32) {
        init()
    }

    fn hlml_shutdown() {
        machine()?;
        INITIALIZED.store(false, Ordering::Release);
        Ok(())
    }

    fn hlml_device_get_count(count: *mut u32) {
        put(count, machine()?.topology.devices.len() as u32)
    }

    fn hlml_device_get_handle_by_index(index: u32, handle: *mut *mut c_void) {
        find(|spec| spec.index == index as usize, handle)
    }

    fn hlml_device_get_handle_by_UUID(uuid: *const c_char, handle: *mut *mut c_void) {
        let uuid = text_of(uuid)?;
        find(|spec| serial(spec) == uuid, handle)
    }

    fn hlml_device_get_handle_by_pci_bus_id(pci: *const c_char, handle: *mut *mut c_void) {
        let pci = text_of(pci)?;
        find(|spec| spec.pci_text().eq_ignore_ascii_case(&pci), handle)
    }

    fn hlml_device_get_name(handle: *mut c_void, name: *mut u8, len: u32) {
        put_text(name, len, &card(handle)?.1.name)
    }

    fn hlml_device_get_uuid(handle: *mut c_void, uuid: *mut u8, len: u32) {
        put_text(uuid, len, &serial(card(handle)?.1))
    }

    fn hlml_device_get_pci_info(handle: *mut c_void, info: *mut PciInfo) {
        let (_, spec) = card(handle)?;
        let mut bus_id = [0; 19];
        let text = spec.pci_text().to_lowercase();
        bus_id[..text.len()].copy_from_slice(text.as_bytes());
        put(info, PciInfo {
            bus: spec.pci_bus(),
            bus_id,
            device: 0,
            domain: 0,
            pci_device: spec.pci_device,
            caps: [[0; 10]; 4],
            revision: 1,
            subsystem: 0,
        })
    }

    fn hlml_device_get_minor_number(handle: *mut c_void, minor: *mut u32) {
        put(minor, card(handle)?.1.index as u32)
    }

    fn hlml_device_get_module_id(handle: *mut c_void, module: *mut u32) {
        put(module, card(handle)?.1.index as u32)
    }

    fn hlml_device_get_memory_info(handle: *mut c_void, memory: *mut Memory) {
        let (machine, spec) = card(handle)?;
        let total = spec.memory + spec.reserved;
        let used = used(&machine.region, spec.index) + spec.reserved;
        put(memory, Memory { free: total - used, total, used })
    }

    fn hlml_device_get_utilization_rates(handle: *mut c_void, rates: *mut Utilization) {
        let (machine, spec) = card(handle)?;
        let aip = holdings(&machine.region, spec.index).iter().map(|h| h.utilisation).max();
        put(rates, Utilization { aip: aip.unwrap_or(0), memory: 0 })
    }
}
