//! `fcsp-node`: the node agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fcsp_core::state::StateDir;
use fcsp_node::identity::{self, Process};
use fcsp_node::tenants::{Applied, Declarations, reconcile};
use fcsp_node::{devices, watch::Watch};
use fcsp_tenancy::VisibleDevice;

/// The longest time between two rounds. A round restores limits that something else has changed,
/// and removes tenants whose programs have ended.
const ROUND: Duration = Duration::from_secs(10);

/// Give tenants the limits that files declare
///
/// Each table of a file in the folder of tenants is one tenant: its processes by container, pod,
/// unit, user or cgroup, and its limits. A changed file takes effect at once. A file with a mistake
/// keeps what it declared before. Programs join a declared tenant with `fcsp run --tenant NAME`.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The folder of tenants' files
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/fcsp/tenants.d",
        global = true
    )]
    tenants: PathBuf,
    /// The folder of shared state, instead of that of `fcsp`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Simulated accelerators instead of the machine's own, such as h100x2
    #[arg(long, value_name = "SPEC")]
    sim: Option<String>,
    /// The command that lists devices
    #[arg(long, value_name = "PATH", default_value = "fcsp")]
    fcsp: OsString,
    /// Put the files into force once and end
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the files of tenants and change nothing
    Check,
    /// Say which container, unit or user a process belongs to, and which tenant
    Whose {
        /// The process number
        pid: u32,
    },
}

fn main() -> ExitCode {
    // One line and no backtrace: a mistake of the user's is no defect of the program.
    act(Args::parse()).unwrap_or_else(|error| {
        eprintln!("fcsp-node: error: {error:#}");
        ExitCode::FAILURE
    })
}

fn act(args: Args) -> anyhow::Result<ExitCode> {
    let mut declarations = Declarations::of(&args.tenants);
    match args.command {
        Some(Action::Check) => {
            declarations.reload();
            Ok(report(&declarations))
        }
        Some(Action::Whose { pid }) => {
            declarations.reload();
            whose(&declarations, pid)
        }
        None => run(&args, declarations),
    }
}

/// Prints the mistakes of files.
fn report(declarations: &Declarations) -> ExitCode {
    for error in declarations.errors() {
        eprintln!("{error}");
    }
    match declarations.errors().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn whose(declarations: &Declarations, pid: u32) -> anyhow::Result<ExitCode> {
    let identity = identity::of_process(&Process::open(pid)?)?;
    println!("cgroup {}", identity.path.display());
    println!("{}", identity.kind);
    match declarations.tenant_of(&identity) {
        Some(tenant) => println!("tenant {}", tenant.name),
        None => println!("no tenant"),
    }
    Ok(report(declarations))
}

fn run(args: &Args, mut declarations: Declarations) -> anyhow::Result<ExitCode> {
    let state = match &args.state_dir {
        Some(path) => StateDir::at(std::path::absolute(path)?),
        None => StateDir::provide(),
    };
    let watch = Watch::new().context("inotify")?;
    let mut log = Log::default();
    let mut devices: Vec<VisibleDevice> = Vec::new();
    loop {
        // Before the reading, so that no change is missed.
        watch.follow(declarations.folder());
        declarations.reload();
        if devices.is_empty() {
            devices = devices::ask(&args.fcsp, args.sim.as_deref()).unwrap_or_else(|error| {
                log.say("devices", error.to_string());
                Vec::new()
            });
        }
        log.files(&declarations);
        let outcomes = reconcile(&state, &declarations, &devices)
            .with_context(|| format!("state folder {}", state.path().display()))?;
        let mut is_good = declarations.errors().is_empty();
        for (name, applied) in outcomes {
            is_good &= applied.is_ok();
            match applied {
                Ok(Applied::Unchanged) => log.forget(&name),
                Ok(applied) => log.say(&name, format!("{applied:?}").to_lowercase()),
                Err(error) => log.say(&name, error.to_string()),
            }
        }
        if args.once {
            return Ok(match is_good {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            });
        }
        watch.wait(ROUND)?;
    }
}

/// Lines on standard error. A line about one subject is not repeated until another one came.
#[derive(Default)]
struct Log {
    last: BTreeMap<String, String>,
}

impl Log {
    fn say(&mut self, subject: &str, text: String) {
        if self.last.get(subject) != Some(&text) {
            eprintln!("{subject}: {text}");
            self.last.insert(subject.to_owned(), text);
        }
    }

    fn forget(&mut self, subject: &str) {
        self.last.remove(subject);
    }

    fn files(&mut self, declarations: &Declarations) {
        let text: Vec<String> = declarations
            .errors()
            .iter()
            .map(ToString::to_string)
            .collect();
        match text.is_empty() {
            true => self.forget("files"),
            false => self.say("files", text.join("; ")),
        }
    }
}
