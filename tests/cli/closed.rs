//! `fcsp run` fails closed by name: a slip in an option, a variable or a tenant's name never means
//! "no limit".

use std::os::unix::fs::PermissionsExt;

use crate::{Machine, refuses, stderr, stdout};

#[test]
fn a_name_without_limits_joins_or_fails() {
    let machine = Machine::new();
    let alone = ["run", "--tenant", "team", "--", "touch", "started"];
    refuses(
        &machine.fcsp(&alone),
        125,
        &[
            "no tenant team runs",
            "--memory 16GiB",
            "--memory unlimited",
        ],
    );
    let by_variable = machine
        .command(&["run", "--", "true"])
        .env("FCSP_TENANT", "team")
        .output()
        .unwrap();
    refuses(&by_variable, 125, &["no tenant team runs"]);
    assert_eq!(machine.tenant("team"), None, "nothing is left of it");
    let living = machine.sleeper("team", &["--memory", "1GiB"]);
    let joined = machine.fcsp(&[
        "run",
        "--tenant",
        "team",
        "--",
        "sh",
        "-c",
        "echo $FCSP_MEMORY_LIMIT",
    ]);
    assert_eq!(stdout(&joined), "1073741824\n", "{}", stderr(&joined));
    drop(living);
    refuses(&machine.fcsp(&alone), 125, &["no tenant team runs"]);
}

