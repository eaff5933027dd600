//! The preload library in real processes: programs in C and Python, the simulated driver, files in
//! temporary folders.
//!
//! What a process holds is judged from outside, by a process without the preload that asks the
//! management library, and by `fcsp ps --json`. Every test has a machine of its own. Needs a C
//! compiler.

mod accounting;
mod bypass;
mod charged;
#[cfg(target_arch = "x86_64")]
mod cost;
mod death;
mod embedded;
mod forks;
mod habits;
mod imports;
mod information;
mod interrupted;
mod kills;
mod library;
mod lifetimes;
mod limits;
mod lookup;
mod memory;
mod overhead;
mod owed;
mod own_policy;
mod parts;
mod processes;
mod refusals;
mod together;
#[path = "../virtual_time/mod.rs"]
mod virtual_time;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use virtual_time::World;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Size of a context on [`SPEC`].
const CONTEXT: u64 = 64 * MIB;
/// The usual simulated machine.
const SPEC: &str = "h100,memory=8GiB,context=64MiB";
/// The driver's words.
const OUT_OF_MEMORY: i32 = 2;
const INVALID_VALUE: i32 = 1;

/// The preload library and the simulated driver, as `fcsp lib --to` writes them.
struct Libraries {
    preload: PathBuf,
    sim: PathBuf,
}

fn libraries() -> &'static Libraries {
    static FOUND: OnceLock<Libraries> = OnceLock::new();
    FOUND.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preload-libraries");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fcsp"));
        clean(&mut command);
        let output = command.arg("lib").arg("--to").arg(&dir).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        Libraries {
            preload: dir.join("libfcsp_cuda.so"),
            sim: dir.join("sim"),
        }
    })
}

/// Compiles a file of `tests/clients`, unless that has been done since it changed; `name` is the
/// result's.
fn compiled(source: &str, name: &str, arguments: &[&OsStr]) -> PathBuf {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .join("tests/clients")
        .join(source);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preload-clients");
    std::fs::create_dir_all(&dir).unwrap();
    let result = dir.join(name);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified());
    if changed(&result).is_ok_and(|built| built > changed(&source).unwrap()) {
        return result;
    }
    // Under a name of its own first: another test may be about to run the old one.
    let fresh = dir.join(format!(
        "{name}.{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&fresh, &source])
        .args(arguments)
        .args(["-ldl", "-lpthread"])
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; these tests need a C compiler",
                compiler.to_string_lossy()
            )
        });
    assert!(output.status.success(), "{}", stderr(&output));
    std::fs::rename(&fresh, &result).unwrap();
    result
}

/// Returns a program of `tests/clients`.
fn program(name: &str) -> PathBuf {
    compiled(&format!("{name}.c"), name, &[])
}

/// Returns a library of `tests/clients`.
fn shared(name: &str) -> PathBuf {
    compiled(
        &format!("{name}.c"),
        &format!("lib{name}.so"),
        &["-shared".as_ref(), "-fPIC".as_ref()],
    )
}

/// Takes the caller's own settings out of a command's environment.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["FCSP_", "BUD_", "CUDA_", "LD_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
}

/// A simulated machine with state of its own, which goes away with it.
struct Machine {
    dir: tempfile::TempDir,
    spec: String,
    sim: PathBuf,
    /// The world of its processes if they live in virtual time.
    world: Option<World>,
}

impl Machine {
    fn new() -> Self {
        Self::with(SPEC)
    }

