//! The options that say what a tenant may have, shared by `run` and `limit`.

use fcsp_core::config::{ConfigError, Parameter};
use fcsp_tenancy::{Changes, Error};

/// The options.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LimitArgs {
    /// Memory quota: 8GiB, 40%, or per device 0=8GiB,1=40%,GPU-<uuid>=2GiB
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Share of the device's time: 25%, or per device 0=25%,1=50%; unlimited is no share
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    pub compute: Option<String>,
    /// Mode of the share: none (delays nothing), strict (a hard cap), balanced (adds idle time) or
    /// adaptive (latency-sensitive steps go first, too) [default: balanced]. With none,
    /// FCSP_ACCOUNT_TIME=1 counts the time
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Priority: high never waits, low yields down to its floor, normal shares [default: normal]
    #[arg(long, value_name = "CLASS")]
    pub priority: Option<String>,
    /// Share that stays even while tenants of a higher priority have work, at most the share
    /// [default: 5%, or the share where that is less]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub floor: Option<String>,
    /// Most of the device's time that may be used above the share, from what others leave idle
    /// [default: 100%]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub shared_pool: Option<String>,
    /// Share up to which time saved up while idle may be spent, for 100 ms; at least the share
    /// [default: no burst]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub burst: Option<String>,
}

impl LimitArgs {
    fn value(&self, parameter: Parameter) -> Option<&str> {
        match parameter {
            Parameter::Memory => &self.memory,
            Parameter::Compute => &self.compute,
            Parameter::Mode => &self.mode,
            Parameter::Priority => &self.priority,
            Parameter::Floor => &self.floor,
            Parameter::SharedPool => &self.shared_pool,
            Parameter::Burst => &self.burst,
            _ => &None,
        }
        .as_deref()
    }

    /// Returns the values that were given, under the names of their options.
    pub fn changes(&self) -> Changes {
        Parameter::ALL
            .into_iter()
            .filter_map(|parameter| Some((parameter, self.value(parameter)?)))
            .fold(Changes::new(), |changes, (parameter, value)| {
                changes.with(parameter, parameter.option(), value)
            })
    }
}

/// Returns the error with an option's name where it has a parameter's.
pub fn with_option(error: Error) -> Error {
    let Error::Config(config) = error else {
        return error;
    };
    let field = config.field.as_str();
    let option = Parameter::ALL
        .into_iter()
        .find(|parameter| parameter.key() == field)
        .map(Parameter::option);
    let option = option.or((field == "spatial").then_some("--spatial"));
    ConfigError::new(option.unwrap_or(field), &config.reason).into()
}
