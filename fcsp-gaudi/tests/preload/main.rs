//! Tests of Gaudi's own features, with real processes under the real preload library on the
//! simulated libraries: cards that one process has at a time, and the queue for them. Tests for
//! every vendor are in `tests/conformance` of the root.
//!
//! The vendor's headers come only with its driver, so the client is compiled against the
//! simulator's declarations. A C compiler is needed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The triple of this machine. Builds of the preload libraries name it, since a configuration file
/// may set another one.
#[cfg(target_arch = "x86_64")]
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const TRIPLE: &str = "aarch64-unknown-linux-gnu";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const NO_DEVICE: i32 = 8;
const TYPE_MISMATCH: i32 = 9;
const OUT_OF_MEMORY: i32 = 14;
const ALREADY_ACQUIRED: i32 = 20;
const FAIL: i32 = 26;
const CONTEXT: u64 = 64 * MIB;

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{errors}");
}

/// Libraries under their names, the client and the preload library, in one folder.
fn bench() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(build)
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gaudi-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    // The same folder and profile as the conformance suite, so that nothing is built twice.
    let embed = target.join("embed");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args([
            "build",
            "--quiet",
            "--profile",
            "preload",
            "--target",
            TRIPLE,
            "--target-dir",
        ])
        .arg(&embed);
    for package in [
        "fcsp-gaudi-preload",
        "fcsp-sim-gaudi-hlml",
        "fcsp-sim-gaudi-synapse",
    ] {
        cargo.args(["-p", package]);
    }
    for flags in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(flags);
    }
    run(&mut cargo);
    for (file, name) in [
        ("libfcsp_sim_gaudi_synapse.so", "libSynapse.so"),
        ("libfcsp_sim_gaudi_hlml.so", "libhlml.so"),
        ("libfcsp_gaudi.so", "libfcsp_gaudi.so"),
    ] {
        std::fs::copy(
            embed.join(TRIPLE).join("preload").join(file),
            dir.join(name),
        )
        .unwrap();
    }
    run(Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(dir.join("client"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload/client.c"))
        .arg(dir.join("libSynapse.so"))
        .arg(dir.join("libhlml.so")));
    dir
}

/// A simulated machine with state of its own.
struct Machine {
    cards: &'static str,
    state: tempfile::TempDir,
}

impl Machine {
    fn new(cards: &'static str) -> Self {
        Self {
            cards,
            state: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a client with Synapse initialised, as a tenant with these settings; without settings,
    /// without a tenant.
    fn client(&self, settings: &[(&str, &str)]) -> Client {
        let mut command = Command::new(bench().join("client"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FCSP_", "LD_", "HABANA_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        let log = self.state.path().join(format!("log-{}", fresh()));
        command
            .env("LD_LIBRARY_PATH", bench())
            .env("LD_PRELOAD", bench().join("libfcsp_gaudi.so"))
            .env("FCSP_LOG", "1")
            .env("FCSP_STATE_DIR", self.state.path().join("state"))
            .env(
                "FCSP_SIM",
                format!("{},memory=8GiB,context=64MiB", self.cards),
            )
            .env("FCSP_SIM_STATE", self.state.path().join("device"))
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut client = Client {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            log,
        };
        client.ok("init");
        client
    }

    /// Starts a tenant with a quota of a GiB and these settings.
    fn tenant(&self, name: &str, settings: &[(&str, &str)]) -> Client {
        let all = [
            &[("FCSP_TENANT", name), ("FCSP_MEMORY_LIMIT", "1GiB")][..],
            settings,
        ]
        .concat();
        self.client(&all)
    }
}

fn fresh() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A running client.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Client {
    fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    fn hear(&mut self) -> (i32, u64) {
        let mut line = String::new();
        assert_ne!(
            self.output.read_line(&mut line).unwrap(),
            0,
            "the client died"
        );
        let mut words = line.split_ascii_whitespace();
        let code = words.next().unwrap().parse().unwrap();
        (code, words.next().unwrap().parse().unwrap())
    }

    fn code(&mut self, command: &str) -> i32 {
        self.tell(command);
        self.hear().0
    }

    /// Returns the number that a command answers, which must succeed.
    fn ok(&mut self, command: &str) -> u64 {
        self.tell(command);
        let (code, value) = self.hear();
        assert_eq!(code, 0, "{command}: {}", self.said());
        value
    }

    /// Returns its output on standard error.
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn waits(&self) {
        wait_for("a place in the queue", || self.said().contains("waits: "));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_card_has_one_process_at_a_time_and_others_are_told_whose_it_is() {
    let machine = Machine::new("gaudi2");
    let mut first = machine.tenant("a", &[]);
    first.ok("module 0");
    assert_eq!(first.code("module 0"), ALREADY_ACQUIRED);
    let mut second = machine.tenant("b", &[]);
    for (way, code) in [
        ("module 0", NO_DEVICE),
        ("any", NO_DEVICE),
        ("at 0000:18:00.0", FAIL),
    ] {
        assert_eq!(second.code(way), code, "{way}");
    }
    let said = second.said();
    let holder = format!("process {} (client) of tenant a", first.child.id());
    assert!(
        said.contains(&holder) && said.contains("cannot be shared"),
        "{said}"
    );
    assert_eq!(second.code("module 5"), NO_DEVICE);
    assert_eq!(second.code("other"), TYPE_MISMATCH);
    // Nor does it help to be the same tenant.
    assert_eq!(machine.tenant("a", &[]).code("module 0"), NO_DEVICE);
    first.ok("release");
    second.ok("at 0000:18:00.0");
}

#[test]
fn a_quota_is_the_card_however_it_is_acquired() {
    for way in ["module 0", "any", "at 0000:18:00.0"] {
        let machine = Machine::new("gaudi2");
        let mut client = machine.tenant("a", &[]);
        client.ok(way);
        assert_eq!(client.ok("total"), GIB);
        assert_eq!(client.ok("left"), GIB - CONTEXT);
        assert_eq!(client.ok("attribute 0"), GIB);
        assert_eq!(client.ok("looked 0"), GIB);
        assert_eq!(client.code("alloc 1073741824"), OUT_OF_MEMORY);
        client.ok("alloc 805306368");
        assert_eq!(client.code("alloc 805306368"), OUT_OF_MEMORY);
        // What was in its memory is gone with the card.
        client.ok("release");
        client.ok(way);
        assert_eq!(client.ok("left"), GIB - CONTEXT);
        client.ok("alloc 805306368");
        client.ok("destroy");
        client.ok("init");
        client.ok(way);
        client.ok("alloc 805306368");
        assert_eq!(client.code("other"), ALREADY_ACQUIRED);
    }
}

#[test]
fn a_quota_by_number_belongs_to_the_card_that_was_given() {
    let machine = Machine::new("gaudi2x2");
    let limits = [("FCSP_MEMORY_LIMIT", "0=1GiB,1=2GiB")];
    let (mut a, mut b) = (machine.tenant("a", &limits), machine.tenant("b", &limits));
    a.ok("any");
    b.ok("any");
    assert_eq!((a.ok("total"), b.ok("total")), (GIB, 2 * GIB));
    assert_eq!((a.ok("attribute 1"), a.ok("looked 1")), (2 * GIB, 2 * GIB));
}

#[test]
fn a_card_too_small_for_what_synapse_takes_is_not_had() {
    let machine = Machine::new("gaudi2");
    let mut client = machine.tenant("a", &[("FCSP_MEMORY_LIMIT", "32MiB")]);
    assert_eq!(client.code("module 0"), OUT_OF_MEMORY);
    // It is free for others.
    machine.tenant("b", &[]).ok("module 0");
}

#[test]
fn who_waits_has_the_card_once_its_process_is_dead() {
    let machine = Machine::new("gaudi2");
    let mut first = machine.tenant("a", &[]);
    first.ok("module 0");
    first.ok("alloc 805306368");
    let mut second = machine.tenant("b", &[("FCSP_GAUDI_WAIT", "forever")]);
    second.tell("module 0");
    second.waits();
    first.child.kill().unwrap();
    assert_eq!(second.hear().0, 0, "{}", second.said());
    assert!(
        second.said().contains("has module 0 after"),
        "{}",
        second.said()
    );
    second.ok("alloc 805306368");
}

#[test]
fn waiting_ends_after_the_time_asked_for() {
    let machine = Machine::new("gaudi2");
    let mut first = machine.tenant("a", &[]);
    first.ok("module 0");
    let mut second = machine.tenant("b", &[("FCSP_GAUDI_WAIT", "0.3")]);
    let begun = Instant::now();
    assert_eq!(second.code("any"), NO_DEVICE);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(second.said().contains("gives up"), "{}", second.said());
    let mut third = machine.tenant("c", &[("FCSP_GAUDI_WAIT", "soon")]);
    assert_eq!(third.code("any"), NO_DEVICE);
    assert!(
        third.said().contains("\"soon\" is neither seconds"),
        "{}",
        third.said()
    );
}

#[test]
fn the_higher_priority_has_the_card_first_then_the_earlier() {
    let machine = Machine::new("gaudi2");
    let mut holder = machine.tenant("a", &[]);
    holder.ok("module 0");
    let wait = |name: &str, priority: &str| {
        let mut client = machine.tenant(
            name,
            &[("FCSP_GAUDI_WAIT", "30"), ("FCSP_PRIORITY", priority)],
        );
        client.tell("module 0");
        client.waits();
        client
    };
    let mut low = wait("low", "low");
    let mut first = wait("first", "normal");
    let mut second = wait("second", "normal");
    let mut high = wait("high", "high");
    holder.ok("release");
    for client in [&mut high, &mut first, &mut second, &mut low] {
        assert_eq!(client.hear().0, 0, "{}", client.said());
        // A newcomer does not take it from those who wait, free or not.
        assert_eq!(holder.code("module 0"), NO_DEVICE);
        client.ok("release");
    }
    wait_for("the card", || holder.code("module 0") == 0);
}

#[test]
fn who_waits_for_any_card_has_the_first_that_is_free() {
    let machine = Machine::new("gaudi2x2");
    let (mut a, mut b) = (machine.tenant("a", &[]), machine.tenant("b", &[]));
    a.ok("module 0");
    b.ok("any");
    let mut c = machine.tenant("c", &[("FCSP_GAUDI_WAIT", "30")]);
    c.tell("any");
    c.waits();
    b.ok("release");
    assert_eq!(c.hear().0, 0);
    assert_eq!(c.ok("total"), GIB);
    assert_eq!(b.code("module 1"), NO_DEVICE);
}

#[test]
fn a_forked_child_has_a_card_of_its_own() {
    let machine = Machine::new("gaudi2x2");
    let mut command = machine.tenant("a", &[]);
    let child = command.ok("forked 0");
    assert_eq!(command.code("module 0"), NO_DEVICE);
    command.ok("module 1");
    assert_eq!(command.ok("left"), GIB - CONTEXT);
    command.ok("release");
    run(Command::new("kill").args(["-9", &child.to_string()]));
    wait_for("the child's card", || command.code("module 0") == 0);
}

#[test]
fn what_cannot_be_kept_is_said() {
    let machine = Machine::new("gaudi2");
    let mut shared = machine.tenant(
        "a",
        &[("FCSP_COMPUTE_LIMIT", "25%"), ("FCSP_MODE", "strict")],
    );
    shared.ok("module 0");
    assert!(
        shared.said().contains("no effect on Gaudi"),
        "{}",
        shared.said()
    );
    drop(shared);
    let mut broken = machine.client(&[("FCSP_MEMORY_LIMIT", "a lot")]);
    assert_eq!(broken.code("module 0"), NO_DEVICE);
    let mut free = machine.client(&[]);
    free.ok("module 0");
    assert_eq!(free.ok("total"), 8 * GIB);
    assert_eq!(free.said(), "");
}
