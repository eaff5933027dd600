//! The quota, for every kind of memory.

use std::time::{Duration, Instant};

use crate::machine::{Client, Machine};
use crate::vendors::{GIB, MIB, Vendor};

/// The quota of these cases.
const QUOTA: u64 = GIB;
/// Bytes that are allocated at a time.
const BLOCK: u64 = 16 * MIB;
/// Most bytes that a driver may take for itself besides the context: streams, code, the steps in
/// which pools grow.
const SLACK: u64 = 48 * MIB;

fn governed(vendor: &'static Vendor) -> Option<(Machine, Client)> {
    let machine = Machine::new(vendor)?;
    let client = machine.open("a", QUOTA);
    Some((machine, client))
}

/// Fills the quota by `take`, and again after giving back by `give`, judged from outside.
fn fill_twice(vendor: &'static Vendor, take: &str, give: impl Fn(&mut Client, u64)) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    for round in 0..2 {
        let taken = client.fill(vendor, take);
        let held = judge.held(client.pid());
        assert!(held <= QUOTA, "round {round}: {held} of {QUOTA}");
        assert!(
            held + BLOCK + SLACK > QUOTA,
            "round {round}: only {held} of {QUOTA}"
        );
        for handle in taken {
            give(&mut client, handle);
        }
        let left = judge.held(client.pid());
        assert!(
            left <= vendor.context + SLACK,
            "round {round}: {left} are left of {held}"
        );
    }
}

pub fn the_quota_is_filled_and_never_passed(vendor: &'static Vendor) {
    fill_twice(vendor, &format!("alloc {BLOCK}"), |client, block| {
        client.ok(&format!("fill {block} {BLOCK}"));
        client.ok(&format!("free {block}"));
    });
}

/// Checks that small requests far from the quota come from the reservation cache. The account is
/// never below the driver's, above it by little, and exact when the tenant asks.
pub fn small_requests_are_counted(vendor: &'static Vendor) {
    /// More than the reservation cache of one process ever holds, and a slab.
    const AHEAD: u64 = 2 * MIB;
    const QUOTA: u64 = 3 * GIB;
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let mut client = machine.open("a", QUOTA);
    client.values("info");
    let (idle, nothing) = (machine.used("a"), judge.held(client.pid()));
    let mut blocks = Vec::new();
    for count in 1..=600u64 {
        let bytes = [512, 4096, 30_000, 65_536][count as usize % 4];
        blocks.push(client.ok(&format!("alloc {bytes}")));
        if count % 100 == 0 {
            let (used, held) = (machine.used("a"), judge.held(client.pid()));
            assert!(
                used >= held && used <= held + AHEAD,
                "{used} counted, {held} held"
            );
            assert!(held > nothing);
            // When the tenant asks, the cache is empty, and the reported available memory can be
            // allocated.
            let free = client.values("info")[0];
            assert_eq!(free, QUOTA - machine.used("a"));
            assert!(machine.used("a") >= held);
        }
    }
    // The other way round: some stay, the rest goes and comes.
    for block in blocks.drain(50..) {
        client.ok(&format!("free {block}"));
    }
    let (used, held) = (machine.used("a"), judge.held(client.pid()));
    assert!(
        used >= held && used <= held + AHEAD,
        "{used} counted, {held} held"
    );
    for block in blocks {
        client.ok(&format!("free {block}"));
    }
    // The overhead may be 200 ms old, and have been measured while the driver held a page for part
    // of its bytes.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        client.values("info");
        let now = (machine.used("a"), judge.held(client.pid()));
        if now == (idle, nothing) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "not given back: {now:?} of {idle} and {nothing}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // The reservation cache ends with its process.
    client.ok("alloc 4096");
    client.kill();
    let mut next = machine.open("a", QUOTA);
    next.values("info");
    assert_eq!(machine.used("a"), idle);
}

/// Checks small steps from far away up to the quota: exact near it, whatever the cache held on the
/// way.
pub fn small_requests_fill_the_quota(vendor: &'static Vendor) {
    const QUOTA: u64 = GIB + 256 * MIB;
    const PIECE: u64 = 64 << 10;
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let mut client = machine.open("a", QUOTA);
    // In large steps to where the small ones pass from far to near.
    let large: Vec<u64> = (0..6)
        .map(|_| client.ok(&format!("alloc {}", 16 * MIB)))
        .collect();
    let few: Vec<u64> = (0..1800)
        .map(|_| client.ok(&format!("alloc {PIECE}")))
        .collect();
    let rest = client.fill(vendor, &format!("alloc {}", 4 * MIB));
    let last = client.fill(vendor, &format!("alloc {PIECE}"));
    let (used, held) = (machine.used("a"), judge.held(client.pid()));
    assert!(
        held <= used && used <= QUOTA,
        "{held} held, {used} of {QUOTA}"
    );
    assert!(used + 2 * MIB > QUOTA, "only {used} of {QUOTA}");
    for block in large.into_iter().chain(few).chain(rest).chain(last) {
        client.ok(&format!("free {block}"));
    }
    client.values("info");
    assert!(judge.held(client.pid()) <= vendor.context + SLACK);
    assert!(machine.used("a") <= vendor.context + SLACK);
}

