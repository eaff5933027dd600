//! A tenant: its name, its limits, its folder, and this process's membership.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, Quota, Source, check_tenant_name, file as authority};
use crate::control::{Control, Limits, RunState};
use crate::device::DeviceIdentity;
use crate::process::{self, ProcessManager};
use crate::region::{Attachment, RegionError};
#[cfg(not(loom))]
use crate::share::files::OwnPage;
use crate::state::{SetupGuard, StateDir, layout};
use crate::tree;

/// Reason why a tenant cannot be set up. Allocations are then refused: memory fails closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// A field of the configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tenant's folder or one of its files cannot be used.
    #[error("tenant folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A region cannot be used.
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// Function that reads a control page.
type Read = dyn Fn(&Control) -> std::io::Result<(u64, Limits)>;

/// A tenant as one of its processes sees it.
///
/// ```
/// use fcsp_core::config::{Config, Quota};
/// use fcsp_core::state::StateDir;
/// use fcsp_core::tenant::Tenant;
///
/// # let folder = std::env::temp_dir().join(format!("fcsp-doc-tenant-{}", std::process::id()));
/// # let state = StateDir::at(&folder);
/// # #[cfg(any())]
/// let state = StateDir::provide();
/// let config = Config::builder()
///     .tenant("serving")?
///     .memory(Quota::Bytes(2 << 30))
///     .build();
/// let tenant = Tenant::join(&state, &config)?;
/// // A second process joins with the limits that the tenant has.
/// let other = Tenant::join(&state, &Config::builder().tenant("serving")?.build())?;
/// assert_eq!(other.limits()?, tenant.limits()?);
/// # drop((tenant, other));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tenant {
    name: String,
    state: StateDir,
    dir: PathBuf,
    source: Source,
    /// Limits from a root-owned file: a control page cannot change them.
    fixed: Option<Limits>,
    /// Mapped as a member: collectors see by it that this process lives, even without a slot on any
    /// device.
    control: Control,
    /// The tenant that this one is a part of.
    outer: Option<Box<Self>>,
}

/// Deepest nesting of tenants.
const DEEPEST: u32 = 8;

