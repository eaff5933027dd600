//! A simulated machine of a vendor, programs on it, and what they answer.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::vendors::Vendor;
use crate::virtual_time::World;

/// The triple of this machine. Builds of the preload libraries name it, since a configuration file
/// may set another one.
#[cfg(target_arch = "x86_64")]
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const TRIPLE: &str = "aarch64-unknown-linux-gnu";

fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's temporary folder lies in the target folder")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Files that a vendor's cases need.
#[derive(Debug, Clone)]
struct Built {
    client: PathBuf,
    preload: PathBuf,
    sim: PathBuf,
}

/// Builds a vendor's libraries and client, once a run. Returns `None` if its headers are not
/// available offline.
fn built(vendor: &Vendor) -> Option<Built> {
    static BUILT: Mutex<Option<HashMap<&'static str, Option<Built>>>> = Mutex::new(None);
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default()
        .entry(vendor.name)
        .or_insert_with(|| build(vendor))
        .clone()
}

fn build(vendor: &Vendor) -> Option<Built> {
    let headers = headers(vendor)?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("conformance")
        .join(vendor.name);
    let sim = dir.join("sim");
    std::fs::create_dir_all(&sim).unwrap();
    // The same folder and profile as the build script of the command, so that what it built is not
    // built again.
    let embed = target_dir().join("embed");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args([
            "build",
            "--quiet",
            "--profile",
            "preload",
            "--target",
            TRIPLE,
            "--target-dir",
        ])
        .arg(&embed);
    for package in vendor.packages {
        cargo.args(["-p", package]);
    }
    for flags in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(flags);
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for (file, name) in vendor.sim {
        replace(
            &embed.join(TRIPLE).join("preload").join(file),
            &sim.join(name),
        );
    }
    for (folder, name) in vendor.fetched {
        let folder = headers.join(folder);
        let found =
            below(&folder, name).unwrap_or_else(|| panic!("no {name} below {}", folder.display()));
        replace(&found, &sim.join(name));
    }
    let preload = dir.join(vendor.preload);
    replace(
        &embed.join(TRIPLE).join("preload").join(vendor.preload),
        &preload,
    );

    let client = dir.join("client");
    let fresh = dir.join(format!("client.{}", std::process::id()));
    let libraries: Vec<PathBuf> = vendor.linked.iter().map(|name| sim.join(name)).collect();
    let arguments: Vec<&str> = libraries
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect();
    compile(vendor, vendor.client, &fresh, &arguments);
    std::fs::rename(&fresh, &client).unwrap();
    Some(Built {
        client,
        preload,
        sim,
    })
}

/// Compiles a file of `clients/` against a vendor's headers, which must be there.
pub fn compile(vendor: &Vendor, source: &str, result: &Path, arguments: &[&str]) {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut cc = Command::new(&compiler);
    cc.args([
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",
        "-Wno-sign-compare",
        "-o",
    ])
    .arg(result)
    .arg(root().join("tests/conformance/clients").join(source));
    for folder in vendor.headers {
        // Official headers need not be free of warnings.
        cc.arg("-isystem")
            .arg(headers(vendor).expect("headers were there").join(folder));
    }
    let output = cc
        .args(vendor.options)
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
}

/// Finds a file of this name in a folder or in one of its folders, such as that of the machine's
/// architecture.
fn below(folder: &Path, name: &str) -> Option<PathBuf> {
    let here = folder.join(name);
    if here.exists() {
        return Some(here);
    }
    let mut entries = std::fs::read_dir(folder).ok()?;
    entries.find_map(|entry| below(&entry.ok()?.path(), name))
}

/// Copies a file to its place in one step: another run may have the old one loaded.
fn replace(from: &Path, to: &Path) {
    let fresh = to.with_extension(format!("fresh.{}", std::process::id()));
    std::fs::copy(from, &fresh).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    std::fs::rename(&fresh, to).unwrap();
}

