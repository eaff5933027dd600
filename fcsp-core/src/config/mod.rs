//! Configuration of a tenant: memory quotas and compute shares for each device, and their source.
//!
//! Sources, strongest first: a root-owned file ([`file::AUTHORITY`]), the tenant's control page
//! ([`crate::control`], written by `fcsp run`, `fcsp limit` or the node agent), the environment
//! ([`mod@env`]). A value that cannot be understood is an error that names the field and the
//! accepted form; nothing is guessed.

mod builder;
pub mod env;
pub mod file;
pub mod initial;
pub mod names;
mod parameter;
pub mod text;

use std::fmt;

use crate::device::{DeviceIdentity, Selector};
use crate::units::{self, Bytes, Percent, Ppm};

pub use builder::ConfigBuilder;
pub use parameter::Parameter;

/// Field that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Option, variable or file key that was wrong.
    pub field: String,
    /// Reason, and what would have been accepted.
    pub reason: String,
}

impl ConfigError {
    /// Creates an error in `field`.
    pub fn new(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            reason: reason.to_string(),
        }
    }
}

/// Quota of a tenant on a device's memory.
///
/// ```
/// use fcsp_core::config::Quota;
///
/// assert_eq!(Quota::parse("8GiB")?, Quota::Bytes(8 << 30));
/// assert_eq!(Quota::percent(25)?.resolve(80 << 30), 20 << 30);
/// // An amount needs its unit.
/// assert!(Quota::parse("8").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// All of the device's memory.
    Unlimited,
    /// This many bytes.
    Bytes(u64),
    /// This share of the device's memory.
    Share(Ppm),
}

impl Quota {
    /// Makes a quota of this many hundredths of the device's memory.
    ///
    /// # Errors
    ///
    /// The number is not from 1 to 100.
    pub fn percent(percent: u32) -> Result<Self, units::UnitError> {
        units::parse_percent(&format!("{percent}%")).map(Self::Share)
    }

    /// Returns the quota in bytes on a device of `total` bytes. `u64::MAX` means no limit. A quota
    /// above the device's memory stays as it is, since the device then refuses first.
    pub fn resolve(self, total: u64) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Bytes(bytes) => bytes,
            // Above 16 TiB, the product of a device's bytes and a million needs more than 64 bits.
            Self::Share(ppm) => {
                (u128::from(total) * u128::from(ppm) / u128::from(units::WHOLE)) as u64
            }
        }
    }

    /// Parses a quota from "8GiB", "40%" or "unlimited".
    pub fn parse(text: &str) -> Result<Self, units::UnitError> {
        match text.trim() {
            "unlimited" | "none" => Ok(Self::Unlimited),
            text if text.ends_with('%') || units::is_fraction(text) => {
                units::parse_share(text).map(Self::Share)
            }
            text => {
                if let Some(reason) = units::lacks_its_unit(text) {
                    return Err(reason);
                }
                units::parse_bytes(text).map(Self::Bytes)
            }
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unlimited => f.pad("unlimited"),
            Self::Bytes(bytes) => Bytes(bytes).fmt(f),
            Self::Share(ppm) => Percent(ppm).fmt(f),
        }
    }
}

/// Values by device. The most exact selector that names a device decides.
///
/// ```
/// use fcsp_core::config::{Quota, Rules};
/// use fcsp_core::device::{DeviceIdentity, DeviceUuid, Selector};
///
/// let mut rules = Rules::new();
/// rules.set(Selector::All, Quota::percent(10)?);
/// rules.set(Selector::Index(1), Quota::Bytes(4 << 30));
/// let device = DeviceIdentity { index: Some(1), uuid: DeviceUuid([7; 16]), pci: None };
/// assert_eq!(rules.for_device(&device), Some(Quota::Bytes(4 << 30)));
/// assert_eq!(Rules::parse("memory", "10%,1=4GiB", Quota::parse)?, rules);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules<T> {
    rules: Vec<(Selector, T)>,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

impl<T: Copy> Rules<T> {
    /// Creates an empty set of rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true if there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the rules in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (Selector, T)> + '_ {
        self.rules.iter().copied()
    }

    /// Adds a rule; a later rule with the same selector replaces the earlier one.
    pub fn set(&mut self, selector: Selector, value: T) {
        match self.rules.iter_mut().find(|(known, _)| *known == selector) {
            Some((_, slot)) => *slot = value,
            None => self.rules.push((selector, value)),
        }
    }

    /// Returns the value for `device`, if any rule names it.
    pub fn for_device(&self, device: &DeviceIdentity) -> Option<T> {
        self.rules
            .iter()
            .filter_map(|&(selector, value)| selector.matches(device).map(|rank| (rank, value)))
            .max_by_key(|&(rank, _)| rank)
            .map(|(_, value)| value)
    }

    /// Parses `8GiB` (every device) or `0=8GiB,GPU-...=40%` (for each device), with `parse` for the
    /// values.
    pub fn parse<E: fmt::Display>(
        field: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Self, ConfigError> {
        let mut rules = Self::new();
        for part in text.split(',') {
            let (selector, value) = match part.split_once('=') {
                Some((device, value)) => (
                    device
                        .parse()
                        .map_err(|reason| ConfigError::new(field, reason))?,
                    value,
                ),
                None if part.trim().is_empty() && text.contains(',') => {
                    return Err(ConfigError::new(
                        field,
                        format!("\"{text}\" has a comma too many"),
                    ));
                }
                None => (Selector::All, part),
            };
            if rules.rules.iter().any(|(known, _)| *known == selector) {
                return Err(ConfigError::new(
                    field,
                    match selector {
                        Selector::All => format!("\"{text}\" has two values for every device"),
                        selector => format!("\"{text}\" names device {selector} twice"),
                    },
                ));
            }
            let value = parse(value).map_err(|reason| ConfigError::new(field, reason))?;
            rules.rules.push((selector, value));
        }
        Ok(rules)
    }
}

