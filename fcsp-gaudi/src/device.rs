//! Cards of this machine. A card's number in this process is its place in Synapse's list of
//! modules; HLML tells its identity on the machine.

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use std::ffi::CStr;

use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_hook::backend::Devices;
use fcsp_hook::setup::SetupOnce;

use crate::driver::SYNAPSE;
use crate::ffi::hlml::*;
use crate::ffi::synapse::*;
use crate::vendor::{DEVICE, Gaudi, acquired, context};
use crate::{call_hlml, call_real};

/// A card.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Its module, by which it is acquired.
    pub module: synModuleId,
    /// Identity of the card, the same in every process.
    pub identity: DeviceIdentity,
}

/// More than a machine has.
const MOST: usize = 64;

/// Returns the cards that this process can see, in Synapse's order; `None` until Synapse is
/// initialised.
pub fn all() -> Option<&'static [Card]> {
    static CARDS: AtomicPtr<Vec<Card>> = AtomicPtr::new(core::ptr::null_mut());
    // Acquire pairs with the Release of the publishing thread.
    let known = CARDS.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: leaked, never freed.
        return Some(unsafe { &*known });
    }
    // A program that only looks by HLML need not have Synapse loaded for it.
    if SYNAPSE.loaded().is_null() {
        return None;
    }
    let modules = modules()?;
    let made: &'static Vec<Card> = SetupOnce::publish(&CARDS, || with_identities(&modules));
    Some(made)
}

/// Finds the card with this number.
pub fn find(ordinal: i32) -> Option<&'static Card> {
    all()?.get(usize::try_from(ordinal).ok()?)
}

/// Returns the number of the card that satisfies `wanted`.
pub fn position(wanted: impl Fn(&Card) -> bool) -> Option<i32> {
    let at = all()?.iter().position(wanted)?;
    i32::try_from(at).ok()
}

/// Returns the free and total bytes of this process's card, as Synapse reports them.
pub fn of_card() -> Option<(u64, u64)> {
    let (mut free, mut total) = (0, 0);
    let result = call_real!(synDeviceGetMemoryInfo(DEVICE, &mut free, &mut total));
    (result == synSuccess).then_some((free, total))
}

/// Finds this process's card by the PCI address that Synapse reports for it.
pub fn find_acquired() -> Option<i32> {
    let mut address: [c_char; 64] = [0; 64];
    let length = address.len() as i32;
    let result = call_real!(synDeviceGetPCIBusId(address.as_mut_ptr(), length, DEVICE));
    if result != synSuccess {
        return None;
    }
    // SAFETY: ends in zeroes of ours, if not in one of Synapse's.
    let text = unsafe { CStr::from_ptr(address.as_ptr()) };
    let pci = text.to_str().ok()?.parse().ok()?;
    position(|card| card.identity.pci == Some(pci))
}

impl Devices for Gaudi {
    type PerDevice = ();
    /// Measured right after a card was acquired.
    const CONTEXT_ESTIMATE: u64 = 512 << 20;
    // Who has the card has all of its time.
    const HOLDS_BACK: bool = false;

    fn device_count() -> Option<i32> {
        i32::try_from(all()?.len()).ok()
    }

    fn identify(ordinal: i32) -> Option<DeviceIdentity> {
        Some(find(ordinal)?.identity)
    }

    fn total_memory(ordinal: i32) -> u64 {
        let Some(card) = find(ordinal) else {
            return 0;
        };
        let (asked, mut total) = (DEVICE_ATTRIBUTE_DRAM_SIZE, 0);
        let result = call_real!(synDeviceGetAttributeByModuleId(
            &mut total,
            &asked,
            1,
            card.module
        ));
        match acquired() {
            _ if result == synSuccess => total,
            // Older versions answer for the card at hand only.
            Some(own) if own == ordinal => of_card().map_or(0, |(_, total)| total),
            _ => 0,
        }
    }

    fn per_device(_ordinal: i32) {}

    // The card at hand stands for a context.
    fn current_context() -> Option<usize> {
        Some(context(acquired()?))
    }

    fn device_of_current(context: usize) -> Option<i32> {
        i32::try_from(context - 1).ok()
    }
}