impl Tenant {
    /// Joins the tenant that `config` names.
    ///
    /// Without a name it joins the tenant of this process's tree; a root-owned file without a name
    /// has one tenant for all. The first process writes the configuration into the control page.
    /// After that the page decides, until no process of the tenant lives.
    pub fn join(state: &StateDir, config: &Config) -> Result<Self, TenantError> {
        let name = match &config.tenant {
            Some(name) => name.clone(),
            None if config.source == Source::File => authority::tenant_name(),
            None => tree::name(config),
        };
        check_tenant_name("tenant", &name)?;
        let dir = state.tenant(&name);
        let folder = |source| TenantError::Folder {
            path: dir.clone(),
            source,
        };
        let configured = Limits {
            memory: config.memory.clone(),
            compute: config.compute.clone(),
            run_state: RunState::default(),
        };
        let setup = state.set_up_tenant(&name, config.source).map_err(folder)?;
        // A configuration made in code has no source, and asks for limits where it has rules.
        let asks = config.source == Source::Environment
            || config.source == Source::Nothing
                && !(config.memory.is_empty() && config.compute.is_empty());
        // A process that asks for no limit joins with the tenant's existing limits.
        let joins = Control::open(&dir).map_err(folder)?.is_some()
            && (!asks || state.is_alive(&name).unwrap_or(false) || is_managed(&dir));
        if !joins {
            // A tenant that has ended is no longer a part.
            match std::fs::remove_file(dir.join(OUTER_FILE)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(folder(error));
                }
                _ => {}
            }
            Control::create(&setup)
                .and_then(|page| page.write(&configured))
                .map_err(folder)?;
        }
        let control = Control::open_as_member(&dir).map_err(folder)?;
        drop(setup);
        let outer = Self::join_outer(&dir, DEEPEST)?;
        state.collect_some(&name);
        // A root-owned file may set priorities, if a process of root's reads it.
        #[cfg(not(loom))]
        if config.source == Source::File && crate::places::uid() == 0 {
            // Best effort: without it a priority counts for less.
            let _ = crate::share::authority::enter(state, &name, 0, &config.compute);
        }
        let fixed = (config.source == Source::File).then_some(configured);
        let source = match config.source {
            Source::Nothing | Source::Environment => Source::Control,
            source => source,
        };
        Ok(Self {
            name,
            state: state.clone(),
            dir,
            source,
            fixed,
            control,
            outer,
        })
    }

    /// Joins the outer tenant of the tenant in this folder, if it is a part. The outer tenant must
    /// exist.
    fn join_outer(inner: &Path, deepest: u32) -> Result<Option<Box<Self>>, TenantError> {
        let inner_error = |reason: &str| TenantError::Folder {
            path: inner.join(OUTER_FILE),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, reason),
        };
        let dir = match outer_of(inner) {
            Some(dir) => dir,
            None if std::fs::symlink_metadata(inner.join(OUTER_FILE)).is_ok() => {
                return Err(inner_error("names no tenant's folder"));
            }
            None => return Ok(None),
        };
        let (Some(name), Some(state)) = (
            dir.file_name().and_then(OsStr::to_str),
            dir.ancestors().nth(2),
        ) else {
            return Err(inner_error("names no tenant's folder"));
        };
        if deepest == 0 {
            return Err(inner_error("is one of too many tenants inside one another"));
        }
        let folder = |source| TenantError::Folder {
            path: dir.clone(),
            source,
        };
        let state = StateDir::at(state);
        state.check_owner(name, Source::Nothing).map_err(folder)?;
        // No collector removes the folder between this check and the membership.
        let setup = SetupGuard::acquire(&dir).map_err(folder)?;
        let control = Control::open_as_member(&dir).map_err(folder)?;
        drop(setup);
        let outer = Self::join_outer(&dir, deepest - 1)?;
        Ok(Some(Box::new(Self {
            name: name.to_owned(),
            state,
            dir,
            source: Source::Control,
            fixed: None,
            control,
            outer,
        })))
    }

    /// Returns the outer tenants of this part, from the inside outwards.
    pub fn outers(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.outer.as_deref(), |tenant| tenant.outer.as_deref())
    }

    /// Returns the tenant whose share of the device's time this one's programs use: the outermost,
    /// or itself.
    pub fn outermost(&self) -> &Self {
        self.outers().last().unwrap_or(self)
    }

    /// Returns the tenant's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the state folder that it was joined in.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// Returns the tenant's folder.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Returns the source of its limits.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Returns the control page.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Returns the limits in force, and the generation of the control page that they were read at.
    ///
    /// It is an error if a process died while it wrote the page: the caller then keeps its limits.
    /// A part has the compute limits of its outermost tenant, and is paused with it.
    pub fn limits(&self) -> Result<(u64, Limits), TenantError> {
        self.limits_by(&Control::read_settled)
    }

    /// Returns the same as [`Self::limits`], for a process that has no limits yet. It waits for a
    /// write in progress.
    pub fn limits_when_settled(&self) -> Result<(u64, Limits), TenantError> {
        self.limits_by(&Control::read_when_settled)
    }

    fn limits_by(&self, read: &Read) -> Result<(u64, Limits), TenantError> {
        let (generation, limits) =
            read(&self.control).map_err(|source| self.folder_error(source))?;
        let mut limits = self.fix(limits);
        if let Some(outer) = &self.outer {
            let (_, around) = outer.limits_by(read)?;
            limits.compute = around.compute;
            limits.run_state = limits.run_state.within(around.run_state);
        }
        Ok((generation, limits))
    }

    /// Returns the quotas in bytes on `device`, which has `total` bytes: this tenant's, then those
    /// of its outer tenants, from the inside outwards.
    pub fn quotas(&self, device: &DeviceIdentity, total: u64) -> Result<Vec<u64>, TenantError> {
        std::iter::once(self)
            .chain(self.outers())
            .map(|tenant| Ok(Self::memory_limit(&tenant.limits()?.1, device, total)))
            .collect()
    }

    /// Replaces the page's limits by the limits that a root-owned file fixes.
    fn fix(&self, mut limits: Limits) -> Limits {
        if let Some(fixed) = &self.fixed {
            limits.memory = fixed.memory.clone();
            limits.compute = fixed.compute.clone();
        }
        limits
    }

    fn folder_error(&self, source: std::io::Error) -> TenantError {
        TenantError::Folder {
            path: self.dir.clone(),
            source,
        }
    }

    /// Returns the quota in bytes that `limits` give on `device`, which has `total` bytes. It is 0
    /// while the tenant is checkpointed.
    pub fn memory_limit(limits: &Limits, device: &DeviceIdentity, total: u64) -> u64 {
        if limits.run_state.refuses_memory() {
            return 0;
        }
        limits
            .memory
            .for_device(device)
            .unwrap_or(Quota::Unlimited)
            .resolve(total)
    }

    /// Maps this tenant's page for shares of the time of `device`. A part uses the page of its
    /// outermost tenant.
    ///
    /// # Errors
    ///
    /// The system's reason where the page cannot be made or mapped.
    #[cfg(not(loom))]
    pub fn share_page(&self, device: &crate::device::DeviceUuid) -> std::io::Result<OwnPage> {
        let tenant = self.outermost();
        // A tenant's folder lies in `<state>/tenants`.
        let state = tenant.dir.ancestors().nth(2).unwrap_or(&tenant.dir);
        OwnPage::open(&StateDir::at(state), device, &tenant.name)
    }

    /// Takes a slot on `device` in this tenant's region, and one in each outer tenant's.
    pub fn attach(
        &self,
        device: &DeviceIdentity,
        total: u64,
        limit: u64,
    ) -> Result<Attachment, TenantError> {
        let folder = |source| TenantError::Folder {
            path: self.dir.clone(),
            source,
        };
        let setup = SetupGuard::acquire(&self.dir).map_err(folder)?;
        let path = self.dir.join(layout::region(&device.uuid));
        let mut attachment = Attachment::open(&path, device, total, limit, &setup)?;
        drop(setup);
        attachment
            .tenant()
            .limit
            .store(limit, crate::sync::Ordering::Relaxed);
        if let Some(outer) = &self.outer {
            let (_, limits) = outer.limits_when_settled()?;
            let bound = Self::memory_limit(&limits, device, total);
            attachment.set_outer(outer.attach(device, total, bound)?, bound);
        }
        Ok(attachment)
    }
}

