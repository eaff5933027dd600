//! Configurations made in code.

use super::{Config, ConfigError, Quota, Rules, Source, check_tenant_name};
use crate::device::{DeviceUuid, Selector};
use crate::share::params::Params;

/// A configuration in the making.
///
/// ```
/// use fcsp_core::config::{Config, Quota};
/// use fcsp_core::share::params::Params;
///
/// let config = Config::builder()
///     .tenant("server")?
///     .memory(Quota::percent(10)?)
///     .memory_of(1.into(), Quota::Bytes(4 << 30))
///     .compute(Params::strict_percent(25)?)
///     .build();
/// assert_eq!(config.tenant.as_deref(), Some("server"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConfigBuilder(Config);

impl Config {
    /// Begins a configuration without limits and without a name.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder(Self {
            tenant: None,
            memory: Rules::new(),
            compute: Rules::new(),
            spatial: Rules::new(),
            state_dir: None,
            source: Source::Nothing,
        })
    }
}

impl ConfigBuilder {
    /// Names the tenant. Processes that name the same one share its limits.
    ///
    /// # Errors
    ///
    /// The name cannot be that of a folder.
    pub fn tenant(mut self, name: impl Into<String>) -> Result<Self, ConfigError> {
        let name = name.into();
        check_tenant_name("tenant", &name)?;
        self.0.tenant = Some(name);
        Ok(self)
    }

    /// Sets the memory quota on every device that no other rule names.
    #[must_use]
    pub fn memory(self, quota: Quota) -> Self {
        self.memory_of(Selector::All, quota)
    }

    /// Sets the memory quota on one device.
    #[must_use]
    pub fn memory_of(mut self, device: Selector, quota: Quota) -> Self {
        self.0.memory.set(device, quota);
        self
    }

    /// Sets the share of the time of every device that no other rule names.
    #[must_use]
    pub fn compute(self, share: Params) -> Self {
        self.compute_of(Selector::All, share)
    }

    /// Sets the share of one device's time.
    #[must_use]
    pub fn compute_of(mut self, device: Selector, share: Params) -> Self {
        self.0.compute.set(device, share);
        self
    }

    /// Returns the configuration.
    pub fn build(self) -> Config {
        self.0
    }
}

impl From<DeviceUuid> for Selector {
    /// Selects the device with this UUID.
    fn from(uuid: DeviceUuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl From<u32> for Selector {
    /// Selects the device with this number.
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env;

    #[test]
    fn code_and_variables_make_the_same_limits() {
        let read = env::read(
            [
                ("FCSP_TENANT", "server"),
                ("FCSP_MEMORY_LIMIT", "10%,1=4GiB"),
                ("FCSP_COMPUTE_LIMIT", "25%"),
                ("FCSP_MODE", "strict"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        )
        .unwrap();
        let built = Config::builder()
            .tenant("server")
            .unwrap()
            .memory(Quota::percent(10).unwrap())
            .memory_of(1.into(), Quota::Bytes(4 << 30))
            .compute(Params::strict_percent(25).unwrap())
            .build();
        assert_eq!(
            (&built.tenant, &built.memory, &built.compute),
            (&read.tenant, &read.memory, &read.compute)
        );
    }

    #[test]
    fn wrong_values_are_errors() {
        assert_eq!(
            Config::builder().tenant("../x").unwrap_err().field,
            "tenant"
        );
        for percent in [0, 101, u32::MAX] {
            assert!(Quota::percent(percent).is_err(), "{percent}");
            assert!(Params::strict_percent(percent).is_err(), "{percent}");
            assert!(Params::balanced_percent(percent).is_err(), "{percent}");
        }
    }
}
