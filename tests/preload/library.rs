//! The preload library itself: what it exports and needs, what it weighs, and that it is not
//! noticed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::lookup::wrapped;
use crate::{GIB, Machine, libraries, stderr, stdout};

fn tool(name: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(name)
        .args(arguments)
        .arg(file)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn exports_vendor_entry_points_and_dlsym_only() {
    let text = tool("nm", &["-D", "--defined-only"], &libraries().preload);
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().last())
        .map(|n| n.split('@').next().unwrap())
        .collect();
    assert!(names.contains("dlsym"));
    for name in &names {
        assert!(
            *name == "dlsym" || fcsp_cuda::symbols::find(name).is_some(),
            "{name} is nobody's entry point"
        );
    }
    // And all that the backend says it wraps.
    let hooks: BTreeSet<String> = fcsp_cuda::hooks::HOOKS
        .hooks()
        .map(|hook| hook.name.to_str().unwrap().to_owned())
        .collect();
    assert_eq!(wrapped(), hooks);
}

#[test]
fn needs_no_vendor_library_and_runs_nothing_when_loaded() {
    let text = tool("readelf", &["-dW"], &libraries().preload);
    for line in text.lines().filter(|line| line.contains("(NEEDED)")) {
        let good = [
            "[libc.so",
            "[libgcc_s.so",
            "[ld-linux",
            "[libm.so",
            "[libdl.so",
            "[libpthread.so",
        ];
        assert!(good.iter().any(|part| line.contains(part)), "{line}");
    }
    let undefined = tool("nm", &["-D", "--undefined-only"], &libraries().preload);
    for line in undefined.lines() {
        let name = line.split_ascii_whitespace().last().unwrap();
        assert!(
            fcsp_cuda::symbols::find(name).is_none(),
            "{name} would be bound to whatever is there"
        );
    }
}

#[test]
fn weighs_no_more_than_its_bound() {
    let stripped =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stripped-{}.so", std::process::id()));
    let status = Command::new("strip")
        .arg("-o")
        .args([&stripped, &libraries().preload])
        .status()
        .unwrap();
    assert!(status.success());
    let bytes = std::fs::metadata(&stripped).unwrap().len();
    std::fs::remove_file(&stripped).unwrap();
    // As in scripts/check-preload.sh: 1.25 MiB.
    assert!(bytes < 5 << 18, "{bytes}");
}

#[test]
fn is_not_noticed_by_programs_without_a_device() {
    let machine = Machine::new();
    for (program, arguments) in [
        ("/bin/true", &[][..]),
        ("/bin/false", &[]),
        (
            "/bin/sh",
            &[
                "-c",
                "printf 'one\\ntwo\\n' | grep two | tr a-z A-Z; exit 9",
            ],
        ),
        ("/bin/sh", &["-c", "kill -TERM $$"]),
        ("/bin/sh", &["-c", "trap '' PIPE; yes | head -2"]),
    ] {
        let plain = machine.bare(program).args(arguments).output().unwrap();
        for limit in ["1GiB", "lots", "0"] {
            let governed = machine
                .governed(program, "t", limit)
                .args(arguments)
                .output()
                .unwrap();
            assert_eq!(governed, plain, "{program} {arguments:?}");
        }
    }
    assert!(!machine.state().exists(), "not a file was made");
}

/// Checks that there is no thread, no signal handler and no descriptor of the library before the
/// device is used.
#[test]
fn leaves_the_process_as_it_is() {
    let machine = Machine::new();
    let script = "grep -E '^(Threads|Sig(Blk|Ign|Cgt))' /proc/self/status; ls /proc/self/fd";
    let run = |mut command: Command| stdout(&command.args(["-c", script]).output().unwrap());
    let plain = run(machine.bare("sh"));
    assert!(plain.contains("Threads"));
    assert_eq!(run(machine.governed("sh", "t", "1GiB")), plain);
}

/// Checks every device function without limits: the library passes it on, and makes no files.
#[test]
fn without_limits_nothing_changes() {
    let machine = Machine::new();
    let mut command = machine.bare(crate::program("client"));
    command.env("LD_PRELOAD", &libraries().preload);
    let mut client = crate::Client::start(command);
    client.ok("open 0");
    assert_eq!(client.call("info").1[1], 8 * GIB);
    client.ok(&format!("alloc {}", 6 * GIB));
    client.refused(&format!("alloc {}", 6 * GIB));
    assert!(!machine.state().join("tenants").exists());
}
