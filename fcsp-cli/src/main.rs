//! The `fcsp` command: what it is asked, and how its answers and failures leave the process.

mod arguments;
mod demo;
mod devices;
mod doctor;
mod figures;
mod gc;
mod libraries;
mod limit;
mod limits;
mod output;
mod probe;
mod program;
mod ps;
mod run;
mod screen;
mod signals;
mod sim;
mod spatial;
mod top;
mod vendors;
mod visible;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use fcsp_core::state::StateDir;

/// Exit code of a failure of `fcsp` itself, as env(1) and timeout(1) have it.
const OWN_FAILURE: u8 = 125;

const OVERVIEW_HELP: &str = "\
Examples:
  fcsp demo                                      see quotas work, without a GPU
  fcsp run --memory 8GiB -- python train.py      that process tree has an 8 GiB GPU
  fcsp run --memory 0=8GiB,1=40% -- ./app        per device, absolute or a share of it
  fcsp run --sim h100x2 --memory 1GiB -- ./app   the same on simulated accelerators
  fcsp top                                       who holds what, live
  fcsp devices                                   accelerators, and what is promised of them
  fcsp doctor                                    what works on this machine, and what to mend

With --json a failure is a document, too: schema (fcsp.error/1), error, exit_code.

Exit codes:
  0    done; `run` gives the program's own
  1    `doctor` found a problem, `demo` saw a quota exceeded
  125  fcsp itself failed: a bad option, a folder it cannot use
  126  `run` found the program and cannot execute it
  127  `run` did not find the program";

#[derive(Debug, Parser)]
#[command(
    name = "fcsp",
    version,
    about = "Gives processes a fixed part of an accelerator: a hard memory quota and a share of its time",
    after_help = OVERVIEW_HELP,
    max_term_width = 100
)]
struct Cli {
    /// Folder of the tenants' shared state [default: /run/fcsp for root, $XDG_RUNTIME_DIR/fcsp,
    /// /dev/shm/fcsp-<uid>, /tmp/fcsp-<uid>]
    #[arg(long, global = true, value_name = "DIR", display_order = 900)]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program with a part of the GPU
    Run(run::Args),
    /// List tenants, their devices and processes
    Ps(ps::Args),
    /// Watch tenants, live
    Top(top::Args),
    /// List accelerators: memory in use, what is promised, to whom
    Devices(devices::Args),
    /// Change a running tenant's limits
    Limit(limit::Args),
    /// Make a tenant's work wait; its memory stays
    Pause(limit::PauseArgs),
    /// Let a paused tenant go on
    Resume(limit::PauseArgs),
    /// Remove the state of tenants that are dead
    Gc(gc::Args),
    /// Check driver, libraries and set-up, and say what to mend
    Doctor(doctor::Args),
    /// Show quotas being used, refused and given back on a simulated GPU
    Demo(demo::Args),
    /// Print where the preload library is
    Lib(libraries::Args),
    #[command(name = "__probe", hide = true)]
    Probe(probe::Args),
    #[command(name = "__demo-worker", hide = true)]
    DemoWorker(demo::worker::Args),
}

/// A failure that ends the process with a code of its own.
#[derive(Debug)]
struct Coded {
    code: u8,
    message: String,
}

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// Facts that every subcommand needs.
#[derive(Debug)]
struct Context {
    state: StateDir,
    /// True if the user chose the folder: it is then taken as it is.
    is_chosen: bool,
}

impl Context {
    fn new(option: Option<PathBuf>) -> anyhow::Result<Self> {
        let chosen = option.or_else(|| {
            std::env::var_os(fcsp_core::state::STATE_DIR_VARIABLE)
                .filter(|v| !v.is_empty())
                .map(Into::into)
        });
        // Absolute: the program may change its folder before it looks.
        let chosen = chosen
            .map(std::path::absolute)
            .transpose()?
            .map(StateDir::at);
        let is_chosen = chosen.is_some();
        let state = chosen.unwrap_or_else(StateDir::locate);
        // In a program of root's tenant that has stayed root, the command sees every tenant of
        // root's.
        let home = state.home().filter(|home| home.tenants().is_ok());
        Ok(Self {
            state: home.unwrap_or(state),
            is_chosen,
        })
    }
}

/// Runs the command.
fn main() -> ExitCode {
    // Rust ignores SIGPIPE from the start; `fcsp ps | head` must end quietly, and programs must not
    // inherit it. SAFETY: no other thread exists yet; SIG_DFL installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let arguments = arguments::read();
    let json = arguments::wants_json(&arguments);
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, json),
    };
    let result = Context::new(cli.state_dir).and_then(|context| match cli.command {
        Command::Run(args) => run::run(&context, args),
        Command::Ps(args) => ps::run(&context, &args),
        Command::Top(args) => top::run(&context, &args),
        Command::Devices(args) => devices::run(&context, &args),
        Command::Limit(args) => limit::run(&context, &args),
        Command::Pause(args) => limit::pause(&context, &args, true),
        Command::Resume(args) => limit::pause(&context, &args, false),
        Command::Gc(args) => gc::run(&context, &args),
        Command::Doctor(args) => doctor::run(&context, &args),
        Command::Demo(args) => demo::run(&context, &args),
        Command::DemoWorker(args) => demo::worker::run(&args),
        Command::Lib(args) => libraries::run(&context, &args),
        Command::Probe(args) => probe::child(&args),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let code = error
                .downcast_ref::<Coded>()
                .map_or(OWN_FAILURE, |c| c.code);
            complain(&format!("{error:#}"), json, code);
            ExitCode::from(code)
        }
    }
}

/// Prints the message as one line on stderr, and with --json a document on stdout.
fn complain(message: &str, json: bool, code: u8) {
    let line: Vec<&str> = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    // Standard error may be a terminal that is gone, which is no reason to panic.
    let line = line.join("; ");
    let _ = writeln!(std::io::stderr(), "fcsp: error: {line}");
    if json {
        let _ = output::json(&serde_json::json!({
            "schema": "fcsp.error/1",
            "error": line,
            "exit_code": code,
        }));
    }
}

/// Answers a command line that clap did not understand, or that asks for help.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    use clap::error::ErrorKind;
    if !error.use_stderr() {
        // Help or version; a closed pipe here ends the process by SIGPIPE.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(OWN_FAILURE);
    }
    // Clap's message is a paragraph with the usage below; the first part says what is wrong.
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        // Only `run` takes words that are not its own.
        .filter(|line| !line.is_empty() && !line.starts_with("tip: to pass"))
        .collect();
    let said = said.join("; ").replace(":; ", ": ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let command = std::env::args()
        .nth(1)
        .filter(|arg| Cli::command().find_subcommand(arg).is_some())
        .map_or_else(String::new, |arg| format!(" {arg}"));
    complain(
        &format!("{said}; see `fcsp{command} --help`"),
        json,
        OWN_FAILURE,
    );
    ExitCode::from(OWN_FAILURE)
}
