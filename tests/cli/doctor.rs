//! `fcsp doctor` on the simulator, and what it says of things that are wrong.

use crate::{Machine, stdout};

fn finding<'a>(
    report: &'a serde_json::Value,
    level: &str,
    part: &str,
) -> Option<&'a serde_json::Value> {
    report["findings"].as_array()?.iter().find(|finding| {
        finding["level"] == level
            && finding["text"]
                .as_str()
                .is_some_and(|text| text.contains(part))
    })
}

#[test]
fn the_simulator_is_in_order() {
    let machine = Machine::new();
    let report = machine.json(&["doctor", "--sim", "h100x2", "--json"], 0);
    assert_eq!(report["schema"], "fcsp.doctor/1");
    assert_eq!(report["verdict"], "ok");
    let devices = report["driver"]["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[1]["index"], 1);
    assert!(devices[0]["uuid"].as_str().unwrap().starts_with("GPU-"));
    assert!(devices[0]["total_bytes"].as_u64().unwrap() > 79 << 30);
    assert!(finding(&report, "ok", "libfcsp_cuda.so loads").is_some());

    let coverage = report["coverage"].as_array().unwrap();
    let cuda = coverage.iter().find(|c| c["library"] == "cuda").unwrap();
    assert!(
        cuda["exported"].as_u64().unwrap() > 400,
        "{}",
        cuda["exported"]
    );
    assert!(
        cuda["wrapped"].as_u64().unwrap() > 80,
        "{}",
        cuda["wrapped"]
    );
    assert_eq!(cuda["unknown"], serde_json::json!([]));
    let allocates = cuda["roles"]
        .as_array()
        .unwrap()
        .iter()
        .find(|role| role["role"] == "allocates")
        .unwrap();
    assert!(allocates["wrapped"].as_u64().unwrap() >= 20);
    let listed: u64 = cuda["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["exported"].as_u64().unwrap())
        .sum();
    assert_eq!(
        listed,
        cuda["exported"].as_u64().unwrap(),
        "every entry point has one role"
    );
    assert!(coverage.iter().any(|c| c["library"] == "nvml"));
    assert!(stdout(&machine.fcsp(&["doctor", "--sim", "h100"])).contains("allocates"));
}

#[test]
fn a_wrong_variable_and_a_rival_are_problems_with_remedies() {
    let machine = Machine::new();
    let output = machine
        .command(&["doctor", "--sim", "h100", "--json"])
        .env("FCSP_MEMORY_LIMIT", "101%")
        .env("CUDA_DEVICE_MEMORY_LIMIT", "1g")
        .env("LD_PRELOAD", "/nowhere/libvgpu.so")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "problems");
    for part in ["FCSP_MEMORY_LIMIT", "libvgpu.so"] {
        let finding =
            finding(&report, "problem", part).unwrap_or_else(|| panic!("{part}: {report}"));
        assert!(finding["remedy"].is_string());
    }
    let settings = report["settings"].as_array().unwrap();
    let counts =
        |name: &str| settings.iter().find(|s| s["variable"] == name).unwrap()["counts"].as_bool();
    assert_eq!(counts("FCSP_MEMORY_LIMIT"), Some(true));
    assert_eq!(counts("CUDA_DEVICE_MEMORY_LIMIT"), Some(false));
}

#[test]
fn a_state_folder_that_cannot_be_used_is_a_problem() {
    let machine = Machine::new();
    let file = machine.path().join("file");
    std::fs::write(&file, "").unwrap();
    let report = machine.json(
        &[
            "doctor",
            "--sim",
            "h100",
            "--json",
            "--state-dir",
            file.to_str().unwrap(),
        ],
        1,
    );
    assert!(
        finding(&report, "problem", "no tenant can be set up").is_some(),
        "{report}"
    );
}

#[test]
fn every_vendors_functions_are_counted_by_role() {
    let machine = Machine::new();
    let report = machine.json(&["doctor", "--roles", "--json"], 0);
    assert_eq!(report["schema"], "fcsp.roles/1");
    let vendors = report["vendors"].as_array().unwrap();
    let names: Vec<&str> = vendors
        .iter()
        .map(|vendor| vendor["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cuda", "hip", "levelzero", "ascend", "gaudi"]);
    for vendor in vendors {
        let mut wrapped = 0;
        for library in vendor["libraries"].as_array().unwrap() {
            let roles = library["roles"].as_array().unwrap();
            for key in ["functions", "wrapped"] {
                let sum: u64 = roles.iter().map(|role| role[key].as_u64().unwrap()).sum();
                assert_eq!(sum, library[key].as_u64().unwrap(), "{key} of {library}");
            }
            let passes = roles.iter().find(|role| role["role"] == "passes").unwrap();
            assert!(passes["functions"].as_u64().unwrap() > 0, "{library}");
            wrapped += library["wrapped"].as_u64().unwrap();
        }
        assert!(wrapped > 10, "{vendor}");
    }
    let text = stdout(&machine.fcsp(&["doctor", "--roles"]));
    for word in ["rocm_smi", "synapse", "launches", "all"] {
        assert!(text.contains(word), "{text}");
    }
}
