//! A program that manages a device itself, as a member of a tenant: `fcsp limit`, `pause` and
//! `resume` reach it without a preload library.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

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

use crate::{Machine, stderr};

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
    let submitter = member.submitter().unwrap();
    let work = Work {
        key: kernel_key(0x7000, 64),
        blocks: 64,
        class: Class::Gemm,
    };
    let goes = || {
        let admission = submitter.admit(&work);
        // The device does it at once.
        submitter.passed(submitter.position());
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
    assert_eq!(submitter.params(), Params::strict(250_000));
}

/// Program of `examples/` that answers each line on its input with a line.
struct Example {
    child: Child,
    answers: std::io::Lines<BufReader<ChildStdout>>,
}

impl Example {
    /// Builds the example where this test was built, and starts it as a member of the machine's
    /// tenant "serving".
    fn start(machine: &Machine, name: &str, limit: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .args(["build", "--locked", "--quiet", "-p", "fcsp"])
            .args(["--example", name, "--target-dir"])
            .arg(target)
            .env_remove("CARGO_BUILD_TARGET");
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let mut child = Command::new(target.join("debug/examples").join(name))
            .args(["serving", limit])
            .env("FCSP_STATE_DIR", machine.path().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, answers }
    }

    fn ask(&mut self, request: &str) -> String {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{request}").unwrap();
        let answer = self.answers.next();
        answer.expect("the example lives").unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_limit_reaches_the_allocator_of_the_examples() {
    let machine = Machine::new();
    let mut allocator = Example::start(&machine, "allocator", "2GiB");
    assert_eq!(
        allocator.ask("take 1GiB"),
        "taken 1 GiB, used 1 GiB of 2 GiB"
    );
    assert_eq!(
        allocator.ask("take 2GiB"),
        "refused 2 GiB, used 1 GiB of 2 GiB"
    );
    machine.json(&["limit", "serving", "--memory", "4GiB", "--json"], 0);
    assert_eq!(
        allocator.ask("take 2GiB"),
        "taken 2 GiB, used 3 GiB of 4 GiB"
    );
    machine.json(&["limit", "serving", "--memory", "1GiB", "--json"], 0);
    assert_eq!(
        allocator.ask("take 1MiB"),
        "refused 1 MiB, used 3 GiB of 1 GiB"
    );
    assert_eq!(allocator.ask("free"), "freed 2 GiB, used 1 GiB of 1 GiB");
    let tenant = machine.tenant("serving").expect("a tenant");
    assert_eq!(tenant["used_bytes"], GIB, "{tenant}");
}

#[test]
fn a_limit_and_a_pause_reach_the_launcher_of_the_examples() {
    let machine = Machine::new();
    let mut launcher = Example::start(&machine, "launcher", "50%");
    assert_eq!(launcher.ask("launch"), "admitted under 50%");
    machine.json(&["pause", "serving", "--json"], 0);
    assert_eq!(launcher.ask("launch"), "delayed under 50%");
    machine.json(&["resume", "serving", "--json"], 0);
    assert_eq!(launcher.ask("launch"), "admitted under 50%");
    let strict = ["limit", "serving", "--compute", "25%", "--mode", "strict"];
    machine.json(&[&strict[..], &["--json"]].concat(), 0);
    assert_eq!(launcher.ask("launch"), "admitted under 25%");
}
