//! `fcsp doctor`: what works on this machine, what does not, and how to mend it.

mod checks;
mod coverage;
mod driver;
mod nodes;
mod roles;
mod settings;
mod vendors;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fcsp_core::units::Bytes;
use serde::Serialize;

use super::libraries::Libraries;
use super::probe::{self, Probe, Simulated};
use super::{Context, output, sim};

const HELP: &str = "\
Examples:
  fcsp doctor
  fcsp doctor --sim h100x2                       the same for simulated accelerators
  fcsp doctor --roles                            every vendor's functions, counted by what they do
  fcsp doctor --json | jq '.findings[] | select(.level == \"problem\")'

JSON keys: schema (fcsp.doctor/1), version, verdict (ok, problems), driver (cuda and nvml: path, error, code; driver, \
cuda_version, devices[]: index, name, uuid, pci, total_bytes, used_bytes, mig; order: UUIDs as programs count; unidentified[]: index, \
code), preload (path, origin), vendors[] (name, driver, preload, \
wrapped), state_dir, coverage[] (library, path, exported, wrapped, unknown[], roles[]: role, exported, wrapped, \
unwrapped[]), settings[] (quantity, variable, value, counts), findings[] (level: ok, note, warning, problem; topic, text, remedy).
With --roles: schema, version, vendors[] (name, libraries[]: library, functions, wrapped, roles[]: role, functions, wrapped).

Exit codes: 0 nothing is wrong, 1 a problem was found, 125 fcsp itself failed.";

/// Options of `fcsp doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Examine simulated accelerators instead of the machine's own
    #[arg(long, value_name = "SPEC")]
    sim: Option<String>,
    /// Count the functions of every vendor's libraries that this build knows by what they do, and
    /// how many are wrapped
    #[arg(long, conflicts_with = "sim")]
    roles: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// May surprise.
    Warning,
    /// Something does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// Subject of the check.
    pub topic: &'static str,
    /// Result of the check.
    pub text: String,
    /// Advice, if there is something to do.
    pub remedy: Option<String>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding that all is well.
    pub fn ok(&mut self, topic: &'static str, text: impl Into<String>) {
        self.push(Level::Ok, topic, text.into(), None);
    }

    /// Adds a finding that is worth knowing.
    pub fn note(&mut self, topic: &'static str, text: impl Into<String>, remedy: Option<&str>) {
        self.push(Level::Note, topic, text.into(), remedy.map(Into::into));
    }

    /// Adds a finding that may surprise.
    pub fn warning(
        &mut self,
        topic: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Level::Warning, topic, text.into(), Some(remedy.into()));
    }

    /// Adds a finding of something that does not work.
    pub fn problem(
        &mut self,
        topic: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Level::Problem, topic, text.into(), Some(remedy.into()));
    }

    fn push(&mut self, level: Level, topic: &'static str, text: String, remedy: Option<String>) {
        self.0.push(Finding {
            level,
            topic,
            text,
            remedy,
        });
    }
}

#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    version: &'static str,
    verdict: &'static str,
    driver: Option<Probe>,
    preload: Option<Preload>,
    vendors: Vec<vendors::Section>,
    state_dir: String,
    coverage: Vec<coverage::Coverage>,
    settings: Vec<settings::Setting>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Preload {
    path: String,
    origin: super::libraries::Origin,
}

