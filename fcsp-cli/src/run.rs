//! `fcsp run`: makes a tenant, then becomes the program, so that its signals, exit status and
//! number are its own.
//!
//! [`run`] goes through four steps: a plan is made and checked; a tenant is set up or joined; an
//! injection is put together; the program takes this process over.

mod checks;
mod configuration;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use fcsp_core::config::{Config, Quota, Source};
use fcsp_core::control::Limits;
use fcsp_core::device::Selector;
use fcsp_core::state::StateDir;
use fcsp_sim::spec::Topology;
use fcsp_tenancy::injection::prepended;
use fcsp_tenancy::units::UnitDevice;
use fcsp_tenancy::{
    DeviceOrder, Error, Injection, MEND, Overcommit, Placement, Request, Scope, Vendor, Warning,
    collect, is_needed,
};

use super::libraries::Libraries;
use super::limits::{LimitArgs, with_option};
use super::probe::Device;
use super::program::Obstacle;
use super::vendors::{self, Choice};
use super::{Coded, Context, program, sim, spatial, visible};

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

/// Returns the vendors whose libraries go into the program, and the libraries in the loader's
/// order. The simulated machine has CUDA only.
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

/// Everything that is known before a tenant is set up.
struct Plan {
    config: Config,
    /// The program's file.
    path: PathBuf,
    libraries: Libraries,
    /// Vendors whose libraries go in, and the libraries in the loader's order.
    preloads: (Vec<Vendor>, Vec<PathBuf>),
    machine: Option<Topology>,
    /// Devices whose compute units are wished for.
    unit_devices: Vec<UnitDevice>,
    /// Devices as the program will see them; none where nobody can tell.
    devices: Vec<Device>,
}

impl Plan {
    /// Reads the configuration, finds program, libraries and devices, and checks one against the
    /// other.
    fn of(state: &StateDir, args: &Args, config: Config) -> anyhow::Result<Self> {
        if let Some(wrong) = vendors::wrong_settings().into_iter().next() {
            bail!("{wrong}");
        }
        let machine = args.sim.as_deref().map(sim::topology).transpose()?;
        let Some(name) = args.program.first() else {
            bail!("no program was given; write it after `--`");
        };
        let path = program::find(name)?;
        let libraries = Libraries::locate(state)?;
        if machine.is_some() && !libraries.has_sim() {
            bail!(
                "--sim: {} has no simulated libraries",
                libraries.sim.display()
            );
        }
        let preloads = preloads(&libraries, args)?;
        if !config.spatial.is_empty() && !preloads.0.contains(&Vendor::Hip) {
            bail!(
                "--spatial: only AMD's devices are divided by compute units, and there is no HIP runtime where the loader looks (--vendor hip if the program brings its own)"
            );
        }
        let unit_devices = spatial::look(&config.spatial)?;
        let devices = devices(&config, machine.as_ref())?;
        match program::obstacle(&path) {
            Some(Obstacle::Unreached(reason)) => eprintln!("fcsp: warning: {reason}"),
            Some(Obstacle::Unloadable(message)) => {
                return Err(Coded { code: 126, message }.into());
            }
            None => {}
        }
        Ok(Self {
            config,
            path,
            libraries,
            preloads,
            machine,
            unit_devices,
            devices,
        })
    }

    /// Sets the tenant up, or joins it.
    fn place(&self, state: &StateDir, args: &Args) -> Result<Placement, Error> {
        let changes = args.limits.changes();
        let order = DeviceOrder::of(self.devices.iter().map(Device::identity));
        let visible: Vec<_> = self.devices.iter().map(Device::visible).collect();
        let mut request = Request::new(&self.config, &changes);
        request.name = args.tenant.as_deref();
        request.order = &order;
        request.devices = &visible;
        request.unit_devices = &self.unit_devices;
        if args.no_overcommit {
            request.overcommit = Overcommit::Refuse;
        }
        request.create_or_join(state)
    }

    /// Puts together what every program gets: libraries and state folder, and the simulated
    /// machine.
    fn injection(&self, context: &Context, args: &Args) -> anyhow::Result<Injection> {
        let (vendors, libraries) = &self.preloads;
        let mut injection = vendors
            .iter()
            .zip(libraries)
            .fold(Injection::new(), |injection, (vendor, library)| {
                injection.preload(*vendor, library)
            })
            .state(&context.state);
        if let (Some(text), Some(machine)) = (&args.sim, &self.machine) {
            let folders = prepended("LD_LIBRARY_PATH", &self.libraries.sim);
            injection = injection
                .env("FCSP_SIM", text)
                .env("LD_LIBRARY_PATH", folders);
            let path = sim::state_file(&context.state, machine)
                .map_err(|error| unusable(context, error))?;
            sim::prepare(path.as_deref(), machine)
                .context("--sim: no simulated machine can be set up")?;
            if let Some(path) = path {
                injection = injection.env(sim::STATE_VARIABLE, path);
            }
        }
        Ok(injection)
    }
}

