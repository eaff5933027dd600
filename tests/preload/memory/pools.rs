//! Memory out of pools: stream-ordered, and the memory nodes of graphs.

use super::{BLOCK, QUOTA, Route, agrees, exercise, settled};
use crate::{CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, wait_for};

#[test]
fn default_pool() {
    exercise(&Route {
        take: |c| c.call(&format!("async {BLOCK}")),
        give: |c, block| {
            c.ok(&format!("freeasync {}", block[0]));
            c.ok("sync");
        },
        block: BLOCK,
        seen: true,
    });
}

#[test]
fn default_pool_of_the_threads_own_stream() {
    exercise(&Route {
        take: |c| c.call(&format!("async_ptsz {BLOCK}")),
        give: |c, block| {
            // The other way to free it.
            c.ok(&format!("free {}", block[0]));
            c.ok("sync");
        },
        block: BLOCK,
        seen: true,
    });
}

#[test]
fn explicit_pools() {
    for command in ["pooled", "pooled_ptsz"] {
        let machine = Machine::new();
        let mut judge = machine.observer();
        let mut client = machine.open("t", "1GiB");
        let pool = client.ok("pool");
        // It keeps everything until it is trimmed.
        client.ok(&format!("threshold {pool} {}", 4 * GIB));
        let mut blocks = Vec::new();
        loop {
            match client.call(&format!("{command} {BLOCK} {pool}")) {
                (0, values) => blocks.push(values[0]),
                (code, _) => {
                    assert_eq!(code, OUT_OF_MEMORY);
                    break;
                }
            }
        }
        assert_eq!(blocks.len() as u64, (QUOTA - CONTEXT) / BLOCK);
        agrees(&machine, &mut judge, &client);
        for block in &blocks {
            client.ok(&format!("freeasync {block}"));
        }
        client.ok("sync");
        // Freed to the pool and not to the device: still held, by both accounts.
        assert_eq!(judge.held(client.pid()), QUOTA);
        assert_eq!(machine.used("t"), QUOTA);
        // The driver takes it back from the pool before it refuses another request, and so does the
        // quota.
        let direct = client.ok(&format!("alloc {}", QUOTA - CONTEXT));
        agrees(&machine, &mut judge, &client);
        client.refused(&format!("{command} {BLOCK} {pool}"));
        client.ok(&format!("free {direct}"));
        let again = client.ok(&format!("{command} {BLOCK} {pool}"));
        client.ok(&format!("trim {pool} 0"));
        settled(&machine, &mut client, CONTEXT + BLOCK);
        agrees(&machine, &mut judge, &client);
        client.ok(&format!("freeasync {again}"));
        client.ok("sync");
        client.ok(&format!("nopool {pool}"));
        settled(&machine, &mut client, CONTEXT);
        assert_eq!(judge.held(client.pid()), CONTEXT);
        assert!(judge.peak(client.pid()) <= QUOTA);
    }
}

/// Checks a graph with a memory node, made by `node`: once launched, its memory exists until it is
/// freed and trimmed.
fn graph(node: fn(&mut Client, u64) -> (u64, u64)) {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    settled(&machine, &mut client, CONTEXT);
    for _ in 0..2 {
        let (graph, address) = node(&mut client, 512 * MIB);
        let executable = client.ok(&format!("instantiate {graph}"));
        assert!(
            machine.used("t") <= CONTEXT + 32 * MIB,
            "a graph costs when it is launched"
        );
        client.ok(&format!("launch {executable}"));
        client.ok("sync");
        client.ok("info");
        assert!(machine.used("t") >= CONTEXT + 512 * MIB);
        assert!(judge.held(client.pid()) >= CONTEXT + 512 * MIB);
        client.refused(&format!("alloc {}", 512 * MIB));

        // A second graph that would pass the quota is not launched.
        let (other, _) = node(&mut client, 768 * MIB);
        let second = client.ok(&format!("instantiate {other}"));
        client.refused(&format!("launch {second}"));
        client.refused(&format!("launch_ptsz {second}"));

        client.ok(&format!("free {address}"));
        client.ok("sync");
        for (executable, graph) in [(executable, graph), (second, other)] {
            client.ok(&format!("noexec {executable}"));
            client.ok(&format!("nograph {graph}"));
        }
        client.ok("graphtrim");
        wait_for("the graph memory to be given back", || {
            client.ok("info");
            let used = machine.used("t");
            used < CONTEXT + 64 * MIB && used == judge.held(client.pid())
        });
    }
    assert!(judge.peak(client.pid()) <= QUOTA);
}

fn explicit(client: &mut Client, command: &str, bytes: u64) -> (u64, u64) {
    let graph = client.ok("graph");
    let address = client.ok(&format!("{command} {graph} {bytes}"));
    (graph, address)
}

#[test]
fn graph_nodes() {
    graph(|c, bytes| explicit(c, "node", bytes));
}

#[test]
fn graph_nodes_of_the_generic_call() {
    graph(|c, bytes| explicit(c, "node2", bytes));
    graph(|c, bytes| explicit(c, "node2_v2", bytes));
}

#[test]
fn graph_nodes_by_capture() {
    graph(|c, bytes| {
        c.ok("capture");
        let address = c.ok(&format!("async {bytes}"));
        (c.ok("captured"), address)
    });
}

/// Checks a pool with fragmented space, which grows for a request that its figures have space for.
/// Near the quota that growth is reserved before. Not even a request that is then refused exceeds
/// the quota for a moment.
#[test]
fn room_in_pieces_is_no_way_past_the_quota() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    let pool = client.ok("pool");
    client.ok(&format!("threshold {pool} {}", 4 * GIB));
    // All that fits, then every other block freed: half of it is room, and none of the room is
    // longer than a block.
    let small = 24 * MIB;
    let mut blocks = Vec::new();
    while let (0, values) = client.call(&format!("pooled {small} {pool}")) {
        blocks.push(values[0]);
    }
    for block in blocks.iter().step_by(2) {
        client.ok(&format!("freeasync {block}"));
    }
    client.ok("sync");
    let most = QUOTA - CONTEXT;
    assert!(client.ok(&format!("reservedhigh {pool}")) > most / 2);
    for bytes in [most * 3 / 5, 200 * MIB, 64 * MIB, 40 * MIB] {
        let _ = client.call(&format!("pooled {bytes} {pool}"));
        let high = client.ok(&format!("reservedhigh {pool}"));
        assert!(high <= most, "{bytes}: {high} of {most}");
    }
    // Small requests find their place in it.
    client.ok(&format!("pooled {} {pool}", MIB));
    assert!(machine.used("t") <= QUOTA);
}
