//! The devices of the simulated machine.
//!
//! `FCSP_SIM` names a topology and overrides, e.g. `h100x2,memory=4GiB,context=64MiB,sm=132`.
//! Identity (UUID, PCI address) follows from the model and the index alone, so every process and
//! every run sees the same devices.

use std::fmt;

/// Most devices in one simulated machine.
pub const MAX_DEVICES: usize = 16;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The error in a topology text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FCSP_SIM: {0}")]
pub struct SpecError(String);

/// One simulated device. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Position on the machine, from 0.
    pub index: usize,
    /// Marketing name, as the vendor's own tools print it.
    pub name: String,
    /// Total memory by the compute API.
    pub memory: u64,
    /// Bytes beyond `memory` that the management API reports as held by the firmware.
    pub reserved: u64,
    /// Taken by each context for as long as it lives.
    pub context: u64,
    /// Taken by each stream; charged in steps of 2 MiB a context.
    pub stream: u64,
    /// Granularity of requests up to 1 MiB; 0 where the driver cuts them from slabs of 2 MiB.
    pub small_page: u64,
    /// Multiprocessors.
    pub sm: u32,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Core clock in kHz.
    pub clock_khz: u32,
    /// Memory clock in kHz.
    pub memory_clock_khz: u32,
    /// Memory bus width in bits.
    pub bus_width: u32,
    /// Second-level cache.
    pub l2: u64,
    /// Shared memory a multiprocessor.
    pub shared_sm: u32,
    /// Resident threads a multiprocessor.
    pub threads_sm: u32,
    /// PCI device id and vendor id as one word, device in the upper half.
    pub pci_device: u32,
    /// Device memory bandwidth in bytes a microsecond, for the durations of copies and fills on the
    /// device.
    pub bandwidth: u64,
    /// Board power limit in milliwatts.
    pub power_limit_mw: u32,
}

