//! The device order of a tenant: the meaning of device numbers, decided once when it is set up.
//!
//! A number in a rule is the number that the program itself would use, under the
//! `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` of the command. A program can change both before
//! it starts its driver, so limits by number would follow its order and not its devices. Limits are
//! therefore written down by UUID. The order is kept beside them, so that a later change takes a
//! number in the same sense.

use std::path::Path;

use fcsp_core::config::{ConfigError, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector, UuidStart};
use fcsp_core::file;
use fcsp_core::state::{SetupGuard, layout};

/// Returns whether a rule goes by number, or by the beginning of a UUID.
pub fn is_needed(limits: &Limits) -> bool {
    let number = |selector| matches!(selector, Selector::Index(_) | Selector::UuidStart(_));
    limits.memory.iter().any(|(selector, _)| number(selector))
        || limits.compute.iter().any(|(selector, _)| number(selector))
}

/// A device as a program of a tenant will see it.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibleDevice {
    /// Its identity, with the number that the program counts.
    pub identity: DeviceIdentity,
    /// Its name for people, such as "device 0 (GPU-...)".
    pub label: String,
    /// Bytes of memory; 0 if unknown.
    pub total_bytes: u64,
}

impl VisibleDevice {
    /// Returns "device" with its number, or with its UUID where it has none.
    pub(crate) fn short_label(&self) -> String {
        match self.identity.index {
            Some(index) => format!("device {index}"),
            None => format!("device {}", self.identity.uuid),
        }
    }
}

/// Device numbers and the devices that they mean.
///
/// ```
/// use fcsp_core::config::{Quota, Rules, text};
/// use fcsp_core::device::DeviceIdentity;
/// use fcsp_tenancy::DeviceOrder;
///
/// let uuid = "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778".parse().unwrap();
/// let order = DeviceOrder::of([DeviceIdentity { index: Some(0), uuid, pci: None }]);
/// let rules = Rules::parse("memory", "0=8GiB", Quota::parse)?;
/// let resolved = order.resolve("memory", &rules)?;
/// assert_eq!(text::memory(&resolved), format!("{uuid}=8 GiB"));
/// assert!(order.resolve("memory", &Rules::parse("memory", "1=8GiB", Quota::parse)?).is_err());
/// # Ok::<(), fcsp_core::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceOrder(Vec<DeviceIdentity>);

impl DeviceOrder {
    /// Makes an order that says nothing.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Makes the order of these devices.
    pub fn of(devices: impl IntoIterator<Item = DeviceIdentity>) -> Self {
        Self(devices.into_iter().collect())
    }

    /// Reads the order that a tenant's folder keeps. Without one, each program decides for itself
    /// what a number means.
    pub fn load(dir: &Path) -> Self {
        let text = file::read_text(&dir.join(layout::DEVICE_ORDER));
        let devices = text.lines().enumerate().map_while(|(index, line)| {
            let uuid: DeviceUuid = line.trim().parse().ok()?;
            Some(DeviceIdentity {
                index: Some(index as u32),
                uuid,
                pci: None,
            })
        });
        Self(devices.collect())
    }

