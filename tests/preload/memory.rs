//! Every way to take device memory: charged as it is taken, refused at the quota with the driver's own code, given back
//! when freed.

use crate::{CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, Observer, program, wait_for};

const QUOTA: u64 = GIB;

/// One way to take memory.
struct Route {
    /// Takes a block of about [`BLOCK`] bytes: the driver's code, and what is needed to give it back.
    take: fn(&mut Client) -> (i32, Vec<u64>),
    give: fn(&mut Client, &[u64]),
    /// The most that the driver can take for one block.
    block: u64,
    /// Whether the driver counts it as the process's.
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

/// The ledger and the driver say the same.
fn agrees(machine: &Machine, judge: &mut Observer, client: &Client) {
    assert_eq!(machine.used("t"), judge.held(client.pid()));
}

fn first(client: &mut Client, command: &str) -> (i32, Vec<u64>) {
    let (code, values) = client.call(command);
    (code, values)
}

fn free(client: &mut Client, block: &[u64]) {
    client.ok(&format!("free {}", block[0]));
}

#[test]
fn plain() {
    exercise(&Route {
        take: |c| first(c, &format!("alloc {BLOCK}")),
        give: free,
        block: BLOCK,
        seen: true,
    });
}

#[test]
fn small_pieces_of_slabs() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "96MiB");
    // 32 MiB are left beside the context: 16 slabs of two pieces of 1 MiB.
    let pieces = client.fill(MIB);
    assert_eq!(pieces.len(), 32);
    assert_eq!(machine.used("t"), 96 * MIB);
    agrees(&machine, &mut judge, &client);
    client.refused("alloc 512");
    for piece in pieces {
        client.ok(&format!("free {piece}"));
    }
    settled(&machine, &mut client, CONTEXT);
    assert_eq!(judge.held(client.pid()), CONTEXT);
    // One piece of 512 bytes costs a slab, and the slab then holds 4095 more without another.
    client.ok("alloc 512");
    settled(&machine, &mut client, CONTEXT + 2 * MIB);
    for _ in 0..100 {
        client.ok("alloc 512");
    }
    settled(&machine, &mut client, CONTEXT + 2 * MIB);
    agrees(&machine, &mut judge, &client);
}

/// A slab that is taken by mistake is seen from outside until it is given back: at the quota the driver is asked for a
/// piece only where it needs none.
#[test]
fn no_slab_is_tried_at_the_quota() {
    let machine = Machine::new();
    let mut command = machine.governed(program("client"), "t", "68MiB");
    // The eighth call of the driver's kills.
    command.env("FCSP_SIM_FAULTS", "cuMemAlloc_v2!kill@8");
    let mut client = Client::start(command);
    client.ok("open 0");
    let piece = format!("alloc {}", MIB / 2);
    let pieces: Vec<u64> = (0..4).map(|_| client.ok(&piece)).collect();
    client.ok(&format!("alloc {}", 2 * MIB));
    assert_eq!(machine.used("t"), 68 * MIB);
    client.ok(&format!("free {}", pieces[0]));
    client.ok(&format!("free {}", pieces[2]));
    // As many bytes are free in the slab, in two places; and nobody knows that smaller pieces come out of it.
    client.refused(&format!("alloc {MIB}"));
    client.refused("alloc 512");
    // The sixth and seventh call.
    client.ok(&piece);
    client.ok(&piece);
    client.refused(&piece);
    assert_eq!(machine.used("t"), 68 * MIB);
}

#[test]
fn the_whole_quota_can_be_used() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    let blocks = client.fill(2 * MIB).len() as u64;
    assert_eq!(
        blocks * 2 * MIB,
        QUOTA - CONTEXT,
        "not a byte less than quota and context leave"
    );
}

/// The 32-bit ABI: the simulator has no addresses that fit and refuses the argument, so what can be seen is that a
/// request above the quota never reaches it, and that one below it is charged and rolled back.
#[test]
fn the_first_abi() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    settled(&machine, &mut client, CONTEXT);
    client.refused(&format!("alloc1 {}", 2 * GIB));
    assert_eq!(client.code(&format!("alloc1 {BLOCK}")), 1);
    assert_eq!(machine.used("t"), CONTEXT);
}

