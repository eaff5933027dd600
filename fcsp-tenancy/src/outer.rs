//! Tenants inside a tenant: a program of a tenant sets one up.
//!
//! A part has a memory limit of its own. Its memory is charged to the outer tenant as well, and its
//! work counts in the outer tenant's share. A file in its folder names the outer tenant's folder
//! ([`fcsp_core::state::layout::OUTER`]).

use std::path::{Path, PathBuf};

use fcsp_core::config::{Config, ConfigError, Parameter, Quota, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::Selector;
use fcsp_core::state::{STATE_DIR_VARIABLE, SetupGuard, StateDir, layout};
use fcsp_core::tenant::outer_of;
use fcsp_core::units::Bytes;

use crate::changes::Changes;
use crate::device_order::{DeviceOrder, VisibleDevice};
use crate::error::Error;
use crate::inventory::TenantSnapshot;
use crate::roots;

/// The name that errors give a part's quota.
const MEMORY: &str = Parameter::Memory.key();

/// The tenant that this process runs in.
#[derive(Debug)]
pub struct OuterTenant {
    view: TenantSnapshot,
    /// Its folder, as its programs find it.
    dir: PathBuf,
}

impl OuterTenant {
    /// Finds the tenant that the environment names, if it lives.
    pub fn find(state: &StateDir) -> Option<Self> {
        let name = std::env::var("FCSP_TENANT")
            .ok()
            .filter(|name| !name.is_empty())?;
        // The tenant's own state folder, whatever folder is asked for now.
        let own = std::env::var_os(STATE_DIR_VARIABLE).filter(|path| !path.is_empty());
        let own = own.map_or_else(|| state.clone(), StateDir::at);
        let view = TenantSnapshot::read(&own, &name);
        let dir = own.for_programs(&name).tenant(&name);
        (!view.is_dead()).then_some(Self { view, dir })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// Returns whether a program with these values is one more of this tenant's own programs: it
    /// names no other tenant, and no limits but this tenant's.
    pub(crate) fn takes_in(
        &self,
        named: Option<&str>,
        changes: &Changes,
        order: &DeviceOrder,
    ) -> Result<bool, Error> {
        if let Some(named) = named {
            return Ok(named == self.name());
        }
        let wanted = changes.apply(&self.view.limits, order)?;
        Ok(wanted.memory == self.view.limits.memory && wanted.compute == self.view.limits.compute)
    }

    /// Returns the limits that the values ask for a part of this tenant. The environment's limits
    /// are this tenant's.
    pub(crate) fn asked(
        &self,
        changes: &Changes,
        config: &Config,
        order: &DeviceOrder,
    ) -> Result<Limits, Error> {
        let other = changes.beyond_memory().map(|change| change.field.as_str());
        let spatial = (!config.spatial.is_empty()).then_some("spatial");
        if let Some(field) = other.or(spatial) {
            let reason = format!(
                "this runs in tenant {0}, and a tenant inside it has a memory limit only: its work counts in the share of {0}",
                self.name()
            );
            return Err(ConfigError::new(field, reason).into());
        }
        let memory = changes.read(std::iter::empty())?.memory;
        Ok(Limits {
            memory: order.resolve(MEMORY, &memory)?,
            compute: Rules::new(),
            ..Limits::default()
        })
    }

    /// Refuses a part that is larger than this tenant on a device. Where no device is visible, the
    /// rules alone decide.
    pub(crate) fn check(&self, asked: &Limits, devices: &[VisibleDevice]) -> Result<(), Error> {
        let leaves = "this runs in that tenant, which a program does not leave";
        let rules = if devices.is_empty() {
            &asked.memory
        } else {
            &Rules::new()
        };
        for (selector, part) in rules.iter() {
            let around = self.view.limits.memory.iter();
            let whole = around
                .filter(|(of, _)| *of == selector || *of == Selector::All)
                .max_by_key(|(of, _)| *of == selector);
            if let (Quota::Bytes(part), Some((_, Quota::Bytes(whole)))) = (part, whole)
                && part > whole
            {
                let reason = format!(
                    "{} is more than tenant {} has: {}; {leaves}",
                    Bytes(part),
                    self.name(),
                    Bytes(whole)
                );
                return Err(ConfigError::new(MEMORY, reason).into());
            }
        }
        for device in devices {
            let of = |limits: &Limits| {
                let quota = limits.memory.for_device(&device.identity);
                quota.map_or(u64::MAX, |quota| quota.resolve(device.total_bytes))
            };
            let (part, whole) = (of(asked), of(&self.view.limits));
            if part != u64::MAX && part > whole {
                let reason = format!(
                    "{} is more than tenant {} has on {}: {}; {leaves}",
                    Bytes(part),
                    self.name(),
                    device.short_label(),
                    Bytes(whole)
                );
                return Err(ConfigError::new(MEMORY, reason).into());
            }
        }
        Ok(())
    }

    /// Refuses to join a live tenant that is no part of this one.
    pub(crate) fn check_part(&self, name: &str, dir: &Path) -> Result<(), Error> {
        if outer_of(dir).as_deref() == Some(&self.dir) {
            return Ok(());
        }
        Err(Error::NotAPart {
            outer: self.name().to_owned(),
            name: name.to_owned(),
        })
    }

    /// Makes the tenant whose setup lock is held a part of this one.
    pub(crate) fn adopt(&self, setup: &SetupGuard) -> std::io::Result<()> {
        let path = format!("{}\n", self.dir.display());
        fcsp_core::file::replace(&setup.dir().join(layout::OUTER), path.as_bytes())
    }

    /// Records this process as one of the tenant's programs: the tenant lives as long as its parts.
    pub(crate) fn add_self(&self) -> std::io::Result<()> {
        // An agent's tenant ends when the agent says so.
        if self.view.kept_by_agent() {
            return Ok(());
        }
        roots::add_self(&SetupGuard::acquire(&self.dir)?)
    }

    /// Removes this process from the tenant's programs. Best effort.
    pub(crate) fn remove_self(&self) {
        if let Ok(setup) = SetupGuard::acquire(&self.dir) {
            let _ = roots::remove_self(&setup);
        }
    }
}

/// Makes the tenant whose setup lock is held a part of none.
pub(crate) fn separate(setup: &SetupGuard) -> std::io::Result<()> {
    match std::fs::remove_file(setup.dir().join(layout::OUTER)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
