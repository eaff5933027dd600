//! The options that say what a tenant may have, shared by `run` and `limit`.
//!
//! They are read by the same code as the environment variables, so an option and its variable cannot drift apart.

use fcsp::config::env::PREFIXES;
use fcsp::config::{Config, ConfigError, Quota, Rules, env};
use fcsp::control::Limits;
use fcsp::device::Selector;
use fcsp::share::params::{DEFAULT_FLOOR, Params};
use fcsp::units::{Percent, WHOLE};

use super::numbers::Numbers;

/// The options.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LimitArgs {
    /// Memory quota: 8GiB, 40%, or per device 0=8GiB,1=40%,GPU-<uuid>=2GiB
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Share of the device's time: 25%, or per device 0=25%,1=50%
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    pub compute: Option<String>,
    /// How the share is kept: none (nothing is held back; counted with FCSP_ACCOUNT_TIME=1), strict (a hard cap), balanced (idle time on top), adaptive
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Who goes first: high, normal or low
    #[arg(long, value_name = "CLASS")]
    pub priority: Option<String>,
    /// Share that stays even while tenants of a higher priority have work
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub floor: Option<String>,
    /// Most that may be borrowed of what others leave idle
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub pool: Option<String>,
    /// Share up to which saved-up time may be spent, for 100 ms
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
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &str)> {
        OPTIONS
            .iter()
            .filter_map(|&(option, variable, key)| Some((option, variable, key, self.value(option)?)))
    }

    /// Whether no option was given.
    pub fn is_empty(&self) -> bool {
        self.given().next().is_none()
    }

    /// The configuration that these options make of `environment`: an option replaces its variable, the form of it
    /// for one device included, and the aliases.
    pub fn read(&self, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
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

    /// An empty variable says nothing; an empty option is a slip, most often of an unset shell variable.
    fn refuse_empty(&self) -> Result<(), ConfigError> {
        match self.given().find(|(_, _, _, value)| value.trim().is_empty()) {
            Some((option, ..)) => Err(ConfigError::new(
                option,
                "is empty; give a value or leave the option out",
            )),
            None => Ok(()),
        }
    }

    /// The same error with the option's name where the variable stood for it.
    fn named(&self, error: ConfigError) -> ConfigError {
        let field = self
            .given()
            .find(|(_, variable, key, _)| *variable == error.field || *key == error.field)
            .map_or(error.field, |(option, ..)| option.to_owned());
        ConfigError {
            field,
            reason: error.reason,
        }
    }

    /// `limits` with what these options say changed and all else kept; a value for every device takes the place of those
    /// for single ones. Numbers mean what `numbers` says.
    pub fn merge(&self, limits: &Limits, numbers: &Numbers) -> Result<Limits, ConfigError> {
        self.refuse_empty()?;
        let mut merged = limits.clone();
        if let Some(text) = &self.memory {
            let rules = Rules::parse("--memory", text, Quota::parse)?;
            let rules = numbers.settle("--memory", &rules)?;
            if find(&rules, Selector::All).is_some() {
                merged.memory = Rules::new();
            }
            for (selector, quota) in rules.iter() {
                merged.memory.set(selector, quota);
            }
        }
        if let Some(text) = &self.compute {
            let shares = Rules::parse("--compute", text, fcsp::units::parse_percent)?;
            let shares = numbers.settle("--compute", &shares)?;
            // A device that is named for the first time starts from what held for every device.
            let before = merged.compute.clone();
            if find(&shares, Selector::All).is_some() {
                merged.compute = Rules::new();
            }
            for (selector, share) in shares.iter() {
                let mut params = find(&before, selector)
                    .or(find(&before, Selector::All))
                    .or(before.iter().next().map(|(_, params)| params))
                    .unwrap_or(Params::balanced(share));
                params
                    .set("compute", &Percent(share).to_string())
                    .map_err(|error| ConfigError::new("--compute", error.reason))?;
                merged.compute.set(selector, params);
            }
        }
        let others: Vec<_> = self
            .given()
            .filter(|(option, ..)| !matches!(*option, "--memory" | "--compute"))
            .collect();
        if !others.is_empty() && merged.compute.is_empty() {
            merged.compute.set(Selector::All, Params::balanced(WHOLE));
        }
        let rules: Vec<(Selector, Params)> = merged.compute.iter().collect();
        for (selector, mut params) in rules {
            for &(option, _, key, value) in &others {
                params
                    .set(key, value)
                    .map_err(|error| ConfigError::new(option, error.reason))?;
            }
            params
                .validate()
                .map_err(|error| self.named(ConfigError::new(error.field, &error.reason)))?;
            merged.compute.set(selector, params);
        }
        Ok(merged)
    }
}

