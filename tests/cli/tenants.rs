//! `fcsp ps`, `limit`, `pause`, `resume`, `gc`, `top` in their machine-readable forms.

use crate::{Machine, refuses, stderr, stdout};

/// Rules as `fcsp limit` prints them.
fn rules(rules: &serde_json::Value) -> String {
    let rules = rules.as_array().unwrap().iter().map(|rule| {
        let value = rule["value"].as_str().unwrap();
        match rule["device"].as_str().unwrap() {
            "*" => value.to_owned(),
            device => format!("{device}={value}"),
        }
    });
    rules.collect::<Vec<_>>().join(", ")
}

#[test]
fn an_empty_machine_is_no_error() {
    let machine = Machine::new();
    let listing = machine.json(&["ps", "--json"], 0);
    assert_eq!(listing["schema"], "fcsp.ps/3");
    assert_eq!(listing["tenants"], serde_json::json!([]));
    for command in [&["ps"][..], &["top", "--once"]] {
        assert!(
            stdout(&machine.fcsp(command)).contains("fcsp run"),
            "{command:?}"
        );
    }
    assert_eq!(
        machine.json(&["gc", "--json"], 0)["removed"],
        serde_json::json!([])
    );
}

/// Checks that a tenant that an agent keeps, and that no program runs in, is shown as paused.
#[test]
fn a_kept_tenant_without_programs_is_shown_as_paused() {
    let machine = Machine::new();
    drop(machine.sleeper("a", &["--memory", "1GiB"]));
    let state = fcsp_core::state::StateDir::at(machine.path().join("state"));
    drop(state.set_up_tenant("kept", fcsp_core::config::Source::Nothing));
    let folder = state.tenant("kept");
    std::fs::write(folder.join(fcsp_core::tenant::MANAGED_MARK), b"").unwrap();
    let shown = || {
        let listing = stdout(&machine.fcsp(&["ps", "--all"]));
        let line = listing.lines().find(|line| line.starts_with("kept"));
        let state = line.and_then(|line| line.split_whitespace().nth(1));
        state.map(str::to_owned)
    };
    assert_eq!(shown().as_deref(), Some("waiting"));
    machine.json(&["pause", "kept", "--json"], 0);
    assert_eq!(shown().as_deref(), Some("paused"));
    machine.json(&["resume", "kept", "--json"], 0);
    assert_eq!(shown().as_deref(), Some("waiting"));
}

#[test]
fn limits_change_and_merge_while_the_tenant_runs() {
    let machine = Machine::new();
    let _sleeper = machine.sleeper("a", &["--memory", "1GiB", "--compute", "25%"]);
    let changed = machine.json(&["limit", "a", "--memory", "2GiB", "--json"], 0);
    assert_eq!(changed["schema"], "fcsp.limit/3");
    assert_eq!(
        (rules(&changed["memory"]), rules(&changed["compute"])),
        ("2 GiB".into(), "25% balanced".into())
    );
    let changed = machine.json(
        &["limit", "a", "--mode", "strict", "--burst", "50%", "--json"],
        0,
    );
    assert_eq!(rules(&changed["compute"]), "25% strict, burst 50%");
    assert_eq!(rules(&changed["memory"]), "2 GiB");
    let changed = machine.json(&["limit", "a", "--memory", "1=40%", "--json"], 0);
    assert_eq!(rules(&changed["memory"]), "2 GiB, 1=40%");
    let shown = machine.json(&["limit", "a", "--json"], 0);
    assert_eq!(rules(&shown["memory"]), "2 GiB, 1=40%");

    let changed = machine.json(&["limit", "a", "--memory", "3GiB", "--json"], 0);
    assert_eq!(
        rules(&changed["memory"]),
        "3 GiB",
        "for every device, so for that one, too"
    );

    refuses(
        &machine.fcsp(&["limit", "a", "--memory", "8 gigs"]),
        125,
        &["--memory", "8GiB"],
    );
    refuses(
        &machine.fcsp(&["limit", "a", "--floor", "30%"]),
        125,
        &["--floor", "25%"],
    );
    refuses(
        &machine.fcsp(&["limit", "b", "--memory", "1GiB"]),
        125,
        &["no tenant is called \"b\"", "fcsp ps"],
    );
    assert_eq!(
        rules(&machine.json(&["limit", "a", "--json"], 0)["compute"]),
        "25% strict, burst 50%"
    );
}

