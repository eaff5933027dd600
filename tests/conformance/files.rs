//! Every backend has the same module layout, so that knowing one means knowing all. This test
//! enforces it. A file that some backend lacks is listed here, with the backends that have it and
//! the reason.
//!
//! `fcsp-empty` is not compared: it is the smallest backend, to copy from, and its modules are
//! single files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The libraries of each vendor that have a file of types and a table of functions each, under
/// their own names.
const LIBRARIES: [(&str, &[&str]); 5] = [
    ("cuda", &["cuda", "nvml"]),
    ("hip", &["hip", "rocm_smi", "amd_smi"]),
    ("levelzero", &["ze", "zes", "zet"]),
    ("ascend", &["acl", "rt", "hccl", "dcmi"]),
    ("gaudi", &["synapse", "hlml"]),
];

/// A file, the backends that have it, and why the others do not.
type Exception = (&'static str, &'static [&'static str], &'static str);

const EXCEPTIONS: &[Exception] = &[
    // What only some drivers have.
    (
        "src/loader.rs",
        &["cuda", "hip", "levelzero"],
        "Ascend and Gaudi have no look-up of their own: programs find functions by the linker and dlsym",
    ),
    (
        "src/symbols/versions.rs",
        &["cuda"],
        "only cuGetProcAddress answers one name with functions of several versions",
    ),
    (
        "src/launch/copies.rs",
        &["cuda", "hip", "levelzero"],
        "Ascend's copies are done by engines beside the cores, and a Gaudi card has one tenant: neither is charged",
    ),
    (
        "src/launch/legacy.rs",
        &["cuda", "hip"],
        "only CUDA and HIP still export launches of older APIs",
    ),
    (
        "src/memory/pool.rs",
        &["cuda", "hip"],
        "Level Zero and Gaudi have no pools, and Ascend's cannot be seen into: under a quota there are none",
    ),
    (
        "src/memory/graph.rs",
        &["cuda", "hip"],
        "only CUDA's and HIP's graphs have nodes that take memory",
    ),
    (
        "src/memory/array.rs",
        &["cuda", "hip"],
        "Ascend and Gaudi have no shaped memory; Level Zero calls it an image and has neither levels nor sparse ones",
    ),
    (
        "src/memory/image.rs",
        &["levelzero"],
        "what arrays are to CUDA and HIP",
    ),
    (
        "src/memory/vmm.rs",
        &["cuda", "hip", "levelzero", "ascend"],
        "Synapse has no physical memory apart from addresses",
    ),
    (
        "src/errors.rs",
        &["hip"],
        "only HIP has a last error of the thread, where a refusal must be found",
    ),
    (
        "src/units.rs",
        &["hip"],
        "only AMD's runtime takes a mask of compute units for a process",
    ),
    (
        "src/info/amd_smi.rs",
        &["hip"],
        "AMD has two management libraries; the older one is in `management`",
    ),
    (
        "src/ffi/ddi.rs",
        &["levelzero"],
        "only Level Zero hands its functions out in tables, which are types of their own",
    ),
    (
        "src/queues.rs",
        &["levelzero"],
        "only Level Zero has lists that are charged by their content, on queues that name their device",
    ),
    (
        "src/uses.rs",
        &["levelzero"],
        "only Level Zero's contexts name no device: each has its first use on several",
    ),
    (
        "src/recording.rs",
        &["ascend"],
        "Ascend's recorded work takes no memory, so what captures are open is not a matter of `memory/graph`",
    ),
    (
        "src/collective.rs",
        &["ascend"],
        "HCCL's kernels have no names of their own: collectives are known by their calls",
    ),
    (
        "src/cores.rs",
        &["ascend"],
        "only Ascend limits the cores of operators from inside a process",
    ),
    (
        "src/partition.rs",
        &["ascend"],
        "vNPU templates; other vendors' partitions are no matter of a library in a process",
    ),
    (
        "src/queue.rs",
        &["gaudi"],
        "a Gaudi card has one process at a time, and the others wait for it",
    ),
    // Tests.
    (
        "tests/headers/main.rs",
        &["cuda", "hip", "levelzero", "ascend"],
        "no header of Synapse or HLML is published in a package",
    ),
    (
        "tests/preload/main.rs",
        &["ascend", "gaudi"],
        "cases that only these vendors have; CUDA's are in the root's tests/preload, HIP's and Level Zero's in tests/conformance",
    ),
    (
        "tests/preload/client.c",
        &["ascend", "gaudi"],
        "as tests/preload/main.rs",
    ),
    (
        "tests/preload/hccl.cpp",
        &["ascend"],
        "a collective library for the cases of tests/preload/main.rs",
    ),
];

/// Collects every file below a folder, by its path from there.
fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    let entries =
        std::fs::read_dir(folder.join(below)).unwrap_or_else(|error| panic!("{below}: {error}"));
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            // An editor's.
            continue;
        }
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        if entry.file_type().unwrap().is_dir() {
            files(folder, &path, found);
        } else {
            found.insert(path);
        }
    }
}

