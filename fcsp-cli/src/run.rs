//! `fcsp run`: makes a tenant, then becomes the program, so that its signals, exit status and
//! number are its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use fcsp_core::config::{
    Config, ConfigError, Quota, Rules, Source, check_tenant_name, file, names,
};
use fcsp_core::control::{Control, Limits};
use fcsp_core::device::Selector;
use fcsp_core::file::SetupLock;
use fcsp_core::spatial::Wish;
use fcsp_core::state::{STATE_DIR_VARIABLE, StateDir};
use fcsp_core::tenant::{MANAGED_MARK, OUTER_FILE};
use fcsp_core::tree;
use fcsp_core::units::Bytes;

use super::libraries::Libraries;
use super::limits::{self, LimitArgs};
use super::numbers::{self, Numbers};
use super::parts::Around;
use super::probe::Device;
use super::program::Obstacle;
use super::tenants::{self, TenantView};
use super::vendors::{self, Choice, Vendor};
use super::{Coded, Context, program, promises, sim, spatial};

/// The variable by which Level Zero's loader makes its management functions answer.
const SYSMAN_VARIABLE: &str = "ZES_ENABLE_SYSMAN";

const HELP: &str = "\
Rules: `8GiB` (every device) or per device by number, UUID or PCI address: `0=8GiB,1=40%,GPU-<uuid>=2GiB`.
Amounts: 512MiB, 8GiB, 1.5GiB (powers of 1024), 8GB (powers of 1000), 40% of the device, unlimited.
Devices: a number is the one that the program would use now, under CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER as they \
are set here; the limits then stay with the devices, whatever order the program chooses for itself.

Without options, FCSP_MEMORY_LIMIT, FCSP_COMPUTE_LIMIT and the other variables hold, then those of HAMi \
(CUDA_DEVICE_MEMORY_LIMIT, CUDA_DEVICE_SM_LIMIT) and BUD_*. A root-owned /etc/fcsp/tenant.toml beats all of them.

Examples:
  fcsp run --memory 8GiB -- python train.py
  fcsp run --memory 40% --compute 25% --mode strict -- ./serve
  fcsp run --tenant team-a --memory 16GiB -- ./one &
  fcsp run --tenant team-a --memory 16GiB -- ./two   both share the 16 GiB
  fcsp run --memory 4GiB -- ./three                  in a program of team-a: 4 GiB of the 16, a part of team-a
  fcsp run --sim h100x2 --memory 1GiB -- ./app    two simulated H100s
  fcsp run --vendor hip --memory 8GiB -- ./app    HIP that comes with the program
  fcsp run --compute 25% --spatial -- ./app       compute units of its own (AMD)

Vendors: CUDA's library always goes in, another vendor's where its driver is installed (by LD_LIBRARY_PATH, the loader's \
cache, the system's folders) or --vendor names it. `fcsp doctor` says which are there.

Exit codes: the program's own; 125 fcsp itself failed, 126 the program cannot be executed, 127 not found.";

/// Options of `fcsp run`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    limits: LimitArgs,
    /// Compute units of the tenant's own (AMD): auto, as many as its share is of the device, or a
    /// range such as 0-71, or per device 0=0-71,1=auto
    #[arg(long, value_name = "RULES", num_args = 0..=1, require_equals = true, default_missing_value = "auto", conflicts_with = "sim")]
    spatial: Option<String>,
    /// Name of the tenant; one that lives is joined, without limits or with equal ones [default:
    /// run-<pid>]
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Refuse where more memory or time would be promised than a device has, instead of warning
    #[arg(long)]
    no_overcommit: bool,
    /// Run on simulated accelerators: MODEL[xCOUNT][,memory=SIZE], models h100, a100, l4, tiny
    #[arg(long, value_name = "SPEC")]
    sim: Option<String>,
    /// Preload this vendor's library as well, installed or not: cuda, hip, levelzero, ascend, gaudi
    /// or all; may be repeated
    #[arg(long = "vendor", value_name = "NAME", conflicts_with = "sim")]
    vendors: Vec<Choice>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// A list variable's value with `first` put before what is there.
