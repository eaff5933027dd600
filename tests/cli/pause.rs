//! Pauses: who has paused a tenant, who may resume it, and whether its processes stand still.

use fcsp_core::control::{Pauser, RunState, Stage};
use fcsp_core::state::{SetupGuard, StateDir};
use fcsp_tenancy::edit_run_state;
use serde_json::Value;

use crate::share::{Client, spin};
use crate::{Machine, stderr, stdout};

fn state(machine: &Machine) -> StateDir {
    StateDir::at(machine.path().join("state"))
}

/// Changes the run state of a tenant as the node agent does.
fn agent(machine: &Machine, tenant: &str, edit: impl FnOnce(RunState) -> RunState) {
    let state = state(machine);
    let setup = SetupGuard::acquire(&state.tenant(tenant)).unwrap();
    edit_run_state(&setup, &state, edit).unwrap();
}

fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn a_resume_ends_no_pause_of_the_agent() {
    let machine = Machine::new();
    let _sleeper = machine.sleeper("a", &["--memory", "1GiB"]);
    agent(&machine, "a", |state| {
        state
            .paused_by(Pauser::Agent)
            .at_stage(Stage::Draining)
            .unwrap()
    });
    let paused = machine.json(&["pause", "a", "--json"], 0);
    assert_eq!(words(&paused["paused_by"]), ["user", "agent"]);
    assert_eq!(paused["run_state"], "draining");
    assert_eq!(paused["standstill"]["complete"], true, "it uses no device");

    let resumed = machine.fcsp(&["resume", "a"]);
    assert!(resumed.status.success());
    assert!(stderr(&resumed).contains("stays paused by the node agent"));
    let listed = machine.tenant("a").unwrap();
    assert_eq!(listed["paused"], true);
    assert_eq!(words(&listed["paused_by"]), ["agent"]);

    agent(&machine, "a", |state| state.resumed_by(Pauser::Agent));
    let listed = machine.tenant("a").unwrap();
    assert_eq!(
        (&listed["paused"], &listed["run_state"]),
        (&false.into(), &"running".into())
    );
}

/// Checks that a busy program is reported to stand still once it does, and that the answer lasts
/// while other parties change the page.
#[test]
fn a_pause_reports_when_every_process_stands_still() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(&machine, &program, "a", &["--compute", "50%"]);
    let paused = machine.json(&["pause", "a", "--wait", "30", "--json"], 0);
    let found = &paused["standstill"];
    assert_eq!(found["complete"], true, "{found}");
    assert_eq!(found["processes"].as_array().unwrap().len(), 1);
    assert_eq!(found["processes"][0]["stance"], "still");
    let done = client.word(0);
    agent(&machine, "a", |state| {
        state
            .paused_by(Pauser::Agent)
            .at_stage(Stage::Quiesced)
            .unwrap()
    });
    let again = machine.json(&["pause", "a", "--wait", "0", "--json"], 0);
    assert_eq!(
        again["standstill"]["complete"], true,
        "it is the same pause"
    );
    assert_eq!(client.word(0), done);

    agent(&machine, "a", |state| state.resumed_by(Pauser::Agent));
    machine.json(&["resume", "a", "--json"], 0);
    machine.wait_for("the program to go on", || client.word(0) > done + 20);
    // An answer to an earlier pause is none.
    let text = stdout(&machine.fcsp(&["pause", "a", "--wait", "30"]));
    assert!(text.contains("1 of 1 process stands still"), "{text}");
}

/// Checks that a program that does not launch is not said to stand still.
#[test]
fn a_process_that_launches_nothing_is_silent() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::start(
        &machine,
        &program,
        "a",
        &["--memory", "1GiB"],
        ["watch", "67108864"],
    );
    machine.wait_for("memory to be granted", || client.word(2) == 1);
    let output = machine.fcsp(&["pause", "a", "--wait", "0"]);
    assert!(
        stdout(&output).contains("0 of 1 process stands still"),
        "{}",
        stdout(&output)
    );
    assert!(stderr(&output).contains("has launched nothing since the pause"));
    // Its memory is served as before, until its memory is moved off the device.
    machine.wait_for("memory to be granted", || client.word(2) == 1);
    agent(&machine, "a", |state| {
        state
            .paused_by(Pauser::Agent)
            .at_stage(Stage::Checkpointed)
            .unwrap()
    });
    machine.wait_for("memory to be refused", || client.word(2) == 2);
    agent(&machine, "a", |state| state.resumed_by(Pauser::Agent));
    machine.wait_for("memory to be granted again", || client.word(2) == 1);
}
