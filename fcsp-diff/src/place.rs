//! Place of the workers, and their configurations.

use crate::driver::Route;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Names the file of a simulated machine.
pub const MACHINE: &str = "FCSP_SIM_STATE";

/// Place where programs run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The tester's own executable.
    pub runner: PathBuf,
    /// The preload library.
    pub preload: PathBuf,
    /// The folder with the simulated driver and the machine to simulate; without it, the device at
    /// hand.
    pub simulator: Option<(PathBuf, String)>,
    /// A folder for state.
    pub scratch: PathBuf,
    /// Operations to leave out, to look past what is known: names, and `wrong 3` for one wrong
    /// call.
    pub without: Vec<String>,
    /// Variables for every worker.
    pub environment: Vec<(String, String)>,
}

/// Limits of a worker.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Its name.
    pub name: &'static str,
    /// Variables that say so.
    pub variables: Vec<(&'static str, String)>,
    /// Memory of the device that this configuration requires.
    pub total: Option<u64>,
    /// True if the quota is so small that some requests are refused.
    pub tight: bool,
}

/// Bytes of quotas: one that no program reaches, one that programs do reach beside a context, and
/// what a context takes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The quota that refuses nothing.
    pub ample: u64,
    /// The quota that refuses some.
    pub tight: u64,
    /// Most bytes of a context.
    pub context: u64,
}

/// Returns every configuration.
pub fn configurations(sizes: Sizes) -> Vec<Configuration> {
    let memory = |bytes: u64| ("FCSP_MEMORY_LIMIT", bytes.to_string());
    let share = |percent: &str, mode: &str| {
        [
            ("FCSP_COMPUTE_LIMIT", format!("{percent}%")),
            ("FCSP_MODE", mode.to_owned()),
        ]
    };
    let named = |name, variables, total, tight| Configuration {
        name,
        variables,
        total,
        tight,
    };
    vec![
        named("quota", vec![memory(sizes.ample)], Some(sizes.ample), false),
        named("share", share("90", "balanced").to_vec(), None, false),
        named(
            "both",
            [vec![memory(sizes.ample)], share("90", "strict").to_vec()].concat(),
            Some(sizes.ample),
            false,
        ),
        named(
            "tight",
            [vec![memory(sizes.tight)], share("90", "balanced").to_vec()].concat(),
            Some(sizes.tight),
            true,
        ),
    ]
}

/// Returns the route of a worker, by its turn.
pub fn route(turn: u64) -> Route {
    [Route::Addresses, Route::Symbols, Route::AddressesPerThread][(turn % 3) as usize]
}

/// Returns the word for a route on the command line.
pub fn word(route: Route) -> &'static str {
    match route {
        Route::Symbols => "symbols",
        Route::Addresses => "addresses",
        Route::AddressesPerThread => "per-thread",
    }
}

/// Returns a number that this process has not used yet.
pub fn serial() -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    SERIAL.fetch_add(1, Relaxed)
}

impl Place {
    /// Returns the command that starts a worker, natively or with limits. Every worker is a tenant
    /// of its own, and on the simulator it has a machine of its own.
    pub fn worker(
        &self,
        configuration: Option<&Configuration>,
        route: Route,
        loud: bool,
    ) -> Command {
        let serial = serial();
        let mut command = Command::new(&self.runner);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FCSP_", "BUD_", "LD_PRELOAD", "CUDA_DEVICE_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.args(["worker", "--route", word(route)]);
        if loud {
            command.arg("--loud");
        }
        command.env("FCSP_STATE_DIR", self.scratch.join("state"));
        if let Some((folder, machine)) = &self.simulator {
            command
                .env("LD_LIBRARY_PATH", folder)
                .env("FCSP_SIM", machine)
                .env(MACHINE, self.scratch.join(format!("machine-{serial}")));
        }
        if let Some(configuration) = configuration {
            if let Some(total) = configuration.total {
                command.args(["--total", &total.to_string()]);
            }
            command
                .env("LD_PRELOAD", &self.preload)
                .env(
                    "FCSP_TENANT",
                    format!("diff-{}-{serial}", std::process::id()),
                )
                .envs(
                    configuration
                        .variables
                        .iter()
                        .map(|(name, value)| (name, value)),
                );
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A folder that is removed with this.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Creates a folder for this process.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("fcsp-diff-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
