//! Commands that are killed at any instant: later ones work, programs join, and nothing is left.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::{Machine, stderr};

/// Numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const COMMANDS: [&[&str]; 8] = [
    &["limit", "k", "--memory", "3GiB"],
    &["limit", "k", "--compute", "50%"],
    &["pause", "k"],
    &["resume", "k"],
    &["run", "--tenant", "k", "--", "true"],
    &["run", "--memory", "1GiB", "--", "true"],
    &["run", "--tenant", "other", "--memory", "1GiB", "--", "true"],
    &["gc"],
];

fn works(machine: &Machine, args: &[&str], after: &[&str]) {
    let output = machine.fcsp(args);
    assert!(
        output.status.success(),
        "{args:?} after a killed {after:?}: {}",
        stderr(&output)
    );
}

fn entries(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn killed(count: u32) {
    let machine = Machine::new();
    let living = machine.sleeper("k", &["--memory", "1GiB"]);
    let mut numbers = Numbers(5);
    let mut caught = 0;
    for round in 0..count {
        let command = COMMANDS[numbers.below(COMMANDS.len() as u64) as usize];
        let mut child = machine
            .command(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let most = if numbers.below(5) == 0 {
            40_000
        } else {
            12_000
        };
        std::thread::sleep(Duration::from_micros(numbers.below(most)));
        child.kill().unwrap();
        caught += u32::from(!child.wait().unwrap().success());
        if round % 10 == 9 {
            works(&machine, &["limit", "k", "--memory", "2GiB"], command);
            works(&machine, &["resume", "k"], command);
            works(&machine, &["run", "--tenant", "k", "--", "true"], command);
            let tenant = machine.tenant("k").unwrap();
            assert_eq!(tenant["memory"][0]["bytes"], 2u64 << 30, "{tenant}");
            assert_eq!(
                (&tenant["paused"], &tenant["problems"]),
                (&false.into(), &serde_json::json!([])),
                "{tenant}"
            );
        }
    }
    println!("{caught} of {count} commands were killed before they ended");
    assert!(caught > count / 4, "{caught} of {count}");
    drop(living);
    let state = machine.path().join("state");
    // A key without a tenant stays for a minute: the command that made it may be about to use it.
    for key in entries(&state.join("open")) {
        let folder = std::fs::File::open(state.join("open").join(key)).unwrap();
        folder
            .set_modified(SystemTime::now() - Duration::from_secs(120))
            .unwrap();
    }
    works(&machine, &["gc"], &["everything"]);
    for folder in ["tenants", "open"] {
        let left = entries(&state.join(folder));
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn commands_that_are_killed_leave_nothing_in_the_way() {
    killed(60);
}

#[test]
#[ignore = "a minute: before a release"]
fn eight_hundred_killed_commands_leave_nothing_in_the_way() {
    killed(800);
}
