//! Tests of a binding of one's own: the library of `examples/own_policy`, whose limiter and
//! classifier decide in place of FCSP's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Client, Machine, program, stderr};

/// Length of a window of the example's limiter, ns.
const WINDOW_NS: u64 = 50_000_000;
const LAUNCHES: usize = 60;

/// Builds the example's library, beside what the command's build script builds.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let embed = target.join("embed");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .args(["build", "--quiet", "--profile", "preload"])
            .args(["-p", "own-policy-preload", "--target-dir"])
            .arg(&embed);
        for flags in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "RUSTC_WORKSPACE_WRAPPER",
        ] {
            cargo.env_remove(flags);
        }
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        embed.join("preload/libown_policy.so")
    })
}

/// Starts a client of a tenant with a share, under the example's library.
fn client(machine: &Machine, log: &Path) -> Client {
    let mut command = machine.governed(program("client"), "t", "4GiB");
    command
        .env("LD_PRELOAD", library())
        .env("FCSP_COMPUTE_LIMIT", "50%")
        .env("OWN_POLICY_LOG", log);
    let mut client = Client::start(command);
    client.ok("open 0");
    client
}

fn number(word: Option<&str>) -> u64 {
    word.and_then(|word| word.parse().ok())
        .expect("a number in the log")
}

#[test]
fn launches_are_admitted_by_the_examples_limiter_and_classified_by_its_classifier() {
    let machine = Machine::new();
    let log = machine.path().join("log");
    let mut client = client(&machine, &log);
    for _ in 0..LAUNCHES {
        client.ok("named my_own_product");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("limiter opened for t\n"), "{log}");
    assert!(log.contains("class my_own_product gemm\n"), "{log}");
    let mut admitted = 0;
    let mut refused = 0;
    for line in log.lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some("go") => {
                // The classifier's class is what the limiter is asked with.
                assert_eq!(words.next(), Some("gemm"), "{line}");
                let now = number(words.next());
                assert_eq!(now / WINDOW_NS % 2, 0, "{line}");
                admitted += 1;
            }
            Some("wait") => {
                assert_eq!(words.next(), Some("gemm"), "{line}");
                let now = number(words.next());
                assert_eq!(now / WINDOW_NS % 2, 1, "{line}");
                assert_eq!(words.next(), Some("until"), "{line}");
                assert_eq!(number(words.next()), (now / WINDOW_NS + 1) * WINDOW_NS);
                refused += 1;
            }
            _ => {}
        }
    }
    // Every launch was asked for, and over several windows some had to wait.
    assert_eq!(admitted, LAUNCHES, "{log}");
    assert!(refused > 0, "{log}");
}

#[test]
fn the_quota_is_kept_under_another_binding() {
    let machine = Machine::new();
    let log = machine.path().join("log");
    let mut client = client(&machine, &log);
    client.ok(&format!("alloc {}", 2_u64 << 30));
    client.refused(&format!("alloc {}", 3_u64 << 30));
}
