//! `fcsp devices`: what is there, what is promised of it, and to whom.

use fcsp_core::device::DeviceUuid;

use crate::share::{Client, spin};
use crate::{Machine, refuses, stderr, stdout};

const GIB: u64 = 1 << 30;

#[test]
fn devices_show_what_is_promised_of_them_and_to_whom() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let listed = || machine.json(&["devices", "--sim", "h100", "--json"], 0);
    let empty = listed();
    assert_eq!(empty["schema"], "fcsp.devices/2");
    assert_eq!(empty["problems"], serde_json::json!([]));
    assert_eq!(empty["devices"].as_array().unwrap().len(), 1);
    let device = &empty["devices"][0];
    assert_eq!(
        (device["number"].as_u64(), device["index"].as_u64()),
        (Some(0), Some(0))
    );
    assert_eq!(
        (&device["vendor"], device["promised_bytes"].as_u64()),
        (&"cuda".into(), Some(0))
    );
    assert!(device["name"].as_str().unwrap().contains("H100"));
    let uuid = device["uuid"].as_str().unwrap();
    assert!(uuid.parse::<DeviceUuid>().is_ok());
    assert!(device["total_bytes"].as_u64().unwrap() > 79 * GIB);
    let before = device["used_bytes"].as_u64().unwrap();
    assert!(before < GIB);

    let options = ["--memory", "60GiB", "--compute", "60%", "--mode", "strict"];
    let _busy = Client::busy(&machine, &program, "train", &options);
    let now = listed();
    let device = &now["devices"][0];
    assert_eq!(device["promised_bytes"], 60 * GIB);
    assert_eq!(
        (
            device["promised_share"].as_f64(),
            device["unlimited"].as_u64()
        ),
        (Some(0.6), Some(0))
    );
    assert!(device["used_bytes"].as_u64().unwrap() > before, "{device}");
    let tenant = &device["tenants"][0];
    assert_eq!(
        (&tenant["name"], &tenant["limit_bytes"]),
        (&"train".into(), &(60 * GIB).into())
    );
    assert!(tenant["used_bytes"].as_u64().unwrap() > 0);
    let text = stdout(&machine.fcsp(&["devices", "--sim", "h100"]));
    for part in ["H100", uuid, "60 GiB promised", "60% promised", "train"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("MORE THAN IT HAS"), "{text}");

    // On a machine without their driver, tenants' devices are listed all the same.
    let gone = machine.json(&["devices", "--json"], 0);
    let known = gone["devices"].as_array().unwrap();
    let ours = known.iter().find(|known| known["uuid"] == uuid).unwrap();
    assert_eq!(ours["promised_bytes"], 60 * GIB);

    // Named, though no program of it has used the device yet.
    let memory = format!("{uuid}=40GiB");
    let share = format!("{uuid}=50%");
    let _later = machine.sleeper("later", &["--memory", &memory, "--compute", &share]);
    let now = listed();
    assert_eq!(now["devices"][0]["promised_bytes"], 100 * GIB);
    let text = stdout(&machine.fcsp(&["devices", "--sim", "h100"]));
    assert_eq!(text.matches("MORE THAN IT HAS").count(), 2, "{text}");
    let report = machine.json(&["doctor", "--sim", "h100", "--json"], 0);
    let promises: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["topic"] == "promises")
        .map(|finding| finding["text"].as_str().unwrap())
        .collect();
    assert_eq!(promises.len(), 2, "{promises:?}");
    assert!(
        promises
            .iter()
            .all(|text| text.contains("train") && text.contains("later"))
    );
}

#[test]
fn devices_that_cannot_be_read_are_said_to_be_so() {
    let machine = Machine::new();
    let output = machine
        .command(&["devices", "--sim", "h100", "--json"])
        .env("FCSP_SIM_FAULTS", "nvmlInit_v2=9;cuInit=999")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = report["problems"][0]["text"].as_str().unwrap();
    assert!(text.contains("the kernel module is not loaded"), "{text}");
    refuses(
        &machine.fcsp(&["devices", "--sim", "h1000"]),
        125,
        &["--sim", "h100"],
    );
}

/// Checks that a program that embeds fcsp-core and submits work itself is listed with its share,
/// although it has no region.
#[test]
fn a_tenant_that_only_submits_work_is_listed_with_its_share() {
    use fcsp_core::config::Config;
    use fcsp_core::share::params::Params;
    use fcsp_core::state::StateDir;
    use fcsp_core::submitter::Submitter;

    let machine = Machine::new();
    let state = StateDir::at(machine.path().join("state"));
    let device = DeviceUuid([7; 16]);
    let mut config = Config::unlimited();
    config.tenant = Some("worker".into());
    config
        .compute
        .set(fcsp_core::device::Selector::All, Params::strict(250_000));
    let tenant = fcsp_core::tenant::Tenant::join(&state, &config).unwrap();
    let page = tenant.share_page(&device).unwrap();
    let submitter = Submitter::new(&page, Params::strict(250_000)).unwrap();
    let view = machine.tenant("worker").unwrap();
    assert_eq!(view["alive"], true);
    let listed = &view["devices"][0];
    assert_eq!(listed["uuid"], device.to_string());
    assert!(listed["used_bytes"].is_null() && listed["total_bytes"].is_null());
    assert_eq!(listed["compute"]["guarantee"], 0.25);
    assert_eq!(listed["compute"]["utilization"], 0.0);
    let text = stdout(&machine.fcsp(&["ps"]));
    assert!(
        text.contains("worker") && text.contains("25% strict"),
        "{text}"
    );
    // Its page goes with it.
    let folder = machine.path().join("state/devices");
    let file = folder.join(device.to_string()).join("worker.page");
    assert!(file.is_file());
    drop(submitter);
    drop((page, tenant));
    let removed = machine.json(&["gc", "--json"], 0);
    assert_eq!(removed["removed"], serde_json::json!(["worker"]));
    assert!(!file.exists());
}