    /// Keeps the order in a tenant's folder.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub fn save(&self, setup: &SetupGuard) -> std::io::Result<()> {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|device| device.uuid.to_string())
            .collect();
        file::replace(
            &setup.dir().join(layout::DEVICE_ORDER),
            lines.join("\n").as_bytes(),
        )
    }

    /// Returns the one device whose UUID begins so.
    fn begun(&self, field: &str, start: UuidStart) -> Result<DeviceUuid, ConfigError> {
        let found: Vec<String> = self
            .0
            .iter()
            .filter(|device| start.begins(&device.uuid))
            .map(|device| device.uuid.to_string())
            .collect();
        match self.0.iter().find(|device| start.begins(&device.uuid)) {
            Some(device) if found.len() == 1 => Ok(device.uuid),
            Some(_) => Err(ConfigError::new(
                field,
                format!(
                    "{start} begins more than one UUID, {}: write more of it",
                    found.join(" and ")
                ),
            )),
            None => Err(ConfigError::new(
                field,
                format!("device {start} does not exist; `fcsp doctor` lists the devices"),
            )),
        }
    }

    /// Replaces numbers and beginnings of UUIDs in `rules` by the devices that they mean. A rule
    /// that names the same device more exactly stays and wins, as it would have. `field` is the
    /// name that errors give the rules.
    ///
    /// # Errors
    ///
    /// A number or a UUID means no device, or several.
    pub fn resolve<T: Copy>(&self, field: &str, rules: &Rules<T>) -> Result<Rules<T>, ConfigError> {
        if self.0.is_empty() {
            return Ok(rules.clone());
        }
        let mut resolved = Rules::new();
        for (selector, value) in rules.iter() {
            let index = match selector {
                Selector::Index(index) => index,
                Selector::UuidStart(start) => {
                    let uuid = Selector::Uuid(self.begun(field, start)?);
                    if !rules.iter().any(|(other, _)| other == uuid) {
                        resolved.set(uuid, value);
                    }
                    continue;
                }
                selector => {
                    resolved.set(selector, value);
                    continue;
                }
            };
            let Some(device) = self.0.get(index as usize) else {
                return Err(ConfigError::new(
                    field,
                    format!(
                        "device {index} does not exist; the tenant's programs count {} from 0",
                        match self.0.len() {
                            1 => "1 device".to_owned(),
                            count => format!("{count} devices"),
                        }
                    ),
                ));
            };
            let by_number = selector.matches(device);
            if !rules
                .iter()
                .any(|(other, _)| other.matches(device) > by_number)
            {
                resolved.set(Selector::Uuid(device.uuid), value);
            }
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcsp_core::config::{Quota, text};

    fn machine() -> Vec<DeviceIdentity> {
        [1, 2]
            .map(|byte| DeviceIdentity {
                index: Some(u32::from(byte) - 1),
                uuid: DeviceUuid([byte * 0x11; 16]),
                pci: Some(format!("0000:1{byte}:00.0").parse().unwrap()),
            })
            .to_vec()
    }

    fn settled(numbers: &DeviceOrder, rules: &str) -> Result<String, String> {
        let rules = Rules::parse("--memory", rules, Quota::parse).unwrap();
        numbers
            .resolve("--memory", &rules)
            .map(|rules| text::memory(&rules))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_become_devices() {
        let devices = machine();
        let [first, second] = [0, 1].map(|index: usize| devices[index].uuid.to_string());
        let numbers = DeviceOrder::of(devices.clone());
        assert_eq!(
            settled(&numbers, "0=1GiB,*=2GiB,1=50%").unwrap(),
            format!("{first}=1 GiB, 2 GiB, {second}=50%")
        );
        // The more exact rule for the same device wins, by whichever of its names.
        assert_eq!(
            settled(&numbers, &format!("0=1GiB,{first}=2GiB")).unwrap(),
            format!("{first}=2 GiB")
        );
        let pci = devices[0].pci.unwrap();
        let by_address = settled(&numbers, &format!("0=1GiB,{pci}=2GiB")).unwrap();
        assert!(!by_address.contains("1 GiB"), "{by_address}");
        assert!(
            settled(&numbers, "2=1GiB")
                .unwrap_err()
                .contains("device 2 does not exist")
        );
        // As a listing shows it.
        assert_eq!(
            settled(&numbers, &format!("{}=1GiB,2GiB", &second[..12])).unwrap(),
            format!("{second}=1 GiB, 2 GiB")
        );
        assert!(
            settled(&numbers, "GPU-0123=1GiB")
                .unwrap_err()
                .contains("does not exist")
        );
        let twins = [
            "GPU-a0415400-0000-4000-8000-000000000000",
            "GPU-a04154ff-0000-4000-8000-000000000000",
        ];
        let twins = DeviceOrder(
            twins
                .map(|uuid| DeviceIdentity {
                    index: None,
                    uuid: uuid.parse().unwrap(),
                    pci: None,
                })
                .into(),
        );
        let error = settled(&twins, "GPU-a04154=1GiB").unwrap_err();
        assert!(
            error.contains("more than one") && error.contains("a04154ff"),
            "{error}"
        );
        assert!(
            settled(&twins, "GPU-a04154f=1GiB")
                .unwrap()
                .starts_with("GPU-a04154ff")
        );
        // Nobody knows what numbers mean: they stay.
        assert_eq!(
            settled(&DeviceOrder::default(), "7=1GiB").unwrap(),
            "7=1 GiB"
        );
    }

    #[test]
    fn a_tenants_folder_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DeviceOrder::load(dir.path()), DeviceOrder::default());
        let numbers = DeviceOrder::of(machine());
        let setup = SetupGuard::acquire(dir.path()).unwrap();
        numbers.save(&setup).unwrap();
        let loaded = DeviceOrder::load(dir.path());
        assert_eq!(
            settled(&loaded, "1=1GiB").unwrap(),
            settled(&numbers, "1=1GiB").unwrap()
        );
        std::fs::write(dir.path().join(layout::DEVICE_ORDER), "scribble").unwrap();
        assert_eq!(DeviceOrder::load(dir.path()), DeviceOrder::default());
    }
}
