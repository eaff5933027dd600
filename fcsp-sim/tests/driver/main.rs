//! The driver libraries from outside: a C client, in as many processes as a scenario needs, against
//! the libraries as others load them. Every test has a machine of its own.

#[path = "../bench/mod.rs"]
mod bench;

use bench::{Client, Machine};
use fcsp_sim::process::used;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn memory_is_the_devices_and_comes_back_from_the_dead() {
    let m = Machine::new("capacity", "tiny");
    let pages = |c: &mut Client| {
        assert_eq!(c.line(), "ready");
        c.go_on();
        c.line().parse::<u64>().unwrap()
    };
    let mut first = m.start(&["hog"]);
    // 256 MiB less a context of 8 MiB, in pages of 2 MiB.
    assert_eq!(pages(&mut first), 124);
    let held = m.holding(first.child.id()).unwrap();
    assert_eq!((held.bytes, held.contexts), (256 << 20, 1));
    // No room even for a context.
    let second = m
        .command(&["hog"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&second.stderr)
            .contains("cuDevicePrimaryCtxRetain(&context, 0) = 2")
    );
    first.kill();
    assert_eq!(used(&m.region().0, 0), 0);
    let mut third = m.start(&["hog"]);
    assert_eq!(pages(&mut third), 124);
    third.go_on();
    assert!(third.child.wait().unwrap().success());
    assert_eq!(used(&m.region().0, 0), 0);
}

#[test]
fn racing_processes_never_take_more_than_there_is() {
    let m = Machine::new("race", "tiny");
    let mut all: Vec<Client> = (0..6).map(|_| m.start(&["hog"])).collect();
    all.iter_mut().for_each(|c| assert_eq!(c.line(), "ready"));
    all.iter_mut().for_each(Client::go_on);
    let pages: u64 = all
        .iter_mut()
        .map(|c| c.line().parse::<u64>().unwrap())
        .sum();
    // Six contexts of 8 MiB leave 208 MiB.
    assert_eq!(pages, 104);
    all.into_iter().for_each(Client::kill);
}

#[test]
fn busy_processes_share_the_engine_in_halves() {
    let m = Machine::new("halves", "tiny");
    // Unlike kernels: the engine is shared by time, not by launches.
    let mut pair = [m.start(&["busy", "150000"]), m.start(&["busy", "1700000"])];
    pair.iter_mut().for_each(|c| assert_eq!(c.line(), "busy"));
    let ns = |c: &Client| m.holding(c.child.id()).unwrap().busy_ns as f64;
    let before = pair.each_ref().map(ns);
    std::thread::sleep(Duration::from_millis(1500));
    let used: Vec<f64> = pair.iter().zip(before).map(|(c, b)| ns(c) - b).collect();
    let share = used[0] / (used[0] + used[1]);
    assert!((0.3..0.7).contains(&share), "{used:?}");
    // Together they never have more device time than has passed.
    assert!(used.iter().sum::<f64>() < 1.8e9, "{used:?}");
    for c in &mut pair {
        c.go_on();
        assert_eq!(c.line(), "stopped");
        c.go_on();
    }
}

