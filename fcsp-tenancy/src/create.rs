//! Setting a tenant up, or joining one, for a program that this process is about to become.

use fcsp_core::config::{Config, Parameter, text};
use fcsp_core::control::{Control, Limits};
use fcsp_core::file::{self, SetupLock};
use fcsp_core::state::{SetupGuard, StateDir, layout};

use crate::changes::Changes;
use crate::device_order::{DeviceOrder, VisibleDevice};
use crate::error::Error;
use crate::inventory::TenantSnapshot;
use crate::outer::{self, OuterTenant};
use crate::units::{self, Joining, Reserved, UnitDevice};
use crate::{priority, promises, roots};

/// Treatment of a tenant whose promises a device cannot keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overcommit {
    /// It is set up, with a warning for each such device.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

/// A request for a tenant.
///
/// ```
/// use fcsp_core::config::Parameter;
/// use fcsp_core::state::StateDir;
/// use fcsp_tenancy::{Changes, Request};
///
/// # let folder = tempfile::tempdir()?;
/// # let state = StateDir::at(folder.path());
/// let changes = Changes::new().with(Parameter::Memory, "memory", "8GiB");
/// let config = changes.read(std::iter::empty())?;
/// let place = Request::new(&config, &changes).named("team-a").create_or_join(&state)?;
/// assert!(place.made && place.name == "team-a");
/// place.leave();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The tenant that was asked for by name. A live one is joined.
    pub name: Option<&'a str>,
    /// The configuration of the values and the environment.
    pub config: &'a Config,
    /// The values themselves: a live tenant is joined if they change nothing in it.
    pub changes: &'a Changes,
    /// The meaning of device numbers.
    pub order: &'a DeviceOrder,
    /// The devices that the program will see; none where nobody can tell.
    pub devices: &'a [VisibleDevice],
    /// Devices whose compute units are wished for.
    pub unit_devices: &'a [UnitDevice],
    /// Treatment of promises that cannot be kept.
    pub overcommit: Overcommit,
}

impl<'a> Request<'a> {
    /// Makes a request for an unnamed tenant without known devices.
    pub fn new(config: &'a Config, changes: &'a Changes) -> Self {
        const NO_ORDER: &DeviceOrder = &DeviceOrder::empty();
        Self {
            name: None,
            config,
            changes,
            order: NO_ORDER,
            devices: &[],
            unit_devices: &[],
            overcommit: Overcommit::Warn,
        }
    }

    /// Asks for the tenant of this name.
    #[must_use]
    pub fn named(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the tenant up in `state`, or joins the live tenant of its name. This process is then
    /// recorded as one of its programs.
    ///
    /// # Errors
    ///
    /// No such tenant lives and no limits are given; it lives with other limits; promises cannot be
    /// kept and shall be; compute units cannot be reserved; files cannot be made.
    pub fn create_or_join(&self, state: &StateDir) -> Result<Placement, Error> {
        create_or_join(state, self)
    }
}

/// A tenant in which this process has a place.
#[derive(Debug)]
#[non_exhaustive]
pub struct Placement {
    /// The tenant's name.
    pub name: String,
    /// Its limits.
    pub limits: Limits,
    /// True if this process set it up.
    pub made: bool,
    /// Compute units that it has reserved, where the request named devices for them.
    pub units: Vec<Reserved>,
    /// The state folder in which it lies.
    pub state: StateDir,
    /// Facts that its user should know.
    pub warnings: Vec<Warning>,
    outer: Option<OuterTenant>,
}

/// A fact about a tenant that its user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The tenant is paused: programs wait at their first launch.
    Paused,
    /// More is promised of a device than it has; a sentence.
    Overcommitted(String),
}

impl Placement {
    /// Takes the place back, for a program that could not be started. Best effort: what stays is a
    /// tenant without a live program, which the next collection removes.
    pub fn leave(&self) {
        if let Ok(setup) = SetupGuard::acquire(&self.state.tenant(&self.name)) {
            let _ = roots::remove_self(&setup);
        }
        if let Some(outer) = &self.outer {
            outer.remove_self();
        }
        if self.made {
            let alive = || TenantSnapshot::read(&self.state, &self.name).alive;
            let _ = self.state.remove_if(&self.name, || !alive());
        }
    }
}

/// A tenant's name, its limits as asked for, and the tenant around it.
struct Plan {
    name: String,
    asked: Limits,
    outer: Option<OuterTenant>,
}

