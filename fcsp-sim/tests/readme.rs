//! The list of modelled functions in the README is the code's own.

use std::collections::BTreeSet;
use std::path::Path;

/// Names of the exported functions that a crate's sources define.
fn defined(folder: &str, prefix: &str) -> BTreeSet<String> {
    let mut root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join("src");
    // Beside the rooms of the driver under it, which are another crate's.
    if folder == "hip" {
        root.push("hip");
    }
    let mut out = BTreeSet::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for (at, _) in source.match_indices(&format!("fn {prefix}")) {
            let head = source[at + 3..].split(['(', '[', '=']).next().unwrap();
            // Exported names go on with a capital; the crates' own helpers do not. Management
            // functions of Level Zero have a letter between, and so has the runtime of Ascend; ACL
            // has parts, DCMI no capitals.
            let api = |n: &&str| {
                let rest = n[prefix.len()..].trim_start_matches('s');
                let part = ["rt", "mdl", "op"]
                    .iter()
                    .find_map(|p| rest.strip_prefix(p));
                rest.starts_with(char::is_uppercase)
                    || prefix.ends_with('_')
                    || (prefix == "acl" && part.is_some_and(|r| r.starts_with(char::is_uppercase)))
            };
            out.extend(
                head.split(',')
                    .map(str::trim)
                    .filter(api)
                    .map(str::to_string),
            );
        }
    }
    out
}

fn exported(folder: &str) -> BTreeSet<String> {
    if folder == "levelzero" {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("levelzero/tables.txt");
        let text = std::fs::read_to_string(path).unwrap();
        return text
            .lines()
            .map(|l| l.split(' ').nth(1).unwrap().to_string())
            .collect();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join("symbols.txt");
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_string)
        .collect()
}

/// Folders, and how their functions' names begin.
const LIBRARIES: [(&str, &str); 11] = [
    ("cuda", "cu"),
    ("nvml", "nvml"),
    ("hip", "hip"),
    ("rocm_smi", "rsmi_"),
    ("amd_smi", "amdsmi_"),
    ("levelzero", "ze"),
    ("ascend/acl", "acl"),
    ("ascend/rt", "rt"),
    ("ascend/dcmi", "dcmi_"),
    ("gaudi/synapse", "syn"),
    ("gaudi/hlml", "hlml_"),
];

#[test]
fn the_readme_lists_what_is_modelled() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let list = text
        .split("<!-- modelled -->")
        .nth(1)
        .and_then(|t| t.split("<!-- end -->").next())
        .unwrap();
    let listed: BTreeSet<String> = list
        .split_whitespace()
        .filter(|w| LIBRARIES.iter().any(|(_, prefix)| w.starts_with(prefix)))
        .map(str::to_string)
        .collect();
    let code: BTreeSet<String> = LIBRARIES
        .iter()
        .flat_map(|(folder, prefix)| defined(folder, prefix))
        .collect();
    let missing: Vec<_> = code.difference(&listed).collect();
    let extra: Vec<_> = listed.difference(&code).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing {missing:?}, not there {extra:?}"
    );
}

#[test]
fn only_functions_of_the_real_libraries_are_defined() {
    for (folder, prefix) in [
        ("cuda", "cu"),
        ("nvml", "nvml"),
        ("levelzero", "ze"),
        ("ascend/acl", "acl"),
    ] {
        let stray: Vec<_> = defined(folder, prefix)
            .difference(&exported(folder))
            .cloned()
            .collect();
        assert!(stray.is_empty(), "{stray:?}");
    }
}
