//! `fcsp run`: what is refused before anything starts, and that the program then has the process to
//! itself.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;

use crate::{Machine, refuses, stderr, stdout, wait_for};

#[test]
fn a_bad_option_is_named_and_nothing_starts() {
    let machine = Machine::new();
    let mark = machine.path().join("started");
    let mark = mark.to_str().unwrap();
    for (options, parts) in [
        (
            &["--memory", "8 gigs"][..],
            &["--memory: \"8 gigs\"", "8GiB"][..],
        ),
        (&["--memory", "101%"], &["--memory", "100%"]),
        (&["--memory", "0"], &["--memory", "leave the limit out"]),
        (&["--memory", ""], &["--memory: is empty"]),
        (&["--memory", "-1"], &["--memory"]),
        (&["--memory", "0=1GiB,0=2GiB"], &["--memory", "twice"]),
        (&["--memory", "gpu=1GiB"], &["--memory", "names no device"]),
        (&["--memory", "8GiB,"], &["--memory", "a comma too many"]),
        (
            &["--memory", "1GiB,2GiB"],
            &["--memory", "two values for every device"],
        ),
        (&["--compute", "25"], &["--compute", "percent sign", "25%"]),
        (&["--mode", "fast"], &["--mode", "strict"]),
        (&["--priority", "urgent"], &["--priority", "high"]),
        (&["--compute", "25%", "--floor", "30%"], &["--floor", "25%"]),
        (&["--compute", "25%", "--burst", "10%"], &["--burst", "25%"]),
        (&["--tenant", "a/b"], &["--tenant", "letters"]),
        (
            &["--sim", "b200"],
            &["--sim: \"b200\" is not a model", "h100"],
        ),
        (
            &["--sim", "mi300x"],
            &["--sim: \"mi300x\" is not a model", "h100"],
        ),
        (&["--sim", "h100x99"], &["--sim", "1 to 16 devices"]),
        (&["--memroy", "1GiB"], &["--memroy", "--memory"]),
        (
            &["--sim", "h100x2", "--memory", "2=1GiB"],
            &["--memory: device 2 does not exist", "0=GPU-", "1=GPU-"],
        ),
        (
            &["--sim", "h100,memory=4GiB", "--memory", "5GiB"],
            &["--memory: 5 GiB is more than device 0 has", "4 GiB"],
        ),
        (
            &["--sim", "h100x2", "--compute", "7=50%"],
            &["--compute: device 7 does not exist"],
        ),
    ] {
        let mut args = vec!["run"];
        args.extend(options);
        args.extend(["--", "touch", mark]);
        refuses(&machine.fcsp(&args), 125, parts);
    }
    assert!(!std::path::Path::new(mark).exists());
    assert!(
        !machine.path().join("state/tenants").exists(),
        "no tenant was made"
    );
    refuses(
        &machine.fcsp(&["run", "--memory", "1GiB"]),
        125,
        &["PROGRAM"],
    );
    refuses(
        &machine.fcsp(&["rum"]),
        125,
        &["'rum'", "'run'", "see `fcsp --help`"],
    );
}

#[test]
fn a_wrong_variable_of_one_vendor_is_named_and_nothing_starts() {
    let machine = Machine::new();
    let mark = machine.path().join("started");
    for (name, value, parts) in [
        (
            "FCSP_ASCEND_CORES",
            "half",
            ["FCSP_ASCEND_CORES: \"half\"", "quota nor none"],
        ),
        (
            "FCSP_GAUDI_WAIT",
            "soon",
            ["FCSP_GAUDI_WAIT: \"soon\"", "seconds nor forever"],
        ),
    ] {
        let output = machine
            .command(&["run", "--", "touch", mark.to_str().unwrap()])
            .env(name, value)
            .output()
            .unwrap();
        refuses(&output, 125, &parts);
        let report = machine
            .command(&["doctor", "--sim", "h100", "--json"])
            .env(name, value)
            .output()
            .unwrap();
        assert_eq!(report.status.code(), Some(1), "{}", stdout(&report));
        assert!(
            stdout(&report).contains(&format!("correct or unset {name}")),
            "{}",
            stdout(&report)
        );
    }
    assert!(!mark.exists());
}

