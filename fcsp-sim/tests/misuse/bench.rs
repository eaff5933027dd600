//! Clients and machines of this test.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A vendor's simulated driver and its client.
#[derive(Debug)]
pub struct Vendor {
    /// The client's file, without `.c`.
    pub name: &'static str,
    /// The simulated machine.
    pub spec: &'static str,
    /// Packages that make the libraries below.
    pub packages: &'static [&'static str],
    /// The libraries as cargo names them, and as programs load them.
    pub libraries: &'static [(&'static str, &'static str)],
    /// The folder with libraries and client, once they are built.
    pub folder: OnceLock<PathBuf>,
}

impl Vendor {
    fn folder(&self) -> &Path {
        self.folder.get_or_init(|| self.build())
    }

    fn build(&self) -> PathBuf {
        // <target>/<profile>/deps/misuse-<hash>
        let me = std::env::current_exe().unwrap();
        let profile = me.parent().and_then(Path::parent).unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        for package in self.packages {
            cargo.args(["--package", package]);
        }
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo.status().unwrap().success(),
            "the libraries do not build"
        );
        let folder = std::env::temp_dir().join(format!(
            "fcsp-sim-misuse-{}-{}",
            self.name,
            std::process::id()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        for (built, name) in self.libraries {
            std::fs::copy(profile.join(built), folder.join(name)).unwrap();
        }
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/misuse/{}.c", self.name));
        let cc = Command::new("cc")
            .args(["-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(folder.join("client"))
            .arg(source)
            .args(["-lpthread", "-ldl"])
            .status()
            .unwrap();
        assert!(cc.success(), "the client does not compile");
        folder
    }

    /// Runs a scenario. The rules that hold by default hold where `environment` says nothing of
    /// `FCSP_SIM_STRICT`.
    pub fn run(&self, scenario: &str, environment: &[(&str, &str)]) -> Output {
        let state = std::env::temp_dir().join(format!(
            "fcsp-sim-misuse-{}-{}-{scenario}",
            self.name,
            std::process::id()
        ));
        let mut client = Command::new(self.folder().join("client"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let foreign = ["FCSP_", "LD_", "HIP_", "HSA_", "ZE_", "ASCEND_"];
            if foreign.iter().any(|prefix| text.starts_with(prefix)) {
                client.env_remove(&name);
            }
        }
        client
            .arg(scenario)
            .env("LD_LIBRARY_PATH", self.folder())
            .env("FCSP_SIM", self.spec)
            .env("FCSP_SIM_STATE", &state)
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        let out = client.output().unwrap();
        let _ = std::fs::remove_file(&state);
        // A card of Gaudi's has a file beside the machine's.
        let _ = std::fs::remove_file(format!("{}.accel0", state.display()));
        out
    }

    /// Demands that a scenario gets as far as its misuse and dies there by `SIGSEGV`, with one line
    /// on stderr that begins with `call` and contains the words.
    pub fn dies(&self, scenario: &str, call: &str, words: &[&str]) {
        let out = self.run(scenario, &[]);
        let (said, line) = (text(&out.stdout), text(&out.stderr));
        let what = format!(
            "{}, {scenario}: {}, '{said}', '{line}'",
            self.name, out.status
        );
        assert_eq!(said, "ready", "{what}");
        assert_eq!(out.status.signal(), Some(libc::SIGSEGV), "{what}");
        assert!(line.starts_with(&format!("fcsp-sim: {call}: ")), "{what}");
        assert_eq!(line.lines().count(), 1, "{what}");
        for word in words {
            assert!(line.contains(word), "{what}: no '{word}'");
        }
    }

    /// Demands that a scenario ends well; what it printed before it said so.
    pub fn says(&self, scenario: &str, environment: &[(&str, &str)]) -> String {
        let out = self.run(scenario, environment);
        let (said, line) = (text(&out.stdout), text(&out.stderr));
        let what = format!(
            "{}, {scenario}: {}, '{said}', '{line}'",
            self.name, out.status
        );
        assert!(out.status.success(), "{what}");
        said.strip_suffix("survived")
            .expect(&what)
            .trim()
            .to_string()
    }
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_string()
}
