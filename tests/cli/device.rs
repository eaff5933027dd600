//! Programs under `fcsp run` on simulated devices: the quota is what they can have.

use crate::{Machine, compile, stderr, stdout};

const GIB: u64 = 1 << 30;
const BLOCK: u64 = 64 << 20;

/// What the client printed: the total that it saw, the free bytes after its context, the bytes it got.
fn numbers(text: &str) -> (u64, u64, u64) {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("{name} in {text}"))
    };
    (value("total"), value("free"), value("got"))
}

#[test]
fn a_program_gets_its_quota_less_its_context_and_then_out_of_memory() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let client = client.to_str().unwrap();
    for (route, quota) in [("dlsym", 4 * GIB), ("proc", 2 * GIB)] {
        let limit = quota.to_string();
        let output = machine.fcsp(&["run", "--sim", "h100", "--memory", &limit, "--", client, route]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{route}: {}{}",
            stdout(&output),
            stderr(&output)
        );
        let (total, free, got) = numbers(&stdout(&output));
        assert_eq!(total, quota, "{route}: the quota is the device's size");
        // What is left of the quota when the context is there, and no more than a block less.
        assert!(got <= free, "{route}: got {got} of {free} free");
        assert!(got + BLOCK > free, "{route}: got only {got} of {free} free");
        assert!(free < quota && free > quota - GIB, "{route}: {free} free");
    }
}

#[test]
fn a_program_without_a_quota_has_the_device() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let output = machine.fcsp(&[
        "run",
        "--sim",
        "h100,memory=3GiB",
        "--",
        client.to_str().unwrap(),
        "dlsym",
    ]);
    let (total, _, got) = numbers(&stdout(&output));
    assert_eq!(total, 3 * GIB, "{}", stderr(&output));
    assert!(got > 2 * GIB);
}

#[test]
fn quotas_differ_by_device() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    for (device, quota) in [("0", GIB), ("1", 2 * GIB)] {
        let output = machine.fcsp(&[
            "run",
            "--sim",
            "h100x2,memory=4GiB",
            "--memory",
            "0=1GiB,1=50%",
            "--",
            client.to_str().unwrap(),
            "dlsym",
            device,
        ]);
        assert_eq!(numbers(&stdout(&output)).0, quota, "{}", stderr(&output));
    }
}

#[test]
fn two_programs_of_a_tenant_share_its_quota_and_a_killed_one_gives_back() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let client = client.to_str().unwrap();
    let run = ["run", "--sim", "h100", "--tenant", "both"];
    // The first holds nearly everything and waits.
    let first = machine
        .command(
            &[
                &run[..],
                &["--memory", "4GiB", "--", client, "dlsym", "0", "hold"],
            ]
            .concat(),
        )
        .spawn()
        .unwrap();
    let first = crate::Sleeper(first);
    let used = || {
        machine
            .tenant("both")
            .and_then(|view| view["used_bytes"].as_u64())
            .unwrap_or(0)
    };
    crate::wait_for("the first program to fill the quota", || {
        used() > 4 * GIB - 2 * BLOCK
    });
    let view = machine.tenant("both").unwrap();
    let process = &view["devices"][0]["processes"][0];
    assert_eq!(
        (process["pid"].as_u64(), process["alive"].as_bool()),
        (Some(first.0.id().into()), Some(true))
    );
    let second = machine.fcsp(&[&run[..], &["--", client, "dlsym"]].concat());
    assert_ne!(
        second.status.code(),
        Some(0),
        "no room for a second context: {}",
        stdout(&second)
    );
    assert!(used() <= 4 * GIB);

    drop(first);
    crate::wait_for("the bytes to come back", || used() == 0);
    let third = machine.fcsp(&[&run[..], &["--memory", "4GiB", "--", client, "dlsym"]].concat());
    let (_, free, got) = numbers(&stdout(&third));
    assert!(
        got + BLOCK > free && got > 3 * GIB,
        "{}{}",
        stdout(&third),
        stderr(&third)
    );
}

#[test]
fn a_limit_changes_what_a_running_program_may_have() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let child = machine
        .command(&[
            "run",
            "--sim",
            "h100",
            "--tenant",
            "grow",
            "--memory",
            "2GiB",
            "--",
            client.to_str().unwrap(),
            "dlsym",
            "0",
            "grow",
        ])
        .spawn()
        .unwrap();
    let child = crate::Sleeper(child);
    let used = || {
        machine
            .tenant("grow")
            .and_then(|view| view["used_bytes"].as_u64())
            .unwrap_or(0)
    };
    crate::wait_for("the program to fill 2 GiB", || used() > 2 * GIB - 2 * BLOCK);
    assert!(used() <= 2 * GIB);
    machine.json(&["limit", "grow", "--memory", "3GiB", "--json"], 0);
    crate::wait_for("the program to fill 3 GiB", || used() > 3 * GIB - 2 * BLOCK);
    assert!(used() <= 3 * GIB);
    assert_eq!(
        machine.tenant("grow").unwrap()["devices"][0]["limit_bytes"],
        3 * GIB
    );
    drop(child);
}
