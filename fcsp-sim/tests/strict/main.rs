//! What the CUDA and NVML libraries refuse as real ones do, and what ends a program.

#[path = "../bench/mod.rs"]
mod bench;

use bench::Machine;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Probes whose answer is stricter than the device's was. A device that answers is one whose freed
/// memory happened to be whole, or one that goes on with what it should not.
const STRICTER: &[&str] = &[
    // The names of kernels and the kinds of nodes were read from freed memory.
    "kernel_get_name",
    "churned_kernel_name",
    "node_get_type",
    "churned_node_type",
    "physical_properties",
    // Objects of a destroyed context: 709 where their memory was whole, a crash where it was not.
    "context_stream_synchronize",
    "context_stream_destroy",
    "context_event_query",
    "context_event_destroy",
    "context_event_elapsed",
    "context_event_record",
    "green_stream_after",
    "churned_context_stream",
    "reset_event_query",
    "reset_again_event_query",
    // What is no object at all, or one of another kind.
    "stream_host_memory",
    "wrong_kind_stream",
    "wrong_kind_event",
    "wrong_kind_graph",
    // The device took a destroyed pool for its current one.
    "pool_make_current",
    "churned_pool_current",
    // Handles of events and contexts are reused at once here, so that stale ones are found.
    "reused_event",
    "reused_context",
];

/// The answers of an H200 with driver 580.159.04, in the order of the probes.
const DEVICE: &str = include_str!("h200.txt");

/// Returns the probe, compiled.
fn probe() -> PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    let compile = || {
        let probe = bench::bench().join("probe");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/strict/probe.c");
        let cc = std::process::Command::new("cc")
            .args(["-O1", "-w", "-o"])
            .arg(&probe)
            .args([source, "-ldl", "-lpthread"])
            .status()
            .unwrap();
        assert!(cc.success(), "the probe does not compile");
        probe
    };
    PROBE.get_or_init(compile).clone()
}

