//! The inner cargo of the build script is told what the outer one was told: no network, and configuration.

use std::path::Path;

#[path = "../../build/outer.rs"]
mod told;

use told::Outer;

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
    assert_eq!(told(&["install", "--path", ".", "--frozen"], here), ["--offline"]);
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

/// The parent of this process is cargo or a runner of tests; neither is taken for the other.
#[test]
fn who_is_no_cargo_says_nothing() {
    let outer = Outer::of_this_build();
    assert!(outer.configuration.is_empty(), "{outer:?}");
}
