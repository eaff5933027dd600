//! Snapshots of tenants: their limits, the memory and time that they use, whether they live.

use std::path::Path;

use fcsp_core::config::{Quota, Rules, check_tenant_name};
#[cfg(doc)]
use fcsp_core::control::Stage;
use fcsp_core::control::{Control, Limits, Pauser};
use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector};
use fcsp_core::region::{ProcessSnapshot, RegionSnapshot};
use fcsp_core::share::files;
use fcsp_core::share::params::Params;
use fcsp_core::spatial::claims;
use fcsp_core::state::{StateDir, layout};
use fcsp_core::units::WHOLE;
use serde::Serialize;

use crate::roots::{self, Root};
use crate::rules::{self, ComputeRule, MemoryRule};
use crate::usage::ComputeUsage;

/// A tenant on one device.
#[derive(Debug, Clone)]
pub struct DeviceSnapshot {
    /// Memory; nothing but the device's UUID where [`DeviceSnapshot::counts_memory`] is false.
    pub region: RegionSnapshot,
    /// True if the tenant's memory is counted here. One that only submits work has a share and no
    /// region.
    pub counts_memory: bool,
    /// Processes of it that live here; 1 where they are not counted and the tenant lives.
    pub living: usize,
    /// Time; `None` without a share.
    pub compute: Option<ComputeUsage>,
    /// Compute units of its own, such as "0-71"; `None` where it runs on all.
    pub units: Option<String>,
}

impl DeviceSnapshot {
    /// Returns the identity of the device.
    pub fn identity(&self) -> Option<DeviceIdentity> {
        identity(&self.region)
    }
}

impl Serialize for DeviceSnapshot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The device as listings have it: null where memory is not counted.
        #[derive(Serialize)]
        struct Listed<'a> {
            uuid: &'a str,
            pci: &'a Option<String>,
            total_bytes: Option<u64>,
            limit_bytes: Option<u64>,
            used_bytes: Option<u64>,
            peak_bytes: Option<u64>,
            refused: Option<u64>,
            reaped: Option<u64>,
            processes: &'a [ProcessSnapshot],
            compute: &'a Option<ComputeUsage>,
            units: &'a Option<String>,
        }
        let region = &self.region;
        let counted = |value: u64| self.counts_memory.then_some(value);
        Listed {
            uuid: &region.uuid,
            pci: &region.pci,
            total_bytes: counted(region.total_bytes),
            limit_bytes: region.limit_bytes,
            used_bytes: counted(region.used_bytes),
            peak_bytes: counted(region.peak_bytes),
            refused: counted(region.refused),
            reaped: counted(region.reaped),
            processes: &region.processes,
            compute: &self.compute,
            units: &self.units,
        }
        .serialize(serializer)
    }
}

fn identity(region: &RegionSnapshot) -> Option<DeviceIdentity> {
    Some(DeviceIdentity {
        index: None,
        uuid: region.uuid.parse().ok()?,
        pci: region.pci.as_ref().and_then(|pci| pci.parse().ok()),
    })
}

/// A tenant.
#[derive(Debug, Clone, Serialize)]
pub struct TenantSnapshot {
    /// Its name.
    pub name: String,
    /// True if any process of it lives.
    pub alive: bool,
    /// True if `fcsp run` or the node agent set it up, rather than a program's own environment.
    pub managed: bool,
    /// The tenant that it is a part of, if it is.
    pub outer: Option<String>,
    /// True if its work is held back.
    pub paused: bool,
    /// State of its work: `running`, or how far a stop has got ([`Stage::name`]).
    pub run_state: &'static str,
    /// Parties that pause it ([`Pauser::name`]).
    pub paused_by: Vec<&'static str>,
    /// Bytes held on all devices.
    pub used_bytes: u64,
    /// Requests refused on all devices.
    pub refused: u64,
    /// Memory rules; empty without a limit.
    pub memory: Vec<MemoryRule>,
    /// Compute rules; empty without a share.
    pub compute: Vec<ComputeRule>,
    /// Programs that `fcsp run` started.
    pub roots: Vec<Root>,
    /// Its memory and time, device by device.
    pub devices: Vec<DeviceSnapshot>,
    /// Files that could not be read, and why.
    pub problems: Vec<String>,
    /// The limits themselves.
    #[serde(skip)]
    pub limits: Limits,
}