#[test]
fn misuse_is_answered_as_by_the_device() {
    let m = Machine::new("probe", "h100");
    let out = m
        .command_of(&probe())
        .env("FCSP_SIM_STRICT", "all")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let said = |name: &str| {
        let line = text.lines().find(|l| l.split(' ').next() == Some(name));
        line.map_or("nothing", |l| l[name.len()..].trim())
    };
    let mut wrong = Vec::new();
    for line in DEVICE.lines() {
        let (name, device) = line.split_once(' ').unwrap();
        let here = said(name);
        // Of captures the state is told as well; the code that ends the line is the same as the
        // first.
        let captured = here.contains(" asked ");
        let here = if captured {
            here.rsplit_once(" = ").map_or(here, |(state, _)| state)
        } else {
            here
        };
        let stricter = STRICTER.contains(&name);
        if (here == device) == stricter {
            wrong.push(format!("{name}: device {device}, here {here}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Every crash comes with its line.
    let err = String::from_utf8(out.stderr).unwrap();
    let crashes = text.lines().filter(|l| l.ends_with("signal 11")).count();
    let lines = err.lines().filter(|l| l.starts_with("fcsp-sim: ")).count();
    // One crash is not the simulator's: a copy from an address that is no device's any more.
    assert_eq!(lines + 1, crashes, "{err}");
}

/// What the device had in use after each step, printed by the probes of sizes.
const SIZES: &str = include_str!("h200-sizes.txt");

#[test]
fn arrays_and_green_contexts_take_what_they_took_on_the_device() {
    let m = Machine::new("sizes-probe", "h100");
    let probe = probe();
    let said = |name: &str| {
        let mut command = m.command_of(&probe);
        command.arg(name).env("FCSP_SIM_STRICT", "all");
        let out = command.output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let here = said("sizes_arrays") + &said("green_quiet");
    let lines =
        |text: &str| -> Vec<String> { text.lines().map(|l| l.trim().to_string()).collect() };
    assert_eq!(lines(&here), lines(SIZES));
}

#[test]
fn a_crash_names_call_handle_end_and_caller() {
    use std::os::unix::process::ExitStatusExt;
    let m = Machine::new("crash", "tiny");
    let crash = |what: &str| {
        let mut command = m.command(&["crash", what]);
        let out = command.env("FCSP_SIM_STRICT", "all").output().unwrap();
        (String::from_utf8(out.stderr).unwrap(), out.status.signal())
    };
    let (line, signal) = crash("stale");
    assert_eq!(signal, Some(11), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in [
        "fcsp-sim: cuEventRecord: stream 0x11",
        " was destroyed by cuStreamDestroy_v2 in thread ",
        "; called from client+0x",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let (line, signal) = crash("foreign");
    assert_eq!(signal, Some(11), "{line}");
    assert!(
        line.contains(
            "cuStreamSynchronize: 0x123450 never was a handle of a stream in this process"
        ),
        "{line}"
    );
    // The program's own handler runs, and cannot keep the program.
    let (line, signal) = crash("handled");
    assert_eq!(signal, Some(11), "{line}");
    assert!(line.ends_with("handled\n"), "{line}");
}

/// What a client says, and its stderr.
fn told(m: &Machine, args: &[&str], env: &[(&str, &str)]) -> (String, String) {
    let out = m.command(args).envs(env.iter().copied()).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", out.status);
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_string();
    (text(out.stdout), text(out.stderr))
}

#[test]
fn management_libraries_differ_as_asked() {
    let m = Machine::new("nvml", "tiny");
    let lists = |variant: &str| told(&m, &["nvml"], &[("FCSP_SIM_NVML", variant)]);
    for (variant, want) in [
        ("", "1:+0=8 0: 0"),
        ("na", "1:+0=-1 0: 0"),
        ("hostpid", "1:+1000000=8 0: 0"),
        ("mps,na", "0: 1:+0=-1 0"),
        ("unlisted", "0: 0: 0"),
        ("uma", "1:+0=8 0: 3"),
    ] {
        assert_eq!(lists(variant).0, want, "{variant}");
    }
    let (out, err) = lists("NA");
    assert_eq!(out, "nvmlInit_v2 = 9");
    assert!(
        err.contains("FCSP_SIM_NVML: 'NA' is not one of na,"),
        "{err}"
    );
}

#[test]
fn a_child_of_any_kind_of_fork_is_refused() {
    let m = Machine::new("forked", "tiny");
    for kind in ["fork", "_Fork", "clone"] {
        assert_eq!(told(&m, &["forked", kind], &[]).0, "0 0", "{kind}");
    }
}

#[test]
fn a_child_forked_during_initialisation_does_not_wait() {
    let m = Machine::new("forks-in-init", "tiny");
    let (region, _) = m.region();
    let lock = region.lock();
    let mut client = m.start(&["forks_in_init"]);
    assert_eq!(client.line(), "0");
    drop(lock);
    assert_eq!(client.line(), "0");
}

#[test]
fn faults_and_rules_that_cannot_be_read_are_refused_by_name() {
    let m = Machine::new("unreadable", "tiny");
    for (key, text, word) in [
        (
            "FCSP_SIM_FAULTS",
            "cuMemAlloc_v2=2@0",
            "'cuMemAlloc_v2=2@0' is no rule",
        ),
        ("FCSP_SIM_FAULTS", "cuMemAloc=2", "exports 'cuMemAloc'"),
        ("FCSP_SIM_FAULTS", "malloc=2", "exports 'malloc'"),
        ("FCSP_SIM_STRICT", "handels", "'handels' is no rule"),
    ] {
        let (code, line) = told(&m, &["init"], &[(key, text)]);
        assert_eq!(code, "100", "{text}");
        assert!(line.starts_with(&format!("fcsp-sim: {key}: ")), "{line}");
        assert!(line.contains(word) && line.lines().count() == 1, "{line}");
    }
    assert_eq!(
        told(
            &m,
            &["init"],
            &[("FCSP_SIM_FAULTS", "nvmlInit_v2=3;cuInit=7")]
        )
        .0,
        "7"
    );
}
