//! Memory that no call asks for: contexts, loaded code, streams, stacks.

use super::{BLOCK, QUOTA, agrees, settled};
use crate::{CONTEXT, Client, GIB, INVALID_VALUE, MIB, Machine, OUT_OF_MEMORY, wait_for};

/// Checks that a larger stack costs its bytes for every thread that the device runs at once.
#[test]
fn stack_limit() {
    let machine = Machine::with("h100,memory=64GiB,context=64MiB");
    let mut judge = machine.observer();
    let mut client = machine.open("t", "4GiB");
    // 132 x 2048 threads: 17 KiB take 4.1 GiB, 8 KiB half of that.
    client.refused("stack 17408");
    settled(&machine, &mut client, CONTEXT);
    // A stack that no driver grants is refused in the driver's own words.
    assert_eq!(client.code("stack 1048576"), INVALID_VALUE);
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

/// Checks that bytes reserved during a driver call are not counted again by a measurement: the
/// smallest quota that has the bytes suffices.
#[test]
fn stack_limit_to_the_last_byte() {
    const STACK: u64 = 132 * 2048 * 3072;
    let mib = MIB.cast_signed();
    for (spare, code) in [(0, 0), (mib, 0), (-mib, OUT_OF_MEMORY)] {
        let machine = Machine::with("h100,memory=8GiB,context=64MiB");
        let mut judge = machine.observer();
        let quota = (CONTEXT + STACK).saturating_add_signed(spare);
        let mut client = machine.open("t", &quota.to_string());
        assert_eq!(client.code("stack 4096"), code, "{spare} beside");
        let held = if code == 0 { CONTEXT + STACK } else { CONTEXT };
        assert_eq!(judge.held(client.pid()), held);
        client.ok("info");
        assert_eq!(machine.used("t"), held);
        // And back again: at once, with nothing lost.
        client.ok("stack 1024");
        assert_eq!(client.call("info").1, vec![quota - CONTEXT, quota]);
        assert_eq!(machine.used("t"), CONTEXT);
    }
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
                // Loaded all the same, and there until it is unloaded: nothing more gets in
                // meanwhile.
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

/// Checks code that is loaded late, by a call that cannot be undone. It is refused if the quota is
/// exceeded already, so one library can exceed the quota, not any number.
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

/// Checks that a process that made a context and then idles counts for the others of its tenant,
/// even far from the quota and without any request.
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
    assert_eq!(
        machine.tenant("t")["refused"],
        1,
        "a context counts like a request"
    );
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
        wait_for("the primary context to be given back", || {
            machine.used("t") == 0
        });
        assert_eq!(judge.held(client.pid()), 0);
        client.ok("use 0");
    }
    assert_eq!(client.fill(BLOCK).len() as u64, (QUOTA - CONTEXT) / BLOCK);
}