/// Finds the folder of the files that were fetched for a vendor. Returns `None` if they are not
/// available offline.
pub fn headers(vendor: &Vendor) -> Option<PathBuf> {
    let given = std::env::var_os("FCSP_HEADERS").map(PathBuf::from);
    let offline = std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1");
    let dir = given
        .clone()
        .unwrap_or_else(|| target_dir().join("headers"));
    if vendor.headers.is_empty() {
        return Some(dir);
    }
    let there = vendor
        .headers
        .iter()
        .all(|folder| dir.join(folder).is_dir());
    if there && (given.is_some() || offline) {
        return Some(dir);
    }
    if offline {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            dir.display()
        );
        return None;
    }
    let script = root().join("scripts/fetch-headers.sh");
    let status = Command::new(&script).arg(&dir).arg(vendor.fetch).status();
    let status = status.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        status.success(),
        "the headers of {} could not be fetched ({status}): set FCSP_HEADERS to a folder that \
         scripts/fetch-headers.sh filled, or FCSP_OFFLINE=1 to go without this test",
        vendor.name
    );
    Some(dir)
}

/// A simulated machine with state of its own, which goes away with it.
pub struct Machine {
    vendor: &'static Vendor,
    built: Built,
    dir: tempfile::TempDir,
    /// The world of its processes if they live in virtual time.
    world: Option<Arc<World>>,
}

impl Machine {
    /// Creates a machine of this vendor. Returns `None` if its headers are not available offline.
    pub fn new(vendor: &'static Vendor) -> Option<Self> {
        Some(Self {
            vendor,
            built: built(vendor)?,
            dir: tempfile::tempdir().unwrap(),
            world: None,
        })
    }

    /// Creates a machine whose processes live in virtual time. Returns `None` also if this kernel
    /// or sandbox has no means for it.
    #[allow(dead_code, reason = "for benches/vendors.rs, which includes this file")]
    pub fn timed(vendor: &'static Vendor) -> Option<Self> {
        let mut machine = Self::new(vendor)?;
        machine.world = Some(Arc::new(World::new()?));
        Some(machine)
    }

    /// Returns the world of a machine in virtual time.
    #[allow(dead_code, reason = "for benches/vendors.rs, which includes this file")]
    pub fn world(&self) -> &World {
        self.world.as_ref().expect("a machine in virtual time")
    }

    /// Runs a command of this machine to its end.
    pub fn output(&self, command: &mut Command) -> Output {
        lasting(self.world.as_deref(), || command.output().unwrap())
    }