/// `fcsp doctor`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.roles {
        return roles::run(context, args.json);
    }
    let machine = args.sim.as_deref().map(sim::topology).transpose()?;
    let mut findings = Findings::default();
    let libraries = match Libraries::locate(&context.state) {
        Ok(libraries) => Some(libraries),
        Err(error) => {
            findings.problem(
                "preload",
                format!("{error:#}"),
                "set FCSP_LIB_DIR, or reinstall fcsp",
            );
            None
        }
    };
    if let Some(libraries) = &libraries {
        checks::loads(&libraries.preload, &mut findings);
    }
    let simulated = match (&machine, &libraries, &args.sim) {
        (Some(machine), Some(libraries), Some(text)) if libraries.has_sim() => Some(Simulated {
            libraries: libraries.sim.clone(),
            text: text.clone(),
            // Without a state folder, which is a finding of its own, the simulator uses its
            // default.
            state: sim::state_file(&context.state, machine).ok().flatten(),
        }),
        (Some(_), ..) => {
            findings.problem(
                "driver",
                "there are no simulated libraries",
                "reinstall fcsp; `fcsp lib --json` shows where it looks",
            );
            None
        }
        _ => None,
    };
    let driver = if machine.is_some() && simulated.is_none() {
        None
    } else {
        ask(simulated.as_ref(), &mut findings)
    };
    let mut coverage = driver
        .as_ref()
        .map(|driver| {
            coverage::of(
                driver,
                libraries.as_ref().map(|l| &*l.preload),
                &mut findings,
            )
        })
        .unwrap_or_default();
    let vendors = vendors::look(
        libraries.as_ref(),
        simulated.as_ref(),
        &mut coverage,
        &mut findings,
    );
    checks::state(context, &mut findings);
    settings::authority(&mut findings);
    let settings = settings::variables(&mut findings);
    checks::conflicts(driver.as_ref(), &mut findings);
    checks::promises(context, driver.as_ref(), &mut findings);

    let problems = findings
        .0
        .iter()
        .any(|finding| finding.level == Level::Problem);
    let report = Report {
        schema: "fcsp.doctor/1",
        version: env!("CARGO_PKG_VERSION"),
        verdict: if problems { "problems" } else { "ok" },
        driver,
        preload: libraries.map(|libraries| Preload {
            path: libraries.preload.display().to_string(),
            origin: libraries.origin,
        }),
        vendors,
        state_dir: context.state.path().display().to_string(),
        coverage,
        settings,
        findings: findings.0,
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&text(&report))?;
    }
    Ok(ExitCode::from(u8::from(problems)))
}

fn ask(simulated: Option<&Simulated>, findings: &mut Findings) -> Option<Probe> {
    // A driver that has to load its kernel module or wake a device takes seconds.
    match probe::ask(simulated, true, Duration::from_secs(20)) {
        Ok(probe) => {
            driver::look(&probe, simulated.is_some(), findings);
            Some(probe)
        }
        Err(error) => {
            findings.problem(
                "driver",
                error,
                "restart the driver or the machine; `dmesg | grep -i nvrm` says why it hangs or crashes",
            );
            None
        }
    }
}

/// "13.0" of 13000.
pub fn cuda_version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!("fcsp {}", report.version)];
    if let Some(driver) = &report.driver {
        lines.push(format!(
            "driver   {}{}",
            driver.driver.as_deref().unwrap_or("none"),
            driver
                .cuda_version
                .map(|number| format!(", CUDA {}", cuda_version(number)))
                .unwrap_or_default()
        ));
        for device in &driver.devices {
            lines.push(format!(
                "device   {} {}, {}, {}, {}",
                device.index,
                device.name,
                Bytes(device.total_bytes),
                device.pci.as_deref().unwrap_or("no PCI address"),
                device.uuid
            ));
        }
    }
    if let Some(preload) = &report.preload {
        let folder = Path::new(&preload.path).parent().unwrap_or(Path::new("."));
        lines.push(format!("preload  {}", folder.display()));
    }
    lines.extend(report.vendors.iter().map(vendors::Section::text));
    lines.push(format!("state    {}", report.state_dir));
    for setting in &report.settings {
        lines.push(format!(
            "setting  {}={} ({}{})",
            setting.variable,
            setting.value,
            setting.quantity,
            if setting.counts { "" } else { "; overruled" }
        ));
    }
    for coverage in &report.coverage {
        lines.push(String::new());
        lines.push(coverage.text());
    }
    lines.push(String::new());
    for finding in &report.findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        lines.push(format!("{level:<8} {}: {}", finding.topic, finding.text));
        if let Some(remedy) = &finding.remedy {
            lines.push(format!("         -> {remedy}"));
        }
    }
    lines.join("\n")
}
