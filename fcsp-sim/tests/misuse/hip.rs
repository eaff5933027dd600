//! HIP. What the published sources of its runtime do: streams, events, pools, functions and
//! physical memory are pointers that it follows without a look; modules, arrays, graphs and what is
//! to be destroyed are looked up.

use crate::bench::Vendor;
use std::sync::OnceLock;

static HIP: Vendor = Vendor {
    name: "hip",
    spec: "mi300xx2,memory=1GiB,context=8MiB",
    packages: &["fcsp-sim-hip"],
    libraries: &[("libfcsp_sim_hip.so", "libamdhip64.so.6")],
    folder: OnceLock::new(),
};

#[test]
fn hip_destroyed_handles_end_the_program() {
    for (scenario, call, kind, end) in [
        (
            "dead_stream",
            "hipStreamSynchronize",
            "stream",
            "hipStreamDestroy",
        ),
        (
            "dead_stream_record",
            "hipEventRecord",
            "stream",
            "hipStreamDestroy",
        ),
        (
            "dead_stream_launch",
            "hipModuleLaunchKernel",
            "stream",
            "hipStreamDestroy",
        ),
        (
            "dead_stream_alloc",
            "hipMallocAsync",
            "stream",
            "hipStreamDestroy",
        ),
        (
            "dead_stream_twice",
            "hipStreamDestroy",
            "stream",
            "hipStreamDestroy",
        ),
        ("dead_event", "hipEventQuery", "event", "hipEventDestroy"),
        (
            "dead_event_record",
            "hipEventRecord",
            "event",
            "hipEventDestroy",
        ),
        (
            "dead_event_elapsed",
            "hipEventElapsedTime",
            "event",
            "hipEventDestroy",
        ),
        (
            "dead_pool",
            "hipMemPoolGetAttribute",
            "memory pool",
            "hipMemPoolDestroy",
        ),
        (
            "dead_pool_alloc",
            "hipMallocFromPoolAsync",
            "memory pool",
            "hipMemPoolDestroy",
        ),
        (
            "dead_function",
            "hipModuleLaunchKernel",
            "function",
            "hipModuleUnload",
        ),
        (
            "dead_physical",
            "hipMemMap",
            "physical allocation",
            "hipMemRelease",
        ),
        (
            "dead_physical_twice",
            "hipMemRelease",
            "physical allocation",
            "hipMemRelease",
        ),
        (
            "stream_after_reset",
            "hipStreamSynchronize",
            "stream",
            "hipDeviceReset",
        ),
        (
            "event_after_reset",
            "hipEventQuery",
            "event",
            "hipDeviceReset",
        ),
        (
            "pool_after_reset",
            "hipMemPoolGetAttribute",
            "memory pool",
            "hipDeviceReset",
        ),
        (
            "default_pool_after_reset",
            "hipMemPoolGetAttribute",
            "memory pool",
            "hipDeviceReset",
        ),
        (
            "function_after_reset",
            "hipModuleLaunchKernel",
            "function",
            "hipDeviceReset",
        ),
    ] {
        let (kind, end) = (
            format!("{call}: {kind} 0x"),
            format!(" was destroyed by {end} in thread "),
        );
        HIP.dies(scenario, call, &[&kind, &end, "; called from client+0x"]);
    }
    HIP.dies(
        "never_a_stream",
        "hipStreamSynchronize",
        &[" never was a handle of a stream in this process"],
    );
}

#[test]
fn hip_codes_stay_codes() {
    // Event, pool and module destroyed twice, a function of a dead module; an array freed twice,
    // described; a dead executable launched, a dead graph destroyed, a dead node asked; beyond the
    // memory, freed twice.
    assert_eq!(HIP.says("codes", &[]), "709 1 500 500 709 400 1 1 1 1 1");
    assert_eq!(HIP.says("two_devices", &[]), "400 400");
}

#[test]
fn hip_a_reset_frees_what_pools_held() {
    assert_eq!(HIP.says("memory_after_reset", &[]), "1 1 1 709 1 1 0");
}

#[test]
fn hip_handles_come_back_last_first() {
    assert_eq!(HIP.says("reuse", &[]), "1 1 1");
}
