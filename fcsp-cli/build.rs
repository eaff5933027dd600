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

/// The simulated drivers: package, file that cargo writes, name that programs load it by.
const SIMULATED: [(&str, &str, &str); 2] = [
    ("fcsp-sim-cuda", "libfcsp_sim_cuda.so", "sim/libcuda.so.1"),
    (
        "fcsp-sim-nvml",
        "libfcsp_sim_nvml.so",
        "sim/libnvidia-ml.so.1",
    ),
];
/// Sources of the libraries beside those of the backends.
const SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "fcsp-binding/Cargo.toml",
    "fcsp-binding/src",
    "fcsp-core/Cargo.toml",
    "fcsp-core/src",
    "fcsp-hook/Cargo.toml",
    "fcsp-hook/src",
    "fcsp-sim",
];

/// Lists the vendors: every crate `fcsp-VENDOR` of the repository with a preload library for
/// releases.
fn vendors(root: &Path) -> Vec<String> {
    let is_released = |vendor: &String| {
        let manifest = root.join(format!("fcsp-{vendor}/preload/Cargo.toml"));
        let text = std::fs::read_to_string(manifest);
        text.is_ok_and(|text| !text.lines().any(|line| line == "release = false"))
    };
    names(root, |name| name.strip_prefix("fcsp-")?.to_owned().into())
        .into_iter()
        .filter(is_released)
        .collect()
}

/// Lists the vendors whose preload libraries are in a folder.
fn vendors_in(dir: &Path) -> Vec<String> {
    let vendor = |name: &str| {
        let vendor = name.strip_prefix("libfcsp_")?.strip_suffix(".so")?;
        (!vendor.starts_with("sim_") && vendor != "empty").then(|| vendor.to_owned())
    };
    names(dir, vendor)
}

/// Returns the sorted names of a folder that `chosen` takes.
fn names(dir: &Path, chosen: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let entries =
        std::fs::read_dir(dir).unwrap_or_else(|error| fail(&format!("{}: {error}", dir.display())));
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| chosen(entry.file_name().to_str()?))
        .collect();
    names.sort();
    names
}

/// Returns the libraries: the file that cargo writes, the name that programs load it by.
fn libraries(vendors: &[String]) -> Vec<(String, String)> {
    let preloads = vendors.iter().map(|vendor| {
        let file = format!("libfcsp_{vendor}.so");
        (file.clone(), file)
    });
    let simulated = SIMULATED.map(|(_, file, name)| (file.to_owned(), name.to_owned()));
    preloads.chain(simulated).collect()
}

fn main() {
    println!("cargo::rerun-if-env-changed=FCSP_EMBED_DIR");
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap_or(&package).to_owned();
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/inner.rs");
    println!("cargo::rerun-if-changed=build/outer.rs");
    let (built, vendors) = match env::var_os("FCSP_EMBED_DIR").filter(|dir| !dir.is_empty()) {
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
            let vendors = vendors_in(&dir);
            let libraries = libraries(&vendors);
            for (file, _) in &libraries {
                println!("cargo::rerun-if-changed={}", dir.join(file).display());
            }
            tell(&dir, &libraries);
            (dir, vendors)
        }
        None if root.join("fcsp-cuda/preload/Cargo.toml").is_file() => {
            for source in SOURCES {
                println!("cargo::rerun-if-changed={}", root.join(source).display());
            }
            let vendors = vendors(&root);
            for vendor in &vendors {
                let folder = root.join(format!("fcsp-{vendor}"));
                for part in ["Cargo.toml", "src", "preload"] {
                    println!("cargo::rerun-if-changed={}", folder.join(part).display());
                }
            }
            (build(&root, &out, &vendors), vendors)
        }
        None => fail(
            "the sources of the preload libraries are not here; install fcsp-cli from the repository, \
             or name a folder of built libraries in FCSP_EMBED_DIR",
        ),
    };
    let table = embed(&built, &libraries(&vendors));
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
fn tell(dir: &Path, libraries: &[(String, String)]) {
    for (file, _) in libraries {
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
fn build(root: &Path, out: &Path, vendors: &[String]) -> PathBuf {
    // OUT_DIR is <target>/<profile>/build/<package>/out, with a folder for the triple in a cross
    // build.
    let target_dir = out.ancestors().nth(4).unwrap_or(out).join("embed");
    let target = variable("TARGET");
    let inner = Inner {
        root,
        target_dir: &target_dir,
        target: &target,
    };
    let preloads = vendors
        .iter()
        .map(|vendor| format!("fcsp-{vendor}-preload"));
    let simulated = SIMULATED.map(|(package, _, _)| package.to_owned());
    let packages: Vec<String> = preloads.chain(simulated).collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut cargo = inner.command(&packages, Outer::of_this_build());
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

/// Generates the table of embedded files: each file with its bytes, and a hash that names the set.
fn embed(dir: &Path, libraries: &[(String, String)]) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58du128;
    let mut table = String::from("pub const FILES: &[(&str, &[u8])] = &[\n");
    for (file, name) in libraries {
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
