//! `cargo xtask check`: builds that the usual ones leave out, and scripts.
//!
//! ```text
//! cargo xtask check [duplication|imports|features|msrv|aarch64|miri|scripts|spelling|toml ...]
//! ```
//! | check | demands |
//! |---|---|
//! | `duplication` | two backends, or two files of the simulator, share no long run of lines |
//! | `imports` | no two files of a backend import each other, directly or through others |
//! | `features` | each crate compiles alone: without features, with each one, with all |
//! | `msrv` | the workspace compiles with the oldest toolchain that its manifest names |
//! | `aarch64` | the libraries compile for `aarch64-unknown-linux-gnu` |
//! | `miri` | Miri finds nothing in tests of the core's arithmetic (nightly toolchain) |
//! | `scripts` | `shellcheck` has nothing to say about the shell scripts |
//! | `spelling` | `typos` finds nothing (`.typos.toml`) |
//! | `toml` | `taplo` finds all TOML formatted (`.taplo.toml`) |
//!
//! A check whose tool or target is not installed is skipped with one line. The crates compile as
//! libraries and programs, not as tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::materials::list;

/// The target of the check `aarch64`.
const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// The tests that Miri runs: those of parts that make no system calls, without long ones.
const MIRI_TESTS: &[&str] = &[
    "memory::",
    "region::ahead",
    "region::ledger",
    "region::physical",
    "share::recent_average",
    "share::margin",
    "--skip",
    "threads",
];

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Duplication,
    Imports,
    Features,
    Msrv,
    Aarch64,
    Miri,
    Scripts,
    Spelling,
    Toml,
}

impl Check {
    const ALL: [(&'static str, Self); 9] = [
        ("duplication", Self::Duplication),
        ("imports", Self::Imports),
        ("features", Self::Features),
        ("msrv", Self::Msrv),
        ("aarch64", Self::Aarch64),
        ("miri", Self::Miri),
        ("scripts", Self::Scripts),
        ("spelling", Self::Spelling),
        ("toml", Self::Toml),
    ];

    fn parse(args: impl Iterator<Item = String>) -> Result<Vec<Self>> {
        let mut checks = args
            .map(|arg| {
                let named = Self::ALL.into_iter().find(|(name, _)| *name == arg);
                let names = Self::ALL.map(|(name, _)| name).join(", ");
                Ok(named
                    .with_context(|| format!("'{arg}' is none of {names}"))?
                    .1)
            })
            .collect::<Result<Vec<_>>>()?;
        if checks.is_empty() {
            checks = Self::ALL.map(|(_, check)| check).to_vec();
        }
        Ok(checks)
    }
}

/// Runs the command in the repository's root. Returns whether every check passed or was skipped.
pub fn run(args: impl Iterator<Item = String>) -> Result<bool> {
    let mut passed = true;
    for check in Check::parse(args)? {
        passed &= match check {
            Check::Duplication => crate::duplication::run()?,
            Check::Imports => crate::imports::run()?,
            Check::Features => features()?,
            Check::Msrv => msrv()?,
            Check::Aarch64 => aarch64()?,
            Check::Miri => miri()?,
            Check::Scripts => scripts()?,
            Check::Spelling => tool("spelling", "typos", &[])?,
            Check::Toml => tool("toml", "taplo", &["fmt", "--check"].map(str::to_owned))?,
        };
    }
    Ok(passed)
}

/// One crate and the features that `cargo check` is to enable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Build {
    package: String,
    features: Vec<String>,
}

impl Build {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["--package", &self.package, "--no-default-features"]
            .map(str::to_owned)
            .to_vec();
        if !self.features.is_empty() {
            arguments.extend(["--features".to_owned(), self.features.join(",")]);
        }
        arguments
    }
}

/// Lists the crates of the workspace with each of their feature sets.
fn builds(metadata: &Value) -> Vec<Build> {
    let mut builds = Vec::new();
    for package in list(metadata, "packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let features = package["features"].as_object();
        let features: Vec<&String> = features
            .into_iter()
            .flat_map(|features| features.keys())
            .collect();
        let named = features
            .iter()
            .copied()
            .filter(|feature| *feature != "default");
        let mut sets: Vec<Vec<String>> = vec![Vec::new()];
        sets.extend(named.clone().map(|feature| vec![feature.clone()]));
        sets.push(named.cloned().collect());
        sets.dedup();
        builds.extend(sets.into_iter().map(|features| Build {
            package: name.to_owned(),
            features,
        }));
    }
    builds.sort();
    builds.dedup();
    builds
}

/// Asks cargo about the crates of the workspace alone.
fn workspace() -> Result<Value> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--locked"];
    let output = Command::new(cargo())
        .args(arguments)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command and tells whether it succeeded; a failure is reported as that of `name`.
fn succeeds(name: &str, command: &mut Command) -> Result<bool> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        eprintln!("FAILED: {name}");
    }
    Ok(status.success())
}

fn features() -> Result<bool> {
    let mut passed = true;
    let builds = builds(&workspace()?);
    for build in &builds {
        let arguments = build.arguments();
        let mut command = Command::new(cargo());
        command
            .args(["check", "--locked", "--quiet"])
            .args(&arguments);
        passed &= succeeds(
            &format!("cargo check {}", arguments.join(" ")),
            &mut command,
        )?;
    }
    println!("features: {} builds", builds.len());
    Ok(passed)
}

