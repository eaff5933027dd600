//! A program that manages a device itself, as a member of a tenant: `fcsp limit`, `pause` and
//! `resume` reach it without a preload library.

use fcsp_core::classify::Class;
use fcsp_core::config::{Config, Quota};
use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::limiter::{Admission, Work};
use fcsp_core::membership::Membership;
use fcsp_core::memory::MemoryTracker;
use fcsp_core::share::cost::kernel_key;
use fcsp_core::share::params::Params;
use fcsp_core::state::StateDir;
use fcsp_core::tenant::Tenant;

use crate::Machine;

const GIB: u64 = 1 << 30;

#[test]
fn limits_and_pauses_reach_a_program_that_manages_a_device_itself() {
    let machine = Machine::new();
    let config = Config::builder()
        .tenant("server")
        .unwrap()
        .memory(Quota::Bytes(GIB))
        .build();
    let tenant = Tenant::join(&StateDir::at(machine.path().join("state")), &config).unwrap();
    let device = DeviceIdentity {
        index: Some(0),
        uuid: DeviceUuid([7; 16]),
        pci: None,
    };
    let member = Membership::join(tenant, &device, 80 * GIB).unwrap();
    let governor = member.governor().unwrap();
    let work = Work {
        key: kernel_key(0x7000, 64),
        blocks: 64,
        class: Class::Gemm,
    };
    let goes = || {
        let admission = governor.admit(&work);
        // The device does it at once.
        governor.passed(governor.position());
        matches!(admission, Admission::Go { .. })
    };

    member.reserve(GIB).unwrap();
    assert!(member.reserve(GIB).is_err());
    machine.json(&["limit", "server", "--memory", "2GiB", "--json"], 0);
    member.reserve(GIB).unwrap();
    assert_eq!(member.usage().limit, 2 * GIB);

    assert!(goes());
    machine.json(&["pause", "server", "--json"], 0);
    assert!(!goes(), "paused");
    machine.json(&["resume", "server", "--json"], 0);
    assert!(goes(), "resumed");
    let strict = ["limit", "server", "--compute", "25%", "--mode", "strict"];
    machine.json(&[&strict[..], &["--json"]].concat(), 0);
    assert!(goes());
    assert_eq!(governor.params(), Params::strict(250_000));
}
