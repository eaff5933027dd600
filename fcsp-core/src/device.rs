//! Device identity: by UUID and PCI address, never by ordinal alone.
//!
//! With an ordinal, people name a device to their own program (`--memory 0=8GiB`): it is the number
//! that the program itself would use. The backend, which can ask the driver, resolves it to a UUID
//! once. Every shared file is named by the UUID.

use std::fmt;
use std::str::FromStr;

/// A device's 16-byte UUID as vendors report it. It is shown as `GPU-8-4-4-4-12`, and parsed with
/// any or no prefix.
///
/// ```
/// use fcsp_core::device::DeviceUuid;
///
/// let uuid: DeviceUuid = "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778".parse()?;
/// assert_eq!(uuid.to_string(), "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceUuid(pub [u8; 16]);

impl fmt::Display for DeviceUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GPU-")?;
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" {reason}")]
#[non_exhaustive]
pub struct ParseDeviceError {
    /// The text.
    pub text: String,
    /// Reason, and the accepted form.
    pub reason: &'static str,
}

impl ParseDeviceError {
    fn new(text: &str, reason: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            reason,
        }
    }
}

impl FromStr for DeviceUuid {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let form = || {
            ParseDeviceError::new(
                text,
                "is not a device UUID; write it as GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            )
        };
        let body = ["GPU-", "MIG-", "gpu-"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .unwrap_or(text);
        let digits: Vec<u8> = body.bytes().filter(|&b| b != b'-').collect();
        if digits.len() != 32 || body.len() != 36 {
            return Err(form());
        }
        let mut uuid = [0u8; 16];
        for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| form())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| form())?;
        }
        Ok(Self(uuid))
    }
}

/// Beginning of a UUID, as people copy it from a listing: `GPU-a04154c4`. It names a device if only
/// one UUID begins so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UuidStart {
    /// Digits, the first one in the upper half of the first byte; zero after the last.
    bytes: [u8; 16],
    /// Number of digits, from [`UuidStart::LEAST`] to 31.
    digits: u8,
}

impl UuidStart {
    /// Fewest digits that name a device.
    pub const LEAST: u8 = 4;

    /// Creates a beginning from its parts. Returns `None` for an invalid number of digits.
    pub fn new(bytes: [u8; 16], digits: u8) -> Option<Self> {
        (Self::LEAST..32)
            .contains(&digits)
            .then_some(Self { bytes, digits })
    }

    /// Returns the bytes and the number of digits in them.
    pub fn parts(&self) -> ([u8; 16], u8) {
        (self.bytes, self.digits)
    }

    fn digit(bytes: &[u8; 16], at: u8) -> u8 {
        let byte = bytes[usize::from(at / 2)];
        if at.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 15
        }
    }

    /// Returns true if `uuid` begins so.
    pub fn begins(&self, uuid: &DeviceUuid) -> bool {
        (0..self.digits).all(|at| Self::digit(&self.bytes, at) == Self::digit(&uuid.0, at))
    }
}

impl fmt::Display for UuidStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GPU-")?;
        for at in 0..self.digits {
            if matches!(at, 8 | 12 | 16 | 20) {
                f.write_str("-")?;
            }
            write!(f, "{:x}", Self::digit(&self.bytes, at))?;
        }
        Ok(())
    }
}

impl FromStr for UuidStart {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let form = || {
            ParseDeviceError::new(
                text,
                "does not begin a device UUID; write GPU- and at least four digits",
            )
        };
        // Only with its prefix: digits alone are an ordinal.
        let body = ["GPU-", "MIG-", "gpu-"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .ok_or_else(form)?;
        let (mut bytes, mut digits) = ([0u8; 16], 0u8);
        for letter in body.chars().filter(|&letter| letter != '-') {
            let digit = letter.to_digit(16).ok_or_else(form)? as u8;
            let byte = bytes.get_mut(usize::from(digits / 2)).ok_or_else(form)?;
            *byte |= if digits.is_multiple_of(2) {
                digit << 4
            } else {
                digit
            };
            digits += 1;
        }
        Self::new(bytes, digits).ok_or_else(form)
    }
}

/// A PCI address, `domain:bus:device.function`.
///
/// ```
/// use fcsp_core::device::PciAddress;
///
/// let address: PciAddress = "0000:3b:00.0".parse()?;
/// assert_eq!(address.to_string(), "0000:3b:00.0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddress {
    /// Domain (segment), 0 on most machines.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device on the bus.
    pub device: u8,
    /// Function of the device.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.domain, self.bus, self.device, self.function
        )
    }
}

