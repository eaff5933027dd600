//! What device numbers mean, settled once when the command sets a tenant up.
//!
//! A number in a rule is the one that the program itself would use, under the
//! `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` of the command. A program can set both anew
//! before it starts its driver, so limits that went by numbers would follow its order and not its
//! devices. The command therefore writes limits down by UUID, and keeps the order beside them, so
//! that `fcsp limit` takes a number in the same sense.

use std::path::Path;
use std::time::Duration;

use fcsp_core::config::{ConfigError, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector, UuidStart};
use fcsp_core::file;
use fcsp_sim::spec::Topology;

use super::probe::{self, Device};

/// The file in a tenant's folder that keeps the order: a UUID a line.
const FILE: &str = "devices";
/// How long the driver may take to say which devices there are.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where it has to be initialised for that.
const LONG_PATIENCE: Duration = Duration::from_secs(20);

/// The devices that the program will see, in its own order; `None` where nobody can tell. `ask`
/// says whether that is worth initialising the driver for, which takes a tenth of a second and
/// more.
pub fn devices(sim: Option<&Topology>, ask: bool) -> Option<Vec<Device>> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    if let Some(sim) = sim {
        let order = sim.visible(visible.as_deref());
        let devices = order.iter().enumerate().map(|(index, &physical)| {
            let spec = &sim.devices[physical];
            Device {
                index: index as u32,
                name: spec.name.clone(),
                uuid: spec.uuid_text(),
                pci: Some(spec.pci_text().to_lowercase()),
                total_bytes: spec.memory,
                ..Device::default()
            }
        });
        return Some(devices.collect());
    }
    let all = probe::ask(None, false, PATIENCE).ok()?.devices;
    // The compute API sorts unlike devices by speed unless told otherwise, and has one instance of
    // a partitioned one.
    let alike = all.iter().all(|device| device.name == all[0].name);
    let by_bus = std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID");
    if !all.is_empty() && (alike || by_bus) && !all.iter().any(|device| device.mig) {
        return Some(select(&all, visible.as_deref()));
    }
    ask.then(|| in_order_of_the_driver(&all)).flatten()
}

/// The devices as the compute library of this environment counts them.
fn in_order_of_the_driver(known: &[Device]) -> Option<Vec<Device>> {
    let order = probe::ask(None, true, LONG_PATIENCE).ok()?.order;
    let devices = order.into_iter().enumerate().map(|(index, uuid)| {
        let found = known.iter().find(|device| device.uuid == uuid);
        Device {
            index: index as u32,
            uuid,
            ..found.cloned().unwrap_or_default()
        }
    });
    Some(devices.collect::<Vec<_>>()).filter(|devices| !devices.is_empty())
}

/// The devices that CUDA_VISIBLE_DEVICES leaves, renumbered: the list ends at the first entry that
/// names none.
fn select(all: &[Device], list: Option<&str>) -> Vec<Device> {
    let Some(list) = list else {
        return all.to_vec();
    };
    let mut chosen: Vec<Device> = Vec::new();
    for entry in list.split(',').map(str::trim) {
        let found = match entry.parse::<usize>() {
            Ok(index) => all.get(index),
            Err(_) if entry.len() > 4 => all.iter().find(|device| device.uuid.starts_with(entry)),
            Err(_) => None,
        };
        let Some(found) = found else { break };
        if chosen.iter().any(|device| device.uuid == found.uuid) {
            return Vec::new();
        }
        chosen.push(Device {
            index: chosen.len() as u32,
            ..found.clone()
        });
    }
    chosen
}

/// Whether a rule goes by number, or by the beginning of a UUID.
pub fn any(limits: &Limits) -> bool {
    let number = |selector| matches!(selector, Selector::Index(_) | Selector::UuidStart(_));
    limits.memory.iter().any(|(selector, _)| number(selector))
        || limits.compute.iter().any(|(selector, _)| number(selector))
}

/// Device numbers and the devices they stand for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers(Vec<DeviceIdentity>);

impl Numbers {
    /// The numbers of these devices, in their order.
    pub fn of(devices: &[Device]) -> Self {
        Self(devices.iter().map(Device::identity).collect())
    }

    /// What a tenant's folder says; none where nobody wrote it, and numbers are then what each
    /// program takes them for.
    pub fn load(dir: &Path) -> Self {
        let text = file::read_text(&dir.join(FILE));
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

    /// Keeps the numbers in a tenant's folder.
    pub fn save(&self, dir: &Path) -> std::io::Result<()> {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|device| device.uuid.to_string())
            .collect();
        file::replace(&dir.join(FILE), lines.join("\n").as_bytes())
    }

