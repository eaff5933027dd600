//! Level Zero. "Unless otherwise specified, the driver behavior is undefined when APIs are
//! improperly used" (specification, Introduction, Error Handling): its handles are pointers that
//! Intel's driver follows without a look.

use crate::bench::{Vendor, text};
use std::sync::OnceLock;

static LEVELZERO: Vendor = Vendor {
    name: "levelzero",
    spec: "pvc,memory=1GiB,context=8MiB",
    packages: &["fcsp-sim-levelzero"],
    libraries: &[("libfcsp_sim_levelzero.so", "libze_fcsp_sim.so.1")],
    folder: OnceLock::new(),
};

#[test]
fn levelzero_destroyed_handles_end_the_program() {
    for (scenario, call, kind, end) in [
        (
            "dead_queue",
            "zeCommandQueueSynchronize",
            "command queue",
            "zeCommandQueueDestroy",
        ),
        (
            "dead_list",
            "zeCommandListAppendBarrier",
            "command list",
            "zeCommandListDestroy",
        ),
        (
            "dead_list_executed",
            "zeCommandQueueExecuteCommandLists",
            "command list",
            "zeCommandListDestroy",
        ),
        (
            "dead_event",
            "zeEventQueryStatus",
            "event",
            "zeEventDestroy",
        ),
        (
            "dead_event_in_list",
            "zeCommandListAppendBarrier",
            "event",
            "zeEventDestroy",
        ),
        (
            "dead_event_twice",
            "zeEventDestroy",
            "event",
            "zeEventDestroy",
        ),
        (
            "dead_pool",
            "zeEventCreate",
            "event pool",
            "zeEventPoolDestroy",
        ),
        (
            "dead_fence",
            "zeFenceQueryStatus",
            "fence",
            "zeFenceDestroy",
        ),
        ("dead_module", "zeKernelCreate", "module", "zeModuleDestroy"),
        (
            "dead_kernel",
            "zeCommandListAppendLaunchKernel",
            "kernel",
            "zeKernelDestroy",
        ),
        (
            "dead_physical",
            "zePhysicalMemDestroy",
            "physical memory",
            "zePhysicalMemDestroy",
        ),
        (
            "dead_context",
            "zeMemAllocDevice",
            "context",
            "zeContextDestroy",
        ),
        (
            "list_after_context",
            "zeCommandListAppendBarrier",
            "command list",
            "zeContextDestroy",
        ),
        (
            "event_after_context",
            "zeEventQueryStatus",
            "event",
            "zeContextDestroy",
        ),
        (
            "event_destroyed_after_context",
            "zeEventDestroy",
            "event",
            "zeContextDestroy",
        ),
        (
            "kernel_after_context",
            "zeKernelSetGroupSize",
            "kernel",
            "zeContextDestroy",
        ),
    ] {
        let (kind, end) = (
            format!("{call}: {kind} 0x"),
            format!(" was destroyed by {end} in thread "),
        );
        LEVELZERO.dies(scenario, call, &[&kind, &end, "; called from client+0x"]);
    }
    LEVELZERO.dies(
        "never_a_queue",
        "zeCommandQueueSynchronize",
        &[" never was a handle of a command queue in this process"],
    );
}

#[test]
fn levelzero_children_go_before_their_parents() {
    LEVELZERO.dies(
        "pool_with_event",
        "zeEventPoolDestroy",
        &["event pool 0x", " still has event 0x"],
    );
    LEVELZERO.dies(
        "queue_with_fence",
        "zeCommandQueueDestroy",
        &["command queue 0x", " still has fence 0x"],
    );
    LEVELZERO.dies(
        "module_with_kernel",
        "zeModuleDestroy",
        &["module 0x", " still has kernel 0x"],
    );
}

#[test]
fn levelzero_objects_of_two_contexts_in_one_call_end_the_program() {
    let append = "zeCommandListAppendBarrier";
    LEVELZERO.dies(
        "foreign_event",
        append,
        &["event 0x", " is of context 0x", ", not of 0x"],
    );
    let execute = "zeCommandQueueExecuteCommandLists";
    LEVELZERO.dies(
        "foreign_list",
        execute,
        &["command list 0x", " is of context 0x"],
    );
    let launch = "zeCommandListAppendLaunchKernel";
    LEVELZERO.dies(
        "foreign_kernel",
        launch,
        &["kernel 0x", " is of context 0x"],
    );
    let copy = "zeCommandListAppendMemoryCopy";
    LEVELZERO.dies(
        "foreign_memory",
        copy,
        &["memory at 0x", " is of context 0x"],
    );
}

#[test]
fn levelzero_two_threads_on_one_list_end_the_program() {
    let call = "zeCommandListAppendBarrier";
    let same = format!(" is in {call} in thread ");
    LEVELZERO.dies(
        "two_threads",
        call,
        &["command list 0x", &same, " at the same time"],
    );
}

#[test]
fn levelzero_what_the_device_uses_must_be_let_alone() {
    for (scenario, call, kind) in [
        (
            "list_executed_twice",
            "zeCommandQueueExecuteCommandLists",
            "command list",
        ),
        (
            "list_reset_while_executed",
            "zeCommandListReset",
            "command list",
        ),
        (
            "list_destroyed_while_executed",
            "zeCommandListDestroy",
            "command list",
        ),
        (
            "queue_destroyed_while_busy",
            "zeCommandQueueDestroy",
            "command queue",
        ),
        (
            "immediate_destroyed_while_busy",
            "zeCommandListDestroy",
            "immediate command list",
        ),
        ("event_destroyed_while_awaited", "zeEventDestroy", "event"),
        ("fence_destroyed_while_busy", "zeFenceDestroy", "fence"),
    ] {
        LEVELZERO.dies(
            scenario,
            call,
            &[&format!("the device still uses {kind} 0x")],
        );
    }
    assert_eq!(LEVELZERO.says("allowed", &[]), "");
}

#[test]
fn levelzero_handles_come_back_last_first() {
    assert_eq!(LEVELZERO.says("reuse", &[]), "1 1");
}

#[test]
fn levelzero_rules_can_be_switched_off() {
    let said = |rules: &str| {
        let out = LEVELZERO.run("dead_event", &[("FCSP_SIM_STRICT", rules)]);
        text(&out.stdout)
    };
    assert_eq!(said("none"), "ready\nsurvived");
    assert_eq!(said("all,-handles"), "ready\nsurvived");
    assert_eq!(said("handles"), "ready");
}

#[test]
fn levelzero_codes_stay_codes() {
    // Freed through another context and freed twice: invalid argument. A null handle. A copy beyond
    // its memory: device lost.
    assert_eq!(
        LEVELZERO.says("codes", &[]),
        "78000004 78000004 78000005 70000001"
    );
    let in_use = [("FCSP_SIM_FAULTS", "zeCommandQueueDestroy=2013265926@1")];
    assert_eq!(LEVELZERO.says("kept", &in_use), "78000006 0 0");
}

#[test]
fn levelzero_what_a_context_leaves_behind_is_said() {
    let out = LEVELZERO.run("leak", &[("FCSP_SIM_LOG", "1")]);
    let line = text(&out.stderr);
    assert!(out.status.success(), "{line}");
    assert!(line.starts_with("fcsp-sim: context 0x"), "{line}");
    assert!(
        line.ends_with(" ended with command queues 1, events 1, event pools 1 alive"),
        "{line}"
    );
}