#[test]
fn pitch() {
    // 40 000 bytes wide: the driver pads each row to 40 448.
    exercise(&Route {
        take: |c| {
            let (code, values) = c.call("pitch 40000 800");
            if code == 0 {
                assert_eq!(values[1], 40_448);
            }
            (code, values)
        },
        give: free,
        block: BLOCK,
        seen: true,
    });
}

#[test]
fn managed() {
    exercise(&Route {
        take: |c| first(c, &format!("managed {BLOCK}")),
        give: free,
        block: BLOCK,
        seen: false,
    });
}

#[test]
fn default_pool() {
    exercise(&Route {
        take: |c| first(c, &format!("async {BLOCK}")),
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
        take: |c| first(c, &format!("async_ptsz {BLOCK}")),
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
        // Freed to the pool and not to the device: still held, by both accounts, and refused to others.
        assert_eq!(judge.held(client.pid()), QUOTA);
        assert_eq!(machine.used("t"), QUOTA);
        client.refused(&format!("alloc {BLOCK}"));
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

#[test]
fn physical_memory_by_handle() {
    exercise(&Route {
        take: |c| first(c, &format!("create {BLOCK} 0")),
        give: |c, block| {
            c.ok(&format!("hrelease {}", block[0]));
        },
        block: BLOCK,
        seen: true,
    });
}

/// Memory lives while a handle or a mapping does, in whatever order they go.
#[test]
fn physical_memory_by_mapping() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    settled(&machine, &mut client, CONTEXT);
    let big = 512 * MIB;
    let at = client.ok(&format!("reserve {big}"));
    let check = |client: &mut Client, judge: &mut Observer, bytes: u64, when: &str| {
        settled(&machine, client, CONTEXT + bytes);
        assert_eq!(judge.held(client.pid()), CONTEXT + bytes, "{when}");
    };

    // Create, map, release: the bypass of a count that goes by handles.
    let handle = client.ok(&format!("create {big} 0"));
    client.ok(&format!("map {at} {big} {handle}"));
    client.ok(&format!("access {at} {big}"));
    client.ok(&format!("hrelease {handle}"));
    check(&mut client, &mut judge, big, "a mapping is left");
    client.refused(&format!("create {big} 0"));
    client.refused(&format!("alloc {big}"));
    client.ok(&format!("unmap {at} {big}"));
    check(&mut client, &mut judge, 0, "nothing is left");

    // Unmap, then release.
    let handle = client.ok(&format!("create {big} 0"));
    client.ok(&format!("map {at} {big} {handle}"));
    client.ok(&format!("unmap {at} {big}"));
    check(&mut client, &mut judge, big, "a handle is left");
    client.ok(&format!("hrelease {handle}"));
    check(&mut client, &mut judge, 0, "nothing is left");

    // A handle got back from a mapping.
    let handle = client.ok(&format!("create {big} 0"));
    client.ok(&format!("map {at} {big} {handle}"));
    client.ok(&format!("hrelease {handle}"));
    let retained = client.ok(&format!("retain {at}"));
    client.ok(&format!("unmap {at} {big}"));
    check(&mut client, &mut judge, big, "the retained handle is left");
    client.refused(&format!("create {big} 0"));
    client.ok(&format!("hrelease {retained}"));
    check(&mut client, &mut judge, 0, "nothing is left");
    assert!(judge.peak(client.pid()) <= QUOTA);

    // Refused by the driver: nothing stays charged.
    assert_ne!(client.code("create 12345 0"), 0);
    assert_ne!(client.code("hrelease 4660"), 0);
    check(&mut client, &mut judge, 0, "a failed call");
}

/// Physical memory is charged to the device that its properties name, not to the current one.
#[test]
fn physical_memory_on_another_device() {
    let machine = Machine::with("h100x2,memory=8GiB,context=64MiB");
    let mut client = machine.open("t", "0=2GiB,1=256MiB");
    client.refused(&format!("create {} 1", 512 * MIB));
    client.ok(&format!("create {} 1", 256 * MIB));
    client.refused("create 2097152 1");
    client.ok(&format!("create {GIB} 0"));
    let devices = machine.tenant("t")["devices"].clone();
    let used: Vec<u64> = devices
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["used_bytes"].as_u64().unwrap())
        .collect();
    assert!(used.contains(&(256 * MIB)), "{devices}");
}

#[test]
fn arrays() {
    exercise(&Route {
        take: |c| first(c, "array 1920 1080"),
        give: |c, block| {
            c.ok(&format!("noarray {}", block[0]));
        },
        block: 34 * MIB,
        seen: true,
    });
}

#[test]
fn three_dimensional_arrays() {
    exercise(&Route {
        take: |c| first(c, "array3d 128 128 128"),
        give: |c, block| {
            c.ok(&format!("noarray {}", block[0]));
        },
        block: 34 * MIB,
        seen: true,
    });
}

#[test]
fn mipmaps() {
    exercise(&Route {
        take: |c| first(c, "mipmap 1024 1024 5"),
        give: |c, block| {
            c.ok(&format!("nomipmap {}", block[0]));
        },
        block: 24 * MIB,
        seen: true,
    });
}

/// A graph with a memory node, made by `node`, launched: then its memory is there until freed and trimmed.
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

/// A larger stack costs its bytes for every thread that the device runs at once.
#[test]
fn stack_limit() {
    let machine = Machine::with("h100,memory=64GiB,context=64MiB");
    let mut judge = machine.observer();
    let mut client = machine.open("t", "4GiB");
    // 132 x 2048 threads: 16 KiB take just under 4 GiB, 8 KiB half of that.
    client.refused("stack 16384");
    settled(&machine, &mut client, CONTEXT);
    client.ok("stack 8192");
    client.ok("info");
    assert!(machine.used("t") > GIB);
    agrees(&machine, &mut judge, &client);
    client.refused(&format!("alloc {}", 3 * GIB));
    client.ok("stack 1024");
    wait_for("the stack to be given back", || {
        client.ok("info");
        machine.used("t") == judge.held(client.pid())
    });
    assert!(judge.peak(client.pid()) <= 4 * GIB);
}

/// Loads modules of 128 MiB until refused, by `load`; 960 MiB hold seven of them.
fn loads(load: fn(&mut Client) -> (i32, u64), unload: &str) {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    settled(&machine, &mut client, CONTEXT);
    for _ in 0..2 {
        let mut modules = Vec::new();
        loop {
            let (code, module) = load(&mut client);
            if code != 0 {
                assert_eq!(code, OUT_OF_MEMORY);
                break;
            }
            modules.push(module);
            assert!(modules.len() <= 7, "nobody ever refuses");
        }
        assert_eq!(modules.len(), 7);
        // What was loaded and undone is gone for the driver too.
        assert!(judge.held(client.pid()) <= QUOTA);
        client.ok("info");
        agrees(&machine, &mut judge, &client);
        client.refused(&format!("alloc {}", 128 * MIB));
        for module in modules {
            client.ok(&format!("{unload} {module}"));
        }
        settled(&machine, &mut client, CONTEXT);
    }
}

#[test]
fn variables_of_modules() {
    let module = |client: &mut Client| {
        let (code, values) = client.call("module 134217728");
        (code, values[0])
    };
    loads(module, "nomodule");
}

#[test]
fn variables_of_libraries() {
    let library = |client: &mut Client| {
        let library = client.ok("library 134217728");
        match client.code(&format!("libload {library}")) {
            0 => (0, library),
            code => {
                // Loaded all the same, and there until it is unloaded: nothing more gets in meanwhile.
                client.refused("module 4");
                client.refused("alloc 512");
                client.ok(&format!("nolibrary {library}"));
                (code, 0)
            }
        }
    };
    loads(library, "nolibrary");
}

/// Streams take memory every few of them: by the quota's end they are refused, and undone.
#[test]
fn streams() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "96MiB");
    let mut count = 0;
    let code = loop {
        match client.code("stream") {
            0 => count += 1,
            code => break code,
        }
        assert!(count < 1000, "nobody ever refuses");
    };
    assert_eq!(code, OUT_OF_MEMORY);
    assert_eq!(count, 64, "four to 2 MiB, 32 MiB beside the context");
    assert_eq!(judge.held(client.pid()), 96 * MIB);
    client.ok("info");
    agrees(&machine, &mut judge, &client);
    client.refused("alloc 512");
}

