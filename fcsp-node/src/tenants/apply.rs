//! Declarations put into force: control pages that the agent writes.
//!
//! The pages and the record of declared tenants are all state that there is. An agent that is
//! killed at any instant and started again continues from them, and tenants run on meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fcsp_core::config::Source;
use fcsp_core::config::{Parameter, check_tenant_name};
use fcsp_core::control::{Control, Limits};
use fcsp_core::file::{self, SetupLock};
use fcsp_core::state::{SetupGuard, StateDir, layout};
use fcsp_tenancy::{DeviceOrder, Error, TenantSnapshot, VisibleDevice, edit_limits, promises};

use super::file::Declaration;
use super::folder::Declarations;

/// The effect of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// The tenant had these limits.
    Unchanged,
    /// The tenant was made.
    Made,
    /// The limits of a tenant were changed.
    Changed,
    /// The tenant is declared no more. It keeps its limits until its programs have ended.
    Ending,
    /// The tenant is declared no more and was removed.
    Removed,
}

/// The result for one tenant.
pub type Outcome = (String, Result<Applied, Error>);

/// Puts declarations into force in a state folder, and removes tenants that are declared no more
/// once their programs have ended. `devices` are those of the machine; none if they are not known.
///
/// Promises of all tenants on a device together never exceed the device, unless a declaration asks
/// for it. A declaration that exceeds it changes nothing. Without known devices, only declarations
/// that ask for oversubscription take effect.
///
/// While a file has a mistake no tenant is removed, since that file may declare it.
///
/// # Errors
///
/// The state folder cannot be made, or its lock cannot be had. All else is a tenant's own result.
pub fn reconcile(
    state: &StateDir,
    declarations: &Declarations,
    devices: &[VisibleDevice],
) -> std::io::Result<Vec<Outcome>> {
    let lock = state.provide_at()?.join(layout::PROMISES_LOCK);
    // No command adds promises between the check and the writing.
    let _promises = SetupLock::acquire(&lock)?;
    let mut record = Record::read(state);
    let before = record.names.clone();
    let mut outcomes = Vec::new();
    let declared: BTreeSet<&str> = declarations.iter().map(|one| one.name.as_str()).collect();
    if declarations.errors().is_empty() {
        for name in before
            .iter()
            .filter(|name| !declared.contains(name.as_str()))
        {
            let applied = withdraw(state, name);
            if matches!(applied, Ok(Applied::Removed)) {
                record.names.remove(name);
            }
            outcomes.push((name.clone(), applied));
        }
    }
    // Before the tenants are made: an agent that is killed in between still removes them later.
    record
        .names
        .extend(declared.iter().map(|name| (*name).to_owned()));
    if record.names != before {
        record.write(state)?;
    }
    outcomes.extend(apply_all(state, declarations, devices));
    Ok(outcomes)
}

/// Applies declarations until none of the refused ones fits any more. One tenant's promise may fit
/// only after another's was lowered.
fn apply_all(
    state: &StateDir,
    declarations: &Declarations,
    devices: &[VisibleDevice],
) -> Vec<Outcome> {
    let order = DeviceOrder::of(devices.iter().map(|device| device.identity));
    let mut outcomes = Vec::new();
    let mut pending: Vec<&Declaration> = declarations.iter().collect();
    loop {
        let mut refused = Vec::new();
        let before = pending.len();
        for declaration in pending {
            match apply(state, declaration, devices, &order) {
                Err(error @ Error::Overcommitted(_)) => refused.push((declaration, error)),
                applied => outcomes.push((declaration.name.clone(), applied)),
            }
        }
        if refused.is_empty() || refused.len() == before {
            let refused = refused.into_iter();
            outcomes.extend(refused.map(|(one, error)| (one.name.clone(), Err(error))));
            return outcomes;
        }
        pending = refused
            .into_iter()
            .map(|(declaration, _)| declaration)
            .collect();
    }
}