#[test]
fn a_program_that_cannot_start_has_the_codes_of_env() {
    let machine = Machine::new();
    let plain = machine.path().join("plain");
    std::fs::write(&plain, "text").unwrap();
    let orphan = machine.path().join("orphan");
    std::fs::write(&orphan, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&orphan, std::fs::Permissions::from_mode(0o755)).unwrap();

    refuses(
        &machine.fcsp(&["run", "no-such-program"]),
        127,
        &["no-such-program", "PATH"],
    );
    refuses(
        &machine.fcsp(&["run", "./no/such/program"]),
        127,
        &["no such file"],
    );
    refuses(
        &machine.fcsp(&["run", plain.to_str().unwrap()]),
        126,
        &["not executable"],
    );
    refuses(&machine.fcsp(&["run", "/"]), 126, &["folder"]);
    refuses(
        &machine.fcsp(&["run", "--memory", "1GiB", orphan.to_str().unwrap()]),
        127,
        &["interpreter"],
    );
    assert_eq!(
        machine.json(&["ps", "--all", "--json"], 0)["tenants"],
        serde_json::json!([])
    );
}

#[test]
fn status_signals_arguments_and_number_are_the_programs_own() {
    let machine = Machine::new();
    let output = machine.fcsp(&["run", "--", "sh", "-c", "exit 42"]);
    assert_eq!(output.status.code(), Some(42));
    let output = machine.fcsp(&["run", "--", "sh", "-c", "kill -USR1 $$"]);
    assert_eq!(output.status.signal(), Some(libc::SIGUSR1));
    // Options after the program are the program's.
    let output = machine.fcsp(&["run", "--memory", "1GiB", "echo", "--memory", "-x", "a b"]);
    assert_eq!(stdout(&output), "--memory -x a b\n", "{}", stderr(&output));

    let child = machine
        .command(&["run", "--", "sh", "-c", "echo $$"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output).trim(), pid.to_string());
}

#[test]
fn a_pipe_that_closes_ends_the_program_quietly() {
    let machine = Machine::new();
    let script = format!(
        "{} run --memory 1GiB -- yes | head -1",
        env!("CARGO_BIN_EXE_fcsp")
    );
    let output = machine
        .command(&[])
        .get_envs()
        .fold(
            std::process::Command::new("sh"),
            |mut command, (name, value)| {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
                command
            },
        )
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(
        (stdout(&output), stderr(&output)),
        ("y\n".into(), String::new())
    );
}

#[test]
fn the_environment_says_what_the_options_said() {
    let machine = Machine::new();
    let output = machine
        .command(&[
            "run",
            "--tenant",
            "t",
            "--sim",
            "h100x2",
            "--memory",
            "0=1.5GiB,1=40%",
            "--compute",
            "25%",
            "--mode",
            "strict",
            "--",
            "env",
        ])
        .env("LD_PRELOAD", "/somewhere/else/libfcsp_cuda.so")
        .env("FCSP_MEMORY_LIMIT_1", "9GiB")
        .output()
        .unwrap();
    let text = stdout(&output);
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")))
            .map(str::to_owned)
    };
    assert_eq!(
        value("FCSP_TENANT").as_deref(),
        Some("t"),
        "{}",
        stderr(&output)
    );
    // Numbers have become devices: whatever order the program chooses, they keep their quotas.
    let memory = value("FCSP_MEMORY_LIMIT").unwrap();
    let rules: Vec<_> = memory
        .split(',')
        .filter_map(|rule| rule.split_once('='))
        .collect();
    assert_eq!(
        rules.iter().map(|rule| rule.1).collect::<Vec<_>>(),
        ["1610612736", "40%"]
    );
    assert!(
        rules.iter().all(|rule| rule.0.starts_with("GPU-")) && rules[0].0 != rules[1].0,
        "{memory}"
    );
    assert_eq!(value("FCSP_MEMORY_LIMIT_1"), None);
    assert_eq!(value("FCSP_COMPUTE_LIMIT").as_deref(), Some("25%"));
    assert_eq!(value("FCSP_MODE").as_deref(), Some("strict"));
    assert_eq!(value("FCSP_SIM").as_deref(), Some("h100x2"));
    let preload = value("LD_PRELOAD").unwrap();
    assert!(
        preload.ends_with("/libfcsp_cuda.so")
            && !preload.contains(':')
            && !preload.contains("/somewhere/"),
        "one copy of the library, this one: {preload}"
    );
    let sim = value("LD_LIBRARY_PATH").unwrap();
    for library in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        assert!(std::path::Path::new(&sim).join(library).is_file());
    }
}