impl Plan {
    fn of(state: &StateDir, request: &Request<'_>) -> Result<Self, Error> {
        let Request {
            config,
            changes,
            order,
            ..
        } = *request;
        let unnamed = || format!("run-{}", std::process::id());
        let around = OuterTenant::find(state);
        let inside = match &around {
            Some(around) => !around.takes_in(request.name, changes, order)?,
            None => false,
        };
        // A program does not leave its tenant by another name: it would have the limits of both
        // together.
        let Some(outer) = around.filter(|_| inside) else {
            let named = request.name.map(str::to_owned);
            return Ok(Self {
                name: named.or(config.tenant.clone()).unwrap_or_else(unnamed),
                asked: Limits {
                    memory: order.resolve(Parameter::Memory.key(), &config.memory)?,
                    compute: order.resolve(Parameter::Compute.key(), &config.compute)?,
                    ..Limits::default()
                },
                outer: None,
            });
        };
        let asked = outer.asked(changes, config, order)?;
        outer.check(&asked, request.devices)?;
        Ok(Self {
            name: request.name.map_or_else(unnamed, str::to_owned),
            asked,
            outer: Some(outer),
        })
    }

    /// Returns whether the request is a name alone: a wish to join. Without a live tenant it would
    /// make a tenant without a limit.
    fn needs_to_live(&self, config: &Config) -> bool {
        let says_nothing = self.asked.memory.is_empty()
            && self.asked.compute.is_empty()
            && config.spatial.is_empty();
        (config.tenant.is_some() || self.outer.is_some()) && says_nothing
    }
}

fn create_or_join(state: &StateDir, request: &Request<'_>) -> Result<Placement, Error> {
    let plan = Plan::of(state, request)?;
    // Behind the key of a tenant of root's nobody else makes one: another user's part of it lies in
    // that user's own folder.
    let state = match state.home().is_some() && plan.outer.is_some() {
        true => StateDir::own(),
        false => state.clone(),
    };
    let needs_to_live = plan.needs_to_live(request.config);
    let dead = || TenantSnapshot::read(&state, &plan.name).is_dead();
    if dead() {
        if needs_to_live {
            return Err(Error::NotRunning { name: plan.name });
        }
        // The highest use and the refusals of a dead tenant of this name are not this one's; nor
        // need this version be able to read them. A tenant whose program may still come stays.
        if !state.carried().contains(&plan.name) {
            let _ = state.remove_if(&plan.name, dead);
        }
    }
    // Held until the tenant is written: two commands at once must not both find the rest of a
    // device available. Behind a key there is one tenant to join.
    let promises = match state.home() {
        Some(_) => None,
        None => {
            let lock = state.provide_at()?.join(layout::PROMISES_LOCK);
            Some(SetupLock::acquire(&lock)?)
        }
    };
    // SAFETY: geteuid takes nothing and cannot fail.
    let setup = match unsafe { libc::geteuid() } {
        0 => state.set_up_behind_key(&plan.name)?,
        _ => state.set_up_tenant(&plan.name, request.config.source)?,
    };
    let there = TenantSnapshot::read(&state, &plan.name);
    let joins = Control::open(setup.dir())?.is_some() && !there.is_dead();
    let mut warnings = Vec::new();
    let limits = if joins {
        join(&there, &plan, &setup, request)?;
        if there.paused {
            warnings.push(Warning::Paused);
        }
        there.limits
    } else {
        let written = match needs_to_live {
            true => Err(Error::NotRunning {
                name: plan.name.clone(),
            }),
            false => write(&state, &plan, &setup, request),
        };
        match written {
            Ok(beyond) => warnings.extend(beyond.into_iter().map(Warning::Overcommitted)),
            Err(error) => {
                drop(setup);
                let _ = state.remove_if(&plan.name, dead);
                return Err(error);
            }
        }
        plan.asked
    };
    // The mark last: a tenant that is marked and has no program counts as an agent's, and would
    // stay permanently if this process were killed in between.
    roots::add_self(&setup)?;
    if !joins || there.managed {
        file::replace(&setup.dir().join(layout::MANAGED), b"")?;
    }
    let joining = Joining {
        tenant: &plan.name,
        limits: &limits,
        lives: joins,
    };
    let wishes = &request.config.spatial;
    let reserved = units::reserve(&state, joining, wishes, request.unit_devices);
    drop(setup);
    drop(promises);
    let mut place = Placement {
        name: plan.name,
        limits,
        made: !joins,
        units: Vec::new(),
        state,
        warnings,
        outer: plan.outer,
    };
    let entered = place.outer.as_ref().map_or(Ok(()), OuterTenant::add_self);
    match reserved.and_then(|units| entered.map(|()| units).map_err(Error::from)) {
        Ok(units) => {
            place.units = units;
            Ok(place)
        }
        Err(error) => {
            place.leave();
            Err(error)
        }
    }
}

