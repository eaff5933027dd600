//! Files of tenants put into force: by the library in a state folder, and by the agent itself.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fcsp_core::config::{Parameter, text};
use fcsp_core::control::RunState;
use fcsp_core::device::DeviceIdentity;
use fcsp_core::state::{SetupGuard, StateDir, layout};
use fcsp_node::tenants::{Applied, Declarations, reconcile};
use fcsp_tenancy::{Changes, DeviceOrder, Error, TenantSnapshot, VisibleDevice, edit_limits};

const UUID: &str = "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778";

/// A folder of files and a state folder.
struct Node {
    folder: tempfile::TempDir,
    declarations: Declarations,
    state: StateDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tenants = folder.path().join("tenants.d");
        std::fs::create_dir(&tenants).unwrap();
        let state = StateDir::at(folder.path().join("state"));
        let declarations = Declarations::of(tenants);
        Self {
            folder,
            declarations,
            state,
        }
    }

    fn put(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.declarations.folder().join(name);
        let new = self.declarations.folder().join("new");
        std::fs::write(&new, contents).unwrap();
        std::fs::set_permissions(&new, Permissions::from_mode(0o644)).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    fn round(&mut self) -> Vec<(String, Result<Applied, Error>)> {
        self.declarations.reload();
        reconcile(&self.state, &self.declarations, &[device()]).unwrap()
    }

    /// Does a round whose results must all be good.
    fn good(&mut self) -> Vec<(String, Applied)> {
        let outcomes = self.round().into_iter();
        outcomes
            .map(|(name, applied)| (name, applied.unwrap()))
            .collect()
    }

    fn memory(&self, tenant: &str) -> String {
        let tenant = TenantSnapshot::read(&self.state, tenant);
        text::memory(&tenant.limits.memory)
    }
}

/// Returns a device of 80 GiB.
fn device() -> VisibleDevice {
    VisibleDevice {
        identity: DeviceIdentity {
            index: Some(0),
            uuid: UUID.parse().unwrap(),
            pci: None,
        },
        label: "device 0".into(),
        total_bytes: 80 << 30,
    }
}

fn of(name: &str, applied: Applied) -> (String, Applied) {
    (name.to_owned(), applied)
}

#[test]
fn a_file_makes_changes_and_ends_a_tenant() {
    let mut node = Node::new();
    node.put(
        "a.toml",
        "[a]\nuser = \"1\"\nmemory = \"8GiB\"\ncompute = \"25%\"\n",
    );
    assert_eq!(node.good(), [of("a", Applied::Made)]);
    assert_eq!(node.memory("a"), "8 GiB");
    let tenant = TenantSnapshot::read(&node.state, "a");
    assert!(tenant.kept_by_agent() && !tenant.is_dead());
    assert_eq!(node.good(), [of("a", Applied::Unchanged)]);
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"0=4GiB\"\n");
    assert_eq!(node.good(), [of("a", Applied::Changed)]);
    assert_eq!(node.memory("a"), format!("{UUID}=4 GiB"));
    let tenant = TenantSnapshot::read(&node.state, "a");
    assert!(tenant.compute.is_empty());
    std::fs::remove_file(node.declarations.folder().join("a.toml")).unwrap();
    assert_eq!(node.good(), [of("a", Applied::Removed)]);
    assert!(node.state.tenants().unwrap().is_empty());
    assert_eq!(node.good(), []);
}

#[test]
fn a_file_restores_limits_and_leaves_a_pause() {
    let mut node = Node::new();
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"8GiB\"\n");
    node.good();
    let changes = Changes::new().with(Parameter::Memory, "memory", "70GiB");
    let setup = SetupGuard::acquire(&node.state.tenant("a")).unwrap();
    edit_limits(&setup, &node.state, |before| -> Result<_, Error> {
        let mut limits = changes.apply(before, &DeviceOrder::default())?;
        limits.run_state = RunState::user(true);
        Ok(limits)
    })
    .unwrap();
    drop(setup);
    assert_eq!(node.good(), [of("a", Applied::Changed)]);
    assert_eq!(node.memory("a"), "8 GiB");
    assert!(TenantSnapshot::read(&node.state, "a").paused);
}

#[test]
fn a_tenant_with_a_group_only_reads_its_limits() {
    let mut node = Node::new();
    // SAFETY: the calls take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let group = if uid == 0 { 54_321 } else { gid };
    let table =
        |memory: &str| format!("[a]\nuser = \"1\"\ngroup = \"{group}\"\nmemory = \"{memory}\"\n");
    node.put("a.toml", &table("8GiB"));
    assert_eq!(node.good(), [of("a", Applied::Made)]);
    assert_eq!(node.memory("a"), "8 GiB");
    assert_eq!(node.good(), [of("a", Applied::Unchanged)]);
    node.put("a.toml", &table("4GiB"));
    assert_eq!(node.good(), [of("a", Applied::Changed)]);
    let control = node.state.tenant("a").join(layout::CONTROL);
    let meta = std::fs::metadata(&control).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o777),
        (uid, group, 0o640)
    );
    // Only root can be another user.
    if uid == 0 {
        let passable = Permissions::from_mode(0o711);
        std::fs::set_permissions(node.folder.path(), passable).unwrap();
        let as_tenant = |command: &str| {
            Command::new("sh")
                .args(["-c", command, "sh"])
                .arg(&control)
                .uid(12_345)
                .gid(group)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        assert!(as_tenant("cat \"$1\""));
        assert!(!as_tenant(": >> \"$1\""));
        assert!(!as_tenant("rm -f \"$1\""));
        assert!(!as_tenant("mv \"$1\" \"$1\".old"));
    }
    assert_eq!(node.memory("a"), "4 GiB");
    std::fs::remove_file(node.declarations.folder().join("a.toml")).unwrap();
    assert_eq!(node.good(), [of("a", Applied::Removed)]);
}

