//! Programs under `fcsp run` on simulated devices: the quota is what they can have.

use crate::{Machine, compile, stderr, stdout};

const GIB: u64 = 1 << 30;
const BLOCK: u64 = 64 << 20;

/// Returns what the client printed: the total that it saw, the available bytes after its context,
/// and the bytes that it got.
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
        let output = machine.fcsp(&[
            "run", "--sim", "h100", "--memory", &limit, "--", client, route,
        ]);
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

/// Runs the client on a device under an order that the program itself chooses, in a tenant whose
/// limits go by number; gives the total that it saw.
fn total_under(
    machine: &Machine,
    client: &str,
    command: &[&str],
    order: &str,
    device: &str,
) -> u64 {
    let script = format!("{order} exec {client} dlsym {device}");
    let args = [&["run"], command, &["--", "sh", "-c", &script]].concat();
    let output = machine.fcsp(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    numbers(&stdout(&output)).0
}

#[test]
fn quotas_by_number_stay_with_the_devices_whatever_order_the_program_chooses() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let client = client.to_str().unwrap();
    let rules = ["--sim", "h100x2,memory=4GiB", "--memory", "0=1GiB,1=2GiB"];
    for (order, device, quota) in [
        ("", "0", GIB),
        ("", "1", 2 * GIB),
        ("CUDA_VISIBLE_DEVICES=1,0", "0", 2 * GIB),
        ("CUDA_VISIBLE_DEVICES=1,0", "1", GIB),
        ("CUDA_VISIBLE_DEVICES=1", "0", 2 * GIB),
        (
            "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1",
            "0",
            2 * GIB,
        ),
    ] {
        assert_eq!(
            total_under(&machine, client, &rules, order, device),
            quota,
            "{order}: {device}"
        );
    }
    // Under the command's own order, numbers count what that leaves.
    let with_order = |rules: &str, device: &str| {
        let mut command = machine.command(&[
            "run",
            "--sim",
            "h100x2,memory=4GiB",
            "--memory",
            rules,
            "--",
            client,
            "dlsym",
            device,
        ]);
        command
            .env("CUDA_VISIBLE_DEVICES", "1,0")
            .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        numbers(&stdout(&command.output().unwrap())).0
    };
    assert_eq!(with_order("0=1GiB,1=2GiB", "0"), GIB);
    assert_eq!(with_order("0=1GiB,1=2GiB", "1"), 2 * GIB);
}

#[test]
fn numbers_mean_the_same_to_limit_and_to_those_that_join() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let client = client.to_str().unwrap();
    let sim = ["--sim", "h100x2,memory=4GiB"];
    let _root = machine.sleeper("t", &[&sim[..], &["--memory", "0=1GiB,1=2GiB"]].concat());
    let join = [&sim[..], &["--tenant", "t"]].concat();
    let again = [&join[..], &["--memory", "1=2GiB,0=1GiB"]].concat();
    assert_eq!(
        total_under(&machine, client, &join, "CUDA_VISIBLE_DEVICES=1", "0"),
        2 * GIB
    );
    assert_eq!(total_under(&machine, client, &again, "", "0"), GIB);
    machine.json(&["limit", "t", "--memory", "1=3GiB", "--json"], 0);
    assert_eq!(
        total_under(&machine, client, &join, "CUDA_VISIBLE_DEVICES=1,0", "0"),
        3 * GIB
    );
    assert_eq!(total_under(&machine, client, &join, "", "0"), GIB);
    let refused = machine.fcsp(&["limit", "t", "--memory", "2=1GiB"]);
    crate::refuses(
        &refused,
        125,
        &["--memory", "device 2 does not exist", "2 devices"],
    );
}

/// Checks that the compute library is asked for its order of unlike devices, since it sorts them by
/// its own rules.
#[test]
fn numbers_of_unlike_devices_are_asked_of_the_driver() {
    let machine = Machine::new();
    let Some(client) = compile(&machine, "fill.c", &[]) else {
        return;
    };
    let dir = machine.path().join("libraries");
    let written = machine.fcsp(&["lib", "--to", dir.to_str().unwrap()]);
    assert!(written.status.success(), "{}", stderr(&written));
    // As on a real machine: the driver is what the loader finds, and the command knows of no
    // simulation.
    for (visible, quotas) in [("0,1", [GIB, 2 * GIB]), ("1,0", [GIB, 2 * GIB])] {
        let mut command = machine.command(&[
            "run",
            "--memory",
            "0=1GiB,1=2GiB",
            "--tenant",
            "t",
            "--",
            "sleep",
            "600",
        ]);
        command
            .env("LD_LIBRARY_PATH", dir.join("sim"))
            .env("FCSP_SIM", "h100+a100,memory=4GiB")
            .env("CUDA_VISIBLE_DEVICES", visible);
        let _root = crate::Sleeper(command.spawn().unwrap());
        crate::wait_for("the tenant", || {
            machine
                .tenant("t")
                .is_some_and(|tenant| tenant["alive"] == true)
        });
        for (device, quota) in quotas.into_iter().enumerate() {
            let mut command = machine.command(&[
                "run",
                "--tenant",
                "t",
                "--",
                client.to_str().unwrap(),
                "dlsym",
            ]);
            command
                .arg(device.to_string())
                .env("LD_LIBRARY_PATH", dir.join("sim"))
                .env("FCSP_SIM", "h100+a100,memory=4GiB")
                .env("CUDA_VISIBLE_DEVICES", visible);
            let output = command.output().unwrap();
            assert_eq!(
                numbers(&stdout(&output)).0,
                quota,
                "{visible}: {}",
                stderr(&output)
            );
        }
        let memory = machine.tenant("t").unwrap()["memory"].to_string();
        assert!(memory.matches("GPU-").count() == 2, "{memory}");
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
    crate::refuses(
        &machine.fcsp(&["limit", "grow", "--memory", "100GiB"]),
        125,
        &["100 GiB is more than device GPU-", "79.18 GiB"],
    );
    drop(child);
}
