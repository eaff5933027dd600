//! The Level Zero driver from outside: a C client, compiled against the official headers, under
//! Debian's own loader, which loads the driver by `ZE_ENABLE_ALT_DRIVERS`. Every test has a machine
//! of its own.
//!
//! Headers and loader are downloaded on first use (`scripts/fetch-headers.sh`); `FCSP_HEADERS`
//! names a folder that holds them already, `FCSP_OFFLINE=1` goes without, and says so.

use fcsp_sim::process::used;
use fcsp_sim::region::Region;
use fcsp_sim::spec::Topology;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Returns the folder with the driver, the loader and the client.
fn bench() -> Option<&'static Path> {
    static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIR.get_or_init(build).as_deref()
}

/// Returns the folder of the loader's library, which has the machine's architecture in its path.
fn loader(headers: &Path) -> PathBuf {
    let folder = headers.join("levelzero-loader");
    std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("libze_loader.so.1").exists())
        .expect("the package has a loader")
}

fn headers(target: &Path) -> Option<PathBuf> {
    let given = std::env::var_os("FCSP_HEADERS").map(PathBuf::from);
    let offline = std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1");
    let dir = given.clone().unwrap_or_else(|| target.join("headers"));
    if dir.join("levelzero").is_dir() && (given.is_some() || offline) {
        return Some(dir);
    }
    if offline {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            dir.display()
        );
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-headers.sh");
    let status = Command::new(&script)
        .arg(&dir)
        .arg("levelzero")
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the headers could not be fetched ({status})"
    );
    Some(dir)
}

fn build() -> Option<PathBuf> {
    // <target>/<profile>/deps/levelzero-<hash>
    let me = std::env::current_exe().unwrap();
    let profile = me.parent().and_then(Path::parent).unwrap();
    let headers = headers(profile.parent().unwrap())?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "fcsp-sim-levelzero",
        "--manifest-path",
    ]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(
        cargo.status().unwrap().success(),
        "the driver does not build"
    );
    let dir = std::env::temp_dir().join(format!("fcsp-sim-levelzero-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(
        profile.join("libfcsp_sim_levelzero.so"),
        dir.join("libze_fcsp_sim.so.1"),
    )
    .unwrap();
    std::fs::copy(
        loader(&headers).join("libze_loader.so.1"),
        dir.join("libze_loader.so.1"),
    )
    .unwrap();
    let cc = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(dir.join("client"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/levelzero/client.c"
        ))
        .arg("-isystem")
        .arg(headers.join("levelzero"))
        .arg(dir.join("libze_loader.so.1"))
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(cc.success(), "the client does not compile");
    Some(dir)
}

/// One simulated machine.
struct Machine {
    dir: &'static Path,
    spec: &'static str,
    state: PathBuf,
}

impl Machine {
    /// Returns a machine; nothing where headers and loader are not to be had offline.
    fn new(name: &str, spec: &'static str) -> Option<Self> {
        let state =
            std::env::temp_dir().join(format!("fcsp-sim-levelzero-{}-{name}", std::process::id()));
        Some(Self {
            dir: bench()?,
            spec,
            state,
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(self.dir.join("client"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["ZE_", "ZES_", "ZEL_", "FCSP_", "LD_"]
                .iter()
                .any(|p| text.starts_with(p))
            {
                c.env_remove(&name);
            }
        }
        c.args(args)
            .env("LD_LIBRARY_PATH", self.dir)
            .env(
                "ZE_ENABLE_ALT_DRIVERS",
                self.dir.join("libze_fcsp_sim.so.1"),
            )
            .env("ZES_ENABLE_SYSMAN", "1")
            .env("FCSP_SIM", self.spec)
            .env("FCSP_SIM_STATE", &self.state);
        c
    }

    /// Runs a scenario to its end; what it printed.
    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> String {
        let out = self
            .command(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap().trim().to_string();
        assert!(out.status.success(), "{args:?}: {}, {text}", out.status);
        text
    }

    fn used(&self) -> u64 {
        let t: Topology = self.spec.parse().unwrap();
        used(&Region::open(&self.state, &t).unwrap(), 0)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.state);
    }
}

#[test]
fn the_real_loader_finds_devices_and_what_they_say() {
    let Some(m) = Machine::new("properties", "pvcx3") else {
        return;
    };
    assert_eq!(
        m.run(&["properties"], &[]),
        "3 Intel(R) Data Center GPU Max 1100 51539607552"
    );
    let two = m.run(&["properties"], &[("ZE_AFFINITY_MASK", "2,0.0")]);
    assert!(two.starts_with("2 "), "{two}");
}

/// The loader wraps every handle in one of its own where it is asked to, as it does with several
/// drivers.
#[test]
fn the_loaders_own_handles_change_nothing() {
    let Some(m) = Machine::new("intercept", "pvc") else {
        return;
    };
    let wrapped = [("ZE_ENABLE_LOADER_INTERCEPT", "1")];
    for scenario in ["properties", "memory", "work"] {
        m.run(&[scenario], &wrapped);
    }
}

#[test]
fn tables_end_where_their_version_ends() {
    let Some(m) = Machine::new("tables", "tiny") else {
        return;
    };
    let driver = m.dir.join("libze_fcsp_sim.so.1");
    assert_eq!(m.run(&["tables", driver.to_str().unwrap()], &[]), "ok");
}

#[test]
fn memory_of_every_kind_is_counted_and_comes_back() {
    let Some(m) = Machine::new("memory", "pvc") else {
        return;
    };
    assert_eq!(m.run(&["memory"], &[]), "ok");
    assert_eq!(m.used(), 0);
}

#[test]
fn lists_queues_fences_and_events_keep_order_and_time() {
    let Some(m) = Machine::new("work", "pvc") else {
        return;
    };
    assert_eq!(m.run(&["work"], &[]), "ok");
}

#[test]
fn a_dead_processes_memory_is_free_at_once() {
    let Some(m) = Machine::new("death", "tiny") else {
        return;
    };
    for _ in 0..2 {
        let mut child = m
            .command(&["hog"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        // 256 MiB less a context of 8 MiB, in pages of 2 MiB.
        assert_eq!(line.trim(), "124");
        assert_eq!(m.used(), 256 << 20);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn a_forked_child_is_refused_and_never_waits() {
    let Some(m) = Machine::new("forked", "tiny") else {
        return;
    };
    assert_eq!(m.run(&["forked"], &[]), "ok");
}

#[test]
fn faults_are_made_on_demand() {
    let Some(m) = Machine::new("faults", "tiny") else {
        return;
    };
    let out = m
        .command(&["memory"])
        .env("FCSP_SIM_FAULTS", "zeMemAllocDevice=1879048195@2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("0x70000003"), "{text}");
}