/// Computes a seed-dependent 64-bit FNV-1a hash, used where an identity must be the same in every
/// process and build.
pub fn fnv(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl DeviceSpec {
    /// Returns the 16 bytes behind the device's UUID, a version 4 UUID in form.
    pub fn uuid(&self) -> [u8; 16] {
        let text = format!("{}/{}", self.name, self.index);
        let mut out = [0; 16];
        // The plain hash of short texts that differ in the last byte differs in few bits; a round
        // of mixing makes neighbours easy to tell apart by their first digits, which is what
        // prefixes rely on.
        for (half, seed) in [(0, 0x51_6d), (8, 0xfc_5b)] {
            let mut h = fnv(seed, text.as_bytes());
            h = (h ^ (h >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            h = (h ^ (h >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            out[half..half + 8].copy_from_slice(&(h ^ (h >> 32)).to_be_bytes());
        }
        out[6] = (out[6] & 0x0f) | 0x40;
        out[8] = (out[8] & 0x3f) | 0x80;
        out
    }

    /// `GPU-xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx`.
    pub fn uuid_text(&self) -> String {
        let mut s = String::from("GPU-");
        for (i, b) in self.uuid().iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                s.push('-');
            }
            s.push_str(&format!("{b:02x}"));
        }
        s
    }

    /// Returns the PCI bus number; domain and device number are 0.
    pub fn pci_bus(&self) -> u32 {
        0x18 + 0x11 * self.index as u32 % 0xe0
    }

    /// `0000:18:00.0`, the compute API's form (four-digit domain).
    pub fn pci_text(&self) -> String {
        format!("0000:{:02X}:00.0", self.pci_bus())
    }
}

/// The devices of one simulated machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// In index order; never empty.
    pub devices: Vec<DeviceSpec>,
}

impl Topology {
    /// Reads `FCSP_SIM`; one H100 where it is unset or empty.
    ///
    /// # Errors
    /// The text names no known model, or an override is malformed.
    pub fn from_env() -> Result<Self, SpecError> {
        match std::env::var("FCSP_SIM") {
            Ok(text) if !text.trim().is_empty() => text.parse(),
            Ok(_) | Err(std::env::VarError::NotPresent) => "h100".parse(),
            Err(_) => Err(SpecError("not UTF-8".into())),
        }
    }

    /// Returns a hash of everything in the topology, so that processes with different devices never
    /// share a state file.
    pub fn hash(&self) -> u64 {
        fnv(0, format!("{self}").as_bytes())
    }

    /// Returns the devices that a visibility list leaves (indices and UUID prefixes, separated by
    /// commas), in its order.
    ///
    /// As with the vendor's own variable, the list ends at the first entry that names no device,
    /// and an entry that names a device twice leaves none at all.
    pub fn visible(&self, list: Option<&str>) -> Vec<usize> {
        let Some(list) = list else {
            return (0..self.devices.len()).collect();
        };
        let mut out = Vec::new();
        for entry in list.split(',').map(str::trim) {
            let found = if entry.starts_with("GPU-") && entry.len() > 4 {
                let mut hits = self.devices.iter().filter(|d| {
                    d.uuid_text()
                        .starts_with(&entry.to_lowercase().replacen("gpu-", "GPU-", 1))
                });
                match (hits.next(), hits.next()) {
                    (Some(d), None) => Some(d.index),
                    _ => None,
                }
            } else {
                entry
                    .parse::<usize>()
                    .ok()
                    .filter(|i| *i < self.devices.len())
            };
            match found {
                Some(i) if out.contains(&i) => return Vec::new(),
                Some(i) => out.push(i),
                None => break,
            }
        }
        out
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &self.devices[0];
        write!(
            f,
            "{}x{},memory={},context={},stream={},sm={}",
            d.name,
            self.devices.len(),
            d.memory,
            d.context,
            d.stream,
            d.sm
        )
    }
}

fn model(name: &str) -> Option<DeviceSpec> {
    let h100 = DeviceSpec {
        index: 0,
        name: "NVIDIA H100 80GB HBM3".into(),
        // Measured on an H100 with driver 580: total by the compute API, by the management API (480
        // MiB more), a context's bytes by the management API, and 8 MiB for 16 streams.
        memory: 85_017_493_504,
        reserved: 480 * MIB,
        context: 543_162_368,
        stream: 512 << 10,
        small_page: 0,
        sm: 132,
        capability: (9, 0),
        clock_khz: 1_980_000,
        memory_clock_khz: 2_619_000,
        bus_width: 5120,
        l2: 50 * MIB,
        shared_sm: 233_472,
        threads_sm: 2048,
        pci_device: 0x2330_10de,
        bandwidth: 3_350_000,
        power_limit_mw: 700_000,
    };
    Some(match name {
        "h100" => h100,
        "a100" => DeviceSpec {
            name: "NVIDIA A100-SXM4-40GB".into(),
            memory: 42_297_786_368,
            reserved: 624 * MIB,
            context: 432 * MIB,
            sm: 108,
            capability: (8, 0),
            clock_khz: 1_410_000,
            memory_clock_khz: 1_215_000,
            l2: 40 * MIB,
            shared_sm: 167_936,
            pci_device: 0x20b0_10de,
            bandwidth: 1_555_000,
            power_limit_mw: 400_000,
            ..h100
        },
        "l4" => DeviceSpec {
            name: "NVIDIA L4".into(),
            memory: 23_659_872_256,
            reserved: 470 * MIB,
            context: 258 * MIB,
            sm: 58,
            capability: (8, 9),
            clock_khz: 2_040_000,
            memory_clock_khz: 6_251_000,
            bus_width: 192,
            l2: 48 * MIB,
            shared_sm: 102_400,
            threads_sm: 1536,
            pci_device: 0x27b8_10de,
            bandwidth: 300_000,
            power_limit_mw: 72_000,
            ..h100
        },
        // Sizes from the vendor's pages; a context's bytes are an assumption. `sm` counts compute
        // units.
        "mi300x" => DeviceSpec {
            name: "AMD Instinct MI300X".into(),
            memory: 192 * GIB,
            reserved: 0,
            context: 256 * MIB,
            stream: 0,
            sm: 304,
            capability: (9, 4),
            clock_khz: 2_100_000,
            memory_clock_khz: 1_300_000,
            bus_width: 8192,
            l2: 4 * MIB,
            shared_sm: 65_536,
            pci_device: 0x74a1_1002,
            bandwidth: 5_300_000,
            power_limit_mw: 750_000,
            ..h100
        },
        "mi210" => DeviceSpec {
            name: "AMD Instinct MI210".into(),
            memory: 64 * GIB,
            reserved: 0,
            context: 256 * MIB,
            stream: 0,
            sm: 104,
            capability: (9, 0),
            clock_khz: 1_700_000,
            memory_clock_khz: 1_600_000,
            bus_width: 4096,
            l2: 8 * MIB,
            shared_sm: 65_536,
            pci_device: 0x740f_1002,
            bandwidth: 1_600_000,
            power_limit_mw: 300_000,
            ..h100
        },
        // Sizes from the vendor's pages; what contexts take is a guess, as none was at hand to be
        // measured.
        "pvc" => DeviceSpec {
            name: "Intel(R) Data Center GPU Max 1100".into(),
            memory: 48 * GIB,
            reserved: 0,
            context: 16 * MIB,
            stream: 0,
            sm: 56,
            capability: (0, 0),
            clock_khz: 1_550_000,
            memory_clock_khz: 3_200_000,
            bus_width: 8192,
            l2: 108 * MIB,
            shared_sm: 131_072,
            threads_sm: 1024,
            pci_device: 0x0bda_8086,
            bandwidth: 1_228_000,
            power_limit_mw: 300_000,
            ..h100
        },
        // Sizes that the public tools print; a context's bytes are an assumption. `sm` counts cube
        // cores, of which each goes with two vector cores.
        "910b" => DeviceSpec {
            name: "Ascend910B3".into(),
            memory: 65_452_113_920,
            reserved: (64 << 30) - 65_452_113_920,
            context: 192 * MIB,
            stream: 0,
            small_page: 4096,
            sm: 20,
            capability: (2, 2),
            clock_khz: 1_800_000,
            memory_clock_khz: 1_600_000,
            bus_width: 4096,
            l2: 192 * MIB,
            pci_device: 0xd802_19e5,
            bandwidth: 1_600_000,
            power_limit_mw: 400_000,
            ..h100
        },
        "310p" => DeviceSpec {
            name: "Ascend310P3".into(),
            memory: 22_942_842_880,
            reserved: (24 << 30) - 22_942_842_880,
            context: 96 * MIB,
            stream: 0,
            small_page: 4096,
            sm: 8,
            capability: (2, 0),
            clock_khz: 1_080_000,
            memory_clock_khz: 2_133_000,
            bus_width: 256,
            l2: 16 * MIB,
            pci_device: 0xd500_19e5,
            bandwidth: 204_000,
            power_limit_mw: 72_000,
            ..h100
        },
        // Sizes that the public tools print; what the runtime takes for itself is an assumption.
        // `sm` counts tensor cores, `l2` is memory on the chip.
        "gaudi2" => DeviceSpec {
            name: "HL-225".into(),
            memory: (96 << 30) - 768 * MIB,
            reserved: 768 * MIB,
            context: 512 * MIB,
            stream: 0,
            sm: 24,
            capability: (0, 0),
            clock_khz: 1_650_000,
            memory_clock_khz: 1_600_000,
            bus_width: 6144,
            l2: 48 * MIB,
            pci_device: 0x1020_1da3,
            bandwidth: 2_450_000,
            power_limit_mw: 600_000,
            ..h100
        },
        "gaudi3" => DeviceSpec {
            name: "HL-325L".into(),
            memory: (128 << 30) - 672 * MIB,
            reserved: 672 * MIB,
            context: 512 * MIB,
            stream: 0,
            sm: 64,
            capability: (0, 0),
            clock_khz: 1_600_000,
            memory_clock_khz: 1_800_000,
            bus_width: 8192,
            l2: 96 * MIB,
            pci_device: 0x1060_1da3,
            bandwidth: 3_700_000,
            power_limit_mw: 900_000,
            ..h100
        },
        "tiny" => DeviceSpec {
            name: "FCSP Simulated Tiny".into(),
            memory: 256 * MIB,
            reserved: 0,
            context: 8 * MIB,
            stream: 0,
            sm: 4,
            ..h100
        },
        _ => return None,
    })
}

/// Reads `512MiB`, `4GiB`, `1GB`, `64k` or a plain number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => MIB,
        "g" | "gib" => GIB,
        "t" | "tib" => GIB << 10,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

impl std::str::FromStr for Topology {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = text.trim().split(',').map(str::trim);
        let head = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut devices = Vec::new();
        for kind in head.split('+').map(str::trim) {
            let (name, count) = match kind.rsplit_once('x') {
                Some((name, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
                    (name.to_string(), n.parse::<usize>().unwrap_or(0))
                }
                _ => (kind.to_owned(), 1),
            };
            let device = model(&name).ok_or_else(|| {
                SpecError(format!(
                    "unknown model '{name}' (h100, a100, l4, mi300x, mi210, pvc, 910b, 310p, gaudi2, gaudi3, tiny)"
                ))
            })?;
            if !(1..=MAX_DEVICES).contains(&count.saturating_add(devices.len())) || count == 0 {
                return Err(SpecError(format!("'{head}': 1 to {MAX_DEVICES} devices")));
            }
            devices.extend(std::iter::repeat_n(device, count));
        }
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| SpecError(format!("'{part}' is not key=value")))?;
            let bad = || SpecError(format!("'{value}' is no value for {key}"));
            for device in &mut devices {
                match key.trim() {
                    "memory" => {
                        device.memory = bytes(value.trim())
                            .filter(|m| *m >= 4 * MIB)
                            .ok_or_else(bad)?
                    }
                    "context" => device.context = bytes(value.trim()).ok_or_else(bad)?,
                    "stream" => device.stream = bytes(value.trim()).ok_or_else(bad)?,
                    "reserved" => device.reserved = bytes(value.trim()).ok_or_else(bad)?,
                    "sm" => {
                        device.sm = value
                            .trim()
                            .parse()
                            .ok()
                            .filter(|n| (1..=4096).contains(n))
                            .ok_or_else(bad)?
                    }
                    other => return Err(SpecError(format!("unknown key '{other}'"))),
                }
            }
        }
        for (index, device) in devices.iter_mut().enumerate() {
            device.index = index;
        }
        Ok(Self { devices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_can_be_mixed() {
        let machine: Topology = "h100x2+a100,memory=4GiB".parse().unwrap();
        let names: Vec<&str> = machine.devices.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names.len(), 3);
        assert!(names[0] == names[1] && names[1] != names[2]);
        assert!(
            machine
                .devices
                .iter()
                .enumerate()
                .all(|(i, d)| d.index == i && d.memory == 4 << 30)
        );
        assert!("h100+nothing".parse::<Topology>().is_err());
        assert!("h100x9999+a100".parse::<Topology>().is_err());
    }

    #[test]
    fn reads_models_counts_and_overrides() {
        let t: Topology = "h100x2,memory=4GiB,context=64MiB,sm=132".parse().unwrap();
        assert_eq!(t.devices.len(), 2);
        assert_eq!(
            (
                t.devices[1].memory,
                t.devices[1].context,
                t.devices[1].index
            ),
            (4 * GIB, 64 * MIB, 1)
        );
        assert_eq!("a100x4".parse::<Topology>().unwrap().devices.len(), 4);
        assert_eq!(
            "tiny".parse::<Topology>().unwrap().devices[0].memory,
            256 * MIB
        );
    }

    #[test]
    fn refuses_bad_text_by_name() {
        for bad in [
            "b200",
            "h100x0",
            "h100x17",
            "h100,memory",
            "h100,memory=4XiB",
            "h100,colour=red",
            "h100,sm=0",
        ] {
            let e = bad.parse::<Topology>().unwrap_err();
            assert!(e.to_string().starts_with("FCSP_SIM: "), "{e}");
        }
    }

    #[test]
    fn identities_differ_and_stay() {
        let t: Topology = "h100x16".parse().unwrap();
        let ids: std::collections::HashSet<_> = t
            .devices
            .iter()
            .map(|d| d.uuid_text()[..12].to_string())
            .collect();
        assert_eq!(ids.len(), 16, "eight hex digits tell sixteen devices apart");
        assert_eq!(
            t.devices[0].uuid_text(),
            "h100".parse::<Topology>().unwrap().devices[0].uuid_text()
        );
        let buses: std::collections::HashSet<_> =
            t.devices.iter().map(DeviceSpec::pci_bus).collect();
        assert_eq!(buses.len(), 16);
    }

    #[test]
    fn visibility_follows_the_vendors_rules() {
        let t: Topology = "h100x4".parse().unwrap();
        assert_eq!(t.visible(None), [0, 1, 2, 3]);
        assert_eq!(t.visible(Some("")), Vec::<usize>::new());
        assert_eq!(t.visible(Some("2,0")), [2, 0]);
        assert_eq!(
            t.visible(Some("1,9,0")),
            [1],
            "the list ends at the first entry that names nothing"
        );
        assert_eq!(t.visible(Some("1,1")), Vec::<usize>::new());
        let prefix = t.devices[3].uuid_text()[..12].to_string();
        assert_eq!(t.visible(Some(&prefix)), [3]);
        assert_eq!(t.visible(Some("GPU-")), Vec::<usize>::new());
    }
}
