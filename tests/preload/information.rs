//! Tests of the information that a tenant gets about its device: the quota is the device, and no
//! other tenant is visible.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{CONTEXT, GIB, MIB, Machine, Observer, clean, stderr, stdout, wait_for};

#[test]
fn memory_by_the_driver() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    assert_eq!(client.call("info"), (0, vec![GIB - CONTEXT, GIB]));
    assert_eq!(client.ok("total 0"), GIB);
    // The 32-bit ABI, and a caller that wants one of the two.
    assert_eq!(client.call("info1"), (0, vec![GIB - CONTEXT, GIB]));
    assert_eq!(client.ok("total1 0"), GIB);
    assert_eq!(client.ok("half"), GIB);
    client.ok(&format!("alloc {}", 256 * MIB));
    assert_eq!(client.call("info").1[0], GIB - CONTEXT - 256 * MIB);
    // Another process of the tenant sees the same device, with the other's memory in it.
    let mut second = machine.open("t", "1GiB");
    assert_eq!(
        second.call("info").1,
        vec![GIB - 2 * CONTEXT - 256 * MIB, GIB]
    );
    assert_ne!(client.code("total 7"), 0);
}

/// Checks that the reported available memory never exceeds the device's.
#[test]
fn free_memory_is_no_more_than_the_device_has() {
    let machine = Machine::new();
    let mut hog = machine.open("hog", "7GiB");
    hog.fill(64 * MIB);
    let mut client = machine.open("t", "4GiB");
    let (_, values) = client.call("info");
    assert_eq!(values[1], 4 * GIB);
    assert!(values[0] <= GIB - CONTEXT, "{values:?}");
    let got = client.fill(2 * MIB).len() as u64 * 2 * MIB;
    assert_eq!(got, values[0], "and all of it can be had");
}

#[test]
fn shares_and_devices() {
    let machine = Machine::with("h100x2,memory=8GiB,context=64MiB");
    let mut client = machine.client("t", "0=25%,1=1GiB");
    client.ok("init");
    assert_eq!((client.ok("total 0"), client.ok("total 1")), (2 * GIB, GIB));
    client.ok("use 1");
    assert_eq!(client.call("info").1[1], GIB);
    assert!(client.fill(64 * MIB).len() == 15);
    client.ok("use 0");
    assert_eq!(client.call("info").1, vec![2 * GIB - CONTEXT, 2 * GIB]);
    // A rule that names a device by its UUID holds whatever its number.
    let uuid = machine.tenant("t")["devices"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let total = |list: &str| {
        let mut command = machine.governed(
            crate::program("client"),
            "u",
            &format!("512MiB,{uuid}=3GiB"),
        );
        command.env("CUDA_VISIBLE_DEVICES", list);
        let mut client = crate::Client::start(command);
        client.ok("init");
        (client.ok("total 0"), client.ok("total 1"))
    };
    let (first, second) = (total("0,1"), total("1,0"));
    assert_eq!(first, (second.1, second.0));
    assert!(
        first == (3 * GIB, GIB / 2) || first == (GIB / 2, 3 * GIB),
        "{first:?}"
    );
}

#[test]
fn memory_by_the_management_library() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    client.ok(&format!("alloc {}", 128 * MIB));
    client.ok("info");
    let used = CONTEXT + 128 * MIB;
    client.ok("nvml");
    assert_eq!(client.call("nvmlmem 0"), (0, vec![GIB, GIB - used, used]));
    assert_eq!(
        client.call("nvmlmem2 0"),
        (0, vec![GIB, GIB - used, used, 0])
    );
    // A program that only looks, and is of the tenant.
    let mut looker = machine.client("t", "1GiB");
    looker.ok("nvml");
    assert_eq!(looker.call("nvmlmem 0").1, vec![GIB, GIB - used, used]);
    // One of another tenant sees its own, empty device.
    let mut other = machine.client("other", "2GiB");
    other.ok("nvml");
    assert_eq!(other.call("nvmlmem 0").1, vec![2 * GIB, 2 * GIB, 0]);
    // One without limits sees the device as it is.
    let mut free = crate::Client::start({
        let mut command = machine.bare(crate::program("client"));
        command.env("LD_PRELOAD", libraries_preload());
        command
    });
    free.ok("nvml");
    let (_, values) = free.call("nvmlmem 0");
    assert!(values[0] >= 8 * GIB && values[2] >= used, "{values:?}");
}

fn libraries_preload() -> PathBuf {
    crate::libraries().preload.clone()
}

