//! Devices of this process, in the order in which the API lists them: root devices, driver after
//! driver.
//!
//! An entry that the API lists below a device (a tile, or an engine below a tile) stands for that
//! device.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_hook::setup::SetupOnce;

use fcsp_hook::backend::Devices;
use fcsp_hook::process::Status;

use crate::call_real;
use crate::ffi::ze::*;
use crate::vendor::{LevelZero, Target, process};

/// One device.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Its handle, as a number.
    pub handle: usize,
    /// Its place among root devices.
    pub ordinal: i32,
    /// Bytes of all its memories.
    pub total: u64,
    /// Ticks a second of its timer.
    pub ticks_a_second: u64,
    /// Bits of an event's times that count.
    pub timestamp_bits: u32,
    /// Identity of the device.
    pub identity: DeviceIdentity,
}

/// Root devices and the tiles below them, in this order.
#[derive(Debug, Default)]
struct All {
    known: Vec<Known>,
    roots: i32,
}

static ALL: AtomicPtr<All> = AtomicPtr::new(core::ptr::null_mut());

/// Forgets all handles in a forked child: they do not survive a fork.
pub fn forget_in_child() {
    ALL.store(core::ptr::null_mut(), Ordering::Release);
    for place in &GIVEN {
        place.store(0, Ordering::Relaxed);
    }
}

/// Returns the entries of `list`, which is asked first for their number and then for them.
fn listed(list: impl Fn(*mut u32, *mut *mut c_void) -> ze_result_t) -> Option<Vec<*mut c_void>> {
    let mut count = 0;
    if list(&mut count, core::ptr::null_mut()) != ZE_RESULT_SUCCESS {
        return None;
    }
    let mut handles = vec![core::ptr::null_mut(); count as usize];
    if count == 0 {
        return Some(handles);
    }
    let result = list(&mut count, handles.as_mut_ptr());
    handles.truncate(count as usize);
    (result == ZE_RESULT_SUCCESS).then_some(handles)
}

/// Returns the bytes of all memories of a device.
fn total_of(device: ze_device_handle_t) -> u64 {
    let mut count = 0;
    if call_real!(zeDeviceGetMemoryProperties(
        device,
        &mut count,
        core::ptr::null_mut()
    )) != ZE_RESULT_SUCCESS
    {
        return 0;
    }
    let mut empty = ze_device_memory_properties_t::zeroed();
    empty.stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES;
    let mut memories = vec![empty; count as usize];
    let result = call_real!(zeDeviceGetMemoryProperties(
        device,
        &mut count,
        memories.as_mut_ptr()
    ));
    match result {
        ZE_RESULT_SUCCESS => memories.iter().map(|memory| memory.totalSize).sum(),
        _ => 0,
    }
}

fn pci_of(device: ze_device_handle_t) -> Option<PciAddress> {
    let mut pci = ze_pci_ext_properties_t::zeroed();
    pci.stype = ZE_STRUCTURE_TYPE_PCI_EXT_PROPERTIES;
    let result = call_real!(zeDevicePciGetPropertiesExt(device, &mut pci));
    (result == ZE_RESULT_SUCCESS).then_some(PciAddress {
        domain: pci.address.domain,
        bus: pci.address.bus as u8,
        device: pci.address.device as u8,
        function: pci.address.function as u8,
    })
}

fn look_at(device: ze_device_handle_t, ordinal: i32) -> Option<Known> {
    let mut properties = ze_device_properties_t::zeroed();
    // Asked for in this way the timer is given in ticks a second.
    properties.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2;
    if call_real!(zeDeviceGetProperties(device, &mut properties)) != ZE_RESULT_SUCCESS {
        return None;
    }
    Some(Known {
        handle: device as usize,
        ordinal,
        total: total_of(device),
        ticks_a_second: properties.timerResolution,
        timestamp_bits: properties.kernelTimestampValidBits,
        identity: DeviceIdentity {
            index: u32::try_from(ordinal).ok(),
            uuid: DeviceUuid(properties.uuid.id),
            pci: pci_of(device),
        },
    })
}

/// Adds the entries that the API lists below a device, and those below them.
fn add_below(device: ze_device_handle_t, known: Known, tiles: &mut Vec<Known>, depth: u32) {
    let below = listed(|count, place| call_real!(zeDeviceGetSubDevices(device, count, place)));
    for tile in below.unwrap_or_default() {
        tiles.push(Known {
            handle: tile as usize,
            ..known
        });
        // Drivers go two deep; one that listed a device below itself must not be followed for ever.
        if depth < 3 {
            add_below(tile, known, tiles, depth + 1);
        }
    }
}

/// Drivers that `zeInitDrivers` gave: a program that starts them so may not ask `zeDriverGet`, and
/// neither may we.
static GIVEN: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

