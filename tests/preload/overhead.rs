//! Tests of overhead where the management library does not report a process's memory. Contexts
//! count by an estimate, and code by the decrease of the device's available memory. By the device's
//! own account a tenant never exceeds its quota.

use std::path::PathBuf;

use crate::{
    Client, GIB, MIB, Machine, OUT_OF_MEMORY, Observer, compiled, libraries, program, stderr,
    wait_for,
};

/// Estimate of a context's size where it cannot be measured.
const ESTIMATE: u64 = <fcsp_cuda::vendor::Cuda as fcsp_hook::backend::Devices>::CONTEXT_ESTIMATE;
const BLOCK: u64 = 32 * MIB;

/// Creates a machine whose programs find a driver and no management library, and an observer that
/// finds both.
fn without_nvml(spec: &str) -> (Machine, Observer) {
    let mut machine = Machine::with(spec);
    let judge = machine.observer();
    let dir: PathBuf = machine.path().join("driver");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(
        libraries().sim.join("libcuda.so.1"),
        dir.join("libcuda.so.1"),
    )
    .unwrap();
    machine.sim = dir;
    let mut client = machine.client("nobody", "1GiB");
    client.ok("init");
    assert_eq!(
        client.code("nvml"),
        9998,
        "this machine has a management library elsewhere"
    );
    (machine, judge)
}

#[test]
fn a_context_is_charged_without_the_management_library() {
    // A context of its real size.
    let (machine, mut judge) = without_nvml("h100,memory=8GiB");
    let mut client = machine.open("t", "2GiB");
    let real = judge.held(client.pid());
    assert!(real > 500 * MIB && real <= ESTIMATE, "{real}");
    assert_eq!(
        client.fill(BLOCK).len() as u64,
        (2 * GIB - ESTIMATE) / BLOCK
    );
    assert_eq!(machine.used("t"), 2 * GIB);
    assert!(judge.held(client.pid()) <= 2 * GIB);
    assert_eq!(client.call("info").1, vec![0, 2 * GIB]);
    client.refused("ctx 0");
    assert!(
        judge.held(client.pid()) <= 2 * GIB,
        "the second context was undone"
    );
}

#[test]
fn a_quota_below_the_estimate_is_refused() {
    let (machine, mut judge) = without_nvml("h100,memory=8GiB,context=64MiB");
    let mut client = machine.client("t", "512MiB");
    assert_eq!(client.code("open 0"), OUT_OF_MEMORY);
    assert_eq!(judge.held(client.pid()), 0);
    assert_eq!(machine.used("t"), 0);
    let output = machine
        .governed(program("client"), "t", "512MiB")
        .env("FCSP_LOG", "1")
        .args(["-c", "open 0"])
        .output()
        .unwrap();
    assert!(stderr(&output).contains("quota"), "{}", stderr(&output));
}

#[test]
fn contexts_that_go_give_their_estimate_back() {
    let (machine, mut judge) = without_nvml("h100,memory=8GiB,context=64MiB");
    let mut client = machine.open("t", "2GiB");
    for _ in 0..10 {
        let context = client.ok("ctx 0");
        assert_eq!(machine.used("t"), 2 * ESTIMATE);
        client.ok(&format!("destroy {context}"));
        assert_eq!(machine.used("t"), ESTIMATE);
        client.ok("release 0");
        assert_eq!(machine.used("t"), 0);
        client.ok("use 0");
    }
    assert!(judge.peak(client.pid()) <= 2 * GIB);
}

#[test]
fn code_is_charged_by_what_the_device_lost() {
    let (machine, mut judge) = without_nvml("h100,memory=8GiB,context=64MiB");
    let mut client = machine.open("t", "2GiB");
    for round in 0..3 {
        let mut modules = Vec::new();
        let code = loop {
            match client.call(&format!("module {}", 128 * MIB)) {
                (0, values) => modules.push(values[0]),
                (code, _) => break code,
            }
        };
        assert_eq!(code, OUT_OF_MEMORY);
        assert_eq!(
            modules.len() as u64,
            (2 * GIB - ESTIMATE) / (128 * MIB),
            "round {round}"
        );
        client.refused(&format!("alloc {}", 256 * MIB));
        for module in modules {
            client.ok(&format!("nomodule {module}"));
        }
        wait_for("the code to be given back", || {
            client.ok("info");
            machine.used("t") == ESTIMATE
        });
    }
    assert!(judge.peak(client.pid()) <= 2 * GIB);
}

/// Exports and releases memory without the management library: nothing stays charged.
#[test]
fn exports_do_not_stay_charged_without_the_management_library() {
    let (machine, mut judge) = without_nvml("h100,memory=8GiB");
    let cases = compiled("../../benches/device/cases.c", "cases", &[]);
    for mode in ["1", "2", "3"] {
        let output = machine
            .governed(&cases, "t", "3GiB")
            .args(["export", mode, "20", "1073741824"])
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("mode {mode}: {error}: {}", stderr(&output)));
        assert_eq!(answer["rounds"], 20, "mode {mode}: {answer}");
        assert_eq!(answer["before"], answer["after"], "mode {mode}");
    }
    assert_eq!(judge.sum(), 0);
}

/// Checks several processes of one tenant: the sum holds, including idle ones.
#[test]
fn processes_share_a_quota_without_the_management_library() {
    let (machine, mut judge) = without_nvml("h100,memory=16GiB");
    let mut clients: Vec<Client> = (0..4).map(|_| machine.open("t", "4GiB")).collect();
    for client in &mut clients {
        client.fill(BLOCK);
    }
    assert_eq!(machine.used("t"), 4 * GIB);
    assert!(judge.sum() <= 4 * GIB);
    clients.remove(0).kill();
    let mut next = machine.open("t", "4GiB");
    next.fill(BLOCK);
    assert!(judge.sum() <= 4 * GIB);
}