pub fn prepended(variable: &str, first: &Path) -> OsString {
    let mut value = first.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os(variable).filter(|rest| !rest.is_empty()) {
        value.push(":");
        value.push(rest);
    }
    value
}

/// `LD_PRELOAD` with our libraries first and no other copy of any.
fn preload_value(libraries: &[PathBuf]) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let before = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let others = before
        .as_bytes()
        .split(|&b| b == b':' || b == b' ')
        .filter(|entry| !entry.is_empty())
        .filter(|entry| {
            let file = Path::new(OsStr::from_bytes(entry)).file_name();
            !Vendor::ALL
                .iter()
                .any(|vendor| file == Some(OsStr::new(vendor.library())))
        });
    let all: Vec<&[u8]> = libraries
        .iter()
        .map(|path| path.as_os_str().as_bytes())
        .chain(others)
        .collect();
    OsString::from_vec(all.join(&b':'))
}

/// The vendors whose libraries go into the program, and the libraries in the loader's order. The
/// simulated machine has CUDA only.
fn preloads(libraries: &Libraries, args: &Args) -> anyhow::Result<(Vec<Vendor>, Vec<PathBuf>)> {
    if args.sim.is_some() {
        return Ok((vec![Vendor::Cuda], vec![libraries.preload.clone()]));
    }
    let mut chosen = Vec::new();
    let mut paths = Vec::new();
    for picked in vendors::pick(&args.vendors, |vendor| vendor.driver().is_some()) {
        let (vendor, file) = (picked.vendor, picked.vendor.library());
        let folder = libraries.preload.parent().unwrap_or(Path::new("."));
        match libraries.of(vendor) {
            Some(path) => {
                chosen.push(vendor);
                paths.push(path);
            }
            None if picked.named => bail!("--vendor: {} has no {file}", folder.display()),
            None => eprintln!(
                "fcsp: warning: {} has no {file}: no limit holds on {}",
                folder.display(),
                vendor.name()
            ),
        }
    }
    Ok((chosen, paths))
}