impl TenantSnapshot {
    /// Reads a tenant's files. Never fails: what cannot be read is a problem of the view.
    pub fn read(state: &StateDir, name: &str) -> Self {
        let dir = state.tenant(name);
        let mut problems = Vec::new();
        // Some errors name the file themselves.
        let mut note = |what: &Path, error: &dyn std::fmt::Display| {
            let (path, error) = (what.display().to_string(), error.to_string());
            problems.push(match error.strip_prefix(&path) {
                Some(reason) => format!("{path}: {}", reason.trim_start_matches([':', ' '])),
                None => format!("{path}: {error}"),
            });
        };
        let read = Control::open(&dir)
            .and_then(|page| page.map(|page| page.read_settled()).transpose())
            .unwrap_or_else(|error| {
                note(&dir.join(layout::CONTROL), &error);
                None
            });
        let (page, limits) = match read {
            Some((_, limits)) => (true, limits),
            None => (false, Limits::default()),
        };
        let mut devices = Vec::new();
        match state.regions(name) {
            Ok(regions) => {
                for (path, region) in regions {
                    match region {
                        Ok(region) => {
                            devices.push(device(
                                state,
                                name,
                                &path,
                                region,
                                page.then_some(&limits),
                            ));
                        }
                        Err(error) => note(&path, &error),
                    }
                }
            }
            // The tenant was removed between the listing and now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => note(&dir, &error),
        }
        let roots = roots::read(&dir);
        let alive = roots.iter().any(|root| root.alive)
            || devices.iter().any(|device| device.living > 0)
            || state.is_alive(name).unwrap_or(false);
        for uuid in files::devices(state, name) {
            if devices
                .iter()
                .all(|device| device.region.uuid != uuid.to_string())
            {
                devices.push(without_memory(
                    state,
                    name,
                    uuid,
                    alive,
                    page.then_some(&limits),
                ));
            }
        }
        Self {
            alive,
            managed: dir.join(layout::MANAGED).exists(),
            outer: fcsp_core::tenant::outer_of(&dir)
                .and_then(|outer| Some(outer.file_name()?.to_str()?.to_owned()))
                .filter(|outer| check_tenant_name("outer", outer).is_ok()),
            paused: limits.run_state.is_paused(),
            run_state: limits.run_state.stage().name(),
            paused_by: limits.run_state.pausers().map(Pauser::name).collect(),
            used_bytes: devices
                .iter()
                .map(|d| d.region.used_bytes)
                .fold(0, u64::saturating_add),
            refused: devices
                .iter()
                .map(|d| d.region.refused)
                .fold(0, u64::saturating_add),
            memory: rules::memory(&limits.memory),
            compute: rules::compute(&limits.compute),
            name: name.to_owned(),
            roots,
            devices,
            problems,
            limits,
        }
    }

    /// Returns whether only an agent can say that this tenant is over: it set it up and started no
    /// program in it itself.
    pub fn kept_by_agent(&self) -> bool {
        self.managed && self.roots.is_empty()
    }

    /// Returns whether nothing is left of it but files.
    pub fn is_dead(&self) -> bool {
        !self.alive && !self.kept_by_agent()
    }
}

/// Returns what the tenant has on the region's device. `limits` are those of the control page,
/// which knows of a change at once; the tenant's own files follow at its next request.
fn device(
    state: &StateDir,
    tenant: &str,
    path: &Path,
    mut region: RegionSnapshot,
    limits: Option<&Limits>,
) -> DeviceSnapshot {
    let Some(identity) = identity(&region) else {
        return DeviceSnapshot {
            living: living(&region),
            counts_memory: true,
            region,
            compute: None,
            units: None,
        };
    };
    if let Some(quota) = limits.and_then(|limits| rule_for(&limits.memory, &identity)) {
        let limit = quota
            .unwrap_or(Quota::Unlimited)
            .resolve(region.total_bytes);
        region.limit_bytes = (limit != u64::MAX).then_some(limit);
    }
    let (compute, units) = shared(state, tenant, path, &identity, limits);
    DeviceSnapshot {
        living: living(&region),
        counts_memory: true,
        region,
        compute,
        units,
    }
}

fn living(region: &RegionSnapshot) -> usize {
    region
        .processes
        .iter()
        .filter(|process| process.alive)
        .count()
}

