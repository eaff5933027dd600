//! Configuration from environment variables: FCSP's own, and those of HAMi and of the published
//! product.
//!
//! | FCSP | published product | HAMi |
//! |---|---|---|
//! | `FCSP_MEMORY_LIMIT`, `FCSP_MEMORY_LIMIT_<i>` | `BUD_MEMORY_LIMIT`, `BUD_MEMORY_LIMIT_DEV<i>` | `CUDA_DEVICE_MEMORY_LIMIT`, `CUDA_DEVICE_MEMORY_LIMIT_<i>` |
//! | `FCSP_COMPUTE_LIMIT`, `FCSP_COMPUTE_LIMIT_<i>` | `BUD_SM_LIMIT`, `BUD_SM_LIMIT_DEV<i>`, `BUD_COMPUTE_LIMIT` | `CUDA_DEVICE_SM_LIMIT`, `CUDA_DEVICE_SM_LIMIT_<i>` |
//! | `FCSP_MODE` | `BUD_ISOLATION_MODE` | |
//! | `FCSP_PRIORITY` | | `CUDA_TASK_PRIORITY` (0 is high) |
//! | `FCSP_FLOOR`, `FCSP_SHARED_POOL`, `FCSP_BURST` | `BUD_TENANT_FLOOR_PCT`, `BUD_SHARED_POOL_PCT`, `BUD_BURST_MAX_PCT` | |
//! | `FCSP_SPATIAL` | | |
//! | `FCSP_TENANT` | | |
//!
//! For each quantity, the first column that sets anything decides alone; columns are never mixed.
//! In the aliases, a value of 0 means "no limit", as their own documentation says. In FCSP's
//! variables it is an error.

use super::{Config, ConfigError, Parameter, Quota, Rules, Source, check_tenant_name, initial};
use crate::device::Selector;
use crate::share::params::Params;
use crate::spatial::UnitRequest;
use crate::units::{self, Ppm};

/// Beginnings of the names that this module reads. [`super::names`] has the names themselves.
pub const PREFIXES: &[&str] = &[
    "FCSP_MEMORY_LIMIT",
    "FCSP_COMPUTE_LIMIT",
    "FCSP_MODE",
    "FCSP_PRIORITY",
    "FCSP_FLOOR",
    "FCSP_SHARED_POOL",
    "FCSP_BURST",
    "FCSP_SPATIAL",
    "FCSP_TENANT",
    "BUD_MEMORY_LIMIT",
    "BUD_SM_LIMIT",
    "BUD_COMPUTE_LIMIT",
    "BUD_ISOLATION_MODE",
    "BUD_TENANT_FLOOR_PCT",
    "BUD_SHARED_POOL_PCT",
    "BUD_BURST_MAX_PCT",
    "CUDA_DEVICE_MEMORY_LIMIT",
    "CUDA_DEVICE_SM_LIMIT",
    "CUDA_TASK_PRIORITY",
];

/// One vendor's spelling of a quantity for each device.
struct Spelling {
    name: &'static str,
    /// Separator between the name and a device number.
    per_device: &'static str,
    /// True if 0 means "no limit" and a percentage may lack its sign.
    alias: bool,
}

const fn own(name: &'static str) -> Spelling {
    Spelling {
        name,
        per_device: "_",
        alias: false,
    }
}

const fn alias(name: &'static str, per_device: &'static str) -> Spelling {
    Spelling {
        name,
        per_device,
        alias: true,
    }
}

const MEMORY: [Spelling; 3] = [
    own(Parameter::Memory.variable()),
    alias("BUD_MEMORY_LIMIT", "_DEV"),
    alias("CUDA_DEVICE_MEMORY_LIMIT", "_"),
];
const COMPUTE: [Spelling; 4] = [
    own(Parameter::Compute.variable()),
    alias("BUD_SM_LIMIT", "_DEV"),
    alias("BUD_COMPUTE_LIMIT", "_DEV"),
    alias("CUDA_DEVICE_SM_LIMIT", "_"),
];

/// Reads a configuration from variables. Other variables are ignored.
pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    read_all(variables.into_iter().collect())
}

/// Reads all variables. One instance for every caller, since this is the largest function of the
/// preload library.
fn read_all(variables: Vec<(String, String)>) -> Result<Config, ConfigError> {
    let variables: Vec<(String, String)> = variables
        .into_iter()
        .filter(|(name, value)| {
            !value.trim().is_empty() && PREFIXES.iter().any(|p| name.starts_with(p))
        })
        .collect();
    let get = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };

    let mut config = Config::unlimited();
    if let Some(name) = get("FCSP_TENANT") {
        check_tenant_name("FCSP_TENANT", name)?;
        config.tenant = Some(name.to_owned());
    }
    config.memory = per_device(&variables, &MEMORY, |text, alias| match text {
        text if alias && is_nothing(text) => Ok(Quota::Unlimited),
        text => Quota::parse(text),
    })?;
    let shares: Rules<Option<Ppm>> = per_device(&variables, &COMPUTE, |text, alias| match text {
        "0" if alias => Ok(Some(units::WHOLE)),
        "unlimited" | "none" => Ok(None),
        text if alias && !text.ends_with('%') => {
            units::parse_percent(&format!("{text}%")).map(Some)
        }
        text => units::parse_share(text).map(Some),
    })?;
    config.compute = compute(shares, &get)?;
    if let Some(text) = get("FCSP_SPATIAL") {
        config.spatial = Rules::parse("FCSP_SPATIAL", text, UnitRequest::parse)?;
    }
    if !config.memory.is_empty() || !config.compute.is_empty() {
        config.source = Source::Environment;
    }
    Ok(config)
}

