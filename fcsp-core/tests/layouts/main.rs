//! Files of builds before layout versions, in both directions: this build uses what they wrote, and
//! they could use what this build writes.

mod before;

use std::path::{Path, PathBuf};

use fcsp_core::boot;
use fcsp_core::config::Quota;
use fcsp_core::control::{Control, Limits, Pauser, RunState, Stage};
use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector};
use fcsp_core::file::SetupLock;
use fcsp_core::region::{Attachment, RegionSnapshot};
use fcsp_core::share::files::{self, OwnPage};
use fcsp_core::share::params::Params;
use fcsp_core::state::{SetupGuard, StateDir};

/// Offset of the boot's number in a region, in bytes.
const REGION_BOOT: usize = 208;
/// Offset of the boot's number in a claim page, in bytes.
const CLAIM_BOOT: usize = 48;

/// Returns the device of the fixtures.
fn uuid() -> DeviceUuid {
    "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778".parse().unwrap()
}

fn old_limits() -> Limits {
    let mut limits = Limits {
        run_state: RunState::user(true),
        ..Limits::default()
    };
    limits.memory.set(Selector::All, Quota::Bytes(1 << 30));
    limits
        .memory
        .set(Selector::Uuid(uuid()), Quota::Share(500_000));
    limits.compute.set(Selector::All, Params::strict(250_000));
    limits
}

fn control_of(dir: &Path) -> PathBuf {
    dir.join("control")
}

#[test]
fn a_control_page_of_before_is_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = control_of(dir.path());
    std::fs::write(&path, before::control()).unwrap();
    assert!(before::read_control(&before::control()).unwrap().paused);
    let page = Control::open(dir.path()).unwrap().unwrap();
    assert_eq!(page.layout_version().unwrap(), 0);
    assert_eq!(page.read().unwrap().unwrap(), (4, old_limits()));
    let member = Control::open_as_member(dir.path()).unwrap();
    assert_eq!(member.read().unwrap().1, old_limits());

    // Rewritten by this build, it is the same page to a library of before.
    let rules = before::read_control(&std::fs::read(&path).unwrap()).unwrap();
    let setup = SetupGuard::acquire(dir.path()).unwrap();
    Control::create(&setup)
        .unwrap()
        .write(&old_limits())
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(before::read_control(&bytes), Some(rules));
    assert_ne!(page.layout_version().unwrap(), 0);
}

#[test]
fn a_command_of_before_writes_a_page_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let path = control_of(dir.path());
    let setup = SetupGuard::acquire(dir.path()).unwrap();
    let page = Control::create(&setup).unwrap();
    page.write(&old_limits()).unwrap();
    assert_ne!(page.layout_version().unwrap(), 0);
    let member = Control::open_as_member(dir.path()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let resumed = before::Control {
        paused: false,
        ..before::read_control(&bytes).unwrap()
    };
    before::write_control(&mut bytes, &resumed);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(page.layout_version().unwrap(), 0);
    let expected = Limits {
        run_state: RunState::default(),
        ..old_limits()
    };
    assert_eq!(member.read().unwrap().1, expected);
    assert_eq!(page.read().unwrap().unwrap().1, expected);
}

#[test]
fn any_pause_of_now_is_a_pause_to_a_library_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = control_of(dir.path());
    let setup = SetupGuard::acquire(dir.path()).unwrap();
    let page = Control::create(&setup).unwrap();
    let by_agent = RunState::default().paused_by(Pauser::Agent);
    let states = [
        by_agent,
        by_agent.paused_by(Pauser::User),
        by_agent.at_stage(Stage::Draining).unwrap(),
        by_agent.at_stage(Stage::Checkpointed).unwrap(),
    ];
    for run_state in states {
        let limits = Limits {
            run_state,
            ..old_limits()
        };
        page.write(&limits).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(before::read_control(&bytes).unwrap().paused);
        assert_eq!(page.read().unwrap().unwrap().1, limits);
    }
    page.write(&Limits::default()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(!before::read_control(&bytes).unwrap().paused);
}