/// Returns the devices that the program will see, checked against the limits.
fn devices(config: &Config, machine: Option<&Topology>) -> anyhow::Result<Vec<Device>> {
    let limits = Limits {
        memory: config.memory.clone(),
        compute: config.compute.clone(),
        ..Limits::default()
    };
    let exact = limits
        .memory
        .iter()
        .any(|(selector, quota)| selector != Selector::All || matches!(quota, Quota::Bytes(_)))
        || limits
            .compute
            .iter()
            .any(|(selector, _)| selector != Selector::All);
    let devices = match exact || machine.is_some() {
        true => visible::devices(machine, is_needed(&limits)),
        false => None,
    };
    if let (Some(devices), true) = (&devices, exact) {
        checks::check_devices(&limits, devices)?;
    }
    let devices = devices.unwrap_or_default();
    let contexts = machine.map(|machine| machine.devices.iter().map(|device| device.context));
    let context = contexts.and_then(Iterator::min);
    for line in checks::small_quotas(&limits, &devices, context) {
        eprintln!("fcsp: warning: {line}");
    }
    Ok(devices)
}

/// Returns the failure in the words of the command: what to do about it names its options.
fn in_words(context: &Context, error: Error) -> anyhow::Error {
    match with_option(error) {
        Error::NotRunning { name } => anyhow::anyhow!(
            "no tenant {name} runs, so there are no limits to join: give them, such as --memory 16GiB (equal ones join a tenant that runs), or --memory unlimited for none"
        ),
        error @ Error::OtherLimits { .. } => {
            let name = match &error {
                Error::OtherLimits { name, .. } => name,
                _ => "",
            };
            anyhow::anyhow!(
                "{error}: leave the limits out to join it, change them with `fcsp limit {name} ...`, or name another tenant with --tenant"
            )
        }
        Error::NotAPart { outer, name } => anyhow::anyhow!(
            "--tenant: this runs in tenant {outer}, which a program does not leave, and tenant {name} is no part of it; leave the name out to use the limits of {outer}, or start the program outside of it"
        ),
        Error::Overcommitted(line) => anyhow::anyhow!("--no-overcommit: {line}"),
        Error::Io(error) => unusable(context, error),
        error => error.into(),
    }
}

/// Returns a failure of the state folder, with advice.
fn unusable(context: &Context, error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return anyhow::anyhow!("{error}; {MEND}");
    }
    anyhow::Error::new(error).context(format!(
        "cannot set the tenant up in {} (choose another folder with --state-dir)",
        context.state.path().display()
    ))
}

/// Returns the variable that keeps the program on the tenant's compute units, if it has any.
fn units(place: &Placement) -> anyhow::Result<Option<spatial::Variable>> {
    match spatial::variable(&place.units) {
        None if !place.made => spatial::inherited(&place.state, &place.name),
        units => Ok(units),
    }
}

/// Tells the user about the tenant that the program is in.
fn tell(place: &Placement, has_units: bool) {
    for warning in &place.warnings {
        match warning {
            Warning::Paused => eprintln!(
                "fcsp: warning: tenant {0} is paused: its programs wait at their first launch until `fcsp resume {0}`",
                place.name
            ),
            Warning::Overcommitted(line) => eprintln!("fcsp: warning: {line}"),
            _ => {}
        }
    }
    if place.limits.memory.is_empty() && place.limits.compute.is_empty() && !has_units {
        eprintln!(
            "fcsp: note: tenant {} has no limit: its programs have the whole device (give --memory or --compute, or --memory unlimited to say so)",
            place.name
        );
    }
}

/// `fcsp run`. Returns only where the program could not be started.
pub fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let config = configuration::configuration(&args)?;
    let state = match context.is_chosen {
        true => context.state.clone(),
        false => StateDir::provide(),
    };
    let context = &Context { state, ..*context };
    let plan = Plan::of(&context.state, &args, config)?;
    let mut injection = plan.injection(context, &args)?;
    // An authority's tenant is set up by the program itself, under the name that the authority
    // gives.
    let mut taken = None;
    if plan.config.source != Source::File {
        // Best effort: what cannot be collected now is collected later.
        let _ = collect(&context.state, Scope::Unnamed);
        let place = plan
            .place(&context.state, &args)
            .map_err(|error| in_words(context, error))?;
        let units = units(&place).inspect_err(|_| place.leave())?;
        tell(&place, units.is_some());
        injection = injection.tenant(&place.name, &place.state, &place.limits);
        if let Some((variable, value)) = units {
            injection = injection.env(variable, value);
        }
        taken = Some(place);
    }
    let mut command = Command::new(&plan.path);
    let name: &OsStr = args
        .program
        .first()
        .map_or(plan.path.as_os_str(), |name| name);
    command.arg0(name).args(args.program.iter().skip(1));
    injection.apply(&mut command);
    let error = command.exec();
    if let Some(place) = taken {
        place.leave();
    }
    let (code, hint) = match error.kind() {
        std::io::ErrorKind::NotFound => (127, " (its interpreter is missing)"),
        _ => (126, ""),
    };
    Err(Coded {
        code,
        message: format!("{}: {error}{hint}", plan.path.display()),
    }
    .into())
}