#[test]
fn pause_and_resume_are_seen_and_keep_the_limits() {
    let machine = Machine::new();
    let _sleeper = machine.sleeper("a", &["--memory", "1GiB"]);
    let paused = machine.json(&["pause", "a", "--json"], 0);
    assert_eq!(
        (paused["paused"].as_bool(), rules(&paused["memory"])),
        (Some(true), "1 GiB".into())
    );
    assert_eq!(machine.tenant("a").unwrap()["paused"], true);
    assert!(stdout(&machine.fcsp(&["ps"])).contains("paused"));
    assert_eq!(machine.json(&["resume", "a", "--json"], 0)["paused"], false);
    refuses(&machine.fcsp(&["pause", "nobody"]), 125, &["nobody"]);
}

#[test]
fn what_a_limit_or_a_pause_will_not_do_is_said() {
    let machine = Machine::new();
    let sleeper = machine.sleeper("a", &["--memory", "1GiB"]);
    machine.fcsp(&["pause", "a"]);
    let joined = machine.fcsp(&["run", "--tenant", "a", "--", "true"]);
    assert!(joined.status.success());
    assert!(stderr(&joined).contains("paused") && stderr(&joined).contains("fcsp resume a"));
    drop(sleeper);
    for command in [
        &["limit", "a", "--memory", "2GiB"][..],
        &["pause", "a"],
        &["resume", "a"],
    ] {
        refuses(
            &machine.fcsp(command),
            125,
            &["has ended", "nothing was changed"],
        );
    }
    let shown = machine.fcsp(&["limit", "a"]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    assert!(stdout(&shown).contains("1 GiB") && stdout(&shown).contains("ended"));
}

#[test]
fn gc_takes_the_dead_and_leaves_the_living() {
    let machine = Machine::new();
    let _living = machine.sleeper("living", &["--memory", "unlimited"]);
    drop(machine.sleeper("dead", &["--memory", "unlimited"]));
    assert_eq!(
        machine.json(&["gc", "--json"], 0)["removed"],
        serde_json::json!(["dead"])
    );
    assert!(machine.tenant("dead").is_none());
    assert_eq!(machine.tenant("living").unwrap()["alive"], true);
}

#[test]
fn a_region_that_was_scribbled_on_is_a_warning_and_not_an_end() {
    let machine = Machine::new();
    let _sleeper = machine.sleeper("a", &["--memory", "1GiB"]);
    let dir = machine.path().join("state/tenants/a");
    std::fs::write(
        dir.join("GPU-00000000-0000-0000-0000-000000000000.region"),
        "scribble",
    )
    .unwrap();
    std::fs::write(dir.join("control"), "scribble").unwrap();
    let output = machine.fcsp(&["ps"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("running"), "{}", stdout(&output));
    assert_eq!(
        stderr(&output).matches("fcsp: warning: ").count(),
        2,
        "{}",
        stderr(&output)
    );
    let view = machine.tenant("a").unwrap();
    assert_eq!(view["problems"].as_array().unwrap().len(), 2);
}

#[test]
fn top_prints_once_into_a_pipe() {
    let machine = Machine::new();
    let _sleeper = machine.sleeper("a", &["--memory", "1GiB"]);
    for args in [&["top"][..], &["top", "--once"]] {
        let output = machine.fcsp(args);
        assert!(output.status.success());
        let text = stdout(&output);
        assert!(text.contains("TENANT") && text.contains("1 GiB"), "{text}");
    }
    assert_eq!(
        machine.json(&["top", "--json"], 0)["tenants"][0]["name"],
        "a"
    );
}

#[test]
fn help_has_examples_and_exit_codes() {
    let machine = Machine::new();
    let output = machine.fcsp(&["--help"]);
    assert!(stdout(&output).contains("Exit codes:") && stdout(&output).contains("Examples:"));
    for command in [
        "run", "ps", "top", "limit", "pause", "resume", "gc", "doctor", "demo", "lib",
    ] {
        let output = machine.fcsp(&[command, "--help"]);
        assert!(output.status.success());
        let text = stdout(&output);
        assert!(
            ["Examples:", "JSON keys:", "Exit codes:"]
                .iter()
                .any(|part| text.contains(part)),
            "{command}: {text}"
        );
    }
    let output = machine.fcsp(&[]);
    assert_eq!(output.status.code(), Some(125));
    refuses(&machine.fcsp(&["frobnicate"]), 125, &["frobnicate"]);
}
