//! Every way to take device memory: charged as it is taken, refused at the quota with the driver's
//! own code, given back when freed. Here is what the ways have in common, and what concerns several
//! at once.

mod direct;
mod physical;
mod pools;
mod unasked;

use crate::{CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, Observer, program, wait_for};

const QUOTA: u64 = GIB;

/// One way to take memory.
struct Route {
    /// Takes a block of about [`BLOCK`] bytes: the driver's code, and what is needed to give it
    /// back.
    take: fn(&mut Client) -> (i32, Vec<u64>),
    give: fn(&mut Client, &[u64]),
    /// The most that the driver can take for one block.
    block: u64,
    /// True if the driver counts it as the process's.
    seen: bool,
}

const BLOCK: u64 = 32 * MIB;

fn settled(machine: &Machine, client: &mut Client, bytes: u64) {
    wait_for(&format!("the tenant to hold {bytes}"), || {
        // Asking for information brings the measured part up to date.
        client.ok("info");
        machine.used("t") == bytes
    });
}

/// Fills the quota by one route, empties it, and does it again: nothing may leak, nothing may pass.
fn exercise(route: &Route) {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    settled(&machine, &mut client, CONTEXT);
    let mut counts = [0; 2];
    for count in &mut counts {
        let mut blocks = Vec::new();
        let code = loop {
            match (route.take)(&mut client) {
                (0, block) => blocks.push(block),
                (code, _) => break code,
            }
            assert!(blocks.len() < 100, "nobody ever refuses");
        };
        assert_eq!(code, OUT_OF_MEMORY, "after {} blocks", blocks.len());
        let used = machine.used("t");
        assert!(used <= QUOTA, "{used}");
        assert!(
            used + 2 * route.block > QUOTA,
            "refused long before the quota, at {used}"
        );
        if route.seen {
            agrees(&machine, &mut judge, &client);
        }
        *count = blocks.len();
        for block in &blocks {
            (route.give)(&mut client, block);
        }
        settled(&machine, &mut client, CONTEXT);
        assert_eq!(judge.held(client.pid()), CONTEXT);
    }
    assert_eq!(counts[0], counts[1], "the second time the same");
    let peak = judge.peak(client.pid());
    assert!(peak <= QUOTA, "the driver saw {peak}");
    let tenant = machine.tenant("t");
    assert!(tenant["refused"].as_u64().unwrap() >= 2, "{tenant}");
}

/// Checks that the ledger and the driver agree.
fn agrees(machine: &Machine, judge: &mut Observer, client: &Client) {
    assert_eq!(machine.used("t"), judge.held(client.pid()));
}

fn free(client: &mut Client, block: &[u64]) {
    client.ok(&format!("free {}", block[0]));
}

/// Checks that a failed free is not a free.
#[test]
fn what_the_driver_refuses_changes_nothing() {
    // Near the quota, where calls are bracketed, and far from it.
    for quota in ["1GiB", "6GiB"] {
        let machine = Machine::new();
        let mut command = machine.governed(program("client"), "t", quota);
        command.env(
            "FCSP_SIM_FAULTS",
            "cuMemFree_v2=700@1;cuMemAlloc_v2=2@2;cuMemCreate=2@1;cuArrayCreate_v2=999@1",
        );
        let mut client = Client::start(command);
        client.ok("open 0");
        let block = client.ok(&format!("alloc {}", 256 * MIB));
        settled(&machine, &mut client, CONTEXT + 256 * MIB);
        client.refused(&format!("alloc {}", 256 * MIB));
        client.refused(&format!("create {BLOCK} 0"));
        assert_eq!(client.code("array 1000 1000"), 999);
        assert_eq!(client.code(&format!("free {block}")), 700);
        settled(&machine, &mut client, CONTEXT + 256 * MIB);
        // Pointers that are nobody's go to the driver.
        assert_ne!(client.code("free 4096"), 0);
        client.ok("free 0");
        client.ok(&format!("free {block}"));
        assert_ne!(client.code(&format!("free {block}")), 0);
        settled(&machine, &mut client, CONTEXT);
    }
}

/// Checks one account from far away up to the quota and back, whatever way calls take.
#[test]
fn far_from_the_quota_and_up_to_it() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "4GiB");
    for bytes in [BLOCK, MIB, BLOCK + 4096] {
        // A slab holds two allocations of a mebibyte; other blocks are whole pages.
        let page = if bytes < 2 * MIB {
            bytes
        } else {
            bytes.next_multiple_of(2 * MIB)
        };
        let blocks = client.fill(bytes);
        assert_eq!(blocks.len() as u64, (4 * GIB - CONTEXT) / page);
        assert!(machine.used("t") <= 4 * GIB);
        agrees(&machine, &mut judge, &client);
        for block in &blocks {
            client.ok(&format!("free {block}"));
        }
        settled(&machine, &mut client, CONTEXT);
        agrees(&machine, &mut judge, &client);
    }
    assert!(judge.peak(client.pid()) <= 4 * GIB);
}

/// Threads that allocate, free and ask at once, far from the quota: a measurement may take what is
/// under way for overhead, and the next one does not.
#[test]
fn threads_far_from_the_quota() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "6GiB");
    let block = client.ok(&format!("alloc {}", 256 * MIB));
    for _ in 0..3 {
        client.ok("threads 8 200");
        settled(&machine, &mut client, CONTEXT + 256 * MIB);
        agrees(&machine, &mut judge, &client);
    }
    client.ok(&format!("free {block}"));
    settled(&machine, &mut client, CONTEXT);
}

/// Threads, processes and every route at once: the sum never passes, by the driver's own account.
#[test]
fn threads_racing_to_the_quota() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut clients: Vec<Client> = (0..3).map(|_| machine.open("t", "320MiB")).collect();
    for client in &mut clients {
        client.tell("threads 8 400");
    }
    let mut most = 0;
    for client in &mut clients {
        assert_eq!(
            client.hear().unwrap().0,
            0,
            "every refusal was out of memory"
        );
        most = most.max(judge.sum());
    }
    assert!(most <= 320 * MIB, "{most}");
    for client in &mut clients {
        client.ok("info");
    }
    wait_for("three contexts to be all that is left", || {
        for client in &mut clients {
            client.ok("info");
        }
        machine.used("t") == 3 * CONTEXT
    });
    assert!(
        machine.tenant("t")["devices"][0]["peak_bytes"]
            .as_u64()
            .unwrap()
            <= 320 * MIB
    );
}

/// Checks that two tenants on one device have a quota each, and that neither sees the other's
/// memory as its own.
#[test]
fn two_tenants_on_one_device() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let (mut a, mut b) = (machine.open("a", "1GiB"), machine.open("b", "512MiB"));
    assert_eq!(a.fill(BLOCK).len() as u64, (GIB - CONTEXT) / BLOCK);
    assert_eq!(b.fill(BLOCK).len() as u64, (512 * MIB - CONTEXT) / BLOCK);
    assert_eq!((machine.used("a"), machine.used("b")), (GIB, 512 * MIB));
    assert_eq!((judge.held(a.pid()), judge.held(b.pid())), (GIB, 512 * MIB));
    a.kill();
    b.refused(&format!("alloc {BLOCK}"));
}
