//! Shares of the device's time, in virtual time: a loaded host changes none of the figures.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::machine::{Busy, Machine, Work, wait_for};
use crate::vendors::Vendor;

/// Fails unless `value` is `expected`, to a twentieth of it.
#[track_caller]
pub fn near(what: &str, value: f64, expected: f64) {
    println!("{what}: {value:.3} of {expected:.3}");
    assert!(
        (value / expected - 1.0).abs() <= 0.05,
        "{what}: {value:.3} where {expected:.3} was expected"
    );
}

/// Returns the rate of a client after its first second, in which costs are learned.
pub fn learned(busy: &Busy) -> f64 {
    let _first = busy.rate();
    busy.rate()
}

pub fn strict_is_its_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let settings = [("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "strict")];
    let free = learned(&machine.busy("free", &[], false));
    near("free of the device", free, 1000.0);
    let strict = learned(&machine.busy("strict", &settings, false));
    near("strict of free", strict / free, 0.25);
    let share = machine.tenant("strict")["devices"][0]["compute"].clone();
    assert_eq!(share["guarantee"].as_f64(), Some(0.25), "{share}");
    assert!(
        share["waits"].as_u64().unwrap() > 0 && share["consumed_ns"].as_u64().unwrap() > 0,
        "{share}"
    );
}

pub fn neighbours_get_their_quotas(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let start = |who: &str, quota| machine.busy(who, &[("FCSP_COMPUTE_LIMIT", quota)], false);
    let (small, large) = (start("small", "25%"), start("large", "75%"));
    let _first = small.rate();
    let [few, many] = Busy::rates([&small, &large]);
    near("large of small", many / few, 3.0);
    drop(large);
    near("alone, of both before", small.rate() / (few + many), 1.0);
}

pub fn high_priority_goes_first(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let settings = [
        ("FCSP_COMPUTE_LIMIT", "50%"),
        ("FCSP_MODE", "adaptive"),
        ("FCSP_PRIORITY", "high"),
    ];
    let high = machine.busy("high", &settings, false);
    let low = machine.busy(
        "low",
        &[("FCSP_COMPUTE_LIMIT", "50%"), ("FCSP_PRIORITY", "low")],
        false,
    );
    let _first = high.rate();
    let [first, last] = Busy::rates([&high, &low]);
    println!("high {first:.0}, low {last:.0}");
    assert!(first > 1.5 * last, "high {first:.0}, low {last:.0}");
    assert!(last > 0.0, "the floor is kept");
}

/// Checks a tenant that has borrowed the whole device with short kernels when a saturating one of
/// high priority begins: it keeps its floor, early and late.
pub fn a_floor_is_kept_beside_high_priority(vendor: &'static Vendor) {
    const KERNEL_NS: u64 = 100_000;
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let settings = [("FCSP_COMPUTE_LIMIT", "50%"), ("FCSP_FLOOR", "20%")];
    let low = machine.busy_for("low", &settings, KERNEL_NS);
    let second = Duration::from_secs(1);
    machine.world().advance(3 * second);
    let settings = [("FCSP_COMPUTE_LIMIT", "50%"), ("FCSP_PRIORITY", "high")];
    let _high = machine.busy("high", &settings, false);
    machine.world().advance(second / 10);
    for (when, time) in [("early", second / 2), ("late", 2 * second)] {
        let before = low.done();
        machine.world().advance(time);
        let had = Duration::from_nanos((low.done() - before) * KERNEL_NS);
        let share = had.as_secs_f64() / time.as_secs_f64();
        println!("{}: {share:.3} {when}", vendor.name);
        assert!((share - 0.20).abs() <= 0.02, "{share:.3} {when}");
    }
}

/// Checks that work whose cost is hard to learn gets its strict share of each second after the
/// first, and is not starved.
pub fn work_that_is_hard_to_learn_has_its_share(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let (quota, points) = (0.20, 0.02);
    for (tenant, work, granule) in [("varies", Work::Varies, 0.005), ("anew", Work::Anew, 0.001)] {
        let settings = [("FCSP_COMPUTE_LIMIT", "20%"), ("FCSP_MODE", "strict")];
        let client = machine.owed(tenant, &settings, work);
        machine.wait_for("the first of it", || client.done() > 0);
        let _first = client.rate();
        let had: Vec<f64> = (0..4).map(|_| client.rate() / 1e9).collect();
        println!("{} {tenant}: {had:.3?}", vendor.name);
        for part in &had {
            assert!(
                *part <= quota + points + granule,
                "{tenant}: {had:.3?} of {quota}"
            );
        }
        let mean = had.iter().sum::<f64>() / had.len() as f64;
        assert!(mean >= 0.95 * quota, "{tenant}: {had:.3?} of {quota}");
    }
}

/// Checks that work which is charged too little, and is never waited for, takes no guarantee from a
/// neighbour that waits for each of its steps. The neighbour had .13 to .19 of the device when it
/// did. A loaded host keeps the neighbour from its steps, too, so that the bound is a part of what
/// it has alone.
pub fn work_that_is_charged_too_little_takes_no_guarantee(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let victim = machine.owed("victim", &[("FCSP_COMPUTE_LIMIT", "50%")], Work::Steps);
    wait_for("the first step", || victim.done() > 0);
    let of =
        |seconds: u32| (0..seconds).map(|_| victim.rate() / 1e9).sum::<f64>() / f64::from(seconds);
    let before = of(2);
    let limit = [("FCSP_COMPUTE_LIMIT", "10%")];
    let borrower = machine.owed("borrower", &limit, Work::VariesAhead);
    wait_for("the first of it", || borrower.done() > 0);
    let _first = victim.rate();
    let beside = of(4);
    drop(borrower);
    let after = of(2);
    println!("{}: {before:.3}, {beside:.3}, {after:.3}", vendor.name);
    assert!(
        beside >= 0.42 * before.min(after),
        "{beside:.3} beside it, alone {before:.3} and {after:.3}"
    );
}

/// Checks that a name lifts no share: kernels named as collectives, in a process that is no rank,
/// are charged and throttled.
pub fn kernels_named_as_collectives_are_held_to_the_share(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let mut client = machine.governed(&[
        ("FCSP_TENANT", "ranks"),
        // So little that a host of any speed asks for more.
        ("FCSP_COMPUTE_LIMIT", "0.1%"),
        ("FCSP_MODE", "strict"),
    ]);
    client.ok("open 0");
    let mut share = serde_json::Value::Null;
    // A bucket holds 10 ms at first. Kernels of 2 us spend that in some twenty rounds.
    for _ in 0..80 {
        for _ in 0..250 {
            client.ok(&format!("kernel {} 0", vendor.collective));
        }
        client.ok("sync");
        share = machine.tenant("ranks")["devices"][0]["compute"].clone();
        if share["waits"].as_u64() > Some(0) {
            break;
        }
    }
    assert!(share["mix"]["collective"].as_f64() > Some(0.9), "{share}");
    assert!(share["consumed_ns"].as_u64() > Some(100_000), "{share}");
    assert!(share["waits"].as_u64() > Some(0), "{share}");
}

/// Offsets of words of a claim page, in bytes.
const PROMISE: u64 = 16;
const FINISH_AT: u64 = 80;
const BLOCKED_SINCE: u64 = 88;
const WAITING_AT: u64 = 104;
const SEEN: u64 = 112;

/// Returns the page of a tenant, once it is written.
fn page_of(machine: &Machine, tenant: &str) -> PathBuf {
    let devices = machine.path().join("state/devices");
    let mut found = None;
    wait_for("a page", || {
        found = std::fs::read_dir(&devices)
            .into_iter()
            .flatten()
            .flatten()
            .map(|device| device.path().join(format!("{tenant}.page")))
            .find(|page| std::fs::metadata(page).is_ok_and(|meta| meta.len() >= 4096));
        found.is_some()
    });
    found.unwrap()
}

/// Checks a page without a tenant that always claims high priority, to be device-bound and to wait.
pub fn a_written_page_takes_no_guarantee(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let victim = machine.busy("victim", &[("FCSP_COMPUTE_LIMIT", "50%")], false);
    let free = learned(&victim);
    let page = page_of(&machine, "victim");
    let liar = page.with_file_name("liar.page");
    std::fs::copy(page, &liar).unwrap();
    let file = std::fs::File::options().write(true).open(&liar).unwrap();
    let put = |at: u64, value: u64| file.write_all_at(&value.to_le_bytes(), at).unwrap();
    // The whole device, high, balanced.
    put(PROMISE, 1_000_000 | 1_000_000 << 20 | 2 << 40 | 2 << 44);
    let mut had = [0.0; 2];
    for second in &mut had {
        let before = victim.done();
        // 2,500 lies a second.
        for _ in 0..2_500 {
            let now = machine.world().now();
            put(BLOCKED_SINCE, now);
            put(FINISH_AT, now + 500_000_000);
            put(WAITING_AT, now);
            put(SEEN, now);
            machine.world().advance(Duration::from_micros(400));
        }
        *second = (victim.done() - before) as f64 / free;
    }
    println!("{}: {had:.3?} beside a page that lies", vendor.name);
    // A guarantee of half, less the margin of a liar.
    assert!(had[1] >= 0.42, "{had:.3?}");
}

/// Checks thousands of pages without locks, left by dead tenants.
pub fn pages_of_the_dead_cost_nothing(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let victim = machine.busy("victim", &[("FCSP_COMPUTE_LIMIT", "50%")], false);
    let free = learned(&victim);
    let page = page_of(&machine, "victim");
    let mut left = std::fs::read(&page).unwrap();
    let long_ago = machine.world().now() - 60_000_000_000;
    left[SEEN as usize..SEEN as usize + 8].copy_from_slice(&long_ago.to_le_bytes());
    for number in 0..5_000 {
        std::fs::write(page.with_file_name(format!("tree-{number}.page")), &left).unwrap();
    }
    near("beside pages of the dead", victim.rate() / free, 1.0);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", victim.pid())).unwrap();
    let mapped = maps.lines().filter(|line| line.contains("/tree-")).count();
    assert_eq!(mapped, 0, "pages of the dead are mapped");
}

/// Checks that a page of another version, or noise, in place of a tenant's own does not end its
/// share.
pub fn a_page_of_another_version_turns_no_share_off(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let settings = [("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "strict")];
    let free = learned(&machine.busy("free", &[], false));
    drop(machine.busy("strict", &settings, false));
    let page = page_of(&machine, "strict");
    for noise in [0xa5, 0x02] {
        let mut bytes = std::fs::read(&page).unwrap();
        bytes[..8].fill(noise);
        std::fs::write(&page, bytes).unwrap();
        let strict = machine.busy("strict", &settings, false);
        near("strict of free", learned(&strict) / free, 0.25);
    }
}