    fn start(&self, command: Command) -> Client {
        Client::start(command, self.world.clone())
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the client's file.
    #[allow(dead_code, reason = "for benches/vendors.rs, which includes this file")]
    pub fn client(&self) -> &Path {
        &self.built.client
    }

    /// Returns the command of a program on this machine, without the preload library.
    pub fn bare(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours = [
                "FCSP_", "BUD_", "LD_", "CUDA_", "HIP_", "HSA_", "ROCR_", "ZE_", "ASCEND_",
                "HABANA_",
            ];
            if ours.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let sim = self.built.sim.to_str().unwrap();
        for (name, value) in self.vendor.environment {
            command.env(name, value.replace("{sim}", sim));
        }
        command
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("LD_LIBRARY_PATH", &self.built.sim)
            .env("FCSP_STATE_DIR", self.path().join("state"))
            .env("FCSP_SIM", self.vendor.spec)
            .env("FCSP_SIM_STATE", self.path().join("device"))
            .stdin(Stdio::null());
        if let Some(world) = &self.world {
            world.adopt(&mut command);
        }
        command
    }

    /// Starts the client without the preload library; it waits for commands.
    pub fn judge(&self) -> Judge {
        let mut client = self.start(self.bare(&self.built.client));
        // Simulated management libraries need no device to be open, which would be one more process
        // on it.
        assert_ne!(client.code("route linked"), 9997);
        Judge { client }
    }

    /// Starts the client by plain preload, with these settings.
    pub fn governed(&self, settings: &[(&str, &str)]) -> Client {
        let mut command = self.bare(&self.built.client);
        command
            .env("LD_PRELOAD", &self.built.preload)
            .envs(settings.iter().copied());
        self.start(command)
    }

    /// Returns the command of another program by plain preload, with these settings.
    pub fn program(&self, program: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = self.bare(program);
        command
            .env("LD_PRELOAD", &self.built.preload)
            .envs(settings.iter().copied());
        command
    }

    /// Returns the `fcsp` command on this machine.
    pub fn fcsp(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(env!("CARGO_BIN_EXE_fcsp"));
        command.args(arguments);
        command
    }

    /// Returns the command of a program by `fcsp run` with these options.
    pub fn run(&self, options: &[&str], program: &Path) -> Command {
        let mut command = self.bare(env!("CARGO_BIN_EXE_fcsp"));
        command
            .args(["run", "--vendor", self.vendor.name])
            .args(options)
            .arg("--")
            .arg(program);
        command
    }

    /// Starts the client by `fcsp run` with these options.
    pub fn run_client(&self, options: &[&str]) -> Client {
        self.start(self.run(options, &self.built.client))
    }

    /// Returns the preload library.
    pub fn preload(&self) -> &Path {
        &self.built.preload
    }

    /// Returns the folder of the simulated libraries.
    pub fn sim(&self) -> &Path {
        &self.built.sim
    }

    /// Starts the client with these variables and no preload library. `{preload}` and `{sim}` stand
    /// for that library's file and the folder of the simulated ones.
    pub fn otherwise(&self, settings: &[(&str, &str)]) -> Client {
        let mut command = self.bare(&self.built.client);
        for (name, value) in settings {
            let value = value.replace("{preload}", self.built.preload.to_str().unwrap());
            command.env(
                name,
                value.replace("{sim}", self.built.sim.to_str().unwrap()),
            );
        }
        self.start(command)
    }

    /// Starts the client in a PID namespace of its own. Management libraries list processes there
    /// by their outside numbers, as in a container. Returns `None`, with a note, if no namespace
    /// can be made.
    #[allow(dead_code, reason = "for benches/vendors.rs, which includes this file")]
    pub fn contained(&self, settings: &[(&str, &str)]) -> Option<Client> {
        const INSIDE: [&str; 5] = [
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ];
        let can = Command::new("unshare").args(INSIDE).arg("true").output();
        if !can.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: this needs a PID namespace");
            return None;
        }
        let mut command = self.program(Path::new("unshare"), settings);
        command
            .args(INSIDE)
            .arg(&self.built.client)
            .env("FCSP_SIM_NVML", "hostpid");
        Some(self.start(command))
    }

    /// Starts the client of a tenant with this quota and opens the first device.
    pub fn open(&self, tenant: &str, quota: u64) -> Client {
        let mut client = self.governed(&[
            ("FCSP_TENANT", tenant),
            ("FCSP_MEMORY_LIMIT", &quota.to_string()),
        ]);
        client.ok("open 0");
        client
    }

    /// Starts the client without any library between it and the driver.
    pub fn plain(&self) -> Client {
        self.start(self.bare(&self.built.client))
    }

    /// Starts the same client and opens the first device.
    pub fn free(&self) -> Client {
        let mut client = self.plain();
        client.ok("open 0");
        client
    }

    /// Starts a busy client of a tenant with these settings, with kernels of a millisecond or with
    /// recorded work.
    pub fn busy(&self, tenant: &str, settings: &[(&str, &str)], recorded: bool) -> Busy {
        let all = [&[("FCSP_TENANT", tenant)][..], settings].concat();
        self.keep_busy(self.governed(&all), tenant, recorded)
    }

    /// Starts a busy client with kernels of so many ns.
    #[allow(dead_code, reason = "for benches/vendors.rs, which includes this file")]
    pub fn busy_for(&self, tenant: &str, settings: &[(&str, &str)], ns: u64) -> Busy {
        let all = [&[("FCSP_TENANT", tenant)][..], settings].concat();
        let mut client = self.governed(&all);
        client.ok("open 0");
        self.launch_on(client, tenant, ns, 0)
    }

    /// Keeps a client busy that has done nothing yet; its words are in a file of this name.
    pub fn keep_busy(&self, mut client: Client, name: &str, recorded: bool) -> Busy {
        client.ok("open 0");
        let handle = if recorded {
            client.ok("record 1 1000000")
        } else {
            0
        };
        self.launch_on(client, name, 1_000_000, handle)
    }

