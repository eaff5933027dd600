//! The unit tests of the scripts under `benches/device`, which need no device.

use std::path::Path;
use std::process::Command;

use crate::{stderr, stdout};

/// Counts the tests that are written in a folder of scripts.
fn written(folder: &Path) -> usize {
    let scripts = std::fs::read_dir(folder).unwrap();
    let texts = scripts
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .map(|path| std::fs::read_to_string(path).unwrap());
    texts
        .map(|text| {
            let lines = text.lines().map(str::trim_start);
            lines.filter(|line| line.starts_with("def test_")).count()
        })
        .sum()
}

#[test]
fn device_scripts_judge_as_their_tests_say() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("benches/device/tests");
    if !folder.is_dir() {
        return println!("SKIPPED: a package has no {}", folder.display());
    }
    let started = Command::new("python3")
        .args(["-m", "unittest", "discover"])
        .arg(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let output = match started {
        Ok(output) => output,
        Err(error) => return println!("SKIPPED: python3: {error}"),
    };
    let said = stdout(&output) + &stderr(&output);
    assert!(output.status.success(), "{said}");
    let ran = format!("Ran {} tests", written(&folder));
    assert!(said.contains(&ran), "{ran}: {said}");
}
