//! Tenants inside a tenant: `fcsp run` in a program that `fcsp run` started.
//!
//! A part has a memory limit of its own. What it holds counts in the outer tenant as well, and its
//! work counts in the outer tenant's share. A file in its folder names the outer tenant's folder
//! ([`fcsp_core::tenant::OUTER_FILE`]).

use std::path::{Path, PathBuf};

use anyhow::bail;
use fcsp_core::config::{Config, Quota, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::Selector;
use fcsp_core::file::SetupLock;
use fcsp_core::state::{STATE_DIR_VARIABLE, StateDir};
use fcsp_core::tenant::{OUTER_FILE, outer_of};
use fcsp_core::units::Bytes;

use super::limits::LimitArgs;
use super::numbers::Numbers;
use super::probe::Device;
use super::tenants::{self, TenantView};

/// The tenant that this command runs in.
pub struct Around {
    view: TenantView,
    /// Its folder, as its programs find it.
    dir: PathBuf,
}

impl Around {
    /// The tenant that the environment names, if it lives.
    pub fn find(state: &StateDir) -> Option<Self> {
        let name = std::env::var("FCSP_TENANT")
            .ok()
            .filter(|name| !name.is_empty())?;
        // The tenant's own state folder, whatever folder is asked for now.
        let own = std::env::var_os(STATE_DIR_VARIABLE).filter(|path| !path.is_empty());
        let own = own.map_or_else(|| state.clone(), StateDir::at);
        let view = TenantView::read(&own, &name);
        let dir = own.for_programs(&name).tenant(&name);
        (!view.is_dead()).then_some(Self { view, dir })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// Whether a program with these options is one more of this tenant's own programs: it names no
    /// other tenant, and no limits but this tenant's.
    pub fn takes_in(
        &self,
        named: Option<&str>,
        options: &LimitArgs,
        numbers: &Numbers,
    ) -> anyhow::Result<bool> {
        if let Some(named) = named {
            return Ok(named == self.name());
        }
        let wanted = options.merge(&self.view.limits, numbers)?;
        Ok(wanted.memory == self.view.limits.memory && wanted.compute == self.view.limits.compute)
    }

    /// What the options ask for a part of this tenant. The environment's limits are this tenant's.
    pub fn asked(
        &self,
        options: &LimitArgs,
        config: &Config,
        numbers: &Numbers,
    ) -> anyhow::Result<Limits> {
        let other = options
            .given()
            .map(|(option, ..)| option)
            .find(|option| *option != "--memory");
        let spatial = (!config.spatial.is_empty()).then_some("--spatial");
        if let Some(option) = other.or(spatial) {
            bail!(
                "{option}: this runs in tenant {0}, and a tenant inside it has a memory limit only: its work counts in the share of {0}",
                self.name()
            );
        }
        let memory = options.read(std::iter::empty())?.memory;
        Ok(Limits {
            memory: numbers.settle("--memory", &memory)?,
            compute: Rules::new(),
            paused: false,
        })
    }

    /// Refuses a part that is larger than this tenant on a device; where no device is to be seen,
    /// by the rules alone.
    pub fn check(&self, asked: &Limits, devices: &[Device]) -> anyhow::Result<()> {
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
                bail!(
                    "--memory: {} is more than tenant {} has: {}; {leaves}",
                    Bytes(part),
                    self.name(),
                    Bytes(whole)
                );
            }
        }
        for device in devices {
            let of = |limits: &Limits| {
                let quota = limits.memory.for_device(&device.identity());
                quota.map_or(u64::MAX, |quota| quota.resolve(device.total_bytes))
            };
            let (part, whole) = (of(asked), of(&self.view.limits));
            if part != u64::MAX && part > whole {
                bail!(
                    "--memory: {} is more than tenant {} has on device {}: {}; {leaves}",
                    Bytes(part),
                    self.name(),
                    device.index,
                    Bytes(whole)
                );
            }
        }
        Ok(())
    }

    /// Refuses to join a living tenant that is no part of this one.
    pub fn check_part(&self, name: &str, dir: &Path) -> anyhow::Result<()> {
        if outer_of(dir).as_deref() == Some(&self.dir) {
            return Ok(());
        }
        bail!(
            "--tenant: this runs in tenant {0}, which a program does not leave, and tenant {name} is no part of it; leave the name out to use the limits of {0}, or start the program outside of it",
            self.name()
        )
    }

    /// Makes the tenant of a folder a part of this one. The caller holds that tenant's setup lock.
    pub fn adopt(&self, dir: &Path) -> std::io::Result<()> {
        let path = format!("{}\n", self.dir.display());
        fcsp_core::file::replace(&dir.join(OUTER_FILE), path.as_bytes())
    }

    /// Enters this process among the tenant's programs: the tenant lives as long as its parts.
    pub fn add_root(&self) -> std::io::Result<()> {
        // An agent's tenant ends when the agent says so.
        if self.view.kept_by_agent() {
            return Ok(());
        }
        let _lock = SetupLock::acquire(&self.dir.join("setup.lock"))?;
        tenants::add_root(&self.dir)
    }

    /// Takes this process off them again. Best effort.
    pub fn remove_root(&self) {
        if let Ok(_lock) = SetupLock::acquire(&self.dir.join("setup.lock")) {
            let _ = tenants::remove_root(&self.dir);
        }
    }
}
