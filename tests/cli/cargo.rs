//! The build script passes the outer cargo's network and source settings on to the inner one.
//! It finds the results under every configuration.

use std::path::Path;
use std::process::Command;

#[path = "../../fcsp-cli/build/inner.rs"]
mod inner;
#[path = "../../fcsp-cli/build/outer.rs"]
mod outer;

use inner::Inner;
use outer::Outer;

use crate::stderr;

fn told(words: &[&str], folder: &Path) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Outer::of(&words, folder).arguments()
}

#[test]
fn the_inner_cargo_is_told_what_the_outer_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vendor.toml");
    std::fs::write(&file, "").unwrap();
    let whole = file.to_str().unwrap();
    let here = folder.path();
    assert_eq!(told(&["build", "--release"], here), [""; 0]);
    assert_eq!(told(&["build", "--offline"], here), ["--offline"]);
    assert_eq!(
        told(&["install", "--path", ".", "--frozen"], here),
        ["--offline"]
    );
    // What comes after is the program's own.
    assert_eq!(
        told(&["run", "--", "--offline", "--config", "a=1"], here),
        [""; 0]
    );
    assert_eq!(
        told(
            &[
                "--config",
                "vendor.toml",
                "build",
                "--config=net.retry=1",
                "--config",
                "build.jobs=1"
            ],
            here
        ),
        ["--config", whole, "--config", "net.retry=1"]
    );
}

/// Tells cargo from a runner of tests: either may be the parent of this process.
#[test]
fn who_is_no_cargo_says_nothing() {
    let outer = Outer::of_this_build();
    assert!(outer.configuration.is_empty(), "{outer:?}");
}

/// Writes a package with one `cdylib` and this configuration of cargo into `folder`.
fn package(folder: &Path, configuration: &str) {
    std::fs::create_dir_all(folder.join("src")).unwrap();
    std::fs::create_dir_all(folder.join(".cargo")).unwrap();
    let manifest = "[package]\nname = \"probe\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
        [lib]\ncrate-type = [\"cdylib\"]\n[profile.preload]\ninherits = \"dev\"\n[workspace]\n";
    for (name, text) in [
        ("Cargo.toml", manifest),
        (
            "src/lib.rs",
            "#[unsafe(no_mangle)]\npub extern \"C\" fn probe() {}\n",
        ),
        (".cargo/config.toml", configuration),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"probe\"\nversion = \"0.1.0\"\n",
        ),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// Asks rustc for the host's triple.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    line.unwrap().to_owned()
}

/// Builds where cargo's configuration names a target or a folder, either of which moves results.
#[test]
fn libraries_are_found_whatever_cargos_configuration_says() {
    let (scratch, host) = (tempfile::tempdir().unwrap(), host());
    for (name, configuration) in [
        ("none", String::new()),
        ("target", format!("[build]\ntarget = \"{host}\"\n")),
        (
            "folder",
            format!("[build]\ntarget = \"{host}\"\ntarget-dir = \"elsewhere\"\n"),
        ),
    ] {
        let root = scratch.path().join(name);
        package(&root, &configuration);
        let target_dir = scratch.path().join(format!("{name}-embed"));
        let inner = Inner {
            root: &root,
            target_dir: &target_dir,
            target: &host,
        };
        let outer = Outer {
            offline: true,
            configuration: Vec::new(),
        };
        let built = inner.command(&["probe"], outer).output().unwrap();
        assert!(built.status.success(), "{name}: {}", stderr(&built));
        assert!(inner.results().join("libprobe.so").is_file(), "{name}");
        assert!(!root.join("elsewhere").exists() && !root.join("target").exists());
    }
}
