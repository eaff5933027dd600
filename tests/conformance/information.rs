//! Tests of the information that a tenant gets about its device.

use crate::machine::Machine;
use crate::vendors::{GIB, MIB, Vendor};

pub fn the_quota_is_the_device(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    assert_eq!(client.values("info")[1], GIB);
    assert_eq!(client.ok("total 0"), GIB);
    let smi = client.values("smi 0");
    assert_eq!(smi[1], GIB, "the management library's total");
    assert!(smi[0] <= GIB, "{} used of {GIB}", smi[0]);
    client.exit();
    // A quota above the device is the device.
    let real = machine.free().ok("total 0");
    let mut whole = machine.open("b", 1 << 44);
    assert_eq!(whole.ok("total 0"), real);
    assert_eq!(whole.values("info")[1], real);
}

pub fn free_memory_falls_by_what_is_taken(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    let empty = client.values("info")[0];
    assert!(
        empty <= GIB - vendor.context,
        "the context counts: {empty} are free"
    );
    let used = client.values("smi 0")[0];
    let block = client.ok(&format!("alloc {}", 256 * MIB));
    assert_eq!(client.values("info")[0], empty - 256 * MIB);
    assert_eq!(client.values("smi 0")[0], used + 256 * MIB);
    client.ok(&format!("free {block}"));
    assert_eq!(client.values("info")[0], empty);
}

/// Checks that no more available memory is reported than the device has.
pub fn no_more_is_promised_than_the_device_has(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut client = machine.open("a", GIB);
    let mut other = machine.free();
    let device = other.values("info")[0];
    other.ok(&format!(
        "alloc {}",
        (device - 512 * MIB) / (2 * MIB) * (2 * MIB)
    ));
    assert!(client.values("info")[0] <= 512 * MIB + 2 * MIB);
}

pub fn each_tenant_sees_its_own_processes(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let (mut a, mut a2, mut b) = (
        machine.open("a", GIB),
        machine.open("a", GIB),
        machine.open("b", GIB),
    );
    let seen = |client: &mut crate::machine::Client| {
        let words = client.values("processes 0");
        let mut pids: Vec<u32> = words.chunks_exact(2).map(|pair| pair[0] as u32).collect();
        pids.sort_unstable();
        pids
    };
    let mut own = vec![a.pid(), a2.pid()];
    own.sort_unstable();
    assert_eq!(seen(&mut a), own);
    assert_eq!(seen(&mut a2), own);
    assert_eq!(seen(&mut b), [b.pid()]);
    assert_eq!(machine.judge().processes().len(), 3);
}

/// `fcsp devices` asks the vendor's own driver, and finds the tenant by the identity that its files
/// go by.
pub fn its_devices_are_listed(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    // Before: a card may belong to one process at a time.
    let mut alone = machine.free();
    let real = alone.ok("total 0");
    alone.exit();
    let client = machine.open("a", GIB);
    let output = machine.fcsp(&["devices", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let devices = report["devices"].as_array().unwrap();
    let ours: Vec<_> = devices
        .iter()
        .filter(|device| device["vendor"] == vendor.name)
        .collect();
    assert_eq!(
        ours.len(),
        devices.len(),
        "no device of unknown origin: {report:#}"
    );
    let first = ours[0];
    assert_eq!(first["number"].as_u64(), Some(0), "{report:#}");
    // A management library counts what the driver keeps for itself, too.
    let total = first["total_bytes"].as_u64().unwrap();
    assert!(
        total >= real && total < real + GIB,
        "{total} of {real}: {report:#}"
    );
    assert_eq!(first["promised_bytes"].as_u64(), Some(GIB), "{report:#}");
    assert_eq!(first["tenants"][0]["name"], "a");
    assert!(first["tenants"][0]["used_bytes"].as_u64().unwrap() >= vendor.context);
    assert!(
        first["used_bytes"]
            .as_u64()
            .is_none_or(|used| used >= vendor.context),
        "{report:#}"
    );
    client.exit();
}
