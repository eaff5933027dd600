//! The bill of materials: every crate that is linked into a package, in CycloneDX 1.5.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Returns the target triple of the release: this machine's, with glibc.
pub fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Asks cargo about the workspace and its dependencies on this machine's kind.
pub fn metadata() -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let triple = triple();
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &triple,
        ])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")
}

pub fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Lists the packages that `root` links, itself included: dependencies that are neither for tests
/// nor for build scripts.
pub fn linked<'a>(metadata: &'a Value, root: &'a str) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"], "nodes")
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let (mut found, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(id) = next.pop() {
        if !found.insert(id) {
            continue;
        }
        let Some(node) = nodes.get(id) else { continue };
        next.extend(
            list(node, "deps")
                .filter(|dep| list(dep, "dep_kinds").any(|kind| kind["kind"].is_null()))
                .filter_map(|dep| dep["pkg"].as_str()),
        );
    }
    found
}

/// Checksums of the lock file, by name and version.
fn checksums() -> BTreeMap<(String, String), String> {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let field = |block: &str, name: &str| -> Option<String> {
        let line = block
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")))?;
        Some(line.split('"').nth(1)?.to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            Some((
                (field(block, "name")?, field(block, "version")?),
                field(block, "checksum")?,
            ))
        })
        .collect()
}

fn component(package: &Value, kind: &str, sums: &BTreeMap<(String, String), String>) -> Value {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("version"));
    let mut component = json!({
        "type": kind,
        "bom-ref": format!("pkg:cargo/{name}@{version}"),
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
    });
    if let Some(licence) = package["license"].as_str() {
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    if let Some(sum) = sums.get(&(name, version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

/// Returns the packages that cargo knows, by their identity, and the identity of `package`.
pub fn packages<'a>(
    metadata: &'a Value,
    package: &str,
) -> Result<(BTreeMap<&'a str, &'a Value>, &'a str)> {
    let packages: BTreeMap<&str, &Value> = list(metadata, "packages")
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let root = packages
        .iter()
        .find(|(_, known)| known["name"] == package)
        .map(|(&id, _)| id)
        .with_context(|| format!("the workspace has no package {package}"))?;
    Ok((packages, root))
}

/// Returns the bill of materials of `package`.
pub fn of(package: &str, metadata: &Value) -> Result<Value> {
    let (packages, root) = packages(metadata, package)?;
    let about = packages[root];
    let sums = checksums();
    let components: Vec<Value> = linked(metadata, root)
        .into_iter()
        .filter(|&id| id != root)
        .filter_map(|id| packages.get(id))
        .map(|known| component(known, "library", &sums))
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(about, "library", &sums) },
        "components": components,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_what_only_tests_use_is_not() {
        std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
        let bill = of("fcsp-cuda-preload", &metadata().unwrap()).unwrap();
        let names: Vec<&str> = list(&bill, "components")
            .filter_map(|part| part["name"].as_str())
            .collect();
        for name in ["fcsp-core", "fcsp-hook", "fcsp-cuda", "libc"] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        for name in ["proptest", "tempfile", "criterion", "fcsp-hip"] {
            assert!(!names.contains(&name), "{name}");
        }
        let libc = list(&bill, "components")
            .find(|part| part["name"] == "libc")
            .unwrap();
        assert_eq!(libc["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert!(of("no-such-package", &metadata().unwrap()).is_err());
    }
}
