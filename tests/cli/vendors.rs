//! Every vendor's library: where it is, which programs get it, and what `fcsp doctor` says of it.

use std::path::Path;
use std::process::Output;

use crate::{Machine, compile, refuses, stderr, stdout};

const VENDORS: [&str; 5] = ["cuda", "hip", "levelzero", "ascend", "gaudi"];

/// Returns the vendors in the program's LD_PRELOAD, in order, from the output of `env`.
fn preloaded(output: &Output) -> Vec<String> {
    let text = stdout(output);
    let list = text
        .lines()
        .find_map(|line| line.strip_prefix("LD_PRELOAD="));
    list.unwrap_or_else(|| panic!("no LD_PRELOAD: {text} {}", stderr(output)))
        .split(':')
        .map(|entry| {
            let path = Path::new(entry);
            assert!(path.is_file(), "{entry}");
            let name = path.file_name().unwrap().to_str().unwrap();
            name.strip_prefix("libfcsp_")
                .and_then(|rest| rest.strip_suffix(".so"))
                .unwrap_or_else(|| panic!("not ours: {name}"))
                .to_owned()
        })
        .collect()
}

fn variable(output: &Output, name: &str) -> Option<String> {
    stdout(output)
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

/// Creates a folder with a file that passes for a driver library until it is loaded.
fn installed(machine: &Machine, file: &str) -> std::path::PathBuf {
    let dir = machine.path().join("drivers");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(file), b"\x7fELF\x02").unwrap();
    dir
}

/// Creates a folder with a HIP runtime of three functions. Returns `None` if there is no compiler.
fn small_driver(machine: &Machine) -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    let built = compile(machine, "small_driver.c", &["-shared", "-fPIC"])?;
    let drivers = machine.path().join("drivers");
    std::fs::create_dir_all(&drivers).unwrap();
    let library = drivers.join("libamdhip64.so.6");
    std::fs::rename(built, &library).unwrap();
    Some((drivers, library))
}

#[test]
fn every_vendor_has_a_library_and_lib_names_it() {
    let machine = Machine::new();
    let listed = stdout(&machine.fcsp(&["lib", "--list"]));
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, VENDORS);
    let found = machine.json(&["lib", "--json"], 0);
    for vendor in VENDORS {
        let path = found["vendors"][vendor].as_str().unwrap();
        assert!(Path::new(path).is_file() && path.ends_with(&format!("/libfcsp_{vendor}.so")));
        assert!(listed.contains(path), "{listed}");
        assert_eq!(
            stdout(&machine.fcsp(&["lib", "--vendor", vendor])).trim(),
            path
        );
    }
    assert_eq!(found["preload"], found["vendors"]["cuda"]);
    let one = machine.json(&["lib", "--vendor", "hip", "--json"], 0);
    assert_eq!(one["preload"], found["vendors"]["hip"]);
    assert_eq!(machine.json(&["lib", "--list", "--json"], 0), found);
    refuses(
        &machine.fcsp(&["lib", "--vendor", "all"]),
        125,
        &["--vendor", "levelzero"],
    );
}

#[test]
fn a_vendor_that_is_named_is_preloaded_beside_cuda() {
    let machine = Machine::new();
    let output = machine.fcsp(&["run", "--vendor", "hip", "--", "env"]);
    let vendors = preloaded(&output);
    assert!(
        vendors.contains(&"hip".into()) && vendors.contains(&"cuda".into()),
        "{vendors:?}"
    );
    let mut all =
        preloaded(&machine.fcsp(&["run", "--vendor", "hip", "--vendor", "all", "--", "env"]));
    all.sort();
    assert_eq!(
        all,
        ["ascend", "cuda", "gaudi", "hip", "levelzero"],
        "each of them once"
    );
    refuses(
        &machine.fcsp(&["run", "--vendor", "nvidia", "--", "true"]),
        125,
        &[
            "--vendor",
            "nvidia",
            "cuda, hip, levelzero, ascend, gaudi, all",
        ],
    );
    refuses(
        &machine.fcsp(&["run", "--sim", "h100", "--vendor", "hip", "--", "true"]),
        125,
        &["--vendor", "--sim"],
    );
}

#[test]
fn a_vendor_whose_driver_is_installed_is_preloaded_unasked() {
    let machine = Machine::new();
    for (file, vendor) in [
        ("libamdhip64.so.6", "hip"),
        ("libze_intel_gpu.so.1", "levelzero"),
        ("libascendcl.so", "ascend"),
        ("libSynapse.so", "gaudi"),
    ] {
        let machine = Machine::new();
        let output = machine
            .command(&["run", "--memory", "unlimited", "--", "env"])
            .env("LD_LIBRARY_PATH", installed(&machine, file))
            .output()
            .unwrap();
        let vendors = preloaded(&output);
        assert!(vendors.contains(&vendor.to_owned()), "{file}: {vendors:?}");
        assert_eq!(stderr(&output), "");
    }
    // The simulated machine has NVIDIA's devices only.
    let output = machine
        .command(&["run", "--sim", "h100", "--", "env"])
        .env("LD_LIBRARY_PATH", installed(&machine, "libamdhip64.so.6"))
        .output()
        .unwrap();
    assert_eq!(preloaded(&output), ["cuda"]);
}