fn find<T: Copy>(rules: &Rules<T>, selector: Selector) -> Option<T> {
    rules
        .iter()
        .find(|&(known, _)| known == selector)
        .map(|(_, value)| value)
}

/// Whether a variable is one that sets limits or a tenant's name.
pub fn is_setting(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A quota exactly as it is, for a program to read back. (The form for people rounds.)
fn exact(quota: Quota) -> String {
    match quota {
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

/// Compute rules for people: "25% balanced" or "0=25% strict; 1=50% strict"; "unlimited" without any.
pub fn compute_text(rules: &Rules<Params>) -> String {
    let parts: Vec<String> = rules
        .iter()
        .map(|(selector, params)| match selector {
            Selector::All => params.to_string(),
            selector => format!("{selector}={params}"),
        })
        .collect();
    match parts.is_empty() {
        true => "unlimited".into(),
        false => parts.join("; "),
    }
}

/// The variables that make a tenant with these limits, should its shared files be removed while a program of it
/// runs on. What differs between devices beyond the share follows the first rule.
pub fn variables(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if !limits.memory.is_empty() {
        variables.push(("FCSP_MEMORY_LIMIT", join(&limits.memory, exact)));
    }
    if let Some((_, first)) = limits.compute.iter().next() {
        let share = |params: Params| Percent(params.quota).to_string();
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
            (args(Some("8 Gib"), None, None), "--memory"),
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
        let config = args(Some("2GiB"), Some("25%"), None).read(environment).unwrap();
        assert_eq!(memory_text(&config.memory), "2 GiB");
        assert_eq!(compute_text(&config.compute), "25% strict");
    }

    #[test]
    fn merging_keeps_what_was_not_named() {
        let before = limits(&args(Some("0=1GiB,1=2GiB"), Some("25%"), Some("strict")));
        let after = args(Some("1=3GiB"), None, None)
            .merge(&before, &Numbers::default())
            .unwrap();
        assert_eq!(memory_text(&after.memory), "0=1 GiB, 1=3 GiB");
        assert_eq!(compute_text(&after.compute), "25% strict");
        let after = args(None, Some("1=50%"), None)
            .merge(&after, &Numbers::default())
            .unwrap();
        assert_eq!(compute_text(&after.compute), "25% strict; 1=50% strict");
        let after = args(Some("4GiB"), Some("30%"), None)
            .merge(&after, &Numbers::default())
            .unwrap();
        assert_eq!(memory_text(&after.memory), "4 GiB");
        assert_eq!(compute_text(&after.compute), "30% strict");
        let after = args(Some("unlimited,1=1GiB"), Some("0=50%"), None)
            .merge(&after, &Numbers::default())
            .unwrap();
        assert_eq!(memory_text(&after.memory), "unlimited, 1=1 GiB");
        assert_eq!(compute_text(&after.compute), "30% strict; 0=50% strict");
        let after = args(None, None, Some("adaptive"))
            .merge(&Limits::default(), &Numbers::default())
            .unwrap();
        assert_eq!(compute_text(&after.compute), "100% adaptive");
    }

    #[test]
    fn variables_read_back_as_the_same_limits() {
        let original = LimitArgs {
            memory: Some("0=1.3GiB,1=40%,*=7MiB".into()),
            compute: Some("12.5%".into()),
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
        assert_eq!((config.memory, config.compute), (limits.memory, limits.compute));
    }
}
