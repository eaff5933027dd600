//! Checks of limits before a tenant is set up.

use fcsp_core::config::{ConfigError, Quota};
use fcsp_core::control::Limits;
use fcsp_core::device::Selector;
use fcsp_core::units::Bytes;

use crate::probe::Device;

/// Checks rules against the devices: one that is not there, or a quota larger than it, is a slip.
pub fn check_devices(limits: &Limits, devices: &[Device]) -> Result<(), ConfigError> {
    let known = || -> String {
        let list: Vec<String> = devices
            .iter()
            .map(|device| format!("{}={} ({})", device.index, device.uuid, device.name))
            .collect();
        match list.is_empty() {
            true => "no device is visible".into(),
            false => format!("there is {}", list.join(", ")),
        }
    };
    let matching = |selector: Selector| -> Vec<&Device> {
        devices
            .iter()
            .filter(|device| selector.matches(&device.identity()).is_some())
            .collect()
    };
    let named = limits
        .memory
        .iter()
        .map(|(selector, _)| ("--memory", selector))
        .chain(
            limits
                .compute
                .iter()
                .map(|(selector, _)| ("--compute", selector)),
        );
    for (option, selector) in named {
        if matching(selector).is_empty() {
            return Err(ConfigError::new(
                option,
                match selector {
                    Selector::All => "no device is visible; check CUDA_VISIBLE_DEVICES".to_owned(),
                    selector => format!("device {selector} does not exist; {}", known()),
                },
            ));
        }
    }
    for (selector, quota) in limits.memory.iter() {
        let Quota::Bytes(bytes) = quota else { continue };
        // A rule for every device may be meant for the large ones.
        let Some(largest) = matching(selector)
            .into_iter()
            .max_by_key(|device| device.total_bytes)
        else {
            continue;
        };
        // A listing rounds: what it shows as the device's size is the device's size.
        let is_rounded = Bytes(bytes).to_string() == Bytes(largest.total_bytes).to_string();
        if bytes > largest.total_bytes && !is_rounded {
            return Err(ConfigError::new(
                "--memory",
                format!(
                    "{} is more than device {} has: {}, {} ({} bytes); give less, or a share such as 100%",
                    Bytes(bytes),
                    largest.index,
                    largest.name,
                    Bytes(largest.total_bytes),
                    largest.total_bytes
                ),
            ));
        }
    }
    Ok(())
}

/// Memory that a context takes where nothing better is known, in bytes: less than on any large
/// device of today.
const LEAST_CONTEXT: u64 = 256 << 20;

/// Says which quotas are too small for a program to begin with. `contexts` are the devices with
/// what a context takes.
pub fn small_quotas(limits: &Limits, devices: &[Device], context: Option<u64>) -> Vec<String> {
    let least = context.unwrap_or(LEAST_CONTEXT);
    let mut lines = Vec::new();
    for device in devices.iter().filter(|device| device.total_bytes > 0) {
        let Some(quota) = limits.memory.for_device(&device.identity()) else {
            continue;
        };
        let bytes = quota.resolve(device.total_bytes);
        if bytes >= least {
            continue;
        }
        // The unit below the intended unit is the usual slip.
        let meant = bytes
            .checked_mul(1024)
            .filter(|&meant| meant <= device.total_bytes && meant >= least)
            .map_or(String::new(), |meant| {
                format!("; did you mean {}?", Bytes(meant))
            });
        lines.push(format!(
            "--memory: {} on device {} is less than a context takes ({}): programs get no memory there{meant}",
            Bytes(bytes),
            device.index,
            match context {
                Some(bytes) => Bytes(bytes).to_string(),
                None => "300 to 600 MiB on large devices".to_owned(),
            }
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcsp_core::config::Rules;
    use fcsp_sim::spec::Topology;

    fn machine() -> Vec<Device> {
        let sim: Topology = "h100x2,memory=4GiB".parse().unwrap();
        sim.devices
            .iter()
            .map(|spec| Device {
                index: spec.index as u32,
                name: spec.name.clone(),
                uuid: spec.uuid_text(),
                pci: Some(spec.pci_text().to_lowercase()),
                total_bytes: spec.memory,
                ..Device::default()
            })
            .collect()
    }

    fn check(rules: &str, devices: &[Device]) -> Result<(), String> {
        let limits = Limits {
            memory: Rules::parse("--memory", rules, Quota::parse).unwrap(),
            ..Limits::default()
        };
        check_devices(&limits, devices).map_err(|error| error.to_string())
    }

    #[test]
    fn a_quota_below_a_context_is_told_what_it_meant() {
        let small = |rules: &str, context| {
            let limits = Limits {
                memory: Rules::parse("--memory", rules, Quota::parse).unwrap(),
                ..Limits::default()
            };
            small_quotas(&limits, &machine(), context)
        };
        assert_eq!(small("600MiB", None), Vec::<String>::new());
        assert_eq!(
            small("1GiB,1=unlimited", Some(518 << 20)),
            Vec::<String>::new()
        );
        let both = small("2MiB", None);
        assert_eq!(both.len(), 2);
        assert!(
            both[0].contains("device 0") && both[0].contains("did you mean 2 GiB?"),
            "{both:?}"
        );
        assert!(
            small("1=500MiB", Some(518 << 20))[0]
                .contains("device 1 is less than a context takes (518 MiB)")
        );
        assert!(small("1%", None)[0].contains("40.96 MiB"));
    }

    #[test]
    fn devices_are_checked_by_all_their_names() {
        let devices = machine();
        let uuid = &devices[1].uuid;
        check(&format!("0=4GiB,{uuid}=50%,0000:18:00.0=1GiB"), &devices).unwrap();
        assert!(
            check("2=1GiB", &devices)
                .unwrap_err()
                .contains("device 2 does not exist")
        );
        assert!(
            check("0000:99:00.0=1GiB", &devices)
                .unwrap_err()
                .contains(uuid.as_str())
        );
        let error = check("5GiB", &devices).unwrap_err();
        assert!(
            error.starts_with("--memory: 5 GiB is more than device") && error.contains("4 GiB"),
            "{error}"
        );
        assert!(
            check("1GiB", &[])
                .unwrap_err()
                .contains("CUDA_VISIBLE_DEVICES")
        );
        let mut odd = machine();
        odd[0].total_bytes = 81_559 << 20;
        let shown = Bytes(odd[0].total_bytes).to_string();
        check(&format!("0={shown}"), &odd).unwrap();
        assert!(check("0=79.66GiB", &odd).is_err());
    }
}