#[test]
fn other_preloads_stay() {
    let machine = Machine::new();
    let output = machine
        .command(&["run", "--", "sh", "-c", "echo $LD_PRELOAD"])
        .env("LD_PRELOAD", "libc.so.6")
        .output()
        .unwrap();
    let text = stdout(&output);
    let entries: Vec<&str> = text.trim().split(':').collect();
    // Other vendors' libraries go in where their drivers are installed.
    let (last, ours) = entries.split_last().unwrap();
    assert_eq!(*last, "libc.so.6", "{text}");
    assert!(
        ours.iter().any(|entry| entry.ends_with("/libfcsp_cuda.so")),
        "{text}"
    );
    assert!(
        ours.iter().all(|entry| entry.contains("/libfcsp_")),
        "{text}"
    );
}

#[test]
fn a_living_tenant_is_joined_and_not_changed() {
    let machine = Machine::new();
    let _first = machine.sleeper("shared", &["--memory", "1GiB"]);
    let output = machine.fcsp(&[
        "run",
        "--tenant",
        "shared",
        "--",
        "sh",
        "-c",
        "echo $FCSP_MEMORY_LIMIT",
    ]);
    assert_eq!(stdout(&output), "1073741824\n", "{}", stderr(&output));
    let output = machine.fcsp(&[
        "run", "--tenant", "shared", "--memory", "1024MiB", "--", "true",
    ]);
    assert!(
        output.status.success(),
        "equal limits are no change: {}",
        stderr(&output)
    );
    refuses(
        &machine.fcsp(&[
            "run", "--tenant", "shared", "--memory", "2GiB", "--", "true",
        ]),
        125,
        &["tenant shared lives", "fcsp limit shared"],
    );
    // A program inside cannot leave its tenant by running fcsp again.
    let inner = format!(
        "{0} run --memory 8GiB -- true; echo $?; {0} run -- sh -c 'echo $FCSP_TENANT'",
        env!("CARGO_BIN_EXE_fcsp")
    );
    let output = machine.fcsp(&["run", "--tenant", "shared", "--", "sh", "-c", &inner]);
    assert_eq!(stdout(&output), "125\nshared\n");
}

