//! Devices as the runtime describes them, and the facts kept for each.

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_core::spatial::claims::UnitReservation;
use fcsp_core::units::{Ppm, WHOLE};
use fcsp_hook::backend::Devices;

use crate::driver::real;
use crate::ffi::hip::*;
use crate::vendor::{Device, Hip, attribute, context_of};
use crate::{call_real, units};

/// Facts kept for a device.
#[derive(Debug)]
pub struct PerDevice {
    /// Threads the device runs at once: bytes of stack a thread times this is what a stack limit
    /// costs.
    pub resident_threads: u64,
    /// The compute units that the tenant's work runs on, where not all.
    pub units: Option<UnitReservation>,
    /// True once this process is known to use the device: the runtime's own memory there then
    /// counts.
    pub(crate) in_use: AtomicBool,
}

/// Returns a device attribute as a count; 0 where the runtime does not tell it.
fn count_attribute(device: hipDevice_t, which: hipDeviceAttribute_t) -> u64 {
    attribute(device, which)
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(0)
}

/// Returns the major version of the runtime; 0 if the runtime does not tell it.
pub fn major() -> i32 {
    static MAJOR: AtomicI32 = AtomicI32::new(-1);
    // Relaxed: every thread finds the same answer.
    match MAJOR.load(Ordering::Relaxed) {
        -1 => {
            let mut version = 0;
            call_real!(hipDriverGetVersion(&mut version));
            let major = version / 10_000_000;
            MAJOR.store(major, Ordering::Relaxed);
            major
        }
        known => known,
    }
}

fn own_number(ordinal: hipDevice_t) -> Option<DeviceUuid> {
    let mut uuid = hipUUID::zeroed();
    // SAFETY: writes 16 bytes that outlive the call.
    let result = unsafe { real::hipDeviceGetUuid.get()?(&mut uuid, ordinal) };
    // Devices without a number of their own show zeroes.
    let blank = |byte: &core::ffi::c_char| *byte == 0 || *byte == b'0' as core::ffi::c_char;
    if result != hipSuccess || uuid.bytes.iter().all(blank) {
        return None;
    }
    // `c_char` has a sign on x86-64 and none on aarch64.
    Some(number_from(
        uuid.bytes.map(|byte| u8::from_ne_bytes(byte.to_ne_bytes())),
    ))
}

/// Decodes a device's number from its 16 hexadecimal digits.
///
/// The eight bytes become the first half of a UUID. ROCm SMI calls the same number the unique id.
fn number_from(characters: [u8; 16]) -> DeviceUuid {
    let mut out = [0; 16];
    for (place, pair) in out.iter_mut().zip(characters.chunks_exact(2)) {
        let text = core::str::from_utf8(pair).unwrap_or("");
        match u8::from_str_radix(text, 16) {
            Ok(byte) => *place = byte,
            // Not digits: any 16 bytes tell devices apart.
            Err(_) => return DeviceUuid(characters),
        }
    }
    DeviceUuid(out)
}

/// Makes a number for a device that has none of its own from its PCI address.
pub(crate) fn number_of(pci: PciAddress) -> DeviceUuid {
    let mut out = [0; 16];
    out[8..12].copy_from_slice(&pci.domain.to_be_bytes());
    (out[12], out[13], out[15]) = (pci.bus, pci.device, 1);
    DeviceUuid(out)
}

impl Devices for Hip {
    type PerDevice = PerDevice;
    /// Bytes of a context for a process that uses a device. It is NVIDIA's figure, for want of a
    /// device to measure it on (docs/assumptions.md).
    const CONTEXT_ESTIMATE: u64 = 640 << 20;

    /// Asks the runtime, which initialises itself when it is asked.
    fn device_count() -> Option<i32> {
        let mut count = 0;
        (call_real!(hipGetDeviceCount(&mut count)) == hipSuccess).then_some(count)
    }

    /// Returns the device's identity. Its UUID is the device's own number where the runtime tells
    /// it (16 characters, from 5.2), or else is made from the PCI address.
    fn identify(ordinal: hipDevice_t) -> Option<DeviceIdentity> {
        let byte = |which| attribute(ordinal, which).and_then(|value| u8::try_from(value).ok());
        let pci = match (
            attribute(ordinal, hipDeviceAttributePciDomainID),
            byte(hipDeviceAttributePciBusId),
            byte(hipDeviceAttributePciDeviceId),
        ) {
            (Some(domain), Some(bus), Some(device)) => Some(PciAddress {
                domain: domain.cast_unsigned(),
                bus,
                device,
                function: 0,
            }),
            _ => None,
        };
        let uuid = own_number(ordinal).or_else(|| pci.map(number_of))?;
        Some(DeviceIdentity {
            index: Some(ordinal.cast_unsigned()),
            uuid,
            pci,
        })
    }

    fn total_memory(ordinal: hipDevice_t) -> u64 {
        let mut total = 0usize;
        // On failure the total stays 0.
        call_real!(hipDeviceTotalMem(&mut total, ordinal));
        total as u64
    }

    fn per_device(ordinal: hipDevice_t) -> PerDevice {
        PerDevice {
            resident_threads: count_attribute(ordinal, hipDeviceAttributeMultiprocessorCount)
                * count_attribute(ordinal, hipDeviceAttributeMaxThreadsPerMultiProcessor),
            units: units::own(ordinal),
            in_use: AtomicBool::new(false),
        }
    }

    fn part_of(device: &Device) -> Ppm {
        device
            .own
            .units
            .as_ref()
            .map_or(WHOLE, |claim| claim.part())
    }

    /// Returns the current device as a context. The runtime's contexts are its devices: an ordinal
    /// stands for one, counted from 1.
    #[inline]
    fn current_context() -> Option<usize> {
        let mut device = 0;
        let result = call_real!(hipGetDevice(&mut device));
        (result == hipSuccess).then(|| context_of(device))
    }

    #[inline]
    fn device_of_current(context: usize) -> Option<i32> {
        i32::try_from(context - 1).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_digits() {
        let mut expected = [0; 16];
        expected[..8].copy_from_slice(&[0x1f, 0x2e, 0, 0xff, 0x10, 0x32, 0x54, 0x76]);
        assert_eq!(number_from(*b"1f2e00ff10325476").0, expected);
        assert_eq!(number_from(*b"not digits at al").0, *b"not digits at al");
    }

    #[test]
    fn places_tell_devices_apart() {
        let at = |bus| {
            number_of(PciAddress {
                domain: 0,
                bus,
                device: 0,
                function: 0,
            })
        };
        assert_ne!(at(0x18).0, at(0x29).0);
    }
}
