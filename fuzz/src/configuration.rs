//! Amounts, rules, variables and the file: whatever somebody writes, the answer is a value that
//! holds what it says, or an error that names its field.

use fcsp_core::config::{Config, Quota, Rules, env, file};
use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::units::{self, Percent};

/// Runs one input: the first byte chooses the reader, the rest is its text.
pub fn run(data: &[u8]) {
    let mut input = crate::Input::new(data);
    let which = input.byte();
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    match which % 5 {
        0 => amounts(&text),
        1 => rules(&text),
        2 => variables(&text),
        3 => toml(&text),
        _ => drop(text.parse::<fcsp_core::device::Selector>()),
    }
}

fn amounts(text: &str) {
    match units::parse_bytes(text) {
        Ok(bytes) => {
            assert!(bytes > 0, "{text:?} is a quota of nothing");
            assert_eq!(units::parse_bytes(&bytes.to_string()), Ok(bytes));
        }
        Err(error) => assert!(error.to_string().contains(text)),
    }
    if let Ok(share) = units::parse_percent(text) {
        assert!((1..=units::WHOLE).contains(&share), "{text:?} is {share}");
        assert_eq!(units::parse_percent(&Percent(share).to_string()), Ok(share));
    }
}

fn device(index: u32) -> DeviceIdentity {
    DeviceIdentity {
        index: Some(index),
        uuid: DeviceUuid([index as u8; 16]),
        pci: None,
    }
}

fn rules(text: &str) {
    match Rules::parse("--memory", text, Quota::parse) {
        Ok(rules) => {
            assert!(!rules.is_empty());
            for index in 0..4 {
                let Some(quota) = rules.for_device(&device(index)) else {
                    continue;
                };
                assert!(rules.iter().any(|(_, known)| known == quota));
                if let Quota::Share(_) = quota {
                    assert!(quota.resolve(80 << 30) <= 80 << 30);
                }
            }
        }
        Err(error) => assert_eq!(error.field, "--memory"),
    }
}

fn check(config: &Config) {
    for (_, quota) in config.memory.iter() {
        assert!(quota.resolve(1 << 40) > 0 || matches!(quota, Quota::Share(_)));
    }
    for (_, params) in config.compute.iter() {
        params
            .validate()
            .expect("a share that was accepted is consistent");
    }
}

/// `NAME=value` lines.
fn variables(text: &str) {
    let pairs = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    match env::read(pairs) {
        Ok(config) => check(&config),
        Err(error) => assert!(!error.field.is_empty() && !error.reason.is_empty()),
    }
}

fn toml(text: &str) {
    match file::parse("tenant.toml", text) {
        Ok(config) => check(&config),
        Err(error) => assert!(error.field.starts_with("tenant.toml"), "{error}"),
    }
}

#[cfg(test)]
#[test]
fn configuration() {
    let seeds: [&[u8]; 9] = [
        b"\x008GiB",
        b"\x001.5 TB",
        b"\x0012.5%",
        b"\x010=8GiB,GPU-01020304-0506-0708-090a-0b0c0d0e0f10=40%,*=unlimited",
        b"\x010000:3b:00.0=512MiB",
        b"\x02FCSP_MEMORY_LIMIT=8GiB\nFCSP_COMPUTE_LIMIT_1=25%\nFCSP_MODE=strict\nFCSP_BURST=60%",
        b"\x02CUDA_DEVICE_MEMORY_LIMIT_0=1g\nCUDA_TASK_PRIORITY=0\nBUD_SM_LIMIT=50\nBUD_TENANT_FLOOR_PCT=20",
        b"\x03tenant = \"a\"\nmemory = \"8GiB\"\ncompute = \"25%\"\nshared_pool = \"40%\"",
        b"\x04GPU-01020304-0506-0708-090a-0b0c0d0e0f10",
    ];
    crate::tests::try_many(&seeds, 20_000, run);
}
