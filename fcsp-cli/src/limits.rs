//! The options that say what a tenant may have, shared by `run` and `limit`.
//!
//! They are read by the same code as the environment variables, so an option and its variable
//! cannot drift apart.

use fcsp_core::config::env::PREFIXES;
use fcsp_core::config::{Config, ConfigError, Quota, Rules, env};
use fcsp_core::control::Limits;
use fcsp_core::device::Selector;
use fcsp_core::share::params::{DEFAULT_FLOOR, Params};
use fcsp_core::units::{Percent, WHOLE, lacks_its_unit};

/// The options.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LimitArgs {
    /// Memory quota: 8GiB, 40%, or per device 0=8GiB,1=40%,GPU-<uuid>=2GiB
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Share of the device's time: 25%, or per device 0=25%,1=50%; unlimited is no share
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    pub compute: Option<String>,
    /// How the share is kept: none (nothing is held back; counted with FCSP_ACCOUNT_TIME=1), strict
    /// (a hard cap), balanced (idle time on top), adaptive (balanced, with steps that somebody
    /// waits for before throughput work) [default: balanced]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Who goes first: high never waits, low stands back down to its floor, normal shares [default:
    /// normal]
    #[arg(long, value_name = "CLASS")]
    pub priority: Option<String>,
    /// Share that stays even while tenants of a higher priority have work, at most the quota
    /// [default: 5%, or the quota where that is less]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub floor: Option<String>,
    /// Most of the device's time that may be had above the quota, from what others leave idle
    /// [default: 100%]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub pool: Option<String>,
    /// Share up to which time saved up while idle may be spent, for 100 ms; at least the quota
    /// [default: no burst]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub burst: Option<String>,
}

/// Option, its variable, the name of the parameter in the core.
const OPTIONS: [(&str, &str, &str); 7] = [
    ("--memory", "FCSP_MEMORY_LIMIT", "memory"),
    ("--compute", "FCSP_COMPUTE_LIMIT", "compute"),
    ("--mode", "FCSP_MODE", "mode"),
    ("--priority", "FCSP_PRIORITY", "priority"),
    ("--floor", "FCSP_FLOOR", "floor"),
    ("--pool", "FCSP_SHARED_POOL", "pool"),
    ("--burst", "FCSP_BURST", "burst"),
];

impl LimitArgs {
    fn value(&self, option: &str) -> Option<&str> {
        match option {
            "--memory" => &self.memory,
            "--compute" => &self.compute,
            "--mode" => &self.mode,
            "--priority" => &self.priority,
            "--floor" => &self.floor,
            "--pool" => &self.pool,
            "--burst" => &self.burst,
            _ => &None,
        }
        .as_deref()
    }

    /// The options that were given, with their variables and values.
    pub(super) fn given(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &str)> {
        OPTIONS.iter().filter_map(|&(option, variable, key)| {
            Some((option, variable, key, self.value(option)?))
        })
    }

    /// Whether no option was given.
    pub fn is_empty(&self) -> bool {
        self.given().next().is_none()
    }

    /// The configuration that these options make of `environment`: an option replaces its variable,
    /// the form of it for one device included, and the aliases.
    pub fn read(
        &self,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        self.refuse_empty()?;
        let mut variables: Vec<(String, String)> = environment
            .filter(|(name, _)| {
                !self.given().any(|(_, variable, _, _)| {
                    name == variable
                        || name
                            .strip_prefix(variable)
                            .is_some_and(|rest| rest.starts_with('_'))
                })
            })
            .collect();
        variables.extend(
            self.given()
                .map(|(_, variable, _, value)| (variable.to_owned(), value.to_owned())),
        );
        env::read(variables).map_err(|error| self.named(error))
    }

    /// An empty variable says nothing; an empty option is a slip, most often of an unset shell
    /// variable.
    pub(super) fn refuse_empty(&self) -> Result<(), ConfigError> {
        match self
            .given()
            .find(|(_, _, _, value)| value.trim().is_empty())
        {
            Some((option, ..)) => Err(ConfigError::new(
                option,
                "is empty; give a value or leave the option out",
            )),
            None => Ok(()),
        }
    }

    /// The same error with the option's name where the variable stood for it.
    pub(super) fn named(&self, error: ConfigError) -> ConfigError {
        let field = self
            .given()
            .find(|(_, variable, key, _)| *variable == error.field || *key == error.field)
            .map_or(error.field, |(option, ..)| option.to_owned());
        ConfigError {
            field,
            reason: error.reason,
        }
    }
}

