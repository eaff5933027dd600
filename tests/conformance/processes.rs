//! Processes that come, go, die and multiply.

use crate::hip_only::program;
use crate::machine::{Client, Machine, wait_for};
use crate::vendors::{GIB, MIB, Vendor};

const BLOCK: u64 = 16 * MIB;

/// Waits until `take` is granted again. While requests are refused, dead processes are searched for
/// a few times a second.
fn returned(client: &mut Client, take: &str) -> u64 {
    let mut taken = 0;
    wait_for("what a process held that has gone", || {
        let (code, values) = client.call(take);
        taken = values[0];
        code == 0
    });
    taken
}

pub fn exit_gives_everything_back(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    for _ in 0..3 {
        let mut client = machine.open("a", GIB);
        client.ok(&format!("alloc {}", 768 * MIB));
        client.exit();
        assert_eq!(machine.used("a"), 0);
    }
}

pub fn threads_never_pass_the_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let quota = vendor.context + 24 * MIB;
    let mut client = machine.open("a", quota);
    let before = machine.used("a");
    client.tell(&format!("threads 8 200 {}", vendor.out_of_memory));
    let mut judge = machine.judge();
    for _ in 0..100 {
        assert!(judge.held(client.pid()) <= quota);
    }
    assert_eq!(client.hear().0, 0);
    // The next measurement corrects one in the middle of it.
    wait_for("what the threads held", || {
        client.ok("info");
        machine.used("a") == before
    });
}

/// Threads whose small requests go to and fro between far from the quota and near it, while others
/// of them measure: one account.
pub fn threads_pass_between_far_and_near(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let mut client = machine.open("a", vendor.context + GIB + (256 << 10));
    client.ok("info");
    let before = (machine.used("a"), judge.held(client.pid()));
    for _ in 0..3 {
        client.ok(&format!("threads 8 300 {} 65536", vendor.out_of_memory));
        // The next measurement corrects one in the middle of it.
        wait_for("what the threads held", || {
            client.ok("info");
            (machine.used("a"), judge.held(client.pid())) == before
        });
    }
}

/// Checks a process that joins a full tenant: the driver makes nothing for it, not even for a
/// moment. With exactly enough space for what the driver makes, it gets that.
pub fn what_a_process_begins_with_is_held_beforehand(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let quota = 2 * vendor.context + 8 * BLOCK;
    let mut first = machine.open("a", quota);
    first.ok("info");
    let taken: Vec<u64> = std::iter::from_fn(|| {
        let (code, values) = first.call(&format!("alloc {BLOCK}"));
        (code == 0).then(|| values[0])
    })
    .collect();
    assert_eq!(taken.len() as u64, vendor.context / BLOCK + 8);
    let begin = |client: &mut Client| {
        [
            client.code("open 0"),
            client.code(&format!("alloc {BLOCK}")),
        ]
    };
    let settings = [
        ("FCSP_TENANT", "a"),
        ("FCSP_MEMORY_LIMIT", &*quota.to_string()),
    ];
    let mut second = machine.governed(&settings);
    assert!(begin(&mut second).contains(&vendor.out_of_memory));
    assert!(machine.peak() <= quota, "{} of {quota}", machine.peak());
    for block in &taken[..taken.len() - 7] {
        first.ok(&format!("free {block}"));
    }
    let mut third = machine.governed(&settings);
    assert_eq!(begin(&mut third), [0, 0]);
    assert_eq!(machine.peak(), quota);
    assert_eq!(third.code(&format!("alloc {BLOCK}")), vendor.out_of_memory);
    assert_eq!(machine.peak(), quota);
}

