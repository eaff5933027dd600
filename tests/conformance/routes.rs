//! However a program finds a function, it finds ours.

use crate::machine::Machine;
use crate::vendors::{MIB, Vendor};

pub fn every_route_is_governed(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let quota = vendor.context + 64 * MIB;
    for route in vendor.routes {
        let mut client = machine.governed(&[
            ("FCSP_TENANT", *route),
            ("FCSP_MEMORY_LIMIT", &quota.to_string()),
        ]);
        client.ok(&format!("route {route}"));
        client.ok("open 0");
        let block = client.ok(&format!("alloc {}", 32 * MIB));
        client.refused(vendor, &format!("alloc {}", 48 * MIB));
        assert_eq!(client.values("info")[1], quota, "{route}");
        client.ok(&format!("free {block}"));
        let block = client.ok(&format!("alloc {}", 48 * MIB));
        client.ok(&format!("free {block}"));
    }
}