    fn launch_on(&self, mut client: Client, name: &str, ns: u64, handle: u64) -> Busy {
        let path = self.path().join(format!("{name}.words"));
        std::fs::write(&path, [0; 64]).unwrap();
        client.tell(&format!("busy {} {ns} {handle}", path.display()));
        let busy = Busy {
            words: std::fs::File::open(path).unwrap(),
            client,
        };
        self.wait_for("the client's first work", || busy.done() > 20);
        busy
    }

    /// Keeps a client busy with this work. [`Busy::done`] is the ns of device time that it has had.
    pub fn owed(&self, tenant: &str, settings: &[(&str, &str)], work: Work) -> Busy {
        let path = self.path().join(format!("{tenant}.words"));
        std::fs::write(&path, [0; 64]).unwrap();
        let mut client = self.governed(&[&[("FCSP_TENANT", tenant)][..], settings].concat());
        client.ok("open 0");
        client.tell(&format!("owed {} {}", path.display(), work as u8));
        Busy {
            words: std::fs::File::open(path).unwrap(),
            client,
        }
    }

    /// Waits for `done`, by the machine's clock.
    pub fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let Some(world) = &self.world else {
            return wait_for(what, done);
        };
        for _ in 0..3_000 {
            if done() {
                return;
            }
            world.advance(Duration::from_millis(10));
        }
        panic!("waited in vain for {what}");
    }

    /// Returns a tenant as `fcsp ps` shows it.
    pub fn tenant(&self, name: &str) -> serde_json::Value {
        let output = self.output(&mut self.fcsp(&["ps", "--all", "--json"]));
        assert!(output.status.success(), "{}", stderr(&output));
        let listing: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        listing["tenants"]
            .as_array()
            .and_then(|all| all.iter().find(|tenant| tenant["name"] == name))
            .unwrap_or_else(|| panic!("no tenant {name} in {listing}"))
            .clone()
    }

    /// Returns the most that all processes together ever held on the first device, by the machine's
    /// own account.
    pub fn peak(&self) -> u64 {
        let topology = self.vendor.spec.parse().unwrap();
        let region =
            fcsp_sim::region::Region::open(&self.path().join("device"), &topology).unwrap();
        fcsp_sim::process::peak(&region, 0)
    }

    /// Returns the bytes that a tenant uses, by `fcsp ps`.
    pub fn used(&self, tenant: &str) -> u64 {
        self.tenant(tenant)["used_bytes"].as_u64().unwrap()
    }
}

/// A running client.
pub struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    world: Option<Arc<World>>,
}

/// Runs `action`, which waits for a process of this world, while its time passes.
fn lasting<R>(world: Option<&World>, action: impl FnOnce() -> R) -> R {
    match world {
        Some(world) => world.during(action),
        None => action(),
    }
}

