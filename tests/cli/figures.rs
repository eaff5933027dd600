//! Figures in listings: one shape, numbers beside text, nothing invented, and what has ended out of
//! the way.

use std::time::Duration;

use crate::share::{Client, figures, spin};
use crate::{Machine, refuses, stderr, stdout};

#[test]
fn limits_have_one_shape_with_numbers_in_every_listing() {
    let machine = Machine::new();
    let options = [
        "--memory",
        "1GiB",
        "--compute",
        "25%",
        "--priority",
        "low",
        "--floor",
        "10%",
        "--burst",
        "50%",
        "--shared-pool",
        "30%",
    ];
    let _sleeper = machine.sleeper("a", &options);
    let listed = machine.tenant("a").unwrap();
    let shown = machine.json(&["limit", "a", "--json"], 0);
    for key in [
        "name",
        "memory",
        "compute",
        "paused",
        "used_bytes",
        "devices",
    ] {
        assert_eq!(listed[key], shown[key], "{key}");
        assert!(!listed[key].is_null(), "{key}");
    }
    assert_eq!(listed["memory"][0]["bytes"], 1 << 30);
    let share = &listed["compute"][0];
    for (key, value) in [
        ("guarantee", 0.25),
        ("floor", 0.1),
        ("burst", 0.5),
        ("shared_pool", 0.3),
    ] {
        assert_eq!(share[key].as_f64(), Some(value), "{key}");
    }
    assert_eq!(
        (&share["mode"], &share["priority"]),
        (&"balanced".into(), &"low".into())
    );
    let text = stdout(&machine.fcsp(&["limit", "a"]));
    for part in ["floor 10%", "burst 50%", "shared pool 30%", "priority low"] {
        assert!(text.contains(part), "{part}: {text}");
        assert!(stdout(&machine.fcsp(&["ps"])).contains(part), "{part}");
    }
}

#[test]
fn a_share_that_is_taken_away_holds_nothing_back() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(
        &machine,
        &program,
        "a",
        &["--compute", "10%", "--mode", "strict"],
    );
    let _first = client.rate();
    let held = client.rate();
    let changed = machine.json(&["limit", "a", "--compute", "unlimited", "--json"], 0);
    assert_eq!(changed["compute"], serde_json::json!([]));
    let _first = client.rate();
    let freely = client.rate();
    assert!(freely > 9.0 * held, "{freely} after {held}");
    let share = figures(&machine, "a");
    assert!(
        share["utilization"].is_null() && share["throttled"].is_null(),
        "{share}"
    );
    assert!(share["guarantee"].is_null(), "{share}");
    assert!(
        stdout(&machine.fcsp(&["limit", "a"])).contains("compute unlimited"),
        "what is printed is what was given"
    );
}

#[test]
fn without_a_share_nothing_is_counted_and_nothing_is_said() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let _client = Client::busy(&machine, &program, "a", &["--compute", "50%"]);
    machine.json(&["limit", "a", "--mode", "none", "--json"], 0);
    machine.wait_for("the share to be given up", || {
        figures(&machine, "a")["utilization"].is_null()
    });
    let share = figures(&machine, "a");
    for key in ["utilization", "surplus", "throttled"] {
        assert!(share[key].is_null(), "{key}: {share}");
    }
    let text = stdout(&machine.fcsp(&["ps", "--sample"]));
    let row = text.lines().find(|line| line.starts_with("a ")).unwrap();
    assert!(!row.contains(" 0%"), "{text}");
}

#[test]
fn a_wait_is_counted_as_it_goes() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    // Four kernels of 4 ms at 1 %: each wait is longer than the time between two looks.
    let options = [
        "--sim",
        "h100",
        "--tenant",
        "a",
        "--compute",
        "1%",
        "--mode",
        "strict",
    ];
    let words = machine.path().join("words");
    std::fs::write(&words, [0; 64]).unwrap();
    let mut args = vec!["run"];
    args.extend(options);
    args.extend([
        "--",
        program.to_str().unwrap(),
        words.to_str().unwrap(),
        "busy",
        "4000",
    ]);
    let _client = crate::Sleeper(machine.command(&args).spawn().unwrap());
    machine.wait_for("the first wait", || {
        machine
            .tenant("a")
            .is_some_and(|tenant| tenant["devices"][0]["compute"]["waits"].as_u64() > Some(1))
    });
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(figures(&machine, "a")["throttled"].as_f64().unwrap());
        machine.world().advance(Duration::from_millis(30));
    }
    // It waits nearly all the time, and never more than that.
    assert!(held.iter().all(|&held| held <= 1.0), "{held:?}");
    let low = held.iter().filter(|&&held| held < 0.5).count();
    assert!(low <= 2, "{held:?}");
}

