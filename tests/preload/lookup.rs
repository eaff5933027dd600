//! Every route by which a program finds a driver function leads to the wrapper; every other lookup
//! is answered as if the preload library were not there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{
    CONTEXT, GIB, Machine, OUT_OF_MEMORY, compiled, libraries, program, shared, stderr, stdout,
};

/// Returns the exports of the preload library, except `dlsym`.
pub fn wrapped() -> BTreeSet<String> {
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(&libraries().preload)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().last())
        .map(|name| name.split('@').next().unwrap().to_owned())
        .filter(|name| name != "dlsym")
        .collect()
}

/// Returns the program, linked against the driver library.
fn linked() -> PathBuf {
    let driver = libraries().sim.join("libcuda.so.1");
    compiled(
        "routes.c",
        "routes-linked",
        &["-DLINKED".as_ref(), driver.as_os_str()],
    )
}

/// Returns a library linked against the driver library.
pub fn linked_finder() -> PathBuf {
    let driver = libraries().sim.join("libcuda.so.1");
    let arguments: [&OsStr; 4] = [
        "-shared".as_ref(),
        "-fPIC".as_ref(),
        "-DLINKED".as_ref(),
        driver.as_os_str(),
    ];
    compiled("finder.c", "libfinder-linked.so", &arguments)
}

fn fed(mut command: Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn every_wrapped_name_by_every_dynamic_route() {
    let machine = Machine::new();
    let names = wrapped();
    assert!(names.len() > 100, "{names:?}");
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    for program in [program("routes"), linked()] {
        let mut command = machine.governed(&program, "t", "1GiB");
        command.arg("addresses");
        let answers = fed(command, &list);
        let mut routes = BTreeSet::new();
        for line in answers.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            routes.insert(words[0]);
            // A newer function than the driver has is not there by its handle.
            let absent = words[0] == "handle" && words[2] == "none";
            assert!(words[2] == "libfcsp_cuda.so" || absent, "{line}");
            assert!(!absent || newer_than_the_simulator(words[1]), "{line}");
        }
        assert!(
            routes.is_superset(&BTreeSet::from(["handle", "default", "next"])),
            "{routes:?}"
        );
        assert_eq!(routes.contains("linked"), program == linked());
    }
}

/// Names that the tables know from headers newer than the driver that the simulator stands for.
fn newer_than_the_simulator(name: &str) -> bool {
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(libraries().sim.join("libcuda.so.1"))
        .output()
        .unwrap();
    !stdout(&output)
        .lines()
        .any(|line| line.ends_with(&format!(" {name}")))
}

/// `cuGetProcAddress` of both ABIs, for every version and stream flag: the same function as without
/// the preload, by its wrapper where there is one.
#[test]
fn get_proc_address() {
    let machine = Machine::new();
    let names = wrapped();
    let symbols: BTreeSet<&str> = names
        .iter()
        .map(String::as_str)
        .filter_map(fcsp_cuda::symbols::find)
        .map(|symbol| symbol.base)
        .filter(|base| base.starts_with("cu"))
        .chain([
            "cuDeviceGet",
            "cuEventRecord",
            "cuStreamWaitEvent",
            "cuNoSuchFunction",
            "cuDevicePrimaryCtxGetState",
        ])
        .collect();
    let mut questions = String::new();
    for base in &symbols {
        for version in [
            2000, 3000, 3020, 4000, 5000, 6050, 7000, 8000, 9000, 10_000, 10_010, 11_000, 11_020,
            11_030, 11_040, 11_060, 11_080, 12_000, 12_010, 12_020, 12_030, 12_040, 12_080, 13_000,
        ] {
            for flags in [0, 1, 2] {
                questions += &format!("{base} {version} {flags}\n");
            }
        }
    }
    let mut command = machine.bare(program("routes"));
    command.arg("procs");
    let plain = fed(command, &questions);
    assert_eq!(plain.lines().count(), questions.lines().count());
    assert!(
        plain.contains("_ptsz\n"),
        "the flag for a default stream a thread has an effect"
    );

    let mut command = machine.governed(program("routes"), "t", "1GiB");
    command.arg("same");
    let answers = fed(command, &plain);
    let mut seen = BTreeSet::new();
    for line in answers.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "at" => {
                let expected = if names.contains(words[1]) {
                    "libfcsp_cuda.so"
                } else {
                    "libcuda.so.1"
                };
                assert_eq!(words[2], expected, "{line}");
                seen.insert(words[1]);
            }
            "count" => assert_eq!(words[1], questions.lines().count().to_string()),
            _ => panic!("{line}"),
        }
    }
    for name in [
        "cuMemAlloc_v2",
        "cuMemAlloc",
        "cuMemAllocAsync_ptsz",
        "cuCtxCreate_v4",
        "cuGetProcAddress",
        "cuDeviceGet",
    ] {
        assert!(seen.contains(name), "{name} of {seen:?}");
    }
}