/// Checks rules against the devices: one that is not there, or a quota larger than it, is a slip.
fn check_devices(limits: &Limits, devices: &[Device]) -> Result<(), ConfigError> {
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
fn small_quotas(limits: &Limits, devices: &[Device], context: Option<u64>) -> Vec<String> {
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
        // The unit below the one that was meant is the usual slip.
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

/// Refuses variables that were meant for FCSP and are read by nobody: a misspelt limit is no limit.
fn check_names() -> Result<(), names::Unknown> {
    let mut wrong: Vec<names::Unknown> = std::env::vars_os()
        .filter_map(|(name, _)| names::wrong(name.to_str()?))
        .collect();
    wrong.sort_by(|a, b| a.name.cmp(&b.name));
    match wrong.into_iter().next() {
        Some(wrong) => Err(wrong),
        None => Ok(()),
    }
}

/// The configuration of the options and the environment; an authority leaves nothing to choose.
fn configuration(args: &Args) -> anyhow::Result<Config> {
    check_names()?;
    if let Some(reason) = file::passed_over() {
        eprintln!("fcsp: warning: {reason}");
    }
    if let Some(fixed) = file::read_authority()? {
        if !args.limits.is_empty() || args.tenant.is_some() || args.spatial.is_some() {
            bail!(
                "{} sets this machine's limits; options cannot change them, run without",
                file::AUTHORITY
            );
        }
        return Ok(fixed);
    }
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let mut config = args.limits.read(environment)?;
    if let Some(text) = &args.spatial {
        config.spatial = Rules::parse("--spatial", text, Wish::parse)?;
    }
    if let Some(name) = &args.tenant {
        check_tenant_name("--tenant", name)?;
        config.tenant = Some(name.clone());
    }
    Ok(config)
}

/// The tenant, set up; its name, its limits, and whether this call made it.
struct Place {
    name: String,
    limits: Limits,
    made: bool,
    /// What keeps its programs on compute units of its own, if anything is to.
    units: Option<spatial::Variable>,
    /// The tenant that it is a part of.
    outer: Option<Around>,
    /// Where it lies.
    state: StateDir,
}

fn take_place(
    context: &Context,
    args: &Args,
    config: &Config,
    (numbers, visible): (&Numbers, &[Device]),
    devices: &[spatial::Place],
) -> anyhow::Result<Place> {
    let state = &context.state;
    let unnamed = || format!("run-{}", std::process::id());
    let around = Around::find(state);
    let inside = match &around {
        Some(around) => !around.takes_in(args.tenant.as_deref(), &args.limits, numbers)?,
        None => false,
    };
    // A program does not leave its tenant by another name: it would have that tenant's limit and
    // the new one's together.
    let outer = around.filter(|_| inside);
    let (name, asked) = match &outer {
        Some(outer) => (
            args.tenant.clone().unwrap_or_else(unnamed),
            outer.asked(&args.limits, config, numbers)?,
        ),
        None => (
            config.tenant.clone().unwrap_or_else(unnamed),
            Limits {
                memory: numbers.settle("--memory", &config.memory)?,
                compute: numbers.settle("--compute", &config.compute)?,
                paused: false,
            },
        ),
    };
    if let Some(outer) = &outer {
        outer.check(&asked, visible)?;
    }
    // Behind the key of a tenant of root's nobody else makes one: another user's part of it lies in
    // that user's own folder.
    let is_behind_key = state.home().is_some();
    let state = &match is_behind_key && outer.is_some() {
        true => StateDir::own(),
        false => state.clone(),
    };
    let dead = || TenantView::read(state, &name).is_dead();
    // A name alone is a wish to join: without anybody to join it would be a tenant without a limit.
    let says_nothing =
        asked.memory.is_empty() && asked.compute.is_empty() && config.spatial.is_empty();
    let needs_to_live = (config.tenant.is_some() || outer.is_some()) && says_nothing;
    let not_there = || {
        anyhow::anyhow!(
            "no tenant {name} runs, so there are no limits to join: give them, such as --memory 16GiB (equal ones join a tenant that runs), or --memory unlimited for none"
        )
    };
    if dead() {
        if needs_to_live {
            return Err(not_there());
        }
        // What a dead tenant of this name left, its highest use and its refusals, is not this
        // one's; nor need this version be able to read it. One whose program may still come stays.
        if !state.carried().contains(&name) {
            let _ = state.remove_if(&name, dead);
        }
    }
    // Held until the tenant is written: two commands at once must not both find the rest of a
    // device free. Behind a key there is nothing but one tenant to join.
    let promises = match state.home() {
        Some(_) => None,
        None => Some(SetupLock::acquire(
            &state.provide_at()?.join("promises.lock"),
        )?),
    };
    // SAFETY: geteuid takes nothing and cannot fail.
    let lock = match unsafe { libc::geteuid() } {
        0 => state.set_up_behind_key(&name)?,
        _ => state.set_up_tenant(&name, config.source)?,
    };
    let dir = state.tenant(&name);
    let there = TenantView::read(state, &name);
    let joins = Control::open(&dir)?.is_some() && !there.is_dead();
    let limits = if joins {
        if let Some(outer) = &outer {
            outer.check_part(&name, &dir)?;
        }
        let wanted = args.limits.merge(&there.limits, numbers)?;
        if wanted.memory != there.limits.memory || wanted.compute != there.limits.compute {
            bail!(
                "tenant {name} lives, with memory {} and compute {}: leave the limits out to join it, change them with `fcsp limit {name} ...`, or name another tenant with --tenant",
                there.memory_text(),
                limits::compute_text(&there.limits.compute)
            );
        }
        if there.paused {
            eprintln!(
                "fcsp: warning: tenant {name} is paused: its programs wait at their first launch until `fcsp resume {name}`"
            );
        }
        there.limits
    } else {
        if needs_to_live {
            drop(lock);
            let _ = state.remove_if(&name, dead);
            return Err(not_there());
        }
        // What a part has is promised to the tenant around it.
        let beyond = match &outer {
            Some(_) => Vec::new(),
            None => promises::beyond(state, &name, &asked, visible),
        };
        if let (Some(first), true) = (beyond.first(), args.no_overcommit) {
            let message = format!("--no-overcommit: {first}");
            drop(lock);
            let _ = state.remove_if(&name, dead);
            bail!("{message}");
        }
        for line in beyond {
            eprintln!("fcsp: warning: {line}");
        }
        match &outer {
            Some(outer) => outer.adopt(&dir)?,
            None => forget_outer(&dir)?,
        }
        Control::create(&dir)?.write(&asked)?;
        tenants::enter_priority(state, &name, &asked);
        numbers.save(&dir)?;
        asked
    };
    // The mark last: a tenant that is marked and has no program is taken for one that an agent
    // keeps, and would stay for good if this command were killed in between.
    tenants::add_root(&dir)?;
    if !joins || there.managed {
        fcsp_core::file::replace(&dir.join(MANAGED_MARK), b"")?;
    }
    let joining = spatial::Joining {
        tenant: &name,
        limits: &limits,
        lives: joins,
    };
    let claimed = spatial::claim_all(state, joining, &config.spatial, devices);
    drop(lock);
    drop(promises);
    let units = claimed.and_then(|units| match units {
        None if joins => spatial::inherited(state, &name),
        units => Ok(units),
    });
    let mut place = Place {
        name,
        limits,
        made: !joins,
        units: None,
        outer,
        state: state.clone(),
    };
    let entered = place.outer.as_ref().map_or(Ok(()), Around::add_root);
    match units.and_then(|units| entered.map(|()| units).map_err(Into::into)) {
        Ok(units) => {
            place.units = units;
            Ok(place)
        }
        Err(error) => {
            leave_place(&place);
            Err(error)
        }
    }
}

/// Makes the tenant of a folder that somebody left a tenant by itself.
fn forget_outer(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(dir.join(OUTER_FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A failure of the state folder, with what to do about it.
fn unusable(context: &Context, error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return anyhow::anyhow!("{error}; {}", tenants::MEND);
    }
    anyhow::Error::new(error).context(format!(
        "cannot set the tenant up in {} (choose another folder with --state-dir)",
        context.state.path().display()
    ))
}

/// Takes back what [`take_place`] made for a program that could not be started. Best effort: what
/// stays is a tenant without a living program, which the next collection removes.
fn leave_place(place: &Place) {
    let (name, state) = (&place.name, &place.state);
    let dir = state.tenant(name);
    if let Ok(_lock) = SetupLock::acquire(&dir.join("setup.lock")) {
        let _ = tenants::remove_root(&dir);
    }
    if let Some(outer) = &place.outer {
        outer.remove_root();
    }
    if !place.made {
        return;
    }
    let _ = state.remove_if(name, || !TenantView::read(state, name).alive);
}

/// `fcsp run`. Returns only where the program could not be started.
pub fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let config = configuration(&args)?;
    let state = match context.is_chosen {
        true => context.state.clone(),
        false => StateDir::provide(),
    };
    let context = &Context { state, ..*context };
    if let Some(wrong) = vendors::wrong_settings().into_iter().next() {
        bail!("{wrong}");
    }
    let machine = args.sim.as_deref().map(sim::topology).transpose()?;
    let Some((name, arguments)) = args.program.split_first() else {
        bail!("no program was given; write it after `--`");
    };
    let path = program::find(name)?;
    let libraries = Libraries::locate(&context.state)?;
    if machine.is_some() && !libraries.has_sim() {
        bail!(
            "--sim: {} has no simulated libraries",
            libraries.sim.display()
        );
    }
    let (preloaded, preload) = preloads(&libraries, &args)?;
    if !config.spatial.is_empty() && !preloaded.contains(&Vendor::Hip) {
        bail!(
            "--spatial: only AMD's devices are divided by compute units, and there is no HIP runtime where the loader looks (--vendor hip if the program brings its own)"
        );
    }
    let devices = spatial::look(&config.spatial)?;
    let limits = Limits {
        memory: config.memory.clone(),
        compute: config.compute.clone(),
        paused: false,
    };
    let exact = limits
        .memory
        .iter()
        .any(|(selector, quota)| selector != Selector::All || matches!(quota, Quota::Bytes(_)))
        || limits
            .compute
            .iter()
            .any(|(selector, _)| selector != Selector::All);
    let visible = match exact || machine.is_some() {
        true => numbers::devices(machine.as_ref(), numbers::any(&limits)),
        false => None,
    };
    if let (Some(devices), true) = (&visible, exact) {
        check_devices(&limits, devices)?;
    }
    let visible = visible.unwrap_or_default();
    let order = Numbers::of(&visible);
    let context_bytes = machine
        .as_ref()
        .and_then(|machine| machine.devices.iter().map(|device| device.context).min());
    for line in small_quotas(&limits, &visible, context_bytes) {
        eprintln!("fcsp: warning: {line}");
    }
    match program::obstacle(&path) {
        Some(Obstacle::Unreached(reason)) => eprintln!("fcsp: warning: {reason}"),
        Some(Obstacle::Unloadable(message)) => return Err(Coded { code: 126, message }.into()),
        None => {}
    }

    let mut command = Command::new(&path);
    command.arg0(name).args(arguments);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(limits::is_setting) {
            command.env_remove(&variable);
        }
    }
    command.env("LD_PRELOAD", preload_value(&preload));
    // Without it a driver of Level Zero tells nobody how much of a device's memory is taken.
    if preloaded.contains(&Vendor::LevelZero) && std::env::var_os(SYSMAN_VARIABLE).is_none() {
        command.env(SYSMAN_VARIABLE, "1");
    }
    // Always: a child in another user namespace, or with another XDG_RUNTIME_DIR, would look
    // elsewhere.
    command.env(STATE_DIR_VARIABLE, context.state.path());
    command.env_remove(tree::VARIABLE);
    if let (Some(text), Some(machine)) = (&args.sim, &machine) {
        command.env("FCSP_SIM", text).env(
            "LD_LIBRARY_PATH",
            prepended("LD_LIBRARY_PATH", &libraries.sim),
        );
        let path =
            sim::state_file(&context.state, machine).map_err(|error| unusable(context, error))?;
        sim::prepare(path.as_deref(), machine)
            .context("--sim: no simulated machine can be set up")?;
        if let Some(path) = path {
            command.env(sim::STATE_VARIABLE, path);
        }
    }
    // An authority's tenant is set up by the program itself, under the name that the authority
    // gives.
    let mut taken = None;
    if config.source != Source::File {
        // Best effort: what cannot be collected now is collected later.
        let _ = tenants::collect(&context.state, false);
        let place =
            take_place(context, &args, &config, (&order, &visible), &devices).map_err(|error| {
                match error.downcast::<std::io::Error>() {
                    Ok(error) => unusable(context, error),
                    Err(error) => error,
                }
            })?;
        command.envs(place.units.clone());
        if place.limits.memory.is_empty()
            && place.limits.compute.is_empty()
            && place.units.is_none()
        {
            eprintln!(
                "fcsp: note: tenant {} has no limit: its programs have the whole device (give --memory or --compute, or --memory unlimited to say so)",
                place.name
            );
        }
        command.env(
            STATE_DIR_VARIABLE,
            place.state.for_programs(&place.name).path(),
        );
        command.env("FCSP_TENANT", &place.name);
        command.envs(limits::variables(&place.limits));
        taken = Some(place);
    }
    let error = command.exec();
    if let Some(place) = taken {
        leave_place(&place);
    }
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    let hint = if code == 127 {
        " (its interpreter is missing)"
    } else {
        ""
    };
    Err(Coded {
        code,
        message: format!("{}: {error}{hint}", path.display()),
    }
    .into())
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