fn apply(
    state: &StateDir,
    declaration: &Declaration,
    devices: &[VisibleDevice],
    order: &DeviceOrder,
) -> Result<Applied, Error> {
    let name = &declaration.name;
    let there = TenantSnapshot::read(state, name);
    if let Some(outer) = there.outer.filter(|_| there.alive) {
        return Err(std::io::Error::other(format!("is a part of tenant {outer}")).into());
    }
    let wanted = Limits {
        memory: order.resolve(Parameter::Memory.key(), &declaration.config.memory)?,
        compute: order.resolve(Parameter::Compute.key(), &declaration.config.compute)?,
        ..Limits::default()
    };
    if !declaration.oversubscribe {
        if devices.is_empty() {
            let reason = "the devices of this machine are not known, so no promise can be kept";
            return Err(Error::Overcommitted(reason.to_owned()));
        }
        if let Some(first) = promises::beyond(state, name, &wanted, devices)
            .into_iter()
            .next()
        {
            return Err(Error::Overcommitted(first));
        }
    }
    // What a dead tenant of this name had is not this one's.
    if !there.alive && !there.managed {
        let _ = state.remove_if(name, || true);
    }
    let is_new = Control::open(&state.tenant(name))?.is_none();
    let setup = set_up(state, declaration, devices)?;
    let page = Control::open(setup.dir())?;
    let known = page.and_then(|page| page.read_settled().ok());
    let is_same = known.is_some_and(|(_, limits)| {
        limits.memory == wanted.memory && limits.compute == wanted.compute
    });
    if !is_same {
        edit_limits(&setup, state, |before| -> Result<_, Error> {
            Ok(Limits {
                memory: wanted.memory,
                compute: wanted.compute,
                ..before.clone()
            })
        })?;
        order.save(&setup)?;
    }
    keep(&setup, &there.roots)?;
    Ok(match (is_new, is_same) {
        (true, _) => Applied::Made,
        (false, true) => Applied::Unchanged,
        (false, false) => Applied::Changed,
    })
}

/// Makes or completes a tenant's folder. With a group, the folder is the agent's, and the tenant's
/// processes can only read their limits.
fn set_up(
    state: &StateDir,
    declaration: &Declaration,
    devices: &[VisibleDevice],
) -> std::io::Result<SetupGuard> {
    let name = &declaration.name;
    if let Some(group) = declaration.group {
        let devices: Vec<_> = devices
            .iter()
            .map(|device| (device.identity, device.total_bytes))
            .collect();
        return state.provide_owned(name, group, &devices);
    }
    // Programs of root's may become other users and must still reach their tenant.
    // SAFETY: geteuid takes nothing and cannot fail.
    match unsafe { libc::geteuid() } {
        0 => state.set_up_behind_key(name),
        _ => state.set_up_tenant(name, Source::Nothing),
    }
}

/// Marks a tenant as the agent's. It then lives without programs: the record of programs that have
/// all ended goes, since a collection would take the tenant for a dead one.
fn keep(setup: &SetupGuard, roots: &[fcsp_tenancy::Root]) -> std::io::Result<()> {
    let mark = setup.dir().join(layout::MANAGED);
    if !mark.exists() {
        file::replace(&mark, b"")?;
    }
    if !roots.is_empty() && roots.iter().all(|root| !root.alive) {
        std::fs::remove_file(setup.dir().join(layout::ROOTS))?;
    }
    Ok(())
}

/// Removes a tenant that no process uses.
fn withdraw(state: &StateDir, name: &str) -> Result<Applied, Error> {
    let is_there = || std::fs::symlink_metadata(state.tenant(name)).is_ok();
    if !is_there() {
        return Ok(Applied::Removed);
    }
    let is_over = || !TenantSnapshot::read(state, name).alive;
    let is_removed = is_over()
        && !state.carried().iter().any(|carried| carried == name)
        && state.remove_if(name, is_over)?;
    Ok(match is_removed {
        true => Applied::Removed,
        false => Applied::Ending,
    })
}

/// The names of declared tenants, as the agent last wrote them: one a line.
struct Record {
    names: BTreeSet<String>,
}

impl Record {
    fn path(state: &StateDir) -> PathBuf {
        state.path().join("node-tenants")
    }

    fn read(state: &StateDir) -> Self {
        let text = file::read_text(&Self::path(state));
        let is_name = |name: &&str| check_tenant_name("tenant", name).is_ok();
        Self {
            names: text.lines().filter(is_name).map(str::to_owned).collect(),
        }
    }

    fn write(&self, state: &StateDir) -> std::io::Result<()> {
        let mut text = String::new();
        for name in &self.names {
            text.push_str(name);
            text.push('\n');
        }
        file::replace(&Self::path(state), text.as_bytes())
    }
}
