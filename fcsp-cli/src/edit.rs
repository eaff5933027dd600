//! What options change in limits that exist already: `fcsp limit`.
//!
//! What is not named stays. A value without a device is for every device and replaces the rules for
//! single ones; the word `remove` takes one rule away.

use fcsp_core::config::{ConfigError, Quota, Rules};
use fcsp_core::control::Limits;
use fcsp_core::device::Selector;
use fcsp_core::share::params::Params;
use fcsp_core::units::{Percent, Ppm, WHOLE, parse_share};

use super::limits::LimitArgs;
use super::numbers::Numbers;

/// What an option says for one device, or for every device.
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

/// The rules that `option` says, with numbers replaced by the devices they stand for.
fn said<T: Copy, E: std::fmt::Display>(
    option: &str,
    text: &str,
    numbers: &Numbers,
    limit: impl Fn(&str) -> Result<T, E> + Copy,
) -> Result<Rules<Said<T>>, ConfigError> {
    let rules = Rules::parse(option, text, |value| Said::parse(value, limit))?;
    numbers.settle(option, &rules)
}

impl LimitArgs {
    /// `limits` with what these options say changed and all else kept. Numbers mean what `numbers`
    /// says.
    pub fn merge(&self, limits: &Limits, numbers: &Numbers) -> Result<Limits, ConfigError> {
        merge(self, limits, numbers)
    }
}

fn merge(options: &LimitArgs, limits: &Limits, numbers: &Numbers) -> Result<Limits, ConfigError> {
    options.refuse_empty()?;
    let mut merged = limits.clone();
    if let Some(text) = &options.memory {
        let rules = said("--memory", text, numbers, Quota::parse)?;
        merged.memory = memory(&limits.memory, &rules);
    }
    let mut lifted = Vec::new();
    if let Some(text) = &options.compute {
        let rules = said("--compute", text, numbers, parse_share)?;
        merged.compute = compute(&limits.compute, &rules)?;
        lifted = rules
            .iter()
            .filter(|(_, said)| *said == Said::Unlimited)
            .map(|(selector, _)| selector)
            .collect();
    }
    parameters(options, &mut merged.compute, &lifted)?;
    Ok(merged)
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

fn compute(before: &Rules<Params>, said: &Rules<Said<Ppm>>) -> Result<Rules<Params>, ConfigError> {
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
            .map_err(|error| ConfigError::new("--compute", error.reason))?;
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

/// The rules of `before` that `said` leaves: a limit for every device replaces them all, and a rule
/// that is named anew or removed goes.
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

/// Sets mode, priority, floor, pool and burst in every rule but those that were lifted just now.
fn parameters(
    options: &LimitArgs,
    rules: &mut Rules<Params>,
    lifted: &[Selector],
) -> Result<(), ConfigError> {
    let others: Vec<_> = options
        .given()
        .filter(|(option, ..)| !matches!(*option, "--memory" | "--compute"))
        .collect();
    let Some(&(first, ..)) = others.first() else {
        return Ok(());
    };
    if rules.is_empty() {
        if options.compute.is_some() {
            return Err(ConfigError::new(
                first,
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
        for &(option, _, key, value) in &others {
            params
                .set(key, value)
                .map_err(|error| ConfigError::new(option, error.reason))?;
        }
        params
            .validate()
            .map_err(|error| in_the_way(options, &before, selector, error))?;
        rules.set(selector, params);
    }
    Ok(())
}

/// A parameter that does not fit a rule. Where there are several rules, or one from before, the
/// rule is named.
fn in_the_way(
    options: &LimitArgs,
    rules: &[(Selector, Params)],
    selector: Selector,
    error: fcsp_core::share::params::ParamError,
) -> ConfigError {
    let named = options.named(ConfigError::new(error.field, &error.reason));
    if rules.len() < 2 {
        return named;
    }
    let rule = rules.iter().find(|(known, _)| *known == selector);
    let text = rule.map_or(String::new(), |(_, params)| params.to_string());
    let (which, removal) = match selector {
        Selector::All => ("the rule for every device".to_owned(), "remove".to_owned()),
        device => (format!("the rule for {device}"), format!("{device}=remove")),
    };
    ConfigError {
        reason: format!(
            "{}: this is about {which} ({text}); `--compute {removal}` takes that rule away",
            named.reason
        ),
        field: named.field,
    }
}

fn find<T: Copy>(rules: &Rules<T>, selector: Selector) -> Option<T> {
    rules
        .iter()
        .find(|&(known, _)| known == selector)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::super::limits::{compute_text, memory_text};
    use super::*;

    fn args(memory: Option<&str>, compute: Option<&str>, mode: Option<&str>) -> LimitArgs {
        LimitArgs {
            memory: memory.map(Into::into),
            compute: compute.map(Into::into),
            mode: mode.map(Into::into),
            ..LimitArgs::default()
        }
    }

    fn merged(args: &LimitArgs, before: &Limits) -> Limits {
        merge(args, before, &Numbers::default()).unwrap()
    }

    fn limits(args: &LimitArgs) -> Limits {
        let config = args.read(std::iter::empty()).unwrap();
        Limits {
            memory: config.memory,
            compute: config.compute,
            paused: false,
        }
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
        let mut options = args(None, Some("0=10%,1=20%"), None);
        options.burst = Some("90%".into());
        let error = merge(&options, &before, &Numbers::default()).unwrap_err();
        assert_eq!(error.field, "--burst");
        for part in [
            "the rule for every device",
            "100% balanced",
            "--compute remove",
        ] {
            assert!(error.reason.contains(part), "{part}: {error}");
        }
        options.compute = Some("remove,0=10%,1=20%".into());
        let after = merged(&options, &before);
        assert_eq!(
            compute_text(&after.compute),
            "0=10% balanced, burst 90%; 1=20% balanced, burst 90%"
        );
        let error = merge(
            &args(None, Some("unlimited"), Some("strict")),
            &before,
            &Numbers::default(),
        )
        .unwrap_err();
        assert_eq!(error.field, "--mode");
    }
}