pub fn a_refusal_changes_nothing(vendor: &'static Vendor) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let block = client.ok(&format!("alloc {}", 512 * MIB));
    let before = (
        client.values("info"),
        judge.held(client.pid()),
        machine.used("a"),
    );
    for bytes in [QUOTA, QUOTA + 1, 8 * QUOTA, 1 << 46] {
        client.refused(vendor, &format!("alloc {bytes}"));
    }
    let after = (
        client.values("info"),
        judge.held(client.pid()),
        machine.used("a"),
    );
    assert_eq!(before, after);
    client.ok(&format!("free {block}"));
    client.ok(&format!("alloc {}", 768 * MIB));
}

pub fn host_memory_is_free(vendor: &'static Vendor) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let before = machine.used("a");
    let block = client.ok(&format!("host {}", 2 * QUOTA));
    assert_eq!(machine.used("a"), before);
    client.ok(&format!("nohost {block}"));
}

pub fn without_limits_nothing_changes(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let native = machine.free().values("info");
    let mut client = machine.governed(&[]);
    client.ok("open 0");
    assert_eq!(client.values("info"), native);
    client.ok(&format!("alloc {}", 2 * QUOTA));
    assert!(!machine.path().join("state/tenants").exists());
}

pub fn pools_are_held_to_the_quota(vendor: &'static Vendor) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let taken = client.fill(vendor, &format!("async {BLOCK}"));
    let held = judge.held(client.pid());
    assert!(
        held <= QUOTA && held + BLOCK + SLACK > QUOTA,
        "{held} of {QUOTA}"
    );
    client.refused(vendor, &format!("alloc {}", 256 * MIB));
    for block in taken {
        client.ok(&format!("freeasync {block}"));
    }
    client.ok("sync");
    // The memory that the pool has released is available to all.
    client.ok(&format!("alloc {}", 768 * MIB));
    assert!(judge.held(client.pid()) <= QUOTA);
}

pub fn physical_memory_counts_until_its_last_use(vendor: &'static Vendor) {
    fill_twice(vendor, &format!("physical {BLOCK}"), |client, handle| {
        client.ok(&format!("nophysical {handle}"));
    });
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let before = machine.used("a");
    let handle = client.ok(&format!("physical {}", 512 * MIB));
    let address = client.ok(&format!("map {handle} {}", 512 * MIB));
    client.ok(&format!("fill {address} 4096"));
    client.ok(&format!("nophysical {handle}"));
    // Its handle is gone, its mapping is not.
    assert_eq!(machine.used("a"), before + 512 * MIB);
    client.refused(vendor, &format!("alloc {}", 768 * MIB));
    client.ok(&format!("unmap {address} {}", 512 * MIB));
    assert_eq!(machine.used("a"), before);
    client.ok(&format!("alloc {}", 768 * MIB));
}

pub fn managed_memory_counts_in_full(vendor: &'static Vendor) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let before = machine.used("a");
    let block = client.ok(&format!("managed {}", 512 * MIB));
    assert_eq!(machine.used("a"), before + 512 * MIB);
    client.refused(vendor, &format!("managed {}", 512 * MIB));
    client.ok(&format!("free {block}"));
    assert_eq!(machine.used("a"), before);
}

pub fn pitch_and_arrays_count_with_their_padding(vendor: &'static Vendor) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    // One byte more than a row that needs no padding.
    let pitched = client.values("pitch 1048577 256");
    assert!(pitched[1] > 1_048_577);
    client.ok("array 4097 4097");
    let held = judge.held(client.pid());
    let used = machine.used("a");
    assert!(used >= held, "the driver gave {held}, {used} are charged");
    assert!(
        used <= held + SLACK,
        "the driver gave {held}, {used} are charged"
    );
    client.refused(vendor, "pitch 1048577 1024");
    client.refused(vendor, "array 16384 16384");
    client.ok(&format!("free {}", pitched[0]));
    fill_twice(vendor, "array 2048 2048", |client, array| {
        client.ok(&format!("noarray {array}"));
    });
}

pub fn arrays_fill_the_quota(vendor: &'static Vendor) {
    fill_twice(vendor, "array 2048 2048", |client, array| {
        client.ok(&format!("noarray {array}"));
    });
}

pub fn variables_of_code_count(vendor: &'static Vendor) {
    let Some((machine, mut client)) = governed(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    let code = client.ok(&format!("module {}", 512 * MIB));
    client.refused(vendor, &format!("module {}", 512 * MIB));
    client.refused(vendor, &format!("alloc {}", 512 * MIB));
    assert!(judge.held(client.pid()) <= QUOTA);
    client.ok(&format!("nomodule {code}"));
    client.ok(&format!("alloc {}", 512 * MIB));
}