    fn with(spec: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            spec: spec.to_owned(),
            sim: libraries().sim.clone(),
            world: None,
        }
    }

    /// Makes a machine whose processes live in virtual time. Returns `None` if there are no means.
    fn timed(spec: &str) -> Option<Self> {
        let world = Some(World::new()?);
        Some(Self {
            world,
            ..Self::with(spec)
        })
    }

    /// Returns the world of a machine in virtual time.
    fn world(&self) -> &World {
        self.world.as_ref().expect("a machine in virtual time")
    }

    /// Runs a command of this machine to its end.
    fn output(&self, command: &mut Command) -> Output {
        match &self.world {
            Some(world) => world.during(|| command.output()),
            None => command.output(),
        }
        .unwrap()
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Returns the command of a program on this machine, without the preload library.
    fn bare(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        clean(&mut command);
        command
            .env("LD_LIBRARY_PATH", &self.sim)
            .env("FCSP_STATE_DIR", self.state())
            .env("FCSP_SIM", &self.spec)
            .env("FCSP_SIM_STATE", self.path().join("device"))
            .stdin(Stdio::null());
        if let Some(world) = &self.world {
            world.adopt(&mut command);
        }
        command
    }

    /// Returns the command of a program of the tenant `tenant` with this quota, by plain preload.
    fn governed(&self, program: impl AsRef<OsStr>, tenant: &str, quota: &str) -> Command {
        let mut command = self.bare(program);
        command
            .env("LD_PRELOAD", &libraries().preload)
            .env("FCSP_TENANT", tenant)
            .env("FCSP_MEMORY_LIMIT", quota);
        command
    }

    /// Starts the client with a quota; it waits for commands.
    fn client(&self, tenant: &str, quota: &str) -> Client {
        Client::start(self.governed(program("client"), tenant, quota))
    }

    /// Starts the client with a quota and opens the first device.
    fn open(&self, tenant: &str, quota: &str) -> Client {
        let mut client = self.client(tenant, quota);
        client.ok("open 0");
        client
    }

    fn observer(&self) -> Observer {
        let mut command = self.bare(program("observer"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Observer {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Returns the most that all processes together ever held on the first device, by the machine's
    /// own account: no observer's samples could miss it.
    fn peak(&self) -> u64 {
        let topology = self.spec.parse().unwrap();
        let region =
            fcsp_sim::region::Region::open(&self.path().join("device"), &topology).unwrap();
        fcsp_sim::process::peak(&region, 0)
    }

    fn ps(&self) -> serde_json::Value {
        let mut command = self.bare(env!("CARGO_BIN_EXE_fcsp"));
        let output = self.output(command.args(["ps", "--all", "--json"]));
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns a tenant as `fcsp ps` shows it.
    fn tenant(&self, name: &str) -> serde_json::Value {
        let listing = self.ps();
        listing["tenants"]
            .as_array()
            .and_then(|all| all.iter().find(|tenant| tenant["name"] == name))
            .unwrap_or_else(|| panic!("no tenant {name} in {listing}"))
            .clone()
    }

    /// Returns the bytes that a tenant uses, by `fcsp ps`.
    fn used(&self, tenant: &str) -> u64 {
        self.tenant(tenant)["used_bytes"].as_u64().unwrap()
    }
}

/// A running client.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("the client takes commands");
        writeln!(input, "{command}").unwrap();
        input.flush().unwrap();
    }

    /// Returns the answer to a command that was sent. Returns `None` if the client died of it.
    fn hear(&mut self) -> Option<(i32, Vec<u64>)> {
        let mut line = String::new();
        if self.output.read_line(&mut line).unwrap() == 0 {
            // A dying process closes its pipes before it is dead.
            self.child.wait().unwrap();
            return None;
        }
        let mut words = line.split_ascii_whitespace();
        let code = words.next()?.parse().unwrap();
        Some((code, words.map(|word| word.parse().unwrap()).collect()))
    }

    /// Returns whether an answer, or the end of the program, is there to be heard.
    fn has_answered(&self) -> bool {
        let mut wanted = libc::pollfd {
            fd: self.output.get_ref().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, which outlives the call.
        !self.output.buffer().is_empty() || unsafe { libc::poll(&mut wanted, 1, 0) } > 0
    }

    /// Returns the driver's code and values for a command.
    fn call(&mut self, command: &str) -> (i32, Vec<u64>) {
        self.tell(command);
        self.hear()
            .unwrap_or_else(|| panic!("the client died of {command}"))
    }

    fn code(&mut self, command: &str) -> i32 {
        self.call(command).0
    }

    /// Returns the first value of a command that must succeed, or 0 if it has none.
    fn ok(&mut self, command: &str) -> u64 {
        let (code, values) = self.call(command);
        assert_eq!(code, 0, "{command}");
        values.first().copied().unwrap_or(0)
    }

    fn refused(&mut self, command: &str) {
        assert_eq!(self.code(command), OUT_OF_MEMORY, "{command}");
    }

    /// Takes blocks of `bytes` until refused; their addresses.
    fn fill(&mut self, bytes: u64) -> Vec<u64> {
        let mut blocks = Vec::new();
        loop {
            match self.call(&format!("alloc {bytes}")) {
                (0, values) => blocks.push(values[0]),
                (code, _) => {
                    assert_eq!(code, OUT_OF_MEMORY);
                    return blocks;
                }
            }
        }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the number of a child that has not been waited for, and a signal.
        assert_eq!(unsafe { libc::kill(self.pid() as libc::pid_t, signal) }, 0);
    }

    /// Ends it as nothing can be prepared for.
    fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The judge.
struct Observer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Observer {
    fn ask(&mut self, line: &str) -> Vec<u64> {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer
            .split_ascii_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    }

    /// Returns the bytes that the driver reports for each process on a device.
    fn processes(&mut self, device: u32) -> Vec<(u32, u64)> {
        let words = self.ask(&device.to_string());
        words[2..]
            .chunks_exact(2)
            .map(|pair| (pair[0] as u32, pair[1]))
            .collect()
    }

    /// Returns the bytes that the driver reports for one process on the first device.
    fn held(&mut self, pid: u32) -> u64 {
        self.processes(0)
            .iter()
            .find(|entry| entry.0 == pid)
            .map_or(0, |entry| entry.1)
    }

    /// Returns the bytes of all processes on the first device.
    fn sum(&mut self) -> u64 {
        self.processes(0).iter().map(|entry| entry.1).sum()
    }

    /// Returns the most bytes that the observer has ever seen for a process.
    fn peak(&mut self, pid: u32) -> u64 {
        let words = self.ask("peak");
        words
            .chunks_exact(2)
            .find(|pair| pair[0] == u64::from(pid))
            .map_or(0, |pair| pair[1])
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for `done`, which on an idle machine takes milliseconds.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns true if this process may mount file systems.
fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