/// Checks the README's two lines, in either order: equal limits join.
#[test]
fn two_programs_with_one_name_and_equal_limits_share_them() {
    let machine = Machine::new();
    let children: Vec<_> = (0..8)
        .map(|_| {
            machine
                .command(&[
                    "run",
                    "--tenant",
                    "team-a",
                    "--memory",
                    "16GiB",
                    "--",
                    "sh",
                    "-c",
                    "echo $FCSP_MEMORY_LIMIT",
                ])
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(stdout(&output), "17179869184\n", "{}", stderr(&output));
    }
}

#[test]
fn a_variable_that_nobody_reads_is_an_error() {
    let machine = Machine::new();
    for (name, meant) in [
        ("FCSP_MEMORY", "FCSP_MEMORY_LIMIT"),
        ("FCSP_MEMORY_LIMT", "FCSP_MEMORY_LIMIT"),
        ("FSCP_MEMORY_LIMIT", "FCSP_MEMORY_LIMIT"),
        ("FCSP_MODE_0", "FCSP_MODE"),
        ("FCSP_QUITE_ANOTHER", "README.md"),
    ] {
        let output = machine
            .command(&["run", "--", "true"])
            .env(name, "1GiB")
            .output()
            .unwrap();
        refuses(&output, 125, &[name, meant]);
    }
    let known = machine
        .command(&["run", "--memory", "1GiB", "--", "true"])
        .env("FCSP_LOG", "0")
        .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        .env("CUDA_DEVICE_MEMORY_SHARED_CACHE", "/tmp/x")
        .output()
        .unwrap();
    assert!(known.status.success(), "{}", stderr(&known));
}

#[test]
fn amounts_are_taken_as_people_write_them_or_told_what_they_meant() {
    let machine = Machine::new();
    let limit = |options: &[&str]| {
        let all = [
            &["run", "--sim", "h100"],
            options,
            &[
                "--",
                "sh",
                "-c",
                "echo $FCSP_MEMORY_LIMIT $FCSP_COMPUTE_LIMIT",
            ],
        ]
        .concat();
        machine.fcsp(&all)
    };
    for (options, said) in [
        (&["--memory", "8gib"][..], "8589934592\n"),
        (&["--memory", "8GIB"], "8589934592\n"),
        (&["--memory", "8 Gib"], "8589934592\n"),
        (&["--compute", "0.25"], " 25%\n"),
    ] {
        let output = limit(options);
        assert_eq!(
            stdout(&output).trim_start(),
            said.trim_start(),
            "{options:?} {}",
            stderr(&output)
        );
        assert_eq!(stderr(&output), "");
    }
    for (options, parts) in [
        (
            &["--memory", "8"][..],
            &["--memory: \"8\" has no unit", "8GiB or 8%"][..],
        ),
        (&["--memory", "40"], &["40GiB or 40%"]),
        (&["--memory", "81920"], &["81920MiB"]),
        (&["--memory", "8Gb"], &["bits", "8GiB"]),
        (&["--compute", "25"], &["percent sign"]),
    ] {
        refuses(&limit(options), 125, parts);
    }
    // Less than a context: it starts, and says what will come of it.
    let output = limit(&["--memory", "256MiB"]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("256 MiB on device 0 is less than a context takes (518 MiB)"),
        "{}",
        stderr(&output)
    );
    // The size that a listing shows is the device's, rounded up as it may be.
    let total = machine.fcsp(&["run", "--sim", "h100", "--memory", "101%", "--", "true"]);
    refuses(&total, 125, &["100%"]);
    assert!(limit(&["--memory", "79.18GiB"]).status.success());
    refuses(
        &limit(&["--memory", "79.19GiB"]),
        125,
        &["more than device 0 has"],
    );
}

#[test]
fn a_device_is_named_as_listings_name_it() {
    let machine = Machine::new();
    let run = |rules: &str| {
        machine.fcsp(&[
            "run",
            "--sim",
            "h100x2",
            "--memory",
            rules,
            "--",
            "sh",
            "-c",
            "echo $FCSP_MEMORY_LIMIT",
        ])
    };
    let both = stdout(&run("0=1GiB,1=2GiB"));
    let first = both.split('=').next().unwrap();
    let short = &first[..12];
    let output = run(&format!("{short}=3GiB"));
    assert_eq!(
        stdout(&output),
        format!("{first}=3221225472\n"),
        "{}",
        stderr(&output)
    );
    refuses(
        &run("GPU-ffff0000=1GiB"),
        125,
        &["GPU-ffff0000", "does not exist"],
    );
}

#[test]
fn no_limit_at_all_is_said() {
    let machine = Machine::new();
    let output = machine.fcsp(&["run", "--", "true"]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("has no limit"),
        "{}",
        stderr(&output)
    );
    let output = machine.fcsp(&["run", "--memory", "unlimited", "--", "true"]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn promises_beyond_the_device_are_told_or_refused() {
    let machine = Machine::new();
    let sim = ["--sim", "h100"];
    let _first = machine.sleeper(
        "x1",
        &[
            &sim[..],
            &["--memory", "60GiB", "--compute", "80%", "--mode", "strict"],
        ]
        .concat(),
    );
    let second =
        |options: &[&str]| machine.fcsp(&[&["run"], &sim[..], options, &["--", "true"]].concat());
    let output = second(&["--memory", "19GiB", "--compute", "20%"]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
    let output = second(&["--memory", "60GiB", "--compute", "80%"]);
    assert!(output.status.success());
    let said = stderr(&output);
    for part in [
        "120 GiB of memory would be promised on device 0",
        "x1 has 60 GiB",
        "160% of the time",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    refuses(
        &second(&["--tenant", "x2", "--memory", "60GiB", "--no-overcommit"]),
        125,
        &["--no-overcommit", "120 GiB", "x1 has 60 GiB"],
    );
    assert_eq!(machine.tenant("x2"), None);
    let output = second(&["--memory", "19GiB", "--no-overcommit"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_program_does_not_leave_its_tenant_by_another_name() {
    let machine = Machine::new();
    let inside = |script: &str| {
        let script = script.replace("FCSP ", &format!("{} ", env!("CARGO_BIN_EXE_fcsp")));
        machine.fcsp(&[
            "run", "--tenant", "outer", "--memory", "4GiB", "--", "sh", "-c", &script,
        ])
    };
    // What it may have inside is less: tests/preload/parts.rs.
    for more in ["--tenant big --memory 70GiB", "--memory 20GiB"] {
        let output = inside(&format!("FCSP run {more} -- true"));
        refuses(&output, 125, &["is more than tenant outer has: 4 GiB"]);
    }
    let output = inside("FCSP run -- sh -c 'echo $FCSP_TENANT'");
    assert_eq!(stdout(&output), "outer\n", "{}", stderr(&output));
}

#[test]
fn what_is_no_program_is_refused_at_once() {
    let machine = Machine::new();
    let pipe = machine.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "755"])
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    refuses(
        &machine.fcsp(&["run", "--memory", "1GiB", pipe.to_str().unwrap()]),
        126,
        &["a pipe"],
    );
    let short = machine.path().join("short");
    std::fs::write(&short, b"\x7fELF").unwrap();
    std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = machine.fcsp(&["run", "--memory", "1GiB", short.to_str().unwrap()]);
    assert!(!stderr(&output).contains("32-bit"), "{}", stderr(&output));
}
