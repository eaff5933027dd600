//! Builds every vendor's preload library and the simulated accelerator and embeds them into the
//! `fcsp` command, so that it finds them after `cargo install` as well as from a checkout.
//!
//! A build script cannot depend on a cdylib of the same workspace, so this one runs cargo once
//! more, in a target folder of its own. `FCSP_EMBED_DIR` names a folder of libraries built
//! beforehand (against an old glibc, for a release) and skips that. Without the workspace's sources
//! and without such a folder the build fails: a command without libraries is of no use.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "build/inner.rs"]
mod inner;
#[path = "build/outer.rs"]
mod outer;

use inner::Inner;
use outer::Outer;

/// The libraries: the file that cargo writes, the name that programs load it by.
const LIBRARIES: [(&str, &str); 7] = [
    ("libfcsp_cuda.so", "libfcsp_cuda.so"),
    ("libfcsp_hip.so", "libfcsp_hip.so"),
    ("libfcsp_levelzero.so", "libfcsp_levelzero.so"),
    ("libfcsp_ascend.so", "libfcsp_ascend.so"),
    ("libfcsp_gaudi.so", "libfcsp_gaudi.so"),
    ("libfcsp_sim_cuda.so", "sim/libcuda.so.1"),
    ("libfcsp_sim_nvml.so", "sim/libnvidia-ml.so.1"),
];
const PACKAGES: [&str; 7] = [
    "fcsp-cuda-preload",
    "fcsp-hip-preload",
    "fcsp-levelzero-preload",
    "fcsp-ascend-preload",
    "fcsp-gaudi-preload",
    "fcsp-sim-cuda",
    "fcsp-sim-nvml",
];
const SOURCES: [&str; 25] = [
    "Cargo.toml",
    "Cargo.lock",
    "fcsp-core/Cargo.toml",
    "fcsp-core/src",
    "fcsp-hook/Cargo.toml",
    "fcsp-hook/src",
    "fcsp-cuda/Cargo.toml",
    "fcsp-cuda/src",
    "fcsp-cuda/preload",
    "fcsp-hip/Cargo.toml",
    "fcsp-hip/src",
    "fcsp-hip/preload",
    "fcsp-levelzero/Cargo.toml",
    "fcsp-levelzero/src",
    "fcsp-levelzero/preload",
    "fcsp-ascend/Cargo.toml",
    "fcsp-ascend/src",
    "fcsp-ascend/preload",
    "fcsp-gaudi/Cargo.toml",
    "fcsp-gaudi/src",
    "fcsp-gaudi/preload",
    "fcsp-sim/Cargo.toml",
    "fcsp-sim/src",
    "fcsp-sim/cuda",
    "fcsp-sim/nvml",
];

fn main() {
    println!("cargo::rerun-if-env-changed=FCSP_EMBED_DIR");
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap_or(&package).to_owned();
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/inner.rs");
    println!("cargo::rerun-if-changed=build/outer.rs");
    let built = match env::var_os("FCSP_EMBED_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => {
            // `include_bytes!` reads relative to the generated file, this script relative to the
            // repository.
            let dir = root.join(dir);
            let dir = dir.canonicalize().unwrap_or_else(|error| {
                fail(&format!(
                    "FCSP_EMBED_DIR: {}: {error}; name a folder that holds the libraries",
                    dir.display()
                ))
            });
            for (file, _) in LIBRARIES {
                println!("cargo::rerun-if-changed={}", dir.join(file).display());
            }
            tell(&dir);
            dir
        }
        None if root.join("fcsp-cuda/preload/Cargo.toml").is_file() => {
            for source in SOURCES {
                println!("cargo::rerun-if-changed={}", root.join(source).display());
            }
            build(&root, &out)
        }
        None => fail(
            "the sources of the preload libraries are not here; install fcsp-cli from the repository, \
             or name a folder of built libraries in FCSP_EMBED_DIR",
        ),
    };
    let table = embed(&built);
    let path = out.join("embedded.rs");
    std::fs::write(&path, table)
        .unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

fn fail(reason: &str) -> ! {
    println!("cargo::error={}", reason.replace('\n', " "));
    std::process::exit(1)
}

/// Says what a folder that the environment names puts into the command: root may run it.
fn tell(dir: &Path) {
    for (file, _) in LIBRARIES {
        let path = dir.join(file);
        let said = Command::new("sha256sum").arg("--").arg(&path).output();
        let digest = said
            .ok()
            .filter(|output| output.status.success())
            .and_then(|output| {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.split_whitespace()
                    .next()
                    .map(|digest| digest.trim_start_matches('\\').to_owned())
            });
        let digest = digest.unwrap_or_else(|| "unknown, for want of sha256sum".to_owned());
        println!(
            "cargo::warning=FCSP_EMBED_DIR: embeds {} with SHA-256 {digest}",
            path.display()
        );
    }
}

/// Builds the libraries for the target at hand; returns the folder they are in.
fn build(root: &Path, out: &Path) -> PathBuf {
    // OUT_DIR is <target>/<profile>/build/<package>/out, with a folder for the triple in a cross
    // build.
    let target_dir = out.ancestors().nth(4).unwrap_or(out).join("embed");
    let target = variable("TARGET");
    let inner = Inner {
        root,
        target_dir: &target_dir,
        target: &target,
    };
    let mut cargo = inner.command(&PACKAGES, Outer::of_this_build());
    match cargo.output() {
        Ok(result) if result.status.success() => {}
        Ok(result) => {
            let text = String::from_utf8_lossy(&result.stderr);
            eprintln!("{text}");
            let first = text
                .lines()
                .find(|line| line.starts_with("error"))
                .unwrap_or("");
            fail(&format!(
                "the preload libraries did not build: {first} (whole output: the build script's stderr)"
            ));
        }
        Err(error) => fail(&format!(
            "cannot run cargo for the preload libraries: {error}"
        )),
    }
    inner.results()
}

/// The generated table: every file with its bytes, and a hash that names this set of files.
fn embed(dir: &Path) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58du128;
    let mut table = String::from("pub const FILES: &[(&str, &[u8])] = &[\n");
    for (file, name) in LIBRARIES {
        let path = dir.join(file);
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
        // FNV-1a with 128 bits: it only names a folder, whose files are compared byte for byte
        // before use.
        for &byte in name.as_bytes().iter().chain(&bytes) {
            hash =
                (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        let _ = writeln!(
            table,
            "    ({name:?}, include_bytes!({:?})),",
            path.display().to_string()
        );
    }
    let _ = writeln!(table, "];\npub const HASH: &str = \"{hash:032x}\";");
    table
}