    /// The one device whose UUID begins so.
    fn begun(&self, option: &str, start: UuidStart) -> Result<DeviceUuid, ConfigError> {
        let found: Vec<String> = self
            .0
            .iter()
            .filter(|device| start.begins(&device.uuid))
            .map(|device| device.uuid.to_string())
            .collect();
        match self.0.iter().find(|device| start.begins(&device.uuid)) {
            Some(device) if found.len() == 1 => Ok(device.uuid),
            Some(_) => Err(ConfigError::new(
                option,
                format!(
                    "{start} begins more than one UUID, {}: write more of it",
                    found.join(" and ")
                ),
            )),
            None => Err(ConfigError::new(
                option,
                format!("device {start} does not exist; `fcsp doctor` lists the devices"),
            )),
        }
    }

    /// `rules` with numbers and beginnings of UUIDs replaced by what they stand for. A rule that
    /// names the same device more exactly stays and wins, as it would have.
    pub fn settle<T: Copy>(&self, option: &str, rules: &Rules<T>) -> Result<Rules<T>, ConfigError> {
        if self.0.is_empty() {
            return Ok(rules.clone());
        }
        let mut settled = Rules::new();
        for (selector, value) in rules.iter() {
            let index = match selector {
                Selector::Index(index) => index,
                Selector::UuidStart(start) => {
                    let uuid = Selector::Uuid(self.begun(option, start)?);
                    if !rules.iter().any(|(other, _)| other == uuid) {
                        settled.set(uuid, value);
                    }
                    continue;
                }
                selector => {
                    settled.set(selector, value);
                    continue;
                }
            };
            let Some(device) = self.0.get(index as usize) else {
                return Err(ConfigError::new(
                    option,
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
                settled.set(Selector::Uuid(device.uuid), value);
            }
        }
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcsp_core::config::Quota;

    fn machine() -> Vec<Device> {
        devices(Some(&"h100x2,memory=4GiB".parse().unwrap()), false).unwrap()
    }

    fn settled(numbers: &Numbers, rules: &str) -> Result<String, String> {
        let rules = Rules::parse("--memory", rules, Quota::parse).unwrap();
        numbers
            .settle("--memory", &rules)
            .map(|rules| crate::limits::memory_text(&rules))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn visible_devices_are_renumbered() {
        let devices = machine();
        let chosen = select(&devices, Some("1"));
        assert_eq!(
            (chosen.len(), chosen[0].index, &chosen[0].uuid),
            (1, 0, &devices[1].uuid)
        );
        assert_eq!(select(&devices, Some("0,7,1")).len(), 1);
        assert_eq!(select(&devices, Some("0,0")).len(), 0);
        assert_eq!(
            select(&devices, Some(&devices[1].uuid[..12]))[0].uuid,
            devices[1].uuid
        );
    }

    #[test]
    fn numbers_become_devices() {
        let devices = machine();
        let (first, second) = (&devices[0].uuid, &devices[1].uuid);
        let numbers = Numbers::of(&devices);
        assert_eq!(
            settled(&numbers, "0=1GiB,*=2GiB,1=50%").unwrap(),
            format!("{first}=1 GiB, 2 GiB, {second}=50%")
        );
        // The more exact rule for the same device wins, by whichever of its names.
        assert_eq!(
            settled(&numbers, &format!("0=1GiB,{first}=2GiB")).unwrap(),
            format!("{first}=2 GiB")
        );
        let pci = devices[0].pci.as_deref().unwrap();
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
        let twins = Numbers(
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
        assert_eq!(settled(&Numbers::default(), "7=1GiB").unwrap(), "7=1 GiB");
    }

    #[test]
    fn a_tenants_folder_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Numbers::load(dir.path()), Numbers::default());
        let numbers = Numbers::of(&machine());
        numbers.save(dir.path()).unwrap();
        let loaded = Numbers::load(dir.path());
        assert_eq!(
            settled(&loaded, "1=1GiB").unwrap(),
            settled(&numbers, "1=1GiB").unwrap()
        );
        std::fs::write(dir.path().join(FILE), "scribble").unwrap();
        assert_eq!(Numbers::load(dir.path()), Numbers::default());
    }
}