#[test]
fn processes_of_neighbours_are_not_shown() {
    let machine = Machine::new();
    let mut judge: Observer = machine.observer();
    let mut mine = machine.open("t", "1GiB");
    let also_mine = machine.open("t", "1GiB");
    let neighbour = machine.open("n", "1GiB");
    let all: Vec<u32> = judge.processes(0).iter().map(|entry| entry.0).collect();
    assert!(all.contains(&neighbour.pid()) && all.len() == 3, "{all:?}");
    mine.ok("nvml");
    for list in ["pids1 0", "pids2 0", "pids3 0"] {
        let (code, mut pids) = mine.call(list);
        pids.sort_unstable();
        let mut expected = vec![u64::from(mine.pid()), u64::from(also_mine.pid())];
        expected.sort_unstable();
        assert_eq!((code, pids), (0, expected), "{list}");
    }
}

/// Packages of NVIDIA that the Python clients use, in one environment that later runs find again.
const PACKAGES: [&str; 2] = ["nvidia-ml-py==13.615.71", "cuda-bindings==13.5.0"];

/// Returns the interpreter of a virtual environment with [`PACKAGES`]. Returns `None` only if
/// FCSP_OFFLINE says that there is no index to install them from.
fn python() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(make_environment).as_deref()
}

fn make_environment() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preload-python");
    let (python, mark) = (dir.join("bin/python"), dir.join("installed"));
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == PACKAGES.join(" ")) {
        return Some(python);
    }
    if std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1") {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and {} are not installed",
            PACKAGES.join(", ")
        );
        return None;
    }
    let _ = std::fs::remove_dir_all(&dir);
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        clean(&mut command);
        let output = command.args(arguments).output().unwrap_or_else(|error| {
            panic!(
                "{}: {error}; these tests need python3 (or FCSP_OFFLINE=1)",
                program.display()
            )
        });
        let said = format!("{}{}", stdout(&output), stderr(&output));
        (output.status.success(), said)
    };
    let text = dir.to_str().unwrap();
    let (ready, said) = run(Path::new("python3"), &["-m", "venv", text]);
    // Debian leaves what makes environments with pip out of its plain interpreter.
    let pip = |packages: &[&str]| {
        if ready {
            let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
            run(&python, &[&install[..], packages].concat())
        } else {
            let (made, why) = run(Path::new("python3"), &["-m", "venv", "--without-pip", text]);
            assert!(made, "{said}{why}");
            let site = run(
                &python,
                &[
                    "-c",
                    "import sysconfig; print(sysconfig.get_path('purelib'))",
                ],
            )
            .1;
            let install = [
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "--target",
                site.trim(),
            ];
            run(Path::new("python3"), &[&install[..], packages].concat())
        }
    };
    let (installed, said) = pip(&PACKAGES);
    assert!(installed, "{said}\n(FCSP_OFFLINE=1 leaves these tests out)");
    std::fs::write(&mark, PACKAGES.join(" ")).unwrap();
    Some(python)
}

fn client(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .join("tests/clients")
        .join(name)
}

#[test]
fn the_management_library_by_its_python_package() {
    let Some(python) = python() else { return };
    let machine = Machine::new();
    let mut mine = machine.open("t", "1GiB");
    mine.ok(&format!("alloc {}", 128 * MIB));
    mine.ok("info");
    let neighbour = machine.open("n", "1GiB");
    let mut command = machine.governed(python, "t", "1GiB");
    command
        .arg(client("nvml_client.py"))
        .arg(mine.pid().to_string())
        .arg(neighbour.pid().to_string());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!(
        stdout(&output).trim(),
        format!(
            "total {GIB} used {} free {}",
            CONTEXT + 128 * MIB,
            GIB - CONTEXT - 128 * MIB
        )
    );
}

#[test]
fn nvidias_python_bindings_under_a_quota() {
    let Some(python) = python() else { return };
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut command = machine.governed(python, "t", "1GiB");
    let child = command
        .arg(client("bindings_client.py"))
        .arg(GIB.to_string())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert!(stdout(&output).ends_with("ok\n"), "{}", stdout(&output));
    let peak = judge.peak(pid);
    assert!(peak > 0 && peak <= GIB, "{peak}");
    wait_for("its memory to be given back", || machine.used("t") == 0);
}

/// Checks that the simulator's own client of the bindings, which ignores quotas, sees no difference
/// under one as large as its device.
#[test]
fn a_program_that_knows_nothing_of_quotas() {
    let Some(python) = python() else { return };
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .join("fcsp-sim/tests/cuda_bindings_client.py");
    let machine = Machine::new();
    let run = |mut command: Command| {
        let output = command.arg(&script).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            stdout(&output),
            stderr(&output)
        );
        // Less the time that it took.
        stdout(&output)
            .lines()
            .map(|line| line.split(" (").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let plain = run(machine.bare(python));
    assert!(plain.len() > 5, "{plain:?}");
    assert_eq!(run(machine.governed(python, "t", "8GiB")), plain);
}