/// Whether a variable is one that sets limits or a tenant's name.
pub fn is_setting(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A quota exactly as it is, for a program to read back. (The form for people rounds.)
fn exact(quota: Quota) -> String {
    match quota {
        // So few bytes without a unit would be taken for a slip.
        Quota::Bytes(bytes) if lacks_its_unit(&bytes.to_string()).is_some() => format!("{bytes}B"),
        Quota::Bytes(bytes) => bytes.to_string(),
        other => other.to_string(),
    }
}

fn join<T: Copy>(rules: &Rules<T>, text: impl Fn(T) -> String) -> String {
    let parts: Vec<String> = rules
        .iter()
        .map(|(selector, value)| match selector {
            Selector::All => text(value),
            selector => format!("{selector}={}", text(value)),
        })
        .collect();
    parts.join(",")
}

/// Memory rules for people: "8 GiB" or "0=8 GiB, 1=40%".
pub fn memory_text(rules: &Rules<Quota>) -> String {
    match rules.is_empty() {
        true => "unlimited".into(),
        false => join(rules, |quota| quota.to_string()).replace(',', ", "),
    }
}

/// Compute rules for people: "25% balanced" or "0=25% strict; 1=50% strict"; "unlimited" without
/// any.
pub fn compute_text(rules: &Rules<Params>) -> String {
    let parts: Vec<String> = rules
        .iter()
        .map(|(selector, params)| match selector {
            Selector::All => share_text(&params),
            selector => format!("{selector}={}", share_text(&params)),
        })
        .collect();
    match parts.is_empty() {
        true => "unlimited".into(),
        false => parts.join("; "),
    }
}

/// A share for people; "unlimited" where nothing is promised and nothing held back.
pub fn share_text(params: &Params) -> String {
    match params.is_unlimited() {
        true => "unlimited".into(),
        false => params.to_string(),
    }
}

/// The variables that make a tenant with these limits, should its shared files be removed while a
/// program of it runs on. What differs between devices beyond the share follows the first rule.
pub fn variables(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if !limits.memory.is_empty() {
        variables.push(("FCSP_MEMORY_LIMIT", join(&limits.memory, exact)));
    }
    // A device without a share says nothing of the other parameters; alone it is `--mode none`.
    let limited = limits
        .compute
        .iter()
        .find(|(_, params)| !params.is_unlimited());
    if let Some((_, first)) = limited.or(limits.compute.iter().next()) {
        let share = |params: Params| match params.is_unlimited() && limited.is_some() {
            true => "unlimited".to_owned(),
            false => Percent(params.quota).to_string(),
        };
        variables.push(("FCSP_COMPUTE_LIMIT", join(&limits.compute, share)));
        variables.push(("FCSP_MODE", first.mode.to_string()));
        variables.push(("FCSP_PRIORITY", first.priority.to_string()));
        if first.floor != first.quota.min(DEFAULT_FLOOR) {
            variables.push(("FCSP_FLOOR", Percent(first.floor).to_string()));
        }
        if first.pool != WHOLE {
            variables.push(("FCSP_SHARED_POOL", Percent(first.pool).to_string()));
        }
        if first.burst != 0 {
            variables.push(("FCSP_BURST", Percent(first.burst).to_string()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Numbers;
    use super::*;

    fn args(memory: Option<&str>, compute: Option<&str>, mode: Option<&str>) -> LimitArgs {
        LimitArgs {
            memory: memory.map(Into::into),
            compute: compute.map(Into::into),
            mode: mode.map(Into::into),
            ..LimitArgs::default()
        }
    }

    fn none() -> impl Iterator<Item = (String, String)> {
        std::iter::empty()
    }

    fn limits(args: &LimitArgs) -> Limits {
        let config = args.read(none()).unwrap();
        Limits {
            memory: config.memory,
            compute: config.compute,
            paused: false,
        }
    }

    #[test]
    fn errors_name_the_option() {
        for (args, option) in [
            (args(Some("8 gigs"), None, None), "--memory"),
            (args(Some(""), None, None), "--memory"),
            (args(None, Some("101%"), None), "--compute"),
            (args(None, None, Some("fast")), "--mode"),
        ] {
            assert_eq!(args.read(none()).unwrap_err().field, option);
            assert_eq!(
                args.merge(&Limits::default(), &Numbers::default())
                    .unwrap_err()
                    .field,
                option
            );
        }
    }

    #[test]
    fn an_option_replaces_every_form_of_its_variable() {
        let environment = [
            ("FCSP_MEMORY_LIMIT_0", "1GiB"),
            ("CUDA_DEVICE_MEMORY_LIMIT", "3g"),
            ("FCSP_MODE", "strict"),
        ];
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = args(Some("2GiB"), Some("25%"), None)
            .read(environment)
            .unwrap();
        assert_eq!(memory_text(&config.memory), "2 GiB");
        assert_eq!(compute_text(&config.compute), "25% strict");
    }

    #[test]
    fn variables_read_back_as_the_same_limits() {
        let original = LimitArgs {
            memory: Some("0=1.3GiB,1=40%,*=7MiB,2=1KiB".into()),
            compute: Some("2=unlimited,12.5%".into()),
            mode: Some("adaptive".into()),
            priority: Some("low".into()),
            floor: Some("3%".into()),
            pool: Some("10%".into()),
            burst: Some("60%".into()),
        };
        let limits = limits(&original);
        let config = env::read(
            variables(&limits)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        )
        .unwrap();
        assert_eq!(
            (config.memory, config.compute),
            (limits.memory, limits.compute)
        );
    }
}