/// Returns the code of an allocation above the quota, by a route.
pub fn refuse(machine: &Machine, program: &PathBuf, route: &str, finder: Option<&PathBuf>) -> i32 {
    let mut command = machine.governed(program, "t", "1GiB");
    let output = command
        .args(["refuse", route])
        .args(finder)
        .output()
        .unwrap();
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("{route}: {}, {}", output.status, stderr(&output)))
}

#[test]
fn what_each_route_finds_keeps_the_quota() {
    let machine = Machine::new();
    let (finder, bound) = (shared("finder"), linked_finder());
    for program in [program("routes"), linked()] {
        for (route, library) in [
            ("handle", None),
            ("default", None),
            ("next", None),
            ("proc", None),
            ("proc1", None),
            ("library-next", Some(&finder)),
            ("library-default", Some(&finder)),
            ("library-linked", Some(&bound)),
        ] {
            assert_eq!(
                refuse(&machine, &program, route, library),
                OUT_OF_MEMORY,
                "{route}"
            );
        }
    }
    // The test itself would notice: without a preload the same program gets its memory.
    let status = machine
        .bare(program("routes"))
        .args(["refuse", "handle"])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(GIB, 1 << 30);
}

/// Checks that unrelated lookups are as without the preload library. RTLD_NEXT and RTLD_DEFAULT
/// depend on the caller. A miss sets dlerror's text and leaves errno as it was, or as the C library
/// sets it.
#[test]
fn unrelated_lookups_are_untouched() {
    let machine = Machine::new();
    let finder = shared("finder");
    for program in [
        compiled("routes.c", "routes-exporting", &["-rdynamic".as_ref()]),
        program("routes"),
    ] {
        let plain = machine
            .bare(&program)
            .arg("unrelated")
            .arg(&finder)
            .output()
            .unwrap();
        let governed = machine
            .governed(&program, "t", "1GiB")
            .arg("unrelated")
            .arg(&finder)
            .output()
            .unwrap();
        assert!(
            plain.status.success() && governed.status.success(),
            "{}{}",
            stderr(&plain),
            stderr(&governed)
        );
        let (plain, governed) = (stdout(&plain), stdout(&governed));
        assert!(
            plain.contains("library-next malloc libc") && plain.contains("twin"),
            "{plain}"
        );
        for (before, after) in plain.lines().zip(governed.lines()) {
            assert_eq!(before, after);
        }
        assert_eq!(plain.lines().count(), governed.lines().count());
    }
}

/// Checks a driver whose functions call each other through the linker and by name. It is charged
/// once, by its own figures, and gets its own functions when it asks for them.
#[test]
fn a_driver_that_calls_itself() {
    let mut machine = Machine::new();
    let dir = machine.path().join("shim");
    std::fs::create_dir(&dir).unwrap();
    // The simulator under another name, which the shim is linked against.
    let mut bytes = std::fs::read(libraries().sim.join("libcuda.so.1")).unwrap();
    let (own, other) = (b"libcuda.so.1\0", b"libcudb.so.1\0");
    let places: Vec<usize> = (0..bytes.len() - own.len())
        .filter(|&at| bytes[at..].starts_with(own))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + own.len()].copy_from_slice(other);
    }
    std::fs::write(dir.join("libcudb.so.1"), bytes).unwrap();
    std::fs::copy(
        libraries().sim.join("libnvidia-ml.so.1"),
        dir.join("libnvidia-ml.so.1"),
    )
    .unwrap();
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
        .arg(dir.join("libcuda.so.1"))
        .arg(
            std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
                .join("tests/clients/shim.c"),
        )
        .arg(dir.join("libcudb.so.1"))
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    machine.sim = dir;
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    for command in ["pitch 524288 1024", "managed 536870912"] {
        let block = client.ok(command);
        client.ok("info");
        assert!(
            machine.used("t") >= CONTEXT + GIB / 2 && machine.used("t") <= GIB,
            "{command}"
        );
        assert_eq!(judge.held(client.pid()), CONTEXT + GIB / 2, "{command}");
        client.refused(&format!("alloc {}", GIB / 2));
        client.ok(&format!("free {block}"));
    }
    crate::wait_for("everything to be given back", || {
        client.ok("info");
        machine.used("t") == CONTEXT
    });
    let output = machine
        .governed(program("routes"), "t", "1GiB")
        .arg("shim")
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output).trim(),
        "libcudb.so.1",
        "{}",
        stderr(&output)
    );
}
