//! Limits in listings: what a user would write, and the same as numbers. One shape for every
//! command.

use fcsp_core::config::{Quota, Rules, text};
use fcsp_core::share::params::Params;
use fcsp_core::units::{Ppm, WHOLE};
use serde::Serialize;

/// A memory quota for one device, or for every device.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct MemoryRule {
    /// "*", a device's number, UUID or PCI address.
    pub device: String,
    /// The value as a user would write it.
    pub value: String,
    /// The quota in bytes; `None` for a part of the device, and for no limit.
    pub bytes: Option<u64>,
    /// The quota as a part of the device's memory, 1 for all of it; `None` for bytes, and for no
    /// limit.
    pub part: Option<f64>,
}

/// A share of a device's time. Parts are of the device's time, 1 for all of it.
#[derive(Debug, Clone, Default, Serialize, PartialEq)]
pub struct Promise {
    /// The part that is guaranteed; `None` without a share.
    pub guarantee: Option<f64>,
    /// Mode of enforcement: none, strict, balanced or adaptive.
    pub mode: Option<String>,
    /// Class that orders tenants: high, normal or low.
    pub priority: Option<String>,
    /// The part that stays while tenants of a higher priority have work.
    pub floor: Option<f64>,
    /// The most surplus that may be used.
    pub shared_pool: Option<f64>,
    /// The part up to which saved-up time may be spent; `None` without a burst.
    pub burst: Option<f64>,
    /// The weight in what others leave over, in millionths.
    pub weight: Option<u32>,
}

/// A compute share for one device, or for every device.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct ComputeRule {
    /// "*", a device's number, UUID or PCI address.
    pub device: String,
    /// The value as a user would read it.
    pub value: String,
    /// The value as numbers.
    #[serde(flatten)]
    pub promise: Promise,
}

fn part(ppm: Ppm) -> f64 {
    f64::from(ppm) / f64::from(WHOLE)
}

impl From<Params> for Promise {
    fn from(params: Params) -> Self {
        if params.is_unlimited() {
            return Self {
                mode: Some(params.mode.to_string()),
                ..Self::default()
            };
        }
        Self {
            guarantee: Some(part(params.guarantee)),
            mode: Some(params.mode.to_string()),
            priority: Some(params.priority.to_string()),
            floor: Some(part(params.floor)),
            shared_pool: Some(part(params.pool)),
            burst: (params.burst != 0).then(|| part(params.burst)),
            weight: Some(params.weight),
        }
    }
}

/// Returns the memory rules, in their order.
pub fn memory(rules: &Rules<Quota>) -> Vec<MemoryRule> {
    rules
        .iter()
        .map(|(selector, quota)| MemoryRule {
            device: selector.to_string(),
            value: quota.to_string(),
            bytes: match quota {
                Quota::Bytes(bytes) => Some(bytes),
                _ => None,
            },
            part: match quota {
                Quota::Share(ppm) => Some(part(ppm)),
                _ => None,
            },
        })
        .collect()
}

/// Returns the compute rules, in their order.
pub fn compute(rules: &Rules<Params>) -> Vec<ComputeRule> {
    rules
        .iter()
        .map(|(selector, params)| ComputeRule {
            device: selector.to_string(),
            value: text::share(&params),
            promise: params.into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_have_text_and_numbers() {
        let config = fcsp_core::config::env::read(
            [
                ("FCSP_MEMORY_LIMIT", "1GiB,1=40%,2=unlimited"),
                ("FCSP_COMPUTE_LIMIT", "25%,1=unlimited"),
                ("FCSP_PRIORITY", "low"),
                ("FCSP_FLOOR", "10%"),
                ("FCSP_BURST", "50%"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        )
        .unwrap();
        assert_eq!(
            json!(memory(&config.memory)),
            json!([
                { "device": "*", "value": "1 GiB", "bytes": 1 << 30, "part": null },
                { "device": "1", "value": "40%", "bytes": null, "part": 0.4 },
                { "device": "2", "value": "unlimited", "bytes": null, "part": null },
            ])
        );
        assert_eq!(
            json!(compute(&config.compute)),
            json!([
                {
                    "device": "*", "value": "25% balanced, priority low, floor 10%, burst 50%",
                    "guarantee": 0.25, "mode": "balanced", "priority": "low", "floor": 0.1, "shared_pool": 1.0,
                    "burst": 0.5, "weight": 250_000,
                },
                {
                    "device": "1", "value": "unlimited", "guarantee": null, "mode": "none",
                    "priority": null, "floor": null, "shared_pool": null, "burst": null, "weight": null,
                },
            ])
        );
    }
}