#[test]
fn a_tenant_whose_programs_have_ended_stays() {
    let mut node = Node::new();
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"8GiB\"\n");
    node.good();
    // A program that `fcsp run` started: no process has this start time.
    let roots = node.state.tenant("a").join(layout::ROOTS);
    std::fs::write(&roots, "1 1\n").unwrap();
    assert!(TenantSnapshot::read(&node.state, "a").is_dead());
    assert_eq!(node.good(), [of("a", Applied::Unchanged)]);
    assert!(TenantSnapshot::read(&node.state, "a").kept_by_agent());
    // A program that runs stays recorded.
    let own = fcsp_core::process::myself();
    std::fs::write(&roots, format!("{} {}\n", own.pid, own.start_time)).unwrap();
    node.good();
    assert!(TenantSnapshot::read(&node.state, "a").alive);
    std::fs::remove_file(node.declarations.folder().join("a.toml")).unwrap();
    assert_eq!(node.good(), [of("a", Applied::Ending)]);
    assert_eq!(node.memory("a"), "8 GiB");
    std::fs::write(&roots, "1 1\n").unwrap();
    assert_eq!(node.good(), [of("a", Applied::Removed)]);
}

#[test]
fn promises_never_exceed_a_device_unless_asked_for() {
    let mut node = Node::new();
    let two = |a: &str, b: &str| {
        format!("[a]\nuser = \"1\"\nmemory = \"{a}\"\n[b]\nuser = \"2\"\nmemory = \"{b}\"\n")
    };
    node.put("a.toml", &two("50GiB", "30GiB"));
    assert_eq!(node.good().len(), 2);
    // The second fits only after the first was lowered, whichever is written first.
    node.put("a.toml", &two("60GiB", "20GiB"));
    assert_eq!(node.good().len(), 2);
    assert_eq!(
        (node.memory("a"), node.memory("b")),
        ("60 GiB".into(), "20 GiB".into())
    );
    node.put("a.toml", &two("60GiB", "21GiB"));
    let refused: Vec<_> = node
        .round()
        .into_iter()
        .filter(|(_, one)| one.is_err())
        .collect();
    assert_eq!(refused.len(), 1);
    let (name, error) = &refused[0];
    assert_eq!(name, "b");
    assert!(matches!(error, Err(Error::Overcommitted(text)) if text.contains("81 GiB")));
    assert_eq!(node.memory("b"), "20 GiB");
    node.put(
        "a.toml",
        &(two("60GiB", "21GiB") + "oversubscribe = true\n"),
    );
    node.good();
    assert_eq!(node.memory("b"), "21 GiB");
}

#[test]
fn unknown_devices_keep_no_promise() {
    let mut node = Node::new();
    node.put(
        "a.toml",
        "[a]\nuser = \"1\"\nmemory = \"1GiB\"\n[b]\nuser = \"2\"\nmemory = \"1GiB\"\noversubscribe = true\n",
    );
    node.declarations.reload();
    let outcomes = reconcile(&node.state, &node.declarations, &[]).unwrap();
    let good: Vec<&str> = outcomes
        .iter()
        .filter(|(_, applied)| applied.is_ok())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!((good, outcomes.len()), (vec!["b"], 2));
    assert_eq!(node.state.tenants().unwrap(), ["b"]);
}

#[test]
fn an_agent_that_starts_anew_knows_its_tenants() {
    let mut node = Node::new();
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"8GiB\"\n");
    node.put("b.toml", "[b]\nuser = \"2\"\nmemory = \"8GiB\"\n");
    node.good();
    // Another agent, which never read the good file, and one file with a mistake.
    node.put("a.toml", "[a]\nuser = \n");
    std::fs::remove_file(node.declarations.folder().join("b.toml")).unwrap();
    node.declarations = Declarations::of(node.declarations.folder());
    assert_eq!(node.good(), []);
    assert_eq!(node.memory("a"), "8 GiB");
    assert_eq!(node.memory("b"), "8 GiB");
    // Once the mistake is corrected, the other one goes.
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"8GiB\"\n");
    assert_eq!(
        node.good(),
        [of("b", Applied::Removed), of("a", Applied::Unchanged)]
    );
}