#[test]
fn a_name_is_free_again_when_its_tenant_is_dead() {
    let machine = Machine::new();
    drop(machine.sleeper("again", &["--memory", "1GiB"]));
    let output = machine.fcsp(&["run", "--tenant", "again", "--memory", "2GiB", "--", "true"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        machine.tenant("again").unwrap()["memory"][0]["value"],
        "2 GiB"
    );
}

/// Files that a dead tenant of another version left, or that somebody wrote over, are in nobody's
/// way.
#[test]
fn a_name_is_free_again_whatever_its_dead_tenant_left() {
    let machine = Machine::new();
    drop(machine.sleeper("again", &["--memory", "1GiB"]));
    let folder = machine.path().join("state/tenants/again");
    std::fs::write(folder.join("control"), "scribble").unwrap();
    std::fs::write(folder.join("GPU-0.region"), "scribble").unwrap();
    let listed = machine.fcsp(&["ps"]);
    let warnings = stderr(&listed);
    assert!(warnings.contains("fcsp gc"), "{warnings}");
    assert_eq!(
        warnings.matches("again/control").count(),
        1,
        "each file is named once: {warnings}"
    );
    let output = machine.fcsp(&["run", "--tenant", "again", "--memory", "2GiB", "--", "true"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    assert_eq!(
        machine.tenant("again").unwrap()["memory"][0]["value"],
        "2 GiB"
    );
}

#[test]
fn unnamed_tenants_leave_nothing_behind() {
    let machine = Machine::new();
    for _ in 0..3 {
        assert!(
            machine
                .fcsp(&["run", "--memory", "1GiB", "--", "true"])
                .status
                .success()
        );
    }
    let output = machine.fcsp(&[
        "run",
        "--",
        "sh",
        "-c",
        "ls $FCSP_STATE_DIR/tenants | wc -l",
    ]);
    assert_eq!(stdout(&output).trim(), "1", "only its own");
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let machine = Machine::new();
    let children: Vec<_> = (0..24)
        .map(|index| {
            let tenant = format!("t{}", index % 3);
            machine
                .command(&[
                    "run", "--tenant", &tenant, "--memory", "1GiB", "--", "sh", "-c", "exit 9",
                ])
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
    }
}

#[test]
fn an_unusable_state_folder_is_an_error_that_says_what_to_do() {
    let machine = Machine::new();
    let file = machine.path().join("file");
    std::fs::write(&file, "").unwrap();
    refuses(
        &machine.fcsp(&["run", "--state-dir", file.to_str().unwrap(), "--", "true"]),
        125,
        &["--state-dir"],
    );
    let simulated = machine
        .command(&[
            "run",
            "--state-dir",
            file.to_str().unwrap(),
            "--sim",
            "h100",
            "--",
            "true",
        ])
        .env_remove("FCSP_SIM_STATE")
        .output()
        .unwrap();
    refuses(
        &simulated,
        125,
        &["--state-dir", "cannot set the tenant up in"],
    );
    // The simulated machine's own file.
    std::fs::write(machine.path().join("device"), "scribble").unwrap();
    refuses(
        &machine.fcsp(&["run", "--sim", "h100", "--", "true"]),
        125,
        &["--sim", "device", "remove it"],
    );
    let output = machine
        .command(&["run", "--", "true"])
        .env("FCSP_LIB_DIR", machine.path())
        .output()
        .unwrap();
    refuses(&output, 125, &["FCSP_LIB_DIR", "libfcsp_cuda.so"]);
}

#[test]
fn libraries_that_were_tampered_with_are_written_again() {
    let machine = Machine::new();
    let cache = machine.path().join("cache");
    let lib = || {
        let output = machine
            .command(&["lib", "--json"])
            .env("XDG_CACHE_HOME", &cache)
            .output()
            .unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        std::path::PathBuf::from(value["preload"].as_str().unwrap())
    };
    let path = lib();
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"not a library").unwrap();
    assert_eq!(lib(), path);
    assert_eq!(std::fs::read(&path).unwrap(), good);

    // A home that others may write cannot be trusted with a library: the state folder takes its
    // place.
    std::fs::set_permissions(
        path.parent().unwrap(),
        std::fs::Permissions::from_mode(0o777),
    )
    .unwrap();
    assert!(lib().starts_with(machine.path().join("state")));
}

#[test]
fn a_static_program_is_warned_about() {
    let machine = Machine::new();
    let Some(program) = crate::compile(&machine, "hello.c", &["-static"]) else {
        return;
    };
    let output = machine.fcsp(&["run", "--", program.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("linked statically"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_root_of_a_tenant_counts_as_alive_until_it_ends() {
    let machine = Machine::new();
    let sleeper = machine.sleeper("life", &["--memory", "unlimited"]);
    assert_eq!(machine.tenant("life").unwrap()["alive"], true);
    drop(sleeper);
    wait_for("the tenant to be dead", || {
        machine.tenant("life").unwrap()["alive"] == false
    });
}

#[test]
fn an_unpacked_release_uses_the_libraries_beside_it() {
    let machine = Machine::new();
    let prefix = machine.path().join("prefix");
    std::fs::create_dir_all(prefix.join("bin")).unwrap();
    let command = prefix.join("bin/fcsp");
    std::fs::copy(env!("CARGO_BIN_EXE_fcsp"), &command).unwrap();
    let folder = prefix.join("lib/fcsp");
    let written = machine.fcsp(&["lib", "--to", folder.to_str().unwrap()]);
    assert!(written.status.success(), "{}", stderr(&written));

    let lib = |name: &str, value: &std::path::Path| -> serde_json::Value {
        let output = std::process::Command::new(&command)
            .args(["lib", "--json"])
            .env_clear()
            .env("FCSP_STATE_DIR", machine.path().join("state"))
            .env(name, value)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
    };
    let found = lib("XDG_CACHE_HOME", machine.path());
    assert_eq!(found["origin"], "beside");
    assert_eq!(
        found["preload"],
        folder.join("libfcsp_cuda.so").to_str().unwrap()
    );
    // The variable beats it; where the cache is no folder and beside nothing, the state folder
    // holds the libraries.
    assert_eq!(lib("FCSP_LIB_DIR", &folder)["origin"], "variable");
    // One in which others could swap the libraries is passed by, and refused where it was named.
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&folder, open).unwrap();
    assert_eq!(lib("XDG_CACHE_HOME", machine.path())["origin"], "cache");
    let named = machine
        .command(&["lib"])
        .env("FCSP_LIB_DIR", &folder)
        .output()
        .unwrap();
    refuses(&named, 125, &["FCSP_LIB_DIR", "can be written by others"]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(lib("XDG_CACHE_HOME", &command)["origin"], "state");
}