/// Returns the oldest toolchain that the workspace's manifest names.
fn oldest(manifest: &str) -> Option<&str> {
    let start = "rust-version = \"";
    let value = manifest.lines().find_map(|line| line.strip_prefix(start))?;
    value.split('"').next()
}

fn msrv() -> Result<bool> {
    let manifest = std::fs::read_to_string("Cargo.toml").context("cannot read Cargo.toml")?;
    let version = oldest(&manifest).context("Cargo.toml names no rust-version")?;
    let has = |toolchain: &str| {
        let arguments = ["run", toolchain, "cargo", "--version"];
        let output = Command::new("rustup").args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(toolchain) = [version.to_owned(), format!("{version}.0")]
        .into_iter()
        .find(|name| has(name))
    else {
        println!("SKIPPED: msrv: rustup has no toolchain {version}");
        return Ok(true);
    };
    let mut command = Command::new("rustup");
    command.args([
        "run",
        &toolchain,
        "cargo",
        "check",
        "--locked",
        "--quiet",
        "--workspace",
    ]);
    // With flags and files of its own: another compiler would build everything anew.
    command
        .args(["--target-dir", "target/msrv"])
        .env_remove("CARGO")
        .env_remove("RUSTC");
    succeeds(&format!("cargo check with {toolchain}"), &mut command)
}

fn aarch64() -> Result<bool> {
    let arguments = ["--print", "target-libdir", "--target", AARCH64];
    let output = Command::new("rustc")
        .args(arguments)
        .output()
        .context("cannot run rustc")?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if folder.is_empty() || !Path::new(&folder).exists() {
        println!("SKIPPED: aarch64: the toolchain has no target {AARCH64}");
        return Ok(true);
    }
    let metadata = workspace()?;
    let mut command = Command::new(cargo());
    command.args(["check", "--locked", "--quiet", "--target", AARCH64, "--lib"]);
    for package in list(&metadata, "packages") {
        let has_library = list(package, "targets").any(|target| {
            list(target, "kind")
                .any(|kind| matches!(kind.as_str(), Some("lib" | "cdylib" | "rlib")))
        });
        let name = package["name"].as_str().unwrap_or_default();
        if has_library {
            command.args(["--package", name]);
        }
        // The command is no library: it embeds some, which would have to be linked.
        if name == "fcsp" {
            command.arg("--all-features");
        }
    }
    succeeds(&format!("cargo check --target {AARCH64}"), &mut command)
}

fn miri() -> Result<bool> {
    let nightly = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command
            .args(["run", "nightly", "cargo", "miri"])
            .args(arguments);
        command
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    };
    let probe = nightly(&["--version"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: miri: rustup has no nightly toolchain with it");
        return Ok(true);
    }
    println!("miri: tests of fcsp-core");
    let mut command = nightly(&[
        "test",
        "--locked",
        "--quiet",
        "--package",
        "fcsp-core",
        "--lib",
    ]);
    command
        .args(["--target-dir", "target/miri", "--"])
        .args(MIRI_TESTS);
    // Warnings of a nightly compiler decide nothing.
    command.env("RUSTFLAGS", "-Awarnings");
    // Proptest asks for the current folder. A few cases take Miri as long as thousands take a CPU.
    command
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "4");
    succeeds("miri", &mut command)
}

fn scripts() -> Result<bool> {
    let is_shell = |file: &String| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        crate::prose::is_shell(file, &text)
    };
    let files = crate::prose::files(Path::new("."))?;
    let mut arguments = vec!["--external-sources".to_owned(), "--".to_owned()];
    arguments.extend(files.into_iter().filter(is_shell));
    tool("scripts", "shellcheck", &arguments)
}

/// Runs a tool that may not be installed.
fn tool(check: &str, program: &str, arguments: &[String]) -> Result<bool> {
    let probe = Command::new(program).arg("--version").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: {check}: {program} is not installed");
        return Ok(true);
    }
    println!("{check}: {program}");
    succeeds(program, Command::new(program).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_checks_unless_some_are_named() {
        let parse = |args: &[&str]| Check::parse(args.iter().map(|&arg| arg.to_owned()));
        assert_eq!(parse(&[]).unwrap().len(), Check::ALL.len());
        assert_eq!(
            parse(&["scripts", "msrv"]).unwrap(),
            [Check::Scripts, Check::Msrv]
        );
        let error = parse(&["some"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "'some' is none of duplication, imports, features, msrv, aarch64, miri, scripts, spelling, toml"
        );
    }

    #[test]
    fn each_feature_alone_and_all_together() {
        let metadata = json!({ "packages": [
            { "name": "plain", "features": {} },
            { "name": "one", "features": { "a": [], "default": ["a"] } },
            { "name": "two", "features": { "a": [], "b": [] } },
        ]});
        let all: Vec<String> = builds(&metadata)
            .iter()
            .map(|build| build.arguments().join(" "))
            .collect();
        let with = |name: &str, features: &str| {
            format!("--package {name} --no-default-features{features}")
        };
        assert_eq!(
            all,
            [
                with("one", ""),
                with("one", " --features a"),
                with("plain", ""),
                with("two", ""),
                with("two", " --features a"),
                with("two", " --features a,b"),
                with("two", " --features b"),
            ]
        );
    }

    #[test]
    fn the_oldest_toolchain_is_the_manifests() {
        let manifest = "rust-version.workspace = true\nrust-version = \"1.88\"\n";
        assert_eq!(oldest(manifest), Some("1.88"));
        assert_eq!(oldest("[package]\n"), None);
    }
}
