//! Death at any step: what a process held is free at once, seen by `fcsp ps`, and can be taken
//! again by the tenant's others and by a new process. No daemon helps.

use std::time::Duration;

use crate::{CONTEXT, Client, GIB, MIB, Machine, Observer, program, wait_for};

const QUOTA: u64 = GIB;
const BLOCK: u64 = 32 * MIB;

/// Checks that only `left` bytes are in use, after the last death: the kernel drops a process's
/// locks before its parent can see it dead.
fn gone_at_once(machine: &Machine, tenant: &str, left: u64) {
    assert_eq!(machine.used(tenant), left, "bytes are still in use");
}

/// Functions that take or give back memory, and commands that reach each.
const STEPS: [(&str, &str); 27] = [
    ("cuCtxCreate_v2", "ctx 0;ctx 0"),
    ("cuDevicePrimaryCtxRetain", "release 0;use 0"),
    ("cuMemAlloc_v2", "alloc 100663296;alloc 100663296"),
    ("cuMemAllocPitch_v2", "pitch 40000 800;pitch 40000 800"),
    ("cuMemAllocManaged", "managed 33554432;managed 33554432"),
    ("cuMemAllocAsync", "async 33554432;async 33554432"),
    (
        "cuMemAllocAsync_ptsz",
        "async_ptsz 33554432;async_ptsz 33554432",
    ),
    ("cuMemCreate", "create 33554432 0;create 33554432 0"),
    ("cuArrayCreate_v2", "array 1000 1000;array 1000 1000"),
    ("cuArray3DCreate_v2", "array3d 64 64 64;array3d 64 64 64"),
    (
        "cuMipmappedArrayCreate",
        "mipmap 512 512 3;mipmap 512 512 3",
    ),
    ("cuModuleLoadData", "module 33554432;module 33554432"),
    ("cuCtxSetLimit", "stack 1100;stack 1200"),
    (
        "cuMemFree_v2",
        "alloc 33554432;free $;alloc 33554432;free $",
    ),
    (
        "cuMemFreeAsync",
        "async 33554432;freeasync $;async 33554432;freeasync $",
    ),
    (
        "cuMemRelease",
        "create 33554432 0;hrelease $;create 33554432 0;hrelease $",
    ),
    (
        "cuArrayDestroy",
        "array 1000 1000;noarray $;array 1000 1000;noarray $",
    ),
    (
        "cuModuleUnload",
        "module 4194304;nomodule $;module 4194304;nomodule $",
    ),
    ("cuCtxDestroy_v2", "ctx 0;destroy $;ctx 0;destroy $"),
    (
        "cuMemAllocFromPoolAsync",
        "pool;pooled 33554432 $;pool;pooled 33554432 $",
    ),
    ("cuMemPoolDestroy", "pool;nopool $;pool;nopool $"),
    (
        "cuMemMap",
        "create 33554432 0;maphandle 33554432 $;create 33554432 0;maphandle 33554432 $",
    ),
    (
        "cuMipmappedArrayDestroy",
        "mipmap 512 512 3;nomipmap $;mipmap 512 512 3;nomipmap $",
    ),
    ("cuLibraryLoadData", "library 4194304;library 4194304"),
    (
        "cuLibraryUnload",
        "library 4194304;nolibrary $;library 4194304;nolibrary $",
    ),
    (
        "cuMemExportToShareableHandle",
        "createx 33554432 0;export $;createx 33554432 0;export $",
    ),
    (
        "cuIpcGetMemHandle",
        "alloc 33554432;ipc $;alloc 33554432;ipc $",
    ),
];

/// Runs commands until the client dies of one; `$` stands for the last value given.
fn run_to_death(client: &mut Client, commands: &str) -> bool {
    let mut last = 0;
    for command in commands.split(';') {
        client.tell(&command.replace('$', &last.to_string()));
        match client.hear() {
            None => return true,
            Some((_, values)) => last = values.first().copied().unwrap_or(last),
        }
    }
    false
}

/// Kills the client at the second call of a function, before or after its effect, with or without a
/// surviving process of its tenant.
fn killed_at(function: &str, commands: &str, when: &str, survivors: bool) {
    let machine = Machine::new();
    let mut survivor = survivors.then(|| machine.open("t", "1GiB"));
    let mut command = machine.governed(program("client"), "t", "1GiB");
    command.env("FCSP_SIM_FAULTS", format!("{function}!{when}@2"));
    let mut client = Client::start(command);
    client.ok("open 0");
    client.ok(&format!("alloc {BLOCK}"));
    assert!(
        run_to_death(&mut client, commands),
        "{function} was not called twice"
    );
    client.child.wait().unwrap();
    gone_at_once(&machine, "t", if survivors { CONTEXT } else { 0 });
    let mut next = survivor.take().unwrap_or_else(|| machine.open("t", "1GiB"));
    let mut blocks = 0;
    // A survivor's next search for dead processes is due ten milliseconds after the last one.
    wait_for(&format!("{function} {when}: the whole quota"), || {
        blocks += next.fill(BLOCK).len() as u64;
        blocks == (QUOTA - CONTEXT) / BLOCK
    });
    assert_eq!(machine.observer().sum(), QUOTA);
}