/// Returns a device on which the tenant submits work and holds no memory that FCSP counts.
fn without_memory(
    state: &StateDir,
    tenant: &str,
    uuid: DeviceUuid,
    alive: bool,
    limits: Option<&Limits>,
) -> DeviceSnapshot {
    let device = DeviceIdentity {
        index: None,
        uuid,
        pci: None,
    };
    let (compute, units) = shared(state, tenant, Path::new(""), &device, limits);
    DeviceSnapshot {
        region: RegionSnapshot {
            uuid: uuid.to_string(),
            pci: None,
            total_bytes: 0,
            limit_bytes: None,
            used_bytes: 0,
            peak_bytes: 0,
            refused: 0,
            reaped: 0,
            processes: Vec::new(),
        },
        counts_memory: false,
        living: usize::from(alive),
        compute,
        units,
    }
}

/// Returns the tenant's share of the device's time, and compute units of its own.
fn shared(
    state: &StateDir,
    tenant: &str,
    region: &Path,
    device: &DeviceIdentity,
    limits: Option<&Limits>,
) -> (Option<ComputeUsage>, Option<String>) {
    let promised = limits.and_then(|limits| rule_for(&limits.compute, device));
    let claim = claims::read(state, &device.uuid, tenant).ok().flatten();
    let mut compute = ComputeUsage::read(state, &device.uuid, tenant, region, promised);
    if let (Some(share), Some(claim)) = (&mut compute, &claim) {
        share.part = f64::from(claim.part()) / f64::from(WHOLE);
    }
    (compute, claim.map(|claim| claim.set.to_string()))
}

/// The promises of one device to a tenant.
#[derive(Debug, Default)]
pub struct Promised {
    /// Its memory quota, where a rule says one.
    pub memory: Option<Quota>,
    /// Its share of the time, where a rule says one.
    pub compute: Option<Params>,
    /// True if a rule names this device, and not merely every device.
    pub by_name: bool,
}

/// Returns what the tenant is promised of the device, as far as its limits say it from outside.
pub fn promise(tenant: &TenantSnapshot, device: &DeviceIdentity) -> Promised {
    let named =
        |selector: Selector| selector != Selector::All && selector.matches(device).is_some();
    let limits = &tenant.limits;
    Promised {
        memory: rule_for(&limits.memory, device).flatten(),
        compute: rule_for(&limits.compute, device).flatten(),
        by_name: limits.memory.iter().any(|(selector, _)| named(selector))
            || limits.compute.iter().any(|(selector, _)| named(selector)),
    }
}

/// Returns the rule for the device, if there is one. `None` where that hangs on a device's number,
/// which each of the tenant's programs counts for itself.
fn rule_for<T: Copy>(rules: &Rules<T>, device: &DeviceIdentity) -> Option<Option<T>> {
    let is_number = |selector: &Selector| matches!(selector, Selector::Index(_));
    let exact = rules.iter().any(|(selector, _)| {
        matches!(selector, Selector::Uuid(_) | Selector::Pci(_))
            && selector.matches(device).is_some()
    });
    let numbered = rules.iter().any(|(selector, _)| is_number(&selector));
    (exact || !numbered).then(|| rules.for_device(device))
}

/// Reads every tenant, ordered by name.
///
/// # Errors
///
/// The state folder cannot be listed. What cannot be read of one tenant is a problem of its
/// snapshot.
pub fn all(state: &StateDir) -> std::io::Result<Vec<TenantSnapshot>> {
    Ok(state
        .tenants()?
        .iter()
        .map(|name| TenantSnapshot::read(state, name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_number_are_left_to_the_programs() {
        let uuid = fcsp_core::device::DeviceUuid([1; 16]);
        let device = DeviceIdentity {
            index: None,
            uuid,
            pci: None,
        };
        let rule = |text: &str| {
            let rules = Rules::parse("--memory", text, Quota::parse).unwrap();
            rule_for(&rules, &device)
        };
        assert_eq!(rule("1GiB"), Some(Some(Quota::Bytes(1 << 30))));
        assert_eq!(rule("0=1GiB,2GiB"), None);
        assert_eq!(
            rule(&format!("0=1GiB,{uuid}=50%")),
            Some(Some(Quota::Share(500_000)))
        );
        assert_eq!(rule("0000:3b:00.0=1GiB"), Some(None));
    }
}
