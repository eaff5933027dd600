//! What the CUDA and NVML libraries refuse as real ones do, and what ends a program.

#[path = "../bench/mod.rs"]
mod bench;

use bench::Machine;

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
    assert!(err.contains("FCSP_SIM_NVML: 'NA' is not one of na,"), "{err}");
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
        told(&m, &["init"], &[("FCSP_SIM_FAULTS", "nvmlInit_v2=3;cuInit=7")]).0,
        "7"
    );
}
