//! `fcsp demo`: its verdicts, and that it leaves nothing.

use crate::{Machine, stderr, stdout};

pub fn leftovers(pid: u32) -> bool {
    ["/dev/shm", "/tmp"].iter().any(|dir| {
        std::path::Path::new(dir)
            .join(format!("fcsp-demo-{pid}"))
            .exists()
    })
}

#[test]
fn every_quota_holds_and_every_byte_comes_back() {
    let machine = Machine::new();
    let child = machine
        .command(&["demo", "--json", "--seconds", "3"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        stderr(&output),
        stdout(&output)
    );
    assert!(!leftovers(pid));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "fcsp.demo/1");
    assert_eq!(report["verdict"], "held");
    assert!(report["reclaim_ms"].as_f64().unwrap() < 1000.0);
    let tenants = report["tenants"].as_array().unwrap();
    assert_eq!(tenants.len(), 4);
    for tenant in tenants {
        let number = |key: &str| {
            tenant[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{key} of {tenant}"))
        };
        assert_eq!(
            number("seen_bytes"),
            number("quota_bytes"),
            "the quota is the device: {tenant}"
        );
        assert!(
            number("judged_peak_bytes") <= number("quota_bytes"),
            "{tenant}"
        );
        assert!(
            number("judged_peak_bytes") > 1 << 30,
            "it did something: {tenant}"
        );
        assert!(number("peak_bytes") <= number("quota_bytes"), "{tenant}");
        assert_eq!(number("after_exit_bytes"), 0, "{tenant}");
    }
    let refused = |name: &str| {
        tenants
            .iter()
            .find(|tenant| tenant["name"] == name)
            .unwrap()["refused"]
            .as_u64()
            .unwrap()
    };
    assert!(refused("batch") > 0);
    assert!(
        tenants
            .iter()
            .any(|tenant| tenant["name"] == "notebook" && tenant["killed"] == true)
    );
}

#[test]
fn plain_output_tells_the_story() {
    let machine = Machine::new();
    let output = machine.fcsp(&["demo", "--plain", "--seconds", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for part in ["refused", "kill -9", "Every quota held", "notebook"] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn a_demo_that_was_killed_is_cleared_up_after_by_the_next() {
    let machine = Machine::new();
    let mut child = machine
        .command(&["demo", "--json", "--seconds", "60"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::wait_for("the demo's folder", || leftovers(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(leftovers(child.id()));
    assert!(
        machine
            .fcsp(&["demo", "--json", "--seconds", "1"])
            .status
            .success()
    );
    assert!(!leftovers(child.id()));
}
