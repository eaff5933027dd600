//! Values that somebody gave for the parameters of a tenant.

use fcsp_core::config::{Config, ConfigError, Parameter, env};

/// Values for some parameters, as they were written, with the names that they were written under.
///
/// ```
/// use fcsp_core::config::{Parameter, text};
/// use fcsp_core::control::Limits;
/// use fcsp_tenancy::{Changes, DeviceOrder};
///
/// let changes = Changes::new()
///     .with(Parameter::Memory, "--memory", "8GiB")
///     .with(Parameter::Compute, "--compute", "25%");
/// let limits = changes.apply(&Limits::default(), &DeviceOrder::default())?;
/// assert_eq!(text::memory(&limits.memory), "8 GiB");
///
/// let wrong = Changes::new().with(Parameter::Compute, "compute", "250%");
/// let error = wrong.apply(&limits, &DeviceOrder::default()).unwrap_err();
/// assert_eq!(error.field, "compute");
/// # Ok::<(), fcsp_core::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The parameter.
    pub parameter: Parameter,
    /// The name that errors give it: an option, or a field of a request.
    pub field: String,
    /// The value as it was written.
    pub value: String,
}

impl Changes {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value. A second one for the same parameter replaces the first.
    #[must_use]
    pub fn with(
        mut self,
        parameter: Parameter,
        field: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.0.retain(|change| change.parameter != parameter);
        self.0.push(Change {
            parameter,
            field: field.into(),
            value: value.into(),
        });
        self
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the values in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    /// Returns the value for a parameter, if there is one.
    pub fn get(&self, parameter: Parameter) -> Option<&Change> {
        self.0.iter().find(|change| change.parameter == parameter)
    }

    /// Returns the first value that is for another parameter than memory.
    pub(crate) fn beyond_memory(&self) -> Option<&Change> {
        self.iter()
            .find(|change| change.parameter != Parameter::Memory)
    }

    /// Reads the configuration that these values make of `environment`. A value replaces its
    /// variable, the form of it for one device included, and the aliases.
    ///
    /// # Errors
    ///
    /// A value is wrong; the error names it as it was written.
    pub fn read(
        &self,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        self.refuse_empty()?;
        let replaced = |name: &str| {
            self.iter().any(|change| {
                let rest = name.strip_prefix(change.parameter.variable());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
        };
        let mut variables: Vec<(String, String)> =
            environment.filter(|(name, _)| !replaced(name)).collect();
        variables.extend(self.iter().map(|change| {
            let variable = change.parameter.variable();
            (variable.to_owned(), change.value.clone())
        }));
        env::read(variables).map_err(|error| self.named(error))
    }

    /// Refuses an empty value: an empty variable says nothing, but an empty option is a slip, most
    /// often of an unset shell variable.
    pub(crate) fn refuse_empty(&self) -> Result<(), ConfigError> {
        match self.iter().find(|change| change.value.trim().is_empty()) {
            Some(change) => Err(ConfigError::new(
                &change.field,
                "is empty; give a value or leave the option out",
            )),
            None => Ok(()),
        }
    }

    /// Returns the same error under the name that the value was written under.
    pub(crate) fn named(&self, error: ConfigError) -> ConfigError {
        let is_it = |change: &&Change| {
            [change.parameter.variable(), change.parameter.key()].contains(&error.field.as_str())
        };
        match self.iter().find(is_it) {
            Some(change) => ConfigError::new(&change.field, error.reason),
            None => error,
        }
    }
}