#[test]
fn level_zero_is_asked_to_answer_for_memory_unless_the_user_said_otherwise() {
    let machine = Machine::new();
    let run = ["run", "--vendor", "levelzero", "--", "env"];
    assert_eq!(
        variable(&machine.fcsp(&run), "ZES_ENABLE_SYSMAN").as_deref(),
        Some("1")
    );
    let output = machine
        .command(&run)
        .env("ZES_ENABLE_SYSMAN", "0")
        .output()
        .unwrap();
    assert_eq!(variable(&output, "ZES_ENABLE_SYSMAN").as_deref(), Some("0"));
}

#[test]
fn a_folder_without_a_vendors_library_is_told_of() {
    let machine = Machine::new();
    let folder = machine.path().join("lib");
    assert!(
        machine
            .fcsp(&["lib", "--to", folder.to_str().unwrap()])
            .status
            .success()
    );
    std::fs::remove_file(folder.join("libfcsp_hip.so")).unwrap();
    let drivers = installed(&machine, "libamdhip64.so.6");
    let fcsp = |args: &[&str]| {
        machine
            .command(args)
            .env("FCSP_LIB_DIR", &folder)
            .env("LD_LIBRARY_PATH", &drivers)
            .output()
            .unwrap()
    };
    refuses(
        &fcsp(&["run", "--vendor", "hip", "--", "true"]),
        125,
        &["--vendor", "libfcsp_hip.so"],
    );
    let output = fcsp(&["run", "--", "true"]);
    assert!(
        stderr(&output).contains("no limit holds on hip"),
        "{}",
        stderr(&output)
    );
    let report = fcsp(&["doctor", "--json"]);
    assert_eq!(report.status.code(), Some(1));
    assert!(stdout(&report).contains("libfcsp_hip.so is not: no limit holds on hip"));
}

#[test]
fn the_doctor_knows_every_vendor() {
    let machine = Machine::new();
    let report = machine.json(&["doctor", "--sim", "h100", "--json"], 0);
    let vendors = report["vendors"].as_array().unwrap();
    let names: Vec<&str> = vendors
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, VENDORS);
    for vendor in vendors {
        let name = vendor["name"].as_str().unwrap();
        assert!(
            vendor["preload"]
                .as_str()
                .unwrap()
                .ends_with(&format!("libfcsp_{name}.so"))
        );
        // Gaudi's is the smallest: a whole card has no launches to hold back.
        assert!(vendor["wrapped"].as_u64().unwrap() >= 10, "{vendor}");
        let loads = format!("libfcsp_{name}.so loads");
        assert!(
            report["findings"]
                .as_array()
                .unwrap()
                .iter()
                .any(|finding| finding["level"] == "ok"
                    && finding["text"].as_str().unwrap().ends_with(&loads)),
            "{loads}: {report}"
        );
    }
}

#[test]
fn the_doctor_compares_an_installed_driver_with_its_vendors_tables() {
    let machine = Machine::new();
    let Some((drivers, library)) = small_driver(&machine) else {
        return;
    };
    let output = machine
        .command(&["doctor", "--sim", "h100", "--json"])
        .env("LD_LIBRARY_PATH", &drivers)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["vendors"][1]["driver"], library.to_str().unwrap());
    let coverage = report["coverage"].as_array().unwrap();
    let hip = coverage.iter().find(|c| c["library"] == "hip").unwrap();
    assert_eq!(hip["exported"], 3);
    assert_eq!(hip["wrapped"], 2);
    assert_eq!(hip["unknown"], serde_json::json!(["hipNewIn99"]));
}

/// Checks that a vendor's library answers for its driver, whatever is before or behind it.
#[test]
fn look_ups_in_the_installed_driver_are_answered() {
    let machine = Machine::new();
    let (Some(program), Some((drivers, _))) =
        (compile(&machine, "look_up.c", &[]), small_driver(&machine))
    else {
        return;
    };
    let fcsp = |program: &[&str]| {
        let mut args = vec!["run", "--memory", "50%", "--vendor", "ascend", "--"];
        args.extend(program);
        machine
            .command(&args)
            .env("LD_LIBRARY_PATH", &drivers)
            .output()
            .unwrap()
    };
    let output = fcsp(&["env"]);
    let vendors = preloaded(&output);
    let place = |name: &str| vendors.iter().position(|vendor| vendor == name).unwrap();
    assert!(place("hip") < place("ascend"), "{vendors:?}");
    let output = fcsp(&[program.to_str().unwrap(), "libamdhip64.so.6", "hipMalloc"]);
    assert!(
        stdout(&output).trim().ends_with("/libfcsp_hip.so"),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
}
