//! Families of processes: fork, vfork, exec, spawn, threads before main, hundreds at once, and
//! programs that never touch a device.

use std::time::Instant;

use crate::{
    CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, libraries, program, stderr, stdout, wait_for,
};

fn processes(machine: &Machine) -> Vec<serde_json::Value> {
    let tenant = machine.tenant("t");
    tenant["devices"][0]["processes"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Checks that a child forked before its parent used the device may use it, in a slot of its own.
#[test]
fn fork_before_use() {
    let machine = Machine::new();
    let mut client = machine.client("t", "1GiB");
    let (code, values) = client.call(&format!("forkkeep open 0;alloc {}", 256 * MIB));
    assert_eq!(code, 0);
    let child = values[0];
    client.ok("open 0");
    client.ok(&format!("alloc {}", 256 * MIB));
    client.ok("info");
    let mut pids: Vec<u64> = processes(&machine)
        .iter()
        .map(|process| process["pid"].as_u64().unwrap())
        .collect();
    pids.sort_unstable();
    let mut expected = [child, u64::from(client.pid())];
    expected.sort_unstable();
    assert_eq!(pids, expected);
    client.refused(&format!("alloc {}", 512 * MIB));
    // SAFETY: the number of a child of the client, which has not been waited for.
    let killed = unsafe { libc::kill(child as libc::pid_t, libc::SIGKILL) };
    assert_eq!(killed, 0);
    wait_for("the child's memory", || {
        client.code(&format!("alloc {}", 512 * MIB)) == 0
    });
}

/// Checks that a child forked afterwards cannot use the device, by the driver's rule. It must not
/// hang, and its end must not remove its parent's memory from the account.
#[test]
fn fork_after_use() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    client.ok(&format!("alloc {}", 256 * MIB));
    client.ok("nvml");
    for command in [
        "alloc 4096",
        "info",
        "module 4",
        "async 4096",
        "nvmlmem 0",
        "open 0",
    ] {
        let code = client.code(&format!("fork {command}"));
        assert!(code != 9996, "{command} killed the child");
        assert!(!command.starts_with("alloc") || code != 0, "{command}");
    }
    client.ok("info");
    assert_eq!(machine.used("t"), CONTEXT + 256 * MIB);
    assert_eq!(processes(&machine).len(), 1);
    // The child keeps no hold on its parent's place: it outlives the parent, and the parent's
    // memory is free.
    let (_, values) = client.call("forkkeep info");
    client.kill();
    wait_for("the parent's memory", || machine.used("t") == 0);
    let mut next = machine.open("t", "1GiB");
    assert_eq!(next.fill(64 * MIB).len(), 15);
    // SAFETY: the number of an orphan that sleeps until it is killed.
    unsafe { libc::kill(values[0] as libc::pid_t, libc::SIGKILL) };
}

/// Threads that allocate while others fork: no child waits for a lock whose holder it has not got.
#[test]
fn fork_amid_allocations() {
    let machine = Machine::new();
    let mut storm = machine.open("t", "1GiB");
    storm.ok("threads 4 200");
    for _ in 0..20 {
        storm.code("fork alloc 4096;info");
        storm.ok("threads 4 20");
    }
    assert_eq!(machine.used("t"), CONTEXT);
}

#[test]
fn vfork_and_spawn() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    client.ok(&format!("alloc {}", 512 * MIB));
    for how in ["vfork", "spawn"] {
        assert_eq!(
            client.code(&format!("{how} open 0;alloc {}", 512 * MIB)),
            OUT_OF_MEMORY,
            "{how}"
        );
        assert_eq!(
            client.code(&format!("{how} open 0;alloc {}", 256 * MIB)),
            0,
            "{how}"
        );
        wait_for("the child's memory", || {
            machine.used("t") == CONTEXT + 512 * MIB
        });
    }
    // Another search for dead processes is due ten milliseconds after the last one.
    wait_for("the child's memory", || {
        client.code(&format!("alloc {}", 256 * MIB)) == 0
    });
}

#[test]
fn exec_gives_everything_back() {
    let machine = Machine::new();
    let script = format!(
        "exec {} -c 'open 0;alloc {}'",
        program("client").display(),
        900 * MIB
    );
    // Twice in one process: what the first image held is gone with it.
    let client = program("client");
    let status = machine
        .governed("sh", "t", "1GiB")
        .args([
            "-c",
            &format!(
                "{} -c 'open 0;alloc {}' && {script}",
                client.display(),
                900 * MIB
            ),
        ])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(machine.used("t"), 0);
}

#[test]
fn threads_before_main() {
    let machine = Machine::new();
    let output = machine
        .governed(program("early"), "t", "1GiB")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(machine.used("t"), 0);
    assert!(machine.tenant("t")["refused"].as_u64().unwrap() >= 4);
}