#[test]
fn what_has_ended_is_not_among_the_living() {
    let machine = Machine::new();
    let _living = machine.sleeper("living", &["--memory", "1GiB"]);
    drop(machine.sleeper("gone", &["--memory", "1GiB"]));
    let listing = machine.json(&["ps", "--json"], 0);
    assert_eq!(listing["ended"], 1);
    assert_eq!(listing["tenants"].as_array().unwrap().len(), 1);
    let text = stdout(&machine.fcsp(&["ps"]));
    assert!(
        text.contains("1 tenant has ended") && !text.contains("gone"),
        "{text}"
    );
    let all = machine.json(&["ps", "--json", "--all"], 0);
    assert_eq!(all["ended"], 0);
    assert_eq!(all["tenants"].as_array().unwrap().len(), 2);
    assert!(stdout(&machine.fcsp(&["top", "--once", "-a"])).contains("gone"));
}

#[test]
fn json_may_be_asked_for_in_front_and_failures_are_json_too() {
    let machine = Machine::new();
    assert_eq!(machine.json(&["--json", "ps"], 0)["schema"], "fcsp.ps/3");
    for args in [
        &["limit", "nobody", "--json"][..],
        &["--json", "pause", "nobody"],
        &["ps", "--json", "--frobnicate"],
    ] {
        let failure = machine.json(args, 125);
        assert_eq!(failure["schema"], "fcsp.error/1", "{args:?}");
        assert_eq!(failure["exit_code"], 125);
        assert!(failure["error"].as_str().unwrap().len() > 10);
    }
    let refused = machine.fcsp(&["limit", "--all"]);
    refuses(&refused, 125, &["--all"]);
    assert!(!stderr(&refused).contains("tip"), "{}", stderr(&refused));
    assert_eq!(
        machine
            .fcsp(&["run", "--", "sh", "-c", "exit 3", "--json"])
            .status
            .code(),
        Some(3)
    );
}

#[test]
fn another_users_state_folder_is_said_to_be_one() {
    // SAFETY: the call takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return eprintln!("skipped: only root can be another user");
    }
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let machine = Machine::new();
    let _sleeper = machine.sleeper("a", &["--memory", "1GiB"]);
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(machine.path(), 0o755);
    open(&machine.path().join("state"), 0o700);
    // The test's folder may be one that only root can enter: the command is copied to where
    // everybody can.
    let command = machine.path().join("fcsp");
    std::fs::copy(env!("CARGO_BIN_EXE_fcsp"), &command).unwrap();
    open(&command, 0o755);
    for args in [
        &["limit", "a"][..],
        &["limit", "a", "--memory", "2GiB"],
        &["pause", "a"],
        &["ps"],
    ] {
        let output = std::process::Command::new(&command)
            .args(args)
            .env("FCSP_STATE_DIR", machine.path().join("state"))
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        refuses(&output, 125, &["Permission denied", "state folder"]);
    }
}

#[test]
fn a_quota_below_what_is_held_is_new_only_when_it_was_changed() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let _client = Client::busy(&machine, &program, "a", &["--memory", "2GiB"]);
    let note = |args: &[&str]| {
        machine.json(args, 0)["notes"][0]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let changed = note(&["limit", "a", "--memory", "300MiB", "--json"]);
    assert!(
        changed.contains("holds more than its new quota"),
        "{changed}"
    );
    for args in [&["pause", "a", "--json"][..], &["limit", "a", "--json"]] {
        let said = note(args);
        assert!(
            said.contains("holds more than its quota"),
            "{args:?}: {said}"
        );
    }
}