/// Checks that a live tenant is the one asked for.
fn join(
    there: &TenantSnapshot,
    plan: &Plan,
    setup: &SetupGuard,
    request: &Request<'_>,
) -> Result<(), Error> {
    if let Some(outer) = &plan.outer {
        outer.check_part(&plan.name, setup.dir())?;
    }
    let wanted = request.changes.apply(&there.limits, request.order)?;
    if wanted.memory != there.limits.memory || wanted.compute != there.limits.compute {
        return Err(Error::OtherLimits {
            name: plan.name.clone(),
            memory: text::memory(&there.limits.memory),
            compute: text::compute(&there.limits.compute),
        });
    }
    Ok(())
}

/// Writes a new tenant's files. Returns sentences about promises that cannot be kept.
fn write(
    state: &StateDir,
    plan: &Plan,
    setup: &SetupGuard,
    request: &Request<'_>,
) -> Result<Vec<String>, Error> {
    // A part's promises are its outer tenant's.
    let beyond = match &plan.outer {
        Some(_) => Vec::new(),
        None => promises::beyond(state, &plan.name, &plan.asked, request.devices),
    };
    if let (Some(first), Overcommit::Refuse) = (beyond.first(), request.overcommit) {
        return Err(Error::Overcommitted(first.clone()));
    }
    match &plan.outer {
        Some(outer) => outer.adopt(setup)?,
        None => outer::separate(setup)?,
    }
    Control::create(setup)?.write(&plan.asked)?;
    priority::record(state, &plan.name, &plan.asked);
    request.order.save(setup)?;
    Ok(beyond)
}

#[cfg(test)]
mod tests {
    use fcsp_core::device::{DeviceIdentity, DeviceUuid};

    use super::*;

    /// Creates a state folder of its own, which is removed at the end.
    fn folder() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path().join("state"));
        (folder, state)
    }

    fn memory(value: &str) -> (Changes, Config) {
        let changes = Changes::new().with(Parameter::Memory, "memory", value);
        let config = changes.read(std::iter::empty()).unwrap();
        (changes, config)
    }

    #[test]
    fn a_live_tenant_is_joined_by_equal_limits_alone() {
        let (_folder, state) = folder();
        let (changes, config) = memory("8GiB");
        let first = Request::new(&config, &changes).named("t");
        let first = first.create_or_join(&state).unwrap();
        assert!(first.made && first.warnings.is_empty());
        let joined = Request::new(&config, &changes).named("t");
        let joined = joined.create_or_join(&state).unwrap();
        assert!(!joined.made);
        assert_eq!(joined.limits, first.limits);
        let (changes, config) = memory("4GiB");
        let other = Request::new(&config, &changes).named("t");
        match other.create_or_join(&state) {
            Err(Error::OtherLimits { name, memory, .. }) => {
                assert_eq!((name.as_str(), memory.as_str()), ("t", "8 GiB"));
            }
            other => panic!("{other:?}"),
        }
        first.leave();
        assert!(state.tenants().unwrap().is_empty());
    }

    #[test]
    fn a_name_alone_joins_and_makes_nothing() {
        let (_folder, state) = folder();
        let changes = Changes::new();
        let config = Config::builder().tenant("t").unwrap().build();
        let request = Request::new(&config, &changes).named("t");
        assert!(matches!(
            request.create_or_join(&state),
            Err(Error::NotRunning { name }) if name == "t"
        ));
        assert!(state.tenants().unwrap().is_empty());
    }

    #[test]
    fn promises_beyond_a_device_are_told_or_refused() {
        let (_folder, state) = folder();
        let device = VisibleDevice {
            identity: DeviceIdentity {
                index: Some(0),
                uuid: DeviceUuid([7; 16]),
                pci: None,
            },
            label: "device 0".into(),
            total_bytes: 10 << 30,
        };
        let (changes, config) = memory("8GiB");
        let mut request = Request::new(&config, &changes);
        request.devices = std::slice::from_ref(&device);
        let first = request.named("a").create_or_join(&state).unwrap();
        assert_eq!(first.warnings, []);
        request.overcommit = Overcommit::Refuse;
        let refused = request.named("b").create_or_join(&state).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("16 GiB of memory would be promised on device 0"),
            "{refused}"
        );
        assert_eq!(state.tenants().unwrap(), ["a"]);
        request.overcommit = Overcommit::Warn;
        let second = request.named("b").create_or_join(&state).unwrap();
        assert!(matches!(second.warnings[..], [Warning::Overcommitted(_)]));
        second.leave();
        first.leave();
    }
}