/// The processes of a tenant, as its shared files tell. Nothing is written: readers count live
/// processes only, and members give back what dead processes held
/// ([`crate::memory::MemoryTracker::reap_if_due`]).
///
/// ```
/// use fcsp_core::config::Config;
/// use fcsp_core::device::{DeviceIdentity, DeviceUuid};
/// use fcsp_core::membership::Membership;
/// use fcsp_core::process::ProcessManager;
/// use fcsp_core::state::StateDir;
/// use fcsp_core::tenant::{Tenant, TenantProcesses};
///
/// # let folder = std::env::temp_dir().join(format!("fcsp-doc-processes-{}", std::process::id()));
/// # let state = StateDir::at(&folder);
/// # #[cfg(any())]
/// let state = StateDir::provide();
/// let config = Config::builder().tenant("serving")?.build();
/// let device = DeviceIdentity { index: Some(0), uuid: DeviceUuid([7; 16]), pci: None };
/// let member = Membership::join(Tenant::join(&state, &config)?, &device, 80 << 30)?;
/// let alive = TenantProcesses::new(&state, "serving").alive()?;
/// assert_eq!(alive[0].pid, std::process::id());
/// # drop(member);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantProcesses {
    state: StateDir,
    name: String,
}

impl TenantProcesses {
    /// Returns the processes of the tenant of this name.
    pub fn new(state: &StateDir, name: &str) -> Self {
        Self {
            state: state.clone(),
            name: name.to_owned(),
        }
    }
}

