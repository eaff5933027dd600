//! Physical memory by handle and by mapping.

use super::{BLOCK, QUOTA, Route, exercise, settled};
use crate::{CONTEXT, Client, GIB, MIB, Machine, Observer};

#[test]
fn physical_memory_by_handle() {
    exercise(&Route {
        take: |c| c.call(&format!("create {BLOCK} 0")),
        give: |c, block| {
            c.ok(&format!("hrelease {}", block[0]));
        },
        block: BLOCK,
        seen: true,
    });
}

/// Checks that memory lives while a handle or a mapping does, in whatever order they go.
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
    assert_ne!(client.code(&format!("hrelease {retained}")), 0);
    check(&mut client, &mut judge, 0, "a failed call");
}

/// Checks that physical memory is charged to the device that its properties name, not to the
/// current one.
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
