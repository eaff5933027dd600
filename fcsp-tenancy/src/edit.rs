//! Changes of limits that exist already, as `fcsp limit` makes them.
//!
//! What is not named stays. A value without a device is for every device and replaces the rules for
//! single ones; the word `remove` takes one rule away.

use fcsp_core::config::{ConfigError, Parameter, Quota, Rules};
use fcsp_core::control::{Control, Limits};
use fcsp_core::device::Selector;
use fcsp_core::share::params::{ParamError, Params};
use fcsp_core::state::{SetupGuard, StateDir};
use fcsp_core::units::{Percent, Ppm, WHOLE, parse_share};

use crate::changes::{Change, Changes};
use crate::device_order::DeviceOrder;
use crate::error::Error;
use crate::priority;

/// Rewrites a tenant's limits. `edit` gets the limits before; a page that its writer left
/// half-written has none. Returns the limits that are in force now.
///
/// # Errors
///
/// Those of `edit`; the page cannot be read or written.
pub fn edit_limits<E: From<Error>>(
    setup: &SetupGuard,
    state: &StateDir,
    edit: impl FnOnce(&Limits) -> Result<Limits, E>,
) -> Result<Limits, E> {
    let before = Control::open(setup.dir())
        .map_err(Error::from)?
        .and_then(|page| page.read_settled().ok())
        .map(|(_, limits)| limits)
        .unwrap_or_default();
    let after = edit(&before)?;
    Control::create(setup)
        .and_then(|page| page.write(&after))
        .map_err(Error::from)?;
    if let Some(tenant) = setup.dir().file_name().and_then(|name| name.to_str()) {
        priority::record(state, tenant, &after);
    }
    Ok(after)
}

/// A value for one device, or for every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said<T> {
    /// This limit.
    Limit(T),
    /// No limit.
    Unlimited,
    /// The rule goes; a more general one holds again.
    Remove,
}