#[cfg(not(loom))]
impl crate::binding::OpenProcesses for TenantProcesses {
    fn open(tenant: &Tenant) -> Self {
        Self::new(tenant.state(), tenant.name())
    }
}

impl ProcessManager for TenantProcesses {
    type Error = std::io::Error;

    fn alive(&self) -> Result<Vec<process::Identity>, Self::Error> {
        let mut found: Vec<process::Identity> = Vec::new();
        for (_, region) in self.state.regions(&self.name)? {
            for slot in region?.processes.into_iter().filter(|slot| slot.alive) {
                let identity = process::Identity {
                    pid: slot.pid,
                    start_time: slot.start_time,
                    name: slot.name,
                    pid_namespace: slot.pid_namespace,
                    cgroup: slot.cgroup,
                };
                if !found.contains(&identity) {
                    found.push(identity);
                }
            }
        }
        Ok(found)
    }
}

/// Returns whether the tenant was set up from outside (`fcsp run`, the agent), which leaves a mark
/// in its folder.
fn is_managed(dir: &std::path::Path) -> bool {
    dir.join(MANAGED_MARK).exists()
}

/// File in a tenant's folder that marks its control page as written by a command or agent.
/// Environment variables must not replace that page.
pub const MANAGED_MARK: &str = layout::MANAGED;

/// File in a part's folder that names the folder of its outer tenant.
pub const OUTER_FILE: &str = layout::OUTER;

