//! The cargo that the build script runs for the libraries: its arguments and its results.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::outer::Outer;

/// One run of it.
#[derive(Debug)]
pub struct Inner<'a> {
    /// The workspace of the libraries.
    pub root: &'a Path,
    /// A target folder of its own.
    pub target_dir: &'a Path,
    /// The target that the libraries are for.
    pub target: &'a str,
}

impl Inner<'_> {
    /// Makes the command that builds `packages`.
    pub fn command(&self, packages: &[&str], outer: Outer) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(self.root)
            // The versions of the lock file, and no other. The target is always named: a
            // configuration file may set `build.target`, which decides the folder of the result.
            .args([
                "build",
                "--locked",
                "--profile",
                "preload",
                "--target",
                self.target,
            ])
            .arg("--target-dir")
            .arg(self.target_dir)
            .args(outer.arguments());
        for package in packages {
            cargo.args(["-p", package]);
        }
        // Flags of the outer build, wrappers such as clippy's, and coverage instrumentation must
        // not reach a library that tenants load.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(leaks) {
                cargo.env_remove(&name);
            }
        }
        cargo
    }

    /// Returns the folder of the built libraries.
    pub fn results(&self) -> PathBuf {
        self.target_dir.join(self.target).join("preload")
    }
}

fn leaks(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const LEAKS: [&str; 14] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "LLVM_PROFILE_FILE",
        "TARGET",
        "HOST",
        "OUT_DIR",
        "PROFILE",
        "DEBUG",
        "OPT_LEVEL",
        "NUM_JOBS",
    ];
    if let Some(rest) = name.strip_prefix("CARGO_TARGET_") {
        // A linker for the target is a property of the machine; flags and folders are not.
        return !(rest.ends_with("_LINKER"));
    }
    (name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept)))
        || name.starts_with("DEP_")
        || LEAKS.contains(&name)
}