/// Returns true if a file belongs to a library of the vendor's: `src/ffi/NAME.rs`, a file in
/// `src/ffi/NAME/`, `src/symbols/NAME.tsv`.
fn is_of_library(file: &str, libraries: &[&str]) -> bool {
    libraries.iter().any(|name| {
        file == format!("src/ffi/{name}.rs")
            || file == format!("src/symbols/{name}.tsv")
            || file.starts_with(&format!("src/ffi/{name}/"))
    })
}

#[test]
fn every_backend_has_the_same_files_but_for_what_is_said_here() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut having: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (vendor, libraries) in LIBRARIES {
        let mut found = BTreeSet::new();
        files(&root.join(format!("fcsp-{vendor}")), "", &mut found);
        for name in libraries {
            for file in [
                format!("src/ffi/{name}.rs"),
                format!("src/symbols/{name}.tsv"),
            ] {
                assert!(found.contains(&file), "fcsp-{vendor} has no {file}");
            }
        }
        for file in found
            .into_iter()
            .filter(|file| !is_of_library(file, libraries))
        {
            having.entry(file).or_default().insert(vendor);
        }
    }
    let mut wrong = Vec::new();
    for (file, vendors) in &having {
        let said = EXCEPTIONS.iter().find(|(name, ..)| name == file);
        match said {
            None if vendors.len() < LIBRARIES.len() => {
                wrong.push(format!(
                    "{file} is in {vendors:?} alone, and nobody says why"
                ));
            }
            Some((_, expected, _)) if *vendors != expected.iter().copied().collect() => {
                wrong.push(format!(
                    "{file} is in {vendors:?}, and said to be in {expected:?}"
                ));
            }
            _ => {}
        }
    }
    for (file, expected, reason) in EXCEPTIONS {
        if !having.contains_key(*file) {
            wrong.push(format!("{file} is in no backend"));
        }
        if expected.len() == LIBRARIES.len() {
            wrong.push(format!("{file} is said to be in all of them"));
        }
        assert!(reason.len() > 10, "{file} has no reason to speak of");
    }
    let names: BTreeSet<&str> = EXCEPTIONS.iter().map(|(file, ..)| *file).collect();
    assert_eq!(names.len(), EXCEPTIONS.len(), "a file stands twice");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Names by which code would call a decision past the binding.
const PAST_THE_BINDING: [&str; 9] = [
    "Gate<",
    "gate::Gate",
    "classify::by_name",
    "ShareLimiter",
    "Membership",
    "place().reserve",
    "place().try_reserve",
    "place().charge(",
    "place().release(",
];

#[test]
fn every_backend_binds_the_four_traits_and_no_source_calls_past_them() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let vendors = LIBRARIES.iter().map(|(vendor, _)| *vendor);
    let crates: Vec<String> = vendors
        .chain(["empty"])
        .map(|vendor| format!("fcsp-{vendor}"))
        .collect();
    for name in &crates {
        let text = std::fs::read_to_string(root.join(name).join("src/vendor.rs")).unwrap();
        for bound in ["Memory", "Limiter", "Classifier", "Processes"] {
            let line = format!("    type {bound} = fcsp_binding::{bound};\n");
            assert_eq!(text.matches(&line).count(), 1, "{name}: {bound}");
        }
    }
    for name in crates.iter().map(String::as_str).chain(["fcsp-hook"]) {
        let mut sources = BTreeSet::new();
        files(&root.join(name), "src", &mut sources);
        for source in sources.iter().filter(|source| source.ends_with(".rs")) {
            let text = std::fs::read_to_string(root.join(name).join(source)).unwrap();
            for past in PAST_THE_BINDING {
                assert!(!text.contains(past), "{name}/{source}: {past}");
            }
        }
    }
}
