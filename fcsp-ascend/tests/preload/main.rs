//! Tests of Ascend's own features, with real processes under the real preload library on the
//! simulated libraries: two layers that count once, offline models, single operators, collectives,
//! core limits, pools. Tests for every vendor are in `tests/conformance` of the root.
//!
//! Headers are downloaded on first use (`scripts/fetch-headers.sh`). `FCSP_HEADERS` names a folder
//! that contains them. With `FCSP_OFFLINE=1`, tests without headers are left out, with a note. A C
//! and a C++ compiler are needed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use fcsp_core::classify::Class;
use fcsp_core::share::claim_page::Counters;
use fcsp_core::share::files;
use fcsp_core::state::StateDir;

/// The triple of this machine. Builds of the preload libraries name it, since a configuration file
/// may set another one.
#[cfg(target_arch = "x86_64")]
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const TRIPLE: &str = "aarch64-unknown-linux-gnu";

const MIB: u64 = 1 << 20;
const OUT_OF_MEMORY: i32 = 207_001;
const NOT_SUPPORTED: i32 = 207_000;
const CONTEXT: u64 = 64 * MIB;

fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's temporary folder lies in the target folder")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Libraries under their names, the client and the preload library, in one folder; nothing where
/// there are no headers.
fn bench() -> Option<&'static Path> {
    static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIR.get_or_init(build).as_deref()
}

fn headers() -> Option<PathBuf> {
    let given = std::env::var_os("FCSP_HEADERS").map(PathBuf::from);
    let offline = std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1");
    let dir = given
        .clone()
        .unwrap_or_else(|| target_dir().join("headers"));
    if given.is_none() && !offline {
        let status = Command::new(root().join("scripts/fetch-headers.sh"))
            .arg(&dir)
            .arg("ascend")
            .status()
            .unwrap();
        assert!(
            status.success(),
            "the headers could not be fetched ({status})"
        );
    }
    if !dir.join("ascend").is_dir() {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            dir.display()
        );
        return None;
    }
    Some(dir.join("ascend"))
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{errors}");
}