/// Returns the folder of the outer tenant of the tenant in `dir`, if it is a part.
pub fn outer_of(dir: &std::path::Path) -> Option<PathBuf> {
    let text = crate::file::read_text(&dir.join(OUTER_FILE));
    let path = PathBuf::from(text.trim_end_matches('\n'));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rules;
    use crate::device::DeviceUuid;
    use crate::region::ledger::used_bytes;

    /// Checks that each run of a program gets the quota it asks for in code, after the run before
    /// has ended.
    #[test]
    fn limits_asked_for_in_code_count_in_every_run() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        for limit in [1 << 30, 8 << 30, 2 << 30] {
            let mut config = config(limit);
            config.source = Source::Nothing;
            let tenant = Tenant::join(&state, &config).unwrap();
            let (_, limits) = tenant.limits().unwrap();
            assert_eq!(limits.memory, config.memory);
            // A second process without rules joins, and changes nothing.
            let mut without = Config::unlimited();
            without.tenant = Some("t".into());
            let second = Tenant::join(&state, &without).unwrap();
            assert_eq!(second.limits().unwrap().1.memory, config.memory);
        }
    }

    fn config(limit: u64) -> Config {
        let mut config = Config::unlimited();
        config.tenant = Some("t".into());
        config.source = Source::Environment;
        let mut rules = Rules::new();
        rules.set(crate::device::Selector::All, Quota::Bytes(limit));
        config.memory = rules;
        config
    }

    fn device() -> DeviceIdentity {
        DeviceIdentity {
            index: Some(0),
            uuid: DeviceUuid([9; 16]),
            pci: None,
        }
    }

    fn attach(tenant: &Tenant) -> (Attachment, u64) {
        // Another thread may have been stopped in the middle of writing them.
        let (_, limits) = tenant.limits_when_settled().unwrap();
        let limit = Tenant::memory_limit(&limits, &device(), 1 << 30);
        (tenant.attach(&device(), 1 << 30, limit).unwrap(), limit)
    }

    #[test]
    fn the_living_keep_their_limits_and_the_dead_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let first = Tenant::join(&state, &config(1 << 20)).unwrap();
        let (place, limit) = attach(&first);
        assert_eq!(limit, 1 << 20);
        let second = Tenant::join(&state, &config(1 << 25)).unwrap();
        assert_eq!(
            attach(&second).1,
            1 << 20,
            "a later environment does not raise a living tenant's quota"
        );
        drop((place, first));
        assert!(!state.remove_if_dead("t").unwrap());
        let third = Tenant::join(&state, &config(1 << 25)).unwrap();
        assert_eq!(
            attach(&third).1,
            1 << 20,
            "one that has joined and holds nothing lives"
        );
        drop((second, third));
        let fourth = Tenant::join(&state, &config(1 << 25)).unwrap();
        assert_eq!(attach(&fourth).1, 1 << 25);
    }

    /// Joins, takes a slot and leaves, repeatedly, while collectors remove ended tenants. A member
    /// always has the control page and region that a later process finds.
    #[test]
    fn joining_while_collectors_remove() {
        use crate::control::Control;
        use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let (done, removed, joined) =
            (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        // No folder at this moment is an error, and of no interest.
                        if state.remove_if_dead("t").unwrap_or(false) {
                            removed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let tenant = Tenant::join(&state, &config(1 << 20)).unwrap();
                        let (place, _) = attach(&tenant);
                        place.reserve(512, u64::MAX).unwrap();
                        {
                            let setup = SetupGuard::acquire(tenant.dir()).unwrap();
                            let before = tenant.control().generation();
                            let page = Control::create(&setup).unwrap();
                            page.write(&tenant.limits().unwrap().1).unwrap();
                            assert_ne!(
                                tenant.control().generation(),
                                before,
                                "the page of the folder"
                            );
                        }
                        let regions = state.regions("t").unwrap();
                        assert_eq!(regions.len(), 1);
                        let used = regions.into_iter().next().unwrap().1.unwrap().used_bytes;
                        assert!(used >= 512, "the region of the folder");
                        joined.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // At least a second, and on a loaded machine for as long as it takes to have tried.
            let since = std::time::Instant::now();
            let enough =
                || removed.load(Ordering::Relaxed) > 10 && joined.load(Ordering::Relaxed) > 10;
            while since.elapsed().as_secs() < 1 || (!enough() && since.elapsed().as_secs() < 60) {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done.store(true, Ordering::Relaxed);
        });
        let (removed, joined) = (removed.into_inner(), joined.into_inner());
        assert!(
            removed > 10 && joined > 10,
            "{removed} removed, {joined} joined"
        );
    }

    #[test]
    fn places_share_one_sum_and_give_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let tenant = Tenant::join(&state, &config(1 << 20)).unwrap();
        let (a, limit) = attach(&tenant);
        let (b, _) = attach(&tenant);
        a.reserve(3 << 18, limit).unwrap();
        b.reserve(1 << 18, limit).unwrap();
        assert!(b.reserve(512, limit).is_err());
        drop(a);
        assert_eq!(used_bytes(b.tenant()), 1 << 18);
        b.reserve(3 << 18, limit).unwrap();
    }

    #[test]
    fn more_processes_than_the_first_file_has_slots() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let tenant = Tenant::join(&state, &config(1 << 30)).unwrap();
        let places: Vec<Attachment> = (0..100).map(|_| attach(&tenant).0).collect();
        for place in &places {
            place.reserve(512, u64::MAX).unwrap();
        }
        assert_eq!(used_bytes(places[0].tenant()), 100 * 512);
    }

    /// Checks that no descriptor of ours stays open: a program may close them all and reuse their
    /// numbers.
    #[test]
    fn a_place_needs_no_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let tenant = Tenant::join(&state, &config(1 << 20)).unwrap();
        let (place, limit) = attach(&tenant);
        place.reserve(512, limit).unwrap();
        let ours = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.starts_with(dir.path()))
            .collect::<Vec<_>>();
        assert_eq!(ours, Vec::<PathBuf>::new());
        let region = || state.regions("t").unwrap().remove(0).1.unwrap();
        assert!(region().any_alive());
        // Reaping does not take this live slot for one of a dead process.
        place.reap();
        assert_eq!(region().used_bytes, 512);
        assert!(state.is_alive("t").unwrap());
        drop(place);
        assert!(!region().any_alive() && state.is_alive("t").unwrap());
        drop(tenant);
        assert!(!state.is_alive("t").unwrap());
    }
}