impl FromStr for PciAddress {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let parse = || -> Option<Self> {
            let (rest, function) = text.rsplit_once('.')?;
            let mut parts = rest.rsplit(':');
            let device = u8::from_str_radix(parts.next()?, 16).ok()?;
            let bus = u8::from_str_radix(parts.next()?, 16).ok()?;
            let domain = match parts.next() {
                Some(domain) => u32::from_str_radix(domain, 16).ok()?,
                None => 0,
            };
            parts.next().is_none().then_some(())?;
            Some(Self {
                domain,
                bus,
                device,
                function: u8::from_str_radix(function, 16).ok()?,
            })
        };
        parse().ok_or_else(|| {
            ParseDeviceError::new(text, "is not a PCI address; write it as 0000:3b:00.0")
        })
    }
}

/// Identity of one device, as far as a backend knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// Ordinal in the program itself, if there is a program.
    pub index: Option<u32>,
    /// The driver's UUID.
    pub uuid: DeviceUuid,
    /// PCI address, if the device has one.
    pub pci: Option<PciAddress>,
}

/// The device part of a rule such as `0=8GiB`.
///
/// ```
/// use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector};
///
/// let device = DeviceIdentity { index: Some(1), uuid: DeviceUuid([7; 16]), pci: None };
/// let selector: Selector = "1".parse()?;
/// assert!(selector.matches(&device).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// Every device that no other rule names.
    All,
    /// The device with this ordinal, as the program counts.
    Index(u32),
    /// The device with this UUID.
    Uuid(DeviceUuid),
    /// The device whose UUID begins so.
    UuidStart(UuidStart),
    /// The device at this PCI address.
    Pci(PciAddress),
}

impl Selector {
    /// Returns how exactly this selector names `device`: higher is more exact, `None` does not name
    /// it.
    pub fn matches(&self, device: &DeviceIdentity) -> Option<u8> {
        match *self {
            Self::All => Some(0),
            Self::Index(index) => (device.index == Some(index)).then_some(1),
            Self::Pci(pci) => (device.pci == Some(pci)).then_some(2),
            Self::UuidStart(start) => start.begins(&device.uuid).then_some(3),
            Self::Uuid(uuid) => (device.uuid == uuid).then_some(4),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Index(index) => index.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::UuidStart(start) => start.fmt(f),
            Self::Pci(pci) => pci.fmt(f),
        }
    }
}

impl FromStr for Selector {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::All);
        }
        if let Ok(index) = text.parse() {
            return Ok(Self::Index(index));
        }
        if let Ok(uuid) = text.parse() {
            return Ok(Self::Uuid(uuid));
        }
        if let Ok(start) = text.parse() {
            return Ok(Self::UuidStart(start));
        }
        text.parse().map(Self::Pci).map_err(|_| {
            ParseDeviceError::new(
                text,
                "names no device; write its number (0), its UUID (GPU-...) or its PCI address (0000:3b:00.0)",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn uuid_round_trips(bytes: [u8; 16]) {
            let uuid = DeviceUuid(bytes);
            prop_assert_eq!(uuid.to_string().parse(), Ok(uuid));
            prop_assert_eq!(uuid.to_string()[4..].parse(), Ok(uuid));
        }

        #[test]
        fn pci_round_trips(domain in 0u32..=0xffff, bus: u8, device in 0u8..32, function in 0u8..8) {
            let pci = PciAddress { domain, bus, device, function };
            prop_assert_eq!(pci.to_string().parse(), Ok(pci));
        }

        #[test]
        fn a_beginning_is_one_of_its_uuid(bytes: [u8; 16], digits in 4usize..32, changed in 0usize..4) {
            let uuid = DeviceUuid(bytes);
            let dashes = |digits: usize| digits + [8, 12, 16, 20].iter().filter(|&&at| digits > at).count();
            let text = &uuid.to_string()[..4 + dashes(digits)];
            let start: UuidStart = text.parse().unwrap();
            prop_assert_eq!(start.to_string(), text);
            prop_assert_eq!(usize::from(start.digits), digits);
            prop_assert!(start.begins(&uuid));
            let mut other = uuid;
            other.0[changed / 2] ^= if changed % 2 == 0 { 16 } else { 1 };
            prop_assert!(!start.begins(&other));
        }

        #[test]
        fn selectors_never_panic(text in ".{0,48}") {
            let _ = text.parse::<Selector>();
        }
    }

    #[test]
    fn selectors_read_all_three_forms() {
        assert_eq!("3".parse(), Ok(Selector::Index(3)));
        assert_eq!("*".parse(), Ok(Selector::All));
        assert!(matches!("GPU-a04154c4".parse(), Ok(Selector::UuidStart(_))));
        assert_eq!("12345678".parse(), Ok(Selector::Index(12_345_678)));
        for text in ["GPU-", "GPU-a04", "GPU-a04154cg", "a04154c4"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
        assert!(matches!(
            "0000:3b:00.0".parse(),
            Ok(Selector::Pci(PciAddress { bus: 0x3b, .. }))
        ));
        assert!(
            "gpu one"
                .parse::<Selector>()
                .unwrap_err()
                .to_string()
                .contains("0000:3b:00.0")
        );
    }
}