/// The agent, ended at the end of the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prepares the agent's command line, with a command that lists one device.
fn agent(node: &Node) -> Command {
    let fcsp = node.folder.path().join("fcsp");
    let report = format!(
        r#"{{"schema":"fcsp.devices/2","devices":[{{"vendor":"cuda","number":0,"uuid":"{UUID}","total_bytes":{}}}]}}"#,
        80u64 << 30
    );
    if !fcsp.exists() {
        std::fs::write(&fcsp, format!("#!/bin/sh\necho '{report}'\n")).unwrap();
        std::fs::set_permissions(&fcsp, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcsp-node"));
    command.arg("--tenants").arg(node.declarations.folder());
    command.arg("--state-dir").arg(node.state.path());
    command.arg("--fcsp").arg(fcsp);
    command
}

fn start(node: &Node) -> Agent {
    Agent(agent(node).stderr(Stdio::null()).spawn().unwrap())
}

/// Waits for an event, at most a minute.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_agent_follows_its_files_also_after_it_was_killed() {
    let node = Node::new();
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"8GiB\"\n");
    let mut first = start(&node);
    wait_for("tenant", || node.memory("a") == "8 GiB");
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"6GiB\"\n");
    wait_for("change", || node.memory("a") == "6 GiB");
    // A mistake changes nothing; the other file's change shows that the round is over.
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"6 GiB of it\"\n");
    node.put("b.toml", "[b]\nuser = \"2\"\nmemory = \"1GiB\"\n");
    wait_for("second tenant", || node.memory("b") == "1 GiB");
    assert_eq!(node.memory("a"), "6 GiB");
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert_eq!(node.memory("a"), "6 GiB");
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"5GiB\"\n");
    std::fs::remove_file(node.declarations.folder().join("b.toml")).unwrap();
    let _second = start(&node);
    wait_for("change after a restart", || node.memory("a") == "5 GiB");
    wait_for("end of a tenant", || node.state.tenants().unwrap() == ["a"]);
}

#[test]
fn an_agent_killed_at_any_instant_loses_no_tenant() {
    let node = Node::new();
    for round in 0..40u64 {
        let memory = |tenant: u64| format!("{}MiB", 100 + round + tenant);
        let tables: Vec<String> = (0..4)
            .map(|tenant| {
                format!(
                    "[t{tenant}]\nuser = \"1\"\nmemory = \"{}\"\n",
                    memory(tenant)
                )
            })
            .collect();
        node.put("a.toml", &tables.concat());
        let mut agent = start(&node);
        // Not how long it ran but that it was killed somewhere is what this is about.
        std::thread::sleep(Duration::from_micros(round * 500));
        agent.0.kill().unwrap();
        agent.0.wait().unwrap();
    }
    let status = agent(&node)
        .arg("--once")
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(node.state.tenants().unwrap(), ["t0", "t1", "t2", "t3"]);
    for tenant in 0..4 {
        let view = TenantSnapshot::read(&node.state, &format!("t{tenant}"));
        assert!(view.problems.is_empty() && view.kept_by_agent(), "{view:?}");
        assert_eq!(node.memory(&view.name), format!("{} MiB", 139 + tenant));
    }
    std::fs::remove_file(node.declarations.folder().join("a.toml")).unwrap();
    let status = agent(&node)
        .arg("--once")
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(node.state.tenants().unwrap().is_empty());
}

#[test]
fn mistakes_are_named_by_file_and_line() {
    let node = Node::new();
    let path = node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"0\"\n");
    for arguments in [&["check"][..], &["--once"]] {
        let output = agent(&node).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(node.state.path().exists(), arguments != ["check"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(&format!("{}:3: memory", path.display())),
            "{said}"
        );
    }
    node.put("a.toml", "[a]\nuser = \"1\"\nmemory = \"1GiB\"\n");
    assert!(agent(&node).arg("check").status().unwrap().success());
}

#[test]
fn a_process_is_named_with_its_tenant() {
    let node = Node::new();
    let own = fcsp_node::identity::Process::open(std::process::id()).unwrap();
    let identity = fcsp_node::identity::of_process(&own).unwrap();
    let cgroup = match identity.path.as_path() {
        root if root == Path::new("/") => "/elsewhere",
        path => path.to_str().unwrap(),
    };
    node.put("a.toml", &format!("[mine]\ncgroup = \"{cgroup}\"\n"));
    let pid = std::process::id().to_string();
    let output = agent(&node).args(["whose", &pid]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(&format!("cgroup {}\n", identity.path.display())),
        "{said}"
    );
    let tenant = match cgroup {
        "/elsewhere" => "no tenant",
        _ => "tenant mine",
    };
    assert!(said.lines().any(|line| line == tenant), "{said}");
}

/// Checks that a mistake is one line, whatever the environment says of backtraces.
#[test]
fn a_process_that_has_ended_is_said_in_one_line() {
    let node = Node::new();
    let mut ended = Command::new("true").spawn().unwrap();
    let pid = ended.id().to_string();
    ended.wait().unwrap();
    let output = agent(&node)
        .args(["whose", &pid])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("fcsp-node: error: process {pid} has ended\n"));
}
