//! The `fcsp` command as a user meets it: real processes, real files, simulated devices.

mod benches;
mod cargo;
mod closed;
mod demo;
mod device;
mod devices;
mod doctor;
mod doctor_driver;
mod embedder;
mod figures;
mod killed;
mod pause;
mod places;
mod run;
mod share;
mod tenants;
mod terminal;
mod traps;
mod vendors;
#[path = "../virtual_time/mod.rs"]
mod virtual_time;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtual_time::World;

/// A machine of its own for each test: state, cache and simulated devices in a folder that goes
/// away.
struct Machine {
    dir: tempfile::TempDir,
    /// The world of its processes if they live in virtual time.
    world: Option<Arc<World>>,
}

impl Machine {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            world: None,
        }
    }

    /// Makes a machine whose processes live in virtual time. Returns `None` if there are no means.
    fn timed() -> Option<Self> {
        let world = Some(Arc::new(World::new()?));
        Some(Self {
            world,
            ..Self::new()
        })
    }

    /// Returns the world of a machine in virtual time.
    fn world(&self) -> &World {
        self.world.as_ref().expect("a machine in virtual time")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `fcsp` with these arguments, none of the caller's settings, and this machine's folders.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fcsp"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FCSP_", "BUD_", "CUDA_", "LD_", "ZES_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        // The libraries are unpacked once, into the folder that the test binary was built in, and
        // found there.
        command
            .args(args)
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("FCSP_STATE_DIR", self.path().join("state"))
            .env("FCSP_SIM_STATE", self.path().join("device"))
            .stdin(Stdio::null());
        if let Some(world) = &self.world {
            world.adopt(&mut command);
        }
        command
    }

    fn fcsp(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        match &self.world {
            Some(world) => world.during(|| command.output()),
            None => command.output(),
        }
        .expect("fcsp starts")
    }

    /// Waits for `done`, by the machine's clock.
    fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let Some(world) = &self.world else {
            return wait_for(what, done);
        };
        for _ in 0..1_000 {
            if done() {
                return;
            }
            world.advance(Duration::from_millis(10));
        }
        panic!("waited in vain for {what}");
    }

    /// Returns the JSON output for the arguments; fails the test if the exit code is not `code`.
    fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        let output = self.fcsp(args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&output)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// Starts a tenant with this name whose program sleeps until it is dropped.
    fn sleeper(&self, tenant: &str, args: &[&str]) -> Sleeper {
        let mut all = vec!["run", "--tenant", tenant];
        all.extend(args);
        all.extend(["--", "sleep", "600"]);
        let child = self.command(&all).spawn().expect("fcsp starts");
        let sleeper = Sleeper(child);
        wait_for("the tenant to live", || {
            self.tenant(tenant).is_some_and(|view| {
                view["roots"]
                    .as_array()
                    .is_some_and(|roots| roots.iter().any(|root| root["pid"] == sleeper.0.id()))
            })
        });
        sleeper
    }

    /// Returns one tenant of `fcsp ps --all --json`.
    fn tenant(&self, name: &str) -> Option<serde_json::Value> {
        let listing = self.json(&["ps", "--all", "--json"], 0);
        listing["tenants"]
            .as_array()?
            .iter()
            .find(|tenant| tenant["name"] == name)
            .cloned()
    }
}

/// A process that is killed when the test is done with it.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits up to ten seconds for `done`, which on an idle machine takes milliseconds.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fails unless the command failed with `code` and one line that holds all of `parts`.
fn refuses(output: &Output, code: i32, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(said.starts_with("fcsp: error: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "\"{part}\" in: {said}");
    }
}

/// Compiles a C program beside the machine's files; `None` where there is no compiler.
fn compile(machine: &Machine, source: &str, arguments: &[&str]) -> Option<std::path::PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .join("tests/cli/clients")
        .join(source);
    let program = machine.path().join(source.trim_end_matches(".c"));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let result = Command::new(&compiler)
        .arg("-O1")
        .arg("-o")
        .args([program.as_os_str(), path.as_os_str()])
        .args(arguments)
        .arg("-ldl")
        .output();
    match result {
        Ok(output) => {
            assert!(output.status.success(), "{}", stderr(&output));
            Some(program)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!(
                "skipped: no C compiler ({})",
                OsStr::new(&compiler).to_string_lossy()
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}