/// Returns true if `text` means no limit to HAMi and the published product: 0 with any unit, or
/// none.
fn is_nothing(text: &str) -> bool {
    let unit = text.trim().trim_start_matches('0');
    unit.len() < text.trim().len()
        && unit
            .trim()
            .bytes()
            .all(|byte| b"kmgtibKMGTIB".contains(&byte))
}

/// Reads a configuration from this process's environment. If that sets nothing, it reads the
/// environment that the process was started with: daemons clear theirs before they do anything
/// else.
pub fn read_own() -> Result<Config, ConfigError> {
    read_all(initial::settings())
}

fn per_device<T: Copy>(
    variables: &[(String, String)],
    spellings: &[Spelling],
    parse: impl Fn(&str, bool) -> Result<T, units::UnitError>,
) -> Result<Rules<T>, ConfigError> {
    for spelling in spellings {
        let mut rules = Rules::new();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(spelling.name) else {
                continue;
            };
            let parsed = Rules::parse(name, value, |text| parse(text.trim(), spelling.alias));
            if rest.is_empty() {
                for (selector, value) in parsed?.iter() {
                    rules.set(selector, value);
                }
            } else if let Some(Ok(index)) = rest
                .strip_prefix(spelling.per_device)
                .map(str::parse::<u32>)
            {
                let value = parse(value.trim(), spelling.alias)
                    .map_err(|reason| ConfigError::new(name, reason))?;
                rules.set(Selector::Index(index), value);
            } else if !spelling.alias {
                return Err(ConfigError::new(
                    name,
                    format!(
                        "is not a variable of FCSP; for one device write {}_0",
                        spelling.name
                    ),
                ));
            }
        }
        if !rules.is_empty() {
            return Ok(rules);
        }
    }
    Ok(Rules::new())
}