/// Remembers a driver that `zeInitDrivers` gave.
pub fn given(driver: ze_driver_handle_t) {
    for place in &GIVEN {
        // Relaxed: a word is complete in itself, and places are filled in order.
        let taken =
            place.compare_exchange(0, driver as usize, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() || taken == Err(driver as usize) {
            return;
        }
    }
}

fn drivers() -> Option<Vec<*mut c_void>> {
    let asked = listed(|count, place| call_real!(zeDriverGet(count, place)));
    asked.filter(|all| !all.is_empty()).or_else(|| {
        let given = GIVEN.iter().map(|place| place.load(Ordering::Relaxed));
        let given: Vec<_> = given
            .take_while(|&driver| driver != 0)
            .map(|driver| driver as *mut c_void)
            .collect();
        (!given.is_empty()).then_some(given)
    })
}

/// Asks the driver; nothing before it is initialised.
fn ask() -> Option<All> {
    let drivers = drivers()?;
    let mut all = All::default();
    let mut tiles = Vec::new();
    for driver in drivers {
        for device in
            listed(|count, place| call_real!(zeDeviceGet(driver, count, place))).unwrap_or_default()
        {
            // A device that does not say who it is keeps its number and is nobody's: its memory
            // fails closed.
            if let Some(known) = look_at(device, all.roots) {
                all.known.push(known);
                add_below(device, known, &mut tiles, 0);
            }
            all.roots += 1;
        }
    }
    all.known.append(&mut tiles);
    Some(all)
}

#[inline]
fn all() -> Option<&'static All> {
    // Acquire: made before its address was published.
    let known = ALL.load(Ordering::Acquire);
    if known.is_null() {
        return ask_first();
    }
    // SAFETY: leaked, never freed.
    Some(unsafe { &*known })
}

#[cold]
fn ask_first() -> Option<&'static All> {
    let found = ask()?;
    Some(SetupOnce::publish(&ALL, || found))
}

/// Finds a root device by its ordinal.
pub fn by_ordinal(ordinal: i32) -> Option<&'static Known> {
    all()?.known.iter().find(|known| known.ordinal == ordinal)
}

/// Finds the device of a handle. A tile belongs to its root device.
#[inline]
pub fn by_handle(handle: ze_device_handle_t) -> Option<&'static Known> {
    all()?
        .known
        .iter()
        .find(|known| known.handle == handle as usize)
}

/// Finds the root device with this UUID.
pub fn by_uuid(uuid: DeviceUuid) -> Option<&'static Known> {
    all()?
        .known
        .iter()
        .find(|known| known.identity.uuid == uuid)
}

/// Returns whether a handle that is not known stands for a device all the same.
pub fn is_one(handle: usize) -> bool {
    let mut properties = ze_device_properties_t::zeroed();
    properties.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES;
    handle != 0
        && call_real!(zeDeviceGetProperties(
            handle as ze_device_handle_t,
            &mut properties
        )) == ZE_RESULT_SUCCESS
}

/// Returns whether a queue group only copies.
pub(crate) fn only_copies(device: ze_device_handle_t, group: u32) -> bool {
    let mut count = 0;
    if call_real!(zeDeviceGetCommandQueueGroupProperties(
        device,
        &mut count,
        core::ptr::null_mut()
    )) != ZE_RESULT_SUCCESS
        || group >= count
    {
        return false;
    }
    let mut empty = ze_command_queue_group_properties_t::zeroed();
    empty.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES;
    let mut groups = vec![empty; count as usize];
    let result = call_real!(zeDeviceGetCommandQueueGroupProperties(
        device,
        &mut count,
        groups.as_mut_ptr()
    ));
    result == ZE_RESULT_SUCCESS
        && groups
            .get(group as usize)
            .is_some_and(|group| group.flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE == 0)
}

impl Devices for LevelZero {
    type PerDevice = ();
    /// Bytes that a context is taken to hold on a device until it is measured. Not measured
    /// beforehand, for want of a device (docs/assumptions.md): four times what the driver's own
    /// allocations (ring buffers, heaps, scratch) come to in its source.
    const CONTEXT_ESTIMATE: u64 = 64 << 20;

    /// Counts the root devices; nothing before the driver is initialised.
    fn device_count() -> Option<i32> {
        all().map(|all| all.roots)
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        by_ordinal(ordinal).map(|known| known.identity)
    }

    fn total_memory(ordinal: i32) -> u64 {
        by_ordinal(ordinal).map_or(0, |known| known.total)
    }

    fn per_device(_ordinal: i32) {}

    /// Returns `None`, as no context is current here: calls name theirs, and their device.
    #[inline]
    fn current_context() -> Option<usize> {
        None
    }

    fn device_of_current(_context: usize) -> Option<i32> {
        None
    }
}

/// Returns the target of a call that names its device. What is no device is the driver's to refuse;
/// a device that we have never heard of has no account, and its memory fails closed.
#[inline]
pub fn target_of(device: ze_device_handle_t) -> Target {
    let governed = match process().status() {
        Some(Status::Managed(governed)) => governed,
        Some(Status::Broken(_)) => return Target::Deny,
        _ => return Target::PassThrough,
    };
    match by_handle(device) {
        Some(known) => match governed.device(known.ordinal) {
            Some(device) => Target::Device(device, 0),
            None => Target::Deny,
        },
        None if is_one(device as usize) => Target::Deny,
        None => Target::PassThrough,
    }
}