/// Checks many processes in one tenant: each has its slot, the sum is exact, and all of it is
/// released when they end. FCSP_TEST_PROCESSES=1000 makes it a thousand.
#[test]
fn a_crowd_in_one_tenant() {
    let count: u64 = std::env::var("FCSP_TEST_PROCESSES")
        .ok()
        .map_or(200, |text| text.parse().unwrap());
    let machine = Machine::with("h100,memory=64GiB,context=2MiB,stream=0");
    let mut judge = machine.observer();
    // Each takes a context and 2 MiB; one more block is left over. A large crowd's quota is beyond
    // the nearness at which contexts are measured at once, so it gets one that leaves room for
    // estimates.
    let exact = count <= 200;
    let quota = if exact {
        count * 4 * MIB + 2 * MIB
    } else {
        4096 * GIB
    };
    let started = Instant::now();
    let mut crowd: Vec<Client> = (0..count)
        .map(|_| machine.client("t", &quota.to_string()))
        .collect();
    let all = |crowd: &mut Vec<Client>, command: &str| -> Vec<i32> {
        for client in crowd.iter_mut() {
            client.tell(command);
        }
        crowd
            .iter_mut()
            .map(|client| client.hear().unwrap().0)
            .collect()
    };
    assert_eq!(all(&mut crowd, "open 0"), vec![0; count as usize]);
    let opened = started.elapsed();
    assert_eq!(all(&mut crowd, "alloc 2097152"), vec![0; count as usize]);
    all(&mut crowd, "info");
    assert_eq!(processes(&machine).len() as u64, count);
    assert_eq!(machine.used("t"), count * 4 * MIB);
    assert_eq!(judge.sum(), count * 4 * MIB);
    if exact {
        let codes = all(&mut crowd, "alloc 2097152");
        assert_eq!(
            codes.iter().filter(|&&code| code == 0).count(),
            1,
            "one block was left"
        );
        assert_eq!(machine.used("t"), quota);
    }
    let dying = Instant::now();
    for client in &crowd {
        client.signal(libc::SIGKILL);
    }
    for client in &mut crowd {
        client.child.wait().unwrap();
    }
    let dead = Instant::now();
    assert_eq!(machine.used("t"), 0);
    println!(
        "{count} processes: {opened:?} until all had a context, {:?} to die, {:?} until fcsp ps saw it",
        dead - dying,
        dead.elapsed()
    );
    if exact {
        let mut next = machine.open("t", &quota.to_string());
        assert_eq!(next.fill(2 * MIB).len() as u64, 2 * count);
    }
}

/// Programs that never touch a device notice nothing, with a driver or without one.
#[test]
fn programs_without_a_device() {
    let machine = Machine::new();
    let run = |preloaded: bool, script: &str| {
        let mut command = machine.bare("sh");
        command.env_remove("LD_LIBRARY_PATH").args(["-c", script]);
        if preloaded {
            command
                .env("LD_PRELOAD", &libraries().preload)
                .env("FCSP_TENANT", "t")
                .env("FCSP_MEMORY_LIMIT", "1GiB")
                .env("FCSP_LOG", "1");
        }
        let output = command.output().unwrap();
        (output.status.code(), stdout(&output), stderr(&output))
    };
    for script in [
        "true",
        "false",
        "/bin/ls /",
        "echo a b | tr a-z A-Z | sed s/A/x/; exit 3",
        "seq 1000 | sort -rn | head -3; (exit 5)",
        "cat /no/such/file",
    ] {
        assert_eq!(run(true, script), run(false, script), "{script}");
    }
    assert!(
        !machine.state().join("tenants").exists(),
        "nobody became a tenant"
    );
    // One that wants a driver where there is none is told so by the loader, as ever.
    let mut client = Client::start({
        let mut command = machine.governed(program("client"), "t", "1GiB");
        command.env_remove("LD_LIBRARY_PATH");
        command
    });
    assert_eq!(client.code("init"), 9998, "dlopen fails");
}

/// Checks that the limits hold in a bare environment: no HOME, no PATH, no locale.
#[test]
fn a_bare_environment() {
    let machine = Machine::new();
    let mut command = machine.bare(program("client"));
    command
        .env_clear()
        .env("LD_PRELOAD", &libraries().preload)
        .env("LD_LIBRARY_PATH", &machine.sim)
        .env("FCSP_SIM", crate::SPEC)
        .env("FCSP_SIM_STATE", machine.path().join("device"))
        .env("FCSP_STATE_DIR", machine.state())
        .env("FCSP_MEMORY_LIMIT", "1GiB");
    let mut client = Client::start(command);
    client.ok("open 0");
    assert_eq!(
        client.fill(64 * MIB).len() as u64,
        (GIB - CONTEXT) / (64 * MIB)
    );
}

/// Processes that name no tenant are one by their family: the tree that was started with the same
/// settings.
#[test]
fn a_tree_shares_one_quota_without_a_name() {
    let machine = Machine::new();
    let mut command = machine.governed(program("client"), "t", "1GiB");
    command.env_remove("FCSP_TENANT");
    let mut client = Client::start(command);
    client.ok("open 0");
    client.ok(&format!("alloc {}", 512 * MIB));
    assert_eq!(
        client.code(&format!("spawn open 0;alloc {}", 512 * MIB)),
        OUT_OF_MEMORY
    );
    assert_eq!(client.code(&format!("spawn open 0;alloc {}", 256 * MIB)), 0);
    assert_eq!(machine.ps()["tenants"].as_array().unwrap().len(), 1);
}
