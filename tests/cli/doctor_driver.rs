//! `fcsp doctor` on drivers that are there and do not work, and on settings of the simulator.

use std::process::Command;

use crate::{Machine, compile, stderr};

fn report(command: &mut Command, code: i32) -> serde_json::Value {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the findings of a level whose text contains `part`: text and remedy.
fn findings(report: &serde_json::Value, level: &str, part: &str) -> Vec<(String, String)> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["level"] == level)
        .map(|finding| {
            let text = finding["text"].as_str().unwrap().to_owned();
            (
                text,
                finding["remedy"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .filter(|(text, _)| text.contains(part))
        .collect()
}

fn one(report: &serde_json::Value, level: &str, part: &str) -> (String, String) {
    let mut found = findings(report, level, part);
    assert_eq!(found.len(), 1, "{level}: {part}: {report:#}");
    found.remove(0)
}

#[test]
fn a_driver_that_cannot_be_loaded_is_a_problem_and_not_none() {
    let machine = Machine::new();
    let drivers = machine.path().join("drivers");
    std::fs::create_dir_all(&drivers).unwrap();
    let examined = || {
        let mut command = machine.command(&["doctor", "--json"]);
        command.env("LD_LIBRARY_PATH", &drivers);
        report(&mut command, 1)
    };
    let driver = drivers.join("libcuda.so.1");
    std::fs::write(&driver, "hello").unwrap();
    one(
        &examined(),
        "problem",
        "libcuda.so.1 is there and is no library",
    );
    std::fs::write(&driver, b"\x7fELF\x01").unwrap();
    one(&examined(), "problem", "another word size");
    // Another vendor's, too.
    let other = drivers.join("libamdhip64.so.6");
    std::fs::write(&other, "hello").unwrap();
    one(
        &examined(),
        "problem",
        "libamdhip64.so.6 is there and is no library",
    );
    std::fs::remove_file(&other).unwrap();

    let needed = drivers.join("libneeded.so");
    let Some(built) = compile(
        &machine,
        "small_driver.c",
        &["-shared", "-fPIC", "-Wl,-soname,libneeded.so"],
    ) else {
        return;
    };
    std::fs::rename(&built, &needed).unwrap();
    let arguments = [
        "-shared",
        "-fPIC",
        "-Wl,--no-as-needed",
        needed.to_str().unwrap(),
    ];
    let built = compile(&machine, "small_driver.c", &arguments).unwrap();
    std::fs::rename(&built, &driver).unwrap();
    std::fs::remove_file(&needed).unwrap();
    let (text, remedy) = one(&examined(), "problem", "cannot be loaded");
    assert!(
        text.contains("libneeded.so") && text.contains("drivers/libcuda.so.1"),
        "{text}"
    );
    assert!(remedy.contains("ldd"), "{remedy}");
}

#[test]
fn an_unreadable_driver_is_a_problem() {
    // SAFETY: the call takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return eprintln!("skipped: only root can be another user");
    }
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let machine = Machine::new();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(machine.path(), 0o777);
    let command = machine.path().join("fcsp");
    std::fs::copy(env!("CARGO_BIN_EXE_fcsp"), &command).unwrap();
    open(&command, 0o755);
    let driver = machine.path().join("libcuda.so.1");
    std::fs::write(&driver, b"\x7fELF\x02").unwrap();
    open(&driver, 0o000);
    let report = report(
        Command::new(&command)
            .args(["doctor", "--json"])
            .env("LD_LIBRARY_PATH", machine.path())
            .env("XDG_CACHE_HOME", machine.path().join("cache"))
            .env("FCSP_STATE_DIR", machine.path().join("state"))
            .uid(65534)
            .gid(65534),
        1,
    );
    let (text, remedy) = one(
        &report,
        "problem",
        "libcuda.so.1 is there and cannot be read",
    );
    assert!(
        text.contains("Permission denied") && remedy.contains("readable"),
        "{text}"
    );
}

#[test]
fn codes_have_names_and_remedies_of_their_own() {
    let machine = Machine::new();
    let with = |faults: &str, code| {
        let mut command = machine.command(&["doctor", "--sim", "h100", "--json"]);
        command.env("FCSP_SIM_FAULTS", faults);
        report(&mut command, code)
    };
    for (number, name, remedy) in [
        (34, "CUDA_ERROR_STUB_LIBRARY", "stubs"),
        (802, "CUDA_ERROR_SYSTEM_NOT_READY", "fabricmanager"),
        (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "one release"),
        (804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "compat"),
        (999, "CUDA_ERROR_UNKNOWN", "nvidia_uvm"),
    ] {
        let report = with(&format!("cuInit={number}"), 1);
        let (text, said) = one(&report, "problem", name);
        assert!(text.contains(&format!("({number}, ")), "{text}");
        assert!(said.contains(remedy), "{number}: {said}");
        assert_eq!(report["driver"]["cuda"]["code"], number);
    }
    let report = with("nvmlInit_v2=18", 1);
    one(&report, "problem", "NVML_ERROR_LIB_RM_VERSION_MISMATCH");
    // Without an identity there is no quota: every program under one is refused.
    let report = with("cuDeviceGetUuid_v2=999", 1);
    let (text, _) = one(&report, "problem", "does not tell its identity");
    assert!(text.contains("device 0") && text.contains("999"), "{text}");
    assert_eq!(report["driver"]["unidentified"][0]["code"], 999);
}

#[test]
fn faults_that_cannot_be_read_are_said_to_be_so() {
    let machine = Machine::new();
    let with = |faults: &str, code| {
        let mut command = machine.command(&["doctor", "--sim", "h100", "--json"]);
        command.env("FCSP_SIM_FAULTS", faults);
        report(&mut command, code)
    };
    let (text, remedy) = one(&with("nonsense", 1), "problem", "FCSP_SIM_FAULTS");
    assert!(
        text.contains("nonsense") && remedy.contains("FCSP_SIM_FAULTS"),
        "{text}"
    );
    let (text, _) = one(
        &with("cuFoo=1;cuMemAlloc_v2=2@900", 1),
        "problem",
        "FCSP_SIM_FAULTS",
    );
    assert!(
        text.contains("cuFoo") && !text.contains("cuMemAlloc"),
        "{text}"
    );
    let mut command = machine.command(&["doctor", "--json"]);
    command.env("FCSP_SIM", "h1000");
    one(&report(&mut command, 1), "problem", "FCSP_SIM");
}

#[test]
fn what_stands_between_program_and_driver_is_said() {
    let machine = Machine::new();
    let ours = machine.json(&["lib", "--json"], 0)["preload"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut command = machine.command(&["doctor", "--sim", "h100", "--json"]);
    command
        .env("LD_PRELOAD", format!("{ours}:/nowhere/libgone.so"))
        .env("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "50");
    let report = report(&mut command, 0);
    one(&report, "note", "already");
    one(&report, "warning", "libgone.so, which is not there");
    one(&report, "note", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE");
}