/// Threads that begin at once: nobody is told of free memory before the driver's own is counted.
pub fn threads_that_begin_at_once_share_one_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, &format!("first_{}.c", vendor.name));
    let piece = (GIB - vendor.context) / 2 + 2 * MIB;
    for _ in 0..5 {
        let quota = GIB.to_string();
        let settings = [("FCSP_TENANT", "a"), ("FCSP_MEMORY_LIMIT", &*quota)];
        let output = machine
            .program(&program, &settings)
            .args([quota.clone(), piece.to_string()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let free = GIB - vendor.context;
        assert_eq!(
            said,
            format!("1 {free} {free}\n"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(machine.peak() <= GIB, "{}", machine.peak());
    }
}

pub fn several_processes_share_one_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let mut clients: Vec<_> = (0..4).map(|_| machine.open("a", GIB)).collect();
    let take = format!("alloc {BLOCK}");
    let mut blocks = 0;
    // In turns, so that each has some when the quota is full.
    let mut refused = 0;
    while refused < clients.len() {
        refused = 0;
        for client in &mut clients {
            match client.call(&take) {
                (0, _) => blocks += 1,
                (code, _) => {
                    assert_eq!(code, vendor.out_of_memory);
                    refused += 1;
                }
            }
        }
        assert!(judge.sum() <= GIB);
    }
    let room = (GIB - 4 * vendor.context) / BLOCK;
    assert!(
        blocks <= room && blocks + 6 >= room,
        "{blocks} blocks where {room} fit"
    );
    // One's memory is there for the others.
    clients.pop().unwrap().exit();
    returned(&mut clients[0], &take);
    let more = 1 + clients[0].fill(vendor, &take).len() as u64;
    assert!(more >= room / 4, "{more} blocks after one has left");
}

pub fn two_tenants_do_not_meet(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let (mut a, mut b) = (machine.open("a", GIB), machine.open("b", GIB));
    let take = format!("alloc {BLOCK}");
    let first = a.fill(vendor, &take).len();
    assert_eq!(b.fill(vendor, &take).len(), first);
    assert_eq!(a.values("info")[1], GIB);
}

pub fn killed_processes_give_everything_back(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let take = format!("alloc {BLOCK}");
    let mut survivor = machine.open("a", GIB);
    let alone = survivor.fill(vendor, &take);
    for block in &alone[..alone.len() / 2] {
        survivor.ok(&format!("free {block}"));
    }
    for _ in 0..3 {
        let mut victim = machine.open("a", GIB);
        victim.fill(vendor, &take);
        survivor.refused(vendor, &take);
        victim.kill();
        let mut again = vec![returned(&mut survivor, &take)];
        again.extend(survivor.fill(vendor, &take));
        assert_eq!(
            again.len(),
            alone.len() / 2,
            "what the dead held is there again"
        );
        for block in again {
            survivor.ok(&format!("free {block}"));
        }
    }
}

pub fn a_forked_child_counts_by_itself(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.governed(&[
        ("FCSP_TENANT", "a"),
        ("FCSP_MEMORY_LIMIT", &GIB.to_string()),
    ]);
    // Before the driver is initialised, so that it works in the child as well.
    let child = client.ok(&format!("forkkeep open 0; alloc {}", 512 * MIB));
    client.ok("open 0");
    client.refused(vendor, &format!("alloc {}", 512 * MIB));
    let mut judge = machine.judge();
    assert!(judge.held(child as u32) >= 512 * MIB);
    // SAFETY: the number of a child of the client, which has not waited for it.
    let killed = unsafe { libc::kill(child as libc::pid_t, libc::SIGKILL) };
    assert_eq!(killed, 0);
    returned(&mut client, &format!("alloc {}", 512 * MIB));
}

pub fn programs_started_by_programs_are_governed(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    client.ok(&format!("alloc {}", 512 * MIB));
    let expected = vendor.out_of_memory & 0xff;
    assert_eq!(
        client.code(&format!("spawn open 0; alloc {}", 512 * MIB)),
        expected
    );
    client.ok(&format!("spawn open 0; alloc {}", 256 * MIB));
}

/// Checks a container, where the management library lists processes by numbers that they do not
/// know. Each process finds its own entry and is measured by it, whatever its neighbours do
/// meanwhile. It finds itself in the lists under its own number.
pub fn a_container_measures_exactly(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let quota = GIB.to_string();
    let settings = [("FCSP_TENANT", "a"), ("FCSP_MEMORY_LIMIT", &*quota)];
    let Some(mut client) = machine.contained(&settings) else {
        return;
    };
    let mut judge = machine.judge();
    let mut neighbour = machine.open("b", 4 * GIB);
    client.ok("open 0");
    // The first in its namespace.
    let me = 1;
    let mut exact = |client: &mut Client, neighbour: &mut Client| {
        neighbour.ok(&format!("alloc {}", 256 * MIB));
        let held = judge.held(me);
        let [free, total] = client.values("info")[..] else {
            panic!("free and total");
        };
        assert_eq!((GIB - free, total), (held, GIB));
        free
    };
    client.ok(&format!("alloc {}", 64 * MIB));
    exact(&mut client, &mut neighbour);
    // Near the quota, and after part of it was given back.
    let block = client.ok(&format!("alloc {}", 640 * MIB));
    exact(&mut client, &mut neighbour);
    client.ok(&format!("free {block}"));
    let free = exact(&mut client, &mut neighbour);
    assert_eq!(client.values("processes 0"), [u64::from(me), GIB - free]);
}

/// Checks a call that a signal handler leaves by a jump. The thread is not taken for one inside a
/// wrapper afterwards: the quota holds for it.
pub fn a_jump_out_of_a_call_is_no_way_past_the_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let call = match vendor.name {
        "cuda" => "cuMemFree_v2",
        "levelzero" => "zeMemFree",
        "gaudi" => "synDeviceFree",
        "ascend" => "rtFree",
        _ => "hipFree",
    };
    let quota = GIB.to_string();
    let fault = format!("{call}!crash@1");
    let mut client = machine.governed(&[
        ("FCSP_TENANT", "a"),
        ("FCSP_MEMORY_LIMIT", &quota),
        ("FCSP_SIM_FAULTS", &fault),
    ]);
    client.ok("open 0");
    let left = client.ok(&format!("alloc {}", 3 * MIB));
    client.ok(&format!("jump {left}"));
    let blocks = client.fill(vendor, &format!("alloc {}", 64 * MIB)).len() as u64;
    // The bytes that the abandoned call had in hand stay counted.
    let most = (GIB - vendor.context) / (64 * MIB);
    assert!((most - 1..=most).contains(&blocks), "{blocks} of {most}");
    assert!(machine.peak() <= GIB, "{}", machine.peak());
}