/// Origin of a configuration, shown by `fcsp doctor`. [`crate::tenant::Tenant::join`] treats rules
/// set in code like those of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// No source: no limits.
    Nothing,
    /// Environment variables.
    Environment,
    /// The tenant's control page.
    Control,
    /// The root-owned file.
    File,
}

/// Configuration of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Name of the tenant, if one was set.
    pub tenant: Option<String>,
    /// Memory quotas.
    pub memory: Rules<Quota>,
    /// Compute shares and their modes.
    pub compute: Rules<crate::share::params::Params>,
    /// Requested compute units. `fcsp run` reserves them, since it must know them before the
    /// program starts.
    pub spatial: Rules<crate::spatial::UnitRequest>,
    /// State folder, if a root-owned file names one.
    pub state_dir: Option<Box<std::path::Path>>,
    /// Origin of this configuration.
    pub source: Source,
}

impl Config {
    /// Creates a configuration without limits and without a name.
    pub fn unlimited() -> Self {
        Self::builder().build()
    }
}

/// Checks a tenant's name: it becomes a folder name and a metric label.
pub fn check_tenant_name(field: &str, name: &str) -> Result<(), ConfigError> {
    let good = !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good {
        Ok(())
    } else {
        Err(ConfigError::new(
            field,
            format!(
                "\"{name}\" cannot name a tenant; use up to 63 letters, digits, '-', '_' and '.', not starting with '.'"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceUuid;
    use proptest::prelude::*;

    fn device(index: u32) -> DeviceIdentity {
        DeviceIdentity {
            index: Some(index),
            uuid: DeviceUuid([index as u8; 16]),
            pci: None,
        }
    }

    #[test]
    fn the_most_exact_rule_wins_whatever_the_order() {
        let text = format!("{}=1GiB,8GiB,1=40%", DeviceUuid([1; 16]));
        let rules = Rules::parse("--memory", &text, Quota::parse).unwrap();
        assert_eq!(rules.for_device(&device(0)), Some(Quota::Bytes(8 << 30)));
        assert_eq!(rules.for_device(&device(1)), Some(Quota::Bytes(1 << 30)));
        let rules = Rules::parse("--memory", "0=8GiB,1=40%", Quota::parse).unwrap();
        assert_eq!(rules.for_device(&device(2)), None);
    }

    #[test]
    fn errors_name_the_field() {
        for (text, part) in [
            ("8 gigs", "8GiB"),
            ("8", "8GiB or 8%"),
            ("40", "40GiB or 40%"),
            ("512", "512MiB"),
            ("101%", "100%"),
            ("0", "leave the limit out"),
            ("gpu=8GiB", "names no device"),
            ("0=1GiB,0=2GiB", "twice"),
            ("", "number and a unit"),
        ] {
            let message = Rules::parse("--memory", text, Quota::parse)
                .unwrap_err()
                .to_string();
            assert!(
                message.starts_with("--memory: ") && message.contains(part),
                "{message}"
            );
        }
    }

    #[test]
    fn a_fraction_is_a_share_of_the_memory_too() {
        for (text, ppm) in [("25%", 250_000), ("0.25", 250_000), ("1.0", units::WHOLE)] {
            assert_eq!(Quota::parse(text), Ok(Quota::Share(ppm)), "{text}");
        }
        assert_eq!(Quota::parse("0.25GiB"), Ok(Quota::Bytes(1 << 28)));
        for text in ["0.0", "0.0000001", "1", "25"] {
            assert!(Quota::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tenant_names() {
        for name in ["a", "team-a", "p12-345", "A_b.c"] {
            check_tenant_name("tenant", name).unwrap();
        }
        for name in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(64)] {
            check_tenant_name("tenant", name).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn a_share_never_exceeds_the_device(total: u64, ppm in 1u32..=units::WHOLE) {
            let bytes = Quota::Share(ppm).resolve(total);
            prop_assert!(bytes <= total);
            // Exact to the byte below: the next byte would exceed the share.
            prop_assert!(u128::from(bytes) * 1_000_000 <= u128::from(total) * u128::from(ppm));
            prop_assert!((u128::from(bytes) + 1) * 1_000_000 > u128::from(total) * u128::from(ppm));
        }
    }
}