/// Code that was put off is loaded by a call that cannot be taken back. It is refused where the quota is passed already,
/// so what can get past it is one library, not any number.
#[test]
fn libraries_loaded_late_pass_the_quota_once() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    let libraries: Vec<u64> = (0..16).map(|_| client.ok("library 134217728")).collect();
    let codes: Vec<i32> = libraries
        .iter()
        .map(|library| client.code(&format!("libload {library}")))
        .collect();
    assert_eq!(codes, [[0; 7].as_slice(), &[OUT_OF_MEMORY; 9]].concat());
    assert!(judge.peak(client.pid()) <= QUOTA + 128 * MIB);
}

/// A process that made a context and then idles counts for the others of its tenant, though it is far from the quota
/// and never asks for anything.
#[test]
fn contexts_of_idle_processes_count() {
    let machine = Machine::with("h100,memory=16GiB");
    let mut judge = machine.observer();
    let mut idle: Vec<Client> = (0..3).map(|_| machine.open("t", "8GiB")).collect();
    let mut busy = machine.open("t", "8GiB");
    let got = busy.fill(128 * MIB).len() as u64 * 128 * MIB;
    let sum = judge.sum();
    assert!(sum <= 8 * GIB, "{sum}");
    // Nor is much lost to the estimate.
    assert!(got >= 5 * GIB, "{got}");
    // Once they look, they know exactly.
    wait_for("the estimates to be replaced", || {
        for client in &mut idle {
            client.ok("info");
        }
        busy.ok("info");
        machine.used("t") == judge.sum()
    });
}

