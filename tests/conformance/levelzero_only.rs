//! Tests of Level Zero's own features: a loader between programs and drivers, and contexts that the
//! program destroys.

use crate::compute::{learned, near};
use crate::machine::{Client, Machine, wait_for};
use crate::vendors::{GIB, MIB, Vendor};

/// The library as a driver: what the loader is told instead of a preload.
const AS_A_DRIVER: [(&str, &str); 2] = [
    ("ZE_ENABLE_ALT_DRIVERS", "{preload}"),
    ("FCSP_LEVELZERO_DRIVER", "{sim}/libze_fcsp_sim.so.1"),
];

/// Checks the quota of a process: opens its device, fills it, and judges from outside.
fn holds_the_quota(vendor: &Vendor, machine: &Machine, client: &mut Client, quota: u64) {
    client.ok("open 0");
    assert_eq!(client.values("info")[1], quota);
    assert_eq!(client.ok("total 0"), quota);
    let taken = client.fill(vendor, &format!("alloc {}", 16 * MIB));
    let held = machine.judge().held(client.pid());
    assert!(
        held <= quota && held + 64 * MIB > quota,
        "{held} of {quota}"
    );
    for block in taken {
        client.ok(&format!("fill {block} 4096"));
        client.ok(&format!("free {block}"));
    }
    client.ok("spin 1000");
    client.ok("sync");
}

pub fn the_library_is_a_driver_to_the_loader(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let quota = 512 * MIB;
    let text = quota.to_string();
    // By every route to the loader's functions. The tables that it returns are the tables that it
    // got from the library.
    for route in vendor.routes {
        let tenant = [("FCSP_TENANT", *route), ("FCSP_MEMORY_LIMIT", &text)];
        let mut client = machine.otherwise(&[&AS_A_DRIVER[..], &tenant].concat());
        client.ok(&format!("route {route}"));
        holds_the_quota(vendor, &machine, &mut client, quota);
    }
    // Without limits it is the driver that it stands for.
    let native = machine.free().values("info");
    let mut client = machine.otherwise(&AS_A_DRIVER);
    client.ok("open 0");
    assert_eq!(client.values("info")[1], native[1]);
    // Without a driver to stand for there is none.
    let mut client = machine.otherwise(&[
        AS_A_DRIVER[0],
        ("FCSP_LEVELZERO_DRIVER", "{sim}/there-is-none.so.1"),
    ]);
    assert_ne!(client.code("open 0"), 0);
}

pub fn the_library_as_a_driver_keeps_shares(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let settings = [
        ("FCSP_TENANT", "strict"),
        ("FCSP_COMPUTE_LIMIT", "25%"),
        ("FCSP_MODE", "strict"),
    ];
    let free = learned(&machine.busy("free", &[], false));
    let client = machine.otherwise(&[&AS_A_DRIVER[..], &settings].concat());
    let strict = learned(&machine.keep_busy(client, "strict", false));
    near("strict of free", strict / free, 0.25);
}

/// Checks a loader that wraps every handle in one of its own, as with several drivers or on
/// request.
pub fn the_loaders_own_handles_are_governed(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let quota = 512 * MIB;
    let text = quota.to_string();
    let wrapped = ("ZE_ENABLE_LOADER_INTERCEPT", "1");
    let tenant = [
        ("FCSP_TENANT", "a"),
        ("FCSP_MEMORY_LIMIT", text.as_str()),
        wrapped,
    ];
    for route in vendor.routes {
        let mut client = machine.governed(&tenant);
        client.ok(&format!("route {route}"));
        holds_the_quota(vendor, &machine, &mut client, quota);
    }
    let mut client = machine.otherwise(&[&AS_A_DRIVER[..], &tenant].concat());
    holds_the_quota(vendor, &machine, &mut client, quota);
}

/// Checks that a library that is both preloaded and named as a driver is refused: it would call
/// itself.
pub fn a_library_on_both_sides_of_the_loader_is_refused(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let both = [
        &AS_A_DRIVER[..],
        &[("LD_PRELOAD", "{preload}"), ("FCSP_TENANT", "a")],
    ]
    .concat();
    let mut client = machine.otherwise(&both);
    // No device is available, and the program survives to hear it.
    assert_ne!(client.code("open 0"), 0);
    assert_ne!(client.code("open 0"), 0);
}

pub fn a_context_that_goes_gives_everything_back(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    let mut judge = machine.judge();
    let empty = machine.used("a");
    for _ in 0..3 {
        client.ok(&format!("alloc {}", 512 * MIB));
        client.ok(&format!("managed {}", 64 * MIB));
        client.ok("array 1024 1024");
        let physical = client.ok(&format!("physical {}", 64 * MIB));
        client.ok(&format!("map {physical} {}", 64 * MIB));
        client.refused(vendor, &format!("alloc {}", 512 * MIB));
        // All of it goes with the context.
        client.ok("close 0");
        client.ok("open 0");
        assert!(machine.used("a") >= judge.held(client.pid()));
        assert_eq!(machine.used("a"), empty);
    }
}