#[test]
fn killed_before_the_driver_did_anything() {
    for (function, commands) in STEPS {
        killed_at(function, commands, "kill", false);
    }
}

#[test]
fn killed_after_the_driver_did_it() {
    for (function, commands) in STEPS {
        killed_at(function, commands, "killafter", false);
    }
}

#[test]
fn survivors_take_over_what_the_dead_held() {
    for (function, commands) in STEPS.iter().step_by(2) {
        killed_at(function, commands, "kill", true);
        killed_at(function, commands, "killafter", true);
    }
}

#[test]
fn killed_at_the_launch_of_a_graph_with_memory() {
    for when in ["kill", "killafter"] {
        let machine = Machine::new();
        let mut command = machine.governed(program("client"), "t", "1GiB");
        command.env("FCSP_SIM_FAULTS", format!("cuGraphLaunch!{when}@1"));
        let mut client = Client::start(command);
        client.ok("open 0");
        let graph = client.ok("graph");
        client.ok(&format!("node {graph} {}", 256 * MIB));
        let executable = client.ok(&format!("instantiate {graph}"));
        client.tell(&format!("launch {executable}"));
        assert!(client.hear().is_none());
        client.child.wait().unwrap();
        gone_at_once(&machine, "t", 0);
        assert_eq!(
            machine.open("t", "1GiB").fill(BLOCK).len() as u64,
            (QUOTA - CONTEXT) / BLOCK
        );
    }
}

/// Returns the bytes that the driver reports for these processes together.
fn sum_of(judge: &mut Observer, clients: &[(usize, Client)], tenant: usize) -> u64 {
    let pids: Vec<u32> = clients
        .iter()
        .filter(|each| each.0 == tenant)
        .map(|each| each.1.pid())
        .collect();
    judge
        .processes(0)
        .iter()
        .filter(|(pid, _)| pids.contains(pid))
        .map(|entry| entry.1)
        .sum()
}

/// Kills eight processes of two tenants at random moments, again and again, while they allocate and
/// free in many ways. By the driver's account, no tenant ever exceeds its quota. The driver alone
/// decides the growth of pools. With them a tenant may exceed it for the length of one call, which
/// takes the memory back.
fn killed_at_random(routes: u32, momentary: bool) {
    const ROUNDS: u64 = 6;
    const QUOTA: u64 = 600 * MIB;
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut seed = u64::from(std::process::id()) << 20;
    println!("seed {seed}");
    for _ in 0..ROUNDS {
        let mut clients: Vec<(usize, Client)> = (0..8)
            .map(|index| (index % 2, machine.open(["a", "b"][index % 2], "600MiB")))
            .collect();
        for (index, (_, client)) in clients.iter_mut().enumerate() {
            client.tell(&format!(
                "storm {} {routes}",
                seed.wrapping_add(index as u64)
            ));
        }
        while !clients.is_empty() {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            std::thread::sleep(Duration::from_micros((seed >> 33) % 20_000));
            clients
                .swap_remove((seed >> 50) as usize % clients.len())
                .1
                .kill();
            for tenant in 0..2 {
                let sum = sum_of(&mut judge, &clients, tenant);
                assert!(momentary || sum <= QUOTA, "{sum}");
                if sum > QUOTA {
                    println!("{} bytes past the quota for a moment", sum - QUOTA);
                    wait_for("the memory to be taken back", || {
                        sum_of(&mut judge, &clients, tenant) <= QUOTA
                    });
                }
            }
        }
        for tenant in ["a", "b"] {
            gone_at_once(&machine, tenant, 0);
        }
        assert_eq!(judge.sum(), 0);
    }
    for tenant in ["a", "b"] {
        let mut next = machine.open(tenant, "600MiB");
        assert_eq!(next.fill(2 * MIB).len() as u64 * 2 * MIB, QUOTA - CONTEXT);
    }
}

#[test]
fn killed_at_random_while_using_every_route() {
    killed_at_random(0b1111, true);
}

#[test]
fn killed_at_random_while_using_all_but_pools() {
    killed_at_random(0b1101, false);
}

/// Checks that work in flight keeps neither a process nor its memory alive.
#[test]
fn exit_with_work_in_flight() {
    let Some(machine) = Machine::timed(crate::SPEC) else {
        return;
    };
    let world = machine.world();
    let mut client = world.during(|| machine.open("t", "1GiB"));
    world.during(|| client.ok(&format!("alloc {}", 512 * MIB)));
    for _ in 0..4 {
        world.during(|| client.ok("spin 20000000000"));
    }
    let started = world.now();
    client.tell("exit 7");
    assert!(world.during(|| client.hear()).is_none());
    assert_eq!(client.child.wait().unwrap().code(), Some(7));
    let passed = Duration::from_nanos(world.now() - started);
    assert!(
        passed < Duration::from_secs(1),
        "it waited for its work: {passed:?}"
    );
    gone_at_once(&machine, "t", 0);
}
