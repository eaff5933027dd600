//! Memory by a call of its own for each piece: plain, pitched, managed, arrays.

use super::{BLOCK, QUOTA, Route, agrees, exercise, free, settled};
use crate::{CONTEXT, Client, GIB, MIB, Machine, program};

#[test]
fn plain() {
    exercise(&Route {
        take: |c| c.call(&format!("alloc {BLOCK}")),
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
    // 32 MiB are left next to the context: 16 slabs of two allocations of 1 MiB.
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

/// Checks that no slab is taken at the quota. One taken by mistake would be visible from outside
/// until it is freed. At the quota, the driver is asked for a small allocation only if it needs no
/// new slab.
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
    // As many bytes are available in the slab, in two places. It is unknown whether smaller
    // allocations come out of it.
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

/// Checks the 32-bit ABI. The simulator has no addresses that fit and refuses the argument. The
/// test therefore shows that a request above the quota never reaches it, and that one below it is
/// charged and rolled back.
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
        take: |c| c.call(&format!("managed {BLOCK}")),
        give: free,
        block: BLOCK,
        seen: false,
    });
}

#[test]
fn arrays() {
    exercise(&Route {
        take: |c| c.call("array 1920 1080"),
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
        take: |c| c.call("array3d 128 128 128"),
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
        take: |c| c.call("mipmap 1024 1024 5"),
        give: |c, block| {
            c.ok(&format!("nomipmap {}", block[0]));
        },
        block: 24 * MIB,
        seen: true,
    });
}
