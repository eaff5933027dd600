//! Tests of memory that is exported as a descriptor, released, and imported again. It is charged
//! once for as long as the device has it, whichever process keeps it there.

use crate::{CONTEXT, Client, GIB, MIB, Machine};

const PIECE: u64 = 256 * MIB;

/// Creates and exports memory. Returns its handle and descriptor.
fn exported(client: &mut Client, bytes: u64) -> (u64, u64) {
    let handle = client.ok(&format!("createx {bytes} 0"));
    let descriptor = client.ok(&format!("export {handle}"));
    (handle, descriptor)
}

/// Maps a handle somewhere and releases it. Returns the address.
fn mapped(client: &mut Client, handle: u64) -> u64 {
    let address = client.ok(&format!("reserve {PIECE}"));
    client.ok(&format!("map {address} {PIECE} {handle}"));
    client.ok(&format!("access {address} {PIECE}"));
    client.ok(&format!("hrelease {handle}"));
    address
}

#[test]
fn exported_and_given_back_is_given_back() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    for _ in 0..8 {
        let (handle, descriptor) = exported(&mut client, PIECE);
        assert_eq!(machine.used("t"), CONTEXT + PIECE);
        client.ok(&format!("closefd {descriptor}"));
        client.ok(&format!("hrelease {handle}"));
        assert_eq!(machine.used("t"), CONTEXT);
    }
    // By mapping, with two of them.
    let (handle, descriptor) = exported(&mut client, PIECE);
    client.ok(&format!("closefd {descriptor}"));
    let address = client.ok(&format!("reserve {}", 2 * PIECE));
    for at in [address, address + PIECE] {
        client.ok(&format!("map {at} {PIECE} {handle}"));
    }
    client.ok(&format!("hrelease {handle}"));
    assert_eq!(machine.used("t"), CONTEXT + PIECE);
    client.ok(&format!("unmap {address} {}", 2 * PIECE));
    assert_eq!(machine.used("t"), CONTEXT);
}

#[test]
fn released_and_imported_again_is_charged_once_throughout() {
    let machine = Machine::new();
    let mut judge = machine.observer();
    let mut client = machine.open("t", "1GiB");
    let (handle, descriptor) = exported(&mut client, PIECE);
    client.ok(&format!("hrelease {handle}"));
    assert_eq!(
        machine.used("t"),
        CONTEXT + PIECE,
        "the descriptor keeps it on the device"
    );
    assert_eq!(
        judge.held(client.pid()),
        CONTEXT,
        "and the driver shows it with nobody"
    );
    let again = client.ok(&format!("import {descriptor}"));
    let address = mapped(&mut client, again);
    client.ok(&format!("fill {address} 4096"));
    client.ok("info");
    assert_eq!(
        machine.used("t"),
        CONTEXT + PIECE,
        "imported, with the descriptor open"
    );
    client.ok(&format!("closefd {descriptor}"));
    client.ok("info");
    assert_eq!(
        judge.held(client.pid()),
        CONTEXT + PIECE,
        "the driver shows who has it"
    );
    client.ok("info");
    assert_eq!(
        machine.used("t"),
        CONTEXT + PIECE,
        "imported, and the descriptor closed"
    );
    // What is left of the quota, and no more.
    assert_eq!(
        client.fill(64 * MIB).len() as u64,
        (GIB - CONTEXT - PIECE) / (64 * MIB)
    );
    assert_eq!(judge.held(client.pid()), GIB);
    client.ok(&format!("unmap {address} {PIECE}"));
    // Gone permanently: the space is available again.
    assert_eq!(client.fill(64 * MIB).len() as u64, PIECE / (64 * MIB));
    assert_eq!(judge.sum(), GIB);
}

#[test]
fn descriptors_do_not_keep_the_device_for_nothing() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    let mut descriptors = Vec::new();
    loop {
        let (code, values) = client.call(&format!("createx {} 0", 64 * MIB));
        if code != 0 {
            assert_eq!(code, crate::OUT_OF_MEMORY);
            break;
        }
        descriptors.push(client.ok(&format!("export {}", values[0])));
        client.ok(&format!("hrelease {}", values[0]));
    }
    assert_eq!(descriptors.len() as u64, (GIB - CONTEXT) / (64 * MIB));
    for descriptor in descriptors {
        client.ok(&format!("closefd {descriptor}"));
    }
    client.ok("info");
    assert_eq!(machine.used("t"), CONTEXT);
    assert_eq!(
        client.fill(64 * MIB).len() as u64,
        (GIB - CONTEXT) / (64 * MIB),
        "all of it comes back"
    );
}

#[test]
fn what_another_process_imported_stays_the_exporters_until_it_is_let_go() {
    let machine = Machine::new();
    let (mut exporter, mut importer) = (machine.open("t", "1GiB"), machine.open("t", "1GiB"));
    let (handle, descriptor) = exported(&mut exporter, PIECE);
    let taken = importer.ok(&format!("takefd {} {descriptor}", exporter.pid()));
    let import = importer.ok(&format!("import {taken}"));
    importer.ok(&format!("closefd {taken}"));
    let address = mapped(&mut importer, import);
    assert_eq!(machine.used("t"), 2 * CONTEXT + PIECE, "charged once");
    exporter.ok(&format!("closefd {descriptor}"));
    exporter.ok(&format!("hrelease {handle}"));
    importer.ok(&format!("fill {address} 4096"));
    assert_eq!(
        machine.used("t"),
        2 * CONTEXT + PIECE,
        "the device still has it"
    );
    importer.ok(&format!("unmap {address} {PIECE}"));
    exporter.ok("info");
    assert_eq!(machine.used("t"), 2 * CONTEXT);
}

#[test]
fn an_exporter_that_dies_holds_nothing() {
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    let (handle, _) = exported(&mut client, PIECE);
    client.ok(&format!("hrelease {handle}"));
    client.kill();
    assert_eq!(machine.used("t"), 0);
}
