//! A process's first driver calls, interrupted at each step of the set-up: a fork by another
//! thread, or a system call that fails there. Nobody hangs, nothing is leaked, and the next process
//! of the tenant has its whole quota.
//!
//! `FCSP_TEST_STEPS=all` goes through every step; without it each test takes every third.

use std::path::Path;

use crate::{Machine, OUT_OF_MEMORY, compiled, stderr, stdout, wait_for};

/// The driver's words where the limits that were asked for cannot be kept.
const OPERATING_SYSTEM: i64 = 304;
/// The driver's words for a call without a context.
const INVALID_CONTEXT: i64 = 201;
/// The driver's words in a child whose parent has initialised it.
const NOT_INITIALIZED: i64 = 3;
/// No step of the set-up is as late.
const MOST_STEPS: usize = 400;

/// Output of `steps` at its end.
#[derive(Debug)]
struct Outcome {
    seen: usize,
    /// Of opening the device, of an allocation within the quota, and of one beyond it.
    codes: [i64; 3],
    child: i64,
    left_open: i64,
}

fn run(machine: &Machine, tenant: &str, arguments: &[&str]) -> Outcome {
    let program = compiled("steps.c", "steps", &["-rdynamic".as_ref()]);
    let output = machine
        .governed(program, tenant, "1GiB")
        .args(arguments)
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(
        output.status.success(),
        "{arguments:?}: {} {}",
        output.status,
        stderr(&output)
    );
    let words: Vec<i64> = text
        .split_ascii_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    Outcome {
        seen: words[0] as usize,
        codes: [words[1], words[2], words[3]],
        child: words[4],
        left_open: words[5],
    }
}

const GOVERNED: [i64; 3] = [0, 0, OUT_OF_MEMORY as i64];

/// Interrupts a process at one step after the other, each in a tenant of its own, until there is no
/// such step.
fn walk(mode: &str, error: i32, check: impl Fn(&Machine, &str, &Outcome)) {
    let machine = Machine::new();
    let all = std::env::var("FCSP_TEST_STEPS").is_ok_and(|value| value == "all");
    let (first, stride) = if all { (1, 1) } else { (1 + mode.len() % 3, 3) };
    let mut rounds = 0;
    for step in (first..).step_by(stride) {
        assert!(step < MOST_STEPS, "the steps have no end");
        let tenant = format!("{mode}-{error}-{step}");
        let outcome = run(
            &machine,
            &tenant,
            &[mode, &step.to_string(), &error.to_string()],
        );
        if outcome.seen < step {
            assert_eq!(outcome.codes, GOVERNED, "without an interruption");
            break;
        }
        rounds += 1;
        assert_eq!(outcome.left_open, 0, "{mode} at {step}");
        check(&machine, &tenant, &outcome);
        let next = run(&machine, &tenant, &["count"]);
        assert_eq!(next.codes, GOVERNED, "{mode} at {step}: the next process");
        let folder = machine.state().join("tenants").join(&tenant);
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{mode} at {step} leaves {name}");
        }
        if outcome.child > 255 {
            // SAFETY: the number of a child that sleeps until it is killed.
            unsafe { libc::kill(outcome.child as libc::pid_t, libc::SIGKILL) };
        }
    }
    println!("{mode}: {rounds} rounds");
    assert!(rounds > 8, "{rounds}");
}

/// Returns what a process holds of the state folder: descriptors, and mappings of a region.
fn held(pid: i64, state: &Path) -> Vec<String> {
    let state = state.to_str().unwrap();
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|path| path.display().to_string())
        .filter(|path| path.contains(state));
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let regions = maps
        .lines()
        .filter(|line| line.contains(".region"))
        .map(str::to_owned);
    links.chain(regions).collect()
}

/// Checks that a sleeping child holds nothing that its parent was setting up: neither its lock nor
/// its slot. The parent has ended, and nothing is counted.
#[test]
fn a_child_forked_during_set_up_holds_nothing() {
    walk("sleep", 0, |machine, tenant, outcome| {
        assert_eq!(outcome.codes, GOVERNED);
        assert!(outcome.child > 255);
        wait_for("the child to let go", || {
            held(outcome.child, &machine.state()).is_empty()
        });
        assert_eq!(machine.used(tenant), 0);
    });
}

/// Checks that a child's own calls return, whichever thread was setting up when it was forked.
#[test]
fn a_child_forked_during_set_up_can_make_calls() {
    for mode in ["use", "raw"] {
        walk(mode, 0, |_, _, outcome| {
            assert_eq!(outcome.codes, GOVERNED);
            // The driver refuses children of a process that has initialised it, where it learns of
            // the fork.
            assert!([0, NOT_INITIALIZED].contains(&outcome.child), "{outcome:?}");
        });
    }
}

/// Checks that a failed system call ends in a refusal in the driver's own words, or has no effect.
/// It never ends in a program without limits.
#[test]
fn a_failure_at_any_step_is_a_refusal_or_nothing() {
    for error in [libc::EMFILE, libc::ENOSPC] {
        walk("fail", error, |_, _, outcome| {
            let refused = i64::from(OUT_OF_MEMORY);
            assert!(
                [
                    GOVERNED,
                    [OPERATING_SYSTEM, refused, refused],
                    [refused, INVALID_CONTEXT, INVALID_CONTEXT],
                ]
                .contains(&outcome.codes),
                "{outcome:?}"
            );
        });
    }
}

/// Checks that an obstacle to the set-up may pass. The same process then has its limits.
#[test]
fn a_set_up_that_was_prevented_is_tried_again() {
    let machine = Machine::new();
    let mut client = machine.client("t", "1GiB");
    // A file where the folder of the tenants is to be.
    let tenants = machine.state().join("tenants");
    std::fs::create_dir_all(machine.state()).unwrap();
    std::fs::write(&tenants, "").unwrap();
    assert_eq!(i64::from(client.code("open 0")), OPERATING_SYSTEM);
    std::fs::remove_file(&tenants).unwrap();
    wait_for("another attempt", || client.code("open 0") == 0);
    client.ok(&format!("alloc {}", 512 << 20));
    client.refused(&format!("alloc {}", 512 << 20));
}