/// Builds the compute rules: shares by device (`None` is no share), and the other parameters for
/// all of them.
fn compute<'a>(
    mut shares: Rules<Option<Ppm>>,
    get: &impl Fn(&str) -> Option<&'a str>,
) -> Result<Rules<Params>, ConfigError> {
    /// Parameters that hold for every device with a share, with their aliases.
    const PARAMETERS: [(Parameter, &str); 5] = [
        (Parameter::Mode, "BUD_ISOLATION_MODE"),
        (Parameter::Priority, "CUDA_TASK_PRIORITY"),
        (Parameter::Floor, "BUD_TENANT_FLOOR_PCT"),
        (Parameter::SharedPool, "BUD_SHARED_POOL_PCT"),
        (Parameter::Burst, "BUD_BURST_MAX_PCT"),
    ];
    let given: Vec<(&str, &str, &str)> = PARAMETERS
        .iter()
        .filter_map(|&(parameter, alias)| {
            [parameter.variable(), alias]
                .into_iter()
                .find_map(|name| Some((parameter.key(), name, get(name)?.trim())))
        })
        .collect();
    if shares.is_empty() && !given.is_empty() {
        shares.set(Selector::All, Some(units::WHOLE));
    }
    let general = shares
        .iter()
        .any(|(selector, share)| selector == Selector::All && share.is_some());
    let mut rules = Rules::new();
    for (selector, share) in shares.iter() {
        let Some(share) = share else {
            // A device without a share needs a rule only if there is a share for every device.
            if general && selector != Selector::All {
                rules.set(selector, Params::default());
            }
            continue;
        };
        let mut params = Params::balanced(share);
        for &(key, name, text) in &given {
            let text = match name {
                // HAMi counts priorities upwards from the most urgent.
                "CUDA_TASK_PRIORITY" if text == "0" => "high".to_owned(),
                "CUDA_TASK_PRIORITY" => "normal".to_owned(),
                _ if name.ends_with("_PCT") && !text.ends_with('%') => format!("{text}%"),
                _ => text.to_owned(),
            };
            params
                .set(key, &text)
                .map_err(|error| ConfigError::new(name, error.reason))?;
        }
        // The published product's percentages describe a device, not a tenant. A floor above this
        // tenant's share, or a burst below it, means the share itself.
        let alias = |key: &str| {
            given
                .iter()
                .any(|&(k, name, _)| k == key && name.starts_with("BUD_"))
        };
        if alias("floor") {
            params.floor = params.floor.min(params.guarantee);
        }
        if alias("burst") && params.burst != 0 {
            params.burst = params.burst.max(params.guarantee);
        }
        params.validate().map_err(|error| {
            let name = given
                .iter()
                .find(|(key, _, _)| *key == error.field)
                .map_or("FCSP_COMPUTE_LIMIT", |g| g.1);
            ConfigError::new(name, error.reason)
        })?;
        rules.set(selector, params);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceIdentity, DeviceUuid};

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        read(pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())))
    }

    #[test]
    fn no_share_is_said_by_the_word_that_listings_print() {
        for word in ["unlimited", "none"] {
            let config = from(&[("FCSP_COMPUTE_LIMIT", word)]).unwrap();
            assert!(config.compute.is_empty(), "{word}");
        }
        let config = from(&[
            ("FCSP_COMPUTE_LIMIT", "25%,1=unlimited"),
            ("FCSP_MODE", "strict"),
        ])
        .unwrap();
        let rules: Vec<_> = config.compute.iter().map(|(_, params)| params).collect();
        assert_eq!(rules, [Params::strict(250_000), Params::default()]);
    }

    fn quota(config: &Config, index: u32) -> Option<Quota> {
        config.memory.for_device(&DeviceIdentity {
            index: Some(index),
            uuid: DeviceUuid([0; 16]),
            pci: None,
        })
    }

    #[test]
    fn fcsp_beats_the_published_product_beats_hami() {
        let all = [
            ("CUDA_DEVICE_MEMORY_LIMIT_0", "1g"),
            ("BUD_MEMORY_LIMIT", "2G"),
            ("FCSP_MEMORY_LIMIT", "3GiB"),
        ];
        assert_eq!(quota(&from(&all).unwrap(), 0), Some(Quota::Bytes(3 << 30)));
        assert_eq!(
            quota(&from(&all[..2]).unwrap(), 0),
            Some(Quota::Bytes(2 << 30))
        );
        assert_eq!(
            quota(&from(&all[..1]).unwrap(), 0),
            Some(Quota::Bytes(1 << 30))
        );
        assert_eq!(quota(&from(&all[..1]).unwrap(), 1), None);
    }

    #[test]
    fn per_device_forms() {
        let config = from(&[
            ("FCSP_MEMORY_LIMIT", "8GiB"),
            ("FCSP_MEMORY_LIMIT_1", "40%"),
        ])
        .unwrap();
        assert_eq!(quota(&config, 0), Some(Quota::Bytes(8 << 30)));
        assert_eq!(quota(&config, 1), Some(Quota::Share(400_000)));
        let config = from(&[("BUD_MEMORY_LIMIT_DEV2", "8589934592")]).unwrap();
        assert_eq!(quota(&config, 2), Some(Quota::Bytes(8 << 30)));
        for nothing in ["0", "0m", "0M", "0g", "0G", "0k", "0K", "0MiB", "0 g", "00"] {
            let config = from(&[("CUDA_DEVICE_MEMORY_LIMIT", nothing)]).unwrap();
            assert_eq!(quota(&config, 0), Some(Quota::Unlimited), "{nothing}");
        }
        let config = from(&[("FCSP_COMPUTE_LIMIT", "0.25")]).unwrap();
        assert_eq!(
            config.compute.iter().next().map(|rule| rule.1.guarantee),
            Some(250_000)
        );
    }

    #[test]
    fn wrong_values_name_their_variable() {
        for (name, value) in [
            ("FCSP_MEMORY_LIMIT", "0"),
            ("FCSP_MEMORY_LIMIT", "101%"),
            ("FCSP_MEMORY_LIMIT", "8"),
            ("FCSP_MEMORY_LIMIT_1", "8 gigs"),
            ("FCSP_MEMORY_LIMIT_X", "8GiB"),
            ("BUD_MEMORY_LIMIT", "lots"),
            ("CUDA_DEVICE_MEMORY_LIMIT_0", "-1"),
            ("FCSP_TENANT", "a/b"),
            ("FCSP_MODE", "fast"),
            ("FCSP_COMPUTE_LIMIT", "25"),
            ("FCSP_SPATIAL", "8"),
            ("FCSP_SPATIAL", "0=auto,0=8-15"),
        ] {
            let error = from(&[(name, value)]).unwrap_err();
            assert_eq!(error.field, name, "{error}");
        }
    }

    #[test]
    fn units_by_device() {
        let config = from(&[("FCSP_SPATIAL", "0=8-15,auto")]).unwrap();
        let wishes: Vec<String> = config
            .spatial
            .iter()
            .map(|(selector, wish)| format!("{selector}={wish}"))
            .collect();
        assert_eq!(wishes, ["0=8-15", "*=auto"]);
    }

    #[test]
    fn nothing_set_is_no_limit() {
        assert_eq!(
            from(&[("PATH", "/bin"), ("FCSP_MEMORY_LIMIT", "")]).unwrap(),
            Config::unlimited()
        );
    }
}
