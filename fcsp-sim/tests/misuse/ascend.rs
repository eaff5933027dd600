//! Ascend. What the published runtime of CANN 9.0 does: handles of streams, events, models,
//! binaries and functions are pointers that it follows without a look, contexts are looked up, a
//! stream's context is compared with the current one.

use crate::bench::Vendor;
use std::sync::OnceLock;

static ASCEND: Vendor = Vendor {
    name: "ascend",
    spec: "910b,memory=1GiB,context=8MiB",
    packages: &["fcsp-sim-ascend-acl", "fcsp-sim-ascend-rt"],
    libraries: &[
        ("libfcsp_sim_ascend_rt.so", "libruntime.so"),
        ("libfcsp_sim_ascend_acl.so", "libascendcl.so"),
    ],
    folder: OnceLock::new(),
};

#[test]
fn ascend_destroyed_handles_end_the_program() {
    for (scenario, call, kind, end) in [
        (
            "dead_stream",
            "rtStreamSynchronize",
            "stream",
            "rtStreamDestroy",
        ),
        (
            "dead_stream_launch",
            "rtsLaunchKernelWithHostArgs",
            "stream",
            "rtStreamDestroy",
        ),
        (
            "dead_stream_twice",
            "rtStreamDestroy",
            "stream",
            "rtStreamDestroy",
        ),
        ("dead_event", "rtEventRecord", "event", "rtEventDestroy"),
        (
            "dead_event_twice",
            "rtEventDestroy",
            "event",
            "rtEventDestroy",
        ),
        (
            "dead_event_awaited",
            "rtStreamWaitEvent",
            "event",
            "rtEventDestroy",
        ),
        ("dead_model", "rtModelExecute", "model", "rtModelDestroy"),
        (
            "dead_binary",
            "rtsFuncGetByName",
            "binary",
            "rtBinaryUnLoad",
        ),
        (
            "dead_function",
            "rtsLaunchKernelWithHostArgs",
            "function",
            "rtBinaryUnLoad",
        ),
        (
            "stream_after_reset",
            "rtStreamSynchronize",
            "stream",
            "rtDeviceReset",
        ),
        (
            "event_after_reset",
            "rtEventQueryStatus",
            "event",
            "rtDeviceReset",
        ),
        (
            "event_destroyed_after_reset",
            "rtEventDestroy",
            "event",
            "rtDeviceReset",
        ),
        (
            "model_after_reset",
            "rtModelDestroy",
            "model",
            "rtDeviceReset",
        ),
        (
            "stream_after_context",
            "rtStreamSynchronize",
            "stream",
            "rtCtxDestroyEx",
        ),
        (
            "default_stream_after_context",
            "rtStreamSynchronize",
            "stream",
            "rtCtxDestroyEx",
        ),
        (
            "model_after_context",
            "rtModelExecute",
            "model",
            "rtCtxDestroyEx",
        ),
        (
            "primary_stream_beside_explicit",
            "rtStreamSynchronize",
            "stream",
            "rtDeviceReset",
        ),
    ] {
        let (kind, end) = (
            format!("{call}: {kind} 0x"),
            format!(" was destroyed by {end} in thread "),
        );
        ASCEND.dies(
            scenario,
            call,
            &[
                &kind,
                &end,
                "; called from libascendcl.so+0x",
                " from client+0x",
            ],
        );
    }
    ASCEND.dies(
        "never_a_stream",
        "rtStreamSynchronize",
        &[" never was a handle of a stream in this process"],
    );
    let words = [
        "the context of event 0x",
        " was destroyed by rtCtxDestroyEx in thread ",
    ];
    ASCEND.dies("event_after_context", "rtEventRecord", &words);
}

#[test]
fn ascend_codes_stay_codes() {
    // A stream of another context, but to synchronise it; a model of another; contexts that are
    // gone or primary; an event of a context that is gone, destroyed; a bound stream destroyed, and
    // again once its model is gone; beyond the memory; twice.
    let foreign = "107003 107003 107003 107003 0 107004";
    let gone = "107002 107002 107002 0 107005 0";
    assert_eq!(
        ASCEND.says("codes", &[]),
        format!("{foreign} {gone} 107000 107000")
    );
}

#[test]
fn ascend_an_explicit_context_keeps_its_device() {
    assert_eq!(ASCEND.says("explicit_stays", &[]), "0 0 107000");
}

#[test]
fn ascend_handles_come_back_last_first() {
    assert_eq!(ASCEND.says("reuse", &[]), "1 1");
}
