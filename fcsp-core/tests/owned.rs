//! A tenant whose folder belongs to the node agent, as its processes find it: they are another
//! user's. Only root can make such a tenant.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use fcsp_core::config::{Config, Quota};
use fcsp_core::control::{Control, Limits};
use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector};
use fcsp_core::membership::Membership;
use fcsp_core::memory::MemoryTracker;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::share::params::Params;
use fcsp_core::state::{SetupGuard, StateDir, layout};
use fcsp_core::tenant::Tenant;

const USER: u32 = 4242;
const GROUP: u32 = 4343;
const QUOTA: u64 = 1 << 20;
/// Names the state folder to the test that runs as the tenant.
const STATE: &str = "FCSP_TEST_OWNED_STATE";

fn device() -> DeviceIdentity {
    DeviceIdentity {
        index: Some(0),
        uuid: DeviceUuid([9; 16]),
        pci: None,
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.memory.set(Selector::All, Quota::Bytes(QUOTA));
    limits
}

/// Runs a test of this file as this user and group. Returns true if it passed.
fn passes_as(program: &Path, state: &StateDir, user: u32, group: u32) -> bool {
    let output = Command::new(program)
        .args(["--ignored", "--exact", "as_the_tenant", "--nocapture"])
        .env(STATE, state.path())
        .current_dir("/")
        .uid(user)
        .gid(group)
        .output()
        .expect("this program runs");
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

#[test]
fn a_tenant_of_the_agents_keeps_its_limits() {
    if std::fs::metadata("/proc/self").is_ok_and(|meta| {
        use std::os::unix::fs::MetadataExt;
        meta.uid() != 0
    }) {
        println!("SKIPPED: only root makes a tenant of another user's");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();

    let state = StateDir::at(dir.path().join("s"));
    // Twice: an agent that starts again completes what is there.
    for _ in 0..2 {
        let setup = state
            .provide_owned("t", GROUP, &[(device(), 1 << 30)])
            .unwrap();
        Control::create(&setup).unwrap().write(&limits()).unwrap();
    }
    assert!(passes_as(&program, &state, USER, GROUP));
    let path = state.tenant("t").join(layout::region(&device().uuid));
    let region = RegionSnapshot::read(&path).unwrap();
    assert_eq!((region.refused, region.limit_bytes), (1, Some(QUOTA)));
    let page = Control::open(&state.tenant("t")).unwrap().unwrap();
    assert_eq!(page.read().unwrap().unwrap().1, limits());
    assert!(
        !passes_as(&program, &state, USER + 1, GROUP + 1),
        "a stranger is no member"
    );
    // A tenant of that name that another user made is not taken over.
    let folder = state.create_tenant("theirs").unwrap();
    std::os::unix::fs::chown(&folder, Some(USER), None).unwrap();
    let error = state.provide_owned("theirs", GROUP, &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
#[ignore = "run by the test above, as another user"]
fn as_the_tenant() {
    let Some(path) = std::env::var_os(STATE) else {
        return;
    };
    let state = StateDir::at(path);
    let config = Config::builder()
        .tenant("t")
        .unwrap()
        .memory(Quota::Bytes(1 << 40))
        .build();
    let tenant = Tenant::join(&state, &config).unwrap();
    let page = tenant.share_page(&device().uuid).unwrap();
    page.page().attach(&Params::balanced(500_000), 1).unwrap();
    let dir = tenant.dir().to_owned();
    let member = Membership::join(tenant, &device(), 1 << 30).unwrap();
    member.reserve(QUOTA).unwrap();
    assert!(member.reserve(1).is_err(), "the agent's limit");

    let denied = |what: &str, result: io::Result<()>| {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{what}");
    };
    let setup = SetupGuard::acquire(&dir).unwrap();
    let create = Control::create(&setup).and_then(|page| page.write(&Limits::default()));
    denied("its limits", create);
    denied("a file", std::fs::remove_file(dir.join(layout::CONTROL)));
    let aside = dir.with_file_name("aside");
    denied("its folder", std::fs::rename(&dir, aside));
    denied("a new file", std::fs::write(dir.join("new"), ""));
    denied(
        "the mode",
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777))
            .map_err(|_| io::ErrorKind::PermissionDenied.into()),
    );
}