pub fn only_the_first_use_of_a_device_needs_room_for_a_context(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut judge = machine.judge();
    // No room for a context: nothing of the device is touched.
    let mut small = machine.governed(&[("FCSP_TENANT", "small"), ("FCSP_MEMORY_LIMIT", "32MiB")]);
    small.refused(vendor, "open 0");
    assert_eq!(judge.held(small.pid()), 0);
    assert_eq!(machine.used("small"), 0);
    // A context is in: every byte that is left can be had.
    let mut full = machine.open("full", vendor.context + 32 * MIB);
    full.ok(&format!("alloc {}", 32 * MIB));
    full.refused(vendor, "alloc 1");
    assert_eq!(judge.held(full.pid()), vendor.context + 32 * MIB);
}

pub fn devices_have_quotas_of_their_own(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.governed(&[
        ("FCSP_SIM", "pvcx2,memory=8GiB,context=64MiB"),
        ("FCSP_TENANT", "a"),
        ("FCSP_MEMORY_LIMIT", "0=512MiB,1=1GiB"),
    ]);
    client.ok("open 1");
    assert_eq!(client.ok("total 0"), 512 * MIB);
    assert_eq!(client.ok("total 1"), GIB);
    assert_eq!(client.values("smi 0"), [0, 512 * MIB]);
    client.ok(&format!("alloc {}", 768 * MIB));
    client.refused(vendor, &format!("alloc {}", 512 * MIB));
    // The other device is another's affair, and has the room that it had.
    assert_eq!(client.values("smi 0"), [0, 512 * MIB]);
    client.ok("close 1");
    client.ok("open 0");
    client.refused(vendor, &format!("alloc {}", 768 * MIB));
    client.ok(&format!("alloc {}", 256 * MIB));
}

/// Checks that a process that dies between the driver's work and the library's record of it leaves
/// nothing behind.
pub fn deaths_inside_a_call_leave_nothing_behind(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut survivor = machine.open("a", GIB);
    let alone = machine.used("a");
    let room = survivor.fill(vendor, &format!("alloc {}", 16 * MIB));
    for block in &room {
        survivor.ok(&format!("free {block}"));
    }
    let quota = GIB.to_string();
    for fault in [
        "zeMemAllocDevice!kill@3",
        "zeMemAllocDevice!killafter@3",
        "zeMemFree!kill@2",
        "zeMemFree!killafter@2",
        "zeMemAllocShared!killafter@1",
        "zeImageCreate!killafter@1",
        "zePhysicalMemCreate!killafter@1",
        "zeVirtualMemUnmap!killafter@1",
        "zeCommandListCreateImmediate!killafter@1",
        "zeContextDestroy!killafter@1",
    ] {
        let mut victim = machine.governed(&[
            ("FCSP_TENANT", "a"),
            ("FCSP_MEMORY_LIMIT", &quota),
            ("FCSP_SIM_FAULTS", fault),
        ]);
        let words = [
            "open 0",
            "alloc 33554432",
            "free {}",
            "alloc 100",
            "free {}",
            "alloc 100",
            "managed 33554432",
            "array 512 512",
            "physical 33554432",
            "map {} 33554432",
            "unmap {} 33554432",
            "close 0",
        ];
        let mut last = 0;
        let died = words.iter().any(|word| {
            let answer = victim.survives(&word.replace("{}", &last.to_string()));
            if let Some((code, values)) = &answer {
                assert_eq!(*code, 0, "{fault}: {word}");
                last = values.first().copied().unwrap_or(last);
            }
            answer.is_none()
        });
        assert!(died, "{fault} never came");
        assert_eq!(machine.used("a"), alone, "{fault}");
        // Dead processes are searched for before a refusal, but not before every one.
        wait_for(fault, || {
            let again = survivor.fill(vendor, &format!("alloc {}", 16 * MIB));
            for block in &again {
                survivor.ok(&format!("free {block}"));
            }
            again.len() == room.len()
        });
    }
}

/// Limits that were asked for and cannot be kept leave no device, whichever way it is looked for.
pub fn limits_that_cannot_be_kept_leave_no_device(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    for route in vendor.routes {
        let mut client = machine.governed(&[
            ("FCSP_TENANT", "a"),
            ("FCSP_MEMORY_LIMIT", "as much as it likes"),
        ]);
        client.ok(&format!("route {route}"));
        assert_ne!(client.code("open 0"), 0, "{route}");
    }
}