impl Client {
    fn start(mut command: Command, world: Option<Arc<World>>) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            world,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("the client takes commands");
        writeln!(input, "{command}").unwrap();
        input.flush().unwrap();
    }

    /// Returns the answer to a command that was sent.
    pub fn hear(&mut self) -> (i32, Vec<u64>) {
        let mut line = String::new();
        let output = &mut self.output;
        let read = lasting(self.world.as_deref(), || output.read_line(&mut line)).unwrap();
        assert_ne!(read, 0, "the client died");
        let mut words = line.split_ascii_whitespace();
        let code = words.next().unwrap().parse().unwrap();
        (code, words.map(|word| word.parse().unwrap()).collect())
    }

    /// Returns the answer to a command, or `None` if the client died of it.
    pub fn survives(&mut self, command: &str) -> Option<(i32, Vec<u64>)> {
        let input = self.input.as_mut().expect("the client takes commands");
        let mut line = String::new();
        // A pipe whose reader is dead says so in an error.
        if writeln!(input, "{command}")
            .and_then(|()| input.flush())
            .is_err()
            || lasting(self.world.as_deref(), || self.output.read_line(&mut line)).unwrap() == 0
        {
            // A dying process closes its pipes before it is dead.
            self.child.wait().unwrap();
            return None;
        }
        let mut words = line.split_ascii_whitespace();
        let code = words.next().unwrap().parse().unwrap();
        Some((code, words.map(|word| word.parse().unwrap()).collect()))
    }

    /// Returns the driver's code and values for a command.
    pub fn call(&mut self, command: &str) -> (i32, Vec<u64>) {
        self.tell(command);
        self.hear()
    }

    pub fn code(&mut self, command: &str) -> i32 {
        self.call(command).0
    }

    /// Returns the values of a command that must succeed.
    pub fn values(&mut self, command: &str) -> Vec<u64> {
        let (code, values) = self.call(command);
        assert_eq!(code, 0, "{command}");
        values
    }

    /// Returns the first value of a command that must succeed, or 0 if it has none.
    pub fn ok(&mut self, command: &str) -> u64 {
        self.values(command).first().copied().unwrap_or(0)
    }

    pub fn refused(&mut self, vendor: &Vendor, command: &str) {
        assert_eq!(self.code(command), vendor.out_of_memory, "{command}");
    }

    /// Takes by `command` until refused; the first value of each answer.
    pub fn fill(&mut self, vendor: &Vendor, command: &str) -> Vec<u64> {
        let mut taken = Vec::new();
        loop {
            match self.call(command) {
                (0, values) => taken.push(values[0]),
                (code, _) => {
                    assert_eq!(
                        code,
                        vendor.out_of_memory,
                        "{command} after {} of them",
                        taken.len()
                    );
                    return taken;
                }
            }
        }
    }

    /// Ends it as nothing can be prepared for.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as programs end.
    pub fn exit(mut self) {
        self.input = None;
        let child = &mut self.child;
        let status = lasting(self.world.as_deref(), || child.wait());
        assert!(status.unwrap().success());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks from outside, by the management library.
pub struct Judge {
    client: Client,
}

impl Judge {
    /// Returns the bytes of each process.
    pub fn processes(&mut self) -> Vec<(u32, u64)> {
        let words = self.client.values("processes 0");
        words
            .chunks_exact(2)
            .map(|pair| (pair[0] as u32, pair[1]))
            .collect()
    }

    /// Returns the bytes of one process.
    pub fn held(&mut self, pid: u32) -> u64 {
        self.processes()
            .iter()
            .find(|entry| entry.0 == pid)
            .map_or(0, |entry| entry.1)
    }

    /// Returns the bytes of all processes.
    pub fn sum(&mut self) -> u64 {
        self.processes().iter().map(|entry| entry.1).sum()
    }
}

/// A client that keeps the device busy until it is dropped.
pub struct Busy {
    words: std::fs::File,
    client: Client,
}

impl Busy {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.client.pid()
    }

    /// Launches that are done.
    pub fn done(&self) -> u64 {
        let mut bytes = [0; 8];
        self.words.read_exact_at(&mut bytes, 0).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Launches a second of several, over the same second.
    pub fn rates<const N: usize>(clients: [&Self; N]) -> [f64; N] {
        let before = clients.map(Self::done);
        if let Some(world) = &clients[0].client.world {
            world.advance(Duration::from_secs(1));
            return std::array::from_fn(|i| (clients[i].done() - before[i]) as f64);
        }
        let begun = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let seconds = begun.elapsed().as_secs_f64();
        std::array::from_fn(|i| (clients[i].done() - before[i]) as f64 / seconds)
    }

    pub fn rate(&self) -> f64 {
        Self::rates([self])[0]
    }
}

/// Work of a client, numbered as in `client.h`.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Kernels of 10 us, of which one in 50 takes 5 ms, each waited for.
    Varies,
    /// A recording made anew for each launch.
    Anew,
    /// Kernels as in [`Work::Varies`], never waited for. [`Busy::done`] counts submitted work.
    VariesAhead,
    /// Kernels of 0.5 ms, each waited for.
    Steps,
}

/// Waits for `done`, which on an idle machine takes milliseconds.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
