//! What tests of the CUDA and NVML libraries share: the libraries under their real names, machines,
//! and clients.

// Not every test uses everything.
#![allow(dead_code)]

use fcsp_sim::process::{Holding, holdings};
use fcsp_sim::region::Region;
use fcsp_sim::spec::Topology;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// Returns the directory with the libraries under their real names, and the client: `client.c` of
/// the test that asks.
pub fn bench() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        // <target>/<profile>/deps/<test>-<hash>
        let me = std::env::current_exe().unwrap();
        let test = me.file_name().and_then(|n| n.to_str()).unwrap();
        let test = test.split('-').next().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{test}/client.c"));
        let profile = me.parent().and_then(Path::parent).unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "fcsp-sim-cuda",
            "--package",
            "fcsp-sim-nvml",
        ]);
        cargo
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo.status().unwrap().success(),
            "the libraries do not build"
        );
        let dir = std::env::temp_dir().join(format!("fcsp-sim-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (built, name) in [
            ("libfcsp_sim_cuda.so", "libcuda.so.1"),
            ("libfcsp_sim_nvml.so", "libnvidia-ml.so.1"),
        ] {
            std::fs::copy(profile.join(built), dir.join(name)).unwrap();
        }
        let cc = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-o"])
            .arg(dir.join("client"))
            .arg(source)
            .arg(dir.join("libcuda.so.1"))
            .args(["-lpthread", "-ldl"])
            .status()
            .unwrap();
        assert!(cc.success(), "the client does not compile");
        dir
    })
}

/// One simulated machine.
pub struct Machine {
    spec: String,
    state: PathBuf,
}

/// One client process.
pub struct Client {
    pub child: Child,
    out: BufReader<ChildStdout>,
}

impl Machine {
    pub fn new(name: &str, spec: &str) -> Self {
        let state =
            std::env::temp_dir().join(format!("fcsp-sim-machine-{}-{name}", std::process::id()));
        Self {
            spec: spec.into(),
            state,
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut c = self.command_of(&bench().join("client"));
        c.args(args);
        c
    }

    pub fn command_of(&self, program: &Path) -> Command {
        let mut c = Command::new(program);
        c.env("LD_LIBRARY_PATH", bench())
            .env("FCSP_SIM", &self.spec)
            .env("FCSP_SIM_STATE", &self.state);
        c.env_remove("CUDA_VISIBLE_DEVICES")
            .env_remove("FCSP_SIM_FAULTS")
            .env_remove("LD_PRELOAD");
        c
    }

    pub fn start(&self, args: &[&str]) -> Client {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Client { child, out }
    }

    /// Runs a scenario to its end; what it printed.
    pub fn run(&self, args: &[&str]) -> String {
        let out = self
            .command(args)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(out.status.success(), "{args:?}: {}", out.status);
        String::from_utf8(out.stdout).unwrap().trim().to_string()
    }

    pub fn region(&self) -> (Region, Topology) {
        let t: Topology = self.spec.parse().unwrap();
        (Region::open(&self.state, &t).unwrap(), t)
    }

    pub fn holding(&self, pid: u32) -> Option<Holding> {
        holdings(&self.region().0, 0)
            .into_iter()
            .find(|h| h.pid == pid)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.state);
    }
}

impl Client {
    pub fn line(&mut self) -> String {
        let mut s = String::new();
        self.out.read_line(&mut s).unwrap();
        s.trim().to_string()
    }

    pub fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