impl<T> Said<T> {
    /// Reads a value; `limit` reads an amount.
    fn parse<E: std::fmt::Display>(
        text: &str,
        limit: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Self, String> {
        match text.trim() {
            "unlimited" | "none" => Ok(Self::Unlimited),
            "remove" => Ok(Self::Remove),
            amount => limit(amount)
                .map(Self::Limit)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Reads the rules of a value, with numbers replaced by the devices that they mean.
fn said<T: Copy, E: std::fmt::Display>(
    change: &Change,
    order: &DeviceOrder,
    limit: impl Fn(&str) -> Result<T, E> + Copy,
) -> Result<Rules<Said<T>>, ConfigError> {
    let rules = Rules::parse(&change.field, &change.value, |value| {
        Said::parse(value, limit)
    })?;
    order.resolve(&change.field, &rules)
}

impl Changes {
    /// Returns `limits` with these values changed and all else kept. A value without a device
    /// replaces the rules for single devices; the word `remove` removes one rule. Device numbers
    /// mean what `order` says.
    ///
    /// # Errors
    ///
    /// A value is wrong, or does not fit a rule.
    pub fn apply(&self, limits: &Limits, order: &DeviceOrder) -> Result<Limits, ConfigError> {
        self.refuse_empty()?;
        let mut merged = limits.clone();
        if let Some(change) = self.get(Parameter::Memory) {
            let rules = said(change, order, Quota::parse)?;
            merged.memory = memory(&limits.memory, &rules);
        }
        let mut lifted = Vec::new();
        if let Some(change) = self.get(Parameter::Compute) {
            let rules = said(change, order, parse_share)?;
            merged.compute = compute(&limits.compute, &rules, &change.field)?;
            lifted = rules
                .iter()
                .filter(|(_, said)| *said == Said::Unlimited)
                .map(|(selector, _)| selector)
                .collect();
        }
        parameters(self, &mut merged.compute, &lifted)?;
        Ok(merged)
    }
}

fn memory(before: &Rules<Quota>, said: &Rules<Said<Quota>>) -> Rules<Quota> {
    let mut after = kept(before, said);
    for (selector, said) in said.iter() {
        match said {
            Said::Limit(quota) => after.set(selector, quota),
            Said::Unlimited => after.set(selector, Quota::Unlimited),
            Said::Remove => {}
        }
    }
    after
}

fn compute(
    before: &Rules<Params>,
    said: &Rules<Said<Ppm>>,
    field: &str,
) -> Result<Rules<Params>, ConfigError> {
    let mut after = kept(before, said);
    for (selector, said) in said.iter() {
        let Said::Limit(share) = said else { continue };
        // A device that is named for the first time starts from what held for every device.
        let mut params = find(before, selector)
            .or(find(before, Selector::All))
            .or(before.iter().next().map(|(_, params)| params))
            .filter(|params| !params.is_unlimited())
            .unwrap_or(Params::balanced(share));
        params
            .set("compute", &Percent(share).to_string())
            .map_err(|error| ConfigError::new(field, error.reason))?;
        after.set(selector, params);
    }
    // Where a rule for every device remains, a device without a limit needs a rule of its own.
    let general = find(&after, Selector::All).is_some();
    for (selector, said) in said.iter() {
        if said == Said::Unlimited && general && selector != Selector::All {
            after.set(selector, Params::default());
        }
    }
    Ok(after)
}

/// Returns the rules of `before` that `said` leaves: a limit for every device replaces them all,
/// and a rule that is named anew or removed goes.
fn kept<T: Copy, U: Copy + PartialEq>(before: &Rules<T>, said: &Rules<Said<U>>) -> Rules<T> {
    let all = find(said, Selector::All);
    if all.is_some_and(|said| said != Said::Remove) {
        return Rules::new();
    }
    let mut kept = Rules::new();
    for (selector, value) in before.iter() {
        let replaced = matches!(find(said, selector), Some(Said::Remove | Said::Unlimited));
        if !replaced {
            kept.set(selector, value);
        }
    }
    kept
}

/// Sets mode, priority, floor, pool and burst in every rule, except for rules that were lifted just
/// now.
fn parameters(
    changes: &Changes,
    rules: &mut Rules<Params>,
    lifted: &[Selector],
) -> Result<(), ConfigError> {
    let others: Vec<&Change> = changes
        .iter()
        .filter(|change| !change.parameter.is_by_device())
        .collect();
    let Some(first) = others.first() else {
        return Ok(());
    };
    if rules.is_empty() {
        if changes.get(Parameter::Compute).is_some() {
            return Err(ConfigError::new(
                &first.field,
                "has no share to go with: --compute takes the share away; leave one of the two out",
            ));
        }
        rules.set(Selector::All, Params::balanced(WHOLE));
    }
    let before: Vec<(Selector, Params)> = rules.iter().collect();
    for &(selector, mut params) in before
        .iter()
        .filter(|(selector, _)| !lifted.contains(selector))
    {
        for change in &others {
            params
                .set(change.parameter.key(), &change.value)
                .map_err(|error| ConfigError::new(&change.field, error.reason))?;
        }
        params
            .validate()
            .map_err(|error| in_the_way(changes, &before, selector, error))?;
        rules.set(selector, params);
    }
    Ok(())
}

/// Returns the error of a parameter that does not fit a rule. Where there are several rules, or one
/// from before, the rule is named.
fn in_the_way(
    changes: &Changes,
    rules: &[(Selector, Params)],
    selector: Selector,
    error: ParamError,
) -> ConfigError {
    let named = changes.named(ConfigError::new(error.field, &error.reason));
    if rules.len() < 2 {
        return named;
    }
    let rule = rules.iter().find(|(known, _)| *known == selector);
    let text = rule.map_or(String::new(), |(_, params)| params.to_string());
    let (which, removal) = match selector {
        Selector::All => ("the rule for every device".to_owned(), "remove".to_owned()),
        device => (format!("the rule for {device}"), format!("{device}=remove")),
    };
    let reason = format!(
        "{}: this is about {which} ({text}); `--compute {removal}` takes that rule away",
        named.reason
    );
    ConfigError::new(named.field, reason)
}

fn find<T: Copy>(rules: &Rules<T>, selector: Selector) -> Option<T> {
    rules
        .iter()
        .find(|&(known, _)| known == selector)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use fcsp_core::config::text::{compute as compute_text, memory as memory_text};

    use super::*;

    fn args(memory: Option<&str>, compute: Option<&str>, mode: Option<&str>) -> Changes {
        let given = [
            (Parameter::Memory, memory),
            (Parameter::Compute, compute),
            (Parameter::Mode, mode),
        ];
        given
            .into_iter()
            .filter_map(|(parameter, value)| Some((parameter, value?)))
            .fold(Changes::new(), |changes, (parameter, value)| {
                changes.with(parameter, parameter.option(), value)
            })
    }

    fn merged(changes: &Changes, before: &Limits) -> Limits {
        changes.apply(before, &DeviceOrder::default()).unwrap()
    }

    fn limits(changes: &Changes) -> Limits {
        let config = changes.read(std::iter::empty()).unwrap();
        Limits {
            memory: config.memory,
            compute: config.compute,
            ..Limits::default()
        }
    }

    #[test]
    fn errors_name_the_option() {
        let none = || std::iter::empty();
        for (changes, option) in [
            (args(Some("8 gigs"), None, None), "--memory"),
            (args(Some(""), None, None), "--memory"),
            (args(None, Some("101%"), None), "--compute"),
            (args(None, None, Some("fast")), "--mode"),
        ] {
            assert_eq!(changes.read(none()).unwrap_err().field, option);
            let before = Limits::default();
            let error = changes.apply(&before, &DeviceOrder::default()).unwrap_err();
            assert_eq!(error.field, option);
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
    fn merging_keeps_what_was_not_named() {
        let before = limits(&args(Some("0=1GiB,1=2GiB"), Some("25%"), Some("strict")));
        let after = merged(&args(Some("1=3GiB"), None, None), &before);
        assert_eq!(memory_text(&after.memory), "0=1 GiB, 1=3 GiB");
        assert_eq!(compute_text(&after.compute), "25% strict");
        let after = merged(&args(None, Some("1=50%"), None), &after);
        assert_eq!(compute_text(&after.compute), "25% strict; 1=50% strict");
        let after = merged(&args(Some("4GiB"), Some("0.3"), None), &after);
        assert_eq!(memory_text(&after.memory), "4 GiB");
        assert_eq!(compute_text(&after.compute), "30% strict");
        let after = merged(&args(Some("unlimited,1=1GiB"), Some("0=50%"), None), &after);
        assert_eq!(memory_text(&after.memory), "unlimited, 1=1 GiB");
        assert_eq!(compute_text(&after.compute), "30% strict; 0=50% strict");
        let after = merged(&args(None, None, Some("adaptive")), &Limits::default());
        assert_eq!(compute_text(&after.compute), "100% adaptive");
    }

    #[test]
    fn a_share_can_be_taken_away() {
        let before = limits(&args(Some("1GiB"), Some("25%,1=50%"), Some("strict")));
        for word in ["unlimited", "none"] {
            let after = merged(&args(None, Some(word), None), &before);
            assert!(after.compute.is_empty(), "{word}");
            assert_eq!(memory_text(&after.memory), "1 GiB");
        }
        // The word that the listing prints is the word that the option takes.
        let lifted = merged(&args(None, Some("0=unlimited"), None), &before);
        let text = compute_text(&lifted.compute);
        assert_eq!(text, "25% strict; 1=50% strict; 0=unlimited");
        let rule = lifted.compute.iter().last().unwrap().1;
        assert!(rule.is_unlimited());
        let without = merged(&args(None, Some("remove"), None), &before);
        assert_eq!(compute_text(&without.compute), "1=50% strict");
        let without = merged(&args(None, Some("1=remove"), None), &before);
        assert_eq!(compute_text(&without.compute), "25% strict");
        let one = limits(&args(None, Some("1=50%"), None));
        let without = merged(&args(None, Some("1=unlimited"), None), &one);
        assert!(without.compute.is_empty(), "nothing else limits the device");
        let quotas = limits(&args(Some("4GiB,1=1GiB"), None, None));
        let without = merged(&args(Some("1=remove"), None, None), &quotas);
        assert_eq!(memory_text(&without.memory), "4 GiB");
        let without = merged(&args(Some("*=remove"), None, None), &quotas);
        assert_eq!(memory_text(&without.memory), "1=1 GiB");
    }

    #[test]
    fn the_rule_that_stands_in_the_way_is_named() {
        let before = limits(&args(None, Some("100%"), None));
        let options =
            args(None, Some("0=10%,1=20%"), None).with(Parameter::Burst, "--burst", "90%");
        let error = options.apply(&before, &DeviceOrder::default()).unwrap_err();
        assert_eq!(error.field, "--burst");
        for part in [
            "the rule for every device",
            "100% balanced",
            "--compute remove",
        ] {
            assert!(error.reason.contains(part), "{part}: {error}");
        }
        let options = options.with(Parameter::Compute, "--compute", "remove,0=10%,1=20%");
        let after = merged(&options, &before);
        assert_eq!(
            compute_text(&after.compute),
            "0=10% balanced, burst 90%; 1=20% balanced, burst 90%"
        );
        let error = args(None, Some("unlimited"), Some("strict"))
            .apply(&before, &DeviceOrder::default())
            .unwrap_err();
        assert_eq!(error.field, "--mode");
    }
}