#[test]
fn a_killed_holder_does_not_stop_the_engine() {
    let m = Machine::new("holder", "tiny");
    let mut hog = m.start(&["busy", "60000000"]);
    assert_eq!(hog.line(), "busy");
    let mut other = m.start(&["busy", "500000"]);
    assert_eq!(other.line(), "busy");
    std::thread::sleep(Duration::from_millis(100));
    hog.kill();
    let ns = |c: &Client| m.holding(c.child.id()).unwrap().busy_ns;
    let before = ns(&other);
    let patience = Instant::now();
    while ns(&other) < before + 50_000_000 {
        assert!(
            patience.elapsed() < Duration::from_secs(20),
            "the engine stands still"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    other.kill();
}

#[test]
fn a_stopped_process_does_not_stop_the_others() {
    let m = Machine::new("stopped", "tiny");
    let mut pair = [m.start(&["busy", "300000"]), m.start(&["busy", "300000"])];
    pair.iter_mut().for_each(|c| assert_eq!(c.line(), "busy"));
    std::thread::sleep(Duration::from_millis(100));
    // SAFETY: sends a signal to a child of this test.
    let stopped = unsafe { libc::kill(pair[0].child.id() as i32, libc::SIGSTOP) };
    assert_eq!(stopped, 0);
    let ns = |c: &Client| m.holding(c.child.id()).unwrap().busy_ns;
    let before = ns(&pair[1]);
    let patience = Instant::now();
    while ns(&pair[1]) < before + 200_000_000 {
        assert!(
            patience.elapsed() < Duration::from_secs(20),
            "the engine stands still"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    pair.into_iter().for_each(Client::kill);
}

#[test]
fn sizes_are_charged_as_measured() {
    assert_eq!(Machine::new("sizes", "tiny").run(&["sizes"]), "done");
}

#[test]
fn contexts_and_primary_contexts_live_by_the_rules() {
    assert_eq!(Machine::new("contexts", "tiny").run(&["contexts"]), "done");
}

#[test]
fn a_fault_ends_its_context_alone() {
    assert_eq!(Machine::new("trapped", "tiny").run(&["trapped"]), "done");
}

#[test]
fn forked_children_are_refused_and_never_wait() {
    let m = Machine::new("forks", "tiny");
    assert_eq!(m.run(&["forks"]), "done");
    // Its child still runs, with the parent's files; the parent's memory is free all the same.
    assert_eq!(used(&m.region().0, 0), 0);
}

#[test]
fn a_process_with_work_in_flight_ends_at_once() {
    let m = Machine::new("exit", "tiny");
    let t = Instant::now();
    assert_eq!(m.run(&["exits_busy"]), "done");
    assert!(
        t.elapsed() < Duration::from_secs(30),
        "it waited for its kernel of a minute"
    );
}

#[test]
fn threads_do_not_get_in_each_others_way() {
    assert_eq!(Machine::new("threads", "tiny").run(&["threads"]), "done");
}

#[test]
fn streams_are_recorded_and_graphs_replayed() {
    assert_eq!(Machine::new("capture", "tiny").run(&["capture"]), "done");
}

#[test]
fn streams_wait_for_words_in_memory() {
    assert_eq!(Machine::new("ordering", "tiny").run(&["ordering"]), "done");
}

#[test]
fn functions_are_looked_up_by_version_and_stream_kind() {
    assert_eq!(Machine::new("procs", "tiny").run(&["procs"]), "done");
}

#[test]
fn memory_is_shared_between_processes_and_charged_once() {
    assert_eq!(Machine::new("sharing", "tiny").run(&["sharing"]), "done");
}

#[test]
fn the_environment_says_which_devices_there_are() {
    let m = Machine::new("devices", "h100x3");
    let ids: Vec<String> = m
        .region()
        .1
        .devices
        .iter()
        .map(|d| d.uuid_text()[4..12].to_string())
        .collect();
    let see = |key: &str, value: &str| {
        let out = m.command(&["devices"]).env(key, value).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_string()
    };
    assert_eq!(
        m.run(&["devices"]),
        format!("3 {} {} {}", ids[0], ids[1], ids[2])
    );
    assert_eq!(
        see("CUDA_VISIBLE_DEVICES", "2,0"),
        format!("2 {} {}", ids[2], ids[0])
    );
    assert_eq!(
        see("CUDA_VISIBLE_DEVICES", &format!("GPU-{}", ids[1])),
        format!("1 {}", ids[1])
    );
    assert_eq!(see("CUDA_VISIBLE_DEVICES", ""), "100");
    assert_eq!(see("FCSP_SIM", "b200"), "100");
    assert_eq!(see("FCSP_SIM_FAULTS", "nonsense"), "100");
}

#[test]
fn faults_happen_when_asked_for() {
    use std::os::unix::process::ExitStatusExt;
    let m = Machine::new("faults", "tiny");
    let run = |faults: &str| {
        let out = m
            .command(&["faults"])
            .env("FCSP_SIM_FAULTS", faults)
            .output()
            .unwrap();
        (
            String::from_utf8(out.stdout).unwrap().trim().to_string(),
            out.status.signal(),
        )
    };
    assert_eq!(run("cuMemAlloc_v2=2@3"), ("0 0 0 0 2 0 0 0".into(), None));
    assert_eq!(
        run("cuMemAlloc_v2=999@3+;cuMemAlloc_v2~60ms@2"),
        ("0 0 0 1 999 0 999 0".into(), None)
    );
    assert_eq!(run("cuMemAlloc_v2!kill@2"), ("0 0".into(), Some(9)));
    assert_eq!(run("cuMemAlloc_v2!killafter@2"), ("0 0".into(), Some(9)));
    assert_eq!(used(&m.region().0, 0), 0);
}
