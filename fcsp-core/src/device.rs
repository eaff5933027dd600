//! Which device is meant: identity by UUID and PCI address, never by index alone.
//!
//! An index is how a person names a device to their own program (`--memory 0=8GiB`): it means the number that the
//! program itself would use. It is resolved to a UUID once, by the backend that can ask the driver, and every shared
//! file is named by the UUID.

use std::fmt;
use std::str::FromStr;

/// A device's 16-byte UUID as vendors report it. Shown as `GPU-8-4-4-4-12`, read with any or no prefix.
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

impl FromStr for DeviceUuid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!("\"{text}\" is not a device UUID; write it as GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
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

/// A PCI address, `domain:bus:device.function`.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
        parse().ok_or_else(|| format!("\"{text}\" is not a PCI address; write it as 0000:3b:00.0"))
    }
}

/// Everything a backend knows about one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The number the program itself uses, where there is a program.
    pub index: Option<u32>,
    /// The driver's UUID.
    pub uuid: DeviceUuid,
    /// The PCI address, where the device has one.
    pub pci: Option<PciAddress>,
}

/// The device part of a rule such as `0=8GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// Every device that no other rule names.
    All,
    /// The device with this number, as the program counts.
    Index(u32),
    /// The device with this UUID.
    Uuid(DeviceUuid),
    /// The device at this PCI address.
    Pci(PciAddress),
}

impl Selector {
    /// How exactly this selector names `device`: `None` if it does not, else the higher the more exact.
    pub fn matches(&self, device: &DeviceIdentity) -> Option<u8> {
        match *self {
            Self::All => Some(0),
            Self::Index(index) => (device.index == Some(index)).then_some(1),
            Self::Pci(pci) => (device.pci == Some(pci)).then_some(2),
            Self::Uuid(uuid) => (device.uuid == uuid).then_some(3),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Index(index) => index.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Pci(pci) => pci.fmt(f),
        }
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
        text.parse().map(Self::Pci).map_err(|_| {
            format!(
                "\"{text}\" names no device; write its number (0), its UUID (GPU-...) or its PCI address (0000:3b:00.0)"
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
        fn selectors_never_panic(text in ".{0,48}") {
            let _ = text.parse::<Selector>();
        }
    }

    #[test]
    fn selectors_read_all_three_forms() {
        assert_eq!("3".parse(), Ok(Selector::Index(3)));
        assert_eq!("*".parse(), Ok(Selector::All));
        assert!(matches!(
            "0000:3b:00.0".parse(),
            Ok(Selector::Pci(PciAddress { bus: 0x3b, .. }))
        ));
        assert!(
            "gpu one"
                .parse::<Selector>()
                .unwrap_err()
                .contains("0000:3b:00.0")
        );
    }
}