/// Checks that a pause has one beginning, whatever else changes during it.
#[test]
fn a_pause_begins_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = control_of(dir.path());
    let setup = SetupGuard::acquire(dir.path()).unwrap();
    let page = Control::create(&setup).unwrap();
    let write = |run_state| {
        page.write(&Limits {
            run_state,
            ..Limits::default()
        })
        .unwrap();
        (page.generation().unwrap(), page.paused_since().unwrap())
    };
    assert_eq!(write(RunState::default()).1, None);
    let user = RunState::user(true);
    let (began, since) = write(user);
    assert_eq!(since, Some(began));
    assert_eq!(write(user.paused_by(Pauser::Agent)).1, Some(began));
    assert_eq!(write(user).1, Some(began));
    assert_eq!(write(RunState::default()).1, None);
    let (again, since) = write(user);
    assert_eq!(since, Some(again));
    // A command of before leaves no beginning: the pause counts from its last change.
    let mut bytes = std::fs::read(&path).unwrap();
    let contents = before::read_control(&bytes).unwrap();
    before::write_control(&mut bytes, &contents);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(
        page.paused_since().unwrap(),
        Some(page.generation().unwrap())
    );
}

fn device() -> DeviceIdentity {
    DeviceIdentity {
        index: Some(0),
        uuid: uuid(),
        pci: None,
    }
}

fn attach(dir: &Path) -> Attachment {
    let setup = SetupLock::acquire(&dir.join("setup.lock")).unwrap();
    Attachment::open(&dir.join("t.region"), &device(), 1 << 30, 1 << 29, &setup).unwrap()
}

#[test]
fn a_region_of_before_is_read_and_joined() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.region");
    let mut bytes = before::region();
    before::put(&mut bytes, REGION_BOOT, boot::id());
    std::fs::write(&path, &bytes).unwrap();
    let process = &RegionSnapshot::read(&path).unwrap().processes[0];
    assert_eq!(
        (process.name.as_str(), process.reserved_bytes, process.alive),
        ("spin", 0x10_3000 * 512, false)
    );
    assert_eq!(
        (
            process.layout_version,
            process.pid_namespace,
            process.cgroup
        ),
        (0, 0, 0)
    );
    let place = attach(dir.path());
    let seen = RegionSnapshot::read(&path).unwrap();
    assert_eq!(seen.total_bytes, before::word(&bytes, 144), "not made anew");
    assert_eq!((seen.processes.len(), seen.reaped), (1, 1));
    let process = &seen.processes[0];
    assert!(process.alive && process.layout_version > 0);
    drop(place);
    assert!(before::accepts_region(&std::fs::read(&path).unwrap()));
}

#[test]
fn a_process_of_before_in_a_slot_of_now_is_described_by_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.region");
    drop(attach(dir.path()));
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(before::accepts_region(&bytes), "made by this build");
    before::adopt(&mut bytes, 7, 11);
    std::fs::write(&path, &bytes).unwrap();
    let process = &RegionSnapshot::read(&path).unwrap().processes[0];
    assert_eq!((process.pid, process.start_time), (7, 11));
    assert_eq!(
        (
            process.layout_version,
            process.pid_namespace,
            process.cgroup
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_slot_names_namespace_and_cgroup() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let _place = attach(dir.path());
    let seen = RegionSnapshot::read(&dir.path().join("t.region")).unwrap();
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    assert_eq!(seen.processes[0].pid_namespace, namespace);
    let cgroup = fcsp_core::process::container::cgroup();
    assert_eq!(seen.processes[0].cgroup, cgroup);
}

#[test]
fn claims_of_before_are_read_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let folder = files::folder(&state, &uuid());
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("t.page");
    let mut bytes = before::claims();
    before::put(&mut bytes, CLAIM_BOOT, boot::id());
    std::fs::write(&path, &bytes).unwrap();
    let seen = files::read(&state, &uuid(), "t").unwrap();
    assert_eq!(seen.view.guarantee, 250_000);
    assert_eq!(seen.counters.consumed, before::word(&bytes, 120));
    assert_eq!(files::apart(&state, &uuid(), "t"), None);

    let own = OwnPage::open(&state, &uuid(), "t").unwrap();
    own.page().attach(&Params::strict(250_000), 1).unwrap();
    assert_eq!(own.page().counters().consumed, seen.counters.consumed);
    let bytes = std::fs::read(&path).unwrap();
    assert!(before::accepts_claims(&bytes));
    assert_ne!(before::word(&bytes, 56), 0, "the version of this build");
}