fn build() -> Option<PathBuf> {
    let headers = headers()?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ascend-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    // The same folder and profile as the conformance suite, so that nothing is built twice.
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
    for package in [
        "fcsp-ascend-preload",
        "fcsp-sim-ascend-acl",
        "fcsp-sim-ascend-dcmi",
        "fcsp-sim-ascend-rt",
    ] {
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
    run(&mut cargo);
    for (file, name) in [
        ("libfcsp_sim_ascend_rt.so", "libruntime.so"),
        ("libfcsp_sim_ascend_acl.so", "libascendcl.so"),
        ("libfcsp_sim_ascend_dcmi.so", "libdcmi.so"),
        ("libfcsp_ascend.so", "libfcsp_ascend.so"),
    ] {
        std::fs::copy(
            embed.join(TRIPLE).join("preload").join(file),
            dir.join(name),
        )
        .unwrap();
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload");
    let include = |command: &mut Command| {
        for folder in ["third_party/acl/inc", "third_party/hccl/inc", ""] {
            command.arg("-isystem").arg(headers.join(folder));
        }
    };
    let mut cpp = Command::new("g++");
    cpp.args([
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-Wl,-soname,libhccl.so",
        "-o",
    ])
    .arg(dir.join("libhccl.so"))
    .arg(sources.join("hccl.cpp"));
    include(&mut cpp);
    run(cpp.arg(dir.join("libruntime.so")));
    let mut cc = Command::new("cc");
    cc.args([
        "-O1",
        "-Wall",
        "-Werror",
        "-Wno-deprecated-declarations",
        "-o",
    ])
    .arg(dir.join("client"))
    .arg(sources.join("client.c"));
    include(&mut cc);
    run(cc
        .arg(dir.join("libascendcl.so"))
        .arg(dir.join("libruntime.so"))
        .arg("-ldl"));
    Some(dir)
}

/// A simulated machine with state of its own.
struct Machine {
    dir: &'static Path,
    state: tempfile::TempDir,
}

impl Machine {
    fn new() -> Option<Self> {
        Some(Self {
            dir: bench()?,
            state: tempfile::tempdir().unwrap(),
        })
    }

    /// Returns the command of the client under the preload library.
    fn command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(self.dir.join("client"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FCSP_", "LD_", "ASCEND_"]
                .iter()
                .any(|p| text.starts_with(p))
            {
                command.env_remove(&name);
            }
        }
        command
            .env("LD_PRELOAD", self.dir.join("libfcsp_ascend.so"))
            .env("LD_LIBRARY_PATH", self.dir)
            .env("FCSP_SIM", "910b,memory=4GiB,context=64MiB")
            .env("FCSP_SIM_STATE", self.state.path().join("device"))
            .env("FCSP_STATE_DIR", self.state.path().join("state"))
            .env("FCSP_TENANT", "a")
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    /// Starts the client and opens its device.
    fn client(&self, settings: &[(&str, &str)]) -> Client {
        let mut child = self.command(settings).spawn().unwrap();
        let mut client = Client {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        client.ok("open 0");
        client
    }

    fn counters(&self) -> Counters {
        let state = StateDir::at(self.state.path().join("state"));
        let devices = std::fs::read_dir(self.state.path().join("state/devices")).unwrap();
        let mut found = devices.filter_map(|entry| {
            let uuid = entry.unwrap().file_name().to_str()?.parse().ok()?;
            files::read(&state, &uuid, "a")
        });
        found.next().expect("the tenant has a page").counters
    }
}

struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn call(&mut self, command: &str) -> (i32, u64) {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        assert_ne!(
            self.output.read_line(&mut line).unwrap(),
            0,
            "the client died of {command}"
        );
        let (code, number) = line.trim().split_once(' ').unwrap();
        (code.parse().unwrap(), number.parse().unwrap())
    }

    fn ok(&mut self, command: &str) -> u64 {
        let (code, number) = self.call(command);
        assert_eq!(code, 0, "{command}");
        number
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whichever_layer_is_called_memory_counts_once() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let mut client = machine.client(&[("FCSP_MEMORY_LIMIT", "1GiB")]);
    let whole = client.ok("free");
    assert_eq!(whole, 1024 * MIB - CONTEXT);
    let ways = ["acl", "cfg", "rt", "dvpp"];
    for take in ways {
        for give in ["aclfree", "rtfree"] {
            let at = client.ok(&format!("{take} {}", 64 * MIB));
            assert_eq!(client.ok("free"), whole - 64 * MIB, "{take}");
            client.ok(&format!("{give} {at}"));
            assert_eq!(client.ok("free"), whole, "{take} {give}");
        }
    }
    // As ACL pads it, a whole page more; and small pages below 1 MiB.
    let at = client.ok(&format!("padded {}", 64 * MIB));
    assert_eq!(client.ok("free"), whole - 66 * MIB);
    client.ok(&format!("aclfree {at}"));
    client.ok("acl 5000");
    assert_eq!(client.ok("free"), whole - 8192);
    // Refusals are the driver's own answer, by every way, and change nothing.
    for take in ways {
        assert_eq!(
            client.call(&format!("{take} {}", 1000 * MIB)).0,
            OUT_OF_MEMORY,
            "{take}"
        );
        assert_eq!(client.ok("free"), whole - 8192, "{take}");
    }
    assert_eq!(client.ok("rttotal"), 1024 * MIB);
    // Everything goes with the device.
    client.ok("close 0");
    assert_eq!(client.call("free").0, 107_002, "no context is current");
}

#[test]
fn a_models_memory_is_what_the_runtime_takes_for_it() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let mut client = machine.client(&[("FCSP_MEMORY_LIMIT", "1GiB")]);
    client.ok("load fcsp-model weights=4096");
    let before = client.ok("free");
    let model = client.ok(&format!(
        "load fcsp-model weights={} work={} ns=1000",
        128 * MIB,
        64 * MIB
    ));
    let taken = before - client.ok("free");
    // Code takes a page besides.
    assert!(
        (192 * MIB..192 * MIB + 64 * 1024).contains(&taken),
        "{taken} bytes"
    );
    let full = format!("load fcsp-model weights={} work={}", 512 * MIB, 512 * MIB);
    assert_eq!(
        client.call(&full).0,
        OUT_OF_MEMORY,
        "the work space does not fit beside"
    );
    let near = |free: u64, expected: u64| free.abs_diff(expected) < 64 * 1024;
    assert!(
        near(client.ok("free"), before - taken),
        "the weights were given back"
    );
    client.ok(&format!("unload {model}"));
    assert!(near(client.ok("free"), before));
}

#[test]
fn pools_are_not_to_be_had_under_a_quota() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let mut client = machine.client(&[("FCSP_MEMORY_LIMIT", "1GiB")]);
    assert_eq!(client.call("pool").0, NOT_SUPPORTED);
    let Some(another) = Machine::new() else {
        return;
    };
    let mut free = another.client(&[]);
    assert_eq!(
        free.call("pool").0,
        200_001,
        "without a quota the driver answers for itself"
    );
}

#[test]
fn whichever_way_work_is_launched_it_is_charged_once() {
    const LAUNCHES: u64 = 50;
    const NS: u64 = 2_000_000;
    let ways = [
        "hostargs", "config", "devargs", "plain", "stub", "operator", "cpu", "aclop", "aclmdl",
        "recorded",
    ];
    for way in ways {
        let Some(machine) = Machine::new() else {
            return;
        };
        let mut client = machine.client(&[("FCSP_COMPUTE_LIMIT", "90%")]);
        // The first are charged by a guess, which later ones correct.
        client.ok(&format!("launch {way} {LAUNCHES} {NS}"));
        let charged = machine.counters().consumed as f64 / (LAUNCHES * NS) as f64;
        assert!(
            (0.7..1.4).contains(&charged),
            "{way}: charged {charged:.2} of what it took"
        );
    }
}

#[test]
fn collectives_are_charged_and_held_to_the_share() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let strict = [
        ("FCSP_COMPUTE_LIMIT", "2%"),
        ("FCSP_MODE", "strict"),
        ("FCSP_MEMORY_LIMIT", "1GiB"),
    ];
    let mut client = machine.client(&strict);
    client.ok("hccl");
    let free = client.ok("free");
    client.ok("launch hccl 5 0");
    assert!(
        free - client.ok("free") >= 32 * MIB,
        "its buffers count, though the call is a launch"
    );
    let before = machine.counters();
    // Forty of a millisecond, of which the tenant may owe two.
    client.ok("launch hccl 40 0");
    client.ok("launch hostargs 10 1000000");
    let after = machine.counters();
    assert!(
        after.waits > before.waits,
        "held back when they owe too much"
    );
    let charged = (after.consumed - before.consumed) as f64 / 50e6;
    assert!((0.6..1.6).contains(&charged), "charged {charged:.2}");
    let at = Class::ALL
        .iter()
        .position(|class| *class == Class::Collective)
        .unwrap();
    assert!(
        after.classes[at] > before.classes[at],
        "known for what they are"
    );
}

#[test]
fn cores_are_limited_where_asked_and_never_beside_collectives() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let share = ("FCSP_COMPUTE_LIMIT", "25%");
    let mut plain = machine.client(&[share]);
    assert_eq!((plain.ok("cores 0"), plain.ok("cores 1")), (20, 40));
    let mut limited = machine.client(&[share, ("FCSP_ASCEND_CORES", "quota")]);
    assert_eq!((limited.ok("cores 0"), limited.ok("cores 1")), (5, 10));
    // Loaded after the device was opened: the first collective takes the limits away.
    limited.ok("hccl");
    limited.ok("launch hccl 1 0");
    assert_eq!((limited.ok("cores 0"), limited.ok("cores 1")), (20, 40));
}

#[test]
fn a_wrong_word_about_cores_is_said_and_nothing_is_to_be_had() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let opened = |name: &str, value: &str| {
        let settings = [
            ("FCSP_COMPUTE_LIMIT", "25%"),
            ("FCSP_LOG", "1"),
            (name, value),
        ];
        let mut child = machine
            .command(&settings)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"open 0\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (answer, said) = opened("FCSP_ASCEND_CORES", "half");
    assert!(
        said.contains("FCSP_ASCEND_CORES: \"half\" is neither quota nor none"),
        "{said}"
    );
    assert_eq!(
        answer,
        opened("FCSP_MEMORY_LIMIT", "half").0,
        "as any other limit that cannot be read"
    );
    assert!(!answer.starts_with("0 "), "{answer}");
    assert_eq!(opened("FCSP_ASCEND_CORES", "none").0, "0 0\n");
}
