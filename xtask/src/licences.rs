//! The licence texts of third-party crates. MIT and Apache-2.0 ask for a copy beside the program.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::materials::{linked, packages};

/// Tells by its name whether a file of a crate is a licence or a notice.
fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Reads the licence texts in the folder of a crate, by file name.
fn texts(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_licence(&name) && entry.file_type()?.is_file() {
            found.push((name, std::fs::read_to_string(entry.path())?));
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the licences of every crate from a registry that `package` links, as one text.
///
/// # Errors
///
/// A crate with neither a licence expression nor a licence file: it may not be distributed.
pub fn of(package: &str, metadata: &Value) -> Result<String> {
    let (packages, root) = packages(metadata, package)?;
    let mut all = String::from("Licences of the third-party crates that this program contains.\n");
    for known in linked(metadata, root)
        .into_iter()
        .filter_map(|id| packages.get(id))
    {
        // Crates of this workspace have no source: LICENSE covers them.
        if known["source"].is_null() {
            continue;
        }
        let text = |key: &str| known[key].as_str().unwrap_or_default();
        let folder = Path::new(text("manifest_path"))
            .parent()
            .context("a manifest lies in a folder")?;
        let files = texts(folder)?;
        if text("license").is_empty() && files.is_empty() {
            bail!("{} {} names no licence", text("name"), text("version"));
        }
        let line = "=".repeat(80);
        let _ = writeln!(
            all,
            "\n{line}\n{} {}: {}",
            text("name"),
            text("version"),
            text("license")
        );
        for (name, content) in files {
            let _ = writeln!(all, "--- {name}\n{}", content.trim_end());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_crate_of_a_registry_is_named_with_its_text() {
        std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
        let metadata = crate::materials::metadata().unwrap();
        let all = of("fcsp-cuda-preload", &metadata).unwrap();
        for part in [
            "\nlibc ",
            "\nserde ",
            "\ntoml ",
            "Permission is hereby granted",
        ] {
            assert!(all.contains(part), "{part} is missing");
        }
        assert!(!all.contains("\nfcsp-core ") && !all.contains("\nproptest "));
    }

    #[test]
    fn licences_are_known_by_their_names() {
        assert!(is_licence("LICENSE-MIT") && is_licence("COPYING") && is_licence("Licence.txt"));
        assert!(!is_licence("README.md") && !is_licence("src"));
    }
}