#[test]
fn contexts() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "256MiB");
    let mut contexts = Vec::new();
    loop {
        match client.call("ctx 0") {
            (0, values) => contexts.push(values[0]),
            (code, _) => {
                assert_eq!(code, OUT_OF_MEMORY);
                break;
            }
        }
    }
    assert_eq!(contexts.len(), 3, "with the primary one that makes 256 MiB");
    assert_eq!(judge.held(client.pid()), 256 * MIB);
    assert_eq!(machine.used("t"), 256 * MIB);
    client.refused("alloc 1");
    for context in contexts.drain(..).rev() {
        client.ok(&format!("destroy {context}"));
    }
    client.ok("use 0");
    settled(&machine, &mut client, CONTEXT);
    // Memory goes with its context.
    let context = client.ok("ctx 0");
    client.ok(&format!("alloc {}", 64 * MIB));
    client.ok("alloc 512");
    client.ok(&format!("destroy {context}"));
    client.ok("use 0");
    settled(&machine, &mut client, CONTEXT);
    assert_eq!(judge.held(client.pid()), CONTEXT);
}

#[test]
fn the_primary_context_goes_with_all_that_is_in_it() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    for end in ["release 0", "reset 0"] {
        client.ok(&format!("alloc {}", 256 * MIB));
        client.ok("alloc 512");
        client.ok(end);
        wait_for("the primary context to be given back", || machine.used("t") == 0);
        assert_eq!(judge.held(client.pid()), 0);
        client.ok("use 0");
    }
    assert_eq!(client.fill(BLOCK).len() as u64, (QUOTA - CONTEXT) / BLOCK);
}

/// A failed free is not a free.
#[test]
fn what_the_driver_refuses_changes_nothing() {
    let machine = Machine::new();
    let mut command = machine.governed(crate::program("client"), "t", "1GiB");
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
        assert_eq!(client.hear().unwrap().0, 0, "every refusal was out of memory");
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
    assert!(machine.tenant("t")["devices"][0]["peak_bytes"].as_u64().unwrap() <= 320 * MIB);
}

/// Two tenants on one device have a quota each, and neither sees the other's memory as its own.
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