fn modules() -> Option<Vec<synModuleId>> {
    let mut count = 0;
    if call_real!(synDeviceGetCount(&mut count)) != synSuccess {
        return None;
    }
    let mut modules = [0; MOST];
    let mut size = count.min(MOST as u32);
    match call_real!(synDeviceGetModuleIDs(modules.as_mut_ptr(), &mut size)) {
        synSuccess => Some(modules[..(size as usize).min(MOST)].to_vec()),
        _ => None,
    }
}

fn with_identities(modules: &[synModuleId]) -> Vec<Card> {
    let managed = managed();
    let card = |(at, &module): (usize, &synModuleId)| {
        let found = managed
            .iter()
            .find(|entry| entry.module == Some(module))
            // Before versions that tell modules, the two lists have the same order.
            .or_else(|| managed.get(at).filter(|entry| entry.module.is_none()));
        let serial = found.map_or_else(|| format!("module {module}"), |entry| entry.serial.clone());
        Card {
            module,
            identity: DeviceIdentity {
                index: u32::try_from(at).ok(),
                uuid: uuid(&serial),
                pci: found.and_then(|entry| entry.pci),
            },
        }
    };
    modules.iter().enumerate().map(card).collect()
}

/// A card as HLML lists it.
#[derive(Debug)]
pub struct Managed {
    /// Its module, where HLML tells.
    pub module: Option<synModuleId>,
    /// Serial number, which HLML calls the card's UUID.
    pub serial: String,
    /// Its PCI address.
    pub pci: Option<PciAddress>,
}

/// Returns the cards that HLML lists; none where HLML is not loaded.
fn managed() -> Vec<Managed> {
    // Taken back below, for the program's own initialisation to be its first.
    let ours = call_hlml!(hlml_init()) == HLML_SUCCESS;
    let mut count = 0;
    let listed = match call_hlml!(hlml_device_get_count(&mut count)) {
        HLML_SUCCESS => (0..count.min(MOST as u32)).map_while(by_index).collect(),
        _ => Vec::new(),
    };
    if ours {
        call_hlml!(hlml_shutdown());
    }
    listed
}

fn by_index(index: u32) -> Option<Managed> {
    let mut device = core::ptr::null_mut();
    if call_hlml!(hlml_device_get_handle_by_index(index, &mut device)) != HLML_SUCCESS {
        return None;
    }
    of_handle(device)
}

/// Returns HLML's entry of a card.
pub(crate) fn of_handle(device: hlml_device_t) -> Option<Managed> {
    let mut serial: [c_char; 128] = [0; 128];
    let length = serial.len() as u32;
    if call_hlml!(hlml_device_get_uuid(device, serial.as_mut_ptr(), length)) != HLML_SUCCESS {
        return None;
    }
    let mut module = 0;
    let told = call_hlml!(hlml_device_get_module_id(device, &mut module)) == HLML_SUCCESS;
    // The struct has grown over the versions; the address has always followed the bus number.
    let mut info = [0u64; 64];
    let place = info.as_mut_ptr().cast::<c_void>();
    let known = call_hlml!(hlml_device_get_pci_info(device, place)) == HLML_SUCCESS;
    // SAFETY: inside the buffer, whose end is zeroes that HLML leaves alone.
    let address = unsafe { info.as_ptr().cast::<c_char>().add(4) };
    Some(Managed {
        module: told.then_some(module),
        serial: text(serial.as_ptr()),
        pci: known.then(|| text(address).parse().ok()).flatten(),
    })
}

/// Reads a C string from a buffer of ours that ends in zeroes.
fn text(place: *const c_char) -> String {
    // SAFETY: by the contract above.
    unsafe { CStr::from_ptr(place) }
        .to_string_lossy()
        .into_owned()
}

/// Returns sixteen bytes that stand for a serial number: two FNV-1a hashes of it. Every version of
/// this library must compute them alike, because files are named by them.
pub fn uuid(serial: &str) -> DeviceUuid {
    let hash = |seed: u64| {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = serial.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, step);
        // Serial numbers differ in few characters; one round mixes what that changes.
        (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash(0).to_be_bytes());
    bytes[8..].copy_from_slice(&hash(0x6761_7564_6921).to_be_bytes());
    DeviceUuid(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_keep_their_uuids() {
        let serial = "01P0-HL2080A0-15-TNPS34-05-03-07";
        assert_eq!(
            uuid(serial).to_string(),
            "GPU-f0b58c7d-c4d5-5f01-60c9-1bd551bc898b"
        );
        assert_ne!(uuid(serial), uuid("01P0-HL2080A0-15-TNPS34-05-03-08"));
    }
}
